"""Build the tables of report.html as HTML text: leaderboard, fixed k beside equal budget, failures, audit."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workbench import report
from workbench.evaluation import RunResult
from workbench.evaluation_answers import asked_metrics
from workbench.metrics import ANSWER_METRICS, BUDGET_METRIC, INDEX_METRIC, JUDGE_METRICS
from workbench.report import Comparison
from workbench.report_judge import judge_note
from workbench.report_labels import varying
from workbench.report_shown import rest, shown
from workbench.report_svg import measured, own, role, safe
from workbench.storage import canonical_json

ALSO = ("recall@5", "ndcg@10", "mrr@10")  # shown beside the primary metric and evidence recall
SUMS = {"prompt tokens": "prompt_tokens", "new tokens": "completion_tokens", "capped": "capped", "failed": "failed"}
FIRST = 5  # candidates of either view in the table of fixed k beside equal budget
SIGNS = {"best": "◆", "tied": "●", "ok": "✓", "warning": "!", "error": "✕"}
LEVELS = ("ok", "warning", "error")


def leaderboard(results: Sequence[RunResult], comparison: Comparison) -> str:
    """Return all candidates, best first: the settings that vary, the primary metric with intervals and differences, the other metrics."""
    metric, rows, alone = comparison.metric, shown(comparison).rows, len(comparison.rows) == 1
    names = dict.fromkeys(name for result in results for name in result.scores)
    also = [name for name in names if name != metric and (name.startswith((f"{BUDGET_METRIC}@", f"{INDEX_METRIC}@")) or name in ALSO)]
    said = [name for name in asked_metrics(results) if name != metric]
    said += SUMS if any(row.result.answers for row in rows) else []
    middle = [("Other metrics, mean", also), ("Answers, mean; capped and failed: number", said)]
    middle = middle[::-1] if metric in ANSWER_METRICS else middle
    columns = [name for _, names in middle for name in names]
    fields = [field for field in varying(results) if field not in ("dataset", "primary", "options")]
    options = ["options"] if "options" in varying(results) else []  # long, so not before the scores
    precisions = {"embedder precision": [row.result.details.get("embedder_precision") for row in rows]}
    precisions["generator precision"] = [(row.result.details.get("answers") or {}).get("generator_precision") for row in rows]
    precisions = {title: known for title, known in precisions.items() if any(known)}
    settings = [*options, *precisions, "mean chunk tokens", "chunks"]
    first = ["mean [95 %]", *([] if alone else ["difference to baseline [95 %, simultaneous]", "adjusted p"]), "n"]
    groups = (
        ("Candidate", 2),
        ("What varies", len(fields)),
        (f"{metric}, the primary metric", len(first)),
        *((words, len(names)) for words, names in middle),
        ("Configuration", len(settings)),
    )
    titles = ["configuration", "mark", *fields, *first, *columns, *settings]
    numeric = {*first, *columns, "mean chunk tokens", "chunks"}
    over = "".join(f'<th scope="colgroup" colspan="{span}">{own(words)}</th>' for words, span in groups if span)
    heads = []
    for title in titles:
        breakable = re.sub("(_|@)", r"<wbr>\1", own(title))
        if title in JUDGE_METRICS:
            breakable += f' <span class="interval">{own(judge_note(results, title))}</span>'
        attributes = ' class="number"' * (title in numeric) + ' aria-sort="descending"' * (title == first[0])
        heads.append(f'<th scope="col"{attributes}>{breakable}</th>')
    lines = []
    for place, row in enumerate(rows):
        kind = "best" if row.best else "tied" if row.tied else ""
        words = " · ".join(role(row, alone))
        low, high = row.interval.low, row.interval.high
        bounds = f"[{low:.3f}, {high:.3f}]" if row.interval.known else "[unknown]"
        sign = f"{SIGNS[kind]} " if kind else ""
        cells = [
            f'<th scope="row">{own(row.label)}</th><td class="sign">{sign}{words}</td>',
            *(_setting(row.result, field) for field in fields),
            number_cell(f'<span class="lead">{row.interval.mean:.3f}</span> <span class="interval">{bounds}</span>', row.interval.mean),
        ]
        if row.difference is None:
            cells += [] if alone else [number_cell("baseline", 0.0), number_cell("")]
        else:
            difference, _, p = report.format_difference(row.difference).partition(", adjusted p ")
            cells += [number_cell(own(difference), row.difference.mean), number_cell(own(p), row.difference.p)]
        cells += [number_cell(str(row.interval.n), row.interval.n), *(_value(row.result, name) for name in columns)]
        cells += [_setting(row.result, field) for field in options]
        details = row.result.details
        cells += [f"<td>{own(known[place] or '–')}</td>" for known in precisions.values()]
        cells += [
            number_cell(f"{details['chunk_tokens_mean']:.0f}", details["chunk_tokens_mean"]),
            number_cell(f"{details['chunks']:,}", details["chunks"]),
        ]
        lines.append(f'<tr class="{kind}">{"".join(cells)}</tr>')
    notes = [f"{comparison.questions} questions in {comparison.clusters} document groups."]
    notes += filter(None, [rest(len(rows), len(comparison.rows))])
    notes += [f"{comparison.lost:.1%} of the questions are left out, because a candidate has no score for them."] * bool(comparison.lost)
    clipped = [f"{row.label} ({row.result.details['top_k_clipped']})" for row in rows if row.result.details.get("top_k_clipped")]
    notes += [f"top_k is cut to the number of chunks for {', '.join(clipped)}."] * bool(clipped)
    head = f'<tr class="groups">{over}</tr><tr>{"".join(heads)}</tr>'
    return "<h3>Leaderboard</h3>" + table(
        own(" ".join(notes)), head, lines, f"Leaderboard of {own(results[0].settings.dataset)}", "sortable"
    )


def _setting(result: RunResult, field: str) -> str:
    value = getattr(result.settings, field)
    sorted_by = f' data-value="{value}"' if isinstance(value, int) else ""
    return f'<td class="whole"{sorted_by}>{own(plain(value))}</td>'


def _value(result: RunResult, column: str) -> str:
    """Return the cell of a metric, or of a sum over the answers; never a measured time."""
    if column in SUMS:
        value = (result.details.get("answers") or {}).get(SUMS[column])
        count = sum(value.values()) if isinstance(value, Mapping) else value
        return number_cell("–") if count is None else number_cell(f"{count:,.0f}", count)
    if column not in result.scores or not result.asked_of(column).any():
        return number_cell("–")
    interval, lost = result.interval(column), result.unscored(column)
    if not interval.n:
        return number_cell("unscored")
    bounds = report.format_interval(interval).partition(" ")[2] if column == "answer_f1" else ""
    around = f' <span class="interval">{bounds}</span>' if bounds else ""
    return number_cell(f"{interval.mean:.3f}{around}" + f" ({lost} unscored)" * bool(lost), interval.mean)


def number_cell(content: str, value: float = math.nan) -> str:
    """Return a cell of ready HTML with the number that it is sorted by; NaN sorts last."""
    return f'<td class="number" data-value="{"" if math.isnan(value) else f"{value:.9g}"}">{content}</td>'


def table(caption: str, head: str, rows: Sequence[str], name: str, kind: str = "") -> str:
    """Return a table in a box of its own that scrolls sideways, by keyboard too; everything given is HTML already."""
    words = f"<caption>{caption}</caption>" if caption else ""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{name}"><table class="{kind}">{words}<thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def plain(value: Any) -> str:
    """Render a settings value or a sweep point."""
    if isinstance(value, Mapping):
        return " · ".join(f"{name} {plain(item)}" for name, item in value.items()) or "none"
    return canonical_json(value) if isinstance(value, (list, tuple)) else str(value)


def fixed_k(results: Sequence[RunResult], comparison: Comparison) -> str:
    """Return the ranks of the first candidates at a fixed number of chunks and at an equal budget, controls left out.

    Return "" where either is not measured or there is only one candidate.
    """
    shared = measured(results)
    cutoffs = [k for k in (5, 3, 1) if f"recall@{k}" in shared]
    family = [name for name in results[0].scores if name in shared and name.startswith(f"{BUDGET_METRIC}@")]
    rows = [row for row in comparison.rows if not row.control]
    if not cutoffs or not family or len(rows) < 2:
        return ""
    fixed = f"recall@{cutoffs[0]}"
    budget = next((name for name in (comparison.metric, f"{BUDGET_METRIC}@512t") if name in family), family[0])
    means = [[float(row.result.values(metric)[0].mean()) for row in rows] for metric in (fixed, budget)]
    ranks = [_ranks(column) for column in means]
    chosen = [number for number in range(len(rows)) if min(ranks[0][number], ranks[1][number]) <= FIRST]
    lines = []
    for number in sorted(chosen, key=lambda number: (ranks[1][number], number)):
        change = ranks[0][number] - ranks[1][number]
        tokens = rows[number].result.details["chunk_tokens_mean"]
        cells = [f'<th scope="row">{own(rows[number].label)}</th>', number_cell(f"{tokens:.0f}", tokens)]
        for mean, rank in ((means[0][number], ranks[0][number]), (means[1][number], ranks[1][number])):
            cells += [number_cell(f"{mean:.3f}", mean), number_cell(str(rank), rank)]
        cells.append(number_cell(f"▲ {change}" if change > 0 else f"▼ {-change}" if change else "=", change))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    names = ["mean chunk tokens", fixed, "rank", budget, "rank", "change of rank"]
    head = (
        '<tr><th scope="col">configuration</th>' + "".join(f'<th scope="col" class="number">{own(name)}</th>' for name in names) + "</tr>"
    )
    caption = f"The first {FIRST} of either view, of {len(rows)} candidates; controls are left out." if len(lines) < len(rows) else ""
    note = own(report.fixed_k_note(results, fixed, budget))
    return f"<h3>Fixed k beside equal budget</h3><p>{note}</p>" + table(caption, head, lines, "Fixed k beside equal budget")


def _ranks(means: Sequence[float]) -> list[int]:
    """Return the rank of each mean, from 1; those that agree to 9 digits share one."""
    return (1 + len(means) - np.searchsorted(np.sort(means), np.array(means) + 5e-10, side="right")).tolist()


def failures(result: RunResult, label: str, language: str, most: int = 3) -> str:
    """Return the questions that lost most in retrieval, in full; `language` is the lang attribute of their texts."""
    metric = result.settings.primary
    if metric in ANSWER_METRICS:
        return ""  # what was answered worst stands in the part on answers
    said = (
        f"the questions that lost most on {metric}. Long texts are cut." if result.failures else f"no question lost anything on {metric}."
    )
    blocks = [f"<h3>What the best candidate failed to find</h3><p>{own(label)}: {own(said)}</p>"]
    for failure in result.failures[:most]:
        blocks.append(f'<article class="failure"><h4{language}>{safe(failure["question"])}</h4>')
        blocks.append(f'<p class="soft">{own(failure["id"])} · {own(metric)} {failure["score"]:.2f}</p><dl>')
        for unit in failure["evidence"]:
            reached = f"first reached at rank {unit['rank']}" if unit["rank"] else "not retrieved"
            blocks.append(f"<dt>Evidence in <span{language}>{own(unit['title'] or unit['document'])}</span>, {own(reached)}</dt>")
            blocks.append(f'<dd class="evidence"{language}>{safe(_flow(unit["text"]))}</dd>')
        for hit in failure["hits"]:
            blocks.append(f"<dt>Hit {own(hit['rank'])}, from {own(hit['document'])}</dt><dd{language}>{safe(_flow(hit['text']))}</dd>")
        blocks.append("</dl></article>")
    return "\n".join(blocks)


def _flow(text: str) -> str:
    return " ".join(text.split())
