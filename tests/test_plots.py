"""Figures: true numbers, readable text in two languages, no overlaps."""

import io
import itertools
import subprocess
import sys
import warnings

import matplotlib
import numpy as np
import pytest
from factories import make_answered_results
from IPython.core.formatters import PNGFormatter
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from workbench import fonts, report_plots
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.report import compare
from workbench.settings import Settings

BUDGETS = (256, 512, 1024, 2048)
KOREAN = "청크 크기에 따른 근거 재현율: 맹장 수술 안내문과 사내 규정 (질문 60개)"


def make_result(level: float, number: int, groups: int = 12, **fields: object) -> RunResult:
    """Make a result of 60 questions whose scores lie around `level`."""
    rng = np.random.default_rng(number)
    shared = np.random.default_rng(99).normal(0, 0.2, 60)
    scores = {
        f"evidence_recall@{budget}t": np.clip(level + 0.08 * step + shared + rng.normal(0, 0.05, 60), 0, 1)
        for step, budget in enumerate(BUDGETS)
    }
    scores["recall@5"] = np.clip(1 - level + shared + rng.normal(0, 0.05, 60), 0, 1)
    settings = Settings(**{"embedder": "intfloat/multilingual-e5-small", "primary": "evidence_recall@512t", **fields})
    details = {"chunks": 1000 // (number + 1), "chunk_tokens_mean": settings.chunk_size * 0.8}
    names = tuple(f"q{item}" for item in range(60))
    return RunResult(settings, names, tuple(f"g{item % groups}" for item in range(60)), scores, {"fingerprint": "f"}, details=details)


@pytest.fixture
def results() -> list[RunResult]:
    """Give three sizes, of which the second is best and the first two are close, and two controls."""
    sizes = [make_result(level, number, chunk_size=size) for number, (size, level) in enumerate([(128, 0.545), (256, 0.55), (1024, 0.4)])]
    return [*sizes, make_result(0.2, 3, chunker="whole"), make_result(0.1, 4, retriever="random")]


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def lines(figure: Figure, gid: str, axes: int = 0) -> list:
    return [line for line in figure.axes[axes].lines if line.get_gid() == gid]


def texts(figure: Figure) -> list[Text]:
    """Return all texts that are drawn; ticks beyond the limits of an axis are not."""
    figure.draw_without_rendering()
    beyond = []
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        beyond += [label for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high for label in (tick.label1, tick.label2)]
    return [item for item in figure.findobj(Text) if item.get_visible() and item.get_text().strip() and item not in beyond]


def box(text: Text):
    return Text.get_window_extent(text)  # without the arrow of an annotation


def test_intervals_show_the_numbers_of_the_comparison(results):
    comparison = compare(results, baseline=results[0].config_id)
    figure = report_plots.plot_intervals(comparison)
    drawn, means = lines(figure, "interval"), lines(figure, "mean")
    assert [list(line.get_xdata()) for line in drawn] == [[row.interval.low, row.interval.high] for row in comparison.rows]
    assert [float(line.get_xdata()[0]) for line in means] == [row.interval.mean for row in comparison.rows]
    assert [float(line.get_ydata()[0]) for line in means] == [0, 1, 2, 3, 4]
    assert figure.axes[0].yaxis_inverted()  # so the first row, the best one, is on top
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [row.label for row in comparison.rows]
    (base,) = lines(figure, "baseline")
    assert base.get_xdata()[0] == results[0].interval("evidence_recall@512t").mean
    assert base.get_linestyle() == "--"
    words = [text.get_text() for text in texts(figure)]
    assert f"baseline: {comparison.baseline}" in words
    assert "evidence_recall@512t, 95 % interval" in words
    assert any("n = 60 questions in 12 document groups" in word for word in words)
    assert not figure.axes[0].patches  # no bars
    assert len(figure.axes[0].lines) == 2 * 5 + 1


def test_dots_are_dark_when_tied_lighter_when_worse_hollow_for_controls(results):
    comparison = compare(results)
    assert [row.tied for row in comparison.rows] == [True, True, False, False, False]
    means = lines(report_plots.plot_intervals(comparison), "mean")
    assert [to_hex(line.get_color()).upper() for line in means] == [report_plots.BEST] * 2 + [report_plots.WORSE] * 3
    assert [line.get_markerfacecolor() == "white" for line in means] == [False, False, False, True, True]


def test_intervals_of_one_document_group_draw_dots_and_say_so():
    comparison = compare([make_result(0.5, 0, groups=1), make_result(0.4, 1, groups=1, chunk_size=64)])
    figure = report_plots.plot_intervals(comparison)
    assert len(lines(figure, "mean")) == 2
    assert any("Intervals are unknown" in text.get_text() for text in texts(figure))
    assert any("in 1 document group." in text.get_text() for text in texts(figure))


def test_answers_are_drawn_like_any_metric():
    made = make_answered_results("demo-ko", "ko")
    comparison = compare(made, "answer_f1")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        figure = report_plots.plot_intervals(comparison, "프롬프트에 따른 답변 점수")
        png(figure)
    words = [text.get_text() for text in texts(figure)]
    assert "answer_f1, 95 % interval" in words
    assert any("n = 80 questions in 16 document groups." in word for word in words)
    assert {"cannot be told from the best", "worse than the best"} <= set(words)
    assert "SmolLM2-135M-Instruct · prompt\nconcise:ko" in words
    refusers = compare([made[0], made[1], made[3]], "refusal_precision")
    few, many = sorted(row.interval.n for row in refusers.rows)[::2]
    assert few < many
    captions = [text.get_text() for text in texts(report_plots.plot_intervals(refusers))]
    assert any(f"n = {few} to {many} questions in" in caption for caption in captions)


def test_nothing_scored_is_said_in_place_of_a_plot():
    made = make_answered_results()
    for result in made:
        for values in result.scores.values():
            values[:] = np.nan
    for figure in (report_plots.plot_intervals(compare(made)), report_plots.plot_budgets(made)):
        assert "o question was scored" in texts(figure)[0].get_text()


def test_equal_candidates_do_not_fill_the_panel():
    result = make_result(0.5, 0, groups=1)  # so the interval is unknown
    same = RunResult(result.settings, result.example_ids, result.clusters, {"recall@5": np.full(60, 0.5)}, result.data)
    low, high = report_plots.plot_intervals(compare([same], "recall@5")).axes[0].get_xlim()
    assert low == pytest.approx(0.475)
    assert high == pytest.approx(0.525)


def test_budget_curves_show_the_numbers_at_shifted_budgets(results):
    figure = report_plots.plot_budgets(results)
    axes = figure.axes[0]
    assert list(axes.get_xticks()) == list(BUDGETS)
    assert axes.get_xscale() == "log"
    for result in results:
        intervals = [result.interval(f"evidence_recall@{budget}t") for budget in BUDGETS]
        (curve,) = lines(figure, f"means {result.config_id}")
        assert list(curve.get_ydata()) == [interval.mean for interval in intervals]
        assert np.all(np.abs(np.log2(curve.get_xdata() / np.array(BUDGETS))) < 0.25)
        drawn = [list(line.get_ydata()) for line in lines(figure, f"interval {result.config_id}")]
        assert drawn == [[interval.low, interval.high] for interval in intervals]
    places = [float(lines(figure, f"means {result.config_id}")[0].get_xdata()[0]) for result in results]
    assert places == sorted(set(places))
    looks = {(line.get_color(), line.get_marker()) for line in axes.lines if line.get_gid().startswith("means")}
    assert len(looks) == len(results)


def test_highlight_keeps_one_colour(results):
    chosen = results[1].config_id
    figure = report_plots.plot_budgets(results, highlight=chosen)
    colours = {result.config_id: lines(figure, f"means {result.config_id}")[0].get_color() for result in results}
    assert colours.pop(chosen) == report_plots.COLOURS[1]
    assert set(colours.values()) == {"#A8A8A8"}


def test_end_labels_never_cover_one_another():
    crowd = [make_result(0.5 + 0.001 * number, number, chunk_size=32 * (number + 1)) for number in range(14)]
    figure = report_plots.plot_budgets(crowd)
    figure.draw_without_rendering()
    labels = [text for text in figure.axes[0].texts if text.get_text()]
    assert len(labels) == 14
    for left, right in itertools.combinations(labels, 2):
        assert not box(left).overlaps(box(right))
    order = sorted(labels, key=lambda label: label.xyann[1])
    assert [label.xy[1] for label in order] == sorted(label.xy[1] for label in labels)


def test_flip_panels_share_the_order_of_chunk_sizes(results):
    figure = report_plots.plot_fixed_k_against_budget(results)
    sizes = sorted((result.details["chunk_tokens_mean"], result.config_id) for result in results)
    assert [f"mean {size:.0f} tokens a chunk" for size, _ in sizes] == [
        label.get_text().splitlines()[-1] for label in figure.axes[0].get_yticklabels()
    ]
    for panel, metric in enumerate(("recall@5", "evidence_recall@512t")):
        expected = {round(result.interval(metric).mean, 12): result.details["chunk_tokens_mean"] for result in results}
        drawn = [round(float(line.get_xdata()[0]), 12) for line in lines(figure, "mean", panel)]
        assert [expected[mean] for mean in drawn] == [size for size, _ in sizes]
        bests = [text.get_text() for text in figure.axes[panel].texts if "best" in text.get_text()]
        assert bests == [f"{max(expected):.3f} best"]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()


@pytest.mark.parametrize("kind", ["intervals", "budgets", "flip"])
def test_text_is_large_enough_inside_the_figure_and_uncovered(results, kind):
    figure = {
        "intervals": lambda: report_plots.plot_intervals(compare(results), KOREAN),
        "budgets": lambda: report_plots.plot_budgets(results),
        "flip": lambda: report_plots.plot_fixed_k_against_budget(results),
    }[kind]()
    found = texts(figure)
    assert min(text.get_fontsize() for text in found) >= 9
    for text in found:
        extent = box(text)
        assert extent.x0 >= 0
        assert extent.x1 <= figure.bbox.width
        assert extent.y0 >= 0
        assert extent.y1 <= figure.bbox.height
    legends = [item for legend in figure.legends for item in legend.get_texts()]
    others = [text for text in found if text not in legends and text is not figure._supxlabel]  # the caption leaves room for the legend
    for left, right in itertools.combinations(others, 2):
        assert not box(left).overlaps(box(right)), (left.get_text(), right.get_text())
    for text in others:
        assert not any(legend.get_window_extent().overlaps(box(text)) for legend in figure.legends), text.get_text()


def test_names_of_three_lines_keep_apart():
    names = [f"st:company/embedder-{number} with a name that is far too long for one line and for two of a plot" for number in range(4)]
    figure = report_plots.plot_intervals(compare([make_result(0.5, number, embedder=name) for number, name in enumerate(names)]))
    figure.canvas.draw()
    found = list(figure.axes[0].get_yticklabels())
    assert all(text.get_text().count("\n") == 2 for text in found)
    assert not any(box(left).overlaps(box(right)) for left, right in itertools.combinations(found, 2))


def test_korean_renders_without_missing_glyphs_and_the_check_can_fail():
    korean = [make_result(0.5, 0, embedder="회사/사내-임베딩"), make_result(0.4, 1, embedder="회사/맹꽁이-모델")]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        png(report_plots.plot_intervals(compare(korean), KOREAN))
        png(report_plots.plot_budgets(korean))
        png(report_plots.plot_fixed_k_against_budget(korean))
    plain = Figure()
    plain.text(0.5, 0.5, KOREAN, fontfamily="DejaVu Sans")
    with pytest.warns(UserWarning, match=r"Glyph .* missing"):
        png(plain)


def test_use_korean_font_draws_korean_and_minus_signs():
    with matplotlib.rc_context():
        family = fonts.use_korean_font()
        assert matplotlib.rcParams["font.family"][0] == family
        assert family in fonts.FAMILIES
        assert matplotlib.rcParams["axes.unicode_minus"] is False
        figure = Figure()
        figure.subplots().plot([-1, 1])
        figure.suptitle(f"{KOREAN} − ● →")
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            png(figure)


def test_font_comes_from_the_package_that_is_never_imported(monkeypatch):
    monkeypatch.setattr(fonts, "FAMILIES", ("No Such Font",))
    assert fonts.korean_family() == "NanumGothic"
    assert fonts.packaged_files()[0].name == "NanumGothic.ttf"
    assert "koreanize_matplotlib" not in sys.modules


def test_no_korean_font_names_what_to_install(monkeypatch):
    monkeypatch.setattr(fonts, "FAMILIES", ("No Such Font",))
    monkeypatch.setattr(fonts, "PACKAGE", "no-such-package")
    with pytest.raises(WorkbenchError, match="no font with Hangul: install one of No Such Font, or the package no-such-package"):
        fonts.use_korean_font()


def test_figures_are_the_same_every_time_and_leave_rcparams_alone(results):
    before = dict(matplotlib.rcParams)
    comparison = compare(results)
    assert png(report_plots.plot_intervals(comparison, "a")) == png(report_plots.plot_intervals(comparison, "a"))
    assert dict(matplotlib.rcParams) == before


def test_ipython_shows_the_figure_as_png(results):
    figure = report_plots.plot_intervals(compare(results))
    assert PNGFormatter()(figure) == png(figure)
    assert png(figure).startswith(b"\x89PNG")


def test_bad_input_is_named(results):
    with pytest.raises(WorkbenchError, match="unknown result 'abc'"):
        report_plots.plot_budgets(results, highlight="abc")
    with pytest.raises(WorkbenchError, match="no result was scored on ndcg at a token budget"):
        report_plots.plot_budgets(results, "ndcg")
    with pytest.raises(WorkbenchError, match="at a token budget"):
        report_plots.plot_budgets([])


def test_long_labels_wrap_by_columns():
    assert report_plots.wrap("가나다라 마바사아", 8) == "가나다라\n마바사아"
    assert report_plots.wrap("abcd efgh", 8) == "abcd\nefgh"
    assert report_plots.wrap("가나다라마", 4) == "가나\n다라\n마"


def test_importing_loads_no_matplotlib():
    check = "import sys, workbench.report_plots, workbench.fonts; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
