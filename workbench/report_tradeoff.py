"""Show score against cost: a table of what each candidate costs, and a plot with the candidates that nothing beats on both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.registry import unknown
from workbench.report import Comparison, Row, format_interval
from workbench.report_costs import COSTS, figures
from workbench.report_markdown import Markdown, markdown_table
from workbench.report_plots import (
    BEST,
    FAINT,
    INK,
    SMALL,
    WORSE,
    _caption,
    _empty,
    _end_label,
    _figure,
    _finish,
    _limits,
    _spread,
    _style,
    wrap,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE = 8.0  # ratio of the dearest to the cheapest from which the axis is logarithmic
TICKS = "{x:,.10g}"  # 0.05, 20, 1,500,000
FACTS = {"embedder weights": "embedder_precision", "reranker weights": "reranker_precision"}


def cost_table(comparison: Comparison, also: Sequence[str] = ()) -> Markdown:
    """Render what each candidate costs beside its score; `also` names more metrics. Columns that are empty for all are left out."""
    rows = []
    for row in comparison.rows:
        details = row.result.details
        cells = {"configuration": row.label + (" (control)" if row.control else "")}
        cells |= {f"{comparison.metric} [95 %]": format_interval(row.interval), "tied with best": "●" if row.tied else ""}
        cells |= {metric: format_interval(row.result.interval(metric)) for metric in also}
        for name, cost in COSTS.items():
            value = cost.value(row.result)
            cells[name] = "–" if value is None else figures(value)
        share = details.get("truncated")
        cells["texts cut"] = "–" if share is None else f"{share:.1%}"
        cells |= {title: details.get(field) or "–" for title, field in FACTS.items()}
        rows.append(cells)
    header = [name for name in rows[0] if {cells[name] for cells in rows} - {"–", ""}]
    return markdown_table(header, [[cells[name] for name in header] for cells in rows])


def undominated(rows: Sequence[Row], costs: Sequence[float]) -> list[int]:
    """Return the places of the rows that no other beats on score without costing more, cheapest first."""
    order = sorted(range(len(rows)), key=lambda at: (costs[at], -rows[at].interval.mean))
    kept: list[int] = []
    for at in order:
        if not kept or rows[at].interval.mean > rows[kept[-1]].interval.mean:
            kept.append(at)
    return kept


def label_height(labels: Sequence[str]) -> float:
    """Return the inches that labels at the ends of curves need, one above the other."""
    return sum(0.05 + 0.16 * (wrap(label).count("\n") + 1) for label in labels)


def plot_tradeoff(comparison: Comparison, cost: str) -> Figure:
    """Draw each candidate's mean with its 95 % interval against what it costs; a line joins those that nothing beats on both.

    `cost` is a name in COSTS; candidates whose cost is not known (a server that counts no tokens) are left out.
    """
    import matplotlib
    from matplotlib.ticker import LogLocator

    if cost not in COSTS:
        raise unknown("cost", cost, COSTS)
    if not comparison.questions:
        return _empty(comparison.verdict)
    known = [(row, value) for row in comparison.rows if (value := COSTS[cost].value(row.result)) is not None]
    if not known:
        return _empty(f"{cost}: not known for any candidate.")
    rows, costs = [row for row, _ in known], [value for _, value in known]
    with matplotlib.rc_context(_style()):
        figure = _figure(max(4.2, 2.0 + label_height([row.label for row in rows])))
        axes = figure.subplots()
        if min(costs) > 0 and max(costs) / min(costs) > WIDE:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.minorticks_off()
        elif min(costs) == max(costs):
            axes.set_xticks(costs[:1])
        axes.xaxis.set_major_formatter(TICKS)
        front = undominated(rows, costs)
        line = [(costs[at], rows[at].interval.mean) for at in front]
        axes.plot(*zip(*line, strict=True), color=FAINT, linewidth=1.4, drawstyle="steps-post", zorder=4, gid="front")
        labels = []
        for place, row in zip(costs, rows, strict=True):
            colour = BEST if row.tied else WORSE
            axes.plot([place] * 2, [row.interval.low, row.interval.high], color=colour, linewidth=2.0, zorder=2, gid="interval")
            face = "white" if row.control else colour
            axes.plot([place], [row.interval.mean], "o", markersize=8, markeredgewidth=1.8, color=colour, markerfacecolor=face, zorder=5)
            labels.append(_end_label(axes, wrap(row.label), place, row.interval.mean, "#C8C8C8", FAINT if row.control else INK))
        axes.set_ylim(*_limits(rows))
        axes.margins(x=0.06)
        axes.grid(axis="both")
        axes.set_axisbelow(True)
        axes.set_xlabel(cost)
        axes.set_ylabel(f"{comparison.metric}, 95 % interval")
        if len(front) > 1:
            axes.set_title("Dark steps join those that nothing beats on both.", loc="left", fontsize=SMALL, color=FAINT)
        _finish(figure, "", _caption(rows), rows if len(costs) > 1 else ())
        _spread(axes, labels)
    return figure
