"""Run a notebook by papermill for every point of a sweep: all points checked first, each run resumable, the leaderboard last."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import shlex
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench import data, models, registry, report, report_costs, report_files, report_parts, storage
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult, load_results
from workbench.experiment_build import check_parts, resolve
from workbench.experiment_data import NONE, Prepared, corpus_language
from workbench.notebook import check_parameters, code_fingerprint, declared_parameters, settings_of
from workbench.pipeline_rules import load_rules
from workbench.prompting import load_prompt, locate
from workbench.report_winner import Decision
from workbench.settings import Settings, parse_settings
from workbench.sweep_run import execute
from workbench.tokens import SimpleTokenizer

SUFFIX = ".sweep.yaml"
LOCAL_PARTS = ("st", "onnx", "cross-encoder", "hf")  # those that run a model of the store or a folder
NO_EFFECT_ON_NUMBERS = re.compile(r"(report|widgets|fonts|cli|sweep|bootstrap|__main__|__init__|notebook)")


class SweepSpec(BaseModel):
    """Describe a sweep: fixed parameters, and lists of values whose every combination is one papermill run."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    notebook: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w-]*$")]
    fixed: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    baseline: dict[str, Any] = Field(default_factory=dict)  # settings that name the candidate others are compared with
    prices: dict[str, Any] = Field(default_factory=dict)  # of one unit of a cost, for each question: report_costs.PRICED


@dataclass(frozen=True)
class Point:
    """Hold one run to be: its full parameters, what varies, its id and its folder."""

    parameters: Mapping[str, Any]
    varied: Mapping[str, Any]
    run_id: str
    folder: Path

    @property
    def label(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.varied.items()) or "the one run"


@dataclass
class SweepReport:
    """Hold what a sweep did."""

    folder: Path
    results: list[RunResult] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    baselines: dict[str, str] = field(default_factory=dict)  # config ids by data set
    decisions: dict[str, Decision] = field(default_factory=dict)  # by data set
    winners: list[Path] = field(default_factory=list)  # settings files of the configurations chosen
    executed: int = 0
    skipped: int = 0


def load_spec(path: Path) -> SweepSpec:
    """Read a sweep spec; raise WorkbenchError naming the field that is wrong."""
    record = storage.read_yaml(path)
    if not isinstance(record, dict):
        raise WorkbenchError(f"{path} must be a mapping with 'notebook', 'fixed' and 'grid'")
    for name in record:
        if name not in SweepSpec.model_fields:
            raise registry.unknown(f"field in {path.name}:", str(name), SweepSpec.model_fields)
    try:
        spec = SweepSpec(**record)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors())
        raise WorkbenchError(f"{path}: {problems}") from None
    for name in spec.baseline:
        if name not in Settings.model_fields:
            raise registry.unknown(f"setting in {path.name}, baseline:", name, Settings.model_fields)
    try:
        report_costs.check_prices(spec.prices)
    except WorkbenchError as error:
        raise WorkbenchError(f"{path.name}: {error}") from None
    return spec


def plan(path: Path) -> tuple[Path, list[Point]]:
    """Return the output folder and every point of a sweep, checked against the notebook, the settings and the data; start nothing.

    Relative paths in the spec count from the project's folder. Raise WorkbenchError for the first point that could not run, or when two
    points are the same.
    """
    spec = load_spec(path)
    root = storage.home(path.parent)
    notebook = root / "notebooks" / f"{spec.notebook}.ipynb"
    if not notebook.is_file():
        raise registry.unknown("notebook", spec.notebook, [file.stem for file in (root / "notebooks").glob("*.ipynb")])
    declared = declared_parameters(notebook)
    twice = sorted(set(spec.fixed) & set(spec.grid))
    if twice:
        raise WorkbenchError(f"{path.name}: {', '.join(twice)} stands in both 'fixed' and 'grid'")
    folder = root / "outputs" / path.name.removesuffix(SUFFIX).removesuffix(".yaml")
    if re.search("[{}]", str(folder)):
        raise WorkbenchError(f"{folder}: papermill takes braces in a path for parameters; rename the folder or the spec")
    code = [code_fingerprint(notebook), package_fingerprint()]
    points: dict[str, Point] = {}
    prepared: dict[str, Prepared] = {}
    for values in itertools.product(*spec.grid.values()):
        varied = dict(zip(spec.grid, values, strict=True))
        parameters = check_parameters(declared, {**spec.fixed, **varied}, path.name)
        with contextlib.chdir(root):  # as the kernels will
            inputs = [_input_fingerprints(settings, prepared) for settings in settings_of(parameters)]
        run_id = storage.fingerprint([code, parameters, inputs])[:12]
        if run_id in points:
            raise WorkbenchError(f"{path.name}: the point {varied} stands twice in the grid")
        slug = re.sub(r"[^\w.-]+", "-", "-".join(str(value) for value in values).rpartition("/")[2]).strip("-.")[:60]
        points[run_id] = Point(parameters, varied, run_id, folder / "runs" / (f"{slug}-{run_id}" if slug else run_id))
    return folder, list(points.values())


def _input_fingerprints(values: Mapping[str, Any], known: dict[str, Prepared]) -> list[str]:
    """Check one configuration as its run will, and return the fingerprints of its data and models."""
    settings = parse_settings(values)
    check_parts(settings)
    if settings.dataset not in known:
        dataset = data.load(settings.dataset)
        known[settings.dataset] = Prepared(dataset, dataset, (), (), {}, None, corpus_language(dataset))
    settings = resolve(settings, known[settings.dataset])
    parts = [registry.split_spec(spec) for spec in (settings.embedder, settings.reranker, settings.generator)]
    names = [model or "" for part, model in parts if part in LOCAL_PARTS]
    names += [settings.tokenizer] * (settings.tokenizer != SimpleTokenizer.name)
    prints = [known[settings.dataset].dataset.fingerprint, *(models.resolve(name).fingerprint for name in names)]
    if any(part == "openai" for part, _ in (*parts, registry.split_spec(settings.judge))):
        prints += [os.environ.get(name, "") for name in ("OPENAI_BASE_URL", "WORKBENCH_JUDGE_BASE_URL")]
    if labels := settings.options.get("judge", {}).get("labels"):
        prints.append(storage.sha256_file(Path(labels)))
    if settings.generator != NONE:
        prints.append(load_prompt(settings.prompt, known[settings.dataset].language).fingerprint)
    if settings.rules:
        prints.append(storage.fingerprint([rule.model_dump() for rule in load_rules(locate(settings.rules, "rules"))]))
    return prints


def package_fingerprint() -> str:
    """Return the sha256 of the modules that decide numbers: an edited metric makes old results stale, an edited report does not."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if not NO_EFFECT_ON_NUMBERS.match(path.stem):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def run_sweep(path: Path, *, fresh: bool = False, say: Callable[[str], None] = print) -> SweepReport:
    """Run what is not done yet, one run after the other, then write leaderboard.csv, timings.csv, winner.yaml and the report.

    The report is written as HTML, Markdown and JSON.
    A failing run is recorded and the others go on. `fresh` runs everything again; a result is replaced only by a new good one. A data set
    on which nothing can be chosen, or the audit of a candidate failed, has no winner, and `say` is told why.
    """
    folder, points = plan(path)
    spec = load_spec(path)
    outcome = SweepReport(folder)
    notebook = storage.home(path.parent) / "notebooks" / f"{spec.notebook}.ipynb"
    _sweep_leftovers(folder / "runs")
    start = time.monotonic()
    for number, point in enumerate(points, start=1):
        results = None if fresh else finished(point)
        if results is None:
            began = time.monotonic()
            error = execute(notebook, point.folder, point.run_id, point.parameters)
            results = finished(point) if not error else None
            if not error and results is None:
                error = "the notebook ended without a complete result file"
            outcome.executed += 1
            left = (time.monotonic() - start) / outcome.executed * (len(points) - number)
            state = "failed" if error else "ok"
            eta = f", about {left:.0f} s left" if number < len(points) else ""
            say(f"[{number}/{len(points)}] {point.label}: {state} in {time.monotonic() - began:.1f} s{eta}")
            if error:
                say(f"    {error.strip().splitlines()[-1]}")
                outcome.failed.append({"point": point.label, "error": error})
        else:
            outcome.skipped += 1
            say(f"[{number}/{len(points)}] {point.label}: done before")
        outcome.results += results or []
    unique = {(result.config_id, result.settings.seed): result for result in outcome.results}
    outcome.results = list(unique.values())
    if outcome.results:
        groups = report.by_dataset(outcome.results)
        for name, results in groups.items():
            try:
                outcome.baselines[name] = report.find_baseline(results, spec.baseline)
            except WorkbenchError as problem:  # its run failed, say; the others still count
                say(f"{name}: {problem}; differences are to the first result instead")
        title, command = folder.name.replace("_", " "), f"workbench sweep {shlex.quote(_from_root(path))}"
        record = report_parts.gather(outcome.results, title, command, outcome.baselines, outcome.failed, spec.prices)
        outcome.decisions = {part.name: part.decision for part in record.parts if part.decision}
        for part in record.parts:
            if part.decision is None:
                say(f"{part.name}: no winner: {part.problem}")
        outcome.winners = report_files.write_winners(folder, outcome.decisions, folder.name, alone=len(groups) == 1)
        report_files.write_leaderboard(folder / "leaderboard.csv", outcome.results)
        report_files.write_timings(folder / "timings.csv", outcome.results)
        storage.write_json(folder / "record.json", {"runs": [point.folder.name for point in points if finished(point)]})
        report_files.write_report(folder, record)
    return outcome


def _from_root(path: Path) -> str:
    path, root = path.resolve(), storage.home(path.parent)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def finished(point: Point) -> list[RunResult] | None:
    """Return the results of a run that ended well, else None: only our own record and an unchanged result file count (PM1)."""
    result = point.folder / "result.json"
    try:
        record = storage.read_json(point.folder / "record.json")
        if not isinstance(record, dict) or record.get("run_id") != point.run_id or record.get("result") != storage.sha256_file(result):
            return None
        return load_results(result)
    except (WorkbenchError, FileNotFoundError):
        return None


def _sweep_leftovers(runs: Path) -> None:
    """Remove the temporary folders of killed runs that are more than a day old."""
    for leftover in runs.glob(".run-*"):
        if time.time() - leftover.stat().st_mtime > 86400:
            shutil.rmtree(leftover, ignore_errors=True)
