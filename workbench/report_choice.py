"""Choose a candidate on some questions, and say what it scores on others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from workbench import stats
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.report import MAX_LOST, Comparison, Row, compare, format_difference, format_interval
from workbench.report_costs import cheapest, contenders
from workbench.report_ties import listed

FEWEST = 3  # document groups that can show a difference


def choose(comparison: Comparison, prices: Mapping[str, float] | None = None) -> RunResult:
    """Return the cheapest of `report_costs.contenders`; raise WorkbenchError where too few questions or document groups tell them apart.

    Its score on the questions that chose it is flattered (ST2): confirm it on others.
    """
    tied = contenders(comparison.rows)
    if not comparison.questions:
        raise WorkbenchError(comparison.verdict)
    if comparison.lost > MAX_LOST:
        raise WorkbenchError(f"{comparison.metric}: {comparison.lost:.1%} of the questions lack a score, so nothing can be chosen")
    if len(comparison.rows) > 1 and comparison.clusters < FEWEST:
        raise WorkbenchError(
            f"{comparison.metric}: questions about {comparison.clusters} document group{'s' * (comparison.clusters != 1)} cannot show any "
            f"difference, so nothing can be chosen; ask about {FEWEST} groups at least"
        )
    return tied[cheapest(tied, comparison.metric, prices)[0]].result


def shrinkage(before: stats.Interval, after: stats.Interval, clusters: tuple[Sequence[str], Sequence[str]]) -> stats.Interval:
    """Return the score on the questions that chose minus that on others, which share no document group; `clusters` are those of either.

    The interval is Welch's: both standard errors, each with its own degrees of freedom (Satterthwaite). Where one score does not vary
    (all answers are right), the intervals of both are combined instead (MOVER; Newcombe 1998), so that it keeps a width. It is unknown
    where one of the two is; p is not computed.
    """
    mean, error = before.mean - after.mean, math.hypot(before.se, after.se)
    low = high = math.nan
    if before.known and after.known and min(before.se, after.se) > stats.STILL:
        freedoms = [stats.degrees_of_freedom(np.unique(names, return_counts=True)[1]) for names in clusters]
        freedom = error**4 / sum(one.se**4 / own for one, own in zip((before, after), freedoms, strict=True))
        reach = stats._t_quantile(0.95, freedom) * error
        low, high = mean - reach, mean + reach
    elif before.known and after.known:
        low = mean - math.hypot(before.mean - before.low, after.high - after.mean)
        high = mean + math.hypot(before.high - before.mean, after.mean - after.low)
    return stats.Interval(mean, low, high, before.n + after.n, before.clusters + after.clusters, error)


def declared(confirmed: Comparison, row: Row, seed: int = 0) -> Row:
    """Return a row whose difference to the baseline is the only one tested: it was declared before these questions were looked at."""
    base = next(other for other in confirmed.rows if other.difference is None)
    if base is row:
        return row
    pair = compare([base.result, row.result], confirmed.metric, seed=seed)
    return replace(row, difference=next(other.difference for other in pair.rows if other.difference is not None))


def confirmation(chosen: RunResult, confirmed: Comparison) -> str:
    """Say what a candidate that was chosen on some questions scores on others, and whether it beats the baseline there.

    `confirmed` compares the candidate, the baseline and controls on questions that chose nothing.
    """
    metric = confirmed.metric
    rows = [row for row in confirmed.rows if row.result.settings.replace(split=chosen.settings.split) == chosen.settings]
    if len(rows) != 1 or not confirmed.questions:
        raise WorkbenchError(f"{metric}: the confirmation must score the candidate {chosen.config_id} that was chosen")
    if shared := len({*rows[0].result.example_ids} & {*chosen.example_ids}):
        raise WorkbenchError(f"{metric}: {shared} of the questions that chose {chosen.config_id} are asked again; confirm it on others")
    row, before = declared(confirmed, rows[0]), chosen.interval(metric)
    lost = shrinkage(before, row.interval, (chosen.values(metric)[1], row.result.values(metric)[1]))
    return confirmed_words(row, before, lost, confirmed)


def confirmed_words(row: Row, before: stats.Interval, lost: stats.Interval, confirmed: Comparison) -> str:
    """Say what a confirmed candidate scored on the questions that chose it and on these, and its difference to the baseline."""
    words = (
        f"{row.label} was chosen on {before.n} questions, where it scores {format_interval(before)}. On {confirmed.questions} others, in "
        f"{confirmed.clusters} document groups that chose nothing, it scores {format_interval(row.interval)} ({confirmed.metric}). "
    )
    if confirmed.lost > MAX_LOST:
        return words + f"No verdict, because {confirmed.lost:.1%} of the questions were not scored by every candidate."
    words += f"{_shrunk(lost)}{keeping_up(row, confirmed)}{rough(confirmed)}"
    if row.difference is None:
        return words + "It is the baseline: no other candidate was shown to be better."
    shown = row.difference.known and not row.difference.low <= 0 <= row.difference.high
    better = "better than" if row.difference.mean > 0 else "worse than"
    tail = f"{better} the baseline {confirmed.baseline}" if shown else f"not distinguishable from the baseline {confirmed.baseline}"
    return words + f"It is {tail}: {format_difference(row.difference)}."


def _shrunk(interval: stats.Interval) -> str:
    """Say what a score lost from the questions that chose to the others."""
    words = f"Shrinkage, the first score minus the second: {interval.mean:+.3f} "
    if not interval.known:
        return words + "[unknown]. "
    tail = "no more than chance explains"
    if interval.low > 0:
        tail = "more than chance explains, so trust the second"
    elif interval.high < 0:
        tail = "less than chance explains, so the second questions are easier"
    return words + f"[{interval.low:+.3f}, {interval.high:+.3f}], {tail}. "


def keeping_up(row: Row, comparison: Comparison) -> str:
    """Name the controls that score no lower than a candidate: they should."""
    high = [other for other in comparison.rows if other.control and other is not row and other.interval.mean >= row.interval.mean]
    named = listed([f"{other.label} ({other.interval.mean:.3f})" for other in high], len(comparison.rows))
    return f"A control scores no lower, so this shows no gain: {named}. " if named else ""


def rough(comparison: Comparison) -> str:
    """Warn of intervals from few document groups."""
    few = comparison.clusters < stats.FEW_CLUSTERS
    return f"With fewer than {stats.FEW_CLUSTERS} document groups these intervals are rough. " if few else ""
