"""Say in a few words what a comparison shows, and how its numbers are to be read; all fixed text of report.html stands here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from workbench.evaluation import RunResult
from workbench.report import MAX_LOST, Comparison
from workbench.report_judge import judge_sentences
from workbench.stats import FEW_CLUSTERS

LEGEND = (  # mark, class, sign, words
    ("best", "best", "◆", "best"),
    ("tied", "tied", "●", "cannot be told from the best"),
    ("worse", "other", "●", "worse than the best"),
    ("control", "other", "○", "hollow: control, meant to lose"),
    ("baseline", "base", "┆", "baseline"),
)
READING = (
    (
        "0.712 [0.650, 0.774]",
        "A mean over questions with its 95 % interval. Questions about documents of one group are alike, so groups count as the sample.",
    ),
    (
        "Difference, simultaneous",
        "Candidate minus baseline, question by question. The intervals of all candidates hold together at 95 %; "
        "the adjusted p is corrected for the number of candidates.",
    ),
    (
        "Best and tied",
        "A tied candidate has no shown difference to the best one, all pairs tested together. "
        "That does not prove the two equal: more questions may tell them apart. "
        "Of more than 100 candidates only the pairs of the 100 best are tested; 'not compared' marks others not shown to be worse.",
    ),
    (
        "Equal budget: evidence_recall@512t",
        "Every candidate fills the same 512 tokens of context; what counts is the share of the evidence's characters inside. "
        "Large and small chunks get the same room.",
    ),
    (
        "Fixed k: recall@5, ndcg@10, mrr@10",
        "The first 5 or 10 chunks, whatever their size. Larger chunks then bring more text, so these numbers favour them.",
    ),
    (
        "Control",
        "A configuration that should lose: whole documents, hash vectors, random. If it keeps up, suspect a fault or too easy a task.",
    ),
    (
        "Audit",
        "Every run checks itself. An error means that the numbers are not to be used; a warning names something to know when reading them.",
    ),
)
ANSWER_READING = (
    (
        "answer_em, answer_f1, chrf",
        "How close an answer comes to the nearest gold answer: the same (em), shared words or Korean characters (f1), letters in a row "
        "(chrf). Refusing a question that has an answer scores 0.",
    ),
    (
        "groundedness, citation",
        "The share of the answer's own terms that stand in the passages shown, and of its cited passages that hold evidence. "
        "A grounded answer can still be wrong.",
    ),
    (
        "judge_correctness, judge_groundedness",
        "Grades (1, 0.5, 0) by a language model that did not write the answers: is it right, and does it rest on the passages shown? "
        "How far the judge agrees with people stands beside; without labels by people the column is uncalibrated.",
    ),
    (
        "format_validity",
        "The share of completions in the form that the prompt asks for (JSON, or an answer after a marker). One without it is scored as it "
        "stands.",
    ),
    (
        "refusal_recall, refusal_precision",
        "Of the questions that the documents do not answer, how many were refused; of the refusals, how many were right to. "
        "Every candidate refuses other questions, which the interval of a difference takes into account.",
    ),
    (
        "Capped, failed",
        "A capped answer was cut by max_new_tokens and is scored as it stands. A failed one has no text and no score.",
    ),
)


def headline(comparison: Comparison) -> str:
    """Return the verdict in one line; the whole sentence is `comparison.verdict`."""
    rows = comparison.rows
    best, others = rows[0], [row for row in rows if row.tied and not row.best]
    if comparison.lost > MAX_LOST:
        return "No verdict: too many questions have no score"
    if len(rows) == 1:
        return "One candidate: nothing to compare"
    if comparison.clusters < 2:
        return "One document group: no difference can be shown"
    if len(others) == len(rows) - 1:
        return "No difference shown between the candidates"
    if others:
        more = f"{len(others)} others" if len(others) > 1 else f"{others[0].label}"
        return f"{best.label} scores highest, but {more} cannot be told from it"
    if untold := sum(not row.compared for row in rows):
        return f"{best.label} scores highest; {untold:,} lower ones are too close to tell"
    return f"{best.label} is better than every other candidate"


def reading(results: Sequence[RunResult]) -> tuple[tuple[str, str], ...]:
    """Return terms of these results with their meaning."""
    return READING + ANSWER_READING * any(result.answers for result in results)


def answered_by(results: Sequence[RunResult]) -> str:
    """Say which generators answered how many questions, and from what."""
    settings = [result.settings for result in results]
    counts, total = [len(result.answers) for result in results], len(results[0].example_ids)
    drawn = "" if min(counts) == total else f" of {total}, drawn by seed {_each(one.seed for one in settings)},"
    unanswerable = _each(_unanswerable(result) for result in results)
    several = "s" * (len({one.prompt for one in settings}) > 1)
    return (
        f"{_each(counts)} questions{drawn} were answered by {_each(map(_generator, results))} with prompt{several} "
        f"{_each(one.prompt for one in settings)} from at most {_each(one.answer_budget for one in settings)} tokens of context. "
        f"The documents answer all {'' if unanswerable == '0' else f'but {unanswerable} '}of them."
    )


def _generator(result: RunResult) -> str:
    """Name the generator with the precision that its weights have."""
    name, _, model = result.settings.generator.partition(":")
    precision = result.details["answers"].get("generator_precision")
    return (model or name) + (f" ({precision})" if precision else "")


def _unanswerable(result: RunResult) -> int:
    return sum(not answer["answerable"] for answer in result.answers)


def _each(values: Iterable[object]) -> str:
    *first, last = dict.fromkeys(map(str, values))
    return f"{', '.join(first)} and {last}" if first else last


def asked_groups(result: RunResult) -> int:
    """Count the document groups of the questions that the primary metric is asked of."""
    asked = result.asked_of(result.settings.primary)
    return len({cluster for cluster, wanted in zip(result.clusters, asked, strict=True) if wanted})


def limits(results: Sequence[RunResult], confirmed: bool = False) -> list[str]:
    """Return what these results do not say; `confirmed` tells that questions which chose nothing confirmed the choice."""
    splits = {result.settings.split for result in results}
    found = []
    if splits == {"confirmation"}:
        found.append("Measured on the confirmation questions: this confirms a choice only if it was made on other questions.")
    elif not confirmed:
        found.append(
            "Not confirmed on held-out questions: the best candidate was picked and measured on the same questions, so its score is likely "
            "to be a little too high. Run it and the baseline again on the confirmation split before you rely on it."
        )
    answered = [result for result in results if result.answers]
    timed = all("query_median_ms" in result.timings for result in results)
    if answered:
        counts = _each(f"{len(result.answers)} of {len(result.example_ids)}" for result in answered)
        found.append(
            f"Answers are those of the generators and prompts named, to {counts} questions; another generator, prompt or sample can rank "
            "the candidates differently."
        )
        if judged := judge_sentences(answered):
            found += judged
        else:
            found.append(
                "Answers were compared with gold answers and passages by their letters and words: a right one in other words scores low, "
                "and a wrong one that repeats a passage can score well. No person or model judged them."
            )
    else:
        found.append("Retrieval alone was tested, not the quality of generated answers.")
    if not timed:
        found.append("Speed was not compared: no latency was probed.")
    if any(map(_unanswerable, answered)):
        found.append(
            f"How well a system stays silent when it should rests on {_each(map(_unanswerable, answered))} unanswerable questions."
        )
    else:
        found.append("No unanswerable question was answered, so nothing here says how well a system stays silent when it should.")
    found.append(
        "The numbers hold for these documents and these questions; other collections, languages and question styles can rank differently."
    )
    if any(asked_groups(result) < FEW_CLUSTERS for result in results):
        found.append(f"A data set has fewer than {FEW_CLUSTERS} document groups: its intervals are rough.")
    return found
