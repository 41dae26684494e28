"""Run many notebooks on warm kernels, two at a time, and look for what forked kernels could get wrong.

Every run is what a notebook does: an experiment with packaged documents, linear algebra, gradients on two threads, a figure. Its
outputs must be those of an ordinary kernel, byte for byte. Every run also looks for what earlier runs left (globals, module attributes,
environment, random states, folder, sys.path, open files and sockets, threads, warning filters), then leaves all of that itself, with a
process, a socket and a thread still open. At the end nothing may be left: no hang, no process, no file.

    python benchmarks/stress_warm_kernels.py --runs 300
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from workbench.engine_kernels import FreshKernels, KernelSource, WarmKernels

MODULES = ("workbench.experiment", "workbench.report", "numpy", "matplotlib.pyplot", "torch")
VARIANTS = 6
RUN_SECONDS = 180
MARK = "WORKBENCH_STRESS"

LOOK = """
import builtins, json, os, random, sys, threading, warnings
import numpy, torch, matplotlib, matplotlib.pyplot, logging
found = [f"name in {place['__name__']}" for place in (globals(), vars(builtins), vars(numpy), vars(torch)) if "planted" in place]
found += [f"environment {name}" for name in os.environ if name.startswith("PLANTED")]
found += [f"path {name}" for name in sys.path if "planted" in name]
found += [f"filter {item[2].__name__}" for item in warnings.filters if item[2] is PendingDeprecationWarning and item[0] == "error"]
found += ["folder"] * (os.getcwd() != os.environ["RUN_FOLDER"])
found += ["figure"] * bool(matplotlib.pyplot.get_fignums()) + ["rc"] * (matplotlib.rcParams["lines.linewidth"] == 17)
found += ["thread"] * any(thread.name == "planted" for thread in threading.enumerate())
found += ["logging"] * (logging.root.level == 7)
found += ["dtype"] * (torch.get_default_dtype() != torch.float32)
files = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
kinds = [os.readlink(file).split(":")[0] for file in files if os.path.islink(file)]
found += [f"file {kind}" for kind in kinds if "planted" in kind]
drawn = [random.random(), float(numpy.random.random()), torch.rand(1, dtype=torch.float64).item()]
state = {"found": found, "drawn": drawn, "threads": threading.active_count()}
state |= {kind: kinds.count(kind) for kind in ("socket", "pipe")}
with open(os.environ["RUN_STATE"], "w") as file:
    json.dump(state, file)
"""
WORK = """
from workbench import experiment
from workbench.settings import parse_settings
settings = parse_settings(dict(dataset="demo-en", chunker="fixed", chunk_size=40 + 8 * variant, chunk_overlap=0, tokenizer="simple",
                               embedder="hash", retriever="dense"))
result = experiment.grid(settings, chunk_size=[settings.chunk_size])[0]
print(result.config_id, {name: round(float(numpy.nanmean(values)), 12) for name, values in sorted(result.scores.items())})
generator = numpy.random.default_rng(variant)
matrix = generator.standard_normal((400, 400))
print(repr(float(numpy.linalg.slogdet(matrix @ matrix.T)[1])), os.environ["OMP_NUM_THREADS"], torch.get_num_threads())
torch.manual_seed(variant)
layer = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1))
loss = layer(torch.randn(512, 64)).square().mean()
loss.backward()
print(repr(loss.item()), repr(layer[0].weight.grad.double().sum().item()))
print(sorted({"a", "b", "질문", variant}, key=str), list({"one", "two", "three", "답"}))
"""
FIGURE = """
_ = matplotlib.pyplot.plot(matrix[0])
"""
PLANT = """
import socket, subprocess
planted = builtins.planted = numpy.planted = torch.planted = 1
os.environ["PLANTED"] = "1"
sys.path.insert(0, "/planted")
leak_socket = socket.socket(); leak_socket.bind(("127.0.0.1", 0)); leak_socket.listen()
leak_file = open(os.environ["RUN_STATE"] + ".planted", "w")
child = subprocess.Popen(["sleep", "1000"])
threading.Thread(target=child.wait, name="planted", daemon=True).start()
random.seed(0); numpy.random.seed(0); torch.manual_seed(0); torch.set_default_dtype(torch.float64)
warnings.simplefilter("error", PendingDeprecationWarning)
matplotlib.rcParams["lines.linewidth"] = 17; logging.root.setLevel(7)
_ = matplotlib.pyplot.figure()
os.chdir("/")
matplotlib.pyplot.close("all")
"""


def run(source: KernelSource, variant: int, folder: Path, threads: int) -> dict[str, Any]:
    """Run one notebook on a kernel of this source; return its outputs, what it found, and its seconds."""
    import json

    import nbformat
    from nbclient import NotebookClient

    state = folder / f"{uuid.uuid4().hex}.json"
    cells = [nbformat.v4.new_code_cell(text) for text in (f"variant = {variant}", LOOK, WORK, FIGURE, PLANT)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    started = time.perf_counter()
    environment = {"RUN_FOLDER": str(folder), "RUN_STATE": str(state), "OMP_NUM_THREADS": str(threads), MARK: os.environ[MARK]}
    kernel = source.take(environment, folder)
    error = ""
    try:
        client = NotebookClient(notebook, km=kernel, timeout=RUN_SECONDS, startup_timeout=RUN_SECONDS, coalesce_streams=True)
        client.execute(cleanup_kc=True)
    except (RuntimeError, TimeoutError) as problem:  # also a cell that raised, and a dead kernel
        error = f"{type(problem).__name__}: {str(problem)[-1000:]}"
        if kernel.has_kernel:
            kernel.end()
    seconds = time.perf_counter() - started
    found = json.loads(state.read_text()) if state.exists() else None
    outputs = [cell.outputs for cell in notebook.cells]
    return {"variant": variant, "outputs": json.dumps(outputs, sort_keys=True), "state": found, "error": error, "seconds": seconds}


def unlike(expected: str, got: str) -> str:
    """Show where two texts begin to differ."""
    place = next((place for place, (one, other) in enumerate(zip(expected, got, strict=False)) if one != other), len(got))
    around = slice(max(0, place - 100), place + 200)
    return f"at {place}: expected …{expected[around]!r}, got …{got[around]!r}"


def processes(mark: str) -> list[str]:
    """List the living processes whose environment holds the mark, but for this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.name != str(os.getpid()) and mark.encode() in (folder / "environ").read_bytes():
                found.append(f"{folder.name} {(folder / 'cmdline').read_bytes().replace(bytes(1), b' ').decode(errors='replace')}")
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


def main() -> None:
    """Print the figures; end with status 1 when anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--ahead", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="OMP_NUM_THREADS of a kernel")
    arguments = parser.parse_args()
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type] - two seconds of grammars that nothing here needs
    mark = os.environ[MARK] = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="stress-") as text:
        home, temporary = Path(text) / "work", Path(text) / "tmp"
        home.mkdir()
        temporary.mkdir()
        os.environ.update({"WORKBENCH_HOME": text, "TMPDIR": str(temporary)})
        tempfile.tempdir = str(temporary)

        ordinary = FreshKernels(0)
        expected = [run(ordinary, variant, home, arguments.threads) for variant in range(VARIANTS)]
        again = run(ordinary, 0, home, arguments.threads)
        ordinary.close()
        failed = [one["error"] for one in [*expected, again] if one["error"]]
        if failed or again["outputs"] != expected[0]["outputs"]:
            sys.exit(f"ordinary kernels do not agree with themselves: {failed or unlike(expected[0]['outputs'], again['outputs'])}")

        warm = WarmKernels(arguments.ahead, MODULES)
        started = time.perf_counter()
        with ThreadPoolExecutor(arguments.workers) as pool:
            results = list(pool.map(lambda number: run(warm, number % VARIANTS, home, arguments.threads), range(arguments.runs)))
        wall = time.perf_counter() - started
        stayed_warm = warm.forking
        warm.close()
        subprocess.run(["sync"], check=True)
        time.sleep(1)

        errors = [one["error"] for one in results if one["error"]]
        hangs = [error for error in errors if "Timeout" in error]
        different = [one for one in results if not one["error"] and one["outputs"] != expected[one["variant"]]["outputs"]]
        states = [one["state"] for one in results if one["state"]]
        leaks = [leak for state in states for leak in state["found"]]
        drawn = [value for state in states for value in state["drawn"]]
        resources = {name: sorted({state[name] for state in states}) for name in ("socket", "pipe", "threads")}
        orphans = processes(mark)
        leftovers = [path.name for path in temporary.iterdir()]
        print(
            f"warm kernels, {arguments.workers} at a time, {arguments.ahead} ahead, {arguments.threads} threads each; {', '.join(MODULES)}"
        )
        print(f"runs                        {len(results)} (forked to the end: {stayed_warm})")
        print(f"hangs, other errors         {len(hangs)}, {len(errors) - len(hangs)} {errors[:2] or ''}")
        print(f"outputs unlike an ordinary kernel's   {len(different)} of {len(results)}, {VARIANTS} variants")
        print(f"traces of earlier runs      {len(leaks)} {sorted(set(leaks)) or ''}")
        print(f"random draws met twice      {len(drawn) - len(set(drawn))} of {len(drawn)}")
        for name, values in resources.items():
            print(f"{name + ' of a new kernel':<28}{values}, ordinary {expected[0]['state'][name]}")
        print(f"orphan processes            {len(orphans)} {orphans or ''}")
        print(f"leftover files              {len(leftovers)} {leftovers or ''}")
        fresh, forked = (statistics.median(one["seconds"] for one in some) for some in (expected, results))
        print(f"seconds a run (median)      ordinary, one at a time: {fresh:.2f}; warm: {forked:.2f}")
        print(f"seconds of wall time a run  {wall / len(results):.2f}")
        if different:
            print("first difference:", unlike(expected[different[0]["variant"]]["outputs"], different[0]["outputs"]))
        unlike_new = [name for name, values in resources.items() if values != [expected[0]["state"][name]]]
        wrong = unlike_new or errors or different or leaks or orphans or leftovers or not stayed_warm or len(set(drawn)) < len(drawn)
        sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
