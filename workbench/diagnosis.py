"""Name one cause for each question: the first in the order of the pipeline that explains its loss, so that what is upstream is mended.

An evidence unit is whole in a context when all its visible characters lie inside (of alternatives, the one covered best counts);
of document gold, when a piece of it lies inside. A unit that is not whole has one cause:

| what is true, the first line that fits | cause |
|---|---|
| the chunks together do not hold the whole unit | no_chunk |
| no hit touches it, or one chunk holds it whole and the hits together do not | not_retrieved |
| no single chunk holds it whole, and a part of it is in the context | cut |
| anything else | below_budget |

Of a question's units the earliest cause counts. Hits are all that the run retrieved: top_k, or as many as fill the largest budget.
Document gold lists more relevant documents than a ranking need hold, so one of them is enough (hit@k = 1); where none is there, the cause
is that of the document that came nearest: no chunk touches it, no hit touches it, below_budget.

Where nothing is answered, questions are judged by retrieval alone: at the tokens of the primary metric (evidence_recall@Nt), else at
`verdict_budget`; document gold by the first top_k hits, so that what lies deeper is not_retrieved. Where a run answers, only the answered
questions are diagnosed, by the passages that the generator saw; where a prompt shows none, retrieved evidence is below_budget. An answer
is *right* when answer_em is 1, answer_f1 is at least 0.5, or a gold answer (but yes or no) stands whole in it; it is *grounded* unless
groundedness is below 0.5 (an answer without a content term has none). Then the first line that fits decides:

| answer | evidence in the context | cause |
|---|---|---|
| failed | any | failed |
| refused, unanswerable question | - | fine |
| not refused, unanswerable question | - | answered_unanswerable |
| right, not grounded | any | outside_context |
| right, grounded | whole, in part or unknown | fine |
| right, grounded | none of it | the cause of the lost unit |
| wrong or refused | not whole | the cause of the lost unit |
| refused | whole | wrongly_refused |
| not grounded | whole | outside_context |
| wrong, grounded | whole | not_used |
| without gold answers, grounded | whole | fine |

Not diagnosed (""): questions that a run which answers did not ask, unanswerable questions where nothing is answered, and questions without
known evidence unless their answer is right, since retrieval and generation cannot be told apart.
Not covered: whether an answer that holds a gold answer negates it.
"""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.datatypes import Answer, Chunk, Dataset, Document, Example, Hit, Span
from workbench.metrics import BUDGET_METRIC, covered, first_ranks, merge, touches
from workbench.metrics_answers import YES_NO, normalise_answer
from workbench.packing import Context
from workbench.pipeline_postprocess import without_citations
from workbench.settings import Settings
from workbench.tokens import TokenTable

CAUSES = {  # in the order of the pipeline
    "no_chunk": "the chunks do not hold the whole evidence: the chunker lost some of it",
    "not_retrieved": "no hit holds the evidence",
    "cut": "no single chunk holds the evidence whole, and only a part of it reached the context",
    "below_budget": "the evidence was retrieved, but is not, or not wholly, within the context budget",
    "not_used": "the evidence is in the context; the answer is wrong and made of the context",
    "outside_context": "the answer, right or wrong, does not come from the context: it is not grounded in it",
    "wrongly_refused": "refused, although the evidence is in the context",
    "answered_unanswerable": "the documents do not answer the question; it was answered instead of refused",
    "failed": "the generator returned an error instead of an answer",
    "fine": "nothing was lost",
}
EXAMPLES = 3  # of each cause, and hits of each example
EXCERPT = 600  # characters
USUAL_BUDGET = 512  # tokens
JUDGED = ("answer_em", "answer_f1", "groundedness")
RIGHT = GROUNDED = 0.5  # at least: answer_f1 and groundedness
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Unit:
    """Hold where one evidence unit went: its alternative covered best, its share in the context, and the cause of its loss ("": none)."""

    span: Span
    rank: int | None  # of the first hit that touches it
    share: float  # 1 or 0 for document gold
    lost: str


@dataclass(frozen=True)
class Said:
    """Hold what is known of one answer; `right` is None where there is no gold answer."""

    failed: bool = False
    refused: bool = False
    right: bool | None = None
    grounded: bool = True


class ChunkMap:
    """Find the chunks that touch a span without looking at all of them."""

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self.spans: dict[str, list[Span]] = {}
        for chunk in chunks:
            self.spans.setdefault(chunk.span.document_id, []).append(chunk.span)
        for spans in self.spans.values():
            spans.sort()
        self.reach = {name: list(itertools.accumulate((span.end for span in spans), max)) for name, spans in self.spans.items()}

    def touching(self, span: Span) -> list[Span]:
        """Return the chunks that share a character with a span."""
        spans, reach = self.spans.get(span.document_id, []), self.reach.get(span.document_id, [])
        row, found = bisect.bisect_left(spans, span.end, key=lambda chunk: chunk.start), []
        while row and reach[row - 1] > span.start:
            row -= 1
            found += [spans[row]] * (spans[row].end > span.start)
        return found


def cause(units: Sequence[Unit], said: Said | None, answerable: bool = True) -> str:
    """Return the cause of one question by the tables above, "" when it cannot be diagnosed.

    `units` are empty where no evidence is known; `said` is None where the question is not answered.
    """
    lost = min((unit.lost for unit in units if unit.lost), key=list(CAUSES).index, default="")
    if said is None:
        return (lost or "fine") if units else ""
    if said.failed:
        return "failed"
    if not answerable:
        return "fine" if said.refused else "answered_unanswerable"
    if said.right and not said.refused:
        if not said.grounded:
            return "outside_context"
        return "fine" if any(unit.share for unit in units) else lost or "fine"
    if lost or not units:
        return lost
    if said.refused:
        return "wrongly_refused"
    if not said.grounded:
        return "outside_context"
    return "fine" if said.right is None else "not_used"


def trace(example: Example, hits: Sequence[Hit], pieces: Iterable[Span], chunks: ChunkMap, tables: Mapping[str, TokenTable]) -> list[Unit]:
    """Follow each evidence unit of a question into the pieces of a context; units of nothing but white space are left out."""
    inside = merge(pieces)

    def whole(span: Span, spans: Iterable[Span]) -> bool:
        return covered(span, merge(spans), tables) == tables[span.document_id].visible_in(span.start, span.end)

    def loss(spans: Sequence[Span], rank: int | None, share: float) -> str:
        near = {span: chunks.touching(span) for span in spans}
        if not any(whole(span, near[span]) for span in spans):
            return "no_chunk"
        if rank is None:
            return "not_retrieved"
        together = any(whole(span, [hit.chunk.span for hit in hits if hit.chunk.span.overlap(span)]) for span in spans)
        alone = any(whole(span, [chunk]) for span in spans for chunk in near[span])
        if alone and not together:
            return "not_retrieved"
        return "cut" if share and not alone else "below_budget"

    units = []
    for unit, rank in zip(example.evidence, first_ranks(hits, example), strict=True):
        sizes = {span: size for span in unit if (size := tables[span.document_id].visible_in(span.start, span.end))}
        if not sizes:
            continue
        shares = {span: covered(span, inside, tables) / size for span, size in sizes.items()}
        ranks = {span: next((hit.rank for hit in hits if hit.chunk.span.overlap(span)), math.inf) for span in sizes}
        best = max(shares, key=lambda span: (shares[span], -ranks[span]))
        lost = "" if shares[best] >= 1 - TOLERANCE else loss(list(sizes), rank, shares[best])
        units.append(Unit(best, rank, shares[best], lost))
    return units


def trace_documents(example: Example, hits: Sequence[Hit], pieces: Sequence[Span] | None, chunks: ChunkMap, top_k: int) -> list[Unit]:
    """Follow each document of a question's gold into the pieces of a context, or into the first top_k hits where `pieces` is None.

    One is enough: none is lost where one is there, and else all share the cause of the one that came nearest.
    """
    ranks = first_ranks(hits, example)
    retrieved = [rank is not None and (pieces is not None or rank <= top_k) for rank in ranks]
    reached = retrieved if pieces is None else [any(touches(piece, unit) for piece in pieces) for unit in example.evidence]
    held = any(chunks.touching(span) for unit in example.evidence for span in unit)
    lost = "" if any(reached) else "below_budget" if any(retrieved) else "not_retrieved" if held else "no_chunk"
    return [Unit(unit[0], rank, float(there), lost) for unit, rank, there in zip(example.evidence, ranks, reached, strict=True)]


def verdict_budget(settings: Settings) -> int:
    """Return the tokens of context that questions which are not answered are judged at.

    Those of the primary metric; where it has none, `answer_budget`, else the largest budget up to 512 (the smallest where all are larger).
    """
    family, _, size = settings.primary.partition("@")
    if family == BUDGET_METRIC:
        return int(size.rstrip("t"))
    return settings.answer_budget or max((budget for budget in settings.budgets if budget <= USUAL_BUDGET), default=settings.budgets[0])


def contains(text: str, answers: Sequence[str], language: str) -> bool:
    """Tell whether a gold answer stands whole in a text, both normalised.

    It starts and ends with a word; a Korean one of several syllables may have particles behind it, but no digit. Yes and no are not looked
    for: they stand in many an answer that means the other.
    """
    found = normalise_answer(text, language)
    for gold in (normalise_answer(answer, language) for answer in answers):
        after = r"\d" if language == "ko" and len(gold) > 1 else r"\w"
        if gold and gold not in YES_NO and re.search(rf"(?<!\w){re.escape(gold)}(?!{after})", found):
            return True
    return False


def judge(example: Example, answer: Answer, scores: Mapping[str, float], language: str) -> Said:
    """Judge one answer from its scores and its text."""
    if answer.error or answer.refused:
        return Said(failed=bool(answer.error), refused=answer.refused)
    right = None
    if example.answers:
        right = scores["answer_em"] == 1 or scores["answer_f1"] >= RIGHT
        right = right or contains(without_citations(answer.text), example.answers, language)
    return Said(right=right, grounded=not scores["groundedness"] < GROUNDED)


def diagnose(
    settings: Settings,
    dataset: Dataset,
    chunks: Iterable[Chunk],
    tables: Mapping[str, TokenTable],
    found: Mapping[int, tuple[Sequence[Hit], Context]],
    answers: Mapping[int, Answer],
    scores: Mapping[str, np.ndarray],
    language: str,
) -> tuple[tuple[str, ...], tuple[dict[str, Any], ...]]:
    """Return the cause of each question, and up to three cases of each cause but `fine`: worst primary score first, then by id.

    `found` holds hits and the context of the largest budget by the row of the question, `answers` what was answered: where that is some
    questions, the others are not diagnosed. `scores` has a column of all questions for each metric. Cases are plain JSON values; what was
    answered stands in the record of the answer with the same id.
    """
    chunk_map, budget = ChunkMap(chunks), verdict_budget(settings)
    causes, traces = [], {}
    for row, example in enumerate(dataset.examples):
        hits, context = found.get(row, ((), Context((), 0, False)))
        answer = answers.get(row)
        if answers and answer is None:
            causes.append("")
            continue
        pieces = None if answer is None else [passage.span for passage in answer.passages]
        if dataset.document_gold:
            units = trace_documents(example, hits, pieces, chunk_map, settings.top_k)
        else:
            units = trace(example, hits, context.within(budget, tables).pieces if pieces is None else pieces, chunk_map, tables)
        said = answer and judge(example, answer, {name: scores[name][row] for name in JUDGED}, language)
        causes.append(cause(units, said, example.answerable))
        traces[row] = units
    documents = {document.id: document for document in dataset.documents}
    primary = scores[settings.primary]
    order = sorted(range(len(causes)), key=lambda row: (np.isnan(primary[row]), primary[row], dataset.examples[row].id))
    cases = []
    for name in CAUSES:
        rows = [row for row in order if causes[row] == name != "fine"]
        for row in rows[:EXAMPLES]:
            score = float(primary[row])
            case = {"cause": name, "score": score if math.isfinite(score) else None}
            hits = found[row][0]
            shares = [None if dataset.document_gold else round(unit.share, 4) for unit in traces[row]]
            units = [(unit.span, {"rank": unit.rank, "share": share}) for unit, share in zip(traces[row], shares, strict=True)]
            cases.append(case | in_full(dataset.examples[row], units, hits, documents))
    return tuple(causes), tuple(cases)


def in_full(
    example: Example, units: Iterable[tuple[Span, Mapping[str, Any]]], hits: Sequence[Hit], documents: Mapping[str, Document]
) -> dict[str, Any]:
    """Return a question as plain JSON values: its gold, each unit of evidence with what is known of it, and its first hits."""
    evidence = []
    for span, facts in units:
        document = documents[span.document_id]
        evidence.append({"document": document.id, "title": document.title, "text": document.text[span.start : span.end][:EXCERPT], **facts})
    return {
        "id": example.id,
        "question": example.question,
        "answers": list(example.answers),
        "evidence": evidence,
        "hits": [
            {
                "rank": hit.rank,
                "document": hit.chunk.span.document_id,
                "score": round(hit.score, 4) if math.isfinite(hit.score) else None,
                "text": hit.chunk.text[:EXCERPT],
            }
            for hit in hits[:EXAMPLES]
        ],
    }
