"""Run configurations: Settings -> parts -> RunResult. The only module that knows all the parts."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workbench import data, metrics, models
from workbench.audit import audit
from workbench.audit_checks import Evidence
from workbench.cache import Cache, CachedEmbedder
from workbench.chunking import CHUNKERS, chunk_documents, create_chunker
from workbench.datatypes import Chunk, Dataset, Embedder, Retriever, WorkbenchError
from workbench.embedding import EMBEDDERS, create_embedder
from workbench.evaluation import Check, RunResult, ann_recall, package_versions, rank_cutoffs, retrieve_to_fill, score, worst_questions
from workbench.index import INDEXES
from workbench.registry import split_spec, unknown
from workbench.retrieval import DENSE_RETRIEVERS, RETRIEVERS, create_retriever, default_tokeniser, embedding_texts
from workbench.settings import Settings
from workbench.storage import cache_file
from workbench.text import guess_language
from workbench.tokens import TokenTable, load_tokenizer, token_tables

DEFAULT_EMBEDDERS = {"en": "st:sentence-transformers/all-MiniLM-L6-v2", "ko": "st:intfloat/multilingual-e5-small"}
OPTION_PARTS = ("chunker", "embedder", "index", "retriever")
NOTHING_SCORED = (Check("unscored", "warning", "every question is unanswerable, so retrieval cannot be scored"),)
NONE = "none"  # the embedder and index of a retriever that uses neither


@dataclass(frozen=True)
class Prepared:
    """Hold what all configurations of one experiment share: the data, and its documents in tokens."""

    dataset: Dataset
    scored: Dataset  # the questions that have evidence
    clusters: tuple[str, ...]
    tables: Mapping[str, TokenTable]
    tokenizer: Any
    language: str
    elsewhere: frozenset[str] = frozenset()  # documents that the questions of the other parts of the split ask about


@dataclass(frozen=True)
class Pipeline:
    """Hold the parts of one configuration, ready to retrieve."""

    settings: Settings
    chunks: list[Chunk]
    texts: list[str]
    embedder: CachedEmbedder | Embedder | None
    retriever: Retriever


def prepare(settings: Settings, allow_download: bool = False) -> Prepared:
    """Load, split and sample the data, and tokenise its documents.

    Raise WorkbenchError when there is no question, or when answerable questions come without evidence; all unanswerable is fine.
    """
    dataset = loaded = data.load(settings.dataset)
    others: list[Dataset] = []
    if settings.split != "all":
        parts = data.split(dataset, seed=settings.seed)
        dataset = parts.pop(settings.split)
        others = list(parts.values())
    if settings.limit:
        dataset = data.sample(dataset, settings.limit, settings.seed)
    scored = replace(dataset, examples=tuple(example for example in dataset.examples if example.evidence))
    if not scored.examples and (not dataset.examples or any(example.answerable for example in dataset.examples)):
        advice = "add a quote or offsets to the questions (`workbench data template DIR` shows how)"
        if any(example.evidence for example in loaded.examples):
            advice = "others of this data set have: raise `limit`, or take another split or seed"
        count = len(dataset.examples)
        raise WorkbenchError(f"{settings.dataset}: none of {count} questions has evidence, so retrieval cannot be scored; {advice}")
    labels = data.clusters(dataset)
    tokenizer = load_tokenizer(settings.tokenizer, allow_download)
    return Prepared(
        dataset,
        scored,
        tuple(labels[example.id] for example in scored.examples),
        token_tables(dataset.documents, tokenizer),
        tokenizer,
        guess_language(" ".join(document.text[:300] for document in dataset.documents[:200])),
        frozenset(span.document_id for part in others for example in part.examples for unit in example.evidence for span in unit),
    )


def check_parts(settings: Settings) -> None:
    """Raise WorkbenchError for a part name or an option group that does not exist; loads nothing."""
    choices = {
        "chunker": list(CHUNKERS),
        "embedder": [*EMBEDDERS, "auto", NONE],
        "retriever": list(RETRIEVERS),
        "index": [*INDEXES, NONE],
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
    changes: dict[str, Any] = {"options": {part: knobs for part, knobs in settings.options.items() if knobs and part not in unused}}
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
    known = metrics.metric_names(rank_cutoffs(settings.top_k), settings.budgets, prepared.scored.document_gold)
    if settings.primary == "auto":
        fitting = [budget for budget in settings.budgets if budget >= 512] or [settings.budgets[-1]]
        changes["primary"] = (
            f"ndcg@{min(10, settings.top_k)}" if prepared.scored.document_gold else f"{metrics.BUDGET_METRIC}@{fitting[0]}t"
        )
    else:
        metrics.check_metric(settings.primary, known)
    return settings.replace(**changes)


def build(settings: Settings, prepared: Prepared, cache: Cache | None, allow_download: bool = False) -> Pipeline:
    """Build the parts of resolved settings: chunks, embedder (cached unless `cache` is None), retriever."""
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
    return Pipeline(settings, chunks, embedding_texts(chunks, settings.header == "title"), embedder, retriever)


def run(settings: Settings, *, cached: bool = True, allow_download: bool = False, prepared: Prepared | None = None) -> RunResult:
    """Evaluate one configuration on all its questions, audit it, and return per-question scores."""
    timings: dict[str, float] = {}
    check_parts(settings)
    with _timed(timings, "prepare"):
        prepared = prepared or prepare(settings, allow_download)
    settings = resolve(settings, prepared)
    examples = prepared.scored.examples
    with closing(Cache(cache_file())) if cached else nullcontext() as cache:
        with _timed(timings, "index"):
            pipeline = build(settings, prepared, cache, allow_download)
        sizes = np.array([prepared.tables[chunk.span.document_id].count(chunk.span.start, chunk.span.end) for chunk in pipeline.chunks])
        budget = 0 if prepared.scored.document_gold else settings.budgets[-1]
        with _timed(timings, "retrieve"):
            hits, contexts = retrieve_to_fill(
                pipeline.retriever, examples, settings.top_k, budget, prepared.tables, len(pipeline.chunks), float(sizes.mean())
            )
        with _timed(timings, "score"):
            scores = score(prepared.scored, hits, contexts, settings, prepared.tables)
        with _timed(timings, "audit"):
            exact = settings.index in (NONE, "exact")
            index_recall = None if exact else ann_recall(pipeline.retriever, examples, hits, settings.top_k)
            inner = getattr(pipeline.embedder, "embedder", pipeline.embedder)
            model = getattr(inner, "model", None)
            evidence = Evidence(
                settings,
                prepared.scored,
                pipeline.chunks,
                pipeline.texts,
                hits,
                scores,
                prepared.clusters,
                prepared.tables,
                pipeline.embedder,
                model if isinstance(model, models.LocalModel) else None,
                prepared.elsewhere,
                index_recall,
            )
            checks = audit(evidence) if examples else NOTHING_SCORED
    return RunResult(
        settings=settings,
        example_ids=tuple(example.id for example in examples),
        clusters=prepared.clusters,
        scores=scores,
        data=describe_data(prepared),
        details={
            "chunks": len(pipeline.chunks),
            "chunk_tokens_mean": round(float(sizes.mean()), 1),
            "chunk_tokens_max": int(sizes.max()),
            "top_k_clipped": len(pipeline.chunks) if len(pipeline.chunks) < settings.top_k else None,
            "embedder_precision": getattr(inner, "precision", None),
            "ann_recall": index_recall,
            "hits_mean": round(sum(map(len, hits)) / max(len(hits), 1), 1),
        },
        failures=tuple(worst_questions(prepared.scored, hits, scores[settings.primary])),
        audit=checks,
        timings=timings,
        cache=vars(cache.counts) if cache else {},
        versions=package_versions(),
    )


def grid(settings: Settings, *, cached: bool = True, allow_download: bool = False, **fields: Sequence[Any]) -> list[RunResult]:
    """Evaluate the settings for every combination of the given values: grid(settings, chunk_size=[64, 128]).

    The data is loaded once unless the data itself varies. Combinations that resolve to the same configuration run once.
    """
    for name, given in fields.items():
        if isinstance(given, str) or not given:
            raise WorkbenchError(f"grid: {name} = {given!r} must be a list of at least one value")
    shared: dict[tuple[Any, ...], Prepared] = {}
    results: dict[tuple[str, int], RunResult] = {}
    for values in itertools.product(*fields.values()):
        point = settings.replace(**dict(zip(fields, values, strict=True)))
        check_parts(point)
        key = (point.dataset, point.split, point.limit, point.seed, point.tokenizer)
        if key not in shared:
            shared[key] = prepare(point, allow_download)
        resolved = resolve(point, shared[key])
        if (resolved.config_id, resolved.seed) not in results:
            results[resolved.config_id, resolved.seed] = run(resolved, cached=cached, allow_download=allow_download, prepared=shared[key])
    return list(results.values())


def probe_latency(settings: Settings, questions: int = 20, allow_download: bool = False) -> dict[str, float]:
    """Measure milliseconds for one question at a time (embedding and search), after a warm-up, nothing from the cache.

    Construction, model loading and indexing are not counted (ST9). Returns median_ms, p95_ms and n.
    """
    if questions < 1:
        raise WorkbenchError(f"a latency probe needs at least 1 question, got {questions}")
    prepared = prepare(settings, allow_download)
    settings = resolve(settings, prepared)
    with closing(Cache(cache_file())) as cache:
        pipeline = build(settings, prepared, cache, allow_download)
        examples = [prepared.dataset.examples[row % len(prepared.dataset.examples)] for row in range(questions)]
        seconds = []
        with pipeline.embedder.bypassed() if isinstance(pipeline.embedder, CachedEmbedder) else nullcontext():
            pipeline.retriever.retrieve(examples[:1], settings.top_k)
            for example in examples:
                start = time.perf_counter()
                pipeline.retriever.retrieve([example], settings.top_k)
                seconds.append(time.perf_counter() - start)
    return {"median_ms": 1000 * float(np.median(seconds)), "p95_ms": 1000 * float(np.quantile(seconds, 0.95)), "n": questions}


@contextmanager
def _timed(timings: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[name] = time.perf_counter() - start


def describe_data(prepared: Prepared) -> dict[str, Any]:
    """Return counts, language and fingerprint of the data: what results keep of it."""
    dataset = prepared.dataset
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "language": prepared.language,
        "documents": len(dataset.documents),
        "groups": len({document.group for document in dataset.documents}),
        "questions": len(dataset.examples),
        "scored": len(prepared.scored.examples),
        "unanswerable": sum(not example.answerable for example in dataset.examples),
        "document_gold": dataset.document_gold,
        "losses": len(dataset.losses),
        "tokens": sum(len(table.starts) for table in prepared.tables.values()),
        "characters": sum(len(document.text) for document in dataset.documents),
    }
