"""Run the cells of one notebook in one kernel, watched, and write down in the notebook what really happened. Imports papermill."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import NoSuchKernel
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode, ValidationError
from nbformat.v4 import new_output
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NotebookExecutionManager
from papermill.iorw import write_ipynb

from workbench.datatypes import WorkbenchError
from workbench.engine_limits import SAMPLE_SECONDS, STATES, Ended, Watch
from workbench.engine_output import CUT, SEND_AS_PRINTED, OutputCap
from workbench.engine_tidy import plain, tidy

if TYPE_CHECKING:
    from workbench.engine_kernels import KernelSource

SOCKET_PATH_LIMIT = 103  # bytes of a Unix socket's path: 107 on Linux, 103 on macOS
ERROR_LIMIT = 20_000  # characters
SHOWN = {  # the name of the error that stands in the cell where the kernel itself could tell nothing
    "exited": "EarlyExit",
    "timeout": "TimeLimit",
    "memory": "MemoryLimit",
    "flood": "OutputLimit",
    "died": "KernelDied",
    "interrupted": "Interrupted",
}


class Notes(NotebookExecutionManager):
    """Keep the notebook's own account of a run. It is saved tidied: at the start, then every 30 s (PM17), and at the end."""

    def __init__(self, notebook: NotebookNode, clean: Callable[[str], str], **options: Any) -> None:
        super().__init__(notebook, **options)
        self.clean = clean

    def save(self, **_: Any) -> None:
        """Save when the last time is long ago; papermill calls this before and after each cell."""
        if self.autosave_cell_every and (self.now() - self.last_save_time).total_seconds() >= self.autosave_cell_every:
            self.write()

    def write(self) -> NotebookNode:
        """Save now; return the notebook as saved."""
        notebook = tidy(self.nb, self.clean)
        if self.output_path:
            write_ipynb(notebook, self.output_path)
        self.last_save_time = self.now()
        return notebook

    def finish(self, ended: Ended, last: int | None) -> NotebookNode:
        """Write down how the run ended; `last` is the index of the last cell that was started. Cells that never ran stay pending (PM1)."""
        self.end_time = self.now()
        record = self.nb.metadata.papermill
        record.update(end_time=self.end_time.isoformat(), duration=(self.end_time - self.start_time).total_seconds())
        self.nb.metadata["workbench"] = {"state": ended.state, "kind": ended.kind}
        if ended.kind:
            record["exception"] = True
            if last is None:
                self.nb.metadata.workbench["error"] = ended.error
            else:
                cell = self.nb.cells[last]
                if ended.kind in SHOWN:
                    cell.outputs.append(new_output("error", ename=SHOWN[ended.kind], evalue=ended.error, traceback=[ended.error]))
                self.cell_exception(cell)
                self.cell_complete(cell)
        self.cleanup_pbar()
        return self.write()


class Client(PapermillNotebookClient):
    """Talk to the kernel as papermill does, with capped output."""

    def __init__(self, notes: Notes, watch: Watch, **options: Any) -> None:
        super().__init__(notes, **options)
        self.cap = OutputCap(watch.limits.output_characters, lambda: watch.end("flood"))

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """Take one message of the kernel, cut when the cell has printed enough."""
        empty = not cell.outputs or self.clear_before_next_output
        if not self.cap.admit(msg["msg_type"], msg["content"], cell_index, empty):
            return None
        return super().process_message(msg, cell, cell_index)


class Run:
    """Execute a notebook once: its cells in a thread of their own, its limits watched by the caller's."""

    def __init__(
        self,
        notes: Notes,
        watch: Watch,
        kernel_name: str,
        environment: Mapping[str, str],
        folder: Path,
        kernels: KernelSource | None,
        options: dict[str, Any],
    ) -> None:
        self.notes = notes
        self.watch = watch
        self.kernel_name = kernel_name
        self.environment = environment
        self.folder = folder  # in which the kernel works
        self.kernels = kernels
        self.start_timeout = options.pop("start_timeout", 60)
        self.options = options  # of nbclient
        self.client: Client | None = None
        self.kernel: AsyncKernelManager | None = None
        self.sockets: str | None = None  # the folder of a kernel started here
        self.last: int | None = None  # index of the last cell that was started
        self.kind, self.error = "died", "the kernel could not be started"
        self.closing = False

    def execute(self) -> None:
        """Run the cells; return when they ended or were ended, and no process is left."""
        self.watch.sample()
        if self.watch.kind:  # stopped before it began
            return
        try:
            if self.kernels is not None:
                self.kernel = self.kernels.take(self.environment, self.folder)
        except (OSError, RuntimeError, WorkbenchError) as problem:
            self.error += f": {problem}"
            return
        with ThreadPoolExecutor(1, thread_name_prefix="notebook") as worker:
            work = worker.submit(lambda: asyncio.run(self._work()))  # a thread without a running event loop, also inside of a notebook
            try:
                while wait([work], SAMPLE_SECONDS).not_done:
                    self.watch.sample()
            finally:
                if not work.done():  # Ctrl-C
                    self.watch.end("interrupted")
        work.result()

    def ended(self) -> Ended:
        """Return how it ended."""
        kind, error = self.kind, self.error
        if kind and self.watch.kind:
            kind, error = self.watch.kind, self.watch.reason(self.last)
        state = STATES.get(kind, "failed")
        error = plain(error, self.notes.clean)
        if len(error) > ERROR_LIMIT:
            error = f"{error[: ERROR_LIMIT // 2]}{CUT}\n{error[-ERROR_LIMIT // 2 :]}"
        return Ended(state, kind, error, self.watch.seconds, -(-self.watch.peak // 2**20))

    async def _work(self) -> None:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()

        def cancel() -> None:
            if not self.closing:
                task.cancel()

        def give_up() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended in this moment
                loop.call_soon_threadsafe(cancel)

        self.watch.give_up = give_up
        try:
            if not self.watch.kind and await self._start():
                await self._cells()
        except asyncio.CancelledError:  # by give_up: the watch knows why
            pass
        finally:
            self.closing = True
            await self._close()

    async def _start(self) -> bool:
        """Get a kernel that answers; return whether there is one."""
        try:
            if self.kernel is None:
                await self._start_own()
            self.watch.follow(self.kernel.provisioner.pid)
            self.client = Client(self.notes, self.watch, km=self.kernel, kernel_name=self.kernel_name, **self.options)
            self.client.kc = channels = self.kernel.client()
            channels.start_channels()
            await channels.wait_for_ready(timeout=self.start_timeout)
            channels.allow_stdin = False
            language = (await self._answer(channels.kernel_info()))["language_info"]
            if language["name"] == "python":
                await self._answer(channels.execute(SEND_AS_PRINTED, silent=True, store_history=False))
        except (OSError, RuntimeError, NoSuchKernel) as problem:
            self.error += f": {problem}{self._last_words()}"
            return False
        self.notes.nb.metadata["language_info"] = language
        self.error = ""
        return True

    async def _answer(self, question: str) -> dict[str, Any]:
        """Return the kernel's reply to a message; raise RuntimeError when it dies, or does not reply in time."""
        deadline = time.monotonic() + self.start_timeout
        while time.monotonic() < deadline:
            with contextlib.suppress(Empty):
                reply = await self.client.kc.get_shell_msg(timeout=0.5)
                if reply["parent_header"].get("msg_id") == question:
                    return reply["content"]
            if not await self.client.kc.is_alive():
                raise RuntimeError("Kernel died before it was ready")
        raise RuntimeError(f"Kernel did not answer in {self.start_timeout} seconds")

    async def _start_own(self) -> None:
        """Start a kernel with connection file and sockets in a private folder: no port collides, nothing listens on the network (KS4)."""
        self.sockets = tempfile.mkdtemp(prefix="kernel-")
        short = os.name != "nt" and len(os.fsencode(f"{self.sockets}/s-5")) <= SOCKET_PATH_LIMIT
        place = {"transport": "ipc", "ip": f"{self.sockets}/s"} if short else {}
        self.kernel = AsyncKernelManager(kernel_name=self.kernel_name, connection_file=f"{self.sockets}/kernel.json", **place)
        _ = self.kernel.kernel_spec  # raises NoSuchKernel before anything is started
        arguments = ["--HistoryManager.hist_file=:memory:"] if self.kernel.ipykernel else []
        with open(f"{self.sockets}/stderr", "wb") as errors:
            await self.kernel.start_kernel(
                env={**os.environ, **self.environment}, cwd=str(self.folder), extra_arguments=arguments, stdout=errors, stderr=errors
            )

    def _last_words(self) -> str:
        """Return the last line that a kernel started here printed outside of cells."""
        errors = Path(self.sockets or "", "stderr")
        lines = errors.read_text("utf-8", "replace").splitlines() if self.sockets and errors.is_file() else []
        return next((f" ({line.strip()})" for line in reversed(lines) if line.strip()), "")

    async def _cells(self) -> None:
        self.client.reset_execution_trackers()
        self.client.on_cell_executed = self._executed
        cells = self.notes.nb.cells
        try:
            for index, cell in enumerate(cells):
                self.last = index
                self.notes.cell_start(cell, index)
                await self.client.async_execute_cell(cell, index)
                self.notes.cell_complete(cell, index)
                if self.kind == "exited":
                    return
        except CellExecutionError as problem:
            shown = [output.traceback for output in cell.outputs if output.output_type == "error"]  # cut; the exception's own text is not
            self.kind, self.error = "raised", "\n".join(shown[-1]) if shown else f"{problem.ename}: {problem.evalue}"
            if problem.ename == "SystemExit":
                self.kind, self.error = "exited", f"SystemExit was raised and {self._never()} code cells never ran (sys.exit in a cell?)"
        except DeadKernelError:
            code = await self.kernel.provisioner.poll()
            self.error = "Kernel died"
            if code is not None and code >= 0:  # not by a signal
                self.kind = "exited"
                self.error = f"the kernel ended itself with code {code} and {self._never()} code cells never ran (exit in a cell?)"
        except CellTimeoutError as problem:
            self.kind, self.error = "timeout", str(problem).split("\n", 1)[0]
        except ValidationError as problem:  # of nbformat, for one that the cell made itself: display({"text/plain": 5}, raw=True)
            self.kind, self.error = "raised", f"an output of cell {self.last + 1} cannot stand in a notebook: {problem.message:.200}"
            cells[self.last].outputs.append(new_output("error", ename="BadOutput", evalue=self.error, traceback=[self.error]))
        else:
            self.kind = ""

    def _executed(self, execute_reply: Mapping[str, Any], **_: Any) -> None:
        """Note exit() and quit(): the kernel answers well, and ends itself a moment later (PM2)."""
        asked = any(item.get("source") == "ask_exit" for item in execute_reply["content"].get("payload", []))
        if asked and self._never():
            self.kind, self.error = "exited", f"the kernel was asked to exit and {self._never()} code cells never ran (exit in a cell?)"

    def _never(self) -> int:
        return sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in self.notes.nb.cells[self.last + 1 :])

    async def _close(self) -> None:
        """End the kernel with every process it started, and remove connection file and sockets."""
        self.watch.close()
        if self.client is not None and self.client.kc is not None:
            self.client.kc.stop_channels()
            self.client.kc.context.destroy(linger=0)
        if self.kernel is not None:
            await self.kernel.shutdown_kernel(now=True)
        if self.sockets is not None:
            shutil.rmtree(self.sockets, ignore_errors=True)
