"""Show an answer that reads on its own, its citations linked to the passages: plain functions that return static, escaped HTML."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from workbench.datatypes import Answer, Passage
from workbench.storage import fingerprint
from workbench.widgets_language import words
from workbench.widgets_style import STYLE, brief, escape, folded, labelled

BEGINS = 60  # characters of a passage beside its title
WORDS = {
    "question": ("Question", "질문"),
    "answer": ("Answer", "답변"),
    "so far": ("Answer so far", "지금까지의 답변"),
    "empty": ("(no text)", "(내용 없음)"),
    "refused": ("refused", "답변 거절"),
    "uncited": ("cites nothing", "인용 없음"),
    "capped": ("cut by our cap on new tokens", "새 토큰 한도에서 잘림"),
    "sources": ("Passages that the generator read", "생성기가 읽은 문서"),
    "no sources": ("The generator read no passage.", "생성기가 읽은 문서가 없습니다."),
    "cited": ("cited", "인용됨"),
    "link": ("passage {number}", "문서 {number}번"),
}
say = words(WORDS)
CARD_STYLE = """<style>
.workbench-view.ask .said > pre { font-size: 16px; line-height: 1.65; }
.workbench-view.ask a { color: var(--user); text-decoration: underline; font-weight: 700; }
.workbench-view.ask :is(a, summary):focus-visible { outline: 3px solid #1f78d1; outline-offset: 1px; }
.workbench-view.ask .sources { margin-top: 10px; font-weight: 600; }
.workbench-view.ask .source > summary { color: inherit; font-size: 14px; overflow-wrap: anywhere; }
.workbench-view.ask .source > div { border-left: 3px solid var(--edge); padding-left: 10px; margin: 2px 0 6px 4px; scroll-margin: 80px; }
.workbench-view.ask .source > div:target { border-color: var(--user); }
</style>"""
_MARKER = re.compile(  # what may cite; which numbers do is known from postprocessing
    r"[\[【［][^\[\]【】［］\n]{1,60}[\]】］]"
    r"|\((?:문서|지문|출처|자료|근거|본문|참고|passage|document|doc|source|reference|ref)[^()\n]{1,40}\)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?<![0-9])([0-9]{1,2})(?![0-9])")


def answer_view(answer: Answer, citing: bool = False) -> str:
    """Return static, escaped HTML of an answer that reads on its own: question, text, and the passages, which its citations link to.

    `citing` says that the prompt asks for citations.
    """
    name = f"ask-{fingerprint([answer.question, answer.text, [passage.text for passage in answer.passages]])[:8]}"
    badges = [say("refused")] * answer.refused + [say("capped")] * (answer.completion.finish_reason == "length")
    badges += [say("uncited")] * (citing and not answer.citations and not answer.refused)
    body = _linked(answer.text, answer.citations, name) if answer.text else escape(say("empty"))
    sources = [_source(number, passage, number in answer.citations, name) for number, passage in enumerate(answer.passages, start=1)]
    heading = f'<div class="sources" role="heading" aria-level="5">{say("sources" if sources else "no sources")}</div>'
    return _card(answer.question, say("answer"), badges, body) + f'<div class="workbench-view ask">{heading}{"".join(sources)}</div>'


def partial_view(question: str, text: str) -> str:
    """Return an answer of which only so much is written."""
    return _card(question, say("so far"), (), escape(text or "…"))


def _card(question: str, role: str, badges: Sequence[str], body: str) -> str:
    """Return a question with what answers it; the body is HTML."""
    head = "".join([f'<span class="role">{role}</span>', *(f' <span class="badge">{badge}</span>' for badge in badges)])
    text = f'<pre dir="auto" style="white-space: pre-wrap; overflow-wrap: anywhere"><span>{body}</span></pre>'
    box = f'<div class="box written said" role="group" aria-label="{role}"><div class="faint">{head}</div>{text}</div>'
    return f'{STYLE}{CARD_STYLE}<div class="workbench-view ask">{labelled(say("question"), question)}{box}</div>'


def _linked(text: str, citations: Collection[int], name: str) -> str:
    """Return text for HTML in which the numbers of markers that are citations link to the passages."""
    parts, at = [], 0
    for marker in _MARKER.finditer(text):
        parts.append(escape(text[at : marker.start()]))
        at = marker.end()
        for place, piece in enumerate(_NUMBER.split(marker[0])):  # every second piece is a number
            cited = place % 2 and int(piece) in citations
            label = f'<a href="#{name}-{int(piece)}" aria-label="{say("link", number=int(piece))}">{piece}</a>' if cited else escape(piece)
            parts.append(label)
    return "".join([*parts, escape(text[at:])])


def _source(number: int, passage: Passage, cited: bool, name: str) -> str:
    badge = f' <span class="badge found">{say("cited")}</span>' if cited else ""
    title = escape(brief(passage.title or passage.span.document_id))
    place = escape(f"{passage.span.document_id}:{passage.span.start}-{passage.span.end}")
    inner = f'<div id="{name}-{number}" tabindex="-1"><div class="row faint">{place}</div>{folded(passage.text)}</div>'
    begins = f' <span class="faint">{escape(brief(passage.text, BEGINS))}</span>'  # passages of one document have one title
    return f'<details class="source"{" open" * cited}><summary><b>[{number}]</b> {title}{badge}{begins}</summary>{inner}</details>'
