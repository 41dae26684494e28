"""The command line: `workbench evaluate | sweep | data | models | cache`.

Exit codes: 0 ok · 1 done with losses or failed runs · 2 wrong use or input · 3 an audit check failed · 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.datatypes import WorkbenchError

OK, LOSSES, USAGE, AUDIT, INTERRUPTED = 0, 1, 2, 3, 130

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
data_app = typer.Typer(no_args_is_help=True, help="Check your data, or write a template to fill in.")
models_app = typer.Typer(no_args_is_help=True, help="List, fetch and describe models.")
cache_app = typer.Typer(no_args_is_help=True, help="Look at and clean the cache.")
app.add_typer(data_app, name="data")
app.add_typer(models_app, name="models")
app.add_typer(cache_app, name="cache")

AllowDownload = Annotated[bool, typer.Option("--allow-download", help="Fetch an absent model from the model hub.")]
JsonOutput = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; errors of the user's input end with one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    try:
        app(list(arguments) if arguments is not None else None)
    except WorkbenchError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(USAGE)
    except OSError as error:
        typer.echo(f"error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", err=True)
        sys.exit(USAGE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


@app.command()
def evaluate(
    dataset: Annotated[
        str | None, typer.Option(help="demo-en, demo-ko, squad:FILE, squad-article:FILE, beir:DIR, jsonl:DIR, table:FILE, folder:DIR")
    ] = None,
    chunker: Annotated[str | None, typer.Option(help="whole, fixed, sentence, recursive, markdown")] = None,
    chunk_size: Annotated[int | None, typer.Option(help="Tokens of the measuring tokenizer.")] = None,
    chunk_overlap: Annotated[int | None, typer.Option(help="Tokens that neighbours share.")] = None,
    header: Annotated[str | None, typer.Option(help="What is indexed in front of each chunk: auto, title, none.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Measuring tokenizer: a model's name or 'simple'.")] = None,
    embedder: Annotated[str | None, typer.Option(help="auto, hash, st:MODEL, openai:MODEL")] = None,
    retriever: Annotated[
        str | None, typer.Option(help="dense, bm25, bm25:english, bm25:hangul-bigram, bm25:kiwi, bm25:word, hybrid, random")
    ] = None,
    index: Annotated[str | None, typer.Option(help="exact, flat, hnsw")] = None,
    top_k: Annotated[int | None, typer.Option(help="Hits of the fixed-k metrics.")] = None,
    budget: Annotated[list[int] | None, typer.Option(help="Context budget in tokens; repeat for several.")] = None,
    filter: Annotated[str | None, typer.Option(help="Metadata that hits must share with the question: title, or title:VALUE.")] = None,
    split: Annotated[str | None, typer.Option(help="all, train, selection, confirmation")] = None,
    limit: Annotated[int | None, typer.Option(help="Sample so many questions (seeded); documents stay.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every draw.")] = None,
    primary: Annotated[str | None, typer.Option(help="Metric that decides, e.g. evidence_recall@512t or ndcg@10.")] = None,
    option: Annotated[list[str] | None, typer.Option("--set", help="Knob of a part: index.ef=64. Repeat for several.")] = None,
    settings_file: Annotated[Path | None, typer.Option("--settings", help="YAML file of settings; options given here win.")] = None,
    latency: Annotated[bool, typer.Option("--latency", help="Also measure milliseconds a question, unbatched, nothing cached.")] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Compute everything anew and store nothing.")] = False,
    allow_download: AllowDownload = False,
    as_json: JsonOutput = False,
) -> None:
    """Evaluate one configuration: all metrics with intervals, and the audit."""
    from workbench import experiment, report
    from workbench.settings import Settings, parse_settings
    from workbench.storage import read_yaml

    given = locals()
    values: dict[str, Any] = _mapping(read_yaml(settings_file), settings_file) if settings_file else {}
    values |= {name: given[name] for name in Settings.model_fields if given.get(name) is not None}
    if budget:
        values["budgets"] = tuple(budget)
    if option:
        values["options"] = _merge_options(values.get("options", {}), option)
    settings = parse_settings(values)
    result = experiment.run(settings, cached=not no_cache, allow_download=allow_download)
    timings = dict(result.timings)
    if latency:
        timings |= experiment.probe_latency(settings, allow_download=allow_download)
    errors = report.audit_errors([result])
    if as_json:
        record = result.to_json() | {"metrics": result.summary(), "timings": {name: round(value, 4) for name, value in timings.items()}}
        for bulky in ("scores", "examples", "clusters", "failures"):
            del record[bulky]
        typer.echo(json.dumps(record, ensure_ascii=False, indent=1))
    else:
        _print_result(result, timings, errors)
    raise typer.Exit(AUDIT if errors else LOSSES if result.data["losses"] else OK)


def _mapping(record: Any, path: Path) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise WorkbenchError(f"{path} must hold settings as 'name: value' lines")
    return {str(name): tuple(value) if name == "budgets" and isinstance(value, list) else value for name, value in record.items()}


def _merge_options(options: dict[str, Any], given: Sequence[str]) -> dict[str, Any]:
    """Add "part.name=value" texts to an options mapping; values are read as JSON where they are JSON."""
    merged = {part: dict(knobs) for part, knobs in options.items()}
    for text in given:
        path, equals, value = text.partition("=")
        part, dot, name = path.partition(".")
        if not (equals and dot and part and name):
            raise WorkbenchError(f"--set {text!r} must read part.name=value, for example index.ef=64")
        try:
            merged.setdefault(part, {})[name] = json.loads(value)
        except json.JSONDecodeError:
            merged.setdefault(part, {})[name] = value
    return merged


def _print_result(result: Any, timings: dict[str, float], errors: Sequence[str]) -> None:
    from workbench.report import format_interval

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
    typer.echo("  seconds: " + ", ".join(f"{name} {value:.2f}" for name, value in timings.items()))
    typer.echo("  cache: " + (", ".join(f"{name} {value}" for name, value in result.cache.items()) or "not used"))


@app.command()
def sweep(
    spec: Annotated[Path, typer.Argument(help="params/NAME.sweep.yaml")],
    fresh: Annotated[bool, typer.Option("--fresh", help="Run every point again; the cache is still used.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and list the points; run nothing.")] = False,
) -> None:
    """Run a notebook for every point of a sweep by papermill, and write leaderboard.csv, timings.csv and report.html."""
    from workbench import report, sweep

    if dry_run:
        folder, points = sweep.plan(spec)
        for point in points:
            typer.echo(f"{point.run_id}  {'done' if sweep.finished(point) else 'to do'}  {point.label}")
        typer.echo(f"{len(points)} points, results go to {_relative(folder)}")
        return
    outcome = sweep.run_sweep(spec, fresh=fresh, say=typer.echo)
    errors = report.audit_errors(outcome.results)
    for name, results in report.by_dataset(outcome.results).items():
        _print_leaderboard(name, report.compare(results, baseline=outcome.baselines[name]))
    for failure in outcome.failed:
        typer.echo(f"FAILED {failure['point']}", err=True)
    for error in errors:
        typer.echo(f"AUDIT ERROR {error}", err=True)
    typer.echo(f"{outcome.executed} runs executed, {outcome.skipped} done before, {len(outcome.failed)} failed")
    if outcome.results:
        typer.echo(str(_relative(outcome.folder / "report.html")))
    raise typer.Exit(AUDIT if errors else LOSSES if outcome.failed else OK)


def _print_leaderboard(name: str, comparison: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    from workbench.report import format_difference, format_interval

    table = Table(title=f"{name}: {comparison.metric}, best first", title_justify="left")
    for column in ("configuration", "mean [95 %]", "difference to baseline", "tied", "chunks"):
        table.add_column(column, justify="right" if column == "chunks" else "left", overflow="fold")
    for row in comparison.rows:
        difference = format_difference(row.difference) if row.difference else "baseline"
        title = row.label + (" (control)" if row.control else "")
        table.add_row(title, format_interval(row.interval), difference, "●" if row.tied else "", str(row.result.details["chunks"]))
    console = Console(width=None if sys.stdout.isatty() else 120, markup=False, highlight=False)
    console.print(table)
    console.print(comparison.verdict)
    console.print()


@data_app.command("template")
def data_template(folder: Annotated[Path, typer.Argument(help="New or empty folder.")]) -> None:
    """Write a small data set to fill in: documents and a table of questions."""
    from workbench import data

    data.write_template(folder)
    typer.echo(f"written: {folder}\nfill it in, then: workbench data check folder:{folder}")


@data_app.command("check")
def data_check(dataset: Annotated[str, typer.Argument(help="demo-en, folder:DIR, table:FILE, …")]) -> None:
    """Report counts, losses, duplicates, leakage and languages; exit 0 (clean), 1 (usable with losses) or 2 (not usable)."""
    from workbench import data

    report = data.check(dataset)
    typer.echo(report.render())
    raise typer.Exit(report.exit_code)


@models_app.command("list")
def models_list() -> None:
    """List the known models and whether they are here."""
    from workbench import models

    for name, entry in models.catalogue().items():
        here = "here" if models.stored(name) else "-"
        typer.echo(f"{name:<44} {here:<5} {entry.precision:<16} {entry.size_mb:>5} MB  {entry.licence:<12} {', '.join(entry.languages)}")


@models_app.command("pull")
def models_pull(names: Annotated[list[str], typer.Argument(help="Hub ids.")], allow_download: AllowDownload = False) -> None:
    """Fetch models once into the model store; checksums are verified."""
    from workbench import models

    for name in names:
        if not models.stored(name):
            typer.echo(f"fetching {name}")
        model = models.pull(name, allow_download=allow_download)
        typer.echo(f"{model.name}: {model.precision}, {model.licence}, sha256 {model.fingerprint[:16]}")


@models_app.command("show")
def models_show(name: str) -> None:
    """Describe a stored model and verify every file's checksum."""
    from workbench import models

    model = models.verify(name)
    prefixes = models.prefixes(model)
    for label, value in (
        ("name", model.name),
        ("precision", model.precision),
        ("languages", ", ".join(model.languages)),
        ("max length", f"{model.max_length} tokens"),
        ("prefixes", ", ".join(f"{role} {prefix!r}" for role, prefix in prefixes.items()) or "none"),
        ("licence", model.licence),
        ("sha256", model.fingerprint),
        ("folder", model.path),
    ):
        typer.echo(f"{label:<12} {value}")


@cache_app.command("stats")
def cache_stats() -> None:
    """Show rows and bytes by part."""
    for row in _cache().stats():
        typer.echo(f"{row['kind']:<10} {row['part']:<50} {row['rows']:>9} rows {row['bytes'] / 1e6:>9.1f} MB")


@cache_app.command("prune")
def cache_prune(days: Annotated[float, typer.Option(help="Remove rows older than so many days.")] = 90) -> None:
    """Remove old rows."""
    typer.echo(f"{_cache().prune(days)} rows removed")


@cache_app.command("clear")
def cache_clear() -> None:
    """Remove every row."""
    typer.echo(f"{_cache().clear()} rows removed")


def _cache() -> Any:
    from workbench.cache import Cache
    from workbench.storage import cache_file

    return Cache(cache_file())


def _relative(path: Path) -> Path:
    """Show a path from here where that is shorter."""
    return Path(os.path.relpath(path)) if path.is_relative_to(Path.cwd()) else path
