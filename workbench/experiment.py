"""Run configurations: Settings -> parts -> RunResult. With its siblings, the only module that knows all the parts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from typing import Any

from workbench.audit_health import audit_questions
from workbench.audit_training import audit_training
from workbench.cache import Cache, CacheCounts
from workbench.datatypes import WorkbenchError
from workbench.diagnosis import diagnose
from workbench.evaluation import RunResult, package_versions
from workbench.experiment_build import Models, build_pipeline, check_parts, resolve
from workbench.experiment_data import NONE, Prepared, data_key, describe_data
from workbench.experiment_data import prepare as _prepare
from workbench.experiment_scores import Retrieval, Scores, answer_and_score, drawn_rows, inner, reranker_of, retrieve_and_score, timed
from workbench.registry import split_spec
from workbench.retrieval import DENSE_RETRIEVERS
from workbench.settings import ANSWER_FIELDS, Settings
from workbench.storage import cache_file

__all__ = ["describe_data", "grid", "prepare", "run", "run_all"]

MOST_PREPARED = 4  # data sets, seeds or samples that are kept in memory


class Runner:
    """Evaluate configurations one after the other: those on the same data load it once, models are built once for neighbours.

    Neighbours that differ only in how they answer share what was retrieved. `prepared` is data that is loaded already. Close it after use.
    """

    def __init__(self, *, cached: bool = True, allow_download: bool = False, prepared: Iterable[Prepared] = ()) -> None:
        self._cache = Cache(cache_file()) if cached else None
        self._models = Models(self._cache, allow_download)
        self._prepared: dict[tuple[Any, ...], Prepared] = {one.key: one for one in prepared}
        self._known: dict[str, Retrieval] = {}

    def resolve(self, settings: Settings) -> Settings:
        """Return the settings with every `auto` replaced by what it means for the data."""
        check_parts(settings)
        return resolve(settings, self._prepare(settings))

    def run(self, settings: Settings) -> RunResult:
        """Evaluate one configuration on all its questions, audit it, and return per-question scores."""
        return _run(self.resolve(settings), self._models, self._prepare(settings), self._known)

    def _prepare(self, settings: Settings) -> Prepared:
        key = data_key(settings)
        if key not in self._prepared:
            if len(self._prepared) >= MOST_PREPARED:
                del self._prepared[next(iter(self._prepared))]
            self._prepared[key] = _prepare(settings, self._models.allow_download, self._cache)
        return self._prepared[key]

    def close(self) -> None:
        """Close the cache."""
        if self._cache:
            self._cache.close()


def prepare(settings: Settings, *, cached: bool = True, allow_download: bool = False) -> Prepared:
    """Load, split and sample the data, and tokenise its documents; see experiment_data.prepare."""
    with closing(Cache(cache_file())) if cached else nullcontext() as cache:
        return _prepare(settings, allow_download, cache)


def run(settings: Settings, *, cached: bool = True, allow_download: bool = False, prepared: Prepared | None = None) -> RunResult:
    """Evaluate one configuration on all its questions, audit it, and return per-question scores."""
    with closing(Cache(cache_file())) if cached else nullcontext() as cache:
        return _run(settings, Models(cache, allow_download), prepared, {})


def _run(settings: Settings, models: Models, prepared: Prepared | None, known: dict[str, Retrieval]) -> RunResult:
    """Evaluate one configuration; `known` holds the last retrieval, and gets this one."""
    timings: dict[str, float] = {}
    check_parts(settings)
    with timed(timings, "prepare"):
        prepared = prepared or _prepare(settings, models.allow_download, models.cache)
    settings = resolve(settings, prepared)
    answered = drawn_rows(settings, prepared)
    cache = models.cache
    if cache:
        cache.counts = CacheCounts()
    key = _retrieval_key(settings)
    if key not in known:
        known.clear()
        known[key] = retrieve_and_score(settings, prepared, models, answered, timings)
    retrieval = known[key]
    parts, scores = replace(retrieval.parts, settings=settings), retrieval.scores
    answers = Scores({}, {}, ())
    if answered:
        with timed(timings, "answer"):
            # the judge too before any answer: a missing key or a bad label file must not cost them
            parts = replace(parts, judge=models.judge(settings, prepared), pipeline=build_pipeline(parts, prepared, models))
            answers = answer_and_score(parts, prepared, retrieval.found, answered)
    values, dataset = {**scores.values, **answers.values}, prepared.dataset
    causes, cases = diagnose(settings, dataset, parts.chunks, prepared.tables, retrieval.found, answers.answers, values, prepared.language)
    return RunResult(
        settings=settings,
        example_ids=tuple(example.id for example in dataset.examples),
        clusters=prepared.clusters,
        parts=prepared.parts,
        scores=values,
        data=describe_data(prepared),
        asked={**scores.asked, **answers.asked},
        answers=answers.records,
        details={
            "chunks": len(parts.chunks),
            "chunk_tokens_mean": round(float(parts.sizes.mean()), 1),
            "chunk_tokens_max": int(parts.sizes.max()),
            "index_bytes": parts.retriever.index_bytes,
            "top_k_clipped": len(parts.chunks) if len(parts.chunks) < settings.top_k else None,
            "embedder_precision": getattr(inner(parts.embedder, "embedder"), "precision", None),
            "reranker_precision": getattr(reranker_of(parts), "precision", None),
            **(scores.details or {}),
            **(answers.details or {"answers": None, "judge": None}),
        },
        failures=scores.records,
        causes=causes,
        cases=cases,
        audit=(*scores.checks, *audit_questions(settings, dataset), *audit_training(settings, dataset), *answers.checks),
        timings=timings,
        cache=vars(cache.counts) if cache else {},
        versions=package_versions(),
    )


def _retrieval_key(settings: Settings) -> str:
    """Return what decides the hits: all settings but those of the answers, though the drawn questions and their budget count."""
    same = {name: Settings.model_fields[name].default for name in ANSWER_FIELDS if name not in ("answers", "answer_budget")}
    options = {part: knobs for part, knobs in settings.options.items() if part not in ("generator", "judge")}
    if split_spec(settings.retriever)[0] not in DENSE_RETRIEVERS:
        same["embedder"] = NONE  # it chooses shots only
    return settings.replace(**same, generator="auto" if settings.generator != NONE else NONE, options=options).canonical()


def grid(
    settings: Settings, *, cached: bool = True, allow_download: bool = False, prepared: Iterable[Prepared] = (), **fields: Sequence[Any]
) -> list[RunResult]:
    """Evaluate the settings for every combination of the given values: grid(settings, chunk_size=[64, 128]).

    Combinations that resolve to the same configuration run once. Data in `prepared` is not loaded again.
    """
    for name, given in fields.items():
        if isinstance(given, str) or not given:
            raise WorkbenchError(f"grid: {name} = {given!r} must be a list of at least one value")
    points = [settings.replace(**dict(zip(fields, values, strict=True))) for values in itertools.product(*fields.values())]
    return run_all(points, cached=cached, allow_download=allow_download, prepared=prepared)


def run_all(
    points: Sequence[Settings], *, cached: bool = True, allow_download: bool = False, prepared: Iterable[Prepared] = ()
) -> list[RunResult]:
    """Evaluate configurations one after the other, each once; `Runner` says what they share."""
    results: dict[tuple[str, int], RunResult] = {}
    with closing(Runner(cached=cached, allow_download=allow_download, prepared=prepared)) as runner:
        for point in points:
            resolved = runner.resolve(point)
            if (resolved.config_id, resolved.seed) not in results:
                results[resolved.config_id, resolved.seed] = runner.run(resolved)
    return list(results.values())
