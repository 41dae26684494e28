"""What all parts that ask an OpenAI-compatible server have in common: address, key, retries, errors (LM2, SC1, SC3)."""

import logging
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from fakes import DONE, KEY, FakeServer, completion, event, hang_up, piece, reply, right, said, silent, streamed
from hypothesis import given
from hypothesis import strategies as st

from workbench.datatypes import WorkbenchError
from workbench.endpoint import ATTEMPTS, LONGEST_WAIT_SECONDS, Endpoint, EndpointError, NotAskedError, retry_after

QUESTION = [{"role": "user", "content": "연차는 며칠인가요?"}]


def send(client: Any, **more: Any) -> Any:
    return client.chat.completions.create(model="fake", messages=QUESTION, **more)


def pieces(endpoint: Endpoint, said: list[str]) -> list[str]:
    """Give the text of each event of a stream; `said` gets it as it comes."""
    for part in endpoint.stream(lambda client: send(client, stream=True)):
        said += [choice.delta.content or "" for choice in part.choices]
    return said


def error(message: str = f"no, not with {KEY}", **fields: Any) -> Mapping[str, Any]:
    """Build the body of an error that repeats the key, as some servers do."""
    return {"error": {"message": message, "type": KEY, "param": None, "code": KEY} | fields}


# --- retries ---------------------------------------------------------------------------------------------------------------------------

PASSING = {str(status): reply(error(), status) for status in (408, 429, 500, 502, 503, 529)} | {
    "short body": reply("{", Content_Length="100"),
    "hung up": hang_up,
}


@pytest.mark.parametrize("passing", PASSING)
def test_lm2_what_may_pass_is_asked_again_and_told_once_it_did_not(passing: str, server: FakeServer, waits: list[float]) -> None:
    server.replies = [PASSING[passing]] * (ATTEMPTS - 1) + [right]
    assert Endpoint("fake", 5).ask(send).choices[0].message.content == said(QUESTION[0]["content"])
    assert len(server.requests) == ATTEMPTS
    assert len(waits) == ATTEMPTS - 1

    server.replies = [PASSING[passing]]
    with pytest.raises(EndpointError, match=rf" \({ATTEMPTS} attempts\)$"):
        Endpoint("fake", 5).ask(send)
    assert len(server.requests) == 2 * ATTEMPTS


HOPELESS = {401: "refused the key", 403: "may the key", 404: "is the model's name right", 429: "asks to wait 61 seconds"}


@pytest.mark.parametrize("status", [*HOPELESS, 400, 402, 405, 409, 413, 422])
def test_lm7_what_will_not_pass_is_asked_once(status: int, server: FakeServer) -> None:
    server.replies = [reply(error(), status, Retry_After="61")]
    with pytest.raises(EndpointError, match=HOPELESS.get(status, f"answered {status} for model 'fake'$")) as caught:
        Endpoint("fake", 5).ask(send)
    assert len(server.requests) == 1
    assert caught.value.hopeless == (status in HOPELESS)


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("7", 7, 7),
        (f"{LONGEST_WAIT_SECONDS:g}", LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS),
        ("a date in 50 seconds", 30, 50),
        ("-3", 0, 5),
    ],
)
def test_lm2_retry_after_is_honoured(header: str, low: float, high: float, server: FakeServer, waits: list[float]) -> None:
    if header == "a date in 50 seconds":
        header = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    server.replies = [reply(error(), 429, Retry_After=header), right]
    assert Endpoint("fake", 5).ask(send).choices
    assert len(server.requests) == 2
    assert low <= waits[0] <= high


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("9" * 400, float("inf")),
        ("", None),
        ("1e3", None),
        ("٣", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00", 0),  # without its zone
        ("Wed, 21 Oct 99999999999 07:28:00 GMT", None),
    ],
)
def test_retry_after(header: str, seconds: float | None) -> None:
    assert retry_after(header) == seconds


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ [-+]?\w*", fullmatch=True))
def test_any_retry_after_is_a_wait_or_nothing(header: str) -> None:
    seconds = retry_after(header)
    assert seconds is None or seconds >= 0


def test_a_permit_is_asked_for_before_each_attempt(server: FakeServer, waits: list[float]) -> None:
    reasons = iter(["", "", "enough"])
    server.replies = [reply(error(), 500)]
    with pytest.raises(EndpointError, match=r"answered 500 for model 'fake', not asked again: enough$"):
        Endpoint("fake", 5).ask(send, lambda: next(reasons))
    assert len(server.requests) == 2
    with pytest.raises(NotAskedError, match=r"^not asked: no money$"):
        Endpoint("fake", 5).ask(send, lambda: "no money")
    assert len(server.requests) == 2


# --- streams ---------------------------------------------------------------------------------------------------------------------------

START = (piece(""), piece("연차는"))
BROKEN: dict[str, tuple[Callable[..., Any], str]] = {
    "stalled": (streamed(*START, None), "fell silent for 0.3 seconds in the middle of the stream"),
    "broken off": (streamed(*START, Content_Length="9999"), "closed the connection in the middle of the stream"),
    "cut mid-JSON": (streamed(*START, event('{"choices": [{"del')), "sent no valid JSON in the middle of the stream"),
    "an error": (streamed(*START, event(error())), "reported an error in the middle of the stream"),
    "no UTF-8": (streamed(*START, b"data: \xff\n\n"), "sent no valid JSON in the middle of the stream"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_stream_that_has_begun_is_not_asked_for_again(fault: str, server: FakeServer, waits: list[float]) -> None:
    wrong, message = BROKEN[fault]
    server.replies = [wrong, right]
    so_far: list[str] = []
    with pytest.raises(EndpointError, match=rf"{message}$"):
        pieces(Endpoint("fake", 0.3), so_far)
    assert so_far == ["", "연차는"]
    assert len(server.requests) == 1


@pytest.mark.parametrize("passing", [*PASSING, "silent before the first event"])
def test_a_stream_that_has_not_begun_is_asked_for_again(passing: str, server: FakeServer, waits: list[float]) -> None:
    server.replies = [PASSING.get(passing, streamed(None)), right]
    assert "".join(pieces(Endpoint("fake", 0.5 if passing not in PASSING else 5), [])) == said(QUESTION[0]["content"])
    assert len(server.requests) == 2


def test_a_stream_left_early_is_closed(server: FakeServer) -> None:
    opened: list[Any] = []
    events = Endpoint("fake", 5).stream(lambda client: opened.append(send(client, stream=True)) or opened[0])
    assert next(events)
    assert not opened[0].response.is_closed
    events.close()
    assert opened[0].response.is_closed


def test_a_stream_of_nothing_has_no_events(server: FakeServer) -> None:
    for nothing in (reply("<html>hello</html>", kind="text/html"), reply(completion()), reply(""), streamed(DONE), streamed()):
        server.replies = [nothing]
        assert pieces(Endpoint("fake", 5), []) == []


# --- errors tell what we know and quote nothing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (error(code="context_length_exceeded"), "may be longer than the model's context window; send less"),  # OpenAI
        (error(type="exceed_context_size_error", code=400), "may be longer than the model's context window"),  # llama.cpp
        (error("However, the model's context length is only 1024 tokens", code=400), "may be longer than"),  # vLLM
        ({"message": "This model's maximum context length is 32768 tokens.", "code": 400}, "may be longer than"),  # vLLM before 0.16
        (error(param="max_tokens"), "refuses max_tokens; set generator.cap_parameter to max_completion_tokens"),
        (error(param="temperature"), "refuses temperature; set generator.temperature to null"),
        (error(param=KEY), "answered 400 for model 'fake'$"),
        (error(param=["max_tokens"]), "answered 400 for model 'fake'$"),
        (KEY, "answered 400 for model 'fake'$"),
    ],
)
def test_a_400_says_what_to_change_where_that_is_known(body: Any, message: str, server: FakeServer) -> None:
    server.replies = [reply(body, 400)]
    with pytest.raises(EndpointError, match=message):
        Endpoint("fake", 5).ask(send)


def test_connection_faults_have_their_own_messages(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def message(timeout: float = 5) -> str:
        with pytest.raises(EndpointError) as caught:
            Endpoint("fake", timeout).ask(send)
        return str(caught.value).partition(server.url)[2]

    server.replies = [silent]
    assert message(0.2) == f" did not answer within 0.2 seconds ({ATTEMPTS} attempts)"
    server.replies = [hang_up]
    assert message() == f" closed the connection before its reply was complete ({ATTEMPTS} attempts)"
    server.replies = [reply("not gzip", Content_Encoding="gzip")]
    assert message() == f" could not be asked (DecodingError) ({ATTEMPTS} attempts)"
    server.replies = [reply("[" * 200_000)]
    assert message() == " sent no valid JSON; is OPENAI_BASE_URL right?"
    with pytest.raises(EndpointError, match=r"^the text for model 'fake' holds half a surrogate pair"):
        Endpoint("fake", 5).ask(lambda client: client.embeddings.create(model="fake", input=["\ud800"]))
    with FakeServer() as gone:
        monkeypatch.setenv("OPENAI_BASE_URL", gone.url)
    with pytest.raises(EndpointError) as caught:
        Endpoint("fake", 5).ask(send)
    assert str(caught.value) == f"the server at {gone.url} cannot be reached; is OPENAI_BASE_URL right? ({ATTEMPTS} attempts)"


@pytest.mark.parametrize(
    "wrong",
    [
        *(reply(error(), status, X_Request_Id=KEY, X_Echo=KEY, Reason=f"not with {KEY}") for status in (400, 401, 404, 429, 500)),
        reply(f"<html>{KEY}</html>", X_Request_Id=KEY, Reason=KEY),
        reply(f"<html>{KEY}</html>", 503, "text/html", Reason=KEY),
        streamed(event(error()), X_Echo=KEY),
        streamed(*START, event(error()), X_Echo=KEY),
        streamed(*START, event('{"choices": "' + KEY), X_Echo=KEY),
    ],
)
def test_sc3_the_key_is_in_no_error_log_or_context_even_at_debug(
    wrong: Any, server: FakeServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    server.replies = [wrong]
    endpoint = Endpoint("fake", 5)
    with pytest.raises(EndpointError) as caught:
        assert pieces(endpoint, []) or endpoint.ask(send)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert "openai" not in repr(caught.value.__context__)  # a debugger would show it with all that the server sent
    assert KEY not in "".join(traceback.format_exception(caught.value)) + "".join(capfd.readouterr()) + repr(endpoint)
    assert any("receive_response_headers" in record.getMessage() for record in caplog.records), "nothing was logged"
    assert KEY not in "".join(str(vars(record)) for record in caplog.records)


# --- address and key -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://me:canary@host/v1",
        "https://canary@host/v1",
        "me:canary@host/v1",
        "https://host/v1?api-key=canary",
        "https://host/v1#canary",
        "canary:8000/v1",
        "//canary/v1",
        "file:///canary",
        "https:///canary",
        "http://[canary/v1",
        "http://host:canary/v1",
        "http://host:99999/canary",
        "http://host/v1\ncanary",
        " http://host/canary",
    ],
)
def test_sc1_addresses_with_a_secret_or_without_a_host_are_refused_unquoted(
    url: str, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(WorkbenchError, match=r"OPENAI_BASE_URL must look like https://host:port/v1, without user name") as caught:
        Endpoint("fake", 5)
    assert "canary" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("key", "message"),
    [(key, "OPENAI_API_KEY holds a space, a line break or a letter outside") for key in ("canary\n", " canary", "sk canary", "canary-키")]
    + [(key, r"OPENAI_API_KEY is not set; export it \(any text for a local server") for key in ("", None)],
)
def test_keys_that_cannot_be_sent_are_refused_unquoted(
    key: str | None, message: str, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key) if key is not None else monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(WorkbenchError, match=message) as caught:
        Endpoint("fake", 5)
    assert "canary" not in str(caught.value)
