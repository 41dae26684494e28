"""Ask: what the interface does with questions, errors, stops and feedback; nothing is asked by itself."""

import importlib.util
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets
import pytest
from IPython.display import HTML
from shown_page import Page
from test_experiment_ask import CountedGenerator
from test_widgets_ask_steps import QUESTION, Shown, point, read_step

from workbench import feedback, generation, widgets_ask
from workbench.datatypes import Completion, WorkbenchError
from workbench.widgets_ask import ask_agent

pytestmark = pytest.mark.usefixtures("own_cache")
NUMBERS = [f"✓ {number} " for number in range(1, 7)]


class Slow(CountedGenerator):
    """Wait after the first word until it is let go."""

    go = threading.Event()

    def stream(self, conversation: Any, say: Callable[[str], None], stop: Callable[[], bool] = lambda: False) -> Completion:
        return super().stream(conversation, lambda word: (say(word), self.go.wait(20)), stop)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> type[Slow]:
    monkeypatch.setitem(generation.GENERATORS, "slow", Slow)
    monkeypatch.setattr(Slow, "go", threading.Event())
    monkeypatch.setattr(Slow, "fails", [])
    return Slow


class Interface:
    """Send what the forms send, and read what stands on the page."""

    def __init__(self, box: ipywidgets.VBox) -> None:
        self.box = box
        self.form, self.card, self.opinion, self.head, *self.rows, self.crash = box.children

    def ask(self, question: str, wait: bool = True) -> "Interface":
        self.form._handle_custom_msg({"ask": question}, [])
        return self.wait() if wait else self

    def wait(self) -> "Interface":
        end = time.monotonic() + 20
        while self.form.busy:
            assert time.monotonic() < end
            time.sleep(0.005)
        return self

    @property
    def steps(self) -> list[str]:
        return [read_step(row.value) for row in self.rows if row.value]


@pytest.fixture
def opened(small, project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Interface]:
    """Give a function that opens the interface over the small corpus, in a project of its own."""
    monkeypatch.delenv("WORKBENCH_HEADLESS", raising=False)
    return lambda language="ko", **changes: Interface(ask_agent(point(small(language), **changes)))


def test_nothing_is_asked_until_somebody_does_and_then_six_steps_and_the_answer_stand_there(opened, project: Path) -> None:
    page = opened()
    assert (page.steps, page.card.value, page.opinion.shown, page.form.busy) == ([], "", False, False)
    assert QUESTION in page.form.examples
    assert page.box._repr_mimebundle_()[0]["text/html"] == "<p>Run this cell in JupyterLab to ask questions here.</p>"  # saved notebooks
    page.ask(f" {QUESTION} ")
    assert [step[:4] == number for step, number in zip([step[step.index("✓") :] for step in page.steps], NUMBERS, strict=True)] == [
        True
    ] * 6
    assert "안내원은 주황색 조끼를 입는다." in Shown(page.card.value).text
    assert page.form.status.startswith("Answered in ")
    assert page.opinion.shown
    page.opinion._handle_custom_msg({"rating": "down", "comment": "색이 틀렸어요"}, [])
    assert page.opinion.status == "Saved to outputs/feedback/feedback.jsonl, 1 in all."
    with (project / "outputs/feedback/feedback.jsonl").open("ab") as file:
        file.write(b"torn")
    page.opinion._handle_custom_msg({"rating": "up", "comment": ""}, [])
    assert page.opinion.status == "Saved to outputs/feedback/feedback.jsonl, 2 in all. 1 unreadable lines there are left as they are."
    records, _ = feedback.read(feedback.feedback_file())
    assert [(record.question, record.rating) for record in records] == [(QUESTION, "down"), (QUESTION, "up")]
    assert [record.comment for record in records] == ["색이 틀렸어요", ""]
    assert records[0].answer == "안내원은 주황색 조끼를 입는다."
    assert not page.crash.outputs


def test_a_text_is_shown_as_it_comes_and_a_stop_keeps_it(opened, slow: type[Slow]) -> None:
    page = opened(generator="slow")
    page.ask(QUESTION, wait=False)
    end = time.monotonic() + 20
    while "one" not in page.card.value or "one" not in page.rows[4].value:
        assert time.monotonic() < end
        time.sleep(0.005)
    assert "Answer so far" in page.card.value
    assert (page.form.busy, page.opinion.shown, len(page.steps)) == (True, False, 5)
    page.ask("Another question?", wait=False)  # is not taken
    page.form._handle_custom_msg({"stop": True}, [])
    slow.go.set()
    page.wait()
    assert Page(page.card.value).text.endswith("Answer so farone ")
    assert QUESTION in Page(page.card.value).text
    assert page.form.status.startswith("Stopped after ")
    assert [step[step.index(mark)] for step, mark in zip(page.steps[4:], "■–", strict=True)] == ["■", "–"]
    assert not page.opinion.shown
    page.ask(QUESTION)
    assert "one two three four" in page.card.value
    assert page.opinion.shown


def test_a_chain_that_is_stopped_in_its_first_step_has_not_failed(opened, slow: type[Slow]) -> None:
    page = opened(generator="slow", prompt="chain").ask(QUESTION, wait=False)
    end = time.monotonic() + 20
    while len(page.steps) < 5:
        assert time.monotonic() < end
        time.sleep(0.005)
    page.form._handle_custom_msg({"stop": True}, [])
    slow.go.set()
    page.wait()
    assert page.form.status.startswith("Stopped after ")
    assert "alert" not in page.card.value


def test_errors_are_shown_and_go_away(opened, slow: type[Slow], monkeypatch: pytest.MonkeyPatch) -> None:
    slow.go.set()
    page = opened(generator="slow")
    page.ask(" \u200b")
    assert "the question is empty; ask something" in page.card.value
    assert [step[0] for step in page.steps] == ["✕"]
    assert page.form.status == "There is no answer."
    slow.fails.append("the <server> is down")
    page.ask(QUESTION)
    assert "the &lt;server&gt; is down" in page.card.value
    assert not page.opinion.shown
    page.opinion._handle_custom_msg({"rating": "up", "comment": ""}, [])
    assert page.opinion.status == "there is no answer to rate"
    slow.fails.clear()
    assert "one two three four" in page.ask(QUESTION).card.value
    page.opinion._handle_custom_msg({"rating": "up", "comment": "x" * 10_001}, [])
    assert page.opinion.status.startswith("this feedback cannot be kept: comment: String should have at most 10000")
    seen: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    monkeypatch.setattr(Slow, "overflows", lambda self, conversations: 1 / 0)
    page.ask("What a question that nobody asked before?")
    [output] = page.crash.outputs
    assert "ZeroDivisionError" in output["text"]
    assert seen[0].exc_type is ZeroDivisionError
    assert [step[0] for step in page.steps] == ["✓", "✓", "✓", "✕"]
    page.ask("")
    assert not page.crash.outputs


def test_headless_answers_at_once_without_widgets(small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    monkeypatch.setattr(widgets_ask, "_forms", None)
    shown = ask_agent(point(small("ko")), QUESTION)
    assert isinstance(shown, HTML)
    assert "안내원은 주황색 조끼를 입는다." in shown.data
    assert "체스 대회에서 누가 우승했나요?" in ask_agent(point(small("ko"))).data  # the first question of the data


@pytest.mark.parametrize("headless", ["", "1"])
def test_wrong_arguments_raise_at_the_call(small, headless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HEADLESS", headless)
    for changes, reason in [({"generator": "extractiv"}, "did you mean 'extractive'"), ({"prompt": "plan"}, "did you mean 'plain'")]:
        with pytest.raises(WorkbenchError, match=reason):
            ask_agent(point(small("en"), **changes), "Why?")


def test_a_missing_package_is_named_before_anything_is_built(small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKBENCH_HEADLESS", raising=False)
    widgets_ask._forms.cache_clear()
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "anywidget" else find(name, *rest))
    with pytest.raises(WorkbenchError, match=r"ask_agent needs the package 'anywidget': pip install 'rag-workbench\[lab\]'"):
        ask_agent(point("folder:nowhere"))
