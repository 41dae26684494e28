"""Execute one papermill run: in a temporary folder, with its own environment, put in place only when it succeeded."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workbench import storage
from workbench.notebook import code_cells

IPC_PATH_LIMIT = 80  # a Unix socket path ends at 107 bytes; the kernel appends its own name
OUTPUT_LIMIT = 1_000_000  # characters of stored output of one cell


def execute(notebook: Path, target: Path, run_id: str, parameters: Mapping[str, Any]) -> str:
    """Run a notebook and put its folder at `target` when it succeeded; return "" or the error text.

    The folder then holds notebook.ipynb, result.json and record.json. What failed goes to failed/ beside runs/; `target` stays as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".run-", dir=target.parent))
    try:
        error = _papermill(notebook, folder, parameters) or _incomplete(folder)
        if error:
            failed = target.parent.parent / "failed" / target.name
            shutil.rmtree(failed, ignore_errors=True)
            failed.parent.mkdir(exist_ok=True)
            os.replace(folder, failed)
            return error
        record = {"run_id": run_id, "parameters": dict(parameters), "result": storage.sha256_file(folder / "result.json")}
        storage.write_json(folder / "record.json", record)
        old = Path(f"{folder}.old")
        if target.exists():
            os.replace(target, old)
        os.replace(folder, target)
        shutil.rmtree(old, ignore_errors=True)
        return ""
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _papermill(notebook: Path, folder: Path, parameters: Mapping[str, Any]) -> str:
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type] - two seconds of grammars that nothing here needs (KS1)
    import nbformat
    import papermill
    from papermill.exceptions import PapermillException

    output = folder / "notebook.ipynb"
    error = ""
    with _environment(folder):
        try:
            papermill.execute_notebook(
                str(notebook),
                str(output),
                parameters=dict(parameters),
                progress_bar=False,
                log_output=False,
                start_timeout=120,
                iopub_timeout=60,
                request_save_on_cell_execute=False,
                autosave_cell_every=0,
                shutdown_kernel="immediate",
                resources={"metadata": {"path": str(folder)}},
                **_transport(),
            )
        except (PapermillException, RuntimeError, TimeoutError) as problem:  # DeadKernelError is a RuntimeError
            error = _plain(str(problem), folder)
    if output.is_file() and output.stat().st_size:
        record = nbformat.read(output, as_version=4)
        for name in ("input_path", "output_path"):
            record.metadata.get("papermill", {}).pop(name, None)
        record.metadata.pop("widgets", None)
        for cell in record.cells:
            for item in cell.get("outputs", []):
                if len(item.get("text", "")) > OUTPUT_LIMIT:
                    item["text"] = item["text"][:OUTPUT_LIMIT] + "\n… cut"
        storage.write_text(output, _plain(nbformat.writes(record), folder))
    return error


def _plain(text: str, folder: Path) -> str:
    """Take this machine's folders out of a text (SC2)."""
    for path, name in ((folder, "."), (storage.home(folder), "."), (Path(sys.prefix), ".venv"), (Path.home(), "~")):
        text = text.replace(str(path), name)
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _transport() -> dict[str, Any]:
    """Use Unix sockets for the kernel where their path is short enough (KS4)."""
    from jupyter_core.paths import jupyter_runtime_dir
    from traitlets.config import Config

    if os.name == "nt" or len(os.fsencode(jupyter_runtime_dir())) > IPC_PATH_LIMIT - len("/kernel-.json-ipc-1"):
        return {}
    return {"config": Config({"KernelManager": {"transport": "ipc"}})}


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """Tell the kernel where to write and that nobody watches."""
    changes = {
        "WORKBENCH_RUN_DIR": str(folder),
        "WORKBENCH_HEADLESS": "1",
        "WORKBENCH_HOME": str(storage.home(folder)),
        "TOKENIZERS_PARALLELISM": "false",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _incomplete(folder: Path) -> str:
    """Say why a notebook that raised nothing is still no success (PM2): a code cell did not run."""
    if not (folder / "result.json").is_file():
        return "the notebook ended without a result file (save_results)"
    never = [cell for cell in code_cells(folder / "notebook.ipynb") if cell.get("execution_count") is None]
    return f"{len(never)} code cells never ran although nothing was raised (sys.exit in a cell?)" if never else ""
