"""Read a notebook's declared parameters with `ast`, and check values against them before any kernel starts."""

from __future__ import annotations

import ast
import difflib
import json
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.datatypes import WorkbenchError
from workbench.settings import Settings
from workbench.storage import fingerprint, read_json

TYPES: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "str": str, "bool": bool, "list": list, "dict": dict}
SECRET_NAME = re.compile(r"(api_?key|secret|password|passwd|access_?token|auth_?token|credential)", re.IGNORECASE)
SECRET_VALUE = re.compile(r"\b(sk-[\w-]{16,}|hf_\w{20,}|gh[pousr]_\w{20,}|AKIA[A-Z0-9]{12,})")


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
    return [cell for cell in record["cells"] if cell.get("cell_type") == "code" and source(cell).strip()]


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
    lines = text.splitlines()
    parameters = {}
    for node in ast.parse(text).body:
        line = lines[node.lineno - 1]
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None):
            raise WorkbenchError(f"{path.name}, parameters cell: {line!r} must read 'name: type = literal  # help'")
        annotation = ast.unparse(node.annotation)
        name, _, item = annotation.partition("[")
        if name not in TYPES:
            raise WorkbenchError(
                f"{path.name}, parameter {node.target.id}: type {annotation!r} must be one of {', '.join(TYPES)} or list[...]"
            )
        try:
            default = ast.literal_eval(node.value)
        except ValueError:
            raise WorkbenchError(f"{path.name}, parameter {node.target.id}: the default must be a literal") from None
        comment = line[node.end_col_offset :].partition("#")[2].strip() if node.lineno == node.end_lineno else ""
        parameter = Parameter(node.target.id, name, item.rstrip("]") or None, default, comment)
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
    """Raise WorkbenchError unless the value has the declared type and is plain JSON."""
    try:
        plain = json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError):
        plain = False
    if not plain:
        raise WorkbenchError(f"{place} {parameter.name}: {value!r} is not plain JSON (no NaN, tuples, dates or numpy numbers)")
    if not _is(value, parameter.type):
        raise WorkbenchError(f"{place} {parameter.name}: expected {parameter.type}, got {value!r} ({type(value).__name__})")
    if parameter.item in TYPES:
        for item in value:
            if not _is(item, parameter.item):
                raise WorkbenchError(
                    f"{place} {parameter.name}: expected a list of {parameter.item}, got {item!r} ({type(item).__name__}) in it"
                )


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, TYPES[kind]) and (kind == "bool" or not isinstance(value, bool))


def refuse_secrets(name: str, value: Any, place: str) -> None:
    """Raise WorkbenchError for a parameter that looks like a secret: parameters are stored in every output (SC1)."""
    if SECRET_NAME.search(name) or SECRET_VALUE.search(json.dumps(value, default=str)):
        raise WorkbenchError(f"{place}: parameter {name!r} looks like a secret; put it into an environment variable instead")


def settings_of(parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the Settings values that parameters stand for: a list parameter is the plural of its field (chunk_sizes -> chunk_size)."""
    points: list[dict[str, Any]] = [{}]
    for name, value in parameters.items():
        singular = next(
            (field for field in Settings.model_fields if name in (f"{field}s", f"{field}es") and name not in Settings.model_fields), None
        )
        if name in Settings.model_fields:
            points = [point | {name: value} for point in points]
        elif singular and isinstance(value, list):
            points = [point | {singular: item} for point in points for item in value]
    return points
