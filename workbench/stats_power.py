"""Say which differences a number of questions shows, and how many questions a difference needs: planning before and after labelling.

A paired difference is tested by its t statistic, so its power follows the noncentral t distribution with the degrees of freedom of the test
(Bell and McCaffrey's, as stats.py gives them). A difference counts as shown only when the test finds it with its true sign. Variances of
questions that are alike within document groups follow the one-way random-effects model: sd² (1 + (m - 1) icc) / (G m) for G groups of m
questions (Kish 1965, section 5.4). All of this is as good as the standard error and the correlation it starts from: say "about".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench import stats
from workbench.datatypes import WorkbenchError

POWER = 0.8
CONFIDENCE = 0.95
# assumptions for planning without any result. On the demo documents, chunk sizes and embedders differ question by question by a standard
# deviation of 0.25 to 0.5 in evidence recall and of 0.1 to 0.2 in answer_f1, with a correlation of 0 to 0.1 within documents.
ASSUMED_SD = 0.35
ASSUMED_ICC = 0.1
ASSUMED_PER_GROUP = 5
MOST = 10**9  # document groups
BEYOND = 1e4  # critical values that no difference of scores reaches; scipy's noncentral t does not return for some above 1e5


@dataclass(frozen=True)
class Pilot:
    """Hold what is known, or assumed, of a paired difference: its mean, its spread over questions and how alike those of a group are."""

    difference: float  # NaN where it is only planned
    se: float
    freedom: float
    sizes: tuple[int, ...]  # questions of each document group
    sd: float  # of one question
    icc: float  # NaN where each question has a group of its own

    @property
    def questions(self) -> int:
        return sum(self.sizes)

    @property
    def groups(self) -> int:
        return len(self.sizes)

    def detectable(self, power: float = POWER, confidence: float = CONFIDENCE) -> float:
        """Return the smallest difference that these questions show."""
        return detectable(self.se, self.freedom, power, confidence)


@dataclass(frozen=True)
class Needed:
    """Hold how many questions show a difference, in total; infinite where no number does."""

    questions: float  # from new documents of the same kind, with as many questions a group as before
    groups: float  # these documents, in groups
    same_documents: float  # questions, where all are about the documents there are; NaN where nothing tells


def detectable(se: float, freedom: float, power: float = POWER, confidence: float = CONFIDENCE) -> float:
    """Return the smallest true difference that a two-sided t test finds with this power.

    `se` is the standard error of the difference and `freedom` its degrees of freedom. For simultaneous comparisons give the confidence of
    `single_confidence`. It is infinite where the critical value is above BEYOND: so few degrees of freedom show nothing.
    """
    if not (0 <= se < math.inf and 0 < freedom < math.inf):
        raise WorkbenchError(f"a smallest difference needs a standard error >= 0 and degrees of freedom > 0, got {se} and {freedom}")
    if not (0.5 <= power < 1 and 0.5 <= confidence < 1):
        raise WorkbenchError(f"power {power} and confidence {confidence} must be at least 0.5 and below 1")
    from scipy.special import nctdtrinc, stdtrit

    critical = stdtrit(freedom, 0.5 + confidence / 2)
    if not se:
        return 0.0
    return float(se * nctdtrinc(freedom, 1 - power, critical)) if critical <= BEYOND else math.inf


def single_confidence(critical: float, freedom: float) -> float:
    """Return the confidence of one t interval as wide as a simultaneous one with this critical value (half its width over its se)."""
    from scipy.special import stdtr

    return float(1 - 2 * stdtr(freedom, -critical))


def pilot(differences: Sequence[float] | np.ndarray, clusters: Sequence[str]) -> Pilot:
    """Measure a paired difference, question by question: its CR2 error, degrees of freedom and correlation within clusters."""
    interval = stats.difference_interval(differences, np.zeros(len(differences)), clusters)
    if interval.clusters < 2:
        raise WorkbenchError("one document group tells nothing about how differences vary; questions from two or more are needed")
    values = np.asarray(differences, dtype=float)
    _, sizes = stats.cluster_sums(values, clusters)
    sd, icc = float(values.std(ddof=1)), intraclass_correlation(values, clusters)
    return Pilot(interval.mean, interval.se, stats.degrees_of_freedom(sizes), tuple(sizes.tolist()), sd, icc)


def planned(sizes: Sequence[int], sd: float = ASSUMED_SD, icc: float = ASSUMED_ICC) -> Pilot:
    """Assume how a paired difference varies, for document groups of these numbers of questions."""
    if len(sizes) < 2 or min(sizes) < 1:
        raise WorkbenchError(f"a plan needs two document groups with a question each or more, got {len(sizes)}")
    if not 0 < sd < math.inf:
        raise WorkbenchError(f"the standard deviation of the paired difference must be above 0, got {sd}")
    if not 0 <= icc <= 1:
        raise WorkbenchError(f"the correlation of questions within a document group must lie within 0 and 1, got {icc}")
    counts = np.asarray(sizes, dtype=float)
    error = sd * math.sqrt(sum(_shares(counts, icc)))
    return Pilot(math.nan, error, stats.degrees_of_freedom(counts), tuple(sizes), sd, icc)


def intraclass_correlation(values: Sequence[float] | np.ndarray, clusters: Sequence[str]) -> float:
    """Return the correlation of questions within clusters, estimated by analysis of variance and clipped at 0 (Donner 1986).

    It is NaN where no cluster has two questions, where there is one cluster, and where nothing varies.
    """
    sample = np.asarray(values, dtype=float)
    sums, sizes = stats.cluster_sums(sample, clusters)
    n, groups = len(sample), len(sizes)
    if groups < 2 or n == groups:
        return math.nan
    total, between = float(((sample - sample.mean()) ** 2).sum()), float((sums**2 / sizes).sum())
    if total <= stats.STILL:
        return math.nan
    across, within = between / (groups - 1), max(0.0, total - between) / (n - groups)
    usual = (n - (sizes**2).sum() / n) / (groups - 1)  # questions of a cluster
    return max(0.0, float((across - within) / (across + (usual - 1) * within)))


def questions_needed(known: Pilot, difference: float, power: float = POWER, confidence: float = CONFIDENCE) -> Needed:
    """Return how many questions show a difference as large as this, whatever its sign.

    From new documents of the same kind, with as many questions each, the standard error falls with the root of the number of groups and
    the degrees of freedom rise with it. More questions about the same documents only shrink the part of the variance within groups.
    """
    if not math.isfinite(difference):
        raise WorkbenchError(f"a difference to plan for must be a number, got {difference}")
    if known.se <= stats.STILL:
        raise WorkbenchError("the difference is the same on every question, which tells nothing about how many are needed")
    size = abs(difference)
    groups = _groups_needed(known, size, power, confidence)
    questions = math.ceil(groups * known.questions / known.groups) if groups < math.inf else groups
    return Needed(questions, groups, _same(known, size, power, confidence))


def _groups_needed(known: Pilot, size: float, power: float, confidence: float) -> float:
    """Return the smallest number of groups, 2 at least, that shows a difference."""

    def enough(groups: int) -> bool:
        freedom = known.freedom * (groups - 1) / (known.groups - 1)
        if freedom < 1 - stats.STILL:  # as unequal as these, so few groups have no degrees of freedom
            return False
        return detectable(known.se * math.sqrt(known.groups / groups), freedom, power, confidence) <= size

    if enough(2):
        return 2
    low, high = 2, 4
    while not enough(high):
        low, high = high, 2 * high
        if high > MOST:
            return math.inf
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _same(known: Pilot, size: float, power: float, confidence: float) -> float:
    """Return how many questions about the same documents show a difference."""
    if math.isnan(known.icc):
        return math.nan
    within, between = _shares(np.asarray(known.sizes, dtype=float), known.icc)
    now = known.detectable(power, confidence)
    if now <= stats.STILL:
        return 0.0 if not size else float(known.questions)
    left = (within + between) * (size / now) ** 2 - between
    return math.ceil(known.questions * within / left) if left > stats.STILL else math.inf


def _shares(sizes: np.ndarray, icc: float) -> tuple[float, float]:
    """Return the variance of the mean that more questions a group shrink, and that which only more groups do, in units of sd²."""
    n = sizes.sum()
    return float((1 - icc) / n), float(icc * (sizes**2).sum() / n**2)
