"""Draw texts of a stated length out of the packaged demo documents: real words, none twice, as parts may compute equal ones once."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from workbench import data
from workbench.datatypes import WorkbenchError

LANGUAGES = ("en", "ko")
WORDS = {"query": 8, "passage": 90}  # of a text; a Korean word (eojeol) is shorter in letters, longer in tokens
SEED = 0


@functools.cache
def demo_words(language: str) -> tuple[str, ...]:
    """Return all words of the demo documents of a language, in their order."""
    return tuple(word for document in data.load(f"demo-{language}").documents for word in document.text.split())


class Texts:
    """Give slices of so many words of the demo documents of a language, drawn by SEED, each text once; then all of them again."""

    def __init__(self, language: str, words: int) -> None:
        if language not in LANGUAGES:
            raise WorkbenchError(f"texts to measure with are there in {' and '.join(LANGUAGES)}, not in {language!r}")
        self._drawn = _slices(demo_words(language), words)

    def take(self, number: int) -> list[str]:
        """Return the next texts."""
        return list(itertools.islice(self._drawn, number))


def _slices(source: Sequence[str], words: int) -> Iterator[str]:
    starts = np.random.default_rng(SEED).permutation(len(source) - words).tolist()
    while True:
        seen: set[str] = set()  # the same clause may stand in several documents
        for start in starts:
            text = " ".join(source[start : start + words])
            if text not in seen:
                seen.add(text)
                yield text


def mean_characters(texts: list[str]) -> float:
    """Return the mean length of texts in characters."""
    return round(sum(map(len, texts)) / len(texts), 1)
