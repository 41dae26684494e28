"""Let one process compute what several need: the others compute what is left over, then wait for it.

Before it computes a block of missing values, a process claims their keys in the cache file; while it works, a thread prolongs the claim.
A claim ends when the values are stored, when computing fails, at once when its process is gone, and by age when it does not prolong it.
Nobody holds a claim while waiting, so two that wait for each other cannot occur. A claim saves work and never decides a value:
where one is lost, something is computed twice.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.storage_process import OWNER, gone

if TYPE_CHECKING:
    from workbench.cache import Cache

SCHEMA = """CREATE TABLE IF NOT EXISTS claims (
    key TEXT PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID"""
CLAIM_SECONDS = 60.0  # how long a claim holds that is not prolonged
BEATS = 4  # how often it is prolonged in that time
PAUSES = (0.02, 0.5)  # seconds between two looks at what others compute: the first, the longest
SMALLEST_SHARE = 8  # where others work on the same list, blocks shrink down to this part of a whole one
T = TypeVar("T")


def claimed(
    cache: Cache, missing: Mapping[str, T], at_once: int
) -> contextlib.closing[Iterator[tuple[dict[str, bytes], list[tuple[str, T]]]]]:
    """Give, within a `with`, pairs: values that others stored meanwhile, and a block of keys and items for the caller to compute and store.

    Blocks hold at most so many items, in the order of `missing`, those that another process works on last. Either part may be empty.
    A block's claim ends when the next is asked for, or the `with` is left. Raise WorkbenchError when the cache cannot be used.
    """
    return contextlib.closing(_blocks(cache, missing, at_once))


def _blocks(cache: Cache, missing: Mapping[str, T], at_once: int) -> Iterator[tuple[dict[str, bytes], list[tuple[str, T]]]]:
    waiting, pause = dict(missing), PAUSES[0]
    while waiting:
        try:
            known, mine = cache.claim(waiting, at_once)
            for key in known:
                del waiting[key]
            block = [(key, waiting.pop(key)) for key in mine]
            if block:
                with _prolonged(cache.path, cache.owner):
                    yield known, block
            elif known:
                yield known, block
        finally:
            cache.release()
        if known or block:
            pause = PAUSES[0]
        else:
            time.sleep(pause)
            pause = min(2 * pause, PAUSES[1])


def take(connection: sqlite3.Connection, owner: str, keys: Mapping[str, Any], at_once: int) -> list[str]:
    """Return the keys to work on next, none of them claimed by another, within a transaction; forget the claims of who is gone.

    Where others hold some of the keys, it is half of the rest: what is left at the end is shared, and nobody waits for a whole block.
    """
    others = connection.execute("SELECT DISTINCT owner, until FROM claims WHERE owner IS NOT ?", (owner,)).fetchall()
    ended = [(other,) for other, until in others if not _works(other, until)]
    connection.executemany("DELETE FROM claims WHERE owner IS ?", ended)
    held = {key for (key,) in connection.execute("SELECT key FROM claims WHERE owner IS NOT ?", (owner,)) if key in keys}
    if not held:
        return list(itertools.islice(keys, at_once))
    free = [key for key in keys if key not in held]
    return free[: min(at_once, max(-(-len(free) // 2), -(-at_once // SMALLEST_SHARE)))]


def hold(connection: sqlite3.Connection, owner: str, keys: Sequence[str]) -> None:
    """Claim keys for an owner."""
    until = time.time() + CLAIM_SECONDS
    connection.executemany("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", [(key, owner, until) for key in keys])


def drop(connection: sqlite3.Connection, owner: str) -> None:
    """End the claims of an owner."""
    connection.execute("DELETE FROM claims WHERE owner = ?", (owner,))


@contextlib.contextmanager
def _prolonged(path: Path, owner: str) -> Iterator[None]:
    """Keep the claims of an owner alive within this block, however long it takes."""
    done = threading.Event()
    thread = threading.Thread(target=_beat, args=(path.absolute(), owner, done), name="cache claim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _beat(path: Path, owner: str, done: threading.Event) -> None:
    while not done.wait(CLAIM_SECONDS / BEATS):
        # a beat that fails (busy, damaged, full) costs the claim at worst, which then lapses; mode=rw: never makes a file
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=5, isolation_level=None)) as connection,
        ):
            connection.execute("UPDATE claims SET until = ? WHERE owner = ?", (time.time() + CLAIM_SECONDS, owner))


def _works(owner: Any, until: Any) -> bool:
    """Say whether the owner of a claim may still be at work; what is in a damaged row keeps nobody waiting for long."""
    now = time.time()
    if not isinstance(until, float) or not now < until < now + 2 * CLAIM_SECONDS:  # or a clock was set
        return False
    return isinstance(owner, str) and OWNER.fullmatch(owner) is not None and not gone(owner)
