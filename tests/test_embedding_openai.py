"""The openai embedder against a server on this machine that answers rightly, wrongly or not at all (LM1 to LM3, SC3, CL10).

What every part that asks a server has in common is in test_endpoint.py.
"""

import json
import logging
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import KEY, FakeServer, embed, embeddings, reply, right, silent

from workbench import embedding_openai, registry, storage
from workbench.cache import Cache, CachedEmbedder
from workbench.datatypes import WorkbenchError
from workbench.embedding import create_embedder
from workbench.endpoint import ATTEMPTS

TEXTS = ["연차는 며칠인가요?", "How many days?", "🎉"]
RIGHT = embeddings(TEXTS)


def unit(*texts: str) -> np.ndarray:
    """Return what the right server's vectors are after normalisation."""
    vectors = np.array([embed(text) for text in texts], np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def changed(number: int, **fields: Any) -> dict[str, Any]:
    """Return the right reply with other fields in one of its embeddings; None removes a field."""
    body = json.loads(json.dumps(RIGHT))
    body["data"][number] = {key: value for key, value in (body["data"][number] | fields).items() if value is not None}
    return body


def refused(status: int, **headers: str) -> Callable[..., Any]:
    """Make an error reply that repeats the key, as some servers do."""
    return reply({"error": {"message": f"no, not with {KEY}", "type": "error", "code": KEY}}, status, **headers)


# --- right replies ---------------------------------------------------------------------------------------------------------------------


def test_texts_go_out_in_batches_and_come_back_in_order(server: FakeServer) -> None:
    texts = [f"문서 {number}" for number in range(5)]
    vectors = create_embedder("openai:fake", {"batch_size": 2, "query_prefix": "Q: "}).encode(texts, "query")
    assert vectors.tobytes() == unit(*(f"Q: {text}" for text in texts)).tobytes()
    assert [body["input"] for _, _, body in server.requests] == [["Q: 문서 0", "Q: 문서 1"], ["Q: 문서 2", "Q: 문서 3"], ["Q: 문서 4"]]
    for path, headers, body in server.requests:
        assert path == "/v1/embeddings"
        assert headers["Authorization"] == f"Bearer {KEY}"
        assert (body["model"], body["encoding_format"]) == ("fake", "float")


def test_no_texts_ask_nothing(server: FakeServer) -> None:
    assert create_embedder("openai:fake").encode([], "query").shape == (0, 0)
    assert server.requests == []


def test_embeddings_are_taken_by_their_index(server: FakeServer) -> None:
    server.replies = [reply(RIGHT | {"data": RIGHT["data"][::-1]})]
    assert create_embedder("openai:fake").encode(TEXTS, "query").tobytes() == unit(*TEXTS).tobytes()


def test_whole_numbers_are_numbers(server: FakeServer) -> None:
    server.replies = [reply(changed(1, embedding=[0, 3, 4, 0, 0, 0, 0, 0]))]
    assert create_embedder("openai:fake").encode(TEXTS, "query")[1].tolist() == pytest.approx([0, 0.6, 0.8, 0, 0, 0, 0, 0])


# --- faults ----------------------------------------------------------------------------------------------------------------------------

NO_NUMBERS = rf"sent no list of numbers as the embedding of '{TEXTS[1][:8]}"
FAULTS: dict[str, tuple[Callable[..., Any], str, int]] = {  # reply, what the error says, how often it is asked for
    "an HTML page": (reply("<html>hello</html>", kind="text/html"), r"sent no embeddings for 3 texts; is OPENAI_BASE_URL right\?", 1),
    "HTML called JSON": (reply(f"<html>{KEY}</html>"), r"sent no valid JSON; is OPENAI_BASE_URL right\?", 1),
    "malformed JSON": (reply('{"data": [{"index": 0,'), "sent no valid JSON", 1),
    "no UTF-8": (reply(b'{"data": "\xff\xfe"}'), "sent no valid JSON", 1),
    "an empty body": (reply(""), "sent no valid JSON", 1),
    "null": (reply("null"), "sent no embeddings for 3 texts", 1),
    "a list": (reply([1, 2, 3]), "sent no embeddings for 3 texts", 1),
    "an error with status 200": (reply({"error": {"message": KEY}}), "sent no embeddings for 3 texts", 1),
    "data that is text": (reply(RIGHT | {"data": "abc"}), "sent no embeddings for 3 texts", 1),
    "data of texts": (reply(RIGHT | {"data": ["a", "b", "c"]}), "sent no list of numbers as the embedding of '연차는", 1),
    "too few": (reply(RIGHT | {"data": RIGHT["data"][:2]}), "sent 2 embeddings for 3 texts", 1),
    "too many": (reply(RIGHT | {"data": RIGHT["data"] * 2}), "sent 6 embeddings for 3 texts", 1),
    "one index twice": (reply(changed(1, index=0)), NO_NUMBERS, 1),
    "an index too high": (reply(changed(1, index=3)), NO_NUMBERS, 1),
    "no index": (reply(changed(1, index=None)), NO_NUMBERS, 1),
    "an index that is a list": (reply(changed(1, index=[1])), NO_NUMBERS, 1),
    "no embedding": (reply(changed(1, embedding=None)), NO_NUMBERS, 1),
    "an empty embedding": (reply(changed(1, embedding=[])), NO_NUMBERS, 1),
    "base64": (reply(changed(1, embedding="AACAPwAAAEA=")), NO_NUMBERS, 1),
    "texts for numbers": (reply(changed(1, embedding=["0.1"] * 8)), NO_NUMBERS, 1),
    "null for a number": (reply(changed(1, embedding=[0.1] * 7 + [None])), NO_NUMBERS, 1),
    "lists for numbers": (reply(changed(1, embedding=[[0.1]] * 8)), NO_NUMBERS, 1),
    "ragged": (reply(changed(1, embedding=[0.1] * 9)), r"openai:fake returned vectors of different dimensions \(8, 9\)", 1),
    "NaN": (reply(changed(1, embedding=[float("nan")] * 8)), "a NaN or infinite vector for 1 of 3 texts, first: 'How many", 1),
    "infinite": (reply(json.dumps(changed(1, embedding=[777777] * 8)).replace("777777", "1e999")), "a NaN or infinite vector", 1),
    "beyond float": (reply(json.dumps(changed(1, embedding=[777777] * 8)).replace("777777", "9" * 400)), "sent no valid JSON", 1),
    "zero": (reply(changed(1, embedding=[0.0] * 8)), "a zero vector for 1 of 3 texts, first: 'How many", 1),
    "400": (refused(400), "answered 400 for model 'fake'", 1),
    "401": (refused(401), r"refused the key in OPENAI_API_KEY \(401\)", 1),
    "403": (refused(403), "answered 403 for model 'fake'", 1),
    "404": (refused(404), "answered 404 for model 'fake'", 1),
    "404 as HTML": (reply("<html>", 404, "text/html"), "answered 404 for model 'fake'", 1),
    "422": (refused(422), "answered 422 for model 'fake'", 1),
    "429 for an hour": (refused(429, Retry_After="3600"), "answered 429 for model 'fake' and asks to wait 3600 seconds; run again then", 1),
    "408 for ever": (refused(408), rf"answered 408 for model 'fake' \({ATTEMPTS} attempts\)", ATTEMPTS),
    "429 for ever": (refused(429), rf"answered 429 for model 'fake' \({ATTEMPTS} attempts\)", ATTEMPTS),
    "500 for ever": (refused(500), rf"answered 500 for model 'fake' \({ATTEMPTS} attempts\)", ATTEMPTS),
    "503 as HTML": (reply("<html>busy</html>", 503, "text/html"), rf"answered 503 for model 'fake' \({ATTEMPTS} attempts\)", ATTEMPTS),
    "a body cut short": (reply('{"data": [', Content_Length="100"), rf"before its reply was complete \({ATTEMPTS} attempts\)", ATTEMPTS),
    "silence": (silent, rf"did not answer within 0.2 seconds \({ATTEMPTS} attempts\)", ATTEMPTS),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_lm1_every_fault_is_an_error_and_is_not_cached(
    fault: str,
    server: FakeServer,
    waits: list[float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(embedding_openai, "TIMEOUT_SECONDS", 0.2 if fault == "silence" else 20)
    caplog.set_level(logging.INFO)
    wrong, message, requests = FAULTS[fault]
    server.replies = [wrong]
    cache = Cache(tmp_path / "cache.sqlite")
    embedder = CachedEmbedder(create_embedder("openai:fake"), cache)
    with pytest.raises(WorkbenchError, match=message) as caught:
        embedder.encode(TEXTS, "query")
    assert len(server.requests) == requests
    assert len(waits) == requests - 1
    assert sum(waits) < 20
    assert cache.stats() == []

    seen = (
        "".join(traceback.format_exception(caught.value))
        + "".join(str(vars(record)) for record in caplog.records)
        + "".join(capfd.readouterr())
    )
    assert KEY not in seen  # SC3
    assert server.url in str(caught.value) or "openai:fake" in str(caught.value)

    server.replies = [right]
    assert embedder.encode(TEXTS, "query").tobytes() == unit(*TEXTS).tobytes()
    assert embedder.encode(TEXTS, "query").tobytes() == unit(*TEXTS).tobytes()
    assert len(server.requests) == requests + 1


def test_every_kind_of_fault_has_its_own_message() -> None:
    assert len({message for _, message, _ in FAULTS.values()}) >= 18


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_lm2_what_passes_is_asked_again(status: int, server: FakeServer, waits: list[float]) -> None:
    server.replies = [refused(status), reply('{"data": [', Content_Length="100"), right]
    assert create_embedder("openai:fake").encode(TEXTS, "query").tobytes() == unit(*TEXTS).tobytes()
    assert len(server.requests) == 3
    assert len(waits) == 2


def test_one_bad_batch_is_the_error_of_all(server: FakeServer, tmp_path: Path) -> None:
    server.replies = [right, right, reply("<html>", kind="text/html")]
    cache = Cache(tmp_path / "cache.sqlite")
    with pytest.raises(WorkbenchError, match="sent no embeddings for 1 texts"):
        CachedEmbedder(create_embedder("openai:fake", {"batch_size": 1}), cache).encode(TEXTS, "query")
    assert cache.stats() == []


def test_dimensions_must_agree_between_batches(server: FakeServer) -> None:
    server.replies = [right, reply({"data": [{"index": 0, "embedding": [0.5, 0.5]}]}), right]
    with pytest.raises(WorkbenchError, match=r"different dimensions \(2, 8\)"):
        create_embedder("openai:fake", {"batch_size": 1}).encode(TEXTS, "query")


def test_d3_a_server_that_is_not_there(server: FakeServer, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer() as gone:
        monkeypatch.setenv("OPENAI_BASE_URL", gone.url)
    with pytest.raises(WorkbenchError) as caught:
        create_embedder("openai:fake").encode(TEXTS, "query")
    assert str(caught.value) == f"the server at {gone.url} cannot be reached; is OPENAI_BASE_URL right? ({ATTEMPTS} attempts)"
    assert len(waits) == ATTEMPTS - 1


# --- fingerprint and package -----------------------------------------------------------------------------------------------------------


def test_fingerprint_tells_server_model_and_prefixes_but_no_key(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fingerprint(model: str = "fake", **options: Any) -> Mapping[str, Any]:
        return create_embedder(f"openai:{model}", options).fingerprint

    first = fingerprint()
    assert KEY not in storage.canonical_json(first)
    assert first == fingerprint(batch_size=2) == fingerprint(query_prefix=None)
    assert first != fingerprint("other")
    assert first != fingerprint(passage_prefix="passage: ")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another")
    assert first == fingerprint()
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/")
    assert first == fingerprint()
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/elsewhere")
    assert first != fingerprint()
    for url in ("", None):
        monkeypatch.setenv("OPENAI_BASE_URL", url) if url is not None else monkeypatch.delenv("OPENAI_BASE_URL")
        assert fingerprint()["server"] == "https://api.openai.com/v1"


def test_a_missing_package_is_named_with_its_extra(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WorkbenchError, match=r"embedder 'openai:fake' needs the package 'openai': pip install 'rag-workbench\[openai\]'"):
        create_embedder("openai:fake")
