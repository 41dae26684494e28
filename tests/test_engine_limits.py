"""Limits of a run with real kernels: time, memory, output, a stop from outside; nothing goes on afterwards."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from small_sweep import notebook

from workbench import storage
from workbench.datatypes import WorkbenchError
from workbench.engine import run_notebook
from workbench.engine_limits import MB, Ended, Limits, Watch
from workbench.engine_output import CUT, OutputCap

WRITE_ID = "import os; open('id', 'w').write(str(os.getpid()))"


def run(folder: Path, *sources: str, limits: Limits, stop: threading.Event | None = None) -> tuple[Ended, list[dict[str, Any]]]:
    """Run these cells; return how it ended and the saved cells after the parameters."""
    path = storage.write_text(folder / "in.ipynb", notebook("x: int = 0", WRITE_ID, *sources))
    ended = run_notebook(path, folder / "out.ipynb", {"x": 5}, environment={}, folder=folder, limits=limits, stop=stop)
    cells = storage.read_json(folder / "out.ipynb")["cells"]
    return ended, [cell for cell in cells if "papermill" in cell["metadata"]][3:]  # without parameters and identity


def gone(folder: Path) -> bool:
    try:
        os.kill(int((folder / "id").read_text("utf-8")), 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.skipif(os.name == "nt", reason="processes are those of POSIX")
@pytest.mark.parametrize(
    ("endless", "limits", "kind", "shown", "error"),
    [
        ("while True: pass", Limits(seconds=5), "timeout", "TimeLimit", "the run took longer than its limit of 5 seconds"),
        (
            "eaten = []\nwhile True: eaten.append(bytearray(5_000_000))",
            Limits(seconds=50, memory_mb=300),
            "memory",
            "MemoryLimit",
            "MB of memory, more than its limit of 300 MB",
        ),
        (
            "while True: print('x' * 1000)",
            Limits(seconds=50, output_characters=100_000),
            "flood",
            "OutputLimit",
            "cell 4 printed more than 2000000 characters",
        ),
    ],
)
def test_a_run_over_its_limit_is_ended_and_says_why(
    tmp_path: Path, endless: str, limits: Limits, kind: str, shown: str, error: str
) -> None:
    """PM1, PM15, PM16."""
    ended, cells = run(tmp_path, endless, "print('never')", limits=limits)
    assert (ended.state, ended.kind) == ("failed", kind)
    assert error in ended.error
    assert gone(tmp_path)
    assert [cell["metadata"]["papermill"]["status"] for cell in cells] == ["failed", "pending"]
    *printed, last = cells[0]["outputs"]
    assert (last["output_type"], last["ename"], last["evalue"]) == ("error", shown, ended.error)
    assert sum(len("".join(output["text"])) for output in printed) <= limits.output_characters + len(CUT)
    assert ended.peak_mb > (300 if kind == "memory" else 20)


def test_stop_ends_a_run_at_once(tmp_path: Path) -> None:
    stop = threading.Event()
    timer = threading.Thread(target=lambda: (_until(tmp_path / "id"), stop.set()))
    timer.start()
    began = time.monotonic()
    ended, cells = run(tmp_path, "import time; time.sleep(100)", limits=Limits(), stop=stop)
    timer.join()
    assert (ended.state, ended.kind, ended.error) == ("lost", "interrupted", "the run was stopped from outside")
    assert time.monotonic() - began < 30
    assert gone(tmp_path)
    assert cells[0]["metadata"]["papermill"]["status"] in ("failed", "pending")  # stopped in it, or just before
    again, cells = run(tmp_path, "1", limits=Limits(), stop=stop)  # set before the start
    assert (again.kind, [cell["metadata"]["papermill"]["status"] for cell in cells]) == ("interrupted", ["pending"])
    assert again.seconds < ended.seconds


def _until(path: Path) -> None:
    while not path.exists():
        time.sleep(0.02)


def test_long_output_is_cut_and_the_run_goes_on(tmp_path: Path) -> None:
    cells = ["print('y' * 2_000_000)\n'shown no more'", "print('next')", "print('z' * 400_000); raise ValueError('w' * 2_000_000)"]
    ended, cells = run(tmp_path, *cells, limits=Limits())
    assert "".join(cells[0]["outputs"][0]["text"]) == "y" * 1_000_000 + CUT
    assert len(cells[0]["outputs"]) == 1
    assert "".join(cells[1]["outputs"][0]["text"]) == "next\n"
    assert "".join(cells[2]["outputs"][0]["text"]) == "z" * 400_000 + "\n"
    error = cells[2]["outputs"][1]
    assert (error["ename"], len(error["evalue"])) == ("ValueError", 1_000_000 + len(CUT))
    assert 900_000 < len("".join(error["traceback"])) <= 1_000_000 + len(CUT)
    assert (ended.kind, len(ended.error) <= 20_010) == ("raised", True)


def test_what_replaces_an_output_counts_alone(tmp_path: Path) -> None:
    """A progress display that clears itself, twelve times the limit in all, ends with its last state."""
    code = "from IPython.display import clear_output\nfor n in range(30):\n    clear_output(wait=True)\n    print('x' * 400, n)"
    ended, cells = run(tmp_path, code, limits=Limits(seconds=50, output_characters=1000))
    assert ended.kind == ""
    assert ["".join(output["text"]) for output in cells[0]["outputs"]] == ["x" * 400 + " 29\n"]


def test_an_output_that_no_notebook_can_hold_fails_the_run(tmp_path: Path) -> None:
    code = "from IPython.display import display\ndisplay({'text/plain': 5}, raw=True)"
    ended, cells = run(tmp_path, code, "print('never')", limits=Limits(seconds=50))
    assert (ended.state, ended.kind) == ("failed", "raised")
    assert ended.error == "an output of cell 4 cannot stand in a notebook: 5 is not valid under any of the given schemas"
    assert [output["evalue"] for output in cells[0]["outputs"]] == [ended.error]
    assert [cell["metadata"]["papermill"]["status"] for cell in cells] == ["failed", "pending"]


# --- without a kernel ---------------------------------------------------------------------------------------------------------------


def test_the_cap_counts_each_cell_alone() -> None:
    floods: list[int] = []
    cap = OutputCap(1000, lambda: floods.append(1))

    def show(kind: str, text: str, cell: int, empty: bool = False) -> str | None:
        content: dict[str, Any] = {"text": text} if kind == "stream" else {"data": {"text/plain": text}, "metadata": {"a": 1}}
        kept = cap.admit(kind, content, cell, empty)
        return (content.get("text") or content["data"]["text/plain"]) if kept else None

    assert show("stream", "a" * 700, 0, empty=True) == "a" * 700
    assert show("stream", "b" * 700, 0) == "b" * 300 + "\n… cut"
    assert show("stream", "c", 0) is None
    assert show("display_data", "c", 0) is None
    assert show("update_display_data", "c" * 101, 0) is None  # would make it longer
    assert show("stream", "d" * 1000, 0, empty=True) == "d" * 1000  # after clear_output
    assert show("display_data", "e" * 1001, 1, empty=True) == "… cut"  # half a picture is none
    assert [show("execute_result", "f", 2, empty=number == 0) for number in range(12)] == ["f"] * 10 + ["… cut", None]  # each has a record
    assert show("update_display_data", "g" * 900, 3, empty=True) == "g" * 900
    assert floods == []
    for _ in range(20):
        show("stream", "h" * 1000, 4)
    assert floods == []
    show("stream", "h", 4)
    assert floods == [1]
    for _ in range(100):  # showtraceback() in a loop
        assert cap.admit("error", {"evalue": "i" * 100, "traceback": ["i" * 100]}, 5, False)
    assert floods == [1]
    assert cap.admit("error", {"evalue": "", "traceback": ["i"]}, 5, False)
    assert floods == [1, 1]


@pytest.mark.parametrize(
    "limits", [{"seconds": 0}, {"memory_mb": -1}, {"output_characters": True}, {"seconds": float("nan")}, {"seconds": "9"}]
)
def test_a_limit_that_is_none_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(WorkbenchError, match=f"limits: {next(iter(limits))} must be a positive number, got "):
        Limits(**limits)


def test_where_the_system_tells_no_private_memory_all_of_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: psutil.Process) -> None:
        raise psutil.AccessDenied(self.pid)

    monkeypatch.setattr(psutil.Process, "memory_full_info", refuse)
    command = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout
        assert process.stdout.readline()  # before that it has hardly any memory
        watch = Watch(Limits(memory_mb=1))
        watch.follow(process.pid)
        watch.sample()
        assert watch.kind == "memory"
        assert watch.private > MB


def test_the_first_reason_to_end_a_run_counts() -> None:
    given_up: list[str] = []
    watch = Watch(Limits(seconds=0.001))
    watch.give_up = lambda: given_up.append(watch.kind)
    time.sleep(0.01)
    watch.sample()
    watch.end("interrupted")
    assert (watch.kind, given_up) == ("timeout", ["timeout"])
