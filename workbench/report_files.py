"""Write the files of a sweep: leaderboard.csv (scores only, so equal results give equal bytes), timings.csv, winner.yaml, report.*."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from workbench import metrics
from workbench.evaluation import RunResult
from workbench.report import format_interval
from workbench.report_html import render_html
from workbench.report_json import render_json
from workbench.report_labels import varying
from workbench.report_parts import Report
from workbench.report_shown import Summary, summaries
from workbench.report_text import render_markdown
from workbench.report_winner import Decision
from workbench.storage import write_csv, write_json, write_text

MARK = "# Chosen by "  # how each winner.yaml starts


def leaderboard_rows(results: Sequence[RunResult]) -> tuple[list[str], list[dict[str, Any]]]:
    """Return columns and rows over all data sets: varying settings first, then every metric with its bounds, never a measured time."""
    fields = varying(results) or ["chunker", "chunk_size"]
    columns = dict.fromkeys(["config_id", *fields])
    rows = []
    for (_, _, config_id, _), result, summary in sorted(_placed(results), key=lambda placed: placed[0]):
        row: dict[str, Any] = {"config_id": config_id} | {field: _plain(getattr(result.settings, field)) for field in fields}
        asked = int(result.asked_of(result.settings.primary).sum())
        row |= {"primary": result.settings.primary, "questions": asked, "chunks": result.details.get("chunks")}
        for metric, values in summary.items():
            row |= {
                metric: values["mean"],
                f"{metric}.low": values["low"],
                f"{metric}.high": values["high"],
                f"{metric}.unscored": values["unscored"],
            }
        if result.answers:
            sums = result.details["answers"]
            row |= {name: sums[name] for name in ("answered", "capped", "refused", "prompt_tokens", "completion_tokens")}
            row["failed"] = sum(sums["failed"].values())
        row["audit_errors"] = sum(check.level == "error" for check in result.audit)
        row["data_fingerprint"] = result.data["fingerprint"]
        columns |= dict.fromkeys(row)
        rows.append(row)
    return list(columns), rows


def _placed(results: Sequence[RunResult]) -> Iterator[tuple[tuple[str, float, str, int], RunResult, Summary]]:
    """Give each result with its place and summary: by data set, then best first; without any score on its primary metric it stands last."""
    for result, summary in zip(results, summaries(results), strict=True):
        metrics.check_metric(result.settings.primary, list(summary))
        mean = summary[result.settings.primary]["mean"]
        place = math.inf if mean is None else -mean
        yield (result.settings.dataset, place, result.config_id, result.settings.seed), result, summary


def write_leaderboard(path: Path, results: Sequence[RunResult]) -> Path:
    """Write leaderboard.csv: identical bytes for identical results, since it holds no measured time."""
    columns, rows = leaderboard_rows(results)
    return write_csv(path, columns, rows)


def write_timings(path: Path, results: Sequence[RunResult]) -> Path:
    """Write timings.csv: seconds by stage, what came from the cache, and seconds a question as its answer was first measured."""
    stages = sorted({stage for result in results for stage in result.timings})
    counts = sorted({name for result in results for name in result.cache})
    rows = []
    for result in results:
        row = {"config_id": result.config_id} | dict(result.timings) | {f"cache_{name}": result.cache.get(name) for name in counts}
        rows.append(row | ({"seconds_per_answer": result.details["answers"]["seconds"]} if result.answers else {}))
    answered = ["seconds_per_answer"] * any(result.answers for result in results)
    return write_csv(path, ["config_id", *stages, *(f"cache_{name}" for name in counts), *answered], rows)


def write_winners(folder: Path, decisions: Mapping[str, Decision], title: str, alone: bool) -> list[Path]:
    """Write the settings chosen for each data set: winner.yaml where it is the only one, else winner-NAME.yaml; remove older ones.

    `workbench evaluate --settings FILE` accepts each as it is.
    """
    names: dict[str, Decision] = {}
    for name, decision in decisions.items():
        slug = re.sub(r"[^\w.-]+", "-", re.split(r"[/\\]", name)[-1]).strip("-.")[:60]
        free = (f"winner-{slug}{number}.yaml" for number in ("", *(f"-{count}" for count in range(2, len(decisions) + 1))))
        names["winner.yaml" if alone else next(file for file in free if file not in names)] = decision
    for old in (folder / "winner.yaml", *folder.glob("winner-*.yaml")):
        if old.name not in names and old.is_file() and old.read_bytes().startswith(MARK.encode()):
            old.unlink()
    return [write_text(folder / file, _winner(decision, title)) for file, decision in names.items()]


def _winner(decision: Decision, title: str) -> str:
    result = decision.recommended
    settings, everywhere = result.settings, result.interval(decision.metric)
    score = f"{decision.metric} {format_interval(everywhere)} on all {everywhere.n} questions, not confirmed on others"
    if decision.confirmation:
        row = next(row for row in decision.confirmation.rows if row.result.config_id == settings.config_id)
        score = (
            f"{decision.metric} {format_interval(row.interval)} on the {row.interval.n} questions that did not choose it, "
            f"{format_interval(everywhere)} on all {everywhere.n}"
        )
    if seeds := result.details.get("seeds"):
        score += f"; means over seeds {', '.join(map(str, seeds))}, of which this file has the first"
    label = decision.label if decision.held else f"{decision.baseline_label}, the baseline, because {decision.label} did not hold"
    head = (f"{title} for {settings.dataset}: {label}", score, f"config id {settings.config_id}")
    # a line break in a name would end its comment
    comments = MARK + "\n# ".join("".join(sign if sign.isprintable() else " " for sign in line) for line in head)
    readable = settings.canonical().isprintable()  # unescaped, U+0085 would be read as a line break
    return comments + "\n" + yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=readable, width=1000)


def write_report(folder: Path, record: Report) -> list[Path]:
    """Write the report as report.html, report.md and report.json; equal results give equal bytes."""
    return [
        write_text(folder / "report.html", render_html(record)),
        write_text(folder / "report.md", render_markdown(record)),
        _write_json(folder / "report.json", record),
    ]


def _write_json(path: Path, record: Report) -> Path:
    """Write report.json, of many candidates on one line: indented it would be half as large again, and slow to write."""
    if not any(part.long for part in record.parts):
        return write_json(path, render_json(record))
    text = json.dumps(render_json(record), ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)
    return write_text(path, text + "\n")


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool)) else repr(value)
