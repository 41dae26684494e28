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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from workbench import report, report_files, report_parts, storage
from workbench.datatypes import WorkbenchError
from workbench.engine_limits import Limits
from workbench.evaluation import RunResult
from workbench.executors import Executor, Outcome, Task
from workbench.ledger import BEAT, Entry, Ledger
from workbench.report_winner import Decision
from workbench.sweep_done import FRESH, finished, settle
from workbench.sweep_executors import make_executor
from workbench.sweep_inputs import code_of
from workbench.sweep_render import chosen, render
from workbench.sweep_spec import Point, SweepSpec, load_spec, plan

RECORD_SECONDS = 0.5  # between two commits while runs end; what was not recorded when a driver is killed is adopted from its files


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
    ended (a killed kernel, a full disk) is tried again. `fresh` runs everything again, and what it did not come to the next sweep does; a
    result is replaced only by a new good one.
    Another process may run the same sweep: each point is run by one of them, and both report all. An interrupt ends the sweep when the
    runs under way are done, a second one ends them. A data set on which nothing can be chosen, or the audit of a candidate failed, has no
    winner, and `progress` is told why.
    """
    spec = load_spec(path)
    folder, points = plan(path)
    notebook = storage.home(path.parent) / "notebooks" / f"{spec.notebook}.ipynb"
    engine = make_executor(spec.engine, executor, jobs, kernels, progress.say)
    outcome = SweepReport(folder, points)
    with contextlib.closing(Ledger(folder / "ledger.sqlite")) as ledger:
        ready = settle(ledger, points)
        ledger.resume(point.run_id for point in points)
        if fresh:
            ledger.requeue([point.run_id for point in points], ["ok", "failed", "lost"], FRESH)
            ready = []
        elif retry:
            ledger.requeue([point.run_id for point in points], ["failed", "lost"])
        outcome.skipped = len(ready)
        progress.planned(len(ready), len(points))
        over = {*ready, *(entry.run_id for entry in ledger.entries() if entry.state == "failed")}
        todo = {point.run_id: point for point in points if point.run_id not in over}
        if todo:
            code = code_of(spec.engine, notebook)
            same = (
                (lambda: True) if spec.engine == "direct" else lambda: code_of(spec.engine, notebook) == code
            )  # this process has read its code
            _execute(ledger, engine, notebook, todo, outcome, progress, same)
        outcome.failed = [entry for entry in ledger.entries([point.run_id for point in points]) if entry.state in ("failed", "lost")]
    if not outcome.interrupted:
        found = _conclude(path, spec, outcome, progress.say)
        if spec.engine == "direct" and found:
            winners = {decision.recommended.config_id for decision in outcome.decisions.values()}
            shown = chosen(points, found, winners, [entry.run_id for entry in outcome.failed])
            render(notebook, folder, shown, found, make_executor("notebook", "auto", 1, kernels, progress.say), progress.say)
    return outcome


def _execute(
    ledger: Ledger,
    engine: Executor,
    notebook: Path,
    todo: Mapping[str, Point],
    outcome: SweepReport,
    progress: Progress,
    same: Callable[[], bool],
) -> None:
    """Have everything executed that can be claimed, and wait for what other processes run."""
    ending = threading.Event()
    claimed: deque[str] = deque()  # and not begun
    running: set[str] = set()
    good: list[tuple[str, str, float]] = []  # ended well and not recorded yet: a commit for several, as each waits for the disk
    recorded = time.monotonic()
    done, spent = outcome.skipped, 0.0  # seconds of all workers

    def record() -> None:
        nonlocal recorded
        if good:
            ledger.ok_many(good)
        good.clear()
        recorded = time.monotonic()

    def tasks() -> Iterator[Task | None]:
        while not ending.is_set():
            if not claimed:
                record()
                claimed.extend(ledger.claim_many(list(todo), engine.claims))
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
                if not same():
                    shutil.rmtree(ended.task.target, ignore_errors=True)
                    raise WorkbenchError("the notebook or the workbench was edited while the sweep ran: this run is not kept; start again")
                running.discard(ended.task.run_id)
                if ended.ended.state == "ok":
                    good.append((ended.task.run_id, storage.sha256_file(ended.task.target / "result.json"), ended.ended.seconds))
                    if engine.claims == 1 or time.monotonic() > recorded + RECORD_SECONDS:
                        record()
                else:
                    _end(ledger, ended)
                final = ended.ended.state != "lost"
                done += final
                outcome.executed += final
                spent += ended.ended.seconds
                ahead = outcome.skipped + len(todo) - done
                progress.ended(ended, done, spent / outcome.executed * ahead / engine.workers if outcome.executed else None)
        finally:
            try:
                record()
            finally:
                for run_id in (*claimed, *running):
                    ledger.release(run_id)
    outcome.interrupted = ending.is_set()


def _end(ledger: Ledger, outcome: Outcome) -> None:
    """Write how a run ended that gave no result."""
    run_id, ended = outcome.task.run_id, outcome.ended
    if ended.kind == "interrupted":
        ledger.release(run_id)
    else:
        (ledger.fail if ended.state == "failed" else ledger.lose)(run_id, ended.kind, ended.error, ended.seconds)


@contextlib.contextmanager
def _heartbeat(ledger: Ledger) -> Iterator[None]:
    """Keep the leases of this process alive."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT):
            with contextlib.suppress(WorkbenchError):  # a full disk, say: whoever records a run meets it too; it may pass before the lease
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
            with contextlib.suppress(OSError, RuntimeError):  # nobody reads any more, or the signal came in the middle of a line
                say("stopping when the runs under way are done; interrupt again to end them now")

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup stays deaf to it
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _conclude(path: Path, spec: SweepSpec, outcome: SweepReport, say: Callable[[str], None]) -> dict[str, list[RunResult]]:
    """Write what the sweep found, and return the results by run id."""
    folder = outcome.folder
    failed = {entry.run_id for entry in outcome.failed}  # one of these may have an older result
    found = {point.run_id: results for point in outcome.points if point.run_id not in failed and (results := finished(point))}
    unique = {(result.config_id, result.settings.seed): result for result in itertools.chain(*found.values())}
    outcome.results = list(unique.values())
    if not outcome.results:
        return found
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
    return found


def _from_root(path: Path) -> str:
    path, root = path.resolve(), storage.home(path.parent)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
