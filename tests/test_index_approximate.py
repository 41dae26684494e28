"""Approximate indexes: recall against exact search, their options, the same index every time (D17, VX11)."""

from typing import Any

import numpy as np
import pytest

from workbench.datatypes import WorkbenchError
from workbench.index import INDEXES, ExactIndex, create_index
from workbench.index_approximate import ApproximateIndex
from workbench.registry import resolve

SIZE, DIMENSION, SUBJECTS = 3000, 32, 100
APPROXIMATE = [name for name in INDEXES if resolve(INDEXES[name]).approximate]
GRAPHS = ["hnsw", "hnsw_sq"]


def vectors_around(subjects: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return vectors that lie together in groups, as those of texts do."""
    random = np.random.default_rng(seed)
    vectors = subjects[random.integers(len(subjects), size=count)] + random.normal(size=(count, DIMENSION)) * 0.8 / DIMENSION**0.5
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


CENTRES = np.random.default_rng(0).normal(size=(SUBJECTS, DIMENSION)) / DIMENSION**0.5
VECTORS, QUERIES = vectors_around(CENTRES, SIZE, 1), vectors_around(CENTRES, 200, 2)
NAMES = [f"chunk-{row}" for row in range(SIZE)]
EXACT = ExactIndex(VECTORS, NAMES).search(QUERIES, 10)


def build(spec: str, **options: Any) -> Any:
    return create_index(spec, VECTORS, NAMES, options)


def recall(index: Any) -> float:
    found = index.search(QUERIES, 10)
    return float(np.mean([len(set(rows) & set(right)) / 10 for (rows, _), (right, _) in zip(found, EXACT, strict=True)]))


def test_the_approximate_ones_are_known_as_such() -> None:
    assert set(INDEXES) - set(APPROXIMATE) == {"exact", "flat"}
    assert all(issubclass(resolve(INDEXES[name]), ApproximateIndex) for name in APPROXIMATE)


NARROW = {"hnsw": {"m": 2, "ef": 2}, "hnsw_sq": {"m": 2, "ef": 2, "candidates": 1}, "ivf_sq": {"probes": 1}}


@pytest.mark.parametrize("spec", APPROXIMATE)
def test_d17_nearly_all_that_exact_search_finds_is_found_and_the_options_matter(spec: str) -> None:
    default = build(spec)
    assert recall(default) >= 0.97
    assert recall(build(spec, **NARROW[spec])) < 0.95  # the test can fail
    for (rows, scores), query in zip(default.search(QUERIES, 10), QUERIES, strict=True):  # scores are exact, not those of the codes
        assert scores == pytest.approx(VECTORS[rows].astype(np.float64) @ query.astype(np.float64), abs=1e-6)


@pytest.mark.parametrize("spec", ["hnsw_sq", "ivf_sq"])
def test_exact_comparison_of_more_candidates_finds_more(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = {"ef": 400} if spec == "hnsw_sq" else {"lists": 1}
    assert recall(build(spec, candidates=64, **wide)) == 1  # so the candidates of the codes hold all that is near
    index = build(spec, **wide)
    codes = index.index.search(QUERIES, 10, params=index._parameters(10))[1]
    alone = np.mean([len(set(rows) & set(right)) / 10 for rows, (right, _) in zip(codes, EXACT, strict=True)])
    assert alone < 1  # one byte a dimension alone does not


@pytest.mark.parametrize("spec", APPROXIMATE)
def test_an_index_is_the_same_when_built_again_and_by_more_threads(spec: str) -> None:
    import faiss

    threads = faiss.omp_get_max_threads()
    built = []
    try:
        for number in (1, 1, 4):
            faiss.omp_set_num_threads(number)
            built.append(faiss.serialize_index(build(spec).index).tobytes())
            assert faiss.omp_get_max_threads() == number  # left as it was
    finally:
        faiss.omp_set_num_threads(threads)
    assert len(set(built)) == 1


@pytest.mark.parametrize("spec", APPROXIMATE)
def test_the_bytes_of_an_index_are_those_of_its_vectors_and_of_what_faiss_holds(spec: str) -> None:
    import faiss

    index = build(spec)
    assert index.nbytes - VECTORS.nbytes == pytest.approx(faiss.serialize_index(index.index).nbytes, rel=0.1)


@pytest.mark.parametrize("spec", APPROXIMATE)
def test_many_copies_of_one_text_are_found_in_order_of_their_rows(spec: str) -> None:
    vectors = VECTORS[:500].copy()
    vectors[100:140] = vectors[100]
    ((rows, _),) = create_index(spec, vectors, NAMES[:500]).search(vectors[100:101], 8)
    assert rows.tolist() == list(range(100, 108))


OPTIONS = [(spec, name, limits) for spec in APPROXIMATE for name, limits in resolve(INDEXES[spec]).limits.items()]


@pytest.mark.parametrize(("spec", "name", "limits"), OPTIONS)
def test_options_are_checked_for_range_and_kind(spec: str, name: str, limits: tuple[int, int]) -> None:
    low, high = limits
    for value in (low - 1, high + 1, 2.5, "3", True, None):
        with pytest.raises(WorkbenchError, match=f"index option {name} = {value!r} must be a whole number from {low} to {high}"):
            build(spec, **{name: value})
