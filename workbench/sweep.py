"""Run a sweep: claim each point in the ledger, have it executed, and write the leaderboard, the winner and the report last."""

from __future__ import annotations

import contextlib
import itertools
import shlex
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from workbench import report, report_files, report_parts, storage
from workbench.datatypes import WorkbenchError
from workbench.engine_limits import Limits
from workbench.evaluation import RunResult, load_results
from workbench.executors import Executor, Outcome, Task
from workbench.ledger import BEAT, Entry, Ledger
from workbench.report_winner import Decision
from workbench.sweep_executors import make_executor
from workbench.sweep_spec import Point, SweepSpec, load_spec, plan

LEFTOVER_SECONDS = 86_400  # of a killed run's temporary folder


class Progress(Protocol):
    """Watch a sweep; every method is called in the thread that runs it."""

    def planned(self, done: int, total: int) -> None: ...

    def began(self, task: Task) -> None: ...

    def ended(self, outcome: Outcome, done: int, left: float | None) -> None:
        """Take an outcome, how many points are done by now, and an estimate of the seconds left (None: unknown)."""

    def say(self, text: str) -> None: ...


class Silent:
    """Tell nobody."""

    def planned(self, done: int, total: int) -> None: ...

    def began(self, task: Task) -> None: ...

    def ended(self, outcome: Outcome, done: int, left: float | None) -> None: ...

    def say(self, text: str) -> None: ...


@dataclass
class SweepReport:
    """Hold what a sweep did."""

    folder: Path
    points: Sequence[Point] = ()
    results: list[RunResult] = field(default_factory=list)
    failed: list[Entry] = field(default_factory=list)  # and lost
    baselines: dict[str, str] = field(default_factory=dict)  # config ids by data set
    decisions: dict[str, Decision] = field(default_factory=dict)  # by data set
    winners: list[Path] = field(default_factory=list)  # settings files of the configurations chosen
    executed: int = 0
    skipped: int = 0
    interrupted: bool = False


SILENT = Silent()


def run_sweep(
    path: Path,
    progress: Progress = SILENT,
    *,
    jobs: int = 1,
    executor: str = "auto",
    kernels: str = "auto",
    fresh: bool = False,
    retry: bool = False,
) -> SweepReport:
    """Run what is not done yet, then write leaderboard.csv, timings.csv, winner.yaml and the report (HTML, Markdown, JSON).

    A failing run is recorded and the others go on; it is not tried again before its inputs change, or `retry`. What the infrastructure
    ended (a killed kernel, a full disk) is tried again. `fresh` runs everything again; a result is replaced only by a new good one.
    Another process may run the same sweep: each point is run by one of them, and both report all. An interrupt ends the sweep when the
    runs under way are done, a second one ends them. A data set on which nothing can be chosen, or the audit of a candidate failed, has no
    winner, and `progress` is told why.
    """
    spec = load_spec(path)
    folder, points = plan(path)
    outcome = SweepReport(folder, points)
    _remove_leftovers(folder / "runs")
    with contextlib.closing(Ledger(folder / "ledger.sqlite")) as ledger:
        ready = _settle(ledger, points)
        if fresh or retry:
            ledger.requeue([point.run_id for point in points], ["ok", "failed", "lost"] if fresh else ["failed", "lost"])
            ready = [] if fresh else ready
        outcome.skipped = len(ready)
        progress.planned(len(ready), len(points))
        todo = {point.run_id: point for point in points if point.run_id not in ready}
        if todo:
            notebook = storage.home(path.parent) / "notebooks" / f"{spec.notebook}.ipynb"
            engine = make_executor(spec.engine if spec.engine == "direct" else executor, jobs, kernels, progress.say)
            _execute(ledger, engine, notebook, todo, outcome, progress)
        outcome.failed = [entry for entry in ledger.entries([point.run_id for point in points]) if entry.state in ("failed", "lost")]
    if not outcome.interrupted:
        _conclude(path, spec, outcome, progress.say)
    return outcome


def _settle(ledger: Ledger, points: Sequence[Point]) -> Collection[str]:
    """Make the ledger agree with the files, which are the truth for values, and return the ids of the runs that are done."""
    ledger.add((point.run_id, point.label) for point in points)
    sums = {point.run_id: sha256 for point in points if (sha256 := checked(point))}
    known = {entry.run_id: entry for entry in ledger.entries([point.run_id for point in points])}
    ledger.requeue([name for name, entry in known.items() if entry.state == "ok" and name not in sums], ["ok"])
    adopted = [name for name in sums if known[name].state != "ok"]
    ledger.requeue(adopted, ["failed", "lost"])
    if adopted:
        ledger.ok_many((name, sums[name], 0.0) for name in ledger.claim_many(adopted, len(adopted)))
    return sums


def _execute(ledger: Ledger, engine: Executor, notebook: Path, todo: Mapping[str, Point], outcome: SweepReport, progress: Progress) -> None:
    """Have everything executed that can be claimed, and wait for what other processes run."""
    began, ending = time.monotonic(), threading.Event()
    claimed: deque[str] = deque()  # and not begun
    running: set[str] = set()
    done = outcome.skipped

    def tasks() -> Iterator[Task | None]:
        while not ending.is_set():
            claimed.extend([] if claimed else ledger.claim_many(list(todo), engine.claims))
            if claimed:
                point = todo[claimed.popleft()]
                running.add(point.run_id)
                limits = Limits(**point.limits.model_dump())
                task = Task(point.run_id, point.label, notebook, point.folder, point.parameters, limits)
                progress.began(task)
                yield task
            elif any(entry.state in ("queued", "running") for entry in ledger.entries(todo)):
                yield None  # somebody runs it, here or elsewhere, and may not finish it
            else:
                return

    with _interruptible(engine, ending, progress.say), _heartbeat(ledger):
        try:
            for ended in engine.run(tasks()):
                running.discard(ended.task.run_id)
                final = _record(ledger, ended)
                done += final
                outcome.executed += final
                left = (time.monotonic() - began) / outcome.executed * (outcome.skipped + len(todo) - done) if outcome.executed else None
                progress.ended(ended, done, left)
        finally:
            for run_id in (*claimed, *running):
                ledger.release(run_id)
    outcome.interrupted = ending.is_set()


def _record(ledger: Ledger, outcome: Outcome) -> bool:
    """Write how a run ended, its files are in place already; tell whether it will not be tried again by itself."""
    task, ended = outcome.task, outcome.ended
    if ended.state == "ok":
        ledger.ok(task.run_id, storage.sha256_file(task.target / "result.json"), ended.seconds)
    elif ended.kind == "interrupted":
        ledger.release(task.run_id)
    else:
        (ledger.fail if ended.state == "failed" else ledger.lose)(task.run_id, ended.kind, ended.error, ended.seconds)
    return ended.state != "lost"


@contextlib.contextmanager
def _heartbeat(ledger: Ledger) -> Iterator[None]:
    """Keep the leases of this process alive."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT):
            ledger.beat()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def _interruptible(engine: Executor, ending: threading.Event, say: Callable[[str], None]) -> Iterator[None]:
    """Let the first interrupt end the sweep after the runs under way, the second one end these too; outside the main thread do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: object) -> None:
        if ending.is_set():
            engine.stop()
        else:
            ending.set()
            say("stopping when the runs under way are done; interrupt again to end them now")

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _conclude(path: Path, spec: SweepSpec, outcome: SweepReport, say: Callable[[str], None]) -> None:
    """Write what the sweep found."""
    folder = outcome.folder
    failed = {entry.run_id for entry in outcome.failed}  # one of these may have an older result
    found = {point.run_id: results for point in outcome.points if point.run_id not in failed and (results := finished(point))}
    unique = {(result.config_id, result.settings.seed): result for result in itertools.chain(*found.values())}
    outcome.results = list(unique.values())
    if not outcome.results:
        return
    groups = report.by_dataset(outcome.results)
    for name, results in groups.items():
        try:
            outcome.baselines[name] = report.find_baseline(results, spec.baseline)
        except WorkbenchError as problem:  # its run failed, say; the others still count
            say(f"{name}: {problem}; differences are to the first result instead")
    title, command = folder.name.replace("_", " "), f"workbench sweep {shlex.quote(_from_root(path))}"
    errors = [{"point": entry.label, "error": entry.error} for entry in outcome.failed]
    record = report_parts.gather(outcome.results, title, command, outcome.baselines, errors, spec.prices)
    outcome.decisions = {part.name: part.decision for part in record.parts if part.decision}
    for part in record.parts:
        if part.decision is None:
            say(f"{part.name}: no winner: {part.problem}")
    outcome.winners = report_files.write_winners(folder, outcome.decisions, folder.name, alone=len(groups) == 1)
    report_files.write_leaderboard(folder / "leaderboard.csv", outcome.results)
    report_files.write_timings(folder / "timings.csv", outcome.results)
    storage.write_json(folder / "record.json", {"runs": [point.folder.name for point in outcome.points if point.run_id in found]})
    report_files.write_report(folder, record)


def _from_root(path: Path) -> str:
    path, root = path.resolve(), storage.home(path.parent)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def checked(point: Point) -> str:
    """Return the sha256 of the result of a run that ended well, else "": only our own record and an unchanged file count (PM1)."""
    result = point.folder / "result.json"
    try:
        record = storage.read_json(point.folder / "record.json")
        sha256 = storage.sha256_file(result)
    except (WorkbenchError, FileNotFoundError):
        return ""
    return sha256 if isinstance(record, dict) and record.get("run_id") == point.run_id and record.get("result") == sha256 else ""


def finished(point: Point) -> list[RunResult] | None:
    """Return the results of a run that ended well, else None."""
    try:
        return load_results(point.folder / "result.json") if checked(point) else None
    except (WorkbenchError, FileNotFoundError):
        return None


def _remove_leftovers(runs: Path) -> None:
    """Remove the temporary folders of killed runs that are more than a day old."""
    for leftover in runs.glob(".run-*"):
        if time.time() - leftover.stat().st_mtime > LEFTOVER_SECONDS:
            shutil.rmtree(leftover, ignore_errors=True)
