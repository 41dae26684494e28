"""Drivers that are killed, stopped or out of disk space: no run is lost, and none is finished twice."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_worker import names, quick_folder

from workbench.ledger import Ledger

WORKER = Path(__file__).with_name("ledger_worker.py")
needs_kill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")


@pytest.fixture
def path() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder / "ledger.sqlite"


FULL_DISK = """
import resource, sys
from pathlib import Path
from workbench.datatypes import WorkbenchError
from workbench.ledger import Ledger
resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
ledger = Ledger(Path(sys.argv[1]))
ledger.add((f"{number}", "") for number in range(500))
done = 0
try:
    for number in range(500):
        run_id = ledger.claim([f"{number}"])
        done += ledger.fail(run_id, "raised", "x" * 5000, 1)
except WorkbenchError as error:
    print(done, error)
"""


def test_a_full_disk_is_a_message_and_keeps_what_was_recorded(path: Path) -> None:
    pytest.importorskip("resource")
    done = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, timeout=60, check=True)
    assert f"the ledger {path} cannot be used" in done.stdout, done.stderr
    ledger = Ledger(path)
    counts = Counter(entry.state for entry in ledger.entries())
    assert counts["failed"] == int(done.stdout.split()[0]) > 10
    assert (sum(counts.values()), counts["running"] <= 1, ledger.damaged) == (500, True, 0)


def worker(path: Path, name: str, count: int, most: int) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, WORKER, path, path.with_name(name), str(count), str(most)])


def noted(path: Path, name: str) -> list[list[str]]:
    """Return the notes of a worker, without a last line cut short by its death."""
    file = path.with_name(name)
    return [line.split() for line in file.read_text("utf-8").split("\n")[:-1]] if file.exists() else []


@needs_kill
def test_four_drivers_of_which_two_are_killed_finish_every_run_once(path: Path) -> None:
    count, most = 300, 5
    drivers = {name: worker(path, name, count, most) for name in ("one", "two", "three", "four")}
    for victim, after in (("one", 5), ("two", 40)):
        while len(noted(path, victim)) < after and drivers[victim].poll() is None:
            time.sleep(0.002)
        drivers[victim].kill()  # not waited for: a zombie is no longer a driver
    assert [drivers[name].wait(timeout=60) for name in ("three", "four")] == [0, 0]
    assert [drivers[name].wait(timeout=60) for name in ("one", "two")] == [-signal.SIGKILL] * 2
    entries = Ledger(path).entries()
    assert [(entry.run_id, entry.state) for entry in entries] == [(run_id, "ok") for run_id in names(count)]
    finished = Counter(run_id for name in drivers for what, run_id in noted(path, name) if what == "finished")
    assert set(finished.values()) == {1}
    assert count - len(finished) <= 2 * most  # recorded by a victim that could not note it any more
    assert sum(entry.attempts - 1 for entry in entries) <= 2 * most
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


CLAIM_AND_WAIT = """
import sys, time
from pathlib import Path
from workbench.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
ledger.add([("a", ""), ("b", "")])
print(ledger.claim(["a"]), flush=True)
time.sleep(60)
"""


@needs_kill
@pytest.mark.parametrize("waited_for", [True, False], ids=["gone", "zombie"])
def test_a_driver_killed_on_this_host_is_noticed_at_once(path: Path, waited_for: bool) -> None:
    ledger = Ledger(path)
    ledger.add([("a", ""), ("b", "")])
    with subprocess.Popen([sys.executable, "-c", CLAIM_AND_WAIT, path], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout.readline() == "a\n"
        assert ledger.claim("a") is None
        os.kill(driver.pid, signal.SIGSTOP)  # alive, but silent: its lease decides
        assert ledger.claim("a") is None
        os.kill(driver.pid, signal.SIGKILL)
        if waited_for:
            driver.wait()
        else:
            os.waitid(os.P_PID, driver.pid, os.WEXITED | os.WNOWAIT)
        assert ledger.claim("a") == "a"
    assert [(entry.state, entry.attempts) for entry in ledger.entries()] == [("running", 2), ("queued", 0)]
