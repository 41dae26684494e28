"""Read questions from a CSV, TSV or XLSX table, with English or Korean column names."""

from __future__ import annotations

import csv
import io
import os
import unicodedata
import zipfile
from datetime import date, time
from pathlib import Path
from typing import Any

from workbench.data_records import Collector, clean
from workbench.datatypes import Dataset, WorkbenchError
from workbench.storage import FORMULA_STARTS

COLUMNS = {
    "id": ("id", "번호", "아이디"),
    "question": ("question", "질문", "질의"),
    "answer": ("answer", "answers", "답변", "답", "정답"),
    "document": ("document", "문서", "문서명", "파일"),
    "quote": ("quote", "evidence", "인용", "근거", "인용(근거)", "인용문"),
    "unanswerable": ("unanswerable", "답변불가", "답변 불가", "답 없음"),
    "group": ("group", "그룹", "묶음"),
    "text": ("text", "본문", "내용"),
}
YES = frozenset({"true", "1", "yes", "y", "x", "o", "예", "네", "참"})
NO = frozenset({"", "false", "0", "no", "n", "아니오", "아니요", "거짓"})
DOCUMENT_SUFFIXES = (".md", ".txt")
MAX_XLSX_BYTES, MAX_XLSX_RATIO, MAX_XLSX_ENTRIES = 200_000_000, 100, 10_000

Row = dict[str, Any]


def read_table(argument: str, *, name: str, encoding: str | None = None) -> Dataset:
    """Read a table whose column `document` names .md or .txt files beside it, or whose column `text` holds the documents.

    Only documents that a row names are read. Rows with the same id are one question that needs the evidence of each row.
    """
    path = Path(argument)
    collector = Collector(encoding)
    rows = read_rows(path, collector)
    if "document" not in rows[0][1]:
        raise WorkbenchError(f"{path} has no column 'document' (or 문서), so there is nothing to search in")
    texts: dict[str, str] = {}
    for where, row in rows:
        reference = clean(row["document"])
        if not reference:
            continue
        if "text" in row:
            _add_text(collector, texts, reference, row, where)
        else:
            row["document"] = _add_beside(collector, texts, path.parent, reference, where)
    for where, record in question_records(rows):
        collector.add_question(record, where)
    return collector.dataset(name)


def _add_text(collector: Collector, texts: dict[str, str], reference: str, row: Row, where: str) -> None:
    text = str(row["text"])
    if reference not in texts:
        texts[reference] = text
        collector.add_document(reference, text, where, "", {"group": row.get("group") or None})
    elif text.strip() and text != texts[reference]:
        raise WorkbenchError(f"{where}: document {reference!r} has another text in an earlier row")


def _add_beside(collector: Collector, seen: dict[str, str], folder: Path, reference: str, where: str) -> str:
    """Read the file that a row names, once, and return its document id: the path from the table's folder without the suffix."""
    root, written = os.path.realpath(folder), reference.replace("\\", "/")
    path = Path(os.path.realpath(os.path.join(root, written)))
    if not path.is_relative_to(root):
        raise WorkbenchError(f"{where}: document {reference!r} lies outside the folder of the table")
    if path.suffix.lower() not in DOCUMENT_SUFFIXES:
        raise WorkbenchError(f"{where}: document {reference!r} must be a .md or .txt file in the folder of the table")
    identity = clean(path.relative_to(root).with_suffix("").as_posix())
    if seen.setdefault(identity, written) != written:
        raise WorkbenchError(f"{where}: documents {seen[identity]!r} and {reference!r} have the same id {identity!r}")
    if ("document", identity) not in collector.claimed:
        decomposed = Path(unicodedata.normalize("NFD", str(path)))  # file names from macOS
        collector.add_file(path if path.exists() or not decomposed.exists() else decomposed, identity, written)
    return identity


def read_rows(path: Path, collector: Collector) -> list[tuple[str, Row]]:
    """Return (file, row number) and the cells by column name for each row that is not blank.

    Raise WorkbenchError for an unreadable file, no question column, a column twice, or a row longer than the header.
    """
    suffix = path.suffix.lower()
    if suffix == ".xlsx":
        header, *body = _xlsx_cells(path) or [[]]
    elif suffix in (".csv", ".tsv"):
        header, *body = _csv_cells(path, collector.read(path), "\t" if suffix == ".tsv" else ",;\t") or [[]]
    else:
        raise WorkbenchError(f"{path} must be a .csv, .tsv or .xlsx file")
    columns = [_column(cell) for cell in header]
    while columns and not columns[-1]:
        columns.pop()
    if "question" not in columns:
        found = ", ".join(column for column in columns if column) or "nothing"
        raise WorkbenchError(f"{path} has no column 'question' (or 질문) in its first row, which holds: {found}")
    for column in columns:
        if columns.count(column) > 1 or not column:
            raise WorkbenchError(f"{path} has {'two columns ' + repr(column) if column else 'a column without a name'} in its first row")
    rows = []
    for number, cells in enumerate(body, 2):
        values = [_cell(cell) for cell in cells]
        if any(value != "" for value in values[len(columns) :]):
            raise WorkbenchError(f"{path}, row {number} has {len(values)} cells, the first row has {len(columns)}; quote cells with commas")
        if any(value != "" for value in values):
            values += [""] * (len(columns) - len(values))
            rows.append((f"{path.name} row {number}", dict(zip(columns, values, strict=False))))
    if not rows:
        raise WorkbenchError(f"{path} has no rows below its first one")
    return rows


def question_records(rows: list[tuple[str, Row]]) -> list[tuple[str, dict[str, Any]]]:
    """Join the rows with the same id and return one question record, as `Collector.add_question` takes it, for each id."""
    records: dict[str, tuple[str, dict[str, Any]]] = {}
    for where, row in rows:
        name = clean(row.get("id")) or f"row-{where.rsplit(' ', 1)[1]}"
        question = clean(row["question"])
        record = records.setdefault(name, (where, {"id": name, "question": question, "answers": [], "evidence": []}))[1]
        if question and question != record["question"]:
            raise WorkbenchError(f"{where}: duplicate question id {name!r} with another question")
        if row.get("answer", "") != "":
            record["answers"].append(str(row["answer"]))
        if row.get("quote", "") != "":
            record["evidence"].append({"document": row.get("document") or None, "quote": str(row["quote"])})
        if _yes(row.get("unanswerable", ""), where):
            record["unanswerable"] = True
        if row.get("group", "") != "":
            record["group"] = row["group"]
        others = {key: value for key, value in row.items() if key not in COLUMNS and value != ""}
        record.setdefault("metadata", {}).update(others)
    return list(records.values())


def _yes(value: Any, where: str) -> bool:
    text = clean(value).lower()
    if text not in YES and text not in NO:
        raise WorkbenchError(f"{where}: unanswerable must be yes or no (예 or 아니요), got {value!r}")
    return text in YES


def _column(cell: Any) -> str:
    name = clean(cell)
    return next((column for column, names in COLUMNS.items() if name.lower() in names), name)


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, str):
        if value.startswith("'") and value[1:].startswith(FORMULA_STARTS):  # as `storage.safe_cell` writes it
            return value[1:]
        return value if value.strip() else ""
    return value


def _csv_cells(path: Path, text: str, delimiters: str) -> list[list[str]]:
    """Parse with the first delimiter that makes a question column, else with the first."""
    for delimiter in delimiters:
        try:
            header = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
        except csv.Error:
            continue
        if "question" in map(_column, header):
            break
    else:
        delimiter = delimiters[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return list(reader)
    except csv.Error as error:
        raise WorkbenchError(f"{path}, line {reader.line_num} is not valid CSV: {error}") from None


def _xlsx_cells(path: Path) -> list[list[Any]]:
    """Return the cells of the first sheet, after a look at the sizes that the archive declares."""
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except FileNotFoundError:
        raise WorkbenchError(f"no such file: {path}") from None
    except (zipfile.BadZipFile, OSError) as error:
        raise WorkbenchError(f"{path} is not a readable .xlsx file (damaged, or protected by a password): {error}") from None
    size, packed = sum(entry.file_size for entry in entries), sum(entry.compress_size for entry in entries)
    if len(entries) > MAX_XLSX_ENTRIES or size > MAX_XLSX_BYTES or size > MAX_XLSX_RATIO * max(packed, 1):
        raise WorkbenchError(f"{path} would unpack to {size} bytes from {packed}; more than a table needs, so it is refused")
    try:
        return CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python(skip_empty_area=False)
    except CalamineError as error:
        raise WorkbenchError(f"{path} is not a readable .xlsx file: {error}") from None
