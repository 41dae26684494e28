"""What the prompt playground draws: messages with their tokens, completions, answers and scores, and nothing that does harm."""

import math
import re
from collections.abc import Mapping
from typing import Any

import pytest
from shown_page import NASTY, Page

from workbench.datatypes import Answer, Completion, Example, Message, Note, Passage, Span, Step
from workbench.generation import STOPPED, PromptSize
from workbench.tokens import SimpleTokenizer
from workbench.widgets_prompt_view import Asked, Tried, answer_view, asked_view, prompt_view
from workbench.widgets_style import visible

EXAMPLE = Example("q", "How often?", ("weekly",), ((Span("d", 4, 9),),))
MESSAGES = (Message("system", "Be brief."), Message("user", "How often?"))


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_LANG", "en")


def make_step(name: str, *contents: str, completion: Completion) -> Step:
    roles = ("system", *("user", "assistant") * len(contents))
    return Step(name, tuple(Message(role, text) for role, text in zip(roles, contents, strict=False)), completion)


def view(answer: Answer, scores: Mapping[str, float] = {}, shots: int = 0, example: Example = EXAMPLE, **changes: Any) -> Page:
    return Page(prompt_view(example, [Tried("plain:en", answer, scores, shots, **changes)], SimpleTokenizer()))


def test_an_answer_is_shown_with_all_that_was_made_of_it() -> None:
    step = make_step("answer", "Be brief.", "How often?", completion=Completion("Answer: weekly [1]", "length", 1234, 1))
    passages = (Passage(Span("d", 0, 12), "how often ok", "A <title>"), Passage(Span("e", 0, 3), "two"))
    notes = (Note("clean-up", "took off a label"),)
    answer = Answer("q", "How often?", "weekly [1]", (), passages, 17, (step,), False, (1,), notes, False)
    page = view(answer, {"answer_f1": 0.5, "groundedness": math.nan})
    for said in (
        "Answerweekly [1]",
        "answer_f10.50",
        "groundednessunscored",
        "format: not as the prompt asks",
        "cites: passage 1",
        "clean-up: took off a label",
        "system · 3 tokens",
        "user · 3 tokens",
        "completion, as generated · stopped by our cap on new tokens · read 1,234 tokens · wrote 1 token",
        "Answer: weekly [1]",
        "What was sent",
    ):
        assert said in page.text, said
    assert "2 passages, 17 tokens of context, evidence in 1" in page.of["summary"]
    assert page.of["u"] == ["often"]
    assert "[1] evidence A <title>" in page.text
    assert "refused" not in page.text


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer("q", "?", "no", steps=(make_step("answer", "s", completion=Completion("no")),), refused=True), "Answer · refused"),
        (Answer("q", "?", "x", steps=(make_step("answer", "s", completion=Completion("x")),), valid=True), "format: as the prompt asks"),
        (Answer("q", "?", "", steps=(make_step("answer", "s", completion=Completion("")),)), "ended by itself(no text)"),
        (Answer("q", "?", "", steps=(make_step("a", "s", completion=Completion("", "error", error="<too> long")),)), "No answer<too> long"),
        (Answer("q", "?", "", steps=(make_step("answer", "s", completion=Completion("")),)), "No passage was shown."),
    ],
)
def test_refusals_failures_and_empty_texts_are_said(answer: Answer, said: str) -> None:
    assert said in view(answer).text


def test_each_step_of_a_chain_is_shown_in_its_order() -> None:
    first = make_step("extract", "system one", "question", completion=Completion("a quote"))
    second = make_step("answer", "system two", "question", completion=Completion("an answer"))
    text = view(Answer("q", "?", "an answer", steps=(first, second))).text
    order = ["Step 1 of 2: extract", "system one", "a quote", "Step 2 of 2: answer", "system two"]
    assert [text.index(word) for word in order] == sorted(text.index(word) for word in order)


def test_shots_are_numbered_and_the_question_is_none() -> None:
    step = make_step("answer", "s", "q1", "a1", "q2", "a2", "q", completion=Completion("x"))
    answer = Answer("q", "?", "x", steps=(step,))
    heads = re.findall(r"(system|user|assistant)((?: · shot \d)?) · (.) token", view(answer, shots=2).text)
    assert [head[:2] for head in heads] == [
        ("system", ""),
        ("user", " · shot 1"),
        ("assistant", " · shot 1"),
        ("user", " · shot 2"),
        ("assistant", " · shot 2"),
        ("user", ""),
    ]
    assert [head[2] for head in heads] == list("122221")
    assert "shot" not in view(answer).text


def test_untrusted_text_is_escaped_everywhere_and_folded() -> None:
    long = NASTY + "x <b>" * 20_000
    completion = Completion(long, "stop", 1, 1)
    failed = Completion("", "error", error=long)
    steps = (make_step(long, long, long, completion=completion), make_step(long, long, completion=completion))
    answer = Answer(long, long, long, (), (Passage(Span(long, 0, 50), long, long),), 9, steps, True, (1,), (Note(long, long),), True)
    error = Answer(long, long, "", steps=(make_step(long, long, completion=failed),))
    example = Example(long, long, (long,), ((Span(long, 0, 50),),))
    page = prompt_view(example, [Tried(long, answer, {}, 1), Tried(long, error, {})], SimpleTokenizer())
    shown = Page(page)
    page.encode()
    assert not re.search("[\0-\x08\x0b-\x1f\u202e\u2066\u200b\ud800-\udfff]", page)
    # question, gold, 2 labels; answer, title, passage, note, 3 messages and 2 completions; error twice and its message
    assert shown.text.count(visible(long)) == 16
    assert len(shown.text) - sum(len(text) for text in shown.of["details"]) < 20_000
    assert all(len(label) <= 120 for label in shown.labels)


def test_the_end_of_a_long_message_stands_open() -> None:
    step = make_step("answer", "start " + "passage " * 500 + "Question: how often?", completion=Completion("x"))
    page = view(Answer("q", "?", "x", steps=(step,)))
    assert "Question: how often?" not in "".join(page.of["details"])
    assert "start" not in "".join(page.of["details"])
    assert re.search(r"… 3,3\d\d more characters", "".join(page.of["summary"]))


@pytest.mark.parametrize(
    ("size", "said", "width"),
    [
        (PromptSize((3, 5), 20, 64, 200, "<s>Be brief.</s>"), "20 tokens in all, 12 tokens of them around the messages", "10.0%"),
        (PromptSize((3, 5), 20, 64, 200, "<s>Be brief.</s>"), "up to 64 tokens may be written · the window holds 200 tokens", "10.0%"),
        (PromptSize((1, 1), 170, 64, 200, "x"), "34 tokens too many for the window", "85.0%"),
        (
            PromptSize((9, 9), 17, 64, None, "x"),
            "17 tokens in all, 0 tokens of them around the messages; up to 64 tokens may be written",
            "",
        ),
        (None, "6 tokens as simple counts them; the model's own count is not known here", ""),
    ],
)
def test_the_tokens_of_a_prompt_stand_against_the_window(size: PromptSize | None, said: str, width: str) -> None:
    page = asked_view(Asked("plain", MESSAGES, size), 0, SimpleTokenizer())
    shown = Page(page)
    assert said in shown.text
    assert f"system · {size.messages[0] if size else 3} token" in shown.text
    assert ("What will be sent" in shown.text, "Be brief." in shown.text) == (True, True)
    assert width in page
    assert ('class="meter' in page) == bool(width)
    assert ("tight" in page) == ("too many" in said)
    if size:
        assert size.text in shown.of["details"][0]  # chat template and all


def test_messages_are_shown_character_by_character() -> None:
    text = "  two  spaces\n\n\ttab, 한글, <|im_start|> & é"
    page = Page(asked_view(Asked("plain", (Message("user", text),)), 0, SimpleTokenizer()))
    assert text in page.of["pre"]


def test_what_cannot_be_sent_says_why_and_a_chain_says_that_it_goes_on() -> None:
    page = Page(asked_view(Asked("plain", (), error="the <prompt> is 9 tokens too long"), 0, SimpleTokenizer()))
    assert "the <prompt> is 9 tokens too long" in page.text
    assert "The next step" in Page(asked_view(Asked("extract", MESSAGES), 0, SimpleTokenizer(), more=True)).text


def test_a_stopped_answer_has_its_text_and_no_scores() -> None:
    step = make_step("answer", "s", "q", completion=Completion("only thi", "stopped", error=STOPPED))
    page = view(Answer("q", "?", "", steps=(step,)), {"answer_f1": math.nan})
    assert "stopped by you: not scored, not kept" in page.text
    assert "only thi" in page.text
    assert "answer_f1" not in page.text
    assert "No answer" not in page.text


def test_under_a_stream_nothing_is_said_twice() -> None:
    step = make_step("answer", "s", "q", completion=Completion("weekly [1]"))
    shown = [
        Page(answer_view(EXAMPLE, Tried("plain", Answer("q", "?", text, steps=(step,)), {}), SimpleTokenizer(), live=True)).text
        for text in ("weekly [1]", "weekly")
    ]
    assert [text.count("weekly") for text in shown] == [0, 1]
    assert "completion" not in "".join(shown)


def test_korean_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_LANG", "ko")
    step = make_step("answer", "s", "q", completion=Completion("weekly", "length", 1200, 3))
    text = view(Answer("q", "?", "weekly", steps=(step,)), {"answer_f1": math.nan}, sizes=[PromptSize((1, 1), 9, 5, 100, "x")]).text
    for said in (
        "답변",
        "채점 안 됨",
        "보낸 메시지",
        "총 9토큰(메시지 밖의 7토큰 포함), 최대 5토큰 생성 · 컨텍스트 창 100토큰",
        "입력 1,200토큰",
    ):
        assert said in text, said
