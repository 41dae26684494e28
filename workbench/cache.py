"""Remember what parts computed, one row per text, so that nothing is paid twice.

The key is the sha256 of everything that decides the value (part fingerprint, role, text); the sha256 of the value is checked on read.
A damaged row is dropped, counted and computed again. One SQLite file in WAL mode, readable by its owner only: it holds customers' text as vectors.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench.datatypes import Embedder, Role, WorkbenchError
from workbench.storage import canonical_json, fingerprint

SCHEMA = """CREATE TABLE IF NOT EXISTS entries (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, part TEXT NOT NULL, value BLOB NOT NULL, digest BLOB NOT NULL, created REAL NOT NULL)"""
KEYS_PER_QUERY = 400


@dataclass
class CacheCounts:
    """Count what a run took from the cache: hits, computed values, damaged rows, calls to the wrapped part."""

    hits: int = 0
    misses: int = 0
    damaged: int = 0
    calls: int = 0


class Cache:
    """Store bytes by key in one SQLite file that several processes may use at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts = CacheCounts()
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._connect()
        except sqlite3.OperationalError as error:
            raise WorkbenchError(f"the cache {self.path} cannot be used: {error}") from None
        except sqlite3.DatabaseError:
            aside = self.path.with_name(f"{self.path.name}.damaged-{int(time.time())}")
            os.replace(self.path, aside)
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            self.counts.damaged += 1
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(SCHEMA)
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the values present; rows whose checksum is wrong are removed and counted as damaged."""
        found: dict[str, bytes] = {}
        bad: list[str] = []
        for at in range(0, len(keys), KEYS_PER_QUERY):
            part = list(keys[at : at + KEYS_PER_QUERY])
            marks = ",".join("?" * len(part))
            for key, value, digest in self._connection.execute(f"SELECT key, value, digest FROM entries WHERE key IN ({marks})", part):  # noqa: S608
                if _digest(key, value) == digest:
                    found[key] = value
                else:
                    bad.append(key)
        if bad:
            self._connection.executemany("DELETE FROM entries WHERE key = ?", [(key,) for key in bad])
            self.counts.damaged += len(bad)
        return found

    def put(self, kind: str, part: str, values: Iterable[tuple[str, bytes]]) -> None:
        """Store values in one transaction; a value that another process stored first is kept."""
        now = time.time()
        rows = [(key, kind, part, value, _digest(key, value), now) for key, value in values]
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany("INSERT OR IGNORE INTO entries VALUES (?, ?, ?, ?, ?, ?)", rows)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def stats(self) -> list[dict[str, Any]]:
        """Return rows and bytes by kind and part."""
        query = "SELECT kind, part, COUNT(*), SUM(LENGTH(value)), MIN(created), MAX(created) FROM entries GROUP BY kind, part ORDER BY kind, part"
        names = ("kind", "part", "rows", "bytes", "oldest", "newest")
        return [dict(zip(names, row, strict=True)) for row in self._connection.execute(query)]

    def prune(self, older_than_days: float) -> int:
        """Remove rows older than so many days; return how many."""
        cursor = self._connection.execute("DELETE FROM entries WHERE created < ?", (time.time() - older_than_days * 86400,))
        self._connection.execute("VACUUM")
        return cursor.rowcount

    def clear(self) -> int:
        """Remove every row; return how many."""
        cursor = self._connection.execute("DELETE FROM entries")
        self._connection.execute("VACUUM")
        return cursor.rowcount

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _digest(key: str, value: bytes) -> bytes:
    """Bind the value to its key, so that swapped rows are caught too."""
    return hashlib.sha256(key.encode() + value).digest()


class CachedEmbedder:
    """Wrap an embedder: known texts come from the cache, the others are encoded in one call and stored."""

    def __init__(self, embedder: Embedder, cache: Cache) -> None:
        if not getattr(embedder, "fingerprint", None):
            raise WorkbenchError(f"{type(embedder).__name__} has no fingerprint, so its vectors cannot be cached safely")
        self.embedder = embedder
        self.cache = cache
        self._reads = True

    @contextlib.contextmanager
    def bypassed(self) -> Iterator[None]:
        """Encode everything anew and store nothing within this block, as a latency probe must."""
        self._reads = False
        try:
            yield
        finally:
            self._reads = True

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return self.embedder.fingerprint

    def encode(self, texts: Sequence[str], role: Role) -> np.ndarray:
        """Return unit vectors (len(texts), dimension), float32; equal texts are encoded once."""
        if not self._reads:
            return self.embedder.encode(texts, role)
        part = canonical_json(self.fingerprint)
        keys = [fingerprint([part, role, unicodedata.normalize("NFC", text)]) for text in texts]
        found = self.cache.get(list(dict.fromkeys(keys)))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        self.cache.counts.hits += len(texts) - len(missing)
        if missing:
            self.cache.counts.misses += len(missing)
            self.cache.counts.calls += 1
            vectors = self.embedder.encode(list(missing.values()), role)
            fresh = {key: np.ascontiguousarray(vector, dtype="<f4").tobytes() for key, vector in zip(missing, vectors, strict=True)}
            self.cache.put("vector", str(self.fingerprint["name"]), fresh.items())
            found |= fresh
        return np.stack([np.frombuffer(found[key], dtype="<f4") for key in keys]) if keys else np.zeros((0, 0), np.float32)
