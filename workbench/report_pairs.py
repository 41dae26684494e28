"""Put results from several files together, and compare two of them question by question."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from workbench import metrics, report, stats
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult, load_results
from workbench.metrics import ANSWER_METRICS
from workbench.report_effects import merge_seeds
from workbench.report_labels import labels
from workbench.report_power import asked_and_kept, paired_scores
from workbench.storage import read_json, sha256_file

RESULT, RECORD = "result.json", "record.json"


@dataclass(frozen=True)
class Candidate:
    """Hold one result, the names of the files or folders that hold it, and a label that no other candidate has."""

    result: RunResult  # several seeds of a configuration merged
    sources: tuple[str, ...]
    label: str

    @property
    def seeds(self) -> tuple[int, ...]:
        return _seeds(self.result)


@dataclass(frozen=True)
class Change:
    """Hold what two candidates score on one question; `question` is its text, "" where no record holds it."""

    id: str
    question: str
    left: float
    right: float

    @property
    def difference(self) -> float:
        return self.left - self.right


@dataclass(frozen=True)
class Pair:
    """Hold two candidates question by question: wins of the left one, and the mean of left - right with its interval."""

    metric: str
    left: Candidate
    right: Candidate
    interval: stats.Interval  # n 0 when no question was scored by both
    lost: float  # share of the questions asked that one of them left without a score
    changes: tuple[Change, ...]  # every question asked of both and scored by both, the largest change first

    @property
    def wins(self) -> int:
        return sum(change.difference > stats.STILL for change in self.changes)

    @property
    def losses(self) -> int:
        return sum(change.difference < -stats.STILL for change in self.changes)

    @property
    def ties(self) -> int:
        return len(self.changes) - self.wins - self.losses


def load_any(path: Path) -> list[RunResult]:
    """Read the results of a sweep's output folder, of a run folder or of a result.json.

    A result must be the one that its run recorded. Of a sweep's runs only those count that its record.json lists, where it has one, since
    runs of older data stay in the folder. Raise WorkbenchError naming the file that is missing, broken or changed.
    """
    if path.is_file():
        return _read(path)
    if (path / RESULT).is_file():
        return _read(path / RESULT)
    if not (path / "runs").is_dir():
        what = f"{path} holds neither {RESULT} nor runs" if path.is_dir() else f"no such file or folder: {path}"
        raise WorkbenchError(f"{what}; name the output folder of a sweep, the folder of a run, or a {RESULT}")
    return [result for folder in _runs(path) for result in _read(folder / RESULT, recorded=True)]


def _runs(path: Path) -> list[Path]:
    """Return the run folders of a sweep: those that its record lists, else all; what killed runs left behind starts with a dot."""
    folders = {folder.name: folder for folder in sorted((path / "runs").iterdir()) if folder.is_dir() and not folder.name.startswith(".")}
    if (path / RECORD).is_file():
        record = read_json(path / RECORD)
        names = record.get("runs") if isinstance(record, dict) else None
        if not isinstance(names, list) or not all(name in folders for name in map(str, names)):
            raise WorkbenchError(f"{path / RECORD} must list run folders that are in {path / 'runs'}; run the sweep again")
        folders = {str(name): folders[str(name)] for name in names}
    if not folders:
        raise WorkbenchError(f"{path / 'runs'} holds no run that ended well; run the sweep first")
    return list(folders.values())


def _read(path: Path, recorded: bool = False) -> list[RunResult]:
    """Read one result file; where a record stands beside it (it must where `recorded`), the file must be what it says (PM1)."""
    beside = path.with_name(RECORD)
    if recorded or beside.is_file():
        record = read_json(beside)
        if not path.is_file():
            raise WorkbenchError(f"no such file: {path}, although {beside} records it; run it again")
        if not isinstance(record, dict) or record.get("result") != sha256_file(path):
            raise WorkbenchError(f"{path} is not the result that {beside} records; run it again")
    try:
        return load_results(path)
    except WorkbenchError as error:
        raise WorkbenchError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def distinct(source: str, results: Sequence[RunResult]) -> list[RunResult]:
    """Return each result once; raise WorkbenchError where a configuration and seed has different scores on the same questions."""
    found: dict[tuple[Any, ...], RunResult] = {}
    for result in results:
        known = found.setdefault((result.data["fingerprint"], result.example_ids, result.config_id, result.settings.seed), result)
        if not _same(known, result):
            raise WorkbenchError(
                f"{source} has {result.config_id} (seed {result.settings.seed}) more than once, with different scores; name one {RESULT}"
            )
    return list(found.values())


def join(sources: Mapping[str, Sequence[RunResult]]) -> tuple[dict[str, list[Candidate]], list[str]]:
    """Return the candidates by data set, for data sets that stand in every source, and notes on what was left out.

    The seeds that a source has of a configuration are merged. Equal results (config id, seeds, scores) become one candidate. Raise
    WorkbenchError where two sources have different versions or different questions of one data set, or nothing in common (D22, ST1),
    where one contradicts itself, and where `merge_seeds` does.
    """
    found: dict[tuple[str, tuple[str, ...]], dict[str, list[RunResult]]] = {}
    for name, results in sources.items():
        for result in distinct(name, results):
            found.setdefault((result.data["fingerprint"], result.example_ids), {}).setdefault(name, []).append(result)
    partial = [places for places in found.values() if len(places) < len(sources)]
    firsts = [next((name, results[0]) for name, results in places.items()) for places in partial]
    for number, (name, result) in enumerate(firsts):
        for other, different in firsts[:number]:
            alike = result.settings.dataset == different.settings.dataset or result.data["fingerprint"] == different.data["fingerprint"]
            if alike and name != other:
                raise WorkbenchError(apart(other, different, name, result))
    shared = [places for places in found.values() if len(places) == len(sources)]
    if not shared:
        held = "; ".join(f"{name} has {_data(result)}" for name, result in firsts)
        raise WorkbenchError(f"no data set stands in all of them, so nothing can be compared: {held}; run each on the same data")
    groups: dict[str, list[Candidate]] = {}
    for places in shared:
        first = next(iter(places.values()))[0].settings
        names = (first.dataset, f"{first.dataset} (split {first.split}, limit {first.limit}, seed {first.seed})")
        title = next((name for name in names if name not in groups), f"{names[1]} {len(groups) + 1}")
        groups[title] = _candidates({name: merge_seeds(results) for name, results in places.items()})
    left_out = zip(partial, firsts, strict=True)
    notes = [f"left out, because it is only in {' and '.join(places)}: {_data(result)}" for places, (_, result) in left_out]
    return groups, notes


def apart(name: str, result: RunResult, other: str, different: RunResult) -> str:
    """Say that two results cannot be paired: which of two named files has what, and what would be right."""
    if result.data["fingerprint"] != different.data["fingerprint"]:
        what, right = "different data", "the same version of the data"
    else:
        what, right = "different questions", "the same split, limit and seed"
    return f"{name} and {other} have {what}: {name} has {_data(result)}; {other} has {_data(different)}; run both on {right}"


def _data(result: RunResult) -> str:
    settings, print_ = result.settings, str(result.data["fingerprint"])[:12]
    asked = f"split {settings.split}, limit {settings.limit}, seed {settings.seed}, {len(result.example_ids)} questions"
    return f"{settings.dataset} (data {print_}, {asked})"


def _candidates(places: Mapping[str, Sequence[RunResult]]) -> list[Candidate]:
    """Make equal results one, and give each of the others a label of its own: by its source where the configuration is the same."""
    merged: list[tuple[RunResult, list[str]]] = []
    for name, results in places.items():
        for result in results:
            same = next((held for known, held in merged if _same(known, result)), None)
            if same is None:
                merged.append((result, [name]))
            else:
                same.append(name)
    results = [result for result, _ in merged]
    if any(len(_seeds(result)) > 1 for result in results):  # one seed would name only the first of them
        results = [replace(result, settings=result.settings.replace(seed=0)) for result in results]
    names = labels(results)
    names = [
        label if names.count(label) == 1 else f"{label} · {' and '.join(held)}" for label, (_, held) in zip(names, merged, strict=True)
    ]
    return [Candidate(result, tuple(held), label) for label, (result, held) in zip(names, merged, strict=True)]


def _same(left: RunResult, right: RunResult) -> bool:
    return (left.config_id, _seeds(left), [*left.scores]) == (right.config_id, _seeds(right), [*right.scores]) and all(
        np.array_equal(left.scores[metric], right.scores[metric], equal_nan=True) for metric in left.scores
    )


def _seeds(result: RunResult) -> tuple[int, ...]:
    return tuple(result.details.get("seeds", (result.settings.seed,)))


def joint(candidates: Sequence[Candidate], metric: str | None = None, baseline: Candidate | None = None) -> report.Comparison:
    """Compare candidates of several sources as `report.compare` does, under their own labels and with its baseline."""
    primaries = {candidate.result.settings.primary: candidate for candidate in candidates}
    if metric is None and len(primaries) > 1:
        said = ", ".join(f"{name} in {candidate.sources[0]}" for name, candidate in primaries.items())
        raise WorkbenchError(f"the primary metrics differ ({said}); name the metric to compare by (--metric)")
    first = report.first_candidate([candidate.result for candidate in candidates])
    base = baseline or next(candidate for candidate in candidates if candidate.result.config_id == first)
    ordered = [base, *(candidate for candidate in candidates if candidate is not base)]
    comparison = report.compare([candidate.result for candidate in ordered], metric, base.result.config_id)
    named = {id(candidate.result): candidate.label for candidate in ordered}
    rows = tuple(replace(row, label=named[id(row.result)]) for row in comparison.rows)
    verdict = comparison.verdict
    if comparison.questions:
        verdict = report._verdict(rows, comparison.metric, base.label, comparison.questions, comparison.clusters, comparison.lost, None)
    return replace(comparison, rows=rows, baseline=base.label, verdict=verdict)


def find(candidates: Sequence[Candidate], wanted: str, source: str = "") -> Candidate:
    """Return the candidate with this config id or a prefix of it that only it has; of several, the only one in `source`."""
    found = [candidate for candidate in candidates if wanted and candidate.result.config_id.startswith(wanted)]
    if len(found) > 1:
        found = [candidate for candidate in found if source in candidate.sources] or found
    if len(found) != 1:
        what = f"{wanted!r} fits {len(found)} configurations" if found else f"no configuration has the config id {wanted!r}"
        raise WorkbenchError(f"{what}; there are: {listed(found or candidates)}")
    return found[0]


def listed(candidates: Iterable[Candidate]) -> str:
    """Name candidates by config id, label and where they are."""
    return ", ".join(f"{one.result.config_id} ({one.label}, in {' and '.join(one.sources)})" for one in candidates)


def pair(left: Candidate, right: Candidate, metric: str, among: Iterable[RunResult] = ()) -> Pair:
    """Compare two candidates question by question; texts of questions come from the records of these two and of those `among`."""
    one, other = left.result, right.result
    texts = questions([one, other, *among])
    interval, lost = difference(one, other, metric)
    scores = np.stack([np.asarray(result.scores[metric], dtype=float) for result in (one, other)])
    both = np.isfinite(scores).all(axis=0) & one.asked_of(metric) & other.asked_of(metric)
    ids = [one.example_ids[row] for row in np.flatnonzero(both)]
    changes = [Change(id, texts.get(id, ""), *values) for id, values in zip(ids, scores[:, both].T.tolist(), strict=True)]
    changes.sort(key=lambda change: (-abs(round(change.difference, 9)), change.id))
    return Pair(metric, left, right, interval, lost, tuple(changes))


def difference(left: RunResult, right: RunResult, metric: str) -> tuple[stats.Interval, float]:
    """Return the paired difference left - right, with n 0 when no question was scored by both, and the share of the questions that is lost.

    Where a metric asks each of other questions (refusal precision: of what it refused), the difference is that of the two means.
    """
    for result in (left, right):
        metrics.check_metric(metric, list(result.scores))
    if metric in ANSWER_METRICS and [answer["id"] for answer in left.answers] != [answer["id"] for answer in right.answers]:
        raise WorkbenchError(f"{metric}: not the same questions were answered; use the same `answers` and seed for both")
    asked, kept = asked_and_kept([left, right], metric)
    own = asked[kept].T
    if not own.any(axis=1).all():
        return stats.NOTHING, 1.0
    table, clusters = paired_scores([left, right], metric)
    interval = stats.difference_interval(table[:, 0], table[:, 1], clusters)
    still = np.ptp(table, axis=0) <= stats.STILL
    few = np.array([len(set(compress(clusters, column))) < stats.FEW_CLUSTERS for column in own])
    if (still & few).any() and (own[0] != own[1]).any():
        # as in report.compare: a side that never varies, on few groups of its own questions, does not tell how sure its mean is
        interval = replace(interval, low=math.nan, high=math.nan, p=math.nan)
    return interval, float(1 - kept.sum() / asked.any(axis=1).sum())


def questions(results: Iterable[RunResult]) -> dict[str, str]:
    """Return the texts of questions by id, as far as answers, failures and diagnosed cases hold them."""
    texts: dict[str, str] = {}
    for result in results:
        for record in (*result.answers, *result.failures, *result.cases):
            texts.setdefault(str(record["id"]), str(record["question"]))
    return texts
