"""Decide what to use: choose a candidate on some questions, confirm it on others, and say both in plain words (ST2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from workbench import models
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.registry import split_spec, unknown
from workbench.report import (
    MAX_LOST,
    Comparison,
    Row,
    check_comparable,
    compare,
    first_candidate,
    format_difference,
    format_interval,
)
from workbench.report_choice import choose, confirmed_words, declared, keeping_up, rough, shrinkage
from workbench.report_costs import cheapest, contenders
from workbench.report_ties import MOST_PAIRED, listed, tested
from workbench.stats import Interval

TRAIN, CONFIRMATION = "train", "confirmation"
ADVICE = "run the choice and the baseline with --split confirmation"


@dataclass(frozen=True)
class Decision:
    """Hold a choice and what questions that did not make it say of it; without a confirmation, `problem` says why, and what to do."""

    metric: str
    baseline: RunResult
    chosen: RunResult
    label: str  # of the chosen
    baseline_label: str
    selection: Comparison  # of all candidates, on the questions that choose
    confirmation: Comparison | None  # of the chosen, the baseline and the controls, on questions that chose nothing
    shrinkage: Interval | None  # score on the questions that chose minus score on the others
    problem: str
    verdict: str

    @property
    def held(self) -> bool:
        """Tell whether the confirmation questions do not show the choice to be worse than the baseline."""
        rows = self.confirmation.rows if self.confirmation else ()
        return not any(row.result.config_id == self.chosen.config_id and row.difference and row.difference.high < 0 for row in rows)

    @property
    def recommended(self) -> RunResult:
        """Return what to use: the choice, or the baseline where the confirmation shows the choice to be worse."""
        return self.chosen if self.held else self.baseline


def decide(
    results: Sequence[RunResult],
    metric: str | None = None,
    baseline: str | None = None,
    prices: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Decision:
    """Choose among results on the questions of the selection part (and train), and confirm the choice on the confirmation questions.

    Chosen is the cheapest of the contenders (`report_costs.contenders`). On the confirmation questions only its difference to the baseline
    (a config id, default the first result that is no control) is tested. `prices` gives the price of one unit of a cost for each question
    (`report_costs.PRICED`). Training questions do not choose where a candidate learned from them. `metric` defaults to the primary one.
    Raise WorkbenchError for results that cannot be compared, or when more than 2 % of the choosing questions lack a score.
    """
    _check_candidates(results)
    whole = {result.config_id: result for result in results}
    base = first_candidate(results) if baseline is None else baseline
    if base not in whole:
        raise unknown("baseline", base, whole)
    choosing, problem = _choosing(results)
    selection = compare(_within(results, choosing) if choosing else results, metric, base, seed, prices)
    chosen = choose(selection, prices).config_id
    row = _row(selection, chosen)
    confirmed = None
    if len(results) == 1:
        words = f"{row.label} scores {format_interval(whole[chosen].interval(selection.metric))} on all questions ({selection.metric}). "
        words += "There is one candidate, so nothing is chosen."
        return Decision(selection.metric, whole[base], whole[chosen], row.label, row.label, selection, None, None, "", words)
    if not problem:
        controls = [other.result.config_id for other in selection.rows if other.control]
        again = _within([whole[name] for name in dict.fromkeys([base, chosen, *controls])], {CONFIRMATION})
        confirmed = compare(again, selection.metric, base, seed)
        problem = _shortage(confirmed)
    elif choosing == {CONFIRMATION}:
        problem = _confirmation_alone(selection)
    if problem or confirmed is None:
        confirmed, lost, words = None, None, _unconfirmed(row, selection, problem)
    else:
        confirmed = _relabelled(confirmed, {other.result.config_id: other.label for other in selection.rows})
        second = declared(confirmed, _row(confirmed, chosen), seed)
        clusters = (row.result.values(selection.metric)[1], second.result.values(selection.metric)[1])
        lost = shrinkage(row.interval, second.interval, clusters)
        words = confirmed_words(second, row.interval, lost, confirmed)
        rows = tuple(second if other.result.config_id == chosen else other for other in confirmed.rows)
        confirmed = replace(confirmed, rows=rows, verdict=words)
    verdict = f"Use {row.label}: {_reason(row, selection, prices)}{words}"
    decision = Decision(
        selection.metric, whole[base], whole[chosen], row.label, selection.baseline, selection, confirmed, lost, problem, verdict
    )
    if decision.held:
        return decision
    return replace(
        decision, verdict=f"Keep the baseline {selection.baseline}, for the choice does not hold. {verdict.replace('Use', 'Chosen was', 1)}"
    )


def learns(result: RunResult) -> bool:
    """Tell whether a candidate saw training questions: as shots, or through a model that was trained here."""
    names = (split_spec(spec)[1] or "" for spec in (result.settings.embedder, result.settings.reranker, result.settings.generator))
    return result.settings.shot_count > 0 or any(name.startswith(models.TRAINED) for name in names)


def _check_candidates(results: Sequence[RunResult]) -> None:
    """Raise WorkbenchError unless each result is another configuration, asked and divided alike."""
    check_comparable(results)
    ids = [result.config_id for result in results]
    counted = Counter(ids)
    twice = next((name for name in ids if counted[name] > 1), "")
    if twice:
        seeds = ", ".join(str(result.settings.seed) for result in results if result.config_id == twice)
        raise WorkbenchError(f"{twice} stands there more than once (seeds {seeds}); decide with one seed at a time")
    for result in results[1:]:
        if result.parts != results[0].parts:
            raise WorkbenchError(
                f"{ids[0]} and {result.config_id} divide the questions otherwise, so what chooses one confirms the other; use the same seed"
            )


def _within(results: Sequence[RunResult], parts: Collection[str]) -> list[RunResult]:
    return [part for result in results if (part := result.within(parts)) is not None]


def _choosing(results: Sequence[RunResult]) -> tuple[set[str], str]:
    """Return the parts of the split that choose (none: every question does), and why there are no others to confirm on."""
    present = set(results[0].parts)
    if not present:
        return set(), (
            "Not confirmed: the questions cannot be divided into parts that share no document group; add questions about other documents."
        )
    choosing = present - {CONFIRMATION} or present
    if TRAIN in choosing and any(map(learns, results)):
        choosing -= {TRAIN}
    if not choosing:
        raise WorkbenchError("nothing can be chosen on questions that a candidate was trained on or shown; use --split selection or test")
    confirms = CONFIRMATION in present - choosing
    groups = {cluster for cluster, part in zip(results[0].clusters, results[0].parts, strict=True) if part == CONFIRMATION}
    if confirms and len(groups) < 2:
        return choosing | {
            CONFIRMATION
        }, "Not confirmed: there are too few document groups, so all questions chose; ask about more documents."
    return choosing, "" if confirms else f"Not confirmed: no confirmation question was asked; {ADVICE}."


def _confirmation_alone(selection: Comparison) -> str:
    """Say what results on confirmation questions alone are good for: they confirm a pair that was declared before."""
    others = [row.label for row in selection.rows if not row.control and row.difference is not None]
    if len(others) == 1:
        return f"These are the confirmation questions: they confirm {others[0]} if it was chosen on others, and nothing if it was not."
    return f"Not confirmed: the confirmation questions chose; choose with --split selection, then {ADVICE} only."


def _shortage(confirmed: Comparison) -> str:
    """Say why the confirmation questions confirm nothing; "" where they do."""
    if not confirmed.questions:
        return f"Not confirmed: {confirmed.metric} has no score on any confirmation question; ask more questions."
    if confirmed.lost > MAX_LOST:
        return f"Not confirmed: {confirmed.lost:.1%} of the confirmation questions lack a score; run what failed again."
    if confirmed.clusters < 2:
        return "Not confirmed: the confirmation questions are all about one document group; add questions about other documents."
    return ""


def _row(comparison: Comparison, config_id: str) -> Row:
    return next(row for row in comparison.rows if row.result.config_id == config_id)


def _relabelled(comparison: Comparison, names: Mapping[str, str]) -> Comparison:
    """Name few candidates as they were named among all."""
    rows = tuple(replace(row, label=names[row.result.config_id]) for row in comparison.rows)
    return replace(comparison, rows=rows, baseline=next(row.label for row in rows if row.difference is None))


def _reason(row: Row, selection: Comparison, prices: Mapping[str, float] | None) -> str:
    """Say why a candidate was chosen."""
    sure, among = f"95 %, {tested(len(selection.rows))}", contenders(selection.rows)
    candidates = [other for other in selection.rows if not other.control] or list(selection.rows)
    best, controls = candidates[0], [other.label for other in selection.rows if other.control and other.tied and other is not row]
    said = cheapest(among, selection.metric, prices)[1]
    others, untold = sum(other.tied for other in candidates if other is not row), sum(not other.compared for other in candidates)
    if len(candidates) == 1:
        words = "only controls stand beside it. "
    elif row is best and not others and untold:
        words = f"it scores higher than each other one of the best {MOST_PAIRED} ({sure}). "
    elif row is best and not others:
        words = f"it scores higher than every other candidate{' that is meant to win' * (len(candidates) < len(selection.rows))} ({sure}). "
    elif row is best and len(among) == 1:
        words = f"it scores highest; {others} more cannot be told from it ({sure}), none close enough to be preferred for its cost. "
    elif row is best:
        words = f"it scores highest; {others} more cannot be told from it ({sure}). {said or 'No known cost tells the closest apart. '}"
    else:
        words = f"it cannot be told from the best, {best.label} ({sure}), and lies within one standard error of it. {said}"
    if untold:
        words += f"{untold:,} lower ones are too close to the best to tell, but were not compared in pairs. "
    if controls:
        named = listed(controls, len(selection.rows))
        words += f"Controls cannot be told from the best either ({named}): suspect a fault or too easy a task. "
    return words


def _unconfirmed(row: Row, selection: Comparison, problem: str) -> str:
    """Say what the choice scored on the questions that chose it."""
    words = f"It scores {format_interval(row.interval)} on the {row.interval.n} questions that chose it ({selection.metric}). "
    words += keeping_up(row, selection) + rough(selection)
    if row.difference is None:
        return words + "It is the baseline. " * (len(selection.rows) > 1) + problem
    return words + f"Against the baseline {selection.baseline}: {format_difference(row.difference)}. {problem}"
