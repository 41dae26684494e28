"""One contract for all executors: each task has one outcome, tasks are asked for only when a worker is free, and stop ends what runs."""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from workbench.datatypes import WorkbenchError
from workbench.engine_limits import Ended
from workbench.executors import EXECUTORS, Task, threads


class Kernels:
    """Stand for a source of kernels: was it closed?"""

    def __init__(self, workers: int) -> None:
        self.workers, self.closed = workers, False

    def close(self) -> None:
        self.closed = True


class Work:
    """Stand for what runs a notebook: it takes time, notes what it is given, and ends when stopped."""

    def __init__(self, seconds: float = 0.02) -> None:
        self.seconds, self.now, self.most = seconds, 0, 0
        self.given: list[tuple[Task, Mapping[str, str], Any]] = []
        self.sources: list[Kernels] = []
        self._lock = threading.Lock()

    def __call__(self, task: Task, environment: Mapping[str, str], kernels: Any, stop: threading.Event) -> Ended:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.given.append((task, environment, kernels))
        stopped = stop.wait(self.seconds)
        with self._lock:
            self.now -= 1
        if task.label == "fault":
            raise ValueError("a fault of ours")
        if stopped:
            return Ended("lost", "interrupted")
        return Ended("failed", "raised", "no luck") if task.label == "bad" else Ended("ok")

    def source(self, workers: int) -> Kernels:
        self.sources.append(Kernels(workers))
        return self.sources[-1]


def task(number: int, label: str = "good") -> Task:
    return Task(f"run-{number}", label, Path("notebook.ipynb"), Path(f"runs/{number}"), {"number": number})


@pytest.fixture(params=[("serial", 1), ("local", 1), ("local", 3)], ids=lambda given: "-".join(map(str, given)))
def kind(request: pytest.FixtureRequest) -> tuple[str, int]:
    return request.param


def make(kind: tuple[str, int], work: Work) -> Any:
    return EXECUTORS[kind[0]](work, work.source, kind[1])


def test_each_task_has_one_outcome_and_no_more_run_than_there_are_workers(kind: tuple[str, int]) -> None:
    work = Work()
    tasks = [task(number, "bad" if number % 4 == 0 else "good") for number in range(9)]
    outcomes = list(make(kind, work).run(iter(tasks)))
    assert sorted(outcome.task.run_id for outcome in outcomes) == sorted(one.run_id for one in tasks)
    assert all((outcome.ended.state == "failed") == (outcome.task.label == "bad") for outcome in outcomes)
    assert work.most == kind[1]
    assert [(source.workers, source.closed) for source in work.sources] == [(kind[1], True)]
    assert {kernels for _, _, kernels in work.given} == set(work.sources)
    cores = str(max(1, (os.cpu_count() or 1) // kind[1]))
    assert {environment["OMP_NUM_THREADS"] for _, environment, _ in work.given} == {cores} == {threads(kind[1])["OMP_NUM_THREADS"]}


def test_a_task_is_asked_for_only_when_a_worker_is_free(kind: tuple[str, int]) -> None:
    """Who claims ahead keeps runs from others."""
    work = Work()
    asked: list[int] = []

    def tasks() -> Iterator[Task]:
        for number in range(8):
            asked.append(len(asked) - ended)
            yield task(number)

    ended = 0
    for _ in make(kind, work).run(tasks()):
        ended += 1
    assert ended == 8
    assert max(asked) <= kind[1]  # tasks under way when the next is asked for; one more may wait to be counted


def test_nothing_to_claim_now_is_asked_again(kind: tuple[str, int]) -> None:
    given: list[Task | None] = [None, task(1), None, None, task(2), None]
    assert [outcome.task.run_id for outcome in make(kind, Work()).run(iter(given))] == ["run-1", "run-2"]


def test_stop_ends_what_runs_and_begins_nothing(kind: tuple[str, int]) -> None:
    work = Work(seconds=30)
    executor = make(kind, work)
    began = time.monotonic()
    threading.Timer(0.3, executor.stop).start()
    outcomes = list(executor.run(iter([task(number) for number in range(9)])))
    assert time.monotonic() - began < 10
    assert len(outcomes) == len(work.given) == kind[1]
    assert {outcome.ended.kind for outcome in outcomes} == {"interrupted"}
    assert work.sources[0].closed


def test_a_fault_is_raised_where_the_sweep_waits_and_nothing_goes_on(kind: tuple[str, int]) -> None:
    work = Work()
    with pytest.raises(ValueError, match="a fault of ours"):
        list(make(kind, work).run(iter([task(0, "fault"), *(task(number) for number in range(1, 30))])))
    assert work.now == 0
    assert len(work.given) < 20
    assert work.sources[0].closed


def test_who_stops_listening_ends_what_runs(kind: tuple[str, int]) -> None:
    work = Work()
    outcomes = make(kind, work).run(iter([task(number) for number in range(30)]))
    next(outcomes)
    outcomes.close()
    assert work.now == 0
    assert len(work.given) < 20
    assert work.sources[0].closed


def test_no_task_is_no_outcome(kind: tuple[str, int]) -> None:
    assert list(make(kind, Work()).run(iter([]))) == []


@pytest.mark.parametrize(("name", "workers", "said"), [("serial", 2, "has one worker, not 2"), ("local", 0, "at least 1, not 0")])
def test_a_wrong_number_of_workers_is_refused(name: str, workers: int, said: str) -> None:
    with pytest.raises(WorkbenchError, match=said):
        EXECUTORS[name](Work(), None, workers)
