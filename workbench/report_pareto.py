"""Draw score against cost for report.html: each candidate with its interval, and the steps that nothing beats on both."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from workbench.report import Comparison, Row, format_interval
from workbench.report_costs import COSTS, figures
from workbench.report_shown import DRAWN, shown
from workbench.report_svg import LETTER, LINE, NARROW, WIDE, Axis, fit_axis, measure, own, svg_frame, svg_line, svg_marker, svg_text, wrap
from workbench.report_tradeoff import undominated

TALL = 320  # pixels
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
RATIO = 8.0  # of the dearest to the cheapest, from which the axis is logarithmic


def pareto_figure(comparison: Comparison, cost: str, name: str) -> str:
    """Return the plot of the candidates whose cost is known, "" where fewer than two differ in it; `cost` is a key of COSTS."""
    known = [(row, value) for row in comparison.rows if (value := COSTS[cost].value(row.result)) is not None]
    if len({value for _, value in known}) < 2:
        return ""
    rows, costs = [row for row, _ in known], [value for _, value in known]
    front, every = undominated(rows, costs), f"{len(rows)}"
    if len(rows) > DRAWN:
        drawn = {id(row) for row in shown(comparison, DRAWN).rows} | {id(rows[at]) for at in front[: len(LETTERS)]}
        kept = [at for at in range(len(rows)) if id(rows[at]) in drawn]
        front = [kept.index(at) for at in front[: len(LETTERS)]]
        every = f"{len(kept)} of {len(rows):,}"
        rows, costs = [rows[at] for at in kept], [costs[at] for at in kept]
        if min(costs) == max(costs):
            return ""  # those that are drawn cost the same, and there is nothing to trade
    seen = "; ".join(f"{row.label}: {format_interval(row.interval)} for {figures(value)}" for row, value in zip(rows, costs, strict=True))
    title = f"{comparison.metric} against {cost}, {every} candidates, mean with 95 % interval"
    drawings = "".join(
        svg_frame(_drawing(rows, costs, front, cost, width), width, f"{name}-{width}", title, f"{seen}.") for width in (WIDE, NARROW)
    )
    note = (
        "Steps join the candidates that nothing beats on both; only these, the best and the baseline are named. Hollow points are controls."
    )
    note += f" {every} candidates are drawn: these, the best, the baseline and controls." * (len(rows) < len(known))
    return f"<figure>{drawings}<figcaption>{note}</figcaption></figure>"


def _drawing(rows: Sequence[Row], costs: Sequence[float], front: Sequence[int], cost: str, width: int) -> tuple[str, float]:
    narrow = width == NARROW
    named = [at for at in range(len(rows)) if at in front or rows[at].best or rows[at].difference is None][: len(LETTERS)]
    labels = {at: wrap(rows[at].label + " (baseline)" * (rows[at].difference is None), width - 50 if narrow else 280) for at in named}
    right = width - 10 if narrow else width - 60 - max(measure(line) for lines in labels.values() for line in lines)
    logarithmic = min(costs) > 0 and max(costs) / min(costs) > RATIO
    places = [math.log10(value) if logarithmic else value for value in costs]
    room = 0.06 * (max(places) - min(places))
    across = Axis(min(places) - room, max(places) + room, 48, right)
    up = fit_axis([row.interval for row in rows], TALL, 12)
    parts = [
        svg_line(44, up(tick), right, up(tick), "grid") + svg_text(36, up(tick) + 4.5, f"{tick:.2f}", "note", end=True)
        for tick in up.ticks(6)
    ]
    for value in _ticks(min(costs), max(costs), logarithmic, 3 if narrow else 6):
        x = across(math.log10(value) if logarithmic else value)
        parts += [svg_line(x, TALL, x, TALL + 5, "axis"), svg_text(x, TALL + 20, figures(value), "note", middle=True)]
    under = cost + " (log scale)" * logarithmic
    parts.append(svg_text((48 + right) / 2, TALL + 40, under, "note", middle=True))
    corners = [(across(places[at]), up(rows[at].interval.mean)) for at in front]
    steps = [corners[0], *(point for (_, before), (x, y) in itertools.pairwise(corners) for point in ((x, before), (x, y)))]
    parts.append('<polyline class="front" points="' + " ".join(f"{x:.1f},{y:.1f}" for x, y in [*steps, (right, steps[-1][1])]) + '"/>')
    for at in reversed(range(len(rows))):  # the best is drawn last
        parts.append(_candidate(rows[at], across(places[at]), up))
    points = [(across(places[at]), up(rows[at].interval.mean)) for at in named]
    for letter, (x, y), beside in zip(LETTERS, points, beside_points(points), strict=False):
        if abs(beside - y) > LINE / 2:
            parts.append(svg_line(x - 10, beside, x - 5, y, "leader"))
        parts.append(svg_text(x - 11, beside + 4.5, letter, "label strong", end=True))
    place, bottom = (10.0, TALL + 60.0) if narrow else (right + 20, 22.0)
    for letter, at in zip(LETTERS, named, strict=False):
        parts += [svg_text(place, bottom, letter, "label strong"), _key(rows[at], place + 22, bottom - 4.5)]
        parts += [svg_text(place + 34, bottom + 17 * line, words, _style(rows[at])) for line, words in enumerate(labels[at])]
        bottom += 17 * len(labels[at]) + 8
    return "".join(parts), max(bottom, TALL + 52.0)


def beside_points(points: Sequence[tuple[float, float]]) -> list[float]:
    """Return the height of the letter beside each point, moved up or down to the nearest place where no letter before it stands."""
    taken: list[tuple[float, float]] = []
    for x, y in points:
        near = [(left, height) for left, height in taken if abs(left - x) < LETTER]
        steps = sorted(range(-2 * len(near), 2 * len(near) + 1), key=lambda step: (abs(step), step))
        free = (y + LETTER * step for step in steps if all(abs(y + LETTER * step - height) >= LETTER for _, height in near))
        taken.append((x, next((height for height in free if 0 < height < TALL), y)))
    return [height for _, height in taken]


def _ticks(low: float, high: float, logarithmic: bool, most: int) -> list[float]:
    """Return at most so many round costs from low to high, and at least the two ends."""
    span = math.log10(high / low) if logarithmic else math.log10(high - low)
    values: list[float] = []
    if logarithmic:
        for steps in ((1, 2, 5), (1, 3), (1,)):
            values = [step * 10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for step in steps]
            values = [value for value in values if low <= value <= high]
            if len(values) <= most:
                break
    else:
        for step in (factor * 10 ** (math.floor(span) + shift) for shift in (-1, 0, 1) for factor in (1, 2, 5)):
            values = [step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
            if len(values) <= most:
                break
    return values if len(values) > 1 else [low, high]


def _kind(row: Row) -> str:
    return f"mark {'best' if row.best else 'tied' if row.tied else 'other'}" + " hollow" * row.control


def _style(row: Row) -> str:
    return "label strong" if row.best else "label"


def _key(row: Row, x: float, y: float) -> str:
    return f'<g class="{_kind(row)}">{svg_marker("diamond" if row.best else "circle", x, y, 5)}</g>'


def _candidate(row: Row, x: float, up: Axis) -> str:
    reach = svg_line(x, up(row.interval.low), x, up(row.interval.high), "reach") if row.interval.known else ""
    shape = svg_marker("diamond" if row.best else "circle", x, up(row.interval.mean), 6.5 if row.best else 5)
    return f'<g class="{_kind(row)}"><title>{own(f"{row.label}: {format_interval(row.interval)}")}</title>{reach}{shape}</g>'
