"""Collect the records of a data set: clean text, resolve evidence, list what is lost."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, time
from pathlib import Path, PurePosixPath
from typing import Any

from workbench import storage
from workbench.data_files import front_matter, parse_json, read_text
from workbench.datatypes import Dataset, Document, Example, Span, WorkbenchError
from workbench.text import Alignment, normalise

QUESTION_KEYS = frozenset({"id", "question", "answers", "evidence", "unanswerable", "group", "metadata"})
HEADING = re.compile(r"^#[ \t]+(\S.*?)[ \t#]*$", re.MULTILINE)
DOCUMENT_KEYS = frozenset({"id", "text", "title", "group", "metadata"})


class UnresolvedEvidence(Exception):
    """Say why the evidence of one question points at no text."""


def clean(value: Any) -> str:
    """Return a value as normalised text without white space at its ends; None is empty."""
    return "" if value is None else normalise(str(value))[0].strip()


def identifier(value: Any, where: str) -> str:
    """Return an id as text; raise WorkbenchError when it is missing or neither text nor a whole number."""
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not clean(value):
        raise WorkbenchError(f"{where}: the id must be text or a whole number, got {value!r}")
    return clean(value)


def items(value: Any) -> Sequence[Any]:
    """Return a list as it is, nothing as an empty list, and any other value as a list of one."""
    if value is None or value == "":
        return []
    return value if isinstance(value, (list, tuple)) else [value]


class Collector:
    """Collect the documents and questions of one source, then build the Dataset.

    `where` arguments say where a record stands (file:line); they open every loss and error.
    With `stems`, evidence may name a document by the last part of its id, if unique, and with its suffix.
    """

    def __init__(self, encoding: str | None = None, stems: bool = False) -> None:
        self.encoding = encoding
        self.documents: dict[str, Document] = {}
        self.examples: dict[str, Example] = {}
        self.losses: list[str] = []
        self.notes: list[str] = []
        self._aligned: dict[str, Alignment] = {}
        self._changes: Counter[str] = Counter()
        self._unread: Counter[str] = Counter()
        self.claimed: set[tuple[str, str]] = set()
        self._by_stem: dict[str, list[str]] | None = {} if stems else None

    def read(self, path: Path, shown: str = "") -> str:
        """Read a text file; an encoding other than UTF-8 is noted. Raise WorkbenchError when it is missing or not text."""
        text, encoding = read_text(path, self.encoding, shown)
        if not encoding.startswith("utf-8"):
            self.notes.append(f"{shown or path.name}: read as {encoding}")
        return text

    def read_lines(self, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (file:line, object) for each line of a JSON-lines file that is not blank."""
        for number, raw in enumerate(self.read(path).split("\n"), 1):
            line = raw.strip("\ufeff \t\r")
            if not line:
                continue
            record = parse_json(line, f"{path}, line {number}")
            if not isinstance(record, dict):
                raise WorkbenchError(f"{path}, line {number} must be a JSON object, got {line[:40]!r}")
            yield f"{path.name}:{number}", record

    def metadata(self, *sources: Mapping[str, Any] | None) -> dict[str, str | int | float]:
        """Merge the text and number values of the sources, the last one winning; other values are left out and counted."""
        merged: dict[str, str | int | float] = {}
        for source in sources:
            for key, value in (source or {}).items():
                if isinstance(value, str):
                    merged[clean(key)] = clean(value)
                elif isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
                    merged[clean(key)] = value
                elif isinstance(value, (date, time)):
                    merged[clean(key)] = value.isoformat()
                elif value is not None:
                    self._unread[clean(key)] += 1
        if "group" in merged:
            merged["group"] = str(merged["group"])
        return merged

    def claim(self, kind: str, identity: Any, where: str) -> str:
        """Return an id as text; raise WorkbenchError when it is missing or taken."""
        name = identifier(identity, where)
        if (kind, name) in self.claimed:
            raise WorkbenchError(f"{where}: duplicate {kind} id {name!r}")
        self.claimed.add((kind, name))
        return name

    def add_document(self, identity: Any, text: Any, where: str, title: Any = "", metadata: Mapping[str, Any] | None = None) -> str:
        """Keep one document and return its id; an empty one becomes a loss, a second one with the same id an error."""
        name = self.claim("document", identity, where)
        if not isinstance(text, str):
            raise WorkbenchError(f"{where}: the text of document {name!r} must be a string, got {type(text).__name__}")
        aligned = Alignment(text)
        self._changes.update(aligned.counts)
        if not aligned.text.strip():
            self.losses.append(f"{where}: document {name!r} is empty and was skipped")
            return name
        self._aligned[name] = aligned
        if self._by_stem is not None:
            self._by_stem.setdefault(PurePosixPath(name).name, []).append(name)
        self.documents[name] = Document(name, aligned.text, clean(title), self.metadata(metadata))
        return name

    def add_file(self, path: Path, name: str, shown: str) -> None:
        """Keep the document of a Markdown or text file; one that cannot be read becomes a loss.

        Front matter gives title, group and other metadata. Without a title there, the first heading or the file name is taken.
        """
        try:
            fields, body = front_matter(self.read(path, shown), shown)
        except WorkbenchError as error:
            self.losses.append(f"{shown} was skipped: {' '.join(str(error).split())}")
            return
        heading = HEADING.search(body.replace("\r", "\n"))
        title = fields.pop("title", None) or (heading[1] if heading else path.stem)
        self.add_document(name, body, shown, title, fields)

    def add_document_record(self, record: Mapping[str, Any], where: str) -> None:
        """Keep the document of one JSON object {id, text, title?, group?, metadata?, any other text or number}."""
        nested = self.mapping(record.get("metadata"), where)
        others = {key: value for key, value in record.items() if key not in DOCUMENT_KEYS}
        metadata = {**others, **nested, "group": record.get("group", nested.get("group"))}
        self.add_document(record.get("id"), record.get("text"), where, record.get("title"), metadata)

    def add_question(self, record: Mapping[str, Any], where: str) -> None:
        """Keep the question of one record {id, question, answers?, evidence?, unanswerable?, group?, metadata?}.

        Evidence is a list of units, all needed; a unit is a span or a list of alternative spans, any of which suffices;
        a span is {document, quote}, the quote standing exactly once in the document, or {document, start, end, text?}.
        A question whose evidence does not resolve is a loss; one with neither answer nor evidence nor an unanswerable mark is an error.
        """
        name = self.claim("question", record.get("id"), where)
        question = record.get("question")
        if not isinstance(question, str) or not clean(question):
            raise WorkbenchError(f"{where}: question {name!r} has no text")
        if any(not isinstance(answer, (str, int, float)) for answer in items(record.get("answers"))):
            raise WorkbenchError(f"{where}: the answers of question {name!r} must be text or a list of texts")
        answers = [clean(answer) for answer in items(record.get("answers"))]
        nested = self.mapping(record.get("metadata"), where)
        others = {key: value for key, value in record.items() if key not in QUESTION_KEYS}
        metadata = self.metadata(others, nested, {"group": record.get("group")})
        unanswerable = record.get("unanswerable", False)
        if unanswerable not in (True, False, None):
            raise WorkbenchError(f"{where}: unanswerable must be true or false, got {unanswerable!r}")
        problem = None
        evidence: list[tuple[Span, ...]] = []
        try:
            for unit in items(record.get("evidence")):
                spans = tuple(dict.fromkeys(self.resolve(span) for span in items(unit)))
                if spans and spans not in evidence:
                    evidence.append(spans)
        except UnresolvedEvidence as error:
            problem = error.args[0]
        answered = any(answers) or bool(evidence)
        marked = bool(unanswerable) or metadata.get("type") == "unanswerable"
        if problem is None and answered and marked:
            problem = "is marked unanswerable but has an answer or evidence"
        if problem is None and not answered and not marked:
            raise WorkbenchError(
                f"{where}: question {name!r} has neither answer nor evidence nor an unanswerable mark; give it one of them"
            )
        if problem is not None:
            self.losses.append(f"{where}: question {name!r} {problem}; dropped")
            return
        distinct = tuple(dict.fromkeys(answer for answer in answers if answer))
        self.examples[name] = Example(name, clean(question), distinct, tuple(evidence), metadata)

    def resolve(self, evidence: Any) -> Span:
        """Return the span that one evidence record means; raise UnresolvedEvidence with the reason when there is none.

        A bare string, or a record without a document, is a quote that must stand in exactly one document.
        """
        if isinstance(evidence, str):
            evidence = {"quote": evidence}
        if not isinstance(evidence, Mapping):
            raise UnresolvedEvidence(f"has evidence that is not an object with document and quote: {evidence!r:.60}")
        if "quote" not in evidence:
            document = self._find_document(evidence.get("document"))
            return span_of(self._aligned[document], document, evidence.get("start"), evidence.get("end"), evidence.get("text"))
        quote = clean(evidence["quote"])
        if not quote:
            raise UnresolvedEvidence("has an empty quote")
        if evidence.get("document") is None:
            document = self._find_holder(quote)
        else:
            document = self._find_document(evidence["document"])
        text = self.documents[document].text
        start = text.find(quote)
        if start < 0:
            raise UnresolvedEvidence(f"quotes text that is not in document {document!r}: {quote[:60]!r}")
        if text.find(quote, start + 1) >= 0:
            raise UnresolvedEvidence(f"quotes text that occurs more than once in document {document!r}: {quote[:60]!r}")
        return Span(document, start, start + len(quote))

    def _find_holder(self, quote: str) -> str:
        holders = [document.id for document in self.documents.values() if quote in document.text]
        if len(holders) != 1:
            raise UnresolvedEvidence(f"quotes text that is in {len(holders)} documents, and names none: {quote[:60]!r}")
        return holders[0]

    def _find_document(self, reference: Any) -> str:
        name = clean(reference)
        if name in self.documents:
            return name
        if self._by_stem is not None:
            plain = name.removesuffix(".md").removesuffix(".txt")
            if plain in self.documents:
                return plain
            candidates = self._by_stem.get(plain, [])
            if len(candidates) == 1:
                return candidates[0]
            if candidates:
                raise UnresolvedEvidence(f"names a document that is not unique: {name!r} ({', '.join(candidates)})")
        raise UnresolvedEvidence(f"names a document that is not here: {name!r}")

    def mapping(self, value: Any, where: str) -> Mapping[str, Any]:
        """Return the metadata of a record, or nothing where it has none."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise WorkbenchError(f"{where}: metadata must be an object, got {value!r:.60}")
        return value

    def dataset(self, name: str, **flags: bool) -> Dataset:
        """Build the Dataset; raise WorkbenchError when no document is left."""
        if not self.documents:
            lost = f"; skipped: {'; '.join(self.losses[:3])}" if self.losses else ""
            raise WorkbenchError(f"{name} holds no document{lost}")
        if self._changes:
            changes = ", ".join(f"{count} {kind}" for kind, count in sorted(self._changes.items()))
            self.notes.append(f"normalised in documents: {changes}")
        if self._unread:
            keys = ", ".join(f"{key} ({count})" for key, count in sorted(self._unread.items()))
            self.notes.append(f"metadata that is neither text nor a number was left out: {keys}")
        if not self.examples:
            self.notes.append("no questions: chunks can be looked at, nothing can be evaluated")
        documents, examples = tuple(self.documents.values()), tuple(self.examples.values())
        return fingerprinted(Dataset(name, documents, examples, losses=tuple(self.losses), notes=tuple(self.notes), **flags))


def span_of(aligned: Alignment, document: str, start: Any, end: Any, expected: Any = None) -> Span:
    """Return the span of offsets into an original text, mapped to its normalised text and trimmed of white space.

    Raise UnresolvedEvidence with the reason when the offsets are no valid range or do not hold the expected text.
    """
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(aligned.original):
        raise UnresolvedEvidence(f"has evidence outside document {document!r}: {start!r} to {end!r} of {len(aligned.original)} characters")
    if expected is not None and aligned.original[start:end] != expected:
        raise UnresolvedEvidence(
            f"expects {str(expected)[:60]!r} at {start} of document {document!r}, found {aligned.original[start:end][:60]!r}"
        )
    first, last = aligned.span(start, end)
    found = aligned.text[first:last]
    if not found.strip():
        raise UnresolvedEvidence(f"has evidence of white space only at {start} of document {document!r}")
    return Span(document, first + len(found) - len(found.lstrip()), last - len(found) + len(found.rstrip()))


def fingerprinted(dataset: Dataset) -> Dataset:
    """Return the data set with the sha256 of its content: documents, questions and gold in the order of their ids, not names or files."""
    documents = [[d.id, d.text, d.title, d.metadata] for d in sorted(dataset.documents, key=lambda d: d.id)]
    examples = [
        [e.id, e.question, e.answers, [[[s.document_id, s.start, s.end] for s in unit] for unit in e.evidence], e.metadata, e.gains]
        for e in sorted(dataset.examples, key=lambda e: e.id)
    ]
    return replace(dataset, fingerprint=storage.fingerprint([documents, examples, dataset.document_gold, dataset.embed_title]))
