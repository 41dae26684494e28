"""Remember how documents are tokenised and cut, so that what is cached needs no tokenizer, which takes most of a second to load."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import chunking, text, tokens
from workbench.cache import Cache
from workbench.chunking import CHUNKERS, chunk_documents, create_chunker, make_chunk
from workbench.datatypes import Chunk, Document, Tokenizer
from workbench.registry import split_spec
from workbench.storage import canonical_json, fingerprint, sha256_file
from workbench.tokens import TokenTable, offset_array, table_of, token_tables

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

STORED_AT_ONCE = 256  # documents; a kill loses one block at most ...
CHARACTERS_AT_ONCE = 4_000_000  # ... of about so many characters


def cached_tables(documents: Iterable[Document], tokenizer: Tokenizer, cache: Cache | None) -> dict[str, TokenTable]:
    """Return the token tables by document id; a tokenizer without a fingerprint is asked anew every time, as without a cache."""
    identity = getattr(tokenizer, "fingerprint", None)
    if cache is None or identity is None:
        return token_tables(documents, tokenizer)
    found = _remembered(cache, "tokens", tokenizer.name, identity, documents, lambda document: offset_array(document.text, tokenizer))
    return {document.id: table_of(document.text, pairs) for document, pairs in found}


def cached_chunks(
    documents: Sequence[Document],
    spec: str,
    tokenizer: Tokenizer,
    size: int,
    overlap: int,
    options: Mapping[str, Any] | None = None,
    cache: Cache | None = None,
) -> list[Chunk]:
    """Chunk all documents as chunk_documents does; only chunkers of this package are remembered: when others change nobody can tell."""
    chunker = create_chunker(spec, tokenizer, size, overlap, options)
    identity = getattr(tokenizer, "fingerprint", None)
    if cache is None or identity is None or getattr(CHUNKERS[split_spec(spec)[0]], "__module__", "") != chunking.__name__:
        return chunk_documents(chunker, documents)

    def borders(document: Document) -> list[tuple[int, int]]:
        return [(chunk.span.start, chunk.span.end) for chunk in chunker.chunk(document)]

    found = _remembered(cache, "chunks", spec, [spec, size, overlap, options or {}, identity], documents, borders)
    return chunk_documents(_Known(found), documents)


class _Known:
    """Cut documents where it is known already."""

    def __init__(self, found: Iterable[tuple[Document, np.ndarray]]) -> None:
        self.borders = {id(document): pairs for document, pairs in found}

    def chunk(self, document: Document) -> list[Chunk]:
        chunks = [make_chunk(document, start, end) for start, end in self.borders[id(document)].tolist()]
        return [chunk for chunk in chunks if chunk]


def _remembered(
    cache: Cache,
    kind: str,
    part: str,
    identity: Any,
    documents: Iterable[Document],
    compute: Callable[[Document], ArrayLike],
) -> Iterator[tuple[Document, np.ndarray]]:
    """Give each document with what `compute` gives for it, int32 (pairs, 2); documents are read, and what is new stored, block by block."""
    start = canonical_json([kind, identity, _code()])
    for block in _blocks(documents):
        keys = [fingerprint([start, hashlib.sha256(document.text.encode("utf-8", "surrogatepass")).hexdigest()]) for document in block]
        found = cache.get(list(dict.fromkeys(keys)))
        missing = {key: document for key, document in zip(keys, block, strict=True) if key not in found}
        fresh = {key: np.asarray(compute(document), dtype="<i4").tobytes() for key, document in missing.items()}
        if fresh:
            cache.put(kind, part, fresh.items())
        found |= fresh
        for key, document in zip(keys, block, strict=True):
            yield document, np.frombuffer(found[key], dtype="<i4").reshape(-1, 2)


def _blocks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    block: list[Document] = []
    characters = 0
    for document in documents:
        block.append(document)
        characters += len(document.text)
        if len(block) == STORED_AT_ONCE or characters >= CHARACTERS_AT_ONCE:
            yield block
            block, characters = [], 0
    if block:
        yield block


@functools.cache
def _code() -> list[str]:
    """Return what decides where a text is cut beside the settings: our code and the splitter's version."""
    return [*(sha256_file(Path(str(module.__file__))) for module in (chunking, text, tokens)), version("semantic-text-splitter")]
