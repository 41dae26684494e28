"""Write the tables of a sweep: leaderboard.csv (scores only, so equal results give equal bytes) and timings.csv."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench.evaluation import RunResult
from workbench.report_labels import varying
from workbench.storage import write_csv


def leaderboard_rows(results: Sequence[RunResult]) -> tuple[list[str], list[dict[str, Any]]]:
    """Return columns and rows over all data sets: varying settings first, then every metric with its bounds, never a measured time."""
    fields = varying(results) or ["chunker", "chunk_size"]
    columns = ["config_id", *fields]
    rows = []
    for result in sorted(results, key=_place):
        row: dict[str, Any] = {"config_id": result.config_id} | {field: _plain(getattr(result.settings, field)) for field in fields}
        asked = int(result.asked_of(result.settings.primary).sum())
        row |= {"primary": result.settings.primary, "questions": asked, "chunks": result.details.get("chunks")}
        for metric, summary in result.summary().items():
            row |= {
                metric: summary["mean"],
                f"{metric}.low": summary["low"],
                f"{metric}.high": summary["high"],
                f"{metric}.unscored": summary["unscored"],
            }
        if result.answers:
            sums = result.details["answers"]
            row |= {name: sums[name] for name in ("answered", "capped", "refused", "prompt_tokens", "completion_tokens")}
            row["failed"] = sum(sums["failed"].values())
        row["audit_errors"] = sum(check.level == "error" for check in result.audit)
        row["data_fingerprint"] = result.data["fingerprint"]
        columns += [name for name in row if name not in columns]
        rows.append(row)
    return columns, rows


def _place(result: RunResult) -> tuple[str, float, str, int]:
    """Sort by data set, then best first; a result without any score on its primary metric stands last."""
    interval = result.interval(result.settings.primary)
    return result.settings.dataset, -interval.mean if interval.n else math.inf, result.config_id, result.settings.seed


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


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool)) else repr(value)
