"""Looking at a ledger: what others write is seen at once, and no file of the folder is made, changed or locked."""

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from ledger_worker import RESULT, Clock, opened, quick_folder

from workbench.datatypes import WorkbenchError
from workbench.ledger import LEASE, Ledger
from workbench.ledger_read import read_ledger, signature

DRIVER = """import sys
from pathlib import Path
from workbench.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
ledger.add([("a", "first"), ("b", "문장")])
ledger.claim(["a"])
print("ready", flush=True)
for line in sys.stdin:
    ledger.ok("a", "0123456789abcdef" * 4, 1.5) if line == "ok\\n" else ledger.claim(["b"])
    print("done", flush=True)
"""


@pytest.fixture
def path() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder / "ledger.sqlite"


def look(path: Path, now: float | None = None, own: bool = False) -> list[tuple[str, str]]:
    """Read a ledger, and require that its folder is as it was, but for the index of the log where this process writes it itself (`own`)."""

    def files() -> dict[str, tuple[bytes, int, int]]:
        return {
            file.name: (file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_ino)
            for file in path.parent.iterdir()
            if not (own and file.name.endswith("-shm"))
        }

    before = files()
    entries = read_ledger(path, now)
    assert files() == before
    return [(entry.run_id, entry.state) for entry in entries]


def test_what_another_process_writes_is_seen_at_once_and_after_its_end(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", DRIVER, str(path)], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as driver:

        def tell(line: str) -> None:
            driver.stdin.write(line)
            driver.stdin.flush()
            assert driver.stdout.readline() == "done\n"

        assert driver.stdout.readline() == "ready\n"
        assert look(path) == [("a", "running"), ("b", "queued")]
        before = signature(path)
        assert signature(path) == before
        tell("ok\n")
        assert signature(path) != before
        assert look(path) == [("a", "ok"), ("b", "queued")]
        tell("claim\n")
        assert look(path) == [("a", "ok"), ("b", "running")]
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        assert path.with_name("ledger.sqlite-wal").stat().st_size > 0
        assert look(path) == [("a", "ok"), ("b", "lost")]
        entry = read_ledger(path)[1]
        assert (entry.kind, entry.owner, entry.seconds) == ("abandoned", "", None)
        assert entry.error.startswith(f"its driver (process {driver.pid} on ")
    path.with_name("ledger.sqlite-shm").unlink()  # the folder was copied, say
    assert look(path) == [("a", "ok"), ("b", "lost")]
    with closing(Ledger(path)) as ledger:  # as before: looking took nothing from the next driver
        ledger.add([("a", ""), ("b", "")])
        assert ledger.claim(["a", "b"]) == "b"
    assert not path.with_name("ledger.sqlite-wal").exists()
    assert look(path) == [("a", "ok"), ("b", "running")]


def test_a_log_that_is_copied_while_drivers_come_and_go_is_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, files = [f"run-{number:03d}" for number in range(60)], (path, path.with_name("ledger.sqlite-wal"))
    with closing(Ledger(path)) as ledger:
        ledger.add((name, "a label " * 20) for name in names)
        ledger.claim(names)
        left = [file.read_bytes() for file in files]
    for file, content in zip(files, left, strict=True):  # what a killed driver leaves, once it was copied elsewhere
        file.write_bytes(content)
    copied, copy, another = [], shutil.copyfile, None

    def slowly(source: Path, target: Path) -> None:
        nonlocal another
        copy(source, target)
        copied.append(source)
        if len(copied) == 1:
            with closing(Ledger(path)) as ledger:
                ledger.add((name, "") for name in names)
                ledger.ok_many((name, RESULT, 1.0) for name in ledger.claim_many(names, 60))
            another = Ledger(path)
            another.add([("late", "")])

    monkeypatch.setattr(shutil, "copyfile", slowly)
    states = [entry.state for entry in read_ledger(path)]
    another.close()
    assert copied
    assert states.count("ok") >= 59
    assert states[-1] == "queued"


def test_a_lease_that_ran_out_counts_as_lost_as_for_a_driver(path: Path) -> None:
    clock = Clock()
    with closing(opened(path, clock)) as ledger:
        ledger.claim(["a"])
        assert look(path, clock.now + LEASE - 1, own=True)[0] == ("a", "running")
        assert look(path, clock.now + LEASE + 1, own=True)[0] == ("a", "lost")
        ledger.ok("a", RESULT, 1.0)
        assert look(path, clock.now, own=True)[0] == ("a", "ok")


def test_a_copy_in_a_folder_that_cannot_be_written_is_read(path: Path, tmp_path: Path) -> None:
    with closing(opened(path, Clock())):
        pass
    folder = tmp_path / "it's 100% 한글 #?"
    folder.mkdir()
    shutil.copy(path, folder / "ledger.sqlite")
    folder.chmod(0o500)
    try:
        assert [name for name, _ in look(folder / "ledger.sqlite")] == ["a", "b", "c"]
    finally:
        folder.chmod(0o700)


def test_a_row_that_is_not_ours_counts_as_queued(path: Path) -> None:
    with closing(opened(path, Clock())):
        with closing(sqlite3.connect(path)) as other:
            other.execute("UPDATE runs SET state = 'ok', result = '' WHERE run_id = 'b'")
            other.commit()
        assert look(path, own=True) == [("a", "queued"), ("b", "queued"), ("c", "queued")]


def damage(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset : offset + 100] = bytes(range(100))
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: damage(path, 0), "cannot be read .*if it is damaged, the next `workbench sweep SPEC` sets it aside"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "cannot be read .*malformed"),
        (lambda path: path.write_bytes(b"no database at all, but long enough to be one" * 100), "cannot be read .file is not a database"),
        (lambda path: path.unlink(), "there is no ledger .*`workbench sweep SPEC` writes one"),
        (lambda path: (path.unlink(), sqlite3.connect(path).execute("CREATE TABLE runs (x)").connection.close()), "it has other tables"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
    ],
)
def test_a_damaged_or_missing_ledger_is_a_message_and_stays_as_it_is(path: Path, change: Callable[[Path], object], message: str) -> None:
    with closing(opened(path, Clock())):
        pass
    change(path)
    before = sorted((file.name, file.stat().st_mtime_ns) for file in path.parent.iterdir())
    with pytest.raises(WorkbenchError, match=message):
        read_ledger(path)
    assert sorted((file.name, file.stat().st_mtime_ns) for file in path.parent.iterdir()) == before


def test_a_ledger_that_was_only_just_made_is_empty(path: Path) -> None:
    path.touch()
    assert look(path) == []


def test_ten_thousand_runs_are_read_in_a_moment(path: Path) -> None:
    with closing(Ledger(path)) as ledger:
        ledger.add((f"run-{number:05d}", "a label") for number in range(10_000))
        began = time.perf_counter()
        assert len(read_ledger(path)) == 10_000
        assert time.perf_counter() - began < 1
