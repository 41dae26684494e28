"""Turn Settings into parts: names checked, "auto" resolved, chunks cut, retriever, generator and prompt built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workbench import metrics
from workbench.cache import Cache, CachedEmbedder
from workbench.cache_generation import CachedGenerator
from workbench.cache_reranking import CachedReranker
from workbench.cache_tokens import cached_chunks
from workbench.chunking import CHUNKERS
from workbench.datatypes import Chunk, Embedder, Generator, Reranker, Retriever, WorkbenchError
from workbench.embedding import EMBEDDERS, create_embedder
from workbench.evaluation import rank_cutoffs
from workbench.experiment_data import NONE, Prepared
from workbench.generation import GENERATORS, create_generator
from workbench.index import INDEXES
from workbench.index_store import index_folder
from workbench.judging import JUDGES, Judge, check_judge, create_judge
from workbench.judging_labels import check_questions, read_labels
from workbench.pipeline import Pipeline
from workbench.pipeline_rules import load_rules
from workbench.prompting import load_prompt, locate, resolve_prompt
from workbench.registry import split_spec, unknown
from workbench.reranking import RERANKERS, RerankingRetriever, create_reranker, split_options
from workbench.retrieval import DENSE_RETRIEVERS, RETRIEVERS, create_retriever, default_tokeniser, dense_part, embedding_texts
from workbench.settings import ANSWER_FIELDS, SHOT_FIELDS, Settings
from workbench.shots import ShotSelector, shot_pool
from workbench.storage import canonical_json

DEFAULT_EMBEDDERS = {"en": "st:sentence-transformers/all-MiniLM-L6-v2", "ko": "st:intfloat/multilingual-e5-small"}
DEFAULT_GENERATORS = {"en": "hf:HuggingFaceTB/SmolLM2-135M-Instruct", "ko": "hf:google/gemma-3-270m"}
OPTION_PARTS = ("chunker", "embedder", "index", "retriever", "reranker", "generator", "judge")
EMBEDDED_SELECTIONS = ("similar", "diverse")  # of shots
ANSWER_BUDGET = 512


@dataclass(frozen=True)
class Parts:
    """Hold the parts of one configuration, ready to retrieve, and to answer where a generator is set."""

    settings: Settings
    chunks: list[Chunk]
    texts: list[str]  # what is indexed for each chunk
    sizes: np.ndarray  # tokens of each chunk
    embedder: CachedEmbedder | Embedder | None
    retriever: Retriever
    pipeline: Pipeline | None
    judge: Judge | None = None


def check_parts(settings: Settings) -> None:
    """Raise WorkbenchError for a part name or an option group that does not exist, or a judge of its own answers; loads nothing."""
    choices = {
        "chunker": list(CHUNKERS),
        "embedder": [*EMBEDDERS, "auto", NONE],
        "retriever": list(RETRIEVERS),
        "index": [*INDEXES, NONE],
        "reranker": [*RERANKERS, NONE],
        "generator": [*GENERATORS, "auto", NONE],
        "judge": [*JUDGES, NONE],
    }
    for kind, known in choices.items():
        name, _ = split_spec(getattr(settings, kind))
        if name not in known:
            raise unknown(kind, name, known)
    for part in settings.options:
        if part not in OPTION_PARTS:
            raise unknown("options for", part, OPTION_PARTS)
    check_judge(settings.judge, settings.generator)


def resolve(settings: Settings, prepared: Prepared) -> Settings:
    """Replace every "auto" by a concrete name, parts that the retriever does not use by "none", and what has no effect by its default.

    So settings that do the same have the same config id.
    """
    check_parts(settings)
    retriever, tokeniser = split_spec(settings.retriever)
    dense = retriever in DENSE_RETRIEVERS
    silent = settings.generator == NONE
    shown = not silent and settings.shot_count > 0
    embeds = dense or (shown and settings.shot_selection in EMBEDDED_SELECTIONS)
    unused = {part for part, used in (("embedder", embeds), ("index", dense)) if not used}
    parts = {"generator": not silent, "reranker": settings.reranker != NONE, "judge": settings.judge != NONE}
    idle = unused | {part for part, used in parts.items() if not used}
    changes: dict[str, Any] = {"options": {part: knobs for part, knobs in settings.options.items() if knobs and part not in idle}}
    if split_spec(settings.chunker)[0] == "whole":
        changes |= {name: Settings.model_fields[name].default for name in ("chunk_size", "chunk_overlap")}
    if retriever in ("bm25", "hybrid") and tokeniser in (None, "", "auto"):
        changes["retriever"] = f"{retriever}:{default_tokeniser([document.text for document in prepared.dataset.documents])}"
    changes |= dict.fromkeys(unused, NONE)
    if embeds and settings.embedder in ("auto", NONE):
        changes["embedder"] = DEFAULT_EMBEDDERS.get(prepared.language, DEFAULT_EMBEDDERS["ko"])
    if dense and settings.index == NONE:
        changes["index"] = "exact"
    if settings.header == "auto":
        changes["header"] = "title" if prepared.dataset.embed_title else "none"
    fitting = next((budget for budget in settings.budgets if budget >= ANSWER_BUDGET), settings.budgets[-1])
    if not shown:
        changes |= {name: Settings.model_fields[name].default for name in SHOT_FIELDS}
    if silent:
        changes |= {name: Settings.model_fields[name].default for name in ANSWER_FIELDS}
    elif settings.generator == "auto":
        changes["generator"] = DEFAULT_GENERATORS.get(prepared.language, DEFAULT_GENERATORS["ko"])
        check_judge(settings.judge, changes["generator"])
    if not silent:
        changes |= {"prompt": resolve_prompt(settings.prompt, prepared.language), "answer_budget": settings.answer_budget or fitting}
    gold = prepared.scored.document_gold
    known = metrics.metric_names(rank_cutoffs(settings.top_k), settings.budgets, gold, not silent, settings.judge != NONE)
    if settings.primary == "auto":
        retrieval = f"ndcg@{min(10, settings.top_k)}" if gold else f"{metrics.BUDGET_METRIC}@{fitting}t"
        answered = "answer_f1" if any(example.answers for example in prepared.dataset.examples) else "refusal_recall"
        changes["primary"] = retrieval if prepared.scored.examples or silent else answered
    else:
        metrics.check_metric(settings.primary, known)
    return settings.replace(**changes)


class Models:
    """Build the models of configurations that are run one after the other; the last of each kind is kept, so that none loads twice."""

    def __init__(self, cache: Cache | None, allow_download: bool = False) -> None:
        self.cache = cache
        self.allow_download = allow_download
        self._last: dict[str, tuple[str, Any]] = {}

    def _same(self, kind: str, spec: str, options: Mapping[str, Any], create: Callable[..., Any], cached: Callable[..., Any]) -> Any:
        key = canonical_json([spec, options])
        if self._last.get(kind, ("",))[0] != key:
            part = create(spec, options, self.allow_download)
            self._last[kind] = (key, part if self.cache is None else cached(part, self.cache))
        return self._last[kind][1]

    def embedder(self, settings: Settings) -> CachedEmbedder | Embedder | None:
        """Return the embedder, None where there is none."""
        if settings.embedder == NONE:
            return None
        return self._same("embedder", settings.embedder, settings.options.get("embedder", {}), create_embedder, CachedEmbedder)

    def reranker(self, settings: Settings, options: Mapping[str, Any]) -> CachedReranker | Reranker:
        """Return the reranker; `options` are without its depth."""
        return self._same("reranker", settings.reranker, options, create_reranker, CachedReranker)

    def generator(self, settings: Settings) -> CachedGenerator | Generator:
        """Return the generator."""
        return self._same("generator", settings.generator, settings.options.get("generator", {}), create_generator, CachedGenerator)

    def judge(self, settings: Settings, prepared: Prepared) -> Judge | None:
        """Return the judge with its labels, None where answers are not judged; build it first, so that a missing key costs no answers.

        The seed of the run is none of its business: runs with other seeds share the verdicts on what they answer alike.
        """
        if settings.judge == NONE:
            return None
        options = {"seed": 0, **settings.options.get("judge", {})}
        labels = options.pop("labels", "")
        if not isinstance(labels, str):
            raise WorkbenchError(f"judge.labels {labels!r} must be the name of a file")
        found = read_labels(locate(labels, "labels")) if labels else ()
        if settings.split == "all" and not settings.limit:
            check_questions(found, {example.id for example in prepared.dataset.examples})
        return Judge(self._same("judge", settings.judge, options, create_judge, CachedGenerator), tuple(found))


def build(settings: Settings, prepared: Prepared, models: Models) -> Parts:
    """Build the parts of resolved settings."""
    parts = build_retrieval(settings, prepared, models)
    return parts if settings.generator == NONE else replace(parts, pipeline=build_pipeline(parts, prepared, models))


def cut(settings: Settings, prepared: Prepared, cache: Cache | None) -> list[Chunk]:
    """Return the chunks of all documents."""
    size, overlap, knobs = settings.chunk_size, settings.chunk_overlap, settings.options.get("chunker")
    return cached_chunks(prepared.dataset.documents, settings.chunker, prepared.tokenizer, size, overlap, knobs, cache)


def passages(settings: Settings, prepared: Prepared, cache: Cache | None) -> list[str]:
    """Return the texts that an embedder reads."""
    return embedding_texts(cut(settings, prepared, cache), settings.header == "title")


def build_retrieval(settings: Settings, prepared: Prepared, models: Models) -> Parts:
    """Build all but the pipeline."""
    options = settings.options
    chunks = cut(settings, prepared, models.cache)
    embedder = models.embedder(settings) if split_spec(settings.retriever)[0] in DENSE_RETRIEVERS else None
    with_title = settings.header == "title"
    retriever = create_retriever(
        settings.retriever,
        chunks,
        with_title,
        options.get("retriever"),
        embedder=embedder,
        index=settings.index,
        index_options=options.get("index", {}),
        index_folder=index_folder(models.cache.path) if models.cache else None,
        filter=settings.filter,
        seed=settings.seed,
    )
    dense = dense_part(retriever)
    if models.cache and dense and getattr(dense.index, "origin", "") == "rebuilt":
        models.cache.counts.damaged += 1
    if settings.reranker != NONE:
        depth, knobs = split_options(options.get("reranker", {}))
        retriever = RerankingRetriever(retriever, models.reranker(settings, knobs), depth, with_title)
    spans = [chunk.span for chunk in chunks]
    sizes = np.array([prepared.tables[span.document_id].count(span.start, span.end) for span in spans])
    return Parts(settings, chunks, embedding_texts(chunks, with_title), sizes, embedder, retriever, None)


def build_pipeline(parts: Parts, prepared: Prepared, models: Models) -> Pipeline:
    """Build what answers questions from the hits of these parts."""
    settings = parts.settings
    documents = {document.id: document for document in prepared.dataset.documents}
    return Pipeline(
        parts.retriever,
        models.generator(settings),
        load_prompt(settings.prompt, prepared.language),
        documents,
        prepared.tables,
        prepared.tokenizer,
        len(parts.chunks),
        float(parts.sizes.mean()),
        settings.top_k,
        settings.answer_budget,
        settings.shrink_context,
        load_rules(locate(settings.rules, "rules")) if settings.rules else (),
        _shots(parts, prepared, models) if settings.shot_count else None,
    )


def _shots(parts: Parts, prepared: Prepared, models: Models) -> ShotSelector:
    """Return what chooses shots out of the training part of the split, which shares no document with the questions asked."""
    settings = parts.settings
    if not prepared.training:
        raise WorkbenchError(
            f"shots are taken from the training part of the data, so split {settings.split!r} must be selection, confirmation or test"
        )
    documents = {document.id: document for document in prepared.dataset.documents}
    return ShotSelector(
        shot_pool(prepared.training, prepared.dataset.examples, documents),
        documents,
        prepared.tables,
        settings.shot_count,
        settings.shot_selection,
        settings.shot_budget,
        settings.seed,
        settings.shuffle_shots,
        models.embedder(settings) if settings.shot_selection in EMBEDDED_SELECTIONS else None,
    )
