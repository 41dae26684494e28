"""Print one result or a leaderboard on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import typer

from workbench.evaluation import RunResult
from workbench.report import Comparison, format_difference, format_interval


def print_result(result: RunResult, latency: Mapping[str, float], errors: Sequence[str]) -> None:
    """Print every metric with its interval, what the audit found, seconds by stage and the cache's part in it."""
    for error in errors:
        typer.echo(f"AUDIT ERROR {error}", err=True)
    shown = result.settings.model_dump()
    typer.echo(
        "  ".join(
            f"{name}={shown[name]}"
            for name in ("dataset", "chunker", "chunk_size", "chunk_overlap", "embedder", "retriever", "index", "top_k")
        )
    )
    data = result.data
    typer.echo(
        f"{data['documents']} documents, {data['questions']} questions ({data['scored']} with evidence, "
        f"{data['unanswerable']} unanswerable), "
        f"{result.details['chunks']} chunks of {result.details['chunk_tokens_mean']} tokens on average ({result.settings.tokenizer})"
    )
    if result.details["top_k_clipped"]:
        typer.echo(f"top_k {result.settings.top_k} was clipped to the {result.details['top_k_clipped']} chunks of the corpus")
    for metric in result.scores:
        interval = result.interval(metric)
        mark = "  <- primary" if metric == result.settings.primary else ""
        lost = f", {result.unscored(metric)} unscored" if result.unscored(metric) else ""
        typer.echo(f"  {metric:<22} {format_interval(interval)}  n {interval.n}{lost}{mark}")
    for check in result.audit:
        if check.level != "ok":
            typer.echo(f"  audit {check.level}: {check.id}: {check.message}")
    typer.echo("  seconds: " + ", ".join(f"{name} {value:.2f}" for name, value in result.timings.items()))
    if latency:
        typer.echo(f"  one question: median {latency['median_ms']:.2f} ms, 95th percentile {latency['p95_ms']:.2f} ms (n {latency['n']})")
    typer.echo("  cache: " + (", ".join(f"{name} {value}" for name, value in result.cache.items()) or "not used"))


def print_leaderboard(name: str, comparison: Comparison) -> None:
    """Print the candidates best first, and the verdict."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{name}: {comparison.metric}, best first", title_justify="left")
    for column in ("configuration", "mean [95 %]", "difference to baseline", "tied", "chunks"):
        table.add_column(column, justify="right" if column == "chunks" else "left", overflow="fold")
    for row in comparison.rows:
        difference = format_difference(row.difference) if row.difference else "baseline"
        title = row.label + (" (control)" if row.control else "")
        table.add_row(title, format_interval(row.interval), difference, "●" if row.tied else "", str(row.result.details["chunks"]))
    console = Console(width=None if sys.stdout.isatty() else 120, markup=False, highlight=False, emoji=False)
    console.print(table)
    console.print(comparison.verdict)
    console.print()
