"""Simulate sweeps: how often a candidate is wrongly declared better, and how far off the declared winner's score is.

A sweep scores 24 candidates and the baseline, right or wrong, on 50 questions that choose and on 20 others that confirm. Where all are
equal, every candidate that is declared better than the baseline is an error: by the interval of its difference to the baseline,
uncorrected, by Bonferroni, or by max-T as report.compare has it. The declared winner is the cheapest of those that max-T over all pairs
cannot tell from the best (costs are drawn, whatever the quality); beside it stands the candidate with the highest mean. max-T takes fewer
draws here than in reports.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtri
from simulate_intervals import CANDIDATES, QUESTIONS, alike

from workbench import stats

DRAWS = 299
CONFIRMING = 20  # questions
REPEATED = 10  # parts that confirm, drawn for each sweep, so that a small bias would show
QUALITIES = {
    name: np.linspace(*ends, CANDIDATES + 1)
    for name, ends in {"equal": (0.7, 0.7), "0.65 to 0.75": (0.65, 0.75), "0.3 to 0.8": (0.3, 0.8)}.items()
}
RULES = ("uncorrected", "Bonferroni", "max-T")
WINNERS = ("highest mean", "workbench")


@dataclass
class Tally:
    """Hold sums over simulated sweeps."""

    sweeps: int = 0
    better: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RULES, 0))
    tied: int = 0
    chosen: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in WINNERS})  # error on the questions that chose
    confirmed: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in WINNERS})


def grouped(rng: np.random.Generator, questions: int, groups: int) -> np.ndarray:
    """Return the group number of each question, (n,): each group has one at least, the others fall where they may."""
    return np.sort(np.concatenate([np.arange(groups), rng.integers(groups, size=questions - groups)]))


def scored(rng: np.random.Generator, labels: np.ndarray, qualities: np.ndarray) -> np.ndarray:
    """Return right or wrong (n, candidates); the mean of a column is its quality in the long run."""
    difficulty = alike(rng, labels, 1)
    return (difficulty + alike(rng, labels, len(qualities)) < ndtri(qualities) * np.sqrt(2)).astype(float)


def sweep(rng: np.random.Generator, tally: Tally, qualities: np.ndarray, groups: tuple[int, int]) -> None:
    """Simulate one sweep; the baseline is column 0."""
    order = rng.permutation(len(qualities)) if np.ptp(qualities) else np.arange(len(qualities))
    truth = qualities[order]
    labels = grouped(rng, QUESTIONS, groups[0])
    table, clusters = scored(rng, labels, truth), labels.tolist()
    seed = tally.sweeps
    differences = table[:, 1:] - table[:, :1]
    level = 1 - 0.05 / CANDIDATES
    zero = np.zeros(QUESTIONS)
    single, strict = ([stats.difference_interval(column, zero, clusters, at) for column in differences.T] for at in (0.95, level))
    together = stats.max_t(differences, clusters, seed, draws=DRAWS)
    for name, intervals in zip(RULES, (single, strict, together), strict=True):
        tally.better[name] += any(interval.low > 0 for interval in intervals)
    means = table.mean(axis=0)
    best = int(means.argmax())
    pairs = list(itertools.combinations(range(len(truth)), 2))
    left, right = np.array(pairs).T
    shown = stats.max_t(table[:, left] - table[:, right], clusters, seed, draws=DRAWS)
    tied = {best} | {
        sum(pair) - best for pair, interval in zip(pairs, shown, strict=True) if best in pair and interval.low <= 0 <= interval.high
    }
    near = {best} | {sum(pair) - best for pair, one in zip(pairs, shown, strict=True) if best in pair and abs(one.mean) <= one.se}
    costs = rng.random(len(truth))
    winners = {"highest mean": best, "workbench": min(tied & near, key=costs.__getitem__)}
    others = np.mean([scored(rng, grouped(rng, CONFIRMING, groups[1]), truth).mean(axis=0) for _ in range(REPEATED)], axis=0)
    tally.tied += len(tied)
    tally.sweeps += 1
    for name, winner in winners.items():
        tally.chosen[name].append(means[winner] - truth[winner])
        tally.confirmed[name].append(others[winner] - truth[winner])


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000, help="simulated sweeps per line")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.perf_counter()
    rng = np.random.default_rng(arguments.seed)
    tallies = {}
    for name, qualities in QUALITIES.items():
        for place, groups in (("independent", (QUESTIONS, CONFIRMING)), ("12 + 6 groups", (12, 6))):
            tally = tallies[name, place] = Tally()
            for _ in range(arguments.repetitions):
                sweep(rng, tally, qualities, groups)
    print(f"{CANDIDATES} candidates and a baseline, {QUESTIONS} questions; {arguments.repetitions} sweeps a line, seed {arguments.seed}")
    print("\nSweeps in which some candidate is declared better than an equal baseline")
    print(f"{'questions':<16}" + "".join(f"{name:>13}" for name in RULES) + f"{'tied with best':>16}")
    for (name, place), tally in tallies.items():
        if name == "equal":
            shares = "".join(f"{count / tally.sweeps:>13.3f}" for count in tally.better.values())
            print(f"{place:<16}{shares}{tally.tied / tally.sweeps:>16.1f}")
    print("\nMean error of the declared winner's score (simulation error in brackets)")
    print(f"{'qualities':<14}{'questions':<16}{'winner':<14}{'on those that chose':>22}{'on those that confirm':>24}")
    for (name, place), tally in tallies.items():
        for winner in WINNERS:
            cells = []
            for errors in (tally.chosen[winner], tally.confirmed[winner]):
                cells.append(f"{np.mean(errors):+.3f} ({np.std(errors) / np.sqrt(tally.sweeps):.3f})")
            print(f"{name:<14}{place:<16}{winner:<14}{cells[0]:>22}{cells[1]:>24}")
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
