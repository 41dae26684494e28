"""What training did, in words, tables and curves: numbers worked by hand, text that can be read in two languages."""

import itertools
import math
import warnings
from pathlib import Path

import matplotlib
import pytest
from factories import make_result
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from test_plots import box, lines, png, texts

from workbench import report_plots
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.finetuning import Point, TrainedModel
from workbench.finetuning_report import BreakEven, break_even, forgetting_sentence, plot_break_even, plot_learning, training_table
from workbench.models import LocalModel
from workbench.stats import Interval

MODEL = LocalModel("trained/a", "generator", Path("made"), "0", "fp32", ("en",), 32, None, "MIT")
CONTROL = "섞은 답으로 훈련한 모델 (대조군, 질문마다 다른 질문의 답)"
LOSSES = ((0, None, 2.5), (2, 2.25, 1.75), (5, 1.5, 1.125))  # step, on the training data, on held-out data


def trained(
    losses: tuple[tuple[int, float | None, float | None], ...] = LOSSES, name: str = "a", tokens: int = 1000, seconds: float = 60
) -> TrainedModel:
    points = tuple(Point(step, step / 5, seen, held, 10.0 * step) for step, seen, held in losses)
    return TrainedModel(f"trained/{name}", MODEL, points, seconds, tokens)


def answered(prompt: float | None, new: float | None, seconds: float | None = 2.0) -> RunResult:
    sums = {"prompt_tokens": prompt, "completion_tokens": new, "seconds": seconds}
    return make_result({"answer_f1": [0.5]}, generator="hf:a", details={"answers": sums})


# --- the table ------------------------------------------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_each_training_and_unknown_losses_are_not_zero() -> None:
    arms = {"LoRA": trained(tokens=1_234_567, seconds=12.6), "a|b$x$": trained(((0, None, None), (1, 2.0, None)), "b"), "둘": trained()}
    header, _, *rows = training_table(arms).splitlines()
    assert header == "| arm | model | steps | tokens | seconds | training loss at the end | held-out loss |"
    assert rows[0] == "| LoRA | trained/a | 5 | 1,234,567 | 13 | 1.500 | 2.500 → 1.125 |"
    assert rows[1] == "| a\\|b<span>&#36;</span>x<span>&#36;</span> | trained/b | 1 | 1,000 | 60 | 2.000 | – → – |"
    assert len(rows) == 3


# --- learning curves ------------------------------------------------------------------------------------------------------------------


def curve(figure: Figure, gid: str) -> list[list[tuple[float, float]]]:
    return [list(zip(*line.get_data(), strict=True)) for line in lines(figure, gid)]


def test_curves_show_each_loss_where_it_is_known() -> None:
    figure = plot_learning({"LoRA": trained(), CONTROL: trained(((0, None, None), (5, 2.5, None)), "b")})
    assert curve(figure, "held-out") == [[(0, 2.5), (2, 1.75), (5, 1.125)]]
    assert curve(figure, "training") == [[(2, 2.25), (5, 1.5)], [(5, 2.5)]]
    (held,), (seen, other) = lines(figure, "held-out"), lines(figure, "training")
    assert (held.get_linestyle(), seen.get_linestyle(), seen.get_markerfacecolor()) == ("-", "--", "white")
    assert held.get_color() == seen.get_color() != other.get_color()
    assert [text.get_text() for text in figure.axes[0].texts] == ["LoRA", report_plots.wrap(CONTROL)]
    assert [text.xy for text in figure.axes[0].texts] == [(5, 1.125), (5, 2.5)]  # each at the end of its curve
    assert {"steps", "loss (lower is better)"} <= {text.get_text() for text in texts(figure)}


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 40, 12_000])
def test_the_steps_on_the_axis_are_whole(steps: int) -> None:
    figure = plot_learning({"LoRA": trained(((0, None, 2.0), (steps, 1.0, 1.0)))})
    found = texts(figure)
    shown = [label.get_text() for label in figure.axes[0].get_xticklabels() if label in found]
    assert len(shown) >= 2
    assert all(label.replace(",", "").isdigit() for label in shown)
    assert len(set(shown)) == len(shown)


def test_twelve_trainings_look_different_and_none_is_refused() -> None:
    figure = plot_learning({f"{number}": trained() for number in range(12)})
    assert len({(line.get_color(), line.get_marker()) for line in lines(figure, "held-out")}) == 12
    with pytest.raises(WorkbenchError, match="nothing was trained, so there is no learning curve"):
        plot_learning({})


# --- breaking even --------------------------------------------------------------------------------------------------------------------


def test_breaking_even_worked_by_hand() -> None:
    found = break_even(answered(900, 20.5, 3.0), answered(300, 20.5, 1.0), trained(tokens=1001, seconds=61))
    assert found == BreakEven(920.5, 320.5, 3003, 6, 31, (0.5, 0.5))  # 3003 / 600 and 61 / 2, rounded up
    assert found.sentence == (
        "A question costs 920 tokens with shots and 320 after training, which took 3,003 (each counted 3 times). "
        "Answers score 0.500 with shots and 0.500 after training. "
        "Training is cheaper after 6 questions (by the seconds measured here: 31)."
    )


@pytest.mark.parametrize(
    ("few", "tuned", "questions", "by_time"),
    [
        (answered(900, 20, None), answered(300, 20, 1.0), 5, None),
        (answered(900, 20, 1.0), answered(300, 20, 1.0), 5, None),
        (answered(900, 20, 1.0), answered(300, 20, 2.0), 5, None),
        (answered(300, 20, 2.0), answered(300, 20, 1.0), None, 60),
        (answered(300, 20, 1.0), answered(320, 20, 1.0), None, None),
    ],
)
def test_training_that_saves_nothing_never_pays(few: RunResult, tuned: RunResult, questions: int | None, by_time: int | None) -> None:
    found = break_even(few, tuned, trained())
    assert (found.questions, found.questions_by_time) == (questions, by_time)
    assert ("never pays for itself that way" in found.sentence) is (questions is None)
    assert ("by the seconds" in found.sentence) is (questions is not None and by_time is not None)


@given(st.integers(1, 10**9), st.integers(0, 5000), st.integers(1, 5000))
def test_one_question_fewer_would_not_pay(tokens: int, tuned: int, saved: int) -> None:
    found = break_even(answered(tuned + saved, 0), answered(tuned, 0), trained(tokens=tokens))
    assert found.questions is not None
    assert found.questions * found.few >= found.questions * found.tuned + found.trained
    assert (found.questions - 1) * found.few < (found.questions - 1) * found.tuned + found.trained


@pytest.mark.parametrize("unknown", [answered(None, 20), answered(900, None), make_result({"recall@5": [1.0]})])
def test_breaking_even_needs_the_tokens_of_both(unknown: RunResult) -> None:
    for pair in ((unknown, answered(1, 1)), (answered(1, 1), unknown)):
        with pytest.raises(WorkbenchError, match="break-even needs the tokens of both runs"):
            break_even(*pair, trained())


@pytest.mark.parametrize(
    ("found", "last"),
    [(BreakEven(900, 300, 3000, 5, None), 10), (BreakEven(300, 320, 3000, None, None), 2000), (BreakEven(9, 8, 0, 0, None), 2000)],
)
def test_the_lines_start_at_what_training_took_and_rise_by_what_a_question_costs(found: BreakEven, last: int) -> None:
    figure = plot_break_even(found)
    assert curve(figure, "with shots") == [[(0, 0), (last, last * found.few / 1000)]]
    assert curve(figure, "after training") == [[(0, found.trained / 1000), (last, (found.trained + last * found.tuned) / 1000)]]
    assert [line.get_xdata()[0] for line in lines(figure, "break-even")] == ([found.questions] if found.questions else [])
    said = [text.get_text() for text in texts(figure)]
    assert {"with shots", "after training", "questions answered", "thousand tokens"} <= set(said)
    assert any(text.endswith(" questions") for text in said) == bool(found.questions)


# --- forgetting -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ((0.2, 0.1, 0.3), "changed by +0.200 [+0.100, +0.300], p 0.020. The model forgot there."),
        ((-0.2, -0.3, -0.1), "changed by -0.200 [-0.300, -0.100], p 0.020. The model gained there."),
        ((0.1, -0.1, 0.3), "changed by +0.100 [-0.100, +0.300], p 0.020. No change is shown."),
        ((0.1, 0.0, 0.2), "changed by +0.100 [+0.000, +0.200], p 0.020. No change is shown."),
    ],
)
def test_forgetting_is_claimed_only_where_it_is_shown(bounds: tuple[float, float, float], words: str) -> None:
    said = forgetting_sentence("demo-ko", Interval(*bounds, 40, 15, p=0.02))
    assert said.startswith("On demo-ko, 40 questions in 15 document groups that have nothing to do with the training: the loss")
    assert said.endswith(words)


def test_forgetting_in_one_document_group_is_unknown() -> None:
    said = forgetting_sentence("demo-ko", Interval(0.25, math.nan, math.nan, 3, 1))
    assert said == "On demo-ko, 3 questions: the loss changed by +0.250 [unknown]."


# --- all figures ----------------------------------------------------------------------------------------------------------------------

FIGURES = {
    "two trainings": lambda: plot_learning({"LoRA": trained(), CONTROL: trained(((0, None, 2.5), (5, 2.0, 2.6)))}),
    "one step": lambda: plot_learning({"LoRA": trained(((0, None, 2.5), (1, 2.0, 2.6)))}),
    "no held-out data": lambda: plot_learning({CONTROL: trained(((0, None, None), (1, 2.0, None), (2, 1.5, None)))}),
    "twelve long names": lambda: plot_learning({f"{CONTROL} 번호 {number}": trained() for number in range(12)}),
    "breaking even": lambda: plot_break_even(BreakEven(900, 300, 1_370_367, 2284, 100)),
    "breaking even late": lambda: plot_break_even(BreakEven(900, 899, 13_703_670, 13_703_670, None)),
    "never breaking even": lambda: plot_break_even(BreakEven(300, 301, 1_370_367, None, None)),
    "breaking even at once": lambda: plot_break_even(BreakEven(900, 300, 7, 1, None)),
}


@pytest.mark.parametrize("kind", FIGURES)
def test_text_is_inside_the_figure_uncovered_and_has_its_glyphs(kind: str) -> None:
    before = dict(matplotlib.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        figure = FIGURES[kind]()
        drawn = png(figure)
    assert dict(matplotlib.rcParams) == before
    found = texts(figure)
    assert min(text.get_fontsize() for text in found) >= 9
    assert not any("e" in text.get_text() for text in found if text.get_text()[:1].isdigit() and "questions" not in text.get_text())
    for text in found:
        extent = box(text)
        assert extent.x0 >= 0
        assert extent.y0 >= 0
        assert extent.x1 <= figure.bbox.width
        assert extent.y1 <= figure.bbox.height
    for left, right in itertools.combinations(found, 2):
        assert not box(left).overlaps(box(right)), (left.get_text(), right.get_text())
    assert png(FIGURES[kind]()) == drawn
