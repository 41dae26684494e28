"""Tell what a configuration costs, and which of several is the cheapest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from workbench.evaluation import RunResult
from workbench.metrics import ANSWER_METRICS


@dataclass(frozen=True)
class Cost:
    """Describe one kind of cost: its value for a result (None where it is not known), and how to write it."""

    value: Callable[[RunResult], float | None]
    words: str  # "needs the fewest tokens"
    form: str  # "{} a question"


def tokens(result: RunResult) -> float | None:
    """Return the mean tokens of prompt and answer a question, None where they are not known."""
    sums = result.details.get("answers") or {}
    counts = [sums.get(name) for name in ("prompt_tokens", "completion_tokens")]
    return None if None in counts else sum(counts)


def megabytes(result: RunResult) -> float | None:
    """Return the size of the index in MB."""
    size = result.details.get("index_bytes")
    return None if size is None else size / 1e6


COSTS: Mapping[str, Cost] = {
    "tokens a question": Cost(tokens, "needs the fewest tokens", "{} a question, prompt and answer"),
    "ms a query": Cost(lambda result: result.timings.get("query_median_ms"), "is the fastest", "{} ms a query"),
    "chunks": Cost(lambda result: result.details.get("chunks"), "needs the smallest index", "{} chunks"),
    "index MB": Cost(megabytes, "needs the smallest index", "{} MB"),
}


def figures(value: float) -> str:
    """Write a cost: whole from 100 on, with a tenth below, with two figures below 1, so that none but 0 becomes 0."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def deciding(results: Sequence[RunResult], metric: str) -> str | None:
    """Name the cost that tells these results apart: for answers of one generator their tokens, else time where probed, else the index."""
    answers = metric in ANSWER_METRICS and len({result.settings.generator for result in results}) == 1
    for name in (*(("tokens a question",) if answers else ()), "ms a query", "chunks", "index MB"):
        values = [COSTS[name].value(result) for result in results]
        if None not in values and len(set(values)) > 1:
            return name
    return None


def cheapest(candidates: Sequence[tuple[str, RunResult]], metric: str) -> tuple[int, str]:
    """Return the place of the cheapest of labelled candidates, and a sentence about it; place 0 and "" where nothing tells them apart."""
    name = deciding([result for _, result in candidates], metric)
    if name is None:
        return 0, ""
    cost = COSTS[name]
    values = [cost.value(result) or 0.0 for _, result in candidates]
    place = min(range(len(candidates)), key=lambda at: (values[at], candidates[at][0]))
    return place, f"Of these, {candidates[place][0]} {cost.words} ({cost.form.format(figures(values[place]))}). "
