"""Make nbval fail where it would pass without having checked anything (nbval 0.11).

It wraps two private methods of nbval, so nbval is pinned to 0.11 and a test checks that they exist. Copy this file beside your notebooks
to get the same checks. Plain nbval passes, and this fails: a cell marked NBVAL_CHECK_OUTPUT that was never executed, a `raises-exception`
cell that raises nothing, a magic that does not exist. A kernel that dies is seen within seconds, not at the cell's timeout.
"""

import time
from queue import Empty

from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell

POLL_SECONDS = 1


def await_reply(self, msg_id, timeout=None):
    """Wait for a cell's reply, but notice a dead kernel at once, and keep the reply's status."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        try:
            message = self.get_message(stream="shell", timeout=POLL_SECONDS)
        except Empty:
            if not self.is_alive():
                raise RuntimeError("the kernel died (out of memory, os._exit or a crash)") from None
            if deadline is not None and time.monotonic() > deadline:
                raise
            continue
        if message["parent_header"].get("msg_id") == msg_id:
            self.last_status = message["content"]["status"]
            if self.last_status == "aborted":
                raise RuntimeError("the kernel aborted the execution request")
            return


def runtest(self):
    """Run a cell, then check that what it was marked with was really checked."""
    tags = set(self.cell.metadata.get("tags", []))
    marked = "nbval-check-output" in tags or "NBVAL_CHECK_OUTPUT" in self.cell.source
    if marked and (self.cell.execution_count is None or not self.cell.outputs):
        self.raise_cell_error("NBVAL_CHECK_OUTPUT on a cell without stored output: nothing would be compared")
    run_by_nbval(self)
    if self.options["skip"]:
        return
    status = getattr(self.parent.kernel, "last_status", "ok")
    if status == "error" and not self.options["check_exception"]:
        self.raise_cell_error("the cell failed without an error output (a magic that does not exist?)")
    if status == "ok" and self.options["check_exception"]:
        self.raise_cell_error("the cell is tagged raises-exception but raised nothing")


run_by_nbval = IPyNbCell.runtest
RunningKernel.await_reply = await_reply
IPyNbCell.runtest = runtest


def pytest_collectstart(collector):
    """Compare neither stderr nor HTML: both change between machines."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr", "text/html")
