"""Search vectors (exact, faiss flat, faiss HNSW) or tokens (BM25); equal scores are ordered by row number, everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from workbench import registry
from workbench.datatypes import LexicalIndex, VectorIndex, WorkbenchError

Found = tuple[np.ndarray, np.ndarray]  # row numbers and scores, best first
DECIMALS = 6  # float32 products of equal vectors differ in the last digits; rounded, ties are ties (VX10)
NOTHING: Found = (np.zeros(0, np.int64), np.zeros(0, np.float32))


def check_vectors(vectors: np.ndarray, names: Sequence[str], dimension: int | None = None) -> np.ndarray:
    """Return float32 C-contiguous unit rows or raise WorkbenchError naming the first bad row (VX1 to VX4)."""
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or len(vectors) != len(names):
        raise WorkbenchError(f"expected {len(names)} vectors, got an array of shape {vectors.shape}")
    if dimension is not None and vectors.shape[1] != dimension:
        raise WorkbenchError(f"{names[0]}: a vector of dimension {vectors.shape[1]} cannot be compared with an index of dimension {dimension}")
    norms = np.linalg.norm(vectors, axis=1)
    for problem, bad in (("NaN or infinite", ~np.isfinite(norms)), ("zero", norms == 0), ("not unit length", np.abs(norms - 1) > 1e-3)):
        rows = np.flatnonzero(bad)
        if len(rows):
            raise WorkbenchError(f"{names[rows[0]]}: its vector is {problem} ({len(rows)} of {len(names)} vectors are)")
    return np.ascontiguousarray(vectors, dtype=np.float32)


def best(scores: np.ndarray, k: int, rows: np.ndarray | None = None) -> Found:
    """Return the k best of one row of scores; `rows` names the candidates, default all."""
    scores = np.round(scores if rows is None else scores[rows], DECIMALS)
    if len(scores) > k:
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
        places = np.flatnonzero(scores >= threshold)
    else:
        places = np.arange(len(scores))
    places = places[np.argsort(-scores[places], kind="stable")][:k]
    return (places if rows is None else rows[places]), scores[places]


class ExactIndex:
    """Compare every query with every vector (numpy); the reference for all others."""

    def __init__(self, vectors: np.ndarray, names: Sequence[str]) -> None:
        self.vectors = check_vectors(vectors, names)

    def search(self, queries: np.ndarray, k: int, rows: np.ndarray | None = None) -> list[Found]:
        """Return the k nearest rows of each query."""
        queries = check_vectors(queries, [f"query {row}" for row in range(len(queries))], self.vectors.shape[1])
        found = []
        for at in range(0, len(queries), 256):  # bounds the score matrix
            scores = queries[at : at + 256] @ self.vectors.T
            found += [best(row, k, rows) for row in scores]
        return found


class FlatIndex:
    """Search with faiss IndexFlatIP: exact as well."""

    def __init__(self, vectors: np.ndarray, names: Sequence[str]) -> None:
        import faiss

        self.faiss = faiss
        self.vectors = check_vectors(vectors, names)
        self.index = self._build()
        self.index.add(self.vectors)

    def _build(self) -> Any:
        return self.faiss.IndexFlatIP(self.vectors.shape[1])

    def _parameters(self, selector: Any, k: int) -> Any:  # noqa: ARG002 - HNSW needs k
        return self.faiss.SearchParameters(sel=selector) if selector else None

    def search(self, queries: np.ndarray, k: int, rows: np.ndarray | None = None) -> list[Found]:
        """Return the k nearest rows of each query; k is clipped, ids of -1 never leave (VX2)."""
        queries = check_vectors(queries, [f"query {row}" for row in range(len(queries))], self.vectors.shape[1])
        k = min(k, len(self.vectors) if rows is None else len(rows))
        if not len(queries) or not k:
            return [NOTHING] * len(queries)
        selector = self.faiss.IDSelectorBatch(np.asarray(rows, np.int64)) if rows is not None else None
        scores, ids = self.index.search(queries, k, params=self._parameters(selector, k))
        found = []
        for row, score in zip(ids, np.round(scores, DECIMALS), strict=True):
            kept = row >= 0
            order = np.lexsort((row[kept], -score[kept]))
            found.append((row[kept][order], score[kept][order]))
        return found


class HnswIndex(FlatIndex):
    """Search with faiss HNSW: approximate; `ef` is the breadth of a search, `m` the links of a node."""

    def __init__(self, vectors: np.ndarray, names: Sequence[str], *, m: int = 32, ef: int = 64) -> None:
        for name, value in (("m", m), ("ef", ef)):
            if not isinstance(value, int) or value < 2:
                raise WorkbenchError(f"index option {name} = {value!r} must be a whole number of at least 2")
        self.m, self.ef = m, ef
        super().__init__(vectors, names)

    def _build(self) -> Any:
        index = self.faiss.IndexHNSWFlat(self.vectors.shape[1], self.m, self.faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = max(200, self.ef)
        return index

    def _parameters(self, selector: Any, k: int) -> Any:
        return self.faiss.SearchParametersHNSW(efSearch=max(self.ef, k), **({"sel": selector} if selector else {}))


class Bm25Index:
    """Rank token lists with BM25 (bm25s, Lucene's variant); rows without any query token are no hits (KO6)."""

    def __init__(self, tokens: Sequence[Sequence[str]], *, k1: float = 1.5, b: float = 0.75) -> None:
        if not (isinstance(k1, (int, float)) and isinstance(b, (int, float)) and k1 >= 0 and 0 <= b <= 1):
            raise WorkbenchError(f"BM25 options k1 = {k1!r} and b = {b!r} must satisfy k1 >= 0 and 0 <= b <= 1")
        import bm25s

        self.size = len(tokens)
        self.vocabulary = {token: number for number, token in enumerate(sorted({token for row in tokens for token in row}))}
        self.index = bm25s.BM25(k1=k1, b=b, method="lucene")
        if self.vocabulary:
            ids = [[self.vocabulary[token] for token in row] for row in tokens]
            self.index.index(bm25s.tokenization.Tokenized(ids=ids, vocab=self.vocabulary), show_progress=False)

    def search(self, queries: Sequence[Sequence[str]], k: int, rows: np.ndarray | None = None) -> list[Found]:
        """Return the k best rows of each tokenised query with a score above zero."""
        found = []
        for query in queries:
            ids = [self.vocabulary[token] for token in query if token in self.vocabulary]
            if not ids:
                found.append(NOTHING)
                continue
            numbers, scores = best(self.index.get_scores_from_ids(ids), k, rows)
            found.append((numbers[scores > 0], scores[scores > 0]))
        return found


INDEXES: dict[str, Callable[..., VectorIndex]] = {"exact": ExactIndex, "flat": FlatIndex, "hnsw": HnswIndex}
LEXICAL_INDEXES: dict[str, Callable[..., LexicalIndex]] = {"bm25": Bm25Index}


def create_index(spec: str, vectors: np.ndarray, names: Sequence[str], options: Mapping[str, Any] | None = None) -> VectorIndex:
    """Build the vector index that `spec` names over unit vectors; `names` are the chunk ids for errors."""
    return registry.create("index", INDEXES, spec, options or {}, vectors=vectors, names=names)
