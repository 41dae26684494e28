"""`engine: direct`: the same settings give the same results as through a notebook, without one; thousands of points cost little each."""

import csv
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from small_sweep import Told, notebook, run_cli, write_spec

from workbench import storage, sweep
from workbench.datatypes import WorkbenchError
from workbench.evaluation import load_results
from workbench.ledger import Ledger

PARAMETERS = """dataset: str = "folder:docs"
chunker: str = "fixed"
chunk_sizes: list[int] = [8]
chunk_overlap: int = 0
top_k: int = 10
tokenizer: str = "simple"
embedder: str = "hash"
retriever: str = "bm25"
seed: int = 0
"""
RUN = """from workbench import evaluation, experiment, storage
from workbench.settings import parse_settings
settings = parse_settings(dict(dataset=dataset, chunker=chunker, chunk_overlap=chunk_overlap, top_k=top_k, tokenizer=tokenizer,
    embedder=embedder, retriever=retriever, seed=seed))
results = experiment.grid(settings, chunk_size=chunk_sizes)
evaluation.save_results(storage.run_folder("small") / "result.json", results)
"""
SPEC: dict[str, Any] = {
    "notebook": "small",
    "fan_out": "chunk_sizes",
    "fixed": {"chunk_sizes": [8, 16]},
    "grid": {"retriever": ["bm25", "dense"]},
    "baseline": {"chunk_size": 8, "retriever": "bm25"},
}


@pytest.fixture
def small_project(project: Path) -> Path:
    storage.write_text(project / "notebooks/small.ipynb", notebook(PARAMETERS, RUN))
    return project


def results_of(folder: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for file in folder.glob("runs/*/result.json"):
        for result in load_results(file):
            record = result.to_json()
            found[result.config_id] = {name: record[name] for name in record if name not in ("timings", "cache")}
    return found


def test_direct_and_notebook_agree(small_project: Path) -> None:
    for engine in ("direct", "notebook"):
        path = write_spec(small_project, {**SPEC, "engine": engine}, f"{engine}.sweep.yaml")
        outcome = sweep.run_sweep(path)
        assert (outcome.executed, outcome.failed) == (4, [])
    direct, by_notebook = (results_of(small_project / "outputs" / engine) for engine in ("direct", "notebook"))
    assert direct == by_notebook
    assert len(direct) == 4
    boards = [(small_project / f"outputs/{engine}/leaderboard.csv").read_bytes() for engine in ("direct", "notebook")]
    assert boards[0] == boards[1]


def test_it_resumes_records_failures_and_has_one_process(small_project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_spec(small_project, {**SPEC, "engine": "direct"})
    assert run_cli("sweep", str(path)) == 0
    assert "4 runs executed, 0 done before, 0 failed" in capsys.readouterr().out
    next((small_project / "outputs/tiny/runs").glob("*/result.json")).unlink()
    assert run_cli("sweep", str(path)) == 0
    assert "1 runs executed, 3 done before, 0 failed" in capsys.readouterr().out
    assert run_cli("sweep", str(path), "--jobs", "2", "--fresh") == 2
    assert "not with 2 jobs" in capsys.readouterr().err
    (small_project / "docs/questions.csv").write_text("id,question,answer,document,quote\nq,Who?,me,kettle.md,\n", "utf-8")
    assert run_cli("sweep", str(path)) == 1
    said = capsys.readouterr()
    assert "FAILED (raised folder): 4" in said.err
    assert "none of 1 questions has evidence" in said.err


CHILD = """import resource, sys, time
from pathlib import Path
from workbench import experiment, sweep

def resident():  # MB at most; what getrusage says is the parent's where that was larger (Linux keeps it through exec)
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return int(status.read_text().partition("VmHWM:")[2].split()[0]) // 1024

def timed(owner, name):
    inner = getattr(owner, name)
    def outer(*arguments, **options):
        began = time.perf_counter()
        try:
            return inner(*arguments, **options)
        finally:
            spent[name] = spent.get(name, 0) + time.perf_counter() - began
            peak[name] = resident()
    setattr(owner, name, outer)

spent, peak = {}, {}
timed(experiment.Runner, "run")
timed(sweep, "_execute")
timed(sweep, "_conclude")
outcome = sweep.run_sweep(Path(sys.argv[1]))
print(outcome.executed, len(outcome.failed), spent["_execute"] - spent["run"], spent["_conclude"], peak["_execute"], peak["_conclude"])
"""


def test_a_driver_killed_before_its_commit_loses_nothing(small_project: Path) -> None:
    path = write_spec(small_project, {"notebook": "small", "engine": "direct", "grid": {"top_k": list(range(1, 9))}})
    killed = "import os, sys; from pathlib import Path; from workbench import ledger, sweep; ledger.Ledger.ok_many = lambda *_: os._exit(9)"
    assert subprocess.run([sys.executable, "-c", f"{killed}; sweep.run_sweep(Path(sys.argv[1]))", str(path)]).returncode == 9
    kept = len(list((small_project / "outputs/tiny/runs").glob("*/result.json")))
    assert kept
    outcome = sweep.run_sweep(path)
    assert (outcome.skipped, outcome.executed, outcome.failed) == (kept, 8 - kept, [])


@pytest.mark.full_size
def test_many_points_cost_little_each_and_memory_stays_flat(small_project: Path, full: bool) -> None:
    """What a sweep adds to the evaluation of its points: seconds are printed, memory until the report must not grow with the points."""
    sizes = [1_000, 10_000] if full else [50, 200]
    memory = []
    for count in sizes:
        grid = {"top_k": list(range(1, 101)), "chunk_overlap": [0, 1], "seed": list(range(count // 200))} if count >= 200 else {}
        grid = grid or {"top_k": list(range(1, count + 1))}
        path = write_spec(small_project, {"notebook": "small", "engine": "direct", "grid": grid}, f"many-{count}.sweep.yaml")
        done = subprocess.run([sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        executed, failed, beside, report, executing, reporting = done.stdout.split()
        assert (int(executed), int(failed)) == (count, 0)
        memory.append(int(executing))
        print(f"{count} points: {1000 * float(beside) / count:.1f} ms a point beside its evaluation, report {float(report):.1f} s")
        print(f"  peak {executing} MB until the report, {reporting} MB with it")
        with closing(Ledger(small_project / f"outputs/many-{count}/ledger.sqlite")) as ledger:
            assert {entry.state for entry in ledger.entries()} == {"ok"}
        rows = list(csv.DictReader((small_project / f"outputs/many-{count}/leaderboard.csv").read_text("utf-8-sig").splitlines()))
        assert len(rows) == count
    assert memory[1] - memory[0] < 0.005 * (sizes[1] - sizes[0]) + 15  # MB: 5 kB a point are its plan and its row of the ledger


def test_notebooks_are_rendered_for_winners_failures_and_a_sample(small_project: Path) -> None:
    path = write_spec(small_project, {**SPEC, "engine": "direct", "fixed": {"chunk_sizes": [8, 12, 16, 24]}})
    said: list[str] = []
    outcome = sweep.run_sweep(path, Told(said))
    rendered = sorted((small_project / "outputs/tiny/rendered/runs").glob("*/notebook.ipynb"))
    winners = {decision.recommended.config_id for decision in outcome.decisions.values()}
    shown = {result.config_id for file in rendered for result in load_results(file.with_name("result.json"))}
    assert winners <= shown
    assert len(rendered) == len(winners) + 3
    assert sum(line.endswith(": rendered") for line in said) == len(rendered)
    before = {file: file.stat().st_mtime_ns for file in rendered}
    sweep.run_sweep(path)
    assert {file: file.stat().st_mtime_ns for file in rendered} == before


def test_a_notebook_that_scores_otherwise_is_an_error(small_project: Path) -> None:
    """One of the two is wrong, so neither may be believed."""
    other = RUN.replace("results = ", "settings = settings.replace(chunk_overlap=2)\nresults = ")
    storage.write_text(small_project / "notebooks/small.ipynb", notebook(PARAMETERS, other))
    with pytest.raises(WorkbenchError, match=r"the notebook gives another result for \w+ than its direct evaluation"):
        sweep.run_sweep(write_spec(small_project, {**SPEC, "engine": "direct"}))
