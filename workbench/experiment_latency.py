"""Measure how long one question takes to search for, apart from the runs: unbatched, warmed up, nothing from the cache (ST9)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace

import numpy as np

from workbench.cache import Cache, CachedEmbedder
from workbench.cache_reranking import CachedReranker
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.experiment_build import Models, build_retrieval, resolve
from workbench.experiment_data import Prepared, prepare
from workbench.settings import Settings
from workbench.storage import cache_file


def probe_latency(
    settings: Settings, questions: int = 20, allow_download: bool = False, prepared: Prepared | None = None, models: Models | None = None
) -> dict[str, float]:
    """Measure milliseconds for one question at a time (embedding, search, reranking), after a warm-up, nothing from the cache.

    Construction, model loading and indexing are not counted (ST9). Returns median_ms, p95_ms and n.
    """
    if questions < 1:
        raise WorkbenchError(f"a latency probe needs at least 1 question, got {questions}")
    prepared = prepared or prepare(settings, allow_download)
    settings = resolve(settings, prepared)
    with closing(Cache(cache_file())) as cache, ExitStack() as bypasses:
        parts = build_retrieval(settings, prepared, models or Models(cache, allow_download))
        for part in (parts.embedder, getattr(parts.retriever, "reranker", None)):
            if isinstance(part, (CachedEmbedder, CachedReranker)):
                bypasses.enter_context(part.bypassed())
        asked = prepared.scored.examples or prepared.dataset.examples
        examples = [asked[row % len(asked)] for row in range(questions)]
        seconds = []
        parts.retriever.retrieve(examples[:1], settings.top_k)
        for example in examples:
            start = time.perf_counter()
            parts.retriever.retrieve([example], settings.top_k)
            seconds.append(time.perf_counter() - start)
    return {"median_ms": 1000 * float(np.median(seconds)), "p95_ms": 1000 * float(np.quantile(seconds, 0.95)), "n": questions}


def with_latency(
    results: Sequence[RunResult], prepared: Mapping[str, Prepared], questions: int = 20, allow_download: bool = False
) -> list[RunResult]:
    """Return the results with `query_median_ms` and `query_p95_ms` among their timings, probed one after the other.

    `prepared` holds the data by name.
    """
    probed = []
    with closing(Cache(cache_file())) as cache:
        models = Models(cache, allow_download)
        for result in results:
            found = probe_latency(result.settings, questions, allow_download, prepared[result.settings.dataset], models)
            times = {"query_median_ms": found["median_ms"], "query_p95_ms": found["p95_ms"]}
            probed.append(replace(result, timings={**result.timings, **times}))
    return probed
