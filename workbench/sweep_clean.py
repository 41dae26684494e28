"""Remove what a sweep's folder no longer needs."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

from workbench import storage
from workbench.datatypes import WorkbenchError
from workbench.ledger import Ledger


def clean_sweep(folder: Path) -> tuple[int, int]:
    """Remove runs that the last report does not show, failed runs and leftovers; return the number of folders and their bytes.

    The ledger is made anew by the next sweep, so what failed is tried again then. Raise WorkbenchError when the folder is no sweep's, or
    when something runs in it.
    """
    record = storage.read_json(folder / "record.json") if (folder / "record.json").is_file() else None
    if not isinstance(record, dict) or not isinstance(record.get("runs"), list):
        raise WorkbenchError(f"{folder} holds no finished sweep (no record.json with its runs); name a folder of outputs/")
    ledger = folder / "ledger.sqlite"
    if ledger.is_file():
        with closing(Ledger(ledger)) as states:
            running = [entry.label for entry in states.entries() if entry.state == "running"]
        if running:
            raise WorkbenchError(f"{folder}: {len(running)} runs are under way ({running[0]}); wait for them, or resume and end the sweep")
    used = {str(name) for name in record["runs"]}
    unused = [path for path in sorted((folder / "runs").glob("*")) if path.is_dir() and not path.is_symlink() and path.name not in used]
    unused += [path for path in sorted((folder / "failed").glob("*")) if path.is_dir() and not path.is_symlink()]
    size = sum(file.stat().st_size for path in unused for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    for path in unused:
        shutil.rmtree(path)
    for file in folder.glob("ledger.sqlite*"):
        file.unlink()
    return len(unused), size
