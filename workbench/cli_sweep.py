"""The commands of sweeps: `workbench sweep SPEC`, `sweep status DIR`, `sweep clean DIR`."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli_options import JsonOutput
from workbench.datatypes import WorkbenchError

if TYPE_CHECKING:
    from workbench.executors import Outcome, Task
    from workbench.ledger import Entry
    from workbench.sweep import SweepReport

OK, LOSSES, AUDIT, INTERRUPTED = 0, 1, 3, 130
EXAMPLES = 3  # failures of one class that are named


class Lines:
    """Tell the progress of a sweep in plain lines."""

    def __init__(self, error: bool = False) -> None:
        self.total, self._error = 0, error

    def planned(self, done: int, total: int) -> None:
        """Take how many points there are, and how many were done before."""
        self.total = total
        if done:
            self.say(f"{done} of {total} points done before")

    def began(self, task: Task) -> None:
        """Say nothing: only what ended is worth a line."""

    def ended(self, outcome: Outcome, done: int, left: float | None) -> None:
        """Say how a run ended."""
        for line in ended_lines(outcome, done, self.total, left):
            self.say(line)

    def say(self, text: str) -> None:
        """Print a line."""
        typer.echo(text, err=self._error)


def ended_lines(outcome: Outcome, done: int, total: int, left: float | None) -> list[str]:
    """Return what is said when a run ended."""
    from workbench.cli_print import shown

    ended = outcome.ended
    state = ended.state if ended.state == "ok" else f"{ended.state} ({ended.kind})"
    eta = f", about {duration(left)} left" if left and done < total else ""
    lines = [f"[{done}/{total}] {shown(outcome.task.label)}: {state} in {ended.seconds:.1f} s{eta}"]
    return lines + ([f"    {shown(ended.error.strip().splitlines()[-1])}"] if ended.error.strip() else [])


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class Live(Lines):
    """Show a line for each run under way, with its seconds, under the lines of those that ended; for a terminal."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.live import Live as Display

        self._running: dict[str, tuple[str, float]] = {}
        self._left: float | None = None
        self._done = 0
        self._until = 0.0
        self.display = Display(get_renderable=self._draw, console=Console(), refresh_per_second=4, transient=True)

    def planned(self, done: int, total: int) -> None:
        """Take how many points there are, and how many were done before."""
        self._done = done
        super().planned(done, total)

    def began(self, task: Task) -> None:
        """Add a line."""
        from workbench.cli_print import shown

        self._running[task.run_id] = (shown(task.label), time.monotonic())

    def ended(self, outcome: Outcome, done: int, left: float | None) -> None:
        """Take the line away and say how the run ended."""
        self._running.pop(outcome.task.run_id, None)
        self._done, self._until = done, time.monotonic() + (left or 0.0)
        super().ended(outcome, done, left)

    def say(self, text: str) -> None:
        """Print a line above those that change."""
        self.display.console.print(text, markup=False, highlight=False)

    def _draw(self) -> Any:
        """Draw what runs; called in a thread of its own."""
        from rich.text import Text

        now = time.monotonic()
        lines = [f"  {label}: {duration(now - began)}" for label, began in list(self._running.values())]
        left = f", about {duration(self._until - now)} left" if self._until > now else ""
        return Text("\n".join([*lines, f"{self._done} of {self.total} points done{left}"]))


class SpecFirst(typer.core.TyperGroup):
    """Take what is no command of `sweep` for the spec to run: `workbench sweep params/NAME.sweep.yaml`."""

    def parse_args(self, context: Any, arguments: list[str]) -> list[str]:
        """Put the command `run` in front of a spec or an option."""
        if arguments and arguments[0] not in (*self.commands, "--help"):
            arguments = ["run", *arguments]
        return super().parse_args(context, arguments)


sweep_app = typer.Typer(no_args_is_help=True, cls=SpecFirst, help="Run a sweep (workbench sweep SPEC), show or clean it.")


@sweep_app.command("run")
def run(
    spec: Annotated[Path, typer.Argument(help="params/NAME.sweep.yaml")],
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Runs at once; the processor's threads are divided among them.")] = 1,
    executor: Annotated[str, typer.Option(help="auto, serial, local")] = "auto",
    kernels: Annotated[str, typer.Option(help="auto, warm (forked from a process that has the imports done; Linux), fresh")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and list the points, and what they will need; run nothing.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run every point again; the cache is still used.")] = False,
    retry: Annotated[str | None, typer.Option(help="failed: run again what failed by its own error or too often.")] = None,
    as_json: JsonOutput = False,
) -> None:
    """Run what is not done yet, then write leaderboard.csv, timings.csv, winner.yaml and the report (HTML, Markdown, JSON).

    What failed by its own error is not run again before its inputs change, or --retry failed. Ctrl-C ends when the runs under way are
    done, a second one at once; both can be resumed by the same command.
    """
    from workbench import report, sweep

    if retry not in (None, "failed"):
        raise WorkbenchError(f"--retry takes 'failed', not {retry!r}")
    if dry_run:
        _dry_run(spec, as_json, fresh, bool(retry))
        return
    progress: Lines = Live() if sys.stdout.isatty() and not as_json else Lines(error=as_json)
    display: AbstractContextManager[Any] = progress.display if isinstance(progress, Live) else nullcontext()
    with display:
        outcome = sweep.run_sweep(spec, progress, jobs=jobs, executor=executor, kernels=kernels, fresh=fresh, retry=bool(retry))
    errors = report.audit_errors(outcome.results)
    code = INTERRUPTED if outcome.interrupted else AUDIT if errors else LOSSES if outcome.failed else OK
    if as_json:
        typer.echo(json.dumps(_record(outcome, errors), ensure_ascii=False, indent=1))
    else:
        _print(outcome, errors, spec)
    raise typer.Exit(code)


def _record(outcome: SweepReport, errors: list[str]) -> dict[str, Any]:
    return {
        "folder": str(_relative(outcome.folder)),
        "points": len(outcome.points),
        "executed": outcome.executed,
        "done_before": outcome.skipped,
        "interrupted": outcome.interrupted,
        "failed": [{"point": entry.label, "state": entry.state, "kind": entry.kind, "error": entry.error} for entry in outcome.failed],
        "audit_errors": errors,
        "winners": [str(_relative(path)) for path in outcome.winners],
        "verdicts": {name: decision.verdict for name, decision in outcome.decisions.items()},
    }


def _print(outcome: SweepReport, errors: list[str], spec: Path) -> None:
    from workbench import report
    from workbench.cli_print import print_leaderboard
    from workbench.report_effects import merge_seeds

    for name, results in report.by_dataset(outcome.results).items():
        try:
            print_leaderboard(name, report.compare(merge_seeds(results), baseline=outcome.baselines.get(name)))
        except WorkbenchError as problem:
            typer.echo(f"{name}: {problem}")
        if name in outcome.decisions:
            typer.echo(f"{outcome.decisions[name].verdict}\n")
    command = f"workbench sweep {shlex.quote(str(spec))}"
    print_failures(outcome.failed, f"{command} --retry failed")
    for error in errors:
        typer.echo(f"AUDIT ERROR {error}", err=True)
    for path in outcome.winners:
        typer.echo(f"settings to use: {_relative(path)}")
    typer.echo(f"{outcome.executed} runs executed, {outcome.skipped} done before, {len(outcome.failed)} failed")
    if outcome.interrupted:
        typer.echo(f"interrupted; go on with: {command}", err=True)
    elif outcome.results:
        typer.echo(str(_relative(outcome.folder / "report.html")))


def print_failures(failed: list[Entry], command: str) -> None:
    """Print what failed, grouped by its class, and the command that runs it again."""
    from workbench.cli_print import shown

    groups: dict[str, list[tuple[Entry, str]]] = {}
    for entry in failed:
        last = (entry.error.strip().splitlines() or ["no message"])[-1]
        kind = f"{entry.kind} {last.partition(':')[0]}" if entry.kind == "raised" else entry.kind
        groups.setdefault(f"{entry.state.upper()} ({shown(kind)})", []).append((entry, last))
    for heading, entries in groups.items():
        typer.echo(f"{heading}: {len(entries)}", err=True)
        for entry, last in entries[:EXAMPLES]:
            typer.echo(f"  {shown(entry.label)}: {shown(last)}", err=True)
        if len(entries) > EXAMPLES:
            typer.echo(f"  and {len(entries) - EXAMPLES} more", err=True)
    if failed:
        typer.echo(f"to run them again: {command}", err=True)


def _dry_run(spec: Path, as_json: bool, fresh: bool, retry: bool) -> None:
    from workbench import sweep
    from workbench.cli_print import shown
    from workbench.sweep_forecast import forecast, outlook

    folder, points = sweep.plan(spec)
    states = outlook(folder, points, fresh=fresh, retry=retry)
    ahead = forecast(folder, [point for point, state in zip(points, states, strict=True) if state == "to do"])
    if as_json:
        rows = [{"run_id": point.run_id, "point": dict(point.varied), "state": state} for point, state in zip(points, states, strict=True)]
        typer.echo(json.dumps({"folder": str(_relative(folder)), "points": rows, **ahead}, ensure_ascii=False, indent=1))
        return
    for point, state in zip(points, states, strict=True):
        typer.echo(f"{point.run_id}  {state:6}  {shown(point.label)}")
    counts = Counter(states)
    typer.echo(f"{len(points)} points, {counts['done']} done, {counts['failed']} failed before, results go to {_relative(folder)}")
    for name, value in ahead.items():
        typer.echo(f"{name}: {value}")


@sweep_app.command("status")
def status(folder: Annotated[Path, typer.Argument(help="outputs/NAME")], as_json: JsonOutput = False) -> None:
    """Show the states of a sweep's runs: how many, what runs now, what failed; nothing in its folder is changed."""
    from workbench.cli_print import shown
    from workbench.ledger_read import read_ledger
    from workbench.ledger_rows import STATES

    if not (folder / "ledger.sqlite").is_file():
        raise WorkbenchError(f"{folder} holds no sweep (no ledger.sqlite); name a folder of outputs/ that `workbench sweep SPEC` wrote")
    entries = read_ledger(folder / "ledger.sqlite")
    counts = Counter(entry.state for entry in entries)
    if as_json:
        rows: list[Mapping[str, Any]] = [vars(entry) for entry in entries]
        typer.echo(json.dumps({"states": {state: counts[state] for state in STATES}, "runs": rows}, ensure_ascii=False, indent=1))
        return
    typer.echo(", ".join(f"{counts[state]} {state}" for state in STATES))
    for entry in entries:
        if entry.state == "running":
            typer.echo(f"  running for {duration(max(0.0, time.time() - entry.updated))}: {shown(entry.label)} (attempt {entry.attempts})")
    print_failures([entry for entry in entries if entry.state in ("failed", "lost")], "workbench sweep SPEC --retry failed")


@sweep_app.command("clean")
def clean(folder: Annotated[Path, typer.Argument(help="outputs/NAME")]) -> None:
    """Remove what the last sweep of this folder does not use: runs of earlier settings or code, failed runs, leftovers of killed ones."""
    from workbench.sweep_clean import clean_sweep

    removed, size = clean_sweep(folder)
    typer.echo(f"removed {removed} folders, {size / 1e6:.1f} MB")


def _relative(path: Path) -> Path:
    """Show a path from here where that is shorter."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
