"""Search vectors (exact, faiss flat, faiss HNSW) or tokens (BM25); equal scores are ordered by row number, everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from workbench import registry
from workbench.datatypes import LexicalIndex, VectorIndex, WorkbenchError

Found = tuple[np.ndarray, np.ndarray]  # row numbers and scores, best first
DECIMALS = 6  # of scores; what is equal to so many is a tie (VX10)
MARGIN = 1e-5  # more than float32 products of unit vectors are off; they depend on the batch and the library in their last digits
NOTHING: Found = (np.zeros(0, np.int64), np.zeros(0, np.float32))


def check_vectors(vectors: np.ndarray, names: Sequence[str], dimension: int | None = None) -> np.ndarray:
    """Return float32 C-contiguous unit rows or raise WorkbenchError naming the first bad row (VX1 to VX4)."""
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or len(vectors) != len(names):
        raise WorkbenchError(f"expected {len(names)} vectors, got an array of shape {vectors.shape}")
    if dimension is not None and len(names) and vectors.shape[1] != dimension:
        raise WorkbenchError(
            f"{names[0]}: a vector of dimension {vectors.shape[1]} cannot be compared with an index of dimension {dimension}"
        )
    norms = np.linalg.norm(vectors, axis=1)
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


def compare_all(vectors: np.ndarray, queries: np.ndarray, k: int) -> list[Found]:
    """Return the k nearest of all rows for each query."""
    found = []
    for at in range(0, len(queries), 256):  # bounds the score matrix
        part = queries[at : at + 256]
        found += [compare(vectors, query, contenders(scores, k), k) for query, scores in zip(part, part @ vectors.T, strict=True)]
    return found


class ExactIndex:
    """Compare every query with every vector (numpy); the reference for all others."""

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
        rows = np.unique(np.asarray(rows, dtype=np.int64))
        return [(rows[places], scores) for places, scores in compare_all(self.vectors[rows], queries, k)]

    def _search(self, queries: np.ndarray, k: int) -> list[Found]:
        return compare_all(self.vectors, queries, k)


class FlatIndex(ExactIndex):
    """Search with faiss IndexFlatIP: exact as well."""

    def __init__(self, vectors: np.ndarray, names: Sequence[str]) -> None:
        import faiss

        super().__init__(vectors, names)
        self.faiss = faiss
        self.index = self._build()
        self.index.add(self.vectors)

    def _build(self) -> Any:
        return self.faiss.IndexFlatIP(self.vectors.shape[1])

    def _parameters(self, depth: int) -> Any:  # noqa: ARG002 - HNSW needs it
        return None

    def _search(self, queries: np.ndarray, k: int) -> list[Found]:
        """Search deeper than k while the last row found may tie with the k-th; ids of -1 never leave (VX2)."""
        total = len(self.vectors)
        k = min(k, total)
        depth = min(k + 16, total)
        scores, ids = self.index.search(queries, depth, params=self._parameters(depth))
        while depth < total and ((scores[:, k - 1] - scores[:, -1] <= MARGIN) & (ids[:, -1] >= 0)).any():
            depth = min(2 * depth, total)
            scores, ids = self.index.search(queries, depth, params=self._parameters(depth))
        return [compare(self.vectors, query, np.sort(row[row >= 0]), k) for query, row in zip(queries, ids, strict=True)]


class HnswIndex(FlatIndex):
    """Search with faiss HNSW: approximate; `ef` is the breadth of a search, `m` the links of a node."""

    def __init__(self, vectors: np.ndarray, names: Sequence[str], *, m: int = 32, ef: int = 64) -> None:
        for name, value in (("m", m), ("ef", ef)):
            if not isinstance(value, int) or value < 2:
                raise WorkbenchError(f"index option {name} = {value!r} must be a whole number of at least 2")
        self.m, self.ef = m, ef
        super().__init__(vectors, names)

    @property
    def nbytes(self) -> int:
        """Return the bytes of the vectors and of the links of the lowest level, which holds nearly all."""
        return self.vectors.nbytes + len(self.vectors) * 2 * self.m * 4

    def _build(self) -> Any:
        index = self.faiss.IndexHNSWFlat(self.vectors.shape[1], self.m, self.faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = max(200, self.ef)
        return index

    def _parameters(self, depth: int) -> Any:
        return self.faiss.SearchParametersHNSW(efSearch=max(self.ef, depth))


class Bm25Index:
    """Rank token lists with BM25 (bm25s, Lucene's variant); rows without any query token are no hits (KO6)."""

    def __init__(self, tokens: Sequence[Sequence[str]], *, k1: float = 1.5, b: float = 0.75) -> None:
        if not (isinstance(k1, (int, float)) and isinstance(b, (int, float)) and k1 >= 0 and 0 <= b <= 1):
            raise WorkbenchError(f"BM25 options k1 = {k1!r} and b = {b!r} must satisfy k1 >= 0 and 0 <= b <= 1")
        import bm25s

        self.size = len(tokens)
        self.vocabulary = {token: number for number, token in enumerate(sorted({token for row in tokens for token in row}))}
        self.index = bm25s.BM25(k1=k1, b=b, method="lucene", dtype="float64")
        if self.vocabulary:
            ids = [[self.vocabulary[token] for token in row] for row in tokens]
            self.index.index(bm25s.tokenization.Tokenized(ids=ids, vocab=self.vocabulary), create_empty_token=False, show_progress=False)

    @property
    def nbytes(self) -> int:
        """Return the bytes of the scores and the rows they belong to."""
        return sum(part.nbytes for part in self.index.scores.values() if isinstance(part, np.ndarray)) if self.vocabulary else 0

    def search(self, queries: Sequence[Sequence[str]], k: int, rows: np.ndarray | None = None) -> list[Found]:
        """Return the k best rows of each tokenised query with a score above zero; a token given twice counts twice."""
        candidates = np.arange(self.size) if rows is None else np.unique(np.asarray(rows, dtype=np.int64))
        found = []
        for query in queries:
            ids = [self.vocabulary[token] for token in query if token in self.vocabulary]
            if not ids:
                found.append(NOTHING)
                continue
            scores = self.index.get_scores_from_ids(ids)
            matching = candidates[scores[candidates] > 0]
            found.append(ranked(matching, scores[matching], k))
        return found


INDEXES: dict[str, Callable[..., VectorIndex]] = {"exact": ExactIndex, "flat": FlatIndex, "hnsw": HnswIndex}
LEXICAL_INDEXES: dict[str, Callable[..., LexicalIndex]] = {"bm25": Bm25Index}


def create_index(spec: str, vectors: np.ndarray, names: Sequence[str], options: Mapping[str, Any] | None = None) -> VectorIndex:
    """Build the vector index that `spec` names over unit vectors; `names` are the chunk ids for errors."""
    return registry.create("index", INDEXES, spec, options or {}, vectors=vectors, names=names)
