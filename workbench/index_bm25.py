"""Search tokens with BM25; equal scores are ordered by row number."""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from workbench.datatypes import WorkbenchError

Found = tuple[np.ndarray, np.ndarray]  # row numbers and scores, best first
NOTHING: Found = (np.zeros(0, np.int64), np.zeros(0, np.float32))
Postings = tuple[np.ndarray, np.ndarray, np.ndarray]  # token numbers, rows, how often: ordered by token, then row
BLOCK = 1 << 19  # tokens that are counted at a time
SPARSE = 8  # rows for each posting of a query, at least, where sorting its rows is faster than looking at all


class Bm25Index:
    """Rank token lists with BM25 (Lucene's variant); rows without any query token are no hits (KO6).

    `tokens` is read once and may be a generator: memory holds the vocabulary, 4 bytes for each token while the index is built, and 12
    bytes for each distinct token of each row. Scores are float64 and the same as those of the package bm25s.
    """

    def __init__(self, tokens: Iterable[Iterable[str]], *, k1: float = 1.5, b: float = 0.75) -> None:
        if not (isinstance(k1, (int, float)) and isinstance(b, (int, float)) and k1 >= 0 and 0 <= b <= 1):
            raise WorkbenchError(f"BM25 options k1 = {k1!r} and b = {b!r} must satisfy k1 >= 0 and 0 <= b <= 1")
        numbers: defaultdict[str, int] = defaultdict()
        numbers.default_factory = numbers.__len__  # a new token gets the next number
        ids, ends = array("i"), array("q", [0])
        for row in tokens:
            ids.extend(map(numbers.__getitem__, row))
            ends.append(len(ids))
        self.vocabulary = dict(numbers)
        self.size = len(ends) - 1
        self._build(np.frombuffer(ids, np.int32), np.frombuffer(ends, np.int64), k1, b)

    def _build(self, ids: np.ndarray, ends: np.ndarray, k1: float, b: float) -> None:
        """Set the scores, the rows they belong to, and where those of each token start.

        Postings are counted twice, which needs less memory than to keep them: first for the frequencies, then for the scores.
        """
        rows_with = np.zeros(len(self.vocabulary), np.int64)
        for token, _, _ in _postings(ids, ends):
            rows_with += np.bincount(token, minlength=len(rows_with))
        self.starts = np.concatenate(([0], np.cumsum(rows_with)))
        self.rows = np.empty(self.starts[-1], np.int32)
        self.scores = np.empty(self.starts[-1], np.float64)
        different, which = np.unique(rows_with, return_inverse=True)
        rarity = np.array([math.log(1 + (self.size - count + 0.5) / (count + 0.5)) for count in different.tolist()])[which]
        lengths = np.diff(ends)
        norms = k1 * ((1 - b) + b * lengths / lengths.mean()) if len(ids) else lengths
        free = self.starts[:-1].copy()  # the next place of each token
        for token, row, often in _postings(ids, ends):
            counts = np.bincount(token, minlength=len(free))
            places = np.arange(len(token)) + (free - np.cumsum(counts) + counts)[token]
            free += counts
            self.rows[places] = row
            self.scores[places] = rarity[token] * (often / (norms[row] + often))

    @property
    def nbytes(self) -> int:
        """Return the bytes of the scores, of the rows they belong to, and of where those of each token start."""
        return self.scores.nbytes + self.rows.nbytes + self.starts.nbytes

    def search(self, queries: Sequence[Sequence[str]], k: int, rows: np.ndarray | None = None) -> list[Found]:
        """Return the k best rows of each tokenised query with a score above zero; a token given twice counts twice."""
        from workbench.index import ranked  # which names this class, so not before

        candidates = None if rows is None else np.unique(np.asarray(rows, dtype=np.int64))
        totals = np.zeros(self.size)  # all zero again after each query
        found = []
        for query in queries:
            ids = [self.vocabulary[token] for token in query if token in self.vocabulary]
            if not ids:
                found.append(NOTHING)
                continue
            parts = [slice(self.starts[number], self.starts[number + 1]) for number in ids]
            for part in parts:
                np.add.at(totals, self.rows[part], self.scores[part])
            few = sum(part.stop - part.start for part in parts) * SPARSE < self.size
            if candidates is not None:
                matching = candidates[totals[candidates] > 0]
            elif few:
                matching = np.unique(np.concatenate([self.rows[part] for part in parts])).astype(np.int64)
                matching = matching[totals[matching] > 0]
            else:
                matching = np.flatnonzero(totals > 0)
            found.append(ranked(matching, totals[matching], k))
            if few:
                for part in parts:
                    totals[self.rows[part]] = 0
            else:
                totals.fill(0)
        return found


def _postings(ids: np.ndarray, ends: np.ndarray) -> Iterator[Postings]:
    """Count the tokens of the rows, some rows at a time: `ids` (tokens,) of all rows, the first of which lie before ends[1]."""
    first = 0
    while first < len(ends) - 1:
        last = max(int(np.searchsorted(ends, ends[first] + BLOCK, side="right")) - 1, first + 1)
        rows = np.repeat(np.arange(first, last), np.diff(ends[first : last + 1]))
        keys = ids[ends[first] : ends[last]].astype(np.int64) << 32 | rows
        keys.sort()
        firsts = np.flatnonzero(np.diff(keys, prepend=-1))
        distinct = keys[firsts]
        yield distinct >> 32, distinct & 0xFFFFFFFF, np.diff(firsts, append=len(keys))
        first = last
