"""Write questions about one's own documents: select evidence in a document, ask, answer; every change is saved as questions.jsonl.

What a question must have, what is doubtful about it and how it is stored is decided in data_annotations.py; the browser
(static/annotator.js) shows documents and says what was selected and typed.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench import registry
from workbench.data_annotations import Annotation, Annotations, ChangedOutside, Progress, copy_documents, places_of
from workbench.data_records import items
from workbench.data_spans import Units, trimmed
from workbench.datatypes import Document, Span, WorkbenchError
from workbench.widgets_annotator_words import WORDS, say
from workbench.widgets_language import LANGUAGES, language
from workbench.widgets_saved import saved_as
from workbench.widgets_style import STYLE, brief, escape, folded, labelled

STATIC = Path(__file__).resolve().parent / "static"
GOAL = 100  # questions that show middling differences between settings
SHOWN_QUOTE = 160  # characters of a piece of evidence
SHOWN_ROWS = 200  # documents and questions of the static view
_units = functools.lru_cache(maxsize=1000)(Units)  # every save tells all places again, of the same documents


# --- plain functions: what is shown, and what a message of the browser does ---------------------------------------------------------------


def progress_line(counted: Progress, documents: int, goal: int) -> str:
    """Return one line: questions of the goal, how many of the documents have one, and the smallest difference that the questions show."""
    line = say("progress", total=counted.questions, goal=goal, asked=len(counted.by_document), documents=documents)
    from workbench.stats_power import planned

    smallest = planned(counted.by_group).detectable() if len(counted.by_group) > 1 else math.inf
    return f"{line} · {say('shows', difference=f'{smallest:.2f}') if smallest <= 1 else say('shows_none')}"


def remarks(entry: Annotation, twice: Mapping[str, str]) -> list[str]:
    """Return what is doubtful about a question, in words; `twice` is that of the set."""
    found = [("problem", entry.problem)] if entry.problem else []
    found += [("twice", twice[entry.id])] if entry.id in twice else []
    return [say(kind, about=brief(about)) for kind, about in (*found, *entry.warnings)]


def shown_questions(annotations: Annotations, goal: int) -> dict[str, Any]:
    """Return what the browser shows of the questions; places in documents count UTF-16 units."""
    twice = annotations.twice()
    known = {document.id for document in annotations.documents}
    rows = []
    for entry in annotations.entries:
        example, spans = entry.example, []
        for unit in example.evidence if example else ():
            for number, span in enumerate(unit):
                text = annotations.document(span.document_id).text
                count = _units(text)
                places = {"start": count.of(span.start), "end": count.of(span.end)}
                spans.append({"document": span.document_id, **places, "text": text[span.start : span.end], "same": number > 0})
        answers = example.answers if example else entry.record.get("answers")
        rows.append(
            {
                "id": entry.id,
                "question": example.question if example else entry.record["question"],
                "answers": [" ".join(str(answer).splitlines()) for answer in items(answers)],  # the form has one a line
                "unanswerable": not example.answerable if example else bool(entry.record.get("unanswerable")),
                "spans": spans,
                "places": [place for place in places_of(example, entry.record) if place in known],
                "remarks": remarks(entry, twice),
            }
        )
    counted = annotations.progress()
    undoable = annotations.undoable
    return {
        "questions": rows,
        "counts": dict(counted.by_document),
        "share": min(1.0, counted.questions / goal),
        "progress": progress_line(counted, len(annotations.documents), goal),
        "undo": say(f"undo_{undoable[0]}", name=undoable[1]) if undoable else "",
        "others": say("others", count=len(annotations.others)) if annotations.others else "",
    }


def evidence_of(annotations: Annotations, spans: list[Mapping[str, Any]]) -> tuple[tuple[Span, ...], ...]:
    """Return the evidence that was selected: spans in UTF-16 units, each needed too, or with `same` another place for the one before it.

    Raise WorkbenchError where a span is white space only, or no longer holds the text that was selected.
    """
    units: list[list[Span]] = []
    for each in spans:
        text = annotations.document(each["document"]).text
        place = trimmed(text, *_units(text).whole(each["start"], each["end"]))
        if place is None:
            raise WorkbenchError(say("white"))
        if text[slice(*place)] != each["text"].strip():  # what is typed outlives a new run of the cell, which may read another text
            raise WorkbenchError(say("moved", about=brief(each["text"])))
        if each["same"] and units:
            units[-1].append(Span(each["document"], *place))
        else:
            units.append([Span(each["document"], *place)])
    return tuple(map(tuple, units))


def save_form(annotations: Annotations, form: Mapping[str, Any]) -> Annotation:
    """Save what the form holds; raise WorkbenchError, in the language of the interface, for a question that is not one."""
    answers = [line for line in form["answers"].splitlines() if line.strip()]
    if not form["question"].strip():
        raise WorkbenchError(say("no_question"))
    if not form["unanswerable"] and not answers and not form["spans"]:
        raise WorkbenchError(say("no_gold"))
    if form["unanswerable"]:
        return annotations.put(form["question"], document=form["document"], name=form["name"])
    return annotations.put(form["question"], answers, evidence_of(annotations, form["spans"]), form["document"], form["name"])


def respond(annotations: Annotations, goal: int, message: Mapping[str, Any]) -> dict[str, Any]:
    """Do what a message of the browser asks for, and return the reply; raise WorkbenchError where that cannot be done."""
    kind = message["do"]
    if kind == "ping":
        return {"changed": annotations.changed_outside()}
    if kind == "read":
        document = annotations.document(message["document"])
        return {"document": {"id": document.id, "text": document.text}}
    reply: dict[str, Any] = {}
    if kind == "save":
        made = save_form(annotations, message["form"])
        reply = {"saved": made.id, "remarks": remarks(made, annotations.twice())}
    elif kind == "delete":
        annotations.delete(message["name"])
    elif kind == "undo":
        annotations.undo()
    elif kind == "reload":
        annotations.reload()
    if kind in ("open", "reload"):
        reply["documents"] = [{"id": each.id, "title": _titled(each)} for each in annotations.documents]
        reply["path"] = str(annotations.path)
    return reply | {"state": shown_questions(annotations, goal)}


def _titled(document: Document) -> str:
    return brief(f"{document.title} ({document.id})" if document.title not in ("", document.id) else document.id)


def annotation_view(annotations: Annotations, goal: int = GOAL) -> str:
    """Return static, escaped HTML: the progress, the questions of each document, and the questions."""
    counted = annotations.progress()
    rows = "".join(
        f"<tr><td>{escape(_titled(each))}</td><td>{counted.by_document.get(each.id, 0)}</td></tr>"
        for each in annotations.documents[:SHOWN_ROWS]
    )
    heads = f'<tr><th scope="col">{say("document")}</th><th scope="col">{say("questions")}</th></tr>'
    parts = [
        f"<b>{escape(progress_line(counted, len(annotations.documents), goal))}</b>",
        f"<table>{heads}{rows}</table>",
        _more(len(annotations.documents)),
    ]
    for row in shown_questions(annotations, goal)["questions"][:SHOWN_ROWS]:
        lines = [f'<div class="row"><b>{escape(row["id"])}</b> {folded(row["question"], SHOWN_QUOTE)}</div>']
        lines += [labelled(say("answer"), answer) for answer in row["answers"]]
        lines += [labelled(say("evidence"), f"{span['text']} ({span['document']})", 2 * SHOWN_QUOTE) for span in row["spans"]]
        lines += [f'<div class="faint">{say("unanswerable_kind")}</div>'] if row["unanswerable"] else []
        lines += [f'<div class="found">! {escape(remark)}</div>' for remark in row["remarks"]]
        parts.append(f'<div class="item">{"".join(lines)}</div>')
    parts.append(_more(len(annotations.entries)))
    return f'{STYLE}<div class="workbench-view">{"".join(parts)}</div>'


def _more(count: int) -> str:
    return f'<div class="faint">{say("more", count=count - SHOWN_ROWS)}</div>' if count > SHOWN_ROWS else ""


# --- the interface -----------------------------------------------------------------------------------------------------------------------


def annotator(source: str, goal: int = GOAL, copy_to: Path | str | None = None) -> Any:
    """Return an interface to write questions about the documents of `folder:DIR` or `jsonl:DIR` (or of the path of such a folder).

    Questions are saved in questions.jsonl of that folder, so that the same spec loads both. `copy_to` names a folder to copy the documents
    and questions of any data set to, once, and to work there. `goal` is the number of questions to reach. The static view is made first,
    so wrong arguments raise WorkbenchError here. With the environment variable WORKBENCH_HEADLESS set, return that view and create no
    widget.
    """
    if goal < 1:
        raise WorkbenchError(f"the goal must be 1 question or more, got {goal}")
    annotations = Annotations(source if copy_to is None else copy_documents(source, copy_to))
    first = annotation_view(annotations, goal)
    if os.environ.get("WORKBENCH_HEADLESS"):
        from IPython.display import HTML

        return HTML(first)
    return saved_as(_wire(annotations, goal), first)


def _wire(annotations: Annotations, goal: int) -> Any:
    """Build the widget; each message of the browser gets one reply, an error too."""
    registry.require("anywidget", "lab", "the annotator")
    import anywidget
    import ipywidgets
    import traitlets

    class Annotator(anywidget.AnyWidget):
        _esm = (STATIC / "annotator.js").read_text(encoding="utf-8")
        _css = (STATIC / "annotator.css").read_text(encoding="utf-8")
        words = traitlets.Dict({key: pair[LANGUAGES.index(language())] for key, pair in WORDS.items()}).tag(sync=True)

    widget = Annotator()
    crash = ipywidgets.Output()  # shows the traceback of an error that is not about the input

    @crash.capture()
    def handle(_widget: Any, message: Mapping[str, Any], _buffers: Any) -> None:
        reply: dict[str, Any] = {"error": say("crashed")}
        if message["do"] != "ping":  # a beat leaves what nobody has read yet
            crash.clear_output()
        try:
            reply = respond(annotations, goal, message)
        except ChangedOutside:
            reply = {"error": say("changed"), "changed": True}
        except WorkbenchError as error:
            reply = {"error": str(error)}
        finally:
            widget.send({**reply, "number": message["number"]})

    widget.on_msg(handle)
    return ipywidgets.VBox([widget, crash])
