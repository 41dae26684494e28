"""Run configurations: Settings -> parts -> RunResult. The only module that knows all the parts."""

from __future__ import annotations

import importlib.metadata
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workbench import data, metrics, models
from workbench.audit import Evidence, audit
from workbench.cache import Cache, CachedEmbedder
from workbench.chunking import CHUNKERS, chunk_documents, create_chunker
from workbench.datatypes import Chunk, Dataset, Embedder, Retriever, WorkbenchError
from workbench.embedding import EMBEDDERS, create_embedder
from workbench.evaluation import RunResult, retrieve_to_fill, score, worst_questions
from workbench.index import INDEXES
from workbench.registry import split_spec, unknown
from workbench.retrieval import DENSE_RETRIEVERS, RETRIEVERS, create_retriever, default_tokeniser, embedding_texts
from workbench.settings import Settings
from workbench.storage import cache_file
from workbench.text import guess_language
from workbench.tokens import TokenTable, load_tokenizer, token_tables

DEFAULT_EMBEDDERS = {"en": "st:sentence-transformers/all-MiniLM-L6-v2", "ko": "st:intfloat/multilingual-e5-small"}
OPTION_PARTS = ("chunker", "embedder", "index", "retriever")
PACKAGES = ("rag-workbench", "numpy", "tokenizers", "semantic-text-splitter", "bm25s", "PyStemmer", "kiwipiepy", "faiss-cpu")
MODEL_PACKAGES = ("sentence-transformers", "transformers", "torch")
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


@dataclass(frozen=True)
class Pipeline:
    """Hold the parts of one configuration, ready to retrieve."""

    settings: Settings
    chunks: list[Chunk]
    texts: list[str]
    embedder: CachedEmbedder | Embedder | None
    retriever: Retriever


def prepare(settings: Settings, allow_download: bool = False) -> Prepared:
    """Load, split and sample the data, and tokenise its documents; raise WorkbenchError when no question has evidence."""
    dataset = data.load(settings.dataset)
    if settings.split != "all":
        dataset = data.split(dataset, seed=settings.seed)[settings.split]
    if settings.limit:
        dataset = data.sample(dataset, settings.limit, settings.seed)
    scored = replace(dataset, examples=tuple(example for example in dataset.examples if example.evidence))
    if not scored.examples:
        raise WorkbenchError(
            f"{settings.dataset}: none of {len(dataset.examples)} questions has evidence, so retrieval cannot be scored; "
            "add a quote or offsets to the questions (`workbench data template DIR` shows how)"
        )
    labels = data.clusters(dataset)
    tokenizer = load_tokenizer(settings.tokenizer, allow_download)
    return Prepared(
        dataset,
        scored,
        tuple(labels[example.id] for example in scored.examples),
        token_tables(dataset.documents, tokenizer),
        tokenizer,
        guess_language(" ".join(document.text[:300] for document in dataset.documents[:200])),
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
    """Replace every "auto" by a concrete name, and parts that the retriever does not use by "none"."""
    check_parts(settings)
    retriever, tokeniser = split_spec(settings.retriever)
    dense = retriever in DENSE_RETRIEVERS
    changes: dict[str, Any] = {}
    if retriever in ("bm25", "hybrid") and tokeniser in (None, "auto"):
        changes["retriever"] = f"{retriever}:{default_tokeniser([document.text for document in prepared.dataset.documents])}"
    if not dense:
        changes |= {"embedder": NONE, "index": NONE}
    elif settings.embedder in ("auto", NONE):
        changes["embedder"] = DEFAULT_EMBEDDERS.get(prepared.language, DEFAULT_EMBEDDERS["ko"])
    if dense and settings.index == NONE:
        changes["index"] = "exact"
    if settings.header == "auto":
        changes["header"] = "title" if prepared.dataset.embed_title else "none"
    known = metrics.metric_names(range(1, settings.top_k + 1), settings.budgets, prepared.scored.document_gold)
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
    elif options.get("embedder"):
        raise WorkbenchError(f"options for an embedder, but the retriever {settings.retriever!r} uses none")
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
    cache = Cache(cache_file()) if cached else None
    try:
        with _timed(timings, "index"):
            pipeline = build(settings, prepared, cache, allow_download)
        sizes = np.array([prepared.tables[chunk.span.document_id].count(chunk.span.start, chunk.span.end) for chunk in pipeline.chunks])
        budget = 0 if prepared.scored.document_gold else settings.budgets[-1]
        examples = prepared.scored.examples
        with _timed(timings, "retrieve"):
            hits, contexts = retrieve_to_fill(
                pipeline.retriever, examples, settings.top_k, budget, prepared.tables, len(pipeline.chunks), float(sizes.mean())
            )
        with _timed(timings, "score"):
            scores = score(prepared.scored, hits, contexts, settings, prepared.tables)
        with _timed(timings, "audit"):
            inner = getattr(pipeline.embedder, "embedder", pipeline.embedder)
            model = getattr(inner, "model", None)
            local = model if isinstance(model, models.LocalModel) else None
            checks = audit(
                Evidence(
                    settings,
                    prepared.scored,
                    pipeline.chunks,
                    pipeline.texts,
                    hits,
                    scores,
                    prepared.clusters,
                    prepared.tables,
                    pipeline.embedder,
                    local.languages if local else (),
                    local.max_length if local else None,
                )
            )
        counts = vars(cache.counts) if cache else {}
    finally:
        if cache is not None:
            cache.close()
    return RunResult(
        settings=settings,
        example_ids=tuple(example.id for example in examples),
        clusters=prepared.clusters,
        scores=scores,
        data=_describe_data(prepared),
        details={
            "chunks": len(pipeline.chunks),
            "chunk_tokens_mean": round(float(sizes.mean()), 1),
            "chunk_tokens_max": int(sizes.max()),
            "top_k_clipped": len(pipeline.chunks) if len(pipeline.chunks) < settings.top_k else None,
            "embedder_precision": getattr(inner, "precision", None),
            "hits_mean": round(float(np.mean([len(found) for found in hits])), 1),
        },
        failures=tuple(worst_questions(prepared.scored, hits, scores[settings.primary])),
        audit=checks,
        timings=timings,
        cache=counts,
        versions=_versions(),
    )


def grid(settings: Settings, *, cached: bool = True, allow_download: bool = False, **fields: Sequence[Any]) -> list[RunResult]:
    """Evaluate the settings for every combination of the given values: grid(settings, chunk_size=[64, 128]).

    The data is loaded once unless the data itself varies. Combinations that resolve to the same configuration run once.
    """
    shared = None
    results: dict[tuple[str, int], RunResult] = {}
    for values in itertools.product(*fields.values()):
        point = settings.replace(**dict(zip(fields, values, strict=True)))
        key = (point.dataset, point.split, point.limit, point.seed, point.tokenizer)
        check_parts(point)
        if shared is None or shared[0] != key:
            shared = (key, prepare(point, allow_download))
        resolved = resolve(point, shared[1])
        if (resolved.config_id, resolved.seed) not in results:
            results[resolved.config_id, resolved.seed] = run(point, cached=cached, allow_download=allow_download, prepared=shared[1])
    return list(results.values())


def probe_latency(settings: Settings, questions: int = 20, allow_download: bool = False) -> dict[str, float]:
    """Measure milliseconds for one question at a time (embedding and search), after a warm-up, nothing from the cache.

    Construction, model loading and indexing are not counted (ST9). Returns median_ms, p95_ms and n.
    """
    prepared = prepare(settings, allow_download)
    settings = resolve(settings, prepared)
    cache = Cache(cache_file())
    try:
        pipeline = build(settings, prepared, cache, allow_download)
        bypass = pipeline.embedder.bypassed if isinstance(pipeline.embedder, CachedEmbedder) else _nothing
        examples = [prepared.scored.examples[row % len(prepared.scored.examples)] for row in range(questions)]
        seconds = []
        with bypass():
            pipeline.retriever.retrieve(examples[:1], settings.top_k)
            for example in examples:
                start = time.perf_counter()
                pipeline.retriever.retrieve([example], settings.top_k)
                seconds.append(time.perf_counter() - start)
    finally:
        cache.close()
    return {"median_ms": 1000 * float(np.median(seconds)), "p95_ms": 1000 * float(np.quantile(seconds, 0.95)), "n": questions}


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _timed(timings: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[name] = time.perf_counter() - start


def _describe_data(prepared: Prepared) -> dict[str, Any]:
    dataset = prepared.dataset
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "language": prepared.language,
        "documents": len(dataset.documents),
        "questions": len(dataset.examples),
        "scored": len(prepared.scored.examples),
        "unanswerable": sum(not example.answerable for example in dataset.examples),
        "document_gold": dataset.document_gold,
        "losses": len(dataset.losses),
        "tokens": sum(len(table.starts) for table in prepared.tables.values()),
        "characters": sum(len(document.text) for document in dataset.documents),
    }


def _versions() -> dict[str, str]:
    versions = {}
    for package in (*PACKAGES, *MODEL_PACKAGES):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
