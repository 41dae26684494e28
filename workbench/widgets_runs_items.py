"""Turn sweeps, runs and scores into rows of a list, with the text that a filter looks at."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workbench.ledger_rows import Entry
from workbench.report import Row
from workbench.sweep_status import SweepStatus
from workbench.widgets_runs_view import error_class, run_facts, score_facts, span_of, sweep_facts

ORDER = {state: place for place, state in enumerate(("running", "failed", "lost", "ok", "queued"))}


@dataclass(frozen=True)
class Item:
    """Hold one row: what it is called inside, its label, a function that returns its facts as HTML, and what else a filter finds."""

    key: str
    label: str
    facts: Callable[[], str]  # called when it is shown: of a thousand rows only a page is
    also: str = ""


def fitting(items: Sequence[Item], text: str) -> list[Item]:
    """Keep the items that hold every word of a text, in any case."""
    wanted = text.casefold().split()
    return [item for item in items if all(word in f"{item.label} {item.key} {item.also}".casefold() for word in wanted)]


def sweep_items(statuses: Sequence[SweepStatus]) -> list[Item]:
    """Return a row for each sweep."""
    return [Item(one.name, one.name, lambda one=one: sweep_facts(one)) for one in statuses]


def run_items(status: SweepStatus | None, state: str = "") -> list[Item]:
    """Return a row for each run, of one state where it is given: first what runs, then what did not end well, then the latest."""
    entries = [entry for entry in (status.entries if status else ()) if state in ("", entry.state)]
    entries.sort(key=lambda entry: (ORDER[entry.state], -entry.updated if entry.state == "ok" else 0))
    now = time.time()

    def item(entry: Entry) -> Item:
        return Item(entry.run_id, entry.label or entry.run_id, lambda: run_facts(entry, now), f"{error_class(entry)} {entry.error}")

    return [item(entry) for entry in entries]


def score_items(rows: Sequence[Row]) -> list[Item]:
    """Return a row for each candidate of a comparison, best first."""
    span = span_of(rows)
    return [Item(row.result.config_id, row.label, lambda row=row: score_facts(row, span)) for row in rows]
