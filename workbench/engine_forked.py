"""The driver's side of warm kernels: the process that forks them (engine_fork.py), and what it forked."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from workbench.datatypes import WorkbenchError

GONE = "the process that forks kernels has ended"
START_SECONDS = 300  # seconds that imports may take on a busy machine
FORK_SECONDS = 60  # seconds that a fork may take, a matter of milliseconds


class ForkedProcess:
    """Hold a forked kernel as subprocess.Popen holds a child; what happens to it is told by its parent."""

    stdin = stdout = stderr = None

    def __init__(self, parent: ForkParent, number: int) -> None:
        self.parent = parent
        self.number = number
        self.started: Future[int] = Future()
        self.ended: Future[int] = Future()

    @property
    def pid(self) -> int:
        """The process id."""
        return self.started.result()

    @property
    def returncode(self) -> int | None:
        """The exit status, None while it runs."""
        return self.ended.result() if self.ended.done() else None

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit status."""
        return self.ended.result(timeout)

    def send_signal(self, value: int) -> None:
        """Signal the process and what it started."""
        self.parent.ask(signal=self.number, value=int(value))


class ForkParent:
    """Hold the process that forks kernels (engine_fork.py); `wait` until it is ready."""

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - no shell; the modules are import names
            [sys.executable, "-m", "workbench.engine_fork", *modules],
            cwd=Path(__file__).resolve().parent.parent,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the driver
        )
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        self.forked: dict[int, ForkedProcess] = {}
        self.ready: Future[None] = Future()
        self.gone = False
        threading.Thread(target=self._listen, name="kernel-events", daemon=True).start()

    def wait(self) -> None:
        """Wait until it has imported its modules; close it and raise WorkbenchError when it cannot fork."""
        try:
            self.ready.result(START_SECONDS)
        except (WorkbenchError, TimeoutError) as error:
            self.close()
            raise WorkbenchError(f"no kernels can be forked: {error or 'the imports take too long'}") from None

    def fork(self, arguments: Sequence[str]) -> ForkedProcess:
        """Fork a kernel with these arguments; raise WorkbenchError when that is refused."""
        process = ForkedProcess(self, next(self.numbers))
        with self.lock:
            if self.gone:
                raise WorkbenchError(GONE)
            self.forked[process.number] = process
        self.ask(fork=process.number, arguments=list(arguments))
        try:
            process.started.result(FORK_SECONDS)
        except TimeoutError:
            process.send_signal(signal.SIGKILL)  # read after the request, should it ever be read
            raise WorkbenchError(f"no kernel was forked within {FORK_SECONDS} seconds") from None
        return process

    def ask(self, **request: Any) -> None:
        """Send a request."""
        with self.lock, contextlib.suppress(BrokenPipeError, ValueError):  # ended or closed: _listen tells every kernel's user
            self.process.stdin.write(json.dumps(request).encode() + b"\n")  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]

    def close(self) -> None:
        """End it; it kills the kernels that still run, and has none before it is ready."""
        if not self.ready.done():
            self.process.kill()
        with self.lock, contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()  # type: ignore[union-attr]
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _listen(self) -> None:
        with self.process.stdout as events:  # type: ignore[union-attr]
            for line in events:
                event = json.loads(line)
                if "ready" in event:
                    self.ready.set_result(None)
                elif "forked" in event:
                    self.forked[event["forked"]].started.set_result(event["pid"])
                elif "ended" in event:
                    self.forked.pop(event["ended"]).ended.set_result(event["status"])
                elif "number" in event:
                    self.forked.pop(event["number"]).started.set_exception(WorkbenchError(event["refused"]))
                else:
                    self.ready.set_exception(WorkbenchError(event["refused"]))
        with self.lock:
            self.gone = True
        for future in (self.ready, *(process.started for process in self.forked.values())):
            if not future.done():
                future.set_exception(WorkbenchError(GONE))
        for process in self.forked.values():
            process.ended.set_result(-9)  # kernels end when their parent is gone, which is no doing of their notebooks
