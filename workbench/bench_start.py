"""Measure what a run costs beside its models: imports, kernels through the papermill engine, and an evaluation whose values are cached."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from workbench import experiment
from workbench.bench_rates import Effort, Part, Rate, Skipped, in_turns, timed
from workbench.datatypes import WorkbenchError
from workbench.engine import load_papermill, run_notebook
from workbench.engine_kernels import FreshKernels, KernelSource, WarmKernels
from workbench.engine_limits import Limits
from workbench.settings import Settings
from workbench.sweep_executors import PRELOADED

FIRST_CELL = "import workbench.experiment"  # what the first cell of every notebook here imports
SECONDS = 120.0  # that a run may take
EVALUATED = Settings(dataset="demo-en", tokenizer="simple", embedder="hash", retriever="dense")


def measure_imports(modules: Sequence[str]) -> Iterator[Rate]:
    """Give the seconds that this process takes to import each module, after those before it: run it in a new process."""
    before: list[str] = []
    for module in modules:
        yield Rate.of(
            Part("import", module), "import", "s", [timed(lambda module=module: importlib.import_module(module))], after=list(before)
        )
        before.append(module)


def measure_kernels(effort: Effort) -> Iterator[Rate | Skipped]:
    """Give the seconds of a run of one cell (FIRST_CELL) by the papermill engine, from no kernel to the notebook written.

    Kernels are ordinary processes, or forked from one that has imported what cached runs import; neither is started ahead.
    """
    yield Rate.of(Part("start", "papermill"), "import", "s", [timed(load_papermill)])
    cell = {"cell_type": "code", "id": "first", "metadata": {}, "execution_count": None, "outputs": [], "source": FIRST_CELL}
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    sources: dict[str, KernelSource] = {}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as closed:
        folder = Path(name)
        (folder / "in.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
        sources["ordinary"] = FreshKernels(0)
        try:
            yield Rate.of(Part("start", "warm kernels"), "prepare", "s", [timed(lambda: sources.update(warm=WarmKernels(0, PRELOADED)))])
        except WorkbenchError as error:
            yield Skipped(Part("start", "warm kernel"), str(error))
        for source in sources.values():
            closed.callback(source.close)

        def run(source: KernelSource) -> float:
            return timed(lambda: _run(folder, source))

        found = in_turns({kind: lambda source=source: run(source) for kind, source in sources.items()}, effort.repetitions)
    for kind, seconds in found.items():
        yield Rate.of(Part("start", f"{kind} kernel"), "run of one cell", "s", seconds, cell=FIRST_CELL)


def _run(folder: Path, source: KernelSource) -> None:
    ended = run_notebook(
        folder / "in.ipynb", folder / "out.ipynb", {}, environment={}, folder=folder, limits=Limits(seconds=SECONDS), kernels=source
    )
    if ended.state != "ok":
        raise WorkbenchError(f"a notebook of one cell ended as {ended.state} ({ended.kind}): {ended.error}")


def measure_evaluation(effort: Effort) -> Iterator[Rate]:
    """Give questions a second of a dense run whose vectors, chunks and tokens are all cached: search, metrics, controls, audit.

    The cache is a new one, which a first run fills.
    """
    before = os.environ.get("WORKBENCH_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WORKBENCH_CACHE"] = str(Path(folder) / "cache.sqlite")
        try:
            first = experiment.run(EVALUATED)
            questions = len(first.example_ids)
            rates = [questions / timed(lambda: experiment.run(EVALUATED)) for _ in range(effort.repetitions)]
        finally:
            os.environ.pop("WORKBENCH_CACHE")
            os.environ.update({} if before is None else {"WORKBENCH_CACHE": before})
    facts = {"dataset": EVALUATED.dataset, "questions": questions, "chunks": first.details["chunks"]}
    yield Rate.of(Part("evaluation", "cached run"), "evaluate", "questions/s", rates, **facts)
