"""Search vectors (exact, faiss flat; approximate ones in siblings) or tokens (BM25); equal scores are ordered by row number, everywhere.

Vectors may be memory-mapped: they are read in blocks, and what a search needs beside them does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workbench import registry
from workbench.datatypes import LexicalIndex, VectorIndex, WorkbenchError
from workbench.index_bm25 import Bm25Index

Found = tuple[np.ndarray, np.ndarray]  # row numbers and scores, best first
DECIMALS = 6  # of scores; what is equal to so many is a tie (VX10)
MARGIN = 1e-5  # more than float32 products of unit vectors are off; they depend on the batch and the library in their last digits
QUERIES = 256  # compared at once with
ROWS = 16_384  # vectors: a block of scores takes 16 MB
NOTHING: Found = (np.zeros(0, np.int64), np.zeros(0, np.float32))
TIED = 1024  # rows beside k that may be equal in single precision before they are compared exactly


def check_vectors(vectors: np.ndarray, names: Sequence[str], dimension: int | None = None) -> np.ndarray:
    """Return float32 C-contiguous unit rows or raise WorkbenchError naming the first bad row (VX1 to VX4).

    What has this form already is not copied, memory-mapped or not.
    """
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or len(vectors) != len(names):
        raise WorkbenchError(f"expected {len(names)} vectors, got an array of shape {vectors.shape}")
    if dimension is not None and len(names) and vectors.shape[1] != dimension:
        raise WorkbenchError(
            f"{names[0]}: a vector of dimension {vectors.shape[1]} cannot be compared with an index of dimension {dimension}"
        )
    norms = np.zeros(len(vectors))
    for at in range(0, len(vectors), ROWS):
        norms[at : at + ROWS] = np.linalg.norm(vectors[at : at + ROWS], axis=1)
    for problem, bad in (("NaN or infinite", ~np.isfinite(norms)), ("zero", norms == 0), ("not unit length", np.abs(norms - 1) > 1e-3)):
        rows = np.flatnonzero(bad)
        if len(rows):
            raise WorkbenchError(f"{names[rows[0]]}: its vector is {problem} ({len(rows)} of {len(names)} vectors are)")
    return np.ascontiguousarray(vectors, dtype=np.float32)


def contenders(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the places, ascending, of all scores that may be among the k best once they are exact."""
    if len(scores) <= k:
        return np.arange(len(scores))
    return np.flatnonzero(scores >= np.partition(scores, -k)[-k] - MARGIN)


def ranked(rows: np.ndarray, scores: np.ndarray, k: int) -> Found:
    """Return the k best of some rows (ascending) with their scores; equal scores keep the order of the rows."""
    near = contenders(scores, k)
    scores = np.round(scores[near], DECIMALS)
    order = np.argsort(-scores, kind="stable")[:k]
    return rows[near][order], scores[order]


def compare(vectors: np.ndarray, query: np.ndarray, rows: np.ndarray, k: int) -> Found:
    """Return the k nearest of some rows (ascending), compared in double precision: the same in every batch and from every index."""
    return ranked(rows, vectors[rows].astype(np.float64) @ query.astype(np.float64), k)


def compare_all(vectors: np.ndarray, queries: np.ndarray, k: int, rows: np.ndarray | None = None) -> list[Found]:
    """Return for each query the k nearest of all rows, or of some (ascending)."""
    found = []
    total = len(vectors) if rows is None else len(rows)
    for at in range(0, len(queries), QUERIES):
        part = queries[at : at + QUERIES]
        near = [NOTHING] * len(part)
        for start in range(0, total, ROWS):
            block = np.arange(start, min(start + ROWS, total)) if rows is None else rows[start : start + ROWS]
            scores = part @ (vectors[start : start + ROWS] if rows is None else vectors[block]).T
            near = [_nearer(vectors, query, k, kept, block, row) for query, kept, row in zip(part, near, scores, strict=True)]
        found += [compare(vectors, query, kept, k) for query, (kept, _) in zip(part, near, strict=True)]
    return found


def _nearer(vectors: np.ndarray, query: np.ndarray, k: int, kept: Found, block: np.ndarray, scores: np.ndarray) -> Found:
    """Return what may be among the k nearest of the rows kept so far and of a block after them, with scores in single precision."""
    new = np.flatnonzero(scores >= kept[1].min() - MARGIN) if len(kept[1]) >= k else np.arange(len(scores))
    if not len(new):
        return kept
    rows, scores = np.concatenate([kept[0], block[new]]), np.concatenate([kept[1], scores[new]])
    near = contenders(scores, k)
    if len(near) > k + TIED:  # many copies of one text
        near = np.searchsorted(rows, np.sort(compare(vectors, query, rows[near], k)[0]))
    return rows[near], scores[near]


class ExactIndex:
    """Compare every query with every vector (numpy); the reference for all others."""

    approximate = False

    def __init__(self, vectors: np.ndarray, names: Sequence[str]) -> None:
        self.vectors = check_vectors(vectors, names)

    @property
    def nbytes(self) -> int:
        """Return the bytes of the vectors."""
        return self.vectors.nbytes

    def search(self, queries: np.ndarray, k: int, rows: np.ndarray | None = None) -> list[Found]:
        """Return the k nearest rows of each query, fewer when there are fewer.

        With `rows` these alone are compared, all of them, by every index: a graph searched under a filter loses hits.
        """
        queries = check_vectors(queries, [f"query {row}" for row in range(len(queries))], self.vectors.shape[1])
        if not len(queries):
            return []
        if rows is None:
            return self._search(queries, k)
        return compare_all(self.vectors, queries, k, np.unique(np.asarray(rows, dtype=np.int64)))

    def _search(self, queries: np.ndarray, k: int) -> list[Found]:
        return compare_all(self.vectors, queries, k)


class FlatIndex(ExactIndex):
    """Compare every query with every vector (faiss), without a copy of the vectors."""

    def _search(self, queries: np.ndarray, k: int) -> list[Found]:
        import faiss

        def search(asked: np.ndarray, depth: int) -> Found:
            return faiss.knn(asked, self.vectors, depth, faiss.METRIC_INNER_PRODUCT)

        return search_deeper(self.vectors, queries, k, 0, search)


def search_deeper(vectors: np.ndarray, queries: np.ndarray, k: int, depth: int, search: Callable[[np.ndarray, int], Found]) -> list[Found]:
    """Return the k nearest rows of each query among those that `search(queries, depth)` finds: scores, and rows, -1 for none (VX2).

    It is asked for at least `depth` rows and more than k, and again for more where the last row found may tie with the k-th.
    """
    total = len(vectors)
    k = min(k, total)
    depth = min(max(k + 16, depth), total)
    found: dict[int, np.ndarray] = {}
    asked = np.arange(len(queries))
    while len(asked):
        scores, rows = search(queries[asked], depth)
        tied = (depth < total) & (scores[:, k - 1] - scores[:, -1] <= MARGIN) & (rows[:, -1] >= 0)
        found |= {at: row[row >= 0] for at, row in zip(asked.tolist(), rows, strict=True)}
        asked, depth = asked[tied], min(2 * depth, total)
    return [compare(vectors, query, np.sort(found[at]), k) for at, query in enumerate(queries)]


INDEXES: dict[str, Callable[..., VectorIndex] | str] = {
    "exact": ExactIndex,
    "flat": FlatIndex,
    "hnsw": "workbench.index_approximate:HnswIndex",
    "hnsw_sq": "workbench.index_approximate:HnswSqIndex",
    "ivf_sq": "workbench.index_approximate:IvfSqIndex",
}
LEXICAL_INDEXES: dict[str, Callable[..., LexicalIndex]] = {"bm25": Bm25Index}


def create_index(
    spec: str, vectors: np.ndarray, names: Sequence[str], options: Mapping[str, Any] | None = None, folder: Path | None = None
) -> VectorIndex:
    """Build the vector index that `spec` names over unit vectors; `names` are the chunk ids for errors.

    With a folder, a large approximate index is kept there and not built again (index_store).
    """
    return registry.create("index", INDEXES, spec, options or {}, vectors=vectors, names=names, folder=folder)
