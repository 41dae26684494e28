"""Remember what parts computed, one row per text, so that nothing is paid twice.

The key is the sha256 of everything that decides the value (part fingerprint, role, text); the sha256 of the value is checked on read.
A damaged row is dropped, counted and computed again. One SQLite file in WAL mode, readable by its owner only:
it holds customers' text as vectors.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
import secrets
import sqlite3
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from workbench import cache_claims, cache_vectors
from workbench.cache_claims import claimed
from workbench.cache_vectors import BLOCK, vector_folder
from workbench.datatypes import Embedder, Role, WorkbenchError
from workbench.storage import canonical_json, fingerprint
from workbench.storage_process import own_identity

SCHEMA = """CREATE TABLE IF NOT EXISTS entries (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, part TEXT NOT NULL, value BLOB NOT NULL, digest BLOB NOT NULL, created REAL NOT NULL)"""
ENCODED_AT_ONCE = 1024  # texts; what is done is stored, so a kill or a failing server loses one block at most
KEYS_PER_QUERY = 400
DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)  # ERROR: a table or column of ours is not there
T = TypeVar("T")


@dataclass
class CacheCounts:
    """Count what a run took from the cache and what it computed.

    Vectors: hits, misses, calls to the embedder. Completions: hits, and conversations that a generator was asked. Both: damaged rows.
    What another process computed while this one waited for it is a hit.
    """

    hits: int = 0
    misses: int = 0
    damaged: int = 0
    calls: int = 0
    completion_hits: int = 0
    completions: int = 0


class Cache:
    """Store bytes by key in one SQLite file that several processes may use at once.

    A file that is damaged as a whole is set aside under another name (`.damaged-…`), counted, and an empty one is started.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts = CacheCounts()
        self._claims = False
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._attempt(lambda connection: connection)

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do the work; when the file turns out to be damaged, do it on an empty one."""
        try:
            try:
                return work(self._connect())
            except sqlite3.DatabaseError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF not in DAMAGE:
                    raise
                self._set_aside()
            except UnicodeDecodeError:  # SQLite quotes a damaged schema in its message
                self._set_aside()
            return work(self._connect())
        except (OSError, sqlite3.Error) as error:
            raise WorkbenchError(f"the cache {self.path} cannot be used: {error}") from None

    def _connect(self) -> sqlite3.Connection:
        if self._connection:
            return self._connection
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone(), contextlib.ExitStack() as undo:
            # only a new file is opened and closed here: closing any other would drop the locks of this process's other connections to it
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            self._inode = self.path.stat().st_ino
            connection = sqlite3.connect(self.path, timeout=60, isolation_level=None)
            undo.callback(connection.close)
            connection.text_factory = lambda raw: raw.decode("utf-8", "replace")  # a damaged key must not raise
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(SCHEMA)
            connection.execute(cache_claims.SCHEMA)
            undo.pop_all()
        self._connection = connection
        return connection

    def _set_aside(self) -> None:
        """Rename the damaged file and its log, unless another process already did."""
        if self._connection:
            self._connection.close()
            self._connection = None
        self.counts.damaged += 1
        with self._alone():
            if self.path.exists() and self.path.stat().st_ino == self._inode:
                aside = f"{self.path.name}.damaged-{int(time.time())}-{secrets.token_hex(2)}"
                for suffix in ("-shm", "-wal", ""):  # the log first: an empty database would take it for its own
                    with contextlib.suppress(FileNotFoundError):
                        os.replace(self.path.with_name(self.path.name + suffix), self.path.with_name(aside + suffix))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process at a time open the file or set it aside (two that switch a new file to WAL at once would fail)."""
        with contextlib.closing(sqlite3.connect(f"{self.path}.lock", timeout=60, isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            yield

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the values present; rows whose checksum is wrong are removed and counted as damaged."""
        return self._attempt(lambda connection: self._read(connection, keys))

    def _read(self, connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        bad: list[tuple[int]] = []
        for at in range(0, len(keys), KEYS_PER_QUERY):
            part = list(keys[at : at + KEYS_PER_QUERY])
            query = f"SELECT rowid, key, value, digest FROM entries WHERE key IN ({','.join('?' * len(part))})"  # noqa: S608
            for row, key, value, digest in connection.execute(query, part):
                if isinstance(key, str) and isinstance(value, bytes) and _digest(key, value) == digest:
                    found[key] = value
                else:
                    bad.append((row,))
        if bad:
            connection.executemany("DELETE FROM entries WHERE rowid = ?", bad)
            self.counts.damaged += len(bad)
        return found

    def put(self, kind: str, part: str, values: Iterable[tuple[str, bytes]]) -> None:
        """Store values in one transaction; a value that another process stored first is kept."""
        now = time.time()
        rows = [(key, kind, part, value, _digest(key, value), now) for key, value in values]

        def insert(connection: sqlite3.Connection) -> None:
            with connection:  # commits, or rolls back on an error
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT OR IGNORE INTO entries VALUES (?, ?, ?, ?, ?, ?)", rows)

        self._attempt(insert)

    @functools.cached_property
    def owner(self) -> str:
        """Name this object in its claims."""
        return own_identity()

    def claim(self, keys: Mapping[str, Any], at_most: int) -> tuple[dict[str, bytes], list[str]]:
        """Take the first keys that no other process works on: return the values stored meanwhile, and the keys now claimed (use `claimed`).

        Both are empty while others work on all of them.
        """

        def work(connection: sqlite3.Connection) -> tuple[dict[str, bytes], list[str]]:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                taken = cache_claims.take(connection, self.owner, keys, at_most)
                known = self._read(connection, taken)
                mine = [key for key in taken if key not in known]
                self._claims = self._claims or bool(mine)
                cache_claims.hold(connection, self.owner, mine)
                return known, mine

        return self._attempt(work)

    def release(self) -> None:
        """End this object's claims; where that fails they lapse by age, and the error before it is the one to see."""
        if self._claims:
            self._claims = False
            with contextlib.suppress(WorkbenchError):
                self._attempt(lambda connection: cache_claims.drop(connection, self.owner))

    def stats(self) -> list[dict[str, Any]]:
        """Return rows and bytes by kind and part, and those of the files of vectors and indexes."""
        columns = "kind, part, COUNT(*), SUM(LENGTH(value)), MIN(created), MAX(created)"
        query = f"SELECT {columns} FROM entries GROUP BY kind, part ORDER BY kind, part"  # noqa: S608
        names = ("kind", "part", "rows", "bytes", "oldest", "newest")
        rows = self._attempt(lambda connection: connection.execute(query).fetchall())
        return [*(dict(zip(names, row, strict=True)) for row in rows), *cache_vectors.file_stats(self.path)]

    def prune(self, older_than_days: float) -> int:
        """Remove rows, files of vectors and stored indexes older than so many days; return how many rows."""
        before = time.time() - older_than_days * 86400
        cache_vectors.remove_files(self.path, before)
        return self._remove("created < ?", before)

    def clear(self) -> int:
        """Remove every row, file of vectors and stored index; return how many rows."""
        cache_vectors.remove_files(self.path, math.inf)
        return self._remove("?", 1)

    def _remove(self, condition: str, value: float) -> int:
        def delete(connection: sqlite3.Connection) -> int:
            removed = connection.execute(f"DELETE FROM entries WHERE {condition}", (value,)).rowcount  # noqa: S608
            connection.execute("VACUUM")
            return removed

        return self._attempt(delete)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._connection:
            self._connection.close()
            self._connection = None


def _digest(key: str, value: bytes) -> bytes:
    """Bind the value to its key, so that swapped rows are caught too."""
    return hashlib.sha256(key.encode() + value).digest()


class CachedEmbedder:
    """Wrap an embedder: known texts come from the cache, the others are encoded and stored block by block."""

    def __init__(self, embedder: Embedder, cache: Cache) -> None:
        identity = getattr(embedder, "fingerprint", None)
        if not isinstance(identity, Mapping) or not identity.get("name"):
            raise WorkbenchError(f"{type(embedder).__name__} has no fingerprint with a name, so its vectors cannot be cached safely")
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
        """Return unit vectors (len(texts), dimension), float32; equal texts are encoded once, in NFC.

        Those of more than 32,768 texts are a read-only map of a file; see cache_vectors.
        """
        if not self._reads:
            return self.embedder.encode(texts, role)
        texts = [unicodedata.normalize("NFC", text) for text in texts]
        if len(texts) <= cache_vectors.IN_MEMORY:
            return self._rows(texts, role)
        folder, part = vector_folder(self.cache.path), canonical_json(self.fingerprint)
        return cache_vectors.mapped(folder, part, role, texts, lambda block: self._rows(block, role), self.cache.counts)

    def _rows(self, texts: Sequence[str], role: Role) -> np.ndarray:
        part = canonical_json(self.fingerprint)
        keys = [fingerprint([part, role, text]) for text in texts]
        found = self.cache.get(list(dict.fromkeys(keys)))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        self.cache.counts.hits += len(found)
        with claimed(self.cache, missing, ENCODED_AT_ONCE) as blocks:
            for known, block in blocks:
                found |= known
                self.cache.counts.hits += len(known)
                self.cache.counts.misses += len(block)
                if block:
                    fresh = self._encode([key for key, _ in block], [text for _, text in block], role)
                    self.cache.put("vector", str(self.fingerprint["name"]), fresh.items())
                    found |= fresh
        return np.stack([np.frombuffer(found[key], dtype="<f4") for key in keys]) if keys else np.zeros((0, 0), np.float32)

    def known(self, texts: Sequence[str], role: Role) -> int:
        """Return how many of these distinct texts have a vector in the cache."""
        part = canonical_json(self.fingerprint)
        keys = [fingerprint([part, role, unicodedata.normalize("NFC", text)]) for text in texts]
        return sum(len(self.cache.get(keys[at : at + BLOCK])) for at in range(0, len(keys), BLOCK))

    def _encode(self, keys: Sequence[str], texts: Sequence[str], role: Role) -> dict[str, bytes]:
        """Encode texts and return what to store by key; raise WorkbenchError for vectors that must not be stored."""
        self.cache.counts.calls += 1
        vectors = np.ascontiguousarray(self.embedder.encode(texts, role), dtype="<f4")
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
            name = self.fingerprint["name"]
            raise WorkbenchError(f"{name} returned shape {vectors.shape} for {len(texts)} texts, or NaN; nothing is stored")
        return {key: vector.tobytes() for key, vector in zip(keys, vectors, strict=True)}
