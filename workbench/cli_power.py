"""The command line of planning: `workbench power`, which differences questions show and how many a difference needs."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench import cli_options as options
from workbench.datatypes import WorkbenchError

if TYPE_CHECKING:
    from workbench.evaluation import RunResult
    from workbench.report_power import Pair

TEST = ("selection", "confirmation")
# what is planned from: the options that may stand beside it
BESIDE = {
    "result": ("difference", "metric", "baseline"),
    "dataset": ("sd", "icc", "comparisons"),
    "questions": ("groups", "per_group", "sd", "icc", "comparisons"),
    "difference": ("per_group", "sd", "icc", "comparisons"),
}


def power(
    dataset: options.Dataset = None,
    questions: Annotated[int | None, typer.Option(help="Questions that you have, or mean to label.")] = None,
    groups: Annotated[int | None, typer.Option(help="Document groups that --questions come from.")] = None,
    per_group: Annotated[int | None, typer.Option(help="Questions of a document group; 5 when absent.")] = None,
    difference: Annotated[float | None, typer.Option(help="Say how many questions show a difference of so much.")] = None,
    result: Annotated[Path | None, typer.Option(help="result.json or a sweep's output folder: measured variances.")] = None,
    metric: Annotated[str | None, typer.Option(help="Metric of --result; its primary when absent.")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Config id of the baseline of --result; the first that is no control when absent.")
    ] = None,
    sd: Annotated[float | None, typer.Option(help="Assumed standard deviation of the paired difference; 0.35 when absent.")] = None,
    icc: Annotated[float | None, typer.Option(help="Assumed correlation within a document group; 0.1 when absent.")] = None,
    comparisons: Annotated[int | None, typer.Option(help="Comparisons made at once (candidates without the baseline).")] = None,
    as_json: options.JsonOutput = False,
) -> None:
    """Plan which differences questions can show.

    How many to label, and what they show with a power of 80 % at 5 %, two-sided.
    """
    given = {name: value for name, value in locals().items() if name != "as_json" and value is not None}
    from workbench.report_json import plain

    source = next((name for name in BESIDE if name in given), "")
    if not source:
        raise WorkbenchError("say what to plan for: --dataset, --questions, --difference or --result (one of them)")
    for name in given:
        if name not in (source, *BESIDE[source]):
            raise WorkbenchError(
                f"{_option(name)} does not go with {_option(source)}; that takes {', '.join(map(_option, BESIDE[source]))}"
            )
    if groups is not None and per_group is not None:
        raise WorkbenchError("--groups and --per-group say the same of --questions; give one of them")
    for name in ("questions", "groups", "per_group", "comparisons"):
        if name in given and given[name] < 1:
            raise WorkbenchError(f"{_option(name)} must be 1 or more, got {given[name]}")
    if difference is not None and not 0 < difference <= 1:
        raise WorkbenchError(f"--difference must be above 0 and at most 1, got {difference}")
    plan = {"result": _from_results, "dataset": _of_dataset, "questions": _of_questions, "difference": _of_difference}[source]
    record, lines = plan(given)
    typer.echo(json.dumps(plain(record), ensure_ascii=False, indent=1, allow_nan=False) if as_json else "\n".join(lines))


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _assumptions(given: Mapping[str, Any]) -> tuple[dict[str, float], float, list[str]]:
    """Return the assumed sd and icc, the confidence of each comparison, and what to say of them."""
    from workbench import stats_power

    assumed = {"sd": given.get("sd", stats_power.ASSUMED_SD), "icc": given.get("icc", stats_power.ASSUMED_ICC)}
    count = given.get("comparisons", 1)
    lines = [
        f"Assumed, not measured: the paired difference of a question has a standard deviation of {assumed['sd']:g}, and questions of one "
        f"document group correlate by {assumed['icc']:g} (--sd, --icc; --result measures both). Power 80 %, two-sided 5 %."
    ]
    if count > 1:
        lines.append(f"{count} comparisons at once are corrected by Bonferroni; max-T, which reports use, is rarely stricter.")
    return assumed, 1 - (1 - stats_power.CONFIDENCE) / count, lines


def _planned(sizes: list[int], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return questions, groups and the smallest difference shown; NaN where one group tells nothing."""
    from workbench import stats_power

    assumed, confidence, _ = _assumptions(given)
    smallest = stats_power.planned(sizes, **assumed).detectable(confidence=confidence) if len(sizes) > 1 else math.nan
    return {"questions": sum(sizes), "groups": len(sizes), "smallest_difference": smallest}


def _shown(smallest: float) -> str:
    """Write a smallest difference; nothing above 1 can be seen of scores between 0 and 1."""
    return "unknown" if math.isnan(smallest) else "none" if smallest > 1 else f"{smallest:.3f}"


def _rough(groups: int) -> list[str]:
    from workbench.stats import FEW_CLUSTERS

    return [f"Take {FEW_CLUSTERS} document groups or more: with fewer, intervals are rough."] if groups < FEW_CLUSTERS else []


def _of_questions(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Plan for so many questions, spread evenly over document groups."""
    from workbench.stats_power import ASSUMED_PER_GROUP

    questions = given["questions"]
    groups = given.get("groups") or math.ceil(questions / given.get("per_group", ASSUMED_PER_GROUP))
    if not 2 <= groups <= questions:
        raise WorkbenchError(f"{questions} questions in {groups} document groups: take 2 groups or more, with a question each or more")
    plan = _planned([questions // groups + (place < questions % groups) for place in range(groups)], given)
    assumed, _, notes = _assumptions(given)
    smallest = plan["smallest_difference"]
    seen = f"differences of about {smallest:.3f} or more" if smallest <= 1 else "no difference between scores of 0 to 1"
    words = f"{questions:,} questions in {groups:,} document groups show {seen}."
    return plan | {"assumed": assumed}, [words, *_rough(groups), *notes]


def _of_difference(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Plan for a difference: how many questions, from how many document groups."""
    from workbench import stats_power
    from workbench.report_power import rounded

    assumed, confidence, notes = _assumptions(given)
    size = given.get("per_group", stats_power.ASSUMED_PER_GROUP)
    needed = stats_power.questions_needed(stats_power.planned([size] * 12, **assumed), given["difference"], confidence=confidence)
    record = {"difference": given["difference"], "questions": needed.questions, "groups": needed.groups, "per_group": size}
    if needed.groups == math.inf:
        words = f"No number of questions that anybody labels shows a difference of {given['difference']:g}."
        return record | {"assumed": assumed}, [words, *notes]
    words = f"A difference of {given['difference']:g} needs about {rounded(needed.questions)} questions from about "
    words += f"{rounded(needed.groups)} document groups with {size} each."
    return record | {"assumed": assumed}, [words, *_rough(int(needed.groups)), *notes]


def _of_dataset(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Plan for the parts of a data set's split: its questions with evidence, all where none has any."""
    from workbench import data

    loaded = data.load(given["dataset"])
    assumed, _, notes = _assumptions(given)
    labels = data.clusters(loaded)
    gold = any(example.evidence for example in loaded.examples)
    parts: dict[str, list[str]] = {}
    try:
        divided = data.split(loaded)
    except WorkbenchError as problem:
        notes.append(f"No parts: {problem}.")
    else:
        parts = {name: [labels[one.id] for one in part.examples if one.evidence or not gold] for name, part in divided.items()}
        parts["test"] = [label for name in TEST for label in parts[name]]
    parts["all"] = [labels[one.id] for one in loaded.examples if one.evidence or not gold]
    plans = {name: _planned(list(Counter(found).values()), given) for name, found in parts.items()}
    head = f"{'part':<14}{'questions':>10}{'groups':>8}{'smallest difference shown':>28}"
    rows = [
        f"{name:<14}{plan['questions']:>10,}{plan['groups']:>8,}{_shown(plan['smallest_difference']):>28}" for name, plan in plans.items()
    ]
    counted = ["Counted are questions with evidence; answers are scored on 100 of them unless `answers` says otherwise."] * gold
    return {"dataset": loaded.name, "parts": plans, "assumed": assumed}, [head, *rows, *counted, *notes]


def _from_results(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Plan from measured differences, for each data set of the results."""
    from workbench import report, report_pairs
    from workbench.cli_print import shown

    results = report_pairs.distinct(str(given["result"]), report_pairs.load_any(given["result"]))
    wanted = given.get("baseline")
    if wanted is not None and wanted not in {result.config_id for result in results}:
        raise WorkbenchError(f"no result has the config id {wanted!r}: {', '.join(sorted({result.config_id for result in results}))}")
    records, lines = [], []
    for name, members in report.by_dataset(results).items():
        record, said = _measured(name, members, given)
        records.append(record)
        lines += [*([""] if lines else []), *map(shown, said)]
    return {"datasets": records}, lines


def _measured(name: str, results: list[RunResult], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    from workbench import report, report_effects, report_power, stats_power

    merged = report_effects.merge_seeds(results)
    base = given.get("baseline")
    known = base in {result.config_id for result in merged}
    comparison = report.compare(merged, given.get("metric"), base if known else None)
    usual, sentences = report_power.typical(comparison), report_power.power_sentences(comparison)
    record: dict[str, Any] = {"name": name, "metric": comparison.metric, "baseline": comparison.baseline}
    record |= {"questions": comparison.questions, "groups": comparison.clusters, "sentences": sentences, "pairs": []}
    lines = [f"{name}: {comparison.metric}, {comparison.questions:,} questions in {comparison.clusters:,} document groups"]
    if usual is None:
        return record, [*lines, "No difference between two candidates varies from question to question, so nothing can be planned from it."]
    lines += [f"Against the baseline {comparison.baseline}; smallest difference shown where two are compared, and where all are at once:"]
    lines.append(f"{'difference':>11}{'sd':>8}{'icc':>8}{'two':>8}{'all':>8}  configuration")
    for pair in report_power.pairs(comparison):
        lines.append(_line(pair))
        record["pairs"].append(
            {
                "configuration": pair.row.label,
                "config_id": pair.row.result.config_id,
                "difference": pair.pilot.difference,
                "sd": pair.pilot.sd,
                "icc": pair.pilot.icc,
                "smallest_difference": pair.single,
                "smallest_difference_together": pair.together,
            }
        )
    if "difference" in given:
        needed = stats_power.questions_needed(usual.pilot, given["difference"])
        record["needed"] = {"difference": given["difference"], "questions": needed.questions, "groups": needed.groups}
        record["needed"] |= {"same_documents": needed.same_documents}
        sentences = [_needed(given["difference"], needed.questions, needed.groups) + report_power.same_documents(needed)]
    return record, [*lines, *sentences]


def _line(pair: Pair) -> str:
    icc = "–" if math.isnan(pair.pilot.icc) else f"{pair.pilot.icc:.2f}"
    figures = f"{pair.pilot.difference:>+11.3f}{pair.pilot.sd:>8.3f}{icc:>8}{_shown(pair.single):>8}{_shown(pair.together):>8}"
    return f"{figures}  {pair.row.label}"


def _needed(difference: float, questions: float, groups: float) -> str:
    from workbench.report_power import rounded

    if questions == math.inf:
        return f"No number of questions that anybody labels shows a difference of {difference:g}."
    return (
        f"To show a difference of {difference:g} between two candidates alone takes about {rounded(questions)} questions from about "
        f"{rounded(groups)} document groups of the same kind, counting those there are."
    )
