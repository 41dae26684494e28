"""Fork kernels: the program of a process that has imported what notebooks import and has computed nothing (Linux).

Started as `python -m workbench.engine_fork MODULE...` in the folder that holds the package. Reads requests from stdin and writes events to
stdout, one JSON object a line:

- `{"fork": number, "arguments": [...]}` forks a kernel; `{"forked": number, "pid": ...}` follows, or `{"refused": why, "number": number}`;
- `{"signal": number, "value": 9}` signals that kernel's process group, while the kernel lives;
- `{"ended": number, "status": ...}`: the kernel ended; the status is as in subprocess (-9: killed by signal 9).

The first event is `{"ready": true}` or `{"refused": why}`. When stdin ends (the driver is done, or was killed), all kernels are killed.
A process with threads must not be forked (a lock that another thread holds stays locked for ever), so every fork counts threads first.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

KERNEL_MODULES = (  # what an ipykernel imports until its first cell has run
    *(
        "ipykernel.kernelapp",
        "ipykernel.ipkernel",
        "ipykernel.zmqshell",
        "ipykernel.debugger",
        "ipykernel_launcher",
        "IPython.core.debugger",
    ),
    *("IPython.core.completerlib", "IPython.extensions.storemagic", "tornado.platform.asyncio", "sqlite3", "faulthandler"),
    "workbench.engine_fork",  # use_threads, as a kernel calls it
)
AT_IMPORT = {
    "OPENBLAS_NUM_THREADS": "1",  # it starts its threads when it is loaded; kernels get theirs by use_threads
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # as ipykernel sets it before a notebook can import matplotlib
}
LOOK_ROUND = 1.0  # seconds between two looks at whether the driver still lives; its end closes stdin, unless a child of it holds the pipe


def use_threads() -> None:
    """Give the numerical libraries the threads that the environment names: they read it when they were loaded, in the parent."""
    if "numpy" not in sys.modules:
        return
    environment = dict(os.environ)
    from threadpoolctl import threadpool_limits

    for name in os.environ.keys() - environment.keys():  # that import sets KMP_DUPLICATE_LIB_OK
        del os.environ[name]
    named = os.environ.get("OMP_NUM_THREADS", "")
    blas = os.environ.get("OPENBLAS_NUM_THREADS", named)
    threadpool_limits(int(blas) if blas.isdigit() else len(os.sched_getaffinity(0)), "blas")
    if named.isdigit():
        threadpool_limits(int(named), "openmp")
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(int(named))


def load(modules: Sequence[str]) -> str:
    """Import the modules; return "" or why kernels cannot be forked from here."""
    before = {name: os.environ.get(name) for name in AT_IMPORT}
    os.environ.update({name: value for name, value in AT_IMPORT.items() if name == "OPENBLAS_NUM_THREADS" or name not in os.environ})
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            return f"{module} cannot be imported: {error}"
        if threads() != 1:
            return f"the import of {module} started a thread"
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    gc.collect()
    gc.freeze()  # a collection in a kernel must not touch, and so copy, the pages of the parent
    return ""


def threads() -> int:
    """Count the threads of this process."""
    return len(os.listdir("/proc/self/task"))


class Parent:
    """Hold the kernels and the two pipes to the driver."""

    def __init__(self, requests: int, events: int) -> None:
        self.requests = requests
        self.events = events
        self.driver = os.getppid()
        self.unread = b""
        self.kernels: dict[int, tuple[int, int]] = {}  # number -> process id, descriptor of the process
        self.selector = selectors.DefaultSelector()
        self.selector.register(requests, selectors.EVENT_READ)

    def tell(self, **event: Any) -> None:
        """Write one event to the driver."""
        os.write(self.events, json.dumps(event).encode() + b"\n")  # shorter than a pipe's atomic 4096 bytes

    def serve(self) -> list[str] | None:
        """Answer requests until the driver ends; return None then, and in a kernel the arguments it was forked with."""
        while os.getppid() == self.driver:
            for key, _ in self.selector.select(LOOK_ROUND):
                if key.data is not None:
                    self.bury(key.data)
                    continue
                data = os.read(self.requests, 1 << 16)
                if not data:
                    return None
                *lines, self.unread = (self.unread + data).split(b"\n")
                for line in lines:
                    arguments = self.answer(json.loads(line))
                    if arguments is not None:
                        return arguments
        return None

    def answer(self, request: dict[str, Any]) -> list[str] | None:
        """Do what the driver asks; return the arguments in a new kernel, else None."""
        if "signal" in request:
            if request["signal"] in self.kernels:
                self.signal(request["signal"], request["value"])
            return None
        number = request["fork"]
        try:
            pid, refused = self.fork(number)
        except OSError as error:  # too little memory, too many processes or open files; the kernels that run go on
            pid, refused = -1, f"no kernel can be forked: {error}"
        if pid == 0:
            self.leave()
            return request["arguments"]
        if refused:
            self.tell(refused=refused, number=number)
        else:
            self.tell(forked=number, pid=pid)
        return None

    def fork(self, number: int) -> tuple[int, str]:
        """Fork a kernel; return its process id (0 in the kernel itself) and "", or -1 and why not. Raises OSError."""
        if threads() != 1:
            return -1, f"the process that forks kernels has {threads()} threads"
        pid = os.fork()
        if pid:
            try:
                descriptor = os.pidfd_open(pid)
                self.selector.register(descriptor, selectors.EVENT_READ, number)
            except OSError:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise
            self.kernels[number] = (pid, descriptor)
        return pid, ""

    def signal(self, number: int, value: int) -> None:
        """Signal a kernel and what it started; its process id is its own until it is buried."""
        pid = self.kernels[number][0]
        try:
            os.killpg(pid, value)
        except ProcessLookupError:  # forked, but not yet the leader of its group
            os.kill(pid, value)

    def bury(self, number: int) -> None:
        """Kill what a dead kernel left running, and report how it ended."""
        self.signal(number, signal.SIGKILL)
        pid, descriptor = self.kernels.pop(number)
        self.selector.unregister(descriptor)
        os.close(descriptor)
        self.tell(ended=number, status=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    def leave(self) -> None:
        """Let go, in a new kernel, of everything that is the parent's."""
        os.setsid()
        self.selector.close()
        for descriptor in (self.requests, self.events, *(descriptor for _, descriptor in self.kernels.values())):
            os.close(descriptor)

    def kill(self) -> None:
        """Kill all kernels."""
        for number in self.kernels:
            self.signal(number, signal.SIGKILL)


def become_kernel(arguments: list[str]) -> None:
    """Run an ordinary kernel in this process until it ends."""
    import ipykernel_launcher
    from ipykernel.kernelapp import IPKernelApp

    if "numpy.random" in sys.modules:  # the module random reseeds itself after a fork; these two do not
        sys.modules["numpy.random"].seed()
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.seed()
    sys.argv = [ipykernel_launcher.__file__, *arguments]
    os.environ["JPY_PARENT_PID"] = str(os.getppid())
    IPKernelApp.launch_instance(arguments)


def main() -> None:
    """Fork kernels for the driver until it ends."""
    if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent.parent:
        del sys.path[0]  # put there by "-m"; a kernel's own modules are in its own folder
    parent = Parent(os.dup(0), os.dup(1))
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # what an import prints is no event, and a kernel's input is empty
        os.dup2(null, standard)
    os.close(null)
    refused = load([*KERNEL_MODULES, *sys.argv[1:]])
    if refused:
        parent.tell(refused=refused)
        return
    parent.tell(ready=True)
    try:
        arguments = parent.serve()
    except BrokenPipeError:  # the driver was killed between two of our events
        arguments = None
    if arguments is None:
        parent.kill()
    else:
        become_kernel(arguments)


if __name__ == "__main__":
    main()
