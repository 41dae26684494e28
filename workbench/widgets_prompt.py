"""Show what prompts make of a question: the messages, the completion, the answer and its scores; plain HTML, and a JupyterLab interface."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from workbench.cache import Cache
from workbench.datatypes import Answer, Completion, Dataset, Example, Message, Step, Tokenizer, WorkbenchError
from workbench.experiment_build import Models, Parts, build, resolve
from workbench.experiment_data import NONE, Prepared
from workbench.metrics_answers import score_answer
from workbench.pipeline import retrieve_to_fill
from workbench.prompting import load_prompt, resolve_prompt
from workbench.settings import Settings
from workbench.storage import cache_file
from workbench.tokens import counter
from workbench.widgets import error_box, plural
from workbench.widgets_question import FREE, find_question, question_controls, question_head
from workbench.widgets_retrieval import check_tokenizer, evidence_ranges
from workbench.widgets_style import LABEL, SHOWN, brief, column, escape, folded, labelled, page

HEAD, TAIL = 400, 300  # characters of a message that stand open; what a prompt asks for often comes last
SHOT = 80  # characters at both ends of a shot
WAITING = "Press run to answer."
FINISHED = {"stop": "ended by itself", "length": "stopped by our cap on new tokens", "error": "failed"}


@dataclass(frozen=True, slots=True)
class Tried:
    """Hold what one prompt made of a question; `shots` is how many examples were to be shown, `scores` is empty where nothing is scored."""

    prompt: str
    answer: Answer
    scores: Mapping[str, float]
    shots: int = 0


# --- the view ----------------------------------------------------------------------------------------------------------------------------


def prompt_view(example: Example, tried: Sequence[Tried], tokenizer: Tokenizer) -> str:
    """Return static, escaped HTML of what each prompt made of a question, side by side.

    First the answer as a user would see it with its scores, then each call of the generator: its messages, with their tokens of the
    measuring `tokenizer`, and the completion as it was generated. HEAD and TAIL characters of a message stand open, SHOT at both ends of
    a shot.
    """
    legend = (
        f"Tokens of messages are of {brief(tokenizer.name)}, without what a chat template adds; those of completions are the generator's."
    )
    columns = [column(item.prompt, _column(example, item, tokenizer)) for item in tried]
    return page(question_head(example) + f'<div class="row faint">{folded(legend)}</div>', columns)


def _column(example: Example, tried: Tried, tokenizer: Tokenizer) -> str:
    answer = tried.answer
    parts = [_result(answer), _scores(tried.scores), _facts(answer), _passages(example, answer)]
    for number, step in enumerate(answer.steps, start=1):
        last = step is answer.steps[-1]
        name = f"Step {number} of {len(answer.steps)}: {step.name}" if len(answer.steps) > 1 else "What was sent"
        parts.append(f'<div class="item" role="heading" aria-level="5"><b>{escape(brief(name))}</b></div>')
        parts += _messages(step.messages, last and tried.shots > 0, counter(tokenizer))
        parts.append(_completion(step.completion))
    return "".join(parts)


def _box(kind: str, role: str, facts: Iterable[str], text: str, head: int = SHOWN, tail: int = 0) -> str:
    """Return a framed text under its role; kind, role and facts are trusted."""
    title = " · ".join([f'<span class="role">{role}</span>', *facts])
    body = folded(text, head, tail) if text else '<div class="faint">(no text)</div>'
    return f'<div class="box {kind}" role="group" aria-label="{role}"><div class="faint">{title}</div>{body}</div>'


def _result(answer: Answer) -> str:
    if answer.error:
        return _box("wrong", "No answer", (), answer.error)
    return _box("written", "Answer", ["refused"] * answer.refused, answer.text)


def _scores(scores: Mapping[str, float]) -> str:
    """Return scores as a table; a question that a metric is not asked of has no row, and what is left unscored says so."""
    rows = "".join(
        f'<tr><th scope="row">{name}</th><td>{"unscored" if math.isnan(value) else f"{value:.2f}"}</td></tr>'
        for name, value in scores.items()
    )
    return f'<table aria-label="scores">{rows}</table>' if rows else ""


def _facts(answer: Answer) -> str:
    """Return what postprocessing found in a completion and did to it."""
    facts = [(note.hook, note.text) for note in answer.notes]
    if answer.citations:
        facts.insert(0, ("cites", ", ".join(f"passage {number}" for number in answer.citations)))
    if answer.valid is not None and "format" not in dict(facts):  # its note says what is wrong
        facts.insert(0, ("format", f"{'' if answer.valid else 'not '}as the prompt asks"))
    return "".join(labelled(f"{name}:", text, SHOWN) for name, text in facts)


def _passages(example: Example, answer: Answer) -> str:
    """Return the passages that the generator was shown, as they are numbered in its context, evidence underlined."""
    if not answer.passages:
        return '<div class="faint">No passage was shown.</div>'
    rows, holding = [], []
    for number, passage in enumerate(answer.passages, start=1):
        evidence = evidence_ranges(example, passage.span)
        holding += [str(number)] if evidence else []
        badge = ' <span class="badge found">evidence</span>' if evidence else ""
        title = folded(passage.title or passage.span.document_id, LABEL)
        text = folded(passage.text, HEAD, evidence=evidence)
        rows.append(f'<div class="item"><div class="row"><b>[{number}]</b>{badge} {title}</div>{text}</div>')
    known = f", evidence in {', '.join(holding) or 'none'}" if example.evidence else ""
    summary = f"{plural(len(rows), 'passage')}, {plural(answer.context_tokens, 'token')} of context{known}"
    return f"<details><summary>{summary}</summary>{''.join(rows)}</details>"


def _messages(messages: Sequence[Message], with_shots: bool, count: Callable[[str], int]) -> list[str]:
    """Return a box for each message; questions and answers before the last question are shots, where shots were asked for."""
    talk = [message for message in messages if message.role != "system"]
    boxes, shot = [], 0
    for message in messages:
        facts, ends = [plural(count(message.content), "token")], (HEAD, TAIL)
        if with_shots and message.role != "system" and message is not talk[-1]:
            shot += message.role == "user"
            facts, ends = [f"shot {shot}", *facts], (SHOT, SHOT)
        boxes.append(_box(message.role, message.role, facts, message.content, *ends))
    return boxes


def _completion(completion: Completion) -> str:
    facts = [FINISHED[completion.finish_reason]]
    if completion.prompt_tokens is not None:
        facts.append(f"read {plural(completion.prompt_tokens, 'token')}")
    if completion.completion_tokens is not None:
        facts.append(f"wrote {plural(completion.completion_tokens, 'token')}")
    failed = completion.finish_reason == "error"
    return _box("wrong" if failed else "written", "completion, as generated", facts, completion.error if failed else completion.text)


# --- answering ---------------------------------------------------------------------------------------------------------------------------


class Prompts:
    """Answer questions with several prompts and one generator; parts are built once, at the first question, and hits are shared."""

    def __init__(self, prepared: Prepared, settings: Settings, prompts: Sequence[str], cached: bool = True) -> None:
        if isinstance(prompts, str) or not prompts:
            raise WorkbenchError(f"prompts {prompts!r} must be a list of at least one prompt, such as ['plain', 'concise']")
        if settings.generator == NONE:
            raise WorkbenchError("a prompt playground needs a generator: set generator to extractive, hf:MODEL or openai:MODEL")
        check_tokenizer(prepared, settings)
        self.prepared = prepared
        self.prompts = {
            name: load_prompt(name, prepared.language) for name in [resolve_prompt(name, prepared.language) for name in prompts]
        }
        self.settings = resolve(settings.replace(prompt=next(iter(self.prompts))), prepared)
        self.cache = Cache(cache_file()) if cached else None
        self._parts: Parts | None = None

    def answer(self, example: Example, names: Iterable[str]) -> list[Tried]:
        """Return what each of these prompts makes of a question; one that fails gets an answer with an error, the others go on."""
        with closing(self.cache) if self.cache else nullcontext():  # it opens again where it is used next
            if self._parts is None:
                self._parts = build(self.settings, self.prepared, Models(self.cache))
            pipeline = self._parts.pipeline
            assert pipeline
            hits, contexts = retrieve_to_fill(
                pipeline.retriever,
                [example],
                pipeline.top_k,
                pipeline.budget,
                pipeline.tables,
                pipeline.chunks,
                pipeline.chunk_tokens,
            )
            tried = []
            for name in names:
                prompt = self.prompts[name]
                try:
                    answer = replace(pipeline, prompt=prompt).answer_from([example], hits, contexts)[0]
                except WorkbenchError as error:  # shown in the place of the answer
                    answer = Answer(
                        example.id, example.question, "", steps=(Step("answer", (), Completion("", "error", error=str(error))),)
                    )
                scores = {} if example.id == FREE else score_answer(example, answer, self.prepared.language, prompt.citations)
                tried.append(Tried(name, answer, scores, self.settings.shot_count))
        return tried


def try_prompts(
    prepared: Prepared, settings: Settings, prompts: Sequence[str], question: str = "", cached: bool = True
) -> tuple[Example, list[Tried]]:
    """Return a question (its id, its text, or any text) and what each prompt makes of it, from the same hits."""
    example, group = find_question(prepared.dataset, question), Prompts(prepared, settings, prompts, cached)
    return example, group.answer(example, group.prompts)


# --- the interface -----------------------------------------------------------------------------------------------------------------------


def prompt_playground(prepared: Prepared, settings: Settings, prompts: Sequence[str], question: str = "", cached: bool = True) -> Any:
    """Return an interface that asks one question after the other with each of several prompts; it answers when its button is pressed.

    Prompts and settings are checked before any widget is made, so wrong arguments raise WorkbenchError here. With the environment variable
    WORKBENCH_HEADLESS set, answer the question, return that static view and create no widget.
    """
    example, group = find_question(prepared.dataset, question), Prompts(prepared, settings, prompts, cached)

    def view(example: Example, names: Iterable[str]) -> str:
        return prompt_view(example, group.answer(example, names), prepared.tokenizer)

    if os.environ.get("WORKBENCH_HEADLESS"):
        from IPython.display import HTML

        return HTML(view(example, group.prompts))
    return _wire(prepared.dataset, list(group.prompts), view, example, group.settings.generator)


def _wire(dataset: Dataset, names: Sequence[str], view: Callable[[Example, Iterable[str]], str], example: Example, generator: str) -> Any:
    """Build the controls; only the button answers, since models are slow."""
    import ipywidgets

    chosen = ipywidgets.SelectMultiple(
        options=[(brief(name), name) for name in names],
        value=tuple(names),
        rows=min(len(names), 8),
        description="prompts",
        layout={"width": "min(100%, 720px)"},
        style={"description_width": "90px"},
    )
    run = ipywidgets.Button(description="run", icon="play", button_style="primary", tooltip="answer the question with each prompt selected")
    status = ipywidgets.HTML(WAITING)
    result = ipywidgets.HTML()
    crash = ipywidgets.Output()  # shows the traceback of an error that is not about the input
    controls, current = question_controls(dataset, example, lambda: setattr(status, "value", WAITING))

    @crash.capture(clear_output=True)
    def answer(_button: Any) -> None:
        run.disabled, status.value, result.value = True, f"{escape(brief(generator))} is answering …", ""
        try:
            if not chosen.value:
                raise WorkbenchError("select at least one prompt")
            result.value = view(current(), chosen.value)
        except WorkbenchError as error:
            result.value = error_box(str(error))
        finally:
            run.disabled, status.value = False, ""

    run.on_click(answer)
    chosen.observe(lambda _change: setattr(status, "value", WAITING), "value")
    return ipywidgets.VBox([*controls, chosen, ipywidgets.HBox([run, status]), crash, result])
