"""Read what people said about answers, and measure a judge on it.

A label file is a CSV, TSV or JSONL table with the column id and one or both of label and groundedness; answer is the text that was
labelled (columns may have their Korean names):

| column | holds |
|---|---|
| id, 번호, 아이디 | the question |
| label, 판정 | correct, partly, wrong · 맞음, 일부, 틀림 · 1, 0.5, 0 |
| groundedness, 근거판정 | grounded, partly, ungrounded · 있음, 일부, 없음 · 1, 0.5, 0 |
| answer, 답변 | the answer that was labelled |

Another configuration gives another answer to the same question, so a label with a text counts only for that text. Cells left empty are no
labels.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench.data_files import parse_json, read_text
from workbench.datatypes import WorkbenchError
from workbench.judging_agreement import agreement, as_plain
from workbench.judging_prompts import GRADES
from workbench.registry import unknown
from workbench.storage import FORMULA_STARTS, write_csv
from workbench.text import normalise

COLUMNS = {
    "id": ("id", "번호", "아이디"),
    "judge_correctness": ("label", "correctness", "judge_correctness", "판정"),
    "judge_groundedness": ("groundedness", "judge_groundedness", "근거판정", "근거 판정"),
    "answer": ("answer", "답변", "답"),
}
KOREAN = {
    "judge_correctness": {"맞음": 1.0, "일부": 0.5, "틀림": 0.0},
    "judge_groundedness": {"있음": 1.0, "일부": 0.5, "없음": 0.0},
}
NUMBERS = {"1": 1.0, "1.0": 1.0, "0.5": 0.5, ".5": 0.5, "0": 0.0, "0.0": 0.0}
SHEET = ("id", "question", "gold", "answer", "label")


@dataclass(frozen=True)
class Label:
    """Hold what a person said about the answer to one question; `answer` is None where the file does not say which answer."""

    id: str
    grades: Mapping[str, float]  # metric -> 0, 0.5 or 1
    answer: str | None
    where: str


def read_labels(path: Path) -> list[Label]:
    """Read a label file; raise WorkbenchError for a missing column, an unknown label, a missing id, or two labels for one answer."""
    labels: list[Label] = []
    seen: dict[tuple[str, str | None], str] = {}
    for where, row in _rows(path):
        name = normalise(row["id"])[0].strip()
        if not name:
            raise WorkbenchError(f"{where}: no id")
        given = {metric: row[metric].strip() for metric in GRADES if row.get(metric, "").strip()}
        if not given:
            continue
        answer = _same(row.get("answer", "")) or None
        if (name, answer) in seen:
            raise WorkbenchError(f"{where}: the answer to {name!r} was labelled before, in {seen[name, answer]}; keep one of the two")
        seen[name, answer] = where
        grades = {metric: _grade(metric, text, where) for metric, text in given.items()}
        labels.append(Label(name, grades, answer, where))
    if not labels:
        raise WorkbenchError(f"{path} holds no label")
    return labels


def check_questions(labels: Sequence[Label], ids: Collection[str]) -> None:
    """Raise WorkbenchError for a label of a question that is not among all questions of the data."""
    if strangers := [label for label in labels if label.id not in ids]:
        raise WorkbenchError(f"{strangers[0].where}: there is no question {strangers[0].id!r} ({len(strangers)} such labels)")


def calibrate(labels: Sequence[Label], records: Sequence[Mapping[str, Any]], clusters: Mapping[str, str]) -> dict[str, Any]:
    """Measure the verdicts in answer records on labels: metric -> Agreement as plain values (unknown is None), for labelled metrics.

    `clusters` are those of all questions of the run, by id. `elsewhere` counts labels of other questions or answers, `ruled` those of
    refusals and empty answers, which no judge is asked.
    """
    answers = {str(record["id"]): record for record in records}
    pairs: dict[str, list[tuple[float, float, str]]] = {metric: [] for label in labels for metric in label.grades}
    elsewhere = ruled = 0
    for label in labels:
        record = answers.get(label.id)
        if record is None or label.answer not in (None, _same(record["text"])):
            elsewhere += 1
            continue
        for metric, grade in label.grades.items():
            verdict = record.get("verdicts", {}).get(metric)
            if verdict is None:
                ruled += 1
            else:
                pairs[metric].append((GRADES[metric].get(verdict[0], np.nan), grade, clusters[label.id]))
    measured = {metric: as_plain(agreement(*map(list, zip(*found, strict=True)))) for metric, found in pairs.items() if found}
    return {"labels": len(labels), "elsewhere": elsewhere, "ruled": ruled, "metrics": measured}


def write_sheet(path: Path, records: Sequence[Mapping[str, Any]]) -> int:
    """Write the answers judged for correctness as a table to label, without the verdicts; return how many. No file is replaced."""
    if path.exists():
        raise WorkbenchError(f"{path} exists already; name a new file, so that no labels are lost")
    rows = [
        {
            "id": record["id"],
            "question": record["question"],
            "gold": "\n".join(record["gold"]),
            "answer": record["text"],
        }
        for record in records
        if "judge_correctness" in record.get("verdicts", {})
    ]
    if rows:
        write_csv(path, SHEET, rows)
    return len(rows)


def _rows(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Return (where, known column -> cell) for each row."""
    text = read_text(path)[0].removeprefix("\ufeff")
    rows: list[tuple[str, dict[str, str]]] = []
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                where = f"{path.name} line {number}"
                record = parse_json(line, where)
                if not isinstance(record, dict):
                    raise WorkbenchError(f"{where} must be a JSON object")
                rows.append((where, _known(list(record), [_text(value, where) for value in record.values()], where)))
    elif suffix in (".csv", ".tsv"):
        header, *body = _cells(path, text)
        for number, cells in enumerate(body, 2):
            where = f"{path.name} row {number}"
            if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
                raise WorkbenchError(f"{where} has {len(cells)} cells, the first row has {len(header)}; quote cells with commas")
            if any(cell.strip() for cell in cells):
                rows.append((where, _known(header, [*cells, *[""] * len(header)][: len(header)], where)))
    else:
        raise WorkbenchError(f"{path} must be a .csv, .tsv or .jsonl file of labels")
    return rows


def _cells(path: Path, text: str) -> list[list[str]]:
    """Parse with the first delimiter that makes a column of ids; of those that make no table the error of the first is told."""
    problem = ""
    for delimiter in ",;\t":
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        try:
            rows = [[_unescaped(cell) for cell in cells] for cells in reader]
        except csv.Error as error:
            problem = problem or f"{path}, line {reader.line_num} is not valid CSV: {error}"
            continue
        if rows and "id" in map(_column, rows[0]):
            return rows
    raise WorkbenchError(problem or f"{path} has no column 'id' (or 번호) in its first row")


def _known(columns: Sequence[str], cells: Sequence[str], where: str) -> dict[str, str]:
    names = [_column(column) for column in columns]
    for name in COLUMNS:
        if names.count(name) > 1:
            raise WorkbenchError(f"{where}: two columns for {name}")
    if "id" not in names or not set(GRADES) & set(names):
        raise WorkbenchError(
            f"{where}: labels need the columns id and label (번호, 판정), or id and groundedness; found {', '.join(columns)}"
        )
    return {name: cell for name, cell in zip(names, cells, strict=True) if name in COLUMNS}


def _column(cell: str) -> str:
    name = normalise(cell)[0].strip().lower()
    return next((column for column, names in COLUMNS.items() if name in names), name)


def _grade(metric: str, text: str, where: str) -> float:
    known = {**GRADES[metric], **KOREAN[metric], **NUMBERS}
    word = normalise(text)[0].lower()
    if word not in known:
        raise WorkbenchError(f"{where}: {unknown('label', text, known)}")
    return known[word]


def _text(value: Any, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise WorkbenchError(f"{where}: {value!r:.40} must be a text or a number")
    return str(value)


def _unescaped(cell: str) -> str:
    """Take off the apostrophe that `storage.safe_cell` puts before what looks like a formula."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA_STARTS) else cell


def _same(text: str) -> str:
    """Return what is compared of two texts: a spreadsheet may change white space."""
    return " ".join(normalise(text)[0].split())
