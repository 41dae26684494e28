"""Look at the sweeps below a folder while others run them: states from their ledgers, the best results from their last reports.

Nothing here changes, makes or locks a file.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from workbench import storage
from workbench.datatypes import WorkbenchError
from workbench.ledger_read import read_ledger, signature
from workbench.ledger_rows import STATES, Entry

LEDGER, RESULT, NOTEBOOK, BY_HAND = "ledger.sqlite", "result.json", "notebook.ipynb", "by-hand"
STILL = 60.0  # seconds after its last change in which a sweep may yet go on: start its kernels, or write its report


@dataclass(frozen=True)
class SweepStatus:
    """Hold what is known of a sweep's runs at one moment; `problem` says why its ledger cannot be read.

    What a notebook wrote by hand (outputs/NAME/by-hand) counts as a sweep of one run.
    """

    folder: Path
    name: str
    entries: tuple[Entry, ...]
    problem: str = ""

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Return how many runs are in each state."""
        found = Counter(entry.state for entry in self.entries)
        return {state: found[state] for state in STATES}

    @property
    def ended(self) -> int:
        """Return how many runs will not change by themselves any more: ok and failed, and lost while nothing runs."""
        return self.counts["ok"] + self.counts["failed"] + self.counts["lost"]

    @property
    def changed(self) -> float:
        """Return the time of the last change, in seconds since 1970; 0.0 where there is none."""
        return max((entry.updated for entry in self.entries), default=0.0)

    def live(self, now: float | None = None) -> bool:
        """Tell whether something runs, or ended so lately that the sweep may go on."""
        return bool(self.counts["running"]) or abs((time.time() if now is None else now) - self.changed) < STILL

    @property
    def report(self) -> Path | None:
        """Return the report of the last sweep that came to its end, if there is one."""
        return _there(self.folder / "report.html")


@dataclass(frozen=True)
class Best:
    """Hold what the last report of a sweep says of one data set: its best candidate, with the interval of its mean."""

    dataset: str
    label: str
    metric: str
    mean: float
    low: float | None
    high: float | None
    tied: int  # others that cannot be told from it
    candidates: int


class Watch:
    """Read the sweeps below a folder again and again; a ledger that nobody wrote to since, and in which nothing runs, is not read again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[Path, tuple[tuple, SweepStatus]] = {}

    def look(self) -> list[SweepStatus]:
        """Return the sweeps, the one that changed last first; raise WorkbenchError where the folder does not exist."""
        found = [self._status(folder) for folder in sweep_folders(self.folder)]
        return sorted(found, key=lambda status: (-status.changed, status.name))

    def _status(self, folder: Path) -> SweepStatus:
        mark = signature(folder / LEDGER)
        known = self._known.get(folder)
        if known and known[0] == mark != (None, None) and not known[1].counts["running"] and not known[1].problem:
            return known[1]
        self._known[folder] = (mark, sweep_status(folder, self.folder))
        return self._known[folder][1]


def sweep_folders(folder: Path) -> list[Path]:
    """Return the folders of sweeps and of what was run by hand: `folder` itself, or those in it. Raise WorkbenchError where it is none."""
    if not folder.is_dir():
        raise WorkbenchError(f"no such folder: {folder}; give the folder outputs/, or that of a sweep in it")
    own = _folders(folder)
    return own or [found for child in sorted(folder.iterdir()) if child.is_dir() and child.name[0] not in "._" for found in _folders(child)]


def _folders(folder: Path) -> list[Path]:
    swept = [folder] if (folder / LEDGER).exists() or (folder / "runs").is_dir() or (folder / RESULT).is_file() else []
    return swept + ([folder / BY_HAND] if (folder / BY_HAND / RESULT).is_file() else [])


def sweep_status(folder: Path, root: Path | None = None) -> SweepStatus:
    """Return the states of a sweep's runs, from its ledger, else from the folders of its runs; it is named as it lies below `root`."""
    name = folder.relative_to(root).as_posix() if root and root != folder and folder.is_relative_to(root) else folder.name
    if not (folder / LEDGER).exists():
        return SweepStatus(folder, name, tuple(_entries(folder)))
    try:
        return SweepStatus(folder, name, tuple(read_ledger(folder / LEDGER)))
    except WorkbenchError as error:
        return SweepStatus(folder, name, tuple(_entries(folder)), str(error))


def _entries(folder: Path) -> list[Entry]:
    """Tell from the files what ran, where there is no ledger."""
    places = [folder] if (folder / RESULT).is_file() else [path for path in run_folders(folder).values() if (path / RESULT).is_file()]
    return [Entry(run_id(path), path.name, "ok", 0, "", "", "", None, "", (path / RESULT).stat().st_mtime) for path in places]


def run_id(folder: Path) -> str:
    """Return the id of a run: how the name of its folder ends."""
    return folder.name.rpartition("-")[2] if folder.name != BY_HAND else BY_HAND


def run_folders(folder: Path, place: str = "runs") -> dict[str, Path]:
    """Return the folders of a sweep's runs by run id; `place` is "runs", "failed" or "rendered/runs". A run by hand has the sweep's own."""
    if (folder / RESULT).is_file():
        return {run_id(folder): folder}
    names = sorted((folder / place).iterdir()) if (folder / place).is_dir() else []
    return {run_id(path): path for path in names if path.is_dir() and not path.name.startswith(".")}


def executed_notebook(folder: Path, wanted: str) -> Path | None:
    """Return the notebook of a run as it was executed; of a failed run as far as it came. None where there is none, as of direct runs."""
    for place in ("runs", "rendered/runs", "failed"):
        found = run_folders(folder, place).get(wanted)
        if found and (found / NOTEBOOK).is_file():
            return found / NOTEBOOK
    return None


def best_results(folder: Path) -> list[Best]:
    """Return the best candidate of each data set in the last report of a sweep; none where there is no report of this version."""
    try:
        record = storage.read_json(folder / "report.json") if (folder / "report.json").is_file() else {}
        return [best for part in record.get("data_sets", ()) if (best := _best(part))]
    except (WorkbenchError, KeyError, TypeError, ValueError, AttributeError):  # of another version, or damaged: the runs are still shown
        return []


def _best(part: Mapping[str, Any]) -> Best | None:
    rows: Sequence[Mapping[str, Any]] = part.get("leaderboard") or ()
    first = next((row for row in rows if row["best"]), None)
    if first is None or first["score"]["mean"] is None:
        return None
    score, tied = first["score"], sum(bool(row["tied"]) for row in rows) - 1
    return Best(str(part["name"]), str(first["label"]), str(part["metric"]), score["mean"], score["low"], score["high"], tied, len(rows))


def _there(path: Path) -> Path | None:
    return path if path.is_file() else None
