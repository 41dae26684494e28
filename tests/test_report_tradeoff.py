"""Score against cost: the table, the candidates that nothing beats, and a plot that can be read in two languages."""

import functools
import itertools
import warnings
from collections.abc import Sequence
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from factories import make_answered_results, make_results
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from test_plots import box, lines, make_result, png, texts

from workbench import report_plots
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.report import Comparison, Row, compare
from workbench.report_tradeoff import cost_table, plot_tradeoff, undominated
from workbench.stats import Interval

STEPS = "Dark steps join those that nothing beats on both."
LONG = "st:회사/사내-문서-검색-임베딩-모델-한국어-특화-대형판-v3-양자화하지-않은-것"


def timed(results: Sequence[RunResult], *milliseconds: float | None) -> list[RunResult]:
    return [replace(result, timings={"query_median_ms": ms}) for result, ms in zip(results, milliseconds, strict=True)]


@functools.cache
def compared(number: int) -> Comparison:
    """Compare the first of twelve Korean candidates, once."""
    return compare(make_results("demo-ko", "ko")[:number])


def drawn(*milliseconds: float) -> tuple[Comparison, Figure]:
    """Draw as many candidates, best first, with these times."""
    rows = compared(len(milliseconds)).rows
    slow = timed([row.result for row in rows], *milliseconds)
    comparison = replace(compared(len(rows)), rows=tuple(replace(row, result=result) for row, result in zip(rows, slow, strict=True)))
    return comparison, plot_tradeoff(comparison, "ms a query")


def dots(figure: Figure) -> list:
    return [line for line in figure.axes[0].lines if line.get_marker() == "o"]


# --- what nothing beats ---------------------------------------------------------------------------------------------------------------


def front(*candidates: tuple[float, float]) -> list[int]:
    """Return what is undominated among pairs of cost and mean."""
    rows = [Row(None, "", Interval(mean, mean, mean, 1, 1), None, False, False, False) for _, mean in candidates]
    return undominated(rows, [cost for cost, _ in candidates])


@pytest.mark.parametrize(
    ("candidates", "places"),
    [
        ([(5, 0.5)], [0]),
        ([(3, 0.9), (1, 0.5), (2, 0.7)], [1, 2, 0]),
        ([(3, 0.5), (1, 0.5), (2, 0.4)], [1]),
        ([(1, 0.5), (1, 0.7), (1, 0.6)], [1]),
        ([(0, 0.1), (0, 0.0), (7, 0.1), (8, 0.2)], [0, 3]),
        ([(1, 0.5), (1, 0.5)], [0]),
    ],
)
def test_what_nothing_beats_worked_by_hand(candidates: list, places: list[int]) -> None:
    assert front(*candidates) == places


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_a_candidate_is_kept_or_another_is_as_good_and_as_cheap(candidates: list[tuple[int, int]]) -> None:
    kept = front(*candidates)
    for (cost, mean), (dearer, higher) in itertools.pairwise(candidates[place] for place in kept):
        assert cost < dearer
        assert mean < higher
    for cost, mean in candidates:
        assert any(candidates[place][0] <= cost and candidates[place][1] >= mean for place in kept)


# --- the table ------------------------------------------------------------------------------------------------------------------------


def cells(table: str) -> list[list[str]]:
    return [[cell.strip().replace("\\", "") for cell in line.strip("|").split(" | ")] for line in table.splitlines()]


def test_the_table_has_a_column_for_each_known_cost_and_none_for_the_others() -> None:
    known = {"chunks": 1500, "index_bytes": 2_345_678, "truncated": 0.0123, "embedder_precision": "int8 weights"}
    first, second, control = timed(make_results()[:2] + make_results()[10:11], 0.04, 120.6, 3.0)
    comparison = compare([replace(first, details=known), replace(second, details={"chunks": 9}), replace(control, details={"chunks": 1})])
    header, _, *rows = cells(cost_table(comparison, ["recall@5"]))
    assert header[1:] == [
        "evidence_recall@512t [95 %]", "tied with best", "recall@5", "ms a query", "chunks", "index MB", "texts cut", "embedder weights"
    ]  # fmt: skip
    by_label = {row[0]: row[2:] for row in rows}
    mean, shown = first.interval("recall@5"), by_label["128 tokens"]
    assert shown == ["●", f"{mean.mean:.3f} [{mean.low:.3f}, {mean.high:.3f}]", "0.04", "1,500", "2.3", "1.2%", "int8 weights"]
    assert by_label["256 tokens"][2:] == ["121", "9", "–", "–", "–"]
    assert [row[0] for row in rows][-1].endswith("(control)")
    plain = replace(second, timings={}, details={})
    assert cells(cost_table(compare([plain])))[0] == ["configuration", "evidence_recall@512t [95 %]", "tied with best"]


def test_the_table_of_answers_has_tokens_and_escapes_names() -> None:
    results = make_answered_results()
    results[0] = replace(results[0], settings=results[0].settings.replace(prompt="file:my|prompt$x$.md"))
    table = cost_table(compare(results, "answer_f1"))
    assert "| tokens a question |" in table.splitlines()[0]
    assert "my\\|prompt<span>&#36;</span>x" in table
    extractive = next(line for line in table.splitlines() if line.startswith("| extractive"))
    assert extractive.split(" | ")[-2] == "–"  # it has no tokens, which is not 0


def test_the_table_says_what_was_not_scored() -> None:
    results = make_results()[:2]
    for result in results:
        result.scores["evidence_recall@512t"][:] = np.nan
    assert cost_table(compare(results)).count("| not scored |") == 2


# --- the plot -------------------------------------------------------------------------------------------------------------------------


def test_the_plot_shows_the_numbers_of_the_comparison() -> None:
    comparison, figure = drawn(3, 9, 8, 1)
    assert [row.tied for row in comparison.rows] == [True, True, True, False]
    costs = [row.result.timings["query_median_ms"] for row in comparison.rows]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in dots(figure)] == [
        (cost, row.interval.mean) for cost, row in zip(costs, comparison.rows, strict=True)
    ]
    assert [list(line.get_ydata()) for line in lines(figure, "interval")] == [
        [row.interval.low, row.interval.high] for row in comparison.rows
    ]
    assert [to_hex(line.get_color()).upper() for line in dots(figure)] == [
        report_plots.BEST if row.tied else report_plots.WORSE for row in comparison.rows
    ]
    means = {cost: row.interval.mean for cost, row in zip(costs, comparison.rows, strict=True)}
    (steps,) = lines(figure, "front")
    assert list(zip(steps.get_xdata(), steps.get_ydata(), strict=True)) == [(1, means[1]), (3, means[3])]  # the best costs 3
    assert steps.get_drawstyle() == "steps-post"
    words = [text.get_text() for text in texts(figure)]
    assert {"ms a query", "evidence_recall@512t, 95 % interval", STEPS} <= set(words)
    assert any("n = 120 questions in 20 document groups." in word for word in words)
    assert len(figure.axes[0].texts) == 4


def test_controls_are_hollow_and_their_labels_faint() -> None:
    results = make_results()
    comparison = compare(timed([results[0], results[10], results[11]], 1, 2, 3))
    figure = plot_tradeoff(comparison, "ms a query")
    assert [line.get_markerfacecolor() == "white" for line in dots(figure)] == [False, True, True]
    assert [text.get_color() == report_plots.FAINT for text in figure.axes[0].texts] == [False, True, True]


@pytest.mark.parametrize(
    ("milliseconds", "scale", "ticks"),
    [
        ((1, 8), "linear", None),
        ((1, 8.1), "log", {"1", "2", "5"}),
        ((0.05, 3, 1500), "log", {"0.1", "1", "10", "100", "1,000"}),
        ((0, 5, 900), "linear", None),
        ((3, 3, 3), "linear", {"3"}),
        ((0, 0), "linear", {"0"}),
        ((2.5,), "linear", {"2.5"}),
    ],
)
def test_the_axis_is_logarithmic_for_costs_far_apart_and_says_plain_numbers(milliseconds: tuple, scale: str, ticks: set | None) -> None:
    comparison, figure = drawn(*milliseconds)
    axes = figure.axes[0]
    assert axes.get_xscale() == scale
    shown = texts(figure)
    labels = {label.get_text() for label in axes.get_xticklabels() if label in shown}
    assert ticks is None or ticks <= labels
    assert len(set(milliseconds)) > 1 or ticks == labels
    assert all(label.replace(",", "").replace(".", "").isdigit() for label in labels)
    assert (STEPS in [text.get_text() for text in shown]) == (len(lines(figure, "front")[0].get_xdata()) > 1)
    assert len(figure.legends) == (len(comparison.rows) > 1)


FIGURES = {
    "two": lambda: drawn(3, 9)[1],
    "one": lambda: drawn(3)[1],
    "twelve": lambda: drawn(0.4, 3, 9, 27, 50, 80, 120, 33, 12, 6, 1.5, 0.05)[1],
    "twelve of one cost": lambda: drawn(*[3] * 12)[1],
    "twelve that cost nothing": lambda: drawn(*[0] * 12)[1],
    "chunks": lambda: plot_tradeoff(compared(12), "chunks"),
    "answers": lambda: plot_tradeoff(compare(make_answered_results("demo-ko", "ko")[:4], "answer_f1"), "tokens a question"),
    "long Korean names": lambda: plot_tradeoff(
        compare([make_result(0.5, place, embedder=f"{LONG}-{place} 및 그 밖의 것") for place in range(12)]), "chunks"
    ),
    "no intervals": lambda: plot_tradeoff(
        compare([make_result(0.5, place, groups=1, chunk_size=64 + place) for place in (0, 1)]), "chunks"
    ),
}


@pytest.mark.parametrize("kind", FIGURES)
def test_text_is_inside_the_figure_uncovered_and_has_its_glyphs(kind: str) -> None:
    before = dict(matplotlib.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        figure = FIGURES[kind]()
        png(figure)
    assert dict(matplotlib.rcParams) == before
    found = texts(figure)
    assert min(text.get_fontsize() for text in found) >= 9
    for text in found:
        extent = box(text)
        assert extent.x0 >= 0
        assert extent.y0 >= 0
        assert extent.x1 <= figure.bbox.width
        assert extent.y1 <= figure.bbox.height
    legends = [item for legend in figure.legends for item in legend.get_texts()]
    others = [text for text in found if text not in legends and text is not figure._supxlabel]  # the caption leaves room for the legend
    for left, right in itertools.combinations(others, 2):
        assert not box(left).overlaps(box(right)), (left.get_text(), right.get_text())


def test_figures_are_the_same_every_time() -> None:
    assert png(drawn(3, 9)[1]) == png(drawn(3, 9)[1])


def test_what_cannot_be_drawn_is_said() -> None:
    results = make_results()[:2]
    with pytest.raises(WorkbenchError, match=r"unknown cost 'ms per query'; did you mean 'ms a query'\?"):
        plot_tradeoff(compare(results), "ms per query")
    assert "not known for any candidate" in texts(plot_tradeoff(compare(results), "ms a query"))[0].get_text()
    one = plot_tradeoff(compare([*timed(results[:1], 2.0), results[1]]), "ms a query")  # the other is left out
    assert len([line for line in one.axes[0].lines if line.get_gid() == "interval"]) == 1
    for result in results:
        result.scores["evidence_recall@512t"][:] = np.nan
    assert "no question was scored" in texts(plot_tradeoff(compare(results), "chunks"))[0].get_text()
