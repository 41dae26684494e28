"""Point at the text of a document: in the units that a browser counts in, and as records that the loaders resolve to the same span."""

from __future__ import annotations

import bisect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.data_files import front_matter, read_text
from workbench.data_records import Collector, clean
from workbench.data_tables import DOCUMENT_SUFFIXES
from workbench.datatypes import Document, Span, WorkbenchError
from workbench.text import Alignment


def trimmed(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Return start and end without white space at the ends; None where nothing is left or the range is not within the text."""
    if not 0 <= start < end <= len(text):
        return None
    part = text[start:end]
    end -= len(part) - len(part.rstrip())
    start += len(part) - len(part.lstrip())
    return (start, end) if start < end else None


class Units:
    """Convert between characters of a text and the UTF-16 units that JavaScript counts in, where an emoji is two."""

    def __init__(self, text: str) -> None:
        self._wide = [place for place, character in enumerate(text) if character > "\uffff"] if text and max(text) > "\uffff" else []
        self._units = [place + number for number, place in enumerate(self._wide)]

    def of(self, character: int) -> int:
        """Return the units before a character."""
        return character + bisect.bisect_left(self._wide, character)

    def character(self, unit: int) -> int:
        """Return the characters before a unit; the middle of a character counts as its start."""
        return unit - bisect.bisect_left(self._units, unit)

    def whole(self, start: int, end: int) -> tuple[int, int]:
        """Return the characters that a range of units touches."""
        last = self.character(end)
        return self.character(start), last + (self.of(last) < end)


def place(span: Span) -> dict[str, Any]:
    """Return a span as an evidence record."""
    return {"document": span.document_id, "start": span.start, "end": span.end}


class Places:
    """Write spans of the documents of a folder as evidence records."""

    def __init__(self, documents: Mapping[str, Document], folder: Path, originals: bool) -> None:
        """Take documents by id and the folder they were read from; `originals`: its documents.jsonl holds them, else its files do."""
        self._documents, self._folder, self._lines = documents, folder, originals
        self._files: dict[str, Path] | None = None

    def pointer(self, span: Span) -> dict[str, Any]:
        """Return a record that resolves to this span: its text where that stands once, else the place as the file counts.

        A file counts before normalisation; where characters of it merge into one, a place covers them whole.
        """
        text = self._documents[span.document_id].text
        quote = text[span.start : span.end]
        if text.find(quote) == span.start and text.find(quote, span.start + 1) < 0:
            return {"document": span.document_id, "quote": quote}
        aligned = Alignment(self._original(span.document_id))
        if aligned.text != text:
            raise WorkbenchError(f"the document {span.document_id!r} has changed since it was read; read it again")
        length = len(aligned.original)
        starts = range(length)
        last = bisect.bisect_right(starts, span.start, key=lambda at: aligned.span(at, length)[0]) - 1
        start = bisect.bisect_left(starts, aligned.span(last, length)[0], key=lambda at: aligned.span(at, length)[0])
        end = bisect.bisect_left(range(length + 1), span.end, key=lambda at: aligned.span(0, at)[1])
        record = place(Span(span.document_id, start, end))
        return record | ({"text": quote} if aligned.original[start:end] == quote else {})

    def _original(self, name: str) -> str:
        """Return the text of a document as its file has it, none where it has gone."""
        if self._lines:
            records = Collector().read_lines(self._folder / "documents.jsonl")
            return next((record["text"] for _, record in records if clean(record["id"]) == name), "")
        if self._files is None:
            paths = (Path(parent, file) for parent, _, files in os.walk(self._folder) for file in files)
            files = (path for path in paths if path.suffix.lower() in DOCUMENT_SUFFIXES)
            self._files = {clean(path.relative_to(self._folder).with_suffix("").as_posix()): path for path in files}
        return front_matter(read_text(self._files[name])[0], name)[1] if name in self._files else ""
