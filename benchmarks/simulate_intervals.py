"""Simulate how often 95 % intervals hold the truth, and how often equal candidates are called different.

Questions come in document groups of unequal size (round of a log-normal number, median 5, sigma 0.8) and are alike within a group
(intra-group correlation 0.2). Compared: the t interval that takes questions for independent, CR1 with G - 1 degrees of freedom, the
percentile cluster bootstrap, and what workbench/stats.py does. Second, every candidate equals the baseline, so each difference found is
an error.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
from scipy.special import ndtri, stdtrit

from workbench import stats

CORRELATION = 0.2
DRAWS = 499
CANDIDATES = 24
QUESTIONS = 50


def unequal_groups(rng: np.random.Generator, groups: int) -> np.ndarray:
    """Return the group number of each question, (n,)."""
    return np.repeat(np.arange(groups), np.maximum(1, np.rint(np.exp(rng.normal(np.log(5), 0.8, groups)))).astype(int))


def alike(rng: np.random.Generator, labels: np.ndarray, columns: int) -> np.ndarray:
    """Return standard normal scores (n, columns) with the intra-group correlation."""
    shared = rng.normal(size=(labels.max() + 1, columns))[labels]
    return np.sqrt(CORRELATION) * shared + np.sqrt(1 - CORRELATION) * rng.normal(size=(len(labels), columns))


def right_or_wrong(rng: np.random.Generator, labels: np.ndarray, share: float) -> np.ndarray:
    """Return scores 0 or 1 of which `share` are 1 in the long run; the correlation is that of the hidden ability."""
    return (alike(rng, labels, 1)[:, 0] < ndtri(share)).astype(float)


def textbook(values: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[float, float]]:
    """Yield the naive t, the CR1 and the percentile cluster bootstrap interval of a mean."""
    sums, sizes = stats.cluster_sums(values, labels.tolist())
    mean, groups, n = values.mean(), len(sizes), len(values)
    naive = stdtrit(n - 1, 0.975) * values.std(ddof=1) / np.sqrt(n)
    yield mean - naive, mean + naive
    robust = stdtrit(groups - 1, 0.975) * np.sqrt(groups / (groups - 1) * (sums**2).sum()) / n
    yield mean - robust, mean + robust
    drawn = rng.multinomial(groups, np.full(groups, 1 / groups), DRAWS)
    yield tuple(np.quantile(mean + drawn @ sums / (drawn @ sizes), [0.025, 0.975]))


def coverage(rng: np.random.Generator, repetitions: int, groups: int, share: float | None) -> np.ndarray:
    """Return the share of intervals that hold the truth: naive, CR1, bootstrap, ours; `share` None simulates paired differences."""
    held = np.zeros(4)
    for _ in range(repetitions):
        labels = unequal_groups(rng, groups)
        if share is None:
            values, truth = alike(rng, labels, 1)[:, 0], 0.0
            ours = stats.difference_interval(values, np.zeros(len(values)), labels.tolist())
        else:
            values, truth = right_or_wrong(rng, labels, share), share
            ours = stats.mean_interval(values, labels.tolist())
        bounds = [*textbook(values, labels, rng), (ours.low, ours.high)]
        held += [low <= truth <= high for low, high in bounds]
    return held / repetitions


def false_findings(rng: np.random.Generator, repetitions: int, groups: int | None) -> np.ndarray:
    """Return how often at least one of the equal candidates differs from the baseline at p < 0.05: uncorrected, Holm, max-T.

    Without `groups` the questions are independent.
    """
    wrong = np.zeros(3)
    for repetition in range(repetitions):
        labels = unequal_groups(rng, groups) if groups else np.arange(QUESTIONS)
        difficulty = rng.normal(size=(len(labels), 1))
        scores = (difficulty + alike(rng, labels, CANDIDATES + 1) < ndtri(0.7) * np.sqrt(2)).astype(float)
        clusters, baseline = labels.tolist(), scores[:, 0]
        single = [stats.difference_interval(scores[:, column], baseline, clusters).p for column in range(1, CANDIDATES + 1)]
        together = stats.max_t(scores[:, 1:] - scores[:, :1], clusters, seed=repetition, draws=DRAWS)
        wrong += [min(single) < 0.05, min(stats.holm(single)) < 0.05, min(interval.p for interval in together) < 0.05]
    return wrong / repetitions


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--repetitions", type=int, default=1500, help="simulated data sets per line of the first table (half of that in the second)"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.perf_counter()
    rng = np.random.default_rng(arguments.seed)
    few = max(1, arguments.repetitions // 2)
    error = np.sqrt(0.95 * 0.05 / arguments.repetitions)
    print(f"Coverage of 95 % intervals; seed {arguments.seed}, {arguments.repetitions} repetitions, simulation error about {error:.3f}")
    print(f"{'quantity':<22}{'groups':>7}{'naive t':>9}{'CR1':>8}{'bootstrap':>11}{'workbench':>11}")
    for name, share in (("share right, 0.70", 0.7), ("share right, 0.90", 0.9), ("paired difference", None)):
        for groups in (8, 12, 24, 48):
            naive, robust, bootstrap, ours = coverage(rng, arguments.repetitions, groups, share)
            print(f"{name:<22}{groups:>7}{naive:>9.3f}{robust:>8.3f}{bootstrap:>11.3f}{ours:>11.3f}", flush=True)
    print(f"\nAt least one of {CANDIDATES} equal candidates called different from the baseline at p < 0.05; {few} repetitions")
    print(f"{'questions':<29}{'uncorrected':>12}{'Holm':>8}{'max-T':>8}")
    for name, groups in ((f"{QUESTIONS}, independent", None), ("in 24 unequal groups", 24), ("in 12 unequal groups", 12)):
        uncorrected, holm, together = false_findings(rng, few, groups)
        print(f"{name:<29}{uncorrected:>12.3f}{holm:>8.3f}{together:>8.3f}", flush=True)
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
