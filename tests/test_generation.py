"""The extractive control, and how generators are named."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import data
from workbench.datatypes import Completion, Conversation, Passage, Span, WorkbenchError
from workbench.generation import GENERATORS, REFUSALS, check_number, create_generator
from workbench.text_refusal import is_refusal

LEAVE = """# Annual leave

## When does leave lapse?

| Leave | Days |
|:---|---:|
| Annual leave | 25 |
| Moving house | 1 |

Leave is granted by the team leader. Unused leave lapses on 31 March. Requests take three days.
"""
HOLIDAY = """# 연차 휴가

연차는 만근한 달마다 하루씩 생깁니다. 쓰지 않은 연차는 이듬해 3월 31일에 소멸합니다.

- 휴가 신청은 팀장에게 합니다.
"""


def ask(question: str, *texts: str) -> str:
    passages = tuple(Passage(Span(f"d{number}", 0, len(text)), text) for number, text in enumerate(texts))
    completion = create_generator("extractive").generate([Conversation((), question, passages)])[0]
    assert completion == Completion(completion.text, "stop", None, None, 0.0, "")
    return completion.text


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When does unused leave lapse?", "Unused leave lapses on 31 March."),  # stems: lapse, lapses
        ("Who grants leave?", "Leave is granted by the team leader."),
        ("How many days of annual leave are there?", "| Annual leave | 25 |"),  # not the heading and not the head of the table
        ("Days?", "Requests take three days."),
        ("연차는 언제 소멸하나요?", "쓰지 않은 연차는 이듬해 3월 31일에 소멸합니다."),
        ("휴가 신청은 누구에게 하나요?", "- 휴가 신청은 팀장에게 합니다."),
        ("연차는 어떻게 생기나요?", "연차는 만근한 달마다 하루씩 생깁니다."),
    ],
)
def test_the_sentence_most_like_the_question_answers(question: str, answer: str) -> None:
    assert ask(question, LEAVE, HOLIDAY) == answer


def test_rare_terms_weigh_more_and_equals_go_to_the_first() -> None:
    # 5 sentences; "fee" in 3 of them weighs log(1 + 5/3) = 0.98, "visa" in 1 log 6 = 1.79, "due" in 2 log 3.5 = 1.25
    texts = ("A fee is due. A fee is paid. A visa is stamped.", "Fee! Nothing is due.")
    assert math.log(1 + 5 / 3) + math.log(1 + 5 / 2) > math.log(1 + 5 / 1)
    assert ask("fee, visa or due", *texts) == "A fee is due."
    assert ask("visa or fee", *texts) == "A visa is stamped."
    assert ask("fee", *texts) == "A fee is due."
    assert ask("fee", *reversed(texts)) == "Fee!"
    assert ask("FEES fee fee paid", *texts) == "A fee is paid."


@pytest.mark.parametrize(
    ("question", "texts", "language"),
    [
        ("Who won the chess tournament?", (LEAVE, HOLIDAY), "en"),
        ("체스 경기는 누가 이겼어?", (LEAVE,), "ko"),
        ("チェスの大会で誰が勝ちましたか", (LEAVE,), "en"),
        ("When does leave lapse?", (), "en"),
        ("휴가는 언제 소멸하나요?", (), "ko"),
        ("🙂?", (LEAVE,), "en"),
        ("", (LEAVE,), "en"),
        ("Is this heading an answer?", ("# This heading\n\n---\n___\n| Heading |\n|---|\n",), "en"),
    ],
)
def test_nothing_shared_is_a_refusal_in_the_language_of_the_question(question: str, texts: tuple[str, ...], language: str) -> None:
    assert ask(question, *texts) == REFUSALS[language]
    assert is_refusal(REFUSALS[language])


@given(st.text(max_size=60), st.lists(st.text(max_size=80), max_size=3))
def test_any_answer_is_a_piece_of_a_passage_or_a_refusal(question: str, texts: list[str]) -> None:
    texts = [text for text in texts if text]
    answer = ask(question, *texts)
    assert answer in REFUSALS.values() or any(answer in text for text in texts)


@pytest.mark.parametrize("language", ["en", "ko"])
def test_half_of_the_demo_is_answered_from_the_evidence_when_its_document_is_shown(language: str) -> None:
    dataset = data.load(f"demo-{language}")
    found = []
    for example in dataset.examples:
        if example.evidence:
            document = dataset.document(example.evidence[0][0].document_id)
            answer = ask(example.question, document.text)
            start = document.text.index(answer)
            piece = Span(document.id, start, start + len(answer))
            found.append(any(piece.overlap(span) for unit in example.evidence for span in unit))
    assert len(found) == 144
    assert sum(found) / len(found) > 0.5


def test_it_streams_has_no_window_and_forgets_nothing() -> None:
    generator = create_generator("extractive")
    asked = Conversation((), "Who grants leave?", (Passage(Span("d", 0, len(LEAVE)), LEAVE),))
    said: list[str] = []
    assert [generator.stream(asked, said.append)] == generator.generate([asked])
    assert said == ["Leave is granted by the team leader."]
    assert generator.overflows([asked, asked]) == [0, 0]
    assert generator.size(asked) is None
    assert generator.generate([]) == []
    assert generator.fingerprint == {"name": "extractive", "version": 1}


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("extractiv", {}, r"unknown generator 'extractiv'; did you mean 'extractive'\? \(available: extractive, hf, openai, openvino\)"),
        ("extractive:x", {}, "generator 'extractive' takes no argument"),
        ("extractive", {"k": 1}, "generator 'extractive' has no options, got 'k'"),
        ("hf", {}, "generator 'hf' needs an argument: hf:NAME"),
        ("openai:", {}, "generator 'openai' needs an argument"),
        ("hf:x/y", {"max_tokens": 1}, r"unknown option of generator 'hf': 'max_tokens'; did you mean 'max_new_tokens'\?"),
    ],
)
def test_generators_that_cannot_be_built(spec: str, options: dict[str, Any], message: str) -> None:
    assert sorted(GENERATORS) == ["extractive", "hf", "openai", "openvino"]
    with pytest.raises(WorkbenchError, match=message):
        create_generator(spec, options)


@pytest.mark.parametrize(
    ("value", "whole", "fits"),
    [
        (1, True, True),
        (4, True, True),
        (0, True, False),
        (5, True, False),
        (2.0, True, False),
        (True, True, False),
        ("2", False, False),
        (None, False, False),
        (2.5, False, True),
        (math.nan, False, False),
        (math.inf, False, False),
    ],
)
def test_numbers_in_their_range(value: Any, whole: bool, fits: bool) -> None:
    if fits:
        check_number("cap", value, 1, 4, whole)
        check_number("cap", value, 1, whole=whole)
    else:
        with pytest.raises(WorkbenchError, match=rf"generator\.cap .* must be a {'whole ' if whole else ''}number between 1 and 4"):
            check_number("cap", value, 1, 4, whole)
    with pytest.raises(WorkbenchError, match=r"generator\.cap inf must be a number of at least 1$"):
        check_number("cap", math.inf, 1)
