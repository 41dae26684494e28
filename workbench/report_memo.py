"""Write the decision memo that opens a report: what to use, how sure that is, what it costs, what was not tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.evaluation import RunResult
from workbench.report import EXTRACTIVE, format_difference, format_interval
from workbench.report_costs import COSTS, cost_per_1000, figures
from workbench.report_power import power_sentences
from workbench.report_svg import own
from workbench.report_winner import Decision
from workbench.report_words import limits
from workbench.settings import Settings
from workbench.storage import canonical_json

LEFT_OUT = ("dataset", "primary", "budgets", "split", "seed")  # settings that no decision is about


def memo_title(decision: Decision) -> str:
    """Return the decision in one line."""
    if len(decision.selection.rows) == 1:
        return f"One candidate, {decision.label}: nothing to choose"
    if decision.recommended is decision.baseline:
        return f"Keep the baseline, {decision.baseline_label}" + f": {decision.label} did not hold" * (not decision.held)
    return f"Use {decision.label}" + ("" if decision.confirmation else ", not confirmed yet")


def memo_parts(decision: Decision, results: Sequence[RunResult], prices: Mapping[str, float] | None = None) -> list[tuple[str, list[str]]]:
    """Return the parts of a memo, each a heading and its sentences: plain text."""
    alone = len(decision.selection.rows) == 1
    parts = [
        ("What to use", [_changes(decision.recommended.settings, decision.baseline.settings, decision.baseline_label)]),
        ("How sure", [decision.verdict]),
        ("What it costs", _costs(decision, prices)),
        ("What more questions would show", power_sentences(decision.selection)),
        (
            "What was not tested",
            limits(results, confirmed=alone or decision.confirmation is not None),
        ),
    ]
    return [(heading, sentences) for heading, sentences in parts[alone:] if sentences]


def memo_scores(decision: Decision) -> list[tuple[str, str]]:
    """Return the figures of a memo, each with its name: plain text."""
    chosen = next(row for row in decision.selection.rows if row.result.config_id == decision.chosen.config_id)
    found = [(f"{decision.metric}, {chosen.interval.n} questions that chose", format_interval(chosen.interval))]
    if decision.confirmation:
        row = next(row for row in decision.confirmation.rows if row.result.config_id == decision.chosen.config_id)
        found.append((f"{decision.metric}, {row.interval.n} questions that did not", format_interval(row.interval)))
        if row.difference is not None:
            found.append((f"against {decision.baseline_label}", format_difference(row.difference)))
    elif chosen.difference is not None:
        found.append((f"against {decision.baseline_label}, simultaneous", format_difference(chosen.difference)))
    if decision.shrinkage is not None:
        found.append(("shrinkage", format_difference(decision.shrinkage).partition(", adjusted")[0]))
    return found


def memo_html(
    decision: Decision | None, problem: str, results: Sequence[RunResult], prices: Mapping[str, float] | None, anchor: str
) -> str:
    """Return the memo of one data set as HTML; without a decision, why there is none."""
    if decision is None:
        notice = f'<div class="notice warning"><strong>No decision.</strong> {own(problem)}</div>'
        return notice + _listed(limits(results), "What was not tested")
    scores = "".join(f"<div><dt>{own(name)}</dt><dd>{own(value)}</dd></div>" for name, value in memo_scores(decision))
    parts = []
    for heading, sentences in memo_parts(decision, results, prices):
        said = (
            f"<p>{own(sentences[0])}</p>" if len(sentences) == 1 else f"<ul>{''.join(f'<li>{own(each)}</li>' for each in sentences)}</ul>"
        )
        parts.append(f"<dt>{own(heading)}</dt><dd>{said}</dd>")
    title = f'<p class="eyebrow">Decision</p><p class="headline">{own(memo_title(decision))}</p>'
    return f'<div class="memo" id="{anchor}-decision">{title}<dl class="scores">{scores}</dl><dl class="parts">{"".join(parts)}</dl></div>'


def _listed(sentences: Sequence[str], heading: str) -> str:
    return f"<h3>{heading}</h3><ul>{''.join(f'<li>{own(each)}</li>' for each in sentences)}</ul>"


def _changes(chosen: Settings, baseline: Settings, name: str) -> str:
    """Say which settings of the choice differ from the baseline's."""
    mine, other = (settings.model_dump(mode="json") for settings in (chosen, baseline))
    changed = [
        f"{field} {_plain(mine[field])} (not {_plain(other[field])})"
        for field in mine
        if field not in LEFT_OUT and mine[field] != other[field]
    ]
    if not changed:
        return f"The baseline as it is: {name}."
    return f"Compared with the baseline, {name}: {', '.join(changed)}."


def _plain(value: Any) -> str:
    return value or "none" if isinstance(value, str) else canonical_json(value)


def _costs(decision: Decision, prices: Mapping[str, float] | None) -> list[str]:
    """Say what 1,000 questions cost, and the size of the index, beside the baseline."""
    same = decision.chosen is decision.baseline
    pairs: Sequence[tuple[RunResult, str]] = [(decision.chosen, decision.label)]
    pairs = pairs if same else [*pairs, (decision.baseline, f"the baseline {decision.baseline_label}")]
    return [f"{name}: {_spent(result, prices)}." for result, name in pairs]


def _spent(result: RunResult, prices: Mapping[str, float] | None) -> str:
    spent = cost_per_1000(result, prices)
    words = []
    if spent["money"] is not None:
        words.append(f"{figures(spent['money'])} for 1,000 questions at the prices given")
    if spent["tokens"] is not None:
        words.append(f"{figures(spent['tokens'])} tokens for 1,000 questions, prompts and answers")
    elif result.settings.generator not in ("none", EXTRACTIVE):
        words.append("the tokens of its answers are not known")
    else:
        words.append("no tokens, since no language model answered")
    size, chunks = COSTS["index MB"].value(result), COSTS["chunks"].value(result)
    words += [f"an index of {figures(size)} MB"] if size is not None else []
    words += [f"{chunks:,} chunks"] if chunks is not None else []
    return ", ".join(words)
