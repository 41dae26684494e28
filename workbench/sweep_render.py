"""Run the notebook for a few points of a sweep that was evaluated without one: the winners, failures, and a sample to check against."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from workbench import storage
from workbench.datatypes import WorkbenchError
from workbench.engine_limits import Limits
from workbench.evaluation import RunResult, load_results
from workbench.executors import Executor, Task
from workbench.sweep_spec import Point

SAMPLE = 3  # points that are drawn
FAILURES = 3  # failed points that are shown
Found = Mapping[str, Sequence[RunResult]]  # results by run id


def chosen(
    points: Sequence[Point], found: Mapping[str, Sequence[RunResult]], winners: Collection[str], failed: Sequence[str]
) -> list[Point]:
    """Return the points of the winners (config ids), the first failed ones (run ids), and a sample of the others, drawn by seed 0."""
    wanted = {run_id for run_id, results in found.items() if any(result.config_id in winners for result in results)}
    wanted |= set(failed[:FAILURES])
    others = sorted(run_id for run_id in found if run_id not in wanted)
    wanted |= set(random.Random(0).sample(others, min(SAMPLE, len(others))))
    return [point for point in points if point.run_id in wanted]


def render(
    notebook: Path,
    folder: Path,
    points: Sequence[Point],
    found: Mapping[str, Sequence[RunResult]],
    engine: Executor,
    say: Callable[[str], None],
) -> list[Path]:
    """Run the notebook for these points into rendered/ and return the notebooks; what was rendered before is kept.

    Raise WorkbenchError when a notebook gives other scores than the evaluation without one: one of the two is wrong.
    """
    rendered = {point.run_id: folder / "rendered" / "runs" / point.folder.name for point in points}
    tasks = [
        Task(point.run_id, point.label, notebook, rendered[point.run_id], point.parameters, Limits(**point.limits.model_dump()))
        for point in points
        if not (rendered[point.run_id] / "record.json").is_file()
    ]
    for outcome in engine.run(iter(tasks)):
        state = "rendered" if outcome.ended.state == "ok" else f"{outcome.ended.state} ({outcome.ended.kind})"
        say(f"notebook of {outcome.task.label}: {state}")
    for run_id, place in rendered.items():
        if (place / "result.json").is_file() and run_id in found:
            _compare(place, found[run_id])
    return [place / "notebook.ipynb" for place in rendered.values() if (place / "notebook.ipynb").is_file()]


def _compare(place: Path, direct: Sequence[RunResult]) -> None:
    """Raise WorkbenchError where a result of the notebook differs; it may hold controls that the direct evaluation lacks."""
    by_notebook = {(result.config_id, result.settings.seed): result for result in load_results(place / "result.json")}
    for result in direct:
        other = by_notebook.get((result.config_id, result.settings.seed))
        if other is None or storage.fingerprint(other.to_json()["scores"]) != storage.fingerprint(result.to_json()["scores"]):
            what = "gives another result" if other is None else "gives other scores"
            problem = f"the notebook {what} for {result.config_id} than its direct evaluation; one of the two is wrong"
            raise WorkbenchError(f"{place.name}: {problem}")
