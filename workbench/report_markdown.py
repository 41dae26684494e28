"""Render comparisons, failures and audits as Markdown for notebooks; whatever comes from documents or models is escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.evaluation import Check, RunResult
from workbench.report import Comparison, format_difference, format_interval


class Markdown(str):
    """Hold Markdown that JupyterLab renders; its text was escaped where it came from documents or models."""

    def _repr_markdown_(self) -> str:
        return str(self)


def table(comparison: Comparison, extra: Sequence[str] = ()) -> Markdown:
    """Render a comparison as a Markdown table for notebooks: means with intervals, differences to the baseline, tie marks."""
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
        cells += ["●" if row.tied else ""]
        cells += [f"{row.result.interval(metric).mean:.3f}" for metric in extra]
        lines.append([*cells, str(row.result.details.get("chunks", "")), str(row.interval.n)])
    return markdown_table(header, lines)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Markdown:
    """Render a Markdown table; cells are escaped."""
    lines = ["| " + " | ".join(escape(str(cell)) for cell in row) + " |" for row in (header, *rows)]
    return Markdown("\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]]))


def data_table(data: Mapping[str, Any]) -> Markdown:
    """Render what a run says of its data (RunResult.data) as a table of one row."""
    names = ("name", "language", "documents", "groups", "questions", "scored", "unanswerable", "losses")
    return markdown_table(["data set", *names[1:]], [[str(data[name]) for name in names]])


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
