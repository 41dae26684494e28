"""Turn Settings into parts: names checked, "auto" resolved, chunks cut, retriever, generator and prompt built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench import metrics
from workbench.cache import Cache, CachedEmbedder
from workbench.cache_generation import CachedGenerator
from workbench.chunking import CHUNKERS, chunk_documents, create_chunker
from workbench.datatypes import Chunk, Embedder, Generator, Retriever
from workbench.embedding import EMBEDDERS, create_embedder
from workbench.evaluation import rank_cutoffs
from workbench.experiment_data import NONE, Prepared
from workbench.generation import GENERATORS, create_generator
from workbench.index import INDEXES
from workbench.pipeline import Pipeline
from workbench.pipeline_rules import load_rules
from workbench.prompting import load_prompt, locate, resolve_prompt
from workbench.registry import split_spec, unknown
from workbench.retrieval import DENSE_RETRIEVERS, RETRIEVERS, create_retriever, default_tokeniser, embedding_texts
from workbench.settings import ANSWER_FIELDS, Settings

DEFAULT_EMBEDDERS = {"en": "st:sentence-transformers/all-MiniLM-L6-v2", "ko": "st:intfloat/multilingual-e5-small"}
DEFAULT_GENERATORS = {"en": "hf:HuggingFaceTB/SmolLM2-135M-Instruct", "ko": "hf:google/gemma-3-270m"}
OPTION_PARTS = ("chunker", "embedder", "index", "retriever", "generator")
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


def check_parts(settings: Settings) -> None:
    """Raise WorkbenchError for a part name or an option group that does not exist; loads nothing."""
    choices = {
        "chunker": list(CHUNKERS),
        "embedder": [*EMBEDDERS, "auto", NONE],
        "retriever": list(RETRIEVERS),
        "index": [*INDEXES, NONE],
        "generator": [*GENERATORS, "auto", NONE],
    }
    for kind, known in choices.items():
        name, _ = split_spec(getattr(settings, kind))
        if name not in known:
            raise unknown(kind, name, known)
    for part in settings.options:
        if part not in OPTION_PARTS:
            raise unknown("options for", part, OPTION_PARTS)


def resolve(settings: Settings, prepared: Prepared) -> Settings:
    """Replace every "auto" by a concrete name, parts that the retriever does not use by "none", and what has no effect by its default.

    So settings that do the same have the same config id.
    """
    check_parts(settings)
    retriever, tokeniser = split_spec(settings.retriever)
    dense = retriever in DENSE_RETRIEVERS
    unused = set() if dense else {"embedder", "index"}
    silent = settings.generator == NONE
    idle = {*unused, "generator"} if silent else unused
    changes: dict[str, Any] = {"options": {part: knobs for part, knobs in settings.options.items() if knobs and part not in idle}}
    if split_spec(settings.chunker)[0] == "whole":
        changes |= {name: Settings.model_fields[name].default for name in ("chunk_size", "chunk_overlap")}
    if retriever in ("bm25", "hybrid") and tokeniser in (None, "", "auto"):
        changes["retriever"] = f"{retriever}:{default_tokeniser([document.text for document in prepared.dataset.documents])}"
    if not dense:
        changes |= dict.fromkeys(unused, NONE)
    elif settings.embedder in ("auto", NONE):
        changes["embedder"] = DEFAULT_EMBEDDERS.get(prepared.language, DEFAULT_EMBEDDERS["ko"])
    if dense and settings.index == NONE:
        changes["index"] = "exact"
    if settings.header == "auto":
        changes["header"] = "title" if prepared.dataset.embed_title else "none"
    fitting = next((budget for budget in settings.budgets if budget >= ANSWER_BUDGET), settings.budgets[-1])
    if silent:
        changes |= {name: Settings.model_fields[name].default for name in ANSWER_FIELDS}
    elif settings.generator == "auto":
        changes["generator"] = DEFAULT_GENERATORS.get(prepared.language, DEFAULT_GENERATORS["ko"])
    if not silent:
        changes |= {"prompt": resolve_prompt(settings.prompt, prepared.language), "answer_budget": settings.answer_budget or fitting}
    gold = prepared.scored.document_gold
    known = metrics.metric_names(rank_cutoffs(settings.top_k), settings.budgets, gold, answers=not silent)
    if settings.primary == "auto":
        retrieval = f"ndcg@{min(10, settings.top_k)}" if gold else f"{metrics.BUDGET_METRIC}@{fitting}t"
        answered = "answer_f1" if any(example.answers for example in prepared.dataset.examples) else "refusal_recall"
        changes["primary"] = retrieval if prepared.scored.examples or silent else answered
    else:
        metrics.check_metric(settings.primary, known)
    return settings.replace(**changes)


def build(settings: Settings, prepared: Prepared, cache: Cache | None, allow_download: bool = False) -> Parts:
    """Build the parts of resolved settings; embedder and generator are cached unless `cache` is None."""
    options = settings.options
    chunker = create_chunker(settings.chunker, prepared.tokenizer, settings.chunk_size, settings.chunk_overlap, options.get("chunker"))
    chunks = chunk_documents(chunker, prepared.dataset.documents)
    embedder: CachedEmbedder | Embedder | None = None
    if settings.embedder != NONE:
        embedder = create_embedder(settings.embedder, options.get("embedder"), allow_download)
        if cache is not None:
            embedder = CachedEmbedder(embedder, cache)
    retriever = create_retriever(
        settings.retriever,
        chunks,
        settings.header == "title",
        options.get("retriever"),
        embedder=embedder,
        index=settings.index,
        index_options=options.get("index", {}),
        filter=settings.filter,
        seed=settings.seed,
    )
    spans = [chunk.span for chunk in chunks]
    sizes = np.array([prepared.tables[span.document_id].count(span.start, span.end) for span in spans])
    pipeline = None
    if settings.generator != NONE:
        generator: CachedGenerator | Generator = create_generator(settings.generator, options.get("generator"), allow_download)
        pipeline = Pipeline(
            retriever,
            CachedGenerator(generator, cache) if cache is not None else generator,
            load_prompt(settings.prompt, prepared.language),
            {document.id: document for document in prepared.dataset.documents},
            prepared.tables,
            prepared.tokenizer,
            len(chunks),
            float(sizes.mean()),
            settings.top_k,
            settings.answer_budget,
            settings.shrink_context,
            load_rules(locate(settings.rules, "rules")) if settings.rules else (),
        )
    return Parts(settings, chunks, embedding_texts(chunks, settings.header == "title"), sizes, embedder, retriever, pipeline)
