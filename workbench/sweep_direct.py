"""Evaluate the settings of a sweep's points in this process, without a notebook: for grids of thousands of points."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from workbench import storage
from workbench.datatypes import WorkbenchError
from workbench.engine_limits import Ended
from workbench.engine_tidy import cleaner, plain
from workbench.evaluation import results_json
from workbench.executors import END, POLL_SECONDS, Outcome, Task
from workbench.experiment import Runner
from workbench.notebook import settings_of
from workbench.settings import parse_settings
from workbench.sweep_run import put_in_place, raise_when_full


class Direct:
    """Evaluate one task after the other in the calling thread; neighbours share data, models and what was retrieved.

    A WorkbenchError fails its task; any other exception is a fault of the workbench and ends the sweep.
    """

    workers = 1
    claims = 64  # tasks that are claimed at once

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def run(self, tasks: Iterator[Task | None]) -> Iterator[Outcome]:
        """Yield the outcome of each task."""
        runner: Runner | None = None
        try:
            while not self._stopped.is_set() and (task := next(tasks, END)) is not END:
                if task is None:
                    self._stopped.wait(POLL_SECONDS)
                    continue
                with contextlib.chdir(storage.home(task.notebook.parent)):  # where its kernel would stand
                    runner = runner or Runner()
                    outcome = Outcome(task, _evaluate(task, runner))
                yield outcome
        finally:
            if runner:
                runner.close()

    def stop(self) -> None:
        """Begin no other task; the one under way is finished, since it cannot be taken apart."""
        self._stopped.set()


def _evaluate(task: Task, runner: Runner) -> Ended:
    began = time.monotonic()
    task.target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".run-", dir=task.target.parent))
    try:
        results = {}
        wanted = [parse_settings(values) for values in settings_of(task.parameters)]
        for settings in wanted:
            settings = runner.resolve(settings) if len(wanted) > 1 else settings  # some may turn out to be the same
            if (settings.config_id, settings.seed) not in results:
                results[settings.config_id, settings.seed] = runner.run(settings)
        storage.write_new(folder / "result.json", results_json(list(results.values())).encode())
        put_in_place(folder, task.target, task.run_id, task.parameters)
    except WorkbenchError as error:
        raise_when_full(str(error))
        return Ended("failed", "raised", plain(str(error), cleaner(folder, {})), time.monotonic() - began)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Ended("ok", seconds=time.monotonic() - began)
