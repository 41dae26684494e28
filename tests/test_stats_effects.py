"""Axes and complete blocks of designs, averaged differences, and the spread of seeds: hand-worked."""

import itertools
import math

import numpy as np
import pytest

from workbench import stats_effects
from workbench.datatypes import WorkbenchError
from workbench.stats import Interval


def axes_of(designs, reference=0):
    """Return {settings: (values, number of blocks)} and what is left out."""
    axes, alone = stats_effects.find_axes(designs, reference)
    return {" ".join(axis.settings): ([" ".join(map(str, value)) for value in axis.values], len(axis.blocks)) for axis in axes}, alone


def crossed(**values):
    return [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]


def test_a_full_design_has_all_axes_with_all_blocks():
    found, alone = axes_of(crossed(size=[128, 256, 512], retriever=["dense", "bm25"], top_k=[10]))
    assert found == {"size": (["128", "256", "512"], 2), "retriever": (["dense", "bm25"], 3)}
    assert alone == []


def test_the_reference_comes_first():
    designs = crossed(size=[128, 256, 512], retriever=["dense", "bm25"])
    assert axes_of(designs, reference=3)[0] == {"size": (["256", "128", "512"], 2), "retriever": (["bm25", "dense"], 3)}


def test_only_complete_blocks_count_and_an_axis_without_one_is_named():
    designs = crossed(size=[128, 256], retriever=["dense", "bm25"])
    assert axes_of(designs[:-1])[0] == {"size": (["128", "256"], 1), "retriever": (["dense", "bm25"], 1)}
    apart = [{"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 2, "b": 2}, {"a": 3, "b": 2}]
    assert axes_of(apart) == ({"b": (["1", "2"], 1)}, ["a"])


def test_settings_that_vary_together_are_one_axis():
    designs = [{"size": 128, "overlap": 16, "k": 5}, {"size": 256, "overlap": 32, "k": 5}]
    assert axes_of([*designs, *({**design, "k": 9} for design in designs)]) == (
        {"size overlap": (["128 16", "256 32"], 2), "k": (["5", "9"], 2)},
        [],
    )
    # one follows the other: it is no axis of its own, since every value has other sizes
    assert axes_of([{"size": 1, "overlap": 0}, {"size": 2, "overlap": 0}, {"size": 3, "overlap": 8}]) == (
        {"size overlap": (["1 0", "2 0", "3 8"], 1)},
        [],
    )


def test_a_setting_that_does_nothing_somewhere_has_no_value_there():
    designs = [
        {"retriever": "dense", "embedder": "a"},
        {"retriever": "dense", "embedder": "b"},
        {"retriever": "bm25", "embedder": None},
    ]
    assert axes_of(designs) == ({"embedder": (["a", "b"], 1)}, ["retriever"])
    assert axes_of(designs[1:]) == ({"retriever": (["dense", "bm25"], 1)}, [])


def test_of_equal_candidates_the_first_counts():
    (axis,), _ = stats_effects.find_axes([{"size": 1}, {"size": 2}, {"size": 2}])
    assert axis.pairs((2,)) == [(1, 0)]


@pytest.mark.parametrize("designs", [[], [{"size": 1}], [{"size": 1}, {"size": 1}]])
def test_nothing_varies(designs):
    assert stats_effects.find_axes(designs) == ([], [])


def test_contrasts_average_differences_question_by_question():
    table = np.array([[1.0, 0.0, 0.5, 0.0], [0.0, 1.0, 1.0, 0.5]])
    found = stats_effects.contrasts(table, [[(0, 1), (2, 3)], [(3, 0)]])
    assert found.tolist() == [[0.75, -1.0], [-0.25, 0.5]]


def test_blocks_reverse_only_where_both_signs_are_shown():
    gain, loss, open_ = Interval(0.2, 0.1, 0.3, 9, 9), Interval(-0.2, -0.3, -0.1, 9, 9), Interval(-0.2, -0.5, 0.1, 9, 9)
    assert stats_effects.reversed_blocks([gain, open_, loss])
    assert not stats_effects.reversed_blocks([gain, open_])
    assert not stats_effects.reversed_blocks([loss, Interval(0.3, math.nan, math.nan, 1, 1)])


def test_the_spread_of_seeds_has_no_part_of_the_questions():
    # means 0.5, 0.6, 0.7: standard deviation 0.1, however unlike the questions are
    scores = np.array([[0.0, 0.1, 0.2], [1.0, 1.1, 1.2]])
    assert stats_effects.seed_spread(scores) == pytest.approx(0.1)
    assert math.isnan(stats_effects.seed_spread(scores[:, :1]))
    with pytest.raises(WorkbenchError, match=r"finite scores \(questions, seeds\)"):
        stats_effects.seed_spread(np.array([[math.nan, 1.0]]))
