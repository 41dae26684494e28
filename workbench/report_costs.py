"""Tell what a configuration costs, and which of several is the cheapest."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.metrics import ANSWER_METRICS
from workbench.registry import unknown

if TYPE_CHECKING:
    from workbench.report import Row

ONE = 1.0  # standard error within which a candidate may be preferred for its cost
AMONG = "Of those within one standard error of the best"


@dataclass(frozen=True)
class Cost:
    """Describe one kind of cost: its name in `prices`, its value for a result (None where it is not known), and how to write it."""

    key: str
    value: Callable[[RunResult], float | None]
    words: str  # "needs the fewest tokens"
    form: str  # "{} a question"
    advice: str  # where the value comes from


def tokens(result: RunResult) -> float | None:
    """Return the mean tokens of prompt and answer a question, None where they are not known."""
    sums = result.details.get("answers") or {}
    counts = [sums.get(name) for name in ("prompt_tokens", "completion_tokens")]
    return None if None in counts else sum(counts)


def megabytes(result: RunResult) -> float | None:
    """Return the size of the index in MB."""
    size = result.details.get("index_bytes")
    return None if size is None else size / 1e6


COSTS: Mapping[str, Cost] = {  # by their words in tables and plots
    "tokens a question": Cost(
        "tokens",
        tokens,
        "needs the fewest tokens",
        "{} a question, prompt and answer",
        "run it with a generator that counts its tokens",
    ),
    "ms a query": Cost(
        "latency_ms",
        lambda result: result.timings.get("query_median_ms"),
        "is the fastest",
        "{} ms a query",
        "measure it with experiment_latency.with_latency, as notebook 02 does",
    ),
    "chunks": Cost("chunks", lambda result: result.details.get("chunks"), "has the fewest chunks", "{}", "run it again"),
    "index MB": Cost("index_mb", megabytes, "needs the smallest index", "{} MB", "run it again"),
}
PRICED: Mapping[str, Cost] = {cost.key: cost for cost in COSTS.values()}


def figures(value: float) -> str:
    """Write a cost: whole from 100 on, with a tenth below, with two figures below 1, so that none but 0 becomes 0."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def deciding(results: Sequence[RunResult], metric: str) -> str | None:
    """Name the cost that tells these results apart: for answers of one generator their tokens, else time where probed, else the index."""
    answers = metric in ANSWER_METRICS and len({result.settings.generator for result in results}) == 1
    for name in (*(("tokens a question",) if answers else ()), "ms a query", "index MB", "chunks"):
        values = [COSTS[name].value(result) for result in results]
        if None not in values and len(set(values)) > 1:
            return name
    return None


def check_prices(prices: Mapping[str, Any]) -> dict[str, float]:
    """Return the prices as numbers; raise WorkbenchError for an unknown cost, or a price that is no finite number of at least 0."""
    for name, price in prices.items():
        if name not in PRICED:
            raise unknown("cost in prices:", str(name), PRICED)
        if isinstance(price, str):
            raise WorkbenchError(f"prices.{name} {price!r} is a text; write a number such as 0.0000002 or 2.0e-7 (YAML reads 2e-7 as text)")
        if isinstance(price, bool) or not isinstance(price, (int, float)) or not 0 <= price < math.inf:
            raise WorkbenchError(f"prices.{name} {price!r} must be a finite number of at least 0: the price of one unit, for each question")
    return {name: float(price) for name, price in prices.items()}


def money(result: RunResult, prices: Mapping[str, float], name: str = "") -> float:
    """Return what a question costs at these prices, in their currency; `name` is what an error calls the result (its config id).

    Raise WorkbenchError where a cost is not known that has a price above 0.
    """
    total = 0.0
    for key, price in check_prices(prices).items():
        value = PRICED[key].value(result)
        if price and value is None:
            who, advice = name or result.config_id, PRICED[key].advice
            raise WorkbenchError(f"{key} of {who} is not known, so it has no price: {advice}, or take {key} out of the prices")
        total += price * (value or 0.0)
    return total


def cost_per_1000(result: RunResult, prices: Mapping[str, float] | None = None) -> dict[str, float | None]:
    """Return tokens, money and seconds of 1,000 questions, each None where it is not known (money: where no cost has a price).

    Seconds are those of the generator, one question after the other, as first measured; without answers those of the probed query.
    """
    spent = tokens(result)
    answers = result.details.get("answers") or {}
    probed = result.timings.get("query_median_ms")
    seconds = answers.get("seconds") if answers else None if probed is None else probed / 1000
    priced = {key: price for key, price in check_prices(prices or {}).items() if price}
    known = priced and all(PRICED[key].value(result) is not None for key in priced)
    return {
        "tokens": None if spent is None else 1000 * spent,
        "money": 1000 * money(result, priced) if known else None,
        "seconds": None if seconds is None else 1000 * seconds,
    }


def contenders(rows: Sequence[Row]) -> list[Row]:
    """Return the candidates among which cost decides, best first; controls are none.

    They cannot be told from the best one (all pairs tested together) and lie within one standard error of it (Breiman et al. 1984, here of
    the paired difference): few questions tell nobody from anybody, and that must not sell a much lower score for a small saving. Against
    the baseline fewer pairs are tested, so more is shown: who is worse than it is left out, and so is the baseline where another is better.
    """
    candidates = [row for row in rows if not row.control] or list(rows)
    near = [row for row in candidates if row.tied and row.behind <= ONE] or candidates[:1]
    near = [row for row in near if row.difference is None or not row.difference.high < 0] or near
    if any(row.difference and row.difference.low > 0 for row in near):
        near = [row for row in near if row.difference is not None]
    return near


def cheapest(candidates: Sequence[Row], metric: str, prices: Mapping[str, float] | None = None) -> tuple[int, str]:
    """Return the place of the cheapest of several candidates, and a sentence about it; place 0 and "" where nothing tells them apart.

    Candidates come best first: of several that cost the same the best is taken.

    With prices that is the lowest sum of price x cost, else the lowest cost of the kind that `deciding` names. Raise WorkbenchError where
    several are priced and a priced cost of one is not known.
    """
    if prices and len(candidates) > 1:
        values = [1000 * money(row.result, prices, row.label) for row in candidates]
        words, form = "is the cheapest", "{} for 1,000 questions at the prices given"
    else:
        name = deciding([row.result for row in candidates], metric)
        cost = COSTS[name] if name else None
        values = [(cost.value(result) or 0.0) if cost else 0.0 for result in (row.result for row in candidates)]
        words, form = (cost.words, cost.form) if cost else ("", "")
    if len(set(values)) < 2:
        return 0, ""
    place = values.index(min(values))
    label, spent = candidates[place].label, form.format(figures(values[place]))
    if values.count(values[place]) > 1:
        return place, f"{AMONG}, none costs less than {label} ({spent}). "
    return place, f"{AMONG}, {label} {words} ({spent}). "
