"""Search vectors approximately with faiss: candidates come from a graph or from inverted lists and are compared exactly.

Their recall against exact search is measured in every run (VX11). An index is built from the same vectors into the same index every time,
by one thread where several would race (HNSW); a search is spread over threads, which changes no result.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from workbench.datatypes import WorkbenchError
from workbench.index import ExactIndex, Found, search_deeper
from workbench.index_store import stored_index

TRAINED_ON = 65_536  # vectors at most, for the ranges of a scalar quantiser
POINTS_PER_LIST = 40  # vectors that the centre of a list is found from: faiss warns below 39
ROUNDS = 10  # of k-means
BUILD_EF = 200  # breadth of the search for the links of a new node
SEED = 1234
VERSION = 1  # of the way indexes are built: stored ones of another are not read


class ApproximateIndex(ExactIndex, ABC):
    """Find candidates with a faiss index, kept in `folder` when it is large, and compare them exactly by the vectors.

    A subclass builds the index and says how to search it.
    """

    approximate = True
    limits: ClassVar[Mapping[str, tuple[int, int]]]  # of the options
    built_by: ClassVar[str]  # the option that an index is built by; the others matter to searches only

    def __init__(self, vectors: np.ndarray, names: Sequence[str], folder: Path | None, **options: int) -> None:
        for name, value in options.items():
            low, high = self.limits[name]
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise WorkbenchError(f"index option {name} = {value!r} must be a whole number from {low} to {high}")
        import faiss

        super().__init__(vectors, names)
        self.faiss = faiss
        self.options = options
        built = {self.built_by: options[self.built_by], "version": VERSION}
        self.index, self.origin = stored_index(folder, self.vectors, type(self).__name__, built, self._build)

    @abstractmethod
    def _build(self) -> Any:
        """Return the faiss index, filled."""

    @abstractmethod
    def _parameters(self, depth: int) -> Any:
        """Return how faiss searches for so many candidates."""

    def _search(self, queries: np.ndarray, k: int) -> list[Found]:
        def search(asked: np.ndarray, depth: int) -> Found:
            return self.index.search(asked, depth, params=self._parameters(depth))

        return search_deeper(self.vectors, queries, k, self.options.get("candidates", 0), search)

    def _sample(self, most: int) -> np.ndarray:
        """Return so many vectors at most, drawn by a fixed seed."""
        if len(self.vectors) <= most:
            return self.vectors
        rows = np.random.default_rng(SEED).choice(len(self.vectors), most, replace=False)
        return self.vectors[np.sort(rows)]


class HnswIndex(ApproximateIndex):
    """Search a graph of the vectors (faiss HNSW): `ef` is the breadth of a search, `m` the links of a node; it holds a copy of them."""

    limits: ClassVar = {"m": (2, 128), "ef": (2, 4096)}
    built_by = "m"

    def __init__(self, vectors: np.ndarray, names: Sequence[str], folder: Path | None = None, *, m: int = 32, ef: int = 256) -> None:
        super().__init__(vectors, names, folder, m=m, ef=ef)

    @property
    def nbytes(self) -> int:
        """Return the bytes of the vectors, of what the graph holds of them, and of the links of its lowest level, nearly all."""
        held = self.faiss.downcast_index(self.index.storage).code_size
        return self.vectors.nbytes + len(self.vectors) * (held + 2 * self.options["m"] * 4)

    def _empty(self) -> Any:
        return self.faiss.IndexHNSWFlat(self.vectors.shape[1], self.options["m"], self.faiss.METRIC_INNER_PRODUCT)

    def _build(self) -> Any:
        index = self._empty()
        index.hnsw.efConstruction = BUILD_EF
        with self._alone():
            index.train(self._sample(TRAINED_ON))
            index.add(self.vectors)
        return index

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let faiss use one thread: nodes that several add come in no fixed order, and another order gives another graph."""
        threads = self.faiss.omp_get_max_threads()
        self.faiss.omp_set_num_threads(1)
        try:
            yield
        finally:
            self.faiss.omp_set_num_threads(threads)

    def _parameters(self, depth: int) -> Any:
        return self.faiss.SearchParametersHNSW(efSearch=max(self.options["ef"], depth))


class HnswSqIndex(HnswIndex):
    """Search a graph that holds each vector in one byte a dimension; the `candidates` nearest are compared exactly."""

    limits: ClassVar = {**HnswIndex.limits, "candidates": (1, 4096)}

    def __init__(
        self, vectors: np.ndarray, names: Sequence[str], folder: Path | None = None, *, m: int = 32, ef: int = 256, candidates: int = 32
    ) -> None:
        ApproximateIndex.__init__(self, vectors, names, folder, m=m, ef=ef, candidates=candidates)

    def _empty(self) -> Any:
        faiss = self.faiss
        return faiss.IndexHNSWSQ(self.vectors.shape[1], faiss.ScalarQuantizer.QT_8bit, self.options["m"], faiss.METRIC_INNER_PRODUCT)


class IvfSqIndex(ApproximateIndex):
    """Search the `probes` nearest of many lists of vectors, each in one byte a dimension; the `candidates` nearest are compared exactly.

    `lists` 0 means 4 times the square root of the number of vectors; there is at most one for 40 vectors. It is built many times faster
    than a graph.
    """

    built_by = "lists"
    limits: ClassVar = {"lists": (0, 65_536), "probes": (1, 65_536), "candidates": (1, 4096)}

    def __init__(
        self,
        vectors: np.ndarray,
        names: Sequence[str],
        folder: Path | None = None,
        *,
        lists: int = 0,
        probes: int = 64,
        candidates: int = 32,
    ) -> None:
        super().__init__(vectors, names, folder, lists=lists, probes=probes, candidates=candidates)

    @property
    def nbytes(self) -> int:
        """Return the bytes of the vectors, of their codes and row numbers, and of the centres of the lists."""
        return self.vectors.nbytes + len(self.vectors) * (self.index.code_size + 8) + self.index.nlist * self.vectors[:1].nbytes

    def _build(self) -> Any:
        faiss, (size, dimension) = self.faiss, self.vectors.shape
        lists = max(1, min(self.options["lists"] or round(4 * size**0.5), size // POINTS_PER_LIST))
        kind, metric = faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        centres = faiss.IndexFlatIP(dimension)
        index = faiss.IndexIVFScalarQuantizer(centres, dimension, lists, kind, metric, False)  # False: codes of vectors, not of residuals
        index.cp.spherical, index.cp.niter = True, ROUNDS
        index.cp.min_points_per_centroid = 1  # no warning where one list holds fewer than it would like
        index.train(self._sample(lists * POINTS_PER_LIST))
        index.add(self.vectors)
        return index

    def _parameters(self, depth: int) -> Any:  # noqa: ARG002 - HNSW needs it
        return self.faiss.SearchParametersIVF(nprobe=min(self.options["probes"], self.index.nlist))
