"""The openai generator against a server on this machine that answers rightly, wrongly or not at all (LM1, LM3, SC3).

What every part that asks a server has in common is in test_endpoint.py; budgets and options are in test_generation_openai_limits.py.
"""

import logging
import threading
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fakes import DONE, KEY, USAGE, FakeServer, completion, event, hang_up, piece, reply, right, said, silent, streamed
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.datatypes import Completion, Conversation, Message
from workbench.endpoint import ATTEMPTS
from workbench.generation_openai import OpenAIGenerator

BAD = "야근 수당은 어떻게 계산하나요?"
GOOD = ("연차는 며칠인가요?", "How many days off do I get?")


def conversation(question: str) -> Conversation:
    return Conversation((Message("system", "Answer from the passages."), Message("user", question)), question)


def generate(generator: OpenAIGenerator, *questions: str) -> list[Completion]:
    return generator.generate([conversation(question) for question in questions])


def stream(generator: OpenAIGenerator, question: str) -> tuple[Completion, str]:
    """Return the completion and what was said on the way."""
    spoken: list[str] = []
    return generator.stream(conversation(question), spoken.append), "".join(spoken)


def for_bad(wrong: Callable[..., Any]) -> Callable[..., Any]:
    """Answer the bad question wrongly and all others rightly."""
    return lambda request: (wrong if request["messages"][-1]["content"] == BAD else right)(request)


# --- right replies ---------------------------------------------------------------------------------------------------------------------


def test_conversations_come_back_in_order_with_what_they_cost(server: FakeServer) -> None:
    questions = [f"{number}번째 질문" for number in range(9)]
    completions = generate(OpenAIGenerator("fake", max_new_tokens=40), *questions)
    assert [item.text for item in completions] == [said(question) for question in questions]
    assert {(item.finish_reason, item.prompt_tokens, item.completion_tokens, item.error) for item in completions} == {("stop", 7, 3, "")}
    assert all(0 < item.seconds < 30 for item in completions)
    for path, headers, body in server.requests:
        assert (path, headers["Authorization"]) == ("/v1/chat/completions", f"Bearer {KEY}")
        messages = [{"role": "system", "content": "Answer from the passages."}, {"role": "user", "content": body["messages"][1]["content"]}]
        assert body == {"model": "fake", "messages": messages, "max_tokens": 40, "temperature": 0.0}


def test_a_stream_says_its_text_piece_by_piece(server: FakeServer) -> None:
    spoken: list[str] = []
    answer = OpenAIGenerator("fake").stream(conversation(GOOD[0]), spoken.append)
    assert spoken == list(said(GOOD[0]))
    assert (answer.text, answer.finish_reason, answer.prompt_tokens, answer.completion_tokens) == (said(GOOD[0]), "stop", 7, 3)
    assert server.requests[0][2]["stream_options"] == {"include_usage": True}
    assert answer.seconds > 0
    server.replies = [streamed(piece("네."), piece(finish_reason="stop"))]  # neither the usage nor an end mark
    answer, _ = stream(OpenAIGenerator("fake"), GOOD[0])
    assert (answer.text, answer.prompt_tokens, answer.completion_tokens, answer.error) == ("네.", None, None, "")


@pytest.mark.parametrize("usage", [None, "none", {}, {"completion_tokens": "3"}, {"completion_tokens": True}, {"completion_tokens": -1}])
def test_tokens_not_told_are_none_and_an_empty_answer_is_an_answer(usage: Any, server: FakeServer) -> None:
    server.replies = [reply(completion("", usage=usage))]
    answer = generate(OpenAIGenerator("fake"), BAD)[0]
    assert (answer.text, answer.finish_reason, answer.prompt_tokens, answer.completion_tokens) == ("", "stop", None, None)


def test_text_is_nfc_and_our_own_cap_is_no_error(server: FakeServer) -> None:
    text = unicodedata.normalize("NFD", "연차는 15일")
    server.replies = [reply(completion(text, "length")), streamed(piece(text), piece(finish_reason="length"), USAGE, DONE)]
    generator = OpenAIGenerator("fake", max_new_tokens=3)
    for answer in (generate(generator, BAD)[0], stream(generator, BAD)[0]):
        assert (answer.text, answer.finish_reason, answer.error) == ("연차는 15일", "length", "")


def test_no_more_than_concurrency_are_out_at_once(server: FakeServer) -> None:
    lock, out, most = threading.Lock(), [0], [0]

    def counted(request: Mapping[str, Any]) -> Any:
        with lock:
            out[0] += 1
            most[0] = max(most[0], out[0])
        threading.Event().wait(0.02 if "0" in request["messages"][-1]["content"] else 0.06)
        with lock:
            out[0] -= 1
        return right(request)

    server.replies = [counted]
    questions = [str(number) for number in range(12)]
    assert [item.text for item in generate(OpenAIGenerator("fake", concurrency=3), *questions)] == [said(item) for item in questions]
    assert most[0] == 3


# --- faults ----------------------------------------------------------------------------------------------------------------------------

CHOICE = completion()["choices"][0]
ECHO = {"error": {"message": f"no, not with {KEY}", "type": KEY, "code": KEY}}
HTTP_FAULTS: dict[str, tuple[Callable[..., Any], str, int]] = {  # reply, what the error says, how often it is asked for
    "400": (reply(ECHO, 400, X_Echo=KEY), "answered 400 for model 'fake'", 1),
    "too long": (reply({"error": {"code": "context_length_exceeded"}}, 400), "may be longer than the model's context window", 1),
    "408": (reply(ECHO, 408), "answered 408 for model 'fake' (4 attempts)", ATTEMPTS),
    "429": (reply(ECHO, 429), "answered 429 for model 'fake' (4 attempts)", ATTEMPTS),
    "429 with a wait": (reply(ECHO, 429, Retry_After="2"), "answered 429 for model 'fake' (4 attempts)", ATTEMPTS),
    "500": (reply(f"<html>{KEY}</html>", 500, "text/html"), "answered 500 for model 'fake' (4 attempts)", ATTEMPTS),
    "hung up": (hang_up, "closed the connection before its reply was complete (4 attempts)", ATTEMPTS),
    "silence": (silent, "did not answer within 0.2 seconds (4 attempts)", ATTEMPTS),
}
FAULTS = HTTP_FAULTS | {
    "a short body": (reply('{"choices": [', Content_Length="99"), "closed the connection before its reply was complete", ATTEMPTS),
    "an HTML page": (reply(f"<html>{KEY}</html>", kind="text/html"), "sent a page or plain text", 1),
    "malformed JSON": (reply('{"choices": [{"index": 0, "message"'), "sent no valid JSON", 1),
    "an error with status 200": (reply(ECHO), "has no list of choices", 1),
    "null": (reply("null"), "has no list of choices", 1),
    "no choices": (reply(completion(choices=[])), "sent no choices", 1),
    "two choices": (reply(completion(choices=[CHOICE] * 2)), "sent more than the one choice", 1),
    "null content": (reply(completion(None)), "sent no text (null)", 1),
    "no message": (reply(completion(choices=[{"index": 0, "finish_reason": "stop"}])), "sent no text (null)", 1),
    "reasoning only": (reply(completion(None, "length")), "sent no text (null); a model that reasons first", 1),
    "content 123": (reply(completion(123)), "sent a content that is no text", 1),
    "content parts": (reply(completion([{"type": "text", "text": "네."}])), "sent a content that is no text", 1),
    "half a surrogate pair": (reply(completion("네\ud83d")), "half a surrogate pair", 1),
    "content_filter": (reply(completion(finish_reason="content_filter")), "cut the text with its content filter", 1),
    "tool_calls": (reply(completion(None, "tool_calls")), "called a tool", 1),
    "function_call": (reply(completion(None, "function_call")), "called a function", 1),
    "no finish_reason": (reply(completion(finish_reason=None)), "did not say why the text ends", 1),
    "an unknown finish_reason": (reply(completion(finish_reason=KEY)), "a reason to finish that we do not know", 1),
    "a list as finish_reason": (reply(completion(finish_reason=["stop"])), "a reason to finish that we do not know", 1),
    "its own limit": (reply(completion(finish_reason="length")), "by its own limit after 3 tokens (our cap is 256); shorten", 1),
    "some limit": (reply(completion(finish_reason="length", usage=None)), "whether our cap of 256 tokens did it cannot be known", 1),
}
BEGUN = (piece(""), piece("연차는 "))
STREAM_FAULTS = HTTP_FAULTS | {
    "silence at once": (streamed(None), "did not answer within 0.2 seconds (4 attempts)", ATTEMPTS),
    "an HTML page": (reply(f"<html>{KEY}</html>", kind="text/html"), "sent no stream but a page", 1),
    "a whole reply": (reply(completion()), "sent no stream but a page, a whole reply or nothing", 1),
    "an error at once": (streamed(event(ECHO)), "reported an error instead of a reply", 1),
    "an error later": (streamed(*BEGUN, event(ECHO)), "reported an error in the middle of the stream", 1),
    "closed early": (streamed(*BEGUN), "ended the stream before the text was finished, after 2 pieces", 1),
    "ended early": (streamed(*BEGUN, USAGE, DONE), "ended the stream before the text was finished, after 2 pieces", 1),
    "cut mid-JSON": (streamed(*BEGUN, event('{"choices": [{"de')), "sent no valid JSON in the middle of the stream", 1),
    "cut mid-event": (streamed(*BEGUN, b'data: {"choices": [{"de'), "ended the stream before the text was finished", 1),
    "broken off": (streamed(*BEGUN, Content_Length="9999"), "closed the connection in the middle of the stream", 1),
    "stalled": (streamed(*BEGUN, None), "fell silent for 0.2 seconds in the middle of the stream", 1),
    "two choices": (streamed(*BEGUN, piece(choices=[CHOICE] * 2)), "sent more than the one choice", 1),
    "a second choice": (streamed(*BEGUN, piece(choices=[CHOICE | {"index": 1}])), "sent more than the one choice", 1),
    "events of something else": (streamed(event({"message": KEY})), "has no list of choices", 1),
    "content 123": (streamed(*BEGUN, piece(123)), "sent a content that is no text", 1),
    "reasoning only": (streamed(piece(), piece(finish_reason="stop"), DONE), "sent no text (null)", 1),
    "content_filter": (streamed(*BEGUN, piece(finish_reason="content_filter"), DONE), "cut the text with its content filter", 1),
    "tool_calls": (streamed(piece(finish_reason="tool_calls"), DONE), "called a tool", 1),
    "its own limit": (streamed(*BEGUN, piece(finish_reason="length"), USAGE, DONE), "by its own limit after 3 tokens", 1),
    "some limit": (streamed(*BEGUN, piece(finish_reason="length"), DONE), "whether our cap of 256 tokens did it", 1),
}


@pytest.mark.parametrize(("kind", "fault"), [("whole", fault) for fault in FAULTS] + [("stream", fault) for fault in STREAM_FAULTS])
def test_lm1_every_fault_is_an_error_of_its_own_and_the_others_go_on(
    kind: str, fault: str, server: FakeServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong, message, requests = (FAULTS if kind == "whole" else STREAM_FAULTS)[fault]
    server.replies = [for_bad(wrong)]
    generator = OpenAIGenerator("fake", timeout=0.2 if "within 0.2" in message or "for 0.2" in message else 20)
    questions = (GOOD[0], BAD, GOOD[1])
    if kind == "whole":
        completions, spoken = generate(generator, *questions), ""
    else:
        completions, words = zip(*(stream(generator, question) for question in questions), strict=True)
        spoken = words[1]
    assert [item.text for item in completions] == [said(GOOD[0]), "", said(GOOD[1])]
    assert [item.finish_reason for item in completions] == ["stop", "error", "stop"]
    assert message in completions[1].error
    assert completions[1].error.isprintable()  # one line
    assert len(server.requests) == 2 + requests
    assert spoken in ("", "연차는 ")
    assert KEY not in f"{completions}{spoken}{capfd.readouterr()}" + "".join(str(vars(record)) for record in caplog.records)  # SC3


def test_most_faults_have_their_own_message() -> None:
    assert len({message for _, message, _ in [*FAULTS.values(), *STREAM_FAULTS.values()]}) >= 28


def whole(message: Any, finish_reason: Any) -> dict[str, Any]:
    return completion(choices=[{"message": message, "delta": message, "finish_reason": finish_reason}])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 300) | st.sampled_from(["stop", "length", "네."]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["choices", "message", "delta", "content", "finish_reason", "usage", "index"]), inner, max_size=4)
    ),
    max_leaves=12,
)


def test_lm1_any_json_is_a_text_or_an_error(server: FakeServer) -> None:
    generator = OpenAIGenerator("fake")
    server.replies = [lambda request: (streamed(event(body), DONE) if request.get("stream") else reply(body))(request)]
    body: Any = None

    @given(JSON | JSON.map(lambda choice: {"choices": [choice]}) | st.builds(whole, JSON | st.fixed_dictionaries({"content": JSON}), JSON))
    @settings(max_examples=150, deadline=None)
    def check(it: Any) -> None:
        nonlocal body
        body = it
        for answer in (generate(generator, BAD)[0], stream(generator, BAD)[0]):
            assert (answer.finish_reason == "error") == bool(answer.error)
            assert answer.error or answer.text == body["choices"][0]["message"]["content"]

    check()
