"""Sweeps under fire: kernels and drivers killed at random, two drivers at once, a full disk, runs that misbehave.

Small by default; `make test-slow` runs the full sizes.
"""

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from small_sweep import make_project, write_spec

from workbench import storage, sweep, sweep_done
from workbench.evaluation import load_results
from workbench.ledger import Ledger

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
ORPHAN_SECONDS = 5


def make(folder: Path, points: int, **fields: Any) -> Path:
    """Write a project with a sweep of so many points that differ in their note only, and return its folder."""
    make_project(folder)
    spec = {"notebook": "tiny", "fixed": {"chunk_sizes": [8]}, "grid": {"note": [f"n{number}" for number in range(points)]}} | fields
    write_spec(folder, spec)
    return folder


def start(folder: Path, *options: str, **environment: str) -> "subprocess.Popen[str]":
    variables = {**os.environ, "WORKBENCH_HOME": str(folder), "OMP_NUM_THREADS": "1", **environment}
    variables.pop("WORKBENCH_CACHE", None)
    command = [sys.executable, "-m", "workbench", "sweep", "params/tiny.sweep.yaml", *options]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


def kernels_of(process: int) -> list[psutil.Process]:
    """Return the kernels under a driver: what it started, but for the process that forks them."""
    try:
        below = psutil.Process(process).children(recursive=True)
        return [one for one in below if not any("workbench.engine_fork" in part for part in one.cmdline()) or one.ppid() != process]
    except psutil.NoSuchProcess:
        return []


def check(folder: Path, points: int) -> tuple[list[int], list[dict[str, str]]]:
    """Check that nothing is lost, doubled or broken; return the attempts and the rows of the leaderboard."""
    runs = [path for path in (folder / "outputs/tiny/runs").iterdir() if not path.name.startswith(".")]
    assert len(runs) == points
    for run in runs:
        record = storage.read_json(run / "record.json")
        assert record["result"] == storage.sha256_file(run / "result.json")
        assert load_results(run / "result.json")
        assert storage.read_json(run / "notebook.ipynb")["cells"]
    with closing(Ledger(folder / "outputs/tiny/ledger.sqlite")) as ledger:
        entries = ledger.entries()
    assert [entry.state for entry in entries] == ["ok"] * points
    rows = list(csv.DictReader((folder / "outputs/tiny/leaderboard.csv").read_text("utf-8-sig").splitlines()))
    assert len({row["config_id"] for row in rows}) == len(rows)
    return [entry.attempts for entry in entries], rows


def gone(processes: list[psutil.Process]) -> bool:
    end = time.monotonic() + ORPHAN_SECONDS
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.full_size
def test_killed_kernels_lose_nothing(tmp_path: Path, full: bool) -> None:
    points, kills = (200, 100) if full else (10, 5)
    folder = make(tmp_path, points)
    process = start(folder, "--jobs", "2")
    draw, killed, seen = random.Random(0), 0, set()
    told: list[str] = []
    reader = threading.Thread(target=lambda: told.extend(process.stdout or ()))
    reader.start()
    while process.poll() is None and killed < kills:
        time.sleep(draw.uniform(0.05, 0.6))
        found = kernels_of(process.pid)
        seen.update(found)
        if found:
            chosen = draw.choice(found)
            if chosen.is_running():
                chosen.kill()
                killed += 1
    assert process.wait(1200) == 0, "".join(told)
    reader.join()
    attempts, _ = check(folder, points)
    assert killed >= kills // 2
    assert sum(attempts) - points <= killed
    assert gone(list(seen))


@pytest.mark.full_size
def test_a_killed_driver_is_resumed_to_the_same_table(tmp_path: Path, full: bool) -> None:
    points, kills = (400, 50) if full else (6, 3)
    one = make(tmp_path / "one", points)
    assert start(one, "--jobs", "2").wait(600) == 0
    other = make(tmp_path / "other", points)
    draw, killed = random.Random(1), 0
    while True:
        process = start(other, "--jobs", "2")
        seen: list[psutil.Process] = []
        deadline = time.monotonic() + draw.uniform(1.5, 4.0)
        while process.poll() is None and (killed == kills or time.monotonic() < deadline):
            seen += kernels_of(process.pid)
            time.sleep(0.05)
        if process.poll() is not None:
            assert process.returncode == 0, process.communicate()[0]
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
        assert gone(seen)
    assert killed == kills if full else killed
    check(other, points)
    tables = [(folder / "outputs/tiny/leaderboard.csv").read_bytes() for folder in (one, other)]
    assert tables[0] == tables[1]


@pytest.mark.full_size
def test_two_drivers_run_each_point_once(tmp_path: Path, full: bool) -> None:
    points = 60 if full else 6
    folder = make(tmp_path, points)
    both = [start(folder) for _ in range(2)]
    told = [process.communicate(timeout=600)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    attempts, _ = check(folder, points)
    assert attempts == [1] * points
    executed = [int(text.splitlines()[-2].split()[0]) for text in told]
    assert sum(executed) == points
    assert min(executed) > 0


def test_each_misbehaving_run_is_reported_as_what_it_is_and_the_others_finish(tmp_path: Path) -> None:
    troubles = {"memory": "memory", "loop": "timeout", "exit": "exited", "kill": "died", "flood": "flood"}
    troubles |= {"raise": "raised", "silent": "incomplete"}
    folder = make(tmp_path, 0, grid={"trouble": [*troubles, ""]}, limits={"seconds": 12.0, "memory_mb": 900})
    process = start(folder, "--jobs", "2")
    said = process.communicate(timeout=180)[0]
    assert process.returncode == 1, said
    with closing(Ledger(folder / "outputs/tiny/ledger.sqlite")) as ledger:
        found = {entry.label.removeprefix("trouble ").strip(): (entry.state, entry.kind, entry.attempts) for entry in ledger.entries()}
    assert found.pop("") == ("ok", "", 1)
    assert found == {trouble: ("lost", kind, 3) if kind == "died" else ("failed", kind, 1) for trouble, kind in troubles.items()}
    assert "--retry failed" in said
    again = start(folder)
    said = again.communicate(timeout=60)[0]
    assert (again.returncode, said.splitlines()[-2]) == (1, "0 runs executed, 1 done before, 7 failed")  # none of these by itself again


def test_a_full_disk_changes_no_earlier_artefact_and_a_resume_completes(tmp_path: Path) -> None:
    if not shutil.which("unshare"):
        pytest.skip("needs unshare (util-linux)")
    folder = make(tmp_path / "project", 3)
    (folder / "outputs").mkdir()
    script = """set -e
mount -t tmpfs -o size=40m tmpfs "$1/outputs"
cd "$1"
"$2" -m workbench sweep params/tiny.sweep.yaml --kernels fresh >/dev/null
rm outputs/tiny/runs/n2-*/record.json
cp -r outputs/tiny/runs "$1/before"
dd if=/dev/zero of=outputs/filler bs=4k 2>/dev/null || true
set +e
"$2" -m workbench sweep params/tiny.sweep.yaml --kernels fresh > "$1/said" 2>&1
echo $? > "$1/code"
cp -r outputs/tiny/runs "$1/full"
rm outputs/filler
"$2" -m workbench sweep params/tiny.sweep.yaml --kernels fresh > "$1/resumed" 2>&1
echo $? >> "$1/code"
cp -r outputs/tiny "$1/end"
"""
    variables = {**os.environ, "WORKBENCH_HOME": str(folder)}
    variables.pop("WORKBENCH_CACHE", None)
    command = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", script, "-", str(folder), sys.executable]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=180)
    if done.returncode and "mount" in done.stderr + done.stdout and not (folder / "before").exists():
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    said = (folder / "said").read_text("utf-8")
    codes = (folder / "code").read_text().split()
    assert codes[0] != "0"
    assert "No space left" in said or "disk" in said or "full" in said, said
    assert "Traceback" not in said, said
    for run in (folder / "before").glob("n[01]-*"):
        for file in run.iterdir():
            assert (folder / "full" / run.name / file.name).read_bytes() == file.read_bytes()
    assert codes[1] == "0", (folder / "resumed").read_text("utf-8")
    assert len(list((folder / "end/runs").glob("n*/record.json"))) == 3


@pytest.mark.full_size
def test_a_changed_file_is_never_believed(tmp_path: Path, full: bool) -> None:
    """Mutate results, records and the ledger of a finished sweep: what is served is what was computed, or it counts as not done."""
    folder = make(tmp_path, 2)
    process = start(folder)
    assert process.wait(120) == 0
    runs = sorted(path for path in (folder / "outputs/tiny/runs").iterdir())
    truth = {run.name: [result.to_json() for result in load_results(run / "result.json")] for run in runs}
    kept = tmp_path / "kept"
    shutil.copytree(folder / "outputs/tiny", kept)
    draw, served = random.Random(2), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_HOME", str(folder))
        points = sweep.plan(folder / "params/tiny.sweep.yaml")[1]
        for _ in range(600 if full else 120):
            shutil.rmtree(folder / "outputs/tiny")
            shutil.copytree(kept, folder / "outputs/tiny")
            victims = [*(folder / "outputs/tiny/runs").glob("*/*.json"), folder / "outputs/tiny/ledger.sqlite"]
            mutate(draw.choice(victims), draw)
            with closing(Ledger(folder / "outputs/tiny/ledger.sqlite")) as ledger:
                ready = sweep_done.settle(ledger, points)
            for point in points:
                results = sweep_done.finished(point)
                assert (results is None) or [result.to_json() for result in results] == truth[point.folder.name]
                assert (results is not None) == (point.run_id in ready)
                served += results is not None
    assert served


def mutate(file: Path, draw: random.Random) -> None:
    """Damage a file: delete, empty, cut, flip a bit, overwrite, or append."""
    content = file.read_bytes()
    how = draw.choice(("delete", "empty", "cut", "flip", "garbage", "append"))
    if how == "delete":
        file.unlink()
    elif how == "flip":
        place = draw.randrange(len(content))
        file.write_bytes(content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :])
    else:
        changed = {"empty": b"", "cut": content[: draw.randrange(len(content))], "garbage": draw.randbytes(200), "append": content + b"x"}
        file.write_bytes(changed[how])
