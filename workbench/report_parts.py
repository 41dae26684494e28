"""Gather what a report shows, in whatever form it is written: each data set compared and decided, failed runs, and how to reproduce it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from workbench import report
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.registry import unknown
from workbench.report import Comparison
from workbench.report_effects import Effect, left_out, main_effects, merge_seeds
from workbench.report_ties import MOST_PAIRED
from workbench.report_winner import Decision, decide


@dataclass(frozen=True)
class Part:
    """Hold one data set of the report; without a comparison, `problem` says why there is none."""

    anchor: str
    name: str
    results: list[RunResult]
    comparison: Comparison | None
    decision: Decision | None = None
    problem: str = ""
    runs: Sequence[RunResult] = ()  # before the seeds of a configuration became one result

    @property
    def language(self) -> str:
        """Return the lang attribute of texts from this data set."""
        found = str(self.results[0].data.get("language", ""))
        return f' lang="{found}"' if re.fullmatch("[a-z]{2,3}", found) else ""

    @property
    def long(self) -> bool:
        """Tell whether there are more candidates than pairs are tested of."""
        return len(self.results) > MOST_PAIRED

    @cached_property
    def effects(self) -> list[Effect]:
        """Return the main effects of the settings that vary; none where the candidates are not compared."""
        if self.comparison is None or self.comparison.lost > report.MAX_LOST:
            return []
        baseline = next(row.result.config_id for row in self.comparison.rows if row.difference is None)
        return main_effects(self.results, self.comparison.metric, baseline=baseline)

    @cached_property
    def left_out(self) -> list[str]:
        """Return the settings that vary and have no main effect, since no combination of the others has every value."""
        return left_out(self.results, self.comparison.metric) if self.comparison and self.effects else []


@dataclass(frozen=True)
class Report:
    """Hold what each form of a report shows; `failed` has "point" and "error" of each run without a result."""

    title: str
    parts: tuple[Part, ...]
    command: str = ""
    failed: Sequence[Mapping[str, Any]] = ()
    prices: Mapping[str, float] | None = None

    @property
    def counts(self) -> str:
        """Say how many configurations were compared on which data."""
        words = [f"{len(part.results)} configuration{'s' * (len(part.results) != 1)} on {part.name}" for part in self.parts]
        return "; ".join(words) or "No run has a result"

    @property
    def versions(self) -> dict[str, list[str]]:
        """Return the versions of packages that the results were computed with."""
        found: dict[str, set[str]] = {}
        for part in self.parts:
            for result in part.results:
                for package, version in result.versions.items():
                    found.setdefault(package, set()).add(version)
        return {package: sorted(seen) for package, seen in found.items()}


def gather(
    results: Sequence[RunResult],
    title: str,
    command: str = "",
    baseline: Mapping[str, str] | None = None,
    failed: Sequence[Mapping[str, Any]] = (),
    prices: Mapping[str, float] | None = None,
) -> Report:
    """Compare and decide each data set; several seeds of a configuration become one candidate.

    `baseline` gives the config id of the baseline for names of `report.by_dataset`; `prices` are those of `report_winner.decide`.
    Raise WorkbenchError when there is nothing to report or a baseline does not exist.
    """
    if not results and not failed:
        raise WorkbenchError("nothing to report: no results and no failed runs")
    baseline = baseline or {}
    groups = report.by_dataset(results)
    for name, config_id in baseline.items():
        if name not in groups:
            raise unknown("data set of a baseline", name, groups)
        ids = [result.config_id for result in groups[name]]
        if config_id not in ids:
            raise unknown(f"baseline of {name}:", config_id, ids)
    parts = []
    for number, (name, members) in enumerate(groups.items(), start=1):
        part = Part(f"data-{number}", name, members, None, runs=members)
        try:
            part = replace(part, results=merge_seeds(members))
            comparison = _compared(part.results, baseline.get(name), prices)
            part = replace(part, comparison=comparison if comparison.questions else None, problem=comparison.verdict)
            if errors := report.audit_errors(members):
                raise WorkbenchError(f"an audit check failed: {errors[0]}")
            part = replace(part, decision=decide(part.results, baseline=baseline.get(name), prices=prices))
        except WorkbenchError as error:
            part = replace(part, problem=str(error))
        parts.append(part)
    return Report(title, tuple(parts), command, failed, prices)


def _compared(results: Sequence[RunResult], baseline: str | None, prices: Mapping[str, float] | None) -> Comparison:
    """Compare candidates; where one lacks a cost that has a price, without prices, since only the decision needs them."""
    try:
        return report.compare(results, baseline=baseline, prices=prices)
    except WorkbenchError:
        if not prices:
            raise
        return report.compare(results, baseline=baseline)


def commit(checkout: Path | None = None) -> str:
    """Return the commit of the workbench's checkout, or "" where it is none; reads files of .git and starts no program.

    Changes that are not committed do not show in it.
    """
    git = (checkout or Path(__file__).resolve().parent.parent) / ".git"
    if git.is_file():  # a worktree, whose branches lie in the repository it belongs to
        git = git.parent / _line(git).removeprefix("gitdir: ")
    head = _line(git / "HEAD")
    name = re.fullmatch(r"ref: (refs/[\w./-]+)", head)
    if name and ".." not in name[1]:
        shared = git / (_line(git / "commondir") or ".")
        packed = re.search(rf"^([0-9a-f]+) {re.escape(name[1])}$", _text(shared / "packed-refs"), re.MULTILINE)
        head = _line(git / name[1]) or _line(shared / name[1]) or (packed[1] if packed else "")
    return head if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", head) else ""


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _line(path: Path) -> str:
    return _text(path).partition("\n")[0].strip()
