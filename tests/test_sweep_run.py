"""One run of a sweep, without a kernel: what is taken out of an executed notebook, and how kernels are reached."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

from workbench import storage, sweep_run

SECRET = "canary-5f0c2b7e91"


def test_texts_lose_folders_and_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("X_TOKEN", SECRET)
    monkeypatch.setenv("Y_API_KEY", "none")  # too short to be one
    text = f"{tmp_path}/a {tmp_path}/outputs/run/b {sys.prefix}/c {SECRET} none \x1b[31mred\x1b[0m"
    assert sweep_run._plain(text, tmp_path / "outputs/run") == "./a ./b .venv/c [X_TOKEN] none red"
    monkeypatch.setenv("HOME", "/")
    assert sweep_run._plain("a/b", tmp_path) == "a/b"


def test_an_executed_notebook_is_tidied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PM16, PM21, SC2."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    long = {"output_type": "stream", "name": "stdout", "text": "x" * 3_000_000}
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": 1, "source": f"open('{tmp_path}/x')", "outputs": [long]}
    metadata = {"papermill": {"input_path": "/in", "output_path": "/out", "version": "2"}, "widgets": {"state": {}}}
    path = storage.write_json(tmp_path / "x.ipynb", {"cells": [cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})
    sweep_run._tidy(path, tmp_path / "run")
    record = storage.read_json(path)
    assert record["metadata"] == {"papermill": {"version": "2"}}
    text = "".join(record["cells"][0]["outputs"][0]["text"])
    assert (len(text), text[-5:]) == (1_000_006, "… cut"[-5:])
    assert "".join(record["cells"][0]["source"]) == "open('./x')"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such sockets")
def test_kernels_talk_by_sockets_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KS4: no shared folder, no port; TCP only where the path would be too long for a socket."""
    with sweep_run._transport() as one, sweep_run._transport() as other:
        places = [options["config"]["KernelManager"]["ip"] for options in (one, other)]
        assert one["config"]["KernelManager"]["transport"] == "ipc"
        assert len({Path(place).parent for place in places}) == 2
        assert all(Path(place).is_absolute() and Path(place).parent.stat().st_mode & 0o077 == 0 for place in places)
    assert not any(Path(place).parent.exists() for place in places)
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with sweep_run._transport() as options:
        assert options == {}
