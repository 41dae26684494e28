"""Whatever happens to the ledger's file: it opens, and no run is lost."""

import contextlib
import itertools
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ledger_worker import RESULT, names, quick_folder

from workbench.datatypes import WorkbenchError
from workbench.ledger import LEASE, Ledger
from workbench.ledger_rows import SHA256, STATES

WORKER = Path(__file__).with_name("ledger_worker.py")
RUNS = names(40)


@pytest.fixture
def path() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder / "ledger.sqlite"


def opened(path: Path, later: float = 0) -> Ledger:
    ledger = Ledger(path, clock=lambda: time.time() + later)
    ledger.add((run_id, f"label of {run_id} 표지") for run_id in RUNS)
    return ledger


def fill(path: Path) -> Ledger:
    """Give a ledger with ten runs of each of ok, failed, lost and queued."""
    ledger = opened(path)
    for run_id in ledger.claim_many(RUNS, 30):
        number = RUNS.index(run_id)
        end = (lambda run_id: ledger.ok(run_id, RESULT, 1.5), lambda run_id: ledger.fail(run_id, "raised", "KeyError: 'x'" * 20, 2))
        assert (*end, lambda run_id: ledger.lose(run_id, "died", "the kernel died", 3))[number % 3](run_id)
    return ledger


def check_nothing_is_lost(ledger: Ledger) -> None:
    """Require that every run is validly ok, or can be claimed, at the latest when the failed and lost ones are queued again."""
    entries = ledger.entries(RUNS)
    assert {entry.state for entry in entries} <= set(STATES)
    ok = {entry.run_id for entry in entries if entry.state == "ok" and SHA256.fullmatch(entry.result)}
    claimed = ledger.claim_many(RUNS, len(RUNS))
    ledger.requeue(RUNS, ["failed", "lost"])
    claimed += ledger.claim_many(RUNS, len(RUNS))
    assert sorted([*ok, *claimed]) == RUNS
    assert ledger.ok_many([(run_id, RESULT, 1) for run_id in claimed]) == set(claimed)
    assert {entry.state for entry in ledger.entries(RUNS)} == {"ok"}


# --- the file --------------------------------------------------------------------------------------------------------------------------


def mutate(path: Path, rng: random.Random) -> None:
    """Damage one of the ledger's files."""
    file = rng.choice([file for file in path.parent.glob(f"{path.name}*") if not file.name.endswith((".lock", "-shm"))])
    data, kind = file.read_bytes(), rng.choice(["flip", "header", "truncate", "zero", "random", "garbage", "empty", "delete", "double"])
    at = rng.randrange(100 if kind == "header" else len(data))
    if kind in {"flip", "header"}:
        data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    hole = data[at : at + rng.choice([1, 200, 4096])]
    changed = {
        "truncate": data[:at],
        "zero": data[:at] + bytes(len(hole)) + data[at + len(hole) :],
        "random": data[:at] + rng.randbytes(len(hole)) + data[at + len(hole) :],
        "garbage": rng.randbytes(len(data)),
        "empty": b"",
        "double": data + data,
    }
    file.write_bytes(changed.get(kind, data))
    if kind == "delete":
        file.unlink()


@pytest.mark.parametrize("while_open", [False, True], ids=["closed", "with its log"])
def test_no_mutation_of_the_files_loses_a_run(path: Path, while_open: bool) -> None:
    ledger = fill(path)
    if not while_open:
        ledger.close()
    good = {file.name: file.read_bytes() for file in path.parent.glob("ledger.sqlite*") if not file.name.endswith("-shm")}
    assert ("ledger.sqlite-wal" in good) == while_open
    ledger.close()
    rng, damaged = random.Random(7), 0
    for number in range(100):
        folder = path.parent / str(number)
        folder.mkdir()
        for name, data in good.items():
            (folder / name).write_bytes(data)
        mutate(folder / path.name, rng)
        found = opened(folder / path.name, later=2 * LEASE)  # a log cut short shows runs that were running
        check_nothing_is_lost(found)
        damaged += found.damaged
        found.close()
    assert while_open or damaged > 30  # a damaged log is only read up to the damage


@pytest.mark.parametrize(
    "change",
    [
        "state = 'done'",
        "state = 'OK'",
        "state = x'00ff'",
        "state = CAST(x'ff' AS TEXT)",
        "state = 'ok', result = ''",
        "state = 'ok', result = 'yes'",
        "state = 'ok', result = UPPER(result)",
        "state = 'queued', attempts = -1",
        "state = 'queued', attempts = 'many'",
        "state = 'lost', attempts = 1e300",
        "state = 'lost', attempts = 9223372036854775807",
        "state = 'running', owner = 'me'",
        "state = 'running', owner = ''",
        "state = 'running', lease = 'soon'",
        "state = 'running', lease = 1e999",
        "error = x'00'",
        "seconds = 'long'",
        "seconds = -1e999",
        "updated = 'today'",
        "label = x'ff'",
    ],
)
def test_a_row_that_is_not_ours_counts_as_queued(path: Path, change: str) -> None:
    fill(path)
    edit(path, f"UPDATE runs SET {change} WHERE run_id IN ('{RUNS[0]}', '{RUNS[35]}')")
    ledger = opened(path)
    entries = ledger.entries([RUNS[0], RUNS[35]])
    assert [(entry.state, entry.attempts, entry.result, entry.error) for entry in entries] == [("queued", 0, "", "")] * 2
    check_nothing_is_lost(ledger)
    assert ledger.damaged == 0


def test_bad_and_missing_rows_are_claimed_when_nothing_else_is_left(path: Path) -> None:
    ledger = opened(path)
    edit(path, f"UPDATE runs SET state = 'done' WHERE run_id = '{RUNS[1]}'", f"DELETE FROM runs WHERE run_id = '{RUNS[3]}'")
    assert ledger.claim_many(RUNS, 40) == [run_id for run_id in RUNS if run_id not in (RUNS[1], RUNS[3])]
    assert ledger.claim_many(RUNS, 40) == [RUNS[1], RUNS[3]]


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE runs; CREATE TABLE other (name TEXT)",
        "CREATE TABLE other AS SELECT * FROM runs; UPDATE other SET state = NULL; DROP TABLE runs; ALTER TABLE other RENAME TO runs",
        "DROP INDEX runs_by_state",
        "ALTER TABLE runs DROP COLUMN lease",
        "CREATE TRIGGER no BEFORE UPDATE ON runs BEGIN SELECT RAISE(FAIL, 'no'); END",
    ],
)
def test_a_file_with_other_tables_is_set_aside(path: Path, change: str) -> None:
    fill(path).close()
    edit(path, change)
    ledger = opened(path)
    assert ledger.damaged == 1
    check_nothing_is_lost(ledger)


def edit(path: Path, *statements: str) -> None:
    """Change the file by hand."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(";".join(statements))


@pytest.mark.parametrize("how", ["garbage", "deleted", "replaced"])
def test_drivers_that_have_it_open_go_on_together_when_it_breaks(path: Path, how: str) -> None:
    one, two = opened(path), opened(path)
    assert one.claim_many(RUNS, 5) == RUNS[:5]
    if how == "garbage":
        path.write_bytes(os.urandom(path.stat().st_size))
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).write_bytes(os.urandom(10_000))
    else:
        for file in path.parent.glob("ledger.sqlite*"):
            file.unlink()
    if how == "replaced":
        path.write_bytes(b"precious notes")
    taken = one.claim_many(RUNS, 10) + two.claim_many(RUNS, 40) + one.claim_many(RUNS, 40)
    assert sorted(taken) == RUNS  # none twice, none left
    assert one.entries() == two.entries()
    aside = [file.read_bytes() for file in path.parent.glob("ledger.sqlite.damaged-*") if not file.name.endswith(("-wal", "-shm"))]
    assert len(aside) == (how != "deleted")
    assert how != "replaced" or aside == [b"precious notes"]


@pytest.mark.parametrize("content", [None, b"garbage"])
def test_many_open_a_new_or_broken_file_at_once(path: Path, content: bytes | None) -> None:
    for number in range(5):
        file, together = path.with_name(f"{number}.sqlite"), threading.Barrier(8)
        if content:
            file.write_bytes(content)

        def work(_: int, file: Path = file, together: threading.Barrier = together) -> list[str]:
            together.wait()
            return opened(file).claim_many(RUNS, 5)

        with ThreadPoolExecutor(8) as pool:
            assert sorted(itertools.chain(*pool.map(work, range(8)))) == RUNS
        assert [aside.read_bytes() for aside in path.parent.glob(f"{number}.sqlite.damaged-*")] == [content] * bool(content)


def test_a_lock_file_that_is_no_lock_is_named(path: Path) -> None:
    opened(path).close()
    path.with_name("ledger.sqlite.lock").write_bytes(b"garbage" * 1000)
    with pytest.raises(WorkbenchError, match=r"ledger\.sqlite\.lock cannot be locked .*it must be an empty file"):
        Ledger(path)
