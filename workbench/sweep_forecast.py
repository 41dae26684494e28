"""Say what a sweep will need before it runs: vectors and answers that the cache has or lacks, and time."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from workbench import storage
from workbench.experiment import Runner
from workbench.experiment_data import NONE
from workbench.ledger_read import ABANDONED, read_ledger
from workbench.notebook import settings_of
from workbench.registry import split_spec
from workbench.retrieval import DENSE_RETRIEVERS
from workbench.settings import parse_settings
from workbench.storage import canonical_json
from workbench.sweep_done import FRESH, checked
from workbench.sweep_spec import Point


def outlook(folder: Path, points: Sequence[Point], *, fresh: bool = False, retry: bool = False) -> list[str]:
    """Return for each point "done", "failed" (before, and not run again by itself) or "to do"."""
    again = {point.run_id for point in points if fresh}
    given_up: set[str] = set()
    if (folder / "ledger.sqlite").is_file():
        entries = read_ledger(folder / "ledger.sqlite")
        given_up = set() if retry else {entry.run_id for entry in entries if entry.state == "failed"}
        begun = ("queued", "running")
        again |= {entry.run_id for entry in entries if entry.kind == ABANDONED or (entry.kind == FRESH and entry.state in begun)}

    def state(point: Point) -> str:
        if point.run_id not in again and checked(point):
            return "done"
        return "failed" if point.run_id in given_up - again else "to do"

    return list(map(state, points))


def forecast(folder: Path, points: Sequence[Point]) -> Mapping[str, Any]:
    """Return sentences on what these points will need; loads no model, but reads and cuts the documents.

    Controls that a notebook adds are not counted. Whether an answer is cached shows only when its passages are retrieved, so of answers
    the number is an upper bound.
    """
    configurations, texts, known, answers = set(), 0, 0, 0
    seen: set[str] = set()
    with contextlib.chdir(storage.home(folder)), closing(Runner()) as runner:  # where the runs will stand
        for point in points:
            for values in settings_of(point.parameters):
                settings = runner.resolve(parse_settings(values))
                if (settings.config_id, settings.seed) in configurations:
                    continue
                configurations.add((settings.config_id, settings.seed))
                answers += (settings.answers or runner.questions(settings)) if settings.generator != NONE else 0
                dense = split_spec(settings.retriever)[0] in DENSE_RETRIEVERS
                same = settings.model_dump(include={"dataset", "chunker", "chunk_size", "chunk_overlap", "header", "embedder", "options"})
                same = canonical_json(same)
                if dense and same not in seen:
                    seen.add(same)
                    wanted, found = runner.cached_passages(settings)
                    texts, known = texts + wanted, known + found
    told: dict[str, Any] = {"configurations to evaluate": len(configurations)}
    if texts:
        told["passages to embed"] = f"{texts:,}, of which {known:,} are cached ({known / texts:.0%})"
    if answers:
        told["answers"] = f"{answers:,} at most; those that are cached cost nothing"
    seconds = _seconds(folder)
    told["time"] = "unknown: no run was timed yet"
    if seconds:
        told["time"] = f"about {seconds * len(points):.0f} s for one job, from {seconds:.1f} s for a run before"
    return told if points else {}


def _seconds(folder: Path) -> float:
    """Return the median seconds of this sweep's runs so far, 0 where none was timed."""
    if not (folder / "ledger.sqlite").is_file():
        return 0.0
    timed = [entry.seconds for entry in read_ledger(folder / "ledger.sqlite") if entry.state == "ok" and entry.seconds]
    return statistics.median(timed) if timed else 0.0
