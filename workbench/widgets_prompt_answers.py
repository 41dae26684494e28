"""Ask one question with several prompts and one generator, or tell what would be sent: what the prompt playground shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from workbench.cache import Cache
from workbench.datatypes import Answer, Completion, Conversation, Example, Hit, Step, WorkbenchError
from workbench.experiment_build import Models, Parts, build_pipeline, build_retrieval, resolve
from workbench.experiment_data import NONE, Prepared
from workbench.generation import never
from workbench.generation_hf_text import RefusedError
from workbench.metrics_answers import score_answer
from workbench.packing import Context
from workbench.pipeline import Pipeline, retrieve_to_fill
from workbench.prompting import Prompt, load_prompt, resolve_prompt
from workbench.registry import split_spec
from workbench.settings import Settings
from workbench.storage import cache_file
from workbench.widgets_prompt_view import Asked, Tried
from workbench.widgets_question import FREE, find_question
from workbench.widgets_retrieval import check_tokenizer

Say = Callable[[str, str], None]  # the name of a prompt, a piece of text


class Prompts:
    """Answer questions with several prompts and one generator; parts are built once, at the first question, and hits are shared."""

    def __init__(self, prepared: Prepared, settings: Settings, prompts: Sequence[str], cached: bool = True) -> None:
        if isinstance(prompts, str) or not prompts:
            raise WorkbenchError(f"prompts {prompts!r} must be a list of at least one prompt, such as ['plain', 'concise']")
        if settings.generator == NONE:
            raise WorkbenchError(
                "a prompt playground needs a generator: set generator to extractive, hf:MODEL, openvino:MODEL or openai:MODEL"
            )
        check_tokenizer(prepared, settings)
        self.prepared = prepared
        self.prompts = {
            name: load_prompt(name, prepared.language) for name in [resolve_prompt(name, prepared.language) for name in prompts]
        }
        self._given = settings.replace(prompt=next(iter(self.prompts)))
        self.settings = resolve(self._given, prepared)
        self.cache = Cache(cache_file()) if cached else None
        if self.cache:
            self.cache.close()  # it opens again where it is used next, in that thread
        self._models = Models(self.cache)
        self._parts: Parts | None = None

    def change(self, generator: str, shot_count: int) -> None:
        """Ask another generator from now on, or show another number of shots; options stay with the kind of generator they are for."""
        options = dict(self._given.options)
        if split_spec(generator)[0] != split_spec(self.settings.generator)[0] and generator != self._given.generator:
            options.pop("generator", None)
        settings = resolve(self._given.replace(generator=generator, shot_count=shot_count, options=options), self.prepared)
        if settings != self.settings:
            self.settings = settings
            self._parts = replace(self._parts, settings=settings, pipeline=None) if self._parts else None

    def messages(self, example: Example, prompts: Mapping[str, Prompt]) -> Iterator[tuple[str, Asked]]:
        """Give what the first step of each of these prompts would send for a question; nothing is generated."""
        with self._pipeline(example) as (pipeline, _, contexts):
            for name, prompt in prompts.items():
                first = prompt.before or prompt
                budget = pipeline.budget if prompt.shows_passages else 0
                try:
                    item = replace(pipeline, prompt=prompt).augment(first, [example], [contexts[0].within(budget, pipeline.tables)])[0]
                    yield name, Asked(first.name, item.conversation.messages, _size(pipeline, item.conversation), item.error)
                except WorkbenchError as error:  # shown in the place of the messages
                    yield name, Asked(first.name, (), error=str(error))

    def answer(
        self, example: Example, prompts: Mapping[str, Prompt], say: Say | None = None, stop: Callable[[], bool] = never
    ) -> Iterator[Tried]:
        """Give what each of these prompts makes of a question, one after the other, until `stop()` is true.

        `say` gets the text as it comes. One that fails gets an answer with an error, the others go on.
        """
        with self._pipeline(example) as (pipeline, hits, contexts):
            for name, prompt in prompts.items():
                if stop():
                    return
                hear = (lambda piece, name=name: say(name, piece)) if say else None
                try:
                    answer = replace(pipeline, prompt=prompt).answer_from([example], [hits], contexts, say=hear, stop=stop)[0]
                except WorkbenchError as error:  # shown in the place of the answer
                    answer = _failed(example, str(error))
                scores = {} if example.id == FREE else score_answer(example, answer, self.prepared.language, prompt.citations)
                sizes = [_size(pipeline, Conversation(step.messages)) if step.messages else None for step in answer.steps]
                yield Tried(name, answer, scores, self.settings.shot_count, sizes)

    @contextmanager
    def _pipeline(self, example: Example) -> Iterator[tuple[Pipeline, list[Hit], list[Context]]]:
        """Give what answers, and the hits and the context of a question."""
        with closing(self.cache) if self.cache else nullcontext():
            parts = self._parts or build_retrieval(self.settings, self.prepared, self._models)
            pipeline = parts.pipeline or build_pipeline(parts, self.prepared, self._models)
            self._parts = replace(parts, pipeline=pipeline)
            settings: Any = (pipeline.top_k, pipeline.budget, pipeline.tables, pipeline.chunks, pipeline.chunk_tokens)
            hits, contexts = retrieve_to_fill(pipeline.retriever, [example], *settings)
            yield pipeline, hits[0], contexts


def _size(pipeline: Pipeline, conversation: Conversation) -> Any:
    """Return the tokens of a prompt, None where they are not known or the chat template refuses it, which the completion says."""
    try:
        return pipeline.generator.size(conversation)
    except RefusedError:
        return None


def _failed(example: Example, error: str) -> Answer:
    return Answer(example.id, example.question, "", steps=(Step("answer", (), Completion("", "error", error=error)),))


def try_prompts(
    prepared: Prepared, settings: Settings, prompts: Sequence[str], question: str = "", cached: bool = True
) -> tuple[Example, list[Tried]]:
    """Return a question (its id, its text, or any text) and what each prompt makes of it, from the same hits."""
    example, group = find_question(prepared.dataset, question), Prompts(prepared, settings, prompts, cached)
    return example, list(group.answer(example, group.prompts))
