"""The prompt playground: what was sent, what came back and what was made of it; nothing is generated until the button is pressed."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import ipywidgets
import pytest
from IPython.display import HTML
from made_parts import SMALL
from shown_page import NASTY, Page, columns

from workbench import generation
from workbench.datatypes import Answer, Completion, Conversation, Example, Message, Note, Passage, Span, Step, WorkbenchError
from workbench.experiment import prepare
from workbench.prompting import FOLDER
from workbench.settings import Settings
from workbench.tokens import SimpleTokenizer
from workbench.widgets_prompt import Tried, prompt_playground, prompt_view, try_prompts
from workbench.widgets_question import FREE
from workbench.widgets_style import visible

pytestmark = pytest.mark.usefixtures("own_cache")
PROMPTS = ["plain", "concise", "cite"]
EXAMPLE = Example("q", "How often?", ("weekly",), ((Span("d", 4, 9),),))


class MadeGenerator:
    """Answer each conversation with its number, fail where it is told to, and keep what was asked."""

    asked: ClassVar[list[Conversation]] = []
    fails: ClassVar[list[Exception]] = []

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {"name": "made", "version": 1, "sampled": True}

    def generate(self, conversations: Sequence[Conversation]) -> list[Completion]:
        if self.fails:
            raise self.fails[0]
        self.asked.extend(conversations)
        return [Completion(f"Answer: number {len(self.asked)} [1]", "length", 70, 5) for _ in conversations]

    def overflows(self, conversations: Sequence[Conversation]) -> list[int]:
        return [0] * len(conversations)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> type[MadeGenerator]:
    """List the generator "made"."""
    monkeypatch.setitem(generation.GENERATORS, "made", MadeGenerator)
    monkeypatch.setattr(MadeGenerator, "asked", [])
    monkeypatch.setattr(MadeGenerator, "fails", [])
    return MadeGenerator


def point(spec: str, **changes: Any) -> Settings:
    return Settings(dataset=spec, retriever="bm25", **{"generator": "extractive", **SMALL, **changes})


def make_step(name: str, *contents: str, completion: Completion) -> Step:
    roles = ("system", *("user", "assistant") * len(contents))
    return Step(name, tuple(Message(role, text) for role, text in zip(roles, contents, strict=False)), completion)


def view(answer: Answer, scores: Mapping[str, float] = {}, shots: int = 0, example: Example = EXAMPLE) -> Page:
    return Page(prompt_view(example, [Tried("plain:en", answer, scores, shots)], SimpleTokenizer()))


# --- the view ----------------------------------------------------------------------------------------------------------------------------


def test_an_answer_is_shown_with_all_that_was_made_of_it() -> None:
    step = make_step("answer", "Be brief.", "How often?", completion=Completion("Answer: weekly [1]", "length", 1234, 1))
    passages = (Passage(Span("d", 0, 12), "how often ok", "A <title>"), Passage(Span("e", 0, 3), "two"))
    notes = (Note("clean-up", "took off a label"),)
    answer = Answer("q", "How often?", "weekly [1]", (), passages, 17, (step,), False, (1,), notes, False)
    page = view(answer, {"answer_f1": 0.5, "groundedness": math.nan})
    for said in (
        "Answerweekly [1]",
        "answer_f10.50",
        "groundednessunscored",
        "format: not as the prompt asks",
        "cites: passage 1",
        "clean-up: took off a label",
        "system · 3 tokens",
        "user · 3 tokens",
        "completion, as generated · stopped by our cap on new tokens · read 1,234 tokens · wrote 1 token",
        "Answer: weekly [1]",
        "What was sent",
    ):
        assert said in page.text, said
    assert "2 passages, 17 tokens of context, evidence in 1" in page.of["summary"]
    assert page.of["u"] == ["often"]
    assert "[1] evidence A <title>" in page.text
    assert "refused" not in page.text


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer("q", "?", "no", steps=(make_step("answer", "s", completion=Completion("no")),), refused=True), "Answer · refused"),
        (Answer("q", "?", "x", steps=(make_step("answer", "s", completion=Completion("x")),), valid=True), "format: as the prompt asks"),
        (Answer("q", "?", "", steps=(make_step("answer", "s", completion=Completion("")),)), "ended by itself(no text)"),
        (Answer("q", "?", "", steps=(make_step("a", "s", completion=Completion("", "error", error="<too> long")),)), "No answer<too> long"),
        (Answer("q", "?", "", steps=(make_step("answer", "s", completion=Completion("")),)), "No passage was shown."),
    ],
)
def test_refusals_failures_and_empty_texts_are_said(answer: Answer, said: str) -> None:
    assert said in view(answer).text


def test_each_step_of_a_chain_is_shown_in_its_order() -> None:
    first = make_step("extract", "system one", "question", completion=Completion("a quote"))
    second = make_step("answer", "system two", "question", completion=Completion("an answer"))
    text = view(Answer("q", "?", "an answer", steps=(first, second))).text
    order = ["Step 1 of 2: extract", "system one", "a quote", "Step 2 of 2: answer", "system two"]
    assert [text.index(word) for word in order] == sorted(text.index(word) for word in order)


def test_shots_are_numbered_and_the_question_is_none() -> None:
    step = make_step("answer", "s", "q1", "a1", "q2", "a2", "q", completion=Completion("x"))
    answer = Answer("q", "?", "x", steps=(step,))
    heads = re.findall(r"(system|user|assistant)((?: · shot \d)?) · (.) token", view(answer, shots=2).text)
    assert [head[:2] for head in heads] == [
        ("system", ""),
        ("user", " · shot 1"),
        ("assistant", " · shot 1"),
        ("user", " · shot 2"),
        ("assistant", " · shot 2"),
        ("user", ""),
    ]
    assert [head[2] for head in heads] == list("122221")
    assert "shot" not in view(answer).text


def test_untrusted_text_is_escaped_everywhere_and_folded() -> None:
    long = NASTY + "x <b>" * 20_000
    completion = Completion(long, "stop", 1, 1)
    failed = Completion("", "error", error=long)
    steps = (make_step(long, long, long, completion=completion), make_step(long, long, completion=completion))
    answer = Answer(long, long, long, (), (Passage(Span(long, 0, 50), long, long),), 9, steps, True, (1,), (Note(long, long),), True)
    error = Answer(long, long, "", steps=(make_step(long, long, completion=failed),))
    example = Example(long, long, (long,), ((Span(long, 0, 50),),))
    page = prompt_view(example, [Tried(long, answer, {}, 1), Tried(long, error, {})], SimpleTokenizer())
    shown = Page(page)
    page.encode()
    assert not re.search("[\0-\x08\x0b-\x1f\u202e\u2066\u200b\ud800-\udfff]", page)
    # question, gold, 2 labels; answer, title, passage, note, 3 messages and 2 completions; error twice and its message
    assert shown.text.count(visible(long)) == 16
    assert len(shown.text) - sum(len(text) for text in shown.of["details"]) < 20_000
    assert all(len(label) <= 120 for label in shown.labels)


def test_the_end_of_a_long_message_stands_open() -> None:
    step = make_step("answer", "start " + "passage " * 500 + "Question: how often?", completion=Completion("x"))
    page = view(Answer("q", "?", "x", steps=(step,)))
    assert "Question: how often?" not in "".join(page.of["details"])
    assert "start" not in "".join(page.of["details"])
    assert re.search(r"… 3,3\d\d more characters", "".join(page.of["summary"]))


# --- answering ---------------------------------------------------------------------------------------------------------------------------


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


def test_wrong_arguments_raise_before_any_widget_is_made(small: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKBENCH_HEADLESS", raising=False)
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


# --- the interface -----------------------------------------------------------------------------------------------------------------------


def test_headless_answers_at_once_without_widgets(small: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    monkeypatch.setattr(ipywidgets, "VBox", None)
    settings = point(small("ko"))
    shown = prompt_playground(prepare(settings), settings, PROMPTS)
    assert isinstance(shown, HTML)
    assert len(columns(shown.data)) == 3
    assert shown.data == prompt_playground(prepare(settings), settings, PROMPTS).data


def parts(playground: ipywidgets.VBox):
    choice, own, _, prompts, bar, crash, page = playground.children
    return choice, own, prompts, *bar.children, crash, page


def test_only_the_button_answers(small: Callable[[str], str], made: type[MadeGenerator], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKBENCH_HEADLESS", raising=False)
    settings = point(small("en"), generator="made")
    prepared = prepare(settings)
    choice, own, prompts, button, status, crash, page = parts(prompt_playground(prepared, settings, PROMPTS))
    choice.value = 2
    own.value = "Another question?"
    prompts.value = ("plain:en", "cite:en")
    assert (made.asked, page.value, status.value) == ([], "", "Press run to answer.")
    button.click()
    assert len(made.asked) == len(columns(page.value)) == 2
    assert "Another question?" in Page(page.value).text
    assert (button.disabled, status.value) == (False, "")
    choice.value = 1
    assert own.value == ""
    button.click()
    assert prepared.dataset.examples[1].question in Page(page.value).text
    assert len(made.asked) == 4
    assert not crash.outputs


def test_errors_in_a_callback_are_shown_and_go_away(
    small: Callable[[str], str], made: type[MadeGenerator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORKBENCH_HEADLESS", raising=False)
    settings = point(small("en"), generator="made")
    _, own, prompts, button, _, crash, page = parts(prompt_playground(prepare(settings), settings, PROMPTS[:1]))
    prompts.value = ()
    button.click()
    assert "<b>Error:</b> select at least one prompt" in page.value
    prompts.value = ("plain:en",)
    own.value = "\u200b"
    button.click()
    assert "<b>Error:</b> the question is empty; ask something" in page.value
    own.value = "leave"
    made.fails.append(WorkbenchError("the <server> is down"))
    button.click()
    assert "the &lt;server&gt; is down" in page.value
    made.fails[:] = []
    button.click()
    assert "number 1" in page.value
    assert not button.disabled
    assert not crash.outputs
