r"""Change answers by an operator's rules, read from a YAML file: replace what must not be shown, refuse, append a notice.

    - name: hide phone numbers
      pattern: '\d{2,3}-\d{3,4}-\d{4}'
      action: replace                     # replace | refuse | append
      text: '[phone number removed]'

The pattern is searched in the answer; it is case-sensitive unless it begins with `(?i)`. `replace` puts the text, taken literally, in the
place of every match; `refuse` makes the text the whole answer, and no later rule runs; `append` adds the text once, as a paragraph of its
own. Rules run in the order of the file, each on what the one before left, on refusals too. Patterns and texts are trusted, answers are not:
one pattern gets a second of processor time for one answer, so no answer can hang the workbench by a pattern that backtracks.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from workbench import registry, storage
from workbench.datatypes import Note, WorkbenchError

if TYPE_CHECKING:
    import regex

ACTIONS = ("replace", "refuse", "append")
MAX_RULES = 200
TIMEOUT_SECONDS = 1.0  # of processor time


class Rule(BaseModel):
    """Hold one rule in NFC; `model_dump()` is the plain dict for fingerprints."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=1, max_length=100)]
    pattern: Annotated[str, Field(min_length=1)]
    action: Literal["replace", "refuse", "append"]
    text: str

    @field_validator("name", "pattern", "text")
    @classmethod
    def _nfc(cls, value: str) -> str:
        return unicodedata.normalize("NFC", value)  # as answers are; a file written on macOS may not be

    @field_validator("name")
    @classmethod
    def _one_line(cls, name: str) -> str:
        if not name.isprintable() or name.strip() != name:
            raise ValueError("must be one line without space around it")
        return name

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        import regex

        try:
            _compiled(pattern)
        except regex.error as error:
            raise ValueError(f"is no regular expression: {error.msg} at position {error.pos}") from None
        return pattern

    @field_validator("text")
    @classmethod
    def _says_something(cls, text: str, info: ValidationInfo) -> str:
        if info.data.get("action") in ("refuse", "append") and not text.strip():
            raise ValueError(f"must not be empty when the action is {info.data['action']}")
        return text


@functools.cache
def _compiled(pattern: str) -> regex.Pattern[str]:
    import regex

    return regex.compile(pattern)


def load_rules(path: Path) -> tuple[Rule, ...]:
    """Read rules from a YAML file; raise WorkbenchError naming the file, the rule and the field that is wrong."""
    records = storage.read_yaml(path)
    if not isinstance(records, list):
        raise WorkbenchError(f"{path} must be a list of rules, each with {', '.join(Rule.model_fields)}")
    if len(records) > MAX_RULES:
        raise WorkbenchError(f"{path} holds {len(records)} rules, more than {MAX_RULES}")
    rules: dict[str, Rule] = {}
    for number, record in enumerate(records, start=1):
        rule = _parse(record, f"{path}, rule {number}")
        if rule.name in rules:
            raise WorkbenchError(f"{path}, rule {number}: another rule has the name {rule.name!r}")
        rules[rule.name] = rule
    return tuple(rules.values())


def _parse(record: Any, place: str) -> Rule:
    if not isinstance(record, dict):
        raise WorkbenchError(f"{place}: must be a mapping with {', '.join(Rule.model_fields)}, got {record!r:.80}")
    if isinstance(record.get("name"), str):
        place += f" ({record['name']!r:.80})"
    for field in record:
        if field not in Rule.model_fields:
            raise WorkbenchError(f"{place}: {registry.unknown('field', str(field), Rule.model_fields)}")
    action = record.get("action")
    if isinstance(action, str) and action not in ACTIONS:
        raise WorkbenchError(f"{place}: {registry.unknown('action', action, ACTIONS)}")
    try:
        return Rule(**record)
    except ValidationError as error:
        problems = [f"{item['loc'][0]}: {item['msg'].removeprefix('Value error, ')}" for item in error.errors()]
        raise WorkbenchError(f"{place}: {'; '.join(problems)}") from None


def apply_rules(text: str, rules: Sequence[Rule]) -> tuple[str, bool, tuple[Note, ...]]:
    """Return the changed text, whether a rule refused, and a note for each rule that fired; notes never quote the answer.

    Raise WorkbenchError naming the rule whose pattern takes longer than TIMEOUT_SECONDS.
    """
    notes = []
    for rule in rules:
        try:
            text, done = _apply(text, rule)
        except TimeoutError:
            raise WorkbenchError(
                f"rule {rule.name!r}: its pattern takes more than {TIMEOUT_SECONDS:g} s on an answer of {len(text)} characters; "
                "make it simpler (no repeated group that itself holds a repetition)"
            ) from None
        if done:
            notes.append(Note("rules", f"rule {rule.name!r}: {done}"))
            if rule.action == "refuse":
                return text, True, tuple(notes)
    return text, False, tuple(notes)


def _apply(text: str, rule: Rule) -> tuple[str, str]:
    """Return the text after one rule and what the rule did, "" when it did not fire."""
    pattern = _compiled(rule.pattern)
    if rule.action == "replace":
        matches = [match.span() for match in pattern.finditer(text, timeout=TIMEOUT_SECONDS) if match[0]]  # an empty match is no place
        for start, end in reversed(matches):
            text = text[:start] + rule.text + text[end:]
        return text, f"replaced {len(matches)} place{'s' * (len(matches) > 1)}" if matches else ""
    if pattern.search(text, timeout=TIMEOUT_SECONDS) is None:
        return text, ""
    if rule.action == "refuse":
        return rule.text, "refused"
    if rule.text in text:
        return text, ""
    return f"{text}\n\n{rule.text}".strip(), "appended its text"
