"""Find chunks for questions: dense, bm25, hybrid (reciprocal rank fusion), with an optional metadata filter."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workbench import registry
from workbench.datatypes import Chunk, Embedder, Example, Hit, LexicalIndex, Retriever, VectorIndex, WorkbenchError
from workbench.index import LEXICAL_INDEXES, Found, create_index
from workbench.storage import fingerprint
from workbench.text import TOKENISERS, guess_language

RRF_CONSTANT = 60  # Cormack, Clarke and Buettcher 2009; ranks count from 1
FUSION_DEPTH = 1000  # of both lists, whatever k is: a deeper search must not reorder the hits of a shallower one


def embedding_texts(chunks: Sequence[Chunk], with_title: bool) -> list[str]:
    """Return what is indexed for each chunk: its text, after title and space where the data set asks for it."""
    return [f"{chunk.title} {chunk.text}" if with_title and chunk.title else chunk.text for chunk in chunks]


def nfc(value: Any) -> str:
    """Return a value as text in NFC, as documents are; what a person types or names on macOS may not be (KO1)."""
    return unicodedata.normalize("NFC", str(value))


def filter_conditions(spec: str) -> list[tuple[str, str | None]]:
    """Cut a filter into keys with their values; None takes the value from the question."""
    return [registry.split_spec(part.strip()) for part in nfc(spec).split(",") if part.strip()]


def question_keys(spec: str) -> list[str]:
    """Return the metadata that a filter takes from each question."""
    return [key for key, value in filter_conditions(spec) if value is None]


class MetadataFilter:
    """Keep the chunks whose metadata equals a value: "title" takes it from the question, "title:Some value" gives it; "a,b" needs both."""

    def __init__(self, spec: str, chunks: Sequence[Chunk]) -> None:
        self.conditions = filter_conditions(spec)
        self._rows: dict[str, dict[str, np.ndarray]] = {}
        for key, _ in self.conditions:
            rows = defaultdict(list)
            for row, chunk in enumerate(chunks):
                if key in chunk.metadata:
                    rows[nfc(chunk.metadata[key])].append(row)
            if not rows:
                known = {name for chunk in chunks for name in chunk.metadata}
                raise registry.unknown("filter: no document has the metadata", key, known)
            self._rows[key] = {value: np.array(numbers) for value, numbers in rows.items()}

    def values(self, example: Example) -> tuple[str, ...]:
        """Return the values that this question's chunks must have; raise WorkbenchError when it has none."""
        values = []
        for key, value in self.conditions:
            if value is None and key not in example.metadata:
                raise WorkbenchError(f"filter {key!r}: question {example.id!r} has no such metadata")
            values.append(value if value is not None else nfc(example.metadata[key]))
        return tuple(values)

    def rows(self, values: Sequence[str]) -> np.ndarray | None:
        """Return the rows that pass, ascending; None when there is no condition."""
        passing = None
        for (key, _), value in zip(self.conditions, values, strict=True):
            found = self._rows[key].get(value, np.zeros(0, np.int64))
            passing = found if passing is None else np.intersect1d(passing, found)
        return passing


class DenseRetriever:
    """Rank chunks by the inner product of embedded question and passage; a large approximate index is kept in `index_folder`."""

    def __init__(
        self,
        chunks: Sequence[Chunk],
        texts: Sequence[str],
        embedder: Embedder,
        index: str,
        index_options: Mapping[str, Any],
        filter: str,
        index_folder: Path | None = None,
    ) -> None:
        self.chunks = chunks
        self.embedder = embedder
        self.filter = MetadataFilter(filter, chunks)
        vectors, ids = embedder.encode(texts, "passage"), [chunk.id for chunk in chunks]
        self.index: VectorIndex = create_index(index, vectors, ids, index_options, index_folder)

    @property
    def index_bytes(self) -> int:
        return self.index.nbytes

    def vectorise(self, examples: Sequence[Example]) -> Sequence[np.ndarray]:
        """Return one unit vector for each question."""
        return self.embedder.encode([nfc(example.question) for example in examples], "query")

    def search(self, examples: Sequence[Example], k: int, queries: Sequence[np.ndarray]) -> list[Found]:
        """Return row numbers and scores for each question."""
        vectors = np.asarray(queries)
        return filtered_search(self.filter, examples, lambda at, rows: self.index.search(vectors[at], k, rows))

    def retrieve(self, examples: Sequence[Example], k: int, queries: Sequence[np.ndarray] | None = None) -> list[list[Hit]]:
        """Return at most k hits for each question, best first."""
        return to_hits(self.chunks, self.search(examples, k, self.vectorise(examples) if queries is None else queries))


class Bm25Retriever:
    """Rank chunks by BM25 over tokens of a tokeniser: `english`, `hangul-bigram`, `kiwi` or `word` (default: by the corpus's language)."""

    def __init__(
        self,
        chunks: Sequence[Chunk],
        texts: Sequence[str],
        filter: str,
        argument: str = "auto",
        *,
        k1: float = 1.5,
        b: float = 0.75,
    ) -> None:
        if argument == "auto":
            argument = default_tokeniser(texts)
        if argument not in TOKENISERS:
            raise registry.unknown("tokeniser", argument, TOKENISERS)
        self.chunks = chunks
        self.tokenise = TOKENISERS[argument]
        self.filter = MetadataFilter(filter, chunks)
        self.index: LexicalIndex = LEXICAL_INDEXES["bm25"]((self.tokenise(text) for text in texts), k1=k1, b=b)

    @property
    def index_bytes(self) -> int:
        return self.index.nbytes

    def vectorise(self, examples: Sequence[Example]) -> Sequence[list[str]]:
        """Return the tokens of each question."""
        return [self.tokenise(example.question) for example in examples]

    def search(self, examples: Sequence[Example], k: int, queries: Sequence[list[str]]) -> list[Found]:
        """Return row numbers and scores for each question; chunks without a common token are no hits."""
        return filtered_search(self.filter, examples, lambda at, rows: self.index.search([queries[i] for i in at], k, rows))

    def retrieve(self, examples: Sequence[Example], k: int, queries: Sequence[list[str]] | None = None) -> list[list[Hit]]:
        """Return at most k hits for each question, best first."""
        return to_hits(self.chunks, self.search(examples, k, self.vectorise(examples) if queries is None else queries))


class HybridRetriever:
    """Fuse dense and BM25 ranks: score = sum over both of 1 / (60 + rank)."""

    def __init__(
        self,
        chunks: Sequence[Chunk],
        texts: Sequence[str],
        embedder: Embedder,
        index: str,
        index_options: Mapping[str, Any],
        filter: str,
        argument: str = "auto",
        index_folder: Path | None = None,
        *,
        k1: float = 1.5,
        b: float = 0.75,
    ) -> None:
        self.chunks = chunks
        self.dense = DenseRetriever(chunks, texts, embedder, index, index_options, filter, index_folder)
        self.bm25 = Bm25Retriever(chunks, texts, filter, argument, k1=k1, b=b)

    @property
    def index_bytes(self) -> int:
        return self.dense.index_bytes + self.bm25.index_bytes

    def vectorise(self, examples: Sequence[Example]) -> Sequence[tuple[np.ndarray, list[str]]]:
        """Return the unit vector and the tokens of each question."""
        return list(zip(self.dense.vectorise(examples), self.bm25.vectorise(examples), strict=True))

    def retrieve(
        self, examples: Sequence[Example], k: int, queries: Sequence[tuple[np.ndarray, list[str]]] | None = None
    ) -> list[list[Hit]]:
        """Return at most k hits for each question, best first; chunks below rank 1000 of both lists are no hits."""
        vectors, tokens = zip(*(self.vectorise(examples) if queries is None else queries), strict=True) if examples else ((), ())
        found = []
        both = (self.dense.search(examples, FUSION_DEPTH, vectors), self.bm25.search(examples, FUSION_DEPTH, tokens))
        for lists in zip(*both, strict=True):
            found.append(fuse([rows for rows, _ in lists], k))
        return to_hits(self.chunks, found)


class RandomRetriever:
    """Draw chunks at random: the control that any retriever must beat."""

    def __init__(self, chunks: Sequence[Chunk], filter: str, seed: int) -> None:
        self.chunks = chunks
        self.filter = MetadataFilter(filter, chunks)
        self.seed = seed

    @property
    def index_bytes(self) -> int:
        return 0

    def vectorise(self, examples: Sequence[Example]) -> Sequence[None]:
        """Return nothing for each question: a draw does not look at it."""
        return [None] * len(examples)

    def retrieve(self, examples: Sequence[Example], k: int, queries: Sequence[None] | None = None) -> list[list[Hit]]:  # noqa: ARG002
        """Return k chunks in an order that depends on the seed and the id of the question only."""
        return to_hits(self.chunks, [self._draw(example, k) for example in examples])

    def _draw(self, example: Example, k: int) -> Found:
        rows = self.filter.rows(self.filter.values(example))
        rows = np.arange(len(self.chunks)) if rows is None else rows
        generator = np.random.default_rng([self.seed, int(fingerprint(example.id)[:15], 16)])
        drawn = generator.permutation(rows)[:k]
        return drawn, np.linspace(1, 0, len(drawn))


def fuse(rankings: Sequence[np.ndarray], k: int) -> Found:
    """Fuse rankings of row numbers by reciprocal rank; ties go to the lower row."""
    scores: dict[int, float] = defaultdict(float)
    for ranking in rankings:
        for rank, row in enumerate(ranking.tolist(), start=1):
            scores[row] += 1 / (RRF_CONSTANT + rank)
    order = sorted(scores, key=lambda row: (-round(scores[row], 12), row))[:k]
    return np.array(order, dtype=np.int64), np.array([scores[row] for row in order])


def filtered_search(
    metadata_filter: MetadataFilter, examples: Sequence[Example], search: Callable[[list[int], np.ndarray | None], list[Found]]
) -> list[Found]:
    """Search question by question group: those that share filter values are searched together."""
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, example in enumerate(examples):
        groups[metadata_filter.values(example)].append(number)
    found: dict[int, Found] = {}
    for values, numbers in groups.items():
        found |= zip(numbers, search(numbers, metadata_filter.rows(values)), strict=True)
    return [found[number] for number in range(len(examples))]


def to_hits(chunks: Sequence[Chunk], found: Sequence[Found]) -> list[list[Hit]]:
    """Turn row numbers and scores into hits with ranks from 1."""
    return [
        [Hit(chunks[row], float(score), rank) for rank, (row, score) in enumerate(zip(rows, scores, strict=True), start=1)]
        for rows, scores in found
    ]


def default_tokeniser(texts: Sequence[str]) -> str:
    """Name the BM25 tokeniser for a corpus: Hangul bigrams for Korean (KO3), stemmed words for English, plain words otherwise."""
    language = guess_language(" ".join(text[:200] for text in texts[:: max(1, len(texts) // 200)]))
    return {"ko": "hangul-bigram", "en": "english"}.get(language, "word")


def dense_part(retriever: Any) -> DenseRetriever | None:
    """Return what searches vectors in a retriever, reranked or not; None where nothing does."""
    retriever = getattr(retriever, "retriever", retriever)
    part = getattr(retriever, "dense", retriever)
    return part if isinstance(part, DenseRetriever) else None


RETRIEVERS: dict[str, Callable[..., Retriever]] = {
    "dense": DenseRetriever,
    "bm25": Bm25Retriever,
    "hybrid": HybridRetriever,
    "random": RandomRetriever,
}
DENSE_RETRIEVERS = ("dense", "hybrid")  # those that need an embedder


def create_retriever(
    spec: str, chunks: Sequence[Chunk], with_title: bool, options: Mapping[str, Any] | None = None, **context: Any
) -> Retriever:
    """Build the retriever that `spec` names over chunks sorted by id; context: embedder, index, index_options, index_folder, filter."""
    texts = embedding_texts(chunks, with_title)
    return registry.create("retriever", RETRIEVERS, spec, options or {}, chunks=chunks, texts=texts, **context)
