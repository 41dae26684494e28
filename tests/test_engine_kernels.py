"""Kernels from both sources: like ordinary ones, used once, gone with their files, their driver and their parent."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client import AsyncKernelManager
from jupyter_core.utils import run_sync

from workbench import engine_kernels
from workbench.datatypes import WorkbenchError
from workbench.engine_kernels import FreshKernels, WarmKernels, kernel_source

NO_HISTORY = ["--HistoryManager.hist_file=:memory:"]  # as papermill starts kernels
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kernels are forked on Linux only")
WARM = pytest.param("warm", marks=linux)


def ask(kernel: AsyncKernelManager, code: str) -> Any:
    """Run code in a kernel; return the JSON that it prints."""
    client = kernel.client()
    client.start_channels()
    try:
        run_sync(client.wait_for_ready)(timeout=60)
        printed: list[str] = []

        def keep(message: dict[str, Any]) -> None:
            content = message["content"]
            printed.append(content["text"] if message["msg_type"] == "stream" else "\n".join(content.get("traceback", [])))

        run_sync(client.execute_interactive)(code, output_hook=keep, timeout=60, allow_stdin=False)
        return json.loads("".join(printed))
    finally:
        client.stop_channels()


def gone(pids: list[int], seconds: float) -> bool:
    """Wait until none of the processes lives."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module", params=["fresh", WARM])
def source(request: pytest.FixtureRequest) -> Iterator[FreshKernels]:
    made = kernel_source(request.param, ahead=1, modules=["numpy.random"])
    yield made
    made.close()
    assert not made.folder.path.exists()


STATE = """
import json, os, random, signal, sys, threading
hidden = {"STATE", "JPY_PARENT_PID"}
print(json.dumps({
    "names": sorted(name for name in globals() if name not in {"json", "os", "random", "signal", "sys", "threading", "hidden"}),
    "main": [__name__, sys.modules["__main__"].__dict__ is globals(), hasattr(sys.modules["__main__"], "__file__")],
    "argv": [os.path.basename(sys.argv[0]), sys.argv[1]], "path": sys.path, "prefix": sys.prefix, "flags": list(sys.flags),
    "environment": {name: value for name, value in os.environ.items() if not name.startswith("JPY_")},
    "folder": os.getcwd(), "hash": hash("set order"), "recursion": sys.getrecursionlimit(), "switch": sys.getswitchinterval(),
    "input": sys.stdin.read(), "signals": [str(signal.getsignal(number)) for number in (2, 13, 15, 17)],
    "leader": os.getpid() == os.getsid(0) == os.getpgid(0), "count": get_ipython().execution_count, "In": In[:-1],
    "threads": sorted(type(thread).__name__ for thread in threading.enumerate()),
    "parent": os.environ["JPY_PARENT_PID"] == str(os.getppid()),
}))
"""


def test_a_kernel_starts_in_the_state_of_an_ordinary_one(source: FreshKernels, tmp_path: Path) -> None:
    ordinary = AsyncKernelManager(kernel_name="python3")
    environment = {**os.environ, **engine_kernels.KERNEL_DEFAULTS, "STATE": "x"}
    run_sync(ordinary.start_kernel)(env=environment, cwd=str(tmp_path), stdin=subprocess.DEVNULL, extra_arguments=NO_HISTORY)
    kernel = source.take({"STATE": "x"}, tmp_path)
    try:
        assert ask(kernel, STATE) == ask(ordinary, STATE)
    finally:
        kernel.end()
        run_sync(ordinary.shutdown_kernel)(now=True)


def test_kernels_share_nothing(source: FreshKernels, tmp_path: Path) -> None:
    """KS6: what one run leaves, the next does not find; what is drawn by chance is drawn anew."""
    leave = "left = 1\nimport os, numpy, builtins\nos.environ['LEFT'] = '1'\nos.chdir('/')\nnumpy.left = builtins.left = 1\n"
    draw = """import json, os, random, numpy
from pathlib import Path
print(json.dumps([
    os.getpid(), random.random(), numpy.random.random(), os.environ.get("LEFT"), hasattr(numpy, "left"), "left" in dir(__builtins__),
    os.getcwd(), os.environ["RUN"], sum(path.is_fifo() for path in Path("/proc/self/fd").glob("*"))]))"""
    answers = []
    for run in ("1", "2", "3"):
        kernel = source.take({"RUN": run}, tmp_path)
        answers.append(ask(kernel, draw))
        folder = kernel.folder
        ask(kernel, leave + "print(1)")
        assert folder.exists()
        assert ask(kernel, "import json\nprint(json.dumps(os.getcwd()))") == "/"  # set once, not for every client
        kernel.end()
        assert not folder.exists()
        assert not kernel.running()
    for place in range(3):
        assert len({answer[place] for answer in answers}) == 3
    assert [answer[3:8] for answer in answers] == [[None, False, False, str(tmp_path), run] for run in ("1", "2", "3")]
    assert len({answer[8] for answer in answers}) == 1  # pipes: none of the parent, none of the others


def test_environment_and_folder_are_those_of_the_take(source: FreshKernels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    show = "import json, os\nprint(json.dumps([*map(os.environ.get, ('ADDED', 'HOME', 'HERE')), hash('a'), os.getcwd()]))"
    monkeypatch.setenv("HERE", "before the take")
    folder = tmp_path / "it's a 폴더"
    folder.mkdir()
    for change in ({"ADDED": "'값'\n"}, {"ADDED": "", "PYTHONHASHSEED": "7"}):
        kernel = source.take(change, folder)
        environment = {**os.environ, **engine_kernels.KERNEL_DEFAULTS, **change}
        expected = subprocess.run([sys.executable, "-c", show], env=environment, cwd=folder, capture_output=True, text=True, check=True)
        assert ask(kernel, show) == json.loads(expected.stdout)
        kernel.end()
    monkeypatch.delenv("HOME")  # read at start; gone since the waiting kernel was started
    kernel = source.take({}, folder)
    assert ask(kernel, show)[:3] == [None, None, "before the take"]
    kernel.end()
    with pytest.raises(WorkbenchError, match="no such folder"):
        source.take({}, tmp_path / "none")


def test_libraries_get_the_threads_of_the_run(source: FreshKernels, tmp_path: Path) -> None:
    """KS8: also where the parent of warm kernels has loaded them before."""
    show = "import json, numpy, threadpoolctl\nprint(json.dumps([pool['num_threads'] for pool in threadpoolctl.threadpool_info()]))"
    for threads in (1, 2):
        kernel = source.take({"OMP_NUM_THREADS": str(threads)}, tmp_path)
        pools = ask(kernel, show)
        kernel.end()
        assert pools
        assert set(pools) == {threads}


@pytest.mark.parametrize(("code", "status"), [("os._exit(3)", 3), ("os.kill(os.getpid(), 9)", -9)])
def test_a_death_is_told_as_what_it_is(source: FreshKernels, tmp_path: Path, code: str, status: int) -> None:
    kernel = source.take({}, tmp_path)
    process = kernel.process
    client = kernel.client()
    client.start_channels()
    run_sync(client.wait_for_ready)(timeout=60)
    client.execute(f"import os; {code}")
    assert process.wait(30) == status
    assert not kernel.running()
    client.stop_channels()
    kernel.end()
    assert not kernel.folder.exists()


def test_a_kill_takes_what_the_kernel_started(source: FreshKernels, tmp_path: Path) -> None:
    kernel = source.take({}, tmp_path)
    started = ask(kernel, "import subprocess\nprint(subprocess.Popen(['sleep', '100']).pid)")
    pids = [kernel.pid, started]
    thread = threading.Thread(target=kernel.kill)  # as a watch over time or memory does
    thread.start()
    thread.join()
    assert gone(pids, 10)
    kernel.end()


def test_a_waiting_kernel_that_died_is_not_given(source: FreshKernels, tmp_path: Path) -> None:
    waiting = source.waiting[0]
    waiting.kill()
    waiting.process.wait(10)
    kernel = source.take({}, tmp_path)
    assert kernel is not waiting
    assert ask(kernel, "print(1 + 1)") == 2
    kernel.end()


def test_threads_take_at_once(source: FreshKernels, tmp_path: Path) -> None:
    def run(number: int) -> list[Any]:
        kernel = source.take({"NUMBER": str(number)}, tmp_path)
        try:
            return ask(kernel, "import json, os\nprint(json.dumps([os.getpid(), os.environ['NUMBER']]))")
        finally:
            kernel.end()

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(run, range(6)))
    assert [answer[1] for answer in answers] == [str(number) for number in range(6)]
    assert len({answer[0] for answer in answers}) == 6


DRIVER = """
import sys, time
from pathlib import Path
from workbench.engine_kernels import kernel_source
source = kernel_source(sys.argv[1], ahead=1)
taken = source.take({}, Path("."))
parent = getattr(source, "parent", None)
print(taken.pid, source.waiting[0].pid, *([parent.process.pid] if parent else []), flush=True)
print(source.folder.path, flush=True)
time.sleep(100)
"""


@pytest.mark.parametrize("kind", ["fresh", WARM])
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_kernels_end_with_their_driver(kind: str) -> None:
    """KS4, KS5: no orphan after 5 s when the driver is killed, and what it left is removed by the next one."""
    with subprocess.Popen([sys.executable, "-c", DRIVER, kind], stdout=subprocess.PIPE, text=True) as driver:
        pids = [int(pid) for pid in driver.stdout.readline().split()]
        folder = Path(driver.stdout.readline().strip())
        os.utime(folder, (0, 0))
        FreshKernels(0).close()
        assert folder.exists()  # a living driver's
        driver.send_signal(signal.SIGKILL)
        assert gone(pids, 5)
    os.utime(folder, (0, 0))
    FreshKernels(0).close()
    assert not folder.exists()


@linux
def test_ordinary_kernels_follow_when_forking_ends(tmp_path: Path) -> None:
    said: list[str] = []
    source = WarmKernels(1, [], said.append)
    first = source.take({}, tmp_path)
    pids = [first.pid, source.waiting[0].pid]
    source.parent.process.kill()
    assert gone(pids, 10)
    assert not first.running()
    second = source.take({}, tmp_path)
    assert ask(second, "import sys\nprint(len(sys.argv))") >= 3
    assert second.fork_parent is None
    assert len(said) == 1
    assert "the process that forks kernels has ended" in said[0]
    first.end()
    second.end()
    source.close()


@linux
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
            "the import of odd_one started a thread",
        ),
        ("import no_such_module", "odd_one cannot be imported: No module named 'no_such_module'"),
        ("raise SystemExit(1)", "the process that forks kernels has ended"),
    ],
)
def test_what_cannot_be_forked_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, message: str) -> None:
    (tmp_path / "odd_one.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(WorkbenchError, match=message):
        kernel_source("warm", 0, ["odd_one"])
    said: list[str] = []
    source = kernel_source("auto", 0, ["odd_one"], said.append)
    source.close()
    assert type(source) is FreshKernels
    assert message in said[0]


def test_bad_choices_are_named() -> None:
    with pytest.raises(WorkbenchError, match="'cold' is unknown; choose one of auto, warm, fresh"):
        kernel_source("cold", 1)
    with pytest.raises(WorkbenchError, match="ahead must be 0 or more kernels, got -1"):
        kernel_source("fresh", -1)


LATER = """
import __main__, threading, time
def answer(self, request, known=__main__.Parent.answer):
    threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
    return known(self, request)
__main__.Parent.answer = answer
"""


@linux
def test_a_process_with_threads_refuses_to_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent counts its threads before every fork, not only once."""
    (tmp_path / "later.py").write_text(LATER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said: list[str] = []
    source = WarmKernels(0, ["later"], said.append)
    kernel = source.take({}, tmp_path)
    assert ask(kernel, "print(2)") == 2
    kernel.end()
    source.close()
    assert "the process that forks kernels has 2 threads" in said[0]
