"""Measure this machine: what runs on it, each backend in a process of its own, and what it finds as one stable record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from workbench.bench_machine import machine
from workbench.bench_parts import candidates, known_languages
from workbench.bench_probe import Job, probe
from workbench.bench_rates import Effort, Part, Rate, Skipped, merged
from workbench.bench_texts import LANGUAGES
from workbench.registry import split_spec
from workbench.sweep_executors import COMPUTING

VERSION = 1  # of the record
SILENCE = 150.0  # seconds without a new number after which a part is given up
KERNELS, EVALUATION, SEARCH = (Job(Part(*names)) for names in (("start", "kernels"), ("evaluation", "cached run"), ("index", "all")))

Tell = Callable[[str], object]


@dataclass
class Bench:
    """Hold what was measured, and what was not with the reason."""

    effort: Effort
    rates: list[Rate] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=machine)
    seconds: float = 0.0  # that all of it took

    def find(self, part: Part, what: str) -> Rate | None:
        """Return a number by its part and what was measured; None where it was not."""
        return next((rate for rate in self.rates if (rate.part, rate.what) == (part, what)), None)

    def to_json(self) -> dict[str, Any]:
        """Return plain values: `version`, `machine`, `effort`, `seconds`, `rates` and `skipped`, each a list of flat records."""
        return {
            "version": VERSION,
            "machine": self.machine,
            "effort": asdict(self.effort),
            "seconds": round(self.seconds, 1),
            "rates": [
                {**asdict(rate.part), **{name: value for name, value in vars(rate).items() if name != "part"}} for rate in self.rates
            ],
            "skipped": [{**asdict(item.part), "reason": item.reason} for item in self.skipped],
        }


def everything() -> tuple[list[Job], list[Skipped]]:
    """Return all that can be measured here, and what cannot.

    Embedders read both languages as far as they know them, rerankers and generators the first that they know.
    """
    parts, skipped = candidates()
    jobs = [KERNELS, EVALUATION, SEARCH]
    for part in parts:
        known = known_languages(part, LANGUAGES)
        jobs.append(Job(part, tuple(known if part.kind == "embedder" else known[:1])))
    return jobs, skipped


def run_bench(jobs: Sequence[Job], effort: Effort, seconds: float, tell: Tell = str) -> Bench:
    """Measure jobs, those of one backend in one process; nothing new is begun after so many seconds, and `tell` gets each number as a line.

    Nothing is downloaded, and no value comes from the cache or goes into it.
    """
    bench = Bench(effort)
    start = time.monotonic()
    for name, group in _groups(jobs):
        if time.monotonic() - start > seconds:
            bench.skipped += [Skipped(job.part, f"{seconds:.0f} s were over; give more with --seconds") for job in group]
            continue
        for found in probe(group, effort, SILENCE, COMPUTING.get(name, ())):
            (bench.rates if isinstance(found, Rate) else bench.skipped).append(found)  # type: ignore[arg-type]
            tell(f"[{time.monotonic() - start:.0f} s] {line(found)}")
    bench.rates = merged(bench.rates)
    bench.seconds = time.monotonic() - start
    return bench


def _groups(jobs: Iterable[Job]) -> list[tuple[str, list[Job]]]:
    """Return jobs by their backend, which is what stands before the colon; basics have a process each."""
    groups: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.part.kind, split_spec(job.part.spec)[0]), []).append(job)
    return [(name, group) for (_, name), group in groups.items()]


def line(found: Rate | Skipped) -> str:
    """Return one result in one line."""
    if isinstance(found, Skipped):
        return f"{found.part.kind} {found.part.label}: not measured: {found.reason}"
    spread = f" [{found.low:g}, {found.high:g}]" if found.n > 1 else ""
    return f"{found.part.kind} {found.part.label}: {found.what} {found.median:g}{spread} {found.unit}"
