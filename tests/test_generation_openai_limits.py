"""What the openai generator asks again, when it stops asking, and its options (LM2, LM7, CL9, SC3)."""

import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from fakes import KEY, FakeServer, reply, right, said

from workbench import registry, storage
from workbench.datatypes import Completion, Conversation, Message, WorkbenchError
from workbench.generation_openai import OpenAIGenerator
from workbench.generation_openai_gate import FAILURES_IN_A_ROW

BAD = "야근 수당은 어떻게 계산하나요?"
ECHO = {"error": {"message": f"no, not with {KEY}", "type": KEY, "code": KEY}}


def conversation(question: str) -> Conversation:
    return Conversation((Message("system", "Answer from the passages."), Message("user", question)), question)


def generate(generator: OpenAIGenerator, *questions: str) -> list[Completion]:
    return generator.generate([conversation(question) for question in questions])


def slow(seconds: float) -> Callable[..., Any]:
    return lambda request: threading.Event().wait(seconds) or right(request)


def right_but(wrong: Callable[..., Any]) -> Callable[..., Any]:
    """Answer the bad question wrongly and all others rightly."""
    return lambda request: (wrong if request["messages"][-1]["content"] == BAD else right)(request)


# --- what is asked again, and what no more ---------------------------------------------------------------------------------------------


def test_lm2_what_passes_is_asked_again(server: FakeServer, waits: list[float]) -> None:
    server.replies = [reply(ECHO, 429, Retry_After="7"), reply(ECHO, 503), right]
    answer = generate(OpenAIGenerator("fake"), BAD)[0]
    assert (answer.text, len(server.requests), len(waits), waits[0]) == (said(BAD), 3, 2, 7)


@pytest.mark.parametrize(
    ("status", "why"), [(401, "refused the key"), (403, "answered 403"), (404, "answered 404"), (429, "wait 99 seconds")]
)
def test_an_error_that_all_would_meet_is_met_once(status: int, why: str, server: FakeServer) -> None:
    server.replies = [reply(ECHO, status, Retry_After="99")]
    generator = OpenAIGenerator("fake")
    first, *rest = generate(generator, *"abcdefgh")
    assert why in first.error
    assert {item.error for item in rest} == {f"not asked: every conversation would fail like this: {first.error}"}
    assert len(server.requests) == 1
    server.replies = [right]  # the key was corrected, and another call is made
    assert [item.text for item in generate(generator, *"ab")] == ["[a]", "[b]"]


def test_after_five_failures_in_a_row_the_rest_is_not_asked(server: FakeServer) -> None:
    server.replies = [right_but(reply(ECHO, 400))]
    generator = OpenAIGenerator("fake", concurrency=1)
    four = [BAD] * (FAILURES_IN_A_ROW - 1)
    assert not [item for item in generate(generator, *four, "a", *four, "b") if item.error.startswith("not asked")]
    completions = generate(generator, "a", *four, BAD, "c", "d")
    assert {item.error for item in completions[6:]} == {f"not asked: 5 conversations in a row failed, the last: {completions[5].error}"}
    assert len(server.requests) == 2 * len(four) + 2 + 6
    assert generate(generator, BAD, "a")[1].error.startswith("not asked: 5")  # the next call tries one
    assert generate(generator, "a", BAD, "b")[2].text == "[b]"


def test_budgets_hold_for_all_calls_of_a_generator(server: FakeServer) -> None:
    generator = OpenAIGenerator("fake", max_calls=3)
    spent = "not asked: the budget of 3 calls (generator.max_calls) is spent"
    assert sorted(item.error for item in generate(generator, *"abcde")) == ["", "", "", spent, spent]
    assert {item.error for item in [*generate(generator, *"abcdefgh"), generator.stream(conversation("a"), print)]} == {spent}
    assert len(server.requests) == 3
    server.replies = [reply(ECHO, 500)]
    first, second = generate(OpenAIGenerator("fake", max_calls=2), "a", "b")
    assert first.error.endswith("answered 500 for model 'fake', not asked again: the budget of 2 calls (generator.max_calls) is spent")
    assert second.error.startswith("not asked: the budget of 2 calls")
    server.replies = [slow(0.15)]
    completions = generate(OpenAIGenerator("fake", max_seconds=0.1), *"abc")
    assert [item.error for item in completions] == ["", *["not asked: the budget of 0.1 seconds (generator.max_seconds) is spent"] * 2]


def test_an_interrupt_stops_what_is_not_out_yet(server: FakeServer) -> None:
    noticed = threading.Event()

    def interrupting(request: Mapping[str, Any]) -> Any:
        if not noticed.is_set():
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        assert noticed.wait(10), "the interrupt waits for the server"
        return reply(ECHO, 500)(request)

    server.replies = [right, right, interrupting]
    with pytest.raises(KeyboardInterrupt):
        generate(OpenAIGenerator("fake", concurrency=1), *"abcdefgh")
    noticed.set()
    threading.Event().wait(0.3)
    assert len(server.requests) == 3


# --- options ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sent", "sampled"),
    [
        ({"temperature": 0, "top_p": 0.5, "seed": 7}, {"max_tokens": 256, "temperature": 0, "seed": 7}, False),
        ({"temperature": 0.7}, {"max_tokens": 256, "temperature": 0.7, "top_p": 1}, True),
        ({"temperature": 0.7, "seed": 0}, {"max_tokens": 256, "temperature": 0.7, "top_p": 1, "seed": 0}, False),
        ({"temperature": None, "top_p": None, "cap_parameter": "max_completion_tokens"}, {"max_completion_tokens": 256}, True),
    ],
)
def test_cl9_only_what_is_set_is_sent_and_all_that_decides_the_text_is_told(
    options: dict[str, Any], sent: Mapping[str, Any], sampled: bool, server: FakeServer
) -> None:
    generator = OpenAIGenerator("fake", **options)
    generate(generator, BAD)
    assert {name: value for name, value in server.requests[0][2].items() if name not in ("model", "messages")} == sent
    assert generator.fingerprint["sampled"] is sampled
    assert generator.fingerprint["server"] == server.url
    assert KEY not in storage.canonical_json(generator.fingerprint) + repr(generator) + str(vars(generator))
    assert generator.fingerprint == OpenAIGenerator("fake", **options, timeout=1, concurrency=1, max_calls=9, max_seconds=9).fingerprint
    others: Sequence[dict[str, Any]] = ({"max_new_tokens": 1}, {"temperature": 0.1}, {"seed": 99})
    assert all(generator.fingerprint != OpenAIGenerator("fake", **options | other).fingerprint for other in others)
    assert generator.overflows([conversation("a")] * 2) == [0, 0]
    assert generator.generate([]) == []


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("max_new_tokens", 0, "0 must be a whole number of at least 1"),
        ("max_new_tokens", True, "True must be a whole number"),
        ("temperature", float("nan"), "nan must be a number of at least 0"),
        ("top_p", 1.5, "1.5 must be a number between 0 and 1"),
        ("seed", "7", "'7' must be a whole number"),
        ("concurrency", 1.5, "1.5 must be a whole number of at least 1"),
        ("timeout", float("inf"), "inf must be a number of at least 0.001"),
        ("max_calls", -1, "-1 must be a whole number of at least 0"),
        ("max_seconds", -1, "-1 must be a number of at least 0"),
        ("cap_parameter", "tokens", "unknown generator.cap_parameter 'tokens'; did you mean 'max_tokens'"),
    ],
)
def test_bad_options_are_named(option: str, value: Any, message: str, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WorkbenchError) as caught:
        OpenAIGenerator("fake", **{option: value})
    assert message in str(caught.value)
    assert f"generator.{option}" in str(caught.value)
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WorkbenchError, match=r"generator 'openai:fake' needs the package 'openai': pip install 'rag-workbench\[openai\]'"):
        OpenAIGenerator("fake")
