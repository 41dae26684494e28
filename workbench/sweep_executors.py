"""Choose who executes a sweep: notebooks one by one, several at once, or the settings themselves in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from workbench import registry
from workbench.datatypes import WorkbenchError
from workbench.engine_limits import Ended
from workbench.evaluation import RunResult, load_results
from workbench.executors import EXECUTORS, Executor, Task
from workbench.registry import split_spec

if TYPE_CHECKING:
    from workbench.engine_kernels import KernelSource

KERNELS = ("auto", "warm", "fresh")
PRELOADED = (  # what a run imports whose every value is cached
    *("workbench.experiment", "workbench.report_plots", "workbench.report_markdown", "workbench.widgets", "IPython.display"),
    *("workbench.report_diagnosis", "workbench.report_power", "workbench.report_winner"),
    *("workbench.embedding_st", "workbench.embedding_openvino", "workbench.text_refusal"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "scipy.optimize", "scipy.special"),
    *("Stemmer", "semantic_text_splitter", "sacrebleu", "tokenizers"),
)
COMPUTING = {
    "st": ("torch", "sentence_transformers"),
    "hf": ("torch", "transformers"),
}  # what others import: seconds, so not before one does


def make_executor(engine: str, name: str, jobs: int, kernels: str, say: Callable[[str], None]) -> Executor:
    """Build the executor of a spec's engine: direct has its own; of notebooks it is auto (serial for one job, local for more), serial or
    local, its kernels are auto, warm or fresh.
    """
    if engine == "direct":
        from workbench.sweep_direct import Direct

        if jobs != 1:
            raise WorkbenchError(f"engine: direct evaluates in one process, not with {jobs} jobs; use engine: notebook")
        return Direct()
    if name not in ("auto", *EXECUTORS):
        raise registry.unknown("executor", name, ["auto", *EXECUTORS])
    if kernels not in KERNELS:
        raise registry.unknown("kind of kernels", kernels, KERNELS)
    chosen = EXECUTORS[name if name != "auto" else "serial" if jobs == 1 else "local"]
    return chosen(_execute, partial(_source, kernels, say), jobs)


def _execute(task: Task, environment: Mapping[str, str], kernels: KernelSource | None, stop: threading.Event) -> Ended:
    from workbench.sweep_run import execute

    ended = execute(
        task.notebook,
        task.target,
        task.run_id,
        task.parameters,
        limits=task.limits,
        environment=environment,
        kernels=kernels,
        stop=stop,
    )
    if kernels and ended.state == "ok":
        kernels.expect(imported(load_results(task.target / "result.json")))
    return ended


def imported(results: Sequence[RunResult]) -> list[str]:
    """Return the modules that a run imported to compute what was not cached."""
    found: dict[str, None] = {}
    for result in results:
        parts = {"embedder": result.cache.get("calls"), "generator": result.cache.get("completions")}
        for part, computed in parts.items():
            name, _ = split_spec(getattr(result.settings, part))
            found |= dict.fromkeys(COMPUTING.get(name, ()) if computed else ())
    return list(found)


def _source(kind: str, say: Callable[[str], None], workers: int) -> KernelSource:
    from workbench.engine import load_papermill
    from workbench.engine_kernels import kernel_source

    threading.Thread(target=load_papermill, daemon=True).start()  # while kernels start; whoever needs it sooner waits for that import
    return kernel_source(kind, ahead=workers, modules=PRELOADED, say=say)
