"""Score one configuration: what it retrieves, and what it answers from that."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from workbench import data
from workbench.audit import audit
from workbench.audit_answers import audit_answers
from workbench.audit_checks import Evidence
from workbench.datatypes import Answer, Hit, WorkbenchError
from workbench.evaluation import Check, ann_recall, score, spread, worst_questions
from workbench.evaluation_answers import answer_details, answer_record
from workbench.experiment_build import Models, Parts, build_retrieval
from workbench.experiment_data import NONE, Prepared
from workbench.metrics import INDEX_METRIC
from workbench.metrics_answers import score_answers
from workbench.models import LocalModel
from workbench.packing import Context
from workbench.pipeline import retrieve_to_fill
from workbench.retrieval import question_keys
from workbench.settings import Settings
from workbench.storage import fingerprint

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


def retrieve_and_score(
    settings: Settings, prepared: Prepared, models: Models, answered: Sequence[int], timings: dict[str, float]
) -> Retrieval:
    """Build what retrieves, retrieve for every question, and score it; the seconds of each step go into `timings`."""
    with timed(timings, "index"):
        parts = build_retrieval(settings, prepared, models)
    with timed(timings, "retrieve"):
        found = _retrieve(parts, prepared, answered)
    with timed(timings, "score"):
        return Retrieval(parts, found, _score_retrieval(parts, prepared, found))


def drawn_rows(settings: Settings, prepared: Prepared) -> list[int]:
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
    searched = list(found)
    shares = ann_recall(parts.retriever, [examples[row] for row in searched], settings.top_k)
    index_recall = None if shares is None or np.isnan(shares).all() else float(np.nanmean(shares))
    embedder, reranker = (getattr(part, "model", None) for part in (inner(parts.embedder, "embedder"), reranker_of(parts)))
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
    columns = {metric: spread(column, rows, len(examples)) for metric, column in values.items()}
    asked = dict.fromkeys(values, mask)
    if shares is not None:
        name = f"{INDEX_METRIC}@{settings.top_k}"
        columns[name] = spread(shares, searched, len(examples))
        asked[name] = np.isfinite(columns[name])
    return Scores(
        columns,
        asked,
        audit(evidence) if rows else NOTHING_SCORED,
        tuple(worst_questions(prepared.scored, hits, values[settings.primary])) if settings.primary in values else (),
        {"ann_recall": index_recall, "truncated": evidence.truncated_share, "hits_mean": round(sum(map(len, hits)) / max(len(hits), 1), 1)},
    )


def answer_and_score(parts: Parts, prepared: Prepared, found: Retrieved, rows: Sequence[int]) -> Scores:
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
    generator = inner(parts.pipeline.generator, "generator")
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


def reranker_of(parts: Parts) -> Any:
    """Return the reranker without its cache, None where nothing is reranked."""
    return inner(getattr(parts.retriever, "reranker", None), "reranker")


def inner(part: Any, name: str) -> Any:
    """Return the part that a cache is wrapped around, or the part itself."""
    return getattr(part, name, part)


@contextmanager
def timed(timings: dict[str, float], name: str) -> Iterator[None]:
    """Measure the seconds of a block under a name."""
    start = time.perf_counter()
    yield
    timings[name] = time.perf_counter() - start
