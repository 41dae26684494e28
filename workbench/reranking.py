"""Order the best chunks again by a model that reads question and passage together: `cross-encoder:MODEL`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from workbench import registry
from workbench.datatypes import Example, Hit, Reranker, Retriever, WorkbenchError
from workbench.retrieval import embedding_texts

RERANKERS: dict[str, Callable[..., Reranker] | str] = {"cross-encoder": "workbench.reranking_cross_encoder:CrossEncoderReranker"}
DEFAULT_DEPTH, MAX_DEPTH = 50, 1000  # candidates that are scored for each question


def create_reranker(spec: str, options: Mapping[str, Any] | None = None, allow_download: bool = False) -> Reranker:
    """Build the reranker that `spec` names; the depth is no option of it (see `split_options`)."""
    return registry.create("reranker", RERANKERS, spec, options or {}, allow_download=allow_download)


def split_options(options: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """Cut an option group into the depth, which is for RerankingRetriever, and the options of the reranker; refuse a bad depth."""
    others = dict(options)
    depth = others.pop("depth", DEFAULT_DEPTH)
    if not isinstance(depth, int) or isinstance(depth, bool) or not 1 <= depth <= MAX_DEPTH:
        raise WorkbenchError(f"reranker.depth {depth!r} must be a whole number from 1 to {MAX_DEPTH}")
    return depth, others


def check_scores(scores: np.ndarray, pairs: Sequence[tuple[str, str]], source: str) -> np.ndarray:
    """Return float32 scores (len(pairs),); raise WorkbenchError for another shape or a score that is not finite, quoting its pair."""
    scores = np.asarray(scores, dtype=np.float32)
    if scores.shape != (len(pairs),):
        raise WorkbenchError(f"{source} returned scores of shape {scores.shape} for {len(pairs)} pairs")
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        question, passage = pairs[bad[0]]
        raise WorkbenchError(
            f"{source} returned a NaN or infinite score for {len(bad)} of {len(pairs)} pairs, "
            f"first: {question[:80]!r} with {passage[:80]!r}"
        )
    return scores


class RerankingRetriever:
    """Wrap a retriever: the first `depth` hits are put into the order of a reranker's scores, those below keep theirs.

    The passage of a pair is what is indexed: title, space and text with `with_title`, else the text. Equal scores keep the retriever's
    order. However few hits are asked for, `depth` are retrieved and scored, so a deeper search never reorders a shallower one (it scores
    the same pairs again, which costs nothing behind a cache).

    Hits in the first `depth` have the reranker's scores. Those below have the lowest of these, less what the retriever's score has fallen
    since the last of the first `depth`: scores fall all the way, and do not depend on how deep the search was.
    """

    def __init__(self, retriever: Retriever, reranker: Reranker, depth: int = DEFAULT_DEPTH, with_title: bool = False) -> None:
        self.retriever = retriever
        self.reranker = reranker
        self.depth = depth
        self.with_title = with_title

    @property
    def index_bytes(self) -> int:
        return self.retriever.index_bytes

    def vectorise(self, examples: Sequence[Example]) -> Sequence[Any]:
        """Return what the wrapped retriever searches with."""
        return self.retriever.vectorise(examples)

    def retrieve(self, examples: Sequence[Example], k: int, queries: Sequence[Any] | None = None) -> list[list[Hit]]:
        """Return k chunks for each question; all pairs are scored in one call."""
        found = self.retriever.retrieve(examples, max(k, self.depth), queries)
        heads = [hits[: self.depth] for hits in found]
        pairs = [
            (example.question, text)
            for example, head in zip(examples, heads, strict=True)
            for text in embedding_texts([hit.chunk for hit in head], self.with_title)
        ]
        scores = check_scores(self.reranker.score(pairs), pairs, str(self.reranker.fingerprint["name"])).tolist()
        ends = np.cumsum([len(head) for head in heads], dtype=int).tolist()
        return [_reordered(hits, scores[end - len(head) : end])[:k] for hits, head, end in zip(found, heads, ends, strict=True)]


def _reordered(hits: Sequence[Hit], scores: Sequence[float]) -> list[Hit]:
    """Sort the first hits by their scores (as many as there are) and let the others follow."""
    order = sorted(range(len(scores)), key=lambda row: (-scores[row], row))
    head = [Hit(hits[row].chunk, scores[row], rank) for rank, row in enumerate(order, 1)]
    tail = [Hit(hit.chunk, head[-1].score - (hits[len(scores) - 1].score - hit.score), hit.rank) for hit in hits[len(scores) :]]
    return head + tail
