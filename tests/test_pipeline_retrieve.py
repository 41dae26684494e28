"""Retrieval goes as deep as the largest budget needs, and no deeper; questions are vectorised once."""

from collections.abc import Sequence

import pytest

from workbench.datatypes import Chunk, Document, Example, Hit, Span
from workbench.pipeline import retrieve_to_fill
from workbench.tokens import SimpleTokenizer, token_tables

TEXT = "one two three four five six seven eight"
DOCUMENTS = tuple(Document(f"d{number}", TEXT) for number in range(5))
TABLES = token_tables(DOCUMENTS, SimpleTokenizer())
CHUNKS = [Chunk(Span(document.id, start, end), TEXT[start:end]) for document in DOCUMENTS for start, end in ((0, 18), (19, 39))]


def question(name: str) -> Example:
    return Example(name, f"question {name}")


def hits(*rows: int) -> list[Hit]:
    return [Hit(CHUNKS[row], 1 / rank, rank) for rank, row in enumerate(rows, start=1)]


class Listed:
    """Return the chunks in one order for every question, and remember how deep it was asked."""

    def __init__(self, order: Sequence[int]) -> None:
        self.order = order
        self.asked: list[tuple[int, int]] = []

    def vectorise(self, examples: Sequence[Example]) -> list[str]:
        return [example.question for example in examples]

    def retrieve(self, examples: Sequence[Example], k: int, queries: Sequence[str] | None = None) -> list[list[Hit]]:
        assert queries == self.vectorise(examples)  # those of these questions, in their order
        self.asked.append((len(examples), k))
        return [hits(*self.order[:k]) for _ in examples]


def test_retrieval_goes_deep_enough_to_fill_the_largest_budget() -> None:
    """The two halves of one document cost 4 tokens each; a mean that claims 8 makes the first depth too small for 24 tokens."""
    retriever = Listed(range(10))
    found, contexts = retrieve_to_fill(retriever, [question("a")], 2, 24, TABLES, 10, mean_tokens=16)
    assert retriever.asked == [(1, 4), (1, 10)]
    assert len(found[0]) == 10
    assert contexts[0].full
    assert contexts[0].tokens == 24


@pytest.mark.parametrize(
    ("top_k", "budget", "chunks", "asked"),
    [
        (3, 0, 10, [(1, 3)]),  # document gold has no budget
        (50, 0, 10, [(1, 10)]),  # k is clipped to the corpus
        (3, 1000, 10, [(1, 10)]),  # the corpus ends before the budget
        (1, 8, 10, [(1, 4)]),
    ],
)
def test_depth_is_clipped_and_no_deeper_than_needed(top_k: int, budget: int, chunks: int, asked: list) -> None:
    retriever = Listed(range(10))
    retrieve_to_fill(retriever, [question("a")], top_k, budget, TABLES, chunks, mean_tokens=4)
    assert retriever.asked == asked


def test_a_retriever_that_has_no_more_hits_is_not_asked_again() -> None:
    retriever = Listed([0, 1])
    found, contexts = retrieve_to_fill(retriever, [question("a"), question("b")], 1, 24, TABLES, 10, mean_tokens=16)
    assert retriever.asked == [(2, 4)]
    assert [len(items) for items in found] == [2, 2]
    assert not contexts[0].full


def test_only_questions_that_need_it_are_searched_deeper() -> None:
    class Uneven(Listed):
        def retrieve(self, examples: Sequence[Example], k: int, queries: Sequence[str] | None = None) -> list[list[Hit]]:
            assert queries == self.vectorise(examples)
            self.asked.append((len(examples), k))
            return [hits(*range(2 if item.id == "short" else k)) for item in examples]

    retriever = Uneven(())
    retrieve_to_fill(retriever, [question("short"), question("long"), question("short")], 2, 24, TABLES, 10, mean_tokens=16)
    assert retriever.asked == [(3, 4), (1, 10)]


def test_queries_made_before_are_used() -> None:
    class Costly(Listed):
        def vectorise(self, examples: Sequence[Example]) -> list[str]:
            raise AssertionError("vectorised again")

        def retrieve(self, examples: Sequence[Example], k: int, queries: Sequence[str] | None = None) -> list[list[Hit]]:
            self.asked.append((k, queries))
            return [hits(*self.order[:k]) for _ in examples]

    retriever = Costly(range(10))
    retrieve_to_fill(retriever, [question("a"), question("b")], 2, 24, TABLES, 10, mean_tokens=16, queries=["vector a", "vector b"])
    assert retriever.asked == [(4, ["vector a", "vector b"]), (10, ["vector a", "vector b"])]
