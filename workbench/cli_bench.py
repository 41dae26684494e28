"""The command `workbench bench [SPEC]`: the numbers of this machine, and what a sweep will cost on it."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli_options import JsonOutput

if TYPE_CHECKING:
    from rich.console import Console

    from workbench.bench import Bench
    from workbench.bench_cost import Cost
    from workbench.bench_rates import Part, Rate

KINDS = ("start", "import", "evaluation", "index", "lexical index", "embedder", "reranker", "generator")  # in the order of the table


def bench(
    spec: Annotated[Path | None, typer.Argument(help="params/NAME.sweep.yaml: also tell what this sweep will cost here.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Runs of the sweep at once.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="Measure shorter and less exactly.")] = False,
    seconds: Annotated[float, typer.Option(min=0, help="Begin nothing new after so many seconds.")] = 120,
    as_json: JsonOutput = False,
) -> None:
    """Measure this machine and what a sweep costs here.

    Everything runs in processes of its own, after a warm-up, and no value comes from the cache; models that are not in the store are named
    with the command that fetches them. With a sweep, only what its points have still to compute is measured.
    """
    from workbench.bench import everything, run_bench
    from workbench.bench_cost import cost, plan_cost
    from workbench.bench_rates import QUICK, Effort
    from workbench.cli_print import say

    plan = plan_cost(spec) if spec else None
    wanted, skipped = (plan.jobs, []) if plan else everything()
    found = run_bench(wanted, QUICK if quick else Effort(), seconds, lambda text: say(text, error=True))
    found.skipped += skipped
    told = cost(plan, found, jobs) if plan else None
    if as_json:
        record = found.to_json() | ({"sweep": {"spec": spec.name, **told.to_json()}} if told and spec else {})
        typer.echo(json.dumps(record, ensure_ascii=False, indent=1))
    else:
        _print(found, told)


def _print(bench: Bench, cost: Cost | None) -> None:
    from rich.console import Console

    from workbench.cli_print import shown

    console = Console(width=None if sys.stdout.isatty() else 120, markup=False, highlight=False, emoji=False)
    machine = bench.machine
    memory = f", {machine['memory_gb']} GB" if machine["memory_gb"] else ""
    console.print(shown(f"{machine['processor']}: {machine['cores']} cores, {machine['threads']} threads{memory}, {machine['system']}"))
    fast = "; ".join(f"{kind} {' '.join(flags)}" for kind, flags in machine["arithmetic"].items() if flags)
    console.print(f"fast arithmetic: {fast or 'not known'}")
    console.print(", ".join(f"{name} {version}" for name, version in machine["versions"].items()))
    _print_rates(console, bench.rates)
    if bench.skipped:
        console.print("not measured:")
    for item in bench.skipped:
        console.print(f"  {shown(f'{item.part.kind} {item.part.label}: {item.reason}')}", soft_wrap=True)
    if cost:
        _print_cost(console, cost)


def _print_rates(console: Console, rates: Sequence[Rate]) -> None:
    from workbench.cli_print import shown

    table = _table("part", "what", "median", "of all", "unit", "measured with")
    last: Part | None = None
    for rate in sorted(rates, key=lambda rate: KINDS.index(rate.part.kind)):  # stable: as they were measured
        name = "" if rate.part == last else f"{rate.part.kind} {rate.part.label}"
        last = rate.part
        spread = f"{rate.low:g} to {rate.high:g}" if rate.n > 1 else "once"
        facts = ", ".join(f"{key.replace('_', ' ')} {_fact(value)}" for key, value in rate.facts.items() if value)
        table.add_row(shown(name), rate.what, f"{rate.median:g}", spread, rate.unit, shown(facts))
    if rates:
        console.print(table)


def _print_cost(console: Console, cost: Cost) -> None:
    from workbench.cli_print import shown
    from workbench.cli_sweep import duration

    work, states = cost.work, cost.states
    console.print(f"{states['all']} points: {states['done']} done, {states['failed']} failed before, {states['to_do']} to do")
    if not states["to_do"]:
        console.print("nothing to compute")
        return
    console.print(f"{work.configurations:,} configurations, {work.questions:,} questions asked; answers and pairs are counted at most")
    table = _table("stage", "seconds", "from")
    for stage in cost.stages:
        table.add_row(shown(stage.name), "unknown" if math.isnan(stage.seconds) else f"{stage.seconds:.1f}", shown(stage.reason))
    console.print(table)
    known = sum(stage.seconds for stage in cost.stages if not math.isnan(stage.seconds))
    if math.isnan(cost.seconds):
        console.print(f"time: more than {duration(known / cost.workers)}: not all could be measured")
    else:
        console.print(f"time: about {duration(cost.seconds)} with {cost.workers} run{'s' * (cost.workers > 1)} at once")
    console.print("not counted: controls and plots that a notebook adds")


def _table(*columns: str) -> Any:
    from rich.table import Table

    table = Table()
    for column in columns:
        number = column in ("median", "of all", "seconds")
        table.add_column(column, justify="right" if number else "left", no_wrap=number, overflow="fold")
    return table


def _fact(value: Any) -> str:
    if isinstance(value, list):
        return " and ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else f"{value}"
