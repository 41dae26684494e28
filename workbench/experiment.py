"""Run configurations: Settings -> parts -> RunResult. With its siblings, the only module that knows all the parts."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from workbench import data
from workbench.audit import audit
from workbench.audit_answers import audit_answers
from workbench.audit_checks import Evidence
from workbench.audit_health import audit_questions
from workbench.audit_training import audit_training
from workbench.cache import Cache, CacheCounts
from workbench.datatypes import Answer, Example, Hit, WorkbenchError
from workbench.diagnosis import diagnose
from workbench.evaluation import Check, RunResult, ann_recall, package_versions, score, spread, worst_questions
from workbench.evaluation_answers import answer_details, answer_record
from workbench.experiment_build import Models, Parts, build_pipeline, build_retrieval, check_parts, resolve
from workbench.experiment_data import NONE, Prepared, describe_data, prepare
from workbench.metrics_answers import score_answers
from workbench.models import LocalModel
from workbench.packing import Context
from workbench.pipeline import retrieve_to_fill
from workbench.registry import split_spec
from workbench.retrieval import DENSE_RETRIEVERS, question_keys
from workbench.settings import ANSWER_FIELDS, Settings
from workbench.storage import cache_file, fingerprint

__all__ = ["describe_data", "grid", "prepare", "run", "run_all"]

NOTHING_SCORED = (Check("unscored", "warning", "no question has evidence, so retrieval cannot be scored"),)
Retrieved = Mapping[int, tuple[list[Hit], Context]]  # row of the question -> hits, context of the largest budget


@dataclass(frozen=True)
class Scores:
    """Hold what one half of a run yields: scores and masks over all questions, and what goes into the result beside them."""

    values: Mapping[str, np.ndarray]
    asked: Mapping[str, np.ndarray]
    checks: tuple[Check, ...]
    records: tuple[Mapping[str, Any], ...] = ()  # failures of retrieval, or answers
    details: Mapping[str, Any] | None = None
    answers: Mapping[int, Answer] = field(default_factory=dict)  # row of the question -> answer


@dataclass(frozen=True)
class Retrieval:
    """Hold the half of a run that configurations share when they differ in how they answer only."""

    parts: Parts  # without a pipeline
    found: Retrieved
    scores: Scores


def run(settings: Settings, *, cached: bool = True, allow_download: bool = False, prepared: Prepared | None = None) -> RunResult:
    """Evaluate one configuration on all its questions, audit it, and return per-question scores."""
    with closing(Cache(cache_file())) if cached else nullcontext() as cache:
        return _run(settings, Models(cache, allow_download), prepared, {})


def _run(settings: Settings, models: Models, prepared: Prepared | None, known: dict[str, Retrieval]) -> RunResult:
    """Evaluate one configuration; `known` holds the last retrieval, and gets this one."""
    timings: dict[str, float] = {}
    check_parts(settings)
    with _timed(timings, "prepare"):
        prepared = prepared or prepare(settings, models.allow_download)
    settings = resolve(settings, prepared)
    answered = _drawn(settings, prepared)
    cache = models.cache
    if cache:
        cache.counts = CacheCounts()
    key = _retrieval_key(settings)
    if key not in known:
        known.clear()
        known[key] = _retrieve_and_score(settings, prepared, models, answered, timings)
    retrieval = known[key]
    parts, scores = replace(retrieval.parts, settings=settings), retrieval.scores
    answers = Scores({}, {}, ())
    if answered:
        with _timed(timings, "answer"):
            # the judge too before any answer: a missing key or a bad label file must not cost them
            parts = replace(parts, judge=models.judge(settings, prepared), pipeline=build_pipeline(parts, prepared, models))
            answers = _score_answers(parts, prepared, retrieval.found, answered)
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
            "embedder_precision": getattr(_inner(parts.embedder, "embedder"), "precision", None),
            "reranker_precision": getattr(_reranker(parts), "precision", None),
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


def _retrieve_and_score(
    settings: Settings, prepared: Prepared, models: Models, answered: Sequence[int], timings: dict[str, float]
) -> Retrieval:
    with _timed(timings, "index"):
        parts = build_retrieval(settings, prepared, models)
    with _timed(timings, "retrieve"):
        found = _retrieve(parts, prepared, answered)
    with _timed(timings, "score"):
        return Retrieval(parts, found, _score_retrieval(parts, prepared, found))


def _drawn(settings: Settings, prepared: Prepared) -> list[int]:
    """Return the rows of the questions to answer: none without a generator, all where `answers` is 0, else a sample drawn by seed.

    Questions without evidence that lack what the filter asks of them cannot be searched for, and are left out.
    """
    if settings.generator == NONE or not prepared.dataset.examples:
        return []
    keys = question_keys(settings.filter)
    askable = [example for example in prepared.dataset.examples if example.evidence or all(key in example.metadata for key in keys)]
    sample = data.sample(replace(prepared.dataset, examples=tuple(askable)), settings.answers or len(askable) or 1, settings.seed)
    drawn = {example.id for example in sample.examples}
    return [row for row, example in enumerate(prepared.dataset.examples) if example.id in drawn]


def _retrieve(parts: Parts, prepared: Prepared, answered: Sequence[int]) -> Retrieved:
    """Retrieve for every question that has evidence or is answered, deep enough for the largest budget."""
    settings, examples = parts.settings, prepared.dataset.examples
    rows = sorted({*answered, *(row for row, example in enumerate(examples) if example.evidence)})
    budgets = [settings.answer_budget] if prepared.scored.document_gold else [settings.answer_budget, settings.budgets[-1]]
    hits, contexts = retrieve_to_fill(
        parts.retriever,
        [examples[row] for row in rows],
        settings.top_k,
        max(budgets),
        prepared.tables,
        len(parts.chunks),
        float(parts.sizes.mean()),
    )
    return dict(zip(rows, zip(hits, contexts, strict=True), strict=True))


def _score_retrieval(parts: Parts, prepared: Prepared, found: Retrieved) -> Scores:
    """Score and audit the retrieval of every question that has evidence."""
    settings, examples = parts.settings, prepared.dataset.examples
    rows = [row for row, example in enumerate(examples) if example.evidence]
    hits, contexts = ([found[row][part] for row in rows] for part in (0, 1))
    values = score(prepared.scored, hits, contexts, settings, prepared.tables)
    index_recall = None if settings.index in (NONE, "exact") else _index_recall(parts, prepared.scored.examples)
    embedder, reranker = (getattr(part, "model", None) for part in (_inner(parts.embedder, "embedder"), _reranker(parts)))
    evidence = Evidence(
        settings,
        prepared.scored,
        parts.chunks,
        parts.texts,
        hits,
        values,
        [prepared.clusters[row] for row in rows],
        prepared.tables,
        parts.embedder,
        embedder if isinstance(embedder, LocalModel) else None,
        reranker if isinstance(reranker, LocalModel) else None,
        prepared.elsewhere,
        index_recall,
    )
    mask = np.isin(np.arange(len(examples)), rows)
    return Scores(
        {metric: spread(column, rows, len(examples)) for metric, column in values.items()},
        dict.fromkeys(values, mask),
        audit(evidence) if rows else NOTHING_SCORED,
        tuple(worst_questions(prepared.scored, hits, values[settings.primary])) if settings.primary in values else (),
        {"ann_recall": index_recall, "truncated": evidence.truncated_share, "hits_mean": round(sum(map(len, hits)) / max(len(hits), 1), 1)},
    )


def _index_recall(parts: Parts, examples: Sequence[Example]) -> float:
    """Return the recall of an approximate index against exact search, before any reranking."""
    retriever, k = _inner(parts.retriever, "retriever"), parts.settings.top_k
    return ann_recall(retriever, examples, retriever.retrieve(examples, k), k)


def _score_answers(parts: Parts, prepared: Prepared, found: Retrieved, rows: Sequence[int]) -> Scores:
    """Answer the drawn questions from the hits found for them, score and audit the answers."""
    assert parts.pipeline
    settings = parts.settings
    size = len(prepared.dataset.examples)
    examples = [prepared.dataset.examples[row] for row in rows]
    answers = parts.pipeline.answer_from(examples, [found[row][0] for row in rows], [found[row][1] for row in rows])
    if all(answer.error for answer in answers):
        raise WorkbenchError(f"none of {len(answers)} questions was answered: {answers[0].error}")
    values, asked = score_answers(examples, answers, prepared.language, parts.pipeline.prompt.citations)
    records = tuple(answer_record(example, answer) for example, answer in zip(examples, answers, strict=True))
    details = answer_details(records) | {"left_out": _left_out(settings, prepared)}
    judged = None
    if parts.judge:
        clusters = dict(zip((example.id for example in prepared.dataset.examples), prepared.clusters, strict=True))
        judged, records = parts.judge.assess(examples, answers, records, clusters)
        values, asked = {**values, **judged.scores}, {**asked, **judged.asked}
    generator = _inner(parts.pipeline.generator, "generator")
    model = getattr(generator, "model", None)
    return Scores(
        {metric: spread(column, rows, size) for metric, column in values.items()},
        {metric: spread(mask, rows, size) == 1 for metric, mask in asked.items()},
        audit_answers(details, prepared.language, model if isinstance(model, LocalModel) else None, judged.details if judged else None),
        records,
        {
            "judge": judged.details if judged else None,
            "answers": details
            | {"generator_precision": getattr(generator, "precision", None), "prompt": parts.pipeline.prompt.fingerprint[:12]}
            | {"rules": fingerprint([rule.model_dump() for rule in parts.pipeline.rules])[:12] if parts.pipeline.rules else None},
        },
        dict(zip(rows, answers, strict=True)),
    )


def _left_out(settings: Settings, prepared: Prepared) -> int:
    keys = question_keys(settings.filter)
    return sum(not example.evidence and any(key not in example.metadata for key in keys) for example in prepared.dataset.examples)


def _reranker(parts: Parts) -> Any:
    """Return the reranker without its cache, None where nothing is reranked."""
    return _inner(getattr(parts.retriever, "reranker", None), "reranker")


def _inner(part: Any, name: str) -> Any:
    """Return the part that a cache is wrapped around, or the part itself."""
    return getattr(part, name, part)


def grid(settings: Settings, *, cached: bool = True, allow_download: bool = False, **fields: Sequence[Any]) -> list[RunResult]:
    """Evaluate the settings for every combination of the given values: grid(settings, chunk_size=[64, 128]).

    Combinations that resolve to the same configuration run once.
    """
    for name, given in fields.items():
        if isinstance(given, str) or not given:
            raise WorkbenchError(f"grid: {name} = {given!r} must be a list of at least one value")
    points = [settings.replace(**dict(zip(fields, values, strict=True))) for values in itertools.product(*fields.values())]
    return run_all(points, cached=cached, allow_download=allow_download)


def run_all(points: Sequence[Settings], *, cached: bool = True, allow_download: bool = False) -> list[RunResult]:
    """Evaluate configurations one after the other, each once; those on the same data load it once.

    Neighbours that differ only in how they answer share what was retrieved.
    """
    shared: dict[tuple[Any, ...], Prepared] = {}
    results: dict[tuple[str, int], RunResult] = {}
    known: dict[str, Retrieval] = {}
    with closing(Cache(cache_file())) if cached else nullcontext() as cache:
        models = Models(cache, allow_download)
        for point in points:
            check_parts(point)
            key = (point.dataset, point.split, point.limit, point.seed, point.tokenizer, point.generator == NONE)
            if key not in shared:
                shared[key] = prepare(point, allow_download)
            resolved = resolve(point, shared[key])
            if (resolved.config_id, resolved.seed) not in results:
                results[resolved.config_id, resolved.seed] = _run(resolved, models, shared[key], known)
    return list(results.values())


@contextmanager
def _timed(timings: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[name] = time.perf_counter() - start
