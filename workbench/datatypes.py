"""Records that flow through the workbench, and the Protocols its parts implement.

Records are frozen; text is NFC; offsets are characters with an exclusive end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np

Role = Literal["query", "passage"]
EMPTY: Mapping[str, Any] = {}


class WorkbenchError(Exception):
    """Say what is wrong with the input and what would be right; the CLI prints it and exits with 2."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Locate characters start to end (exclusive) of one document."""

    document_id: str
    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"span {self.document_id}:{self.start}-{self.end} must have 0 <= start < end")

    def overlap(self, other: Span) -> int:
        """Count the characters shared with another span; touching spans share none."""
        if self.document_id != other.document_id:
            return 0
        return max(0, min(self.end, other.end) - max(self.start, other.start))


@dataclass(frozen=True, slots=True)
class Document:
    """Hold one source text; `metadata["group"]` names its source article, policy or book."""

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def group(self) -> str:
        return str(self.metadata.get("group", self.id))


@dataclass(frozen=True, slots=True)
class Chunk:
    """Hold a slice of one document: `document.text[span.start:span.end] == text`, always."""

    span: Span
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.span.document_id}:{self.span.start}-{self.span.end}"


@dataclass(frozen=True, slots=True)
class Example:
    """Hold one question with its gold: evidence is all of (any of spans); no answers and no evidence is unanswerable."""

    id: str
    question: str
    answers: tuple[str, ...] = ()
    evidence: tuple[tuple[Span, ...], ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    gains: tuple[float, ...] = ()  # graded relevance of each evidence unit; empty means 1 for each

    @property
    def answerable(self) -> bool:
        return bool(self.answers or self.evidence)


@dataclass(frozen=True, slots=True)
class Hit:
    """Hold one retrieved chunk: a higher score is better, ranks count from 1."""

    chunk: Chunk
    score: float
    rank: int


@dataclass(frozen=True, slots=True)
class Passage:
    """Hold one piece of the context as a prompt shows it; prompts and citations number passages from 1."""

    span: Span
    text: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """Hold one message to a language model; only templates write system messages, never documents or questions."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Hold what a generator is asked: messages, and the question and passages they were made of (all that `extractive` reads).

    The first `shared` messages (instructions, fixed shots) are those of every question of a run: a generator may compute them once.
    """

    messages: tuple[Message, ...]
    question: str = ""
    passages: tuple[Passage, ...] = ()
    shared: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """Hold what a generator returned.

    `finish_reason` is "stop", "length" (stopped by our own cap on new tokens), "error" (then `error` says why in one line and there is no
    text) or "stopped" (somebody did not wait for the end: `error` says so, and the text is what was written until then).
    Token counts are None where the generator has no tokens or its server did not tell. In a batch, `seconds` is an equal share of its time.
    """

    text: str
    finish_reason: Literal["stop", "length", "error", "stopped"] = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """Hold one call of a generator; a prompt chain has several."""

    name: str
    messages: tuple[Message, ...]
    completion: Completion


@dataclass(frozen=True, slots=True)
class Note:
    """Record what one hook of postprocessing (or a shrunk context) did to an answer, in one line."""

    hook: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold an answer with all that explains it; `text` is what a user would see, the last step holds what the generator wrote."""

    example_id: str
    question: str
    text: str
    hits: tuple[Hit, ...] = ()
    passages: tuple[Passage, ...] = ()
    context_tokens: int = 0  # of the measuring tokenizer
    steps: tuple[Step, ...] = ()
    refused: bool = False
    citations: tuple[int, ...] = ()  # numbers of the passages cited, those that exist
    notes: tuple[Note, ...] = ()
    valid: bool | None = None  # whether the completion has the format that the prompt asks for; None when it asks for none

    @property
    def completion(self) -> Completion:
        """Return the last completion."""
        return self.steps[-1].completion

    @property
    def error(self) -> str:
        """Return why there is no answer, "" when there is one."""
        return self.completion.error


@dataclass(frozen=True, slots=True)
class Dataset:
    """Hold documents and questions of one source; `losses` lists what the loader had to drop or repair."""

    name: str
    documents: tuple[Document, ...]
    examples: tuple[Example, ...]
    document_gold: bool = False  # evidence is whole documents, so there is no budget recall
    embed_title: bool = False  # index title + space + text by default (BEIR, Markdown folders); chunk texts stay exact
    losses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fingerprint: str = ""

    def document(self, document_id: str) -> Document:
        """Return the document with this id; raise KeyError when there is none."""
        for document in self.documents:
            if document.id == document_id:
                return document
        raise KeyError(document_id)


class Tokenizer(Protocol):
    """Cut text into the tokens that sizes and budgets are counted in."""

    name: str

    def offsets(self, text: str) -> list[tuple[int, int]]: ...


class Chunker(Protocol):
    """Cut documents into chunks."""

    def chunk(self, document: Document) -> list[Chunk]: ...


class Embedder(Protocol):
    """Turn texts into unit float32 vectors of shape (len(texts), dimension)."""

    @property
    def fingerprint(self) -> Mapping[str, Any]: ...

    def encode(self, texts: Sequence[str], role: Role) -> np.ndarray: ...


class VectorIndex(Protocol):
    """Find the k nearest rows of a matrix of unit vectors by inner product.

    `search` returns for each query the row numbers and scores, best first; `rows` restricts it to these rows.
    """

    @property
    def nbytes(self) -> int: ...

    def search(self, queries: np.ndarray, k: int, rows: np.ndarray | None = None) -> list[tuple[np.ndarray, np.ndarray]]: ...


class LexicalIndex(Protocol):
    """Find the k best rows of a tokenised corpus for tokenised queries; the results have the shape of `VectorIndex.search`."""

    @property
    def nbytes(self) -> int: ...

    def search(self, queries: Sequence[Sequence[str]], k: int, rows: np.ndarray | None = None) -> list[tuple[np.ndarray, np.ndarray]]: ...


class Retriever(Protocol):
    """Find the k best chunks for each question."""

    @property
    def index_bytes(self) -> int:
        """Return the bytes that what is searched needs in memory, texts aside."""
        ...

    def vectorise(self, examples: Sequence[Example]) -> Sequence[Any]:
        """Return what is searched with for each question: a vector, tokens, or both."""
        ...

    def retrieve(self, examples: Sequence[Example], k: int, queries: Sequence[Any] | None = None) -> list[list[Hit]]:
        """Return hits; `queries` are those of `vectorise`, made here when absent."""
        ...


class Reranker(Protocol):
    """Score how well passages answer questions, by reading both together; a higher score is better."""

    @property
    def fingerprint(self) -> Mapping[str, Any]: ...

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Return one float32 score for each pair of question and passage text: (len(pairs),)."""
        ...


class Generator(Protocol):
    """Turn conversations into completions, in their order; a conversation that fails gets a Completion with an error, the others go on.

    `generate` may take `done`, called with number and completion as each is finished; the cache then stores each at once.
    """

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """Return all that decides the text; with "sampled": True it is never cached."""
        ...

    def generate(self, conversations: Sequence[Conversation]) -> list[Completion]: ...

    def stream(self, conversation: Conversation, say: Callable[[str], None], stop: Callable[[], bool] = lambda: False) -> Completion:
        """Generate one completion and hand over its text piece by piece as it comes; end the work soon after `stop()` is true."""
        ...

    def overflows(self, conversations: Sequence[Conversation]) -> list[int]:
        """Return for each conversation how many tokens too long it is for the context window (0: it fits, or nothing is known)."""

    def size(self, conversation: Conversation) -> Any: ...  # generation.PromptSize of a prompt, None where no tokens are counted here
