"""Say in a few words what a comparison shows, and how its numbers are to be read; all fixed text of report.html stands here."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.evaluation import RunResult
from workbench.report import MAX_LOST, Comparison
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
        "That does not prove the two equal: more questions may tell them apart.",
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
    return f"{best.label} is better than every other candidate"


def limits(results: Sequence[RunResult]) -> list[str]:
    """Return what these results do not say."""
    splits = {result.settings.split for result in results}
    found = []
    if splits != {"confirmation"}:
        found.append(
            "Not confirmed on held-out questions: the best candidate was picked and measured on the same questions, so its score is likely "
            "to be a little too high. Run it and the baseline again on the confirmation split before you rely on it."
        )
    else:
        found.append("Measured on the confirmation questions: this confirms a choice only if it was made on other questions.")
    found.append("Retrieval alone was tested. The quality of generated answers, speed and cost were not.")
    found.append(
        "Questions without evidence in the documents are not scored, so nothing here says how well a system stays silent when it should."
    )
    found.append(
        "The numbers hold for these documents and these questions; other collections, languages and question styles can rank differently."
    )
    if any(len(set(result.clusters)) < FEW_CLUSTERS for result in results):
        found.append(f"A data set has fewer than {FEW_CLUSTERS} document groups: its intervals are rough.")
    return found
