"""Run a notebook by papermill for every point of a sweep: all points checked first, each run resumable, the leaderboard last."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench import data, models, registry, report, report_html, storage
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult, load_results
from workbench.experiment import DEFAULT_EMBEDDERS, check_parts
from workbench.notebook import check_parameters, code_cells, code_fingerprint, declared_parameters, settings_of
from workbench.settings import Settings, parse_settings

SUFFIX = ".sweep.yaml"
NO_EFFECT_ON_NUMBERS = re.compile(r"(report|widgets|fonts|cli|sweep|bootstrap|__main__|__init__|notebook)")
IPC_PATH_LIMIT = 80  # a Unix socket path ends at 107 bytes; the kernel appends its own name
OUTPUT_LIMIT = 1_000_000  # characters of stored output of one cell


class SweepSpec(BaseModel):
    """Describe a sweep: fixed parameters, and lists of values whose every combination is one papermill run."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    notebook: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w-]*$")]
    fixed: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    baseline: dict[str, Any] = Field(default_factory=dict)  # settings that name the candidate others are compared with


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
    executed: int = 0
    skipped: int = 0


def load_spec(path: Path) -> SweepSpec:
    """Read a sweep spec; raise WorkbenchError naming the field that is wrong."""
    record = storage.read_yaml(path)
    if not isinstance(record, dict):
        raise WorkbenchError(f"{path} must be a mapping with 'notebook', 'fixed' and 'grid'")
    for name in record.get("baseline") or {}:
        if name not in Settings.model_fields:
            raise registry.unknown(f"setting in {path.name}, baseline:", str(name), Settings.model_fields)
    for name in record:
        if name not in SweepSpec.model_fields:
            raise registry.unknown(f"field in {path.name}:", str(name), SweepSpec.model_fields)
    try:
        return SweepSpec(**record)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors())
        raise WorkbenchError(f"{path}: {problems}") from None


def plan(path: Path) -> tuple[Path, list[Point]]:
    """Return the output folder and every point of a sweep, checked against the notebook, the settings and the data; start nothing.

    Raise WorkbenchError for the first point that could not run, or when two points are the same.
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
    code = [code_fingerprint(notebook), package_fingerprint()]
    points: dict[str, Point] = {}
    fingerprints: dict[str, Any] = {}
    for values in itertools.product(*spec.grid.values()):
        varied = dict(zip(spec.grid, values, strict=True))
        parameters = check_parameters(declared, {**spec.fixed, **varied}, path.name)
        inputs = [_input_fingerprints(values, fingerprints) for values in settings_of(parameters)]
        run_id = storage.fingerprint([code, parameters, inputs])[:12]
        if run_id in points:
            raise WorkbenchError(f"{path.name}: the point {varied} stands twice in the grid")
        slug = re.sub(r"[^\w.-]+", "-", "-".join(str(value) for value in values).rpartition("/")[2]).strip("-.")[:60]
        points[run_id] = Point(parameters, varied, run_id, folder / "runs" / (f"{slug}-{run_id}" if slug else run_id))
    return folder, list(points.values())


def _input_fingerprints(values: Mapping[str, Any], known: dict[str, Any]) -> list[Any]:
    """Check one configuration's settings and return the fingerprints of its data and model."""
    settings = parse_settings(values)
    check_parts(settings)
    if settings.dataset not in known:
        known[settings.dataset] = data.load(settings.dataset).fingerprint
    embedders = list(DEFAULT_EMBEDDERS.values()) if settings.embedder == "auto" else [settings.embedder]
    for embedder in embedders:
        name, argument = registry.split_spec(embedder)
        if name == "st" and embedder not in known:
            known[embedder] = models.resolve(argument or "").fingerprint
    return [known[settings.dataset], *(known.get(embedder) for embedder in embedders)]


def package_fingerprint() -> str:
    """Return the sha256 of the modules that decide numbers: an edited metric makes old results stale, an edited report does not."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if not NO_EFFECT_ON_NUMBERS.match(path.stem):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def run_sweep(path: Path, *, fresh: bool = False, say: Callable[[str], None] = print) -> SweepReport:
    """Run what is not done yet, one run after the other, then write leaderboard.csv, timings.csv and report.html.

    A failing run is recorded and the others go on. `fresh` runs everything again; a result is replaced only by a new good one.
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
            error = execute(notebook, point)
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
    if outcome.results:
        unique = {(result.config_id, result.settings.seed): result for result in outcome.results}
        outcome.results = list(unique.values())
        outcome.baselines = {name: report.find_baseline(results, spec.baseline) for name, results in report.by_dataset(outcome.results).items()}
        report.write_leaderboard(folder / "leaderboard.csv", outcome.results)
        report.write_timings(folder / "timings.csv", outcome.results)
        command = f"workbench sweep params/{path.name}"
        title = folder.name.replace("_", " ")
        report_html.write_html(folder / "report.html", outcome.results, title, command=command, baseline=outcome.baselines, failed=outcome.failed)
    return outcome


def finished(point: Point) -> list[RunResult] | None:
    """Return the results of a run that ended well, else None: only our own record and result file count (PM1)."""
    try:
        record = storage.read_json(point.folder / "record.json")
        results = load_results(point.folder / "result.json")
    except WorkbenchError:
        return None
    intact = isinstance(record, dict) and record.get("run_id") == point.run_id and record.get("result") == storage.sha256_file(point.folder / "result.json")
    return results if intact else None


def execute(notebook: Path, point: Point) -> str:
    """Run the notebook once in a temporary folder and put that in place when it succeeded; return "" or the error text."""
    point.folder.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".run-", dir=point.folder.parent))
    try:
        error = _papermill(notebook, folder, point.parameters) or _incomplete(folder)
        if error:
            failed = point.folder.parent.parent / "failed" / point.folder.name
            shutil.rmtree(failed, ignore_errors=True)
            failed.parent.mkdir(exist_ok=True)
            os.replace(folder, failed)
            return error
        record = {"run_id": point.run_id, "parameters": dict(point.parameters), "result": storage.sha256_file(folder / "result.json")}
        storage.write_json(folder / "record.json", record)
        old = Path(f"{folder}.old")
        if point.folder.exists():
            os.replace(point.folder, old)
        os.replace(folder, point.folder)
        shutil.rmtree(old, ignore_errors=True)
        return ""
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _papermill(notebook: Path, folder: Path, parameters: Mapping[str, Any]) -> str:
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type] - two seconds of grammars that nothing here needs (KS1)
    import nbformat
    import papermill
    from papermill.exceptions import PapermillException

    output = folder / "notebook.ipynb"
    error = ""
    with _environment(folder):
        try:
            papermill.execute_notebook(
                str(notebook),
                str(output),
                parameters=dict(parameters),
                progress_bar=False,
                log_output=False,
                start_timeout=120,
                iopub_timeout=60,
                request_save_on_cell_execute=False,
                autosave_cell_every=0,
                shutdown_kernel="immediate",
                resources={"metadata": {"path": str(folder)}},
                **_transport(),
            )
        except (PapermillException, RuntimeError, TimeoutError) as problem:  # DeadKernelError is a RuntimeError
            error = _plain(str(problem), folder)
    if output.is_file() and output.stat().st_size:
        record = nbformat.read(output, as_version=4)
        for name in ("input_path", "output_path"):
            record.metadata.get("papermill", {}).pop(name, None)
        record.metadata.pop("widgets", None)
        for cell in record.cells:
            for item in cell.get("outputs", []):
                if len(item.get("text", "")) > OUTPUT_LIMIT:
                    item["text"] = item["text"][:OUTPUT_LIMIT] + "\n… cut"
        storage.write_text(output, _plain(nbformat.writes(record), folder))
    return error


def _plain(text: str, folder: Path) -> str:
    """Take this machine's folders out of a text (SC2)."""
    for path, name in ((folder, "."), (storage.home(folder), "."), (Path(sys.prefix), ".venv"), (Path.home(), "~")):
        text = text.replace(str(path), name)
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _transport() -> dict[str, Any]:
    """Use Unix sockets for the kernel where their path is short enough (KS4)."""
    from jupyter_core.paths import jupyter_runtime_dir
    from traitlets.config import Config

    if os.name == "nt" or len(os.fsencode(jupyter_runtime_dir())) > IPC_PATH_LIMIT - len("/kernel-.json-ipc-1"):
        return {}
    return {"config": Config({"KernelManager": {"transport": "ipc"}})}


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """Tell the kernel where to write and that nobody watches."""
    changes = {
        "WORKBENCH_RUN_DIR": str(folder),
        "WORKBENCH_HEADLESS": "1",
        "WORKBENCH_HOME": str(storage.home(folder)),
        "TOKENIZERS_PARALLELISM": "false",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _incomplete(folder: Path) -> str:
    """Say why a notebook that raised nothing is still no success (PM2): a code cell did not run."""
    never = [cell for cell in code_cells(folder / "notebook.ipynb") if cell.get("execution_count") is None]
    return f"{len(never)} code cells never ran although nothing was raised (sys.exit in a cell?)" if never else ""


def _sweep_leftovers(runs: Path) -> None:
    """Remove the temporary folders of killed runs that are more than a day old."""
    for leftover in runs.glob(".run-*"):
        if time.time() - leftover.stat().st_mtime > 86400:
            shutil.rmtree(leftover, ignore_errors=True)
