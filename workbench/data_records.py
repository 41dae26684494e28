"""Collect the records of a data set: clean text, resolve evidence, list what is lost; and read text files in any usual encoding."""

from __future__ import annotations

import codecs
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from workbench import storage
from workbench.datatypes import Dataset, Document, Example, Span, WorkbenchError
from workbench.text import Alignment, normalise

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it starts with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
QUESTION_KEYS = frozenset({"id", "question", "answers", "evidence", "unanswerable", "group", "metadata"})
DOCUMENT_KEYS = frozenset({"id", "text", "title", "group", "metadata"})


def decode(data: bytes, source: str, encoding: str | None = None) -> tuple[str, str]:
    """Return text and the encoding it was read with: the given one, else a byte-order mark, UTF-8, CP949, else the best guess.

    Raise WorkbenchError when the bytes are not text in the given or in any likely encoding.
    """
    if encoding is None:
        encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)), None)
    if encoding is not None:
        try:
            return data.decode(encoding), encoding
        except LookupError:
            raise WorkbenchError(f"unknown encoding {encoding!r} for {source}; try utf-8, cp949 or utf-16") from None
        except UnicodeDecodeError as error:
            raise WorkbenchError(f"{source} is not text in {encoding}: {error.reason} at byte {error.start}") from None
    if data.count(0) <= len(data) // 100:  # more NUL bytes than that: UTF-16 without a mark, or no text at all
        for likely in ("utf-8", "cp949"):
            try:
                return data.decode(likely), likely
            except UnicodeDecodeError:
                continue
    from charset_normalizer import from_bytes

    best = from_bytes(data).best()
    if best is None:
        raise WorkbenchError(f"{source} is not text in any known encoding; save it as UTF-8 or give the option encoding")
    return str(best), best.encoding


def parse_json(text: str, source: str) -> Any:
    """Parse JSON; raise WorkbenchError naming the source when it is broken, too deep or holds NaN."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise WorkbenchError(f"{source} is nested too deeply") from None
    except ValueError as error:
        raise WorkbenchError(f"{source} is not valid JSON: {error}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number that JSON has")


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
    """

    def __init__(self, encoding: str | None = None) -> None:
        self.encoding = encoding
        self.documents: dict[str, Document] = {}
        self.examples: dict[str, Example] = {}
        self.losses: list[str] = []
        self.notes: list[str] = []
        self._aligned: dict[str, Alignment] = {}
        self._changes: Counter[str] = Counter()
        self._unread: Counter[str] = Counter()
        self._stems: dict[str, list[str]] = {}

    def read(self, path: Path) -> str:
        """Read a text file; an encoding other than UTF-8 is noted. Raise WorkbenchError when it is missing or not text."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise WorkbenchError(f"no such file: {path}") from None
        except OSError as error:
            raise WorkbenchError(f"cannot read {path}: {error.strerror}") from None
        text, encoding = decode(data, str(path), self.encoding)
        if not encoding.startswith("utf-8"):
            self.notes.append(f"{path.name}: read as {encoding}")
        return text

    def read_lines(self, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (file:line, object) for each line of a JSON-lines file that is not blank."""
        for number, line in enumerate(self.read(path).split("\n"), 1):
            if not line.strip("\ufeff \t\r"):
                continue
            record = parse_json(line.strip("\ufeff \t\r"), f"{path}, line {number}")
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
                elif value is not None:
                    self._unread[clean(key)] += 1
        return merged

    def add_document(self, identity: Any, text: Any, where: str, title: Any = "", metadata: Mapping[str, Any] | None = None) -> str:
        """Keep one document and return its id; an empty one becomes a loss, a second one with the same id an error."""
        name = identifier(identity, where)
        if name in self.documents:
            raise WorkbenchError(f"{where}: duplicate document id {name!r}")
        if not isinstance(text, str):
            raise WorkbenchError(f"{where}: the text of document {name!r} must be a string, got {type(text).__name__}")
        aligned = Alignment(text)
        self._changes.update(aligned.counts)
        if not aligned.text.strip():
            self.losses.append(f"{where}: document {name!r} is empty and was skipped")
            return name
        self._aligned[name] = aligned
        self._stems.setdefault(PurePosixPath(name).name, []).append(name)
        self.documents[name] = Document(name, aligned.text, clean(title), self.metadata(metadata))
        return name

    def add_document_record(self, record: Mapping[str, Any], where: str) -> None:
        """Keep the document of one JSON object {id, text, title?, group?, metadata?, any other text or number}."""
        nested = self._mapping(record.get("metadata"), where)
        others = {key: value for key, value in record.items() if key not in DOCUMENT_KEYS}
        group = {"group": str(record["group"])} if record.get("group") is not None else {}
        self.add_document(record.get("id"), record.get("text"), where, record.get("title"), {**others, **nested, **group})

    def add_question(self, record: Mapping[str, Any], where: str) -> None:
        """Keep the question of one record {id, question, answers?, evidence?, unanswerable?, group?, metadata?}.

        Evidence is a list of units, all needed; a unit is a span or a list of alternative spans, any of which suffices;
        a span is {document, quote}, the quote standing exactly once in the document, or {document, start, end, text?}.
        A question whose evidence does not resolve, or that has neither answer nor evidence nor an unanswerable mark, is a loss.
        """
        name = identifier(record.get("id"), where)
        if name in self.examples:
            raise WorkbenchError(f"{where}: duplicate question id {name!r}")
        question = record.get("question")
        if not isinstance(question, str) or not clean(question):
            raise WorkbenchError(f"{where}: question {name!r} has no text")
        answers = [clean(answer) for answer in items(record.get("answers"))]
        nested = self._mapping(record.get("metadata"), where)
        metadata = self.metadata({key: value for key, value in record.items() if key not in QUESTION_KEYS}, nested)
        if record.get("group") is not None:
            metadata["group"] = clean(record["group"])
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
        except LookupError as error:
            problem = error.args[0]
        answered = any(answers) or bool(evidence)
        marked = bool(unanswerable) or metadata.get("type") == "unanswerable"
        if problem is None and answered and marked:
            problem = "is marked unanswerable but has an answer or evidence"
        if problem is None and not answered and not marked:
            problem = "has neither answer nor evidence nor an unanswerable mark"
        if problem is not None:
            self.losses.append(f"{where}: question {name!r} {problem}; dropped")
            return
        distinct = tuple(dict.fromkeys(answer for answer in answers if answer))
        self.keep(Example(name, clean(question), distinct, tuple(evidence), metadata), where)

    def keep(self, example: Example, where: str) -> None:
        """Keep a finished example; a second one with the same id is an error."""
        if example.id in self.examples:
            raise WorkbenchError(f"{where}: duplicate question id {example.id!r}")
        self.examples[example.id] = example

    def resolve(self, evidence: Any) -> Span:
        """Return the span that one evidence record means; raise LookupError with the reason when there is none."""
        if not isinstance(evidence, Mapping):
            raise LookupError(f"has evidence that is not an object with document and quote: {evidence!r:.60}")
        document = self._find_document(evidence.get("document"))
        if "quote" not in evidence:
            return span_of(self._aligned[document], document, evidence.get("start"), evidence.get("end"), evidence.get("text"))
        quote, text = clean(evidence["quote"]), self.documents[document].text
        start = text.find(quote)
        if not quote or start < 0:
            raise LookupError(f"quotes text that is not in document {document!r}: {quote[:60]!r}")
        if text.find(quote, start + 1) >= 0:
            raise LookupError(f"quotes text that occurs more than once in document {document!r}: {quote[:60]!r}")
        return Span(document, start, start + len(quote))

    def _find_document(self, reference: Any) -> str:
        name = clean(reference)
        plain = name.removesuffix(".md").removesuffix(".txt")
        for candidate in (name, plain):
            if candidate in self.documents:
                return candidate
            if len(self._stems.get(candidate, ())) == 1:
                return self._stems[candidate][0]
        if plain in self._stems:
            raise LookupError(f"names a document that is not unique: {name!r} ({', '.join(self._stems[plain])})")
        raise LookupError(f"names a document that is not here: {name!r}")

    def _mapping(self, value: Any, where: str) -> Mapping[str, Any]:
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

    Raise LookupError with the reason when the offsets are no valid range or do not hold the expected text.
    """
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(aligned.original):
        raise LookupError(f"has evidence outside document {document!r}: {start!r} to {end!r} of {len(aligned.original)} characters")
    if expected is not None and aligned.original[start:end] != expected:
        raise LookupError(f"expects {str(expected)[:60]!r} at {start} of document {document!r}, found {aligned.original[start:end][:60]!r}")
    first, last = aligned.span(start, end)
    found = aligned.text[first:last]
    if not found.strip():
        raise LookupError(f"has evidence of white space only at {start} of document {document!r}")
    return Span(document, first + len(found) - len(found.lstrip()), last - len(found) + len(found.rstrip()))


def fingerprinted(dataset: Dataset) -> Dataset:
    """Return the data set with the sha256 of its content: documents, questions and gold in the order of their ids, not names or files."""
    from dataclasses import replace

    documents = [[d.id, d.text, d.title, d.metadata] for d in sorted(dataset.documents, key=lambda d: d.id)]
    examples = [
        [e.id, e.question, e.answers, [[[s.document_id, s.start, s.end] for s in unit] for unit in e.evidence], e.metadata, e.gains]
        for e in sorted(dataset.examples, key=lambda e: e.id)
    ]
    return replace(dataset, fingerprint=storage.fingerprint([documents, examples, dataset.document_gold, dataset.embed_title]))
