"""Packing: budgets worked by hand, smaller contexts are prefixes, nothing twice, never over the budget (ST6)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tokens import ByteTokenizer

from workbench.chunking import create_chunker
from workbench.datatypes import Chunk, Document, Hit, Span, WorkbenchError
from workbench.packing import Context, pack, subtract
from workbench.tokens import SimpleTokenizer, token_table

SIMPLE = SimpleTokenizer()
TEXTS = {"a": "one two three four five six", "b": "하나 둘 셋\n\n넷 다섯 여섯", "c": "㈜한빛 🇰🇷👍🏽 end"}
TABLES = {name: token_table(text, SIMPLE) for name, text in TEXTS.items()}
BYTES = {name: token_table(text, ByteTokenizer()) for name, text in TEXTS.items()}


def hit(name: str, start: int, end: int, rank: int = 1) -> Hit:
    return Hit(Chunk(Span(name, start, end), TEXTS[name][start:end]), 1.0, rank)


def texts(context: Context) -> list[str]:
    return [TEXTS[piece.document_id][piece.start : piece.end] for piece in context.pieces]


# --- by hand ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "expected", "tokens", "full"),
    [
        (0, [], 0, True),
        (1, ["one"], 1, True),
        (2, ["one two"], 2, True),
        (3, ["one two three"], 3, True),  # the first hit, exactly
        (4, ["one two three", "하나"], 4, True),
        (6, ["one two three", "하나 둘 셋"], 6, True),
        (7, ["one two three", "하나 둘 셋"], 6, False),  # the hits ran out
    ],
)
def test_budgets_by_hand(budget: int, expected: list[str], tokens: int, full: bool) -> None:
    context = pack([hit("a", 0, 13), hit("b", 0, 6, 2)], budget, TABLES)
    assert (texts(context), context.tokens, context.full) == (expected, tokens, full)


def test_overlapping_hits_bring_only_what_is_new() -> None:
    hits = [hit("a", 4, 13), hit("a", 0, 18, 2), hit("a", 8, 23, 3), hit("a", 0, 27, 4)]
    context = pack(hits, 100, TABLES)
    assert texts(context) == ["two three", "one ", " four", " five", " six"]
    assert context.tokens == 6


def test_hit_inside_an_earlier_one_brings_nothing() -> None:
    context = pack([hit("a", 0, 13), hit("a", 4, 7, 2), hit("a", 0, 13, 3)], 100, TABLES)
    assert (texts(context), context.tokens, context.full) == (["one two three"], 3, False)


def test_equal_offsets_in_two_documents_are_two_places() -> None:
    assert texts(pack([hit("a", 0, 3), hit("b", 0, 3, 2)], 9, TABLES)) == ["one", "하나 "]


def test_white_space_between_two_pieces_is_no_piece() -> None:
    hits = [hit("b", 0, 6), hit("b", 8, 15, 2), hit("b", 0, 15, 3), hit("a", 0, 3, 4)]
    assert texts(pack(hits, 100, TABLES)) == ["하나 둘 셋", "넷 다섯 여섯", "one"]
    assert texts(pack(hits, 100, BYTES)) == ["하나 둘 셋", "넷 다섯 여섯", "one"]


def test_a_cut_keeps_whole_tokens() -> None:
    assert texts(pack([hit("b", 8, 15)], 2, TABLES)) == ["넷 다섯"]
    assert texts(pack([hit("a", 8, 27)], 3, TABLES)) == ["three four five"]  # no white space at the end


def test_a_character_of_several_tokens_is_kept_or_dropped_whole() -> None:
    for budget, expected, tokens in (
        (2, [], 0),
        (3, ["㈜"], 3),
        (5, ["㈜"], 3),
        (6, ["㈜한"], 6),
        (13, ["㈜한빛 "], 10),
        (14, ["㈜한빛 🇰"], 14),
    ):
        context = pack([hit("c", 0, 12), hit("a", 0, 27, 2)], budget, BYTES)
        assert (texts(context), context.tokens, context.full) == (expected, tokens, True)  # what is left is not spent on a later hit


def test_no_hits() -> None:
    assert pack([], 10, TABLES) == Context((), 0, False)


def test_a_budget_below_zero_is_refused() -> None:
    with pytest.raises(WorkbenchError, match="context budget -1 must be at least 0 tokens"):
        pack([hit("a", 0, 3)], -1, TABLES)


def test_within_gives_what_packing_gives() -> None:
    hits = [hit("a", 0, 13), hit("b", 0, 6, 2), hit("a", 8, 27, 3)]
    large = pack(hits, 8, TABLES)
    assert [large.within(budget, TABLES) for budget in range(9)] == [pack(hits, budget, TABLES) for budget in range(9)]


def test_st6_equal_budgets_cost_the_same_whatever_the_chunk_size() -> None:
    document = Document("d", "\n\n".join(f"Article {number}. The holder of ticket {number} may claim a refund." for number in range(60)))
    tables = {"d": token_table(document.text, SIMPLE)}
    characters = []
    for size in (8, 32, 128):
        chunks = create_chunker("fixed", SIMPLE, size, size // 4).chunk(document)
        context = pack([Hit(chunk, 0.0, rank) for rank, chunk in enumerate(chunks, 1)], 200, tables)
        assert (context.tokens, context.full) == (200, True)
        assert context.pieces[0].start == 0
        characters.append(sum(tables["d"].visible_in(piece.start, piece.end) for piece in context.pieces))
    assert len(set(characters)) == 1  # read in order, each buys the same text


# --- properties -------------------------------------------------------------------------------------------------------------------


@st.composite
def some_hits(draw: st.DrawFn) -> list[Hit]:
    hits = []
    for rank in range(1, draw(st.integers(0, 8)) + 1):
        name = draw(st.sampled_from(sorted(TEXTS)))
        start = draw(st.integers(0, len(TEXTS[name]) - 1))
        hits.append(hit(name, start, draw(st.integers(start + 1, len(TEXTS[name]))), rank))
    return hits


def characters(context: Context) -> list[tuple[str, int]]:
    return [(piece.document_id, at) for piece in context.pieces for at in range(piece.start, piece.end)]


@pytest.mark.parametrize("tables", [TABLES, BYTES], ids=["simple", "bytes"])
@settings(deadline=None)
@given(hits=some_hits(), small=st.integers(0, 40), more=st.integers(0, 40))
def test_any_hits(tables: dict, hits: list[Hit], small: int, more: int) -> None:
    large = pack(hits, small + more, tables)
    kept, everything = (
        characters(large),
        {(one.chunk.span.document_id, at) for one in hits for at in range(one.chunk.span.start, one.chunk.span.end)},
    )
    assert len(kept) == len(set(kept)), "a character twice"
    assert set(kept) <= everything
    assert large.tokens == sum(tables[piece.document_id].count(piece.start, piece.end) for piece in large.pieces) <= small + more
    assert all(TEXTS[piece.document_id][piece.start : piece.end].strip() for piece in large.pieces)
    if not large.full:
        assert all(TEXTS[name][at].isspace() for name, at in everything - set(kept)), "the budget was not spent, yet text is missing"
    less = pack(hits, small, tables)
    assert characters(less) == kept[: len(characters(less))], "a smaller budget gives a prefix"
    assert large.within(small, tables) == less


@settings(deadline=None)
@given(
    start=st.integers(0, 30),
    length=st.integers(1, 30),
    taken=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)).map(lambda pair: (pair[0], sum(pair))), max_size=6),
)
def test_subtract_is_the_difference_of_sets(start: int, length: int, taken: list[tuple[int, int]]) -> None:
    end = start + length
    parts = subtract(start, end, taken)
    left = [at for at in range(start, end) if not any(low <= at < high for low, high in taken)]
    assert [at for low, high in parts for at in range(low, high)] == left
    assert all(low < high for low, high in parts)


def test_d28_touching_ranges_do_not_overlap() -> None:
    assert subtract(10, 20, [(0, 10), (20, 30)]) == [(10, 20)]
    assert subtract(0, 20, [(5, 10), (10, 15)]) == [(0, 5), (15, 20)]
    assert Span("a", 0, 10).overlap(Span("a", 10, 20)) == 0
