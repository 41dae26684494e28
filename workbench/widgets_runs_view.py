"""Draw sweeps, runs and scores as static, escaped HTML."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from workbench.ledger_rows import Entry
from workbench.report import Row, audit_errors, format_difference, format_interval
from workbench.report_costs import COSTS, figures
from workbench.stats import Interval
from workbench.sweep_results import Scored
from workbench.sweep_status import Best, SweepStatus, best_results, executed_notebook, run_folders
from workbench.widgets_runs_links import Server, link
from workbench.widgets_runs_words import SIGNS, headline, say
from workbench.widgets_style import STYLE, brief, escape, folded

RUNNING = 6  # runs under way that are named
# on top of widgets_style.STYLE; bars differ in their pattern too, rows of buttons look like a list
CSS = """<style>
.workbench-runs .workbench-view { background: none; padding: 4px 12px; }
.workbench-runs :is(.workbench-view .workbench-view, .widget-gridbox .workbench-view) { padding: 0; }
.workbench-view .bar { display: inline-flex; width: 100%; max-width: 320px; height: 12px; border: 1px solid var(--faint);
  border-radius: 3px; overflow: hidden; background: none; vertical-align: middle; }
.workbench-view .bar > span { display: block; height: 100%; padding: 0; }
.workbench-view .bar .ok { background: #009e73; }
.workbench-view .bar .running { background: repeating-linear-gradient(90deg, #56b4e9 0 4px, #0072b2 4px 8px); }
.workbench-view .bar .failed { background: repeating-linear-gradient(45deg, #d55e00 0 4px, #7a3500 4px 6px); }
.workbench-view .bar .lost { background: repeating-linear-gradient(135deg, #cc79a7 0 3px, #6d2f52 3px 6px); }
.workbench-view .facts { display: flex; flex-wrap: wrap; gap: 0 14px; align-items: center; font-size: 13px; min-height: 28px; }
.workbench-view .number { font-variant-numeric: tabular-nums; white-space: nowrap; min-width: 11.5em; }
.workbench-view .state { font-weight: 600; white-space: nowrap; min-width: 5.5em; }
.workbench-view .state.failed, .workbench-view .state.lost { color: var(--wrong); }
.workbench-view .trace pre { font-family: var(--jp-code-font-family, monospace); font-size: 12px; line-height: 1.45; }
.workbench-view table.wide { width: 100%; }
.workbench-view .wide :is(th, td) { border-top: 1px solid var(--edge); padding: 4px 12px 4px 0; }
.workbench-view a { color: var(--jp-content-link-color, LinkText); text-decoration: underline; }
.workbench-view a:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
.workbench-view code { font-size: 12px; background: none; color: inherit; overflow-wrap: anywhere; }
.workbench-view .reach { stroke: var(--faint); stroke-width: 2; } .workbench-view .point { fill: currentColor; }
.workbench-view svg.range { width: 120px; height: 16px; flex: none; }
.jupyter-widgets.workbench-row { text-align: left; background: none; box-shadow: none; border: 0;
  color: var(--jp-content-link-color, LinkText); padding: 0 6px; width: 100%; height: auto; min-height: 28px;
  line-height: 1.4; white-space: normal; overflow-wrap: anywhere; }
.jupyter-widgets.workbench-row:hover { background: var(--jp-layout-color2, rgba(128, 128, 128, .18)); text-decoration: underline; }
.jupyter-widgets.workbench-row:focus-visible { outline: 2px solid var(--jp-brand-color1, Highlight); outline-offset: -2px; }
.jupyter-widgets.workbench-row.opened { font-weight: 700; border-left: 4px solid currentColor; }
</style>"""


def wrapped(inner: str) -> str:
    """Return a piece of the interface, whose style sheet stands elsewhere in it."""
    return f'<div class="workbench-view">{inner}</div>'


def seconds_of(entry: Entry, now: float | None = None) -> str:
    """Say how long a run took, or has been running; "" where nothing is known."""
    seconds = (time.time() if now is None else now) - entry.updated if entry.state == "running" else entry.seconds
    return "" if seconds is None else say("took", seconds=f"{max(0.0, seconds):,.0f}" if entry.state == "running" else f"{seconds:,.1f}")


def error_class(entry: Entry) -> str:
    """Name how a run failed: the class of its error, or what ended it."""
    last = (entry.error.strip().splitlines() or [""])[-1]
    named = last.partition(":")[0]
    return named if entry.kind == "raised" and named.isidentifier() else entry.kind


def run_facts(entry: Entry, now: float | None = None) -> str:
    """Return the state of a run in one line: its sign and name, its seconds, how it failed."""
    words = [f'<span class="state {entry.state}">{SIGNS[entry.state]} {say(entry.state)}</span>']
    words += [f'<span class="faint">{text}</span>' for text in (seconds_of(entry, now),) if text]
    if entry.attempts > 1:
        words.append(f'<span class="faint">{say("attempt", count=entry.attempts)}</span>')
    if entry.state in ("failed", "lost"):
        named = error_class(entry)
        last = (entry.error.strip().splitlines() or [""])[-1].removeprefix(f"{named}:").strip()
        words.append(f'<b>{escape(brief(named, 40))}</b> <span class="faint">{escape(brief(last, 160))}</span>')
    return wrapped(f'<div class="facts">{"".join(words)}</div>')


def progress_bar(status: SweepStatus) -> str:
    """Return the states of a sweep's runs as a bar, and in words."""
    total = max(1, len(status.entries))
    shares = ((state, status.counts[state]) for state in ("ok", "failed", "lost", "running"))
    parts = "".join(f'<span class="{state}" style="width: {100 * count / total:.2f}%"></span>' for state, count in shares if count)
    words = say("progress", done=status.ended, total=len(status.entries))
    attributes = (
        f'role="progressbar" aria-label="{words}" aria-valuemin="0" aria-valuemax="{len(status.entries)}" aria-valuenow="{status.ended}"'
    )
    return f'<span class="bar" {attributes} title="{words}">{parts}</span>'


def count_words(status: SweepStatus) -> str:
    """Return how many runs are in each state, states without any left out."""
    return " · ".join(f"{SIGNS[state]} {say(state)} {count:,}" for state, count in status.counts.items() if count)


def progress_view(status: SweepStatus, server: Server | None, live: bool, now: float | None = None) -> str:
    """Return the state of one sweep now: how far it is, what runs and for how long, when it changed last, and its report."""
    words = [] if status.counts["running"] and not live else [say("live" if status.counts["running"] else "still")]
    if status.changed:
        words.append(say("changed", when=time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(status.changed))))
    if status.report:
        words.append(link(status.report, say("report"), server))
    ended = say("progress", done=status.ended, total=len(status.entries))
    blocks = [f'<div class="facts">{progress_bar(status)}<b>{ended}</b><span>{count_words(status)}</span></div>']
    blocks.append(f'<div class="faint">{" · ".join(words)}</div>')
    if status.problem:
        blocks.append(f'<div class="box wrong" role="alert">{escape(say("ledger", problem=status.problem))}</div>')
    running = [entry for entry in status.entries if entry.state == "running"]
    blocks += [
        f'<div class="row">{SIGNS["running"]} {escape(brief(entry.label))} · {seconds_of(entry, now)}</div>' for entry in running[:RUNNING]
    ]
    if len(running) > RUNNING:
        blocks.append(f'<div class="faint">{say("and more", count=len(running) - RUNNING)}</div>')
    return wrapped("".join(blocks))


def best_words(best: Best) -> str:
    """Return the best candidate of a data set in the last report."""
    known = best.low is not None and best.high is not None
    score = f"{best.mean:.3f} [{best.low:.3f}, {best.high:.3f}]" if known else f"{best.mean:.3f}"
    words = [brief(best.metric, 60), say("best of", count=best.candidates)]
    words += [say("tied count", count=best.tied)] if best.tied > 0 else []
    return f'{score} {escape(brief(best.label))} <span class="faint">({escape(", ".join(words))})</span>'


def sweep_facts(status: SweepStatus) -> str:
    """Return one sweep in a few lines: how far it is, and its best results."""
    found = best_results(status.folder)
    names = [f"{escape(brief(each.dataset, 60))}: " if len(found) > 1 else "" for each in found]
    best = (
        "".join(f"<div>{name}{best_words(each)}</div>" for name, each in zip(names, found, strict=True))
        or f'<div class="faint">{say("no report")}</div>'
    )
    return wrapped(f'<div class="facts">{progress_bar(status)}<span>{count_words(status)}</span></div>{best}')


def sweeps_table(statuses: Sequence[SweepStatus]) -> str:
    """Return a static page of the sweeps with their states and best results."""
    if not statuses:
        return f"{STYLE}{CSS}{wrapped(escape(say('no sweep')))}"
    rows = []
    for status in statuses:
        best = "".join(f"<div>{best_words(each)}</div>" for each in best_results(status.folder)) or say("no report")
        problem = f'<div class="wrong">{escape(say("ledger", problem=status.problem))}</div>' if status.problem else ""
        name = f'<th scope="row">{escape(brief(status.name))}</th>'
        rows.append(f"<tr>{name}<td>{count_words(status)}{problem}</td><td>{best}</td></tr>")
    head = "".join(f'<th scope="col">{word}</th>' for word in (say("sweep"), say("state"), say("best")))
    table = f'<table class="wide"><tr>{head}</tr>{"".join(rows)}</table>'
    return f"{STYLE}{CSS}{wrapped(table)}"


def span_of(rows: Sequence[Row]) -> tuple[float, float]:
    """Return the lowest and highest value that these rows' intervals reach."""
    values = [value for row in rows for value in (row.interval.low, row.interval.high, row.interval.mean) if value == value]
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high > low else (low - 0.05, high + 0.05)


def range_bar(interval: Interval, span: tuple[float, float], best: bool) -> str:
    """Draw a mean with its interval on the scale of a whole list; the best is a diamond."""

    def at(value: float) -> float:
        return 6 + 108 * (value - span[0]) / (span[1] - span[0])

    reach = f'<line class="reach" x1="{at(interval.low):.1f}" x2="{at(interval.high):.1f}" y1="8" y2="8"/>' if interval.known else ""
    x = at(interval.mean)
    shape = f"M{x - 6:.1f} 8L{x:.1f} 2L{x + 6:.1f} 8L{x:.1f} 14Z" if best else f"M{x - 4:.1f} 8a4 4 0 1 0 8 0a4 4 0 1 0 -8 0"
    return f'<svg class="range" viewBox="0 0 120 16" aria-hidden="true">{reach}<path class="point" d="{shape}"/></svg>'


def role_words(row: Row) -> list[str]:
    """Return what marks a candidate, in words: best, tied or not compared, baseline, control."""
    keys = ["best"] if row.best else ["tied"] if row.tied else [] if row.compared else ["untold"]
    return [say(key) for key in (*keys, *["baseline"] * (row.difference is None), *["control"] * row.control)]


def score_facts(row: Row, span: tuple[float, float]) -> str:
    """Return a candidate's score with its interval, what marks it, and what it costs."""
    badges = "".join(f'<span class="badge">{word}</span>' for word in role_words(row))
    known = ((name, cost.value(row.result)) for name, cost in COSTS.items())
    costs = " · ".join(say(f"so many {name}", value=figures(value)) for name, value in known if value is not None)
    bar = range_bar(row.interval, span, row.best) if row.interval.n else ""
    facts = f'<span class="number">{format_interval(row.interval)}</span>{bar}{badges}<span class="faint">{costs}</span>'
    return wrapped(f'<div class="facts">{facts}</div>')


def scored_head(scored: Scored) -> str:
    """Return what is compared and the verdict in one line, or why there is none."""
    comparison = scored.comparison
    if comparison is None:
        return wrapped(f'<div class="box wrong" role="alert">{escape(scored.problem)}</div>')
    words = say("scored", metric=comparison.metric, questions=comparison.questions, groups=comparison.clusters)
    return wrapped(f'<div class="name">{escape(headline(comparison))}</div><div class="faint">{escape(words)}</div>')


def run_details(status: SweepStatus, entry: Entry, scored: Sequence[Scored], server: Server | None) -> str:
    """Return one run: how it ended, its files, and the scores of the configurations it evaluated."""
    blocks = [f'<div class="name">{escape(brief(entry.label))}</div>', run_facts(entry), _files(status, [entry.run_id], server)]
    if entry.error.strip():
        blocks.append(
            f'<div class="box wrong trace" role="group" aria-label="{say("error")}">{folded(entry.error.strip(), 300, 900)}</div>'
        )
    own = [row for each in scored if each.comparison for row in each.comparison.rows if entry.run_id in each.runs[row.result.config_id]]
    if own:
        span = span_of(own)
        lines = "".join(f'<div class="item"><b>{escape(brief(row.label))}</b>{score_facts(row, span)}</div>' for row in own[:20])
        blocks.append(f'<div class="faint">{say("contains")}</div>{lines}')
    return wrapped("".join(blocks))


def config_details(status: SweepStatus, scored: Scored, row: Row, server: Server | None) -> str:
    """Return one configuration: its score, its difference to the baseline, the files of its runs, and all its metrics."""
    blocks = [f'<div class="name">{escape(brief(row.label))}</div><div class="faint">{escape(row.result.config_id)}</div>']
    blocks.append(score_facts(row, span_of(scored.comparison.rows if scored.comparison else [row])))
    if row.difference is not None and scored.comparison:
        difference = format_difference(row.difference).replace("adjusted p", say("adjusted p"))
        words = f"{say('difference', label=scored.comparison.baseline)}: {difference}"
        blocks.append(f'<div class="row">{escape(words)}</div>')
    blocks.append(_files(status, scored.runs[row.result.config_id], server))
    blocks += [f'<div class="box wrong">{escape(say("audit"))}: {escape(error)}</div>' for error in audit_errors([row.result])]
    lines = [
        f'<tr><th scope="row">{escape(name)}</th><td>{format_interval(row.result.interval(name))}</td></tr>' for name in row.result.scores
    ]
    head = f'<tr><th scope="col">{say("metric")}</th><th scope="col">{say("score")}</th></tr>'
    blocks.append(f"<details><summary>{say('all metrics')} ({len(lines)})</summary><table>{head}{''.join(lines)}</table></details>")
    return wrapped("".join(blocks))


def _files(status: SweepStatus, run_ids: Sequence[str], server: Server | None) -> str:
    """Return links to the executed notebooks of runs and to the report."""
    links: list[str] = []
    for run_id in run_ids[:3]:
        notebook = executed_notebook(status.folder, run_id)
        links.append(link(notebook, say("notebook"), server) if notebook else escape(say("no notebook")))
    links += [link(status.report, say("report"), server)] if status.report else []
    folders: dict[str, Path] = run_folders(status.folder) | run_folders(status.folder, "failed")
    places = [
        f"{say('folder')}: <code>{escape(_short(folders[run_id], status.folder))}</code>" for run_id in run_ids[:3] if run_id in folders
    ]
    return f'<div class="row">{" · ".join(dict.fromkeys(links))}</div><div class="faint">{" · ".join(places)}</div>'


def _short(path: Path, sweep: Path) -> str:
    return path.relative_to(sweep.parent).as_posix()
