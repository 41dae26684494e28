"""Read a notebook's declared parameters with `ast`, and check values against them before any kernel starts."""

from __future__ import annotations

import ast
import difflib
import functools
import itertools
import json
import keyword
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.datatypes import WorkbenchError
from workbench.settings import Settings, refuse_secrets
from workbench.storage import canonical_json, fingerprint, read_json

TYPES: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "str": str, "bool": bool, "list": list, "dict": dict}
ANNOTATION = re.compile(f"({'|'.join(TYPES)})|list\\[({'|'.join(TYPES)})]")
COMPARED_WITH = "baseline"  # names the value that a notebook compares the others with, so it decides no number of a configuration


@dataclass(frozen=True)
class Parameter:
    """Hold one declared parameter: `name: type = literal  # help`."""

    name: str
    type: str  # int, float, str, bool, list or dict
    item: str | None  # type of list items, where declared
    default: Any
    help: str = ""


def code_cells(path: Path) -> list[dict[str, Any]]:
    """Return the code cells of a notebook that are not blank; raise WorkbenchError when the file is no notebook."""
    record = read_json(path)
    if not isinstance(record, dict) or not isinstance(record.get("cells"), list):
        raise WorkbenchError(f"{path} is not a notebook")
    return [cell for cell in record["cells"] if isinstance(cell, dict) and cell.get("cell_type") == "code" and source(cell).strip()]


def source(cell: Mapping[str, Any]) -> str:
    """Return the text of a cell."""
    text = cell.get("source", "")
    return text if isinstance(text, str) else "".join(text)


def code_fingerprint(path: Path) -> str:
    """Return the sha256 of a notebook's code cells; outputs and prose do not count."""
    return fingerprint([source(cell) for cell in code_cells(path)])


def declared_parameters(path: Path) -> dict[str, Parameter]:
    """Return the parameters that the cell tagged `parameters` declares; raise WorkbenchError for anything else in it (PM8, PM9)."""
    cells = [cell for cell in code_cells(path) if "parameters" in cell.get("metadata", {}).get("tags", [])]
    if len(cells) != 1:
        raise WorkbenchError(f"{path.name} must have exactly one code cell tagged 'parameters', it has {len(cells)}")
    text = source(cells[0])
    try:
        nodes = ast.parse(text).body
        lines = re.split(rb"\r\n?|\n", text.encode())  # as ast counts: bytes, and only these line ends
    except (SyntaxError, ValueError) as error:
        raise WorkbenchError(f"{path.name}, parameters cell: {error}") from None
    parameters: dict[str, Parameter] = {}
    for node in nodes:
        line = lines[node.lineno - 1]
        shown = line.decode("utf-8", "replace").strip()
        declares = isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None
        if not declares or node.lineno != node.end_lineno or line.count(b"=") != 1:  # papermill reads no line with another "="
            raise WorkbenchError(f"{path.name}, parameters cell: {shown!r} must read 'name: type = literal  # help', without another '='")
        place = f"{path.name}, parameter {node.target.id}"
        if node.target.id in parameters:
            raise WorkbenchError(f"{place}: declared twice")
        kind = ANNOTATION.fullmatch(ast.unparse(node.annotation))
        if not kind:
            raise WorkbenchError(f"{place}: type {ast.unparse(node.annotation)!r} must be one of {', '.join(TYPES)} or list[one of them]")
        try:
            default = ast.literal_eval(node.value)
        except (ValueError, TypeError):
            raise WorkbenchError(f"{place}: the default must be a literal") from None
        comment = line[node.end_col_offset :].decode().partition("#")[2].strip()
        parameter = Parameter(node.target.id, kind[1] or "list", kind[2], default, comment)
        refuse_secrets(parameter.name, default, path.name)
        check_value(parameter, default, f"{path.name}, default of")
        parameters[parameter.name] = parameter
    return parameters


def check_parameters(declared: Mapping[str, Parameter], values: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return all parameters with these values; raise WorkbenchError for an unknown name, a wrong type or a secret (PM5 to PM7)."""
    for name, value in values.items():
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
            raise WorkbenchError(f"{place}: {name!r} is no parameter name")
        refuse_secrets(name, value, place)
        if name not in declared:
            near = difflib.get_close_matches(name, declared, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise WorkbenchError(f"{place}: unknown parameter {name!r}{hint} (the notebook declares: {', '.join(declared)})")
        check_value(declared[name], value, place)
    return {name: values.get(name, parameter.default) for name, parameter in declared.items()}


def check_value(parameter: Parameter, value: Any, place: str) -> None:
    """Raise WorkbenchError unless the value has the declared type and is plain JSON without NUL."""
    place = f"{place} {parameter.name}"
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # no half of a surrogate pair
        plain = json.loads(text) == value
    except (TypeError, ValueError):
        plain = False
    if not plain:
        raise WorkbenchError(f"{place}: {value!r:.80} is not plain JSON (no NaN, tuples, dates or numpy numbers)")
    if any("\0" in found for found in texts(value)):
        raise WorkbenchError(f"{place}: {value!r:.80} holds a NUL character, which no path and no name can hold; take it out")
    try:
        canonical_json(value)
    except WorkbenchError as error:
        raise WorkbenchError(f"{place}: {error}") from None
    if not _is(value, parameter.type):
        raise WorkbenchError(f"{place}: expected {parameter.type}, got {value!r:.80} ({type(value).__name__})")
    if parameter.item:
        for item in value:
            if not _is(item, parameter.item):
                raise WorkbenchError(f"{place}: expected a list of {parameter.item}, got {item!r:.80} ({type(item).__name__}) in it")


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a plain value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from (*texts(key), *texts(item))
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, TYPES[kind]) and (kind == "bool" or not isinstance(value, bool))


def settings_of(parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the Settings values that parameters stand for: a list parameter is the plural of its field (chunk_sizes -> chunk_size)."""
    held = {name: value for name, value in parameters.items() if name in Settings.model_fields}
    lists: dict[str, list[Any]] = {}
    for name, value in parameters.items():
        if isinstance(value, list) and (field := singular(name)):
            if not value:
                raise WorkbenchError(f"{name} is empty; it needs at least one {field}")
            lists[field] = value
    return [held | dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]


@functools.cache
def singular(name: str) -> str | None:
    """Return the Settings field that a list parameter is the plural of, None where there is none."""
    if name in Settings.model_fields:
        return None
    return next((field for field in Settings.model_fields if name in (f"{field}s", f"{field}es")), None)


def beyond_settings(declared: Mapping[str, Parameter]) -> list[str]:
    """Return the parameters that Settings alone cannot stand for: neither a field, nor a list of one, nor the baseline."""
    known = {name for name, parameter in declared.items() if name in Settings.model_fields or (parameter.type == "list" and singular(name))}
    return [name for name in declared if name not in known and name != COMPARED_WITH]
