"""Started kernels, each used once: ordinary processes started ahead, or forked from a process that has imported what notebooks import."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from workbench.datatypes import WorkbenchError
from workbench.engine_forked import ForkParent

if TYPE_CHECKING:
    from workbench.engine_provisioner import Kernel

KINDS = ("auto", "warm", "fresh")
FOLDER_PREFIX = "workbench-kernels-"
YOUNG_SECONDS = 60  # a folder this young may be about to be locked
# What is read while Python, IPython or a library starts. A kernel that needs other values than the ones started ahead is started anew.
READ_AT_START = re.compile(
    r"PYTHON|LD_|LC_|LANG|HOME$|TMPDIR|XDG_|JUPYTER|IPYTHON|MPL|HF_|TRANSFORMERS_|TORCH|CUDA_|(?:OMP|KMP|GOMP|MKL|OPENBLAS)_(?!NUM_THREADS)"
)
KERNEL_DEFAULTS = {
    "PYTHONHASHSEED": "0",  # the order of a set of texts must not change from kernel to kernel
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class KernelSource(Protocol):
    """Give started kernels."""

    def take(self, environment: Mapping[str, str], folder: Path) -> Kernel:
        """Return a running kernel that nobody used, for `km=` of nbclient: in `folder`, with `environment` on top of this process's."""
        ...

    def expect(self, modules: Sequence[str]) -> None:
        """Take note that runs import these modules too; kernels started from now on may have them."""
        ...

    def close(self) -> None:
        """End the kernels that nobody took, and remove their files. A taken kernel is ended by its user: `shutdown_kernel(now=True)`."""
        ...


class FreshKernels:
    """Start ordinary kernels, `ahead` of them before they are needed. Several threads may take at once.

    Environment and folder are set when a kernel is taken, before its first cell; what is read while Python starts (READ_AT_START) cannot be
    set so late, and a kernel that needs it different is started then.
    """

    def __init__(self, ahead: int = 1) -> None:
        if ahead < 0:
            raise WorkbenchError(f"ahead must be 0 or more kernels, got {ahead}")
        self.ahead = ahead
        self.waiting: deque[Kernel] = deque()
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        self.folder = _PrivateFolder()
        self.environment = _environment({})
        self._fill()

    def take(self, environment: Mapping[str, str], folder: Path) -> Kernel:
        """See KernelSource."""
        if not Path(folder).is_dir():
            raise WorkbenchError(f"a kernel cannot work in {folder}: no such folder")
        wanted = _environment(environment)
        names = filter(READ_AT_START.match, self.environment.keys() | wanted.keys())
        if any(self.environment.get(name) != wanted.get(name) for name in names):
            kernel = self._start_ordinary(wanted)
        else:
            kernel = self._waiting() or self._start(self.environment)
        kernel.prepare(wanted, folder)
        with contextlib.suppress(OSError, WorkbenchError):  # this run has its kernel; the next says what is wrong, should it be so still
            self._fill()
        return kernel

    def expect(self, modules: Sequence[str]) -> None:
        """See KernelSource: an ordinary kernel imports by itself."""

    def close(self) -> None:
        """See KernelSource."""
        self.ahead = 0
        while kernel := self._waiting():
            kernel.end()
        self.folder.close()

    def _waiting(self) -> Kernel | None:
        with self.lock:
            while self.waiting:
                kernel = self.waiting.popleft()
                if kernel.running():
                    return kernel
                kernel.end()
        return None

    def _fill(self) -> None:
        with self.lock:
            while len(self.waiting) < self.ahead:
                self.waiting.append(self._start(self.environment))

    def _start(self, environment: Mapping[str, str]) -> Kernel:
        from workbench.engine_provisioner import start

        return start(self.folder.path / str(next(self.numbers)), environment)

    _start_ordinary = _start  # also where a subclass starts others


class WarmKernels(FreshKernels):
    """Fork kernels from a process that has imported `modules` and computed nothing (Linux; engine_fork.py).

    A kernel starts in a fraction of the time and has the modules; in everything else it is as an ordinary kernel. The libraries that are
    loaded get OMP_NUM_THREADS threads when the kernel is taken. Raises WorkbenchError where nothing can be forked: no Linux, a module that
    is missing or starts a thread. When forking stops to work later, ordinary kernels are started, and `say` is told so once.
    """

    def __init__(self, ahead: int = 1, modules: Sequence[str] = (), say: Callable[[str], None] = print) -> None:
        if not sys.platform.startswith("linux") or not hasattr(os, "pidfd_open"):
            raise WorkbenchError("warm kernels need Linux; use kernels: fresh")
        self.say = say
        self.modules = tuple(modules)
        self.parent = ForkParent(modules, _environment({}))
        self.other: ForkParent | None = None  # the next one, while it imports; then the one before, whose kernels may still run
        self.forking = True
        with contextlib.ExitStack() as undo:
            undo.callback(self.parent.close)
            self.parent.wait()
            super().__init__(ahead)
            undo.pop_all()

    def expect(self, modules: Sequence[str]) -> None:
        """See KernelSource: another parent imports them, once, while kernels of the first go on; then it forks."""
        with self.lock:
            if self.other or not self.forking or not self.ahead or set(modules) <= set(self.modules):
                return
            self.other = ForkParent([*self.modules, *modules], _environment({}))
        threading.Thread(target=self._change, args=(self.other,), daemon=True).start()

    def _change(self, new: ForkParent) -> None:
        try:
            new.wait()
        except WorkbenchError as error:
            if self.ahead:  # not closed meanwhile
                self.say(f"kernels import by themselves what they need: {error}")
            return
        with self.lock:
            self.parent, self.other = new, self.parent
            old = list(self.waiting)
            self.waiting.clear()
        for kernel in old:
            kernel.end()

    def close(self) -> None:
        """See KernelSource."""
        super().close()
        with self.lock:
            parents = [parent for parent in (self.parent, self.other) if parent]
        for parent in parents:
            parent.close()

    def _start(self, environment: Mapping[str, str]) -> Kernel:
        from workbench.engine_provisioner import start

        kernel = start(self.folder.path / str(next(self.numbers)), environment, self.parent if self.forking else None)
        if kernel.refused and self.forking:
            self.forking = False  # the parent stays: it ends what it forked when it is closed
            self.say(f"kernels are started the ordinary way from now on: {kernel.refused}")
        return kernel


def kernel_source(kind: str, ahead: int = 1, modules: Sequence[str] = (), say: Callable[[str], None] = print) -> KernelSource:
    """Return a source of kernels: "fresh", "warm", or "auto": warm where that is possible, else fresh, and `say` is told why.

    `ahead` kernels wait, started, for their user; `modules` are imported in the parent of warm kernels: what every run imports anyway.
    """
    if kind not in KINDS:
        raise WorkbenchError(f"kernels: {kind!r} is unknown; choose one of {', '.join(KINDS)}")
    if kind == "fresh":
        return FreshKernels(ahead)
    try:
        return WarmKernels(ahead, modules, say)
    except WorkbenchError as error:
        if kind == "warm":
            raise
        say(f"ordinary kernels: {error}")
        return FreshKernels(ahead)


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Give the environment of a kernel; JPY_* are about the kernel that this process may itself be.

    KERNEL_DEFAULTS stand above this process's environment, as in the engine: the kernels started ahead are then those that a run needs.
    """
    here = {name: value for name, value in os.environ.items() if not name.startswith("JPY_")}
    return {**here, **KERNEL_DEFAULTS, **changes}


class _PrivateFolder:
    """Make a folder that only this process uses, and remove those of processes that were killed: their locks are free."""

    def __init__(self) -> None:
        for old in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
            with contextlib.suppress(OSError):  # another process removes it, too
                lock = _lock(old) if time.time() - old.stat().st_mtime > YOUNG_SECONDS else None
                if lock is not None:
                    shutil.rmtree(old, ignore_errors=True)
                    os.close(lock)
        self.path = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
        self.held = _lock(self.path)

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self.held is not None:
            os.close(self.held)
            self.held = None


def _lock(folder: Path) -> int | None:
    """Lock a folder of this user; return the descriptor that holds the lock, or None where it is not to be had."""
    try:
        import fcntl
    except ImportError:  # Windows: no Unix sockets, so a killed process leaves a connection file at most
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # gone meanwhile, or another user's
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another process holds it
        os.close(descriptor)
        return None
    return descriptor
