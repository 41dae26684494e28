"""Cut documents into chunks with exact offsets; sizes and overlaps are tokens of the measuring tokenizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import registry
from workbench.datatypes import Chunk, Chunker, Document, Span, Tokenizer, WorkbenchError
from workbench.text import sentences
from workbench.tokens import TokenTable, counter, token_table, trim

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def make_chunk(document: Document, start: int, end: int) -> Chunk | None:
    """Return the chunk of [start, end) without white space at its ends, or None when nothing is left."""
    start, end = trim(document.text, start, end)
    text = document.text[start:end]
    return Chunk(Span(document.id, start, end), text, document.title, document.metadata) if text.strip() else None


def join(pieces: ArrayLike, table: TokenTable, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Join neighbouring pieces (pieces, 2) up to `size` tokens; each result repeats the last pieces of the one before, up to `overlap`.

    Fewer are repeated where the next piece would not fit beside them; a piece larger than `size` stays alone.
    """
    starts, ends = np.asarray(pieces, dtype=np.int32).reshape(-1, 2).T
    firsts, lasts = table.starts.searchsorted(starts), table.starts.searchsorted(ends)  # in tokens, ascending
    first = 0
    while first < len(starts):
        last = max(int(lasts.searchsorted(firsts[first] + size, side="right")) - 1, first)
        yield int(starts[first]), int(ends[last])
        if last + 1 == len(starts):
            return
        repeated = int(firsts.searchsorted(max(lasts[last] - overlap, lasts[last + 1] - size)))
        first = min(max(repeated, first + 1), last + 1)


class WholeChunker:
    """Keep each document as one chunk; the control that no chunking must lose to."""

    def chunk(self, document: Document) -> list[Chunk]:
        """Return one chunk, or none for a blank document."""
        chunk = make_chunk(document, 0, len(document.text))
        return [chunk] if chunk else []


class FixedChunker:
    """Cut every `size` tokens, wherever that falls, each chunk repeating the last `overlap` tokens of the one before."""

    def __init__(self, tokenizer: Tokenizer, size: int, overlap: int) -> None:
        self.tokenizer, self.size, self.overlap = tokenizer, size, overlap

    def chunk(self, document: Document) -> list[Chunk]:
        """Return windows of at most `size` document tokens."""
        table = token_table(document.text, self.tokenizer)
        borders = np.concatenate(([0], np.unique(table.starts)[1:], [len(document.text)]))  # between tokens, never inside a character
        pieces = np.stack((borders[:-1], borders[1:]), axis=1)[np.diff(table.visible_before(borders)) > 0]
        chunks = [make_chunk(document, start, end) for start, end in join(pieces, table, self.size, self.overlap)]
        return [chunk for chunk in chunks if chunk]


class SentenceChunker:
    """Join whole sentences (Korean and English) up to `size` tokens; a sentence longer than that is cut by tokens."""

    def __init__(self, tokenizer: Tokenizer, size: int, overlap: int) -> None:
        self.tokenizer, self.size, self.overlap = tokenizer, size, overlap

    def chunk(self, document: Document) -> list[Chunk]:
        """Return chunks that begin and end at sentence borders; overlap is whole sentences of at most `overlap` tokens."""
        table = token_table(document.text, self.tokenizer)
        pieces = np.array(sentences(document.text), dtype=np.int32).reshape(-1, 2)
        if (np.diff(table.starts.searchsorted(pieces)) > self.size).any():
            pieces = [piece for start, end in pieces.tolist() for piece in self._fit(start, end, table)]
        chunks = [make_chunk(document, start, end) for start, end in join(pieces, table, self.size, self.overlap)]
        return [chunk for chunk in chunks if chunk]

    def _fit(self, start: int, end: int, table: TokenTable) -> list[tuple[int, int]]:
        pieces = []
        while table.count(start, end) > self.size:
            border = max(table.cut(start, self.size), start + 1)  # one character may cost more than `size`
            pieces.append((start, border))
            start = border
        return [*pieces, (start, end)]


class RecursiveChunker:
    """Cut at the largest border that fits: paragraphs, then lines, sentences, words (semantic-text-splitter)."""

    splitter = "TextSplitter"

    def __init__(self, tokenizer: Tokenizer, size: int, overlap: int) -> None:
        import semantic_text_splitter

        # A callback, although the library takes tokenizers too: the same chunks, without a second of copying the tokenizer.
        self._splitter = getattr(semantic_text_splitter, self.splitter).from_callback(counter(tokenizer), size, overlap)

    def chunk(self, document: Document) -> list[Chunk]:
        """Return chunks of at most `size` tokens, each counted by itself."""
        cut = (make_chunk(document, start, start + len(text)) for start, text in self._splitter.chunk_indices(document.text))
        return [chunk for chunk in cut if chunk]


class MarkdownChunker(RecursiveChunker):
    """Cut like `recursive`, but along Markdown headings, lists, tables and code blocks."""

    splitter = "MarkdownSplitter"


CHUNKERS: dict[str, Callable[..., Chunker]] = {
    "whole": WholeChunker,
    "fixed": FixedChunker,
    "sentence": SentenceChunker,
    "recursive": RecursiveChunker,
    "markdown": MarkdownChunker,
}


def create_chunker(spec: str, tokenizer: Tokenizer, size: int, overlap: int, options: Mapping[str, Any] | None = None) -> Chunker:
    """Build the chunker that `spec` names; raise WorkbenchError unless 0 <= overlap < size."""
    if size < 1 or not 0 <= overlap < size:
        raise WorkbenchError(f"chunk_size {size} and chunk_overlap {overlap} must satisfy 0 <= overlap < size")
    return registry.create("chunker", CHUNKERS, spec, options or {}, tokenizer=tokenizer, size=size, overlap=overlap)


def chunk_documents(chunker: Chunker, documents: Iterable[Document]) -> list[Chunk]:
    """Chunk all documents, in order of chunk id; raise WorkbenchError when two documents share an id or nothing comes out."""
    documents = list(documents)
    name, times = Counter(document.id for document in documents).most_common(1)[0] if documents else ("", 0)
    if times > 1:
        raise WorkbenchError(f"{times} documents have the id {name!r}; ids must be unique, or chunks of one would replace those of another")
    chunks = {chunk.id: chunk for document in documents for chunk in chunker.chunk(document)}
    if not chunks:
        raise WorkbenchError("no text left to index: all documents are empty")
    return [chunks[key] for key in sorted(chunks)]
