"""One cause for each question: the table of all combinations, where units of evidence get lost, and which questions are shown."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.datatypes import Answer, Chunk, Completion, Document, Example, Hit, Passage, Span, Step
from workbench.diagnosis import (
    CAUSES,
    ChunkMap,
    Said,
    Unit,
    cause,
    contains,
    judge,
    trace,
    trace_documents,
    verdict_budget,
)
from workbench.metrics import evidence_recall
from workbench.packing import pack
from workbench.settings import Settings
from workbench.tokens import SimpleTokenizer, token_tables

TEXT = "aa bb cc dd ee ff gg hh ii jj"  # ten tokens of two letters, one every three characters
DOCUMENTS = (Document("d", TEXT, "Letters"), Document("e", TEXT), Document("blank", "aa   bb"))
TABLES = token_tables(DOCUMENTS, SimpleTokenizer())


def span(first: int, last: int, document: str = "d") -> Span:
    """Locate the words first to last (inclusive)."""
    return Span(document, 3 * first, 3 * last + 2)


def hits(*spans: Span) -> list[Hit]:
    return [Hit(Chunk(place, TEXT[place.start : place.end]), 1 / rank, rank) for rank, place in enumerate(spans, start=1)]


def example(*units: tuple[Span, ...], name: str = "q", answers: tuple[str, ...] = ("aa",)) -> Example:
    return Example(name, f"question {name}", answers, units)


# --- the table --------------------------------------------------------------------------------------------------------------------

WHOLE, PART, MISSING = Unit(span(0, 1), 1, 1.0, ""), Unit(span(0, 1), 1, 0.5, "cut"), Unit(span(0, 1), None, 0.0, "not_retrieved")
EVIDENCE = {"unknown": [], "whole": [WHOLE], "part": [WHOLE, PART], "missing": [MISSING]}
RIGHT, WRONG, OPEN = (Said(right=right) for right in (True, False, None))
INVENTED = {right: Said(right=right, grounded=False) for right in (True, False, None)}
REFUSED, FAILED = Said(refused=True), Said(failed=True)
TABLE = {  # answer -> cause where the evidence is unknown, whole, there in part, missing
    None: ("", "fine", "cut", "not_retrieved"),
    FAILED: ("failed", "failed", "failed", "failed"),
    RIGHT: ("fine", "fine", "fine", "not_retrieved"),  # made of the context, by luck: what stands there is not the evidence
    INVENTED[True]: ("outside_context", "outside_context", "outside_context", "outside_context"),
    WRONG: ("", "not_used", "cut", "not_retrieved"),
    INVENTED[False]: ("", "outside_context", "cut", "not_retrieved"),
    OPEN: ("", "fine", "cut", "not_retrieved"),
    INVENTED[None]: ("", "outside_context", "cut", "not_retrieved"),
    REFUSED: ("", "wrongly_refused", "cut", "not_retrieved"),
}


@pytest.mark.parametrize("said", TABLE, ids=str)
def test_every_combination_has_the_cause_of_the_table(said: Said | None) -> None:
    assert tuple(cause(units, said) for units in EVIDENCE.values()) == TABLE[said]


@pytest.mark.parametrize(
    ("said", "expected"),
    [(None, ""), (FAILED, "failed"), (REFUSED, "fine"), (OPEN, "answered_unanswerable"), (INVENTED[None], "answered_unanswerable")],
)
def test_a_question_without_an_answer_in_the_documents_is_to_be_refused(said: Said | None, expected: str) -> None:
    assert cause([], said, answerable=False) == expected


losses = st.sampled_from(["", "no_chunk", "not_retrieved", "cut", "below_budget"])
units_drawn = st.lists(
    losses.flatmap(
        lambda lost: st.builds(Unit, st.just(span(0, 1)), st.just(1), st.floats(0, 0.9) if lost else st.just(1.0), st.just(lost))
    ),
    min_size=1,
    max_size=4,
)
said_drawn = st.builds(Said, st.booleans(), st.booleans(), st.sampled_from([True, False, None]), st.booleans())


@given(units_drawn, st.one_of(st.none(), said_drawn))
def test_a_question_with_evidence_has_exactly_one_cause_and_the_earliest_loss_counts(units: list[Unit], said: Said | None) -> None:
    found = cause(units, said)
    assert found in CAUSES
    assert found == cause(units[::-1], said)
    lost = [name for name in CAUSES if name in {unit.lost for unit in units}]
    if said is None or found in ("no_chunk", "not_retrieved", "cut", "below_budget"):
        assert found == (lost[0] if lost else "fine")
    if found in ("not_used", "wrongly_refused"):
        assert not lost  # never blame the generator for what it did not see


# --- where evidence gets lost -----------------------------------------------------------------------------------------------------

HALVES = (span(0, 4), span(5, 9))


@pytest.mark.parametrize(
    ("chunks", "found", "budget", "unit", "lost", "rank", "share"),
    [
        (HALVES, (0,), 5, (span(1, 2),), "", 1, 1),
        (HALVES, (1,), 10, (span(1, 2),), "not_retrieved", None, 0),
        (HALVES, (1, 0), 5, (span(1, 2),), "below_budget", 2, 0),
        (HALVES, (1, 0), 7, (span(1, 2),), "below_budget", 2, 0.5),  # the budget ends within the evidence
        (HALVES, (0,), 10, (span(4, 5),), "cut", 1, 0.5),
        (HALVES, (0, 1), 5, (span(4, 5),), "cut", 1, 0.5),
        (HALVES, (0, 1), 10, (span(4, 5),), "", 1, 1),  # both pieces reached the context
        (HALVES, (0,), 2, (span(4, 5),), "below_budget", 1, 0),  # a piece was found, none reached the context
        ((span(0, 4), span(6, 9)), (0, 1), 10, (span(4, 6),), "no_chunk", 1, 2 / 3),
        ((span(0, 4),), (), 10, (span(6, 7),), "no_chunk", None, 0),
        ((), (), 10, (span(6, 7),), "no_chunk", None, 0),
        ((*HALVES, span(3, 7)), (0,), 10, (span(4, 5),), "not_retrieved", 1, 0.5),  # the chunk that holds all is no hit
        ((*HALVES, span(3, 7)), (0, 2), 5, (span(4, 5),), "below_budget", 1, 0.5),
        (HALVES, (1,), 5, (span(4, 5), span(8, 9)), "", 1, 1),  # any alternative will do
        (HALVES, (0,), 5, (span(4, 5), span(8, 9)), "not_retrieved", 1, 0.5),  # the chunk that holds one alternative is no hit
    ],
)  # fmt: skip
def test_each_unit_has_the_first_cause_that_explains_it(chunks, found, budget, unit, lost: str, rank, share: float) -> None:
    given_hits = hits(*(chunks[row] for row in found))
    (traced,) = trace(
        example(unit), given_hits, pack(given_hits, budget, TABLES).pieces, ChunkMap(hit.chunk for hit in hits(*chunks)), TABLES
    )
    assert (traced.lost, traced.rank, traced.share) == (lost, rank, pytest.approx(share))


def test_white_space_is_no_evidence_and_no_loss() -> None:
    chunks = hits(Span("blank", 0, 2), Span("blank", 5, 7))
    pieces = pack(chunks, 9, TABLES).pieces
    (traced,) = trace(example((Span("blank", 0, 7),)), chunks, pieces, ChunkMap(hit.chunk for hit in chunks), TABLES)
    assert (traced.lost, traced.share) == ("", 1)
    assert trace(example((Span("blank", 2, 5),)), chunks, pieces, ChunkMap(()), TABLES) == []


def test_document_gold_is_reached_by_any_piece_and_counted_at_top_k_where_nothing_is_answered() -> None:
    gold, found = example((Span("d", 0, len(TEXT)),)), hits(span(0, 1, "e"), span(0, 1), span(2, 3))
    chunks = ChunkMap(hit.chunk for hit in found)

    def lost(pieces: list[Span] | None, top_k: int, given_hits: list[Hit] = found, chunks: ChunkMap = chunks) -> str:
        return trace_documents(gold, given_hits, pieces, chunks, top_k)[0].lost

    assert [lost(None, top_k) for top_k in (1, 2)] == ["not_retrieved", ""]
    assert [lost(pieces, 1) for pieces in ([span(0, 1)], [span(0, 1, "e")], [])] == ["", "below_budget", "below_budget"]
    assert [lost(pieces, 3, found[:1]) for pieces in (None, [])] == ["not_retrieved"] * 2
    assert [lost(pieces, 3, found[:1], ChunkMap([found[0].chunk])) for pieces in (None, [])] == ["no_chunk"] * 2


def test_of_document_gold_one_document_is_enough() -> None:
    """Judgements list more relevant documents than a ranking need hold: hit@k, not recall, says whether a question is lost."""
    gold = example(*((Span(name, 0, len(TEXT)),) for name in ("d", "e", "blank")))
    chunks = ChunkMap(hit.chunk for hit in hits(span(0, 1), span(0, 1, "e")))
    one, other = hits(span(0, 1)), hits(span(0, 1, "d"), span(0, 1, "e"))

    def traced(found: list[Hit], pieces: list[Span] | None) -> tuple[str, list[float]]:
        units = trace_documents(gold, found, pieces, chunks, 1)
        return cause(units, None), [unit.share for unit in units]

    assert traced(one, None) == ("fine", [1, 0, 0])
    assert traced(other, [span(0, 1, "e")]) == ("fine", [0, 1, 0])
    assert traced(one, []) == ("below_budget", [0, 0, 0])  # that of the document that came nearest
    assert traced([], None) == ("not_retrieved", [0, 0, 0])
    assert cause(trace_documents(gold, one, [span(0, 1)], chunks, 1), WRONG) == "not_used"


def test_of_alternatives_that_fare_alike_the_one_that_a_hit_touches_is_shown() -> None:
    chunks, found = hits(*HALVES, span(0, 4, "e")), hits(span(5, 9), span(0, 4, "e"))
    for unit in itertools.permutations((span(0, 1), span(1, 2, "e"))):
        (traced,) = trace(example(unit), found, [span(5, 9)], ChunkMap(hit.chunk for hit in chunks), TABLES)
        assert (traced.span, traced.rank, traced.share, traced.lost) == (span(1, 2, "e"), 2, 0, "below_budget")


spans_drawn = st.tuples(st.integers(0, 28), st.integers(1, 12), st.sampled_from("de")).map(
    lambda at: Span(at[2], at[0], min(at[0] + at[1], 29))
)


@given(st.lists(spans_drawn, unique=True, max_size=8), st.data(), st.integers(0, 12))
def test_a_question_is_fine_exactly_when_its_evidence_recall_is_one(spans: list[Span], data: st.DataObject, budget: int) -> None:
    everything = [hit.chunk for hit in hits(*spans)]
    found = hits(*data.draw(st.permutations(spans))[: data.draw(st.integers(0, 8))])
    question = example(*data.draw(st.lists(st.lists(spans_drawn, min_size=1, max_size=2, unique=True).map(tuple), min_size=1, max_size=3)))
    context, chunks = pack(found, budget, TABLES), ChunkMap(everything)
    units = trace(question, found, context.pieces, chunks, TABLES)
    recall = evidence_recall(context, question, TABLES)
    if math.isnan(recall):
        assert cause(units, None) == ""
    else:
        assert (cause(units, None) == "fine") == (recall == pytest.approx(1, abs=1e-9))
    for unit in itertools.chain.from_iterable(question.evidence):
        assert sorted(chunks.touching(unit)) == sorted(chunk.span for chunk in everything if chunk.span.overlap(unit))
    wanted = trace(question, hits(*spans), pack(hits(*spans), 99, TABLES).pieces, chunks, TABLES)
    assert {unit.lost for unit in wanted} <= {"", "no_chunk"}  # with all chunks in the context only the chunker can lose


# --- answers ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "gold", "language", "expected"),
    [
        ("It lapses on 31 December.", "31 december", "en", True),
        ("It lapses on the 31st of December.", "31 December", "en", False),
        ("In 1984.", "198", "en", False),
        ("Category", "cat", "en", False),
        ("The answer is yes!", "the", "en", False),  # nothing is left of the gold answer
        ("12월 31일에 소멸합니다.", "12월 31일", "ko", True),
        ("12월 31일에 소멸합니다.", "2월 31일", "ko", False),
        ("112층입니다.", "11", "ko", False),
        ("예약 취소는 전화로 합니다.", "예", "ko", False),
        ("예, 전화로 합니다.", "예", "ko", False),  # yes and no stand in answers that mean the other
        ("Yes, there is no limit.", "No.", "en", False),
        ("No, that is false.", "true", "en", False),
        ("예약은 전화로 합니다.", "예약", "ko", True),
        ("지하 2층에서 충전합니다.", "지하 2", "ko", True),
    ],
)
def test_a_gold_answer_stands_whole_in_an_answer(text: str, gold: str, language: str, expected: bool) -> None:
    assert contains(text, ["something else", gold], language) is expected


def answer(text: str, *pieces: Span, refused: bool = False, error: str = "", name: str = "q") -> Answer:
    passages = tuple(Passage(piece, TEXT[piece.start : piece.end]) for piece in pieces)
    step = Step("answer", (), Completion(text, "error" if error else "stop", error=error))
    return Answer(name, "?", text, (), passages, 0, (step,), refused)


@pytest.mark.parametrize(
    ("em", "f1", "grounded", "expected"),
    [
        (1, 1, 1, Said(right=True)),
        (0, 0.5, 0.5, Said(right=True)),
        (0, 0.49, 0.49, Said(right=False, grounded=False)),
        (0, 0, math.nan, Said(right=False)),  # no content term: nothing shows that it comes from elsewhere
    ],
)
def test_an_answer_is_judged_by_its_scores(em: float, f1: float, grounded: float, expected: Said) -> None:
    scores = {"answer_em": em, "answer_f1": f1, "groundedness": grounded}
    assert judge(example(answers=("gold",)), answer("something"), scores, "en") == expected
    assert judge(example(answers=("gold",)), answer("the Gold [1], of course"), scores, "en").right is True
    assert judge(example(answers=()), answer("something"), scores, "en").right is None
    assert judge(example(), answer("", refused=True), scores, "en") == REFUSED
    assert judge(example(), answer("", error="HTTP 500"), scores, "en") == FAILED


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"primary": "evidence_recall@256t", "answer_budget": 512}, 256),
        ({"primary": "ndcg@10", "answer_budget": 300}, 300),
        ({"primary": "ndcg@10"}, 512),
        ({"primary": "ndcg@10", "budgets": (100, 400, 600)}, 400),
        ({"primary": "ndcg@10", "budgets": (600, 900)}, 600),
    ],
)
def test_questions_that_are_not_answered_are_judged_at_one_budget(changes: dict, expected: int) -> None:
    assert verdict_budget(Settings(**changes)) == expected
