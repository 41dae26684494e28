"""The command line of comparisons: `workbench compare` across sweeps, and `workbench gate` for CI.

Exit codes: 0 ok, or the gate passes · 1 the gate fails · 2 wrong use, or results that cannot be paired · 3 an audit check failed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench import cli_options as options
from workbench.datatypes import WorkbenchError

if TYPE_CHECKING:
    from workbench.evaluation import RunResult
    from workbench.report import Comparison
    from workbench.report_gate import Gate
    from workbench.report_pairs import Candidate, Change, Pair

FAILED, AUDIT = 1, 3
TEXT = 100  # characters shown of each question
Metric = Annotated[str | None, typer.Option(help="Metric to compare by; default the primary one of the results.")]


def compare(
    paths: Annotated[list[Path], typer.Argument(help="Output folders of sweeps, folders of runs, or files result.json.")],
    metric: Metric = None,
    baseline: Annotated[str, typer.Option(help="Config id of the baseline, or how it begins; default the first that is no control.")] = "",
    left: Annotated[str, typer.Option(help="Config id to look at question by question; default the best of the first path.")] = "",
    right: Annotated[str, typer.Option(help="Config id to compare it with; default the best of the second path.")] = "",
    show: Annotated[int, typer.Option(min=0, help="Questions shown that changed most, in either direction.")] = 10,
    as_json: options.JsonOutput = False,
) -> None:
    """Compare the results of several sweeps on the same questions.

    Shows one leaderboard, and two configurations question by question. A config id that stands in several paths means for --left the one
    of the first path, for --right that of the second. Several seeds of a configuration become one candidate, by their means.
    """
    from workbench import report_pairs
    from workbench.cli_print import print_leaderboard
    from workbench.report_json import leaderboard, plain

    sources = _load(paths)
    groups, notes = report_pairs.join(sources)
    first, second = str(paths[0]), str(paths[min(1, len(paths) - 1)])
    among, records = [result for results in sources.values() for result in results], []
    for name, candidates in _with(groups, [wanted for wanted in (baseline, left, right) if wanted]).items():
        base = report_pairs.find(candidates, baseline, first) if baseline else None
        comparison = report_pairs.joint(candidates, metric, base)
        one = report_pairs.find(candidates, left, first) if left else _best(comparison, candidates, first)
        but = one if len(paths) == 1 else None
        other = report_pairs.find(candidates, right, second) if right else _best(comparison, candidates, second, but)
        pair = report_pairs.pair(one, other, comparison.metric, among) if other is not one else None
        record = {"name": name, "metric": comparison.metric, "verdict": comparison.verdict, "leaderboard": leaderboard(comparison)}
        records.append(record | {"pair": _pair_record(pair) | {"picked": not (left and right)} if pair else None})
        if not as_json:
            print_leaderboard(name, comparison)
            _print_pair(pair, show, not (left and right)) if pair else _say(
                f"Both sides are {one.label} ({one.result.config_id}): name two with --left and --right."
            )
    errors = _audit_errors([candidate for candidates in groups.values() for candidate in candidates])
    if as_json:
        _print_json(plain({"data_sets": records, "notes": notes}))
    else:
        for note in notes:
            _say(note)
    raise typer.Exit(AUDIT if errors else 0)


def gate(
    baseline: Annotated[Path, typer.Option(help="Result or folder to hold on to.")],
    candidate: Annotated[Path, typer.Option(help="Result or folder to test.")],
    max_drop: Annotated[float, typer.Option(help="Drop of the metric that is allowed, such as 0.02.")],
    metric: Metric = None,
    config: Annotated[str, typer.Option(help="Config id, or how it begins, where a folder holds several.")] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Fail as well when the data cannot tell.")] = False,
    as_json: options.JsonOutput = False,
) -> None:
    """Fail when a candidate is shown to be worse than a baseline.

    Pass: the 95 % interval of candidate - baseline, question by question, rules out a drop of more than --max-drop. Fail: it shows one.
    Else undecided: the data cannot tell; that is a warning, and with --strict a failure. Several seeds of a configuration become one, by
    their means.
    """
    from workbench import report_gate, report_pairs
    from workbench.report_json import plain

    sides = []
    for path in (baseline, candidate):
        results = report_pairs.load_any(path)
        sides.append([one for group in report_pairs.join({str(path): results})[0].values() for one in group])
    found = report_gate.check(*report_gate.choose(*sides, config), max_drop, metric)
    errors = _audit_errors([found.baseline, found.candidate])
    if as_json:
        _print_json(plain(_gate_record(found, errors)))
    else:
        _print_gate(found, strict)
    fails = found.outcome == report_gate.FAIL or (strict and found.outcome == report_gate.UNDECIDED)
    raise typer.Exit(AUDIT if errors else FAILED if fails else 0)


def _load(paths: Sequence[Path]) -> dict[str, list[RunResult]]:
    from workbench.report_pairs import load_any

    found: dict[str, list[RunResult]] = {}
    for path in paths:
        if str(path) in found:
            raise WorkbenchError(f"{path} is named twice; name each path once")
        found[str(path)] = load_any(path)
    return found


def _with(groups: Mapping[str, Sequence[Candidate]], wanted: Sequence[str]) -> dict[str, Sequence[Candidate]]:
    """Keep the data sets that have each of these config ids."""
    from workbench.report_pairs import listed

    kept = {
        name: candidates
        for name, candidates in groups.items()
        if all(any(one.result.config_id.startswith(prefix) for one in candidates) for prefix in wanted)
    }
    if not kept:
        held = listed(one for candidates in groups.values() for one in candidates)
        raise WorkbenchError(f"no data set has a configuration {' and one '.join(map(repr, wanted))}; there are: {held}")
    return kept


def _best(comparison: Comparison, candidates: Sequence[Candidate], source: str, but: Candidate | None = None) -> Candidate:
    """Return the best candidate of a source, controls only where there is nothing else; another one than `but` where there is one."""
    by_label = {candidate.label: candidate for candidate in candidates}
    rows = [row for row in comparison.rows if source in by_label[row.label].sources]
    rows = [row for row in rows if by_label[row.label] is not but] or rows
    return by_label[next((row for row in rows if not row.control), rows[0]).label]


def _audit_errors(candidates: Sequence[Candidate]) -> list[str]:
    from workbench.report import audit_errors

    errors = [f"{error} (in {' and '.join(one.sources)})" for one in candidates for error in audit_errors([one.result])]
    for error in dict.fromkeys(errors):  # seeds may say the same
        _say(f"AUDIT ERROR {error}", error=True)
    return errors


def _print_pair(pair: Pair, show: int, picked: bool) -> None:
    from workbench.report import format_interval

    _say("Question by question:")
    for word, side in (("left ", pair.left), ("right", pair.right)):
        score = format_interval(side.result.interval(pair.metric))
        _say(f"  {word} {side.result.config_id}  {side.label}  {score}  in {' and '.join(side.sources)}")
    lost = f"; {pair.lost:.1%} of the questions are left out, because one side has no score" if pair.lost else ""
    _say(f"  left wins {pair.wins}, loses {pair.losses}, ties {pair.ties}; left - right {_difference(pair)}{lost}")
    if picked:  # ST2
        _say("  (these questions picked the pair, so this interval flatters it; the leaderboard corrects for the number of candidates)")
    for words, sign in (("left scores higher", 1), ("right scores higher", -1)):
        changes = [change for change in pair.changes if sign * change.difference > 1e-12]
        if changes and show:
            _say(f"  {words}, {min(show, len(changes))} of {len(changes)} questions:")
            for change in changes[:show]:
                _say(f"    {_change(change)}")


def _change(change: Change) -> str:
    text = " ".join(change.question.split())
    return f"{change.left:.3f} {change.right:.3f} {change.difference:+.3f}  {change.id}  {text[:TEXT]}{'…' * (len(text) > TEXT)}".rstrip()


def _difference(pair: Pair) -> str:
    from workbench.report import format_difference

    return format_difference(pair.interval).replace("adjusted p", "p") if pair.interval.n else "unknown: no question was scored by both"


def _pair_record(pair: Pair) -> dict[str, Any]:
    from workbench.report_json import difference

    return {
        "left": _side(pair.left),
        "right": _side(pair.right),
        "wins": pair.wins,
        "losses": pair.losses,
        "ties": pair.ties,
        "lost": pair.lost,
        "difference": difference(pair.interval),
        "questions": [
            {"id": change.id, "question": change.question, "left": change.left, "right": change.right, "difference": change.difference}
            for change in pair.changes
        ],
    }


def _side(candidate: Candidate) -> dict[str, Any]:
    result = candidate.result
    return {"config_id": result.config_id, "seeds": list(candidate.seeds), "label": candidate.label, "sources": list(candidate.sources)}


def _gate_record(gate: Gate, errors: Sequence[str]) -> dict[str, Any]:
    from workbench.report_gate import settings_changed
    from workbench.report_json import difference, score

    sides = (("baseline", gate.baseline), ("candidate", gate.candidate))
    return {
        "outcome": gate.outcome,
        "metric": gate.metric,
        "max_drop": gate.max_drop,
        **{name: _side(side) | {"score": score(side.result.interval(gate.metric))} for name, side in sides},
        "difference": difference(gate.interval),
        "questions_needed": gate.needed,
        "settings_changed": settings_changed(gate),
        "audit_errors": list(errors),
        "sentence": gate.sentence,
    }


def _print_gate(gate: Gate, strict: bool) -> None:
    from workbench.report import format_interval
    from workbench.report_gate import UNDECIDED, settings_changed

    for word, side in (("baseline ", gate.baseline), ("candidate", gate.candidate)):
        _say(f"{word} {side.result.config_id}  {format_interval(side.result.interval(gate.metric))}  in {' and '.join(side.sources)}")
    _say(f"settings   {', '.join(settings_changed(gate)) or 'the same'}")
    _say(f"{gate.outcome}: {gate.sentence}")
    if gate.outcome == UNDECIDED and not strict:
        _say("WARNING not decided, which is let through; --strict fails it", error=True)


def _print_json(record: Mapping[str, Any]) -> None:
    typer.echo(json.dumps(record, ensure_ascii=False, indent=1, allow_nan=False))


def _say(text: str, error: bool = False) -> None:
    from workbench.cli_print import say

    say(text, error)
