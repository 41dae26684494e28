"""What is kept of answers: plain records, sums by hand, and the worst ones."""

import json
import math
from dataclasses import replace

import pytest
from factories import make_answer, make_answered_results, make_result

from workbench.datatypes import Answer, Completion, Example, Note, Passage, Span, Step
from workbench.evaluation_answers import PASSAGE, answer_details, answer_record, asked_metrics, worst_answers

EXAMPLE = Example("q1", "연차는 며칠인가요?", ("하루", "1일"))
LONG = "연차는 매달 하루씩 생깁니다. " * 40


def answered(completion: Completion, text: str = "", **fields) -> Answer:
    return Answer("q1", EXAMPLE.question, text, steps=(Step("answer", (), completion),), **fields)


def test_a_record_holds_all_that_explains_an_answer_as_plain_json() -> None:
    completion = Completion("하루입니다 [2].\n\n질문: 또", "length", 512, 32, 1.23456)
    passages = (Passage(Span("d1", 10, 14), "짧은 글", "제목"), Passage(Span("d2", 0, len(LONG)), LONG))
    notes = (Note("continuation", "cut a made-up question"),)
    record = answer_record(
        EXAMPLE, answered(completion, "하루입니다 [2].", passages=passages, citations=(2,), context_tokens=400, notes=notes)
    )
    assert json.loads(json.dumps(record)) == record
    assert record == {
        "id": "q1",
        "question": "연차는 며칠인가요?",
        "gold": ["하루", "1일"],
        "answerable": True,
        "text": "하루입니다 [2].",
        "completion": "하루입니다 [2].\n\n질문: 또",
        "refused": False,
        "citations": [2],
        "notes": [["continuation", "cut a made-up question"]],
        "error": "",
        "finish_reason": "length",
        "valid": None,
        "prompt_tokens": 512,
        "completion_tokens": 32,
        "seconds": 1.2346,
        "context_tokens": 400,
        "passages": [
            ["d1", 10, 14, "짧은 글"],
            ["d2", 0, len(LONG), LONG[:PASSAGE]],
        ],
    }


def test_a_prompt_chain_costs_the_tokens_of_all_its_steps() -> None:
    first, last = Completion("a quote", "stop", 300, 20, 1.0), Completion("하루", "stop", 100, 5, 0.5)
    answer = Answer("q1", "?", "하루", steps=(Step("extract", (), first), Step("answer", (), last)))
    record = answer_record(EXAMPLE, answer)
    assert (record["prompt_tokens"], record["completion_tokens"], record["seconds"]) == (400, 25, 1.5)
    unknown = answer_record(EXAMPLE, replace(answer, steps=(Step("extract", (), replace(first, prompt_tokens=None)), answer.steps[1])))
    assert (unknown["prompt_tokens"], unknown["completion_tokens"]) == (None, 25)


def test_the_completion_is_kept_only_where_the_answer_differs() -> None:
    assert answer_record(EXAMPLE, answered(Completion(" 하루 \n"), "하루"))["completion"] is None
    assert answer_record(EXAMPLE, answered(Completion("하루"), "1일"))["completion"] == "하루"
    assert answer_record(EXAMPLE, answered(Completion("something"), ""))["completion"] == "something"


def test_a_failed_answer_and_an_unanswerable_question() -> None:
    record = answer_record(Example("q1", "?"), answered(Completion("", "error", error="the server said 500")))
    assert (record["answerable"], record["gold"], record["text"], record["completion"]) == (False, [], "", None)
    assert (record["error"], record["finish_reason"]) == ("the server said 500", "error")


def test_sums_by_hand_leave_failed_answers_out_of_the_means() -> None:
    shrunk = [["context", "shrunk from 512 to 300 tokens"], ["citations", "[7] does not exist"], ["shots", "dropped 1 of 2"]]
    failed = {"error": "timed out", "finish_reason": "error", "prompt_tokens": None, "completion_tokens": None, "seconds": 9.0}
    records = [
        make_answer("a", prompt_tokens=100, completion_tokens=10, seconds=1.0, context_tokens=80),
        make_answer("b", prompt_tokens=201, completion_tokens=30, seconds=2.00005, context_tokens=90, finish_reason="length", notes=shrunk),
        make_answer("c", prompt_tokens=300, completion_tokens=20, seconds=0.5, context_tokens=101, refused=True),
        make_answer("d", **failed),
        make_answer("e", **failed | {"error": "refused"}),
        make_answer("f", **failed),
    ]
    assert answer_details(records) == {
        "answered": 3,
        "failed": {"timed out": 2, "refused": 1},
        "capped": 1,
        "refused": 1,
        "shrunk": 1,
        "shots_dropped": 1,
        "context_tokens": 90.3,
        "prompt_tokens": 200.3,
        "completion_tokens": 20.0,
        "seconds": 1.1667,
    }


def test_tokens_that_one_answer_does_not_tell_have_no_mean() -> None:
    details = answer_details([make_answer("a", prompt_tokens=None), make_answer("b")])
    assert details["prompt_tokens"] is None
    assert details["completion_tokens"] == 20.0
    assert answer_details([make_answer("a", error="x")])["seconds"] is None


def test_the_worst_answers_are_three_in_order_of_score_and_id() -> None:
    scores = [0.5, 1.0, 0.2, 0.5, 0.9, math.nan, 0.0]
    records = [make_answer(f"q{number}") for number in (0, 1, 2, 3, 4, 5)]  # q6 was not sampled
    result = make_result({"answer_f1": scores}, records=records)
    worst = worst_answers(result)
    assert [(answer["id"], answer["score"]) for answer in worst] == [("q2", 0.2), ("q0", 0.5), ("q3", 0.5)]
    assert worst[0] == records[2] | {"score": 0.2}
    assert worst_answers(result, "chrf") == []
    assert worst_answers(make_result({"answer_f1": [1.0, math.nan]}, records=records[:2])) == []


@pytest.mark.parametrize("language", ["en", "ko"])
def test_only_metrics_that_were_asked_are_shown(language: str) -> None:
    results = make_answered_results(language=language)
    shown = ["answer_f1", "answer_em", "chrf", "groundedness", "refusal_precision", "refusal_recall"]
    assert asked_metrics(results) == shown
    assert asked_metrics(results[2:3]) == [name for name in shown if name != "refusal_precision"]  # it refuses nothing
    assert asked_metrics([make_result({"recall@1": [1.0]})]) == []
