"""Choose what a question must be told apart from: mined hard negatives, and the candidates of a batch without false negatives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

SHARE = 0.95  # of the gold's similarity: passages above it are too often unlabelled positives (NV-Retriever, TopK-PercPos)
POOL = 10  # nearest passages below it that the seed draws from


@dataclass(frozen=True, slots=True)
class Pair:
    """Hold a question with the passage that it must find; `accepted` are all passages that may answer it, never its negatives."""

    question: str
    passage: str
    accepted: frozenset[str]
    negatives: tuple[str, ...] = ()


def accept(pairs: Sequence[tuple[str, str]], positives: Sequence[Sequence[str]], passages: Collection[str]) -> list[Pair]:
    """Find for each pair the passages that may answer its question.

    They are those of all pairs with this very question, its `positives` (parallel to `pairs`, or empty), and whatever of `passages` holds
    one of these or is a part of one. A passage that merely overlaps them (chunks may) must be listed in `positives`.
    """
    known: dict[str, set[str]] = defaultdict(set)
    for (question, passage), others in zip(pairs, positives or [()] * len(pairs), strict=True):
        known[question] |= {passage, *others}
    golds = set().union(*known.values())
    related = {gold: frozenset({gold}).union(text for text in passages if text in gold or gold in text) for gold in golds}
    accepted = {question: frozenset().union(*(related[gold] for gold in own)) for question, own in known.items()}
    return [Pair(question, passage, accepted[question]) for question, passage in pairs]


def mine(
    questions: np.ndarray, golds: np.ndarray, passages: np.ndarray, excluded: Sequence[Collection[int]], count: int, seed: int
) -> list[tuple[int, ...]]:
    """Return for each question up to `count` row numbers of `passages`, nearest first: hard negatives (Moreira et al. 2024).

    All arrays hold unit vectors; row i of `golds` is the passage that question i must find. Left out are the rows `excluded[i]` and those
    more similar to the question than SHARE of its gold's similarity; `seed` draws from the next POOL (`count`, if that is more). A question
    without enough of them gets fewer. Similarity counts from the question's mean over all passages: to E5, everything has a cosine of
    about 0.8, and 0.95 of a bare cosine would leave out all that is near.
    """
    found = []
    for number, (question, gold) in enumerate(zip(questions, golds, strict=True)):
        scores = passages @ question
        own = question @ gold - scores.mean()
        scores -= scores.mean()
        usable = scores <= own - (1 - SHARE) * abs(own)
        usable[list(excluded[number])] = False
        rows = np.flatnonzero(usable)
        nearest = rows[np.argsort(-scores[rows], kind="stable")][: max(POOL, count)]
        drawn = np.random.default_rng([seed, number]).choice(len(nearest), min(count, len(nearest)), replace=False)
        found.append(tuple(nearest[np.sort(drawn)].tolist()))
    return found


def add_negatives(pairs: Sequence[Pair], corpus: Sequence[str], mined: Sequence[Sequence[int]]) -> list[Pair]:
    """Give each pair the passages of the corpus whose row numbers were mined for it."""
    return [replace(pair, negatives=tuple(corpus[row] for row in rows)) for pair, rows in zip(pairs, mined, strict=True)]


def candidates(pairs: Sequence[Pair]) -> tuple[list[str], list[int], list[list[bool]]]:
    """Return what a batch ranks: its different passages, the place of each question's own, and which are hidden from which question.

    Every question sees the passages and negatives of all, but no other passage that may answer it; equal passages count once.
    """
    texts = list(dict.fromkeys([*(pair.passage for pair in pairs), *(text for pair in pairs for text in pair.negatives)]))
    own = [texts.index(pair.passage) for pair in pairs]
    hidden = [[text in pair.accepted and text != pair.passage for text in texts] for pair in pairs]
    return texts, own, hidden
