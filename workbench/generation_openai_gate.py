"""Decide which requests to a server go out."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from workbench.endpoint import EndpointError, NotAskedError

FAILURES_IN_A_ROW = 5  # conversations, then the rest is not asked


class Gate:
    """Decide before each attempt whether it may go out: by budgets of calls and seconds, and by how the last conversations went."""

    def __init__(self, part: str, max_calls: int, max_seconds: float) -> None:
        self._part = part
        self.works = False
        self._max_calls, self._calls = max_calls, 0
        self._max_seconds, self._seconds, self._since = max_seconds, 0.0, 0.0
        self._failures = 0
        self._closed = ""
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Let requests out within this block, even if the last block ended in failures, and count its seconds."""
        self._closed, self._since = "", time.monotonic()
        left = "interrupted"  # unless it ends by itself: nothing still waiting in a thread shall be tried again
        try:
            yield
            left = self._closed
        finally:
            self._closed = left
            self._seconds += time.monotonic() - self._since

    def permit(self) -> str:
        """Count an attempt and return "", or return why none may be made."""
        with self._lock:
            if self._closed:
                return self._closed
            if self._max_calls and self._calls >= self._max_calls:
                return f"the budget of {self._max_calls} calls ({self._part}.max_calls) is spent"
            if self._max_seconds and self._seconds + time.monotonic() - self._since >= self._max_seconds:
                return f"the budget of {self._max_seconds:g} seconds ({self._part}.max_seconds) is spent"
            self._calls += 1
            return ""

    def worked(self) -> None:
        with self._lock:
            self.works, self._failures = True, 0

    def failed(self, error: EndpointError) -> None:
        """Close the gate after an error that all would meet, or too many in a row; one not asked, or at fault itself, tells nothing."""
        if isinstance(error, NotAskedError) or error.own:
            return
        with self._lock:
            self.works, self._failures = False, self._failures + 1
            if error.hopeless:
                self._closed = self._closed or f"every conversation would fail like this: {error}"
            elif self._failures >= FAILURES_IN_A_ROW:
                self._closed = self._closed or f"{FAILURES_IN_A_ROW} conversations in a row failed, the last: {error}"
