"""Hard negatives from hand-made vectors, and batches in which nothing right is held for wrong."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.finetuning_negatives import POOL, Pair, accept, add_negatives, candidates, mine


def unit(*cosines: float) -> np.ndarray:
    """Make plane unit vectors with these cosines to (1, 0)."""
    return np.array([[cosine, (1 - cosine * cosine) ** 0.5] for cosine in cosines], np.float32)


def mined(gold: float, passages: list[float], excluded: set[int], count: int, seed: int = 0) -> tuple[int, ...]:
    """Mine for the question (1, 0); excluded mirror images make the mean similarity 0."""
    mirrored = range(len(passages), 2 * len(passages))
    return mine(unit(1), unit(gold), unit(*passages, *(-cosine for cosine in passages)), [excluded | {*mirrored}], count, seed)[0]


@pytest.mark.parametrize(
    ("gold", "passages", "excluded", "count", "expected"),
    [
        (0.8, [0.1, 0.75, 0.5, 0.77], set(), 4, (1, 2, 0)),  # 0.77 is above 0.95 of 0.8 = 0.76
        (0.8, [0.1, 0.75, 0.5, 0.77], {1}, 4, (2, 0)),
        (0.8, [0.1, 0.75, 0.5, 0.77], {0, 1, 2}, 4, ()),
        (0.8, [0.8, 0.9, 0.79], set(), 1, ()),
        (0.8, [0.3, 0.3, 0.3], set(), 3, (0, 1, 2)),  # ties by row
        (-0.4, [-0.41, -0.43, -0.6], set(), 3, (1, 2)),  # 5 % below -0.4 is -0.42
        (0.8, [0.1, 0.2], set(), 0, ()),
        (0.9, [0.01 * at for at in range(POOL + 5)], set(), POOL + 2, tuple(range(POOL + 4, 2, -1))),
    ],
)
def test_negatives_are_the_nearest_passages_that_are_clearly_less_near_than_the_gold(gold, passages, excluded, count, expected):
    assert mined(gold, passages, excluded, count) == expected


def test_similarity_counts_from_the_mean():
    passages = unit(0.9, 0.88, 0.899, 0.521)  # mean 0.8, so 0.95 of the gold's similarity of 0.1 lies at 0.895
    assert mine(unit(1), unit(0.9), passages, [{0}], 4, 0) == [(1, 3)]


def test_the_seed_draws_from_the_nearest():
    passages = [0.01 * at for at in range(2 * POOL)]
    drawn = [mined(0.9, passages, set(), 2, seed) for seed in range(200)]
    assert drawn == [mined(0.9, passages, set(), 2, seed) for seed in range(200)]
    assert {row for rows in drawn for row in rows} == set(range(POOL, 2 * POOL))
    assert all(first > second for first, second in drawn)  # nearest first


def test_each_question_draws_on_its_own():
    questions, golds = (np.repeat(unit(cosine), 50, axis=0) for cosine in (1, 0.9))
    passages = unit(*[0.01 * at for at in range(POOL)])
    drawn = mine(questions, golds, passages, [set()] * 50, 1, 3)
    assert len(set(drawn)) > POOL / 2
    assert drawn[:7] == mine(questions[:7], golds[:7], passages, [set()] * 7, 1, 3)


def test_what_may_answer_a_question_is_accepted():
    pairs = [("연차는 며칠인가요?", "연차는 열닷새입니다."), ("q", "a"), ("q", "b"), ("r", "b")]
    passages = ["연차는 열닷새입니다.", "연차는 열닷새입니다. 수당은 없습니다.", "열닷새", "c a", "d", "e"]
    accepted = [pair.accepted for pair in accept(pairs, [[], [], ["e"], []], passages)]
    assert accepted == [set(passages[:3]), {"a", "b", "c a", "e"}, {"a", "b", "c a", "e"}, {"b"}]
    assert [pair.accepted for pair in accept(pairs[1:], (), passages)] == [{"a", "b", "c a"}, {"a", "b", "c a"}, {"b"}]


def test_candidates_of_a_batch_by_hand():
    rows = [
        Pair("q", "a", frozenset("ab"), ("n", "b")),  # b may answer q, though it was drawn
        Pair("q", "b", frozenset("ab"), ("n",)),  # the same question with another passage
        Pair("r", "a", frozenset("a"), ("m",)),  # the same passage with another question
        Pair("s", "d", frozenset("dm"), ()),  # a negative of r may answer s
    ]
    texts, own, hidden = candidates(rows)
    assert texts == ["a", "b", "d", "n", "m"]
    assert own == [0, 1, 0, 2]
    assert ["".join("." if hide else text for text, hide in zip(texts, row, strict=True)) for row in hidden] == [
        "a.dnm",
        ".bdnm",
        "abdnm",
        "abdn.",
    ]


def test_mined_rows_become_texts():
    pairs = accept([("q", "a"), ("r", "b")], (), "abcd")
    assert [pair.negatives for pair in add_negatives(pairs, "abcd", [(3, 2), ()])] == [("d", "c"), ()]


@given(st.lists(st.tuples(st.sampled_from("pqrs"), st.sampled_from(["a", "b", "ab", "c", "d"])), min_size=1, max_size=8), st.data())
def test_a_question_always_sees_its_own_passage_and_never_another_right_one(pairs, data):
    negatives = data.draw(st.lists(st.lists(st.sampled_from("abcde"), max_size=2), min_size=len(pairs), max_size=len(pairs)))
    rows = [replace(row, negatives=tuple(drawn)) for row, drawn in zip(accept(pairs, (), "abcde"), negatives, strict=True)]
    texts, own, hidden = candidates(rows)
    assert len(set(texts)) == len(texts)
    for row, place, hides in zip(rows, own, hidden, strict=True):
        assert texts[place] == row.passage
        assert not hides[place]
        seen = {text for text, hide in zip(texts, hides, strict=True) if not hide}
        right = {passage for question, passage in pairs if question == row.question}
        assert seen & right == {row.passage}
        assert seen >= {other.passage for other in rows} - row.accepted
