"""Say which differences the questions of a comparison show, and about how many more would tell two candidates apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

import numpy as np

from workbench import stats, stats_power
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.report import MAX_LOST, Comparison, Row, linearised
from workbench.stats_power import Needed, Pilot

ABSURD = 10_000  # questions that nobody labels to settle one difference
APART = 1.5  # ratio of the two ways to add questions from which both are told


@dataclass(frozen=True)
class Pair:
    """Hold how a candidate differs from the baseline, and what these questions show of it."""

    row: Row
    pilot: Pilot
    single: float  # smallest difference shown where only these two are compared
    together: float  # where all candidates are compared with the baseline at once


def asked_and_kept(results: Sequence[RunResult], metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return which questions a metric asks, (questions, results), and which of them no result left unscored, (questions,)."""
    asked = np.stack([result.asked_of(metric) for result in results], axis=1)
    scored = np.stack([np.isfinite(np.asarray(result.scores[metric], dtype=float)) for result in results], axis=1)
    return asked, asked.any(axis=1) & (scored | ~asked).all(axis=1)


def paired_scores(results: Sequence[RunResult], metric: str) -> tuple[np.ndarray, list[str]]:
    """Return the scores that a comparison pairs, (questions, results), and their clusters: of the questions that no result left unscored.

    A metric asked of some questions only is linearised, as in `report.compare`. No such question raises WorkbenchError.
    """
    asked, kept = asked_and_kept(results, metric)
    if not asked[kept].any(axis=0).all():
        raise WorkbenchError(f"{metric}: no question was scored by every candidate")
    columns = zip(results, asked[kept].T, strict=True)
    table = np.stack([linearised(np.asarray(result.scores[metric], dtype=float)[kept], own) for result, own in columns], axis=1)
    return table, [cluster for cluster, keep in zip(results[0].clusters, kept, strict=True) if keep]


def pairs(comparison: Comparison) -> list[Pair]:
    """Return how each candidate differs from the baseline, in the order of the rows; controls only where there is nothing else.

    Left out are candidates that differ from it by the same on every question: nothing tells what more questions would show.
    """
    return [_pair(comparison, row) for row in _differing(comparison)]


def _differing(comparison: Comparison) -> list[Row]:
    rows = [row for row in comparison.rows if row.difference is not None and row.difference.known and row.difference.se > stats.STILL]
    return [row for row in rows if not row.control] or rows


def _pair(comparison: Comparison, row: Row) -> Pair:
    pilot, difference = _pilot(comparison, row, _baseline(comparison)), row.difference
    critical = (difference.high - difference.low) / 2 / difference.se
    confidence = stats_power.single_confidence(critical, pilot.freedom)
    return Pair(row, pilot, pilot.detectable(), pilot.detectable(confidence=confidence))


def typical(comparison: Comparison) -> Pair | None:
    """Return the pair with the median standard error; None where nothing varies."""
    rows = _differing(comparison)
    middle = median_low(row.difference.se for row in rows) if rows else math.nan
    return next((_pair(comparison, row) for row in rows if row.difference.se == middle), None)


def power_sentences(comparison: Comparison) -> list[str]:
    """Say the smallest difference that the questions show, and about how many more would tell the best from its nearest rivals.

    Rivals are the best other candidate that is tied with it, and the baseline where no difference to it is shown. Where the comparison
    gives no verdict, or nothing varies, there is nothing to say.
    """
    usual = typical(comparison) if comparison.lost <= MAX_LOST and comparison.questions else None
    if usual is None:
        return []
    count = sum(row.difference is not None for row in comparison.rows)
    words = f"{_counted(comparison.questions, 'question')} in {_counted(comparison.clusters, 'document group')} show a difference "
    words += f"between two candidates of about {usual.single:.3f} or more, if only the two are compared (power 80 %, two-sided 5 %)"
    words += f", and of about {usual.together:.3f} or more, if all {count} are compared with the baseline at once" * (count > 1)
    if comparison.clusters < stats.FEW_CLUSTERS:
        words += f"; with fewer than {stats.FEW_CLUSTERS} document groups these figures are rough"
    best = next((row for row in comparison.rows if not row.control), comparison.rows[0])
    nearest = next((row for row in comparison.rows if row.tied and not row.control and row is not best), None)
    base = _baseline(comparison)
    rivals = [nearest] if nearest else []
    if base is not best and base is not nearest and best.difference.low <= 0 <= best.difference.high:
        rivals.append(base)
    return [words + ".", *filter(None, (_apart(comparison, best, rival) for rival in rivals))]


def _apart(comparison: Comparison, best: Row, other: Row) -> str:
    """Say about how many more questions tell two candidates from each other; "" where they differ by the same on every question."""
    pilot = _pilot(comparison, best, other)
    if pilot.se <= stats.STILL:
        return ""
    needed = stats_power.questions_needed(pilot, pilot.difference)
    more, seen = needed.questions - pilot.questions, f"if the difference is what it looks like ({pilot.difference:+.3f})"
    if more > ABSURD:
        return f"More labels will not settle {best.label} against {other.label}: the difference ({pilot.difference:+.3f}) is too small."
    if more <= 0:
        return (
            f"This many questions tell {best.label} from {other.label} where only the two are compared, {seen}; confirm it on "
            "others, since these chose the pair."
        )
    return (
        f"To tell {best.label} from {other.label}, label about {rounded(more)} more questions from about "
        f"{rounded(needed.groups - pilot.groups)} more document groups of the same kind, {seen} and only the two are compared."
        f"{same_documents(needed, pilot.questions)}"
    )


def same_documents(needed: Needed, present: int = 0) -> str:
    """Say how many questions it takes without new documents, beyond those present, where that differs much."""
    if math.isnan(needed.same_documents):
        return ""
    among, new = needed.same_documents - present, needed.questions - present
    if among <= APART * new:
        return ""
    if among > ABSURD:
        return " More questions about the same documents alone would not do."
    return f" About the same documents it takes about {rounded(among)}{' more' * bool(present)}."


def rounded(number: float) -> str:
    """Write a count with two significant figures, rounded up: "about" is all that is known."""
    step = 10 ** max(0, math.floor(math.log10(max(1, number))) - 1)
    return f"{math.ceil(number / step) * step:,}"


def _pilot(comparison: Comparison, left: Row, right: Row) -> Pilot:
    table, clusters = paired_scores([row.result for row in comparison.rows], comparison.metric)
    first, second = (next(place for place, row in enumerate(comparison.rows) if row is one) for one in (left, right))
    return stats_power.pilot(table[:, first] - table[:, second], clusters)


def _baseline(comparison: Comparison) -> Row:
    return next(row for row in comparison.rows if row.difference is None)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
