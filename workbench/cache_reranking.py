"""Remember the scores of a reranker: a question and a passage are read together once."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from workbench.cache import Cache
from workbench.cache_claims import claimed
from workbench.datatypes import Reranker, WorkbenchError
from workbench.reranking import check_scores
from workbench.storage import canonical_json, fingerprint

SCORED_AT_ONCE = 512  # pairs; what is done is stored, so a kill loses one block at most


class CachedReranker:
    """Wrap a reranker: known pairs come from the cache, the others are scored and stored block by block, equal ones once, in NFC.

    Hits, misses and calls are counted with those of vectors.
    """

    def __init__(self, reranker: Reranker, cache: Cache) -> None:
        identity = getattr(reranker, "fingerprint", None)
        if not isinstance(identity, Mapping) or not identity.get("name"):
            raise WorkbenchError(f"{type(reranker).__name__} has no fingerprint with a name, so its scores cannot be cached safely")
        self.reranker = reranker
        self.cache = cache
        self._reads = True

    @contextlib.contextmanager
    def bypassed(self) -> Iterator[None]:
        """Score everything anew and store nothing within this block, as a latency probe must."""
        self._reads = False
        try:
            yield
        finally:
            self._reads = True

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return self.reranker.fingerprint

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Return one float32 score for each pair: (len(pairs),)."""
        if not self._reads:
            return self.reranker.score(pairs)
        name, part = str(self.fingerprint["name"]), canonical_json(self.fingerprint)
        pairs = [(unicodedata.normalize("NFC", question), unicodedata.normalize("NFC", passage)) for question, passage in pairs]
        keys = [fingerprint([part, "score", question, passage]) for question, passage in pairs]
        found = self.cache.get(list(dict.fromkeys(keys)))
        missing = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in found}
        self.cache.counts.hits += len(found)
        with claimed(self.cache, missing, SCORED_AT_ONCE) as blocks:
            for known, block in blocks:
                found |= known
                self.cache.counts.hits += len(known)
                self.cache.counts.misses += len(block)
                if block:
                    self.cache.counts.calls += 1
                    asked = [pair for _, pair in block]
                    scores = check_scores(self.reranker.score(asked), asked, name).astype("<f4")
                    fresh = {key: score.tobytes() for (key, _), score in zip(block, scores, strict=True)}
                    self.cache.put("score", name, fresh.items())
                    found |= fresh
        return np.array([np.frombuffer(found[key], dtype="<f4")[0] for key in keys], dtype=np.float32)
