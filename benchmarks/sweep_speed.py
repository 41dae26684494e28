"""Measure what a sweep costs beside its work: 24 cached points against a shell loop of papermill, 24 new ones on two workers, none at all.

Everything is measured side by side in one run, in a new project folder with its own cache; ratios count, seconds depend on the machine.
On the English demo, vectors by all-MiniLM-L6-v2: notebook 00 (4 chunkers x 6 sizes; one configuration, one plot a run), or notebook 01
(6 sizes x 2 chunkers x 2 retrievers; three configurations, four plots a run).

    python benchmarks/sweep_speed.py --loop 6
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
SIZES = [64, 96, 128, 192, 256, 384]
SPECS = {
    "00_start_here": {
        "notebook": "00_start_here",
        "fixed": {"dataset": "demo-en", "retrievers": ["dense"]},
        "grid": {"chunker": ["recursive", "sentence", "fixed", "markdown"], "chunk_size": SIZES},
    },
    "01_chunk_sizing": {
        "notebook": "01_chunk_sizing",
        "fixed": {"dataset": "demo-en", "chunk_sizes": SIZES, "baseline": 64, "answers": 1},
        "fan_out": "chunk_sizes",
        "grid": {"chunker": ["recursive", "sentence"], "retriever": ["dense", "hybrid"]},
    },
}


def project(folder: Path, notebook: str) -> Path:
    """Make a project with the notebooks and the sweep."""
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "params").mkdir()
    (folder / "params/speed.sweep.yaml").write_text(yaml.safe_dump(SPECS[notebook]))
    return folder


def sweep(folder: Path, *options: str) -> tuple[float, str]:
    """Run the sweep; return its seconds and what it said."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "workbench", "sweep", "params/speed.sweep.yaml", *options]
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - began, done.stdout


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a project: its own cache, a small thread pool that does not spin."""
    variables = {**os.environ, "WORKBENCH_HOME": str(folder), "OMP_WAIT_POLICY": "PASSIVE", "WORKBENCH_HEADLESS": "1"}
    variables.pop("WORKBENCH_CACHE", None)
    return variables


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Let what is started within this block use one core, as each of two workers does."""
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(all_cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_cores)


def cell_seconds(folder: Path) -> list[float]:
    """Return the seconds that the cells of each run took: without the start of kernels."""
    found = []
    for file in sorted((folder / "outputs/speed/runs").glob("*/notebook.ipynb")):
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        found.append(sum(cell["metadata"].get("papermill", {}).get("duration") or 0 for cell in cells))
    return found


def import_seconds(module: str) -> float:
    """Return the seconds that a new process needs to import a module."""
    code = f"import time; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def loop(folder: Path, notebook: str, points: int) -> float:
    """Run points by the papermill command, one process each, as a shell loop does; return seconds a point."""
    records = [json.loads(file.read_text(encoding="utf-8")) for file in sorted((folder / "outputs/speed/runs").glob("*/record.json"))]
    began = time.perf_counter()
    for record in records[:points]:
        file = folder / "loop.yaml"
        file.write_text(yaml.safe_dump(record["parameters"]))
        command = [sys.executable, "-m", "papermill", str(folder / f"notebooks/{notebook}.ipynb"), str(folder / "loop.ipynb")]
        command += ["-f", str(file), "--no-progress-bar", "--cwd", str(folder)]
        subprocess.run(command, cwd=folder, env=environment(folder), check=True, capture_output=True)
    return (time.perf_counter() - began) / points


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notebook", choices=SPECS, default="00_start_here")
    parser.add_argument("--new", action="store_true", help="time new points too")
    parser.add_argument("--loop", type=int, default=24, help="points of the shell loop; its time is scaled to all")
    parser.add_argument("--repetitions", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = project(Path(temporary), chosen.notebook)
        if chosen.new:
            with one_core():
                alone, _ = sweep(folder, "--jobs", "1")
            cells = cell_seconds(folder)
            work, points = sum(cells), len(cells)
            both, _ = sweep(project(Path(temporary, "other"), chosen.notebook), "--jobs", "2")
            imports = statistics.median(import_seconds("sentence_transformers") for _ in range(chosen.repetitions))
            print(f"{points} new points: one job on one core {alone:.1f} s, of which {work:.1f} s in cells; two jobs on two {both:.1f} s")
            print(f"  two jobs / (cells / 2): {both / (work / 2):.2f}")
            print(f"  apart: kernels and report {(alone - work) / points:.2f} s a point, import of sentence-transformers {imports:.2f} s")
        else:
            sweep(folder, "--jobs", "2")
        points = len(cell_seconds(folder))
        cached = {}
        for kind in ("warm", "fresh"):
            cached[kind] = statistics.median(
                sweep(folder, "--fresh", "--jobs", "2", "--kernels", kind)[0] for _ in range(chosen.repetitions)
            )
        shell = loop(folder, chosen.notebook, min(chosen.loop, points)) * points
        print(f"{points} cached points: shell loop of papermill {shell:.1f} s")
        for kind, seconds in cached.items():
            print(f"  {kind} kernels, two jobs: {seconds:.1f} s, {shell / seconds:.1f} times faster")
        again = statistics.median(sweep(folder)[0] for _ in range(chosen.repetitions))
        print(f"nothing to do: {again:.2f} s")


if __name__ == "__main__":
    main()
