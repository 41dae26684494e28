"""One run of a sweep with a real kernel: what is put in place, what goes to failed/, and what stays as it was."""

import base64
import contextlib
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import nbformat
import pytest
from small_sweep import PARAMETERS, RUN, TROUBLE, notebook, write_spec

from workbench import engine_tidy, storage
from workbench.engine_limits import Ended, Limits
from workbench.ledger import Ledger
from workbench.sweep_done import settle
from workbench.sweep_run import execute
from workbench.sweep_spec import plan

SECRET = "canary-5f0c2b7e91"


@pytest.fixture
def start(project: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a function that executes the project's notebook as the run "one"."""
    monkeypatch.setenv("CANARY_API_KEY", SECRET)
    storage.write_text(project / "notebooks/tiny.ipynb", notebook(PARAMETERS, RUN, TROUBLE, "print('end')"))

    def run(trouble: str, **options: Any) -> Ended:
        parameters = {"dataset": f"folder:{project}/docs", "note": "n", "trouble": trouble}
        return execute(project / "notebooks/tiny.ipynb", project / "outputs/tiny/runs/one", "abc", parameters, **options)

    return run


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file() and "cache" not in path.parts
    }


def test_a_run_is_put_in_place_only_when_it_is_complete(project: Path, start: Any) -> None:
    """The temporary folder is gone in each case; a failure never touches an earlier result, a success takes an earlier failure away."""
    outputs, before = project / "outputs", dict(os.environ)
    early = start("silent", environment={"OMP_NUM_THREADS": "1"}, limits=Limits(seconds=100))
    assert (early.state, early.kind) == ("failed", "incomplete")
    assert early.error.startswith("the notebook ended without complete results (save_results): no such file: ./result.json")
    assert list(files(outputs)) == ["tiny/failed/one/notebook.ipynb"]

    good = start("", environment={"OMP_NUM_THREADS": "1"})
    assert (good.state, good.kind, good.error) == ("ok", "", "")
    assert set(files(outputs)) == {f"tiny/runs/one/{name}" for name in ("notebook.ipynb", "result.json", "record.json")}
    record = storage.read_json(outputs / "tiny/runs/one/record.json")
    assert record == {
        "run_id": "abc",
        "parameters": {"dataset": "folder:./docs", "note": "n", "trouble": ""},
        "result": storage.sha256_file(outputs / "tiny/runs/one/result.json"),
        "threads": "1",
    }
    complete = files(outputs)
    failed = start("raise")
    assert (failed.state, failed.kind) == ("failed", "raised")
    assert failed.error.splitlines()[-1] == "ValueError: no luck with [CANARY_API_KEY] in ."
    assert set(files(outputs)) - set(complete) == {"tiny/failed/one/notebook.ipynb", "tiny/failed/one/result.json"}
    saved = json.loads(files(outputs)["tiny/failed/one/notebook.ipynb"])
    assert saved["metadata"]["workbench"] == {"state": "failed", "kind": "raised"}
    everything = files(outputs)
    assert {name: everything[name] for name in complete} == complete

    stop = threading.Event()
    stop.set()
    assert start("", stop=stop).kind == "interrupted"
    assert files(outputs) == everything  # nothing was replaced, nothing stays of it
    assert sorted(path.name for path in (outputs / "tiny/runs").iterdir()) == ["one"]
    assert dict(os.environ) == before
    for name, content in everything.items():
        texts = content.decode("utf-8")
        assert SECRET not in texts, name
        assert name.endswith("result.json") or str(project) not in texts, name


def test_a_full_disk_is_an_error_of_the_sweep_and_changes_nothing(project: Path, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    target = project / "outputs/tiny/runs/one"
    storage.write_text(target / "record.json", "earlier")

    def full(path: Path, text: str) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "write_text", full)
    with pytest.raises(OSError, match="No space left on device"):
        start("raise")
    assert files(project / "outputs") == {"tiny/runs/one/record.json": b"earlier"}
    assert [path.name for path in target.parent.iterdir()] == ["one"]


# --- what is taken out --------------------------------------------------------------------------------------------------------------


def test_texts_lose_folders_and_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("X_TOKEN", SECRET)
    monkeypatch.setenv("Y_API_KEY", "none")  # too short to be one
    clean = engine_tidy.cleaner(tmp_path / "outputs/run", {"Z_SECRET": 'quo"ted\\secret'})
    text = f'{tmp_path}/a {tmp_path}/outputs/run/b {sys.prefix}/c {SECRET} none \x1b[31mred\x1b[0m quo"ted\\secret {tmp_path}/me/d'
    assert engine_tidy.plain(text, clean) == "./a ./b .venv/c [X_TOKEN] none red [Z_SECRET] ~/d"
    assert clean(f"{tmp_path}s") != ".s"  # another folder
    monkeypatch.setenv("HOME", "/")
    assert engine_tidy.cleaner(tmp_path, {})("a/b") == "a/b"


def test_an_executed_notebook_is_tidied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PM21, SC2; pictures stay as they are."""
    monkeypatch.setenv("HOME", "/+a")
    monkeypatch.setenv("X_TOKEN", SECRET)
    picture = base64.b64encode(b"\xff\xe6\x80" * 3).decode() + "/+a="
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": SECRET[:5]},
        {"output_type": "stream", "name": "stdout", "text": SECRET[5:] + "\n"},
        {"output_type": "stream", "name": "stderr", "text": "other"},
        {
            "output_type": "display_data",
            "metadata": {},
            "data": {"image/png": picture, "text/html": f"<img src='data:image/png;base64,{picture}'>/+a/x"},
        },
        {"output_type": "error", "ename": "E", "evalue": "", "traceback": [f"{SECRET[:5]}\x1b[31m{SECRET[5:]}\x1b[0m"]},
    ]
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": 1, "source": "open('/+a/x')", "outputs": outputs}
    metadata = {"papermill": {"input_path": "/in", "output_path": "/out", "version": "2"}, "widgets": {"state": {}}}
    record = nbformat.from_dict({"cells": [cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})
    copy = engine_tidy.tidy(record, engine_tidy.cleaner(tmp_path, {}))
    assert copy.metadata == {"papermill": {"version": "2"}}
    assert copy.cells[0].source == "open('~/x')"
    assert [output.get("text") for output in copy.cells[0].outputs] == ["[X_TOKEN]\n", "other", None, None]
    assert copy.cells[0].outputs[2].data == {"image/png": picture, "text/html": f"<img src='data:image/png;base64,{picture}'>~/x"}
    assert copy.cells[0].outputs[3].traceback == ["[X_TOKEN]"]
    assert record.metadata.widgets == {"state": {}}  # a copy


def test_the_ledger_names_no_folder_of_this_machine(project: Path) -> None:
    points = plan(write_spec(project, {"notebook": "tiny", "grid": {"dataset": [f"folder:{project}/docs", "folder:docs"]}}))[1]
    with contextlib.closing(Ledger(points[0].folder.parent.parent / "ledger.sqlite")) as ledger:
        settle(ledger, points)
        labels = [entry.label for entry in ledger.entries()]
    assert len(labels) == 2
    assert str(project) not in "".join(labels)
