"""Say how sure a number is: arrays in, numbers out; every draw takes a seed.

Questions about one document are alike, so standard errors are clustered by document group (CR1: cluster-robust with the G / (G - 1)
correction, t with G - 1 degrees of freedom; Cameron and Miller 2015). Simultaneous statements use the maximum of the absolute t statistics under a
wild cluster bootstrap with Rademacher weights (max-T; Westfall and Young 1993, Cameron, Gelbach and Miller 2008).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.datatypes import WorkbenchError

FEW_CLUSTERS = 12
DRAWS = 4000


@dataclass(frozen=True)
class Interval:
    """Hold an estimate with its 95 % interval; `low` and `high` are NaN when there are fewer than two clusters."""

    mean: float
    low: float
    high: float
    n: int
    clusters: int
    se: float = math.nan
    p: float = math.nan  # two-sided, against zero

    @property
    def known(self) -> bool:
        return not math.isnan(self.low)


def cluster_sums(values: np.ndarray, clusters: Sequence[str]) -> np.ndarray:
    """Sum the deviations from the mean within each cluster; values (n,) or (n, m) give (G,) or (G, m)."""
    labels = np.unique(np.asarray(clusters, dtype=object).astype(str), return_inverse=True)[1]
    deviations = values - values.mean(axis=0)
    sums = np.zeros((labels.max() + 1, *values.shape[1:]))
    np.add.at(sums, labels, deviations)
    return sums


def standard_error(values: np.ndarray, clusters: Sequence[str]) -> np.ndarray:
    """Return the CR1 standard error of the mean of each column; NaN with one cluster."""
    sums = cluster_sums(values, clusters)
    groups = len(sums)
    if groups < 2:
        return np.full(values.shape[1:], np.nan)
    return np.sqrt(groups / (groups - 1) * (sums**2).sum(axis=0)) / len(values)


def mean_interval(values: Sequence[float], clusters: Sequence[str], confidence: float = 0.95) -> Interval:
    """Return the mean with its cluster-robust interval and p against zero; an empty sample raises WorkbenchError (ST8).

    A sample without any variation between clusters whose values are all 0 or all 1 gets the Wilson interval of as many independent clusters,
    since a width of zero would be untrue (ST4, D13).
    """
    sample = _sample(values, clusters)
    groups = len(set(clusters))
    mean = float(sample.mean())
    error = float(standard_error(sample, clusters))
    if groups < 2:
        return Interval(mean, math.nan, math.nan, len(sample), groups)
    if error == 0 and mean in (0.0, 1.0):
        low, high = wilson(round(mean * groups), groups, confidence)
        return Interval(mean, low, high, len(sample), groups, 0.0)
    reach = _t_quantile(confidence, groups) * error
    return Interval(mean, mean - reach, mean + reach, len(sample), groups, error, _p_value(mean, error, groups))


def difference_interval(left: Sequence[float], right: Sequence[float], clusters: Sequence[str], confidence: float = 0.95) -> Interval:
    """Return the paired difference left - right, question by question; without any variation of the differences the interval is unknown unless they are all 0."""
    if len(left) != len(right):
        raise WorkbenchError(f"paired comparison needs the same questions on both sides, got {len(left)} and {len(right)}")
    differences = _sample(left, clusters) - _sample(right, clusters)
    groups = len(set(clusters))
    mean, error = float(differences.mean()), float(standard_error(differences, clusters))
    if groups < 2:
        return Interval(mean, math.nan, math.nan, len(differences), groups)
    reach = _t_quantile(confidence, groups) * error
    return Interval(mean, mean - reach, mean + reach, len(differences), groups, error, _p_value(mean, error, groups))


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a proportion of independent items."""
    if n < 1 or not 0 <= successes <= n:
        raise WorkbenchError(f"a proportion needs 0 <= successes <= n and n >= 1, got {successes} of {n}")
    from scipy.special import ndtri

    z = float(ndtri(0.5 + confidence / 2))
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - reach), min(1.0, centre + reach)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values, in the order given; NaN stays NaN and is not counted."""
    known = sorted((p, number) for number, p in enumerate(p_values) if not math.isnan(p))
    adjusted = [math.nan] * len(p_values)
    highest = 0.0
    for rank, (p, number) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        adjusted[number] = highest
    return adjusted


def max_t(differences: np.ndarray, clusters: Sequence[str], seed: int, confidence: float = 0.95, draws: int = DRAWS) -> list[Interval]:
    """Return simultaneous intervals for the mean of each column of paired differences (n, m), with max-T adjusted p-values.

    All intervals hold together with the given confidence. The critical value is never below that of a single t test. Columns without any
    variation get the interval of their mean with zero width and p = 1 where the mean is 0.
    """
    differences = np.asarray(differences, dtype=float)
    n, columns = differences.shape
    if not columns:
        return []
    means = differences.mean(axis=0)
    groups = len(set(clusters))
    if groups < 2:
        return [Interval(float(mean), math.nan, math.nan, n, groups) for mean in means]
    sums = cluster_sums(differences, clusters)
    errors = standard_error(differences, clusters)
    moving = errors > 1e-12
    weights = np.random.default_rng(seed).choice((-1.0, 1.0), size=(draws, groups))
    highest = np.zeros(draws)
    statistics = np.zeros(columns)
    if moving.any():
        statistics[moving] = np.abs(means[moving]) / errors[moving]
        drawn = weights @ sums[:, moving]
        # each draw is studentised by its own standard error: the weighted sums are recentred on their mean
        squares = (sums[:, moving] ** 2).sum(axis=0) - drawn**2 / groups
        with np.errstate(divide="ignore", invalid="ignore"):
            studentised = np.abs(drawn) / np.sqrt(groups / (groups - 1) * squares)
        highest = np.nan_to_num(studentised, nan=np.inf).max(axis=1)
    critical = max(float(np.quantile(highest, confidence)), _t_quantile(confidence, groups))
    intervals = []
    for mean, error, statistic, moves in zip(means, errors, statistics, moving, strict=True):
        if moves:
            p = max((1 + int((highest >= statistic).sum())) / (draws + 1), _p_value(float(mean), float(error), groups))
        else:
            p = 1.0 if mean == 0 else 0.0
        reach = critical * error if moves else 0.0
        intervals.append(Interval(float(mean), float(mean - reach), float(mean + reach), n, groups, float(error), p))
    return intervals


def _sample(values: Sequence[float], clusters: Sequence[str]) -> np.ndarray:
    sample = np.asarray(values, dtype=float)
    if sample.size == 0:
        raise WorkbenchError("nothing to average: no question was scored")
    if len(sample) != len(clusters):
        raise WorkbenchError(f"{len(sample)} values but {len(clusters)} cluster labels")
    if not np.isfinite(sample).all():
        raise WorkbenchError("values to average must be finite; leave unscored questions out and count them")
    return sample


def _t_quantile(confidence: float, groups: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(groups - 1, 0.5 + confidence / 2))


def _p_value(mean: float, error: float, groups: int) -> float:
    from scipy.special import stdtr

    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(groups - 1, -abs(mean) / error))
