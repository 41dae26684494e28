"""Read a sweep spec and turn it into checked points: every name and value against the notebook, every choice against the settings."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from workbench import registry, report_costs, storage
from workbench.datatypes import WorkbenchError
from workbench.notebook import (
    Parameter,
    beyond_settings,
    check_parameters,
    declared_parameters,
    settings_of,
    singular,
    texts,
)
from workbench.settings import SECRET_NAME, Settings, refuse_secrets
from workbench.sweep_inputs import Inputs, code_of
from workbench.sweep_sampling import draw, size_of

SUFFIX = ".sweep.yaml"
MAX_POINTS = 100_000
MAX_PROBLEMS = 20  # shown of one spec
SHORTEST_SECRET = 8  # characters
FOLDER_BYTES = 100
SHOWN_VALUE = 60  # characters


class SweepLimits(BaseModel):
    """Hold the limits of one whole run; None is no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    memory_mb: Annotated[int, Field(gt=0)] | None = None


class SweepSpec(BaseModel):
    """Describe a sweep: fixed parameters, and lists of values whose combinations are one run each.

    `fan_out` names list parameters that stand in `fixed` (or keep their default): each run gets a list of one of their values.
    `sampler: random` takes `samples` combinations of grid and fan_out, drawn by `seed`; more samples of one seed keep those drawn before.
    `repeats` runs every combination once for each of these values of the notebook's `seed`. `primary` goes to the notebook's parameter of
    that name. `engine: direct` evaluates every combination of the parameters' values without a notebook, so without what a notebook adds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    notebook: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w-]*$")]
    engine: Literal["notebook", "direct"] = "notebook"
    fixed: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    fan_out: Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)] = Field(default_factory=list)
    sampler: Literal["grid", "random"] = "grid"
    samples: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0  # of the sampler's draw
    repeats: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    limits: SweepLimits = SweepLimits()
    primary: Annotated[str, Field(min_length=1)] | None = None
    baseline: dict[str, Any] = Field(default_factory=dict)  # settings that name the candidate others are compared with
    prices: dict[str, Any] = Field(default_factory=dict)  # of one unit of a cost, for each question: report_costs.PRICED


@dataclass(frozen=True)
class Point:
    """Hold one run to be: its full parameters, what varies, its id, its folder and its limits."""

    parameters: Mapping[str, Any]
    varied: Mapping[str, Any]
    run_id: str
    folder: Path
    limits: SweepLimits

    @property
    def label(self) -> str:
        """Return what varies in one line."""
        return _label(self.varied) or "the one run"

    @property
    def seed(self) -> int | None:
        """Return the seed of the run, None where the notebook takes none."""
        return self.parameters.get("seed")


class _Problems:
    """Gather what is wrong with a spec, so that one error tells all of it."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.found: dict[str, list[str]] = {}  # where each was seen

    def add(self, text: str, where: str = "") -> None:
        self.found.setdefault(text, []).append(where)

    @contextlib.contextmanager
    def kept(self, varied: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Keep a WorkbenchError of the block, seen at the point that varies so."""
        try:
            yield
        except WorkbenchError as error:
            self.add(str(error), _label(varied or {}))

    def stop(self) -> None:
        """Raise WorkbenchError when anything was found."""
        lines = [
            text + (f" (at {places[0]}" + f", and {len(places) - 1} more" * (len(places) > 1) + ")" if places[0] else "")
            for text, places in self.found.items()
        ]
        if len(lines) == 1:
            raise WorkbenchError(f"{self.place}: {lines[0]}")
        if lines:
            more = [f"and {len(lines) - MAX_PROBLEMS} more"] * (len(lines) > MAX_PROBLEMS)
            raise WorkbenchError("\n  - ".join([f"{self.place} has {len(lines)} problems:", *lines[:MAX_PROBLEMS], *more]))


def _label(varied: Mapping[str, Any]) -> str:
    shown = {name: " ".join(str(value)[: 2 * SHOWN_VALUE].split()) for name, value in varied.items()}
    return ", ".join(f"{name} {text[:SHOWN_VALUE]}{'…' * (len(text) > SHOWN_VALUE)}" for name, text in shown.items())


def load_spec(path: Path) -> SweepSpec:
    """Read a sweep spec; raise WorkbenchError naming every field that is wrong, its value, and what would be right."""
    record = storage.read_yaml(path)
    if not isinstance(record, dict):
        raise WorkbenchError(f"{path} must be a mapping with 'notebook', 'fixed' and 'grid'")
    problems = _Problems(path.name)
    for field, value in record.items():
        for name, item in value.items() if isinstance(value, dict) else [(field, value)]:
            with problems.kept():
                _refuse_secrets(str(name), item, str(field))
    problems.stop()  # what follows quotes values
    for name in record:
        if name not in SweepSpec.model_fields:
            problems.add(str(registry.unknown("field", str(name), SweepSpec.model_fields)))
    spec = None
    try:
        spec = SweepSpec(**{name: value for name, value in record.items() if name in SweepSpec.model_fields})
    except ValidationError as error:
        _add_all(problems, error.errors())
    baseline, prices = record.get("baseline"), record.get("prices")
    if isinstance(baseline, dict):
        known = {name: value for name, value in baseline.items() if name in Settings.model_fields}
        for name in baseline.keys() - known.keys():
            problems.add(str(registry.unknown("setting in baseline:", str(name), Settings.model_fields)))
        try:
            Settings(**known)
        except ValidationError as error:
            own = [item for item in error.errors() if item["loc"]]  # not what is wrong between fields, of which the notebook sets others
            _add_all(problems, own, "baseline.")
    if isinstance(prices, dict):
        with problems.kept():
            report_costs.check_prices(prices)
    if spec:
        for problem in _conflicts(spec):
            problems.add(problem)
    problems.stop()
    assert spec
    return spec


def _refuse_secrets(name: str, value: Any, place: str) -> None:
    """Raise WorkbenchError for what looks like a key, and for what is one: the value of an environment variable that is named like one."""
    refuse_secrets(name, value, place)
    found = [*texts(value), name]
    for variable, secret in os.environ.items():
        if SECRET_NAME.search(variable) and len(secret) >= SHORTEST_SECRET and any(secret in text for text in found):
            raise WorkbenchError(f"{place} holds the value of the environment variable {variable}; take it out, runs read it from there")


def _add_all(problems: _Problems, errors: Sequence[Any], prefix: str = "") -> None:
    for item in errors:
        place = prefix + ".".join(str(part) for part in item["loc"])
        got = "" if item["type"] == "missing" else f", got {item['input']!r:.80}"
        problems.add(f"{place}: {item['msg']}{got}")


def _conflicts(spec: SweepSpec) -> Iterator[str]:
    """Yield what is wrong between the fields of a spec."""
    if twice := sorted(set(spec.fixed) & set(spec.grid)):
        yield f"{', '.join(twice)} stands in both 'fixed' and 'grid'; take it out of one"
    for name in spec.fan_out:
        if name in spec.grid:
            yield f"fan_out: {name} stands in 'grid', where each value is a run already; put its one list into 'fixed'"
    if len(set(spec.fan_out)) < len(spec.fan_out):
        yield f"fan_out: {spec.fan_out} names a parameter twice"
    given = spec.model_fields_set
    if spec.sampler == "random" and spec.samples is None:
        yield "sampler: random needs 'samples', the number of points to draw"
    for name in ("samples", "seed"):
        if spec.sampler == "grid" and name in given:
            advice = "; the seeds of the runs are 'repeats'" if name == "seed" else ""
            yield f"{name}: {getattr(spec, name)} has no effect, because sampler: grid takes every point; set sampler: random{advice}"
    for name, value, field in (("seed", spec.repeats, "repeats"), ("primary", spec.primary, "primary")):
        if value is not None and (name in spec.fixed or name in spec.grid):
            yield f"{name} stands in both '{field}' and '{'fixed' if name in spec.fixed else 'grid'}'; take it out of one"
    if spec.repeats and len(set(spec.repeats)) < len(spec.repeats):
        yield f"repeats: {spec.repeats} holds a seed twice"
    if spec.engine == "direct" and spec.limits != SweepLimits():
        yield "limits: engine: direct runs in one process with all points, where no single run can be stopped; use engine: notebook"


def plan(path: Path) -> tuple[Path, list[Point]]:
    """Return the output folder and every point of a sweep, checked against the notebook, the settings and the data; start nothing.

    Relative paths in the spec count from the project's folder. Raise WorkbenchError telling all that is wrong: points that
    could not run, points that stand twice, more than MAX_POINTS.
    """
    spec = load_spec(path)
    root = storage.home(path.parent)
    notebook = root / "notebooks" / f"{spec.notebook}.ipynb"
    if not notebook.is_file():
        known = [file.stem for file in (root / "notebooks").glob("*.ipynb")]
        raise WorkbenchError(f"{path.name}: {registry.unknown('notebook', spec.notebook, known)}")
    folder = _output_folder(path, root)
    problems = _Problems(path.name)
    held, axes = _dimensions(spec, declared_parameters(notebook), problems)
    try:
        drawn = _drawn(spec, held, axes)
    except WorkbenchError as error:
        raise WorkbenchError(f"{path.name}: {error}") from None
    code = code_of(spec.engine, notebook)
    inputs = Inputs()
    points: dict[str, Point] = {}
    with contextlib.chdir(root):  # as the kernels will
        for values, seed in itertools.product(drawn, spec.repeats or (None,)):
            chosen = dict(zip(axes, values, strict=True)) | ({} if seed is None else {"seed": seed})
            varied = {singular(name) or name: value[0] for name, value in chosen.items() if name in spec.fan_out}
            varied = {name: value for name, value in chosen.items() if name not in spec.fan_out} | varied
            with problems.kept(varied):
                parameters = held | chosen
                prints = [inputs.fingerprint(settings) for settings in settings_of(parameters)]
                run_id = storage.fingerprint([code, parameters, prints])[:12]
                if run_id in points:
                    raise WorkbenchError("the point stands twice; take a value out of 'grid' or 'fan_out'")
                points[run_id] = Point(parameters, varied, run_id, folder / "runs" / _folder_name(varied, run_id), spec.limits)
    problems.stop()
    return folder, list(points.values())


def _output_folder(path: Path, root: Path) -> Path:
    name = path.name.removesuffix(SUFFIX).removesuffix(".yaml")
    if not re.match(r"\w", name) or name == "cache":  # ".." is the project; outputs/cache holds the cache
        raise WorkbenchError(f"{path}: results go to a folder that is named like the spec, and {name!r} cannot be one; rename the spec")
    folder = root / "outputs" / name
    if re.search("[{}]", str(folder)):
        raise WorkbenchError(f"{folder}: papermill takes braces in a path for parameters; rename the folder or the spec")
    return folder


def _folder_name(varied: Mapping[str, Any], run_id: str) -> str:
    """Name a run's folder by its values, for people, and its id: no separator, brace or leading dot, at most FOLDER_BYTES bytes."""
    words = unicodedata.normalize("NFC", "-".join(str(value).rpartition("/")[2][:FOLDER_BYTES] for value in varied.values()))
    slug = re.sub(r"[^\w.-]+", "-", words).strip("-.").encode()[: FOLDER_BYTES - len(run_id) - 1]
    return f"{slug.decode(errors='ignore')}-{run_id}".lstrip("-")


def _dimensions(spec: SweepSpec, declared: Mapping[str, Parameter], problems: _Problems) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return all parameters as they are held, and the values of those that vary; raise WorkbenchError for wrong names and values."""
    given = [("fixed", name, value) for name, value in spec.fixed.items()]
    given += [("grid", name, value) for name, values in spec.grid.items() for value in values]
    given += [("repeats", "seed", seed) for seed in spec.repeats or ()]
    given += [("primary", "primary", spec.primary)] * (spec.primary is not None)
    for field, name, value in given:
        with problems.kept():
            check_parameters(declared, {name: value}, field)
    for name in spec.fan_out:
        if name not in declared:
            problems.add(str(registry.unknown("parameter in fan_out:", name, declared)))
        elif declared[name].type != "list":
            problems.add(f"fan_out: {name} is declared as {declared[name].type}, and only a list can be one run for each value")
        elif spec.fixed.get(name, declared[name].default) == []:
            problems.add(f"fan_out: {name} is empty; it needs at least one value")
    if spec.engine == "direct" and (beyond := beyond_settings(declared)):
        problems.add(f"engine: direct evaluates settings, and {spec.notebook} also takes {', '.join(beyond)}; use engine: notebook")
    problems.stop()
    held = check_parameters(declared, {**spec.fixed, **({} if spec.primary is None else {"primary": spec.primary})}, "fixed")
    return held, spec.grid | {name: [[value] for value in held[name]] for name in spec.fan_out}


def _drawn(spec: SweepSpec, held: Mapping[str, Any], axes: Mapping[str, list[Any]]) -> Iterable[Sequence[Any]]:
    """Return the values of each combination that is run, seeds left out."""
    runs = (spec.samples or size_of(axes)) * len(spec.repeats or (None,))
    if runs > MAX_POINTS:
        raise WorkbenchError(f"{runs:,} points are more than {MAX_POINTS:,}; draw fewer with sampler: random and samples: NUMBER")
    if spec.samples is None:
        return itertools.product(*axes.values())
    return draw(axes, spec.samples, spec.seed, spec.baseline, held)
