"""The commands of sweeps beside running one: what a dry run foresees, what status shows, what clean removes; JSON and the live display."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from small_sweep import Told, notebook, write_spec
from test_sweep_direct import PARAMETERS, RUN, SPEC

from workbench import cli_sweep, storage, sweep
from workbench.engine_limits import Ended
from workbench.executors import Outcome, Task
from workbench.ledger import Ledger

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def spec(project: Path) -> Path:
    """Give the spec of four points that are evaluated in this process; the second has failed."""
    storage.write_text(project / "notebooks/small.ipynb", notebook(PARAMETERS, RUN))
    path = write_spec(project, {**SPEC, "engine": "direct"})
    folder, points = sweep.plan(path)
    with closing(Ledger(folder / "ledger.sqlite")) as ledger:
        ledger.add([(points[1].run_id, points[1].label)])
        ledger.claim([points[1].run_id])
        ledger.fail(points[1].run_id, "raised", "ValueError: no luck", 1.0)
    return path


def test_a_dry_run_tells_what_the_same_command_would_do(spec: Path, run: Run) -> None:
    def foreseen(*options: str) -> str:
        code, out, err = run("sweep", str(spec), "--dry-run", "--json", *options)
        assert (code, err) == (0, "")
        return " ".join(row["state"] for row in json.loads(out)["points"])

    assert foreseen() == "to do failed to do to do"
    assert foreseen("--retry", "failed") == "to do to do to do to do"
    assert sweep.run_sweep(spec).executed == 3
    assert foreseen() == "done failed done done"
    assert foreseen("--retry", "failed") == "done to do done done"
    assert foreseen("--fresh") == "to do to do to do to do"
    code, out, _ = run("sweep", str(spec), "--dry-run")
    assert code == 0
    assert "failed  retriever bm25, chunk_size 16\n" in out
    assert "4 points, 3 done, 1 failed before, results go to outputs/tiny\nconfigurations to evaluate: 0\n" not in out
    code, out, _ = run("sweep", str(spec), "--dry-run", "--retry", "failed")
    assert "configurations to evaluate: 1\n" in out
    assert out.splitlines()[-1].startswith("time: about ")


def test_status_shows_the_states_and_the_failures(spec: Path, run: Run) -> None:
    code, out, err = run("sweep", "status", "outputs/tiny")
    assert (code, out) == (0, "0 queued, 0 running, 0 ok, 1 failed, 0 lost\n")
    assert err.startswith("FAILED (raised ValueError): 1\n  retriever bm25, chunk_size 16: ValueError: no luck\n")
    with closing(Ledger(spec.parent.parent / "outputs/tiny/ledger.sqlite")) as other:
        other.add([("b", "another")])
        other.claim(["b"])
        code, out, _ = run("sweep", "status", "outputs/tiny", "--json")
    states = json.loads(out)
    assert states["states"] == {"queued": 0, "running": 1, "ok": 0, "failed": 1, "lost": 0}
    assert [entry["label"] for entry in states["runs"]] == ["retriever bm25, chunk_size 16", "another"]
    code, out, err = run("sweep", "status", "docs", "--json")
    assert (code, out) == (2, "")
    assert err.startswith("error: docs holds no sweep")
    assert not (spec.parent.parent / "docs/ledger.sqlite").exists()


def test_json_is_whole_when_runs_fail(spec: Path, run: Run) -> None:
    code, out, err = run("sweep", str(spec), "--json")
    record = json.loads(out)
    assert (code, record["executed"], record["done_before"], record["interrupted"]) == (1, 3, 0, False)
    expected = {"point": "retriever bm25, chunk_size 16", "state": "failed", "kind": "raised", "error": "ValueError: no luck"}
    assert record["failed"] == [expected]
    assert "[3/4] " in err
    assert str(spec.parent.parent) not in out
    code, out, err = run("sweep", str(spec), "--json", "--executor", "loca", "--retry", "failed", "--jobs", "2")
    assert (code, out) == (2, "")
    assert err.startswith("error: engine: direct evaluates in one process, not with 2 jobs")


# --- clean ----------------------------------------------------------------------------------------------------------------------------


def runs(project: Path) -> list[str]:
    return sorted(path.name for path in (project / "outputs/tiny/runs").iterdir())


def test_clean_removes_what_no_sweep_uses_and_nothing_else(spec: Path, project: Path, run: Run) -> None:
    sweep.run_sweep(spec, retry=True)
    kept = runs(project)
    outputs = project / "outputs/tiny"
    for name in ("runs/old-0123456789ab", "runs/.run-killed", "failed/bm25-8-0123456789ab", "runs/mine", "failed/mine"):
        storage.write_text(outputs / name / "file", "x" * 1000)
    (outputs / "runs/other-0123456789ac").symlink_to(project / "docs")
    storage.write_text(outputs / "ledger.sqlite.damaged-1-ab", "")
    assert run("sweep", "clean", "outputs/tiny") == (0, "removed 3 folders, 0.0 MB\n", "")
    assert runs(project) == sorted([*kept, "mine", "other-0123456789ac"])
    assert [path.name for path in (outputs / "failed").iterdir()] == ["mine"]
    assert (project / "docs/kettle.md").is_file()
    assert not list(outputs.glob("*damaged*"))
    again = sweep.run_sweep(spec)
    assert (again.executed, again.skipped) == (0, 4)


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
def test_clean_keeps_the_finished_runs_of_a_sweep_that_was_interrupted(spec: Path, project: Path, run: Run) -> None:
    """They stand in no report yet."""
    sweep.run_sweep(spec, retry=True)
    write_spec(project, {**SPEC, "engine": "direct", "grid": {"retriever": ["bm25", "dense"], "top_k": [3, 4]}})

    class Hurried(Told):
        def ended(self, outcome: Outcome, done: int, left: float | None) -> None:
            if done == 2:
                os.kill(os.getpid(), signal.SIGINT)

    outcome = sweep.run_sweep(spec, Hurried([]))
    assert (outcome.interrupted, outcome.executed) == (True, 2)
    for _ in range(2):
        assert run("sweep", "clean", "outputs/tiny")[0] == 0
    resumed = sweep.run_sweep(spec)
    assert (resumed.skipped, resumed.executed) == (2, 6)
    assert run("sweep", "clean", "outputs/tiny")[1].startswith("removed 4 folders, ")  # those of the first spec


def test_clean_lets_what_failed_be_tried_again(spec: Path, run: Run) -> None:
    assert len(sweep.run_sweep(spec).failed) == 1
    assert run("sweep", "clean", "outputs/tiny")[0] == 0
    assert sweep.run_sweep(spec).executed == 1


def test_clean_refuses_what_is_no_sweep_or_runs(spec: Path, project: Path, run: Run) -> None:
    code, _, err = run("sweep", "clean", "docs")
    assert (code, err) == (2, "error: docs holds no finished sweep (no record.json with its runs); name a folder of outputs/\n")
    sweep.run_sweep(spec)
    with closing(Ledger(project / "outputs/tiny/ledger.sqlite")) as other:
        other.add([("b", "another")])
        other.claim(["b"])
        storage.write_text(project / "outputs/tiny/runs/.run-b/file", "x")
        code, _, err = run("sweep", "clean", "outputs/tiny")
    assert code == 2
    assert "1 runs are under way (another)" in err
    assert (project / "outputs/tiny/runs/.run-b").is_dir()


# --- the live display -----------------------------------------------------------------------------------------------------------------


def test_the_display_is_drawn_while_runs_begin_and_end(request: pytest.FixtureRequest) -> None:
    request.addfinalizer(partial(sys.setswitchinterval, sys.getswitchinterval()))
    sys.setswitchinterval(1e-6)  # seconds: threads take turns in the middle of a drawing
    live, errors = cli_sweep.Live(), list[BaseException]()
    live.planned(0, 20_000)
    over = threading.Event()

    def draw() -> None:
        try:
            while not over.is_set():
                live._draw()
        except RuntimeError as error:  # the dictionary changed size
            errors.append(error)

    thread = threading.Thread(target=draw)
    thread.start()
    for number in range(2000):
        live.began(Task(f"run-{number}", "early", Path("notebook"), Path("run"), {}))
    over.set()
    thread.join()
    assert errors == []
    live.ended(Outcome(Task("run-0", "early", Path("notebook"), Path("run"), {}), Ended("ok", seconds=2.0)), 1, 30.0)
    lines = live._draw().plain.splitlines()
    assert len(lines) == 2000  # one run less, and the sum
    assert lines[0] == "  early: 0 s"
    assert lines[-1] == "1 of 20000 points done, about 30 s left"
