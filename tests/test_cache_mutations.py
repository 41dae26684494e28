"""Random damage to a filled cache and its log: never a wrong value, never an error."""

import os
import random
import shutil
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest

from workbench import cache_claims
from workbench.cache import Cache, CachedEmbedder
from workbench.datatypes import WorkbenchError
from workbench.embedding import create_embedder
from workbench.storage_process import own_identity

TEXTS = [f"문서 {number} about topic {number % 7}" for number in range(24)]
EMBEDDER = create_embedder("hash", {"dimension": 128})
PLAIN = EMBEDDER.encode(TEXTS, "passage").tobytes()
VALUES = ("X'00'", "X'FF'", "CAST(X'FF' AS TEXT)", "'text'", "''", "0", "-1", "1e300", "9e999", "X''", "zeroblob(512)", "random()")
EDITS = (  # of one row or of all; {value} is one of VALUES
    "UPDATE OR REPLACE entries SET {column} = {value} WHERE rowid = {row}",
    "UPDATE OR REPLACE entries SET {column} = (SELECT {column} FROM entries WHERE rowid = {other}) WHERE rowid = {row}",
    "UPDATE OR REPLACE entries SET value = substr(value, 1, {row}) WHERE rowid >= {other}",
    "UPDATE OR REPLACE claims SET {claim} = {value}",
    "UPDATE OR REPLACE claims SET {claim} = {value} WHERE key = (SELECT min(key) FROM claims)",
    "INSERT OR REPLACE INTO claims SELECT key, 'elsewhere 1 1.00 1 0123456789abcdef', {value} FROM entries WHERE rowid <= {row}",
    "DELETE FROM entries WHERE rowid >= {row}",
    "ALTER TABLE {table} RENAME TO other",
    "ALTER TABLE {table} RENAME COLUMN key TO other",
    "DROP TABLE {table}",
    "PRAGMA user_version = {row}",
)


def fill(folder: Path) -> Path:
    """Leave a cache with a log that is not yet written back, and claims of a process that is gone."""
    folder.mkdir()
    cache = Cache(folder / "first.sqlite")
    CachedEmbedder(EMBEDDER, cache).encode(TEXTS[:12], "passage")
    cache.close()
    cache = Cache(folder / "first.sqlite")
    CachedEmbedder(EMBEDDER, cache).encode(TEXTS[12:], "passage")
    with sqlite3.connect(folder / "first.sqlite") as connection:
        host, _, _, namespace, _ = own_identity().split()
        owner = f"{host} 999999999 1.00 {namespace} {'0' * 16}"
        connection.execute("INSERT INTO claims SELECT key, ?, ? FROM entries WHERE rowid > 18", (owner, time.time() + 30))
    for suffix in ("", "-wal", "-shm"):
        shutil.copy(folder / f"first.sqlite{suffix}", folder / f"filled.sqlite{suffix}")
    connection.close()
    cache.close()
    return folder / "filled.sqlite"


def damage(kind: str, path: Path, rng: random.Random) -> None:
    if kind == "edit":
        columns = rng.choice(["key", "kind", "part", "value", "digest", "created"])
        claim = rng.choice(["key", "owner", "until"])
        blanks = {"column": columns, "claim": claim, "value": rng.choice(VALUES), "table": rng.choice(["entries", "claims"])}
        statement = rng.choice(EDITS).format(row=rng.randint(1, 24), other=rng.randint(1, 24), **blanks)
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            try:
                connection.execute(statement)
            except sqlite3.IntegrityError:  # a column that takes no such value
                connection.execute("DELETE FROM entries WHERE rowid = 1")
        connection.close()
        return
    file = rng.choice([path, path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")])
    data = bytearray(file.read_bytes())
    at = rng.randrange(100 if rng.random() < 0.3 else len(data))
    if kind == "delete":
        file.unlink()
    elif kind == "truncate":
        os.truncate(file, at)
    elif kind == "flip":
        for _ in range(rng.choice([1, 1, 20])):
            data[at] ^= 1 << rng.randrange(8)
            at = rng.randrange(len(data))
        file.write_bytes(data)
    elif kind == "garbage":
        length = rng.choice([1, 16, 200, 4096, len(data)])
        data[at : at + length] = rng.choice([bytes, rng.randbytes])(len(data[at : at + length]))
        file.write_bytes(data)
    elif kind == "insert":
        data[at:at] = rng.randbytes(rng.choice([1, 16, 4096]))
        file.write_bytes(data)
    elif kind == "other":
        file.write_bytes(rng.randbytes(rng.choice([0, 1, 100, 5000])))


@pytest.mark.full_size
def test_no_mutation_serves_a_wrong_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool) -> None:
    mutations = 2000 if full else 300
    good, rng = fill(tmp_path / "filled"), random.Random(1)
    monkeypatch.setattr(cache_claims, "CLAIM_SECONDS", 0.05)  # how long a damaged claim can keep anyone waiting
    seen: Counter[str] = Counter()
    for number in range(mutations):
        path = tmp_path / str(number) / "cache.sqlite"
        shutil.copytree(good.parent, path.parent)
        for suffix in ("", "-wal", "-shm"):
            os.replace(path.with_name(f"filled.sqlite{suffix}"), f"{path}{suffix}")
        kind = rng.choice(["edit", "edit", "edit", "delete", "truncate", "flip", "flip", "flip", "garbage", "garbage", "insert", "other"])
        damage(kind, path, rng)
        for _ in range(2):  # what one use loses with a file set aside, the next brings back
            seen[use(path)] += 1
        shutil.rmtree(path.parent)
    assert seen["damaged"] > 0.2 * mutations
    assert seen["refused"] == 0  # a damaged file is replaced, which always works here


def use(path: Path) -> str:
    try:
        cache = Cache(path)
        assert CachedEmbedder(EMBEDDER, cache).encode(TEXTS, "passage").tobytes() == PLAIN
        cache.stats()
        cache.close()
    except WorkbenchError:
        return "refused"
    return "damaged" if cache.counts.damaged else "whole"
