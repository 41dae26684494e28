"""Find main effects in a design, and tell seeds from questions: designs and arrays in, numbers out.

The effect of a value is its paired difference to a reference value, averaged over the blocks of the design: combinations of all other
settings in which every value of its axis was run. So no other setting explains it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench import stats
from workbench.datatypes import WorkbenchError

Design = Mapping[str, Hashable]  # setting -> value of one candidate; None where the setting does nothing there


@dataclass(frozen=True)
class Axis:
    """Hold one axis of a design; settings that follow it are part of it, since nothing can tell them apart."""

    settings: tuple[str, ...]
    values: tuple[tuple[Hashable, ...], ...]  # in the order met: first the reference, a value for each setting
    blocks: tuple[Mapping[tuple[Hashable, ...], int], ...]  # complete ones: value -> row of the design

    def pairs(self, value: tuple[Hashable, ...]) -> list[tuple[int, int]]:
        """Return for each block the rows of a value and of the reference."""
        return [(block[value], block[self.values[0]]) for block in self.blocks]


def find_axes(designs: Sequence[Design], reference: int = 0) -> tuple[list[Axis], list[str]]:
    """Return the axes with a complete block, and the settings that vary but have none.

    The values of the row `reference` come first, where it has them. Of rows that are the same, the first counts.
    """
    names = [name for name in dict.fromkeys(name for design in designs for name in design) if len(_values(designs, name)) > 1]
    axes: list[Axis] = []
    alone: list[str] = []
    for name in names:
        if any(name in axis.settings and _follows(designs, name, axis.settings[0]) for axis in axes):
            continue  # the same axis under another name
        together = (name, *(other for other in names if other != name and _follows(designs, name, other)))
        rows = [row for row, design in enumerate(designs) if design.get(name) is not None]
        rows.sort(key=lambda row: row != reference)
        values = tuple(dict.fromkeys(tuple(designs[row].get(one) for one in together) for row in rows))
        blocks: dict[tuple[Hashable, ...], dict[tuple[Hashable, ...], int]] = {}
        for row in rows:
            held = tuple(designs[row].get(other) for other in names if other not in together)
            blocks.setdefault(held, {}).setdefault(tuple(designs[row].get(one) for one in together), row)
        complete = tuple(block for block in blocks.values() if len(block) == len(values))
        if complete:
            axes.append(Axis(together, values, complete))
        else:
            alone.append(name)
    joined = {name for axis in axes for name in axis.settings}
    return axes, [name for name in alone if name not in joined]


def _values(designs: Sequence[Design], name: str) -> set[Hashable]:
    return {design[name] for design in designs if design.get(name) is not None}


def _follows(designs: Sequence[Design], name: str, other: str) -> bool:
    """Tell whether another setting changes where one does, and only there."""
    seen: dict[Hashable, Hashable] = {}
    rows = [design for design in designs if design.get(name) is not None]
    decided = all(seen.setdefault(design[name], design.get(other)) == design.get(other) for design in rows)
    return decided and len(set(seen.values())) > 1


def contrasts(table: np.ndarray, pairs: Sequence[Sequence[tuple[int, int]]]) -> np.ndarray:
    """Return for each list of column pairs the mean of their differences, question by question: (n, m) gives (n, len(pairs))."""
    columns = table.T
    return np.stack([(columns[left] - columns[right]).mean(axis=0) for left, right in (np.array(among).T for among in pairs)], axis=1)


def reversed_blocks(intervals: Sequence[stats.Interval]) -> bool:
    """Tell whether some block shows a gain and another a loss: both intervals exclude zero."""
    known = [interval for interval in intervals if interval.known]
    return any(interval.low > 0 for interval in known) and any(interval.high < 0 for interval in known)


def seed_spread(scores: np.ndarray) -> float:
    """Return the standard deviation of the mean from seed to seed, for scores (questions, seeds) of the same questions.

    All seeds ask the same questions, so the questions add nothing to it. It is NaN for one seed.
    """
    if scores.ndim != 2 or not scores.size or not np.isfinite(scores).all():
        raise WorkbenchError(f"seeds are compared on finite scores (questions, seeds), got shape {scores.shape}")
    return float(scores.mean(axis=0).std(ddof=1)) if scores.shape[1] > 1 else math.nan
