"""Build the part of report.html that shows answers: who gave them, how they compare, and the worst of them in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.evaluation_answers import worst_answers
from workbench.metrics import ANSWER_METRICS, INDEX_METRIC
from workbench.report import Comparison, compare, format_interval
from workbench.report_svg import interval_figure, measured, own, safe
from workbench.report_words import answered_by

ANSWER_METRIC = "answer_f1"  # what answers are compared on, whatever the primary metric


def answers(results: Sequence[RunResult], comparison: Comparison | None, anchor: str, language: str) -> str:
    """Return what the answers of one data set show, "" where none were generated; `language` is the lang attribute of their texts."""
    answered = [result for result in results if result.answers]
    if not answered:
        return ""
    blocks = [f"<h3>Answers</h3><p>{own(answered_by(answered))}</p>"]
    views = [comparison] if comparison and comparison.metric in ANSWER_METRICS else []
    if not views or views[0].metric != ANSWER_METRIC:
        base = next((row.result.config_id for row in comparison.rows if row.difference is None), "") if comparison else ""
        try:
            views.insert(0, compare(answered, ANSWER_METRIC, base if base in {result.config_id for result in answered} else None))
        except WorkbenchError as error:
            return f'{blocks[0]}<div class="notice warning"><strong>Answers are not compared.</strong> {own(error)}</div>'
        blocks.append(f"<p>{own(views[0].verdict)}</p>")
        if views[0].questions:
            blocks.append(interval_figure(views[0], f"{anchor}-answers"))
    view = next((view for view in views if view.questions), None)
    if view:
        blocks.append(_worst(view.rows[0].result, view.rows[0].label, view.metric, language))
    return "\n".join(blocks)


def _worst(result: RunResult, label: str, metric: str, language: str) -> str:
    """Return the answers with the lowest scores in full."""
    worst = worst_answers(result, metric)
    words = f"the answers with the lowest {metric}. Passages are cut." if worst else f"every answer scored has the full {metric}."
    blocks = [f"<h3>What the best candidate answered worst</h3><p>{own(label)}: {own(words)}</p>"]
    for answer in worst:
        counts = ((answer["prompt_tokens"], "prompt tokens"), (answer["completion_tokens"], "new tokens"))
        facts = [answer["id"], f"{metric} {answer['score']:.2f}", *["refused"] * answer["refused"]]
        facts += ["capped"] * (answer["finish_reason"] == "length") + [f"{count:,} {name}" for count, name in counts if count is not None]
        blocks.append(f'<article class="failure"><h4{language}>{safe(answer["question"])}</h4>')
        blocks.append(f'<p class="soft">{own(" · ".join(facts))}</p><dl>{_texts(answer, language)}</dl></article>')
    return "\n".join(blocks)


def _texts(answer: Mapping[str, Any], language: str) -> str:
    gold = [f'<dd class="evidence"{language}>{safe(text)}</dd>' for text in answer["gold"]]
    none = "not given" if answer["answerable"] else "none: the documents do not answer this"
    blocks = ["<dt>Gold answer</dt>", *(gold or [f"<dd>{none}</dd>"])]
    blocks.append(f'<dt>Answer shown</dt><dd class="said"{language}>{safe(answer["text"]) or "empty"}</dd>')
    if answer["completion"] is not None:
        blocks.append(f'<dt>What the generator wrote</dt><dd class="said"{language}>{safe(answer["completion"]) or "nothing"}</dd>')
    notes = [f"<dd>{own(hook)}: {own(text)}</dd>" for hook, text in answer["notes"]]
    blocks += ["<dt>What was done to it</dt>", *notes] if notes else []
    for number, (document, start, end, text) in enumerate(answer["passages"], start=1):
        place = f"Passage {number}, from {document}" + ", cited" * (number in answer["citations"])
        more = " …" * (end - start > len(text))
        blocks.append(f"<dt>{own(place)}</dt><dd{language}>{safe(' '.join(text.split()))}{more}</dd>")
    return "".join(blocks) + "<dt>Passages</dt><dd>none</dd>" * (not answer["passages"])


def same_retrieval(results: Sequence[RunResult]) -> bool:
    """Tell whether several results answered from the same retrieval, so that comparing it says nothing."""
    names = [metric for metric in results[0].scores if metric not in ANSWER_METRICS and not metric.startswith(INDEX_METRIC)]
    alike = all(np.array_equal(results[0].scores[name], other.scores.get(name), equal_nan=True) for other in results[1:] for name in names)
    return len(results) > 1 and alike and any(result.answers for result in results)


def retrieved_alike(results: Sequence[RunResult]) -> str:
    """Say once what all candidates retrieved, where that is the same."""
    name = next((metric for metric in results[0].scores if metric in measured(results) and metric not in ANSWER_METRICS), "")
    return (
        f"<p>Retrieval is the same for every candidate: {own(name)} {own(format_interval(results[0].interval(name)))}.</p>" if name else ""
    )
