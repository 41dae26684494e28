"""Cut the connection of a streamed request that somebody stops, so that the server ends its work, also while it is silent."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

LOOK_SECONDS = 0.1


@contextlib.contextmanager
def stoppable(client: Any, stop: Callable[[], bool]) -> Iterator[Any]:
    """Yield an openai client with connections of its own, which a thread cuts once `stop()` is true; who reads from one gets an error.

    Closing a connection in another thread would not wake the one that waits for it, so its socket is shut down.
    """
    import openai

    sockets: list[socket.socket] = []
    ended = threading.Event()

    def keep(event: str, info: dict[str, Any]) -> None:
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):  # of a connection, also through a proxy
            sockets.append(info["return_value"].get_extra_info("socket"))

    def watch() -> None:
        while not ended.wait(LOOK_SECONDS):
            if stop():
                for line in sockets:
                    with contextlib.suppress(OSError):  # it is closed already
                        line.shutdown(socket.SHUT_RDWR)

    def follow(request: Any) -> None:
        request.extensions["trace"] = keep

    with openai.DefaultHttpxClient(event_hooks={"request": [follow]}) as http:
        threading.Thread(target=watch, name="stop", daemon=True).start()
        try:
            yield client.with_options(http_client=http)
        finally:
            ended.set()
