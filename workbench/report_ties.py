"""Test candidates against the baseline and against the best one: columns of scores in, simultaneous intervals and the tied set out.

Up to MOST_PAIRED candidates all pairs are tested together (max-T). Of more, 10,000 say, the pairs would be 50 million, so there are three
families, each at 95 %:

- Differences to the baseline, which is named beforehand: max-T over all candidates at once, however many.
- All pairs of the MOST_PAIRED best by their mean; these give the tied set. That they were picked does not make the test find too much:
  given the lowest mean that got in, those above it lie the closer together the more candidates there were to pick from (where the hazard
  rate of their means rises, as for normal ones), so equal candidates are declared different less often than if nothing had been picked.
- Every other candidate against the best one, by a critical value that allows for the best being chosen among all
  (`stats_best.behind_best`). Many-to-one tests as against the baseline would not do: the best of many is ahead by chance. A candidate that
  this shows is worse than the best; one that it does not show is called "not compared", neither tied nor worse.

Errors of the last two families can add up where a few more than MOST_PAIRED candidates are equal. benchmarks/simulate_winner.py
--candidates N shows how often an equal candidate is declared worse than the best: in 4.7 % of 300 sweeps of 400, in 6.5 % of 200 of 110.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench import stats, stats_best

MOST_PAIRED = 100  # candidates of which all pairs are tested
NAMED = 10  # candidates that a sentence names, where there are more than MOST_PAIRED

Differences = Mapping[tuple[int, int], stats.Interval]  # (left, right) columns -> left - right


@dataclass(frozen=True)
class Standing:
    """Hold how columns of scores stand to the baseline and to the best one."""

    differences: Differences  # of each other column to the baseline
    tied: set[int]  # the best one and those not told from it in pairs
    compared: set[int]  # those tested in pairs, and those shown to be worse than the best
    behind: list[float]  # standard errors of the paired difference to the best


def standing(
    table: np.ndarray,
    asked: np.ndarray,
    order: Sequence[int],
    baseline: int,
    clusters: Sequence[str],
    seed: int = 0,
    draws: int = stats.DRAWS,
) -> Standing:
    """Test columns of scores (questions, candidates) that `order` lists, best first; `asked` tells which questions each one is asked of."""
    best, near, far = order[0], sorted(order[:MOST_PAIRED]), order[MOST_PAIRED:]
    against = _differences(table, asked, [(column, baseline) for column in range(len(order)) if column != baseline], clusters, seed, draws)
    pairs = _differences(table, asked, list(itertools.combinations(near, 2)), clusters, seed, draws)
    tied = _tied(pairs, best)
    if far:
        leads = stats_best.behind_best(table, best, clusters, seed, draws=draws)
        pairs |= _blinded({(best, column): leads[column] for column in far}, table, asked, clusters)
    worse = {column for column in far if pairs[best, column].low > 0}
    return Standing(against, tied, worse | {*near}, [_behind(pairs, column, best) for column in range(len(order))])


def linearised(values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return one value for each question whose mean is the mean over the questions asked, so that candidates can be paired.

    Where a metric is asked of all, these are the scores themselves. Where each candidate is asked of others (refusal precision: of what it
    refused), the mean is a ratio, and its linearisation carries the right standard error (Särndal et al. 1992, section 5.6).
    """
    if asked.all():
        return values
    mean = values[asked].mean()
    return mean + np.where(asked, values - mean, 0.0) / asked.mean()


def tested(candidates: int) -> str:
    """Say which pairs of so many candidates are tested."""
    return "all pairs tested together" if candidates <= MOST_PAIRED else f"all pairs of the {MOST_PAIRED} best tested together"


def listed(labels: Sequence[str], candidates: int) -> str:
    """Name these of so many candidates; of more than MOST_PAIRED only the first are named."""
    if candidates <= MOST_PAIRED or len(labels) <= NAMED:
        return ", ".join(labels)
    return f"{', '.join(labels[:NAMED])} and {len(labels) - NAMED:,} more"


def _differences(
    table: np.ndarray, asked: np.ndarray, pairs: Sequence[tuple[int, int]], clusters: Sequence[str], seed: int, draws: int
) -> dict[tuple[int, int], stats.Interval]:
    """Return the simultaneous interval of the difference of each pair of columns."""
    if not pairs:
        return {}
    columns = table.T
    left, right = np.array(pairs).T
    intervals = stats.max_t(np.ascontiguousarray((columns[left] - columns[right]).T), clusters, seed, draws=draws)
    return _blinded(dict(zip(pairs, intervals, strict=True)), table, asked, clusters)


def _blinded(
    found: dict[tuple[int, int], stats.Interval], table: np.ndarray, asked: np.ndarray, clusters: Sequence[str]
) -> dict[tuple[int, int], stats.Interval]:
    """Make intervals unknown where the two are asked of different questions and one scores the same on all of its own, from few groups.

    That leaves no variation to tell how sure its mean is.
    """
    if (asked == asked[:, :1]).all():
        return found
    groups = [len({cluster for cluster, kept in zip(clusters, column, strict=True) if kept}) for column in asked.T]
    still = (np.ptp(table, axis=0) <= stats.STILL) & (np.array(groups) < stats.FEW_CLUSTERS)
    blind = {pair for pair in found if still[list(pair)].any() and (asked[:, pair[0]] != asked[:, pair[1]]).any()}
    unknown_bounds = dict.fromkeys(("low", "high", "p"), math.nan)
    return {pair: replace(interval, **unknown_bounds) if pair in blind else interval for pair, interval in found.items()}


def _tied(differences: Differences, best: int) -> set[int]:
    """Return the best column and those whose difference to it is not shown."""
    shown = {pair for pair, interval in differences.items() if interval.low > 0 or interval.high < 0}
    return {best} | {column for pair in differences if best in pair and pair not in shown for column in pair}


def _behind(differences: Differences, column: int, best: int) -> float:
    """Return how many standard errors of their paired difference a column lies behind the best."""
    pair = differences.get((column, best)) or differences.get((best, column))
    if pair is None or abs(pair.mean) <= stats.STILL:
        return 0.0
    return abs(pair.mean) / pair.se if pair.se > stats.STILL else math.inf
