"""Say what a sweep will need before it runs: vectors and answers that the cache has or lacks, and time."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.ledger_read import ABANDONED, read_ledger
from workbench.sweep_done import FRESH, checked
from workbench.sweep_spec import Point
from workbench.sweep_work import count_work


def outlook(folder: Path, points: Sequence[Point], *, fresh: bool = False, retry: bool = False) -> list[str]:
    """Return for each point "done", "failed" (before, and not run again by itself) or "to do"."""
    again = {point.run_id for point in points if fresh}
    given_up: set[str] = set()
    if (folder / "ledger.sqlite").is_file():
        entries = read_ledger(folder / "ledger.sqlite")
        given_up = set() if retry else {entry.run_id for entry in entries if entry.state == "failed"}
        begun = ("queued", "running")
        again |= {entry.run_id for entry in entries if entry.kind == ABANDONED or (entry.kind == FRESH and entry.state in begun)}

    def state(point: Point) -> str:
        if point.run_id not in again and checked(point):
            return "done"
        return "failed" if point.run_id in given_up - again else "to do"

    return list(map(state, points))


def forecast(folder: Path, points: Sequence[Point]) -> Mapping[str, Any]:
    """Return sentences on what these points will need (`count_work` says what is counted); loads no model."""
    if not points:
        return {}
    work = count_work(folder, points)
    told: dict[str, Any] = {"configurations to evaluate": work.configurations}
    passages = [texts for (_, role, _), texts in work.texts.items() if role == "passage"]
    if number := sum(texts.number for texts in passages):
        known = sum(texts.cached for texts in passages)
        told["passages to embed"] = f"{number:,}, of which {known:,} are cached ({known / number:.0%})"
    if answers := sum(prompts.number for prompts in work.prompts.values()):
        told["answers"] = f"{answers:,} at most; those that are cached cost nothing"
    seconds = _seconds(folder)
    told["time"] = "unknown: no run was timed yet; `workbench bench SPEC` works it out from the rates of this machine"
    if seconds:
        told["time"] = f"about {seconds * len(points):.0f} s for one job, from {seconds:.1f} s for a run before"
    return told


def _seconds(folder: Path) -> float:
    """Return the median seconds of this sweep's runs so far, 0 where none was timed."""
    if not (folder / "ledger.sqlite").is_file():
        return 0.0
    timed = [entry.seconds for entry in read_ledger(folder / "ledger.sqlite") if entry.state == "ok" and entry.seconds]
    return statistics.median(timed) if timed else 0.0
