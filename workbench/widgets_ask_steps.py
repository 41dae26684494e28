"""Show the six steps in which an agent answers one question, and its answer: plain functions that return static, escaped HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.datatypes import Answer, Completion, Example, Hit
from workbench.experiment_ask import Agent
from workbench.packing import pack
from workbench.pipeline import STEPS, Augmented
from workbench.registry import split_spec
from workbench.retrieval import default_tokeniser
from workbench.tokens import counter, token_count
from workbench.widgets_hits import term_spans
from workbench.widgets_language import words
from workbench.widgets_style import LABEL, SHOWN, STYLE, brief, escape, folded, labelled

HEAD, TAIL = 400, 300  # characters of a message that stand open; what a prompt asks for often comes last
WORDS = {
    "preprocess": ("Preprocess", "전처리"),
    "vectorise": ("Vectorise", "벡터화"),
    "retrieve": ("Retrieve", "검색"),
    "augment": ("Augment", "프롬프트 구성"),
    "generate": ("Generate", "생성"),
    "postprocess": ("Postprocess", "후처리"),
    "steps": ("The six steps", "여섯 단계"),
    "running": ("running …", "진행 중 …"),
    "done": ("{time}", "{time}"),
    "failed": ("failed · {time}", "실패 · {time}"),
    "stopped": ("stopped · {time}", "중지됨 · {time}"),
    "seconds": ("{count} s", "{count}초"),
    "milliseconds": ("{count} ms", "{count}ms"),
    "asked": ("Question as it is used:", "처리된 질문:"),
    "typed": ("Question as typed:", "입력한 질문:"),
    "terms": ("terms: {count}", "검색어 {count}개"),
    "dimensions": ("{count} dimensions", "{count}차원 벡터"),
    "nothing": ("nothing", "없음"),
    "hits": ("hits: {count}, best score {score}", "청크 {count}개 검색, 최고 점수 {score}"),
    "no hits": ("no hits", "검색된 청크 없음"),
    "score": ("score {score}", "점수 {score}"),
    "tokens": ("{count} tokens", "토큰 {count}개"),
    "context": ("context {used} of {budget} tokens, prompt {count} tokens", "컨텍스트 {used}/{budget}토큰, 프롬프트 {count}토큰"),
    "whole": ("whole", "전체 포함"),
    "cut": ("cut at the budget: {got} of {count} tokens", "예산에서 잘림: {count}토큰 중 {got}토큰"),
    "shared": ("the rest stands above: {got} of {count} tokens new", "나머지는 위와 겹침: {count}토큰 중 {got}토큰 추가"),
    "repeated": ("all of it stands above", "모두 위와 겹침"),
    "left out": ("left out, the budget is used up", "예산이 차서 제외"),
    "hit": ("hit", "청크"),
    "brought": ("in the context", "컨텍스트에 든 만큼"),
    "blind": ("This prompt shows no passages.", "이 프롬프트는 문서를 보여 주지 않습니다."),
    "counts": ("Tokens as {name} counts them.", "토큰은 {name} 기준입니다."),
    "template": ("With its chat template the model reads {count} tokens.", "대화 템플릿까지 모델이 읽는 토큰은 {count}개입니다."),
    "system": ("system", "시스템"),
    "user": ("user", "사용자"),
    "assistant": ("assistant", "어시스턴트"),
    "completion": ("completion, as generated", "생성된 그대로"),
    "stop": ("ended by itself", "정상 종료"),
    "length": ("stopped by our cap on new tokens", "새 토큰 한도에서 멈춤"),
    "error": ("failed", "실패"),
    "halted": ("stopped by you", "사용자가 중지"),
    "read": ("read {count}", "읽은 토큰 {count}개"),
    "wrote": ("wrote {count}", "쓴 토큰 {count}개"),
    "speed": ("{count} tokens/s", "초당 {count}토큰"),
    "empty": ("(no text)", "(내용 없음)"),
    "unchanged": ("nothing to change", "고칠 것 없음"),
    "no answer": ("no answer to work on", "처리할 답변 없음"),
    "cites": ("cites {numbers}", "인용 {numbers}"),
    "refused": ("refused", "답변 거절"),
    "format": ("format as the prompt asks", "프롬프트가 요구한 형식"),
    "no format": ("not the format that the prompt asks for", "프롬프트가 요구한 형식이 아님"),
    "final": ("answer as shown", "보여 주는 답변"),
}
say = words(WORDS)
STEP_STYLE = """<style>
.workbench-view:is(.ask, .step) pre { font: inherit; }
.workbench-view.step { padding: 2px 12px; }
.workbench-view.step > details > summary { font-size: 14px; padding: 2px 0; overflow-wrap: anywhere; color: inherit; }
.workbench-view.step > details > div { border-left: 3px solid var(--edge); padding: 0 0 6px 12px; margin: 2px 0 6px 4px; }
.workbench-view.step summary:focus-visible { outline: 3px solid #1f78d1; outline-offset: 1px; }
</style>"""


@dataclass(frozen=True, slots=True)
class Taken:
    """Hold one step that was taken for one question: its name, its seconds, and what it produced."""

    step: str
    seconds: float
    produced: Any


def steps_head() -> str:
    """Return the style sheet of steps and the heading over them."""
    return f'{STYLE}{STEP_STYLE}<div class="workbench-view step" role="heading" aria-level="5"><b>{say("steps")}</b></div>'


def step_name(agent: Agent, at: int) -> str:
    """Return the name of the step number `at` (from 0) of an agent as people see it; a chain takes two steps twice."""
    step = agent.steps[at]
    turns = [number for number, other in enumerate(agent.steps) if other == step]
    turn = f" ({turns.index(at) + 1}/{len(turns)})" if len(turns) > 1 else ""
    return f"{STEPS.index(step) + 1} {say(step)}{turn}"


def running_view(agent: Agent, at: int, text: str = "") -> str:
    """Return the step number `at` (from 0) while it is taken, with the text that a generator wrote so far."""
    body = _box("written", say("completion"), (), f"{text}▍") if text else ""
    return _row(f"… {step_name(agent, at)}", say("running"), "", body, bool(text))


def failed_view(agent: Agent, at: int) -> str:
    """Return the step number `at` (from 0) that could not be taken."""
    return _row(f"✕ {step_name(agent, at)}", say("error"), "", "")


def step_view(agent: Agent, typed: str, taken: Sequence[Taken]) -> str:
    """Return the last of the steps that were taken for a question as it was typed: its name, its seconds and what it produced, folded."""
    last = taken[-1]
    made = {item.step: item.produced for item in taken}
    state = "done"
    if last.step == "preprocess":
        summary, body = _preprocessed(typed, last.produced)
    elif last.step == "vectorise":
        summary, body = _vectorised(agent, last.produced)
    elif last.step == "retrieve":
        summary, body = _retrieved(agent, made["preprocess"], last.produced)
    elif last.step == "augment":
        summary, body = _augmented(agent, made["retrieve"], last.produced)
        state = "failed" if last.produced.error else state
    elif last.step == "generate":
        summary, body = _generated(last.produced)
        state = {"error": "failed", "stopped": "stopped"}.get(last.produced.finish_reason, state)
    else:
        summary, body = _postprocessed(last.produced)
    skipped = last.step == "postprocess" and last.produced.error
    mark = "–" if skipped else {"done": "✓", "failed": "✕", "stopped": "■"}[state]
    return _row(f"{mark} {step_name(agent, len(taken) - 1)}", say(state, time=_time(last.seconds)), summary, body, state == "failed")


def _row(name: str, state: str, summary: str, body: str, unfolded: bool = False) -> str:
    """Return one step; the body is HTML, the others are text."""
    head = f"<b>{escape(name)}</b> · {escape(brief(summary, 160))}{' · ' * bool(summary)}<span class='faint'>{escape(state)}</span>"
    details = f"<details{' open' * unfolded}><summary>{head}</summary><div>{body}</div></details>" if body else f"<div>{head}</div>"
    return f'<div class="workbench-view step">{details}</div>'


def _time(seconds: float) -> str:
    return say("seconds", count=f"{seconds:.1f}") if seconds >= 1 else say("milliseconds", count=f"{1000 * seconds:.0f}")


# --- what each step produced -------------------------------------------------------------------------------------------------------------


def _preprocessed(typed: str, example: Example) -> tuple[str, str]:
    before = labelled(say("typed"), typed, SHOWN) if typed != example.question else ""
    return example.question, before + labelled(say("asked"), example.question, SHOWN)


def _vectorised(agent: Agent, query: Any) -> tuple[str, str]:
    parts = query if isinstance(query, tuple) else (query,)
    counts, rows = [], []
    for part in parts:
        if part is None:
            counts.append(say("nothing"))
        elif isinstance(part, list):
            counts.append(say("terms", count=len(part)))
            rows.append(labelled(agent.settings.retriever, " · ".join(part), SHOWN))
        else:
            counts.append(say("dimensions", count=len(part)))
            rows.append(labelled(agent.settings.embedder, ", ".join(f"{value:.3f}" for value in part[:8]) + ", …", SHOWN))
    return ", ".join(counts), "".join(rows)


def _retrieved(agent: Agent, example: Example, hits: Sequence[Hit]) -> tuple[str, str]:
    if not hits:
        return say("no hits"), ""
    tokeniser = _tokeniser(agent)
    rows = []
    for hit in hits:
        head = f'<div class="row"><b>{hit.rank}</b> {folded(_title(hit), LABEL)}</div>'
        facts = [
            say("score", score=f"{hit.score:.4g}"),
            say("tokens", count=token_count(hit.chunk.span, agent.prepared.tables)),
            hit.chunk.id,
        ]
        text = folded(hit.chunk.text, HEAD, terms=term_spans(hit.chunk.text, example.question, tokeniser))
        rows.append(f'<div class="item">{head}<div class="row faint">{escape(" · ".join(facts))}</div>{text}</div>')
    return say("hits", count=len(hits), score=f"{hits[0].score:.4g}"), "".join(rows)


def _tokeniser(agent: Agent) -> str:
    name, argument = split_spec(agent.settings.retriever)
    if name in ("bm25", "hybrid") and argument:
        return argument
    return default_tokeniser([document.text for document in agent.prepared.dataset.documents])


def _title(hit: Hit) -> str:
    return hit.chunk.title or hit.chunk.span.document_id


def _augmented(agent: Agent, hits: Sequence[Hit], item: Augmented) -> tuple[str, str]:
    size = agent.pipeline.generator.size(item.conversation)
    count = counter(agent.prepared.tokenizer)
    counts = size.messages if size else [count(message.content) for message in item.conversation.messages]
    name = agent.settings.generator if size else agent.prepared.tokenizer.name
    total = size.total if size else sum(counts)
    parts = [_box("wrong", say("error"), (), item.error)] if item.error else []
    parts.append(_context(agent, hits, item))
    parts += [labelled(f"{note.hook}:", note.text, SHOWN) for note in item.notes]
    legend = [say("counts", name=name)] + [say("template", count=f"{total:,}")] * bool(size)
    parts.append(f'<div class="item row faint">{escape(" ".join(legend))}</div>')
    parts += [
        _box(message.role, say(message.role), [say("tokens", count=f"{tokens:,}")], message.content, HEAD, TAIL)
        for message, tokens in zip(item.conversation.messages, counts, strict=True)
    ]
    used, budget = f"{item.context.tokens:,}", f"{agent.pipeline.budget:,}"
    return say("context", used=used, budget=budget, count=f"{total:,}"), "".join(parts)


def _context(agent: Agent, hits: Sequence[Hit], item: Augmented) -> str:
    """Return a table of what each hit brought into the context, and why not more."""
    if not agent.pipeline.prompt.shows_passages:
        return f'<div class="row">{say("blind")}</div>'
    tables = agent.prepared.tables
    sums = [pack(hits[:number], item.context.tokens, tables).tokens for number in range(len(hits) + 1)]
    rows = []
    for hit, before, after in zip(hits, sums, sums[1:], strict=False):
        count, got = token_count(hit.chunk.span, tables), after - before
        filled = after == sums[-1] and item.context.full
        if got == count:
            fate = "whole"
        elif not got:
            fate = "left out" if filled else "repeated"
        else:
            fate = "cut" if filled else "shared"
        begins = f'{escape(brief(_title(hit), 60))} <span class="faint">{escape(brief(hit.chunk.text, 40))}</span>'
        rows.append(f'<tr><th scope="row">{hit.rank}</th><td>{begins}</td><td>{escape(say(fate, got=got, count=count))}</td></tr>')
    heads = "".join(f'<th scope="col">{label}</th>' for label in ("", say("hit"), say("brought")))
    return f"<table><tr>{heads}</tr>{''.join(rows)}</table>"


def _generated(completion: Completion) -> tuple[str, str]:
    if completion.finish_reason == "error":
        return completion.error, _box("wrong", say("error"), (), completion.error)
    tokens, seconds = completion.completion_tokens, completion.seconds
    facts = [say("halted" if completion.finish_reason == "stopped" else completion.finish_reason)]
    facts += [say("read", count=f"{completion.prompt_tokens:,}")] if completion.prompt_tokens is not None else []
    facts += [say("wrote", count=f"{tokens:,}")] if tokens is not None else []
    facts += [say("speed", count=f"{tokens / seconds:.1f}")] if tokens and seconds else []
    return ", ".join(facts), _box("written", say("completion"), facts, completion.text)


def _postprocessed(answer: Answer) -> tuple[str, str]:
    if answer.error:
        return say("no answer"), ""
    facts = [say("refused")] if answer.refused else []
    facts += [say("cites", numbers=", ".join(f"[{number}]" for number in answer.citations))] if answer.citations else []
    facts += [say("format" if answer.valid else "no format")] if answer.valid is not None else []
    notes = [f"{note.hook}: {note.text}" for note in answer.notes]
    rows = "".join(f'<div class="row">{folded(text)}</div>' for text in (*facts, *notes))
    return ", ".join([*facts, *notes]) or say("unchanged"), rows + _box("written", say("final"), (), answer.text)


def _box(kind: str, role: str, facts: Iterable[str], text: str, head: int = SHOWN, tail: int = 0) -> str:
    """Return a framed text under its role; kind and role are trusted."""
    title = " · ".join([f'<span class="role">{role}</span>', *map(escape, facts)])
    body = folded(text, head, tail) if text else f'<div class="faint">{say("empty")}</div>'
    return f'<div class="box {kind}" role="group" aria-label="{role}"><div class="faint">{title}</div>{body}</div>'
