"""Points drawn of a grid: distinct, by a seed, in the order of the grid, with those of the baseline."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.datatypes import WorkbenchError
from workbench.sweep_sampling import draw, size_of

AXES = {"dataset": ["demo-en", "demo-ko"], "chunker": ["fixed", "recursive", "sentence"], "chunk_sizes": [[64], [128, 256]]}


@given(lengths=st.lists(st.integers(1, 5), max_size=4), share=st.floats(0.01, 1), seed=st.integers(0, 2**40))
def test_a_draw_is_distinct_in_order_and_grows(lengths: list[int], share: float, seed: int) -> None:
    axes = {f"axis{number}": list(range(length)) for number, length in enumerate(lengths)}
    whole = list(itertools.product(*axes.values()))
    assert size_of(axes) == len(whole)
    samples = max(1, int(share * len(whole)))
    drawn = draw(axes, samples, seed, {}, {})
    assert drawn == [values for values in whole if values in set(drawn)]
    assert len(set(drawn)) == len(drawn) == samples
    assert set(drawn) <= set(draw(axes, min(samples + 1, len(whole)), seed, {}, {}))
    assert draw(axes, len(whole), seed, {}, {}) == whole


def test_every_point_is_drawn_equally_often() -> None:
    drawn = [draw({"a": list(range(4)), "b": list(range(5))}, 5, seed, {}, {}) for seed in range(2000)]
    counts = [sum((a, b) in points for points in drawn) for a in range(4) for b in range(5)]
    assert min(counts) > 430  # 500 expected, standard deviation 19
    assert max(counts) < 570


def test_a_grid_of_any_size_can_be_drawn_from() -> None:
    axes = {f"axis{number}": list(range(100)) for number in range(20)}
    assert len(set(draw(axes, 1000, 0, {}, {}))) == 1000


@pytest.mark.parametrize(
    ("baseline", "held", "expected"),
    [
        ({}, {}, []),
        ({"chunker": "recursive"}, {}, [("demo-en", "recursive", [64]), ("demo-ko", "recursive", [64])]),  # reports compare within data
        ({"chunk_size": 256}, {}, [("demo-en", "fixed", [128, 256]), ("demo-ko", "fixed", [128, 256])]),  # one of the run's values
        ({"dataset": "demo-ko", "chunk_size": 64}, {}, [("demo-ko", "fixed", [64])]),
        ({"chunker": "markdown"}, {}, []),
        ({"chunker": "recursive", "top_k": 5}, {"top_k": 10}, []),  # held at another value: not in the grid
        ({"dataset": "demo-en", "retriever": "bm25"}, {"retriever": "bm25:english"}, [("demo-en", "fixed", [64])]),
        ({"dataset": "demo-en", "retriever": "bm25"}, {"retrievers": ["dense", "bm25"]}, [("demo-en", "fixed", [64])]),
        ({"dataset": "demo-en", "shot_count": 0}, {"note": "x"}, [("demo-en", "fixed", [64])]),  # no parameter: the notebook's own
    ],
)
def test_the_baseline_is_always_drawn(baseline: dict[str, Any], held: dict[str, Any], expected: list[Any]) -> None:
    least = max(1, len(expected))
    found = [draw(AXES, least, seed, baseline, held) for seed in range(6)]
    assert all(expected in (points, []) for points in found)
    assert (found[0] == found[1] == found[2] == found[3]) == bool(expected)
    for points in (draw(AXES, 4, seed, baseline, held) for seed in range(6)):
        assert all(point in points for point in expected)


def test_too_few_and_too_many_samples_are_refused() -> None:
    with pytest.raises(WorkbenchError, match="samples: 1 must be at least 2, so that every comparison has its baseline"):
        draw(AXES, 1, 0, {"chunker": "fixed"}, {})
    with pytest.raises(WorkbenchError, match="samples: 13 is more than the 12 combinations there are; set sampler: grid"):
        draw(AXES, 13, 0, {}, {})
