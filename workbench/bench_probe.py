"""Measure in a process of its own: what one part imports, loads or crashes with changes nothing for the next.

Started as `python -m workbench.bench_probe JSON`, where the JSON holds `modules` to import first, `effort` and `jobs`. Writes one JSON
object a line to stdout: `{"rate": …}`, `{"skipped": …}`, `{"job": number}` before each job, and DONE.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from workbench.bench_rates import Effort, Part, Rate, Skipped
from workbench.datatypes import WorkbenchError

END_SECONDS = 10.0
DONE = {"done": True}


@dataclass(frozen=True)
class Job:
    """Name something to measure; `languages` of its texts, for parts that read texts."""

    part: Part
    languages: tuple[str, ...] = ()


def probe(jobs: Sequence[Job], effort: Effort, seconds: float, modules: Sequence[str] = ()) -> Iterator[Rate | Skipped]:
    """Measure jobs one after the other in a new process; give what is found as it comes.

    A job that crashes the process, or takes longer than so many seconds, is skipped with the reason, and another process takes the rest.
    """
    left, imported = list(jobs), list(modules)
    while left or imported:
        begun = -1
        with _Child({"modules": imported, "effort": asdict(effort), "jobs": [asdict(job) for job in left]}) as child:
            for message in child.messages(seconds):
                if "job" in message:
                    begun = message["job"]
                else:
                    yield _read(message)
        if child.problem:  # before any job, all would meet it
            lost = left[begun : begun + 1] if begun >= 0 else left
            yield from [Skipped(job.part, child.problem) for job in lost]
        left = left[begun + 1 :] if child.problem and begun >= 0 else []
        imported = []


class _Child:
    """Run this module in a process of its own; `problem` says in the end why it did not do everything, "" when it did."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.problem = ""
        self._late = False
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__; no pipe, which somebody would have to empty
        command = [sys.executable, "-m", __name__, json.dumps(task)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}  # nothing here may fetch anything
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._said, env=environment)  # noqa: S603

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(END_SECONDS)
        self._said.close()
        if self.process.stdout:
            self.process.stdout.close()

    def messages(self, seconds: float) -> Iterator[dict[str, Any]]:
        """Give what the process tells; end it when it tells nothing for so many seconds."""
        assert self.process.stdout
        while True:
            alarm = threading.Timer(seconds, self._end)
            alarm.start()
            line = self.process.stdout.readline()
            alarm.cancel()
            message = json.loads(line) if line else None
            if message == DONE:
                return  # its end may take long: what it loaded is taken apart
            if message is None:
                break
            yield message
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_SECONDS)
        self._said.seek(0)
        last = self._said.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        self.problem = f"its process ended with code {self.process.poll()}" + (f": {last}" if last else "")
        if self._late:
            self.problem = f"told nothing for {seconds:g} s"

    def _end(self) -> None:
        self._late = True
        self.process.kill()


def _read(message: dict[str, Any]) -> Rate | Skipped:
    (kind, fields), *_ = message.items()
    return (Rate if kind == "rate" else Skipped)(**fields | {"part": Part(**fields["part"])})


def measure(job: Job, effort: Effort) -> Iterator[Rate | Skipped]:
    """Give what a job finds; a part that cannot be measured is skipped, and says why."""
    from workbench import bench_embedding, bench_generation, bench_search, bench_start

    measured = {
        "embedder": lambda: bench_embedding.measure_embedder(job.part, job.languages, effort),
        "reranker": lambda: bench_embedding.measure_reranker(job.part, job.languages, effort),
        "generator": lambda: bench_generation.measure_generator(job.part, job.languages, effort),
        "index": lambda: bench_search.measure_search(effort),
        "start": lambda: bench_start.measure_kernels(effort),
        "evaluation": lambda: bench_start.measure_evaluation(effort),
    }
    try:
        yield from measured[job.part.kind]()
    except WorkbenchError as error:
        yield Skipped(job.part, str(error))


def main() -> None:
    """Do what the argument asks for."""
    from workbench.bench_start import measure_imports

    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no message
    task = json.loads(sys.argv[1])
    effort = Effort(**task["effort"])

    def tell(**message: Any) -> None:
        out.write(json.dumps(message, ensure_ascii=False) + "\n")
        out.flush()

    def found(results: Iterator[Rate | Skipped]) -> None:
        for result in results:
            tell(**{"rate" if isinstance(result, Rate) else "skipped": asdict(result)})

    found(measure_imports(task["modules"]))
    for number, job in enumerate(task["jobs"]):
        tell(job=number)
        found(measure(Job(Part(**job["part"]), tuple(job["languages"])), effort))
    tell(**DONE)


if __name__ == "__main__":
    main()
