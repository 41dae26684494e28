"""Pairs are scored once: keys, blocks, counts, damage, refusals, the bypass for latency probes (CL8, D7, VX1)."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workbench import cache_reranking
from workbench.cache import Cache, CachedEmbedder
from workbench.cache_reranking import CachedReranker
from workbench.datatypes import WorkbenchError
from workbench.embedding import create_embedder

PAIRS = [("one", "long passage"), ("one", "short"), ("둘", "지문"), ("one", "short")]


class Counting:
    """Score by length of the question less length of the passage, and a third; remember what was asked."""

    def __init__(self, **identity: Any) -> None:
        self.fingerprint = {"name": "counting", "version": 1} | identity
        self.asked: list[list[tuple[str, str]]] = []

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        self.asked.append(list(pairs))
        return np.array([len(question) - len(passage) + 1 / 3 for question, passage in pairs], np.float32)


@pytest.fixture
def store(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache.sqlite")


def test_d7_a_hit_is_what_the_miss_was_and_costs_no_call(store: Cache) -> None:
    first, again = Counting(), Counting()
    scores = CachedReranker(first, store).score(PAIRS)
    assert first.asked == [PAIRS[:3]]
    assert scores.tobytes() == Counting().score(PAIRS).tobytes()
    assert (scores.shape, scores.dtype) == ((4,), np.float32)
    assert CachedReranker(again, store).score(PAIRS).tobytes() == scores.tobytes()
    assert again.asked == []
    assert (store.counts.hits, store.counts.misses, store.counts.calls) == (3, 3, 1)
    assert [(row["kind"], row["part"], row["rows"], row["bytes"]) for row in store.stats()] == [("score", "counting", 3, 12)]
    assert CachedReranker(again, store).score([]).shape == (0,)


@pytest.mark.parametrize(
    ("pair", "identity"),
    [(("One", "short"), {}), (("one", "Short"), {}), (("short", "one"), {}), (("ones", "hort"), {}), (("one", "short"), {"version": 2})],
)
def test_every_part_of_the_key_counts(store: Cache, pair: tuple[str, str], identity: dict[str, Any]) -> None:
    CachedReranker(Counting(), store).score(PAIRS)
    other = Counting(**identity)
    CachedReranker(other, store).score([pair])
    assert other.asked == [[pair]]


def test_one_spelling_of_korean_in_the_key(store: Cache) -> None:
    CachedReranker(Counting(), store).score([("\uac00", "\ub098")])
    decomposed = Counting()
    CachedReranker(decomposed, store).score([("\u1100\u1161", "\u1102\u1161")])
    assert decomposed.asked == []


def test_scores_and_vectors_of_equal_texts_and_names_are_apart(store: Cache) -> None:
    embedder = create_embedder("hash")
    CachedEmbedder(embedder, store).encode(["passage"], "query")
    reranker = Counting(**embedder.fingerprint)
    assert CachedReranker(reranker, store).score([("query", "passage")]).shape == (1,)
    assert len(reranker.asked) == 1


def test_a_kill_loses_one_block_at_most(store: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_reranking, "SCORED_AT_ONCE", 4)
    pairs = [("q", str(number)) for number in range(10)]

    class Dying(Counting):
        def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
            if len(self.asked) == 2:
                raise KeyboardInterrupt
            return super().score(pairs)

    with pytest.raises(KeyboardInterrupt):
        CachedReranker(Dying(), store).score(pairs)
    resumed = Counting()
    CachedReranker(resumed, store).score(pairs)
    assert resumed.asked == [pairs[8:]]


def test_a_damaged_row_is_scored_again(store: Cache) -> None:
    scores = CachedReranker(Counting(), store).score(PAIRS)
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE entries SET value = ?", (np.float32(9).tobytes(),))
    again = Counting()
    assert CachedReranker(again, store).score(PAIRS).tobytes() == scores.tobytes()
    assert again.asked == [PAIRS[:3]]
    assert store.counts.damaged == 3


def test_within_the_bypass_nothing_is_read_or_stored(store: Cache) -> None:
    reranker = Counting()
    cached = CachedReranker(reranker, store)
    with cached.bypassed():
        cached.score(PAIRS[:1])
        cached.score(PAIRS[:1])
    assert len(reranker.asked) == 2
    assert store.stats() == []
    cached.score(PAIRS[:1])
    cached.score(PAIRS[:1])
    assert len(reranker.asked) == 3


@pytest.mark.parametrize("bad", [np.array([1.0, np.nan, 2.0]), np.array([1.0, 2.0]), np.ones((3, 1))])
def test_vx1_scores_that_cannot_be_used_are_not_stored(store: Cache, bad: np.ndarray) -> None:
    class Broken(Counting):
        def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
            return bad

    with pytest.raises(WorkbenchError, match=r"counting returned (a NaN or infinite score for 1 of 3 pairs|scores of shape)"):
        CachedReranker(Broken(), store).score(PAIRS)
    assert store.stats() == []


def test_d9_a_reranker_without_a_name_is_refused(store: Cache) -> None:
    with pytest.raises(WorkbenchError, match="Counting has no fingerprint with a name, so its scores cannot be cached safely"):
        CachedReranker(Counting(name=""), store)
