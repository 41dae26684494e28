"""One kernel process for jupyter_client and nbclient: its own folder for sockets, quick to answer, quick to end. Imports jupyter_client."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

import zmq
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelClient, AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner
from jupyter_core.utils import run_sync

from workbench.datatypes import WorkbenchError

if TYPE_CHECKING:
    from workbench.engine_forked import ForkedProcess, ForkParent

PROVISIONER = "workbench"  # the name in the kernel specification below; ordinary kernels never see it
SOCKET_PATH_LIMIT = 103  # bytes of a Unix socket's path: 107 on Linux, 103 on macOS
RECONNECT = 5  # milliseconds between two attempts to reach a kernel that is starting; 100 by default
IDLE_SECONDS = 0.05  # a subscription that comes too late for a kernel's answer is tried again after this time
END_SECONDS = 10.0


class Client(AsyncKernelClient):
    """Talk to a kernel as nbclient does, ready as soon as the kernel answers instead of 0.2 s later."""

    def start_channels(self, shell: bool = True, iopub: bool = True, stdin: bool = True, hb: bool = False, control: bool = True) -> None:
        """Open the channels; without heartbeats: the process tells whether it lives."""
        self.context.setsockopt(zmq.RECONNECT_IVL, RECONNECT)
        super().start_channels(shell, iopub, stdin, hb, control)

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait until the kernel answers on both channels, and set its environment and folder; raise RuntimeError when it does not."""
        deadline = time.monotonic() + (timeout or float("inf"))
        await self._answer(self.kernel_info, deadline)
        preparation = self.parent.preparation
        if preparation:
            reply = await self._answer(lambda: self.execute(preparation, silent=True), deadline)
            if reply["status"] != "ok":
                raise RuntimeError(f"a kernel could not be prepared: {reply.get('ename')}: {reply.get('evalue')}")
            self.parent.preparation = ""  # a second client finds what the first one left

    async def _answer(self, ask: Callable[[], str], deadline: float) -> dict[str, Any]:
        """Ask until the reply and the end of the work on it both arrive: then no output can be missed (the subscription stands)."""
        patience = IDLE_SECONDS
        while True:
            question = ask()
            try:
                while (reply := await self.get_shell_msg(timeout=1))["parent_header"].get("msg_id") != question:
                    pass
                while True:
                    message = await self.get_iopub_msg(timeout=patience)
                    if message["parent_header"].get("msg_id") == question and message["content"].get("execution_state") == "idle":
                        return reply["content"]
            except Empty:
                patience = min(2 * patience, 1.0)
            if not self.parent.running():
                raise RuntimeError("the kernel died before it was ready")
            if time.monotonic() > deadline:
                raise RuntimeError("the kernel did not answer in time")


class Provisioner(LocalProvisioner):
    """Start a kernel in a session of its own: an ordinary process, or forked where there is a parent that forks."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        """Start it; what it prints outside of cells is dropped."""
        parent = self.parent.fork_parent
        if parent is None:
            nowhere = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
            return await super().launch_kernel(cmd, **kwargs, **nowhere)
        try:
            self.process = parent.fork([*cmd[cmd.index("-f") :], f"--IPKernelApp.parent_handle={parent.process.pid}"])
        except WorkbenchError as error:
            self.parent.fork_parent, self.parent.refused = None, str(error)
            return await self.launch_kernel(cmd, **kwargs)
        self.pid = self.process.pid
        return self.connection_info

    async def kill(self, restart: bool = False) -> None:
        """Kill it and wait for its end: at once, not at the next look of a clock."""
        await super().kill(restart)
        deadline = time.monotonic() + END_SECONDS
        while self.process and self.process.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(0.002)

    async def cleanup(self, restart: bool = False) -> None:
        """Remove the kernel's folder: connection file and sockets."""
        await super().cleanup(restart)
        if not restart:
            shutil.rmtree(self.parent.folder, ignore_errors=True)


class OneKernel(KernelSpecManager):
    """Know one kernel: this Python's, whatever is installed elsewhere on this machine."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:  # noqa: ARG002 - the name that jupyter_client gives
        """Return its specification, by any name."""
        record = get_kernel_dict()
        return KernelSpec(**{**record, "metadata": {**record["metadata"], "kernel_provisioner": {"provisioner_name": PROVISIONER}}})


class Kernel(AsyncKernelManager):
    """Manage one kernel as nbclient expects it: `NotebookClient(notebook, km=kernel).execute(cleanup_kc=True)` uses and ends it."""

    def __init__(self, folder: Path, fork_parent: ForkParent | None) -> None:
        short = os.name != "nt" and len(os.fsencode(f"{folder}/s-5")) <= SOCKET_PATH_LIMIT
        # Unix sockets in a folder of its own: no port collides, nothing listens on the network.
        place = {"transport": "ipc", "ip": f"{folder}/s"} if short else {}
        super().__init__(
            kernel_name="python3",
            kernel_spec_manager=OneKernel(),
            client_factory=Client,
            connection_file=str(folder / "kernel.json"),
            **place,
        )
        self.folder = folder
        self.fork_parent = fork_parent
        self.environment: dict[str, str] = {}
        self.preparation = ""
        self.refused = ""

    @property
    def process(self) -> subprocess.Popen[bytes] | ForkedProcess | None:
        """The process, None when it has ended and was cleaned up."""
        return self.provisioner.process if self.provisioner else None

    @property
    def pid(self) -> int | None:
        """The process id, None when it has ended."""
        return self.process.pid if self.process else None

    def client(self, **options: Any) -> Client:
        """Return a client that shares the sockets' context: one to open and close instead of two."""
        return super().client(context=self.context, **options)

    def running(self) -> bool:
        """Tell whether the process lives. From any thread."""
        return self.process is not None and self.process.poll() is None

    def prepare(self, environment: Mapping[str, str], folder: Path) -> None:
        """Have the environment and the folder set before the first cell."""
        changed = {name: value for name, value in environment.items() if self.environment.get(name) != value}
        removed = [name for name in self.environment if name not in environment]
        module = "__import__('os')"  # one expression: a statement would leave a name in the notebook
        steps = [f"{module}.environ.update({changed!r})", *(f"{module}.environ.pop({name!r}, None)" for name in removed)]
        steps += [f"{module}.chdir({str(folder)!r})"]
        if self.fork_parent:
            steps += ["__import__('workbench.engine_fork').engine_fork.use_threads()"]
        self.preparation = f"({', '.join(steps)})"

    def kill(self) -> None:
        """Kill the process and all it started, from any thread; nbclient notices within a second."""
        if self.process and self.running():
            if self.fork_parent:
                self.process.send_signal(signal.SIGKILL)
            else:
                run_sync(self.provisioner.send_signal)(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)

    def end(self) -> None:
        """End the kernel and remove its files."""
        run_sync(self.shutdown_kernel)(now=True)


def start(folder: Path, environment: Mapping[str, str], fork_parent: ForkParent | None = None) -> Kernel:
    """Start a kernel whose sockets are in `folder`: forked, or an ordinary one that says in `refused` why it is not."""
    factory = KernelProvisionerFactory
    factory.provisioners.setdefault(PROVISIONER, EntryPoint(PROVISIONER, f"{__name__}:{Provisioner.__name__}", factory.GROUP_NAME))
    folder.mkdir(mode=0o700)
    kernel = Kernel(folder, fork_parent)
    kernel.environment = dict(environment)
    options = ["--HistoryManager.hist_file=:memory:"]
    try:
        run_sync(kernel.start_kernel)(env=dict(environment), extra_arguments=options)
    except OSError as error:
        raise WorkbenchError(f"a kernel cannot be started: {error}") from None
    return kernel
