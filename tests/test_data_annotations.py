"""Annotation sets: every change is on the disk, loads again to the same spans, and destroys nothing."""

import json
import os
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench import data
from workbench.data_annotations import Annotations, ChangedOutside, copy_documents, places_of
from workbench.data_spans import Units, trimmed
from workbench.datatypes import Span, WorkbenchError

LEAVE = "연차휴가는 3일 전까지 신청합니다.\n\n이월한 연차는 3월 말까지 씁니다. 예외 없음.\n예외 없음."


@pytest.fixture
def folder(tmp_path):
    """Give a folder of two documents without any question; one decomposed, in CR LF and with front matter."""
    text = f"---\ntitle: 휴가\ngroup: 인사\n---\n{LEAVE}".replace("\n", "\r\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / unicodedata.normalize("NFD", "휴가.md")).write_bytes(unicodedata.normalize("NFD", text).encode())
    (tmp_path / "fees.txt").write_text("Returns are free 👍 within 14 days. Returns are free.\n", encoding="utf-8")
    return tmp_path


def span(annotations, document, quote, number=0):
    text = annotations.document(document).text
    start = -1
    for _ in range(number + 1):
        start = text.index(quote, start + 1)
    return Span(document, start, start + len(quote))


def test_a_folder_without_questions_becomes_an_evaluation_set(folder):
    notes = Annotations(str(folder))
    assert notes.entries == ()
    once, twice = span(notes, "docs/휴가", "3일 전까지"), span(notes, "docs/휴가", "예외 없음.", 1)
    free, again = span(notes, "fees", "Returns are free"), span(notes, "fees", "Returns are free", 1)
    notes.put("휴가는 며칠 전에 올려요?", ["3일 전 ", "3일 전", ""], ((once,), (twice,)))
    notes.put("What does sending back cost?", ["nothing"], ((free, again, free), ()))
    notes.put("육아휴직은 몇 달?", document="docs/휴가")
    loaded = data.load(f"folder:{folder}")
    assert not loaded.losses
    assert [(each.id, each.answers, each.evidence) for each in loaded.examples] == [
        ("q-001", ("3일 전",), ((once,), (twice,))),
        ("q-002", ("nothing",), ((free, again),)),
        ("q-003", (), ()),
    ]
    assert loaded.examples[2].metadata["group"] == "인사"
    assert data.check(loaded).exit_code == 0
    again = Annotations(f"folder:{folder}")
    assert [entry.example for entry in again.entries] == list(loaded.examples)
    assert again.progress().by_document == {"docs/휴가": 2, "fees": 1}
    assert places_of(again.entries[2].example, again.entries[2].record) == ["docs/휴가"]


PIECES = ["가", "\u1100\u1161", "각", "\u1100", "\u1161", "e\u0301", "👍🏽", "\r\n", " ", "a", "\ufeff", "\u0301"]


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=25), st.data())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_selection_loads_again_as_the_text_that_was_selected(tmp_path, pieces, draw):
    text = "".join(pieces) + "."
    if not text.replace("\ufeff", "").strip():
        return
    (tmp_path / "questions.jsonl").unlink(missing_ok=True)
    (tmp_path / "documents.jsonl").write_text(json.dumps({"id": "d", "text": text}))
    notes = Annotations(f"jsonl:{tmp_path}")
    clean = notes.document("d").text
    units = len(clean.encode("utf-16-le")) // 2
    low, high = sorted(draw.draw(st.lists(st.integers(0, units), min_size=2, max_size=2, unique=True)))
    place = trimmed(clean, *Units(clean).whole(low, high))
    if place is None:
        return
    notes.put("q?", (), ((Span("d", *place),),))
    (found,) = data.load(f"jsonl:{tmp_path}").examples[0].evidence[0]
    assert found.start <= place[0]
    assert place[1] <= found.end  # what merges in the file into one character counts whole
    if "\u0301" not in clean:
        assert (found.start, found.end) == place


@given(st.text(st.one_of(st.sampled_from("a 가👍\U0010ffff"), st.characters(exclude_categories=["Cs"])), max_size=30))
def test_units_count_as_utf_16_does(text):
    units = Units(text)
    for place in range(len(text) + 1):
        assert units.of(place) == len(text[:place].encode("utf-16-le")) // 2
        assert units.character(units.of(place)) == place
    for start, character in enumerate(text):
        for low in range(units.of(start), units.of(start + 1)):  # any part of a character is the character
            assert units.whole(low, low + 1) == (start, start + 1), character


@pytest.mark.parametrize(
    ("start", "end", "expected"), [(0, 5, (1, 4)), (1, 4, (1, 4)), (4, 5, None), (0, 1, None), (2, 2, None), (0, 6, None), (-1, 3, None)]
)
def test_white_space_at_the_ends_is_no_evidence(start, end, expected):
    assert trimmed("\nabc\t", start, end) == expected


RECORDS = [
    {"id": "by-hand", "question": "Cost?", "answers": "none", "evidence": {"document": "fees.txt", "quote": "within 14 days"}, "level": 3},
    {"id": "lost", "question": "Lost?", "answers": ["x"], "evidence": [{"document": "fees", "quote": "not there"}]},
    {"id": 7, "question": "Nobody knows?", "unanswerable": True, "metadata": {"type": "unanswerable", "kept": "yes"}},
]


@pytest.fixture
def stored(folder):
    (folder / "questions.jsonl").write_text("".join(json.dumps(each) + "\n\n" for each in RECORDS), encoding="utf-8")
    (folder / "questions.csv").write_text("id,question,answer\nq-041,Elsewhere?,yes\n", encoding="utf-8")
    return folder


def records(folder):
    return [json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]


def test_what_a_file_says_already_stays_unless_it_is_changed(stored):
    notes = Annotations(str(stored))
    assert [(entry.id, bool(entry.problem)) for entry in notes.entries] == [("by-hand", False), ("lost", True), ("7", False)]
    assert [each.id for each in notes.others] == ["q-041"]
    assert notes.put("New?", ["free"]).id == "q-042"  # ids of other files are taken
    assert records(stored)[:3] == RECORDS
    notes.put("What does it cost?", ["none"], notes.entries[0].example.evidence, name="by-hand")
    assert records(stored)[0] == RECORDS[0] | {"question": "What does it cost?", "answers": ["none"]}
    notes.put("Found?", ["free"], ((span(notes, "fees", "within 14 days"),),), name="lost")
    notes.put("Somebody knows?", ["free"], name="7")
    loaded = {each.id: each for each in data.load(str(stored)).examples}
    assert set(loaded) == {"by-hand", "lost", "7", "q-041", "q-042"}
    assert loaded["7"].answerable
    assert loaded["7"].metadata == {"kept": "yes"}
    assert loaded["by-hand"].metadata["level"] == 3
    notes.put("Nobody after all?", name="lost", document="fees")
    assert not {each.id: each for each in data.load(str(stored)).examples}["lost"].answerable


def test_each_change_can_be_taken_back_and_ids_are_not_used_again(folder):
    notes = Annotations(str(folder))
    for question in ("One?", "Two?"):
        notes.put(question, ["x"])
    before = records(folder)
    notes.put("Changed?", ["x"], name="q-001")
    notes.delete("q-002")
    assert [each["question"] for each in records(folder)] == ["Changed?"]
    assert notes.undoable == ("delete", "q-002")
    notes.undo()
    notes.undo()
    assert records(folder) == before
    notes.undo()
    assert notes.put("Three?", ["x"]).id == "q-003"
    for _ in range(2):
        notes.undo()
    assert records(folder) == []
    with pytest.raises(WorkbenchError, match="nothing to undo"):
        notes.undo()
    assert Annotations(str(folder)).entries == ()


def test_two_windows_do_not_overwrite_each_other(folder):
    first, second = Annotations(str(folder)), Annotations(str(folder))
    first.put("Mine?", ["x"])
    assert second.changed_outside()
    for change in (lambda: second.put("Yours?", ["x"]), lambda: second.put("Again?", ["x"])):
        with pytest.raises(ChangedOutside, match="nothing was saved"):
            change()
    assert (second.entries, second.undoable) == ((), None)
    second.reload()
    assert second.put("Yours?", ["x"]).id == "q-002"
    with pytest.raises(ChangedOutside):
        first.undo()
    assert [each["question"] for each in records(folder)] == ["Mine?", "Yours?"]
    (folder / "questions.jsonl").unlink()
    assert second.changed_outside()


@pytest.mark.parametrize("change", [lambda path: path.write_text(f"News: {path.read_text()}"), lambda path: path.rename(f"{path}.txt")])
def test_a_place_in_a_document_that_has_changed_since_is_not_saved(folder, change):
    notes = Annotations(str(folder))
    again = span(notes, "fees", "Returns are free", 1)  # stands twice, so that only its place tells
    change(folder / "fees.txt")
    with pytest.raises(WorkbenchError, match="'fees' has changed since it was read"):
        notes.put("Cost?", ["none"], ((again,),))
    assert not (folder / "questions.jsonl").exists()
    notes.reload()
    again = span(notes, notes.documents[-1].id, "Returns are free", 1)
    notes.put("Cost?", ["none"], ((again,),))
    assert data.load(str(folder)).examples[0].evidence == ((again,),)


def test_a_file_that_cannot_be_read_or_written_is_an_error(folder):
    for content in (b'{"id": "a"', b'["a"]', b'{"id": "a", "question": "?"}', b"\x00\xff\xfe\x01" * 9):
        (folder / "questions.jsonl").write_bytes(content)
        with pytest.raises(WorkbenchError):
            Annotations(str(folder))
        assert (folder / "questions.jsonl").read_bytes() == content
    (folder / "questions.jsonl").unlink()
    notes = Annotations(str(folder))
    os.rename(folder, folder.with_name("gone"))
    folder.write_text("a file in its place")
    with pytest.raises(WorkbenchError, match="cannot"):
        notes.put("Lost?", ["x"])
    assert notes.entries == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda notes: notes.put(" \n", ["x"]), "needs text"),
        (lambda notes: notes.put("?", (), ((Span("fees", 0, 999),),)), "outside its document of 53"),
        (lambda notes: notes.put("?", (), ((Span("fees", 0, 8),),)), "white space at an end"),
        (lambda notes: notes.put("?", (), ((Span("no", 0, 8),),)), "no document 'no'"),
        (lambda notes: notes.put("?", ["x"], name="q-009"), "no question 'q-009'"),
        (lambda notes: notes.delete("q-009"), "no question 'q-009'"),
    ],
)
def test_wrong_changes_change_nothing(folder, change, message):
    notes = Annotations(str(folder))
    with pytest.raises(WorkbenchError, match=message):
        change(notes)
    assert not (folder / "questions.jsonl").exists()


@pytest.mark.parametrize(
    ("question", "answers", "quote", "expected"),
    [
        ("연차휴가는 3일 전까지 신청합니까?", ["3일 전"], "연차휴가는 3일 전까지 신청합니다.", [("copied", "")]),
        ("휴가 쓰려면 언제까지 올려야 하나요?", ["3일  전!"], "연차휴가는 3일 전까지 신청합니다.", []),
        ("휴가 쓰려면 언제까지 올려야 하나요?", ["사흘 전"], "연차휴가는 3일 전까지 신청합니다.", [("not_in_evidence", "사흘 전")]),
        ("며칠 전?", [], "3일 전까지", [("no_answer", "")]),
        ("며칠 전?", ["3일"], None, [("no_evidence", "")]),
        ("육아휴직은?", [], None, []),
    ],
)
def test_what_makes_a_bad_question_is_said(folder, question, answers, quote, expected):
    notes = Annotations(str(folder))
    evidence = ((span(notes, "docs/휴가", quote),),) if quote else ()
    assert list(notes.put(question, answers, evidence).warnings) == expected
    assert list(Annotations(str(folder)).entries[0].warnings) == expected


@pytest.mark.parametrize("name", ["demo-ko", "demo-en"])
def test_questions_of_people_who_asked_in_their_own_words_are_no_copies(name, tmp_path):
    entries = Annotations(copy_documents(name, tmp_path / "copy")).entries
    copied = [entry.id for entry in entries if ("copied", "") in entry.warnings]
    assert len(copied) <= 0.02 * len(entries)


def test_the_same_question_is_named_and_questions_of_all_files_are_counted(stored):
    notes = Annotations(str(stored))
    notes.put("elsewhere", ["x"])
    assert notes.twice() == {"q-042": "q-041", "q-041": "q-042"}
    assert notes.progress().questions == 5
    assert sum(notes.progress().by_group) == 4  # one of them has evidence that is nowhere


def test_documents_of_any_data_set_are_copied_once(tmp_path):
    spec = copy_documents("demo-ko", tmp_path / "mine")
    source, loaded = data.load("demo-ko"), data.load(spec)
    assert [(each.id, each.text, each.group) for each in loaded.documents] == [
        (each.id, each.text, each.group) for each in source.documents
    ]
    assert {each.id: (each.question, each.evidence) for each in loaded.examples} == {
        each.id: (each.question, each.evidence) for each in source.examples
    }
    Annotations(spec).put("새 질문?", ["답"])
    assert copy_documents("demo-ko", tmp_path / "mine") == spec
    assert len(data.load(spec).examples) == len(source.examples) + 1
    with pytest.raises(WorkbenchError, match="other documents"):
        copy_documents("demo-en", tmp_path / "mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(WorkbenchError, match="other files"):
        copy_documents("demo-en", tmp_path / "full")


@pytest.mark.parametrize("spec", ["demo-ko", "squad:x.json", "table:x.csv"])
def test_what_is_no_folder_cannot_be_written_into(spec):
    with pytest.raises(WorkbenchError, match="no folder that questions can be written into"):
        Annotations(spec)
