"""Link to files so that JupyterLab opens them; a file that its server does not serve is named by its path."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from workbench import storage
from workbench.datatypes import WorkbenchError
from workbench.widgets_style import escape

OPEN = "docmanager:open"  # JupyterLab runs the command that a link names; anywhere else the link's address counts


@dataclass(frozen=True)
class Server:
    """Hold the folder that a Jupyter server serves, and its base address, which begins and ends with a slash."""

    root: Path
    base: str


def own_server() -> Server | None:
    """Return the Jupyter server whose kernel this process is; None where it is none, or what it wrote about itself is not there."""
    from jupyter_core.paths import jupyter_runtime_dir

    parent = os.environ.get("JPY_PARENT_PID", "")
    path = Path(jupyter_runtime_dir()) / f"jpserver-{parent}.json"
    if not parent.isdecimal() or not path.is_file():
        return None
    try:
        record = storage.read_json(path)
        root, base = Path(str(record["root_dir"])), str(record["base_url"])
    except (WorkbenchError, KeyError, TypeError):  # not there any more, or written at this moment
        return None
    return Server(root.resolve(), base) if root.is_absolute() and base.startswith("/") and base.endswith("/") else None


def link(path: Path, words: str, server: Server | None) -> str:
    """Return HTML of a link to an existing file: notebooks open in JupyterLab, pages in a tab of the browser; or its words and path."""
    inside = _inside(path, server)
    if server is None or inside is None:
        return f"{escape(words)}: <code>{escape(str(path))}</code>"
    served = quote(inside)
    if path.suffix != ".ipynb":
        return f'<a href="{escape(server.base)}files/{served}" target="_blank" rel="noopener">{escape(words)}</a>'
    arguments = escape(json.dumps({"path": inside}))
    command = f'data-commandlinker-command="{OPEN}" data-commandlinker-args="{arguments}"'
    return f'<a href="{escape(server.base)}lab/tree/{served}" target="_blank" rel="noopener" {command}>{escape(words)}</a>'


def _inside(path: Path, server: Server | None) -> str | None:
    """Return a path as the server names it, None where it lies elsewhere or is hidden from it."""
    path = path.resolve()
    if server is None or not path.is_relative_to(server.root):
        return None
    parts = path.relative_to(server.root).parts
    return None if any(part.startswith(".") for part in parts) else "/".join(parts)
