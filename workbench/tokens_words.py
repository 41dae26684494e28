"""Count the tokens of many pieces of one text, fast enough to move a slider."""

from __future__ import annotations

import functools
import re

import numpy as np

from workbench.datatypes import Tokenizer
from workbench.tokens import counter, offset_array, table_of

SPACE = " \t\n\r"  # no other white space parts words: tokenizers drop vertical tabs and form feeds, and join what stands around them
WORD = re.compile(f"[{SPACE}]*[^{SPACE}]+")  # with the white space before it, which many tokenizers join to it


class WordTokenizer:
    """Answer what another tokenizer answers about one text and its pieces, without asking it about each piece.

    The text's own tokens are kept. Where the tokenizer cuts every word of the text as it cuts that word alone, a piece counts what its
    words count, each distinct word asked once; elsewhere every piece is asked.
    """

    def __init__(self, tokenizer: Tokenizer, text: str) -> None:
        self.name, self.tokenizer, self.text = tokenizer.name, tokenizer, text
        self._pairs = offset_array(text, tokenizer)
        self.table = table_of(text, self._pairs)
        self._count = counter(tokenizer)
        self._alone = functools.cache(self._count)
        words = list(WORD.finditer(text))
        borders = np.searchsorted(self.table.starts, [word.end() for word in words]).tolist()
        counted = [last - first for first, last in zip((0, *borders), borders, strict=False)]
        self.by_word = all(self._alone(word[0]) == count for word, count in zip(words, counted, strict=True))

    def offsets(self, text: str) -> np.ndarray:
        """Return (start, end) of each token, in characters, int32 (tokens, 2)."""
        return self._pairs if text == self.text else offset_array(text, self.tokenizer)

    def count(self, text: str) -> int:
        """Count the tokens of a text by itself; white space at its end may be tokens, so such a text is asked about."""
        if self.by_word and text == text.rstrip(SPACE):
            return sum(map(self._alone, WORD.findall(text)))
        return self._count(text)
