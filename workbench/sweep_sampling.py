"""Draw points of a grid by a seed, those of the baseline always among them; a grid of any size costs no more than its sample."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.datatypes import WorkbenchError
from workbench.notebook import singular

COMPARED_APART = ("dataset", "split", "limit", "seed", "primary")  # reports compare within one value of these


def size_of(axes: Mapping[str, Sequence[Any]]) -> int:
    """Return the number of combinations of a grid."""
    return math.prod(map(len, axes.values()))


def draw(
    axes: Mapping[str, Sequence[Any]], samples: int, seed: int, baseline: Mapping[str, Any], held: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    """Return so many combinations of the grid, in its order; with more samples of the same seed all of them stay.

    `baseline` holds settings, `held` the parameters that do not vary. Raise WorkbenchError when there are fewer samples than baselines, or
    fewer combinations than samples.
    """
    size = size_of(axes)
    if samples > size:
        raise WorkbenchError(f"samples: {samples:,} is more than the {size:,} combinations there are; set sampler: grid")
    drawn = dict.fromkeys(_baselines(axes, baseline, held))
    if len(drawn) > samples:
        raise WorkbenchError(f"samples: {samples:,} must be at least {len(drawn)}, so that every comparison has its baseline")
    generator = random.Random(seed)
    while len(drawn) < samples:
        drawn[generator.randrange(size)] = None
    return [_combination(number, axes) for number in sorted(drawn)]


def _combination(number: int, axes: Mapping[str, Sequence[Any]]) -> tuple[Any, ...]:
    """Return the values at a place of the grid, counted as itertools.product counts."""
    values = []
    for axis in reversed(axes.values()):
        number, at = divmod(number, len(axis))
        values.append(axis[at])
    return tuple(values[::-1])


def _baselines(axes: Mapping[str, Sequence[Any]], wanted: Mapping[str, Any], held: Mapping[str, Any]) -> list[int]:
    """Return the place of the first combination with the baseline's settings, on each data set and whatever else is compared apart."""
    if not wanted or not all(_fits(name, value, wanted) for name, value in held.items() if name not in axes):
        return []
    numbers = [0]
    for name, values in axes.items():
        fitting = [at for at, value in enumerate(values) if _fits(name, value, wanted)]
        if (singular(name) or name) not in COMPARED_APART:
            fitting = fitting[:1]
        numbers = [number * len(values) + at for number in numbers for at in fitting]
    return numbers


def _fits(name: str, value: Any, wanted: Mapping[str, Any]) -> bool:
    """Tell whether a parameter allows the baseline's setting, as reports look for it: "bm25:english" is "bm25" too."""
    field = singular(name) or name
    if field not in wanted:
        return True
    values = value if field != name and isinstance(value, list) else [value]
    return any(item == wanted[field] or (isinstance(item, str) and item.partition(":")[0] == wanted[field]) for item in values)
