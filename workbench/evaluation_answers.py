"""Keep what was answered: one plain record for each question, sums over a run, and the answers that lost most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workbench.datatypes import Answer, Example
from workbench.evaluation import FAILURES, RunResult
from workbench.metrics import ANSWER_METRICS

PASSAGE = 200  # characters kept of each passage that the generator saw


def answer_record(example: Example, answer: Answer) -> dict[str, Any]:
    """Return one answer as plain JSON values; `completion` is what the generator wrote, where postprocessing changed it.

    Tokens and seconds are sums over the steps of a prompt chain, which is capped where any step is.
    Of a passage it keeps where it is and how it begins.
    """
    completion = answer.completion
    return {
        "id": example.id,
        "question": example.question,
        "gold": list(example.answers),
        "answerable": example.answerable,
        "text": answer.text,
        "completion": completion.text if completion.text.strip() != answer.text else None,
        "refused": answer.refused,
        "citations": list(answer.citations),
        "notes": [[note.hook, note.text] for note in answer.notes],
        "error": answer.error,
        "finish_reason": "length" if any(step.completion.finish_reason == "length" for step in answer.steps) else completion.finish_reason,
        "valid": answer.valid,
        "prompt_tokens": _sum(answer, "prompt_tokens"),
        "completion_tokens": _sum(answer, "completion_tokens"),
        "seconds": round(sum(step.completion.seconds for step in answer.steps), 4),
        "context_tokens": answer.context_tokens,
        "passages": [
            [passage.span.document_id, passage.span.start, passage.span.end, passage.text[:PASSAGE]] for passage in answer.passages
        ],
    }


def _sum(answer: Answer, field: str) -> int | None:
    counts = [getattr(step.completion, field) for step in answer.steps]
    return None if None in counts else sum(counts)


def answer_details(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum up the answer records of a run: counts, mean tokens where they are known, and seconds a question as first measured."""
    good = [answer for answer in answers if not answer["error"]]
    return {
        "answered": len(good),
        "failed": dict(Counter(answer["error"] for answer in answers if answer["error"]).most_common()),
        "capped": sum(answer["finish_reason"] == "length" for answer in good),
        "refused": sum(answer["refused"] for answer in good),
        "shrunk": sum(any(hook == "context" for hook, _ in answer["notes"]) for answer in good),
        "shots_dropped": sum(any(hook == "shots" for hook, _ in answer["notes"]) for answer in good),
        "context_tokens": _mean(good, "context_tokens"),
        "prompt_tokens": _mean(good, "prompt_tokens"),
        "completion_tokens": _mean(good, "completion_tokens"),
        "seconds": _mean(good, "seconds", 4),
    }


def _mean(answers: Sequence[Mapping[str, Any]], field: str, digits: int = 1) -> float | None:
    values = [answer[field] for answer in answers]
    return round(float(np.mean(values)), digits) if values and None not in values else None


def asked_metrics(results: Sequence[RunResult]) -> list[str]:
    """Return the answer metrics that some result was asked, answer_f1 first."""
    asked = [name for name in ANSWER_METRICS if any(name in result.scores and result.asked_of(name).any() for result in results)]
    return sorted(asked, key=lambda name: name != "answer_f1")


def worst_answers(result: RunResult, metric: str = "answer_f1") -> list[dict[str, Any]]:
    """Return the answers with the lowest scores, ties in order of their ids, each with its score; unscored ones are left out."""
    if metric not in result.scores:
        return []
    scores = dict(zip(result.example_ids, np.asarray(result.scores[metric], dtype=float), strict=True))
    lost = [dict(answer) | {"score": float(scores[answer["id"]])} for answer in result.answers if scores[answer["id"]] < 1]
    return sorted(lost, key=lambda answer: (answer["score"], answer["id"]))[:FAILURES]
