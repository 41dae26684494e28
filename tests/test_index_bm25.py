"""BM25 over arrays: equal to a naive BM25 and, bit for bit, to the package bm25s; what it reads once and keeps small."""

import math
import tracemalloc
from collections import Counter

import bm25s
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import index_bm25
from workbench.index import DECIMALS, LEXICAL_INDEXES
from workbench.index_bm25 import Bm25Index

ROWS = st.lists(st.lists(st.sampled_from(["a", "b", "c", "가나", "나다", "x1"]), max_size=9), max_size=12)
QUERY = st.lists(st.sampled_from(["a", "b", "c", "가나", "unknown"]), max_size=5)


def naive(rows: list[list[str]], query: list[str], k: int, among: list[int], k1: float, b: float) -> list[tuple[int, float]]:
    """Score every row by the formula, token by token."""
    mean = sum(map(len, rows)) / max(len(rows), 1)
    scores = {}
    for number in among:
        counts, score = Counter(rows[number]), 0.0
        for token in query:
            containing = sum(token in row for row in rows)
            if counts[token]:
                rarity = math.log(1 + (len(rows) - containing + 0.5) / (containing + 0.5))
                score += rarity * counts[token] / (counts[token] + k1 * (1 - b + b * len(rows[number]) / mean))
        if score > 0:
            scores[number] = round(score, DECIMALS)
    best = sorted(scores, key=lambda number: (-scores[number], number))[:k]
    return [(number, scores[number]) for number in best]


@settings(deadline=None)
@given(ROWS, QUERY, st.integers(1, 14), st.sampled_from([(1.5, 0.75), (0, 0), (1.2, 1), (0.9, 0.4)]), st.data())
def test_it_is_bm25(rows: list[list[str]], query: list[str], k: int, options: tuple[float, float], data: st.DataObject) -> None:
    k1, b = options
    index = Bm25Index((iter(row) for row in rows), k1=k1, b=b)
    among = data.draw(st.none() | st.lists(st.integers(0, len(rows) - 1), max_size=5) if rows else st.none())
    chosen = None if among is None else np.array(among, np.int64)
    expected = naive(rows, query, k, sorted(set(among)) if among is not None else list(range(len(rows))), k1, b)
    for found, scores in index.search([query, ["a"], query], k, chosen)[::2]:  # a query leaves nothing behind for the next
        assert found.tolist() == [number for number, _ in expected]
        assert scores.tolist() == pytest.approx([score for _, score in expected], abs=1.1 * 10**-DECIMALS)


@pytest.mark.parametrize("block", [1, 100, index_bm25.BLOCK])
def test_scores_are_those_of_bm25s_bit_for_bit_in_blocks_of_any_size(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_bm25, "BLOCK", block)
    draw = np.random.default_rng(3)
    rows = [[f"t{number}" for number in draw.zipf(1.3, size) % 500] for size in draw.integers(0, 60, 200)]
    mine = Bm25Index(rows, k1=1.2, b=0.6)
    theirs = bm25s.BM25(k1=1.2, b=0.6, method="lucene", dtype="float64")
    ids = [[mine.vocabulary[token] for token in row] for row in rows]
    theirs.index(bm25s.tokenization.Tokenized(ids=ids, vocab=mine.vocabulary), create_empty_token=False, show_progress=False)
    assert mine.rows.tolist() == theirs.scores["indices"].tolist()
    assert mine.scores.tobytes() == theirs.scores["data"].tobytes()
    assert mine.starts.tolist() == theirs.scores["indptr"].tolist()


@pytest.mark.parametrize("rows", [3, 5_000])  # where all rows are looked at, and where few are
def test_many_and_few_matching_rows(rows: int) -> None:
    index = Bm25Index([["rare", "all"], *([["all"]] * rows), ["rare"]])
    ((found, _),) = index.search([["rare"]], 9)
    assert found.tolist() == [rows + 1, 0]
    ((found, _),) = index.search([["all"]], 3)
    assert found.tolist() == [1, 2, 3]


def test_the_tokens_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_bm25, "BLOCK", 1_000)
    rows, tokens = 500, 200

    def made():
        draw = np.random.default_rng(0)
        for _ in range(rows):
            yield [f"token{number}" for number in draw.integers(0, 900, tokens).tolist()]

    Bm25Index(made())  # whatever numpy loads when first used
    tracemalloc.start()
    index = LEXICAL_INDEXES["bm25"](made())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - index.nbytes < rows * tokens * 20  # lists of strings need 64: 56 bytes and a pointer for each
    assert index.nbytes < 12 * rows * tokens + 8 * 901
