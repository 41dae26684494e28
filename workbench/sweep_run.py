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
from workbench.datatypes import WorkbenchError
from workbench.evaluation import load_results
from workbench.notebook import code_cells
from workbench.settings import SECRET_NAME

SOCKET_PATH_LIMIT = 103  # bytes of a Unix socket's path: 107 on Linux, 103 on macOS
SHORTEST_SECRET = 8  # characters
OUTPUT_LIMIT = 1_000_000  # characters of stored output of one cell


def execute(notebook: Path, target: Path, run_id: str, parameters: Mapping[str, Any]) -> str:
    """Run a notebook and put its folder at `target` when it succeeded; return "" or the error text.

    The folder then holds notebook.ipynb, result.json and record.json. What failed goes to failed/ beside runs/; `target` stays as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".run-", dir=target.parent))
    failed = target.parent.parent / "failed" / target.name
    try:
        error = _papermill(notebook, folder, parameters) or _incomplete(folder)
        if error:
            shutil.rmtree(failed, ignore_errors=True)
            failed.parent.mkdir(exist_ok=True)
            os.replace(folder, failed)
            return error
        record = {"run_id": run_id, "parameters": dict(parameters), "result": storage.sha256_file(folder / "result.json")}
        storage.write_json(folder / "record.json", record)
        shutil.rmtree(failed, ignore_errors=True)  # it failed before, it does not now
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
    import papermill
    from papermill.exceptions import PapermillException

    output = folder / "notebook.ipynb"
    error = ""
    with _environment(folder), _transport() as transport:
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
                kernel_name="python3",
                language="python",
                resources={"metadata": {"path": str(storage.home(folder))}},
                **transport,
            )
        except (PapermillException, RuntimeError, TimeoutError) as problem:  # DeadKernelError is a RuntimeError
            error = _plain(str(problem).strip() or type(problem).__name__, folder)
    if output.is_file() and output.stat().st_size:
        _tidy(output, folder)
    return error


def _tidy(output: Path, folder: Path) -> None:
    """Take local paths, secrets, widget states (PM21) and floods of text out of an executed notebook."""
    import nbformat

    record = nbformat.read(output, as_version=4)
    for name in ("input_path", "output_path"):
        record.metadata.get("papermill", {}).pop(name, None)
    record.metadata.pop("widgets", None)
    for cell in record.cells:
        for item in cell.get("outputs", []):
            if len(item.get("text", "")) > OUTPUT_LIMIT:
                item["text"] = item["text"][:OUTPUT_LIMIT] + "\n… cut"
    storage.write_text(output, _plain(nbformat.writes(record), folder))


def _plain(text: str, folder: Path) -> str:
    """Take this machine's folders (SC2) and the secrets of the environment (SC1) out of a text."""
    for path, name in ((folder, "."), (storage.home(folder), "."), (Path(sys.prefix), ".venv"), (Path.home(), "~")):
        if path.parent != path:  # in some containers the home folder is /
            text = text.replace(str(path), name)
    for name, value in os.environ.items():
        if SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET:
            text = text.replace(value, f"[{name}]")
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@contextmanager
def _transport() -> Iterator[dict[str, Any]]:
    """Give the kernel Unix sockets in a folder of its own where they exist: no port collides, nothing listens on the network (KS4)."""
    from traitlets.config import Config

    with tempfile.TemporaryDirectory(prefix="kernel-") as sockets:
        short = len(os.fsencode(f"{sockets}/s-1")) <= SOCKET_PATH_LIMIT
        yield {"config": Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/s"}})} if os.name != "nt" and short else {}


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
    """Say why a notebook that papermill calls done is no success (PM2): a code cell ended early or never ran, or results are missing."""
    cells = code_cells(folder / "notebook.ipynb")
    raised = [item.get("ename") for cell in cells for item in cell.get("outputs", []) if item.get("output_type") == "error"]
    never = [cell for cell in cells if cell.get("execution_count") is None]
    if raised or never:
        return f"{raised[0] if raised else 'nothing'} was raised and {len(never)} code cells never ran (sys.exit in a cell?)"
    try:
        for result in load_results(folder / "result.json"):
            if result.example_ids and not result.interval(result.settings.primary).n:
                raise WorkbenchError(f"{result.config_id} has no {result.settings.primary} for any of its questions")
    except WorkbenchError as problem:
        return _plain(f"the notebook ended without complete results (save_results): {problem}", folder)
    return ""
