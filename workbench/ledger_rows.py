"""Describe the rows of a ledger: their table, what a row of ours looks like, and whether who holds it is still at work."""

from __future__ import annotations

import functools
import math
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from workbench.storage_process import OWNER, gone

STATES = ("queued", "running", "ok", "failed", "lost")  # failed: by the notebook's own error; lost: by the infrastructure's
FARTHEST_LEASE = 300.0  # seconds; clocks of two hosts may differ, but a lease beyond this is damage
ATTEMPTS_LIMIT = 1_000_000  # a row that claims more is damaged
SHA256 = re.compile("[0-9a-f]{64}")
COLUMNS = "place, run_id, label, state, attempts, owner, lease, kind, error, seconds, result, updated"
SCHEMA = (
    """CREATE TABLE runs (
    place INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, label TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
    owner TEXT NOT NULL, lease REAL NOT NULL, kind TEXT NOT NULL, error TEXT NOT NULL, seconds REAL, result TEXT NOT NULL,
    updated REAL NOT NULL)""",
    "CREATE INDEX runs_by_state ON runs (state)",
)


@dataclass(frozen=True)
class Entry:
    """Hold what the ledger knows of a run.

    `attempts` counts the starts since the run was queued, `seconds` is the wall time of the last one that ended (None: none did),
    `result` the sha256 of the result file (""; 64 hex digits when ok), `updated` the time of the last change in seconds since 1970,
    `owner` who runs it ("" unless running), `kind` and `error` why it failed or was lost, or is queued or running again.
    """

    run_id: str
    label: str
    state: str
    attempts: int
    owner: str
    kind: str
    error: str
    seconds: float | None
    result: str
    updated: float


def all_rows(connection: sqlite3.Connection) -> list[tuple]:
    """Return every row, in the order of adding."""
    return connection.execute(f"SELECT {COLUMNS} FROM runs ORDER BY place").fetchall()  # noqa: S608


def entry_of(row: tuple) -> Entry:
    """Return what a row of ours says."""
    return Entry(*row[1:6], *row[7:])


def is_ours(row: tuple) -> bool:
    """Tell whether a row can have been written by the ledger, and not by damage or by hand."""
    _, *texts, seconds, result, updated = row
    run_id, label, state, attempts, owner, lease, kind, error = texts
    return (
        all(isinstance(text, str) for text in (run_id, label, owner, kind, error, result))
        and state in STATES
        and isinstance(attempts, int)
        and 0 <= attempts <= ATTEMPTS_LIMIT
        and all(isinstance(number, float) and math.isfinite(number) for number in (lease, updated))
        and (seconds is None or (isinstance(seconds, float) and math.isfinite(seconds)))
        and (state != "ok" or SHA256.fullmatch(result) is not None)
        and (state != "running" or OWNER.fullmatch(owner) is not None)
    )


def alive_at(now: float) -> Callable[[str, float], bool]:
    """Give a function that tells whether an owner with such a lease is still at work; each owner is looked for once."""
    ended = functools.cache(gone)
    return lambda owner, lease: now <= lease <= now + FARTHEST_LEASE and not ended(owner)
