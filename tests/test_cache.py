"""What the cache returns, what its keys contain, what it refuses to keep; damage and processes are in test_cache_damage.py."""

import os
import sqlite3
import stat
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workbench import embedding
from workbench.cache import Cache, CachedEmbedder
from workbench.datatypes import Role, WorkbenchError

TEXTS = [f"문서 {number} about topic {number % 7}" for number in range(30)]


class CountingEmbedder:
    """Give each (model, role, text) its own random unit vector, and remember what was asked."""

    def __init__(self, **changes: Any) -> None:
        self.fingerprint: Mapping[str, Any] = {"name": "counting", "version": 1, "weights": "aa", "prefixes": {"query": "q: "}} | changes
        self.asked: list[tuple[str, str]] = []

    def encode(self, texts: Sequence[str], role: Role) -> np.ndarray:
        self.asked += [(text, role) for text in texts]
        rows = [np.random.default_rng([*f"{self.fingerprint} {role} {text}".encode()]).normal(size=48) for text in texts]
        return np.array([row / np.linalg.norm(row) for row in rows], np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "cache.sqlite"


def encode(path: Path, texts: Sequence[str] = TEXTS, role: Role = "passage", **changes: Any) -> tuple[np.ndarray, CountingEmbedder, Cache]:
    embedder, cache = CountingEmbedder(**changes), Cache(path)
    vectors = CachedEmbedder(embedder, cache).encode(texts, role)
    cache.close()
    return vectors, embedder, cache


# --- hits and keys ---------------------------------------------------------------------------------------------------------------------


def test_d24_hit_equals_miss_bit_for_bit(path: Path) -> None:
    miss, _, _ = encode(path)
    hit, _, _ = encode(path)
    assert miss.dtype == hit.dtype == np.float32
    assert miss.shape == hit.shape == (30, 48)
    assert miss.tobytes() == hit.tobytes() == CountingEmbedder().encode(TEXTS, "passage").tobytes()
    hit[0, 0] = 7  # the array is the caller's own


def test_d7_warm_rerun_encodes_nothing(path: Path) -> None:
    _, embedder, cache = encode(path)
    assert len(embedder.asked) == 30
    assert vars(cache.counts) == {"hits": 0, "misses": 30, "damaged": 0, "calls": 1, "completion_hits": 0, "completions": 0}
    _, embedder, cache = encode(path)
    assert embedder.asked == []
    assert vars(cache.counts) == {"hits": 30, "misses": 0, "damaged": 0, "calls": 0, "completion_hits": 0, "completions": 0}


def test_d8_adding_one_text_encodes_one(path: Path) -> None:
    before, _, _ = encode(path)
    after, embedder, cache = encode(path, [*TEXTS[:7], "new", *TEXTS[7:]])
    assert embedder.asked == [("new", "passage")]
    assert (cache.counts.hits, cache.counts.misses) == (30, 1)
    np.testing.assert_array_equal(np.delete(after, 7, axis=0), before)


@pytest.mark.parametrize("fingerprint", [None, {}, "model", {"version": 1}, {"name": ""}])
def test_d9_embedder_without_a_fingerprint_is_refused(path: Path, fingerprint: Any) -> None:
    embedder = CountingEmbedder()
    embedder.fingerprint = fingerprint
    with pytest.raises(WorkbenchError, match="CountingEmbedder has no fingerprint with a name, so its vectors cannot be cached safely"):
        CachedEmbedder(embedder, Cache(path))


@pytest.mark.parametrize(
    "changes", [{"name": "other"}, {"version": 2}, {"weights": "bb"}, {"max_length": 8}, {"prefixes": {"query": "Q: "}}]
)
def test_d20_d23_models_versions_weights_and_prefixes_share_nothing(path: Path, changes: dict) -> None:
    encode(path)
    vectors, embedder, _ = encode(path, **changes)
    assert len(embedder.asked) == 30
    np.testing.assert_array_equal(vectors, CountingEmbedder(**changes).encode(TEXTS, "passage"))


def test_d23_role_is_in_the_key(path: Path) -> None:
    passages, _, _ = encode(path, role="passage")
    queries, embedder, _ = encode(path, role="query")
    assert [role for _, role in embedder.asked] == ["query"] * 30
    assert not np.array_equal(passages, queries)


def test_fingerprint_key_order_does_not_matter(path: Path) -> None:
    encode(path)
    embedder, cache = CountingEmbedder(), Cache(path)
    embedder.fingerprint = dict(reversed(embedder.fingerprint.items()))
    CachedEmbedder(embedder, cache).encode(TEXTS, "passage")
    assert embedder.asked == []


@pytest.mark.parametrize("first", ["NFC", "NFD"])
def test_ko1_nfc_and_nfd_share_a_row_and_the_embedder_sees_nfc(path: Path, first: str) -> None:
    text = "한국어 café"
    nfc = unicodedata.normalize("NFC", text)
    vectors, embedder, _ = encode(path, [unicodedata.normalize(first, text), nfc, unicodedata.normalize("NFD", text)])
    assert embedder.asked == [(nfc, "passage")]
    np.testing.assert_array_equal(vectors, CountingEmbedder().encode([nfc] * 3, "passage"))


def test_repeated_texts_are_encoded_once_and_keep_their_places(path: Path) -> None:
    vectors, embedder, cache = encode(path, ["b", "a", "b", ""])
    assert [text for text, _ in embedder.asked] == ["b", "a", ""]
    assert (cache.counts.hits, cache.counts.misses) == (0, 3)
    np.testing.assert_array_equal(vectors, CountingEmbedder().encode(["b", "a", "b", ""], "passage"))


def test_no_texts_give_no_rows_and_no_call(path: Path) -> None:
    vectors, embedder, cache = encode(path, [])
    assert (vectors.dtype, len(vectors), embedder.asked, cache.counts.calls) == (np.float32, 0, [], 0)


def test_more_texts_than_one_query_takes(path: Path) -> None:
    texts = [f"text {number}" for number in range(1001)]
    first, _, _ = encode(path, texts)
    second, embedder, _ = encode(path, texts[::-1])
    assert embedder.asked == []
    np.testing.assert_array_equal(first[::-1], second)


def test_real_embedder_through_the_cache(path: Path) -> None:
    cached = CachedEmbedder(embedding.create_embedder("hash", {"dimension": 64}), Cache(path))
    assert cached.fingerprint == {"name": "hash", "version": 1, "dimension": 64}
    plain = embedding.create_embedder("hash", {"dimension": 64}).encode(TEXTS, "query")
    assert plain.tobytes() == cached.encode(TEXTS, "query").tobytes() == cached.encode(TEXTS, "query").tobytes()


def test_bypass_reads_and_stores_nothing_and_ends(path: Path) -> None:
    embedder, cache = CountingEmbedder(), Cache(path)
    cached = CachedEmbedder(embedder, cache)
    cached.encode(["a"], "query")
    with pytest.raises(ZeroDivisionError), cached.bypassed():  # noqa: PT012
        cached.encode(["a", "b"], "query")
        raise ZeroDivisionError
    assert (len(embedder.asked), cache.stats()[0]["rows"], cache.counts.calls) == (3, 1, 1)
    cached.encode(["a"], "query")
    assert len(embedder.asked) == 3


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (lambda vectors: vectors[:-1], "counting returned shape (1, 48) for 2 texts"),
        (lambda vectors: vectors[0], "counting returned shape (48,) for 2 texts"),
        (lambda vectors: vectors * np.nan, "or NaN; nothing is stored"),
        (lambda vectors: 1 / 0, "division by zero"),
    ],
)
def test_cl10_errors_are_never_cached(path: Path, reply: Callable, message: str) -> None:
    embedder, cache = CountingEmbedder(), Cache(path)
    good = embedder.encode
    embedder.encode = lambda texts, role: reply(good(texts, role))
    with pytest.raises((WorkbenchError, ZeroDivisionError)) as caught:
        CachedEmbedder(embedder, cache).encode(["a", "b"], "query")
    assert message in str(caught.value)
    assert cache.stats() == []
    embedder.encode = good
    np.testing.assert_array_equal(CachedEmbedder(embedder, cache).encode(["a", "b"], "query"), good(["a", "b"], "query"))


# --- the file --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="no file modes")
def test_files_are_readable_by_their_owner_only(path: Path) -> None:
    before = os.umask(0)
    try:
        cache = Cache(path)
        cache.put("vector", "x", [("a", b"v")])
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir() if file.stat().st_size}
    assert modes == {"cache.sqlite": 0o600, "cache.sqlite-shm": 0o600, "cache.sqlite-wal": 0o600}


def test_unusable_path_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file" / "cache.sqlite"):
        with pytest.raises(WorkbenchError, match=f"the cache {path} cannot be used: "):
            Cache(path)


def test_stats_prune_and_clear(path: Path) -> None:
    cache = Cache(path)
    assert (cache.stats(), cache.prune(0), cache.clear()) == ([], 0, 0)
    cache.put("vector", "b", [("1", b"12"), ("2", b"345")])
    cache.put("vector", "a", [("3", b"")])
    assert [(row["kind"], row["part"], row["rows"], row["bytes"]) for row in cache.stats()] == [
        ("vector", "a", 1, 0),
        ("vector", "b", 2, 5),
    ]
    assert abs(cache.stats()[0]["newest"] - time.time()) < 60
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE entries SET created = created - 10 * 86400 WHERE key = '1'")
    connection.close()
    assert (cache.prune(11), cache.prune(9), cache.prune(9)) == (0, 1, 0)
    assert cache.get(["1", "2", "3"]) == {"2": b"345", "3": b""}
    assert (cache.clear(), cache.stats()) == (2, [])


def test_first_value_stays_and_a_closed_cache_opens_again(path: Path) -> None:
    cache = Cache(path)
    cache.put("vector", "x", [("a", b"first")])
    cache.put("vector", "x", [("a", b"second")])
    cache.close()
    assert cache.get(["a", "a", "b"]) == {"a": b"first"}
