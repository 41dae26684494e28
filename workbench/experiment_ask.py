"""Answer one question over the documents of a data set."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, nullcontext

from workbench.cache import Cache
from workbench.datatypes import Answer, Example, WorkbenchError
from workbench.experiment_build import Models, build, check_parts, resolve
from workbench.experiment_data import NONE, prepare_documents
from workbench.pipeline import Watch, ignore
from workbench.retrieval import question_keys
from workbench.settings import Settings
from workbench.storage import cache_file


def ask(
    question: str,
    settings: Settings,
    *,
    watch: Watch = ignore,
    say: Callable[[str], None] | None = None,
    cached: bool = True,
    allow_download: bool = False,
) -> Answer:
    """Answer one question over the documents of a data set; its own questions are not used.

    `watch` is told of each step, `say` gets the text as it comes. Raise WorkbenchError when there is no answer.
    """
    check_parts(settings)
    prepared = prepare_documents(settings, allow_download)
    settings = resolve(settings, prepared)
    if keys := question_keys(settings.filter):
        raise WorkbenchError(f"a question asked here has no metadata to filter by; give the value: --filter {keys[0]}:VALUE")
    if settings.generator == NONE:
        raise WorkbenchError("ask needs a generator: --generator extractive, hf:MODEL or openai:MODEL")
    with closing(Cache(cache_file())) if cached else nullcontext() as cache:
        parts = build(settings, prepared, Models(cache, allow_download))
        assert parts.pipeline
        answer = parts.pipeline.answer([Example("ask", question)], watch, say)[0]
    if answer.error:
        raise WorkbenchError(answer.error)
    return answer
