"""A stop ends the work of a model or a server, not only what is shown; what was written until then is kept, and scored nowhere."""

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeServer, Reply, piece, right, silent, streamed
from fakes import reply as reply_with
from test_pipeline import LEAVE, pipeline
from tiny_generator import TINY_WINDOW, save_tiny_generator

from workbench.cache import Cache
from workbench.cache_generation import CachedGenerator
from workbench.datatypes import Completion, Conversation, Message
from workbench.generation import STOPPED, create_generator
from workbench.generation_openai import OpenAIGenerator
from workbench.metrics_answers import score_answer

ASKED = Conversation((Message("user", "How often? 얼마나 자주?"),), "How often?")
SILENCE = 20.0  # seconds until a client gives up by itself


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_generator(tmp_path_factory.mktemp("tiny") / "chat")


def build(folder: Path, **options: Any) -> Any:
    return create_generator(f"hf:{folder}", {"dtype": "float32", "device": "cpu", "max_new_tokens": 300} | options)


def count_modules(generator: Any) -> list[str]:
    """Collect the names of the modules that run."""
    ran: list[str] = []
    for module in generator._loaded.modules():
        module.register_forward_hook(lambda module, inputs, output: ran.append(type(module).__name__))
    return ran


# --- a model here ------------------------------------------------------------------------------------------------------------------------


def test_a_model_stops_within_a_token_and_writes_the_same_afterwards(tiny: Path) -> None:
    generator, said = build(tiny), []
    whole = generator.generate([ASKED])[0]
    ran = count_modules(generator)
    stopped = generator.stream(ASKED, said.append, lambda: len(said) >= 5)
    assert (stopped.finish_reason, stopped.error, stopped.text) == ("stopped", STOPPED, "".join(said))
    assert whole.text.startswith(stopped.text)
    assert 5 <= stopped.completion_tokens <= 6 < whole.completion_tokens
    assert ran.count("LlamaForCausalLM") == stopped.completion_tokens + 1  # the prompt and each token
    assert stopped.seconds > 0
    assert generator.stream(ASKED, said.append).text == whole.text


def test_a_model_stops_while_it_reads_the_prompt(tiny: Path) -> None:
    generator, said = build(tiny), []
    ran = count_modules(generator)
    stopped = generator.stream(ASKED, said.append, lambda: "LlamaAttention" in ran)
    assert (stopped.text, stopped.completion_tokens, stopped.finish_reason, said) == ("", 0, "stopped", [])
    assert ran.count("LlamaAttention") == 1  # of two layers
    assert "LlamaForCausalLM" not in ran


def test_a_stop_ends_nothing_that_another_thread_writes(tiny: Path) -> None:
    generator = build(tiny)
    other = Conversation((Message("user", "And how long?"),))
    whole = generator.generate([other])[0].text
    begun, go, stop, stopped = threading.Event(), threading.Event(), threading.Event(), []

    def wait(_piece: str) -> None:
        begun.set()
        go.wait(SILENCE)

    thread = threading.Thread(target=lambda: stopped.append(generator.stream(ASKED, wait, stop.is_set)))
    thread.start()
    begun.wait(SILENCE)
    stop.set()
    completion = generator.stream(other, lambda piece: None)
    go.set()
    thread.join()
    assert (completion.text, completion.error) == (whole, "")
    assert [item.finish_reason for item in stopped] == ["stopped"]
    assert not [module for module in generator._loaded.modules() if module._forward_pre_hooks]


@pytest.mark.parametrize("chat", [True, False])
def test_the_size_of_a_prompt_is_that_of_what_is_read(chat: bool, tmp_path: Path) -> None:
    generator = CachedGenerator(build(save_tiny_generator(tmp_path / "model", chat=chat), max_new_tokens=9), Cache(tmp_path / "cache"))
    asked = Conversation((Message("system", "Be brief."), Message("user", "얼만큼?")))
    size = generator.size(asked)
    assert size.text == ("<system>Be brief.<end><user>얼만큼?<end><assistant>" if chat else "Be brief.\n\n얼만큼?")
    assert size.messages == (len("Be brief."), len("얼만큼?".encode()))  # it reads bytes
    assert size.total == sum(size.messages) + (5 if chat else 2)
    assert (size.answer, size.window) == (9, TINY_WINDOW)
    assert generator.generate([asked])[0].prompt_tokens == size.total


# --- a server ----------------------------------------------------------------------------------------------------------------------------


def test_a_server_is_left_and_notices(server: FakeServer) -> None:
    left = threading.Event()

    def endless() -> Iterator[bytes]:
        try:
            while not server._closing.wait(0.01):
                yield piece("네")
        finally:
            left.set()

    server.replies = [lambda request: (200, {"Content-Type": "text/event-stream"}, endless())]
    said: list[str] = []
    stopped = OpenAIGenerator("fake").stream(ASKED, said.append, lambda: len(said) >= 3)
    assert (stopped.text, stopped.finish_reason, stopped.error) == ("네네네", "stopped", STOPPED)
    assert left.wait(SILENCE)


@pytest.mark.parametrize(
    ("reply", "text"), [(streamed(piece("네"), None), "네"), (silent, ""), (reply_with({}, status=429, Retry_After=str(SILENCE)), "")]
)
def test_a_silent_server_is_left_at_once_and_not_asked_again(
    server: FakeServer, reply: Callable[[Mapping[str, Any]], Reply], text: str
) -> None:
    server.replies = [reply, right]
    said: list[str] = []
    generator = OpenAIGenerator("fake", timeout=SILENCE)
    stopped = generator.stream(ASKED, said.append, lambda: bool(said if text else server.requests))
    assert (stopped.text, stopped.finish_reason, stopped.error) == (text, "stopped", STOPPED)
    assert stopped.seconds < SILENCE / 2
    assert len(server.requests) == 1
    assert generator.stream(ASKED, said.append).finish_reason == "stop"  # the next one goes out


def test_a_stopped_request_does_not_tell_that_the_key_is_right(server: FakeServer) -> None:
    server.replies = [silent, reply_with({}, status=401)]
    generator = OpenAIGenerator("fake", timeout=SILENCE)
    generator.stream(ASKED, lambda piece: None, lambda: bool(server.requests))
    assert {completion.finish_reason for completion in generator.generate([ASKED] * 3)} == {"error"}
    assert len(server.requests) == 2  # the first of them goes alone


# --- an answer ---------------------------------------------------------------------------------------------------------------------------


class Slow:
    """Say one word after the other, and count the answers it was asked for."""

    fingerprint: Mapping[str, Any] = {"name": "slow", "version": 1}

    def __init__(self) -> None:
        self.said: list[str] = []
        self.asked = 0

    def stream(self, conversation: Conversation, say: Callable[[str], None], stop: Callable[[], bool]) -> Completion:
        self.asked += 1
        for word in ("Answer: ", "31 ", "December"):
            self.said.append(word)
            say(word)
            if stop():
                return Completion("".join(self.said), "stopped", error=STOPPED)
        return Completion("".join(self.said))

    def overflows(self, conversations: list[Conversation]) -> list[int]:
        return [0] * len(conversations)


@pytest.mark.parametrize(("prompt", "after", "asked"), [("plain", 2, 1), ("chain", 2, 1), ("chain", 4, 2), ("plain", 0, 0)])
def test_a_stopped_answer_keeps_what_was_written_and_is_not_scored(prompt: str, after: int, asked: int) -> None:
    generator = Slow()
    answer = pipeline(generator, prompt=prompt).answer([LEAVE], say=lambda piece: None, stop=lambda: len(generator.said) >= after)[0]
    assert generator.asked == asked
    assert (answer.error, answer.completion.finish_reason) == (STOPPED, "stopped")
    assert "".join(step.completion.text for step in answer.steps).startswith("Answer: 31 " * bool(asked))
    assert len(generator.said) == after
    assert answer.text == ""
    scores = score_answer(LEAVE, answer, "en", citations=False)
    assert all(math.isnan(value) for value in scores.values())
    assert scores
