"""Show what training did: learning curves, what was forgotten elsewhere, and after how many questions it is cheaper than shots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.finetuning import Point, TrainedModel
from workbench.report import format_difference
from workbench.report_costs import tokens
from workbench.report_markdown import Markdown, markdown_table
from workbench.report_plots import COLOURS, FAINT, MARKERS, SMALL, _end_label, _figure, _spread, _style, wrap
from workbench.report_tradeoff import TICKS, label_height
from workbench.stats import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A token trained on costs at most three of a prompt: forward once, backward twice (Kaplan et al. 2020, section 2.1); an adapter's backward
# pass skips the gradients of the frozen weights, so two would do for it.
BACKWARD = 3


@dataclass(frozen=True)
class BreakEven:
    """Hold when training has paid for itself; questions are None where it never does."""

    few: float  # tokens a question, prompt and answer
    tuned: float
    trained: float  # tokens of training, each counted BACKWARD times
    questions: float | None
    questions_by_time: float | None  # by the seconds measured here
    scores: tuple[float, float] = (math.nan, math.nan)  # answer_f1 with shots, and after training

    @property
    def sentence(self) -> str:
        """Say it in words."""
        words = f"A question costs {self.few:.0f} tokens with shots and {self.tuned:.0f} after training, "
        words += f"which took {self.trained:,.0f} (each counted {BACKWARD} times). "
        words += f"Answers score {self.scores[0]:.3f} with shots and {self.scores[1]:.3f} after training. " if self.scores[0] >= 0 else ""
        if self.questions is None:
            return words + "Training saves no tokens, so it never pays for itself that way."
        clock = "" if self.questions_by_time is None else f" (by the seconds measured here: {self.questions_by_time:,.0f})"
        return words + f"Training is cheaper after {self.questions:,.0f} questions{clock}."


def training_table(trained: Mapping[str, TrainedModel]) -> Markdown:
    """Render what each training cost and how its losses moved."""
    rows = []
    for label, model in trained.items():
        first, last = model.points[0], model.points[-1]
        held = [_loss(point.held_out_loss) for point in (first, last)]
        rows.append(
            [label, model.name, str(last.step), f"{model.tokens:,}", f"{model.seconds:.0f}", _loss(last.train_loss), " → ".join(held)]
        )
    header = ["arm", "model", "steps", "tokens", "seconds", "training loss at the end", "held-out loss"]
    return markdown_table(header, rows)


def _loss(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def plot_learning(trained: Mapping[str, TrainedModel]) -> Figure:
    """Draw the losses of each training against its steps: solid on held-out data, dashed on what was trained on."""
    import matplotlib
    from matplotlib.ticker import MaxNLocator

    if not trained:
        raise WorkbenchError("nothing was trained, so there is no learning curve")
    with matplotlib.rc_context(_style()):
        figure = _figure(max(4.0, 1.4 + label_height(list(trained))))
        axes = figure.subplots()
        labels = []
        for place, (label, model) in enumerate(trained.items()):
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[(place + place // len(COLOURS)) % len(MARKERS)]
            held, seen = _curve(model.points, "held_out_loss"), _curve(model.points, "train_loss")
            if held:
                axes.plot(*zip(*held, strict=True), "-", marker=marker, color=colour, gid="held-out")
            if seen:
                axes.plot(
                    *zip(*seen, strict=True), "--", marker=marker, markerfacecolor="white", color=colour, linewidth=1.2, gid="training"
                )
            at = (held or seen)[-1]
            labels.append(_end_label(axes, wrap(label), *at, colour, colour))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.xaxis.set_major_formatter(TICKS)
        axes.set_xlabel("steps")
        axes.set_ylabel("loss (lower is better)")
        axes.grid(axis="y")
        words = "Solid: on held-out questions. Dashed, hollow: on the training data, mean since the point before."
        figure.supxlabel(words, x=0.01, ha="left", fontsize=SMALL, color=FAINT)
        figure.draw_without_rendering()
        _spread(axes, labels)
    return figure


def _curve(points: Sequence[Point], field: str) -> list[tuple[int, float]]:
    return [(point.step, getattr(point, field)) for point in points if getattr(point, field) is not None]


def break_even(few: RunResult, tuned: RunResult, trained: TrainedModel) -> BreakEven:
    """Return after how many questions training a model is cheaper than showing shots with each; both runs must have answered."""
    costs = [tokens(result) for result in (few, tuned)]
    if None in costs:
        raise WorkbenchError("break-even needs the tokens of both runs; their generators do not tell them")
    with_shots, without = (cost or 0.0 for cost in costs)
    seconds = [result.details["answers"]["seconds"] for result in (few, tuned)]
    paid = BACKWARD * trained.tokens
    questions = math.ceil(paid / (with_shots - without)) if with_shots > without else None
    saved = None if None in seconds else seconds[0] - seconds[1]
    by_time = math.ceil(trained.seconds / saved) if saved and saved > 0 else None
    scores = (few.interval("answer_f1").mean, tuned.interval("answer_f1").mean)
    return BreakEven(with_shots, without, paid, questions, by_time, scores)


def plot_break_even(found: BreakEven) -> Figure:
    """Draw the tokens spent on so many questions, with shots and after training."""
    import matplotlib
    from matplotlib.ticker import MaxNLocator

    last = 2 * (found.questions or 1000)
    with matplotlib.rc_context(_style()):
        figure = _figure(3.6)
        axes = figure.subplots()
        lines = (("with shots", 0.0, found.few), ("after training", found.trained, found.tuned))
        labels = []
        for place, (label, start, slope) in enumerate(lines):
            end = (start + slope * last) / 1000
            axes.plot([0, last], [start / 1000, end], "-" if place else "--", color=COLOURS[place], gid=label)
            labels.append(_end_label(axes, label, last, end, COLOURS[place], COLOURS[place]))
        if found.questions:
            axes.axvline(found.questions, color=FAINT, linewidth=1.0, linestyle=":", gid="break-even")
            at = {"xy": (found.questions, 0), "xytext": (4, 6), "textcoords": "offset points"}
            axes.annotate(f"{found.questions:,.0f} questions", **at, fontsize=SMALL, color=FAINT)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(TICKS)
        axes.set_xlabel("questions answered")
        axes.set_ylabel("thousand tokens")
        axes.set_xlim(0, last)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        figure.draw_without_rendering()
        _spread(axes, labels)
    return figure


def forgetting_sentence(name: str, difference: Interval) -> str:
    """Say how the loss on another domain changed; `difference` is after minus before training, question by question."""
    if not difference.known:
        return f"On {name}, {difference.n} questions: the loss changed by {difference.mean:+.3f} [unknown]."
    change = (
        "No change is shown."
        if difference.low <= 0 <= difference.high
        else f"The model {'forgot' if difference.mean > 0 else 'gained'} there."
    )
    where = f"{difference.n} questions in {difference.clusters} document groups that have nothing to do with the training"
    words = format_difference(difference).replace("adjusted p", "p")  # one test, so nothing is adjusted
    return f"On {name}, {where}: the loss of the gold answers changed by {words}. {change}"
