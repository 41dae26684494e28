"""Do something again and again in a thread, as long as it is worth it."""

from __future__ import annotations

import threading
from collections.abc import Callable

POLL = 1.0  # seconds


class Repeat:
    """Call `work` at once and then every POLL seconds, until it returns False; then call `ended`. `start` begins anew, or hurries it.

    An error ends the thread and is told by Python's hook for threads; `work` shows it first.
    """

    def __init__(self, work: Callable[[], bool], ended: Callable[[], object]) -> None:
        self._work, self._ended = work, ended
        self._thread: threading.Thread | None = None
        self._asked = False
        self._lock = threading.Lock()
        self._wake = threading.Event()

    @property
    def running(self) -> bool:
        """Tell whether it goes on."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Have the work done now, and repeated."""
        with self._lock:
            self._asked = True
            self._wake.set()
            if not self.running:
                self._thread = threading.Thread(target=self._run, name="run browser", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._wake.clear()
            again = self._work()
            with self._lock:
                if not (again or self._asked):
                    self._thread = None
                    break
                self._asked = False
            self._wake.wait(POLL if again else 0)
        self._ended()
