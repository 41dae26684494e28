"""Write report.json: what report.html shows, for programs; equal results give equal bytes, and no local folder stands in it.

Measured times are left out, but for those in the sentences of a verdict that rests on them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workbench import stats
from workbench.audit_catalogue import EXPLANATIONS
from workbench.diagnosis import CAUSES
from workbench.evaluation import Check, RunResult
from workbench.report import Comparison, Row
from workbench.report_costs import COSTS, cost_per_1000
from workbench.report_diagnosis import counts
from workbench.report_labels import varying
from workbench.report_parts import Part, Report, commit
from workbench.report_shown import Summary, summaries
from workbench.report_svg import FOLDERS, UNSHOWABLE
from workbench.report_tables import LEVELS
from workbench.report_winner import Decision
from workbench.report_words import asked_groups

SCHEMA = 1
DIGITS = 6
TIMED = ("ms a query",)  # costs that are measured times


def render_json(record: Report) -> dict[str, Any]:
    """Return the whole report as plain JSON values."""
    return plain(
        {
            "schema": SCHEMA,
            "title": record.title,
            "command": record.command,
            "commit": commit(),
            "versions": record.versions,
            "data_sets": [_data_set(part, record.prices) for part in record.parts],
            "failed": [{"point": run["point"], "error": run["error"]} for run in record.failed],
        }
    )


def plain(value: Any) -> Any:
    """Return JSON values: numbers to 6 digits, NaN and infinities as None, texts without local folders and signs that cannot be shown."""
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return round(value, DIGITS) + 0.0 if math.isfinite(value) else None  # + 0.0 makes -0.0 to 0.0
    if isinstance(value, Mapping):
        return {plain(str(name)): plain(item) for name, item in value.items()}
    return [plain(item) for item in value]


@functools.lru_cache(maxsize=10_000)
def _text(value: str) -> str:
    return UNSHOWABLE.sub("\N{REPLACEMENT CHARACTER}", FOLDERS.sub("…/", value))


def _data_set(part: Part, prices: Mapping[str, float] | None) -> dict[str, Any]:
    first, comparison = part.results[0], part.comparison
    settings = first.settings
    facts = {"split": settings.split, "limit": settings.limit, "seed": settings.seed, "tokenizer": settings.tokenizer}
    diagnosed = [result for result in part.results if result.causes]
    found = {
        "name": part.name,
        "facts": dict(first.data) | facts | {"groups_asked": asked_groups(first), "questions_asked": len(first.example_ids)},
        "metric": comparison.metric if comparison else settings.primary,
        "verdict": comparison.verdict if comparison else "",
        "problem": part.problem if part.decision is None else "",
        "decision": decision_record(part.decision) if part.decision else None,
        "leaderboard": leaderboard(comparison, prices) if comparison else [],
        "effects": [
            {"setting": effect.field, "value": effect.value, "reference": effect.reference, "reverses": effect.reverses}
            | {"combinations": effect.blocks, "difference": difference(effect.interval)}
            for effect in part.effects
        ],
        "diagnosis": counts(diagnosed),
        "causes": CAUSES if diagnosed else {},
        "audit": audit(part.results),
    }
    return _abridged(found, part) if part.long else found


def leaderboard(comparison: Comparison, prices: Mapping[str, float] | None = None) -> list[dict[str, Any]]:
    """Return the candidates, best first, with every metric, the difference to the baseline, marks, costs and settings."""
    found = summaries([row.result for row in comparison.rows])
    return [_row(row, summary, prices) for row, summary in zip(comparison.rows, found, strict=True)]


def _abridged(found: dict[str, Any], part: Part) -> dict[str, Any]:
    """Return a data set of many candidates without what is the same in each row of its leaderboard."""
    fields = varying(part.results)
    for row in found["leaderboard"]:
        row["settings"] = {field: row["settings"][field] for field in fields}
        row["metrics"] = {
            metric: {name: value for name, value in one.items() if one["unscored"] or name not in ("n", "unscored")}
            for metric, one in row["metrics"].items()
        }
    shared = {field: value for field, value in part.results[0].settings.model_dump(mode="json").items() if field not in fields}
    words = "a row has the settings that vary, the others stand in shared_settings; a metric has n and unscored where unscored is not 0"
    return found | {"abridged": words, "shared_settings": shared}


def _row(row: Row, summary: Summary, prices: Mapping[str, float] | None) -> dict[str, Any]:
    result = row.result
    answers = result.details.get("answers") or {}
    costs = {name: cost.value(result) for name, cost in COSTS.items() if name not in TIMED}
    return {
        "config_id": result.config_id,
        "seed": result.settings.seed,
        "label": row.label,
        "best": row.best,
        "tied": row.tied,
        "control": row.control,
        "score": score(row.interval),
        "difference": difference(row.difference),
        "metrics": summary,
        "costs": costs | {"money for 1,000 questions": cost_per_1000(result, prices)["money"]},
        "answers": {name: answers[name] for name in ("answered", "failed", "capped", "refused") if name in answers},
        "settings": result.settings.model_dump(mode="json"),
    }


def score(interval: stats.Interval) -> dict[str, Any]:
    """Return a mean with its bounds and sample."""
    return {"mean": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n, "groups": interval.clusters}


def difference(interval: stats.Interval | None) -> dict[str, Any] | None:
    """Return a difference with its bounds, sample and p; None where there is nothing to subtract."""
    return None if interval is None else score(interval) | {"p": interval.p}


def decision_record(decision: Decision) -> dict[str, Any]:
    """Return what to use, and what it scores on the questions that chose it and on others."""
    views: dict[str, Any] = {"selection": None, "confirmation": None}
    for name, view in (("selection", decision.selection), ("confirmation", decision.confirmation)):
        if view:
            row = next(row for row in view.rows if row.result.config_id == decision.chosen.config_id)
            views[name] = {"score": score(row.interval), "difference": difference(row.difference)}
    return {
        "metric": decision.metric,
        "chosen": {"config_id": decision.chosen.config_id, "label": decision.label},
        "held": decision.held,
        "recommended": decision.recommended.config_id,
        "settings": decision.recommended.settings.model_dump(mode="json"),
        "baseline": {"config_id": decision.baseline.config_id, "label": decision.baseline_label},
        **views,
        "shrinkage": score(decision.shrinkage) if decision.shrinkage else None,
        "verdict": decision.verdict,
        "problem": decision.problem,
    }


def audit(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """Return each check once, the worst first: its level and message at worst, what it means, and the configurations not ok."""
    found: dict[str, list[tuple[RunResult, Check]]] = {}
    for result in results:
        for check in result.audit:
            found.setdefault(check.id, []).append((result, check))
    rows = []
    for name, seen in found.items():
        worst = max((check for _, check in seen), key=lambda check: LEVELS.index(check.level))
        concerned = [result.config_id for result, check in seen if check.level != "ok"]
        meaning = EXPLANATIONS[name].meaning if name in EXPLANATIONS else ""
        counted = {"ok": len(seen) - len(concerned), "of": len(seen), "not_ok": concerned}
        rows.append({"id": name, "level": worst.level, "message": worst.message, "meaning": meaning} | counted)
    return sorted(rows, key=lambda row: -LEVELS.index(row["level"]))
