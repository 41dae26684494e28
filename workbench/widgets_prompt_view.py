"""Draw what prompts make of a question: the messages with their tokens, the completion, the answer and its scores, as static HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workbench.datatypes import Answer, Completion, Example, Message, Tokenizer
from workbench.generation import PromptSize
from workbench.tokens import counter
from workbench.widgets_hits import evidence_ranges
from workbench.widgets_language import words
from workbench.widgets_question import question_head
from workbench.widgets_style import LABEL, SHOWN, brief, column, escape, folded, labelled, page

HEAD, TAIL = 400, 300  # characters of a message that stand open; what a prompt asks for often comes last
SHOT = 80  # characters at both ends of a shot
TIGHT = 0.9  # share of the window from which on the bar warns
WORDS = {
    "answer": ("Answer", "답변"),
    "no answer": ("No answer", "답변 없음"),
    "refused": ("refused", "답변 거절"),
    "empty": ("(no text)", "(내용 없음)"),
    "completion": ("completion, as generated", "생성된 그대로"),
    "stop": ("ended by itself", "정상 종료"),
    "length": ("stopped by our cap on new tokens", "새 토큰 한도에서 잘림"),
    "error": ("failed", "실패"),
    "stopped": ("stopped by you: not scored, not kept", "사용자가 중지함: 채점·저장하지 않음"),
    "read": ("read {tokens}", "입력 {tokens}"),
    "wrote": ("wrote {tokens}", "출력 {tokens}"),
    "token": ("{count:,} token", "{count:,}토큰"),
    "tokens": ("{count:,} tokens", "{count:,}토큰"),
    "scores": ("scores", "점수"),
    "unscored": ("unscored", "채점 안 됨"),
    "cites": ("cites", "인용"),
    "passage": ("passage {number}", "문서 {number}"),
    "format": ("format", "형식"),
    "as asked": ("as the prompt asks", "프롬프트가 요구한 대로"),
    "not as asked": ("not as the prompt asks", "프롬프트가 요구한 것과 다름"),
    "no passage": ("No passage was shown.", "보여 준 문서가 없습니다."),
    "evidence": ("evidence", "근거"),
    "one passage": ("1 passage, {tokens} of context{known}", "문서 1개, 컨텍스트 {tokens}{known}"),
    "passages": ("{count} passages, {tokens} of context{known}", "문서 {count}개, 컨텍스트 {tokens}{known}"),
    "evidence in": (", evidence in {numbers}", ", 근거가 있는 문서: {numbers}"),
    "none": ("none", "없음"),
    "step": ("Step {number} of {count}: {name}", "{count}단계 중 {number}단계: {name}"),
    "sent": ("What was sent", "보낸 메시지"),
    "to send": ("What will be sent", "보낼 메시지"),
    "next step": ("The next step is sent with what this one writes.", "다음 단계에는 이 단계에서 쓴 글이 들어갑니다."),
    "shot": ("shot {number}", "예시 {number}"),
    "system": ("system", "system"),
    "user": ("user", "user"),
    "assistant": ("assistant", "assistant"),
    "total": (
        "{total} in all, {template} of them around the messages; up to {answer} may be written",
        "총 {total}(메시지 밖의 {template} 포함), 최대 {answer} 생성",
    ),
    "window": (" · the window holds {window}", " · 컨텍스트 창 {window}"),
    "over": ("{tokens} too many for the window", "컨텍스트 창을 {tokens} 넘음"),
    "measured": (
        "{total} as {name} counts them; the model's own count is not known here",
        "{name} 기준 총 {total}, 모델 자체의 토큰 수는 알 수 없음",
    ),
    "as read": ("As the model reads it", "모델이 읽는 그대로"),
    "legend": (
        "Tokens of messages are the model's own where its tokenizer is here, else those of {name}.",
        "메시지의 토큰 수는 모델의 토크나이저가 있으면 그 기준, 없으면 {name} 기준입니다.",
    ),
}
say = words(WORDS)
PROMPT_STYLE = """<style>
.workbench-view.prompt { padding: 0; }
.workbench-view .meter { height: 6px; border: 1px solid var(--edge); border-radius: 4px; margin: 3px 0; overflow: hidden; }
.workbench-view .meter div { height: 100%; background: var(--user); }
.workbench-view .meter.tight div { background: repeating-linear-gradient(135deg, var(--wrong) 0 4px, var(--edge) 4px 7px); }
</style>"""


@dataclass(frozen=True, slots=True)
class Asked:
    """Hold one call of a generator before it is answered; `error` says why it cannot be sent."""

    name: str
    messages: tuple[Message, ...]
    size: PromptSize | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Tried:
    """Hold what one prompt made of a question.

    `scores` is empty where nothing is scored, `shots` is how many examples were to be shown, `sizes` those of the steps of the answer.
    """

    prompt: str
    answer: Answer
    scores: Mapping[str, float]
    shots: int = 0
    sizes: Sequence[PromptSize | None] = ()


def prompt_view(example: Example, tried: Sequence[Tried], tokenizer: Tokenizer) -> str:
    """Return static, escaped HTML of what each prompt made of a question, side by side.

    First the answer as a user would see it with its scores, then each call of the generator: its messages with their tokens, those of the
    model where they are known, else of the measuring `tokenizer`, and the completion as it was generated. HEAD and TAIL characters of a
    message stand open, SHOT at both ends of a shot.
    """
    columns = [column(item.prompt, answer_view(example, item, tokenizer)) for item in tried]
    legend = folded(say("legend", name=brief(tokenizer.name)))
    return PROMPT_STYLE + page(question_head(example) + f'<div class="row faint">{legend}</div>', columns)


def answer_view(example: Example, tried: Tried, tokenizer: Tokenizer, live: bool = False) -> str:
    """Return one column of `prompt_view`; where it stands under a `live` stream, without what this has shown."""
    answer = tried.answer
    stopped = any(step.completion.finish_reason == "stopped" for step in answer.steps)
    shown = stopped or (live and answer.text == answer.completion.text and not answer.refused)
    parts = [] if shown and not (answer.error and not stopped) else [_result(answer)]
    parts += [_scores({} if stopped else tried.scores), _facts(answer), _passages(example, answer)]
    sizes = tried.sizes or [None] * len(answer.steps)
    for number, (step, size) in enumerate(zip(answer.steps, sizes, strict=True), start=1):
        last = step is answer.steps[-1]
        parts.append(_heading(say("sent") if len(answer.steps) == 1 else _step_name(number, len(answer.steps), step.name)))
        parts += _sent(step.messages, size, last and tried.shots > 0, tokenizer)
        parts += [] if live and last else [_completion(step.completion)]
    return "".join(parts)


def asked_view(asked: Asked, shots: int, tokenizer: Tokenizer, more: bool = False) -> str:
    """Return the messages that would be sent, with their tokens; `more` says that another step follows."""
    error = [_box("wrong", say("no answer"), (), asked.error)] if asked.error else []
    following = [f'<div class="faint">{say("next step")}</div>'] if more else []
    return "".join([*error, _heading(say("to send")), *_sent(asked.messages, asked.size, shots > 0, tokenizer), *following])


def tokens(count: int) -> str:
    """Return "1 token", "2 tokens"."""
    return say("token" if count == 1 else "tokens", count=count)


def _step_name(number: int, count: int, name: str) -> str:
    return say("step", number=number, count=count, name=brief(name))


def _heading(text: str) -> str:
    return f'<div class="item" role="heading" aria-level="5"><b>{escape(text)}</b></div>'


def _box(kind: str, role: str, facts: Iterable[str], text: str, head: int = SHOWN, tail: int = 0) -> str:
    """Return a framed text under its role; kind, role and facts are trusted."""
    title = " · ".join([f'<span class="role">{role}</span>', *facts])
    body = folded(text, head, tail) if text else f'<div class="faint">{say("empty")}</div>'
    return f'<div class="box {kind}" role="group" aria-label="{role}"><div class="faint">{title}</div>{body}</div>'


def _result(answer: Answer) -> str:
    if answer.error:
        return _box("wrong", say("no answer"), (), answer.error)
    return _box("written", say("answer"), [say("refused")] * answer.refused, answer.text)


def _scores(scores: Mapping[str, float]) -> str:
    """Return scores as a table; a question that a metric is not asked of has no row, and what is left unscored says so."""
    rows = "".join(
        f'<tr><th scope="row">{name}</th><td>{say("unscored") if math.isnan(value) else f"{value:.2f}"}</td></tr>'
        for name, value in scores.items()
    )
    return f'<table aria-label="{say("scores")}">{rows}</table>' if rows else ""


def _facts(answer: Answer) -> str:
    """Return what postprocessing found in a completion and did to it."""
    facts = [(note.hook, note.text) for note in answer.notes]
    if answer.citations:
        facts.insert(0, (say("cites"), ", ".join(say("passage", number=number) for number in answer.citations)))
    if answer.valid is not None and "format" not in {note.hook for note in answer.notes}:  # its note says what is wrong
        facts.insert(0, (say("format"), say("as asked" if answer.valid else "not as asked")))
    return "".join(labelled(f"{name}:", text, SHOWN) for name, text in facts)


def _passages(example: Example, answer: Answer) -> str:
    """Return the passages that the generator was shown, as they are numbered in its context, evidence underlined."""
    if not answer.passages:
        return f'<div class="faint">{say("no passage")}</div>'
    rows, holding = [], []
    for number, passage in enumerate(answer.passages, start=1):
        evidence = evidence_ranges(example, passage.span)
        holding += [str(number)] if evidence else []
        badge = f' <span class="badge found">{say("evidence")}</span>' if evidence else ""
        title = folded(passage.title or passage.span.document_id, LABEL)
        text = folded(passage.text, HEAD, evidence=evidence)
        rows.append(f'<div class="item"><div class="row"><b>[{number}]</b>{badge} {title}</div>{text}</div>')
    known = say("evidence in", numbers=", ".join(holding) or say("none")) if example.evidence else ""
    summary = say("one passage" if len(rows) == 1 else "passages", count=len(rows), tokens=tokens(answer.context_tokens), known=known)
    return f"<details><summary>{summary}</summary>{''.join(rows)}</details>"


def _sent(messages: Sequence[Message], size: PromptSize | None, with_shots: bool, tokenizer: Tokenizer) -> list[str]:
    """Return the tokens of a prompt against the window, and a box for each message."""
    counts = size.messages if size else [counter(tokenizer)(message.content) for message in messages]
    boxes = _messages(messages, counts, with_shots)
    if not messages:
        return []
    if size is None:
        return [f'<div class="faint">{escape(say("measured", total=tokens(sum(counts)), name=brief(tokenizer.name)))}</div>', *boxes]
    whole = f"<details><summary>{say('as read')}</summary>{folded(size.text, len(size.text))}</details>"
    return [_meter(size), *boxes, whole]


def _meter(size: PromptSize) -> str:
    """Return the tokens of a prompt in words and as a bar of the window."""
    around = tokens(max(0, size.total - sum(size.messages)))  # a text that is read as one can merge tokens of two messages
    line = say("total", total=f"<b>{tokens(size.total)}</b>", template=around, answer=tokens(size.answer))
    if not size.window:
        return f'<div class="faint">{line}</div>'
    line += say("window", window=tokens(size.window))
    used = (size.total + size.answer) / size.window
    over = f' <b class="role">{say("over", tokens=tokens(size.total + size.answer - size.window))}</b>' if used > 1 else ""
    tight = " tight" * (used > TIGHT)
    bar = f'<div class="meter{tight}"><div style="width: {min(100 * size.total / size.window, 100):.1f}%"></div></div>'
    return f'<div class="faint{" wrong" * (used > 1)}">{line}{over}</div>{bar}'


def _messages(messages: Sequence[Message], counts: Sequence[int], with_shots: bool) -> list[str]:
    """Return a box for each message; questions and answers before the last question are shots, where shots were asked for."""
    talk = [message for message in messages if message.role != "system"]
    boxes, shot = [], 0
    for message, count in zip(messages, counts, strict=True):
        facts, ends = [tokens(count)], (HEAD, TAIL)
        if with_shots and message.role != "system" and message is not talk[-1]:
            shot += message.role == "user"
            facts, ends = [say("shot", number=shot), *facts], (SHOT, SHOT)
        boxes.append(_box(message.role, say(message.role), facts, message.content, *ends))
    return boxes


def completion_facts(completion: Completion) -> list[str]:
    """Return how a completion ended and the tokens that were read and written, where they are known."""
    facts = [say(completion.finish_reason)]
    if completion.prompt_tokens is not None:
        facts.append(say("read", tokens=tokens(completion.prompt_tokens)))
    if completion.completion_tokens is not None:
        facts.append(say("wrote", tokens=tokens(completion.completion_tokens)))
    return facts


def _completion(completion: Completion) -> str:
    failed = completion.finish_reason == "error"
    kind, text = ("wrong", completion.error) if failed else ("written", completion.text)
    return _box(kind, say("completion"), completion_facts(completion), text)


def columns_style(inner: str) -> str:
    """Return one column for an interface that lays out columns itself."""
    return f'<div class="workbench-view prompt">{inner}</div>'
