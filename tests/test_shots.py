"""Shots: no leak by any split, the same for any order, nested in their count, within the budget; selections worked by hand."""

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tokens import ByteTokenizer

from workbench import data
from workbench.datatypes import Dataset, Document, Example, Role, Span, WorkbenchError
from workbench.metrics_answers import normalise_answer
from workbench.prompting import Shot
from workbench.settings import SHOT_SELECTIONS
from workbench.shots import ShotSelector, farthest_first, refuse_leaks, shot_pool, window
from workbench.tokens import SimpleTokenizer, token_table, token_tables

SIMPLE = SimpleTokenizer()
TEXT = "one two three four five six seven"
HOLIDAYS = "쓰지 않은 연차는 다음 해 3월 31일에 소멸합니다. 이월은 최대 5일까지 할 수 있습니다."


class Angles:
    """Embed a question as the unit vector at the angle, in degrees, that its last word names."""

    fingerprint: Mapping[str, Any] = {"name": "angles"}

    def encode(self, texts: Sequence[str], role: Role) -> np.ndarray:
        assert role == "query"
        angles = np.deg2rad([float(text.split()[-1]) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def question(name: str, text: str = "", answer: str = "", document: str = "", **changes: Any) -> Example:
    return Example(name, text or f"What of {name} 0", (answer or f"answer {name}",), ((Span(document or f"d-{name}", 0, 3),),), **changes)


def selector(pool: Sequence[Example], count: int, selection: str, seed: int = 0, budget: int = 128, **others: Any) -> ShotSelector:
    """Make a selector over documents of seven words, one of each group, that the pool names as its evidence."""
    names = {span.document_id for example in pool for unit in example.evidence for span in unit}
    documents = {name: Document(name, TEXT, f"Title {name}", {"group": name.partition("/")[0]}) for name in sorted(names)}
    tables = token_tables(documents.values(), SIMPLE)
    return ShotSelector(pool, documents, tables, count, selection, budget, seed, embedder=others.pop("embedder", Angles()), **others)


def asked(number: int, angle: float = 0) -> Example:
    return Example(f"asked-{number}", f"Which {angle}", ("x",))


def shown(shots: Sequence[Shot]) -> list[str]:
    return [shot.answer.removeprefix("answer ") for shot in shots]


POOL = [question(f"q{number:02}", f"What of q{number:02} {7 * number}", document=f"g{number % 4}/{number}") for number in range(12)]

# --- leaks ------------------------------------------------------------------------------------------------------------------------


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """Draw documents in random groups, some with equal texts, and questions on none, one or several of them, some with equal texts."""
    groups = draw(st.lists(st.sampled_from("ABCDEFGH"), min_size=6, max_size=14))
    documents = tuple(Document(f"d{n}", f"{draw(st.integers(0, 20))} words", "", {"group": group}) for n, group in enumerate(groups))
    spans = st.sampled_from([Span(document.id, 0, 1) for document in documents])
    evidence = st.lists(st.lists(spans, min_size=1, max_size=2).map(tuple), max_size=2).map(tuple)
    examples = tuple(
        Example(
            f"e{number}",
            f"Question {draw(st.integers(0, 30))}",
            ("x",) if draw(st.booleans()) else (),
            draw(evidence),
            {"group": draw(st.sampled_from("ABCDEFGH"))} if draw(st.booleans()) else {},
        )
        for number in range(draw(st.integers(3, 25)))
    )
    return Dataset("drawn", documents, examples)


def touched(example: Example, documents: Mapping[str, Document]) -> set[str]:
    return {documents[span.document_id].group for unit in example.evidence for span in unit}


@settings(deadline=None, max_examples=150)
@given(datasets(), st.integers(0, 3))
def test_no_split_leaks_and_other_lists_are_refused(dataset: Dataset, seed: int) -> None:
    documents = {document.id: document for document in dataset.documents}
    try:
        parts = data.split(dataset, seed, {"train": 1, "test": 1})
    except WorkbenchError:
        return  # one cluster only
    training, test = parts["train"].examples, parts["test"].examples
    pool = shot_pool(training, test, documents)  # a split is never refused
    forbidden = {group for example in test for group in touched(example, documents)}
    forbidden |= {example.metadata["group"] for example in test if "group" in example.metadata}
    texts = {documents[span.document_id].text for example in test for unit in example.evidence for span in unit}
    for example in pool:
        assert example in training
    for example in training:  # what may be shown, and nothing else is left out
        homes = touched(example, documents) | {example.metadata.get("group")}
        copies = {documents[span.document_id].text for unit in example.evidence for span in unit} & texts
        assert (example in pool) == bool(example.answers and len(example.evidence) == 1 and not homes & forbidden and not copies)
    for example in training:  # one wrong question is enough
        for wrong in (example, replace(example, id="other")) if touched(example, documents) else (example,):
            with pytest.raises(WorkbenchError, match="take shots from the training part of a split"):
                shot_pool(training, [*test, wrong], documents)


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (question("a", document="g/1"), question("b", document="g/2"), "'a' .to show. and 'b' .asked. share the document group 'g'"),
        (question("a"), Example("a", "?"), "'a' is both shown and asked"),
        (  # by the second place of the second evidence unit
            Example("a", "?", ("x",), ((Span("e/1", 0, 1),), (Span("f/1", 0, 1), Span("g/1", 0, 1)))),
            Example("b", "?", ("x",), ((Span("h/1", 0, 1),), (Span("g/2", 0, 1),))),
            "group 'g'",
        ),
        (question("a", document="g/1"), Example("b", "?", metadata={"group": "g"}), "group 'g'"),  # unanswerable, but about g
    ],
)
def test_a_leak_is_refused_by_the_pool_and_again_when_shots_are_selected(one: Example, other: Example, message: str) -> None:
    names = {span.document_id for example in (one, other) for unit in example.evidence for span in unit}
    documents = {name: Document(name, TEXT, metadata={"group": name.partition("/")[0]}) for name in names}
    for refuse in (shot_pool, refuse_leaks):
        with pytest.raises(WorkbenchError, match=message):
            refuse([one], [other], documents)
    with pytest.raises(WorkbenchError, match=message):
        ShotSelector([one], documents, token_tables(documents.values(), SIMPLE), 1, "fixed", 9, 0).select([other])


# --- selections -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("selection", SHOT_SELECTIONS)
def test_shots_are_nested_and_depend_on_no_order(selection: str) -> None:
    questions = [asked(number, 13 * number) for number in range(5)]
    sets = [[set(shown(shots)) for shots in selector(POOL, count, selection, seed=3).select(questions)] for count in range(1, 13)]
    for fewer, more in itertools.pairwise(sets):
        assert all(few < many for few, many in zip(fewer, more, strict=True))
    expected = selector(POOL, 4, selection, seed=3).select(questions)
    shuffled = random.Random(1).sample(POOL, len(POOL))
    assert selector(shuffled, 4, selection, seed=3).select(questions[::-1])[::-1] == expected
    assert [selector(POOL, 4, selection, seed=3).select([one])[0] for one in questions] == expected
    same = len(set(expected)) == 1
    assert same == selector(POOL, 4, selection).shared == (selection in {"fixed", "diverse"})
    other = selector(POOL, 4, selection, seed=4).select(questions)
    assert (other != expected) == (selection in {"fixed", "random"})


@pytest.mark.parametrize("seed", range(5))
def test_fixed_takes_a_document_group_twice_only_after_all(seed: int) -> None:
    lopsided = [question(f"a{number}", document=f"big/{number}") for number in range(20)] + [question(name) for name in ("b", "c")]
    names = shown(selector(lopsided, 5, "fixed", seed).select([asked(1)])[0])
    assert {names[0][0], names[1][0], names[2][0]} == {"a", "b", "c"}
    assert [name[0] for name in names[3:]] == ["a", "a"]


@pytest.mark.parametrize(
    ("angle", "count", "expected"),
    [(0, 2, ["b", "a"]), (29, 3, ["d", "b", "c"]), (20, 1, ["b"]), (20, 2, ["c", "b"]), (91, 2, ["c", "d"])],  # 20 lies between b and c
)
def test_similar_shows_the_nearest_last_and_ties_by_id(angle: float, count: int, expected: list[str]) -> None:
    pool = [question(name, f"{name} at {degrees}") for name, degrees in (("d", 50), ("c", 30), ("b", 10), ("a", 0))]
    assert shown(selector(pool, count, "similar").select([asked(1, angle)])[0]) == expected


def test_diverse_starts_at_the_medoid_and_goes_to_the_farthest() -> None:
    pool = [question(name, f"{name} at {degrees}") for name, degrees in (("a", 0), ("b", 10), ("c", 20), ("d", 90), ("e", 180))]
    # cosines sum up to most for c; then e is farthest of it (160), then d (70 from c), then a (20), then b
    assert shown(selector(pool, 5, "diverse").select([asked(1, 45)])[0]) == ["c", "e", "d", "a", "b"]
    assert farthest_first(np.array([[1, 0], [1, 0], [0, 1], [0, 1], [1, 0]], np.float32), 9) == [0, 2, 1, 3, 4]  # equal rows come last


@pytest.mark.parametrize("selection", SHOT_SELECTIONS)
def test_a_question_text_is_shown_once_and_never_to_the_same_question(selection: str) -> None:
    pool = [question(f"{name}{n}", f"{name} at {5 * 'abc'.index(name)}", document=f"{name}{n}") for name in "abc" for n in range(4)]
    chooser = selector(pool, 2, selection)
    assert len({shot.question for shot in chooser.select([asked(1, 3)])[0]}) == 2
    found = chooser.select([Example(name, f"The {name.upper()} at {5 * 'abc'.index(name)}") for name in "abc"])
    assert [{shot.question[0] for shot in shots} for shots in found] == [{"b", "c"}, {"a", "c"}, {"a", "b"}]
    with pytest.raises(WorkbenchError, match="shot_count 3, but 2 training questions differ from 'a at 0'"):
        selector(pool, 3, selection).select([Example("x", "a at 0")])


# --- passages ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "budget", "expected"),
    [
        (14, 18, 3, "three four five"),
        (14, 18, 2, "four five"),
        (14, 18, 1, "four"),
        (8, 18, 1, "three"),  # cut from its start
        (15, 17, 1, "four"),  # inside a word
        (13, 17, 1, "four"),
        (0, 3, 3, "one two three"),
        (28, 33, 3, "five six seven"),
        (4, 7, 6, "one two three four five six"),
        (14, 18, 99, TEXT),
        (14, 18, 0, None),
    ],
)
def test_windows_by_hand(start: int, end: int, budget: int, expected: str | None) -> None:
    found = window(Span("d", start, end), budget, TEXT, token_table(TEXT, SIMPLE))
    assert (found and TEXT[found.start : found.end]) == expected


@settings(deadline=None)
@given(st.text("가나㈜👍 a.\n1", min_size=1, max_size=40), st.integers(0, 39), st.integers(1, 9), st.integers(0, 30), st.booleans())
def test_a_window_keeps_to_its_budget_and_holds_what_fits(text: str, start: int, length: int, budget: int, fine: bool) -> None:
    start = min(start, len(text) - 1)
    evidence = Span("d", start, min(start + length, len(text)))
    table = token_table(text, ByteTokenizer() if fine else SIMPLE)
    found = window(evidence, budget, text, table)
    if found is None:
        return
    assert table.count(found.start, found.end) <= budget
    needed = [place for place in range(evidence.start, evidence.end) if not text[place].isspace()]
    whole = table.count(evidence.start, evidence.end)
    if needed and whole < budget:
        assert found.start <= needed[0]
        assert needed[-1] < found.end
    if budget >= len(table.starts):
        assert (found.start, found.end) == (table.starts[0], table.ends[-1])


def test_a_shot_shows_its_evidence_in_context_in_korean_too() -> None:
    document = Document("leave", HOLIDAYS, "휴가 규정")
    at = HOLIDAYS.index("3월 31일")
    example = Example("q", "쓰지 않은 연차는 언제 소멸하나요?", ("3월 31일", "3/31"), ((Span("leave", at, at + 6), Span("leave", 0, 2)),))
    documents, tables = {"leave": document}, token_tables([document], SIMPLE)
    shot = ShotSelector([example], documents, tables, 1, "fixed", 8, 0).select([asked(1)])[0][0]
    assert (shot.question, shot.answer) == (example.question, "3월 31일")
    passage = shot.passages[0]
    assert (passage.title, passage.text) == ("휴가 규정", "다음 해 3월 31일에 소멸합니")
    assert HOLIDAYS[passage.span.start : passage.span.end] == passage.text
    assert tables["leave"].count(passage.span.start, passage.span.end) == 8
    assert ShotSelector([example], documents, tables, 1, "fixed", 0, 0).select([asked(1)])[0][0].passages == ()


# --- control ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("selection", SHOT_SELECTIONS)
@pytest.mark.parametrize("count", [1, 2, 4, 8])
@pytest.mark.parametrize("answers", [[f"{number} days" for number in range(12)], ["5 days.", "the 5 Days", "7 days"] * 4])
def test_a_shuffled_shot_never_has_its_own_answer(selection: str, count: int, answers: list[str]) -> None:
    pool = [question(f"q{number:02}", f"Q{number:02} at {7 * number}", answers[number]) for number in range(12)]
    right = {example.question: example.answers for example in pool}
    questions = [asked(number, 13 * number) for number in range(4)]
    plain = selector(pool, count, selection).select(questions)
    wrong = selector(pool, count, selection, shuffled=True)
    found = wrong.select(questions)
    for before, after in zip(plain, found, strict=True):
        assert [(shot.question, shot.passages) for shot in before] == [(shot.question, shot.passages) for shot in after]
        for shot in after:
            assert normalise_answer(shot.answer, "en") not in {normalise_answer(answer, "en") for answer in right[shot.question]}
        if count > 1 and len(set(answers)) == 12:
            assert sorted(shot.answer for shot in after) == sorted(shot.answer for shot in before)
    assert (len(set(found)) == 1) == wrong.shared or count == 1
    assert selector(pool[::-1], count, selection, shuffled=True).select(questions[::-1])[::-1] == found
    others = [selector(pool, 4, selection, seed=seed, shuffled=True).select(questions) for seed in range(4)]
    assert any(other != others[0] for other in others)


def test_a_control_without_a_wrong_answer_is_refused() -> None:
    pool = [question("a", answer="yes"), question("b", "Other 1", answer="Yes.")]
    with pytest.raises(WorkbenchError, match="no training question has another answer than"):
        selector(pool, 2, "fixed", shuffled=True).select([asked(1)])


@pytest.mark.parametrize(
    ("count", "selection", "others", "message"),
    [
        (13, "fixed", {}, "shot_count 13 needs as many different training questions that may be shown; there are 12"),
        (0, "fixed", {}, "shot_count 0 must be at least 1"),
        (1, "fixed", {"budget": -1}, "shot_budget -1 at least 0"),
        (1, "similiar", {}, "unknown shot_selection 'similiar'; did you mean 'similar'"),
        (1, "similar", {"embedder": None}, "shot_selection 'similar' compares questions by an embedder"),
        (1, "diverse", {"embedder": None}, "shot_selection 'diverse' compares"),
    ],
)
def test_what_cannot_be_shown_is_said(count: int, selection: str, others: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        selector(POOL, count, selection, **others)
