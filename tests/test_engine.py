"""The papermill engine with real kernels: what a run's end is called, what the notebook says, and that nothing is left behind."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from small_sweep import notebook

from workbench import storage
from workbench.engine import WorkbenchEngine, run_notebook
from workbench.engine_limits import Ended, Limits

ROOT = Path(__file__).resolve().parent.parent
SECRET = "canary-5f0c2b7e91"


def run(folder: Path, *sources: str, environment: Mapping[str, str] | None = None, **options: Any) -> tuple[Ended, dict[str, Any]]:
    """Run a notebook of these cells after its parameters cell (x: int = 0, given 5); return how it ended and the saved notebook."""
    folder.mkdir(exist_ok=True)
    path = storage.write_text(folder / "in.ipynb", notebook("x: int = 0", *sources))
    options = {"limits": Limits(seconds=50), **options}
    ended = run_notebook(path, folder / "out.ipynb", {"x": 5}, environment=environment or {}, folder=folder, **options)
    record = storage.read_json(folder / "out.ipynb")
    nbformat.validate(record)
    return ended, record


def states(record: dict[str, Any]) -> list[str]:
    """Return the states of the cells, without the two that papermill adds to a failed notebook."""
    return [cell["metadata"]["papermill"]["status"] for cell in record["cells"] if "papermill" in cell["metadata"]]


def printed(record: dict[str, Any]) -> str:
    """Return what the cells printed."""
    return "".join("".join(item.get("text", "")) for cell in record["cells"] for item in cell.get("outputs", []))


def alive(process_id: int) -> bool:
    return psutil.pid_exists(process_id) and psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE


def sleepers(mark: str) -> list[int]:
    return [process.pid for process in psutil.process_iter() if mark in " ".join(_command(process))]


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


class OneKernel:
    """Give one started kernel, made with jupyter_client alone."""

    def __init__(self, folder: Path, broken: bool = False) -> None:
        self.folder, self.broken = folder, broken

    def take(self, environment: Mapping[str, str], folder: Path) -> Any:
        return asyncio.run(self._start(environment, folder))

    async def _start(self, environment: Mapping[str, str], folder: Path) -> Any:
        from jupyter_client import AsyncKernelManager

        manager = self.manager = AsyncKernelManager(transport="ipc", ip=f"{self.folder}/s", connection_file=f"{self.folder}/kernel.json")
        await manager.start_kernel(env={**os.environ, **environment}, cwd=str(folder))
        if self.broken:
            manager.provisioner.process.kill()
            manager.provisioner.process.wait()
        return manager


# --- how a run ends -----------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
@pytest.mark.parametrize(
    ("trouble", "state", "kind", "shown", "error"),
    [
        ("raise ValueError('no luck')", "failed", "raised", "ValueError", "ValueError: no luck"),
        (
            "import sys; sys.exit(0)",
            "failed",
            "exited",
            "EarlyExit",
            "SystemExit was raised and 2 code cells never ran (sys.exit in a cell?)",
        ),
        ("exit()", "failed", "exited", "EarlyExit", "the kernel was asked to exit and 2 code cells never ran (exit in a cell?)"),
        (
            "import os; os._exit(0)",
            "failed",
            "exited",
            "EarlyExit",
            "the kernel ended itself with code 0 and 2 code cells never ran (exit in a cell?)",
        ),
        ("import os; os.kill(os.getpid(), 9)", "lost", "died", "KernelDied", "Kernel died"),
    ],
)
def test_a_run_that_ends_early_is_called_what_it_is(tmp_path: Path, trouble: str, state: str, kind: str, shown: str, error: str) -> None:
    """PM1, PM2: the last cell that was started failed, later ones are pending, and the notebook says so."""
    ended, record = run(tmp_path, "print(x)", trouble, "2", "  ", "3")
    assert (ended.state, ended.kind, ended.error.splitlines()[-1]) == (state, kind, error)
    assert states(record) == ["completed", "completed", "completed", "failed", "pending", "pending", "pending"]
    assert record["metadata"]["papermill"]["exception"] is True
    assert record["metadata"]["workbench"] == {"state": state, "kind": kind}
    failed = next(cell for cell in record["cells"] if cell["metadata"].get("papermill", {}).get("status") == "failed")
    assert failed["outputs"][-1]["ename"] == shown
    assert failed["outputs"][-1]["evalue"] == error.removeprefix("ValueError: ")
    assert printed(record).startswith("5\n")
    assert ended.peak_mb > 10
    assert 0 < ended.seconds < 50


def test_a_good_run_has_its_own_environment_and_leaks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SC1, SC2, KS4, PM23: environment by argument, folders and secrets taken out; also inside of an event loop, as in a notebook."""
    monkeypatch.setenv("CANARY_API_KEY", SECRET)
    before, make, made = dict(os.environ), tempfile.mkdtemp, []
    monkeypatch.setattr(tempfile, "mkdtemp", lambda *given, **named: made.append(Path(make(*given, **named))) or str(made[-1]))
    cells = [
        "import os, sys, json\nprint([os.environ.get(name) for name in ('MINE', 'OMP_NUM_THREADS', 'PYTHONHASHSEED')], os.getcwd())",
        f"print('{SECRET[:9]}', end='', flush=True); print('{SECRET[9:]}')\nopen(os.environ['MINE'] + '.txt', 'w').close()",
        "print(sys.prefix, os.__file__, os.path.expanduser('~'), json.dumps(os.environ['OTHER_TOKEN']))",
        "connection = sys.argv[sys.argv.index('-f') + 1]; print(connection); json.load(open(connection))['transport']",
    ]
    environment = {"MINE": "my own", "OMP_NUM_THREADS": "1", "OTHER_TOKEN": "b" * 12}

    async def inside() -> tuple[Ended, dict[str, Any]]:
        return run(tmp_path / "place", *cells, environment=environment)

    ended, record = asyncio.run(inside())
    assert (ended.state, ended.kind, ended.error) == ("ok", "", "")
    assert dict(os.environ) == before
    assert states(record) == ["completed"] * 6
    assert [cell["execution_count"] for cell in record["cells"]] == [1, 2, 3, 4, 5, 6]
    assert "".join(record["cells"][2]["outputs"][0]["text"]).startswith("['my own', '1', '0'] ")
    assert (tmp_path / "place" / "my own.txt").is_file()
    assert printed(record).count("[CANARY_API_KEY]") == 1
    assert '"[OTHER_TOKEN]"' in printed(record)
    assert ".venv" in printed(record)
    if os.name != "nt":
        assert "'ipc'" in json.dumps(record["cells"][-1]["outputs"])
    assert any(path.name.startswith("kernel-") for path in made)
    assert not any(path.exists() for path in made)  # of this process: others test at the same time
    text = json.dumps(record, ensure_ascii=False)
    for leak in (SECRET, "b" * 12, str(tmp_path), str(Path.home()), sys.prefix, tempfile.gettempdir() + "/"):
        assert leak not in text, leak
    assert record["metadata"]["papermill"].keys().isdisjoint({"input_path", "output_path"})


def test_two_threads_run_notebooks_at_once_without_mixing_them_up(tmp_path: Path) -> None:
    def one(number: int) -> tuple[str, str]:
        cell = "import os, time; time.sleep(0.5); print(os.environ['NUMBER'], os.path.basename(os.getcwd()), x)"
        ended, record = run(tmp_path / f"run{number}", cell, environment={"NUMBER": str(number)})
        return ended.state, printed(record)

    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(one, range(4))) == [("ok", f"{number} run{number} 5\n") for number in range(4)]
    assert time.monotonic() - began < 45
    assert "NUMBER" not in os.environ


# --- kernels ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="sessions are those of POSIX")
@pytest.mark.parametrize("end", ["print('end')", "import os, time; time.sleep(0.7); os.kill(os.getpid(), 9)"], ids=["ends", "dies"])
def test_a_kernel_that_was_given_is_used_and_goes_with_all_it_started(tmp_path: Path, end: str) -> None:
    """Its children too, in whatever session; its connection file and its sockets."""
    with tempfile.TemporaryDirectory(prefix="k-") as sockets:  # a socket's path must be short
        kernels = OneKernel(Path(sockets))
        mark = f"sleeps-for-{tmp_path.name}"
        start = "import os, subprocess, sys\nfor apart in (False, True):\n"
        start += f"    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)', {mark!r}], start_new_session=apart)"
        ended, record = run(
            tmp_path,
            start,
            "import time; time.sleep(0.5); print(os.environ['MINE'], os.getpid())",
            end,
            environment={"MINE": "m"},
            kernels=kernels,
        )
        assert ended.kind in ("", "died")
        mine, process_id = printed(record).split()[:2]
        assert mine == "m"
        assert int(process_id) == kernels.manager.provisioner.pid
        assert not alive(int(process_id))
        assert sleepers(mark) == []
        assert os.listdir(sockets) == []


def test_a_kernel_that_does_not_start_is_a_lost_run(tmp_path: Path) -> None:
    class NoMemory:
        def take(self, environment: Mapping[str, str], folder: Path) -> Any:
            raise OSError(12, f"Cannot allocate memory for {folder}")

    with tempfile.TemporaryDirectory(prefix="k-") as sockets:
        for kernels, reason in ((NoMemory(), "Cannot allocate memory for ."), (OneKernel(Path(sockets), broken=True), "ied")):
            ended, record = run(tmp_path, "print(x)", kernels=kernels)
            assert (ended.state, ended.kind) == ("lost", "died")
            assert ended.error.startswith("the kernel could not be started: ")
            assert reason in ended.error
            assert states(record) == ["pending"] * 3
            assert record["metadata"]["workbench"] == {"state": "lost", "kind": "died", "error": ended.error}
        assert os.listdir(sockets) == []


# --- plain papermill ----------------------------------------------------------------------------------------------------------------

PLAIN = """
import json, sys
sys.modules["rfc3987_syntax"] = None
import papermill
from papermill.engines import papermill_engines
from workbench.engine import RunEnded, WorkbenchEngine
papermill_engines.register("workbench", WorkbenchEngine)
for name, kernel in (("good", "python3"), ("exit", "python3"), ("good", "no-such-kernel")):
    try:
        papermill.execute_notebook(f"{name}.ipynb", "out.ipynb", {"x": 7}, engine_name="workbench", kernel_name=kernel, language="python",
                                   progress_bar=False)
        error = ""
    except (papermill.PapermillExecutionError, RunEnded) as problem:
        error = f"{type(problem).__name__}: {problem}"
    record = json.load(open("out.ipynb"))
    states = [cell["metadata"].get("papermill", {}).get("status") for cell in record["cells"]]
    print(json.dumps([error, states, record["metadata"]["workbench"]]))
"""


def test_plain_papermill_can_use_the_engine(tmp_path: Path) -> None:
    storage.write_text(tmp_path / "good.ipynb", notebook("x: int = 0", "print(x)"))
    storage.write_text(tmp_path / "exit.ipynb", notebook("x: int = 0", "import sys; sys.exit(0)", "print(x)"))
    done = subprocess.run([sys.executable, "-c", PLAIN], cwd=tmp_path, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    good, early, wrong = (json.loads(line) for line in done.stdout.splitlines())
    assert good == ["", ["completed"] * 3, {"state": "ok", "kind": ""}]
    assert "SystemExit was raised and 1 code cells never ran" in early[0]
    assert early[0].startswith("PapermillExecutionError: ")
    assert early[1] == [None, "completed", "completed", None, "failed", "pending"]
    assert wrong[0] == "RunEnded: the kernel could not be started: No such kernel named no-such-kernel"
    assert wrong[1:] == [["pending"] * 3, {"state": "lost", "kind": "died", "error": wrong[0].removeprefix("RunEnded: ")}]


def test_the_entry_point_names_the_engine() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]["papermill.engine"]
    assert EntryPoint("workbench", declared["workbench"], "papermill.engine").load() is WorkbenchEngine
