"""Choose and show the question that an interface asks: one of the data set, or one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from workbench.datatypes import Dataset, Example, WorkbenchError
from workbench.pipeline import preprocess
from workbench.widgets_language import words
from workbench.widgets_style import SHOWN, brief, labelled

MAX_QUESTIONS = 500  # in the dropdown
FREE = "own question"  # id of a question that is not of the data set

WORDS = {
    "question": ("Question:", "질문:"),
    "gold": ("Gold answer:", "정답:"),
    "no gold": ("No gold answer; its evidence is known.", "정답은 없고 근거만 있음."),
    "free": ("Your own question: no gold answer, no evidence.", "직접 쓴 질문: 정답도 근거도 없음."),
    "unanswerable": ("Unanswerable: no document answers it.", "답할 수 없는 질문: 답이 있는 문서가 없음."),
    "choice": ("question", "질문"),
    "own": ("or your own", "직접 입력"),
    "placeholder": ("any question, then Enter", "질문을 쓰고 Enter"),
    "left out": ("{count:,} more questions not listed; type an id into the box.", "목록에 없는 질문 {count:,}개: 입력란에 id 입력."),
}
say = words(WORDS)


def find_question(dataset: Dataset, question: str = "") -> Example:
    """Return the question with this id or text, else this text as a question of its own; by default the first that has evidence."""
    if not question.strip():
        found = next((example for example in dataset.examples if example.evidence), next(iter(dataset.examples), None))
        if found is None:
            raise WorkbenchError(f"data set {dataset.name!r} has no questions; write one")
        return found
    own = preprocess(Example(FREE, question))
    known = (example for example in dataset.examples if question == example.id or own.question == example.question)
    return next(known, own)


def question_head(example: Example) -> str:
    """Return the question and its gold."""
    if example.answers:
        gold = labelled(say("gold"), " / ".join(example.answers), SHOWN)
    else:
        kind = "no gold" if example.evidence else "free" if example.id == FREE else "unanswerable"
        gold = f'<div class="row faint">{say(kind)}</div>'
    return labelled(say("question"), example.question, SHOWN) + gold


def question_controls(dataset: Dataset, example: Example, ask: Callable[[], None]) -> tuple[list[Any], Callable[[], Example]]:
    """Return a list of the data set's questions and a box for one's own, and a function that tells which is asked.

    `ask` is called when that changes; taking a question from the list empties the box.
    """
    import ipywidgets

    wide = {"layout": {"width": "min(100% - 4px, 720px)"}, "style": {"description_width": "130px"}}
    listed = list(dataset.examples[:MAX_QUESTIONS])
    if example.id != FREE and example not in listed:
        listed.append(example)
    options = [(brief(f"{item.question} ({item.id})"), number) for number, item in enumerate(listed)]
    chosen = listed.index(example) if example.id != FREE else None
    choice = ipywidgets.Dropdown(options=options, value=chosen, description=say("choice"), **wide)
    own = ipywidgets.Text("" if example.id != FREE else example.question, description=say("own"), continuous_update=False, **wide)
    own.placeholder = say("placeholder")
    left_out = len(dataset.examples) - len(listed)
    note = ipywidgets.HTML(say("left out", count=left_out) if left_out > 0 else "")

    def choose(_change: Mapping[str, Any]) -> None:
        if own.value:
            own.value = ""  # which asks
        else:
            ask()

    def current() -> Example:
        if own.value.strip() or choice.value is None:
            return find_question(dataset, own.value)
        return listed[choice.value]

    choice.observe(choose, "value")
    own.observe(lambda _change: ask(), "value")
    return [choice, own, note], current
