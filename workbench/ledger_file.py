"""Open one SQLite file that several processes use at once; a damaged one is set aside under another name and an empty one is started.

WAL mode, every commit on disk before it is reported (synchronous=FULL), readable by its owner only.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from workbench.datatypes import WorkbenchError

DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)  # ERROR: a table or column of ours is not there
T = TypeVar("T")


class _Damaged(sqlite3.DatabaseError):
    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


class SqliteFile:
    """Give threads and processes one SQLite file of a known schema, checked as a whole whenever it is opened.

    `what` names the file in errors; `schema` is the SQL that made every object of it, as SQLite stores it; `opened` is called
    within a transaction each time the file was opened, so also for an empty one that took the place of a damaged or deleted one.
    """

    def __init__(self, path: Path, what: str, schema: Sequence[str], opened: Callable[[sqlite3.Connection], object]) -> None:
        self.path = path
        self.damaged = 0  # how often this object set a file aside
        self._what = what
        self._schema = list(schema)
        self._opened = opened
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._threads = threading.Lock()
        self.read(lambda connection: connection)

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do the work; when the file turns out to be damaged, do it once more on an empty one. Raise WorkbenchError for other failures."""
        with self._threads:
            try:
                try:
                    return work(self._connect())
                except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # SQLite quotes a damaged schema in its message
                    if not self._is_damage(error):
                        raise
                    self._set_aside()
                return work(self._connect())
            except (OSError, sqlite3.Error) as error:
                raise WorkbenchError(f"the {self._what} {self.path} cannot be used: {error}") from None

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do the work as one transaction, which no other process interrupts and which is on disk when this returns."""
        return self.read(lambda connection: _transaction(connection, work))

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._threads:
            self._close()

    def _close(self) -> None:
        if self._connection:
            self._connection.close()  # SQLite leaves the log alone if the file was renamed meanwhile
            self._connection = None

    def _is_damage(self, error: Exception) -> bool:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT if isinstance(error, UnicodeDecodeError) else 0) & 0xFF
        if code == sqlite3.SQLITE_READONLY:  # one wrong byte of the header says so of a file that can be written
            return os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)
        return code in DAMAGE

    def _connect(self) -> sqlite3.Connection:
        if self._connection and self._in_place():
            return self._connection
        self._close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone(), contextlib.ExitStack() as undo:
            # only a new file is opened and closed here: closing any other would drop the locks of this process's other connections to it
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            self._inode = self.path.stat().st_ino
            connection = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
            undo.callback(connection.close)
            connection.text_factory = lambda raw: raw.decode("utf-8", "replace")  # a damaged text must not raise
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            _transaction(connection, self._check)
            _transaction(connection, self._opened)
            undo.pop_all()
        self._connection = connection
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        """Make the tables of an empty file; raise for a file that has others, or whose pages or indexes disagree."""
        found = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")]
        for statement in [] if found else self._schema:
            connection.execute(statement)
        if found and found != self._schema:
            raise _Damaged("it has other tables")
        problem = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if problem != "ok":
            raise _Damaged(problem)

    def _in_place(self) -> bool:
        """Tell whether the open file is still the one of that name: another process may have set it aside, or somebody deleted it."""
        try:
            return self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def _set_aside(self) -> None:
        """Rename the damaged file and its log, unless another process already did."""
        self._close()
        self.damaged += 1
        with self._alone():
            if self._in_place():
                aside = f"{self.path.name}.damaged-{int(time.time())}-{secrets.token_hex(2)}"
                for suffix in ("-shm", "-wal", ""):  # the log first: an empty database would take it for its own
                    with contextlib.suppress(FileNotFoundError):
                        os.replace(self.path.with_name(self.path.name + suffix), self.path.with_name(aside + suffix))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process at a time open the file or set it aside (two that switch a new file to WAL at once would fail)."""
        path = self.path.with_name(f"{self.path.name}.lock")
        with contextlib.closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as lock:
            try:
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.DatabaseError as error:
                raise WorkbenchError(f"{path} cannot be locked ({error}); it must be an empty file that this user can write") from None
            yield


def _transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    with connection:  # commits, or rolls back on an error
        connection.execute("BEGIN IMMEDIATE")
        return work(connection)
