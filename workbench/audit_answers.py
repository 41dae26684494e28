"""Check the answers of one run: failed and cut ones, shrunk contexts, dropped shots, the generator's language, lost verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.audit_checks import outcome
from workbench.evaluation import Check
from workbench.models import LocalModel

MAX_FAILED = 0.02  # share of the questions asked
MAX_CAPPED = 0.1
MOST_REASONS = 3  # shown


def audit_answers(
    details: Mapping[str, Any], language: str, model: LocalModel | None, judged: Mapping[str, Any] | None = None
) -> tuple[Check, ...]:
    """Return one Check for each fault that answers can have.

    `details` are those of evaluation_answers.answer_details, `judged` those of a judging.Judgement, None where nothing was judged.
    """
    failed, answered = sum(details["failed"].values()), details["answered"]
    unanswered = f"{failed} of {failed + answered} questions have no answer: {_reasons(details['failed'])}" if failed else ""
    capped = f"{details['capped']} of {answered} answers were cut by max_new_tokens"
    cut = f"{capped}: raise it (--set generator.max_new_tokens=…)" if details["capped"] > MAX_CAPPED * answered else ""
    shrunk = details["shrunk"]
    smaller = f"{shrunk} of {answered} contexts were shrunk to fit the generator's window, so their budget is smaller" if shrunk else ""
    dropped = details["shots_dropped"]
    lost = f"{dropped} of {answered} prompts lost shots to fit the generator's window; the notes of the answers name them"
    fewer = lost if dropped else ""
    left_out = (
        f"{details['left_out']} questions lack the metadata that the filter asks for, and were not asked" if details["left_out"] else ""
    )
    known = model.languages if model else ()
    foreign = model and known and language not in known and "multilingual" not in known
    mismatch = f"the data is {language!r}, but {model.name} is made for {', '.join(known)}" if model and foreign else ""
    return (
        outcome(
            "answers_failed", unanswered, "error" if failed > MAX_FAILED * (failed + answered) else "warning", "every question has one"
        ),
        outcome("answers_capped", cut, "warning", capped),
        outcome("contexts_shrunk", smaller, "warning", "every context has its full budget"),
        outcome("shots_dropped", fewer, "warning", "every prompt has all its shots"),
        outcome("answers_left_out", left_out, "warning", "every question could be asked"),
        outcome("generator_language", mismatch, "warning", "nothing speaks against the generator's languages"),
        verdicts_lost(judged["metrics"]) if judged else Check("verdicts_lost", "ok", "not applicable: nothing is judged"),
    )


def verdicts_lost(metrics: Mapping[str, Mapping[str, Any]]) -> Check:
    """Check that the judge gave every verdict that it was asked for: those it did not give may be of the hard answers."""
    lost = {metric: counts["unparsed"] + counts["failed"] for metric, counts in metrics.items()}
    problems = [
        f"{metric} lacks {lost[metric]} of {counts['asked']} verdicts: {_reasons(counts['reasons'])}"
        for metric, counts in metrics.items()
        if lost[metric]
    ]
    many = any(lost[metric] > MAX_FAILED * counts["asked"] for metric, counts in metrics.items())
    fine = f"all {sum(counts['asked'] for counts in metrics.values())} verdicts were given"
    return outcome("verdicts_lost", "; ".join(problems), "error" if many else "warning", fine)


def _reasons(counts: Mapping[str, int]) -> str:
    listed = [f"{count} × {reason}" for reason, count in counts.items()]
    return "; ".join([*listed[:MOST_REASONS], *[f"{len(listed) - MOST_REASONS} other reasons"] * (len(listed) > MOST_REASONS)])
