"""Execute the runs of a sweep: one after the other, or several at once on this machine; each run is a kernel process of its own.

An executor pulls a task when a worker is free and yields outcomes as they come. It knows no ledger and no report: who claims tasks and
records outcomes stands outside, so an executor for a cluster needs these two calls and nothing else.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from workbench.datatypes import WorkbenchError
from workbench.engine_limits import Ended, Limits

if TYPE_CHECKING:
    from workbench.engine_kernels import KernelSource

POLL_SECONDS = 0.5  # between two questions for a task where there was none to claim
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Task:
    """Hold one run to be: plain values, so that another machine could take it."""

    run_id: str
    label: str
    notebook: Path
    target: Path  # the run's folder, put in place when it succeeded
    parameters: Mapping[str, Any]
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Outcome:
    """Hold how a task ended."""

    task: Task
    ended: Ended


Execute = Callable[[Task, Mapping[str, str], "KernelSource | None", threading.Event], Ended]
Kernels = Callable[[int], "KernelSource"]  # from the number of workers
END = object()


class Executor(Protocol):
    """Execute tasks until there are none.

    `run` asks its iterator for a task only when a worker is free; None means that nothing can be claimed now: ask again later. Each task
    has exactly one outcome. After `stop`, from any thread, no task is begun, and what runs ends at once as lost, kind "interrupted".
    """

    workers: int
    claims: int  # tasks that are claimed at once

    def run(self, tasks: Iterator[Task | None]) -> Iterator[Outcome]: ...

    def stop(self) -> None: ...


class Serial:
    """Execute one task after the other in the calling thread."""

    workers = 1
    claims = 1

    def __init__(self, execute: Execute, kernels: Kernels | None = None, workers: int = 1) -> None:
        if workers != 1:
            raise WorkbenchError(f"the serial executor has one worker, not {workers}; use the local executor for more")
        self._execute, self._kernels, self._stopped = execute, kernels, threading.Event()

    def run(self, tasks: Iterator[Task | None]) -> Iterator[Outcome]:
        """Yield the outcome of each task."""
        with _source(self._kernels, 1) as kernels:
            while not self._stopped.is_set() and (task := next(tasks, END)) is not END:
                if task is None:
                    self._stopped.wait(POLL_SECONDS)
                else:
                    yield Outcome(task, self._execute(task, threads(1), kernels, self._stopped))

    def stop(self) -> None:
        """End what runs."""
        self._stopped.set()


class Local:
    """Execute several tasks at once: a thread waits for each run, whose kernel is a process; processor threads are divided among them."""

    claims = 1

    def __init__(self, execute: Execute, kernels: Kernels | None = None, workers: int = 2) -> None:
        if workers < 1:
            raise WorkbenchError(f"the number of workers must be at least 1, not {workers}")
        self.workers = workers
        self._execute, self._kernels, self._stopped = execute, kernels, threading.Event()

    def run(self, tasks: Iterator[Task | None]) -> Iterator[Outcome]:
        """Yield outcomes as they come; `tasks` is asked in the calling thread only."""
        running: dict[Future[Ended], Task] = {}
        more = True
        with _source(self._kernels, self.workers) as kernels, ThreadPoolExecutor(self.workers) as pool:
            try:
                while more or running:
                    more = more and not self._stopped.is_set()
                    task = next(tasks, END) if more and len(running) < self.workers else None
                    if task is END:
                        more = False
                    elif task is not None:
                        running[pool.submit(self._execute, task, threads(self.workers), kernels, self._stopped)] = task
                        continue
                    if not running:
                        self._stopped.wait(POLL_SECONDS if more else 0)
                    for future in wait(running, POLL_SECONDS, FIRST_COMPLETED).done:
                        yield Outcome(running.pop(future), future.result())
            finally:
                self._stopped.set()  # whoever stops listening ends what runs

    def stop(self) -> None:
        """End what runs."""
        self._stopped.set()


def threads(workers: int) -> dict[str, str]:
    """Return the environment that gives each of so many kernels its share of the processor's cores (KS8)."""
    return dict.fromkeys(THREADS, str(max(1, (os.cpu_count() or 1) // workers)))


@contextmanager
def _source(kernels: Kernels | None, workers: int) -> Iterator[KernelSource | None]:
    source = kernels(workers) if kernels else None
    try:
        yield source
    finally:
        if source:
            source.close()


EXECUTORS = {"serial": Serial, "local": Local}
