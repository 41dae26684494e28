"""The annotator without a browser: messages are answered, what is shown is escaped and in both languages, nothing is lost."""

import json
import re
import subprocess
import sys

import ipywidgets
import pytest
from hypothesis import given, settings
from IPython.display import HTML
from shown_page import NASTY, Page, texts

from workbench import data
from workbench.data_annotations import Annotations, ChangedOutside
from workbench.datatypes import WorkbenchError
from workbench.widgets_annotator import annotation_view, annotator, evidence_of, respond

TEXT = "👍 3일 전까지 신청합니다.\n\n예외는 없습니다. 3일 전까지."


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("WORKBENCH_HEADLESS", raising=False)
    monkeypatch.setenv("WORKBENCH_LANG", "en")
    (tmp_path / "leave.md").write_text(TEXT, encoding="utf-8")
    (tmp_path / "other.md").write_text("# Other\n\nNothing here.", encoding="utf-8")
    return tmp_path


def span(quote, number=0, same=False, text=TEXT):
    """Return a span as a browser counts it."""
    parts = text.split(quote)
    start = len(quote.join(parts[: number + 1]).encode("utf-16-le")) // 2
    return {"document": "leave", "start": start, "end": start + len(quote.encode("utf-16-le")) // 2, "text": quote, "same": same}


def form(**fields):
    return {"name": None, "question": "", "answers": "", "unanswerable": False, "document": "leave", "spans": []} | fields


def save(notes, **fields):
    return respond(notes, 100, {"do": "save", "form": form(**fields)})


def test_what_is_selected_and_typed_is_saved_and_shown_again(folder):
    notes = Annotations(str(folder))
    opened = respond(notes, 100, {"do": "open"})
    assert [each["title"] for each in opened["documents"]] == ["leave", "Other (other)"]
    assert opened["path"] == str(folder / "questions.jsonl")
    assert respond(notes, 100, {"do": "read", "document": "leave"}) == {"document": {"id": "leave", "text": TEXT}}
    first, second = span(" 3일 전까지"), span("3일 전까지", 1, same=True)
    third = span("예외는 없습니다.\t"[:-1])
    made = save(notes, question="언제?", answers="3일 전\n\n 사흘 전 ", spans=[first, second, third])
    assert (made["saved"], made["remarks"]) == ("q-001", ["Not in the evidence word for word: 사흘 전"])
    (row,) = made["state"]["questions"]
    assert row["answers"] == ["3일 전", "사흘 전"]
    assert [(each["start"], each["end"], each["same"]) for each in row["spans"]] == [
        (first["start"] + 1, first["end"], False),
        (second["start"], second["end"], True),
        (third["start"], third["end"], False),
    ]
    example = data.load(str(folder)).examples[0]
    shown = [[TEXT[each.start : each.end] for each in unit] for unit in example.evidence]
    assert shown == [["3일 전까지", "3일 전까지"], ["예외는 없습니다."]]
    assert made["state"]["counts"] == {"leave": 1}
    assert made["state"]["progress"].startswith("1 of 100 questions · 1 of 2 documents have one")
    assert evidence_of(notes, row["spans"]) == example.evidence


def test_a_question_is_edited_deleted_and_brought_back(folder):
    notes = Annotations(str(folder))
    save(notes, question="언제?", answers="3일 전", spans=[span("3일 전까지")])
    gone = save(notes, question="언제?", answers="x", spans=[span("3일 전까지")], unanswerable=True, name="q-001")
    assert gone["state"]["questions"][0]["unanswerable"]
    assert gone["state"]["questions"][0]["places"] == ["leave"]
    assert gone["state"]["undo"] == "Undo: saved q-001"
    assert not data.load(str(folder)).examples[0].answerable
    assert respond(notes, 100, {"do": "delete", "name": "q-001"})["state"]["questions"] == []
    assert respond(notes, 100, {"do": "undo"})["state"]["questions"][0]["unanswerable"]
    back = respond(notes, 100, {"do": "undo"})["state"]
    assert back["questions"][0]["answers"] == ["3일 전"]
    assert respond(notes, 100, {"do": "undo"})["state"]["undo"] == ""


@pytest.mark.parametrize(
    ("fields", "english", "korean"),
    [
        ({"question": " \n", "answers": "x"}, "Write the question", "질문을 쓰세요"),
        ({"question": "q?", "answers": " \n"}, "Select evidence", "본문에서 근거를 선택"),
        ({"question": "q?", "spans": [span("\n\n")]}, "white space only", "공백뿐"),
    ],
)
def test_what_is_missing_is_said_in_the_language_of_the_interface(folder, monkeypatch, fields, english, korean):
    notes = Annotations(str(folder))
    for language, message in (("en", english), ("ko", korean)):
        monkeypatch.setenv("WORKBENCH_LANG", language)
        with pytest.raises(WorkbenchError, match=message):
            save(notes, **fields)
    assert not (folder / "questions.jsonl").exists()


def test_evidence_that_is_not_what_was_selected_is_refused(folder):
    draft = span("3일 전까지")
    (folder / "leave.md").write_text(f"새 안내. {TEXT}", encoding="utf-8")
    notes = Annotations(str(folder))
    with pytest.raises(WorkbenchError, match=r"this evidence is not there any more; .* again: 3일 전까지"):
        save(notes, question="언제?", spans=[draft])
    assert notes.entries == ()
    long = span(f"새 안내. {TEXT}", text=f"새 안내. {TEXT}")
    (row,) = save(notes, question="언제?", spans=[long])["state"]["questions"]
    assert row["spans"][0]["text"] == long["text"]  # whole, with its line breaks


def test_an_imported_question_may_name_a_document_that_is_not_here(folder):
    line = {"id": "a", "question": "Gym?", "unanswerable": True, "document": "leave.md"}
    (folder / "questions.jsonl").write_text(json.dumps(line), encoding="utf-8")
    opened = respond(Annotations(str(folder)), 100, {"do": "open"})
    assert opened["state"]["questions"][0]["places"] == []


def test_a_file_changed_outside_is_seen_before_and_when_saving(folder):
    notes, other = Annotations(str(folder)), Annotations(str(folder))
    assert respond(notes, 100, {"do": "ping"}) == {"changed": False}
    save(other, question="Mine?", answers="x")
    assert respond(notes, 100, {"do": "ping"}) == {"changed": True}
    with pytest.raises(ChangedOutside):
        save(notes, question="Yours?", answers="x")
    read = respond(notes, 100, {"do": "reload"})
    assert [each["question"] for each in read["state"]["questions"]] == ["Mine?"]
    assert save(notes, question="Mine", answers="x")["remarks"][0] == "The same question stands there already: q-001"


def test_progress_says_which_differences_the_questions_show(folder):
    notes = Annotations(str(folder))
    assert respond(notes, 50, {"do": "open"})["state"]["progress"].endswith("too few to show a difference between two settings")
    for number in range(40):
        notes.put(f"Number {number}?", ["x"])
    state = respond(notes, 50, {"do": "open"})["state"]
    assert state["share"] == 0.8
    assert re.search(r"shows differences of about 0\.1\d or more", state["progress"])


def messages(widget, monkeypatch):
    sent = []
    monkeypatch.setattr(type(widget), "send", lambda self, content, buffers=None: sent.append(content))

    def tell(message):
        widget._handle_custom_msg({"number": "n", **message}, [])
        return sent[-1]

    return tell


def test_every_message_gets_a_reply_and_errors_are_shown(folder, monkeypatch, caplog):
    shown = annotator(str(folder))
    assert isinstance(shown, ipywidgets.VBox)
    widget, crash = shown.children
    tell = messages(widget, monkeypatch)
    cleared = []
    monkeypatch.setattr(ipywidgets.Output, "clear_output", lambda *_: cleared.append(True))
    assert tell({"do": "ping"}) == {"number": "n", "changed": False}
    assert not cleared  # what went wrong before stays until something is done
    assert tell({"do": "undo"}) == {"number": "n", "error": "nothing to undo"}
    Annotations(str(folder)).put("Outside?", ["x"])
    assert tell({"do": "save", "form": form(question="q?", answers="x")})["changed"] is True
    assert crash.outputs == ()
    assert len(cleared) == 2
    assert tell({"do": "save"})["error"].startswith("An error in the program")  # no form: not a message of ours
    assert "KeyError: 'form'" in caplog.text  # where a kernel runs, `crash` shows it
    assert widget.words["save"] == "Save"


def test_the_saved_notebook_and_headless_show_the_same_page(folder, monkeypatch):
    save(Annotations(str(folder)), question="언제?", answers="3일 전", spans=[span("3일 전까지")])
    bundle, _ = annotator(str(folder))._repr_mimebundle_()
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    page = annotator(f"folder:{folder}", goal=40)
    assert isinstance(page, HTML)
    assert "1 of 40 questions" in page.data
    assert bundle["text/html"] == page.data.replace("1 of 40", "1 of 100")
    shown = Page(page.data)
    assert "언제?" in shown.text
    assert "3일 전까지 (leave)" in shown.text


def test_any_data_set_can_be_copied_to_a_folder_and_worked_on(folder, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    assert "demo" not in {each.name for each in folder.iterdir()}
    page = annotator("demo-ko", copy_to=folder / "demo").data
    assert page == annotator(f"jsonl:{folder / 'demo'}").data
    for wrong in ({"source": "demo-ko"}, {"source": str(folder), "goal": 0}, {"source": str(folder / "none")}):
        with pytest.raises(WorkbenchError):
            annotator(**wrong)


@given(texts, texts)
@settings(max_examples=40, deadline=None)
def test_text_is_escaped_everywhere(tmp_path_factory, title, question):
    folder = tmp_path_factory.mktemp("nasty")
    record = {"id": NASTY, "title": title, "text": NASTY + "end"}
    (folder / "documents.jsonl").write_text(json.dumps(record), encoding="utf-8")
    line = {"id": "q", "question": question + "?", "answers": [NASTY], "evidence": [{"document": NASTY, "start": 0, "end": 30}]}
    (folder / "questions.jsonl").write_text(json.dumps(line), encoding="utf-8")
    page = annotation_view(Annotations(str(folder)))
    assert "<script" not in page
    assert "<img" not in page
    assert Page(page).open == []


def test_the_korean_page_is_korean(folder, monkeypatch):
    monkeypatch.setenv("WORKBENCH_LANG", "ko")
    save(Annotations(str(folder)), question="육아휴직은?", unanswerable=True)
    text = Page(annotation_view(Annotations(str(folder)))).text
    for part in ("질문 1/100개", "질문이 있는 문서 1/2개", "문서", "답 없음"):
        assert part in text


def test_importing_loads_no_widgets():
    probe = "import sys, workbench.widgets_annotator; print({'ipywidgets', 'anywidget', 'scipy', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout == "set()\n"
