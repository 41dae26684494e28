"""Tell whether a candidate is worse than a baseline by more than is allowed: by the bounds of the paired difference, never by its mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from workbench import stats, stats_power
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.report import MAX_LOST
from workbench.report_pairs import Candidate, apart, difference, find, listed
from workbench.report_power import paired_scores, rounded

PASS, FAIL, UNDECIDED = "pass", "fail", "undecided"


@dataclass(frozen=True)
class Gate:
    """Hold the outcome of a gate: `pass`, `fail` or `undecided`, the difference candidate - baseline, and a sentence that says why."""

    outcome: str
    metric: str
    max_drop: float
    baseline: Candidate
    candidate: Candidate
    interval: stats.Interval
    needed: float  # questions that about would tell; NaN where it is decided or nothing tells, infinite where no number would
    sentence: str


def check(baseline: Candidate, candidate: Candidate, max_drop: float, metric: str | None = None) -> Gate:
    """Test a candidate against a baseline on the same questions, by the 95 % interval of the paired difference candidate - baseline.

    `pass`: its lower bound is at least -max_drop. `fail`: its upper bound is below -max_drop. Else the data cannot tell. Raise
    WorkbenchError for different data, questions or primary metrics, and where over 2 % of the questions lack a score on either side.
    """
    if not 0 <= max_drop < 1:
        raise WorkbenchError(
            f"max-drop {max_drop:g} must be at least 0 and below 1, on the scale of the metric: 0.02 allows two points of 100"
        )
    old, new = baseline.result, candidate.result
    if old.data["fingerprint"] != new.data["fingerprint"] or old.example_ids != new.example_ids:
        raise WorkbenchError(apart(baseline.sources[0], old, candidate.sources[0], new))
    if metric is None and old.settings.primary != new.settings.primary:
        raise WorkbenchError(f"the primary metrics differ ({old.settings.primary}, {new.settings.primary}); name one with --metric")
    metric = metric or old.settings.primary
    interval, lost = difference(new, old, metric)
    if not interval.n:
        raise WorkbenchError(f"{metric}: no question was scored by both, so nothing can be told; run what failed again")
    if lost > MAX_LOST:
        raise WorkbenchError(
            f"{metric}: {lost:.1%} of the questions lack a score in the baseline or the candidate, more than {MAX_LOST:.0%}; "
            "run what failed again"
        )
    outcome = UNDECIDED
    if interval.low >= -max_drop:
        outcome = PASS
    elif interval.high < -max_drop:
        outcome = FAIL
    needed = _needed(old, new, metric, max_drop) if outcome == UNDECIDED and interval.known else math.nan
    sentence = _sentence(outcome, interval, max_drop, metric, needed)
    return Gate(outcome, metric, max_drop, baseline, candidate, interval, needed, sentence)


def choose(baselines: Sequence[Candidate], candidates: Sequence[Candidate], config: str = "") -> tuple[Candidate, Candidate]:
    """Return the baseline and the candidate to test: the only one of each side, else the one that `config` names.

    Without a name the config id that the other side has decides, where exactly one fits; else WorkbenchError lists what there is.
    """
    sides = []
    for mine, others in ((baselines, candidates), (candidates, baselines)):
        fitting = list(mine)
        if config and len(mine) > 1:
            fitting = [find(mine, config)]
        elif len(mine) > 1:
            known = {other.result.config_id for other in others}
            fitting = [one for one in mine if one.result.config_id in known]
        if len(fitting) != 1:
            raise WorkbenchError(f"which configuration of {mine[0].sources[0]}? Name one with --config: {listed(mine)}")
        sides.append(fitting[0])
    if config and not any(one.result.config_id.startswith(config) for one in sides):
        raise WorkbenchError(f"no configuration has the config id {config!r}; there are: {listed(sides)}")
    return sides[0], sides[1]


def _needed(old: RunResult, new: RunResult, metric: str, max_drop: float) -> float:
    """Return how many questions would show on which side of -max_drop the difference lies, if it is as seen (power 80 %)."""
    table, clusters = paired_scores([new, old], metric)
    pilot = stats_power.pilot(table[:, 0] - table[:, 1], clusters)
    distance = pilot.difference + max_drop
    if pilot.se <= stats.STILL:
        return math.nan
    if abs(distance) <= stats.STILL:
        return math.inf
    return stats_power.questions_needed(pilot, distance).questions


def _sentence(outcome: str, interval: stats.Interval, max_drop: float, metric: str, needed: float) -> str:
    bounds = f"[{interval.low:+.3f}, {interval.high:+.3f}]" if interval.known else "[unknown]"
    words = (
        f"{metric}, {interval.n} question{'s' * (interval.n != 1)} in {interval.clusters} document group{'s' * (interval.clusters != 1)}: "
    )
    words += f"candidate - baseline {interval.mean:+.3f} {bounds}. "
    limit = f"a drop of {max_drop:g}, the most that is allowed"
    if outcome == PASS:
        words += f"A drop of more than {max_drop:g} is ruled out (95 % interval)."
    elif outcome == FAIL:
        words += f"A drop of more than {max_drop:g} is shown (95 % interval)."
    elif not interval.known:
        words += "Too few document groups to tell how sure that is; ask questions about other documents."
    elif math.isnan(needed):
        words += f"The interval contains {limit}, and nothing varies between the questions that would tell how many more it takes."
    elif math.isinf(needed):
        words += f"The difference seen is {limit}: more questions would not tell."
    else:
        words += f"The interval contains {limit}; about {rounded(needed)} questions in all would tell, if the difference is as seen."
    if interval.clusters < stats.FEW_CLUSTERS:
        words += f" With fewer than {stats.FEW_CLUSTERS} document groups this interval is rough."
    return words


def settings_changed(gate: Gate) -> list[str]:
    """Return the settings in which the two differ, as "chunk_size 256 -> 128"."""
    sides = (gate.baseline, gate.candidate)
    old, new = (one.result.settings.model_dump() | {"seed": " and ".join(map(str, one.seeds))} for one in sides)
    return [f"{name} {old[name]} -> {new[name]}" for name in old if old[name] != new[name]]
