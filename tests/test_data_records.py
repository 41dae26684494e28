"""Test how records become documents and questions, by way of the JSON-lines reader."""

import json
import unicodedata

import pytest

from workbench import data
from workbench.datatypes import Span, WorkbenchError


def write_lines(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")


def jsonl_folder(folder, documents, questions):
    write_lines(folder / "documents.jsonl", documents)
    write_lines(folder / "questions.jsonl", questions)
    return f"jsonl:{folder}"


def evidence_texts(dataset, name):
    texts = {document.id: document.text for document in dataset.documents}
    example = next(example for example in dataset.examples if example.id == name)
    return [[texts[span.document_id][span.start : span.end] for span in unit] for unit in example.evidence]


DOCUMENTS = [
    {"id": "a", "text": "Alpha says one. Beta says two. Alpha ends.", "title": "A", "group": 5, "metadata": {"year": 2024, "tags": ["x"]}},
    {"id": "b", "text": "Gamma says three. \n", "lang": "en"},
    {"id": "c", "text": " \n"},
]


def test_jsonl_evidence_forms(tmp_path):
    either = [{"document": "a", "quote": "one"}, {"document": "b", "quote": "three"}]
    questions = [
        {"id": "quote", "question": "?1", "evidence": {"document": "a", "quote": " Beta says two.\r\n"}},
        {"id": "offsets", "question": "?2", "evidence": [{"document": "b", "start": 0, "end": 18, "text": "Gamma says three. "}]},
        {"id": "units", "question": "?3", "answers": "x", "evidence": [either, "two"]},
        {"id": "none", "question": "?4", "metadata": {"type": "unanswerable"}},
        {"id": "marked", "question": "?5", "unanswerable": True, "group": "g"},
        {"id": 6, "question": "?6", "answers": [1, "1", ""]},
    ]
    dataset = data.load(jsonl_folder(tmp_path, DOCUMENTS, questions))
    assert [(document.id, document.group) for document in dataset.documents] == [("a", "5"), ("b", "b")]
    assert dataset.documents[0].metadata == {"year": 2024, "group": "5"}
    assert dataset.documents[1].metadata == {"lang": "en"}
    assert dataset.losses == ("documents.jsonl:3: document 'c' is empty and was skipped",)
    assert "metadata that is neither text nor a number was left out: tags (1)" in dataset.notes
    assert evidence_texts(dataset, "quote") == [["Beta says two."]]
    assert evidence_texts(dataset, "offsets") == [["Gamma says three."]]
    assert evidence_texts(dataset, "units") == [["one", "three"], ["two"]]
    assert [example.answerable for example in dataset.examples] == [True, True, True, False, False, True]
    assert dataset.examples[4].metadata == {"group": "g"}
    assert (dataset.examples[5].id, dataset.examples[5].answers) == ("6", ("1",))


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ({"evidence": {"document": "a", "quote": "Alpha"}}, "occurs more than once in document 'a': 'Alpha'"),
        ({"evidence": {"document": "a", "quote": "Delta"}}, "not in document 'a': 'Delta'"),
        ({"evidence": {"document": "z", "quote": "Alpha"}}, "names a document that is not here: 'z'"),
        ({"evidence": {"document": "c", "quote": "Alpha"}}, "names a document that is not here: 'c'"),
        ({"evidence": {"document": "a", "quote": " "}}, "has an empty quote"),
        ({"evidence": "says"}, "is in 2 documents, and names none"),
        ({"evidence": 7}, "not an object with document and quote: 7"),
        ({"evidence": {"document": "a", "start": 0, "end": 500}}, "outside document 'a': 0 to 500 of 42 characters"),
        ({"evidence": {"document": "a", "start": 3, "end": 3}}, "outside document 'a'"),
        ({"evidence": {"document": "a", "start": 0, "end": 5, "text": "Gamma"}}, "expects 'Gamma' at 0 of document 'a', found 'Alpha'"),
        ({"evidence": [{"document": "a", "quote": "two"}, {"document": "a", "quote": "ten"}]}, "not in document 'a': 'ten'"),
        ({"answers": ["x"], "unanswerable": True}, "is marked unanswerable but has an answer or evidence"),
    ],
)
def test_jsonl_drops_and_lists_what_does_not_resolve(tmp_path, question, reason):
    good = {"id": "good", "question": "?", "answers": ["x"]}
    dataset = data.load(jsonl_folder(tmp_path, DOCUMENTS, [{"id": "bad", "question": "?", **question}, good]))
    assert [example.id for example in dataset.examples] == ["good"]
    assert dataset.losses[1].startswith("questions.jsonl:1: question 'bad' ")
    assert reason in dataset.losses[1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "q", ', r"questions.jsonl, line 2 is not valid JSON"),
        ("[1]", r"questions.jsonl, line 2 must be a JSON object"),
        ('{"id": "good", "question": "?"}', r"questions.jsonl:2: duplicate question id 'good'"),
        ('{"question": "?"}', r"questions.jsonl:2: the id must be text or a whole number, got None"),
        ('{"id": "q", "question": "?"}', r"question 'q' has neither answer nor evidence nor an unanswerable mark"),
        ('{"id": "q", "question": "?", "answers": [""], "evidence": [[]]}', r"question 'q' has neither answer nor evidence"),
        ('{"id": "q", "question": " "}', r"questions.jsonl:2: question 'q' has no text"),
        ('{"id": "q", "question": "?", "answers": [{"text": "x"}]}', r"the answers of question 'q' must be text"),
        ('{"id": "q", "question": "?", "unanswerable": "no"}', r"unanswerable must be true or false, got 'no'"),
        ('{"id": "q", "question": "?", "metadata": []}', r"metadata must be an object"),
    ],
)
def test_jsonl_malformed_question(tmp_path, line, message):
    spec = jsonl_folder(tmp_path, DOCUMENTS, [{"id": "good", "question": "?", "answers": ["x"]}])
    with (tmp_path / "questions.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(WorkbenchError, match=message):
        data.load(spec)


def test_jsonl_ids_are_compared_in_nfc(tmp_path):
    decomposed = unicodedata.normalize("NFD", "환불")
    question = {"id": "q", "question": decomposed, "evidence": {"document": "환불", "quote": unicodedata.normalize("NFD", "환불은")}}
    dataset = data.load(jsonl_folder(tmp_path, [{"id": decomposed, "text": decomposed + "은 14일"}], [question]))
    assert dataset.examples[0].question == "환불"
    assert dataset.examples[0].evidence == ((Span("환불", 0, 3),),)
    with pytest.raises(WorkbenchError, match="duplicate document id '환불'"):
        data.load(jsonl_folder(tmp_path, [{"id": "환불", "text": "x"}, {"id": decomposed, "text": "y"}], []))


def test_jsonl_accepts_a_byte_order_mark_and_odd_line_separators(tmp_path):
    (tmp_path / "documents.jsonl").write_bytes('\ufeff{"id": "a", "text": "one\u2028two\x85three"}\r\n\r\n'.encode())
    dataset = data.load(f"jsonl:{tmp_path}")
    assert dataset.documents[0].text == "one\u2028two\x85three"
    assert dataset.examples == ()
    assert dataset.notes == ("no questions: chunks can be looked at, nothing can be evaluated",)
