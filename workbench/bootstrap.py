"""Build the project's own environment (.venv) on first use, then run the demo, the tests or JupyterLab in it.

Only the standard library is imported, and the file loads on Python 3.8, so that an old Python gets a message and not a traceback.
Not covered: environments made by other tools (conda, uv); there the packages are installed once and the programs called directly.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, Dict, FrozenSet, Iterator, List, NamedTuple, Optional, Sequence, Tuple  # noqa: UP035 - loads on 3.8

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 11), (3, 13)
MODELS = ("sentence-transformers/all-MiniLM-L6-v2", "intfloat/multilingual-e5-small")
ENVIRONMENT = {"PYTHONUTF8": "1", "TOKENIZERS_PARALLELISM": "false", "JUPYTER_PLATFORM_DIRS": "1"}
STAMP = "workbench-stamp.json"
REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")


class BootstrapError(Exception):
    """Say what stands in the way of an environment; not a WorkbenchError, because datatypes.py does not load on Python 3.9."""


class Command(NamedTuple):
    """Hold what one word needs (an extra of pyproject.toml, or none) and runs (arguments of Python)."""

    extra: Optional[str]  # noqa: UP045 - evaluated when the file loads, on 3.8 too
    arguments: Tuple[str, ...]  # noqa: UP006
    help: str


COMMANDS = {
    "demo": Command(None, ("-m", "workbench", "sweep", "params/01_chunk_sizing.sweep.yaml"), "compare chunk sizes on the demo documents"),
    "test": Command("test", ("-m", "pytest"), "run the tests"),
    "lab": Command(
        None,
        ("-m", "jupyter", "lab", "notebooks/00_start_here.ipynb", "--ServerApp.ip=127.0.0.1"),
        "open the notebooks in JupyterLab, on this machine only",
    ),
}
