"""A sweep's driver beside others, on a full disk, in another folder, after an edited spec: what it waits for, keeps, forgets and claims."""

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest
from small_sweep import Told, make_project, notebook, write_spec
from test_sweep_direct import PARAMETERS, RUN, SPEC

from workbench import storage, sweep, sweep_done, sweep_executors, sweep_run
from workbench.datatypes import WorkbenchError
from workbench.engine_limits import Ended
from workbench.executors import Outcome, Task
from workbench.ledger import Ledger
from workbench.sweep_forecast import forecast, outlook

UNUSABLE = "id,question,answer,document,quote\nq,Who?,me,kettle.md,\n"  # no evidence: every point fails


@pytest.fixture
def direct(project: Path) -> Path:
    """Give the spec of four points that are evaluated in this process."""
    storage.write_text(project / "notebooks/small.ipynb", notebook(PARAMETERS, RUN))
    return write_spec(project, {**SPEC, "engine": "direct"})


@contextlib.contextmanager
def ledger_of(path: Path) -> Iterator[tuple[Ledger, list[sweep.Point]]]:
    """Open the ledger as another driver of the same sweep does."""
    folder, points = sweep.plan(path)
    with closing(Ledger(folder / "ledger.sqlite")) as ledger:
        ledger.add((point.run_id, point.label) for point in points)
        yield ledger, points


def test_what_another_driver_finishes_while_this_one_starts_is_not_run_again(direct: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep.run_sweep(direct)
    with ledger_of(direct) as (other, points):
        first, aside, checked = points[0], direct.parent / "aside", sweep_done.checked
        other.requeue([first.run_id], ["ok"])
        assert other.claim([first.run_id])
        shutil.move(first.folder, aside)

        def meanwhile(point: sweep.Point) -> str:
            found = checked(point)
            if point is mine[-1]:  # all files were looked at
                shutil.move(aside, first.folder)
                other.ok(first.run_id, checked(first), 1.0)
            return found

        monkeypatch.setattr(sweep_done, "checked", meanwhile)
        with ledger_of(direct) as (ledger, mine):
            sweep_done.settle(ledger, mine)
            assert [entry.state for entry in ledger.entries()] == ["ok"] * 4


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
def test_what_a_fresh_sweep_did_not_come_to_the_next_one_does(direct: Path) -> None:
    """Its older results do not count, whoever goes on; a refused option queues nothing."""

    class Hurried(Told):
        def ended(self, outcome: Outcome, done: int, left: float | None) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    sweep.run_sweep(direct)
    with pytest.raises(WorkbenchError, match="not with 2 jobs"):
        sweep.run_sweep(direct, fresh=True, jobs=2)
    assert sweep.run_sweep(direct).skipped == 4
    first = sweep.run_sweep(direct, Hurried([]), fresh=True)
    assert (first.executed, first.skipped, first.interrupted) == (1, 0, True)
    folder, points = sweep.plan(direct)
    assert outlook(folder, points) == ["done", "to do", "to do", "to do"]
    second = sweep.run_sweep(direct)
    assert (second.executed, second.skipped) == (3, 1)
    assert sweep.run_sweep(direct).skipped == 4


def test_nothing_is_started_where_nothing_can_be_claimed(direct: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed before is over: it starts no kernel, and no estimate waits for it."""
    questions = project / "docs/questions.csv"
    questions.write_text(UNUSABLE, "utf-8")
    assert len(sweep.run_sweep(direct).failed) == 4
    monkeypatch.setattr(sweep, "_execute", lambda *_: pytest.fail("an executor was started"))
    again = sweep.run_sweep(direct)
    assert (again.executed, again.skipped, len(again.failed)) == (0, 0, 4)


def test_an_estimate_counts_what_will_run(direct: Path, project: Path) -> None:
    """Two of four points failed before; after one of the other two, one is left."""

    class Watched(Told):
        left: ClassVar[list[float]] = []

        def ended(self, outcome: Outcome, done: int, left: float | None) -> None:
            self.left.append(left or 0.0)

    with ledger_of(direct) as (ledger, points):
        for point in points[:2]:
            ledger.claim([point.run_id])
            ledger.fail(point.run_id, "raised", "no luck", 1.0)
    began = time.monotonic()
    outcome = sweep.run_sweep(direct, Watched([]))
    passed = time.monotonic() - began
    assert (outcome.executed, len(outcome.failed)) == (2, 2)
    assert 0 < Watched.left[0] < passed
    assert Watched.left[1] == 0


def test_an_earlier_spec_is_forgotten_unless_it_runs(direct: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = project / "docs/questions.csv"
    good = questions.read_text("utf-8")
    questions.write_text(UNUSABLE, "utf-8")
    sweep.run_sweep(direct)
    questions.write_text(good, "utf-8")
    with closing(Ledger(project / "outputs/tiny/ledger.sqlite")) as other:
        other.add([("earlier", "of another driver")])
        other.claim(["earlier"])
        assert sweep.run_sweep(direct).executed == 4
        assert [entry.state for entry in other.entries()] == ["failed"] * 4 + ["running"] + ["ok"] * 4
        other.release("earlier")
        sweep.run_sweep(direct)
        assert [entry.state for entry in other.entries()] == ["ok"] * 4


@pytest.mark.parametrize("engine", ["direct", "notebook"])
def test_points_are_evaluated_in_the_project_wherever_the_driver_stands(direct: Path, project: Path, engine: str, tmp_path: Path) -> None:
    """The folder here has documents of the same name, which are not meant."""
    here = tmp_path / "elsewhere"
    storage.write_text(here / "docs/questions.csv", UNUSABLE)
    storage.write_text(here / "docs/kettle.md", "Another kettle.\n")
    path = write_spec(project, {**SPEC, "engine": engine, "grid": {"retriever": ["bm25"]}, "baseline": {}})
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WORKBENCH_HOME")
        patch.chdir(here)
        folder, points = sweep.plan(path)
        assert forecast(folder, points)["configurations to evaluate"] == 2
        outcome = sweep.run_sweep(path, kernels="fresh")
        assert Path.cwd() == here
    assert [entry.error for entry in outcome.failed] == []
    assert {result.data["documents"] for result in outcome.results} == {3}
    assert (project / "outputs/cache/cache.sqlite").is_file()
    assert not (here / "outputs").exists()


def test_notebooks_are_not_taken_for_settings(project: Path) -> None:
    path = write_spec(project, {"notebook": "tiny", "grid": {"note": ["a"]}})
    with pytest.raises(WorkbenchError, match="unknown executor 'direct'"):
        sweep.run_sweep(path, executor="direct")


# --- a full disk ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_is_full_in_the_notebook_ends_the_sweep_and_fails_no_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = "if os.environ.get('FULL'):\n    Path('/dev/full').write_text('x')\n"
    make_project(project)
    source = storage.read_json(project / "notebooks/tiny.ipynb")
    source["cells"][2]["source"] = full
    storage.write_json(project / "notebooks/tiny.ipynb", source)
    path = write_spec(project, {"notebook": "tiny", "fixed": {"chunk_sizes": [8]}, "grid": {"note": ["a", "b"]}})
    monkeypatch.setenv("FULL", "1")
    with pytest.raises(OSError, match=r"a run could not write its files: OSError: \[Errno 28\] No space left on device"):
        sweep.run_sweep(path, kernels="fresh")
    with ledger_of(path) as (ledger, _):
        assert [(entry.state, entry.attempts) for entry in ledger.entries()] == [("queued", 0)] * 2
    monkeypatch.delenv("FULL")
    assert sweep.run_sweep(path, kernels="fresh").executed == 2


@pytest.mark.parametrize("error", ["the cache cannot be used: database or disk is full", "Traceback\nOSError: [Errno 122] Quota exceeded"])
def test_a_full_disk_is_known_by_its_last_line(error: str) -> None:
    with pytest.raises(OSError, match="a run could not write its files"):
        sweep_run.raise_when_full(error)
    sweep_run.raise_when_full(f"{error}\nand then: ValueError: no luck")


def test_a_beat_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Full(Ledger):
        beats = 0

        def beat(self) -> int:
            self.beats += 1
            if self.beats < 3:
                raise WorkbenchError("the ledger cannot be used: database or disk is full")
            return super().beat()

    monkeypatch.setattr(sweep, "BEAT", 0.02)
    with closing(Full(tmp_path / "ledger.sqlite")) as ledger, sweep._heartbeat(ledger):
        end = time.monotonic() + 10
        while ledger.beats < 4 and time.monotonic() < end:
            time.sleep(0.02)
    assert ledger.beats >= 4


# --- interrupts -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_waiting_for_another_driver(direct: Path, number: int) -> None:
    """Even if nobody can be told any more."""

    class Gone(Told):
        def say(self, text: str) -> None:
            raise BrokenPipeError

    with ledger_of(direct) as (other, points):
        for point in points:
            other.claim([point.run_id])
        threading.Timer(1.0, os.kill, (os.getpid(), number)).start()
        outcome = sweep.run_sweep(direct, Gone([]))
    assert (outcome.interrupted, outcome.executed, outcome.results) == (True, 0, [])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_sweep_in_another_thread_takes_no_signals_and_is_the_same(direct: Path) -> None:
    outcomes: list[sweep.SweepReport] = []
    thread = threading.Thread(target=lambda: outcomes.append(sweep.run_sweep(direct)))
    thread.start()
    thread.join()
    assert [(outcome.executed, outcome.interrupted) for outcome in outcomes] == [(4, False)]


def test_an_estimate_knows_the_workers(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten runs of 8 s on four workers: after the first, nine are left, so 18 s."""
    left: list[float | None] = []

    class Watched(Told):
        def ended(self, outcome: Outcome, done: int, seconds: float | None) -> None:
            left.append(seconds)

    monkeypatch.setattr(sweep_executors, "_execute", lambda *_: Ended("failed", "raised", "no luck", 8.0))
    monkeypatch.setattr(sweep_executors, "_source", lambda *_: contextlib.ExitStack())
    path = write_spec(project, {"notebook": "tiny", "grid": {"note": [str(number) for number in range(10)]}})
    sweep.run_sweep(path, Watched([]), jobs=4)
    assert left == [2.0 * ahead for ahead in range(9, -1, -1)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_who_cannot_be_told_ends_the_sweep_and_leaves_nothing_claimed(project: Path, monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    """As in `workbench sweep SPEC | head`."""

    class Gone(Told):
        def ended(self, outcome: Outcome, done: int, left: float | None) -> None:
            raise BrokenPipeError

    def slow(task: Task, _environment: Mapping[str, str], _kernels: Any, stop: threading.Event) -> Ended:
        return Ended("lost", "interrupted") if stop.wait(0.05 if task.label.endswith("a") else 30) else Ended("failed", "raised", "no luck")

    monkeypatch.setattr(sweep_executors, "_execute", slow)
    monkeypatch.setattr(sweep_executors, "_source", lambda *_: contextlib.ExitStack())
    path = write_spec(project, {"notebook": "tiny", "grid": {"note": ["a", "b", "c"]}})
    with pytest.raises(BrokenPipeError):
        sweep.run_sweep(path, Gone([]), jobs=jobs)
    with ledger_of(path) as (ledger, _):
        assert [entry.state for entry in ledger.entries()] == ["failed", "queued", "queued"]


def test_leftovers_that_vanish_are_no_error(tmp_path: Path) -> None:
    (tmp_path / ".run-gone").symlink_to(tmp_path / "nothing")
    sweep_done.remove_leftovers(tmp_path)


def test_an_edit_while_a_sweep_runs_ends_it_and_keeps_no_result_under_the_wrong_id(project: Path) -> None:
    path, place = project / "params/tiny.sweep.yaml", project / "notebooks/tiny.ipynb"

    class Editor(sweep.Silent):
        def began(self, task: Task) -> None:
            place.write_text(place.read_text("utf-8").replace("print('end')", "print('another end')"), "utf-8")

    with pytest.raises(WorkbenchError, match="was edited while the sweep ran"):
        sweep.run_sweep(path, Editor())
    assert list((project / "outputs/tiny/runs").glob("[!.]*")) == []
    assert sweep.run_sweep(path).executed == 2
