"""Hold what was measured on this machine: a median of repetitions with the lowest and the highest, or why something was not measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.sweep_work import Part

DIGITS = 4  # significant ones; more would be noise


@dataclass(frozen=True)
class Effort:
    """Say how long to measure: repetitions of everything, and seconds that each should take at least where it is a matter of choice."""

    repetitions: int = 3
    seconds: float = 0.5
    vectors: int = 10_000  # of the indexes that are searched


QUICK = Effort(seconds=0.1, vectors=2_000)


@dataclass(frozen=True)
class Rate:
    """Hold one number of this machine: what was measured of which part, and the median, lowest and highest of `n` repetitions."""

    part: Part
    what: str
    unit: str
    median: float
    low: float
    high: float
    n: int
    facts: Mapping[str, Any] = field(default_factory=dict)  # words, characters and tokens of a text, sizes

    @classmethod
    def of(cls, part: Part, what: str, unit: str, values: Sequence[float], **facts: Any) -> Rate:
        """Build one from the values of all repetitions."""
        middle, low, high = (float(f"{value:.{DIGITS}g}") for value in (statistics.median(values), min(values), max(values)))
        return cls(part, what, unit, middle, low, high, len(values), facts)


@dataclass(frozen=True)
class Skipped:
    """Hold what was not measured, and why; where a command would change that, the reason holds it."""

    part: Part
    reason: str


def merged(rates: Sequence[Rate]) -> list[Rate]:
    """Join rates of one name that were measured once in each of several processes, in the order of the first of each."""
    alike: dict[tuple[Part, str], list[Rate]] = {}
    for rate in rates:
        alike.setdefault((rate.part, rate.what), []).append(rate)
    return [
        group[0]
        if len(group) == 1
        else Rate.of(group[0].part, group[0].what, group[0].unit, [rate.median for rate in group], **group[0].facts)
        for group in alike.values()
    ]


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds that some work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def enough(run: Callable[[int], object], seconds: float, most: int, least: int = 4) -> int:
    """Return how many texts (pairs, queries) take about so many seconds, within the bounds; `run` does so many, and is warm after this."""
    run(1)
    each = timed(lambda: run(least)) / least
    return int(min(most, max(least, seconds / max(each, 1e-9))))


def in_turns(runs: Mapping[Any, Callable[[], float]], repetitions: int) -> dict[Any, list[float]]:
    """Return what each run gives, by its name, in every repetition; they take turns, so that a slow moment of the machine hits all."""
    found: dict[Any, list[float]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, run in runs.items():
            found[name].append(run())
    return found
