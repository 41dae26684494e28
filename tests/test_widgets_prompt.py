"""The prompt playground: what a user can do with it, without a browser; nothing is generated until the button is pressed."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ipywidgets
import pytest
from IPython.display import HTML
from made_generator import MadeGenerator
from made_parts import SMALL
from shown_page import Page, columns

from workbench import generation
from workbench.datatypes import WorkbenchError
from workbench.experiment import prepare
from workbench.settings import Settings
from workbench.widgets_prompt import DRAFT, Playground, prompt_playground
from workbench.widgets_prompt_answers import Prompts
from workbench.widgets_prompt_stream import Work
from workbench.widgets_question import find_question

pytestmark = pytest.mark.usefixtures("own_cache")
PROMPTS = ["plain", "concise", "cite"]


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORKBENCH_LANG", "en")
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.delenv("WORKBENCH_HEADLESS", raising=False)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[MadeGenerator]]:
    """List the generator "made"."""
    monkeypatch.setitem(generation.GENERATORS, "made", MadeGenerator)
    monkeypatch.setattr(MadeGenerator, "asked", [])
    monkeypatch.setattr(MadeGenerator, "fails", [])
    MadeGenerator.gate.set()
    yield MadeGenerator
    MadeGenerator.gate.set()


def point(spec: str, **changes: Any) -> Settings:
    return Settings(dataset=spec, retriever="bm25", **{"generator": "extractive", **SMALL, **changes})


def play(settings: Settings, prompts: list[str] = PROMPTS, question: str = "") -> Playground:
    prepared = prepare(settings)
    playground = Playground(Prompts(prepared, settings, prompts), find_question(prepared.dataset, question))
    playground.work.wait()
    return playground


def run(playground: Playground) -> None:
    playground.run.click()
    playground.work.wait()


def texts(playground: Playground) -> dict[str, str]:
    """Return what stands under the heading of each column that is shown."""
    shown = {id(column.box): name for name, column in playground.columns.items()}
    names = [shown[id(box)] for box in playground.grid.children]
    return {name: Page(playground.columns[name].below.value).text for name in names}


def streams(playground: Playground) -> list[tuple[str, str, str]]:
    shown = [column.stream for column in playground.columns.values()]
    return [(stream.name, stream.state, stream.text) for stream in shown]


# --- arguments, headless -----------------------------------------------------------------------------------------------------------------


def test_wrong_arguments_raise_before_any_widget_is_made(small: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipywidgets, "VBox", None)
    settings = point(small("en"))
    prepared = prepare(settings)
    for changes, prompts, reason in [
        ({"generator": "none"}, PROMPTS, "needs a generator: set generator to extractive"),
        ({"generator": "extractiv"}, PROMPTS, "extractive"),
        ({"tokenizer": "other"}, PROMPTS, "prepared with the tokenizer 'simple', the settings name 'other'"),
        ({}, [], "must be a list of at least one prompt"),
        ({}, "plain", "must be a list of at least one prompt"),
        ({}, ["plain", "plan"], "unknown prompt 'plan'; did you mean 'plain'"),
    ]:
        with pytest.raises(WorkbenchError, match=reason):
            prompt_playground(prepared, settings.replace(**changes), prompts)


def test_headless_answers_at_once_without_widgets(small: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    monkeypatch.setattr(ipywidgets, "VBox", None)
    settings = point(small("ko"))
    shown = prompt_playground(prepare(settings), settings, PROMPTS)
    assert isinstance(shown, HTML)
    assert len(columns(shown.data)) == 3
    assert shown.data == prompt_playground(prepare(settings), settings, PROMPTS).data


# --- messages, answers, stops ------------------------------------------------------------------------------------------------------------


def test_messages_follow_what_is_chosen_and_only_the_button_answers(small: Callable[[str], str], made: type[MadeGenerator]) -> None:
    playground = play(point(small("en"), generator="made", split="test"), ["plain", "cite"])
    assert list(texts(playground)) == ["plain:en", "cite:en"]
    assert all("What will be sent" in text and "the window holds 2,048 tokens" in text for text in texts(playground).values())
    playground.boxes["concise:en"].value = True
    playground.boxes["cite:en"].value = False
    playground.shots.value = 1
    own = next(control for control in playground.box.children if isinstance(control, ipywidgets.Text))
    own.value = "다른 질문인가요?"
    playground.work.wait()
    assert list(texts(playground)) == ["plain:en", "concise:en"]
    assert all("다른 질문인가요?" in text and "shot 1" in text for text in texts(playground).values())
    assert made.asked == []
    assert {state for _, state, _ in streams(playground)} == {"waiting"}
    run(playground)
    assert len(made.asked) == 2
    assert [text for _, state, text in streams(playground) if state == "done"] == ["Answer: number 1 [1]", "Answer: number 2 [1]"]
    assert all("What was sent" in text and "number" in text for text in texts(playground).values())
    playground.generator.value = "extractive"
    playground.work.wait()
    assert {state for _, state, _ in streams(playground)} == {"waiting"}  # an answer of another generator does not stay
    assert not playground.crash.outputs


def test_a_look_at_the_same_messages_keeps_the_answers(small: Callable[[str], str], made: type[MadeGenerator]) -> None:
    playground = play(point(small("en"), generator="made"), ["plain"])
    run(playground)
    playground.boxes["cite:en"].value = True
    playground.work.wait()
    assert [(name, state) for name, state, _ in streams(playground)] == [("plain:en", "done"), ("cite:en", "waiting")]


def test_a_stop_ends_what_is_written_and_what_waits(small: Callable[[str], str], made: type[MadeGenerator]) -> None:
    playground = play(point(small("en"), generator="made"), ["plain", "cite"])
    made.gate.clear()
    playground.run.click()
    playground.run.click()  # once is enough
    assert "Still answering" in playground.status.value
    while not made.asked:
        threading.Event().wait(0.01)
    playground.halt.click()
    playground.work.wait()
    assert [(name, state) for name, state, _ in streams(playground)] == [("plain:en", "stopped"), ("cite:en", "waiting")]
    assert "Stopped." in playground.status.value
    assert len(made.asked) == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "playground"]
    playground.halt.click()  # once more
    assert "Nothing is being written" in playground.status.value
    made.gate.set()
    run(playground)
    assert {state for _, state, _ in streams(playground)} == {"done"}
    assert "What was sent" in texts(playground)["cite:en"]
    made.gate.clear()
    playground.run.click()
    playground.halt.click()
    playground.work.wait()
    assert "What will be sent" in texts(playground)["cite:en"]  # no scores of the answer before, which is gone


def test_an_answer_may_end_before_the_button_is_let_go(small: Callable[[str], str], made: type[MadeGenerator]) -> None:
    playground = play(point(small("en"), generator="made"), ["plain"])
    do = playground.work.do
    playground.work.do = lambda kind, job: (do(kind, job), playground.work.wait())
    playground.run.click()
    assert (playground.busy, "Done." in playground.status.value, playground.halt.button_style) == (False, True, "")
    playground.boxes["cite:en"].value = True
    assert "Nothing is sent" in playground.status.value


def test_a_cell_that_is_run_again_stops_what_is_no_longer_shown(small: Callable[[str], str], made: type[MadeGenerator]) -> None:
    first = play(point(small("en"), generator="made"), ["plain"])
    made.gate.clear()
    first.run.click()
    second = play(point(small("en"), generator="made"), ["plain"])
    first.work.wait()
    assert streams(first)[0][1] in ("stopped", "waiting")
    made.gate.set()
    run(second)
    assert streams(second)[0][1] == "done"


def test_errors_are_shown_and_go_away(small: Callable[[str], str], made: type[MadeGenerator]) -> None:
    playground = play(point(small("en"), generator="made"), ["plain"])
    playground.boxes["plain:en"].value = False
    run(playground)
    assert "tick at least one prompt" in playground.problem.value
    playground.boxes["plain:en"].value = True
    playground.generator.value = "mad"
    playground.work.wait()
    assert "did you mean &#x27;made&#x27;" in playground.problem.value
    assert "Not done." in playground.status.value
    run(playground)
    assert "Not done." in playground.status.value
    playground.generator.value = "made"
    playground.work.wait()
    assert playground.problem.value == ""
    made.fails.append(WorkbenchError("the <server> is down"))
    run(playground)
    assert "the <server> is down" in texts(playground)["plain:en"]
    assert streams(playground)[0][1] == "failed"
    made.fails[:] = [ZeroDivisionError("made")]
    run(playground)
    assert "ZeroDivisionError: made" in playground.crash.outputs[0]["text"]
    assert not playground.busy
    made.fails.clear()
    run(playground)
    assert streams(playground)[0][1:] == ("done", "Answer: number 1 [1]")
    assert not playground.crash.outputs


def test_shots_need_a_training_part(small: Callable[[str], str]) -> None:
    assert play(point(small("en")), ["plain"]).shots.disabled
    assert not play(point(small("en"), split="test"), ["plain"]).shots.disabled


# --- templates ---------------------------------------------------------------------------------------------------------------------------


def test_a_draft_is_asked_like_a_prompt_until_it_is_wrong_or_saved(small: Callable[[str], str], made: type[MadeGenerator]) -> None:
    playground = play(point(small("en"), generator="made"), ["plain"])
    editor = playground.editor
    start = editor._text.value
    assert "as plain:en has it" in editor._state.value
    editor._text.value = start + "In one word."
    playground.work.wait()
    assert "In one word." in texts(playground)[DRAFT]
    editor._text.value = start + "{{ documents }}"
    run(playground)
    assert "unknown variable" in editor._state.value
    assert "unknown variable" in playground.problem.value
    assert made.asked == []
    editor._text.value = start + "In two words."
    editor._name.value = "two words"
    editor._save.click()
    assert "may hold letters" in editor._done.value
    editor._name.value = "두-단어"
    editor._save.click()
    playground.work.wait()
    spec = "file:params/prompts/두-단어.md"
    assert f"prompt: {spec}" in editor._done.value
    assert list(texts(playground)) == ["plain:en", spec]
    assert "In two words." in texts(playground)[spec]
    assert (playground.boxes[DRAFT].value, playground.boxes[DRAFT].disabled) == (False, True)
    assert spec in play(point(small("en")), ["plain"]).boxes


def test_a_file_is_written_over_only_when_that_is_said(small: Callable[[str], str], tmp_path: Path) -> None:
    playground = play(point(small("en")), ["plain"])
    editor = playground.editor
    editor._name.value = "mine"
    editor._save.click()
    playground.work.wait()
    assert list(texts(playground)) == ["plain:en", "file:params/prompts/mine.md"]
    path = tmp_path / "params" / "prompts" / "mine.md"
    before = path.read_text(encoding="utf-8")
    editor._text.value = before + "More."
    editor._start.value = "cite:en"  # by itself it takes no text away
    assert editor._text.value == before + "More."
    editor._save.click()
    assert ("Write over it?" in editor._done.value, editor._choice.layout.display) == (True, "flex")
    editor._keep.click()
    assert (path.read_text(encoding="utf-8"), editor._choice.layout.display) == (before, "none")
    editor._save.click()
    editor._replace.click()
    assert path.read_text(encoding="utf-8") == before + "More."
    editor._start.value = "cite:en"
    editor._load.click()
    assert "name: cite" in editor._text.value


def test_work_that_waits_is_replaced_by_newer_of_its_kind() -> None:
    begun, go, done = threading.Event(), threading.Event(), []
    work = Work(ipywidgets.HTML(), ipywidgets.Output())
    work.do("first", lambda: (begun.set(), go.wait(10)))
    begun.wait(10)
    for number in range(3):
        work.do("look", lambda number=number: done.append(number))
    work.do("run", lambda: done.append("run"))
    go.set()
    work.wait()
    assert done == [2, "run"]
