"""Hold the questions that a person writes about a folder of documents: checked, with undo, saved as questions.jsonl beside the documents.

What is saved loads again as `folder:DIR` or `jsonl:DIR`. Questions that stand in other files of the folder are loaded, never written.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workbench import data, registry, storage
from workbench.data_records import Collector, clean
from workbench.data_spans import Places, place, trimmed
from workbench.datatypes import Document, Example, Span, WorkbenchError
from workbench.text import HANGUL, english_words, folded, hangul_bigrams

QUESTIONS = "questions.jsonl"
COPIED = 0.65  # share of a question's search terms in its evidence; 1 in 140 questions of the demo sets has more
FEW_TERMS = 4  # of so few terms, most are names
Evidence = tuple[tuple[Span, ...], ...]


class ChangedOutside(WorkbenchError):
    """Say that the file of the questions is no longer the one that was read, so that nothing was written."""


@dataclass(frozen=True)
class Annotation:
    """Hold one question as its file has it; `example` is None where no loader would keep it, `problem` says why.

    `warnings` are pairs of a kind (`copied`, `no_answer`, `no_evidence`, `not_in_evidence`) and what it is about.
    """

    id: str
    record: Mapping[str, Any]
    example: Example | None
    problem: str = ""
    warnings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Progress:
    """Count questions: of all files, by document, and by group of documents that no question of another group touches."""

    questions: int
    by_document: Mapping[str, int]
    by_group: tuple[int, ...]


class Annotations:
    """Hold the questions of one folder; every change is saved at once, or not made at all.

    `put`, `delete` and `undo` raise ChangedOutside where another program has written the file since, WorkbenchError where it cannot be
    written; then nothing has changed.
    """

    def __init__(self, spec: str) -> None:
        kind, argument = registry.split_spec(spec)
        if kind not in data.DATASETS:
            kind, argument = data.kind_of_path(spec)
        if kind not in ("folder", "jsonl") or not argument:
            raise WorkbenchError(f"{spec} is no folder that questions can be written into; name another folder to copy its documents to")
        self.path = data.locate(argument) / QUESTIONS
        self.spec = f"{kind}:{self.path.parent}"
        self.reload()

    def reload(self) -> None:
        """Read documents and questions again; what could be undone is forgotten. Raise WorkbenchError for a file that cannot be read."""
        stored = _stored(self.path)
        dataset = data.load(self.spec)
        examples = {example.id: example for example in dataset.examples}
        losses = dict(loss.split(": ", 1) for loss in dataset.losses if ": " in loss)
        self._documents = {document.id: document for document in dataset.documents}
        self._places = Places(self._documents, self.path.parent, originals=self.spec.startswith("jsonl:"))
        self._stored = _digest(stored)
        self._history: list[tuple[str, str, tuple[Annotation, ...]]] = []
        lines = Collector().read_lines(self.path) if stored is not None else ()
        self.entries = tuple(
            self._annotation(record, examples.pop(clean(record["id"]), None), losses.get(where, "")) for where, record in lines
        )
        self._dataset = replace(dataset, examples=tuple(examples.values()))
        numbered = (re.fullmatch(r"q-(\d{1,9})", name) for name in (*examples, *(entry.id for entry in self.entries)))
        self._last = max((int(found[1]) for found in numbered if found), default=0)

    def _annotation(self, record: Mapping[str, Any], example: Example | None, problem: str = "") -> Annotation:
        warnings = tuple(_warnings(example, self._documents)) if example else ()
        return Annotation(clean(record["id"]), record, example, problem, warnings)

    def changed_outside(self) -> bool:
        """Say whether the file is another one than was read or written last."""
        return _digest(_stored(self.path)) != self._stored

    @property
    def documents(self) -> tuple[Document, ...]:
        return self._dataset.documents

    @property
    def others(self) -> tuple[Example, ...]:
        """Return the questions that stand in other files of the folder."""
        return self._dataset.examples

    @property
    def undoable(self) -> tuple[str, str] | None:
        """Return what `undo` would take back: "put" or "delete", and the id of the question."""
        return self._history[-1][:2] if self._history else None

    def document(self, name: str) -> Document:
        """Return a document; raise WorkbenchError when there is none of this id."""
        if name not in self._documents:
            raise WorkbenchError(f"no document {name!r} in {self.spec}")
        return self._documents[name]

    def entry(self, name: str) -> Annotation:
        """Return a question; raise WorkbenchError when there is none of this id in the file."""
        found = next((entry for entry in self.entries if entry.id == name), None)
        if found is None:
            raise WorkbenchError(f"no question {name!r} in {self.path}")
        return found

    # --- changes -------------------------------------------------------------------------------------------------------------------------

    def put(
        self, question: str, answers: Sequence[str] = (), evidence: Evidence = (), document: str = "", name: str | None = None
    ) -> Annotation:
        """Save a new question, or the one called `name` anew, and return it; neither answers nor evidence means unanswerable.

        `document` is the one that was read: an unanswerable question belongs to its group. Raise WorkbenchError for a question without
        text and for a span that is not in its document.
        """
        old = self.entry(name) if name is not None else None
        question, answers = clean(question), tuple(dict.fromkeys(filter(None, map(clean, answers))))
        evidence = tuple(dict.fromkeys(unit for unit in (tuple(dict.fromkeys(unit)) for unit in evidence) if unit))
        if not question:
            raise WorkbenchError("a question needs text")
        for span in (span for unit in evidence for span in unit):
            text = self.document(span.document_id).text
            if trimmed(text, span.start, span.end) != (span.start, span.end):
                raise WorkbenchError(f"{span} is outside its document of {len(text)} characters, or has white space at an end")
        record: dict[str, Any] = dict(old.record) if old else {"id": f"q-{self._last + 1:03}"}
        record |= {"question": question, "answers": list(answers)}
        if old is None or old.example is None or old.example.evidence != evidence:  # else the file's own way to say it stays
            record["evidence"] = [[self._places.pointer(span) for span in unit] for unit in evidence]
        metadata = dict(old.example.metadata) if old and old.example else {}
        if answers or evidence:
            record.pop("unanswerable", None)
            record["metadata"] = dict(record.get("metadata") or {})
            for marked in (record, record["metadata"], metadata):  # a type is such a mark too
                if clean(marked.get("type")) == "unanswerable":
                    del marked["type"]
            if not record["metadata"]:
                del record["metadata"]
        else:
            record["unanswerable"] = True
            if document and (old is None or (old.example and old.example.answerable)):
                home = {"document": document, "group": self.document(document).group}
                record, metadata = {**record, **home, **record}, {**home, **metadata}  # the id stays first
        made = self._annotation(record, Example(clean(record["id"]), question, answers, evidence, metadata))
        if old is None:
            self._commit("put", made.id, (*self.entries, made))
            self._last += 1
        else:
            self._commit("put", made.id, tuple(made if entry is old else entry for entry in self.entries))
        return made

    def delete(self, name: str) -> None:
        """Remove a question and save."""
        gone = self.entry(name)
        self._commit("delete", name, tuple(entry for entry in self.entries if entry is not gone))

    def undo(self) -> None:
        """Take the last change back and save; raise WorkbenchError when nothing was changed since the file was read."""
        if not self._history:
            raise WorkbenchError("nothing to undo")
        self._save(self._history[-1][2])
        self._history.pop()

    def _commit(self, kind: str, name: str, entries: tuple[Annotation, ...]) -> None:
        before = self.entries
        self._save(entries)
        self._history.append((kind, name, before))

    def _save(self, entries: tuple[Annotation, ...]) -> None:
        if self.changed_outside():
            raise ChangedOutside(
                f"{self.path} was changed by another window or program since it was read; nothing was saved, read it again"
            )
        content = "".join(map(_line, (entry.record for entry in entries))).encode()
        try:
            storage.write_bytes(self.path, content)
        except OSError as error:
            raise WorkbenchError(f"{self.path} cannot be written: {error.strerror}; nothing was saved") from None
        self._stored, self.entries = _digest(content), entries

    # --- what to say of it ---------------------------------------------------------------------------------------------------------------

    def twice(self) -> dict[str, str]:
        """Return for each question of the file that is asked more than once the id of another that asks the same."""
        asked: dict[str, list[str]] = {}
        for name, question in ((example.id, example.question) for example in (*self.others, *self._examples())):
            asked.setdefault(folded(question), []).append(name)
        return {name: next(other for other in names if other != name) for names in asked.values() if len(names) > 1 for name in names}

    def progress(self) -> Progress:
        """Count the questions of all files."""
        examples = (*self.others, *self._examples())
        places = Counter(place for entry in self.entries for place in places_of(entry.example, entry.record))
        places.update(place for example in self.others for place in places_of(example, example.metadata))
        places = Counter({place: count for place, count in places.items() if place in self._documents})
        groups = Counter(data.clusters(replace(self._dataset, examples=examples)).values())
        return Progress(len(self.entries) + len(self.others), places, tuple(groups.values()))

    def _examples(self) -> Iterator[Example]:
        return (entry.example for entry in self.entries if entry.example)


def copy_documents(spec: str, folder: Path | str) -> str:
    """Write the documents and questions of any data set into a new folder as JSON lines, once, and return the spec that loads it.

    A folder that holds the documents already is left as it is; raise WorkbenchError where it holds others.
    """
    folder = Path(folder).expanduser()
    source = data.load(spec)
    target = f"jsonl:{folder}"
    if not (folder / "documents.jsonl").exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise WorkbenchError(f"{folder} holds other files; name a new folder to copy the documents of {spec} to")
        records = [{"id": each.id, "title": each.title, "text": each.text, "metadata": dict(each.metadata)} for each in source.documents]
        questions = [
            {
                "id": each.id,
                "question": each.question,
                "answers": each.answers,
                "evidence": [[place(span) for span in unit] for unit in each.evidence],
                "unanswerable": not each.answerable,
                "metadata": dict(each.metadata),
            }
            for each in source.examples
        ]
        for name, lines in ((QUESTIONS, questions), ("documents.jsonl", records)):  # the documents last: they say that all is there
            storage.write_text(folder / name, "".join(map(_line, lines)))
    documents = {document.id: document.text for document in data.load(target).documents}
    if documents != {document.id: document.text for document in source.documents}:
        raise WorkbenchError(f"{folder} holds other documents than {spec}; name a new folder")
    return target


def places_of(example: Example | None, record: Mapping[str, Any]) -> list[str]:
    """Return the ids of the documents that a question is about: of its evidence, else the one that was read when it was written."""
    if example and example.evidence:
        return list(dict.fromkeys(span.document_id for unit in example.evidence for span in unit))
    return [record["document"]] if isinstance(record.get("document"), str) else []


def _warnings(example: Example, documents: Mapping[str, Document]) -> Iterator[tuple[str, str]]:
    quotes = [documents[span.document_id].text[span.start : span.end] for unit in example.evidence for span in unit]
    if example.answerable and not example.answers:
        yield "no_answer", ""
    if example.answerable and not quotes:
        yield "no_evidence", ""
    if quotes:
        cut = hangul_bigrams if re.search(f"[{HANGUL}]", example.question) else english_words
        terms, known = cut(example.question), set(cut(" ".join(quotes)))
        if len(terms) > FEW_TERMS and sum(term in known for term in terms) >= COPIED * len(terms):
            yield "copied", ""
        joined = folded(" ".join(quotes))
        yield from (("not_in_evidence", answer) for answer in example.answers if folded(answer) not in joined)


def _line(record: Mapping[str, Any]) -> str:
    line = json.dumps(record, ensure_ascii=False)
    return (json.dumps(record) if re.search("[\ud800-\udfff]", line) else line) + "\n"  # half a character is no UTF-8


def _stored(path: Path) -> bytes | None:
    """Return what the file holds, None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WorkbenchError(f"cannot read {path}: {error.strerror}") from None


def _digest(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()
