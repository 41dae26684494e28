"""Say how sure a number is: arrays in, numbers out; every draw takes a seed.

Questions about one document are alike, so standard errors are clustered by document group: CR2 with the degrees of freedom of Bell and
McCaffrey (2002; Pustejovsky and Tipton 2018). For clusters of equal size that is CR1 with G - 1 degrees of freedom; for unequal ones CR1 is
too narrow, as benchmarks/simulate_intervals.py shows. Means of scores between 0 and 1 get Wilson's interval at the effective number of
questions, mean (1 - mean) / se² (Dean and Pagano 2015). Simultaneous statements use the largest absolute t statistic under a wild cluster
bootstrap with Rademacher weights (max-T; Westfall and Young 1993; Cameron, Gelbach and Miller 2008).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.datatypes import WorkbenchError

FEW_CLUSTERS = 12
DRAWS = 4000
STILL = 1e-12  # a standard error up to this is rounding, not variation
BLOCK = 512  # columns that one step of max-T holds in memory


@dataclass(frozen=True)
class Interval:
    """Hold an estimate with its 95 % interval; `low` and `high` are NaN when the sample cannot tell (as with fewer than two clusters)."""

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


NOTHING = Interval(math.nan, math.nan, math.nan, 0, 0)  # of no question at all


def cluster_sums(values: np.ndarray, clusters: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Sum the deviations from the mean within each cluster: values (n,) or (n, m) give sums (G,) or (G, m), and the cluster sizes (G,)."""
    labels, sizes = _numbered(tuple(map(str, clusters)))
    sums = np.zeros((len(sizes), *values.shape[1:]))
    np.add.at(sums, labels, values - values.mean(axis=0))
    return sums, sizes


@functools.lru_cache(maxsize=64)
def _numbered(clusters: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the cluster of each question (n,) and the cluster sizes (G,); thousands of candidates ask the same questions."""
    _, labels, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    labels.flags.writeable = sizes.flags.writeable = False
    return labels, sizes


def standard_error(sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the CR2 standard error of the mean of each column, from its cluster sums; needs two clusters."""
    return np.sqrt(_inflation(sizes) @ sums**2) / sizes.sum()


def degrees_of_freedom(sizes: np.ndarray) -> float:
    """Return Bell and McCaffrey's degrees of freedom: G - 1 for clusters of equal size, fewer the more unequal they are."""
    pairs = sizes**2 * _inflation(sizes) / sizes.sum()
    return float(sizes.sum() ** 2 / ((sizes**2).sum() + pairs.sum() ** 2 - (pairs**2).sum()))


def mean_interval(values: Sequence[float], clusters: Sequence[str], confidence: float = 0.95) -> Interval:
    """Return the mean with its cluster-robust interval and p against zero; an empty sample raises WorkbenchError (ST8).

    Scores between 0 and 1 get Wilson's interval, so it stays there and keeps a width when all are right (ST4, D13); other values (seconds,
    tokens) get the t interval.
    """
    sample = _sample(values, clusters)
    sums, sizes = cluster_sums(sample, clusters)
    mean, n = float(sample.mean()), len(sample)
    if len(sizes) < 2:
        return Interval(mean, math.nan, math.nan, n, len(sizes))
    error, freedom = float(standard_error(sums, sizes)), degrees_of_freedom(sizes)
    share = bool(sample.min() >= 0 and sample.max() <= 1)
    return _of_mean(mean, error, share, n, len(sizes), freedom, _t_quantile(confidence, freedom))


def mean_intervals(samples: np.ndarray, clusters: Sequence[str]) -> list[Interval]:
    """Return `mean_interval` at 95 % of each of many samples (m, n) of the same questions, up to rounding."""
    columns = _sample(np.asarray(samples, dtype=float).T, clusters)
    sums, sizes = cluster_sums(columns, clusters)
    means, n, groups = columns.mean(axis=0).tolist(), len(columns), len(sizes)
    if groups < 2:
        return [Interval(mean, math.nan, math.nan, n, groups) for mean in means]
    errors, freedom = standard_error(sums, sizes).tolist(), degrees_of_freedom(sizes)
    quantile, shares = _t_quantile(0.95, freedom), ((columns >= 0) & (columns <= 1)).all(axis=0).tolist()
    return [_of_mean(mean, error, share, n, groups, freedom, quantile) for mean, error, share in zip(means, errors, shares, strict=True)]


def _of_mean(mean: float, error: float, share: bool, n: int, groups: int, freedom: float, quantile: float) -> Interval:
    """Return the interval of a mean; `share` tells that all values lie between 0 and 1."""
    if error <= STILL:
        low, high = _still(mean, groups, quantile, floor=0.0)
    elif share:
        low, high = _wilson(mean, mean * (1 - mean) / error**2, quantile)
    else:
        low, high = mean - quantile * error, mean + quantile * error
    return Interval(mean, low, high, n, groups, error, _p_value(mean, error, freedom, groups))


def difference_interval(left: Sequence[float], right: Sequence[float], clusters: Sequence[str], confidence: float = 0.95) -> Interval:
    """Return the paired difference left - right, question by question, with p against zero; both must score the same questions."""
    if len(left) != len(right):
        raise WorkbenchError(f"paired comparison needs the same questions on both sides, got {len(left)} and {len(right)}")
    differences = _sample(left, clusters) - _sample(right, clusters)
    return _paired(differences[:, np.newaxis], clusters, confidence, seed=0, draws=0)[0]


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a proportion of independent items."""
    if n < 1 or not 0 <= successes <= n:
        raise WorkbenchError(f"a proportion needs 0 <= successes <= n and n >= 1, got {successes} of {n}")
    from scipy.special import ndtri

    return _wilson(successes / n, n, float(ndtri(0.5 + confidence / 2)))


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

    All intervals hold together with the given confidence; none is narrower than that of `difference_interval`. With so few clusters that
    the bootstrap has no finite critical value they are unknown.
    """
    table = np.asarray(differences, dtype=float)
    if table.ndim != 2 or draws < 1:
        raise WorkbenchError(f"max-T needs a table (questions, comparisons) and draws >= 1, got shape {table.shape} and {draws} draws")
    return _paired(_sample(table, clusters), clusters, confidence, seed, draws) if table.shape[1] else []


def _paired(differences: np.ndarray, clusters: Sequence[str], confidence: float, seed: int, draws: int) -> list[Interval]:
    """Return the interval of each column of differences (n, m): each by itself with 0 draws, all together with more."""
    sums, sizes = cluster_sums(differences, clusters)
    highest = np.zeros(0)
    if draws and len(sizes) > 1:
        highest = _largest_t(sums[:, standard_error(sums, sizes) > STILL], sizes, seed, draws)
    return bounded(differences, clusters, confidence, highest)


def bounded(differences: np.ndarray, clusters: Sequence[str], confidence: float, highest: np.ndarray) -> list[Interval]:
    """Return the interval of each column of differences (n, m), simultaneous given the largest t statistic of each draw, else by itself."""
    sums, sizes = cluster_sums(differences, clusters)
    means, n, groups, draws = differences.mean(axis=0).tolist(), len(differences), len(sizes), len(highest)
    if groups < 2:
        return [Interval(mean, math.nan, math.nan, n, groups) for mean in means]
    errors, freedom = standard_error(sums, sizes), degrees_of_freedom(sizes)
    critical = _t_quantile(confidence, freedom)
    if draws:
        critical = max(critical, float(np.quantile(highest, confidence, method="higher")))
    intervals = []
    for mean, error in zip(means, errors.tolist(), strict=True):
        p = _p_value(mean, error, freedom, groups)
        if error <= STILL:
            low, high = _still(mean, groups, critical, floor=-1.0)
        else:
            low, high = (mean - critical * error, mean + critical * error) if math.isfinite(critical) else (math.nan, math.nan)
            p = max(p, (1 + int((highest >= abs(mean) / error).sum())) / (1 + draws) if draws else 0.0)
        intervals.append(Interval(mean, low, high, n, groups, error, p))
    return intervals


def _largest_t(sums: np.ndarray, sizes: np.ndarray, seed: int, draws: int) -> np.ndarray:
    """Return for each draw of cluster signs the largest absolute t statistic of any column, each by its own standard error in that draw.

    The signs fall on jackknifed cluster sums, which keeps the error rate where sizes are unequal (MacKinnon, Nielsen and Webb 2023).
    """
    highest = np.zeros(draws)
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(draws, len(sizes)))
    inflation = _inflation(sizes)
    for first in range(0, sums.shape[1], BLOCK):
        block = sums[:, first : first + BLOCK] * inflation[:, np.newaxis]
        means = signs @ block / sizes.sum()
        # the CR2 sum of (sign * sum - size * mean)² over clusters, multiplied out
        fixed = inflation @ block**2
        squares = fixed - 2 * means * (signs @ ((inflation * sizes)[:, np.newaxis] * block)) + means**2 * (inflation @ sizes**2)
        with np.errstate(divide="ignore"):
            statistics = np.abs(means) * sizes.sum() / np.sqrt(np.where(squares > STILL * fixed, squares, 0.0))
        highest = np.maximum(highest, statistics.max(axis=1))
    return highest


def _inflation(sizes: np.ndarray) -> np.ndarray:
    """Return 1 / (1 - share of the questions) of each cluster: CR2 so makes up for deviations from a mean that the cluster itself moved."""
    return 1 / (1 - sizes / sizes.sum())


def _wilson(share: float, n: float, quantile: float) -> tuple[float, float]:
    centre = (share + quantile**2 / (2 * n)) / (1 + quantile**2 / n)
    reach = quantile * math.sqrt(share * (1 - share) / n + quantile**2 / (4 * n**2)) / (1 + quantile**2 / n)
    return max(0.0, centre - reach), min(1.0, centre + reach)


def _still(mean: float, groups: int, quantile: float, floor: float) -> tuple[float, float]:
    """Bound a mean from which no cluster departs: of clusters not seen, the share that Wilson allows for 0 of G may score `floor` or 1.

    Two sides that agree on every question differ by 0 with no width.
    """
    if floor < 0 and abs(mean) <= STILL:
        return 0.0, 0.0
    if not floor <= mean <= 1:
        return math.nan, math.nan
    unseen = quantile**2 / (groups + quantile**2)
    return (1 - unseen) * mean + unseen * floor, (1 - unseen) * mean + unseen


def _sample(values: Sequence[float] | np.ndarray, clusters: Sequence[str]) -> np.ndarray:
    sample = np.asarray(values, dtype=float)
    if sample.size == 0:
        raise WorkbenchError("nothing to average: no question was scored")
    if len(sample) != len(clusters):
        raise WorkbenchError(f"{len(sample)} values but {len(clusters)} cluster labels")
    if not np.isfinite(sample).all():
        raise WorkbenchError("values to average must be finite; leave unscored questions out and count them")
    return sample


def _t_quantile(confidence: float, freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + confidence / 2))


def _p_value(mean: float, error: float, freedom: float, groups: int) -> float:
    """Return the two-sided p of the t test; without variation that of the signs of the clusters, all alike by chance."""
    from scipy.special import stdtr

    if error <= STILL:
        return 1.0 if abs(mean) <= STILL else 2.0 ** (1 - groups)
    return float(2 * stdtr(freedom, -abs(mean) / error))
