"""Turn conversations into completions: `extractive` (control), `hf:MODEL` (transformers), `openvino:MODEL`, `openai:MODEL` (any server)."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench import registry
from workbench.datatypes import Completion, Conversation, Generator, Passage, WorkbenchError
from workbench.retrieval import default_tokeniser
from workbench.text import TOKENISERS, guess_language, sentences

REFUSALS = {"en": "The passages do not say.", "ko": "문서에서 답을 찾을 수 없습니다."}
LARGEST = 1e300  # whole numbers can be larger than any float
STOPPED = "stopped before it was finished"  # the error of a completion that somebody stopped
_HEADING = re.compile(r"#{1,6}\s|[^\n]*\n\|[-:| ]+$", re.MULTILINE)  # of a section, or of a table: the row above its rule


def check_number(name: str, value: Any, low: float, high: float = math.inf, whole: bool = False, part: str = "generator") -> None:
    """Raise WorkbenchError for an option of a generator (or other part) that is no finite number, no whole number, or out of its range."""
    fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool) and low <= value <= high
    if not fits or (not whole and value >= LARGEST):
        between = f"between {low:g} and {high:g}" if high < math.inf else f"of at least {low:g}" if low > -math.inf else ""
        raise WorkbenchError(f"{part}.{name} {value!r} must be a {'whole ' if whole else ''}number {between}".rstrip())


@dataclass(frozen=True, slots=True)
class PromptSize:
    """Hold the tokens of a prompt as its model counts them: each message alone, all as the model reads it, and what may come after.

    `text` is what the model reads: the messages in its chat template. `window` is None where the model does not state one.
    """

    messages: tuple[int, ...]
    total: int
    answer: int
    window: int | None
    text: str


def never() -> bool:
    """Stop nothing."""
    return False


class ExtractiveGenerator:
    """Answer with the sentence of the passages that is most like the question: a control without any learning, that models must beat."""

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {"name": "extractive", "version": 1}

    def generate(self, conversations: Sequence[Conversation]) -> list[Completion]:
        """Return one sentence for each conversation, or a refusal when none shares a term with the question; takes 0 seconds by decree."""
        return [Completion(_best_sentence(conversation.question, conversation.passages)) for conversation in conversations]

    def stream(self, conversation: Conversation, say: Callable[[str], None], stop: Callable[[], bool] = never) -> Completion:  # noqa: ARG002
        """Say the answer at once; there is nothing to stop."""
        completion = self.generate([conversation])[0]
        say(completion.text)
        return completion

    def overflows(self, conversations: Sequence[Conversation]) -> list[int]:
        """Return zeros: there is no window."""
        return [0] * len(conversations)

    def size(self, conversation: Conversation) -> None:
        """Return None: there are no tokens."""


def _best_sentence(question: str, passages: Sequence[Passage]) -> str:
    """Return the sentence whose terms shared with the question weigh most, the first of equals, or a refusal when nothing is shared.

    A term weighs log(1 + sentences / sentences with it), once a sentence, over the sentences of these passages.
    """
    tokenise = TOKENISERS[default_tokeniser([question])]
    texts = [passage.text for passage in passages]
    found = [text[start:end] for text in texts for start, end in sentences(text) if not _HEADING.match(text, start)]
    asked = set(tokenise(question))
    shared = [asked.intersection(tokenise(sentence)) for sentence in found]
    counts = Counter(term for terms in shared for term in terms)
    # Not divided by the length of the sentence: mean answer_f1 over demo-en and demo-ko (512 tokens of BM25 context) is 0.225 so, 0.224
    # divided by its root and 0.210 by the length. A sum in any order must be the same, or ties would fall differently from run to run.
    scores = [math.fsum(math.log(1 + len(found) / counts[term]) for term in terms) for terms in shared]
    best = max(scores, default=0)
    return found[scores.index(best)] if best else REFUSALS.get(guess_language(question), REFUSALS["en"])


GENERATORS: dict[str, Callable[..., Generator] | str] = {
    "extractive": ExtractiveGenerator,
    "hf": "workbench.generation_hf:HFGenerator",
    "openai": "workbench.generation_openai:OpenAIGenerator",
    "openvino": "workbench.generation_openvino:OpenVINOGenerator",
}


def create_generator(spec: str, options: Mapping[str, Any] | None = None, allow_download: bool = False) -> Generator:
    """Build the generator that `spec` names."""
    return registry.create("generator", GENERATORS, spec, options or {}, allow_download=allow_download)
