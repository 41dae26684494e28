"""Find parts by name: "name" or "name:argument" looked up in a dict, with errors that list what exists."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from workbench.datatypes import WorkbenchError


def unknown(kind: str, value: str, choices: Iterable[str]) -> WorkbenchError:
    """Build the error for an unknown name: the value, the nearest match, what exists."""
    names = sorted(choices)
    near = difflib.get_close_matches(value, names, n=1, cutoff=0.5) or [
        name for name in names if len(value) > 3 and value.casefold() in name.casefold()
    ]
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return WorkbenchError(f"unknown {kind} {value!r}{hint} (available: {', '.join(names)})")


def split_spec(spec: str) -> tuple[str, str | None]:
    """Split "name:argument" at the first colon; the argument is None when there is none."""
    name, colon, argument = spec.partition(":")
    return name, argument if colon else None


def create(kind: str, parts: Mapping[str, Callable[..., Any] | str], spec: str, options: Mapping[str, Any], **context: Any) -> Any:
    """Build the part that `spec` names.

    `parts` maps a name to a class, or to "module:Class" for one that is imported only when used.
    `options` are the knobs a user may set; `context` is what the workbench passes (ignored where the part takes no such parameter).
    Raise WorkbenchError for an unknown name, a missing or superfluous argument, or an unknown option.
    """
    name, argument = split_spec(spec)
    if name not in parts:
        raise unknown(kind, name, parts)
    part = resolve(parts[name])
    parameters = inspect.signature(part).parameters
    takes_argument = "argument" in parameters
    if argument is not None and not takes_argument:
        raise WorkbenchError(f"{kind} {name!r} takes no argument, got {spec!r}")
    if not argument and takes_argument and parameters["argument"].default is inspect.Parameter.empty:
        raise WorkbenchError(f"{kind} {name!r} needs an argument: {name}:NAME")
    knobs = {key for key, value in parameters.items() if value.kind is inspect.Parameter.KEYWORD_ONLY and key not in context}
    for key in options:
        if key not in knobs:
            if not knobs:
                raise WorkbenchError(f"{kind} {name!r} has no options, got {key!r}")
            raise unknown(f"option of {kind} {name!r}:", key, knobs)
    keywords = {key: value for key, value in context.items() if key in parameters} | dict(options)
    if argument and takes_argument:
        keywords["argument"] = argument
    return part(**keywords)


def resolve(part: Callable[..., Any] | str) -> Callable[..., Any]:
    """Import a part given as "module:Class"; return any other part as it is."""
    if not isinstance(part, str):
        return part
    module, _, attribute = part.partition(":")
    return getattr(importlib.import_module(module), attribute)


def require(package: str, extra: str, purpose: str) -> None:
    """Raise WorkbenchError naming the extra to install when an optional package is missing."""
    if importlib.util.find_spec(package) is None:
        raise WorkbenchError(f"{purpose} needs the package {package!r}: pip install 'rag-workbench[{extra}]'")
