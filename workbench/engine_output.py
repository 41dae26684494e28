"""Cap what a cell prints while it streams in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from workbench.engine_limits import FLOOD

CUT = "\n… cut"
# A cell that prints in a tight loop leaves ipykernel's sending thread no turn: gigabytes pile up in the kernel before anything is sent.
# So whoever printed a million characters waits until they are sent. Sent as text: the kernel's Python may be another one.
SEND_AS_PRINTED = """
def _send_as_printed():
    import sys
    from ipykernel.iostream import OutStream
    def wrap(stream):
        write, waiting = stream.write, 0
        def counted(text):
            nonlocal waiting
            written = write(text)
            waiting += len(text)
            if waiting > 1_000_000:
                waiting = 0
                stream.flush()
            return written
        stream.write = counted
    def before_a_cell():
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, OutStream):
                wrap(stream)
    get_ipython().events.register("pre_execute", before_a_cell)  # after the cell IPython puts the stream's own method back
_send_as_printed()
del _send_as_printed
"""
LEAST = 100  # characters that an output counts as at least: what its record in the notebook takes


class OutputCap:
    """Cut the stored output of each cell at `limit` characters; call `flood` once a cell has printed more than 20 times that."""

    def __init__(self, limit: int, flood: Callable[[], None]) -> None:
        self.limit = limit
        self.flood = flood
        self.cell = -1
        self.printed = self.stored = 0
        self.full = False

    def admit(self, kind: str, content: dict[str, Any], cell: int, empty: bool) -> bool:
        """Shorten a message's content in place; return whether it is to be stored. `empty`: the cell holds no output (any more)."""
        if cell != self.cell:
            self.cell, self.printed = cell, 0
        if empty:
            self.stored, self.full = 0, False
        if kind == "error":  # never dropped; a cell may show many
            content["evalue"] = self._short(content["evalue"])
            content["traceback"] = [self._short("\n".join(content["traceback"]))]
            self._print(len(content["evalue"]) + len(content["traceback"][0]))
            return True
        if kind == "stream":
            size = len(content["text"])
        elif kind in ("display_data", "execute_result", "update_display_data"):
            size = sum(len(item) if isinstance(item, str) else len(json.dumps(item)) for item in content["data"].values())
        else:
            return True
        room = self.limit - self.stored
        if kind == "update_display_data":  # takes the place of another: neither more to store nor a flood
            return size <= max(room, LEAST)
        self._print(size)
        if self.full:
            return False
        self.stored += max(size, LEAST)
        self.full = self.stored > self.limit
        if self.full and kind == "stream":
            content["text"] = content["text"][:room] + CUT
        elif self.full:
            content["data"], content["metadata"] = {"text/plain": CUT.strip()}, {}
        return True

    def _print(self, size: int) -> None:
        self.printed += size
        if self.printed > FLOOD * self.limit:
            self.flood()

    def _short(self, text: str) -> str:
        return text if len(text) <= self.limit else text[: self.limit] + CUT
