"""Read a prompt template: YAML front matter, then one section of Jinja2 for each role, all checked before anything is rendered.

A template may come from the internet. Only what a prompt needs is allowed: the variables, one loop over the passages, conditions and a
few filters. There are no calls, no arithmetic, no assignments and no nested loops, so a template reaches no Python object and grows no
further than its length times the passages; the sandbox of Jinja2 stands behind that as a second wall.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from workbench import registry, storage
from workbench.datatypes import WorkbenchError
from workbench.text import normalise

MAX_BYTES = 100_000
MAX_DEPTH = 20  # levels of the syntax tree; far below where Python's own limits would stop the compiled code
MAX_CHARACTERS = 2_000_000  # of one message
VARIABLES = {"system": (), "user": ("question", "passages"), "assistant": ("question", "passages", "answer", "quote")}
PREVIOUS = "previous"  # what the model wrote in the step before; a variable of [user] where there is one
NEEDED = {"user": "question", "assistant": "answer"}
PASSAGE_FIELDS = ("number", "title", "text")
LOOP_FIELDS = ("first", "index", "last", "length")
FILTERS = ("json", "length", "trim")  # none that repeats or changes letters: a change of case could make a control token
FORMATS = ("text", "json", "marked")  # of answers; `workbench.pipeline_formats` reads them
REQUIRED = {"name": str, "language": str, "purpose": str, "citations": bool}
OPTIONAL = {"refusal": "", "format": "text", "marker": "", "before": ""}
KEYS = {**REQUIRED, **dict.fromkeys(OPTIONAL, str)}
ALLOWED = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Getattr, nodes.Const, nodes.For, nodes.If),
    *(nodes.CondExpr, nodes.Filter, nodes.Compare, nodes.Operand, nodes.Not, nodes.And, nodes.Or),
)
SECTION = re.compile(r"\[([^\W\d_]+)\]\s*")
SAMPLE = {"question": "?", "passages": [{"number": 1, "title": "-", "text": "-"}], "answer": "-", "quote": "-", PREVIOUS: "-"}
Scope = Mapping[str, tuple[str, ...]]  # the names of a loop, with their fields


def _writable(value: Any) -> Any:
    """Refuse to write lists, objects and undefined values, which would look like Python."""
    if not isinstance(value, (str, int)):
        raise TypeError("only text and numbers can be written, not a list and not an 'if' without 'else' that fails")
    return value


def _json(value: Any) -> str:
    """Write text as JSON, quotes included, and a missing answer as null."""
    if not isinstance(value, (str, int, type(None))):
        raise TypeError("only text and numbers can be written as JSON")
    return json.dumps(value, ensure_ascii=False)


ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined,
    autoescape=False,  # prompts are plain text
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=_writable,
)
ENVIRONMENT.filters["json"] = _json


@dataclass(frozen=True)
class PromptFile:
    """Hold a checked template file: its front matter, a compiled template for each role, the sha256 of its normalised text."""

    front: Mapping[str, Any]
    sections: Mapping[str, Template]
    fingerprint: str


def read_template(path: Path, source: str) -> PromptFile:
    """Read and check a template file; errors name it as `source`, with lines counted from the top of the file."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise WorkbenchError(f"{source} cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise WorkbenchError(f"{source} is larger than {MAX_BYTES // 1000} kB; a prompt template is a page of text")
    try:
        text, _ = normalise(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise WorkbenchError(f"{source} is not UTF-8 text: {error}; save it as UTF-8") from None
    head, body, line = _split(text, source)
    front = _front_matter(head, source)
    parts = _sections(body, line, source)
    _check_format(front, parts, source)
    known = {**VARIABLES, "user": (*VARIABLES["user"], *([PREVIOUS] if front["before"] else []))}
    sections = {role: _compile(role, part, source, known[role]) for role, part in parts.items()}
    for role, template in sections.items():
        if not render_section(template, {name: SAMPLE[name] for name in known[role]}, source):
            raise WorkbenchError(f"{source}: section [{role}] writes nothing")
    return PromptFile(front, sections, hashlib.sha256(text.encode()).hexdigest())


def render_section(template: Template, values: Mapping[str, Any], source: str) -> str:
    """Render one message without white space at its ends; raise WorkbenchError where a template fails or never stops writing."""
    pieces: list[str] = []
    size = 0
    try:
        for piece in template.generate(values):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_CHARACTERS:
                raise WorkbenchError(f"{source} writes a message of more than {MAX_CHARACTERS} characters")
    except (TemplateError, TypeError) as error:
        raise WorkbenchError(f"{source} cannot be rendered: {error}") from None
    return "".join(pieces).strip()


def _split(text: str, source: str) -> tuple[str, str, int]:
    """Return the front matter with its opening line (so that YAML counts lines right), the rest, and the number of its first line."""
    lines = text.split("\n")
    marks = [number for number, line in enumerate(lines) if line.rstrip() == "---"]
    if not marks or marks[0] > 0:
        raise WorkbenchError(f"{source} has no front matter; it starts with a line ---, then {', '.join(REQUIRED)}, then another ---")
    if len(marks) == 1:
        raise WorkbenchError(f"{source}: the front matter does not end; a second line --- closes it")
    return "\n".join(lines[: marks[1]]), "\n".join(lines[marks[1] + 1 :]), marks[1] + 2


def _front_matter(text: str, source: str) -> dict[str, Any]:
    front = storage.parse_yaml(text, f"the front matter of {source}")
    if not isinstance(front, dict):
        raise WorkbenchError(f"the front matter of {source} holds no keys; needed are {', '.join(REQUIRED)}, as in 'name: plain'")
    for key, value in front.items():
        if key not in KEYS:
            raise WorkbenchError(f"{source}: {registry.unknown('front-matter key', str(key), KEYS)}")
        if KEYS[key] is bool and not isinstance(value, bool):
            raise WorkbenchError(f"{source}: {key} must be true or false, got {value!r}")
        if KEYS[key] is str and not (isinstance(value, str) and value.strip() and "\n" not in value.strip()):
            raise WorkbenchError(f"{source}: {key} must be one line of text, got {value!r}; put it in quotes if YAML reads it otherwise")
    missing = [key for key in REQUIRED if key not in front]
    if missing:
        raise WorkbenchError(f"{source}: the front matter lacks {', '.join(missing)}")
    if not re.fullmatch("[a-z]{2}", front["language"]) or front["language"] == "kr":
        raise WorkbenchError(f"{source}: language {front['language']!r} must be a two-letter code such as en, or ko for Korean")
    return {**OPTIONAL, **{key: value.strip() if isinstance(value, str) else value for key, value in front.items()}}


def _check_format(front: Mapping[str, Any], sections: Mapping[str, str], source: str) -> None:
    """Raise WorkbenchError where the front matter and the sections do not agree on what an answer looks like."""
    answers, marker, refusal = front["format"], front["marker"], front["refusal"]
    if answers not in FORMATS:
        raise WorkbenchError(f"{source}: {registry.unknown('format', answers, FORMATS)}")
    if answers == "marked" and not marker:
        raise WorkbenchError(f"{source}: format marked needs a marker, as in marker: 'Answer:'")
    if marker and answers != "marked":
        raise WorkbenchError(f"{source}: format {answers} takes no marker, got {marker!r}; format marked does")
    if marker and not re.search(r"\w", marker):
        raise WorkbenchError(f"{source}: the marker {marker!r} holds no letter, so it could not be told from punctuation")
    if answers == "json" and not refusal:
        raise WorkbenchError(f"{source}: format json needs a refusal, the sentence that stands for a null answer")
    written = [("marker", marker), ("refusal", "" if answers == "json" else refusal)]  # in JSON, null refuses
    for key, text in written:
        if not any(text in part for part in sections.values()):
            raise WorkbenchError(f"{source}: the {key} {text!r} stands in no section, so no model can know it")
    if answers != "text" and "assistant" not in sections:
        raise WorkbenchError(f"{source}: format {answers} needs a section [assistant], which writes the answers of shots in that format")


def _sections(text: str, first_line: int, source: str) -> dict[str, str]:
    """Return each role's text, after as many empty lines as stand above it in the file, so that Jinja2 counts lines right."""
    sections: dict[str, str] = {}
    role = ""
    for number, line in enumerate(text.split("\n"), first_line):
        match = SECTION.fullmatch(line)
        if match:
            role = match[1]
            if role not in VARIABLES:
                raise WorkbenchError(
                    f"{source}, line {number}: unknown role {role!r}; a line of one word in brackets starts a section, "
                    f"roles: {', '.join(VARIABLES)}"
                )
            if role in sections:
                raise WorkbenchError(f"{source}, line {number}: a second section [{role}]; each role has one")
            sections[role] = "\n" * number
        elif role:
            sections[role] += line + "\n"
        elif line.strip():
            raise WorkbenchError(f"{source}, line {number}: text before the first section; put it under [system] or [user]")
    if "user" not in sections:
        raise WorkbenchError(f"{source} has no section [user]; it holds the passages and the question")
    if list(sections) != [role for role in VARIABLES if role in sections]:
        raise WorkbenchError(f"{source}: the sections come as {', '.join(sections)}; the order is {', '.join(VARIABLES)}")
    for role, part in sections.items():
        if not part.strip():
            raise WorkbenchError(f"{source}: section [{role}] is empty; fill it or leave it out")
    return sections


def _compile(role: str, text: str, source: str, known: tuple[str, ...]) -> Template:
    """Return a section as a compiled template, once nothing in its syntax tree is forbidden; `known` are its variables."""
    try:
        tree = ENVIRONMENT.parse(text)
        used = _check(tree, role, source, known, {}, MAX_DEPTH)
        template = ENVIRONMENT.from_string(tree)
    except TemplateSyntaxError as error:
        hint = "braces that are only text go between {% raw %} and {% endraw %}"
        raise WorkbenchError(f"{source}, line {error.lineno}: {error.message} ({hint})") from None
    except (ValueError, RecursionError):  # an integer of 5000 digits, thousands of brackets
        raise WorkbenchError(f"{source}: section [{role}] has a number too long or brackets too deep to be read") from None
    for needed in sorted(({NEEDED.get(role), PREVIOUS} & {*known}) - used):
        hint = f"; {{{needed}}} in single braces is only text" if f"{{{needed}}}" in text else ""
        raise WorkbenchError(f"{source}: section [{role}] does not use {{{{ {needed} }}}}{hint}")
    return template


def _check(node: nodes.Node, role: str, source: str, known: tuple[str, ...], scope: Scope, depth: int) -> set[str]:
    """Return the variables that a syntax tree uses; raise WorkbenchError for anything that no prompt needs."""
    place = f"{source}, line {node.lineno}"
    if depth == 0:
        raise WorkbenchError(f"{place}: nested deeper than {MAX_DEPTH} levels")
    if not isinstance(node, ALLOWED):
        raise WorkbenchError(
            f"{place}: {type(node).__name__.lower()!r} cannot stand in a prompt; what can: variables, {{% for passage in passages %}}, "
            f"{{% if %}}, comparisons and the filters {', '.join(FILTERS)}"
        )
    if role == "system" and isinstance(node, (nodes.Name, nodes.Getattr, nodes.For)):
        raise WorkbenchError(f"{place}: the system section may use no variable: documents and questions never reach the system role")
    if isinstance(node, nodes.Getattr):
        name = node.node.name if isinstance(node.node, nodes.Name) else ""
        if name not in scope:
            raise WorkbenchError(f"{place}: .{node.attr} goes with nothing but the passage of a loop, {{% for passage in passages %}}")
        if node.attr not in scope[name]:
            raise WorkbenchError(f"{place}: {registry.unknown(f'field of {name}:', node.attr, scope[name])}")
        return set()
    if isinstance(node, nodes.Name):
        if node.name in scope:
            raise WorkbenchError(f"{place}: {node.name!r} alone is no text; it has the fields {', '.join(scope[node.name])}")
        if node.name not in known:
            raise WorkbenchError(f"{place}: {registry.unknown(f'variable of section [{role}]:', node.name, known)}")
        return {node.name}
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        raise WorkbenchError(f"{place}: {registry.unknown('filter', node.name, FILTERS)}")
    parts = [(child, scope) for child in node.iter_child_nodes()]
    if isinstance(node, nodes.For):
        plain = isinstance(node.target, nodes.Name) and isinstance(node.iter, nodes.Name) and node.iter.name == "passages"
        if not plain or scope or node.target.name in (*SAMPLE, "loop"):
            raise WorkbenchError(f"{place}: a loop reads {{% for passage in passages %}} and stands in no other loop")
        inner = {node.target.name: PASSAGE_FIELDS}
        parts = [
            (node.iter, scope),
            *((child, scope) for child in node.else_),
            *((child, {**inner, "loop": LOOP_FIELDS}) for child in node.body),
        ]
        parts += [(node.test, inner)] if node.test else []
    return set().union(*(_check(child, role, source, known, names, depth - 1) for child, names in parts))
