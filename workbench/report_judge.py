"""Say how far the verdicts of a judge can be trusted: a short note for tables, and sentences with all the counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.evaluation import RunResult
from workbench.judging_agreement import Agreement, as_agreement
from workbench.metrics import JUDGE_METRICS

UNCALIBRATED = "uncalibrated"


def judge_note(results: Sequence[RunResult], metric: str = "judge_correctness") -> str:
    """Return what belongs beside a judged metric: "kappa 0.71 [0.55, 0.87], n 60", else "uncalibrated"; "" where nothing was judged.

    Labels belong to answers, so of several results by one judge the one with the most labels speaks for all.
    """
    judged = _judged(results)
    if not judged:
        return ""
    if len({details["fingerprint"] for details in judged}) > 1:
        return f"{UNCALIBRATED}: different judges"
    found = best_agreement(judged, metric)
    if found is None:
        return UNCALIBRATED
    return f"{UNCALIBRATED}: {found.problem}" if found.problem else kappa_phrase(found)


def judge_sentences(results: Sequence[RunResult]) -> list[str]:
    """Say who judged, how many verdicts there are and are not, how they agree with people, and how they go with length."""
    judged = _judged(results)
    sentences = []
    for model in dict.fromkeys(details["model"] for details in judged):
        own = [details for details in judged if details["model"] == model]
        for metric in JUDGE_METRICS:
            counts = [details["metrics"][metric] for details in own]
            asked, unparsed, failed = (sum(count[name] for count in counts) for name in ("asked", "unparsed", "failed"))
            if not asked:
                continue
            lost = f", {unparsed} not readable and {failed} failed: these are unscored" if unparsed or failed else ""
            head = f"{metric}: {asked} verdict{'s' * (asked != 1)} of {model} asked for{lost}."
            sentences.append(f"{head} {_trust(best_agreement(own, metric))}")
            known = [count["length_correlation"] for count in counts if count["length_correlation"] is not None]
            if known:
                spread = f"{min(known):+.2f}" if len(known) == 1 else f"{min(known):+.2f} to {max(known):+.2f}"
                sentences.append(
                    f"{metric}: the rank correlation (Spearman) of verdict and length of the answer is {spread}. Judges tend to prefer "
                    "long answers; whether these are better, this number does not tell."
                )
    return sentences


def agreement_lines(calibration: Mapping[str, Any]) -> list[str]:
    """Return the outcome of `calibrate` in lines for the terminal."""
    lines = [
        f"{calibration['labels']} labels; {calibration['elsewhere']} of other questions or answers, "
        f"{calibration['ruled']} of what no judge was asked"
    ]
    for metric, values in calibration["metrics"].items():
        found = as_agreement(values)
        lost = f" {found.unjudged} labels have no readable verdict." if found.unjudged else ""
        lines.append(f"{metric}: {_trust(found)}{lost}")
    return lines if calibration["metrics"] else [*lines, f"{UNCALIBRATED}: no label meets a verdict"]


def best_agreement(judged: Sequence[Mapping[str, Any]], metric: str) -> Agreement | None:
    """Return the agreement on most labels of these details of judges, the first of equals; None where nothing was labelled."""
    measured = [details.get("agreement", {}).get("metrics", {}).get(metric) for details in judged]
    return max((as_agreement(values) for values in measured if values), key=lambda found: found.n, default=None)


def kappa_phrase(found: Agreement) -> str:
    """Return "kappa 0.71 [0.55, 0.87], n 60"."""
    return f"kappa {found.kappa:.2f} [{found.low:.2f}, {found.high:.2f}], n {found.n}"


def _trust(found: Agreement | None) -> str:
    if found is None:
        return "Nobody labelled these answers, so the verdicts are uncalibrated."
    if found.problem:
        return f"The verdicts are uncalibrated: {found.problem}."
    return (
        f"Agreement with people: {kappa_phrase(found)} (Cohen's kappa, linear weights), equal grades {found.raw:.0%}; always giving the "
        f"most frequent label would reach {found.base_rate:.0%}."
    )


def _judged(results: Sequence[RunResult]) -> list[Mapping[str, Any]]:
    return [result.details["judge"] for result in results if result.details.get("judge")]
