"""Count text in tokens: one measuring tokenizer per experiment, and a token table for each document.

Chunk sizes, overlaps and context budgets are all counted in the tokens of the *document's* tokenisation that start inside a piece of text.
So counts add up: two adjacent pieces cost together what the whole costs, and de-overlapping a context never changes a count.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from workbench import models
from workbench.datatypes import Document, Span, Tokenizer, WorkbenchError
from workbench.storage import sha256_file

if TYPE_CHECKING:
    from tokenizers import Tokenizer as FastTokenizer

SIMPLE = re.compile(r"[가-힣]{1,2}|[^\W\d_가-힣]{1,6}|\d{1,3}|[^\w\s]|_")

LAST_BLANK = 0x3000  # no later character is white space
BLANK = np.array([chr(code).isspace() for code in range(LAST_BLANK + 1)] + [False])


class SimpleTokenizer:
    """Count without any model: two Hangul syllables, six letters or three digits are a token, so is each other sign."""

    name = "simple"
    fingerprint: ClassVar = {"name": name, "pattern": SIMPLE.pattern}

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Return (start, end) of each token, in characters."""
        return [match.span() for match in SIMPLE.finditer(text)]

    def offset_array(self, text: str) -> np.ndarray:
        """Return the same as int32 (tokens, 2), without an object for each token."""
        return np.fromiter(chain.from_iterable(map(re.Match.span, SIMPLE.finditer(text))), np.int32).reshape(-1, 2)

    def count(self, text: str) -> int:
        """Return how many tokens a text has."""
        return len(SIMPLE.findall(text))


class ModelTokenizer:
    """Count with the tokenizer of a model (its tokenizer.json), without special tokens; it is loaded when it is first used."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.file = path / "tokenizer.json"
        if not self.file.is_file():
            raise WorkbenchError(f"the model {name!r} has no tokenizer.json, so it cannot measure text; use another tokenizer or 'simple'")

    @functools.cached_property
    def fingerprint(self) -> Mapping[str, str]:
        """Return what decides the tokens."""
        return {"file": sha256_file(self.file), "tokenizers": version("tokenizers")}

    @functools.cached_property
    def fast(self) -> FastTokenizer:
        """Load the tokenizer."""
        from tokenizers import Tokenizer as FastTokenizer

        fast = FastTokenizer.from_file(str(self.file))
        fast.no_truncation()
        fast.no_padding()
        return fast

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Return (start, end) of each token, in characters, without the white space that many tokenizers join to the next word.

        Tokens of nothing but white space keep it; tokens without characters of their own are left out.
        """
        return [trim(text, start, end) for start, end in self.fast.encode(text, add_special_tokens=False).offsets if end > start]


def trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Return [start, end) without white space at its ends, unchanged when there is nothing else in it."""
    piece = text[start:end]
    visible = piece.strip()
    if not visible:
        return start, end
    start += len(piece) - len(piece.lstrip())
    return start, start + len(visible)


def load_tokenizer(name: str, allow_download: bool = False) -> Tokenizer:
    """Return the measuring tokenizer "simple" or that of a model in the store."""
    if name == SimpleTokenizer.name:
        return SimpleTokenizer()
    return ModelTokenizer(name, models.resolve(name, allow_download=allow_download).path)


@dataclass(frozen=True)
class TokenTable:
    """Hold where the tokens of one document start and end, and where its white space is: all int32, about 3 bytes for each character."""

    starts: np.ndarray  # (tokens,) ascending; tokens that are parts of one character share a start
    ends: np.ndarray  # (tokens,) at most the next start
    blanks: np.ndarray  # (characters of white space,) ascending

    def count(self, start: int, end: int) -> int:
        """Count the tokens that start in [start, end)."""
        return _before(self.starts, end) - _before(self.starts, start)  # called for every chunk of every context

    def cut(self, start: int, tokens: int) -> int:
        """Return the end of the longest piece from `start` that costs at most `tokens` and ends with a whole token and character.

        It is `start` when the first character alone costs more: "㈜" is three tokens of some models.
        """
        first = _before(self.starts, start)
        last = min(first + tokens, len(self.starts))
        if last < len(self.starts):
            last = _before(self.starts, self.starts[last])
        return int(self.ends[last - 1]) if last > first else start

    def visible_in(self, start: int, end: int) -> int:
        """Count the characters in [start, end) that are not white space."""
        return end - start - _before(self.blanks, end) + _before(self.blanks, start)

    def visible_before(self, offsets: np.ndarray) -> np.ndarray:
        """Count the characters before each offset that are not white space: (offsets,)."""
        return offsets - self.blanks.searchsorted(np.asarray(offsets, np.int32))


def _before(places: np.ndarray, offset: int) -> int:
    """Count the places before an offset; as a Python number it would make numpy convert all places first."""
    return int(places.searchsorted(np.int32(offset)))


def token_table(text: str, tokenizer: Tokenizer) -> TokenTable:
    """Tokenise one text."""
    return table_of(text, offset_array(text, tokenizer))


def offset_array(text: str, tokenizer: Tokenizer) -> np.ndarray:
    """Return (start, end) of each token, in characters: int32 (tokens, 2)."""
    own = getattr(tokenizer, "offset_array", None)
    return own(text) if own else np.asarray(tokenizer.offsets(text), dtype=np.int32).reshape(-1, 2)


def table_of(text: str, offsets: np.ndarray) -> TokenTable:
    """Return the table of a text from the offsets of its tokens (tokens, 2); those that share a start (pieces of one character) count."""
    starts, ends = np.ascontiguousarray(np.maximum.accumulate(offsets.astype(np.int32)).T)
    following = np.append(starts, np.int32(len(text)))[np.searchsorted(starts, starts, side="right")]
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return TokenTable(starts, np.minimum(ends, following), np.flatnonzero(BLANK[np.minimum(codes, LAST_BLANK + 1)]).astype(np.int32))


def token_tables(documents: Iterable[Document], tokenizer: Tokenizer) -> dict[str, TokenTable]:
    """Tokenise every document once; return the tables by document id."""
    return {document.id: token_table(document.text, tokenizer) for document in documents}


def token_count(span: Span, tables: Mapping[str, TokenTable]) -> int:
    """Count the tokens of a span."""
    return tables[span.document_id].count(span.start, span.end)


def counter(tokenizer: Tokenizer) -> Callable[[str], int]:
    """Return a function that counts the tokens of a text by itself."""
    return getattr(tokenizer, "count", None) or (lambda text: len(tokenizer.offsets(text)))
