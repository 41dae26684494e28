"""Answer questions in six steps: preprocess, vectorise, retrieve, augment, generate, postprocess; all questions take a step together."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from workbench.datatypes import (
    Answer,
    Completion,
    Conversation,
    Document,
    Example,
    Generator,
    Hit,
    Note,
    Passage,
    Retriever,
    Step,
    Tokenizer,
    WorkbenchError,
)
from workbench.packing import Context, pack
from workbench.pipeline_postprocess import postprocess
from workbench.pipeline_rules import Rule
from workbench.prompting import Prompt
from workbench.text import normalise
from workbench.tokens import TokenTable, counter

STEPS = ("preprocess", "vectorise", "retrieve", "augment", "generate", "postprocess")
REMEDIES = {
    "instructions": "take a shorter prompt",
    "shots": "show fewer shots",
    "context": "lower answer_budget, or set shrink_context",
    "question": "ask a shorter question",
}
Watch = Callable[[str, float, Any], None]  # step, seconds, what it produced


def ignore(step: str, seconds: float, produced: Any) -> None:
    """Watch nothing."""


@dataclass(frozen=True)
class Augmented:
    """Hold what one question is asked with; `error` says why it cannot be asked."""

    conversation: Conversation
    context: Context
    notes: tuple[Note, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Pipeline:
    """Hold the parts that answer questions over one corpus."""

    retriever: Retriever
    generator: Generator
    prompt: Prompt
    documents: Mapping[str, Document]
    tables: Mapping[str, TokenTable]
    tokenizer: Tokenizer
    chunks: int
    chunk_tokens: float  # mean
    top_k: int = 10
    budget: int = 512  # tokens of context
    shrink: bool = False  # let a context that overflows the generator's window get smaller
    rules: tuple[Rule, ...] = ()

    def answer(self, examples: Sequence[Example], watch: Watch = ignore, say: Callable[[str], None] | None = None) -> list[Answer]:
        """Answer questions from nothing but their text; `say` gets the text of each completion piece by piece."""
        with timed(watch, "preprocess") as produced:
            examples = [preprocess(example) for example in examples]
            produced += examples
        with timed(watch, "vectorise") as produced:
            queries = self.retriever.vectorise(examples)
            produced += list(queries)
        with timed(watch, "retrieve") as produced:
            hits, contexts = retrieve_to_fill(
                self.retriever, examples, self.top_k, self.budget, self.tables, self.chunks, self.chunk_tokens, queries
            )
            produced += hits
        return self.answer_from(examples, hits, contexts, watch, say)

    def answer_from(
        self,
        examples: Sequence[Example],
        hits: Sequence[Sequence[Hit]],
        contexts: Sequence[Context],
        watch: Watch = ignore,
        say: Callable[[str], None] | None = None,
    ) -> list[Answer]:
        """Answer questions whose hits and contexts (of at least the budget) are known; one that fails gets an answer with an error."""
        with timed(watch, "augment") as produced:
            asked = self.augment(examples, [context.within(self.budget, self.tables) for context in contexts])
            produced += asked
        with timed(watch, "generate") as produced:
            fitting = [item.conversation for item in asked if not item.error]
            if say is None:
                completions = iter(self.generator.generate(fitting))
            else:
                completions = iter([self.generator.stream(conversation, say) for conversation in fitting])
            produced += [Completion("", "error", error=item.error) if item.error else next(completions) for item in asked]
        with timed(watch, "postprocess") as answers:
            rows = zip(examples, hits, asked, produced, strict=True)
            answers += [self._answer(example, found, item, completion) for example, found, item, completion in rows]
        return answers

    def augment(self, examples: Sequence[Example], contexts: Sequence[Context]) -> list[Augmented]:
        """Put each question and its context into the prompt; what overflows the window is shrunk where that is allowed, else refused."""
        asked = [self._ask(example, context) for example, context in zip(examples, contexts, strict=True)]
        over = self.generator.overflows([item.conversation for item in asked])
        return [self._fit(example, item, excess) if excess else item for example, item, excess in zip(examples, asked, over, strict=True)]

    def _ask(self, example: Example, context: Context) -> Augmented:
        return Augmented(self.prompt.render(example.question, self.passages(context)), context)

    def _fit(self, example: Example, whole: Augmented, over: int) -> Augmented:
        """Return the question with the largest context that fits, found by bisection: the generator counts in tokens of its own."""
        fitting, low, high = None, 0, whole.context.tokens if self.shrink else 0
        while low < high:
            middle = (low + high + 1) // 2
            item = self._ask(example, whole.context.within(middle, self.tables))
            if self.generator.overflows([item.conversation])[0]:
                high = middle - 1
            else:
                low, fitting = middle, item
        if fitting is None:
            return replace(whole, error=self._too_long(example, whole, over))
        text = f"shrunk from {whole.context.tokens} to {fitting.context.tokens} tokens to fit the generator's window"
        return replace(fitting, notes=(Note("context", text),))

    def _too_long(self, example: Example, item: Augmented, over: int) -> str:
        count = counter(self.tokenizer)
        parts = {name: count(text) for name, text in self.prompt.parts(example.question, item.conversation.passages).items()}
        listed = ", ".join(f"{name} {tokens}" for name, tokens in parts.items() if tokens)
        longest = max(parts, key=lambda name: parts[name])
        return (
            f"the prompt is {over} tokens too long for the generator's window; most of it is the {longest} "
            f"({listed}, in tokens of {self.tokenizer.name}): {REMEDIES[longest]}"
        )

    def passages(self, context: Context) -> tuple[Passage, ...]:
        """Return the pieces of a context with the titles of their documents."""
        pieces = ((span, self.documents[span.document_id]) for span in context.pieces)
        return tuple(Passage(span, document.text[span.start : span.end], document.title) for span, document in pieces)

    def _answer(self, example: Example, hits: Sequence[Hit], item: Augmented, completion: Completion) -> Answer:
        answer = Answer(
            example.id,
            example.question,
            "",
            tuple(hits),
            self.passages(item.context),
            item.context.tokens,
            (Step("answer", item.conversation.messages, completion),),
            notes=item.notes,
        )
        if completion.finish_reason == "error":
            return answer
        done = postprocess(completion.text, len(answer.passages), self.rules)
        return replace(answer, text=done.text, refused=done.refused, citations=done.citations, notes=(*item.notes, *done.notes))


@contextmanager
def timed(watch: Watch, step: str) -> Iterator[list[Any]]:
    """Yield a list for what a step produces, and tell it to `watch` with the seconds taken."""
    produced: list[Any] = []
    start = time.perf_counter()
    yield produced
    watch(step, time.perf_counter() - start, produced)


def preprocess(example: Example) -> Example:
    """Clean a question as documents are cleaned (NFC, no control characters, one line); raise WorkbenchError when nothing is left."""
    question = " ".join(normalise(example.question)[0].split())
    if not question:
        raise WorkbenchError("the question is empty; ask something")
    return replace(example, question=question)


def retrieve_to_fill(
    retriever: Retriever,
    examples: Sequence[Example],
    top_k: int,
    budget: int,
    tables: Mapping[str, TokenTable],
    chunks: int,
    mean_tokens: float,
    queries: Sequence[Any] | None = None,
) -> tuple[list[list[Hit]], list[Context]]:
    """Retrieve at least top_k hits and deep enough that each question's context fills the largest budget; return hits and contexts."""
    depth = min(chunks, max(top_k, 2 * math.ceil(budget / max(mean_tokens, 1)))) if budget else min(chunks, top_k)
    queries = retriever.vectorise(examples) if queries is None else queries
    hits = retriever.retrieve(examples, depth, queries)
    contexts = [pack(found, budget, tables) for found in hits]
    while depth < chunks:
        short = [row for row, context in enumerate(contexts) if not context.full and len(hits[row]) == depth]
        if not budget or not short:
            break
        depth = min(chunks, 4 * depth)
        deeper = retriever.retrieve([examples[row] for row in short], depth, [queries[row] for row in short])
        for row, found in zip(short, deeper, strict=True):
            hits[row], contexts[row] = found, pack(found, budget, tables)
    return hits, contexts
