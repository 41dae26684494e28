"""The agent that answers one question after the other with parts that are built once."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from made_parts import SMALL, MadeModel

from workbench import embedding, generation
from workbench.datatypes import Completion, Conversation, WorkbenchError
from workbench.experiment_ask import Agent, ask
from workbench.pipeline import STEPS
from workbench.settings import Settings

pytestmark = pytest.mark.usefixtures("own_cache")


class CountedGenerator:
    """Write four words, and count how often one is made; stop between words, fail where it is told to."""

    made: ClassVar[list[int]] = []
    fails: ClassVar[list[str]] = []
    fingerprint: ClassVar[Mapping[str, Any]] = {"name": "counted", "version": 1}

    def __init__(self) -> None:
        self.made.append(1)

    def generate(self, conversations: Sequence[Conversation]) -> list[Completion]:
        return [self.stream(conversation, lambda _piece: None) for conversation in conversations]

    def stream(self, conversation: Conversation, say: Callable[[str], None], stop: Callable[[], bool] = lambda: False) -> Completion:
        written = ""
        if self.fails:
            return Completion("", "error", error=self.fails[0])
        for word in ("one ", "two ", "three ", "four"):
            if stop():
                return Completion(written, "stopped", error=generation.STOPPED)
            written += word
            say(word)
        return Completion(written)

    def overflows(self, conversations: Sequence[Conversation]) -> list[int]:
        return [0] * len(conversations)

    def size(self, conversation: Conversation) -> None:
        return None


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[CountedGenerator]:
    """List the generator "counted" and the embedder "made"."""
    monkeypatch.setitem(generation.GENERATORS, "counted", CountedGenerator)
    monkeypatch.setitem(embedding.EMBEDDERS, "made", MadeModel)
    monkeypatch.setattr(CountedGenerator, "made", [])
    monkeypatch.setattr(CountedGenerator, "fails", [])
    monkeypatch.setattr(MadeModel, "calls", [])
    return CountedGenerator


def point(spec: str, **changes: Any) -> Settings:
    return Settings(dataset=spec, **{"retriever": "bm25", "generator": "extractive", **SMALL, **changes})


@pytest.mark.parametrize("cached", [True, False])
def test_parts_are_built_once_for_many_questions_in_any_thread(small, counted: type[CountedGenerator], cached: bool) -> None:
    agent = Agent(point(small("ko"), retriever="hybrid", embedder="made", generator="counted"), cached=cached)
    passages = [call for call in MadeModel.calls if call[1] == "passage"]
    assert passages
    answers = []
    for question in ("안내원은 어떤 조끼를 입나요?", "점심은 언제 나오나요?"):
        thread = threading.Thread(target=lambda question=question: answers.append(agent.answer(question)))
        thread.start()
        thread.join()
        answers.append(agent.answer(question))
    assert [answer.text for answer in answers] == ["one two three four"] * 4
    assert answers[0].hits == answers[1].hits != answers[2].hits
    assert counted.made == [1]
    assert [call for call in MadeModel.calls if call[1] == "passage"] == passages


@pytest.mark.parametrize(("prompt", "steps"), [("plain", STEPS), ("chain", (*STEPS[:5], "augment", "generate", "postprocess"))])
def test_an_agent_knows_the_steps_before_it_takes_them(small, prompt: str, steps: tuple[str, ...]) -> None:
    agent, taken = Agent(point(small("en"), prompt=prompt)), []
    agent.answer("Where do bicycles stand?", lambda step, _seconds, _produced: taken.append(step))
    assert agent.steps == steps == tuple(taken)


def test_a_stopped_answer_holds_what_was_written_and_is_asked_again(small, counted: type[CountedGenerator]) -> None:
    agent = Agent(point(small("en"), generator="counted"))
    heard: list[str] = []
    answer = agent.answer("Where do bicycles stand?", say=heard.append, stop=lambda: len(heard) == 2)
    assert (answer.completion.finish_reason, answer.completion.text, answer.error) == ("stopped", "one two ", generation.STOPPED)
    assert agent.answer("Where do bicycles stand?", say=heard.append).text == "one two three four"


def test_a_failed_answer_says_why_and_the_agent_goes_on(small, counted: type[CountedGenerator]) -> None:
    settings = point(small("en"), generator="counted")
    agent = Agent(settings)
    counted.fails.append("the server is down")
    assert agent.answer("Where do bicycles stand?").error == "the server is down"
    with pytest.raises(WorkbenchError, match="the server is down"):
        ask("Where do bicycles stand?", settings)
    with pytest.raises(WorkbenchError, match="the question is empty"):
        agent.answer(" \u200b\n")
    counted.fails.clear()
    assert agent.answer("Where do bicycles stand?").text == "one two three four"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"generator": "none"}, "ask needs a generator"),
        ({"generator": "extractiv"}, "did you mean 'extractive'"),
        ({"filter": "group"}, "give the value: --filter group:VALUE"),
        ({"prompt": "plan"}, "did you mean 'plain'"),
        ({"dataset": "folder:nowhere"}, "no such file or folder"),
    ],
)
def test_settings_that_cannot_answer_are_refused_before_any_question(small, changes: dict, reason: str) -> None:
    with pytest.raises(WorkbenchError, match=reason):
        Agent(point(small("en")).replace(**changes))


def test_one_real_small_model_answers_twice_from_what_was_loaded_once(tmp_path: Path) -> None:
    from workbench import models

    if not models.stored("HuggingFaceTB/SmolLM2-135M-Instruct"):
        pytest.skip("run: workbench models pull HuggingFaceTB/SmolLM2-135M-Instruct")
    document = tmp_path / "docs" / "kettle.md"
    document.parent.mkdir()
    document.write_text("# Kettle\n\nThe kettle is descaled with vinegar.\n", encoding="utf-8")
    options = {"generator": {"max_new_tokens": 12}}
    agent = Agent(point(f"folder:{document.parent}", generator="hf:HuggingFaceTB/SmolLM2-135M-Instruct", prompt="concise", options=options))
    heard: list[str] = []
    asked: list[Any] = []
    first = agent.answer(
        "What is the kettle descaled with?", lambda step, *made: step == "augment" and asked.append(made[1][0]), heard.append
    )
    loaded = agent.pipeline.generator.generator._loaded
    assert "vinegar" in first.text.lower()
    assert "".join(heard).strip() == first.completion.text.strip()
    assert len(heard) > 1
    assert agent.pipeline.generator.size(asked[0].conversation).total == first.completion.prompt_tokens
    stopped = agent.answer("What is descaled with vinegar?", say=heard.append, stop=lambda: True)
    assert stopped.completion.finish_reason == "stopped"
    assert agent.pipeline.generator.generator._loaded is loaded
