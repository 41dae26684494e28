"""Draw comparisons for notebooks and reports: dots with intervals, never bars, in colours that colour-blind readers can tell apart.

Figures are plain `matplotlib.figure.Figure` objects outside pyplot: no window or list of open figures is involved, and a notebook shows
each one once, where it is the last expression of a cell.
"""

from __future__ import annotations

import io
import itertools
import math
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.fonts import LATIN, korean_family
from workbench.registry import unknown
from workbench.report import Comparison, Row, compare

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

# Okabe and Ito's palette without its yellow, which is too pale for a line on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
BEST, WORSE, BASELINE = "#0072B2", "#7FB8D8", "#D55E00"
SHIFT, SPREAD = 0.045, 0.3  # octaves between neighbouring curves and between all, so that intervals do not cover one another
FILLER = "\u200b"  # zero width
INK, FAINT = "#222222", "#5F5F5F"
WIDTH = 8.0  # inches
TEXT, SMALL = 10.0, 9.0  # points
STYLE = {
    "font.size": TEXT,
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "axes.unicode_minus": False,
    "axes.facecolor": "white",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.labelsize": TEXT,
    "axes.titlesize": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 6.5,
    "grid.color": "#E4E4E4",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": TEXT,
}


def plot_intervals(comparison: Comparison, title: str = "") -> Figure:
    """Draw means and 95 % intervals, best on top: dark when tied with it, light when worse, hollow for a control; dashed: the baseline."""
    import matplotlib

    if not comparison.questions:
        return _empty(comparison.verdict)
    with matplotlib.rc_context(_style()):
        names = [wrap(row.label) for row in comparison.rows]
        room = [max(1.0, 0.6 * len(name.split("\n"))) for name in names]  # names of several lines keep apart
        figure = _figure(1.75 + 0.36 * sum(room) + 0.3 * bool(title))
        axes = figure.subplots()
        _dots(axes, comparison.rows, names, [sum(room[:row]) + (room[row] - 1) / 2 for row in range(len(room))])
        axes.set_xlim(*_limits(comparison.rows))
        axes.set_xlabel(f"{comparison.metric}, 95 % interval")
        alone = len(comparison.rows) == 1
        if not alone:
            base = next(row for row in comparison.rows if row.difference is None)
            _baseline(axes, base.interval.mean, comparison.baseline)
        _finish(figure, title, _caption(comparison.rows), () if alone else comparison.rows)
    return figure


def plot_budgets(results: Sequence[RunResult], metric_family: str = "evidence_recall", highlight: str | None = None) -> Figure:
    """Draw one curve per result: the metric against the context budget in tokens, with 95 % intervals slightly shifted apart.

    `highlight` is a config id; its curve keeps its colour, the others turn grey.
    """
    import matplotlib

    ids = [result.config_id for result in results]
    if highlight is not None and highlight not in ids:
        raise unknown("result", highlight, ids)
    budgets = _budgets(results, metric_family)
    views = [compare(results, f"{metric_family}@{budget}t") for budget in budgets]
    if not all(view.questions for view in views):
        return _empty("No question was scored.")
    tables = [_by_id(view) for view in views]
    with matplotlib.rc_context(_style()):
        figure = _figure(max(4.4, 2.0 + 0.27 * len(results)))
        axes = figure.subplots()
        axes.set_xscale("log", base=2)
        shift = min(SHIFT, SPREAD / len(ids))
        labels = []
        for number, config_id in enumerate(ids):
            rows = [table[config_id] for table in tables]
            strong = highlight in (None, config_id)
            colour = COLOURS[number % len(COLOURS)] if strong else "#A8A8A8"
            places = [budget * 2 ** (shift * (number - (len(ids) - 1) / 2)) for budget in budgets]
            means = [row.interval.mean for row in rows]
            for place, row in zip(places, rows, strict=True):
                bounds = [row.interval.low, row.interval.high]
                axes.plot([place] * 2, bounds, color=colour, alpha=0.55, linewidth=1.4, zorder=2 + strong, gid=f"interval {config_id}")
            line, face = ("--", "white") if rows[0].control else ("-", colour)
            marker = MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]
            axes.plot(places, means, line, marker=marker, color=colour, markerfacecolor=face, zorder=4 + strong, gid=f"means {config_id}")
            labels.append(_end_label(axes, wrap(rows[-1].label), places[-1], means[-1], colour, INK if strong else FAINT))
        axes.set_xticks(budgets, [f"{budget:,}" for budget in budgets])
        axes.minorticks_off()
        axes.set_xlim(budgets[0] / 1.25, budgets[-1] * 1.25)
        axes.grid(axis="y")
        axes.set_xlabel("context budget in tokens (each step doubles)" if _doubles(budgets) else "context budget in tokens (log scale)")
        axes.set_ylabel(f"{metric_family}, 95 % interval")
        _finish(figure, "", _caption(list(tables[0].values())), ())
        _spread(axes, labels)
    return figure


def plot_fixed_k_against_budget(results: Sequence[RunResult], fixed: str = "recall@5", budget: str = "evidence_recall@512t") -> Figure:
    """Draw two aligned panels, candidates in the order of their chunk size: a fixed number of chunks beside an equal budget of tokens.

    A line that leans one way on the left and the other way on the right is a ranking that flips.
    """
    import matplotlib

    views = [compare(results, fixed), compare(results, budget)]
    if not all(view.questions for view in views):
        return _empty("No question was scored.")
    order = sorted(views[0].rows, key=lambda row: (row.result.details["chunk_tokens_mean"], row.label))
    names = [f"{wrap(row.label)}\nmean {row.result.details['chunk_tokens_mean']:.0f} tokens a chunk" for row in order]
    with matplotlib.rc_context(_style()):
        figure = _figure(1.9 + 0.5 * len(order))
        panels = figure.subplots(1, 2, sharey=True, sharex=True)
        panels[0].set_xlim(*_limits([row for view in views for row in view.rows]))
        for axes, view, heading in zip(panels, views, ("same number of chunks", "same number of tokens"), strict=True):
            rows = [_by_id(view)[row.result.config_id] for row in order]
            trend = [(row.interval.mean, place) for place, row in enumerate(rows) if not row.control]
            axes.plot(*zip(*trend, strict=True), color="#9A9A9A", linewidth=1.0, zorder=1, gid="trend")
            _dots(axes, rows, names, range(len(rows)))
            axes.set_title(heading, loc="left")
            axes.set_xlabel(f"{view.metric}, 95 % interval")
        _finish(figure, "", f"Smallest chunks on top. {_caption(views[1].rows)}", [row for view in views for row in view.rows])
    return figure


def wrap(label: str, width: int = 34) -> str:
    """Break text into lines of so many columns; Hangul takes two columns."""
    wide = "".join(sign + FILLER if unicodedata.east_asian_width(sign) in "WF" else sign for sign in label)
    return "\n".join(textwrap.wrap(wide, width)).replace(FILLER, "") or label


def _style() -> dict[str, Any]:
    return {**STYLE, "font.family": [LATIN, korean_family()]}


def _by_id(comparison: Comparison) -> dict[str, Row]:
    return {row.result.config_id: row for row in comparison.rows}


def _figure(height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, round(height, 2)), layout="constrained")
    FigureCanvasAgg(figure)
    figure._repr_png_ = lambda: _png(figure)  # IPython asks the object itself where no matplotlib backend is set up
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _dots(axes: Axes, rows: Sequence[Row], names: Sequence[str], places: Sequence[float]) -> None:
    """Draw one line and one dot for each row at its place, the first on top, and its mean at the right edge."""
    line = {"linewidth": 2.4, "solid_capstyle": "butt", "zorder": 2, "gid": "interval"}
    dot = {"marker": "o", "markersize": 8, "markeredgewidth": 1.8, "zorder": 3, "gid": "mean"}
    for place, row in zip(places, rows, strict=True):
        colour = BEST if row.tied else WORSE
        axes.plot([row.interval.low, row.interval.high], [place] * 2, color=colour, **line)
        axes.plot([row.interval.mean], [place], color=colour, markerfacecolor="white" if row.control else colour, **dot)
        at = {"xy": (1, place), "xycoords": ("axes fraction", "data"), "xytext": (6, 0), "textcoords": "offset points"}
        axes.annotate(
            f"{row.interval.mean:.3f}{' best' * (row.best and len(rows) > 1)}", **at, va="center", fontsize=SMALL, annotation_clip=False
        )
    axes.set_yticks(places, names, linespacing=1.3)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(places[-1] + 0.6, places[0] - 0.6)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)


def _empty(words: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    figure = _figure(1.0)
    figure.text(0.02, 0.5, wrap(words, 90), va="center")
    return figure


def _limits(rows: Sequence[Row]) -> tuple[float, float]:
    """Return x limits with some room around all intervals, even where they are all equal."""
    values = [value for row in rows for value in (row.interval.mean, row.interval.low, row.interval.high) if math.isfinite(value)]
    room = max(0.03 * (max(values) - min(values)), 0.025)
    return min(values) - room, max(values) + room


def _baseline(axes: Axes, value: float, label: str) -> None:
    axes.axvline(value, color=BASELINE, linestyle=(0, (5, 3)), linewidth=1.3, zorder=1, gid="baseline")
    low, high = axes.get_xlim()
    position = (value - low) / (high - low)
    side = "left" if position < 1 / 3 else "right" if position > 2 / 3 else "center"
    at = {"xy": (value, 1), "xycoords": ("data", "axes fraction"), "xytext": (0, 4), "textcoords": "offset points"}
    axes.annotate(f"baseline: {wrap(label, 60)}", **at, ha=side, va="bottom", fontsize=SMALL, color="#A84A00")


def _end_label(axes: Axes, label: str, x: float, y: float, colour: str, ink: str) -> Annotation:
    """Write a label right of the axes, with a thin line to the end of its curve."""
    line = {"arrowstyle": "-", "color": colour, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 4, "relpos": (0, 0.5)}
    at = {"xy": (x, y), "xycoords": "data", "xytext": (1.03, y), "textcoords": ("axes fraction", "data")}
    return axes.annotate(label, **at, va="center", fontsize=SMALL, color=ink, arrowprops=line, annotation_clip=False)


def _spread(axes: Axes, labels: Sequence[Annotation]) -> None:
    """Move labels of a laid out figure up and down as little as needed (least squares) until none covers another; their order stays."""
    from matplotlib.text import Text
    from scipy.optimize import isotonic_regression

    labels = sorted(labels, key=lambda label: label.xyann[1])
    heights = np.array([Text.get_window_extent(label).height for label in labels]) + 3
    wanted = axes.transData.transform([(1, label.xyann[1]) for label in labels])[:, 1]
    stacked = np.cumsum(heights) - heights / 2
    bottoms = isotonic_regression(wanted - stacked).x  # of each label's stack, which must rise from label to label
    centres = np.clip(bottoms, axes.bbox.y0, max(axes.bbox.y0, axes.bbox.y1 - heights.sum())) + stacked
    for label, centre in zip(labels, centres, strict=True):
        label.xyann = (label.xyann[0], axes.transData.inverted().transform((0, centre))[1])


def _finish(figure: Figure, title: str, caption: str, rows: Sequence[Row]) -> None:
    """Add title, legend of the dots that occur, and caption; then fix the layout while the fonts of this module hold."""
    from matplotlib.lines import Line2D

    if title:
        figure.suptitle(wrap(title, 72), x=0.01, ha="left", fontsize=12.5, linespacing=1.3)
    kinds = {
        "cannot be told from the best": (BEST, BEST, any(row.tied for row in rows)),
        "worse than the best": (WORSE, WORSE, any(not row.tied for row in rows)),
        "control": (FAINT, "white", any(row.control for row in rows)),
    }
    dots = {"linestyle": "", "marker": "o", "markersize": 8, "markeredgewidth": 1.8}
    handles = [Line2D([], [], color=edge, markerfacecolor=face, label=name, **dots) for name, (edge, face, shown) in kinds.items() if shown]
    # empty lines above the caption make room for the legend, which the layout would put on top of it
    below = figure.supxlabel("\n\n" * bool(rows) + wrap(caption, 112), x=0.01, ha="left", fontsize=SMALL, color=FAINT, linespacing=1.3)
    if rows:
        top = (below.get_window_extent().height + 4) / figure.bbox.height
        place = {"loc": "upper left", "bbox_to_anchor": (0, top), "borderaxespad": 0}
        figure.legend(handles=handles, **place, ncols=3, frameon=False, fontsize=SMALL, handletextpad=0.2)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # it is laid out: saving need not do it again


def _caption(rows: Sequence[Row]) -> str:
    counts = []
    for noun, sizes in (("question", {row.interval.n for row in rows}), ("document group", {row.interval.clusters for row in rows})):
        size = " to ".join(f"{size:,}" for size in sorted({min(sizes), max(sizes)}))  # refusal precision is asked of what each refused
        counts.append(f"{size} {noun}{'s' * (size != '1')}")
    words = f"n = {' in '.join(counts)}. "
    if not rows[0].interval.known:
        return words + "Intervals are unknown: they need at least two document groups."
    if len(rows) == 1:
        return words
    return words + "Each interval is of one mean; the pairs were tested question by question, so overlapping intervals can still differ."


def _budgets(results: Sequence[RunResult], family: str) -> list[int]:
    """Return the budgets that every result was scored at, ascending; raise WorkbenchError when there is none."""
    found = [{name for name in result.scores if name.startswith(f"{family}@") and name.endswith("t")} for result in results]
    shared = sorted(int(name.removeprefix(f"{family}@").removesuffix("t")) for name in set.intersection(*found)) if found else []
    if not shared:
        raise WorkbenchError(f"no result was scored on {family} at a token budget ({family}@512t); document-level gold has none")
    return shared


def _doubles(budgets: Sequence[int]) -> bool:
    return all(math.isclose(right / left, 2) for left, right in itertools.pairwise(budgets))
