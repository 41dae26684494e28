"""Show what each varied setting changes on average, and how much results change from seed to seed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench import metrics, stats, stats_effects
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.registry import unknown
from workbench.report import MAX_LOST, Comparison, _controls, check_comparable, format_difference
from workbench.report_labels import labels, varying
from workbench.report_markdown import Markdown, markdown_table
from workbench.report_power import paired_scores
from workbench.report_shown import SHOWN
from workbench.report_svg import own
from workbench.report_tables import number_cell, table
from workbench.settings import ANSWER_FIELDS, SHOT_FIELDS, Settings
from workbench.stats_effects import Axis, Design

NO_AXES = ("dataset", "split", "limit", "primary", "seed", "options")  # options count one by one
JOIN = " + "  # of settings that vary together


@dataclass(frozen=True)
class Effect:
    """Hold what a value of a setting changes on average, against a reference value; settings that vary together are one."""

    field: str
    value: str
    reference: str
    interval: stats.Interval  # simultaneous over all effects
    blocks: int  # combinations of the other settings that it is the mean of
    reverses: bool = False  # some blocks show a gain and others a loss


@dataclass(frozen=True)
class SeedVariance:
    """Hold how the mean of one configuration varies between seeds, beside its standard error over questions."""

    config_id: str
    seeds: tuple[int, ...]
    mean: float
    sd: float  # of the mean, from seed to seed on the same questions; NaN for one seed
    se: float  # over questions, of the mean of all seeds


def main_effects(results: Sequence[RunResult], metric: str, seed: int = 0, baseline: str | None = None) -> list[Effect]:
    """Return the effect of each value of each setting that varies, controls left out; all intervals hold together (max-T).

    The reference is the baseline's value (`baseline` is a config id), else the first met. An effect is averaged over all complete blocks:
    combinations of the other settings in which every value of this one was run. Settings without one are left out (`left_out` names them).
    Configurations with several seeds must be merged before.
    """
    for result in results:
        metrics.check_metric(metric, list(result.scores))
    candidates, axes, _ = _design(results, metric, baseline)
    named = [(axis, value) for axis in axes for value in axis.values[1:]]
    if not named:
        return []
    scores, clusters = paired_scores(candidates, metric)
    among = [axis.pairs(value) for axis, value in named]
    together = stats.max_t(stats_effects.contrasts(scores, among), clusters, seed)
    single = iter(stats.max_t(stats_effects.contrasts(scores, [[pair] for pairs in among for pair in pairs]), clusters, seed))
    found = []
    for (axis, value), interval, pairs in zip(named, together, among, strict=True):
        reverses = stats_effects.reversed_blocks([next(single) for _ in pairs])
        found.append(Effect(JOIN.join(axis.settings), _plain(value), _plain(axis.values[0]), interval, len(pairs), reverses))
    return found


def left_out(results: Sequence[RunResult], metric: str) -> list[str]:
    """Name the settings that vary, but of which no combination of the others has every value."""
    return _design(results, metric)[2]


def _design(results: Sequence[RunResult], metric: str, baseline: str | None = None) -> tuple[list[RunResult], list[Axis], list[str]]:
    """Return the candidates without controls, the axes that they vary on, and the settings that are no axis."""
    check_comparable(results)
    ids = [result.config_id for result in results]
    if baseline is not None and baseline not in ids:
        raise unknown("baseline", baseline, ids)
    candidates = [result for result, control in zip(results, _controls(results, metric), strict=True) if not control]
    counted = Counter(ids)
    twice = sorted({result.config_id for result in candidates if counted[result.config_id] > 1}) if len(counted) < len(ids) else []
    if twice:
        raise WorkbenchError(f"{', '.join(twice)}: several results of one configuration; merge their seeds first (merge_seeds)")
    reference = next((place for place, result in enumerate(candidates) if result.config_id == baseline), 0)
    fields = [field for field in varying(candidates) if field not in NO_AXES]
    axes, alone = stats_effects.find_axes([_values(result.settings, fields) for result in candidates], reference)
    return candidates, axes, alone


def _values(settings: Settings, fields: Sequence[str]) -> Design:
    """Return the values of a configuration's settings and options; None where one does nothing."""
    values: dict[str, Hashable] = {field: None if _idle(settings, field) else getattr(settings, field) for field in fields}
    options = {f"{part}.{name}": repr(value) for part, knobs in settings.options.items() for name, value in knobs.items()}
    return values | options


def _idle(settings: Settings, field: str) -> bool:
    """Tell whether a setting does nothing in a configuration; no reranker is a value like any other."""
    if field in ("embedder", "index"):
        return getattr(settings, field) == "none"
    return (settings.generator == "none" and field in ANSWER_FIELDS) or (not settings.shot_count and field in SHOT_FIELDS)


def _plain(value: Sequence[Hashable]) -> str:
    return JOIN.join("none" if part in ("", None) else str(part) for part in value)


HEADER = ("setting", "value", "compared with", "mean difference [95 %, simultaneous]", "adjusted p", "combinations")


def effects_table(found: Sequence[Effect]) -> Markdown:
    """Render main effects as a Markdown table."""
    return markdown_table(HEADER, [_cells(effect) for effect in found])


def _cells(effect: Effect) -> list[str]:
    difference, _, p = format_difference(effect.interval).partition(", adjusted p ")
    return [effect.field, effect.value, effect.reference, difference, p, f"{effect.blocks}{' (reverses)' * effect.reverses}"]


def effect_sentences(found: Sequence[Effect], alone: Sequence[str] = ()) -> list[str]:
    """Say which values change the score on average, which turn around with the other settings, and which settings are left out."""
    words = []
    for effect in found:
        if effect.interval.low > 0 or effect.interval.high < 0:
            change = "gains" if effect.interval.mean > 0 else "loses"
            words.append(
                f"{effect.field}: {effect.value} {change} on average against {effect.reference}, {format_difference(effect.interval)}."
            )
    if found and not words:
        words.append("No setting by itself is shown to change the score on average.")
    words += [
        f"{effect.field}: {effect.value} gains with some settings and loses with others against {effect.reference}, so the mean misleads."
        for effect in found
        if effect.reverses
    ]
    if alone:
        words.append(f"Left out, since no combination of the other settings was run with every value: {', '.join(alone)}.")
    return words


def effects(results: Sequence[RunResult], comparison: Comparison, known: tuple[Sequence[Effect], Sequence[str]] | None = None) -> str:
    """Return the main effects of merged results as HTML: sentences and a table; "" where no setting can be told from the others.

    `known` gives the effects and the settings left out where they are computed already.
    """
    if comparison.lost > MAX_LOST or not comparison.questions:
        return ""
    if known is None:
        baseline = next(row.result.config_id for row in comparison.rows if row.difference is None)
        known = main_effects(results, comparison.metric, baseline=baseline), left_out(results, comparison.metric)
    found, alone = known
    if not found:
        return ""
    lines = []
    for effect in found:
        setting, value, reference, difference, p, blocks = map(own, _cells(effect))
        cells = [f'<th scope="row">{setting}</th><td class="whole">{value}</td><td class="whole">{reference}</td>']
        cells += [number_cell(difference, effect.interval.mean), number_cell(p, effect.interval.p), number_cell(blocks, effect.blocks)]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    said = " ".join(effect_sentences(found, alone))
    caption = (
        f"Change of {comparison.metric} on average over the combinations of the other settings in which every value was run; "
        "controls are left out."
    )
    return f"<h3>Main effects</h3><p>{own(said)}</p>" + table(own(caption), _head(HEADER, 3), lines, "Main effects")


def _head(titles: Sequence[str], words: int) -> str:
    """Return the row of column titles, those after the first `words` for numbers."""
    kinds = ("" if place < words else ' class="number"' for place in range(len(titles)))
    cells = [f'<th scope="col"{kind}>{own(title)}</th>' for title, kind in zip(titles, kinds, strict=True)]
    return f"<tr>{''.join(cells)}</tr>"


def by_config(results: Sequence[RunResult]) -> list[list[RunResult]]:
    """Group results by configuration, whose seeds must differ and must have asked the same questions; else raise WorkbenchError."""
    groups: dict[str, list[RunResult]] = {}
    for result in results:
        groups.setdefault(result.config_id, []).append(result)
    for name, members in groups.items():
        check_comparable(members)
        seeds = [result.settings.seed for result in members]
        if len(set(seeds)) < len(seeds):
            raise WorkbenchError(f"{name}: seed {max(seeds, key=seeds.count)} stands twice; give each seed once")
        if len({tuple(answer["id"] for answer in result.answers) for result in members}) > 1:
            raise WorkbenchError(f"{name}: its seeds answered different questions; answer all of them (answers: 0)")
        if len({tuple(result.scores) for result in members}) > 1:
            raise WorkbenchError(f"{name}: its seeds have different metrics")
    return list(groups.values())


def merge_seeds(results: Sequence[RunResult]) -> list[RunResult]:
    """Return one result a configuration, whose scores are the means over its seeds, question by question.

    A question that any seed left unscored stays unscored. A metric that the seeds ask of different questions (refusal precision: of what
    each refused) has no such mean and is left out. The audit is that of all seeds, all else that of the first. Raise
    WorkbenchError as `by_config` does.
    """
    merged = []
    for members in by_config(results):
        first = members[0]
        if len(members) > 1:
            shared = [name for name in first.scores if all((one.asked_of(name) == first.asked_of(name)).all() for one in members)]
            scores = {name: np.mean([np.asarray(one.scores[name], dtype=float) for one in members], axis=0) for name in shared}
            details = {**first.details, "seeds": [one.settings.seed for one in members]}
            asked = {name: first.asked[name] for name in shared if name in first.asked}
            checks = tuple(check for one in members for check in one.audit)
            first = replace(first, scores=scores, asked=asked, details=details, audit=checks)
        merged.append(first)
    return merged


def seed_variance(results: Sequence[RunResult], metric: str) -> list[SeedVariance]:
    """Return for each configuration how its mean varies between seeds, apart from how it varies between questions.

    Only questions that every seed scored count. A configuration without any has NaN for all.
    """
    found = []
    for members in by_config(results):
        seeds = tuple(one.settings.seed for one in members)
        scores = np.stack([np.asarray(one.scores[metric], dtype=float) for one in members], axis=1)
        scored = np.isfinite(scores).all(axis=1)
        if not scored.any():
            found.append(SeedVariance(members[0].config_id, seeds, math.nan, math.nan, math.nan))
            continue
        clusters = [cluster for cluster, kept in zip(members[0].clusters, scored, strict=True) if kept]
        overall = stats.mean_interval(scores[scored].mean(axis=1), clusters)
        found.append(SeedVariance(members[0].config_id, seeds, overall.mean, stats_effects.seed_spread(scores[scored]), overall.se))
    return found


SEED_HEADER = ("configuration", "seeds", "mean", "sd from seed to seed", "standard error over questions")


def seeds(results: Sequence[RunResult], metric: str) -> str:
    """Return how means vary between seeds, beside their standard error over questions, as HTML; "" where all have one seed."""
    rows = _seed_rows(results, metric)
    if not rows:
        return ""
    lines = []
    for name, figures in rows[:SHOWN]:
        cells = "".join(number_cell(own(_digits(figure)), figure) for figure in figures)
        lines.append(f'<tr><th scope="row">{own(name)}</th>{cells}</tr>')
    caption = (
        f"{metric}. Seeds ask the same questions, so the first is what drawing anew changes, the second what other questions would change."
    )
    caption += f" The first {SHOWN} of {len(rows):,} configurations." * (len(rows) > SHOWN)
    return "<h3>Seeds</h3>" + table(own(caption), _head(SEED_HEADER, 1), lines, "Seeds")


def _seed_rows(results: Sequence[RunResult], metric: str) -> list[tuple[str, tuple[float, ...]]]:
    groups = by_config(results)
    if all(len(members) < 2 for members in groups):
        return []
    found = seed_variance(results, metric)
    names = labels([replace(members[0], settings=members[0].settings.replace(seed=0)) for members in groups])
    return [(name, (len(one.seeds), one.mean, one.sd, one.se)) for name, one in zip(names, found, strict=True)]


def _digits(value: float) -> str:
    return "–" if math.isnan(value) else str(value) if isinstance(value, int) else f"{value:.3f}"
