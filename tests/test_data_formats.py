"""Test the readers of SQuAD and BEIR."""

import json
import unicodedata

import pytest

from workbench import data
from workbench.datatypes import Span, WorkbenchError


def write_lines(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")


def squad_file(folder, articles):
    path = folder / "squad.json"
    path.write_text(json.dumps({"data": articles}), encoding="utf-8")  # ASCII escapes, so lone surrogates survive
    return path


def paragraph(context, *questions):
    """Build a paragraph; each question is (id, answers as (text, start), more fields)."""
    qas = [
        {"id": name, "question": f"What is {name}?", "answers": [{"text": text, "answer_start": start} for text, start in answers], **more}
        for name, answers, more in questions
    ]
    return {"context": context, "qas": qas, "summary": "gives the answer away", "index": 7}


def evidence_texts(dataset, name):
    texts = {document.id: document.text for document in dataset.documents}
    example = next(example for example in dataset.examples if example.id == name)
    return [[texts[span.document_id][span.start : span.end] for span in unit] for unit in example.evidence]


# --- SQuAD ------------------------------------------------------------------------------------------------------------------------


def test_squad_makes_a_document_of_each_paragraph_and_merges_equal_ones(tmp_path):
    first = paragraph("Ann has a dog. Bob has a cat.", ("q1", [("a dog ", 8), ("a dog", 8), ("dog", 10)], {}))
    first["context"] = "Ann has a dog . Bob has a cat."
    again = paragraph(first["context"], ("q2", [("Bob", 16)], {"type": "label"}), ("q3", [], {"is_impossible": True}))
    other = paragraph("Cy has a fox.", ("q4", [("a fox", 7)], {}))
    spec = f"squad:{squad_file(tmp_path, [{'title': 'Pets & Co', 'paragraphs': [first, again]}, {'paragraphs': [other]}])}"
    dataset = data.load(spec)
    assert [(document.id, document.group, document.title) for document in dataset.documents] == [
        ("pets-co-1", "Pets & Co", "Pets & Co"),
        ("article-2-1", "article-2", ""),
    ]
    assert dataset.documents[0].metadata == {"title": "Pets & Co", "index": 7, "group": "Pets & Co"}
    q1, q2, q3, q4 = dataset.examples
    assert q1.evidence == ((Span("pets-co-1", 8, 13), Span("pets-co-1", 10, 13)),)  # any of, trimmed
    assert q1.answers == ("a dog", "dog")
    assert q2.metadata == {"title": "Pets & Co", "group": "Pets & Co"}
    assert not q3.answerable
    assert q4.metadata == {"group": "article-2"}
    assert dataset.losses == ()
    assert dataset.notes == ("1 paragraphs with the text of an earlier one were merged into it",)
    assert not dataset.document_gold


def test_squad_article_joins_paragraphs_and_shifts_offsets(tmp_path):
    paragraphs = [paragraph("One dog.", ("a", [("dog", 4)], {})), paragraph("Two cats.", ("b", [("cats", 4)], {}))]
    dataset = data.load(f"squad-article:{squad_file(tmp_path, [{'title': 'T', 'paragraphs': paragraphs}])}")
    assert [(document.id, document.text) for document in dataset.documents] == [("t", "One dog.\n\nTwo cats.")]
    assert evidence_texts(dataset, "b") == [["cats"]]
    assert dataset.examples[1].evidence[0][0].start == 14


def test_squad_offsets_count_in_the_source_and_are_mapped(tmp_path):
    context = "\ufeff" + unicodedata.normalize("NFD", "세탁기는 ") + "\u200b3년\r\n보증합니다."
    answer = "3년\r\n보증"
    start = context.index(answer)
    dataset = data.load(
        f"squad:{squad_file(tmp_path, [{'title': 'ㅎ', 'paragraphs': [paragraph(context, ('q', [(answer, start)], {}))]}])}"
    )
    assert dataset.documents[0].text == "세탁기는 3년\n보증합니다."
    assert evidence_texts(dataset, "q") == [["3년\n보증"]]
    assert dataset.examples[0].answers == ("3년\n보증",)
    assert dataset.losses == ()
    assert "1 texts not in NFC" in dataset.notes[0]


@pytest.mark.parametrize(
    ("answers", "more", "reason"),
    [
        ([("cat", 4)], {}, "expects 'cat' at 4 of document 't-1', found 'dog'"),
        ([("dog", 4), ("cat", 5)], {}, "expects 'cat' at 5"),
        ([("dog", -4)], {}, "without text and answer_start"),
        ([("dog", 99)], {}, "outside document 't-1': 99 to 102 of 8 characters"),
        ([(" ", 3)], {}, "white space only at 3"),
        ([("dog", 4)], {"is_impossible": True}, "is marked impossible but has answers"),
    ],
)
def test_squad_drops_and_lists_what_does_not_resolve(tmp_path, answers, more, reason):
    article = {"title": "t", "paragraphs": [paragraph("One dog.", ("bad", answers, more), ("good", [("One", 0)], {}))]}
    dataset = data.load(f"squad:{squad_file(tmp_path, [article])}")
    assert [example.id for example in dataset.examples] == ["good"]
    assert len(dataset.losses) == 1
    assert "question 'bad'" in dataset.losses[0]
    assert reason in dataset.losses[0]


def test_squad_without_answer_or_mark_is_an_error(tmp_path):
    article = {"title": "t", "paragraphs": [paragraph("One dog.", ("q", [], {}))]}
    with pytest.raises(WorkbenchError, match="question 'q' has neither answer nor an is_impossible mark"):
        data.load(f"squad:{squad_file(tmp_path, [article])}")


def test_squad_duplicate_question_ids_are_an_error(tmp_path):
    article = {"title": "t", "paragraphs": [paragraph("One dog.", ("q", [("dog", 4)], {}), ("q", [("One", 0)], {}))]}
    with pytest.raises(WorkbenchError, match="duplicate question id 'q'"):
        data.load(f"squad:{squad_file(tmp_path, [article])}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"data": [', "is not valid JSON"),
        ('{"rows": []}', "no list 'data'"),
        ('{"data": [{"title": "t"}]}', "article 1 is not SQuAD JSON: no list 'paragraphs'"),
        ('{"data": [{"paragraphs": [{"qas": []}]}]}', "without the text 'context'"),
        ('{"data": [{"paragraphs": [{"context": "x", "qas": [{"id": 1}]}]}]}', "without the text 'question'"),
        ("[" * 100_000, "nested too deeply"),
        ('{"data": NaN}', "NaN is not a number"),
    ],
)
def test_squad_malformed(tmp_path, content, message):
    path = tmp_path / "squad.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(WorkbenchError, match=message):
        data.load(f"squad:{path}")


# --- BEIR -------------------------------------------------------------------------------------------------------------------------


def beir_folder(folder, rows, split="test"):
    write_lines(folder / "corpus.jsonl", [{"_id": "d1", "title": "One", "text": "Text one."}, {"_id": "d2", "title": "T", "text": "Two"}])
    write_lines(folder / "queries.jsonl", [{"_id": name, "text": f"query {name}"} for name in ("q1", "q2", "q3")])
    (folder / "qrels").mkdir(exist_ok=True)
    (folder / "qrels" / f"{split}.tsv").write_text(
        "query-id\tcorpus-id\tscore\r\n" + "".join(f"{row}\r\n" for row in rows), encoding="utf-8"
    )
    return f"beir:{folder}"


def test_beir_gold_is_whole_documents(tmp_path):
    dataset = data.load(beir_folder(tmp_path, ["q1\td1\t1", "q1\td2\t1", "q2\td2\t1", "q2\td1\t0"]))
    assert dataset.document_gold
    assert dataset.embed_title
    assert [(example.id, example.evidence, example.gains) for example in dataset.examples] == [
        ("q1", ((Span("d1", 0, 9),), (Span("d2", 0, 3),)), ()),
        ("q2", ((Span("d2", 0, 3),),), ()),
    ]
    assert dataset.notes == ("1 queries without a judgement were left out",)


def test_beir_grades_become_gains(tmp_path):
    dataset = data.load(beir_folder(tmp_path, ["q1\td1\t2", "q1\td2\t1", "q2\td2\t1"]))
    assert [example.gains for example in dataset.examples] == [(2.0, 1.0), (1.0,)]


def test_beir_lists_missing_documents_and_queries(tmp_path):
    dataset = data.load(beir_folder(tmp_path, ["q1\td1\t1", "q1\tgone\t1", "q2\tgone\t1", "q9\td1\t1", "q3\td1\t0"]))
    assert [example.id for example in dataset.examples] == ["q1"]
    assert dataset.losses == (
        "judged document 'gone' of query 'q1' is not in the corpus",
        "judged document 'gone' of query 'q2' is not in the corpus",
        "queries.jsonl:2: query 'q2' has no relevant document; dropped",
        "queries.jsonl:3: query 'q3' has no relevant document; dropped",
        "judged query 'q9' is not in queries.jsonl",
    )


def test_beir_several_judgement_files_need_a_choice(tmp_path):
    spec = beir_folder(tmp_path, ["q1\td1\t1"])
    beir_folder(tmp_path, ["q2\td1\t1"], split="train")
    with pytest.raises(WorkbenchError, match="choose one with the option split: test, train"):
        data.load(spec)
    assert [example.id for example in data.load(spec, split="train").examples] == ["q2"]
    with pytest.raises(WorkbenchError, match="unknown split 'trian'; did you mean 'train'"):
        data.load(spec, split="trian")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("q1\td1", "line 2 must be query id"),
        ("q1\td1\thigh", "line 2: the score must be a number"),
        ("q1\td1\t1\r\nq1\td1\t2", "two different scores"),
    ],
)
def test_beir_malformed_judgements(tmp_path, row, message):
    with pytest.raises(WorkbenchError, match=message):
        data.load(beir_folder(tmp_path, [row]))
