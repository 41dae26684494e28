"""The plot of score against cost in report.html: who is named, where points stand, what costs cannot be drawn."""

import itertools
import re
from dataclasses import replace

import pytest
from factories import make_result

from workbench import report
from workbench.report_pareto import beside_points, pareto_figure


def comparison(*candidates: tuple[int, float]) -> report.Comparison:
    """Compare made-up candidates: chunk size (the smaller, the more chunks) and mean score."""
    results = [make_result({"recall@5": [score - 0.1, score + 0.1] * 6}, chunk_size=size) for size, score in candidates]
    return report.compare(results)


def test_the_front_the_best_and_the_baseline_are_named_and_nobody_else() -> None:
    figure = pareto_figure(comparison((512, 0.3), (256, 0.6), (128, 0.5), (64, 0.8)), "chunks", "x")
    wide = figure.split("</svg>")[0]
    assert re.findall(r'class="label[^"]*"[^>]*>([^<]*\d+ tokens[^<]*)<', wide) == [
        "64 tokens",
        "256 tokens",
        "512 tokens (baseline)",
    ]
    assert "128 tokens: 0.500" in wide  # in the description and at the point


def test_points_stand_at_their_cost_and_mean() -> None:
    wide = pareto_figure(comparison((512, 0.4), (256, 0.6), (128, 0.8)), "chunks", "x").split("</svg>")[0]
    corners = re.search(r'class="front" points="([^"]*)"', wide)
    assert corners
    points = [tuple(map(float, pair.split(","))) for pair in corners[1].split()]
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    assert xs == sorted(xs)
    assert ys == sorted(ys, reverse=True)  # higher scores stand higher
    costs = sorted(set(xs))[:3]
    assert costs[2] - costs[1] == pytest.approx(2 * (costs[1] - costs[0]), rel=0.01)  # 125, 250 and 500 chunks


def test_costs_that_are_alike_or_unknown_are_not_drawn() -> None:
    assert pareto_figure(comparison((256, 0.5)), "chunks", "x") == ""
    assert pareto_figure(comparison((512, 0.4), (256, 0.6)), "tokens a question", "x") == ""


def test_far_costs_use_a_logarithmic_axis_and_labels_are_escaped() -> None:
    compared = comparison((10, 0.4), (5000, 0.6))
    rows = tuple(replace(row, label=f"<b>{row.label}</b>") for row in compared.rows)
    figure = pareto_figure(replace(compared, rows=rows), "chunks", "x")
    assert "chunks (log scale)" in figure
    assert "<b>" not in figure


def test_letters_of_points_close_together_do_not_cover_one_another() -> None:
    points = [(100.0, 50.0), (104.0, 51.0), (100.0, 50.0), (300.0, 50.0), (98.0, 200.0)]
    heights = beside_points(points)
    assert heights[0] == 50
    assert heights[3:] == [50, 200]  # far from the others sideways, or up and down
    close = sorted(heights[:3])
    assert all(after - before >= 13 for before, after in itertools.pairwise(close))
    assert max(abs(height - y) for height, (_, y) in zip(heights, points, strict=True)) <= 27
    assert all(0 < height < 320 for height in beside_points([(0.0, 319.0)] * 20))


def test_a_letter_moved_far_has_a_line_to_its_point() -> None:
    far = pareto_figure(comparison((512, 0.3), (256, 0.6), (128, 0.8)), "chunks", "x")
    near = pareto_figure(comparison((514, 0.499), (513, 0.5), (512, 0.501), (64, 0.9)), "chunks", "x")
    assert 'class="leader"' not in far
    assert 'class="leader"' in near


def test_where_only_candidates_of_one_cost_are_drawn_there_is_no_plot() -> None:
    """Of many candidates the best are drawn, and these may cost the same."""
    alike = [(512, 0.9 - number / 10_000) for number in range(120)]
    assert pareto_figure(comparison(*alike, (256, 0.1)), "chunks", "x") == ""
