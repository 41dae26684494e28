"""Sweeps that run: interrupted, killed anywhere and resumed, nothing half done counted, nothing lost, nothing leaked."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_sweep import Told, make_project, run_cli, tree, write_spec

from workbench import storage, sweep, sweep_done, sweep_executors, sweep_run
from workbench.engine_limits import Ended

KERNEL_GONE_SECONDS = 10
CANARY = "canary-5f0c2b7e91"


@dataclass
class History:
    """Hold what happened to a sweep of two runs: interrupted in the second, killed in the second, resumed."""

    folder: Path
    done: list["subprocess.CompletedProcess[str]"]
    trees: list[dict[str, tuple[bytes, int]]]  # of outputs/, after each process
    kernels_gone: list[bool]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    if os.name == "nt":
        pytest.skip("signals are those of POSIX")
    folder = tmp_path_factory.mktemp("history")
    make_project(folder)
    past = History(folder, [], [], [])
    for number in (signal.SIGINT, signal.SIGKILL, None):
        mark = folder / "mark"
        trouble = {"TROUBLE": "recursive:wait", "MARK": str(mark)} if number else {}
        process = start_sweep(folder, **trouble)
        if number:
            assert wait_for(lambda mark=mark: mark.is_file() and mark.read_text(), 60), process.poll()
            process.send_signal(number)
        if number == signal.SIGINT:  # the first one lets the run under way end
            time.sleep(1)
            assert process.poll() is None
            process.send_signal(number)
        out, err = process.communicate(timeout=60)
        past.done.append(subprocess.CompletedProcess([], process.returncode, out, err))
        if number:
            kernel = int(mark.read_text())
            past.kernels_gone.append(wait_for(lambda kernel=kernel: not alive(kernel), KERNEL_GONE_SECONDS))
            mark.unlink()
        past.trees.append(files(folder / "outputs"))
    return past


@pytest.fixture
def finished(history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a copy of a project whose sweep is complete."""
    folder = tmp_path / "copy"
    shutil.copytree(history.folder, folder)
    monkeypatch.setenv("WORKBENCH_HOME", str(folder))
    return folder


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return all files but those of the ledger, which changes."""
    return {path: content for path, content in tree(folder).items() if "ledger.sqlite" not in path}


def run_folders(folder: Path) -> dict[str, Path]:
    """Return the runs of the tiny sweep by chunker."""
    return {path.name.partition("-")[0]: path for path in (folder / "outputs/tiny/runs").glob("[!.]*")}


def start_sweep(folder: Path, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "workbench", "sweep", "params/tiny.sweep.yaml"]
    variables = {**os.environ, "WORKBENCH_HOME": str(folder), "CANARY_API_KEY": CANARY, **environment}
    variables.pop("WORKBENCH_CACHE", None)
    return subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")


def wait_for(condition: Callable[[], object], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def alive(process: int) -> bool:
    """Tell whether a process runs; one that ended and was not waited for does not."""
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:  # no /proc
        return True


# --- interrupted, killed, resumed ---------------------------------------------------------------------------------------------------


def test_an_interrupt_ends_with_130_and_keeps_what_is_finished(history: History) -> None:
    assert history.done[0].returncode == 130
    assert history.done[0].stdout.startswith("[1/2] chunker fixed: ok in ")
    assert "Traceback" not in history.done[0].stderr
    assert history.kernels_gone[0]
    assert {path.split("/")[2][:5] for path in history.trees[0]} == {"fixed"}  # its run, and no half one
    assert {Path(path).name for path in history.trees[0]} == {"notebook.ipynb", "record.json", "result.json"}


def test_a_killed_sweep_leaves_no_kernel_and_no_half_result_that_counts(history: History) -> None:
    assert history.done[1].returncode == -signal.SIGKILL
    assert history.done[1].stdout.startswith("1 of 2 points done before")
    assert history.kernels_gone[1]
    left = {path for path in history.trees[1] if path not in history.trees[0]}
    assert {path.split("/")[2][:5] for path in left} == {".run-"}
    assert "result.json" in {Path(path).name for path in left}  # complete, yet its run had not ended


def test_a_resumed_sweep_runs_only_what_is_missing(history: History) -> None:
    last = history.done[2]
    assert last.returncode == 0, last.stderr
    assert [line.partition(" in ")[0] for line in last.stdout.splitlines()[:2]] == [
        "1 of 2 points done before",
        "[2/2] chunker recursive: ok",
    ]
    assert last.stdout.splitlines()[-2:] == ["1 runs executed, 1 done before, 0 failed", "outputs/tiny/report.html"]
    assert {path: history.trees[2][path] for path in history.trees[0]} == history.trees[0]  # to the byte and the nanosecond
    assert {"tiny/leaderboard.csv", "tiny/timings.csv", "tiny/report.html", "tiny/winner.yaml"} <= set(history.trees[2])


def test_no_artefact_holds_a_local_path_or_a_secret(history: History) -> None:
    """SC1, SC2: the notebook prints both."""
    runs = {path: content.decode("utf-8") for path, (content, _) in history.trees[2].items() if ".run-" not in path}
    assert len(runs) == 13
    for path, text in runs.items():
        for local in (str(history.folder), str(Path.home()), sys.prefix, CANARY):
            assert local not in text, f"{local} in {path}"
    printed = json.loads(next(text for path, text in runs.items() if path.endswith("notebook.ipynb")))
    assert "[CANARY_API_KEY]" in json.dumps(printed)
    assert printed["metadata"]["papermill"].keys().isdisjoint({"input_path", "output_path"})


def test_a_second_run_executes_nothing_and_imports_nothing_heavy(finished: Path) -> None:
    before = tree(finished / "outputs/tiny/runs")
    leaderboard, report = ((finished / "outputs/tiny" / name).read_bytes() for name in ("leaderboard.csv", "report.html"))
    heavy = ("papermill", "nbformat", "jupyter_client", "torch", "transformers", "sentence_transformers", "faiss", "matplotlib")
    start = "from workbench.cli import main\ntry: main(['sweep', 'params/tiny.sweep.yaml'])\nexcept SystemExit as end: print(end.code)\n"
    code = f"import sys\n{start}print('HEAVY', [name for name in {heavy} if name in sys.modules])"
    variables = {**os.environ, "PYTHONIOENCODING": "latin-1"}  # the table has lines and dots
    done = subprocess.run([sys.executable, "-c", code], cwd=finished, env=variables, capture_output=True, encoding="utf-8")
    assert done.stdout.splitlines()[-4:] == ["0 runs executed, 2 done before, 0 failed", "outputs/tiny/report.html", "0", "HEAVY []"], done
    assert tree(finished / "outputs/tiny/runs") == before
    assert (finished / "outputs/tiny/leaderboard.csv").read_bytes() == leaderboard
    assert (finished / "outputs/tiny/report.html").read_bytes() == report


def test_fresh_runs_again_and_replaces_a_result_only_by_a_good_one(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaderboard = (finished / "outputs/tiny/leaderboard.csv").read_bytes()
    before = {name: tree(folder) for name, folder in run_folders(finished).items()}
    monkeypatch.setenv("TROUBLE", "fixed:raise")
    said: list[str] = []
    outcome = sweep.run_sweep(finished / "params/tiny.sweep.yaml", Told(said), fresh=True)
    assert (outcome.executed, outcome.skipped, [entry.label for entry in outcome.failed]) == (2, 0, ["chunker fixed"])
    after = {name: tree(folder) for name, folder in run_folders(finished).items()}
    assert after["fixed"] == before["fixed"]
    assert after["recursive"]["result.json"] != before["recursive"]["result.json"]  # run again: other seconds
    assert outcome.baselines == {}  # it is the one that failed; the report is written all the same
    assert "folder:docs: no result has the baseline's settings {'chunk_size': 8, 'chunker': 'fixed'}; " in "\n".join(said)
    assert "no luck" in (finished / "outputs/tiny/report.html").read_text("utf-8")
    assert (finished / "outputs/tiny/leaderboard.csv").read_bytes() != leaderboard
    monkeypatch.delenv("TROUBLE")
    resumed = sweep.run_sweep(finished / "params/tiny.sweep.yaml", Told(said))
    assert (resumed.executed, resumed.skipped) == (0, 2)
    assert (finished / "outputs/tiny/leaderboard.csv").read_bytes() == leaderboard


def test_a_changed_result_is_not_believed(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = finished / "params/tiny.sweep.yaml"
    leaderboard = (finished / "outputs/tiny/leaderboard.csv").read_bytes()
    file = run_folders(finished)["fixed"] / "result.json"
    record = storage.read_json(file)
    record["results"][0]["scores"]["recall@1"][0] = 0.125
    storage.write_json(file, record)
    failed = storage.write_text(finished / "outputs/tiny/failed" / file.parent.name / "notebook.ipynb", "of an earlier failure").parent
    assert run_cli("sweep", str(path)) == 0
    assert not failed.exists()
    assert "1 runs executed, 1 done before, 0 failed" in capsys.readouterr().out
    assert (finished / "outputs/tiny/leaderboard.csv").read_bytes() == leaderboard


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.json", None),
        ("result.json", b""),
        ("result.json", b'{"results": []}'),
        ("record.json", None),
        ("record.json", b"{"),
        ("record.json", b"[]"),
        ("record.json", b'{"run_id": "another"}'),
    ],
)
def test_a_run_with_a_damaged_file_counts_as_not_done(finished: Path, name: str, content: bytes | None) -> None:
    point = sweep.plan(finished / "params/tiny.sweep.yaml")[1][0]
    assert sweep_done.finished(point)
    file = point.folder / name
    file.unlink() if content is None else file.write_bytes(content)
    assert sweep_done.finished(point) is None


# --- failures -----------------------------------------------------------------------------------------------------------------------


def test_one_failing_run_does_not_stop_the_others(
    finished: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PM1, PM2, D19: an exception, sys.exit(0), a dead kernel and a missing result are failures; another sweep's results stay."""
    before = files(finished / "outputs/tiny")
    monkeypatch.setenv("CANARY_API_KEY", CANARY)
    write_spec(finished, {"notebook": "tiny", "grid": {"trouble": ["raise", "exit", "kill", "silent", ""]}}, "bad.sweep.yaml")
    assert run_cli("sweep", str(finished / "params/bad.sweep.yaml")) == 1
    out, err = capfd.readouterr()
    assert [line.partition(" in ")[0] for line in out.splitlines() if line.startswith("[")] == [
        "[1/5] trouble raise: failed (raised)",
        "[2/5] trouble exit: failed (exited)",
        "[2/5] trouble kill: lost (died)",
        "[3/5] trouble silent: failed (incomplete)",
        "[4/5] trouble : ok",
        "[4/5] trouble kill: lost (died)",
        "[4/5] trouble kill: lost (died)",
    ]
    reasons = [line.strip() for line in out.splitlines() if line.startswith("    ")]
    assert reasons[0] == "ValueError: no luck with [CANARY_API_KEY] in ."
    assert reasons[1] == "SystemExit was raised and 1 code cells never ran (sys.exit in a cell?)"
    assert reasons[2] == "Kernel died"
    assert reasons[3].startswith("the notebook ended without complete results (save_results): no such file: ./result.json")
    assert "LOST (died): 1\n  trouble kill: " in err
    assert "Traceback" not in err
    assert len(list((finished / "outputs/bad/runs").iterdir())) == 1
    assert {path.name.partition("-")[0] for path in (finished / "outputs/bad/failed").iterdir()} == {"raise", "exit", "kill", "silent"}
    assert files(finished / "outputs/tiny") == before
    for path, (content, _) in tree(finished / "outputs/bad").items():
        assert CANARY.encode() not in content, path


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda results: results.clear(), "holds no results"),
        (lambda results: results[0].pop("clusters"), "not a complete result record: KeyError('clusters')"),
        (lambda results: results[0]["clusters"].pop(), "scores and questions differ in number"),
        (lambda results: results[0]["settings"].update(chunk_size=0), "chunk_size = 0"),
        (lambda results: [row.update(scores={name: [None] * 4 for name in row["scores"]}) for row in results], "without complete results"),
    ],
)
def test_results_that_are_not_whole_are_no_success(finished: Path, damage: Any, message: str) -> None:
    folder = run_folders(finished)["fixed"]
    assert sweep_run._incomplete(folder) == ""
    record = storage.read_json(folder / "result.json")
    damage(record["results"])
    storage.write_json(folder / "result.json", record)
    assert message in sweep_run._incomplete(folder)


def test_leftovers_of_killed_runs_go_after_a_day(tmp_path: Path) -> None:
    for name, days in (("fixed-1", 3), (".run-new", 0.5), (".run-old", 3)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - days * 86400,) * 2)
    sweep_done.remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"fixed-1", ".run-new"}


def test_a_sweep_without_any_result_keeps_older_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_project(tmp_path)
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setattr(sweep_executors, "_execute", lambda *_: Ended("failed", "raised", "first line\nlast line\n"))
    old = storage.write_text(tmp_path / "outputs/tiny/leaderboard.csv", "old")
    assert run_cli("sweep", str(path)) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[1] == "    last line"
    assert out.splitlines()[-1] == "2 runs executed, 0 done before, 2 failed"
    assert "FAILED (raised last line): 2\n  chunker fixed: last line\n" in err
    assert old.read_text("utf-8") == "old"
