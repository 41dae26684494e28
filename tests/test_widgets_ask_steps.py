"""Ask: what the views of an answer and of the six steps show."""

import re
from pathlib import Path
from typing import Any

import pytest
from made_parts import SMALL
from shown_page import NASTY, Page

from workbench import generation
from workbench.datatypes import Answer, Completion, Message, Note, Passage, Span, Step
from workbench.experiment_ask import Agent
from workbench.packing import Context
from workbench.settings import Settings
from workbench.storage import write_text
from workbench.widgets_ask import ask_view
from workbench.widgets_ask_answer import answer_view, partial_view
from workbench.widgets_ask_steps import Taken, running_view, step_view
from workbench.widgets_style import visible

pytestmark = pytest.mark.usefixtures("own_cache")
QUESTION = "안내원은 어떤 조끼를 입나요?"


class Shown(Page):
    """Read a view that has links too."""

    def handle_starttag(self, tag, attributes):
        kept = [(name, value) for name, value in attributes if name not in ("id", "href", "tabindex")]
        if tag == "a":
            assert {name for name, _ in attributes} == {"href", "aria-label"}
            self.links = [*getattr(self, "links", []), dict(attributes)["href"]]
        self.ids = [*getattr(self, "ids", []), *(value for name, value in attributes if name == "id")]
        super().handle_starttag("b" if tag == "a" else tag, kept)

    def handle_endtag(self, tag):
        super().handle_endtag("b" if tag == "a" else tag)


def point(spec: str, **changes: Any) -> Settings:
    return Settings(dataset=spec, **{"retriever": "bm25", "generator": "extractive", **SMALL, **changes})


def made_answer(text: str, passages: int = 3, **changes: Any) -> Answer:
    shown = tuple(Passage(Span(f"d{number}", 0, 4), f"text {number}", f"Title {number}") for number in range(1, passages + 1))
    steps = (Step("answer", (Message("user", "q"),), changes.pop("completion", Completion(text))),)
    return Answer("ask", "Why?", text, passages=shown, steps=steps, **changes)


@pytest.mark.parametrize(
    ("text", "citations", "linked"),
    [
        ("Yes [1].", (1,), ["1"]),
        ("Yes [1, 3], no 【2】, [2-3] and (출처: 3)", (1, 2, 3), ["1", "3", "2", "2", "3", "3"]),
        ("[문서 2] 3일 안에 (3일)", (2, 3), ["2"]),
        ("Array[9] [2024] [x] 1", (1,), []),
        ("<b>[2]</b> &amp; [it's 2]", (2,), ["2", "2"]),
        ("", (), []),
    ],
)
def test_citations_link_to_the_passages(text: str, citations: tuple[int, ...], linked: list[str]) -> None:
    shown = Shown(answer_view(made_answer(text, citations=citations)))
    assert [link.rpartition("-")[2] for link in getattr(shown, "links", [])] == linked
    assert {link[1:] for link in getattr(shown, "links", [])} <= set(shown.ids)
    assert len(shown.ids) == 3
    assert (text or "(no text)") in shown.text
    assert [f"[{number}]" in line for line in shown.of["summary"] for number in citations if "cited" in line] or not linked


@pytest.mark.parametrize(
    ("answer", "citing", "said"),
    [
        (made_answer("no", refused=True), True, "Answer refused"),
        (made_answer("x"), True, "Answer cites nothing"),
        (made_answer("x", citations=(1,)), True, "Answerx"),
        (made_answer("x", completion=Completion("x", "length")), False, "Answer cut by our cap on new tokens"),
        (made_answer("x", passages=0), False, "The generator read no passage."),
    ],
)
def test_what_an_answer_lacks_is_said_beside_it(answer: Answer, citing: bool, said: str) -> None:
    assert said in Shown(answer_view(answer, citing)).text


@pytest.mark.parametrize(("language", "names"), [("en", "Preprocess Vectorise Retrieve Augment"), ("ko", "전처리 벡터화 검색 프롬프트")])
@pytest.mark.parametrize("retriever", ["bm25", "hybrid", "random"])
def test_the_static_view_holds_the_answer_and_what_each_step_produced(
    small, monkeypatch: pytest.MonkeyPatch, language: str, names: str, retriever: str
) -> None:
    monkeypatch.setenv("WORKBENCH_LANG", language)
    agent = Agent(point(small("ko"), retriever=retriever, embedder="hash", top_k=12))
    view = ask_view(agent, f"  {QUESTION}\n")
    text = "".join(Shown(view).of["summary"]) + Shown(view).text
    assert [f"{number} {name}" in text for number, name in enumerate(names.split(), start=1)] == [True] * 4
    assert "안내원은 주황색 조끼를 입는다." in text
    assert ask_view(agent, f"  {QUESTION}\n").partition("<details")[0] == view.partition("<details")[0]


def test_the_context_says_what_each_hit_brought_and_what_was_cut(small) -> None:
    agent = Agent(point(small("ko"), chunk_size=8, chunk_overlap=4, chunker="fixed", answer_budget=21, top_k=8))
    taken: list[Taken] = []
    answer = agent.answer("휴가 신청은 누구에게 하나요?", lambda step, seconds, made: taken.append(Taken(step, seconds, made[0])))
    page = Page(step_view(agent, "?", taken[:4]))
    fates = page.of["td"][1::2]
    assert len(fates) == len(answer.hits) > 4
    brought = [re.findall(r"\d+", fate) for fate in fates]
    whole = [8 if fate == "whole" else int(numbers[0]) if numbers else 0 for fate, numbers in zip(fates, brought, strict=True)]
    assert sum(whole) == answer.context_tokens == 21
    assert fates[0] == "whole"
    assert any(fate.startswith("the rest stands above: ") for fate in fates)
    assert fates[-1] == "left out, the budget is used up"
    assert "context 21 of 21 tokens" in page.of["summary"][0]


def test_messages_completions_rules_and_failures_are_shown(small, tmp_path: Path) -> None:
    rules = write_text(tmp_path / "rules.yaml", "- {name: shout, pattern: 조끼, action: replace, text: 외투}\n")
    agent = Agent(point(small("ko"), rules=str(rules), prompt="cite"))
    page = Shown(ask_view(agent, QUESTION))
    assert "안내원은 주황색 외투를 입는다." in page.text
    assert "rule 'shout'" in page.text
    assert re.search(r"system · \d+ tokens", page.text)
    assert re.search(r"Tokens as simple counts them\.", page.text)
    augmented = agent.pipeline.augment(agent.pipeline.prompt, [agent.prepared.training[0]], [Context((), 0, False)])[0]
    for step, made, said in [
        ("generate", Completion("", "error", error="the <server> is down"), "✕ 5 Generate"),
        ("generate", Completion("half", "stopped", error=generation.STOPPED), "■ 5 Generate"),
        ("generate", Completion("x" * 9, "length", 1200, 30, 2.0), "read 1,200, wrote 30, 15.0 tokens/s"),
        ("postprocess", made_answer("", completion=Completion("", "error", error="x")), "– 6 Postprocess"),
        ("postprocess", made_answer("x", valid=False, notes=(Note("format", "no JSON"),)), "not the format that the prompt asks for"),
    ]:
        taken = [Taken(name, 0.01, augmented) for name in agent.steps[: agent.steps.index(step)]]
        text = step_view(agent, "q", [*taken, Taken(step, 1.25, made)])
        assert said in read_step(text)
        assert "1.2 s" in text


def read_step(step: str) -> str:
    """Return all that stands in a step, first what is not folded away."""
    return "".join(Page(step).of.get("summary", [])) + Page(step).text


def test_untrusted_text_is_escaped_everywhere(tmp_path: Path) -> None:
    evil = visible(NASTY).replace("\r", " ").replace("\ud800", "")
    (tmp_path / "docs").mkdir()
    write_text(tmp_path / "docs" / "evil.md", f"---\ntitle: '{evil.replace(chr(39), '')}'\n---\n{evil} 환불 {evil}\n")
    agent = Agent(point(f"folder:{tmp_path / 'docs'}"))
    view = ask_view(agent, f"환불 {evil}")
    page = Shown(view)
    assert "<script>" in page.text
    assert "<script" not in view
    assert "onerror=y>" not in view
    assert not re.search("[\u202e\u2066\u200b]", view)
    for part in (partial_view(NASTY, NASTY), running_view(agent, 4, NASTY), answer_view(made_answer(NASTY))):
        assert "<script>" in Shown(part).text
        part.encode()
