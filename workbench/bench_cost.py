"""Turn the work of a sweep and the rates of this machine into seconds, stage by stage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.bench import EVALUATION, KERNELS, Bench
from workbench.bench_generation import answer_cap
from workbench.bench_parts import asks_a_server
from workbench.bench_probe import Job
from workbench.bench_rates import Part, Rate
from workbench.bench_texts import LANGUAGES
from workbench.registry import split_spec
from workbench.sweep_executors import COMPUTING
from workbench.sweep_forecast import outlook
from workbench.sweep_spec import Point, load_spec, plan
from workbench.sweep_work import Prompts, Texts, Work, count_work

SHORTEST = 0.005  # seconds of a stage that is told


@dataclass(frozen=True)
class Stage:
    """Hold the seconds of one stage and what they were worked out from; NaN where a rate is missing, and the reason says why.

    `shared` tells whether more jobs do not make the stage faster: it uses all cores by itself, or happens once.
    """

    name: str
    seconds: float
    reason: str
    shared: bool = True


@dataclass(frozen=True)
class Cost:
    """Hold what a sweep will compute and what that costs here."""

    folder: Path
    states: Mapping[str, int]
    work: Work
    stages: Sequence[Stage]
    workers: int  # runs that really work at once: jobs, but no more than cores or runs

    @property
    def seconds(self) -> float:
        """Return the seconds of all stages: what is shared counts in full, the rest is divided among the workers."""
        return sum(stage.seconds / (1 if stage.shared else self.workers) for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; seconds are null where a rate is missing."""
        work = self.work
        texts = [
            {"embedder": part.label, "role": role, "language": language, "texts": found.number, "cached": found.cached}
            for (part, role, language), found in work.texts.items()
        ]
        prompts = [
            {
                "generator": part.label,
                "language": language,
                "prompts_at_most": found.number,
                "new_tokens_at_most": found.number * answer_cap(part),
            }
            for (part, language), found in work.prompts.items()
        ]
        pairs = [{"reranker": part.label, "language": language, "pairs_at_most": found} for (part, language), found in work.pairs.items()]
        return {
            "points": dict(self.states),
            "configurations": work.configurations,
            "questions": work.questions,
            "texts": texts,
            "pairs": pairs,
            "prompts": prompts,
            "stages": [{"stage": stage.name, "seconds": _number(stage.seconds), "from": stage.reason} for stage in self.stages],
            "workers": self.workers,
            "seconds": _number(self.seconds),
        }


@dataclass(frozen=True)
class Plan:
    """Hold a checked sweep, what it will compute, and what must be measured to tell the seconds."""

    folder: Path
    states: Mapping[str, int]
    work: Work
    direct: bool
    jobs: Sequence[Job]


def plan_cost(spec: Path) -> Plan:
    """Check a sweep and count what its points that are to do compute; raise WorkbenchError for a spec that cannot run, as a sweep does."""
    folder, points = plan(spec)
    states = outlook(folder, points)
    ahead: list[Point] = [point for point, state in zip(points, states, strict=True) if state == "to do"]
    direct = load_spec(spec).engine == "direct"
    work = count_work(folder, ahead)
    counts = {"all": len(points), **{state.replace(" ", "_"): states.count(state) for state in ("done", "failed", "to do")}}
    return Plan(folder, counts, work, direct, tuple(_jobs(work, direct)) if ahead else ())


def _jobs(work: Work, direct: bool) -> Iterator[Job]:
    """Give what must be measured: parts that compute something, in the languages of their texts."""
    if not direct:
        yield KERNELS
    yield EVALUATION
    languages: dict[Part, list[str]] = {}
    for (part, _, language), texts in work.texts.items():
        if texts.missing:
            languages.setdefault(part, []).append(language)
    for part, language in (*work.pairs, *work.prompts):
        languages.setdefault(part, []).append(language)
    for part, found in languages.items():
        if not asks_a_server(part):
            yield Job(part, tuple(dict.fromkeys(map(_measured, found))))


def _measured(language: str) -> str:
    """Return the language whose rates stand for a language: English for those that there are no texts in."""
    return language if language in LANGUAGES else LANGUAGES[0]


def cost(plan: Plan, bench: Bench, jobs: int) -> Cost:
    """Return what a sweep costs with so many jobs, by the rates of a bench that measured `plan.jobs`."""
    stages = [stage for stage in _stages(plan, bench) if not stage.seconds < SHORTEST]
    workers = max(1, min(jobs, bench.machine["cores"], plan.work.runs)) if not plan.direct else 1
    return Cost(plan.folder, plan.states, plan.work, stages, workers)


def _stages(plan: Plan, bench: Bench) -> Iterator[Stage]:
    work = plan.work
    if not work.runs:
        return
    if not plan.direct:
        yield from _started(work, bench)
    rate = bench.find(EVALUATION.part, "evaluate")
    reason = f"{work.questions:,} questions of {work.configurations:,} configurations"
    yield _divided("search, metrics, audit", work.questions, rate, reason, shared=False)
    yield from _imported(plan, bench)
    measured = {rate.part for rate in bench.rates}
    for part, runs in work.loads.items():
        load = bench.find(part, "load")
        if load or not (part in measured or asks_a_server(part)):  # what has nothing to load was measured without
            times = 1 if plan.direct else runs
            yield Stage(f"load {part.label}", times * load.median if load else math.nan, f"{times} × {_of(load, 's')}", shared=False)
    for part in {part: None for part, _, _ in work.texts}:
        found = {key[1:]: texts for key, texts in work.texts.items() if key[0] == part and texts.missing}
        yield from [_embedding(part, role, language, texts, bench) for (role, language), texts in found.items()]
    for (part, language), pairs in work.pairs.items():
        yield _divided(f"rerank with {part.label}", pairs, bench.find(part, f"pairs {_measured(language)}"), f"at most {pairs:,} pairs")
    for (part, language), prompts in work.prompts.items():
        yield from _answering(part, _measured(language), prompts, bench)


def _started(work: Work, bench: Bench) -> Iterator[Stage]:
    """Give the start of the engine, and of a kernel for each run: a warm one where there are some."""
    for name, what in (("papermill", "import"), ("warm kernels", "prepare")):
        if rate := bench.find(Part("start", name), what):
            yield Stage(f"{what} {name}", rate.median, "once")
    kernel = bench.find(Part("start", "warm kernel"), "run of one cell") or bench.find(Part("start", "ordinary kernel"), "run of one cell")
    seconds = work.runs * kernel.median if kernel else math.nan
    yield Stage("kernels", seconds, f"{work.runs:,} runs × {_of(kernel, 's')}", shared=False)


def _imported(plan: Plan, bench: Bench) -> Iterator[Stage]:
    """Give the imports of the backends: once in a process that goes on, or that kernels are forked from, else in each run."""
    modules = {module: None for part in plan.work.loads for module in COMPUTING.get(split_spec(part.spec)[0], ())}
    once = plan.direct or bench.find(Part("start", "warm kernel"), "run of one cell") is not None
    times = 1 if once else max(plan.work.loads.values(), default=0)
    for module in modules:
        rate = bench.find(Part("import", module), "import")
        yield Stage(f"import {module}", times * rate.median if rate else math.nan, f"{times} × {_of(rate, 's')}", shared=once)


def _embedding(part: Part, role: str, language: str, texts: Texts, bench: Bench) -> Stage:
    """Work out the seconds of texts of any length: so much for each text and so much for each character, from two measured lengths."""
    name = f"embed with {part.label}"
    each = texts.characters / texts.missing
    reason = f"{texts.missing:,} of {texts.number:,} {role} texts ({texts.cached:,} cached) of {each:.0f} characters, {language}"
    short, long = (bench.find(part, f"{measured} {_measured(language)}") for measured in ("query", "passage"))
    if not (short and long):
        return Stage(name, math.nan, f"{reason}; not measured")
    low, high = float(short.facts["characters"]), float(long.facts["characters"])
    slope = max(0.0, (1 / long.median - 1 / short.median) / (high - low))
    constant = max(0.0, 1 / short.median - slope * low)
    limit = long.facts.get("max_length")
    most = limit * high / long.facts["tokens"] if limit and long.facts.get("tokens") else math.inf  # what is longer is cut
    return Stage(name, texts.missing * (constant + slope * min(each, most)), reason)


def _answering(part: Part, language: str, prompts: Prompts, bench: Bench) -> Iterator[Stage]:
    """Give the seconds of reading all prompts in full and of writing answers that are all as long as they may be."""
    if whole := bench.find(part, f"answers {language}"):
        yield _divided(f"answer with {part.label}", prompts.number, whole, f"at most {prompts.number:,} prompts")
        return
    prefill, decode = (bench.find(part, f"{what} {language}") for what in ("prefill", "decode"))
    tokens = prompts.characters * prefill.facts["prompt_tokens"] / prefill.facts["characters"] if prefill else math.nan
    count = f"{tokens:,.0f} tokens of " if prefill else ""
    yield _divided(f"read prompts with {part.label}", tokens, prefill, f"{count}at most {prompts.number:,} prompts")
    new = prompts.number * answer_cap(part)
    yield _divided(f"write answers with {part.label}", new, decode, f"at most {new:,} tokens")


def _divided(name: str, number: float, rate: Rate | None, reason: str, shared: bool = True) -> Stage:
    seconds = number / rate.median if rate else math.nan
    return Stage(name, seconds if number else 0.0, f"{reason}, {_of(rate)}", shared)


def _of(rate: Rate | None, unit: str = "") -> str:
    return f"{rate.median:g} {unit or rate.unit}" if rate else "not measured"


def _number(seconds: float) -> float | None:
    return None if math.isnan(seconds) else round(seconds, 2)
