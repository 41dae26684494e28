"""Warm kernels where forking fails or hangs: the kernels that run go on, and those asked for are ordinary ones."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from small_sweep import notebook

from workbench import engine_forked, storage
from workbench.engine import run_notebook
from workbench.engine_kernels import FreshKernels, WarmKernels
from workbench.engine_limits import Limits

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kernels are forked on Linux only")


def forked(folder: Path, source: FreshKernels, module: str = "workbench.engine_fork") -> bool:
    """Run a notebook on a kernel of this source; return whether that was a forked one, or one that has another module."""
    path = storage.write_text(folder / "in.ipynb", notebook("x: int = 0", f"import sys; {module!r} in sys.modules"))
    ended = run_notebook(path, folder / "out.ipynb", {"x": 1}, environment={}, folder=folder, limits=Limits(seconds=50), kernels=source)
    assert ended.state == "ok"
    return storage.read_json(folder / "out.ipynb")["cells"][-1]["outputs"][0]["data"]["text/plain"] == ["True"]


def no_more_files(process_id: int) -> None:
    """Let the process open no further file."""
    import resource

    open_files = len(os.listdir(f"/proc/{process_id}/fd"))
    resource.prlimit(process_id, resource.RLIMIT_NOFILE, (open_files, open_files))


def stopped(process_id: int) -> None:
    """Let the process do nothing."""
    os.kill(process_id, signal.SIGSTOP)


def children(process_id: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()]


@pytest.mark.parametrize(
    ("trouble", "said"),
    [(no_more_files, "no kernel can be forked: [Errno 24] Too many open files"), (stopped, "no kernel was forked within 0.5 seconds")],
)
def test_a_fork_that_fails_costs_no_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Callable[[int], None], said: str
) -> None:
    heard: list[str] = []
    source = WarmKernels(0, [], heard.append)
    running = source.take({}, tmp_path)
    parent = source.parent.process.pid
    monkeypatch.setattr(engine_forked, "FORK_SECONDS", 0.5)
    trouble(parent)
    assert not forked(tmp_path, source)
    assert heard[0].startswith(f"kernels are started the ordinary way from now on: {said}")
    assert running.running()
    assert not forked(tmp_path, source)
    assert len(heard) == 1
    os.kill(parent, signal.SIGCONT)
    deadline = time.monotonic() + 10
    while len(source.parent.forked) > 1 and time.monotonic() < deadline:  # the late fork comes, and is killed
        time.sleep(0.05)
    assert children(parent) == [running.pid]
    running.end()
    source.close()


def test_a_fork_that_cannot_be_followed_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "full.py").write_text(
        "import errno, os\ndef pidfd_open(pid): raise OSError(errno.EMFILE, 'full')\nos.pidfd_open = pidfd_open"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    heard: list[str] = []
    source = WarmKernels(0, ["full"], heard.append)
    assert not forked(tmp_path, source)
    assert "no kernel can be forked: [Errno 24] full" in heard[0]
    assert children(source.parent.process.pid) == []
    source.close()


@pytest.mark.parametrize("seed", ["42", "random"])
def test_a_hash_seed_of_the_shell_keeps_kernels_warm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: str) -> None:
    """A run's kernel always has the seed of KERNEL_DEFAULTS, so those that wait must have it, too."""
    monkeypatch.setenv("PYTHONHASHSEED", seed)
    source = WarmKernels(0, [])
    assert forked(tmp_path, source)
    source.close()


def test_a_kernel_ahead_that_cannot_be_started_costs_no_run(tmp_path: Path) -> None:
    source = FreshKernels(1)
    (source.folder.path / "2").write_text("in the way of the next kernel's folder")
    assert not forked(tmp_path, source)
    assert not source.waiting
    assert not forked(tmp_path, source)
    assert len(source.waiting) == 1
    source.close()


def test_kernels_learn_what_runs_import(tmp_path: Path) -> None:
    heard: list[str] = []
    source = WarmKernels(1, ["json"], heard.append)
    running, first = source.take({}, tmp_path), source.parent
    source.expect(["json"])  # which they have
    assert source.other is None
    source.expect(["wave"])
    source.expect(["aifc"])  # once is enough
    deadline = time.monotonic() + 30
    while source.parent is first and time.monotonic() < deadline:
        time.sleep(0.05)
    assert forked(tmp_path, source, "wave")
    assert running.running()  # it ends when its user ends it
    running.end()
    source.close()
    assert first.process.poll() is not None
    assert source.parent.process.poll() is not None
    assert not heard


@pytest.mark.parametrize(("module", "said"), [("no_such_module", "no_such_module cannot be imported"), ("wave", "")])
def test_kernels_stay_as_they_are_where_nothing_can_be_learned_or_it_is_too_late(tmp_path: Path, module: str, said: str) -> None:
    heard: list[str] = []
    source = WarmKernels(1, [], heard.append)
    source.expect([module])
    assert source.other
    deadline = time.monotonic() + 30
    while said and not heard and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not said or forked(tmp_path, source)
    source.close()
    assert source.other.process.poll() is not None
    assert [said in line for line in heard] == [True] * bool(said)
