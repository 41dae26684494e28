"""Compare runs on the same questions: leaderboard rows, the set that cannot be told from the best, and a verdict in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench import metrics, stats
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.metrics import ANSWER_METRICS
from workbench.metrics_answers import GOLD_METRICS
from workbench.registry import unknown
from workbench.report_costs import cheapest, contenders
from workbench.report_labels import is_control, labels
from workbench.report_ties import MOST_PAIRED, linearised, listed, standing, tested

MAX_LOST = 0.02  # share of the questions that may lack a score

EXTRACTIVE = "extractive"  # the generator that copies a sentence


@dataclass(frozen=True)
class Row:
    """Hold one candidate of a comparison."""

    result: RunResult
    label: str
    interval: stats.Interval
    difference: stats.Interval | None  # to the baseline, simultaneous; None for the baseline itself
    tied: bool  # not distinguishable from the best
    best: bool
    control: bool  # should lose
    behind: float = 0.0  # standard errors of the paired difference to the best
    compared: bool = True  # False: one of many that was tested in no pair and is not shown to be worse than the best


@dataclass(frozen=True)
class Comparison:
    """Hold candidates scored on the same questions, best first."""

    metric: str
    rows: tuple[Row, ...]
    baseline: str
    questions: int  # scored by every candidate that the metric is asked of
    clusters: int
    lost: float  # share of the questions that some candidate left without a score
    verdict: str


def check_comparable(results: Sequence[RunResult]) -> None:
    """Raise WorkbenchError unless all results come from the same questions of the same data (D22, ST1)."""
    if not results:
        raise WorkbenchError("nothing to compare: no results")
    first = results[0]
    for other in results[1:]:
        if other.data["fingerprint"] != first.data["fingerprint"]:
            raise WorkbenchError(
                f"{first.config_id} and {other.config_id} ran on different data; compare runs on the same data set version"
            )
        if other.example_ids != first.example_ids:
            raise WorkbenchError(
                f"{first.config_id} and {other.config_id} answered different questions; use the same split, limit and seed"
            )


def compare(
    results: Sequence[RunResult],
    metric: str | None = None,
    baseline: str | None = None,
    seed: int = 0,
    prices: Mapping[str, float] | None = None,
) -> Comparison:
    """Compare results question by question on one metric (default: their primary).

    `baseline` is a config id, default the first result that is no control. Differences to it are simultaneous (max-T); the tied set comes
    from max-T over all pairs, of more than MOST_PAIRED candidates over the pairs of the best (report_ties says why). Questions that any
    candidate left unscored are left out for all; more than 2 % of them refuse a verdict. The verdict names the cheapest of the tied set,
    at these prices (`report_costs.cheapest`).
    """
    check_comparable(results)
    metric = metric or results[0].settings.primary
    for result in results:
        metrics.check_metric(metric, list(result.scores))
    if metric in ANSWER_METRICS and len({tuple(answer["id"] for answer in result.answers) for result in results}) > 1:
        raise WorkbenchError(f"{metric}: the candidates answered different questions; use the same `answers` and seed")
    ids = [result.config_id for result in results]
    if baseline is not None and baseline not in ids:
        raise unknown("baseline", baseline, ids)
    base = ids.index(baseline or first_candidate(results))
    asked = np.stack([result.asked_of(metric) for result in results], axis=1)
    scored = np.stack([np.isfinite(np.asarray(result.scores[metric], dtype=float)) for result in results], axis=1)
    wanted = asked.any(axis=1)
    kept = wanted & (scored | ~asked).all(axis=1)
    if not (asked & kept[:, None]).any(axis=0).all():
        rows = tuple(
            Row(result, name, stats.NOTHING, None, False, False, False) for result, name in zip(results, labels(results), strict=True)
        )
        return Comparison(
            metric, rows, rows[base].label, 0, 0, 1.0, f"{metric}: no question was scored by every candidate, so nothing can be said."
        )
    asked = asked[kept]
    clusters = [cluster for cluster, keep in zip(results[0].clusters, kept, strict=True) if keep]
    values = [np.asarray(result.scores[metric], dtype=float)[kept] for result in results]
    table = np.stack([linearised(column, asked[:, i]) for i, column in enumerate(values)], axis=1)
    intervals = [_interval(column, asked[:, i], clusters) for i, column in enumerate(values)]
    # equal means: the fewer chunks, the better; then the label decides, so the order is always the same
    names = labels(results)
    order = sorted(range(len(results)), key=lambda i: (-round(intervals[i].mean, 9), results[i].details.get("chunks", 0), names[i]))
    found, controls = standing(table, asked, order, base, clusters, seed), _controls(results, metric)
    marks = [
        (found.differences.get((i, base)), i in found.tied, i == order[0], controls[i], found.behind[i], i in found.compared)
        for i in range(len(results))
    ]
    rows = tuple(Row(results[i], names[i], intervals[i], *marks[i]) for i in order)
    lost = float((wanted.sum() - kept.sum()) / wanted.sum())
    sentence = _verdict(rows, metric, names[base], len(clusters), len(set(clusters)), lost, prices)
    return Comparison(metric, rows, names[base], len(clusters), len(set(clusters)), lost, sentence)


def _controls(results: Sequence[RunResult], metric: str) -> list[bool]:
    """Tell which candidates should lose; among answers that is the extractive generator too, where others write them."""
    written = {result.settings.generator for result in results} - {"none", EXTRACTIVE}
    return [
        is_control(result.settings) or bool(metric in GOLD_METRICS and written and result.settings.generator == EXTRACTIVE)
        for result in results
    ]


def _interval(values: np.ndarray, asked: np.ndarray, clusters: Sequence[str]) -> stats.Interval:
    return stats.mean_interval(values[asked], [cluster for cluster, kept in zip(clusters, asked, strict=True) if kept])


def first_candidate(results: Sequence[RunResult]) -> str:
    """Return the config id of the first result that is no control, else of the first: the baseline where none is declared."""
    return next((result for result in results if not is_control(result.settings)), results[0]).config_id


def _verdict(
    rows: Sequence[Row], metric: str, baseline: str, questions: int, clusters: int, lost: float, prices: Mapping[str, float] | None
) -> str:
    head = f"{metric}, {questions} question{'s' * (questions != 1)} in {clusters} document group{'s' * (clusters != 1)}: "
    best = rows[0]
    if lost > MAX_LOST:
        return head + f"no verdict, because {lost:.1%} of the questions were not scored by every candidate."
    if len(rows) == 1:
        return head + f"{best.label} scores {format_interval(best.interval)}. Nothing to compare: there is one candidate."
    if clusters < 2:
        return head + f"{best.label} scores highest ({best.interval.mean:.3f}), but one document group cannot show any difference."
    words = head + f"{best.label} scores highest, {format_interval(best.interval)}. "
    ties, sure, far = [row for row in rows if row.tied and not row.best], f"95 %, {tested(len(rows))}", rows[MOST_PAIRED:]
    if len(ties) == len(rows) - 1:
        words += f"No difference shown: no candidate can be told from it at {sure}. "
    elif ties:
        words += f"Not distinguishable from it ({sure}): {listed([row.label for row in ties], len(rows))}. "
    else:
        words += f"It is better than {f'each of the {MOST_PAIRED - 1} next' if far else 'every other candidate'} ({sure}). "
    if far:
        worse = sum(row.compared for row in far)
        words += f"Of the other {len(far):,} candidates {worse:,} are worse than it (95 %, all candidates tested together)"
        words += f"; {len(far) - worse:,} are too close to tell and were not compared in pairs. " if worse < len(far) else ". "
    if ties:
        words += cheapest(contenders(rows), metric, prices)[1]
    if best.difference is not None:
        alone = best.difference.known and not best.difference.low <= 0 <= best.difference.high
        only = " (shown where only the pairs with the baseline are tested)" * (alone and any(row.difference is None for row in ties))
        words += f"Against the baseline {baseline}: {format_difference(best.difference)}{only}."
    else:
        words += "It is the baseline."
    if min(row.interval.clusters for row in rows) < stats.FEW_CLUSTERS:
        words += f" With fewer than {stats.FEW_CLUSTERS} document groups these intervals are rough."
    return words


def fixed_k_note(results: Sequence[RunResult], fixed: str, budget: str) -> str:
    """Say whether the best candidate at a fixed number of chunks is also best at an equal context budget (ST6); controls do not count."""
    check_comparable(results)
    scores = {metric: [result.values(metric)[0] for result in results] for metric in (fixed, budget)}
    if not all(map(len, (*scores[fixed], *scores[budget]))):
        return "No question was scored, so neither view prefers anything."
    names = labels(results)
    order = sorted(range(len(results)), key=lambda i: (results[i].details.get("chunks", 0), names[i]))
    candidates = [i for i in order if not is_control(results[i].settings)] or order
    at_k, at_budget = ({i: round(float(scores[metric][i].mean()), 9) for i in candidates} for metric in (fixed, budget))
    tops = [max(means.values()) for means in (at_k, at_budget)]
    left, right = ([i for i in candidates if means[i] == top] for means, top in zip((at_k, at_budget), tops, strict=True))
    both = [i for i in right if i in left]
    if both:
        return f"{fixed} and {budget} agree: {names[both[0]]} scores highest on both."
    sizes = [results[i].details["chunk_tokens_mean"] for i in (left[0], right[0])]
    reason = (
        "The same number of larger chunks buys more context, so the fixed-k view favours them"
        if sizes[0] > sizes[1]
        else "Larger chunks are not the reason here, since those of the first are no larger"
    )
    return (
        f"The two views disagree: {fixed} prefers {names[left[0]]} ({at_k[left[0]]:.3f}; its chunks average {sizes[0]:.0f} tokens), "
        f"{budget} prefers {names[right[0]]} ({at_budget[right[0]]:.3f}; {sizes[1]:.0f} tokens). {reason}; decide by the equal budget."
    )


def format_interval(interval: stats.Interval) -> str:
    """Render "0.712 [0.650, 0.774]", or the mean alone when the bounds are unknown."""
    if not interval.n:
        return "not scored"
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]" if interval.known else f"{interval.mean:.3f} [unknown]"


def format_difference(interval: stats.Interval) -> str:
    """Render "+0.050 [+0.010, +0.090], adjusted p 0.012"."""
    if not interval.known:
        return f"{interval.mean:+.3f} [unknown]"
    p = "< 0.001" if interval.p < 0.001 else f"{interval.p:.3f}"
    return f"{interval.mean:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}], adjusted p {p}"


def audit_errors(results: Sequence[RunResult]) -> list[str]:
    """Return the messages of failed audit checks."""
    return [f"{result.config_id} {check.id}: {check.message}" for result in results for check in result.audit if check.level == "error"]


def find_baseline(results: Sequence[RunResult], wanted: Mapping[str, Any]) -> str:
    """Return the config id of the first result with these settings that is no control; without any wish, that of `first_candidate`."""
    if not wanted:
        return first_candidate(results)
    same = [result for result in results if all(_fits(getattr(result.settings, field), value) for field, value in wanted.items())]
    for result in same:
        if not is_control(result.settings):
            return result.config_id
    problem = "only controls have the baseline's settings" if same else "no result has the baseline's settings"
    raise WorkbenchError(f"{problem} {dict(wanted)}")


def _fits(actual: Any, wanted: Any) -> bool:
    """Tell whether a setting has a value, or was resolved from it: "bm25:english" from "bm25"."""
    return actual == wanted or (isinstance(actual, str) and actual.partition(":")[0] == wanted)


def by_dataset(results: Sequence[RunResult]) -> Mapping[str, list[RunResult]]:
    """Group results that may be compared with one another: same data, same questions, same primary metric."""
    groups: dict[tuple[str, str, tuple[str, ...], str], list[RunResult]] = {}
    for result in results:
        key = (result.settings.dataset, result.data["fingerprint"], result.example_ids, result.settings.primary)
        groups.setdefault(key, []).append(result)
    names: dict[str, list[RunResult]] = {}
    for (name, print_, ids, primary), members in groups.items():
        settings = members[0].settings
        place = f"split {settings.split}, seed {settings.seed}, {len(ids)} questions, data {print_[:8]}, {primary}"
        free = (name, f"{name} ({place})", *(f"{name} ({place}, {number})" for number in range(2, len(groups) + 1)))
        names[next(title for title in free if title not in names)] = members
    return names
