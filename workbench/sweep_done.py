"""Tell which runs of a sweep are done: their files are the truth, and the ledger is made to agree with them."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from workbench import storage
from workbench.datatypes import WorkbenchError
from workbench.engine_tidy import cleaner
from workbench.evaluation import RunResult, load_results
from workbench.ledger import Ledger
from workbench.sweep_spec import Point

LEFTOVER_SECONDS = 86_400  # of a killed run's temporary folder
FRESH = "fresh"  # the kind of a run that has a result and is run again all the same


def settle(ledger: Ledger, points: Sequence[Point]) -> Collection[str]:
    """Make the ledger agree with the files, which are the truth for values, and return the ids of the runs that are done."""
    clean = cleaner(points[0].folder, {}) if points else str
    ledger.add((point.run_id, clean(point.label)) for point in points)  # a value may be a path of this machine (SC2)
    ledger.forget_others(point.run_id for point in points)
    # the ledger first: another driver puts a result in place before it says ok, so what is ok here has its files below
    known = {entry.run_id: entry for entry in ledger.entries([point.run_id for point in points])}
    if all(entry.state != "running" for entry in known.values()) and points:
        remove_leftovers(points[0].folder.parent)
    again = {name for name, entry in known.items() if entry.state in ("queued", "running") and entry.kind == FRESH}
    sums = {point.run_id: sha256 for point in points if point.run_id not in again and (sha256 := checked(point))}
    ledger.requeue([name for name, entry in known.items() if entry.state == "ok" and name not in sums], ["ok"])
    adopted = [name for name in sums if known[name].state != "ok"]
    ledger.requeue(adopted, ["failed", "lost"])
    if adopted:
        ledger.ok_many((name, sums[name], 0.0) for name in ledger.claim_many(adopted, len(adopted)))
    return sums


def checked(point: Point) -> str:
    """Return the sha256 of the result of a run that ended well, else "": only our own record and an unchanged file count (PM1)."""
    result = point.folder / "result.json"
    try:
        record = storage.read_json(point.folder / "record.json")
        sha256 = storage.sha256_file(result)
    except (WorkbenchError, FileNotFoundError):
        return ""
    return sha256 if isinstance(record, dict) and record.get("run_id") == point.run_id and record.get("result") == sha256 else ""


def finished(point: Point) -> list[RunResult] | None:
    """Return the results of a run that ended well, else None."""
    try:
        return load_results(point.folder / "result.json") if checked(point) else None
    except (WorkbenchError, FileNotFoundError):
        return None


def remove_leftovers(runs: Path) -> None:
    """Remove the temporary folders of killed runs that are more than a day old."""
    for leftover in runs.glob(".run-*"):
        with contextlib.suppress(FileNotFoundError):  # another driver's, which is in place now, or removed
            if time.time() - leftover.stat().st_mtime > LEFTOVER_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)
