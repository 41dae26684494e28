"""Choose a candidate on some questions, and say what it scores on others."""

from __future__ import annotations

from workbench import stats
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.report import MAX_LOST, Comparison, Row, format_difference, format_interval
from workbench.report_costs import cheapest


def choose(comparison: Comparison) -> RunResult:
    """Return the cheapest candidate that cannot be told from the best, else the best of those that are no controls.

    Its score on the questions that chose it is flattered (ST2): confirm it on others.
    """
    candidates = [row for row in comparison.rows if not row.control] or list(comparison.rows)
    tied = [row for row in candidates if row.tied] or candidates[:1]
    if comparison.lost > MAX_LOST:
        raise WorkbenchError(f"{comparison.metric}: {comparison.lost:.1%} of the questions lack a score, so nothing can be chosen")
    return tied[cheapest([(row.label, row.result) for row in tied], comparison.metric)[0]].result


def confirmation(chosen: RunResult, confirmed: Comparison) -> str:
    """Say what a candidate that was chosen on some questions scores on others, and whether it beats the baseline there.

    `confirmed` compares the candidate, the baseline and controls on questions that chose nothing.
    """
    metric, before = confirmed.metric, chosen.interval(confirmed.metric)
    rows = [row for row in confirmed.rows if row.result.settings.replace(split=chosen.settings.split) == chosen.settings]
    if len(rows) != 1 or not confirmed.questions:
        raise WorkbenchError(f"{metric}: the confirmation must score the candidate {chosen.config_id} that was chosen")
    row = rows[0]
    if shared := len({*row.result.example_ids} & {*chosen.example_ids}):
        raise WorkbenchError(f"{metric}: {shared} of the questions that chose {chosen.config_id} are asked again; confirm it on others")
    words = (
        f"{row.label} was chosen on {before.n} questions, where it scores {format_interval(before)}. On {confirmed.questions} others, in "
        f"{confirmed.clusters} document groups that chose nothing, it scores {format_interval(row.interval)} ({metric}). "
    )
    if confirmed.lost > MAX_LOST:
        return words + f"No verdict, because {confirmed.lost:.1%} of the questions were not scored by every candidate."
    words += _keeping_up(row, confirmed)
    if confirmed.clusters < stats.FEW_CLUSTERS:
        words += f"With fewer than {stats.FEW_CLUSTERS} document groups these intervals are rough. "
    if row.difference is None:
        return words + "It is the baseline: no dearer candidate was shown to be better."
    shown = row.difference.known and not row.difference.low <= 0 <= row.difference.high
    better = "better than" if row.difference.mean > 0 else "worse than"
    tail = f"{better} the baseline {confirmed.baseline}" if shown else f"not distinguishable from the baseline {confirmed.baseline}"
    return words + f"It is {tail}: {format_difference(row.difference)}."


def _keeping_up(row: Row, confirmed: Comparison) -> str:
    """Name the controls that score no lower than a candidate: they should."""
    high = [other for other in confirmed.rows if other.control and other.interval.mean >= row.interval.mean]
    named = ", ".join(f"{other.label} ({other.interval.mean:.3f})" for other in high)
    return f"A control scores no lower, so this shows no gain: {named}. " if named else ""
