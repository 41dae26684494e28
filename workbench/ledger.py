"""Record who runs what: the states of a sweep's runs in one SQLite file that several drivers may use at once.

A run's own files are the truth for its values; the ledger says who may start it and how it ended. Result first, ledger row last.
A run is claimed with a lease of LEASE seconds that its driver extends (`beat`, every BEAT seconds). A driver of this host that ended
is noticed at once, one of another host when its lease runs out. No parameters and no secrets are stored.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from workbench import registry
from workbench.datatypes import WorkbenchError
from workbench.ledger_file import SqliteFile
from workbench.ledger_rows import ATTEMPTS_LIMIT, COLUMNS, SCHEMA, SHA256, Entry, alive_at, all_rows, entry_of, is_ours
from workbench.storage_process import own_identity, shown

ENDED = ("ok", "failed", "lost")
LEASE = 30.0  # seconds
BEAT = 5.0  # seconds between two extensions
MOST_ATTEMPTS = 3
ERROR_LIMIT = 20_000  # characters
NAME_LIMIT = 500  # characters of a label or kind
INSERT = f"""INSERT INTO runs ({COLUMNS}) VALUES (NULL, ?, ?, 'queued', 0, '', 0, '', '', NULL, '', ?)
    ON CONFLICT (run_id) DO NOTHING"""  # noqa: S608
CLAIM = "UPDATE runs SET state = 'running', attempts = attempts + 1, owner = ?, lease = ?, updated = ? WHERE place = ?"
END = """UPDATE runs SET state = ?, owner = '', kind = ?, error = ?, seconds = ?, result = ?, updated = ?
    WHERE run_id = ? AND state = 'running' AND owner = ?"""
ABANDON = """UPDATE runs SET state = 'lost', owner = '', kind = 'abandoned', error = ?, seconds = NULL, result = '', updated = ?
    WHERE place = ?"""
RESET = "UPDATE runs SET state = 'queued', attempts = 0, owner = '', kind = ?, error = '', seconds = NULL, result = '', updated = ?"
REPAIR = f"{RESET}, label = ?, lease = 0 WHERE place = ?"


class Ledger:
    """Keep the states of runs in the SQLite file `path`; threads of a process share one object, processes share the file.

    A file that is damaged as a whole is set aside (`.damaged-…`) and counted in `damaged`; the runs added through this object are
    added to the new one. A row that is not one of ours, such as an `ok` without the sha256 of a result, counts as queued.
    Every method raises WorkbenchError when the file cannot be used (disk full, no permission).
    """

    def __init__(self, path: Path, *, most_attempts: int = MOST_ATTEMPTS, clock: Callable[[], float] = time.time) -> None:
        if not 1 <= most_attempts <= ATTEMPTS_LIMIT:
            raise WorkbenchError(f"a run is attempted {most_attempts} times; give at least 1")
        self.most_attempts = most_attempts
        self._clock = clock
        self._owner = own_identity()
        self._added: dict[str, str] = {}
        self._file = SqliteFile(path, "ledger", SCHEMA, lambda connection: self._insert(connection, self._added))

    @property
    def damaged(self) -> int:
        """Tell how many damaged files were set aside."""
        return self._file.damaged

    def add(self, runs: Iterable[tuple[str, str]]) -> None:
        """Queue runs, given as (run id, label); what is known of a run already is kept."""
        new = {run_id: _plain(label, NAME_LIMIT) for run_id, label in runs}
        for run_id in new:
            if not run_id or _plain(run_id, NAME_LIMIT) != run_id:
                raise WorkbenchError(f"{run_id!r} cannot be a run id: it must be Unicode text of 1 to {NAME_LIMIT} characters")
        self._file.write(lambda connection: self._insert(connection, new))
        self._added |= new

    def _insert(self, connection: sqlite3.Connection, runs: dict[str, str]) -> None:
        now = self._clock()
        connection.executemany(INSERT, [(run_id, label, now) for run_id, label in runs.items()])

    def claim(self, run_ids: Sequence[str]) -> str | None:
        """Claim one of these runs as `claim_many` does, and return its id; None when none can be claimed now."""
        return next(iter(self.claim_many(run_ids, 1)), None)

    def claim_many(self, run_ids: Sequence[str], most: int) -> list[str]:
        """Claim at most so many of these runs for this object, and return their ids.

        First those queued, then those lost with attempts left, then those whose driver ended or let its lease run out (which count as
        lost first); within each, in the order in which they were added. Runs that ended ok or failed are never claimed. What this
        object holds itself is not claimed again, however old its lease. Raise WorkbenchError for a run that was not added through it.
        """
        if most < 1:
            raise WorkbenchError(f"{most} runs cannot be claimed at once; give at least 1")
        wanted = frozenset(run_ids)
        if missing := sorted(wanted - self._added.keys()):
            raise WorkbenchError(f"the run {missing[0]!r} was not added to the ledger {self._file.path}: add it before it is claimed")
        return self._file.write(lambda connection: self._claim(connection, wanted, most)) if wanted else []

    def _claim(self, connection: sqlite3.Connection, wanted: frozenset[str], most: int) -> list[str]:
        now = self._clock()
        taken = self._claimable(connection, wanted, most, now)
        if not taken:  # nothing is left, or its rows are damaged
            before = connection.total_changes
            _repair(connection, now)
            self._insert(connection, self._added)
            if connection.total_changes > before:
                taken = self._claimable(connection, wanted, most, now)
        connection.executemany(CLAIM, [(self._owner, now + LEASE, now, place) for place in taken])
        return list(taken.values())

    def _claimable(self, connection: sqlite3.Connection, wanted: frozenset[str], most: int, now: float) -> dict[int, str]:
        """Find runs to claim, by their place; mark those lost that were abandoned after their last attempt."""
        taken: dict[int, str] = {}
        spent: list[tuple[str, float, int]] = []
        alive = alive_at(now)
        query = f"SELECT {COLUMNS} FROM runs WHERE state = ? ORDER BY place"  # noqa: S608
        for state in ("queued", "lost", "running"):
            for row in connection.execute(query, (state,)):
                if len(taken) == most:
                    break
                place, run_id, _, _, attempts, owner, lease, *_ = row
                if run_id not in wanted or not is_ours(row):
                    continue
                if state == "running":
                    if owner == self._owner or alive(owner, lease):
                        continue
                    if attempts >= self.most_attempts:
                        spent.append((f"its driver ({shown(owner)}) ended or gave no sign of life before the run was over", now, place))
                if state == "queued" or attempts < self.most_attempts:
                    taken[place] = run_id
        connection.executemany(ABANDON, spent)
        return taken

    def resume(self, run_ids: Iterable[str]) -> int:
        """Queue again what the infrastructure ended, runs that are lost and those whose driver is gone; return how many."""
        wanted = frozenset(run_ids)
        return self._file.write(lambda connection: self._resume(connection, wanted))

    def _resume(self, connection: sqlite3.Connection, wanted: frozenset[str]) -> int:
        now = self._clock()
        alive = alive_at(now)
        query = f"SELECT {COLUMNS} FROM runs WHERE state IN ('lost', 'running')"  # noqa: S608
        rows = [row for row in connection.execute(query).fetchall() if row[1] in wanted and is_ours(row)]
        again = [row for row in rows if row[3] == "lost" or not (row[5] == self._owner or alive(row[5], row[6]))]
        connection.executemany(f"{RESET} WHERE place = ?", [(row[7] if row[3] == "running" else "", now, row[0]) for row in again])
        return len(again)

    def forget_others(self, run_ids: Iterable[str]) -> int:
        """Forget all runs but these, such as those of an earlier spec, unless one of them runs now; return how many."""
        kept = frozenset(run_ids)
        return self._file.write(lambda connection: self._forget(connection, kept))

    def _forget(self, connection: sqlite3.Connection, kept: frozenset[str]) -> int:
        alive = alive_at(self._clock())
        others = [row for row in all_rows(connection) if row[1] not in kept]
        if any(row[3] == "running" and is_ours(row) and alive(row[5], row[6]) for row in others):
            return 0  # whoever runs it would queue all that it added again
        connection.executemany("DELETE FROM runs WHERE place = ?", [(row[0],) for row in others])
        return len(others)

    def beat(self) -> int:
        """Extend every lease that this object holds by LEASE seconds from now; return how many there are."""
        extend = "UPDATE runs SET lease = ? WHERE state = 'running' AND owner = ?"
        return self._file.write(lambda connection: connection.execute(extend, (self._clock() + LEASE, self._owner)).rowcount)

    def ok(self, run_id: str, result_sha256: str, seconds: float) -> bool:
        """Record that a run ended well and its result file, with this sha256, is in place; False if the run is no longer ours."""
        return self.ok_many([(run_id, result_sha256, seconds)]) == {run_id}

    def ok_many(self, ended: Iterable[tuple[str, str, float]]) -> set[str]:
        """Record runs that ended well as (run id, sha256 of the result file, seconds); return those that were still ours."""
        return self._end("ok", [(run_id, "", "", result, seconds) for run_id, result, seconds in ended])

    def fail(self, run_id: str, kind: str, error: str, seconds: float) -> bool:
        """Record a run that its notebook or its parameters made fail: it is not tried again. False if the run is no longer ours."""
        return self._end("failed", [(run_id, kind, error, "", seconds)]) == {run_id}

    def lose(self, run_id: str, kind: str, error: str, seconds: float) -> bool:
        """Record a run that the infrastructure ended: it is tried again while attempts are left. False if the run is no longer ours."""
        return self._end("lost", [(run_id, kind, error, "", seconds)]) == {run_id}

    def _end(self, state: str, ended: Sequence[tuple[str, str, str, str, float]]) -> set[str]:
        """Write a final state to those of the runs whose lease is ours, and return their ids."""
        now = self._clock()
        rows = []
        for run_id, kind, error, result, seconds in ended:
            if state == "ok" and not SHA256.fullmatch(result):
                raise WorkbenchError(f"{result!r} is not the sha256 of the result of run {run_id!r}: 64 hexadecimal digits")
            if not 0 <= seconds < math.inf:
                raise WorkbenchError(f"run {run_id!r} cannot have taken {seconds} seconds")
            rows.append((state, _plain(kind, NAME_LIMIT), _plain(error, ERROR_LIMIT), float(seconds), result, now, run_id, self._owner))
        return self._file.write(lambda connection: {row[6] for row in rows if connection.execute(END, row).rowcount})

    def release(self, run_id: str) -> bool:
        """Put a run back as it was before it was claimed, this attempt not counted; False if the run is no longer ours."""
        back = """UPDATE runs SET state = 'queued', attempts = attempts - 1, owner = '', updated = ?
            WHERE run_id = ? AND state = 'running' AND owner = ?"""
        return self._file.write(lambda connection: connection.execute(back, (self._clock(), run_id, self._owner)).rowcount) == 1

    def requeue(self, run_ids: Iterable[str], states: Iterable[str], kind: str = "") -> int:
        """Queue those of the runs that are in one of these states (ok, failed, lost) again, without attempts; return how many.

        `kind` says why; it stays until the run ends.
        """
        states = list(states)
        for state in states:
            if state not in ENDED:
                raise registry.unknown("state of a run that can be queued again:", state, ENDED)
        wanted = [(run_id, state) for run_id in run_ids for state in states]
        now = self._clock()
        query = f"{RESET} WHERE run_id = ? AND state = ?"
        return self._file.write(lambda connection: connection.executemany(query, [(kind, now, *row) for row in wanted]).rowcount)

    def entries(self, run_ids: Iterable[str] | None = None) -> list[Entry]:
        """Return what is known of these runs, in this order and without unknown ones; of all, in the order of adding, when None."""
        rows = self._file.read(all_rows)
        if not all(map(is_ours, rows)):
            self._file.write(lambda connection: _repair(connection, self._clock()))
            rows = self._file.read(all_rows)
        found = {row[1]: entry_of(row) for row in rows}
        return [found[run_id] for run_id in (found if run_ids is None else run_ids) if run_id in found]

    def close(self) -> None:
        """Close the file; what this object holds stays claimed until it is released, or this process ends."""
        self._file.close()


def _repair(connection: sqlite3.Connection, now: float) -> None:
    """Queue the rows that are not ours; remove those without a run id."""
    for row in all_rows(connection):
        place, run_id, label, *_ = row
        if not isinstance(run_id, str):
            connection.execute("DELETE FROM runs WHERE place = ?", (place,))
        elif not is_ours(row):
            connection.execute(REPAIR, ("", now, label if isinstance(label, str) else "", place))


def _plain(text: str, limit: int) -> str:
    """Return a text that SQLite can store, its middle left out when it is too long: a traceback says what happened in its last line."""
    text = text.encode("utf-8", "replace").decode()
    if len(text) <= limit:
        return text
    mark = "\n… cut …\n"
    tail = (limit - len(mark)) // 2
    return text[: limit - len(mark) - tail] + mark + text[-tail:]
