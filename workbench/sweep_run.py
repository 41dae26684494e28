"""Execute one run of a sweep: in a temporary folder, put in place only when it is complete."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import storage
from workbench.datatypes import WorkbenchError
from workbench.engine import NOTHING, run_notebook
from workbench.engine_limits import Ended, Limits
from workbench.engine_tidy import cleaned, cleaner, plain
from workbench.evaluation import load_results

if TYPE_CHECKING:
    from workbench.engine_kernels import KernelSource


DISK_FULL = re.compile(rf"\[Errno ({errno.ENOSPC}|{errno.EDQUOT})\]|database or disk is full")  # as Python and SQLite say it


def execute(
    notebook: Path,
    target: Path,
    run_id: str,
    parameters: Mapping[str, Any],
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    environment: Mapping[str, str] = NOTHING,
    kernels: KernelSource | None = None,
    stop: threading.Event | None = None,
) -> Ended:
    """Run a notebook and put its folder at `target` when it is complete; return how it ended.

    The folder then holds notebook.ipynb, result.json and record.json. What failed goes to failed/ beside runs/; `target` stays as it was,
    and of a run that was interrupted nothing stays. Raises OSError when a file cannot be written, also where the notebook says that the
    disk is full. See run_notebook for the rest.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".run-", dir=target.parent))
    home = storage.home(folder)
    failed = target.parent.parent / "failed" / target.name
    variables = {
        "WORKBENCH_RUN_DIR": str(folder),
        "WORKBENCH_HEADLESS": "1",  # nobody watches
        "WORKBENCH_HOME": str(home),
        **environment,
    }
    try:
        ended = run_notebook(
            notebook, folder / "notebook.ipynb", parameters, environment=variables, folder=home, limits=limits, kernels=kernels, stop=stop
        )
        problem = "" if ended.kind else _incomplete(folder)
        if problem:
            ended = dataclasses.replace(ended, state="failed", kind="incomplete", error=problem)
        if ended.kind == "interrupted":
            return ended
        if ended.kind == "raised":
            raise_when_full(ended.error)
        if ended.kind:
            shutil.rmtree(failed, ignore_errors=True)
            failed.parent.mkdir(exist_ok=True)
            os.replace(folder, failed)
            return ended
        put_in_place(folder, target, run_id, parameters, variables)
        return ended
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(folder: Path, target: Path, run_id: str, parameters: Mapping[str, Any], environment: Mapping[str, str] = NOTHING) -> None:
    """Write the record of a complete run, which names its result file by sha256, and rename its folder to `target`."""
    record = {
        "run_id": run_id,
        "parameters": cleaned(parameters, cleaner(storage.home(folder), environment)),  # as for every other run: compiled once
        "result": storage.sha256_file(folder / "result.json"),
        "threads": environment.get("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS")),  # of each library (KS8)
    }
    (folder / "record.json").unlink(missing_ok=True)  # a notebook may have written one
    storage.write_new(folder / "record.json", storage.json_text(record).encode())
    shutil.rmtree(target.parent.parent / "failed" / target.name, ignore_errors=True)  # it failed before, it does not now
    old = Path(f"{folder}.old")
    if target.exists():
        os.replace(target, old)
    os.replace(folder, target)
    shutil.rmtree(old, ignore_errors=True)


def raise_when_full(error: str) -> None:
    """Raise OSError for a run that a full disk ended: no other run can end well, and it is no failure of the notebook."""
    last = error.strip().rpartition("\n")[2]
    if DISK_FULL.search(last):
        raise OSError(errno.ENOSPC, f"a run could not write its files: {last}")


def _incomplete(folder: Path) -> str:
    """Say why a notebook that ran to its end is no success (PM2): its results are missing or not whole."""
    try:
        for result in load_results(folder / "result.json"):
            if result.example_ids and not result.interval(result.settings.primary).n:
                raise WorkbenchError(f"{result.config_id} has no {result.settings.primary} for any of its questions")
    except WorkbenchError as problem:
        return plain(f"the notebook ended without complete results (save_results): {problem}", cleaner(folder, {}))
    return ""
