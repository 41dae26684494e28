"""Say where questions were lost: counts of each cause, one sentence, and examples in full, as Markdown and as HTML."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.diagnosis import CAUSES, EXAMPLES
from workbench.evaluation import RunResult
from workbench.registry import unknown
from workbench.report import Comparison
from workbench.report_labels import labels
from workbench.report_markdown import Markdown, escape, markdown_table, quote
from workbench.report_shown import SHOWN, rest, shown
from workbench.report_svg import own, safe
from workbench.report_tables import number_cell, table

NAMES = {  # cause -> what is said of its questions
    "no_chunk": "lost by the chunker",
    "not_retrieved": "not retrieved",
    "cut": "cut by a chunk border",
    "below_budget": "below the budget",
    "not_used": "not used though in the context",
    "outside_context": "answered from outside the context",
    "wrongly_refused": "wrongly refused",
    "answered_unanswerable": "answered though unanswerable",
    "failed": "failed",
    "fine": "fine",
}
STAGES = {  # what to mend -> the causes that it has
    "chunking": ("no_chunk", "cut"),
    "retrieval": ("not_retrieved",),
    "the ranking or the budget": ("below_budget",),
    "generation": ("not_used", "outside_context"),
    "refusals": ("wrongly_refused", "answered_unanswerable"),
    "the failed answers": ("failed",),
}
NOTHING = "No question was diagnosed."


def count(result: RunResult) -> dict[str, int]:
    """Return how many questions of a result have each cause, in the order of CAUSES; those not diagnosed are left out."""
    found = Counter(result.causes)
    return {cause: found[cause] for cause in CAUSES}


def counts(results: Sequence[RunResult]) -> dict[str, dict[str, int]]:
    """Return the counts of each configuration by its config id; runs of one configuration with several seeds add up."""
    found: dict[str, Counter[str]] = {}
    for result in results:
        found.setdefault(result.config_id, Counter()).update(count(result))
    return {config_id: {cause: counter[cause] for cause in CAUSES} for config_id, counter in found.items()}


def diagnosis_sentence(result: RunResult) -> str:
    """Say in one line how many questions were lost, to what, and what to mend first: the stage that loses most, of equals the first."""
    found = count(result)
    total = sum(found.values())
    if not total:
        return NOTHING
    lost = sorted((cause for cause in CAUSES if cause != "fine" and found[cause]), key=lambda cause: -found[cause])
    answered = {answer["id"] for answer in result.answers}
    skipped = [name for name, cause in zip(result.example_ids, result.causes, strict=True) if not cause]
    unasked = sum(name not in answered for name in skipped) if answered else 0
    more = f" {unasked} more {_are(unasked)} not answered, so not diagnosed." if unasked else ""
    more += f" {len(skipped) - unasked} more cannot be diagnosed." if len(skipped) > unasked else ""
    if not lost:
        return f"Of {total} question{'s' * (total != 1)} none is lost.{more}"
    number = total - found["fine"]
    said = ", ".join(f"{found[cause]} {NAMES[cause]}" for cause in lost)
    first = max(STAGES, key=lambda stage: sum(found[cause] for cause in STAGES[stage]))
    return f"Of {total} question{'s' * (total != 1)} {number} {_are(number)} lost: {said}. Mend {first} first.{more}"


def diagnosis_table(results: Sequence[RunResult], names: Sequence[str] = ()) -> Markdown:
    """Render how many questions of each candidate have each cause, with their share of the n diagnosed; `names` default to their labels."""
    every = [count(result) for result in results]
    used = _used(every)
    if not used:
        return Markdown(NOTHING)
    rows = [
        [label, *(_cell(found, cause) for cause in used), str(sum(found.values()))]
        for label, found in zip(names or labels(results), every, strict=True)
    ]
    return markdown_table(["configuration", *(NAMES[cause] for cause in used), "n"], rows)


def diagnosis_cases(result: RunResult, cause: str | None = None, number: int = EXAMPLES) -> Markdown:
    """Render questions of one cause, or of each, in full: evidence, first hits, the answer; raise WorkbenchError for no known cause."""
    if cause is not None and cause not in CAUSES:
        raise unknown("cause", cause, CAUSES)
    found, parts = count(result), []
    if not any(found.values()):
        return Markdown(NOTHING)
    for name, cases in _cases(result, number).items():
        if cause in (None, name):
            parts.append(f"**{NAMES[name].capitalize()}**: {CAUSES[name]}.")
            parts += [_case_lines(case, answer, result.settings.primary) for case, answer in cases]
    if parts:
        return Markdown("\n\n".join(parts))
    total, said = (found[cause], NAMES[cause]) if cause else (sum(found.values()) - found["fine"], "lost")
    if not total:
        return Markdown(f"No question is {said}.")
    return Markdown(f"{total} question{'s' * (total != 1)} {_are(total)} {said}; none is shown in full.")


def diagnosis(results: Sequence[RunResult], comparison: Comparison | None, language: str) -> str:
    """Return the diagnosis of one data set as HTML: counts of each candidate, best first, and cases of the best one; "" without any.

    `language` is the lang attribute of texts from this data set.
    """
    if comparison:
        rows = [(row.result, row.label) for row in shown(comparison).rows]
    else:
        rows = list(zip(results, labels(results), strict=True))[:SHOWN]
    every = [count(result) for result, _ in rows]
    used = _used(every)
    if not used:
        return ""
    best, label = rows[0]
    head = "".join(f'<th scope="col" class="number">{own(name)}</th>' for name in (*(NAMES[cause] for cause in used), "n"))
    lines = []
    for (_, name), found in zip(rows, every, strict=True):
        total = sum(found.values())
        cells = "".join(number_cell(own(_cell(found, cause)), found[cause]) for cause in used)
        lines.append(f'<tr><th scope="row">{own(name)}</th>{cells}{number_cell(str(total), total)}</tr>')
    meanings = "".join(f"<dt>{own(NAMES[cause])}</dt><dd>{own(CAUSES[cause])}</dd>" for cause in used)
    blocks = [
        f"<h3>Where questions are lost</h3><p>{own(label)}: {own(diagnosis_sentence(best))}</p>",
        table(
            own(rest(len(rows), len(results))),
            f'<tr><th scope="col">configuration</th>{head}</tr>',
            lines,
            "Where questions are lost",
            "sortable",
        ),
        f"<p>A question has one cause, the first in the order of the pipeline.</p><dl>{meanings}</dl>",
    ]
    for name, cases in _cases(best, EXAMPLES).items():
        number = every[0][name]
        words = f"{NAMES[name].capitalize()}: {len(cases)} of {number} question{'s' * (number != 1)}"
        articles = "".join(_article(case, answer, best.settings.primary, language) for case, answer in cases)
        blocks.append(f"<details><summary>{own(words)}</summary>{articles}</details>")
    return "\n".join(blocks)


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _used(every: Sequence[Mapping[str, int]]) -> list[str]:
    return [cause for cause in CAUSES if any(found[cause] for found in every)]


def _cell(found: Mapping[str, int], cause: str) -> str:
    return f"{found[cause]} ({found[cause] / sum(found.values()):.0%})" if found[cause] else "0"


def _cases(result: RunResult, number: int) -> dict[str, list[tuple[Mapping[str, Any], Mapping[str, Any] | None]]]:
    """Return the first cases of each cause, each with the record of its answer."""
    records = {answer["id"]: answer for answer in result.answers}
    found: dict[str, list[Any]] = {cause: [] for cause in CAUSES}
    for case in result.cases:
        found[case["cause"]].append((case, records.get(case["id"])))
    return {cause: cases[:number] for cause, cases in found.items() if cases[:number]}


def _facts(case: Mapping[str, Any], metric: str) -> str:
    return f"{case['id']}, {metric} {'unscored' if case['score'] is None else format(case['score'], '.2f')}"


def _reached(unit: Mapping[str, Any]) -> str:
    rank = f"first reached at rank {unit['rank']}" if unit["rank"] else "not retrieved"
    return rank if unit["share"] is None or not unit["rank"] else f"{rank}, {math.floor(100 * unit['share'])}% of it in the context"


def _said(answer: Mapping[str, Any]) -> tuple[str, str]:
    """Return what became of a question, and the text of that."""
    return ("Error", answer["error"]) if answer["error"] else ("Refused" if answer["refused"] else "Answer", answer["text"])


def _case_lines(case: Mapping[str, Any], answer: Mapping[str, Any] | None, metric: str) -> str:
    lines = [f"**{escape(case['question'])}** ({escape(_facts(case, metric))})", ""]
    lines += [f"- gold answer: {' or '.join(map(quote, case['answers'])) or 'none'}"]
    for unit in case["evidence"]:
        lines.append(f"- evidence in *{escape(unit['title'] or unit['document'])}*, {_reached(unit)}: {quote(unit['text'])}")
    lines += [f"- hit {hit['rank']} from *{escape(hit['document'])}*: {quote(hit['text'])}" for hit in case["hits"]]
    if answer:
        title, text = _said(answer)
        lines.append(f"- {title.lower()}: {quote(text)}")
        for place, (document, _, _, text) in enumerate(answer["passages"], start=1):
            lines.append(f"- passage {place} from *{escape(document)}*: {quote(text)}")
    return "\n".join(lines)


def _article(case: Mapping[str, Any], answer: Mapping[str, Any] | None, metric: str, language: str) -> str:
    gold = "".join(f'<dd class="evidence"{language}>{safe(text)}</dd>' for text in case["answers"]) or "<dd>none</dd>"
    blocks = [f'<article class="failure"><h4{language}>{safe(case["question"])}</h4><p class="soft">{own(_facts(case, metric))}</p><dl>']
    blocks.append(f"<dt>Gold answer</dt>{gold}")
    for unit in case["evidence"]:
        blocks.append(f"<dt>Evidence in <span{language}>{own(unit['title'] or unit['document'])}</span>, {own(_reached(unit))}</dt>")
        blocks.append(f'<dd class="evidence"{language}>{safe(_flow(unit["text"]))}</dd>')
    for hit in case["hits"]:
        blocks.append(f"<dt>Hit {own(hit['rank'])}, from {own(hit['document'])}</dt><dd{language}>{safe(_flow(hit['text']))}</dd>")
    if answer:
        title, text = _said(answer)
        blocks.append(f'<dt>{title}</dt><dd class="said"{language}>{own(text) if answer["error"] else safe(text) or "empty"}</dd>')
        for place, (document, start, end, text) in enumerate(answer["passages"], start=1):
            more = " …" * (end - start > len(text))
            blocks.append(f"<dt>Passage {place}, from {own(document)}</dt><dd{language}>{safe(_flow(text))}{more}</dd>")
    return "".join(blocks) + "</dl></article>"


def _flow(text: str) -> str:
    return " ".join(text.split())
