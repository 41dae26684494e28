"""Completions are paid once: keys, blocks, errors, sampling, streams, damage (CL8, CL9, CL10, D7, D24)."""

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeServer, right

from workbench import cache_generation
from workbench.cache import Cache
from workbench.cache_generation import CachedGenerator
from workbench.datatypes import Completion, Conversation, Message, Passage, Span, WorkbenchError
from workbench.generation import STOPPED, never
from workbench.generation_openai import OpenAIGenerator


class Counting:
    """Complete by turning the last message around, count what was asked, and fail on what contains "fail"."""

    def __init__(self, **identity: Any) -> None:
        self.identity = {"name": "counting", "version": 1} | identity
        self.asked: list[str] = []
        self.batches: list[int] = []
        self.measured = 0

    @property
    def fingerprint(self) -> dict[str, Any]:
        return self.identity

    def generate(self, conversations: Sequence[Conversation]) -> list[Completion]:
        self.batches.append(len(conversations))
        texts = [conversation.messages[-1].content for conversation in conversations]
        self.asked += texts
        return [Completion("", "error", error="no") if "fail" in text else completed(text, len(self.asked)) for text in texts]

    def stream(self, conversation: Conversation, say: Callable[[str], None], stop: Callable[[], bool] = never) -> Completion:
        completion = self.generate([conversation])[0]
        for said, letter in enumerate(completion.text):
            if stop():
                return Completion(completion.text[:said], "stopped", error=STOPPED)
            say(letter)
        return completion

    def overflows(self, conversations: Sequence[Conversation]) -> list[int]:
        self.measured += len(conversations)
        return [7 if "long" in conversation.messages[-1].content else 0 for conversation in conversations]


def completed(text: str, count: int) -> Completion:
    return Completion(text[::-1], "length" if "cap" in text else "stop", len(text), count, 0.25 * count)


def ask(text: str, system: str = "", passages: Sequence[str] = ()) -> Conversation:
    messages = (*((Message("system", system),) if system else ()), Message("user", text))
    return Conversation(messages, text, tuple(Passage(Span("d", 0, 1), passage) for passage in passages))


@pytest.fixture
def store(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache.sqlite")


def test_d7_d24_a_hit_is_what_the_miss_was_and_costs_no_call(store: Cache) -> None:
    first = Counting()
    conversations = [ask("one"), ask("cap two"), ask("one"), ask("세 번째")]
    found = CachedGenerator(first, store).generate(conversations)
    assert sorted(first.asked) == sorted(["one", "cap two", "세 번째"])
    assert [completion.text for completion in found] == ["eno", "owt pac", "eno", "째번 세"]
    again = Counting()
    assert CachedGenerator(again, store).generate(conversations) == found  # tokens, seconds and the reason to stop included
    assert again.asked == []
    assert (store.counts.completions, store.counts.completion_hits) == (3, 4)


def test_d8_d23_one_more_question_costs_one_call_and_every_part_of_the_key_counts(store: Cache) -> None:
    CachedGenerator(Counting(), store).generate([ask("one")])
    others = [ask("one", "be short"), ask("One"), ask("one", passages=["text"]), ask("one", passages=["other"])]
    for number, conversation in enumerate(others, start=1):
        generator = Counting()
        CachedGenerator(generator, store).generate([ask("one"), *others[:number]])
        assert generator.asked == [conversation.messages[-1].content]
    other_model = Counting(weights="b")
    CachedGenerator(other_model, store).generate([ask("one")])
    assert other_model.asked == ["one"]


def test_one_spelling_of_korean_in_the_key(store: Cache) -> None:
    CachedGenerator(Counting(), store).generate([ask("\uac00\ub098")])
    decomposed = Counting()
    CachedGenerator(decomposed, store).generate([ask("\u1100\u1161\u1102\u1161")])
    assert decomposed.asked == []


def test_errors_are_asked_again_and_do_not_hurt_the_others(store: Cache) -> None:
    generator = Counting()
    found = CachedGenerator(generator, store).generate([ask("fail"), ask("fine")])
    assert [completion.finish_reason for completion in found] == ["error", "stop"]
    again = Counting()
    CachedGenerator(again, store).generate([ask("fail"), ask("fine")])
    assert again.asked == ["fail"]


@pytest.mark.parametrize(("sampled", "calls"), [(True, 2), (False, 1)])
def test_what_is_sampled_without_a_seed_is_never_stored(store: Cache, sampled: bool, calls: int) -> None:
    generator = Counting(sampled=sampled)
    cached = CachedGenerator(generator, store)
    for _ in range(2):
        cached.generate([ask("one")])
    pieces: list[str] = []
    cached.stream(ask("two"), pieces.append)
    cached.stream(ask("two"), pieces.append)
    assert generator.asked == ["one"] * calls + ["two"] * calls
    assert "".join(pieces) == "owt" * 2


def test_a_stream_is_stored_and_a_stored_one_is_said_at_once(store: Cache) -> None:
    generator, pieces = Counting(), []
    completion = CachedGenerator(generator, store).stream(ask("one"), pieces.append)
    assert pieces == ["e", "n", "o"]
    again = Counting()
    assert CachedGenerator(again, store).stream(ask("one"), pieces.append) == completion
    assert pieces == ["e", "n", "o", "eno"]
    assert again.asked == []
    assert CachedGenerator(again, store).generate([ask("one")]) == [completion]
    assert again.asked == []
    CachedGenerator(again, store).stream(ask("fail"), pieces.append)
    CachedGenerator(again, store).stream(ask("fail"), pieces.append)
    assert again.asked == ["fail", "fail"]


def test_what_is_stopped_is_never_stored(store: Cache) -> None:
    generator, pieces = Counting(), []
    cached = CachedGenerator(generator, store)
    stopped = cached.stream(ask("long one"), pieces.append, lambda: len(pieces) == 3)
    assert (stopped.text, stopped.finish_reason, stopped.error) == ("eno", "stopped", STOPPED)
    assert cached.generate([ask("long one")])[0].text == "eno gnol"
    assert generator.asked == ["long one"] * 2


def test_d10_a_kill_loses_one_block_at_most_and_blocks_hold_texts_of_like_length(store: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_generation, "GENERATED_AT_ONCE", 4)

    class Dying(Counting):
        def generate(self, conversations: Sequence[Conversation]) -> list[Completion]:
            if len(self.batches) == 2:
                raise KeyboardInterrupt
            return super().generate(conversations)

    conversations = [ask("x" * (1 + 7 * number % 11)) for number in range(11)]
    dying = Dying()
    with pytest.raises(KeyboardInterrupt):
        CachedGenerator(dying, store).generate(conversations)
    assert [len(text) for text in dying.asked] == list(range(1, 9))
    resumed = Counting()
    CachedGenerator(resumed, store).generate(conversations)
    assert [len(text) for text in resumed.asked] == [9, 10, 11]


def test_d10_the_answers_of_a_server_are_stored_while_others_are_still_out(server: FakeServer, store: Cache) -> None:
    rows = []

    def answer(request: Mapping[str, Any]) -> Any:
        end = time.monotonic() + 10
        while "the last" in request["messages"][-1]["content"] and rows[-1:] != [3] and time.monotonic() < end:
            with sqlite3.connect(store.path) as connection:
                rows.append(connection.execute("SELECT COUNT(*) FROM entries").fetchone()[0])
            connection.close()
            time.sleep(0.01)
        return right(request)

    server.replies = [answer]
    conversations = [ask("one"), ask("두 번째"), ask("the last of all"), ask("third")]
    found = CachedGenerator(OpenAIGenerator("fake", concurrency=2), store).generate(conversations)
    assert rows[-1] == 3
    assert found == CachedGenerator(OpenAIGenerator("fake"), store).generate(conversations)
    assert (len(server.requests), store.stats()[0]["rows"]) == (4, 4)


def test_what_was_completed_is_not_measured_again(store: Cache) -> None:
    CachedGenerator(Counting(), store).generate([ask("one")])
    generator = Counting()
    cached = CachedGenerator(generator, store)
    assert cached.overflows([ask("one"), ask("long"), ask("two")]) == [0, 7, 0]
    assert generator.measured == 2
    assert cached.overflows([ask("one")]) == [0]
    assert generator.measured == 2


def test_a_damaged_row_is_generated_again(store: Cache) -> None:
    found = CachedGenerator(Counting(), store).generate([ask("one")])
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE entries SET value = ?", (b'{"text": "wrong"}',))
    generator = Counting()
    again = CachedGenerator(generator, store).generate([ask("one")])
    assert generator.asked == ["one"]
    assert [replace(completion, seconds=0) for completion in again] == [replace(completion, seconds=0) for completion in found]
    assert store.counts.damaged == 1


def test_d9_a_generator_without_a_name_or_with_too_few_completions_is_refused(store: Cache) -> None:
    with pytest.raises(WorkbenchError, match="no fingerprint with a name"):
        CachedGenerator(Counting(name=""), store)

    class Short(Counting):
        def generate(self, conversations: Sequence[Conversation]) -> list[Completion]:
            return super().generate(conversations)[1:]

    with pytest.raises(WorkbenchError, match="counting returned 1 completions for 2 conversations; nothing is stored"):
        CachedGenerator(Short(), store).generate([ask("one"), ask("two")])
    assert store.stats() == []


def test_after_a_block_that_failed_as_a_whole_the_rest_is_not_asked(store: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_generation, "GENERATED_AT_ONCE", 4)
    generator = Counting()
    found = CachedGenerator(generator, store).generate([ask(f"fail {number:02}") for number in range(11)])
    assert len(generator.asked) == 4
    reasons = ["no"] * 4 + ["not asked: all of 4 conversations before failed, the last: no"] * 7
    assert sorted(completion.error for completion in found) == reasons
    assert store.stats() == []


def test_what_was_found_too_long_is_not_measured_again(store: Cache) -> None:
    cached = CachedGenerator(Counting(), store)
    assert cached.overflows([ask("long"), ask("short")]) == [7, 0]
    again = Counting()
    assert CachedGenerator(again, store).overflows([ask("long"), ask("short"), ask("long")]) == [7, 0, 7]
    assert again.measured == 0
