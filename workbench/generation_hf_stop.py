"""Stop a model in the middle of its work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class StoppedError(Exception):
    """Leave a model that somebody stopped."""


@contextmanager
def stoppable(model: Any, stop: Callable[[], bool]) -> Iterator[None]:
    """Let every module of a model raise StoppedError once `stop()` is true: a long prompt ends within a layer, an answer within a token.

    Only what runs in this thread ends; others may use the model meanwhile.
    """
    here = threading.get_ident()

    def check(_module: Any, _inputs: Any) -> None:
        if threading.get_ident() == here and stop():
            raise StoppedError

    hooks = [module.register_forward_pre_hook(check) for module in model.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
