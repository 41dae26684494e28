"""Print one result or a leaderboard on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from workbench import report_shown
from workbench.datatypes import Answer, Completion
from workbench.evaluation import RunResult
from workbench.pipeline import STEPS
from workbench.report import Comparison, format_difference, format_interval
from workbench.report_svg import UNSHOWABLE
from workbench.settings import Settings

SOURCE = 160  # characters shown of each passage
MOST_ROWS = 40  # candidates of a leaderboard


def print_result(result: RunResult, latency: Mapping[str, float], errors: Sequence[str]) -> None:
    """Print every metric with its interval, what the audit found, seconds by stage and the cache's part in it."""
    for error in errors:
        say(f"AUDIT ERROR {error}", error=True)
    used = result.settings.model_dump()
    say(
        "  ".join(
            f"{name}={used[name]}"
            for name in ("dataset", "chunker", "chunk_size", "chunk_overlap", "embedder", "retriever", "index", "top_k")
        )
    )
    data = result.data
    say(
        f"{data['documents']} documents, {data['questions']} questions ({data['scored']} with evidence, "
        f"{data['unanswerable']} unanswerable), "
        f"{result.details['chunks']} chunks of {result.details['chunk_tokens_mean']} tokens on average ({result.settings.tokenizer})"
    )
    if result.details["top_k_clipped"]:
        say(f"top_k {result.settings.top_k} was clipped to the {result.details['top_k_clipped']} chunks of the corpus")
    for metric in result.scores:
        interval = result.interval(metric)
        mark = "  <- primary" if metric == result.settings.primary else ""
        lost = f", {result.unscored(metric)} unscored" if result.unscored(metric) else ""
        say(f"  {metric:<22} {format_interval(interval)}  n {interval.n}{lost}{mark}")
    if result.details.get("answers"):
        print_answers(result.details["answers"], result.settings)
    for check in result.audit:
        if check.level != "ok":
            say(f"  audit {check.level}: {check.id}: {check.message}")
    say("  seconds: " + ", ".join(f"{name} {value:.2f}" for name, value in result.timings.items()))
    if latency:
        say(f"  one question: median {latency['median_ms']:.2f} ms, 95th percentile {latency['p95_ms']:.2f} ms (n {latency['n']})")
    say("  cache: " + (", ".join(f"{name} {value}" for name, value in result.cache.items()) or "not used"))


def print_answers(details: Mapping[str, Any], settings: Settings) -> None:
    """Print what answering took: the generator, tokens, seconds, and what went wrong."""
    precision = f" ({details['generator_precision']})" if details["generator_precision"] else ""
    say(f"  answers by {settings.generator}{precision}, prompt {settings.prompt}, {settings.answer_budget} tokens of context")
    counts = [f"{details[name]} {name}" for name in ("answered", "refused", "capped", "shrunk")]
    means = [f"{details[name]:g} {name.replace('_', ' ')}" for name in ("prompt_tokens", "completion_tokens") if details[name] is not None]
    say("    " + ", ".join([*counts, *means, f"{details['seconds']:.2f} s a question when first asked"]))


def watch_step(step: str, seconds: float, produced: Sequence[Any], streamed: bool = False) -> None:
    """Print one step of answering one question as it is done: what it produced, in one line, below the text if that was streamed."""
    first = produced[0]
    said = {
        "preprocess": lambda: first.question,
        "vectorise": lambda: _vector(first),
        "retrieve": lambda: f"{len(first)} hits" + (f", best {first[0].score:.3f} {first[0].chunk.id}" if first else ""),
        "augment": lambda: f"{len(first.context.pieces)} passages, {first.context.tokens} tokens of context",
        "generate": lambda: _spent(first),
        "postprocess": lambda: "; ".join(f"{note.hook}: {note.text}" for note in first.notes) or "nothing to change",
    }[step]()
    if streamed and step == "generate":
        typer.echo()
    say(f"{STEPS.index(step) + 1} {step:<12} {1000 * seconds:>7.0f} ms  {said}")


def _vector(query: Any) -> str:
    if isinstance(query, tuple):
        return " and ".join(_vector(part) for part in query)
    return f"{len(query)} {'terms' if isinstance(query, list) else 'dimensions'}" if query is not None else "nothing"


def _spent(completion: Completion) -> str:
    tokens = (("prompt", completion.prompt_tokens), ("new", completion.completion_tokens))
    counts = ", ".join(f"{count} {name} tokens" for name, count in tokens if count is not None)
    return ", ".join(filter(None, (completion.error or completion.finish_reason, counts)))


def shown(text: str) -> str:
    """Return untrusted text without the control characters that a terminal obeys, those that turn its direction among them."""
    return UNSHOWABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def say(text: str, error: bool = False) -> None:
    """Print a text of which parts come from files or models."""
    typer.echo(shown(text), err=error)


def print_answer(answer: Answer) -> None:
    """Print the passages that the generator saw, those cited marked, and the answer."""
    say("\nsources" + " (* cited)" * bool(answer.citations))
    for number, passage in enumerate(answer.passages, start=1):
        mark = "*" if number in answer.citations else " "
        text = " ".join(passage.text.split())
        say(f" {mark}[{number}] {passage.title or passage.span.document_id}: {text[:SOURCE]}{'…' * (len(text) > SOURCE)}")
    say(f"\nanswer{' (a refusal)' * answer.refused}\n{answer.text}")


def print_leaderboard(name: str, comparison: Comparison) -> None:
    """Print the candidates best first, and the verdict."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=shown(f"{name}: {comparison.metric}, best first"), title_justify="left")
    for column in ("configuration", "mean [95 %]", "difference to baseline", "tied", "chunks"):
        table.add_column(column, justify="right" if column == "chunks" else "left", overflow="fold")
    for row in report_shown.shown(comparison, MOST_ROWS).rows:
        difference = format_difference(row.difference) if row.difference else "baseline"
        title = row.label + (" (control)" if row.control else "")
        table.add_row(shown(title), format_interval(row.interval), difference, "●" if row.tied else "", str(row.result.details["chunks"]))
    console = Console(width=None if sys.stdout.isatty() else 120, markup=False, highlight=False, emoji=False)
    console.print(table)
    if len(comparison.rows) > MOST_ROWS:
        console.print(report_shown.rest(MOST_ROWS, len(comparison.rows)))
    console.print(shown(comparison.verdict))
    console.print()
