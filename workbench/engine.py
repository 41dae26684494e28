"""Execute notebooks for papermill, and tell the truth about how they ended (`papermill --engine workbench`)."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from workbench import storage
from workbench.datatypes import WorkbenchError
from workbench.engine_kernels import KERNEL_DEFAULTS
from workbench.engine_limits import Ended, Limits, Watch
from workbench.engine_tidy import cleaner

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from workbench.engine_kernels import KernelSource

NAME = "workbench"
QUIET = logging.getLogger(__name__)  # of nbclient: what it says is in Ended
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False
NOTHING: Mapping[str, str] = MappingProxyType({})


class RunEnded(WorkbenchError):
    """Say that a run ended before its first cell: there is no cell that papermill could name."""


class WorkbenchEngine:
    """Execute a notebook for papermill in a kernel of its own: truthful cell states, capped output, limits, nothing left behind.

    A plain papermill run may use it by name and gets an exception for every run that is not complete, also after sys.exit(0).
    """

    @classmethod
    def execute_notebook(
        cls,
        nb: NotebookNode,
        kernel_name: str,
        output_path: str | None = None,
        progress_bar: bool | dict[str, Any] = True,
        log_output: bool = False,
        autosave_cell_every: int = 30,
        *,
        environment: Mapping[str, str] = NOTHING,
        limits: Limits | None = None,
        kernels: KernelSource | None = None,
        stop: threading.Event | None = None,
        report: Callable[[NotebookNode, Ended], None] | None = None,
        execution_timeout: int | None = None,
        **options: Any,
    ) -> NotebookNode:
        """Execute it and return it as papermill's engines do; `report` is told the notebook and how it ended, whatever comes then.

        `environment` is set in the kernel, on top of this process's. `options` are those of papermill's own engine and of nbclient; the
        kernel works in resources["metadata"]["path"]. Raises RunEnded when no cell was started; papermill raises for every other error.
        """
        from papermill.log import logger

        from workbench.engine_client import Notes, Run

        environment = {**KERNEL_DEFAULTS, **environment}
        folder = (options.get("resources") or {}).get("metadata", {}).get("path") or os.getcwd()
        clean = cleaner(Path(environment.get("WORKBENCH_RUN_DIR", folder)), environment)
        notes = Notes(
            nb, clean, output_path=output_path, log_output=log_output, progress_bar=progress_bar, autosave_cell_every=autosave_cell_every
        )
        watch = Watch(limits or Limits(), stop)
        options.pop("input_path", None)
        nbclient = {
            "iopub_timeout": 60,  # PM16
            "force_raise_errors": True,  # papermill fails such a run in any case (PM19)
            "log": logger,
            **options,
            "timeout": execution_timeout,
            "log_output": log_output,
        }
        run = Run(notes, watch, kernel_name, environment, Path(folder), kernels, nbclient)
        notes.notebook_start()
        notes.write()
        try:
            run.execute()
        finally:
            ended = run.ended()
            notebook = notes.finish(ended, run.last)
            if report is not None:
                report(notebook, ended)
        if ended.kind and run.last is None:
            raise RunEnded(ended.error)
        return notebook

    @classmethod
    def nb_kernel_name(cls, nb: NotebookNode, name: str | None = None) -> str:
        """Return the name of the kernel that a notebook asks for."""
        from papermill.utils import nb_kernel_name

        return nb_kernel_name(nb, name)

    @classmethod
    def nb_language(cls, nb: NotebookNode, language: str | None = None) -> str:
        """Return the language of a notebook."""
        from papermill.utils import nb_language

        return nb_language(nb, language)


def load_papermill() -> None:
    """Import what runs notebooks, which takes a second; a thread may do so while kernels start."""
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type] - two seconds of grammars that nothing here needs (KS1)
    for module in ("papermill", "workbench.engine_client"):
        importlib.import_module(module)


def run_notebook(
    notebook: Path,
    output: Path,
    parameters: Mapping[str, Any],
    *,
    environment: Mapping[str, str],
    folder: Path,
    limits: Limits,
    kernels: KernelSource | None = None,
    stop: threading.Event | None = None,
) -> Ended:
    """Run a notebook by papermill, its kernel in `folder`; write the executed notebook to `output` whatever happened, once, and tidied.

    `environment` is set in the kernel, on top of this process's, which is not touched: threads may run notebooks at once. A kernel is taken
    from `kernels`, or started. Setting `stop` ends the run. Raises OSError when `output` cannot be written.
    """
    load_papermill()
    import nbformat
    import papermill
    from papermill.engines import papermill_engines
    from papermill.exceptions import PapermillExecutionError

    papermill_engines.register(NAME, WorkbenchEngine)  # the entry point may be that of another installation
    told: list[tuple[NotebookNode, Ended]] = []
    with contextlib.suppress(PapermillExecutionError, RunEnded):  # it was told
        papermill.execute_notebook(
            os.path.abspath(notebook),
            None,
            parameters=dict(parameters),
            engine_name=NAME,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            start_timeout=120,
            log=QUIET,
            autosave_cell_every=0,
            resources={"metadata": {"path": os.fspath(folder)}},
            environment=environment,
            limits=limits,
            kernels=kernels,
            stop=stop,
            report=lambda *outcome: told.append(outcome),
        )
    executed, ended = told[0]
    storage.write_text(output, nbformat.writes(executed))
    return ended
