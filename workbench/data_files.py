"""Read text and JSON files: any usual encoding, errors that name the file."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any

from workbench import storage
from workbench.datatypes import WorkbenchError

FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it starts with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: Path, encoding: str | None = None, shown: str = "") -> tuple[str, str]:
    """Return the text of a file and its encoding (see `decode`).

    Raise WorkbenchError, which names the file as `shown` (default: its path), when it is missing, unreadable or not text.
    """
    shown = shown or str(path)
    try:
        return decode(path.read_bytes(), shown, encoding)
    except FileNotFoundError:
        raise WorkbenchError(f"no such file: {shown}") from None
    except OSError as error:
        raise WorkbenchError(f"cannot read {shown}: {error.strerror}") from None


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
        except UnicodeError as error:
            raise WorkbenchError(f"{source} is not text in {encoding}: {error}") from None
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


def front_matter(text: str, source: str) -> tuple[dict[str, Any], str]:
    """Return the YAML fields between two lines of --- at the very start of a text, and the text after them.

    A text without such a block, or whose block is not a mapping, is returned whole. Raise WorkbenchError for broken YAML.
    """
    block = FRONT_MATTER.match(text)
    if block is None:
        return {}, text
    fields = storage.parse_yaml(block[1], f"front matter of {source}")
    if not isinstance(fields, dict):
        return {}, text
    return {str(key): value for key, value in fields.items()}, text[block.end() :]
