"""Claim and finish runs until none is left, as a driver does; tests start several of these programs and kill some.

Arguments: the ledger, a file for notes (one line for each claim and finish), how many runs there are, how many to claim at once.
What the tests of the ledger share stands here too.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.ledger import ENDED, Ledger

RESULT = "0123456789abcdef" * 4


def names(count: int) -> list[str]:
    return [f"run-{number:05d}" for number in range(count)]


@contextmanager
def quick_folder() -> Iterator[Path]:
    """Give a folder in memory where there is one: a disk that others keep busy takes long for thousands of commits."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


class Clock:
    """Give a time that only the test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def opened(path: Path, clock: Clock, most_attempts: int = 3) -> Ledger:
    ledger = Ledger(path, most_attempts=most_attempts, clock=clock)
    ledger.add([("a", "chunker fixed"), ("b", "chunker 문장"), ("c", "")])
    return ledger


def main(path: str, notes: str, count: str, most: str) -> None:
    run_ids = names(int(count))
    ledger = Ledger(Path(path))
    ledger.add((run_id, "") for run_id in run_ids)
    with Path(notes).open("a", encoding="utf-8", buffering=1) as file:
        while True:
            taken = ledger.claim_many(run_ids, int(most))
            file.write("".join(f"claimed {run_id}\n" for run_id in taken))
            time.sleep(0.01)
            for run_id in sorted(ledger.ok_many([(run_id, RESULT, 0.01) for run_id in taken])):
                file.write(f"finished {run_id}\n")
            if not taken and all(entry.state in ENDED for entry in ledger.entries(run_ids)):
                return


if __name__ == "__main__":
    main(*sys.argv[1:])
