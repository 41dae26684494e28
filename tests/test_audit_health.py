"""Health of the evaluation set: what repeats, gives itself away, is trivial, hopeless or too small; sound data is left alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_parts import levels

from workbench import data, experiment
from workbench.audit_checks import Evidence
from workbench.audit_health import audit_questions, ceiling_floor, contains
from workbench.datatypes import Chunk, Dataset, Example, Span
from workbench.evaluation import Check
from workbench.settings import Settings

SPAN = ((Span("d", 0, 5),),)
Patch = pytest.MonkeyPatch


def checks(examples: Sequence[Example], **changes: Any) -> dict[str, Check]:
    return {check.id: check for check in audit_questions(Settings(**changes), Dataset("made", (), tuple(examples)))}


def numbered(count: int, **changes: Any) -> list[Example]:
    return [replace(Example(f"q{number}", f"Question number {number}?", ("an answer",), SPAN), **changes) for number in range(count)]


# --- duplicates -------------------------------------------------------------------------------------------------------------------


def test_repeated_questions_are_counted_and_two_are_named_those_with_different_gold_first() -> None:
    examples = numbered(60)
    examples[7] = replace(examples[7], question="question number 3")
    assert checks(examples)["duplicate_questions"].message == (
        "1 of 60 questions repeat another, 0 questions are asked with different gold, e.g. 'q3' and 'q7': merge them, or set a filter that "
        "tells them apart"
    )
    examples[30] = replace(examples[30], question="Question number 20!", answers=(), evidence=())
    check = checks(examples)["duplicate_questions"]
    assert check.level == "warning"
    assert check.message.startswith("2 of 60 questions repeat another, 1 questions are asked with different gold, e.g. 'q20' and 'q30'")


@pytest.mark.parametrize(("count", "level"), [(99, "warning"), (100, "ok")])
def test_one_repeated_question_in_a_hundred_is_tolerated(count: int, level: str) -> None:
    examples = numbered(count)
    examples[0] = replace(examples[0], question=examples[1].question)
    assert checks(examples)["duplicate_questions"].level == level


def test_a_filter_tells_equal_questions_apart() -> None:
    examples = [
        replace(example, question="How long is the warranty?", metadata={"product": str(n)}) for n, example in enumerate(numbered(9))
    ]
    assert checks(examples)["duplicate_questions"].level == "warning"
    assert checks(examples, filter="product")["duplicate_questions"] == Check("duplicate_questions", "ok", "no question is asked twice")
    assert checks(examples, filter="product:3")["duplicate_questions"].level == "warning"


# --- answers in questions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "answer", "found"),
    [
        ("Is the coffee black or white coffee?", "White coffee.", True),
        ("Is snowwhite coffee sold?", "white coffee", False),  # whole words only
        ("Is it open on Monday?", "Monday", False),  # one word gives little away
        ("Is that so, yes or no?", "Yes.", False),
        ("보안팀에 알리면 되나요, 아니면 팀장에게 알리나요?", "보안팀", True),
        ("보안 팀에 알리면 되나요?", "보안팀", True),  # whatever the spacing
        ("팀에 알리면 되나요?", "팀", False),  # one character
        ("12회까지 되나요?", "2회", False),  # another number
        ("어느 부서 울타리를 고쳤나요?", "서울", False),  # not across words
        ("이 부서울타리를 고쳤나요?", "서울", False),  # nor in the middle of one
        ("이번에 서 울에서 열리나요?", "서울", True),
        ("예를 들면 무엇이 있나요?", "예", False),
        ("그 말은 아니요인가요?", "아니요", False),
        ("What is 12 kg?", "2 kg", False),
    ],
)
def test_an_answer_is_found_whole(question: str, answer: str, found: bool) -> None:
    assert contains(question, answer) is found


@pytest.mark.parametrize(("given", "level"), [(0, "ok"), (2, "ok"), (3, "warning")])
def test_more_than_two_percent_that_give_their_answer_away_are_a_warning(given: int, level: str) -> None:
    examples = [replace(one, question=f"{one.question} An answer?") if n < given else one for n, one in enumerate(numbered(100))]
    check = checks(examples + numbered(50, answers=()))["answer_in_question"]
    assert check.level == level
    assert check.message.startswith(f"{given} of 100 questions with answers contain a gold answer" + ", e.g. 'q0'" * bool(given))


@pytest.mark.parametrize(
    ("question", "answer", "level"),
    [
        ("Which city is larger, New York or Los Angeles?", "New York", "ok"),
        ("Is the fee charged per month OR per year?", "per year", "ok"),
        ("Which order does New York follow?", "New York", "warning"),
        ("연차와 병가 중 무엇을 먼저 쓰나요?", "연차", "ok"),
        ("서울과 부산 중에서 어느 도시가 더 큰가요?", "서울", "ok"),
        ("연차 또는 병가를 쓰나요?", "연차", "ok"),
        ("연차를 쓰나요, 아니면 병가를 쓰나요?", "병가", "ok"),
        ("연차와 병가는 근무 중 언제 쓰나요?", "연차", "warning"),
    ],
)
def test_a_question_that_offers_a_choice_gives_nothing_away(question: str, answer: str, level: str) -> None:
    asked = [replace(example, question=f"{n} {question}", answers=(answer,)) for n, example in enumerate(numbered(3))]
    assert checks(asked)["answer_in_question"].level == level


# --- slices -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "changes", "few"),
    [
        ((30, 30), {}, ""),
        ((51, 9), {}, "kind 'k1' (9)"),
        ((60,), {}, ""),  # one value: no slice
        ((10,) * 5, {}, ""),
        ((5,) * 12, {}, "kind 'k0' (5), kind 'k1' (5)"),
        ((5,) * 13, {}, ""),  # no category but a name
        ((45, 4), {}, ""),  # few questions: all of it is small
        ((51, 9), {"limit": 60}, ""),  # a sample, on purpose
        ((51, 9), {"filter": "kind"}, ""),
    ],
)
def test_kinds_with_fewer_than_ten_questions_are_a_warning(sizes: tuple[int, ...], changes: dict, few: str) -> None:
    kinds = [f"k{number}" for number, size in enumerate(sizes) for _ in range(size)]
    metadata = [{"kind": kind, "group": kind} for kind in kinds]
    examples = [replace(one, metadata=facts) for one, facts in zip(numbered(len(kinds)), metadata, strict=True)]
    check = checks(examples, **changes)["small_slices"]
    assert (check.level == "warning") is bool(few)
    assert check.message.startswith(f"fewer than 10 questions: {few}" if few else "")


def test_few_unanswerable_questions_matter_where_answers_are_generated() -> None:
    examples = [*numbered(60), *numbered(9, answers=(), evidence=())]
    assert checks(examples)["small_slices"].level == "ok"
    check = checks(examples, generator="extractive")["small_slices"]
    assert (check.level, "unanswerable (9)" in check.message) == ("warning", True)
    assert checks([*examples, examples[-1]], generator="extractive")["small_slices"].level == "ok"


# --- too easy, too hard -----------------------------------------------------------------------------------------------------------


def scored(mean: float, count: int = 50, primary: str = "recall@3", **changes: Any) -> Evidence:
    settings = Settings(primary=primary, **changes)
    chunks = [Chunk(Span("d", at, at + 1), "x") for at in range(9)]
    metric = "recall@3" if primary == "answer_f1" else primary
    return Evidence(settings, Dataset("made", (), ()), chunks, (), (), {metric: np.full(count, mean)}, (), {})


@pytest.mark.parametrize(
    ("run", "level"),
    [
        (scored(0.99), "warning"),
        (scored(0.98), "ok"),
        (scored(0.02), "ok"),
        (scored(0.01), "warning"),
        (scored(1.0, count=49), "ok"),  # too few to tell
        (scored(0.0, retriever="random"), "ok"),  # meant to lose
        (scored(1.0, primary="answer_f1"), "ok"),  # not scored here
        (scored(0.01, primary="precision@3"), "ok"),  # low by nature
        (scored(0.01, primary="token_iou@3"), "ok"),
        (scored(0.01, primary="token_precision@3"), "ok"),
        (scored(0.99, primary="precision@3"), "warning"),
        (scored(np.nan), "ok"),  # what `unscored` says
    ],
)
def test_a_mean_near_1_or_0_is_a_warning(run: Evidence, level: str) -> None:
    assert ceiling_floor(run).level == level


def test_a_saturated_metric_is_not_blamed_twice() -> None:
    run = scored(1.0)
    assert ceiling_floor(run).level == "warning"
    assert ceiling_floor(replace(run, chunks=run.chunks[:3])).level == "ok"


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(
    ("language", "changes"), [("en", {"embedder": "hash"}), ("ko", {"embedder": "hash"}), ("en", {"retriever": "bm25"})]
)
def test_questions_that_repeat_the_documents_are_trivial_for_bm25(language: str, changes: dict, monkeypatch: Patch) -> None:
    """Each question is its evidence, word for word; a run by BM25 itself scores at the ceiling too."""
    load = data.load

    def copied(spec: str) -> Dataset:
        dataset = load(spec)
        scored = [example for example in dataset.examples if example.evidence]
        texts = {document.id: document.text for document in dataset.documents}

        def question(example: Example) -> str:
            return " ".join(texts[unit[0].document_id][unit[0].start : unit[0].end] for unit in example.evidence)

        return replace(dataset, examples=tuple(replace(example, question=question(example), answers=()) for example in scored))

    monkeypatch.setattr(data, "load", copied)
    result = experiment.run(Settings(dataset=f"demo-{language}", tokenizer="simple", chunk_size=128, **changes))
    assert levels(result.audit) == {"bm25_ceiling": "warning"} | ({"ceiling_floor": "warning"} if "retriever" in changes else {})


@pytest.mark.usefixtures("own_cache")
def test_a_bm25_run_and_a_dense_run_say_the_same_of_the_data() -> None:
    runs = [
        experiment.run(Settings(dataset="demo-en", tokenizer="simple", **changes))
        for changes in ({"retriever": "bm25"}, {"embedder": "hash"})
    ]
    first, second = ({check.id: check.message for check in run.audit}["bm25_ceiling"] for run in runs)
    assert first == second
    assert first.startswith("BM25 finds all evidence of ")
    assert first.endswith("% of 144 questions first")
