"""Choose which of many candidates a page shows, and sum up the scores of all of them quickly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from workbench import stats
from workbench.evaluation import RunResult
from workbench.report import Comparison
from workbench.report_ties import MOST_PAIRED

SHOWN = 200  # rows of a table
DRAWN = MOST_PAIRED  # candidates in a figure
CONTROLS = 10  # controls that are shown however low they score

Summary = dict[str, dict[str, float | int | None]]  # metric -> mean, low, high, n, unscored


def shown(comparison: Comparison, most: int = SHOWN) -> Comparison:
    """Return a comparison with at most so many rows: the best, and whatever they score the baseline and the ten best controls."""
    rows = comparison.rows
    if len(rows) <= most:
        return comparison
    controls = [place for place, row in enumerate(rows) if row.control][:CONTROLS]
    always = {*controls, *(place for place, row in enumerate(rows) if row.difference is None)}
    others = [place for place in range(len(rows)) if place not in always]
    places = sorted({*always, *others[: most - len(always)]})
    return replace(comparison, rows=tuple(rows[place] for place in places))


def rest(shown_rows: int, rows: int) -> str:
    """Say where the candidates are that a table leaves out; "" where it has all."""
    if shown_rows >= rows:
        return ""
    which = f"the best, the baseline and at most {CONTROLS} controls"
    return f"Shown are {shown_rows} of {rows:,} candidates: {which}; the other {rows - shown_rows:,} stand in leaderboard.csv."


def summaries(results: Sequence[RunResult]) -> list[Summary]:
    """Return `RunResult.summary` of each result; of more than MOST_PAIRED those that scored the same questions are computed together."""
    if len(results) <= MOST_PAIRED:
        return [result.summary() for result in results]
    found: list[Summary] = [{} for _ in results]
    for metric in dict.fromkeys(name for result in results for name in result.scores):
        groups: dict[tuple[tuple[str, ...], bytes], list[int]] = {}
        for place, result in enumerate(results):
            if metric in result.scores:
                scored = np.isfinite(np.asarray(result.scores[metric], dtype=float))
                groups.setdefault((result.clusters, scored.tobytes()), []).append(place)
        for (clusters, mask), places in groups.items():
            scored = np.frombuffer(mask, dtype=bool)
            own = [cluster for cluster, kept in zip(clusters, scored, strict=True) if kept]
            intervals = [stats.NOTHING] * len(places)
            if own:
                intervals = stats.mean_intervals(np.stack([results[place].scores[metric][scored] for place in places]), own)
            for place, interval in zip(places, intervals, strict=True):
                found[place][metric] = _summary(interval, 0 if scored.all() else results[place].unscored(metric))
    return [{metric: one[metric] for metric in result.scores} for one, result in zip(found, results, strict=True)]


def _summary(interval: stats.Interval, unscored: int) -> dict[str, float | int | None]:
    bounds = {"mean": interval.mean, "low": interval.low, "high": interval.high} if interval.n else dict.fromkeys(("mean", "low", "high"))
    return {name: value if value == value else None for name, value in bounds.items()} | {"n": interval.n, "unscored": unscored}


def failed_words(failed: int) -> str:
    """Say how many runs have no result, and how many of them a table shows."""
    words = f"{failed} without a result; no comparison above contains them."
    return words + f" The first {SHOWN} are shown, all stand in report.json." * (failed > SHOWN)
