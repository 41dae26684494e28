"""Keep what people say about answers: one JSON record a line, added by any number of processes, read back to evaluate with.

A record is `Feedback`. The file holds questions and texts of customers, so it is its owner's only, like the cache.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from workbench.datatypes import Answer, WorkbenchError
from workbench.engine_tidy import SHORTEST_SECRET
from workbench.settings import SECRET_NAME, SECRET_VALUE, Settings
from workbench.storage import fingerprint, outputs
from workbench.text import normalise

MAX_QUESTION, MAX_ANSWER, MAX_COMMENT = 10_000, 200_000, 10_000  # characters
MAX_PASSAGES = 1_000
MAX_LINE = 4_000_000  # bytes; the texts above in UTF-8, escaped, with room for the ids of documents
WAIT = 30  # seconds for another process that writes

_Name = Annotated[str, Field(min_length=1, max_length=1_000)]


class Place(BaseModel):
    """Locate a passage as evidence does in a file of questions: characters start to end (exclusive) of a document."""

    model_config = ConfigDict(frozen=True, strict=True)

    document: _Name
    start: Annotated[int, Field(ge=0)]
    end: int

    @model_validator(mode="after")
    def _check(self) -> Place:
        if self.end <= self.start:
            raise ValueError(f"end {self.end} must be larger than start {self.start}")
        return self


class Feedback(BaseModel):
    """Hold what somebody said about one answer; said twice, the later record counts.

    `passages` are those that the generator was shown, as they are numbered in citations. `settings` is the fingerprint of all settings,
    `data` that of the documents, which tells whether the places still hold.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    time: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]  # UTC
    question: Annotated[str, Field(min_length=1, max_length=MAX_QUESTION)]
    answer: Annotated[str, Field(max_length=MAX_ANSWER)]
    rating: Literal["up", "down"]
    comment: Annotated[str, Field(max_length=MAX_COMMENT)]
    passages: Annotated[tuple[Place, ...], Field(max_length=MAX_PASSAGES)]
    config_id: _Name
    settings: _Name
    data: str


def feedback_file() -> Path:
    """Return where feedback is kept in this project: outputs/feedback/feedback.jsonl."""
    return outputs() / "feedback" / "feedback.jsonl"


def give(answer: Answer, settings: Settings, data: str, rating: str, comment: str = "") -> Feedback:
    """Return what is said about an answer of these resolved settings over documents with this fingerprint; nothing is stored yet.

    Secrets of the environment, and what looks like one, are taken out of the texts. Raise WorkbenchError for a rating other than "up" or
    "down" and for texts that are too long.
    """
    values = {
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "question": _without_secrets(answer.question),
        "answer": _without_secrets(answer.text),
        "rating": rating,
        "comment": _without_secrets(comment).strip(),
        "passages": tuple({"document": each.span.document_id, "start": each.span.start, "end": each.span.end} for each in answer.passages),
        "config_id": settings.config_id,
        "settings": fingerprint(settings.model_dump()),
        "data": data,
    }
    try:
        return Feedback(**values)
    except ValidationError as error:
        raise WorkbenchError(f"this feedback cannot be kept: {_reason(error)}") from None


def append(path: Path, feedback: Feedback) -> None:
    """Add a record at the end of a file, made when it is not there; when this returns, it is on the disk.

    Processes that write at once wait for one another. What stands in the file is never changed: after a line that a crash left
    unfinished a new one begins, and of a record that does not fit on the disk nothing stays. Raise WorkbenchError.
    """
    line = feedback.model_dump_json().encode() + b"\n"
    if len(line) > MAX_LINE:
        raise WorkbenchError(f"this feedback takes {len(line):,} bytes, more than the {MAX_LINE:,} that are kept")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path), open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "rb+", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                line = line if file.read(1) == b"\n" else b"\n" + line
            try:
                left = memoryview(line)
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise
    except (OSError, sqlite3.Error) as error:
        raise WorkbenchError(f"the feedback cannot be written to {path}: {getattr(error, 'strerror', None) or error}") from None


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time write (SQLite locks a file on every system)."""
    with contextlib.closing(sqlite3.connect(f"{path}.lock", timeout=WAIT, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        yield


def read(path: Path) -> tuple[list[Feedback], list[str]]:
    """Return the records of a file in their order, and for each line that holds none, its number and why; the file stays as it is.

    Raise WorkbenchError when the file is missing or cannot be read.
    """
    records: list[Feedback] = []
    damaged: list[str] = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(_lines(file), start=1):
                if not line.strip():
                    continue
                try:
                    if len(line) > MAX_LINE:
                        raise WorkbenchError(f"is longer than {MAX_LINE:,} bytes")
                    records.append(Feedback.model_validate_json(line))
                except ValidationError as error:
                    damaged.append(f"line {number}: {_reason(error)}")
                except WorkbenchError as error:
                    damaged.append(f"line {number}: {error}")
    except FileNotFoundError:
        raise WorkbenchError(f"no such file: {path}") from None
    except OSError as error:
        raise WorkbenchError(f"{path} cannot be read: {error.strerror}") from None
    return records, damaged


def _lines(file) -> Iterator[bytes]:  # type: ignore[no-untyped-def] - a binary file
    """Yield lines; of one that is too long only the start, so that no file fills the memory."""
    while line := file.readline(MAX_LINE + 1):
        rest = line
        while len(rest) > MAX_LINE and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE + 1)
        yield line


def _reason(error: ValidationError) -> str:
    """Say what is wrong with a record, without its texts."""
    found = ((".".join(str(part) for part in item["loc"]), item["msg"].removeprefix("Value error, ")) for item in error.errors())
    return "; ".join(f"{place}: {message}" if place else message for place, message in found)


def _without_secrets(text: str) -> str:
    """Return normalised text in which values of variables such as OPENAI_API_KEY, and what looks like a key, are named only."""
    text = normalise(text)[0]
    secrets = {value: name for name, value in os.environ.items() if SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET}
    for value in sorted(secrets, key=len, reverse=True):
        text = text.replace(value, f"[{secrets[value]}]")
    return re.sub(SECRET_VALUE, "[secret]", text)
