"""Draw the plots of report.html as SVG text, without any library: the same results give the same bytes.

Each plot is drawn for a wide and for a narrow page, so that its letters keep their size; the style sheet of the page shows one of the two
and gives every colour through a class. Shapes differ wherever colours do.
"""

from __future__ import annotations

import html
import itertools
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.evaluation import RunResult
from workbench.metrics import BUDGET_METRIC
from workbench.report import Comparison, Row, format_interval
from workbench.report_shown import DRAWN, rest, shown
from workbench.report_words import LEGEND
from workbench.stats import Interval

WIDE, NARROW = 900, 340  # pixels
LETTER, LINE = 13, 17  # pixels
MAX_CURVES = 8
# control characters other than \t and \n, direction overrides, halves of surrogate pairs: HTML cannot show them, or shows something else
UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
FOLDERS = re.compile(r"(?:file://|(?<![\w/.]))/(?!/)(?:[^\s/'\"<>|;:,]+/)+|(?<!\w)[A-Za-z]:[\\/](?:[^\s\\/'\"<>|;:,]+[\\/])*")


def safe(text: object) -> str:
    """Escape untrusted text for HTML and SVG, elements and attributes alike."""
    return html.escape(UNSHOWABLE.sub("\N{REPLACEMENT CHARACTER}", str(text).replace("\r\n", "\n").replace("\r", "\n")), quote=True)


def own(text: object) -> str:
    """Escape text of the workbench itself; the folders of absolute paths become "…/", since a report travels (SC2)."""
    return safe(FOLDERS.sub("…/", str(text)))


@dataclass(frozen=True)
class Axis:
    """Map values from low to high onto pixels from start to end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, most: int) -> list[float]:
        """Return at most so many round values within the axis and within 0 to 1."""
        for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0):
            values = [step * number for number in range(round(1 / step) + 1) if self.low - 1e-9 <= step * number <= self.high + 1e-9]
            if len(values) <= most:
                break
        return values


def fit_axis(intervals: Sequence[Interval], start: float, end: float) -> Axis:
    """Return an axis that shows all means and bounds, with a little room and a span of 0.1 at least."""
    values = [value for interval in intervals for value in (interval.mean, interval.low, interval.high) if not math.isnan(value)]
    low, high = min(values), max(values)
    room = max(0.04 * (high - low), (0.1 - (high - low)) / 2)
    return Axis(low - room, high + room, start, end)


def role(row: Row, alone: bool = False) -> list[str]:
    """Return what marks a candidate: best, tied or not compared, baseline, control."""
    words = ["best"] if row.best else ["tied"] if row.tied else [] if row.compared else ["not compared"]
    return words + ["baseline"] * (row.difference is None and not alone) + ["control"] * row.control


def interval_figure(comparison: Comparison, name: str) -> str:
    """Return the interval plot with a legend of the marks that occur and a note on how to read it."""
    drawn = shown(comparison, DRAWN)
    kinds = {mark for row in drawn.rows for mark in role(row, len(drawn.rows) == 1)}
    kinds |= {"tied" if row.tied else "worse" for row in drawn.rows if row.compared}
    legend = "".join(f'<span class="{style}" data-sign="{sign}">{words}</span>' for kind, style, sign, words in LEGEND if kind in kinds)
    note = "Each interval is of one mean. Pairs were tested question by question, so candidates whose intervals overlap can still differ."
    note += f" {rest(len(drawn.rows), len(comparison.rows))}".rstrip()
    drawing = interval_plot(drawn, name)
    return f'<figure><div class="legend">{legend}</div>{drawing}<figcaption>{note}</figcaption></figure>'


def interval_plot(comparison: Comparison, name: str) -> str:
    """Draw each candidate's mean with its interval, best on top, and a dashed line at the baseline's mean."""
    alone = len(comparison.rows) == 1
    seen = "; ".join(
        f"{row.label}: {format_interval(row.interval)}{''.join(f', {word}' for word in role(row, alone))}" for row in comparison.rows
    )
    title = f"{comparison.metric} of {len(comparison.rows)} candidates, mean with 95 % interval"
    return "".join(
        svg_frame(_intervals(comparison, width), width, f"{name}-{width}", title, f"Best first. {seen}.") for width in (WIDE, NARROW)
    )


def _intervals(comparison: Comparison, width: int) -> tuple[str, float]:
    rows, narrow, alone = comparison.rows, width == NARROW, len(comparison.rows) == 1
    gutter = 0 if narrow else 150  # right of the plot: the mean and its marks
    room = width - 130 if narrow else 0.4 * width
    labels = [wrap(row.label, room) for row in rows]
    left = 8 if narrow else 24 + max(measure(line) for lines in labels for line in lines)
    axis = fit_axis([row.interval for row in rows], left, width - gutter - 8)
    parts, bottom = [], 30.0
    marks = []
    for row, lines in zip(rows, labels, strict=True):
        words = role(row, alone)
        height = LINE * len(lines) + (34 if narrow else 11)
        middle = bottom + (LINE * len(lines) + 11 if narrow else height / 2)
        first = bottom + LINE - 3 if narrow else middle - LINE * (len(lines) - 1) / 2 + 4.5
        style = "label strong" if row.best else "label"
        marks += [svg_text(0, first + LINE * number, line, style) for number, line in enumerate(lines)]
        marks.append(
            svg_text(width if narrow else width - gutter + 14, first if narrow else middle + 4.5, f"{row.interval.mean:.3f}", style, narrow)
        )
        if words:
            place = (width - 44, first) if narrow else (width - gutter + 60, middle + 4.5)
            marks.append(svg_text(*place, " · ".join(words), "note", end=narrow))
        kind = "best" if row.best else "tied" if row.tied else "other"
        marks.append(
            f'<g class="mark {kind}{" hollow" * row.control}"><title>{own(f"{row.label}: {format_interval(row.interval)}")}</title>'
        )
        if row.interval.known:
            marks.append(svg_line(axis(row.interval.low), middle, axis(row.interval.high), middle, "reach"))
        marks += [svg_marker("diamond" if row.best else "circle", axis(row.interval.mean), middle, 6.5 if row.best else 5), "</g>"]
        bottom += height
    for tick in axis.ticks(5 if narrow else 9):
        parts += [
            svg_line(axis(tick), 26, axis(tick), bottom, "grid"),
            svg_text(axis(tick), bottom + 18, f"{tick:.2f}", "note", middle=True),
        ]
    base = next(row for row in rows if row.difference is None)
    if not alone:
        x, heading = axis(base.interval.mean), f"baseline {base.interval.mean:.3f}"
        half = measure(heading) / 2
        parts += [svg_line(x, 22, x, bottom, "base"), svg_text(min(max(x, half), width - half), 14, heading, "note", middle=True)]
    return "".join(parts + marks), bottom + 26


def choose_curves(comparison: Comparison) -> list[Row]:
    """Return at most 8 rows in their order: the best, the baseline, two controls, then tied ones, then the others from the top."""
    rows = comparison.rows
    first = [place for place, row in enumerate(rows) if row.best or row.difference is None]
    first += [place for place, row in enumerate(rows) if row.control and place not in first][:2]
    others = sorted((place for place in range(len(rows)) if place not in first), key=lambda place: not rows[place].tied)
    return [rows[place] for place in sorted([*first, *others][:MAX_CURVES])]


def measured(results: Sequence[RunResult]) -> set[str]:
    """Return the metrics on which every result has a scored question."""
    return set.intersection(*({name for name in result.scores if np.isfinite(result.scores[name]).any()} for result in results))


def budgets(results: Sequence[RunResult]) -> list[int]:
    """Return the context budgets in tokens at which every result is scored, ascending."""
    found = (re.fullmatch(rf"{BUDGET_METRIC}@(\d+)t", name) for name in measured(results))
    return sorted(int(match[1]) for match in found if match)


def budget_plot(comparison: Comparison, name: str, characters_per_token: float = 0) -> str:
    """Draw evidence recall against the context budget, one line a candidate with 95 % intervals.

    The budgets also stand in characters where `characters_per_token` is not 0.
    """
    rows = choose_curves(comparison)
    sizes = budgets([row.result for row in rows])
    curves = {id(row): {budget: row.result.interval(f"{BUDGET_METRIC}@{budget}t") for budget in sizes} for row in rows}
    seen = "; ".join(
        f"{row.label}: " + ", ".join(f"{budget} tokens {value.mean:.3f}" for budget, value in curves[id(row)].items()) for row in rows
    )
    title = f"{BUDGET_METRIC} against the context budget, {len(rows)} of {len(comparison.rows)} candidates, mean with 95 % interval"
    drawings = {width: _curves(rows, [curves[id(row)] for row in rows], width, characters_per_token) for width in (WIDE, NARROW)}
    return "".join(svg_frame(drawing, width, f"{name}-{width}", title, f"{seen}.") for width, drawing in drawings.items())


def _curves(rows: Sequence[Row], curves: Sequence[Mapping[int, Interval]], width: int, characters_per_token: float) -> tuple[str, float]:
    narrow, sizes = width == NARROW, list(curves[0])
    labels = [wrap(row.label + " (baseline)" * ("baseline" in role(row, len(rows) == 1)), width - 40 if narrow else 300) for row in rows]
    right = width - 10 if narrow else width - 60 - max(measure(line) for lines in labels for line in lines)
    tall = 250 if narrow else max(380, sum(LINE * len(lines) + 6 for lines in labels) + 30)
    across = Axis(math.log2(sizes[0]), math.log2(sizes[-1]), 60, right - 16)
    up = fit_axis([interval for curve in curves for interval in curve.values()], tall, 10)
    parts = [
        svg_line(44, up(tick), right, up(tick), "grid") + svg_text(36, up(tick) + 4.5, f"{tick:.2f}", "note", end=True)
        for tick in up.ticks(6)
    ]
    for size in sizes:
        x = across(math.log2(size))
        parts += [svg_line(x, tall, x, tall + 5, "axis"), svg_text(x, tall + 20, f"{size:,}", "note", middle=True)]
        if characters_per_token:
            parts.append(svg_text(x, tall + 36, f"≈ {size * characters_per_token:,.0f}", "note", middle=True))
    under = "context budget in tokens" + (", and in characters" if characters_per_token else "") + ("" if narrow else " (log scale)")
    parts.append(svg_text((44 + right) / 2, tall + (56 if characters_per_token else 40), under, "note", middle=True))
    bottom = tall + (56 if characters_per_token else 40) + (32 if narrow else 16)
    hues = itertools.cycle(("hue1", "hue2", "hue3", "hue4"))
    shapes = itertools.cycle(("square", "triangle", "wedge"))
    layers: list[str] = []
    ends = spread([up(curve[sizes[-1]].mean) for curve in curves], [LINE * len(lines) + 6 for lines in labels], tall)
    for number, (row, curve, lines, end) in enumerate(zip(rows, curves, labels, ends, strict=True)):
        special = "best" if row.best else "baseline" if row.difference is None else "control" if row.control else ""
        shape = "diamond" if special == "best" else "circle" if special else next(shapes)
        shift = (number - (len(rows) - 1) / 2) * (1.6 if narrow else 4)  # so that intervals at one budget stand side by side
        points = [(across(math.log2(size)) + shift, interval) for size, interval in curve.items()]
        path = " ".join(f"{x:.1f},{up(interval.mean):.1f}" for x, interval in points)
        style = (special or next(hues)) + " hollow" * row.control
        drawn = [f'<g class="curve {style}"><title>{own(row.label)}</title><polyline points="{path}"/>']
        drawn += [svg_line(x, up(interval.low), x, up(interval.high), "whisker") for x, interval in points if interval.known]
        drawn += [svg_marker(shape, x, up(interval.mean), 4) for x, interval in points]
        if narrow:
            drawn += [svg_line(0, bottom - 4.5, 22, bottom - 4.5, "key"), svg_marker(shape, 11, bottom - 4.5, 4)]
            place, x, bottom = bottom, 32, bottom + LINE * len(lines) + 6
        else:
            place, x = end - LINE * (len(lines) - 1) / 2 + 4.5, right + 40
            drawn += [svg_line(points[-1][0] + 8, up(points[-1][1].mean), x - 16, end, "leader"), svg_marker(shape, x - 10, end, 4)]
        drawn += [svg_text(x, place + LINE * line, words, "label strong" if row.best else "label") for line, words in enumerate(lines)]
        layers.insert(0, "".join(drawn) + "</g>")  # the best is drawn last, over the others
    return "".join(parts + layers), bottom


def spread(wanted: Sequence[float], heights: Sequence[float], bottom: float) -> list[float]:
    """Move label centres apart until none covers another, in their order, and up again where they would pass the bottom."""
    order = sorted(range(len(wanted)), key=lambda number: wanted[number])
    centres, floor = list(wanted), 0.0
    for number in order:
        centres[number] = max(wanted[number], floor + heights[number] / 2)
        floor = centres[number] + heights[number] / 2
    ceiling = max(bottom, sum(heights))
    for number in reversed(order):
        centres[number] = min(centres[number], ceiling - heights[number] / 2)
        ceiling = centres[number] - heights[number] / 2
    return centres


def measure(text: str) -> float:
    """Estimate the width of a text in pixels: Hangul, Han, kana and emoji are square, other letters a little wider than half that."""
    return sum(LETTER if unicodedata.east_asian_width(letter) in "WF" else 0.6 * LETTER for letter in text)


def wrap(label: str, room: float) -> list[str]:
    """Break a label into lines of at most `room` pixels, between its fields where that is possible."""
    lines = [""]
    for word in re.split(r"(?<=·) ", label):
        if lines[-1] and measure(f"{lines[-1]} {word}") > room:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
        while measure(lines[-1]) > room:
            cut = next(end for end in range(len(lines[-1]) - 1, 0, -1) if measure(lines[-1][:end]) <= room or end == 1)
            lines[-1:] = [lines[-1][:cut], lines[-1][cut:]]
    return lines


def svg_frame(drawing: tuple[str, float], width: int, name: str, title: str, description: str) -> str:
    """Return a drawing (its elements and height) as an SVG element with its texts for readers who do not see it."""
    body, height = drawing
    kind = "narrow" if width == NARROW else "wide"
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height:.0f}" role="img" aria-labelledby="{name}-title {name}-text">'
        f'<title id="{name}-title">{own(title)}</title><desc id="{name}-text">{own(description)}</desc>{body}</svg>'
    )


def svg_text(x: float, y: float, words: str, style: str, end: bool = False, middle: bool = False) -> str:
    """Return a text that starts, ends or has its middle at x; `style` names its classes."""
    anchor = ' text-anchor="end"' if end else ' text-anchor="middle"' if middle else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}"{anchor}>{own(words)}</text>'


def svg_line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    """Return a straight line; `style` names its classes."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def svg_marker(shape: str, x: float, y: float, size: float) -> str:
    """Return a mark around a point: circle, diamond, square, triangle or wedge."""
    corners = {
        "diamond": ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
        "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
        "triangle": ((0, -1.2), (1.1, 0.9), (-1.1, 0.9)),
        "wedge": ((0, 1.2), (1.1, -0.9), (-1.1, -0.9)),
    }
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}"/>'
    return '<polygon points="' + " ".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in corners[shape]) + '"/>'
