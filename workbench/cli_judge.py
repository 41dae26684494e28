"""The command `workbench judge`: measure the verdicts in a file of results on labels that people gave."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.datatypes import WorkbenchError

if TYPE_CHECKING:
    from workbench.evaluation import RunResult


def judge(
    result: Annotated[Path, typer.Option("--result", help="File of results with a judge: results.json of a run.")],
    labels: Annotated[Path | None, typer.Option(help="CSV, TSV or JSONL with the columns id and label: correct, partly, wrong.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write the judged answers here, to be labelled; without the verdicts.")] = None,
    config: Annotated[str, typer.Option(help="Config id, where the file holds several results.")] = "",
    seed: Annotated[int | None, typer.Option(help="Seed, where the file holds a configuration with several.")] = None,
) -> None:
    """Measure a judge against labels by people.

    Or write the table to be labelled.
    """
    from workbench.cli_print import shown
    from workbench.judging_labels import calibrate, check_questions, read_labels, write_sheet
    from workbench.report_judge import agreement_lines

    if (labels is None) == (sheet is None):
        raise WorkbenchError("give --labels FILE to compare with labels, or --sheet FILE to write a table to label")
    chosen = _chosen(result, config, seed)
    if sheet is not None:
        typer.echo(f"{write_sheet(sheet, chosen.answers)} answers written to {sheet}; fill in the column label: correct, partly or wrong")
        return
    assert labels is not None
    clusters = dict(zip(chosen.example_ids, chosen.clusters, strict=True))
    given = read_labels(labels)
    if chosen.settings.split == "all" and not chosen.settings.limit:
        check_questions(given, clusters)
    for line in agreement_lines(calibrate(given, chosen.answers, clusters)):
        typer.echo(shown(line))


def _chosen(path: Path, config: str, seed: int | None) -> RunResult:
    """Return the one judged result of a file, or the one named: seeds of one configuration gave other answers, so each stands alone."""
    from workbench.evaluation import load_results
    from workbench.registry import unknown

    judged = [found for found in load_results(path) if found.details.get("judge")]
    configs = dict.fromkeys(found.config_id for found in judged)
    if not judged:
        raise WorkbenchError(f"{path} holds no judged answers; run with --judge openai:MODEL")
    if config and config not in configs:
        raise unknown("config id", config, configs)
    if not config and len(configs) > 1:
        raise WorkbenchError(f"{path} holds several judged results; choose one with --config: {', '.join(configs)}")
    seeds = {found.settings.seed: found for found in judged if not config or found.config_id == config}
    if seed is None and len(seeds) > 1:
        raise WorkbenchError(f"{path} holds this configuration with several seeds; choose one with --seed: {', '.join(map(str, seeds))}")
    if seed is not None and seed not in seeds:
        raise unknown("seed", str(seed), map(str, seeds))
    return next(iter(seeds.values())) if seed is None else seeds[seed]
