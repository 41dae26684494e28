"""Show the traceback of an error that is not about the input, at the cost of nothing where there is none."""

from __future__ import annotations

from types import TracebackType
from typing import Any


class CrashBox:
    """Run a callback inside `with`: an unexpected error is shown in the Output widget `output`, and goes away when all is well again.

    `Output.capture` does the same, but sends four messages on each call, which a slider feels.
    """

    def __init__(self) -> None:
        import ipywidgets

        self.output: Any = ipywidgets.Output()
        self._crashed = False

    def __enter__(self) -> None:
        if self._crashed:
            self.output.clear_output()
            self._crashed = False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        self._crashed = True
        with self.output:  # shows what is raised in it, and ends it
            raise error
        return True
