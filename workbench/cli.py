"""The command line: `workbench evaluate | ask | sweep | bench | compare | gate | power | judge | explain | train | data | models | cache`.

`demo | test | test-slow | lab` are those of the Makefile.

Exit codes: 0 ok · 1 done with losses, failed or lost runs · 2 wrong use or input, or a file that cannot be written ·
3 an audit check failed · 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from workbench import bootstrap, cli_judge
from workbench import cli_options as options
from workbench.cli_bench import bench
from workbench.cli_cache import cache_app
from workbench.cli_compare import compare, gate
from workbench.cli_explain import explain
from workbench.cli_models import models_app
from workbench.cli_power import power
from workbench.cli_sweep import sweep_app
from workbench.cli_train import train_app
from workbench.datatypes import WorkbenchError

OK, LOSSES, USAGE, AUDIT, INTERRUPTED = 0, 1, 2, 3, 130
STARTS = {
    "demo": "Compare chunk sizes on the demo documents.",
    "test": "Run the tests.",
    "test-slow": "Run the tests of sweeps under fire in full size.",
    "lab": "Open the notebooks in JupyterLab.",
}

# no rich markup: an error is one line, not a box that breaks it
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, help=__doc__)
data_app = typer.Typer(no_args_is_help=True, help="Check your data, or write a template to fill in.")
app.add_typer(data_app, name="data")
app.add_typer(models_app, name="models")
app.add_typer(cache_app, name="cache")
app.add_typer(train_app, name="train")
app.add_typer(sweep_app, name="sweep")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; errors of the user's input end with what is wrong and exit code 2."""
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
    dataset: options.Dataset = None,
    chunker: options.Chunker = None,
    chunk_size: options.ChunkSize = None,
    chunk_overlap: options.ChunkOverlap = None,
    header: options.Header = None,
    tokenizer: options.Tokenizer = None,
    embedder: options.Embedder = None,
    retriever: options.Retriever = None,
    reranker: options.Reranker = None,
    index: options.Index = None,
    top_k: options.TopK = None,
    budget: Annotated[list[int] | None, typer.Option(help="Context budget in tokens; repeat for several.")] = None,
    filter: options.Filter = None,
    split: Annotated[str | None, typer.Option(help="all, train, selection, confirmation, test (the last two)")] = None,
    limit: Annotated[int | None, typer.Option(help="Sample so many questions (seeded); documents stay.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every draw.")] = None,
    primary: Annotated[str | None, typer.Option(help="Metric that decides: evidence_recall@512t, ndcg@10, answer_f1, …")] = None,
    generator: options.Generator = None,
    prompt: options.Prompt = None,
    shot_count: options.ShotCount = None,
    shot_selection: options.ShotSelection = None,
    shot_budget: options.ShotBudget = None,
    shuffle_shots: options.ShuffleShots = None,
    answers: Annotated[int | None, typer.Option(help="Questions to answer at most, drawn by seed; 0 takes all.")] = None,
    answer_budget: options.AnswerBudget = None,
    shrink_context: options.ShrinkContext = None,
    rules: options.Rules = None,
    judge: options.Judge = None,
    option: options.Option = None,
    settings_file: options.SettingsFile = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write result.json and the report to.")] = None,
    latency: Annotated[bool, typer.Option("--latency", help="Also measure milliseconds a question, unbatched, nothing cached.")] = False,
    no_cache: options.NoCache = False,
    allow_download: options.AllowDownload = False,
    as_json: options.JsonOutput = False,
) -> None:
    """Evaluate one configuration: metrics, intervals, audit, answers."""
    from workbench import experiment, report
    from workbench.cli_print import print_result
    from workbench.evaluation import save_results
    from workbench.experiment_latency import probe_latency
    from workbench.report_files import write_report
    from workbench.report_parts import gather

    settings = options.settings_from(locals())
    result = experiment.run(settings, cached=not no_cache, allow_download=allow_download)
    probe = probe_latency(settings, allow_download=allow_download) if latency else {}
    errors = report.audit_errors([result])
    if out:
        save_results(out / "result.json", [result])
        write_report(out, gather([result], f"Evaluation of {settings.dataset}"))
    if as_json:
        record = result.to_json() | {"metrics": result.summary()}
        record["timings"] |= {name: round(value, 4) for name, value in probe.items()}
        for bulky in ("scores", "asked", "examples", "clusters", "parts", "causes", "cases", "failures", "answers"):
            del record[bulky]
        typer.echo(json.dumps(record, ensure_ascii=False, indent=1))
    else:
        print_result(result, probe, errors)
    raise typer.Exit(AUDIT if errors else LOSSES if result.data["losses"] else OK)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What to ask the documents.")],
    dataset: options.Dataset = None,
    chunker: options.Chunker = None,
    chunk_size: options.ChunkSize = None,
    chunk_overlap: options.ChunkOverlap = None,
    header: options.Header = None,
    tokenizer: options.Tokenizer = None,
    embedder: options.Embedder = None,
    retriever: options.Retriever = None,
    reranker: options.Reranker = None,
    index: options.Index = None,
    top_k: options.TopK = None,
    filter: options.Filter = None,
    generator: options.Generator = None,
    prompt: options.Prompt = None,
    answer_budget: options.AnswerBudget = None,
    shrink_context: options.ShrinkContext = None,
    rules: options.Rules = None,
    option: options.Option = None,
    settings_file: options.SettingsFile = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print the generator's text as it comes.")] = False,
    no_cache: options.NoCache = False,
    allow_download: options.AllowDownload = False,
    as_json: options.JsonOutput = False,
) -> None:
    """Answer one question; show the steps and the sources."""
    from workbench.cli_print import print_answer, shown, watch_step
    from workbench.experiment_ask import ask
    from workbench.pipeline import ignore

    settings = options.settings_from(locals())
    if settings.generator == "none":
        settings = settings.replace(generator="auto")
    answer = ask(
        question,
        settings,
        watch=ignore if as_json else partial(watch_step, streamed=stream),
        say=(lambda text: typer.echo(shown(text), nl=False)) if stream and not as_json else None,
        cached=not no_cache,
        allow_download=allow_download,
    )
    if as_json:
        record = {"question": answer.question, "answer": answer.text, "refused": answer.refused, "citations": list(answer.citations)}
        record |= {"notes": [[note.hook, note.text] for note in answer.notes], "completion": asdict(answer.completion)}
        record |= {"sources": [asdict(passage) for passage in answer.passages]}
        typer.echo(json.dumps(record, ensure_ascii=False, indent=1))
    else:
        print_answer(answer)


for _command in (bench, compare, gate, power, cli_judge.judge, explain):
    app.command()(_command)


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


def _start(context: typer.Context) -> None:
    try:
        code = bootstrap.run(context.info_name or "", context.args)
    except bootstrap.BootstrapError as error:
        raise WorkbenchError(str(error)) from None
    raise typer.Exit(code)


for _word, _help in STARTS.items():
    app.command(_word, help=_help, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(_start)
