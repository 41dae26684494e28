"""Find the answer in a completion whose prompt asks for a format: JSON, or text behind a marker.

Parsing is strict and nothing is repaired: a repaired object can hold an answer that the model did not write. A completion without the
format stays whole, and counts as invalid.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from workbench.datatypes import WorkbenchError

KEYS = {"answer", "quote"}


class FormatError(ValueError):
    """Say how a completion misses its format, without quoting it."""


def find_answer(text: str, format: str, marker: str) -> str | None:
    """Return the answer in a completion, None when it is null; raise FormatError where the format is missed."""
    if format == "json":
        return _in_json(text)
    if format == "marked":
        return _behind_marker(text, marker)
    raise WorkbenchError(f"unknown format {format!r}; json and marked hold an answer")


def _in_json(text: str) -> str | None:
    """Read {"answer": TEXT or null, "quote": TEXT or null}; "quote" may be missing, any other key is wrong."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise FormatError(f"is no JSON: {error}") from None  # tells a place and what is missing there, not the text
    except RecursionError:
        raise FormatError("is no JSON object with an answer: nested too deep") from None
    except ValueError as error:  # also a number of 5000 digits
        raise FormatError(str(error) if isinstance(error, FormatError) else "holds a number too long to be read") from None
    if not isinstance(value, dict):
        raise FormatError("is JSON, but no object")
    if "answer" not in value:
        raise FormatError("is a JSON object without the key 'answer'")
    if not value.keys() <= KEYS:
        raise FormatError("is a JSON object with other keys than 'answer' and 'quote'")
    if not all(isinstance(item, str | None) for item in value.values()):
        raise FormatError("is a JSON object with values that are neither text nor null")
    return value["answer"]


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise FormatError("is a JSON object with a key twice")
    return dict(pairs)


def _no_number(_: str) -> NoReturn:
    raise FormatError("is no JSON: NaN and Infinity are no numbers there")


def _behind_marker(text: str, marker: str) -> str:
    """Return what follows the last marker that starts a line, in any case, with either colon, in bold or not."""
    name = re.escape(marker.rstrip(":： "))
    colon = r"[^\S\n]*[:：]" if marker.endswith((":", "：")) else r"(?!\w)"
    forms = rf"{name}{colon}|\*\*{name}(?:{colon}\*\*|\*\*{colon})|(?P<whole>\*\*{name}{colon}(?=[^*]*\*\*\Z))"  # **Answer: 14 days**
    found = list(re.finditer(rf"^[^\S\n]*(?:{forms})", text, re.IGNORECASE | re.MULTILINE))
    if not found:
        raise FormatError(f"lacks the marker {marker!r} at the start of a line")
    answer = text[found[-1].end() :]
    return (answer.removesuffix("**") if found[-1]["whole"] else answer).strip()
