"""Compare what the finished runs of a sweep scored, while others still run; each result is read once.

Numbers come from `report.compare` alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workbench import report, report_pairs, storage
from workbench.data import load
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.pipeline import preprocess
from workbench.report import Comparison, Row
from workbench.report_effects import merge_seeds
from workbench.report_pairs import Candidate, Pair
from workbench.sweep_status import RESULT, SweepStatus, run_folders


@dataclass(frozen=True)
class Scored:
    """Hold the candidates of one data set compared on their primary metric, best first; without a comparison `problem` says why."""

    name: str
    results: Sequence[RunResult]  # several seeds of a configuration merged
    comparison: Comparison | None
    runs: Mapping[str, tuple[str, ...]]  # run ids by config id
    problem: str = ""

    def row(self, config_id: str) -> Row:
        """Return the row of a configuration; raise WorkbenchError where there is none."""
        for row in self.comparison.rows if self.comparison else ():
            if row.result.config_id == config_id:
                return row
        raise WorkbenchError(f"{self.name}: no configuration {config_id!r} was compared")


class Results:
    """Keep the results of one sweep's finished runs, without the texts of their answers and cases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: dict[str, str] = {}  # by run id
        self._read: dict[str, tuple[tuple, list[RunResult]]] = {}
        self._report: tuple = ()  # it names the baselines

    def update(self, status: SweepStatus, told: Callable[[int, int], object] | None = None) -> bool:
        """Read what ended well since, and forget what is no run of the sweep any more; return whether anything changed, the report too.

        `told` is given how many of how many new files were read. A file that cannot be read is named in `problems`.
        """
        folders = run_folders(self.folder)
        wanted = {entry.run_id: folders[entry.run_id] for entry in status.entries if entry.state == "ok" and entry.run_id in folders}
        marks = {name: _mark(folder / RESULT) for name, folder in wanted.items()}
        gone = [name for name in (*self._read, *self.problems) if name not in wanted]
        for name in gone:
            self._read.pop(name, None)
            self.problems.pop(name, None)
        new = [name for name in wanted if self._read.get(name, ((),))[0] != marks[name]]
        for number, name in enumerate(new):
            if told:
                told(number, len(new))
            try:
                self._read[name] = (marks[name], [_slim(result) for result in report_pairs.load_any(wanted[name])])
                self.problems.pop(name, None)
            except WorkbenchError as error:
                self._read[name] = (marks[name], [])
                self.problems[name] = str(error)
        report, self._report = self._report, _mark(self.folder / "report.json")
        return bool(new or gone) or report != self._report

    def scored(self) -> list[Scored]:
        """Compare the results of each data set; the baseline is that of the last report."""
        runs: dict[tuple[str, str], list[str]] = {}
        for name, (_, results) in self._read.items():
            for result in results:
                runs.setdefault((result.data["fingerprint"], result.config_id), []).append(name)
        found = report_pairs.distinct(str(self.folder.name), [result for _, results in self._read.values() for result in results])
        declared = baselines(self.folder)
        scored = []
        for name, members in report.by_dataset(found).items():
            of = {result.config_id: tuple(dict.fromkeys(runs[result.data["fingerprint"], result.config_id])) for result in members}
            try:
                merged = merge_seeds(members)
                base = next((result.config_id for result in merged if result.config_id in declared), None)
                comparison = report.compare(merged, baseline=base)
                problem = "" if comparison.questions else comparison.verdict
                scored.append(Scored(name, merged, comparison if comparison.questions else None, of, problem))
            except WorkbenchError as error:
                scored.append(Scored(name, members, None, of, str(error)))
        return scored

    def in_full(self, scored: Scored, config_id: str) -> Candidate:
        """Return a candidate with the answers and cases of its first run, which are read again."""
        row = scored.row(config_id)
        folders = run_folders(self.folder)
        for run_id in scored.runs[config_id]:
            for result in report_pairs.load_any(folders[run_id]) if run_id in folders else ():
                if (result.config_id, result.data["fingerprint"]) == (config_id, row.result.data["fingerprint"]):
                    full = replace(row.result, answers=result.answers, cases=result.cases, failures=result.failures, causes=result.causes)
                    return Candidate(full, (run_id,), row.label)
        raise WorkbenchError(f"{row.label}: its result is not there any more; refresh")

    def pair(self, scored: Scored, left: str, right: str) -> Pair:
        """Compare two configurations question by question, on the questions that both were asked and scored.

        The texts of questions that no record holds come from the data set, where it is still the same.
        """
        if left == right:
            raise WorkbenchError("both sides are the same configuration; choose two")
        one, other = self.in_full(scored, left), self.in_full(scored, right)
        pair = report_pairs.pair(one, other, scored.comparison.metric if scored.comparison else "")
        if all(change.question for change in pair.changes):
            return pair
        texts = question_texts(one.result, {change.id: change.question for change in pair.changes if change.question})
        changes = tuple(replace(change, question=change.question or texts.get(change.id, "")) for change in pair.changes)
        return replace(pair, changes=changes)


def baselines(folder: Path) -> set[str]:
    """Return the config ids of the baselines in the last report of a sweep; none where there is no report of this version."""
    try:
        record = storage.read_json(folder / "report.json") if (folder / "report.json").is_file() else {}
        return {str(row["config_id"]) for part in record.get("data_sets", ()) for row in part["leaderboard"] if row["difference"] is None}
    except (WorkbenchError, KeyError, TypeError, AttributeError):
        return set()


def question_texts(result: RunResult, known: Mapping[str, str]) -> dict[str, str]:
    """Return the questions of a result by id, read from its data set; none where that is gone or is not what was evaluated any more."""
    settings = result.settings
    try:
        dataset = load(settings.dataset)
    except (WorkbenchError, OSError):
        return {}
    texts = {example.id: preprocess(example).question for example in dataset.examples}
    whole = settings.split == "all" and not settings.limit
    same = all(texts.get(id) == text for id, text in known.items()) and texts.keys() >= set(result.example_ids)
    return texts if same and (not whole or dataset.fingerprint == result.data["fingerprint"]) else {}


def _mark(path: Path) -> tuple:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _slim(result: RunResult) -> RunResult:
    """Leave out what only a look at single questions needs: of a thousand runs it would fill the memory."""
    return replace(result, answers=tuple({"id": answer["id"]} for answer in result.answers), failures=(), cases=())
