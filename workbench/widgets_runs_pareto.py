"""Draw score against cost so that a point opens its configuration, by mouse or keyboard. Shapes differ wherever colours do."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench.report import Comparison, Row, format_interval
from workbench.report_costs import COSTS, figures
from workbench.report_pareto import LETTERS, RATIO, _ticks
from workbench.report_shown import DRAWN, shown
from workbench.report_svg import Axis, fit_axis
from workbench.report_tradeoff import undominated
from workbench.widgets_runs_view import role_words
from workbench.widgets_runs_words import say
from workbench.widgets_style import brief

STATIC = Path(__file__).resolve().parent / "static"


def known_costs(comparison: Comparison) -> list[str]:
    """Return the costs (of `report_costs.COSTS`) in which at least two candidates differ, and which are known for at least two."""
    return [name for name in COSTS if len({cost for _, cost in _costs(comparison, name)}) > 1]


def _costs(comparison: Comparison, cost: str) -> list[tuple[Row, float]]:
    return [(row, value) for row in comparison.rows if row.interval.n and (value := COSTS[cost].value(row.result)) is not None]


def scatter(comparison: Comparison, cost: str) -> dict[str, Any]:
    """Return what is drawn, as plain JSON values, places from 0 (left, bottom) to 1: points, the steps of the front, ticks and words.

    Of more than DRAWN candidates the best, the baseline, controls and the front are drawn.
    """
    known = _costs(comparison, cost)
    front = undominated([row for row, _ in known], [value for _, value in known])
    best = {id(row) for row in shown(comparison, DRAWN).rows} | {id(known[at][0]) for at in front[: len(LETTERS)]}
    steps = {known[at][0].result.config_id for at in front[: len(LETTERS)]}
    drawn = sorted(((row, value) for row, value in known if id(row) in best), key=lambda pair: (pair[1], -pair[0].interval.mean))
    values = [value for _, value in drawn]
    low, high = min(values), max(values)
    logarithmic = low > 0 and high / low > RATIO
    scale: Callable[[float], float] = math.log10 if logarithmic else float
    room = 0.06 * (scale(high) - scale(low)) or 1.0
    across = Axis(scale(low) - room, scale(high) + room, 0, 1)
    up = fit_axis([row.interval for row, _ in drawn], 0, 1)
    letters = iter(LETTERS)
    points = []
    for row, value in drawn:
        own = row.interval
        named = row.result.config_id in steps or row.best or row.difference is None
        points.append(
            {
                "key": row.result.config_id,
                "x": across(scale(value)),
                "y": up(own.mean),
                "reach": [up(own.low), up(own.high)] if own.known else None,
                "shape": "diamond" if row.best else "circle" if row.tied else "square",
                "hollow": row.control,
                "ring": row.difference is None,
                "front": row.result.config_id in steps,
                "letter": next(letters, "") if named else "",
                "brief": _words(row, value, cost),
                "words": ", ".join([_words(row, value, cost)] + [say("front")] * (row.result.config_id in steps)),
            }
        )
    return {
        "title": say("plot", metric=comparison.metric, cost=say(cost), drawn=len(drawn), total=len(comparison.rows)),
        "xLabel": say("log", cost=say(cost)) if logarithmic else say(cost),
        "points": points,
        "xTicks": [[across(scale(tick)), figures(tick)] for tick in _ticks(low, high, logarithmic, 6)],
        "yTicks": [[up(tick), f"{tick:.2f}"] for tick in up.ticks(6)],
        "front": say("steps"),
        "legend": [
            {"shape": shape, "hollow": hollow, "ring": ring, "words": say(key)}
            for shape, hollow, ring, key in (
                ("diamond", False, False, "best"),
                ("circle", False, False, "tied"),
                ("square", False, False, "worse"),
                ("circle", True, False, "a control"),
                ("circle", False, True, "the baseline"),
            )
        ],
    }


def _words(row: Row, value: float, cost: str) -> str:
    return ", ".join([brief(row.label), format_interval(row.interval), say(f"so many {cost}", value=figures(value)), *role_words(row)])


def scatter_widget(choose: Callable[[str], object]) -> Any:
    """Return a widget whose trait `plot` takes what `scatter` returns; `choose` is called with the config id of the point opened.

    None where the package anywidget (extra "lab") is not installed.
    """
    if importlib.util.find_spec("anywidget") is None:
        return None
    import anywidget
    import traitlets

    class Scatter(anywidget.AnyWidget):
        _esm = STATIC / "pareto.js"
        _css = STATIC / "pareto.css"
        plot = traitlets.Dict().tag(sync=True)

    def opened(widget: Scatter, content: Mapping[str, Any], _buffers: object) -> None:
        key = content.get("open")
        if any(point["key"] == key for point in widget.plot.get("points", ())):
            choose(str(key))

    widget = Scatter()
    widget.on_msg(opened)
    return widget
