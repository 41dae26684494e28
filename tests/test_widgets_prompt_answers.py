"""What the prompt playground asks: the same hits for every prompt, messages before anything is generated, and stops."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_generator import MadeGenerator
from made_parts import SMALL
from shown_page import Page

from workbench import generation
from workbench.datatypes import WorkbenchError
from workbench.experiment import prepare
from workbench.prompting import FOLDER
from workbench.settings import Settings
from workbench.tokens import SimpleTokenizer
from workbench.widgets_prompt_answers import Prompts, try_prompts
from workbench.widgets_prompt_view import prompt_view
from workbench.widgets_question import FREE

pytestmark = pytest.mark.usefixtures("own_cache")
PROMPTS = ["plain", "concise", "cite"]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> type[MadeGenerator]:
    """List the generator "made"."""
    monkeypatch.setitem(generation.GENERATORS, "made", MadeGenerator)
    monkeypatch.setattr(MadeGenerator, "asked", [])
    monkeypatch.setattr(MadeGenerator, "fails", [])
    MadeGenerator.gate.set()
    return MadeGenerator


def point(spec: str, **changes: Any) -> Settings:
    return Settings(dataset=spec, retriever="bm25", **{"generator": "extractive", **SMALL, **changes})


@pytest.mark.parametrize("language", ["en", "ko"])
def test_prompts_get_the_same_hits_and_their_own_messages(small: Callable[[str], str], made: type[MadeGenerator], language: str) -> None:
    settings = point(small(language), generator="made")
    example, tried = try_prompts(prepare(settings), settings, [*PROMPTS, f"plain:{language}"])
    assert [item.prompt for item in tried] == [f"{name}:{language}" for name in PROMPTS]
    assert len({item.answer.passages for item in tried}) == 1
    assert len({item.answer.steps[-1].messages for item in tried}) == 3
    assert [item.answer.text for item in tried] == ["number 1 [1]", "number 2 [1]", "number 3 [1]"]
    assert [conversation.messages for conversation in made.asked] == [item.answer.steps[0].messages for item in tried]
    assert [set(item.scores) >= {"answer_em", "answer_f1", "chrf"} for item in tried] == [True] * 3
    assert [("citation" in item.scores) for item in tried] == [False, False, True]
    assert example.answers


def test_ones_own_question_is_answered_and_not_scored(small: Callable[[str], str]) -> None:
    settings = point(small("en"))
    example, tried = try_prompts(prepare(settings), settings, PROMPTS[:1], "What does error E4 mean, then?")
    assert example.id == FREE
    assert tried[0].scores == {}
    assert "E4" in tried[0].answer.text


def test_a_prompt_that_fails_hides_no_other(small: Callable[[str], str], tmp_path: Path) -> None:
    settings = point(small("en"))
    empty = tmp_path / "empty.md"
    plain = (FOLDER / "plain.en.md").read_text(encoding="utf-8")
    shows = "{% if 'leave' not in question %}{% for passage in passages %}{{ passage.text }}{% endfor %}{{ question }}{% endif %}"
    empty.write_text(plain[: plain.index("[user]")] + f"[user]\n{shows}\n", encoding="utf-8")
    page = Page(prompt_view(*try_prompts(prepare(settings), settings, ["plain", f"file:{empty}"]), SimpleTokenizer()))
    assert "gives an empty user message" in page.text
    assert "ended by itself" in page.text


def test_the_messages_are_known_before_and_are_what_is_sent(small: Callable[[str], str], made: type[MadeGenerator]) -> None:
    settings = point(small("ko"), generator="made", split="test", shot_count=1)
    prepared = prepare(settings)
    group = Prompts(prepared, settings, [*PROMPTS, "chain"])
    example = prepared.dataset.examples[0]
    asked = dict(group.messages(example, group.prompts))
    assert made.asked == []
    tried = list(group.answer(example, group.prompts))
    assert [asked[item.prompt].messages for item in tried] == [item.answer.steps[0].messages for item in tried]
    assert [asked[item.prompt].size for item in tried] == [item.sizes[0] for item in tried]
    assert [item.sizes[0].text.removeprefix("<made>") for item in tried] == [item.answer.steps[0].messages[-1].content for item in tried]
    assert [len(item.answer.steps) for item in tried] == [1, 1, 1, 2]
    assert len(asked["plain:ko"].messages) == 4  # instructions, a shot and its answer, the question


def test_generator_and_shots_change_and_hits_stay(small: Callable[[str], str], made: type[MadeGenerator]) -> None:
    settings = point(small("en"), split="test", options={"generator": {}})
    prepared = prepare(settings)
    group = Prompts(prepared, settings, PROMPTS[:1])
    example = prepared.dataset.examples[0]
    first = next(iter(group.answer(example, group.prompts)))
    retriever = group._parts.retriever
    group.change("made", 2)
    second = next(iter(group.answer(example, group.prompts)))
    assert second.answer.text == "number 1 [1]"
    assert len(second.answer.steps[0].messages) == len(first.answer.steps[0].messages) + 4
    assert group._parts.retriever is retriever
    for generator, shots, reason in (("mad", 0, "did you mean 'made'"), ("made", -1, "shot_count")):
        with pytest.raises(WorkbenchError, match=reason):
            group.change(generator, shots)
    assert group.settings.generator == "made"


def test_options_stay_with_the_kind_of_generator_that_they_are_for(small: Callable[[str], str]) -> None:
    settings = point(small("en"), generator="hf:one", options={"generator": {"max_new_tokens": 9}})
    group = Prompts(prepare(settings), settings, PROMPTS[:1])
    seen = []
    for generator in ("hf:two", "extractive", "hf:one"):
        group.change(generator, 0)
        seen.append(group.settings.options.get("generator"))
    assert seen == [{"max_new_tokens": 9}, None, {"max_new_tokens": 9}]


def test_a_stop_leaves_the_prompts_that_follow(small: Callable[[str], str], made: type[MadeGenerator]) -> None:
    settings = point(small("en"), generator="made")
    prepared = prepare(settings)
    group, said = Prompts(prepared, settings, PROMPTS), []

    def say(name: str, piece: str) -> None:
        said.append((name, piece))
        made.gate.clear()

    tried = list(group.answer(prepared.dataset.examples[0], group.prompts, say, lambda: bool(said)))
    assert said == [("plain:en", "Answer: ")]
    assert [(item.prompt, item.answer.completion.finish_reason, item.answer.completion.text) for item in tried] == [
        ("plain:en", "stopped", "Answer: ")
    ]
