"""Choose and show the question that an interface asks: one of the data set, or one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from workbench.datatypes import Dataset, Example, WorkbenchError
from workbench.pipeline import preprocess
from workbench.widgets import plural
from workbench.widgets_style import SHOWN, brief, labelled

MAX_QUESTIONS = 500  # in the dropdown
FREE = "own question"  # id of a question that is not of the data set


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
        gold = labelled("Gold answer:", " / ".join(example.answers), SHOWN)
    elif example.evidence:
        gold = '<div class="row faint">No gold answer; its evidence is known.</div>'
    elif example.id == FREE:
        gold = '<div class="row faint">Your own question: no gold answer, no evidence.</div>'
    else:
        gold = '<div class="row faint">Unanswerable: no document answers it.</div>'
    return labelled("Question:", example.question, SHOWN) + gold


def question_controls(dataset: Dataset, example: Example, ask: Callable[[], None]) -> tuple[list[Any], Callable[[], Example]]:
    """Return a list of the data set's questions and a box for one's own, and a function that tells which is asked.

    `ask` is called when that changes; taking a question from the list empties the box.
    """
    import ipywidgets

    wide = {"layout": {"width": "min(100%, 720px)"}, "style": {"description_width": "90px"}}
    listed = list(dataset.examples[:MAX_QUESTIONS])
    if example.id != FREE and example not in listed:
        listed.append(example)
    options = [(brief(f"{item.question} ({item.id})"), number) for number, item in enumerate(listed)]
    chosen = listed.index(example) if example.id != FREE else None
    choice = ipywidgets.Dropdown(options=options, value=chosen, description="question", **wide)
    own = ipywidgets.Text("" if example.id != FREE else example.question, description="or your own", continuous_update=False, **wide)
    own.placeholder = "any question, then Enter"
    left_out = len(dataset.examples) - len(listed)
    note = ipywidgets.HTML(f"{plural(left_out, 'more question')} not listed; type an id into the box." if left_out > 0 else "")

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
