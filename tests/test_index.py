"""Indexes: vector indexes against exact search, in memory and mapped; BM25 against numbers worked by hand (VX1 to VX4, VX10, KO6)."""

import itertools
import math
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from workbench.datatypes import WorkbenchError
from workbench.index import INDEXES, LEXICAL_INDEXES, Bm25Index, ExactIndex, check_vectors, create_index

DIMENSION = 32


def random_vectors(count: int, seed: int, dimension: int = DIMENSION) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def names(count: int) -> list[str]:
    return [f"chunk-{row}" for row in range(count)]


def build(spec: str, vectors: np.ndarray, **options: int):
    return create_index(spec, vectors, names(len(vectors)), options)


def same(found: Sequence[tuple], expected: Sequence[tuple]) -> bool:
    return all(one[0].tolist() == two[0].tolist() and one[1].tolist() == two[1].tolist() for one, two in zip(found, expected, strict=True))


# --- all vector indexes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", INDEXES)
def test_nearest_by_hand(spec: str) -> None:
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8], [-1, 0]], np.float32)
    ((rows, scores),) = build(spec, vectors).search(np.array([[1, 0]], np.float32), 3)
    assert rows.tolist() == [0, 2, 1]
    assert scores.tolist() == [1.0, 0.6, 0.0]


@pytest.mark.parametrize("spec", INDEXES)
def test_vx10_equal_scores_are_ordered_by_row(spec: str) -> None:
    vectors = np.array([[0, 1], [1, 0], [1, 0], [0, 1], [1, 0]], np.float32)
    ((rows, _),) = build(spec, vectors).search(np.array([[1, 0]], np.float32), 4)
    assert rows.tolist() == [1, 2, 4, 0]


@pytest.mark.parametrize("spec", ["exact", "flat"])
def test_vx10_ties_beyond_k_keep_the_lowest_rows(spec: str) -> None:
    vectors = np.repeat(random_vectors(4, seed=1), 200, axis=0)
    order = np.random.default_rng(2).permutation(800)
    for (rows, scores), copy in zip(build(spec, vectors[order]).search(vectors[[0, 200, 400]], 5), range(3), strict=True):
        assert rows.tolist() == np.flatnonzero(order // 200 == copy)[:5].tolist()
        assert set(scores.tolist()) == {1.0}


@pytest.mark.parametrize("seed", range(3))
def test_flat_equals_exact_with_ties(seed: int) -> None:
    vectors = random_vectors(600, seed)
    vectors[300:400] = vectors[:100]  # duplicates
    queries = np.concatenate([vectors[:20], random_vectors(20, seed + 10)])
    for k in (1, 10, 600):
        assert same(build("flat", vectors).search(queries, k), build("exact", vectors).search(queries, k))


@pytest.mark.parametrize("spec", INDEXES)
def test_a_query_alone_finds_what_it_finds_in_a_batch(spec: str) -> None:
    vectors, queries = random_vectors(500, seed=7), random_vectors(300, seed=8)
    index = build(spec, vectors)
    alone = [index.search(query[None], 10)[0] for query in queries]
    assert same(index.search(queries, 10), alone)


@pytest.mark.parametrize("spec", INDEXES)
def test_rows_restrict_the_search_to_all_of_themselves(spec: str) -> None:
    vectors, queries = random_vectors(1000, seed=9), random_vectors(20, seed=10)
    index = build(spec, vectors)
    for rows in (np.array([7]), np.array([3, 4, 500, 999]), np.arange(0, 1000, 7)):
        expected = ExactIndex(vectors[rows], names(len(rows))).search(queries, 5)
        found = index.search(queries, 5, rows)
        assert same(found, [(rows[places], scores) for places, scores in expected])
        assert same(index.search(queries, 5, rows[::-1]), found)  # in whatever order they come


@pytest.mark.parametrize("spec", INDEXES)
def test_k_is_clipped_and_no_row_is_invented(spec: str) -> None:
    vectors = random_vectors(7, seed=11)
    for rows, _ in build(spec, vectors).search(random_vectors(5, seed=12), 50):
        assert sorted(rows.tolist()) == list(range(7))


@pytest.mark.parametrize("spec", INDEXES)
def test_one_vector_no_rows_no_queries(spec: str) -> None:
    vectors = random_vectors(1, seed=13)
    index = build(spec, vectors)
    ((rows, scores),) = index.search(vectors, 3)
    assert (rows.tolist(), scores.tolist()) == ([0], [1.0])
    ((rows, scores),) = index.search(vectors, 3, np.zeros(0, np.int64))
    assert (len(rows), len(scores)) == (0, 0)
    assert index.search(np.zeros((0, DIMENSION), np.float32), 3) == []
    assert index.search(np.zeros((0, 0), np.float32), 3) == []  # what a cache returns for no texts


@pytest.mark.parametrize("spec", INDEXES)
def test_scores_fall_and_rows_differ(spec: str) -> None:
    for rows, scores in build(spec, random_vectors(300, seed=14)).search(random_vectors(10, seed=15), 300):
        assert len(set(rows.tolist())) == len(rows)
        assert (np.diff(scores) <= 0).all()


def test_exact_matches_double_precision() -> None:
    vectors, queries = random_vectors(400, seed=16, dimension=384), random_vectors(10, seed=17, dimension=384)
    products = np.round(queries.astype(np.float64) @ vectors.T.astype(np.float64), 6)
    for (rows, scores), row in zip(build("exact", vectors).search(queries, 8), products, strict=True):
        assert rows.tolist() == sorted(range(400), key=lambda at: (-row[at], at))[:8]
        assert scores == pytest.approx(row[rows], abs=1e-9)


# --- vectors that are refused -----------------------------------------------------------------------------------------------------


def broken(kind: str) -> np.ndarray:
    vectors = random_vectors(6, seed=18)
    vectors[4] = {"NaN": np.nan, "infinite": np.inf, "zero": 0.0, "long": vectors[4] * 1.01, "short": vectors[4] * 0.99}[kind]
    return vectors


PROBLEMS = {"NaN": "NaN or infinite", "infinite": "NaN or infinite", "zero": "zero", "long": "not unit length", "short": "not unit length"}


@pytest.mark.parametrize(("spec", "kind"), list(itertools.product(INDEXES, PROBLEMS)))
def test_vx1_bad_vectors_are_refused_by_name(spec: str, kind: str) -> None:
    with pytest.raises(WorkbenchError, match=rf"chunk-4: its vector is {PROBLEMS[kind]} \(1 of 6 vectors are\)"):
        build(spec, broken(kind))


@pytest.mark.parametrize(("spec", "kind"), list(itertools.product(INDEXES, PROBLEMS)))
def test_vx2_bad_queries_are_refused_by_name(spec: str, kind: str) -> None:
    index = build(spec, random_vectors(20, seed=19))
    for rows in (None, np.arange(3)):
        with pytest.raises(WorkbenchError, match=f"query 4: its vector is {PROBLEMS[kind]}"):
            index.search(broken(kind), 3, rows)


@pytest.mark.parametrize("spec", INDEXES)
def test_vx3_a_query_of_another_dimension_is_refused(spec: str) -> None:
    index = build(spec, random_vectors(20, seed=20))
    with pytest.raises(WorkbenchError, match="query 0: a vector of dimension 16 cannot be compared with an index of dimension 32"):
        index.search(random_vectors(2, seed=21, dimension=16), 3)


def test_vx4_double_precision_becomes_single() -> None:
    vectors = check_vectors(random_vectors(4, seed=22).astype(np.float64)[:, ::-1], names(4))
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous


def memory_mapped(vectors: np.ndarray, path: Path) -> np.ndarray:
    np.save(path, vectors)
    return np.load(path, mmap_mode="r", allow_pickle=False)


@pytest.mark.parametrize("spec", INDEXES)
def test_memory_mapped_vectors_are_searched_where_they_are(spec: str, tmp_path: Path) -> None:
    vectors, queries = random_vectors(500, seed=30), random_vectors(5, seed=31)
    mapped = memory_mapped(vectors, tmp_path / "vectors.npy")
    index = build(spec, mapped)
    assert np.shares_memory(index.vectors, mapped)
    assert same(index.search(queries, 5), build(spec, vectors).search(queries, 5))


def test_vectors_are_neither_copied_nor_checked_all_at_once(tmp_path: Path) -> None:
    vectors = random_vectors(40_000, seed=32, dimension=128)
    vectors[39_999] *= 1.1
    tracemalloc.start()
    try:
        with pytest.raises(WorkbenchError, match=r"chunk-39999: its vector is not unit length \(1 of 40000 vectors are\)"):
            check_vectors(memory_mapped(vectors, tmp_path / "bad.npy"), NumberedNames(40_000))
        vectors[39_999] = vectors[0]
        index = ExactIndex(memory_mapped(vectors, tmp_path / "good.npy"), NumberedNames(40_000))
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        found = index.search(vectors[:3], 2)
        used = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert [rows.tolist()[0] for rows, _ in found] == [0, 1, 2]
    assert found[0][0].tolist() == [0, 39_999]
    assert used < vectors.nbytes / 10


class NumberedNames(Sequence):
    """Name rows without a list of all names."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> str:
        return f"chunk-{row}"


@pytest.mark.parametrize("seed", range(3))
def test_blocks_find_what_one_comparison_finds(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = random_vectors(700, seed, dimension=4)
    vectors[100:400] = vectors[400]  # copies, in several blocks
    queries = np.concatenate([vectors[395:405], random_vectors(7, seed + 10, dimension=4)])
    rows = np.random.default_rng(seed).permutation(700)[:500]
    index = ExactIndex(vectors, names(700))
    wanted = {(k, at): index.search(queries, k, part) for k in (1, 7, 350, 900) for at, part in enumerate((None, rows))}
    for limits in ({"ROWS": 64, "QUERIES": 3}, {"ROWS": 130, "QUERIES": 17, "TIED": 5}, {"ROWS": 1, "TIED": 0}):
        for name, value in limits.items():
            monkeypatch.setattr(f"workbench.index.{name}", value)
        for (k, at), expected in wanted.items():
            assert same(index.search(queries, k, (None, rows)[at]), expected)


def test_numbers_of_vectors_and_names_must_agree() -> None:
    with pytest.raises(WorkbenchError, match=r"expected 3 vectors, got an array of shape \(4, 32\)"):
        check_vectors(random_vectors(4, seed=23), names(3))
    with pytest.raises(WorkbenchError, match=r"expected 32 vectors, got an array of shape \(32,\)"):
        check_vectors(random_vectors(1, seed=24)[0], names(32))


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("hsnw", {}, "unknown index 'hsnw'; did you mean 'hnsw'"),
        ("hnsw", {"eff": 3}, "unknown option of index 'hnsw': 'eff'; did you mean 'ef'"),
        ("exact", {"ef": 3}, "index 'exact' has no options"),
    ],
)
def test_d25_unknown_names_and_bad_options(spec: str, options: dict, message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        build(spec, random_vectors(3, seed=25), **options)


# --- BM25 -------------------------------------------------------------------------------------------------------------------------

CORPUS = [["a", "b"], ["a", "a", "c"], ["d"]]  # 3 rows, 2 tokens on average


def bm25(frequency: int, length: int, containing: int, k1: float = 1.5, b: float = 0.75) -> float:
    idf = math.log(1 + (3 - containing + 0.5) / (containing + 0.5))
    return idf * frequency / (frequency + k1 * (1 - b + b * length / 2))


def test_bm25_by_hand() -> None:
    ((rows, scores),) = Bm25Index(CORPUS).search([["a"]], 3)
    assert rows.tolist() == [1, 0]  # row 2 has no "a": it is no hit (KO6)
    assert scores.tolist() == pytest.approx([0.231386, 0.188001], abs=1e-6)  # ln 1.6 * 2/4.0625 and ln 1.6 * 1/2.5
    assert scores.tolist() == pytest.approx([bm25(2, 3, 2), bm25(1, 2, 2)], abs=1e-6)


def test_bm25_adds_the_tokens_of_a_query() -> None:
    ((rows, scores),) = Bm25Index(CORPUS, k1=0.9, b=0.4).search([["d", "a", "c", "zebra", "a"]], 3)
    expected = {1: 2 * bm25(2, 3, 2, 0.9, 0.4) + bm25(1, 3, 1, 0.9, 0.4), 2: bm25(1, 1, 1, 0.9, 0.4), 0: 2 * bm25(1, 2, 2, 0.9, 0.4)}
    assert rows.tolist() == sorted(expected, key=lambda row: -expected[row])
    assert scores.tolist() == pytest.approx([expected[row] for row in rows], abs=1e-6)


def test_bm25_ties_rows_and_k() -> None:
    index = Bm25Index([["x"], ["y"], ["x"], [], ["x"], ["y", "x"]])
    assert [rows.tolist() for rows, _ in index.search([["x"], ["y"]], 99)] == [[0, 2, 4, 5], [1, 5]]
    assert index.search([["x"]], 2)[0][0].tolist() == [0, 2]
    assert index.search([["x"]], 9, np.array([5, 1, 4]))[0][0].tolist() == [4, 5]
    assert index.search([["x"]], 9, np.array([1]))[0][0].tolist() == []
    assert index.search([["x"]], 9, np.zeros(0, np.int64))[0][0].tolist() == []


def test_bm25_ties_do_not_depend_on_the_order_of_addition() -> None:
    corpus = [[f"t{number}" for number in order] + ["pad"] for order in itertools.permutations(range(4))]
    ((rows, scores),) = Bm25Index(corpus + [["other"] * 5] * 50).search([["t2", "t0", "t3", "t1"]], 24)
    assert rows.tolist() == list(range(24))
    assert len(set(scores.tolist())) == 1


@pytest.mark.parametrize("query", [[], ["unknown"], [""]])
def test_ko6_no_common_token_is_no_hit(query: list[str]) -> None:
    for corpus in (CORPUS, [[], []], []):
        assert [(len(rows), len(scores)) for rows, scores in Bm25Index(corpus).search([query], 5)] == [(0, 0)]


def test_bm25_of_several_queries_is_that_of_each() -> None:
    index = Bm25Index(CORPUS)
    queries = [["a", "c"], [], ["d"], ["b", "a"]]
    assert same(index.search(queries, 3), [index.search([query], 3)[0] for query in queries])


@pytest.mark.parametrize(("k1", "b"), [(-1, 0.5), (1.5, 1.5), (1.5, -0.1), (float("nan"), 0.5), ("1", 0.5)])
def test_bm25_options_are_checked(k1: float, b: float) -> None:
    with pytest.raises(WorkbenchError, match="must satisfy k1 >= 0 and 0 <= b <= 1"):
        LEXICAL_INDEXES["bm25"](CORPUS, k1=k1, b=b)
