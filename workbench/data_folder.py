"""Read a folder of Markdown and text files with its questions, such as the packaged demo corpora."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from workbench.data_records import Collector, clean
from workbench.data_tables import DOCUMENT_SUFFIXES, question_records, read_rows
from workbench.datatypes import Dataset, WorkbenchError

DEMO = Path(__file__).resolve().parent / "demo"
TABLES = ("questions.csv", "questions.tsv", "questions.xlsx")


def read_demo(language: str, name: str) -> Dataset:
    """Read the packaged demo corpus in English (en) or Korean (ko): the same documents and question ids in both."""
    return _read(DEMO / language, name, None, bare_ids=True)


def read_folder(argument: str, *, name: str, encoding: str | None = None) -> Dataset:
    """Read all .md and .txt files below a folder, and questions.jsonl, questions-*.jsonl or questions.csv (.tsv, .xlsx) in it.

    A document's id is its path from the folder without the suffix. Evidence may name it by id, or by file name where unique;
    offsets count from the end of the front matter. Hidden files, linked folders and a README at the top are left out.
    """
    return _read(Path(argument), name, encoding, bare_ids=False)


def _read(folder: Path, name: str, encoding: str | None, bare_ids: bool) -> Dataset:
    if not folder.is_dir():
        raise WorkbenchError(f"{folder} is not a folder")
    collector = Collector(encoding, stems=True)
    root = os.path.realpath(folder)
    others: Counter[str] = Counter()
    questions: list[Path] = []
    for path in _files(folder, collector):
        shown = clean(path.relative_to(folder).as_posix())
        top = path.parent == folder
        if top and (path.name in TABLES or (path.suffix == ".jsonl" and (path.stem == "questions" or path.stem.startswith("questions-")))):
            questions.append(path)
        elif top and path.name.lower().startswith("readme."):
            collector.notes.append(f"{path.name} was left out: it describes the folder")
        elif path.suffix.lower() not in DOCUMENT_SUFFIXES:
            others[path.suffix.lower() or "no suffix"] += 1
        elif not Path(os.path.realpath(path)).is_relative_to(root):
            collector.losses.append(f"{shown} was skipped: a link that leaves the folder")
        else:
            collector.add_file(path, clean(path.stem) if bare_ids else clean(path.relative_to(folder).with_suffix("").as_posix()), shown)
    for path in questions:
        _add_questions(path, collector)
    if others:
        counts = ", ".join(f"{suffix} ({count})" for suffix, count in sorted(others.items()))
        collector.notes.append(f"files of other kinds were left out: {counts}")
    return collector.dataset(name, embed_title=True)


def _files(folder: Path, collector: Collector) -> list[Path]:
    """Return the files below a folder that are not hidden, sorted by path."""
    found: list[Path] = []
    for parent, folders, files in os.walk(folder):
        for linked in sorted(name for name in folders if not name.startswith(".") and os.path.islink(os.path.join(parent, name))):
            collector.losses.append(f"{clean(linked)}/ was skipped: a linked folder is not followed")
        folders[:] = [name for name in sorted(folders) if not name.startswith(".")]
        found.extend(Path(parent, name) for name in files if not name.startswith("."))
    return sorted(found, key=lambda path: clean(path.as_posix()))


def _add_questions(path: Path, collector: Collector) -> None:
    if path.suffix == ".jsonl":
        for where, record in collector.read_lines(path):
            collector.add_question(record, where)
        return
    rows = read_rows(path, collector)
    if "text" in rows[0][1]:
        raise WorkbenchError(f"{path} holds documents in a column 'text'; load it by itself as table:{path.name}")
    for where, record in question_records(rows):
        collector.add_question(record, where)
