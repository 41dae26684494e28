"""Take local folders, secrets and widget states out of what a run leaves behind."""

from __future__ import annotations

import functools
import os
import re
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import storage
from workbench.settings import SECRET_NAME

if TYPE_CHECKING:
    from nbformat import NotebookNode

SHORTEST_SECRET = 8  # characters
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
BINARY = re.compile(r"(image|audio|video)/(?!svg)|application/pdf")  # base64: a folder's name found in it is chance


def cleaner(folder: Path, environment: Mapping[str, str]) -> Callable[[str], str]:
    """Return a function that takes this machine's folders (SC2) and the secrets of the environment (SC1) out of a text.

    `folder` is the run's own and becomes ".", as does the project's; `environment` stands on top of this process's. A secret is the value,
    8 characters or more, of a variable whose name says so. Not found: a secret that is spelled otherwise (quoted, encoded, in pieces).
    """
    places = {
        "[tmp]": Path(tempfile.gettempdir()),
        "[python]": Path(sysconfig.get_path("stdlib")),
        "[package]": Path(__file__).parent.parent,
        "~": Path.home(),
        ".venv": Path(sys.prefix),
        ".": storage.home(folder),
    }
    names = {path: name for name, place in places.items() for path in _spellings(place)}
    names |= {str(folder): ".", str(folder.resolve()): "."}
    names = {path: name for path, name in names.items() if Path(path).parent != Path(path)}  # in some containers the home folder is /
    paths = [re.escape(path) + r"(?!\w)" for path in sorted(names, key=len, reverse=True)]
    secrets = {
        value: f"[{name}]"
        for name, value in {**os.environ, **environment}.items()
        if SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET
    }
    hidden = [re.escape(value) for value in sorted(secrets, key=len, reverse=True)]
    names |= secrets
    pattern = re.compile("|".join([r"(?P<kept>data:[\w/+.-]+;base64,[\w+/=]+)", *hidden, *paths]))
    return lambda text: pattern.sub(lambda match: match["kept"] or names[match[0]], text)


@functools.cache
def _spellings(place: Path) -> tuple[str, str]:
    """Return a folder's path as it is written and as the system resolves it."""
    return str(place), str(place.resolve())


def plain(text: str, clean: Callable[[str], str]) -> str:
    """Return a text without terminal colours, folders and secrets."""
    return clean(ANSI.sub("", text))


def tidy(notebook: NotebookNode, clean: Callable[[str], str]) -> NotebookNode:
    """Return a copy of an executed notebook without folders, secrets, widget states (PM21) and papermill's two paths.

    What a cell printed in pieces is one text in the copy.
    """
    import nbformat

    copy = nbformat.from_dict({**notebook, "cells": [_joined(cell) for cell in notebook.cells]})
    for name in ("input_path", "output_path"):
        copy.metadata.get("papermill", {}).pop(name, None)
    copy.metadata.pop("widgets", None)
    return nbformat.from_dict(cleaned(copy, clean))


def _joined(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cell whose neighbouring texts of one stream are one output, so that no secret hides in two halves."""
    if "outputs" not in cell:
        return dict(cell)
    groups: list[dict[str, Any]] = []
    pieces: list[list[str]] = []
    for output in cell["outputs"]:
        if output["output_type"] == "stream" and groups and groups[-1].get("name") == output["name"]:
            pieces[-1].append(output["text"])
        else:
            groups.append(dict(output))
            pieces.append([output.get("text", "")])
    for output, texts in zip(groups, pieces, strict=True):
        if output["output_type"] == "stream":
            output["text"] = "".join(texts)
        elif output["output_type"] == "error":
            output["traceback"] = [ANSI.sub("", line) for line in output["traceback"]]  # colours would part a secret
    return {**cell, "outputs": groups}


def cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    """Return a value of JSON with every text in it cleaned, binary data of outputs aside."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(name): item if BINARY.match(name) else cleaned(item, clean) for name, item in value.items()}
    return [cleaned(item, clean) for item in value] if isinstance(value, list) else value
