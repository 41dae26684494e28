"""Look at a ledger that others may be writing: no file of its folder is changed, made or locked against them.

SQLite makes the files -wal and -shm of a database in WAL mode even for a reader, so how it is opened depends on which of them exist.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from workbench.datatypes import WorkbenchError
from workbench.ledger_rows import SCHEMA, Entry, alive_at, all_rows, entry_of, is_ours
from workbench.storage_process import shown

ABANDONED = "abandoned"  # the kind of a run whose driver is gone
TRIES = 5  # a driver that comes or goes in the meantime makes and removes files


def read_ledger(path: Path, now: float | None = None) -> list[Entry]:
    """Return what a ledger knows of its runs, in the order of adding; none where it is empty, as it is while its first driver begins.

    As for the drivers, a run counts as lost when who runs it ended or gave no sign of life, and a row that is not ours as queued. `now`
    is in seconds since 1970. Raise WorkbenchError when there is no ledger, or it is damaged or cannot be read.
    """
    for left in reversed(range(TRIES)):
        try:
            rows = _rows(path)
            break
        except (OSError, sqlite3.Error, UnicodeDecodeError) as error:  # SQLite quotes a damaged schema in its message
            if not path.exists():
                raise WorkbenchError(f"there is no ledger {path}; `workbench sweep SPEC` writes one") from None
            if not left:
                advice = "if it is damaged, the next `workbench sweep SPEC` sets it aside and goes on from the files of the runs"
                raise WorkbenchError(f"the ledger {path} cannot be read ({error}); {advice}") from None
        time.sleep(0.02)
    alive = alive_at(time.time() if now is None else now)
    return [_entry(row, alive) for row in rows if isinstance(row[1], str)]


def signature(path: Path) -> tuple:
    """Return what differs after whoever writes the ledger wrote to it; a missing file counts too."""
    found = (_stat(file) for file in (path, _beside(path, "-wal")))
    return tuple(one and (one.st_ino, one.st_mtime_ns, one.st_size) for one in found)


def _entry(row: tuple, alive: Callable[[str, float], bool]) -> Entry:
    if not is_ours(row):
        return Entry(row[1], row[2] if isinstance(row[2], str) else "", "queued", 0, "", "", "", None, "", 0.0)
    entry = entry_of(row)
    if entry.state == "running" and not alive(entry.owner, row[6]):
        error = f"its driver ({shown(entry.owner)}) ended or gave no sign of life before the run was over"
        return replace(entry, state="lost", owner="", kind=ABANDONED, error=error)
    return entry


def _rows(path: Path) -> list[tuple]:
    log, shared = _beside(path, "-wal"), _beside(path, "-shm")
    before = signature(path)
    if before[1] is None:  # nobody has it open, and all of it is in the one file
        rows = _query(path, "immutable=1") if path.stat().st_size else []
        if signature(path) != before:  # somebody opened it meanwhile; what was read may be torn
            raise sqlite3.OperationalError("it changes all the time")
        return rows
    if shared.exists():
        return _query(path, "readonly_shm=1")
    with tempfile.TemporaryDirectory() as folder:  # copied from elsewhere: to read its log SQLite needs a -shm
        for file in (path, log):
            shutil.copyfile(file, Path(folder) / file.name)
        if signature(path) != before:  # a driver opened it meanwhile: the file and the log may be of two moments
            raise sqlite3.OperationalError("it changes all the time")
        return _query(Path(folder) / path.name, "")


def _query(path: Path, how: str) -> list[tuple]:
    address = f"{path.resolve().as_uri()}?mode=ro&{how}" if how else str(path)
    with closing(sqlite3.connect(address, uri=bool(how), timeout=5)) as connection:
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")  # a damaged text must not raise
        found = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")]
        if found and found != list(SCHEMA):
            raise sqlite3.DatabaseError("it has other tables")
        return all_rows(connection) if found else []


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
