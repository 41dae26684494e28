"""Build the project's own environment (.venv) on first use, then run the demo, the tests or JupyterLab in it.

Only the standard library is imported, and the file loads on Python 3.8, so that an old Python gets a message and not a traceback.
Not covered: environments of other tools (conda, uv). There the packages are installed once and `workbench`, `pytest` and `jupyter lab`
are called directly.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 11), (3, 13)
EMBEDDERS = ("sentence-transformers/all-MiniLM-L6-v2", "intfloat/multilingual-e5-small")
NOTEBOOK_MODELS = (
    *EMBEDDERS,
    "BAAI/bge-small-en-v1.5",
    "cross-encoder/ms-marco-MiniLM-L12-v2",
    "HuggingFaceTB/SmolLM2-135M-Instruct",
)
START = "notebooks/00_start_here.ipynb"
ENVIRONMENT = {"PYTHONUTF8": "1", "TOKENIZERS_PARALLELISM": "false", "JUPYTER_PLATFORM_DIRS": "1"}
LOCK_SECONDS = 0.5


class BootstrapError(Exception):
    """Say what stands in the way of an environment; not a WorkbenchError, because datatypes.py does not load on Python 3.9."""


class Command(NamedTuple):
    """Hold what a word needs and runs: an extra of pyproject.toml (or ""), the models, and the arguments of Python."""

    extra: str
    models: tuple[str, ...]
    arguments: tuple[str, ...]


COMMANDS = {
    "demo": Command("", EMBEDDERS, ("-m", "workbench", "sweep", "params/01_chunk_sizing.sweep.yaml")),
    "test": Command("test", NOTEBOOK_MODELS, ("-m", "pytest", "-n", "2", "--dist", "worksteal")),
    "test-slow": Command("test", NOTEBOOK_MODELS, ("-m", "pytest", "--full", "-m", "full_size")),
    # an address, since a file to open would become the root's only folder and would not be in the address that is printed
    "lab": Command("lab", NOTEBOOK_MODELS, ("-m", "jupyter", "lab", "--ServerApp.ip=127.0.0.1", f"--LabApp.default_url=/lab/tree/{START}")),
}


def run(word: str, arguments: Sequence[str], root: Path = ROOT) -> int:
    """Make the environment and the models ready, run one of COMMANDS with extra arguments, and return its exit code.

    On POSIX the command replaces this process, so its exit code, Ctrl-C and every other signal are its own.
    Raise BootstrapError when the environment cannot be made.
    """
    command = COMMANDS[word]
    python = prepare(frozenset({command.extra} - {""}), root)
    pulled = call([str(python), "-m", "workbench", "models", "pull", *command.models], root)
    return pulled or hand_over([str(python), *command.arguments, *arguments], root)


def prepare(extras: frozenset[str], root: Path) -> Path:
    """Return the Python of root/.venv with the project and these extras installed, made or completed when it is not ready."""
    for name in ("pyproject.toml", "constraints.txt"):
        if not (root / name).is_file():
            raise BootstrapError(f"{root} is not a checkout of the project (no {name}); run this in the folder that holds the Makefile")
    environment = Environment(root)
    if environment.ready(extras):
        return environment.python
    with lock(root / "outputs" / ".bootstrap.lock") as held:
        if environment.ready(extras):  # another process made it while this one waited
            return environment.python
        extras |= frozenset(environment.stamp().get("extras", ()))
        inputs = environment.inputs()
        if not environment.usable():
            environment.create(held)
        if not environment.complete(extras):
            environment.install(extras, held)
        environment.write_stamp(extras, inputs)
    return environment.python


class Environment:
    """Know the state of root/.venv.

    Its stamp file names the folder, the Python version, the extras and the sha256 of what was installed from. It is written
    without that sha256 before an installation and with it afterwards, so a killed installation is never taken for a whole one.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.python = self.folder.joinpath(*(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
        self.stamp_file = self.folder / "workbench-stamp.json"

    def stamp(self) -> dict[str, Any]:
        """Return what the stamp file says; empty when there is none or it cannot be read."""
        try:
            return dict(json.loads(self.stamp_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

    def write_stamp(self, extras: frozenset[str], inputs: str | None) -> None:
        """Write the stamp atomically; `inputs` None marks an installation under way."""
        value = {"root": str(self.root), "python": self.version(), "extras": sorted(extras), "inputs": inputs}
        temporary = self.stamp_file.with_suffix(".tmp")
        temporary.write_text(json.dumps(value), encoding="utf-8")
        os.replace(temporary, self.stamp_file)

    def inputs(self) -> str:
        """Return the sha256 (hex) of what decides the set of packages: pyproject.toml and constraints.txt."""
        content = b"\0".join((self.root / name).read_bytes() for name in ("pyproject.toml", "constraints.txt"))
        return hashlib.sha256(content).hexdigest()

    def version(self) -> list[int] | None:
        """Ask the Python for its version, [3, 11]; None when it does not start (deleted, or its base installation is gone)."""
        output = answer([str(self.python), "-I", "-S", "-c", "import sys; print(list(sys.version_info[:2]))"])
        return json.loads(output) if output else None

    def ready(self, extras: frozenset[str]) -> bool:
        """Say whether this folder's installation was finished, from the files as they are now, with at least these extras."""
        stamp = self.stamp()
        if stamp.get("root") != str(self.root) or stamp.get("inputs") != self.inputs():
            return False
        return extras <= set(stamp["extras"]) and stamp["python"] is not None and stamp["python"] == self.version()

    def usable(self) -> bool:
        """Say whether packages can be installed: the Python starts and is a supported one, pip works, and the folder was not moved."""
        version = self.version()
        moved = self.stamp().get("root", str(self.root)) != str(self.root)
        if version is None or not OLDEST <= tuple(version) <= NEWEST or moved:
            return False
        return answer([str(self.python), "-I", "-m", "pip", "--version"]) is not None

    def create(self, held: int) -> None:
        """Make an empty environment with pip, in place of what is there."""
        check_python(sys.version_info[:2])
        check_modules()
        say(f"{'rebuilding' if self.folder.exists() else 'making'} {self.folder} with Python {sys.version.split()[0]}")
        base = getattr(sys, "_base_executable", None) or sys.executable  # the running Python may be in the folder that is cleared
        code = call([base, "-m", "venv", "--clear", str(self.folder)], self.root, held)
        if code:
            raise BootstrapError(f"{base} could not make {self.folder} (exit code {code}); its message is above")

    def complete(self, extras: frozenset[str]) -> bool:
        """Say whether an environment made by hand (no stamp) holds the project and its direct dependencies in the pinned versions."""
        if self.stamp_file.exists() or sys.version_info < OLDEST:
            return False
        import importlib.metadata
        import tomllib  # since Python 3.11

        project = tomllib.loads((self.root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        requirements = [project["name"], *project.get("dependencies", ())]
        if extras:  # an extra may name others, so all of them are asked for
            requirements += [line for extra in project["optional-dependencies"].values() for line in extra]
        pins = read_pins(self.root / "constraints.txt")
        version = ".".join(map(str, self.version() or ()))
        site = self.folder.joinpath(*(("Lib",) if os.name == "nt" else ("lib", f"python{version}")), "site-packages")
        found = {normal(item.metadata["Name"]): item.version for item in importlib.metadata.distributions(path=[str(site)])}
        names = {requirement_name(requirement) for requirement in requirements}
        return all(name in found and pins.get(name, found[name]) == found[name].partition("+")[0] for name in names)

    def install(self, extras: frozenset[str], held: int) -> None:
        """Install the project, editable, with these extras in the pinned versions."""
        self.write_stamp(extras, None)
        target = f".[{','.join(sorted(extras))}]" if extras else "."
        say(f"installing about 150 packages into {self.folder}: {download_size()}; this takes some minutes, once")
        options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-compile", "-c", "constraints.txt", "-e", target]
        code = call([str(self.python), "-m", "pip", "install", *options], self.root, held)
        if code:
            raise BootstrapError(f"pip could not install the packages (exit code {code}), see above; repeat the command to try again")


def check_python(version: Sequence[int]) -> None:
    """Raise BootstrapError unless this (major, minor) version can run the project."""
    if OLDEST <= tuple(version) <= NEWEST:
        return
    oldest, newest = (".".join(map(str, bound)) for bound in (OLDEST, NEWEST))
    raise BootstrapError(
        f"Python {version[0]}.{version[1]} ({sys.executable}) cannot run the workbench, it needs {oldest} to {newest}; "
        f"install one of these and name it, for example: make demo PYTHON=python{newest} (or python{newest} -m workbench demo)"
    )


def check_modules() -> None:
    """Raise BootstrapError when this Python came without the parts of the standard library that make environments."""
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        raise BootstrapError(
            f"{sys.executable} has no module {' and no module '.join(missing)}, which make the environment; "
            f"on Debian and Ubuntu: sudo apt install {package}; elsewhere install a complete Python"
        )


def missing_package(name: str | None) -> str:
    """Say what to do when the command line interface cannot be imported because a package is missing."""
    message = f"the package {name} is not installed for {sys.executable}; run `make demo` first (or: python -m workbench demo)"
    python = Environment(ROOT).python
    return f"{message}, then {python} -m workbench" if python.exists() else message


def normal(name: str) -> str:
    """Spell a package name the one way that is compared: lower case, single hyphens."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(requirement: str) -> str:
    """Return the package name at the start of a requirement."""
    return normal(re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0])


def read_pins(path: Path) -> dict[str, str]:
    """Read `name==version` lines into {normal name: version}."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return {normal(name): version for name, _, version in (line.partition("==") for line in lines if line)}


@contextlib.contextmanager
def lock(path: Path) -> Iterator[int]:
    """Hold a lock file so that one process installs at a time; yield its descriptor. It ends with the processes that hold it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        if not _locked(file.fileno()):
            say(f"another process is installing, waiting for it ({path})")
            while not _locked(file.fileno()):
                time.sleep(LOCK_SECONDS)
        yield file.fileno()


def _locked(descriptor: int) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def download_size() -> str:
    """Say how much an installation downloads; on Linux the usual torch wheel brings the CUDA libraries."""
    return "0.5 GB to download, 3 GB if pip finds no CPU-only torch" if sys.platform == "linux" else "0.5 GB to download"


def say(message: str) -> None:
    """Print one line of progress on stderr, so that the output of the command stays clean."""
    print(f"workbench: {message}", file=sys.stderr, flush=True)


def answer(command: Sequence[str]) -> str | None:
    """Run a command silently and return its output; None when it does not start or fails."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def child_environment() -> dict[str, str]:
    """Return the environment variables of everything that is started here."""
    return {**os.environ, **ENVIRONMENT}


def call(command: Sequence[str], root: Path, held: int | None = None) -> int:
    """Run a command in `root`, its output on stderr, and return its exit code; it keeps the lock `held` if this process is killed."""
    keep = () if held is None or os.name == "nt" else (held,)
    done = subprocess.run(command, cwd=root, env=child_environment(), stdout=2, pass_fds=keep, check=False)  # noqa: S603
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def hand_over(command: Sequence[str], root: Path) -> int:
    """Become this command (POSIX), or wait for it while Ctrl-C goes to it alone (Windows); return its exit code."""
    os.chdir(root)
    if os.name != "nt":
        os.execve(command[0], command, child_environment())  # noqa: S606 - no shell is wanted
    previous = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.Popen(command, env=child_environment()).wait()  # noqa: S603
    finally:
        signal.signal(signal.SIGINT, previous)
