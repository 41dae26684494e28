"""Simulate sweeps: how often a candidate is wrongly declared better, and how far off the declared winner's score is.

A sweep scores 24 candidates and the baseline, right or wrong, on 50 questions that choose and on 20 others that confirm. Where all are
equal, every candidate that is declared better than the baseline is an error: by the interval of its difference to the baseline,
uncorrected, by Bonferroni, or by max-T as report.compare has it. So is every candidate that is declared worse than the best. The declared
winner is the cheapest of those that max-T over all pairs cannot tell from the best (costs are drawn, whatever the quality); beside it
stands the candidate with the highest mean. max-T takes fewer draws here than in reports. With more candidates than report_ties.MOST_PAIRED
only equal ones are simulated, in 20 + 8 document groups.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtri
from simulate_intervals import CANDIDATES, QUESTIONS, alike

from workbench import stats
from workbench.report_ties import MOST_PAIRED, standing

DRAWS = 299
CONFIRMING = 20  # questions
REPEATED = 10  # parts that confirm, drawn for each sweep, so that a small bias would show
QUALITIES = {"equal": (0.7, 0.7), "0.65 to 0.75": (0.65, 0.75), "0.3 to 0.8": (0.3, 0.8)}  # of the worst and of the best
PLACES = {"independent": (QUESTIONS, CONFIRMING), "12 + 6 groups": (12, 6), "20 + 8 groups": (20, 8)}  # groups that choose and confirm
RULES = ("uncorrected", "Bonferroni", "max-T")
WINNERS = ("highest mean", "workbench")


@dataclass
class Tally:
    """Hold sums over simulated sweeps."""

    sweeps: int = 0
    better: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RULES, 0))
    worse: int = 0  # sweeps in which some candidate is declared worse than the best
    tied: int = 0
    untold: int = 0  # candidates not compared with the best
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
    level = 1 - 0.05 / (len(truth) - 1)
    zero = np.zeros(QUESTIONS)
    single, strict = ([stats.difference_interval(column, zero, clusters, at) for column in differences.T] for at in (0.95, level))
    means = table.mean(axis=0)
    ranked = np.argsort(-means, kind="stable").tolist()
    found = standing(table, np.ones(table.shape, dtype=bool), ranked, 0, clusters, seed, DRAWS)
    together = list(found.differences.values())
    for name, intervals in zip(RULES, (single, strict, together), strict=True):
        tally.better[name] += any(interval.low > 0 for interval in intervals)
    near = {column for column in found.tied if found.behind[column] <= 1}
    costs = rng.random(len(truth))
    winners = {"highest mean": ranked[0], "workbench": min(near, key=costs.__getitem__)}
    others = np.mean([scored(rng, grouped(rng, CONFIRMING, groups[1]), truth).mean(axis=0) for _ in range(REPEATED)], axis=0)
    tally.worse += len(found.compared) > len(found.tied)
    tally.tied += len(found.tied)
    tally.untold += len(truth) - len(found.compared)
    tally.sweeps += 1
    for name, winner in winners.items():
        tally.chosen[name].append(means[winner] - truth[winner])
        tally.confirmed[name].append(others[winner] - truth[winner])


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000, help="simulated sweeps per line")
    parser.add_argument("--candidates", type=int, default=CANDIDATES, help="beside the baseline")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.perf_counter()
    rng = np.random.default_rng(arguments.seed)
    tallies = {}
    many = arguments.candidates > MOST_PAIRED
    for name, ends in list(QUALITIES.items())[: 1 if many else None]:
        qualities = np.linspace(*ends, arguments.candidates + 1)
        for place in list(PLACES)[2:] if many else list(PLACES)[:2]:
            tally = tallies[name, place] = Tally()
            for _ in range(arguments.repetitions):
                sweep(rng, tally, qualities, PLACES[place])
    asked = f"{QUESTIONS} questions; {arguments.repetitions} sweeps a line, seed {arguments.seed}"
    print(f"{arguments.candidates} candidates and a baseline, {asked}")
    print("\nShare of sweeps in which some candidate is declared better than an equal baseline, and worse than an equal best one")
    print(f"{'questions':<16}" + "".join(f"{name:>13}" for name in (*RULES, "worse")) + f"{'tied with best':>16}{'not compared':>14}")
    for (name, place), tally in tallies.items():
        if name == "equal":
            shares = "".join(f"{count / tally.sweeps:>13.3f}" for count in (*tally.better.values(), tally.worse))
            print(f"{place:<16}{shares}{tally.tied / tally.sweeps:>16.1f}{tally.untold / tally.sweeps:>14.1f}")
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
