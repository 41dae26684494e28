"""Compare runs on the same questions: leaderboard rows, the set that cannot be told from the best, and a verdict in words."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench import metrics, stats
from workbench.datatypes import WorkbenchError
from workbench.evaluation import Check, RunResult
from workbench.registry import unknown
from workbench.settings import Settings
from workbench.storage import write_csv

HIDDEN_FIELDS = ("dataset", "options", "budgets", "primary")  # shown apart from labels
CONTROLS = ("whole", "random", "hash")  # parts that should lose
MAX_LOST = 0.02  # share of the questions that may lack a score


class Markdown(str):
    """Hold Markdown that JupyterLab renders; its text was escaped where it came from documents or models."""

    def _repr_markdown_(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Row:
    """Hold one candidate of a comparison."""

    result: RunResult
    label: str
    interval: stats.Interval
    difference: stats.Interval | None  # to the baseline, simultaneous; None for the baseline itself
    tied: bool  # not distinguishable from the best
    best: bool

    @property
    def control(self) -> bool:
        return is_control(self.result.settings)


@dataclass(frozen=True)
class Comparison:
    """Hold candidates scored on the same questions, best first."""

    metric: str
    rows: tuple[Row, ...]
    baseline: str
    questions: int
    clusters: int
    verdict: str

    @property
    def lost(self) -> float:
        """Return the share of the questions that some candidate left without a score."""
        total = len(self.rows[0].result.example_ids)
        return (total - self.questions) / total


def is_control(settings: Settings) -> bool:
    """Tell whether a configuration is a control that should lose."""
    return any(getattr(settings, field).split(":")[0] in CONTROLS for field in ("chunker", "retriever", "embedder"))


def varying(results: Sequence[RunResult]) -> list[str]:
    """Return the settings that differ between results, in the order of Settings."""
    return [field for field in Settings.model_fields if len({repr(getattr(result.settings, field)) for result in results}) > 1]


def label(settings: Settings, fields: Sequence[str]) -> str:
    """Name a configuration by the fields that vary, shortly: "recursive 256", "whole document", "bm25:word"."""
    words = []
    for field in fields:
        value = getattr(settings, field)
        if settings.chunker == "whole" and field in ("chunk_size", "chunk_overlap"):
            continue
        if field == "chunker" and value == "whole":
            words.append("whole document")
        elif field == "options":
            words += [f"{part}.{name} {item}" for part, options in value.items() for name, item in options.items()]
        elif field in ("embedder", "index") and value == "none":
            continue
        elif field == "embedder":
            words.append(value.rpartition("/")[2])
        elif field in ("chunker", "retriever", "dataset"):
            words.append(str(value))
        elif field == "chunk_size":
            words.append(f"{value} tokens")
        else:
            words.append(f"{field.replace('_', ' ')} {'none' if value == '' else value}")
    return " · ".join(words) or "the one configuration"


def labels(results: Sequence[RunResult]) -> list[str]:
    """Name each result by the settings that vary, an embedder or index only where there are several; equal names get their config id."""
    fields = [field for field in varying(results) if field not in HIDDEN_FIELDS or field == "options"]
    for field in ("embedder", "index"):
        if field in fields and len({getattr(result.settings, field) for result in results} - {"none"}) < 2:
            fields.remove(field)
    names = [label(result.settings, fields) for result in results]
    return [name if names.count(name) == 1 else f"{name} · {result.config_id}" for name, result in zip(names, results, strict=True)]


def check_comparable(results: Sequence[RunResult]) -> None:
    """Raise WorkbenchError unless all results come from the same questions of the same data (D22, ST1)."""
    if not results:
        raise WorkbenchError("nothing to compare: no results")
    first = results[0]
    for other in results[1:]:
        if other.data["fingerprint"] != first.data["fingerprint"]:
            raise WorkbenchError(f"{first.config_id} and {other.config_id} ran on different data; compare runs on the same data set version")
        if other.example_ids != first.example_ids:
            raise WorkbenchError(f"{first.config_id} and {other.config_id} answered different questions; use the same split, limit and seed")


def compare(results: Sequence[RunResult], metric: str | None = None, baseline: str | None = None, seed: int = 0) -> Comparison:
    """Compare results question by question on one metric (default: their primary).

    `baseline` is a config id, default the first result. Differences to it are simultaneous over all candidates (max-T); the tied set comes from
    max-T over all pairs. Questions that any candidate left unscored are left out for all; more than 2 % of them refuse a verdict.
    """
    check_comparable(results)
    metric = metric or results[0].settings.primary
    for result in results:
        metrics.check_metric(metric, list(result.scores))
    ids = [result.config_id for result in results]
    if baseline is not None and baseline not in ids:
        raise unknown("baseline", baseline, ids)
    base = ids.index(baseline) if baseline else 0
    table = np.stack([np.asarray(result.scores[metric], dtype=float) for result in results], axis=1)
    kept = np.isfinite(table).all(axis=1)
    if not kept.any():
        raise WorkbenchError(f"no question was scored by every candidate on {metric}")
    table, clusters = table[kept], [cluster for cluster, keep in zip(results[0].clusters, kept, strict=True) if keep]
    intervals = [stats.mean_interval(table[:, column], clusters) for column in range(len(results))]
    # equal means: the fewer chunks, the better; then the label decides, so the order is always the same
    names = labels(results)
    order = sorted(range(len(results)), key=lambda i: (-round(intervals[i].mean, 9), results[i].details.get("chunks", 0), names[i]))
    others = [i for i in range(len(results)) if i != base]
    against_base = dict(zip(others, stats.max_t(table[:, others] - table[:, [base]], clusters, seed), strict=True))
    tied = _tied(table, clusters, order[0], seed)
    rows = tuple(Row(results[i], names[i], intervals[i], against_base.get(i), i in tied, i == order[0]) for i in order)
    lost = float((~kept).mean())
    sentence = _verdict(rows, metric, names[base], len(clusters), len(set(clusters)), lost)
    return Comparison(metric, rows, names[base], len(clusters), len(set(clusters)), sentence)


def _tied(table: np.ndarray, clusters: Sequence[str], best: int, seed: int) -> set[int]:
    """Return the columns whose difference to the best one is not shown, all pairs of columns tested at once."""
    columns = table.shape[1]
    pairs = [(left, right) for left in range(columns) for right in range(left + 1, columns)]
    if not pairs:
        return {best}
    intervals = stats.max_t(np.stack([table[:, left] - table[:, right] for left, right in pairs], axis=1), clusters, seed)
    tied = {best}
    for (left, right), interval in zip(pairs, intervals, strict=True):
        if best in (left, right) and not (interval.low > 0 or interval.high < 0):
            tied.add(right if left == best else left)
    return tied


def _verdict(rows: Sequence[Row], metric: str, baseline: str, questions: int, clusters: int, lost: float) -> str:
    head = f"{metric}, {questions} question{'s' * (questions != 1)} in {clusters} document group{'s' * (clusters != 1)}: "
    best = rows[0]
    if lost > MAX_LOST:
        return head + f"no verdict, because {lost:.1%} of the questions were not scored by every candidate."
    if len(rows) == 1:
        return head + f"{best.label} scores {format_interval(best.interval)}. Nothing to compare: there is one candidate."
    if clusters < 2:
        return head + f"{best.label} scores highest ({best.interval.mean:.3f}), but one document group says nothing about others: no difference can be shown."
    words = head + f"{best.label} scores highest, {format_interval(best.interval)}. "
    ties = [row for row in rows if row.tied and not row.best]
    if len(ties) == len(rows) - 1:
        words += "No difference shown: no candidate can be told from it at 95 %, all pairs tested together. "
    elif ties:
        words += f"Not distinguishable from it (95 %, all pairs tested together): {', '.join(row.label for row in ties)}. "
    else:
        words += "It is better than every other candidate (95 %, all pairs tested together). "
    if ties:
        smallest = min((best, *ties), key=lambda row: (row.result.details.get("chunks", math.inf), row.label))
        words += f"Of these, {smallest.label} needs the smallest index ({smallest.result.details.get('chunks', 0)} chunks). "
    if best.difference is not None:
        words += f"Against the baseline {baseline}: {format_difference(best.difference)}."
    else:
        words += "It is the baseline."
    if clusters < stats.FEW_CLUSTERS:
        words += f" With fewer than {stats.FEW_CLUSTERS} document groups these intervals are rough."
    return words


def fixed_k_note(results: Sequence[RunResult], fixed: str, budget: str) -> str:
    """Say whether the best candidate at a fixed number of chunks is also best at an equal context budget (ST6); controls do not count."""
    check_comparable(results)
    names = labels(results)
    order = sorted(range(len(results)), key=lambda i: (results[i].details.get("chunks", 0), names[i]))
    candidates = [i for i in order if not is_control(results[i].settings)] or order
    at_k, at_budget = ({i: round(results[i].interval(metric).mean, 9) for i in candidates} for metric in (fixed, budget))
    left, right = ([i for i in candidates if means[i] == max(means.values())] for means in (at_k, at_budget))
    both = [i for i in right if i in left]
    if both:
        return f"{fixed} and {budget} agree: {names[both[0]]} scores highest on both."
    sizes = [results[i].details["chunk_tokens_mean"] for i in (left[0], right[0])]
    reason = (
        "The same number of larger chunks buys more context, so the fixed-k view favours them"
        if sizes[0] > sizes[1]
        else "Larger chunks are not the reason here, since those of the first are no larger"
    )
    return (
        f"The two views disagree: {fixed} prefers {names[left[0]]} ({at_k[left[0]]:.3f}; its chunks average {sizes[0]:.0f} tokens), "
        f"{budget} prefers {names[right[0]]} ({at_budget[right[0]]:.3f}; {sizes[1]:.0f} tokens). {reason}; decide by the equal budget."
    )


def format_interval(interval: stats.Interval) -> str:
    """Render "0.712 [0.650, 0.774]", or the mean alone when the bounds are unknown."""
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]" if interval.known else f"{interval.mean:.3f} [unknown]"


def format_difference(interval: stats.Interval) -> str:
    """Render "+0.050 [+0.010, +0.090], adjusted p 0.012"."""
    if not interval.known:
        return f"{interval.mean:+.3f} [unknown]"
    p = "< 0.001" if interval.p < 0.001 else f"{interval.p:.3f}"
    return f"{interval.mean:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}], adjusted p {p}"


def rows_of(comparison: Comparison, extra: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return one plain dict per candidate, best first: what tables, CSV and HTML show; `extra` metrics come as means."""
    rows = []
    for row in comparison.rows:
        difference = row.difference
        rows.append(
            {
                "configuration": row.label + (" (control)" if row.control else ""),
                "n": row.interval.n,
                comparison.metric: row.interval.mean,
                "low": row.interval.low,
                "high": row.interval.high,
                "difference": difference.mean if difference else None,
                "difference_low": difference.low if difference else None,
                "difference_high": difference.high if difference else None,
                "adjusted_p": difference.p if difference else None,
                "tied_with_best": row.tied,
                **{metric: row.result.interval(metric).mean for metric in extra},
                "chunks": row.result.details.get("chunks"),
            }
        )
    return rows


def table(comparison: Comparison, extra: Sequence[str] = ()) -> Markdown:
    """Render a comparison as a Markdown table for notebooks: means with intervals, differences to the baseline, tie marks."""
    header = ["configuration", f"{comparison.metric} [95 %]", "difference to baseline [95 %, simultaneous]", "adjusted p", "tied with best", *extra, "chunks", "n"]
    lines = []
    for row in comparison.rows:
        cells = [row.label + (" (control)" if row.control else ""), format_interval(row.interval)]
        if row.difference is None:
            cells += ["baseline", ""]
        else:
            difference, _, p = format_difference(row.difference).partition(", adjusted p ")
            cells += [difference, p]
        cells += ["●" if row.tied else ""]
        cells += [f"{row.result.interval(metric).mean:.3f}" for metric in extra]
        lines.append([*cells, str(row.result.details.get("chunks", "")), str(row.interval.n)])
    return markdown_table(header, lines)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Markdown:
    """Render a Markdown table; cells are escaped."""
    lines = ["| " + " | ".join(escape(str(cell)) for cell in row) + " |" for row in (header, *rows)]
    return Markdown("\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]]))


def failures(result: RunResult, number: int = 3) -> Markdown:
    """Render the questions that lost most, in full: the question, its evidence with the rank that reached it, and the first hits."""
    if not result.failures:
        return Markdown(f"No question lost anything on {result.settings.primary}.")
    parts = []
    for failure in result.failures[:number]:
        lines = [f"**{escape(failure['question'])}** ({escape(failure['id'])}, {result.settings.primary} {failure['score']:.2f})", ""]
        for unit in failure["evidence"]:
            rank = f"first reached at rank {unit['rank']}" if unit["rank"] else "not retrieved"
            lines += [f"- evidence in *{escape(unit['title'] or unit['document'])}*, {rank}: {quote(unit['text'])}"]
        lines += [f"- hit {hit['rank']} from *{escape(hit['document'])}*: {quote(hit['text'])}" for hit in failure["hits"]]
        parts.append("\n".join(lines))
    return Markdown("\n\n".join(parts))


def audit_table(results: Sequence[RunResult]) -> Markdown:
    """Render the audit of several results: each check once, with how many results were ok and the worst message."""
    order = {"ok": 0, "warning": 1, "error": 2}
    found: dict[str, list[Check]] = {}
    for result in results:
        for check in result.audit:
            found.setdefault(check.id, []).append(check)
    rows = []
    for checks in found.values():
        worst = max(checks, key=lambda check: order[check.level])
        rows.append([worst.id, worst.level, f"{sum(check.level == 'ok' for check in checks)}/{len(checks)}", worst.message])
    return markdown_table(["check", "worst", "ok", "what was seen"], sorted(rows, key=lambda row: -order[row[1]]))


def audit_errors(results: Sequence[RunResult]) -> list[str]:
    """Return the messages of failed audit checks."""
    return [f"{result.config_id} {check.id}: {check.message}" for result in results for check in result.audit if check.level == "error"]


def quote(text: str) -> str:
    """Render untrusted text on one line, escaped."""
    return "“" + escape(" ".join(text.split())) + "”"


def escape(text: str) -> str:
    """Escape text for Markdown and HTML on one line, so that what stands in a document is shown and never interpreted.

    Backslash and dollar stand in elements of their own: JupyterLab looks for formulas such as $x$ or \\(x\\) in the text that is left when
    Markdown's escapes are gone, and one from a document could hide a link.
    """
    line = re.sub(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+", " ", html.escape(text, quote=False))
    return re.sub(r"[\\$`*_\[\]|#~]", lambda found: f"<span>&#{ord(found[0])};</span>" if found[0] in "\\$" else "\\" + found[0], line)


def leaderboard_rows(results: Sequence[RunResult]) -> tuple[list[str], list[dict[str, Any]]]:
    """Return columns and rows over all data sets: varying settings first, then every metric with its bounds, never a measured time."""
    fields = varying(results) or ["chunker", "chunk_size"]
    columns = ["config_id", *fields]
    rows = []
    for result in sorted(results, key=lambda item: (item.settings.dataset, -item.interval(item.settings.primary).mean, item.config_id, item.settings.seed)):
        row: dict[str, Any] = {"config_id": result.config_id} | {field: _plain(getattr(result.settings, field)) for field in fields}
        row |= {"primary": result.settings.primary, "questions": len(result.example_ids), "chunks": result.details.get("chunks")}
        for metric, summary in result.summary().items():
            row |= {metric: summary["mean"], f"{metric}.low": summary["low"], f"{metric}.high": summary["high"], f"{metric}.unscored": summary["unscored"]}
        row["audit_errors"] = sum(check.level == "error" for check in result.audit)
        row["data_fingerprint"] = result.data["fingerprint"]
        columns += [name for name in row if name not in columns]
        rows.append(row)
    return columns, rows


def write_leaderboard(path: Path, results: Sequence[RunResult]) -> Path:
    """Write leaderboard.csv: identical bytes for identical results, since it holds no measured time."""
    columns, rows = leaderboard_rows(results)
    return write_csv(path, columns, rows)


def write_timings(path: Path, results: Sequence[RunResult]) -> Path:
    """Write timings.csv: seconds by stage and what came from the cache."""
    stages = sorted({stage for result in results for stage in result.timings})
    counts = sorted({name for result in results for name in result.cache})
    rows = [{"config_id": result.config_id} | dict(result.timings) | {f"cache_{name}": result.cache.get(name) for name in counts} for result in results]
    return write_csv(path, ["config_id", *stages, *(f"cache_{name}" for name in counts)], rows)


def find_baseline(results: Sequence[RunResult], wanted: Mapping[str, Any]) -> str:
    """Return the config id of the first result with these settings that is no control; without any wish, of the first result."""
    for result in results:
        if all(getattr(result.settings, field) == value for field, value in wanted.items()) and not (wanted and is_control(result.settings)):
            return result.config_id
    raise WorkbenchError(f"no result has the baseline's settings {dict(wanted)}")


def by_dataset(results: Sequence[RunResult]) -> Mapping[str, list[RunResult]]:
    """Group results that may be compared with one another: same data, same questions."""
    groups: dict[tuple[str, str, tuple[str, ...]], list[RunResult]] = {}
    for result in results:
        groups.setdefault((result.settings.dataset, result.data["fingerprint"], result.example_ids), []).append(result)
    names: dict[str, list[RunResult]] = {}
    for (name, print_, ids), members in groups.items():
        settings = members[0].settings
        place = f"split {settings.split}, seed {settings.seed}, {len(ids)} questions, data {print_[:8]}"
        free = (name, f"{name} ({place})", *(f"{name} ({place}, {number})" for number in range(2, len(groups) + 1)))
        names[next(title for title in free if title not in names)] = members
    return names


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool)) else repr(value)
