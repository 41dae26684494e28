"""Whatever happens to the cache file or to a process that uses it: never a wrong value, and nothing finished is lost."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from workbench.cache import Cache, CachedEmbedder
from workbench.embedding import create_embedder

TEXTS = [f"문서 {number} about topic {number % 7}" for number in range(30)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "cache.sqlite"


def encode(path: Path) -> tuple[np.ndarray, Cache]:
    cache = Cache(path)
    vectors = CachedEmbedder(create_embedder("hash"), cache).encode(TEXTS, "passage")
    cache.close()
    return vectors, cache


def child(code: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# --- damage ----------------------------------------------------------------------------------------------------------------------------


Entry = tuple[object, object]  # value and digest of a row


def flip(value: bytes) -> bytes:
    return value[:20] + bytes([value[20] ^ 1]) + value[21:]


@pytest.mark.parametrize(
    ("damage", "rows"),
    [
        (lambda one, two: [(flip(one[0]), one[1]), two], 1),
        (lambda one, two: [one, (two[0], flip(two[1]))], 1),
        (lambda one, two: [(one[0][:100], one[1]), two], 1),
        (lambda one, two: [(b"", one[1]), (two[0], b"")], 2),
        (lambda one, two: [("text", one[1]), (5, two[1])], 2),
        (lambda one, two: [one, (two[0], "text")], 1),
        (lambda one, two: [(two[0], one[1]), (one[0], two[1])], 2),
        (lambda one, two: [two, one], 2),
        (lambda one, two: [one, one], 1),
    ],
    ids=[
        "one bit of a value",
        "one bit of a digest",
        "truncated",
        "empty",
        "types",
        "digest type",
        "swapped values",
        "swapped rows",
        "copied row",
    ],
)
def test_cl5_damaged_rows_are_computed_again_and_counted(path: Path, damage: Callable[[Entry, Entry], list[Entry]], rows: int) -> None:
    before, _ = encode(path)
    with sqlite3.connect(path) as connection:
        entries = connection.execute("SELECT value, digest FROM entries WHERE rowid IN (3, 4)").fetchall()
        for (value, digest), row in zip(damage(*entries), (3, 4), strict=True):
            connection.execute("UPDATE entries SET value = ?, digest = ? WHERE rowid = ?", (value, digest, row))
    connection.close()
    after, cache = encode(path)
    assert after.tobytes() == before.tobytes()
    assert vars(cache.counts) == {"hits": 30 - rows, "misses": rows, "damaged": rows, "calls": 1, "completion_hits": 0, "completions": 0}
    assert vars(encode(path)[1].counts) == {"hits": 30, "misses": 0, "damaged": 0, "calls": 0, "completion_hits": 0, "completions": 0}


def test_text_that_is_not_utf8_is_damage_too(path: Path) -> None:
    before, _ = encode(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE entries SET value = CAST(X'FF' AS TEXT) WHERE rowid = 3")
    connection.close()
    after, cache = encode(path)
    assert (after.tobytes(), cache.counts.damaged) == (before.tobytes(), 1)


def test_garbage_files_are_set_aside_and_nothing_is_lost(path: Path) -> None:
    path.parent.mkdir()
    for number in range(3):  # within one second
        path.write_bytes(b"precious notes %d" % number)
        cache = Cache(path)
        assert (cache.counts.damaged, cache.get(["a"])) == (1, {})
        cache.put("vector", "x", [("a", b"1")])
        assert cache.get(["a"]) == {"a": b"1"}
        cache.close()
    aside = [file.read_bytes() for file in path.parent.glob("cache.sqlite.damaged-*")]
    assert sorted(aside) == [b"precious notes 0", b"precious notes 1", b"precious notes 2"]


@pytest.mark.parametrize(("good", "bad"), [(b"value", b"valua"), (b"digest", b"di\xffest"), (b"tableentries", b"table\xffntries")])
def test_damaged_schema_is_replaced(path: Path, good: bytes, bad: bytes) -> None:
    encode(path)
    path.write_bytes(path.read_bytes().replace(good, bad))
    assert vars(encode(path)[1].counts) == {"hits": 0, "misses": 30, "damaged": 1, "calls": 1, "completion_hits": 0, "completions": 0}
    assert encode(path)[1].counts.hits == 30
    assert len(list(path.parent.glob("*.damaged-*"))) == 1


def test_file_damaged_while_open_is_replaced(path: Path) -> None:
    before, _ = encode(path)
    cache = Cache(path)
    path.write_bytes(path.read_bytes()[:4096] + os.urandom(path.stat().st_size - 4096))
    after = CachedEmbedder(create_embedder("hash"), cache).encode(TEXTS, "passage")
    assert after.tobytes() == before.tobytes()
    assert vars(cache.counts) == {"hits": 0, "misses": 30, "damaged": 1, "calls": 1, "completion_hits": 0, "completions": 0}
    assert encode(path)[1].counts.hits == 30


# --- processes -------------------------------------------------------------------------------------------------------------------------


PUT_FOREVER = """
import itertools, sys
from pathlib import Path
from workbench.cache import Cache
cache = Cache(Path(sys.argv[1]))
for batch in itertools.count(int(sys.argv[2])):
    cache.put("vector", "x", [(f"{batch}-{row}", b"v" * 2000) for row in range(50)])
    print(batch, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_kill_during_put_loses_no_finished_batch_and_leaves_no_half_one(path: Path) -> None:
    acknowledged: list[str] = []
    for number in range(3):
        with child(PUT_FOREVER, path, 1_000_000 * number) as process:
            acknowledged.append(process.stdout.readline().strip())
            time.sleep(0.05)
            process.kill()
            acknowledged += process.stdout.read().split()
        cache = Cache(path)
        with sqlite3.connect(path) as connection:
            batches = dict(connection.execute("SELECT SUBSTR(key, 1, INSTR(key, '-') - 1), COUNT(*) FROM entries GROUP BY 1"))
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        assert set(batches.values()) == {50}
        assert set(acknowledged) <= set(batches)
        assert cache.counts.damaged == 0
        cache.close()


ENCODE = """
import sys, time
from pathlib import Path
from workbench.cache import Cache, CachedEmbedder
from workbench.embedding import create_embedder
time.sleep(max(0, float(sys.argv[2]) - time.time()))
cache = Cache(Path(sys.argv[1]))
for start in range(int(sys.argv[3]), int(sys.argv[3]) + 200, 10):
    CachedEmbedder(create_embedder("hash"), cache).encode([f"text {number}" for number in range(start, start + 10)], "query")
print(cache.counts.damaged)
"""


def test_two_processes_write_at_the_same_time(path: Path) -> None:
    together = time.time() + 2
    processes = [child(ENCODE, path, together, start) for start in (0, 100)]
    assert [process.communicate(timeout=60) for process in processes] == [("0\n", "")] * 2
    texts = [f"text {number}" for number in range(300)]
    cache = Cache(path)
    plain = create_embedder("hash")
    assert CachedEmbedder(plain, cache).encode(texts, "query").tobytes() == plain.encode(texts, "query").tobytes()
    assert (cache.counts.hits, cache.counts.misses, cache.stats()[0]["rows"]) == (300, 0, 300)


@pytest.mark.parametrize("content", [None, b"garbage"])
def test_many_open_a_new_or_broken_file_at_once(path: Path, content: bytes | None) -> None:
    together = threading.Barrier(8)

    def work(file: Path, number: int) -> None:
        together.wait()
        cache = Cache(file)
        cache.put("vector", "x", [(str(number), b"v")])
        cache.close()

    path.parent.mkdir()
    for number in range(10):
        file = path.with_name(f"{number}.sqlite")
        if content:
            file.write_bytes(content)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, [file] * 8, range(8)))
        assert Cache(file).stats()[0]["rows"] == 8
        assert [aside.read_bytes() for aside in path.parent.glob(f"{number}.sqlite.damaged-*")] == [content] * bool(content)


PUT_ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from workbench.cache import Cache
from workbench.datatypes import WorkbenchError
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
cache = Cache(Path(sys.argv[1]))
try:
    for batch in range(1000):
        cache.put("vector", "x", [(str(batch), bytes([batch]) * 5000)])
except WorkbenchError as error:
    print(batch, error)
"""


def test_full_disk_is_a_message_and_keeps_what_was_stored(path: Path) -> None:
    pytest.importorskip("resource")
    output, errors = child(PUT_ON_A_FULL_DISK, path).communicate(timeout=60)
    stored = int(output.split()[0])
    assert f"the cache {path} cannot be used" in output, errors
    assert stored > 3
    cache = Cache(path)
    assert cache.get([str(batch) for batch in range(1000)]) == {str(batch): bytes([batch]) * 5000 for batch in range(stored)}
    cache.put("vector", "x", [("after", b"v")])
    assert cache.counts.damaged == 0
