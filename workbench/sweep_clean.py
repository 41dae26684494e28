"""Remove what a sweep's folder no longer needs."""

from __future__ import annotations

import re
import shutil
from contextlib import closing
from pathlib import Path

from workbench import storage
from workbench.datatypes import WorkbenchError
from workbench.ledger import Ledger

RUN = re.compile(r"(?:.*-)?([0-9a-f]{12})")  # the name of a run's folder ends in its id


def clean_sweep(folder: Path) -> tuple[int, int]:
    """Remove runs that neither the last report shows nor the last sweep has, failed runs and leftovers; return their number and bytes.

    What failed is tried again by the next sweep. A folder that no sweep named is left alone. Raise WorkbenchError when the folder is no
    sweep's, or when something runs in it.
    """
    record = storage.read_json(folder / "record.json") if (folder / "record.json").is_file() else None
    if not isinstance(record, dict) or not isinstance(record.get("runs"), list):
        raise WorkbenchError(f"{folder} holds no finished sweep (no record.json with its runs); name a folder of outputs/")
    used = {match[1] for name in record["runs"] if (match := RUN.fullmatch(str(name)))}
    if (folder / "ledger.sqlite").is_file():
        with closing(Ledger(folder / "ledger.sqlite")) as ledger:
            entries = ledger.entries()
            running = [entry.label for entry in entries if entry.state == "running"]
            if running:
                say = f"{len(running)} runs are under way ({running[0]}); wait for them, or resume and end the sweep"
                raise WorkbenchError(f"{folder}: {say}")
            ledger.requeue([entry.run_id for entry in entries], ["failed", "lost"])
        used |= {entry.run_id for entry in entries}
    unused = [path for path in _made(folder / "runs") if path.name.startswith(".run-") or RUN.fullmatch(path.name)[1] not in used]
    unused += _made(folder / "failed")
    size = sum(file.stat().st_size for path in unused for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    for path in unused:
        shutil.rmtree(path)
    for file in folder.glob("ledger.sqlite.damaged-*"):
        file.unlink()
    return len(unused), size


def _made(folder: Path) -> list[Path]:
    """Return the folders in it that sweeps made."""
    found = [path for path in sorted(folder.glob("*")) if path.is_dir() and not path.is_symlink()]
    return [path for path in found if path.name.startswith(".run-") or RUN.fullmatch(path.name)]
