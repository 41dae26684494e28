"""Watch one run: its time, the memory and the life of its kernel's process tree; end it when a limit is passed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.datatypes import WorkbenchError

if TYPE_CHECKING:
    import psutil

SAMPLE_SECONDS = 0.2
GONE_SECONDS = 5  # that a killed process may take to be gone
MB = 2**20  # bytes
FLOOD = 20  # times the output limit
STATES = {"": "ok"} | dict.fromkeys(("died", "interrupted"), "lost")  # every other kind is a failure of the notebook


@dataclass(frozen=True)
class Limits:
    """Hold the limits of one run: wall-clock seconds, MB (2**20 bytes) of its process tree, stored characters of a cell's output.

    None is no limit. Memory shared with other processes does not count, so a forked kernel is not charged for what its parent imported. A
    cell that prints more than 20 times what is stored is stopped.
    """

    seconds: float | None = None
    memory_mb: int | None = None
    output_characters: int = 1_000_000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not (isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0):
                raise WorkbenchError(f"limits: {name} must be a positive number, got {value!r}")


@dataclass(frozen=True)
class Ended:
    """Hold how a run ended.

    `state` is ok, failed (the notebook's own doing) or lost (not its doing: run it again). `kind` says why: "" when ok, else raised, exited
    (before its end), timeout, memory, flood, incomplete (no whole results), or, lost: died (the kernel, or it never started), interrupted.
    """

    state: str
    kind: str = ""
    error: str = ""  # without local paths and secrets
    seconds: float = 0.0  # wall clock, start of the kernel included
    peak_mb: int = 0  # resident, summed over the process tree


class Watch:
    """Measure one run against its limits. Its first cause to end the run is `kind`, "" while there is none."""

    def __init__(self, limits: Limits, stop: threading.Event | None = None) -> None:
        self.limits = limits
        self.stop = stop
        self.began = time.monotonic()
        self.kind = ""
        self.peak = 0  # bytes
        self.private = 0  # bytes, measured only where the resident ones pass the limit: it takes longer
        self.give_up: Callable[[], None] = lambda: None  # ends the waiting for the kernel
        self._kernel: psutil.Process | None = None
        self._tree: frozenset[psutil.Process] = frozenset()  # rebound, never changed: two threads read it

    @property
    def seconds(self) -> float:
        """The wall-clock time since the start."""
        return time.monotonic() - self.began

    def follow(self, process_id: int) -> None:
        """Watch the process tree of this kernel from now on."""
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess):  # it ended at once; whoever talks to it will notice
            self._kernel = psutil.Process(process_id)
        self._resident()
        if self.kind:  # ended while the kernel was starting
            self.kill()

    def sample(self) -> None:
        """Measure once, and end the run when a limit is passed or `stop` is set."""
        used = self._resident()
        if self.stop is not None and self.stop.is_set():
            self.end("interrupted")
        elif self.limits.seconds is not None and self.seconds > self.limits.seconds:
            self.end("timeout")
        elif self.limits.memory_mb is not None and used > self.limits.memory_mb * MB < self._private():
            self.end("memory")

    def end(self, kind: str) -> None:
        """End the run for this reason, unless it is ended already. Any thread may call this."""
        if not self.kind:
            self.kind = kind
            self.kill()
            self.give_up()

    def reason(self, cell: int | None) -> str:
        """Say why the run was ended; `cell` is the index of the last cell that was started."""
        return {
            "interrupted": "the run was stopped from outside",
            "timeout": f"the run took longer than its limit of {self.limits.seconds or 0:g} seconds",
            "memory": f"the run used {self.private // MB} MB of memory, more than its limit of {self.limits.memory_mb} MB",
            "flood": f"cell {(cell or 0) + 1} printed more than {FLOOD * self.limits.output_characters} characters",
        }[self.kind]

    def kill(self) -> None:
        """Kill the kernel, its process group and every descendant that was seen, also one that left the group."""
        import psutil

        self._resident()  # who is there now
        if self._kernel is not None and os.name != "nt":
            with contextlib.suppress(ProcessLookupError):  # the group is the kernel's own (it leads a session), or there is none
                os.killpg(self._kernel.pid, signal.SIGKILL)
        for process in self._tree:
            with contextlib.suppress(psutil.Error):  # gone, or its number now belongs to another process
                process.kill()

    def close(self) -> None:
        """Kill what is left and wait until it is gone."""
        import psutil

        self.kill()
        psutil.wait_procs(self._tree, timeout=GONE_SECONDS)

    def _resident(self) -> int:
        """Return the resident bytes of all processes of the tree, children that left the kernel's group or lost their parent included."""
        import psutil

        if self._kernel is None:
            return 0
        now = {self._kernel}
        with contextlib.suppress(psutil.NoSuchProcess):
            now.update(self._kernel.children(recursive=True))
        self._tree = frozenset(now | {process for process in self._tree - now if process.is_running()})
        used = 0
        for process in self._tree:
            with contextlib.suppress(psutil.Error):
                used += process.memory_info().rss
        self.peak = max(self.peak, used)
        return used

    def _private(self) -> int:
        """Return the bytes that would be free if the tree ended now."""
        import psutil

        self.private = 0
        for process in self._tree:
            with contextlib.suppress(psutil.Error):
                try:
                    self.private += process.memory_full_info().uss
                except psutil.AccessDenied:  # macOS tells it to root only; a limit that is passed too early is better than none
                    self.private += process.memory_info().rss
        return self.private
