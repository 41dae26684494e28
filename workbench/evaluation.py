"""Score retrieved hits for all questions, and keep the result of one run: per-question scores, never only means."""

from __future__ import annotations

import copy
import functools
import importlib.metadata
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from workbench import metrics, stats
from workbench.datatypes import Dataset, Example, Hit, WorkbenchError
from workbench.diagnosis import in_full
from workbench.index import ExactIndex
from workbench.packing import Context
from workbench.retrieval import dense_part
from workbench.settings import Settings, parse_settings
from workbench.storage import read_json, write_text
from workbench.tokens import TokenTable

RANKS = (1, 3, 5, 10)
FORMAT = 3  # of result files
FAILURES = 3  # questions shown in full
PACKAGES = ("rag-workbench", "numpy", "tokenizers", "semantic-text-splitter", "PyStemmer", "kiwipiepy", "faiss-cpu")
MODEL_PACKAGES = ("sentence-transformers", "transformers", "torch", "openvino", "openvino-genai", "sacrebleu", "openai")


@dataclass(frozen=True)
class Check:
    """Hold the outcome of one audit check: an id, "ok", "warning" or "error", and one line that says what was seen."""

    id: str
    level: str
    message: str


@dataclass(frozen=True)
class RunResult:
    """Hold what one configuration scored; means are computed when asked for.

    A metric may be asked of some questions only (`asked`): retrieval needs evidence, refusal recall an unanswerable question. A NaN score
    where it is asked is unscored and counted.
    """

    settings: Settings
    example_ids: tuple[str, ...]
    clusters: tuple[str, ...]
    scores: Mapping[str, np.ndarray]  # metric -> (questions,)
    data: Mapping[str, Any]
    parts: tuple[str, ...] = ()  # of the split, for each question: train, selection or confirmation; none where it cannot be divided
    asked: Mapping[str, np.ndarray] = field(default_factory=dict)  # metric -> (questions,) bool; of all questions where absent
    answers: tuple[Mapping[str, Any], ...] = ()  # one for each question answered
    details: Mapping[str, Any] = field(default_factory=dict)
    failures: tuple[Mapping[str, Any], ...] = ()
    causes: tuple[str, ...] = ()  # of diagnosis.CAUSES, for each question; "" where it was not diagnosed, none at all where nothing was
    cases: tuple[Mapping[str, Any], ...] = ()  # up to three questions of each cause in full
    audit: tuple[Check, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    cache: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def config_id(self) -> str:
        return self.settings.config_id

    def values(self, metric: str) -> tuple[np.ndarray, list[str]]:
        """Return the scores of one metric and the clusters of the questions scored, unscored ones left out."""
        metrics.check_metric(metric, list(self.scores))
        values = np.asarray(self.scores[metric], dtype=float)
        scored = np.isfinite(values)
        return values[scored], [cluster for cluster, kept in zip(self.clusters, scored, strict=True) if kept]

    def interval(self, metric: str) -> stats.Interval:
        """Return the mean of one metric with its interval; all unknown, with n 0, when no question was scored."""
        values, clusters = self.values(metric)
        return stats.mean_interval(values, clusters) if len(values) else stats.NOTHING

    def asked_of(self, metric: str) -> np.ndarray:
        """Return which questions a metric is asked of: (questions,) bool."""
        return self.asked[metric] if metric in self.asked else np.ones(len(self.example_ids), dtype=bool)

    def within(self, parts: Collection[str]) -> RunResult | None:
        """Return this result restricted to the questions of these parts of the split; None where there is none."""
        rows = [row for row, part in enumerate(self.parts) if part in parts]
        ids = {self.example_ids[row] for row in rows}
        if not rows:
            return None
        return replace(
            self,
            example_ids=tuple(self.example_ids[row] for row in rows),
            clusters=tuple(self.clusters[row] for row in rows),
            parts=tuple(self.parts[row] for row in rows),
            scores={metric: values[rows] for metric, values in self.scores.items()},
            asked={metric: mask[rows] for metric, mask in self.asked.items()},
            answers=tuple(answer for answer in self.answers if answer["id"] in ids),
            failures=tuple(failure for failure in self.failures if failure["id"] in ids),
            causes=tuple(self.causes[row] for row in rows if self.causes),
            cases=tuple(case for case in self.cases if case["id"] in ids),
        )

    def unscored(self, metric: str) -> int:
        """Count the questions that a metric is asked of and has no score for."""
        return int((self.asked_of(metric) & ~np.isfinite(np.asarray(self.scores[metric], dtype=float))).sum())

    def summary(self) -> dict[str, dict[str, float | int | None]]:
        """Return {metric: {mean, low, high, n, unscored}}; unknown bounds are None."""
        table = {}
        for metric in self.scores:
            interval = self.interval(metric)
            bounds = {"mean": interval.mean, "low": interval.low, "high": interval.high}
            table[metric] = {name: _number(value) for name, value in bounds.items()} | {"n": interval.n, "unscored": self.unscored(metric)}
        return table

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; NaN becomes null."""
        return {
            "format": FORMAT,
            "config_id": self.config_id,
            "settings": self.settings.model_dump(mode="json"),
            "examples": list(self.example_ids),
            "clusters": list(self.clusters),
            "parts": list(self.parts),
            "scores": {metric: [_number(float(value)) for value in values] for metric, values in self.scores.items()},
            "asked": {metric: "".join("01"[kept] for kept in mask.astype(int)) for metric, mask in self.asked.items()},
            "answers": [dict(answer) for answer in self.answers],
            "data": dict(self.data),
            "details": dict(self.details),
            "failures": [dict(failure) for failure in self.failures],
            "causes": list(self.causes),
            "cases": [dict(case) for case in self.cases],
            "audit": [asdict(check) for check in self.audit],
            "timings": {name: round(seconds, 4) for name, seconds in self.timings.items()},
            "cache": dict(self.cache),
            "versions": dict(self.versions),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> RunResult:
        """Rebuild a result; raise WorkbenchError when the record is incomplete or of another format."""
        try:
            if record["format"] != FORMAT:
                raise WorkbenchError(f"result of format {record['format']!r}, this version reads {FORMAT}")
            scores = {
                metric: np.array([math.nan if value is None else value for value in values], dtype=float)
                for metric, values in record["scores"].items()
            }
            result = cls(
                settings=parse_settings(record["settings"]),
                example_ids=tuple(record["examples"]),
                clusters=tuple(record["clusters"]),
                parts=tuple(record["parts"]),
                scores=scores,
                data=record["data"],
                asked={metric: np.array([sign == "1" for sign in signs], dtype=bool) for metric, signs in record["asked"].items()},
                answers=tuple(record["answers"]),
                details=record["details"],
                failures=tuple(record["failures"]),
                causes=tuple(record["causes"]),
                cases=tuple(record["cases"]),
                audit=tuple(Check(**check) for check in record["audit"]),
                timings=record["timings"],
                cache=record["cache"],
                versions=record["versions"],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WorkbenchError(f"not a complete result record: {error!r}") from None
        lists = (*scores.values(), *result.asked.values(), result.clusters, *filter(None, (result.parts, result.causes)))
        if any(len(values) != len(result.example_ids) for values in lists):
            raise WorkbenchError("not a complete result record: scores and questions differ in number")
        return result


def package_versions() -> dict[str, str]:
    """Return the versions of the installed packages that decide results; imports none of them."""
    return dict(_package_versions())


@functools.cache
def _package_versions() -> Mapping[str, str]:
    versions = {}
    for package in (*PACKAGES, *MODEL_PACKAGES):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def save_results(path: Path, results: Sequence[RunResult]) -> Path:
    """Write the results of one notebook run atomically."""
    return write_text(path, results_json(results))


def results_json(results: Sequence[RunResult]) -> str:
    """Return results as JSON, each on a line of its own; NaN is refused."""
    lines = [json.dumps(result.to_json(), ensure_ascii=False, sort_keys=True, allow_nan=False) for result in results]
    return '{"results": [\n' + ",\n".join(lines) + "\n]}\n"


def load_results(path: Path) -> list[RunResult]:
    """Read the results of one notebook run; raise WorkbenchError when the file is missing, broken or holds none."""
    record = read_json(path)
    if not isinstance(record, dict) or not isinstance(record.get("results"), list) or not record["results"]:
        raise WorkbenchError(f"{path} holds no results")
    return [RunResult.from_json(item) for item in record["results"]]


def rank_cutoffs(top_k: int) -> tuple[int, ...]:
    """Return the ranks that metrics are computed at: 1, 3, 5, 10 and top_k, as far as top_k goes."""
    return tuple(sorted({k for k in (*RANKS, top_k) if k <= top_k}))


def ann_recall(retriever: Any, examples: Sequence[Example], k: int) -> np.ndarray | None:
    """Return for each question the share of the k hits by exact search that an approximate index finds (VX11): (questions,).

    NaN where exact search has no hits; None where the retriever has no approximate index. It is asked for k hits, before any reranking;
    a deeper search, which a large budget makes, may miss more of its last hits.
    """
    dense = dense_part(retriever)
    if dense is None or not getattr(dense.index, "approximate", False):
        return None
    retriever = getattr(retriever, "retriever", retriever)
    exact = copy.copy(retriever)
    if retriever is not dense:
        exact.dense = copy.copy(dense)
    dense_part(exact).index = ExactIndex(dense.index.vectors, range(len(dense.chunks)))
    queries = retriever.vectorise(examples)
    shares = np.full(len(examples), math.nan)
    both = zip(retriever.retrieve(examples, k, queries), exact.retrieve(examples, k, queries), strict=True)
    for row, (found, right) in enumerate(both):
        if right:
            shares[row] = len({hit.chunk.id for hit in found} & {hit.chunk.id for hit in right}) / len(right)
    return shares


def score(
    dataset: Dataset, hits: Sequence[Sequence[Hit]], contexts: Sequence[Context], settings: Settings, tables: Mapping[str, TokenTable]
) -> dict[str, np.ndarray]:
    """Return every metric for every question of the data set (all must have evidence): metric -> (questions,)."""
    ks = rank_cutoffs(settings.top_k)
    rows = []
    for example, found, context in zip(dataset.examples, hits, contexts, strict=True):
        row: dict[str, float] = {}
        if not dataset.document_gold:
            for budget in settings.budgets:
                row[f"{metrics.BUDGET_METRIC}@{budget}t"] = metrics.evidence_recall(context.within(budget, tables), example, tables)
        rows.append(row | metrics.score_ranking(found, example, ks, tables))
    names = metrics.metric_names(ks, settings.budgets, dataset.document_gold)
    return {name: np.array([row[name] for row in rows]) for name in names}


def spread(values: np.ndarray, rows: Sequence[int], size: int) -> np.ndarray:
    """Return an array of `size` questions with the values at their rows and NaN elsewhere."""
    spread_out = np.full(size, math.nan)
    spread_out[list(rows)] = values
    return spread_out


def worst_questions(dataset: Dataset, hits: Sequence[Sequence[Hit]], scores: np.ndarray) -> Iterator[dict[str, Any]]:
    """Give the questions that lost most, in full, ties in order of their ids: plain JSON values."""
    documents = {document.id: document for document in dataset.documents}
    lost = [row for row in range(len(scores)) if scores[row] < 1]  # not the unscored ones
    for row in sorted(lost, key=lambda row: (scores[row], dataset.examples[row].id))[:FAILURES]:
        example = dataset.examples[row]
        ranks = metrics.first_ranks(hits[row], example)
        units = [(unit[0], {"rank": rank}) for unit, rank in zip(example.evidence, ranks, strict=True)]
        yield {"score": float(scores[row]), **in_full(example, units, hits[row], documents)}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
