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
    Retriever,
    Step,
    Tokenizer,
    WorkbenchError,
)
from workbench.generation import STOPPED, never
from workbench.packing import Context, pack
from workbench.pipeline_postprocess import clean_up, postprocess
from workbench.pipeline_rules import Rule
from workbench.prompting import Prompt, Shot
from workbench.shots import ShotSelector
from workbench.text import normalise
from workbench.tokens import TokenTable, counter

STEPS = ("preprocess", "vectorise", "retrieve", "augment", "generate", "postprocess")
REMEDIES = {
    "instructions": "take a shorter prompt",
    "shots": "show fewer shots",
    "context": "lower answer_budget, or set shrink_context",
    "question": "ask a shorter question",
    "previous": "lower generator.max_new_tokens, which caps the step before",
}
Watch = Callable[[str, float, Any], None]  # step, seconds, what it produced


def ignore(step: str, seconds: float, produced: Any) -> None:
    """Watch nothing."""


@dataclass(frozen=True)
class Augmented:
    """Hold what one question is asked with in one step; `error` says why it cannot be asked."""

    conversation: Conversation
    context: Context
    shots: tuple[Shot, ...] = ()
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
    shots: ShotSelector | None = None

    def answer(
        self,
        examples: Sequence[Example],
        watch: Watch = ignore,
        say: Callable[[str], None] | None = None,
        stop: Callable[[], bool] = never,
    ) -> list[Answer]:
        """Answer questions from nothing but their text; `say` gets the text of each completion piece by piece until `stop()` is true."""
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
        return self.answer_from(examples, hits, contexts, watch, say, stop)

    def answer_from(
        self,
        examples: Sequence[Example],
        hits: Sequence[Sequence[Hit]],
        contexts: Sequence[Context],
        watch: Watch = ignore,
        say: Callable[[str], None] | None = None,
        stop: Callable[[], bool] = never,
    ) -> list[Answer]:
        """Answer questions whose hits and contexts (of at least the budget) are known; one that fails gets an answer with an error.

        A prompt chain takes the steps "augment" and "generate" once for each of its prompts; `say` gets the text of the last. With `say`,
        the work ends soon after `stop()` is true: what is unfinished then has the error STOPPED, its step the text written so far.
        """
        budget = self.budget if self.prompt.shows_passages else 0
        contexts = [context.within(budget, self.tables) for context in contexts]
        notes: list[tuple[Note, ...]] = [()] * len(examples)
        steps: list[tuple[Step, ...]] = [()] * len(examples)
        asked: list[Augmented] = []
        for prompt in (*((self.prompt.before,) if self.prompt.before else ()), self.prompt):
            last = prompt is self.prompt
            with timed(watch, "augment") as produced:
                asked = self.augment(prompt, examples, contexts, [taken[-1].completion if taken else None for taken in steps])
                produced += asked
            contexts = [item.context for item in asked]  # what one step had to leave out, the next does not bring back
            notes = [(*before, *item.notes) for before, item in zip(notes, asked, strict=True)]
            with timed(watch, "generate") as completions:
                completions += self._generate(asked, say and (say if last else _unsaid), stop)
            done = [
                Step("answer" if last else prompt.name, item.conversation.messages, completion)
                for item, completion in zip(asked, completions, strict=True)
            ]
            steps = [(*taken, step) for taken, step in zip(steps, done, strict=True)]
        with timed(watch, "postprocess") as answers:
            rows = zip(examples, hits, asked, steps, notes, strict=True)
            answers += [self._answer(*row) for row in rows]
        return answers

    def _generate(self, asked: Sequence[Augmented], say: Callable[[str], None] | None, stop: Callable[[], bool]) -> list[Completion]:
        stopped = Completion("", "stopped", error=STOPPED)
        if say and stop():  # also what a stopped step would have been followed by
            return [stopped] * len(asked)
        fitting = [item.conversation for item in asked if not item.error]
        if say is None:
            completions = iter(self.generator.generate(fitting))
        else:
            completions = iter([stopped if stop() else self.generator.stream(conversation, say, stop) for conversation in fitting])
        return [Completion("", "error", error=item.error) if item.error else next(completions) for item in asked]

    def augment(
        self, prompt: Prompt, examples: Sequence[Example], contexts: Sequence[Context], before: Sequence[Completion | None] = ()
    ) -> list[Augmented]:
        """Put each question with its context, and with its shots in the last step of a chain, into a prompt.

        What overflows the window loses shots, then context where that is allowed, else it is refused. `before` are the completions of the
        step before; where that failed, this step fails too.
        """
        before = before or [None] * len(examples)
        shots = self.shots.select(examples) if self.shots and prompt is self.prompt else [()] * len(examples)
        drafts = [_Draft(self, prompt, *row) for row in zip(examples, shots, before, strict=True)]
        asked = [draft.ask(context) for draft, context in zip(drafts, contexts, strict=True)]
        over = self.generator.overflows([item.conversation for item in asked])
        return [
            draft.fit(item, excess) if excess and not item.error else item for draft, item, excess in zip(drafts, asked, over, strict=True)
        ]

    def _answer(self, example: Example, hits: Sequence[Hit], item: Augmented, steps: tuple[Step, ...], notes: tuple[Note, ...]) -> Answer:
        passages, tokens = item.conversation.passages, item.context.tokens
        answer = Answer(example.id, example.question, "", tuple(hits), passages, tokens, steps, notes=notes)
        if answer.error:
            return answer
        prompt = self.prompt
        done = postprocess(answer.completion.text, len(passages), self.rules, prompt.format, prompt.marker, prompt.refusal)
        notes = (*notes, *done.notes)
        return replace(answer, text=done.text, refused=done.refused, citations=done.citations, notes=notes, valid=done.valid)


def _unsaid(piece: str) -> None:
    """Say nothing of a step that others follow."""


@dataclass(frozen=True)
class _Draft:
    """Ask one question in one step, with as much as fits."""

    pipeline: Pipeline
    prompt: Prompt
    example: Example
    shots: tuple[Shot, ...]
    before: Completion | None

    def ask(self, context: Context, dropped: int = 0) -> Augmented:
        """Return the question with a context, without the first so many shots."""
        shots, selector = self.shots[dropped:], self.pipeline.shots
        shared = bool(selector and selector.shared) and not dropped
        passages = context.passages(self.pipeline.documents)
        conversation = self.prompt.render(self.example.question, passages, shots, self._previous, shots_shared=shared)
        error = f"the step before failed: {self.before.error}" if self.before and self.before.error else ""
        return Augmented(conversation, context, shots, self._dropped(dropped), error)

    @property
    def _previous(self) -> str:
        """Return what the step before wrote, without what is no part of it, such as repeats."""
        return clean_up(self.before.text)[0] if self.before else ""

    def _dropped(self, number: int) -> tuple[Note, ...]:
        names = ", ".join(shot.id for shot in self.shots[:number])
        return (Note("shots", f"dropped {number} of {len(self.shots)} shots to fit the generator's window: {names}"),) if number else ()

    def fit(self, whole: Augmented, over: int) -> Augmented:
        """Return the question with the most shots that fit, then with the largest context, found by bisection.

        The generator counts in tokens of its own, so only trying tells.
        """
        pipeline = self.pipeline
        for dropped in range(1, len(self.shots) + 1):
            item = self.ask(whole.context, dropped)
            if not pipeline.generator.overflows([item.conversation])[0]:
                return item
        fitting, low, high = None, 0, whole.context.tokens if pipeline.shrink else 0
        while low < high:
            middle = (low + high + 1) // 2
            item = self.ask(whole.context.within(middle, pipeline.tables), len(self.shots))
            if pipeline.generator.overflows([item.conversation])[0]:
                high = middle - 1
            else:
                low, fitting = middle, item
        if fitting is None:
            return replace(whole, error=self._too_long(whole, over))
        text = f"shrunk from {whole.context.tokens} to {fitting.context.tokens} tokens to fit the generator's window"
        return replace(fitting, notes=(*fitting.notes, Note("context", text)))

    def _too_long(self, item: Augmented, over: int) -> str:
        count = counter(self.pipeline.tokenizer)
        texts = self.prompt.parts(self.example.question, item.conversation.passages, item.shots, self._previous)
        parts = {name: count(text) for name, text in texts.items()}
        listed = ", ".join(f"{name} {tokens}" for name, tokens in parts.items() if tokens)
        longest = max(parts, key=lambda name: parts[name])
        return (
            f"the prompt is {over} tokens too long for the generator's window; most of it is the {longest} "
            f"({listed}, in tokens of {self.pipeline.tokenizer.name}): {REMEDIES[longest]}"
        )


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
