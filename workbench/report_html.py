"""Write report.html: one file with verdicts, plots, tables, failures and audit; it loads nothing and holds no time, path or unescaped text.

What comes from documents, models or exceptions passes `safe` (shown, never interpreted); what the workbench wrote passes `own`.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
from collections.abc import Mapping, Sequence

import yaml

from workbench import report
from workbench.evaluation import RunResult
from workbench.fonts import embedded_hangul
from workbench.report import Comparison
from workbench.report_answers import answers, retrieved_alike, same_retrieval
from workbench.report_audit import audit, explanations_html
from workbench.report_costs import deciding
from workbench.report_diagnosis import diagnosis
from workbench.report_effects import effects, seeds
from workbench.report_memo import memo_html, memo_title
from workbench.report_pareto import pareto_figure
from workbench.report_parts import Part, Report, commit
from workbench.report_shown import SHOWN, failed_words, rest, shown
from workbench.report_svg import budget_plot, budgets, choose_curves, interval_figure, own
from workbench.report_tables import failures, fixed_k, leaderboard, plain, table
from workbench.report_words import asked_groups, headline, reading


def render_html(record: Report) -> str:
    """Return the whole page."""
    style, script = (
        importlib.resources.files("workbench").joinpath("templates", name).read_text("utf-8") for name in ("report.css", "report.js")
    )
    parts, title = record.parts, own(record.title)
    body = [f"<header><h1>{title}</h1><p>{own(record.counts)}.</p></header><main>"]
    if len(parts) > 1:
        items = []
        for part in parts:
            alarm = '<strong class="level-error">Audit error.</strong> ' if report.audit_errors(part.results) else ""
            words = memo_title(part.decision) if part.decision else part.problem
            items.append(f'<li><a href="#{part.anchor}">{own(part.name)}</a> {alarm}{own(words)}</li>')
        body.append(f'<ul class="summary">{"".join(items)}</ul>')
    body += [_data_set(part, record.prices) for part in parts]
    if record.failed:
        rows = []
        for run in record.failed[:SHOWN]:
            error = str(run["error"]).strip() or "no message"
            rest = f"<details><summary>whole message</summary><pre>{own(error)}</pre></details>" if "\n" in error else ""
            cell = f'<td class="words">{own(error.splitlines()[-1])}{rest}</td>'
            rows.append(f'<tr><th scope="row">{own(plain(run["point"]))}</th>{cell}</tr>')
        body.append(f"<section><h2>Runs that failed</h2><p>{failed_words(len(record.failed))}</p>")
        body.append(table("", '<tr><th scope="col">run</th><th scope="col">error</th></tr>', rows, "Runs that failed") + "</section>")
    body += [_reproduction(record), _reading(parts) if parts else "", "</main>"]
    content = "\n".join(block for block in body if block)
    style = embedded_hangul(record.title + content) + style
    policy = f"default-src 'none'; img-src data:; font-src data:; style-src '{_sha256(style)}'; script-src '{_sha256(script)}'"
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">'
        f'<link rel="icon" href="data:,"><title>{title}</title><style>{style}</style>'
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{content}\n<script>{script}</script></body></html>\n'


def _sha256(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _data_set(part: Part, prices: Mapping[str, float] | None) -> str:
    blocks = [f'<section id="{part.anchor}"><h2>{own(part.name)}</h2>', _audit_banner(part.results)]
    if part.comparison is None:
        blocks.append(f'<div class="notice error"><strong>No comparison.</strong> {own(part.problem)}</div>{_facts(part)}')
        return "\n".join([*blocks, answers(part.results, None, part.anchor, part.language), audit(part.results), "</section>"])
    comparison = part.comparison
    blocks.append(memo_html(part.decision, part.problem, part.results, prices, part.anchor))
    blocks.append(f"<h3>All candidates on all questions</h3><p><strong>{own(headline(comparison))}.</strong> {own(comparison.verdict)}</p>")
    compared = len(comparison.rows) > 1 and comparison.clusters > 1
    controls = [row.label for row in comparison.rows if compared and row.control and row.tied]
    if controls:
        words = f"{', '.join(controls)}: meant to lose, but not told from the best. Explain that before you read the order of candidates."
        blocks.append(f'<div class="notice warning"><strong>A control keeps up.</strong> {own(words)}</div>')
    blocks.append(_facts(part))
    blocks.append(f"<h3>{own(comparison.metric)} by candidate</h3>")
    blocks.append(interval_figure(comparison, f"{part.anchor}-scores"))
    alike = same_retrieval(part.results)
    blocks.append(retrieved_alike(part.results) if alike else _curves(part, comparison))
    blocks += [leaderboard(part.results, comparison), "" if alike else fixed_k(part.results, comparison), _tradeoff(part, comparison)]
    blocks += [effects(part.results, comparison, (part.effects, part.left_out)), seeds(part.runs, comparison.metric)]
    blocks += [answers(part.results, comparison, part.anchor, part.language)]
    best = comparison.rows[0]
    blocks += [diagnosis(part.results, comparison, part.language), failures(best.result, best.label, part.language), audit(part.results)]
    return "\n".join([*filter(None, blocks), "</section>"])


def _curves(part: Part, comparison: Comparison) -> str:
    """Return the curves of evidence recall over the budgets, "" where there is only one budget."""
    rows = choose_curves(comparison)
    if len(budgets([row.result for row in rows])) < 2:
        return ""
    has = "more" if part.long else "all"
    drawn = f"{len(rows)} of {len(comparison.rows)} candidates; the table has {has}. " if len(rows) < len(comparison.rows) else ""
    drawing = budget_plot(comparison, f"{part.anchor}-budgets", _characters_per_token(part))
    note = f"{drawn}Lines are shifted a little sideways so that their 95 % intervals stand side by side."
    return f"<h3>Evidence found as the context grows</h3><figure>{drawing}<figcaption>{note}</figcaption></figure>"


def _tradeoff(part: Part, comparison: Comparison) -> str:
    """Return the score against the cost that tells the candidates apart, "" where none does."""
    cost = deciding([row.result for row in comparison.rows if not row.control], comparison.metric)
    drawing = pareto_figure(comparison, cost, f"{part.anchor}-cost") if cost else ""
    return f"<h3>Score against cost</h3>{drawing}" if drawing else ""


def _audit_banner(results: Sequence[RunResult]) -> str:
    if not report.audit_errors(results):
        return ""
    found: dict[str, list[str]] = {}
    for result in results:
        for check in result.audit:
            if check.level == "error":
                found.setdefault(check.id, []).append(check.message)
    total = len(results)
    items = "".join(f"<li>{own(check)} ({len(seen)} of {total} configurations): {own(seen[0])}</li>" for check, seen in found.items())
    words = "<strong>Audit error.</strong> Do not use these numbers before this is explained:"
    return f'<div class="notice error">{words}<ul>{items}</ul></div>'


def _characters_per_token(part: Part) -> float:
    """Return the mean characters of a token of Korean data, else 0: budgets are then shown in tokens alone."""
    data = part.results[0].data
    shown = data.get("language") == "ko" and data.get("tokens") and not data.get("document_gold")
    return data["characters"] / data["tokens"] if shown else 0


def _facts(part: Part) -> str:
    data, settings = part.results[0].data, part.results[0].settings
    facts = {
        "Documents": data.get("documents", "unknown"),
        "Document groups": asked_groups(part.results[0]),
        "Questions": data.get("questions", "unknown"),
        "Scored": data.get("scored", "unknown"),
        "Unanswerable": data.get("unanswerable", "unknown"),
        "Losses while loading": data.get("losses", "unknown"),
        "Language": data.get("language", "unknown"),
        "Split": settings.split,
        "Data fingerprint": str(data.get("fingerprint", "unknown"))[:12],
        "Measuring tokenizer": settings.tokenizer,
    }
    ratio = _characters_per_token(part)
    if ratio:
        facts["Characters per token"] = f"{ratio:.2f}"
        facts["Budgets in characters"] = ", ".join(f"{budget:,} tokens ≈ {budget * ratio:,.0f}" for budget in settings.budgets)
    cells = []
    for term, value in facts.items():
        wide = ' class="long"' if len(str(value)) > 16 else ""
        cells.append(f"<div{wide}><dt>{term}</dt><dd>{own(f'{value:,}' if isinstance(value, int) else value)}</dd></div>")
    return f'<dl class="facts">{"".join(cells)}</dl>'


def _reproduction(record: Report) -> str:
    blocks = ["<section><h2>How to reproduce</h2>"]
    if record.command:
        blocks.append(f"<pre><code>{own(record.command)}</code></pre>")
    if head := commit():
        blocks.append(f"<p>Commit of the workbench <code>{head}</code></p>")
    if record.versions:
        words = ", ".join(f"{package} {' and '.join(found)}" for package, found in record.versions.items())
        blocks.append(f"<h3>Versions</h3><p>{own(words)}</p>")
    for part in record.parts:
        comparison = part.comparison
        rows = shown(comparison).rows if comparison else ()
        fingerprint = own(part.results[0].data.get("fingerprint", "unknown"))
        blocks.append(f"<h3>{own(part.name)}</h3><p>Data fingerprint <code>{fingerprint}</code></p>")
        if comparison:
            result = part.decision.recommended if part.decision else rows[0].result
            text = yaml.safe_dump(result.settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=1000)
            blocks.append(f"<p>Settings {'to use' if part.decision else 'of the best candidate'}:</p><pre><code>{own(text)}</code></pre>")
        named = [(row.result.config_id, row.label) for row in rows] or [(result.config_id, "") for result in part.results[:SHOWN]]
        lines = [f"<tr><td><code>{own(config_id)}</code></td><td>{own(name)}</td></tr>" for config_id, name in named]
        head = '<tr><th scope="col">config id</th><th scope="col">configuration</th></tr>'
        blocks.append(table(own(rest(len(named), len(part.results))), head, lines, f"Config ids of {own(part.name)}"))
    return "\n".join([*blocks, "</section>"])


def _reading(parts: Sequence[Part]) -> str:
    results = [result for part in parts for result in part.results]
    terms = "".join(f"<div><dt>{own(term)}</dt><dd>{own(words)}</dd></div>" for term, words in reading(results))
    checks = explanations_html({check.id for result in results for check in result.audit})
    return f'<section><h2>How to read this</h2><dl class="reading">{terms}</dl>{checks}</section>'
