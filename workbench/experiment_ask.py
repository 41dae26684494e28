"""Answer questions over the documents of a data set, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext

from workbench.cache import Cache
from workbench.datatypes import Answer, Example, WorkbenchError
from workbench.experiment_build import Models, build, check_parts, resolve
from workbench.experiment_data import NONE, prepare_documents
from workbench.generation import never
from workbench.pipeline import STEPS, Watch, ignore
from workbench.retrieval import question_keys
from workbench.settings import Settings
from workbench.storage import cache_file


class Agent:
    """Hold the parts that answer questions over the documents of a data set; they are built once, models load at the first question.

    `settings` are the resolved ones, `prepared` holds the documents, and the data set's own questions as `training`. Raise WorkbenchError
    for settings that cannot answer.
    """

    def __init__(self, settings: Settings, *, cached: bool = True, allow_download: bool = False) -> None:
        check_parts(settings)
        if keys := question_keys(settings.filter):
            raise WorkbenchError(f"a question asked here has no metadata to filter by; give the value: --filter {keys[0]}:VALUE")
        if settings.generator == NONE:
            raise WorkbenchError("ask needs a generator: --generator extractive, hf:MODEL, openvino:MODEL or openai:MODEL")
        self._cache = Cache(cache_file()) if cached else None
        with self._opened():
            self.prepared = prepare_documents(settings, allow_download, self._cache)
            self.settings = resolve(settings, self.prepared)
            pipeline = build(self.settings, self.prepared, Models(self._cache, allow_download)).pipeline
        assert pipeline
        self.pipeline = pipeline

    @property
    def steps(self) -> tuple[str, ...]:
        """Return the steps that a question takes, in their order; a chain augments and generates once for each of its prompts."""
        return (*STEPS[:3], *STEPS[3:5] * (2 if self.pipeline.prompt.before else 1), *STEPS[5:])

    def answer(
        self, question: str, watch: Watch = ignore, say: Callable[[str], None] | None = None, stop: Callable[[], bool] = never
    ) -> Answer:
        """Answer one question, in any thread, but one at a time; an answer that failed or was stopped says so in its `error`.

        `watch` is told of each step as it ends, `say` gets the text as it comes until `stop()` is true. Raise WorkbenchError where a step
        before the generator's cannot be taken, such as for an empty question.
        """
        with self._opened():
            return self.pipeline.answer([Example("ask", question)], watch, say, stop)[0]

    def _opened(self) -> AbstractContextManager[object]:
        """Close the cache at the end, it opens again where it is used next: each thread needs a connection of its own."""
        return closing(self._cache) if self._cache else nullcontext()


def ask(
    question: str,
    settings: Settings,
    *,
    watch: Watch = ignore,
    say: Callable[[str], None] | None = None,
    cached: bool = True,
    allow_download: bool = False,
) -> Answer:
    """Answer one question over the documents of a data set; raise WorkbenchError when there is no answer."""
    answer = Agent(settings, cached=cached, allow_download=allow_download).answer(question, watch, say)
    if answer.error:
        raise WorkbenchError(answer.error)
    return answer
