"""Render comparisons, failures and audits as Markdown for notebooks; whatever comes from documents or models is escaped."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.evaluation import Check, RunResult
from workbench.evaluation_answers import asked_metrics, worst_answers
from workbench.metrics import ANSWER_METRICS, INDEX_METRIC
from workbench.report import Comparison, compare, format_difference, format_interval
from workbench.report_shown import rest, shown

NO_ANSWERS = "No answers were generated: set `generator`."


class Markdown(str):
    """Hold Markdown that JupyterLab renders; its text was escaped where it came from documents or models."""

    def _repr_markdown_(self) -> str:
        return str(self)


def table(comparison: Comparison, extra: Sequence[str] = ()) -> Markdown:
    """Render a comparison as a Markdown table for notebooks: means with intervals, differences to the baseline, tie marks.

    What approximate indexes miss always has its column (VX11).
    """
    names = (name for row in comparison.rows for name in row.result.scores if name.startswith(f"{INDEX_METRIC}@"))
    extra = list(dict.fromkeys([*extra, *names]))
    header = [
        "configuration",
        f"{comparison.metric} [95 %]",
        "difference to baseline [95 %, simultaneous]",
        "adjusted p",
        "tied with best",
        *extra,
        "chunks",
        "n",
    ]
    lines = []
    for row in comparison.rows:
        cells = [row.label + (" (control)" if row.control else ""), format_interval(row.interval)]
        if row.difference is None:
            cells += ["baseline", ""]
        else:
            difference, _, p = format_difference(row.difference).partition(", adjusted p ")
            cells += [difference, p]
        cells += ["●" if row.tied else "" if row.compared else "not compared"]
        means = {name: row.result.interval(name).mean for name in extra if name in row.result.scores or not name.startswith(INDEX_METRIC)}
        cells += [f"{means[name]:.3f}" if means.get(name, math.nan) >= 0 else "–" for name in extra]  # an exact index misses nothing
        lines.append([*cells, str(row.result.details.get("chunks", "")), str(row.interval.n)])
    return markdown_table(header, lines)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Markdown:
    """Render a Markdown table; cells are escaped."""
    lines = ["| " + " | ".join(escape(str(cell)) for cell in row) + " |" for row in (header, *rows)]
    return Markdown("\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]]))


def data_table(*described: Mapping[str, Any], labels: Sequence[str] = ()) -> Markdown:
    """Render what runs say of their data (RunResult.data) as a table, one row for each, named by `labels` where there are any."""
    names = ("name", "language", "documents", "groups", "questions", "scored", "unanswerable", "losses")
    rows = [[data[name] for name in names] for data in described]
    rows = [[label, *row[1:]] for label, row in zip(labels, rows, strict=True)] if labels else rows
    return markdown_table(["data set", *names[1:]], [[str(value) for value in row] for row in rows])


def failures(result: RunResult, number: int = 3) -> Markdown:
    """Render the questions that lost most, in full: the question, its evidence with the rank that reached it, and the first hits."""
    if result.settings.primary in ANSWER_METRICS:
        return answer_failures(result, number)
    if not result.failures:
        scored = result.interval(result.settings.primary).n
        return Markdown(f"No question {'lost anything' if scored else 'was scored'} on {result.settings.primary}.")
    parts = []
    for failure in result.failures[:number]:
        lines = [f"**{escape(failure['question'])}** ({escape(failure['id'])}, {result.settings.primary} {failure['score']:.2f})", ""]
        for unit in failure["evidence"]:
            rank = f"first reached at rank {unit['rank']}" if unit["rank"] else "not retrieved"
            lines += [f"- evidence in *{escape(unit['title'] or unit['document'])}*, {rank}: {quote(unit['text'])}"]
        lines += [f"- hit {hit['rank']} from *{escape(hit['document'])}*: {quote(hit['text'])}" for hit in failure["hits"]]
        parts.append("\n".join(lines))
    return Markdown("\n\n".join(parts))


def answer_table(results: Sequence[RunResult], baseline: str | None = None) -> Markdown:
    """Render how candidates answered, best answer_f1 first; `baseline` is a config id, default the first result."""
    answered = [result for result in results if result.answers]
    if not answered:
        return Markdown(NO_ANSWERS)
    means = [name for name in asked_metrics(answered) if name != "answer_f1"]
    rows = []
    for row in shown(compare(answered, "answer_f1", baseline)).rows:
        sums = row.result.details["answers"]
        difference = format_difference(row.difference).partition(", adjusted p ")[0] if row.difference else "baseline"
        cells = {"configuration": row.label + (" (control)" if row.control else ""), "answer_f1 [95 %]": format_interval(row.interval)}
        cells |= {"difference to baseline [95 %, simultaneous]": difference} | {name: _mean(row.result, name) for name in means}
        tokens = {"prompt tokens": sums["prompt_tokens"], "new tokens": sums["completion_tokens"]}
        cells |= {name: "–" if count is None else f"{count:.0f}" for name, count in tokens.items()}
        cells |= {"capped": str(sums["capped"]), "failed": str(sum(sums["failed"].values())), "n": str(row.interval.n)}
        rows.append(cells)
    header = [name for name in rows[0] if {cells[name] for cells in rows} - {"–", "0"}]  # without columns that say nothing
    cut = rest(len(rows), len(answered))
    return Markdown(markdown_table(header, [[cells[name] for name in header] for cells in rows]) + f"\n\n{cut}" * bool(cut))


def _mean(result: RunResult, metric: str) -> str:
    interval = result.interval(metric)
    return f"{interval.mean:.3f}" if interval.n else "–"


def answer_failures(result: RunResult, number: int = 3, metric: str = "") -> Markdown:
    """Render the answers with the lowest scores: question, gold answers, what was answered, and the passages that it was answered from.

    `metric` defaults to the primary metric where that is of answers, else to answer_f1.
    """
    if not result.answers:
        return Markdown(NO_ANSWERS)
    metric = metric or (result.settings.primary if result.settings.primary in ANSWER_METRICS else "answer_f1")
    worst = worst_answers(result, metric)[:number]
    if not worst:
        scored = result.interval(metric).n
        return Markdown(f"{'Every answer scored has the full' if scored else 'No answer was scored on'} {metric}.")
    parts = []
    for answer in worst:
        marks = "".join(
            f", {word}" for word, said in (("refused", answer["refused"]), ("capped", answer["finish_reason"] == "length")) if said
        )
        lines = [f"**{escape(answer['question'])}** ({escape(answer['id'])}, {metric} {answer['score']:.2f}{marks})", ""]
        lines += [f"- gold answer: {' or '.join(map(quote, answer['gold'])) or 'none'}", f"- answer: {quote(answer['text'])}"]
        if answer["completion"] is not None:
            lines.append(f"- the generator wrote: {quote(answer['completion'])}")
        for place, (document, _, _, text) in enumerate(answer["passages"], start=1):
            cited = ", cited" * (place in answer["citations"])
            lines.append(f"- passage {place} from *{escape(document)}*{cited}: {quote(text)}")
        parts.append("\n".join(lines))
    return Markdown("\n\n".join(parts))


def audit_table(results: Sequence[RunResult], only: Sequence[str] = ("ok", "warning", "error")) -> Markdown:
    """Render the audit of several results: each check once, with how many results were ok and the worst message; `only` these levels."""
    order = {"ok": 0, "warning": 1, "error": 2}
    found: dict[str, list[Check]] = {}
    for result in results:
        for check in result.audit:
            found.setdefault(check.id, []).append(check)
    rows = []
    for checks in found.values():
        worst = max(checks, key=lambda check: order[check.level])
        if worst.level not in only:
            continue
        rows.append([worst.id, worst.level, f"{sum(check.level == 'ok' for check in checks)}/{len(checks)}", worst.message])
    return markdown_table(["check", "worst", "ok", "what was seen"], sorted(rows, key=lambda row: -order[row[1]]))


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
