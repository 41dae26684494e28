"""Test many candidates against the best of them, where the best was found by looking: arrays in, intervals out.

The best of many equal candidates lies above each other one by chance, and the more candidates the further. A test that takes it for a
candidate named beforehand (many-to-one, as Dunnett's) therefore finds differences where there are none. Here every draw of the bootstrap
chooses its own best one and tests the others against it, so the choice is part of what chance does. Where all standard errors are equal
this is max-T over all pairs (Tukey's range: the largest difference has the best one at its upper end), for n tests a draw instead of
n (n - 1) / 2. Where they are not, all pairs would ask for a little more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench import stats

CELLS = 2**20  # draws x candidates that one step holds in memory


def behind_best(
    scores: np.ndarray, best: int, clusters: Sequence[str], seed: int, confidence: float = 0.95, draws: int = stats.DRAWS
) -> list[stats.Interval]:
    """Return for each column of scores (n, m) the interval of best - column; `best` is the column with the highest mean.

    All intervals hold together, p is adjusted, as in `stats.max_t`; that of the best column is 0. They are unknown with fewer than two
    clusters, or with so few that the bootstrap has no finite critical value.
    """
    table = np.asarray(scores, dtype=float)
    sums, sizes = stats.cluster_sums(table, clusters)
    highest = _largest_lead(sums, sizes, seed, draws) if len(sizes) > 1 else np.zeros(draws)
    return stats.bounded(table[:, [best]] - table, clusters, confidence, highest)


def _largest_lead(sums: np.ndarray, sizes: np.ndarray, seed: int, draws: int) -> np.ndarray:
    """Return for each draw of cluster signs the largest t statistic by which its best column leads any other.

    As in `stats._largest_t`, with the squares of a difference multiplied out, so that the columns are enough and no pair is stored.
    """
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(draws, len(sizes)))
    inflation, total = stats._inflation(sizes), sizes.sum()
    block = sums * inflation[:, np.newaxis]
    weighted = inflation[:, np.newaxis] * block
    own = (weighted * block).sum(axis=0)
    highest = np.zeros(draws)
    step = max(1, CELLS // sums.shape[1])
    for first in range(0, draws, step):
        drawn = signs[first : first + step]
        means = drawn @ block / total
        crossed = drawn @ (sizes[:, np.newaxis] * weighted)
        winners, rows = means.argmax(axis=1), np.arange(len(drawn))
        leads = means[rows, winners][:, np.newaxis] - means
        between = crossed[rows, winners][:, np.newaxis] - crossed
        scale = own[winners][:, np.newaxis] + own
        fixed = scale - 2 * weighted[:, winners].T @ block
        squares = fixed - 2 * leads * between + leads**2 * (inflation @ sizes**2)
        with np.errstate(divide="ignore", invalid="ignore"):
            statistics = leads * total / np.sqrt(np.where(squares > stats.STILL * fixed, squares, 0.0))
        alike = fixed <= stats.STILL * scale  # the same scores up to a constant: nothing varies between them
        highest[first : first + step] = np.where(alike, 0.0, statistics).max(axis=1)
    return highest
