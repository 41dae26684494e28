"""Test tables of questions, folders of documents, and files in awkward encodings."""

import io
import os
import unicodedata
import zipfile

import pytest

from workbench import data, storage
from workbench.data_files import decode, front_matter
from workbench.datatypes import WorkbenchError

HEADER = "id,question,answer,document,quote,unanswerable,topic\n"
ROWS = (
    "q1,환불 기간은?,14일,policy.md,14일 이내,,refund\n"
    "q2,둘 다?,예,policy.md,14일 이내,,\nq2,,,policy.md,3년 보증,,\n"  # two rows, two places
    "q3,우주 배송?,,,,예,\n"
)
POLICY = "환불은 14일 이내에 됩니다. 3년 보증합니다."


def table(folder, content, name="questions.csv", encoding="utf-8"):
    (folder / "policy.md").write_text(POLICY, encoding="utf-8")
    (folder / name).write_bytes(content.encode(encoding))
    return f"table:{folder / name}"


def check_policy(dataset):
    assert [(document.id, document.text) for document in dataset.documents] == [("policy", POLICY)]
    q1, q2, q3 = dataset.examples
    assert (q1.question, q1.answers, q1.metadata) == ("환불 기간은?", ("14일",), {"topic": "refund"})
    assert [[POLICY[span.start : span.end] for span in unit] for unit in q2.evidence] == [["14일 이내"], ["3년 보증"]]
    assert not q3.answerable
    assert dataset.losses == ()


@pytest.mark.parametrize(
    ("encoding", "note"),
    [
        ("utf-8", ()),
        ("utf-8-sig", ()),
        ("cp949", ("questions.csv: read as cp949",)),
        ("euc-kr", ("questions.csv: read as cp949",)),
        ("utf-16", ("questions.csv: read as utf-16",)),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encodings_of_a_table(tmp_path, encoding, note, newline):
    dataset = data.load(table(tmp_path, (HEADER + ROWS).replace("\n", newline), encoding=encoding))
    check_policy(dataset)
    assert dataset.notes == note


def test_utf_16_without_a_mark_is_guessed_or_given(tmp_path):
    spec = table(tmp_path, HEADER + ROWS, encoding="utf-16-le")
    with pytest.raises(WorkbenchError, match="is not text in utf-8"):
        data.load(spec, encoding="utf-8")
    with pytest.raises(WorkbenchError, match="unknown encoding 'utf-99'"):
        data.load(spec, encoding="utf-99")
    (tmp_path / "policy.md").write_text(POLICY, encoding="utf-16-le")  # a given encoding holds for all files of the source
    check_policy(data.load(spec, encoding="utf-16-le"))


def test_undecodable_bytes_are_an_error():
    with pytest.raises(WorkbenchError, match="blob is not text in any known encoding"):
        decode(bytes(range(256)) * 40, "blob")
    assert decode(b"", "empty") == ("", "utf-8")


@pytest.mark.parametrize(("name", "delimiter"), [("q.csv", ";"), ("q.csv", "\t"), ("q.tsv", "\t")])
def test_delimiters(tmp_path, name, delimiter):
    check_policy(data.load(table(tmp_path, (HEADER + ROWS).replace(",", delimiter), name=name)))


def test_korean_column_names_and_decomposed_text(tmp_path):
    content = "질문,답변,문서,근거\n환불 기간은?,14일,policy.md,14일 이내\n"
    dataset = data.load(table(tmp_path, unicodedata.normalize("NFD", content)))
    assert [(example.id, example.question, example.answers) for example in dataset.examples] == [("row-2", "환불 기간은?", ("14일",))]
    assert len(dataset.examples[0].evidence) == 1


def test_decomposed_file_names(tmp_path):
    (tmp_path / unicodedata.normalize("NFD", "환불.md")).write_text("14일 이내", encoding="utf-8")
    (tmp_path / "q.csv").write_text("question,document,quote\n언제?,환불.md,14일\n", encoding="utf-8")
    assert data.load(f"table:{tmp_path / 'q.csv'}").documents[0].id == "환불"
    (tmp_path / "q.csv").unlink()
    assert data.load(f"folder:{tmp_path}").documents[0].id == "환불"


def test_text_column_holds_the_documents(tmp_path):
    content = 'id,question,document,text,quote,group\n1,a?,d1,"One, two.\nThree.",Three.,g\n2,b?,d1,,One,\n3,c?,d2,Four,Four,h\n'
    dataset = data.load(table(tmp_path, content))
    found = [(document.id, document.text, document.group) for document in dataset.documents]
    assert found == [("d1", "One, two.\nThree.", "g"), ("d2", "Four", "h")]
    assert [example.metadata for example in dataset.examples] == [{"group": "g"}, {}, {"group": "h"}]
    with pytest.raises(WorkbenchError, match=r"questions.csv row 5: document 'd1' has another text"):
        data.load(table(tmp_path, content + "4,d?,d1,Five,Five,\n"))


def test_xlsx(tmp_path):
    rows = [
        ["id", "질문", "document", "quote", "year", "unanswerable"],
        [1.0, "환불?", "policy.md", "14일 이내", 2024.0, False],
    ]
    write_xlsx(tmp_path / "q.xlsx", rows)
    (tmp_path / "policy.md").write_text(POLICY, encoding="utf-8")
    example = data.load(f"table:{tmp_path / 'q.xlsx'}").examples[0]
    assert (example.id, example.question, example.metadata) == ("1", "환불?", {"year": 2024})
    assert len(example.evidence) == 1


def write_xlsx(path, rows):
    """Write the least workbook that opens: one sheet with inline strings."""

    def cell(value):
        if isinstance(value, bool):
            return f'<c t="b"><v>{int(value)}</v></c>'
        return f"<c><v>{value}</v></c>" if isinstance(value, float) else f'<c t="inlineStr"><is><t>{value}</t></is></c>'

    schemas = "http://schemas.openxmlformats.org"
    office = f"{schemas}/officeDocument/2006/relationships"
    sheet = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)

    def relation(kind, target):
        entry = f'<Relationship Id="r1" Type="{office}/{kind}" Target="{target}"/>'
        return f'<Relationships xmlns="{schemas}/package/2006/relationships">{entry}</Relationships>'

    main = f'xmlns="{schemas}/spreadsheetml/2006/main" xmlns:r="{office}"'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{schemas}/package/2006/content-types"/>')
        archive.writestr("_rels/.rels", relation("officeDocument", "xl/workbook.xml"))
        archive.writestr("xl/_rels/workbook.xml.rels", relation("worksheet", "worksheets/sheet1.xml"))
        archive.writestr("xl/workbook.xml", f'<workbook {main}><sheets><sheet name="s" sheetId="1" r:id="r1"/></sheets></workbook>')
        archive.writestr("xl/worksheets/sheet1.xml", f"<worksheet {main}><sheetData>{sheet}</sheetData></worksheet>")


def test_xlsx_that_is_no_workbook_or_unpacks_to_too_much(tmp_path):
    path = tmp_path / "q.xlsx"
    path.write_bytes(b"not a zip")
    with pytest.raises(WorkbenchError, match=r"not a readable .xlsx file"):
        data.load(f"table:{path}")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * 5_000_000)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(WorkbenchError, match="would unpack to 5000000 bytes"):
        data.load(f"table:{path}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no column 'question'.*which holds: nothing"),
        ("name,text\na,b\n", "has no column 'question'.*which holds: name, text"),
        ("question\nwhat?\n", "has no column 'document'"),
        ("question,document\n", "has no rows"),
        ("question,질문,document\na,b,c\n", "two columns 'question'"),
        ("question,,document\na,b,c\n", "a column without a name"),
        ("question,document\na,policy.md,more\n", "row 2 has 3 cells, the first row has 2"),
        ('question,document\n"a,policy.md\n', "is not valid CSV"),
        ("question,document\na,../secret.md\n", "row 2: document '../secret.md' lies outside the folder of the table"),
        ("question,document\na,/etc/passwd\n", "lies outside the folder"),
        ("question,document\na,policy.pdf\n", "'policy.pdf' must be a .md or .txt file"),
        ("question,document,unanswerable\na,policy.md,maybe\n", "unanswerable must be yes or no .* got 'maybe'"),
        ("id,question,document\n1,a?,policy.md\n1,b?,policy.md\n", "row 3: duplicate question id '1' with another question"),
        ("id,question,answer,document,quote\n1,c?,,policy.md,\n", "question '1' has neither answer nor evidence"),
        ("id,question,document\n1,,policy.md\n", "question '1' has no text"),
    ],
)
def test_malformed_tables(tmp_path, content, message):
    (tmp_path.parent / "secret.md").write_text("secret", encoding="utf-8")
    with pytest.raises(WorkbenchError, match=message):
        data.load(table(tmp_path, content))


def test_a_row_that_does_not_resolve_is_a_loss(tmp_path):
    content = "id,question,answer,document,quote\n1,a?,x,policy.md,없는 문장\n2,b?,x,gone.md,x\n4,d?,,policy.md,3년\n"
    dataset = data.load(table(tmp_path, content))
    assert [example.id for example in dataset.examples] == ["4"]
    assert dataset.losses == (
        "gone.md was skipped: no such file: gone.md",
        "questions.csv row 2: question '1' quotes text that is not in document 'policy': '없는 문장'; dropped",
        "questions.csv row 3: question '2' names a document that is not here: 'gone'; dropped",
    )


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.md").write_text("secret", encoding="utf-8")
    os.symlink(tmp_path / "secret.md", inside / "link.md")
    os.symlink(tmp_path, inside / "up")
    with pytest.raises(WorkbenchError, match="lies outside the folder"):
        data.load(table(inside, "question,document\na,link.md\n"))
    (inside / "questions.csv").unlink()
    dataset = data.load(f"folder:{inside}")
    assert [document.id for document in dataset.documents] == ["policy"]
    assert set(dataset.losses) == {"link.md was skipped: a link that leaves the folder", "up/ was skipped: a linked folder is not followed"}


def test_cells_that_our_own_export_escaped_are_read_back(tmp_path):
    (tmp_path / "list.md").write_text("- one\n- two\n", encoding="utf-8")
    row = {"question": "first?", "document": "list.md", "quote": "- one"}
    storage.write_csv(tmp_path / "q.csv", list(row), [row])
    assert "'- one" in (tmp_path / "q.csv").read_text(encoding="utf-8-sig")
    assert len(data.load(f"table:{tmp_path / 'q.csv'}").examples[0].evidence) == 1


def test_folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    files = {
        "sub/b.md": "---\ntitle: Bee\ngroup: insects\nyear: 2024\nsince: 2024-01-31\n---\n# Other\nBees hum.",
        "a.txt": "\ufeffintro\r\n# Ants #\r\nAnts march.",
        "c.md": "---\nonly a rule\n---\nplain",
        "empty.md": "---\ntitle: x\n---\n \n",
        "alias.md": "---\na: &x [1]\nb: *x\n---\ntext",
        "binary.txt": "",
        "README.md": "about",
        "x.pdf": "",
        ".hidden/h.md": "hidden",
        "questions-1.jsonl": '{"id": "1", "question": "?", "evidence": {"document": "b", "quote": "Bees"}}\n',
        "questions.csv": "id,question,document,quote\n2,??,sub/b.md,hum\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode())
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)) * 40)
    dataset = data.load(str(tmp_path))
    assert [(document.id, document.title, document.group) for document in dataset.documents] == [
        ("a", "Ants", "a"),
        ("c", "c", "c"),
        ("sub/b", "Bee", "insects"),
    ]
    assert dataset.documents[2].text == "# Other\nBees hum."
    assert dataset.documents[2].metadata == {"group": "insects", "year": 2024, "since": "2024-01-31"}
    assert [example.evidence[0][0].document_id for example in dataset.examples] == ["sub/b", "sub/b"]
    assert "alias.md was skipped: front matter of alias.md is not valid YAML here: aliases (*name) are refused" in dataset.losses[0]
    assert dataset.losses[1].startswith("binary.txt was skipped: binary.txt is not text")
    assert dataset.losses[2:] == ("empty.md: document 'empty' is empty and was skipped",)
    assert "README.md was left out: it describes the folder" in dataset.notes
    assert "files of other kinds were left out: .pdf (1)" in dataset.notes


def test_folder_names_that_are_not_unique(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "b.md").write_text("Bees hum.", encoding="utf-8")
    question = '{"id": "1", "question": "?", "evidence": {"document": "b.md", "quote": "Bees"}}\n'
    (tmp_path / "questions.jsonl").write_text(question, encoding="utf-8")
    assert "names a document that is not unique: 'b.md' (x/b, y/b)" in data.load(f"folder:{tmp_path}").losses[0]
    (tmp_path / "x" / "b.txt").write_text("Bees hum.", encoding="utf-8")
    with pytest.raises(WorkbenchError, match=r"x/b.txt: duplicate document id 'x/b'"):
        data.load(f"folder:{tmp_path}")


def test_folder_without_documents(tmp_path):
    (tmp_path / "empty.md").touch()
    with pytest.raises(WorkbenchError, match=r"holds no document; skipped: empty.md: document 'empty' is empty"):
        data.load(f"folder:{tmp_path}")
    (tmp_path / "questions.csv").write_text("question,document,text\na,b,c\n", encoding="utf-8")
    with pytest.raises(WorkbenchError, match=r"load it by itself as table:questions.csv"):
        data.load(f"folder:{tmp_path}")


def test_front_matter_stays_in_the_text_unless_it_is_one():
    for text in ("no block", "--- \ntitle: x", " ---\ntitle: x\n---\n", "---\n---\nx"):
        assert front_matter(text, "f") == ({}, text)
    assert front_matter("---\r\ntitle: x\r\n---\r\nbody", "f") == ({"title": "x"}, "body")
