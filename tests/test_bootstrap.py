"""The environment that a bare Python builds for the project, and the command started in it."""

import json
import os
import signal
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from workbench import bootstrap
from workbench.bootstrap import BootstrapError, Environment

ROOT = Path(__file__).resolve().parent.parent
POSIX_ONLY = pytest.mark.skipif(os.name == "nt", reason="signals and exec are those of POSIX")

# A project without dependencies whose build backend is its own file, so that pip installs it without a download.
FAKE_PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "Fake_Project"
version = "1.0"
dependencies = []

[project.optional-dependencies]
test = []
"""
FAKE_BACKEND = """
import zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "fake_project-1.0-py3-none-any.whl"
    files = {
        "fake_project.py": "",
        "fake_project-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: fake_project\\nVersion: 1.0\\nProvides-Extra: test\\n",
        "fake_project-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
        wheel.writestr("fake_project-1.0.dist-info/RECORD", "".join(f"{path},,\\n" for path in files))
    return name
"""


def fake_project(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "pyproject.toml").write_text(FAKE_PYPROJECT, encoding="utf-8")
    (root / "backend.py").write_text(FAKE_BACKEND, encoding="utf-8")
    (root / "constraints.txt").write_text("# none\n", encoding="utf-8")
    return root


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Give a fake project with an environment without pip, as if made by hand."""
    root = fake_project(tmp_path / "project")
    venv.create(root / ".venv", with_pip=False, symlinks=os.name != "nt")
    return root


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Record the commands that would be called, and let them succeed."""
    recorded: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "call", lambda command, *_: recorded.append([str(part) for part in command]) or 0)
    monkeypatch.setattr(Environment, "usable", lambda self: self.version() is not None)
    return recorded


def stamped(root: Path, extras: frozenset[str] = frozenset()) -> Environment:
    environment = Environment(root)
    environment.write_stamp(extras, environment.inputs())
    return environment


@pytest.mark.parametrize("version", [(3, 8), (3, 10), (3, 14), (4, 0)])
def test_unsupported_python_is_refused_with_what_to_do(version: tuple[int, int]) -> None:
    with pytest.raises(BootstrapError, match=rf"Python {version[0]}\.{version[1]} .* needs 3\.11 to 3\.13; .*make demo PYTHON=python3\.13"):
        bootstrap.check_python(version)


@pytest.mark.parametrize("version", [(3, 11), (3, 13)])
def test_supported_python_is_accepted(version: tuple[int, int]) -> None:
    bootstrap.check_python(version)


def test_missing_ensurepip_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else name)
    with pytest.raises(BootstrapError, match=r"no module ensurepip.*apt install python3\.\d+-venv"):
        bootstrap.check_modules()


def test_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BootstrapError, match=r"is not a checkout of the project \(no pyproject\.toml\)"):
        bootstrap.prepare(frozenset(), tmp_path)


def test_finished_installation_calls_nothing(project: Path, calls: list[list[str]]) -> None:
    environment = stamped(project, frozenset({"test"}))
    assert bootstrap.prepare(frozenset(), project) == environment.python
    assert bootstrap.prepare(frozenset({"test"}), project) == environment.python
    assert calls == []


def test_missing_extra_is_installed_and_the_present_one_kept(project: Path, calls: list[list[str]]) -> None:
    environment = stamped(project, frozenset({"korean"}))
    bootstrap.prepare(frozenset({"test"}), project)
    assert [command[1:4] + command[-3:] for command in calls] == [["-m", "pip", "install", "constraints.txt", "-e", ".[korean,test]"]]
    assert environment.ready(frozenset({"korean", "test"}))


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_requirements_are_installed_again(project: Path, calls: list[list[str]], name: str) -> None:
    stamped(project)
    (project / name).write_text((project / name).read_text(encoding="utf-8") + "# new\n", encoding="utf-8")
    bootstrap.prepare(frozenset(), project)
    assert len(calls) == 1
    bootstrap.prepare(frozenset(), project)
    assert len(calls) == 1


@pytest.mark.parametrize("failure", [BootstrapError, KeyboardInterrupt])
def test_broken_off_installation_is_repeated(
    project: Path, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, failure: type[BaseException]
) -> None:
    def broken(*_: object) -> int:
        if failure is KeyboardInterrupt:
            raise KeyboardInterrupt
        return 1

    environment = stamped(project)
    (project / "constraints.txt").write_text("# other\n", encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(bootstrap, "call", broken)
        with pytest.raises(failure):
            bootstrap.prepare(frozenset({"test"}), project)
    assert json.loads(environment.stamp_file.read_text(encoding="utf-8"))["inputs"] is None
    bootstrap.prepare(frozenset({"test"}), project)
    assert len(calls) == 1
    assert environment.ready(frozenset({"test"}))


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "\udcff"])
def test_unreadable_stamp_means_not_ready(project: Path, content: str) -> None:
    environment = stamped(project)
    assert environment.ready(frozenset())
    environment.stamp_file.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert environment.stamp() == {}
    assert not environment.ready(frozenset())


@POSIX_ONLY
def test_environment_whose_python_is_gone_is_rebuilt(project: Path) -> None:
    environment = stamped(project)
    for python in (project / ".venv" / "bin").glob("python*"):
        python.unlink()
    environment.python.symlink_to(project / "no-such-python")
    assert environment.version() is None
    assert not environment.ready(frozenset())
    assert not environment.usable()


def test_moved_environment_is_rebuilt(project: Path) -> None:
    stamped(project)
    moved = project.rename(project.with_name("moved"))
    assert not Environment(moved).ready(frozenset())
    assert not Environment(moved).usable()


def test_environment_made_by_hand_is_taken_when_its_packages_are_the_pinned_ones(project: Path, calls: list[list[str]]) -> None:
    def add(name: str, version: str) -> None:
        site = next((project / ".venv").glob("[Ll]ib/**/site-packages"))
        folder = site / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")

    text = FAKE_PYPROJECT.replace("dependencies = []", 'dependencies = ["Some.Thing>=1"]').replace("test = []", 'test = ["other[x]>=2"]')
    (project / "pyproject.toml").write_text(text, encoding="utf-8")
    (project / "constraints.txt").write_text("some-thing==1.5\nother==2.0\n", encoding="utf-8")
    environment = Environment(project)
    add("fake_project", "1.0")
    assert not environment.complete(frozenset())
    add("some_thing", "1.5+cpu")
    add("other", "2.1")
    assert environment.complete(frozenset())
    assert not environment.complete(frozenset({"test"}))  # other is not the pinned 2.0
    bootstrap.prepare(frozenset(), project)
    assert calls == []
    assert environment.ready(frozenset())


def test_only_one_process_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "outputs" / "lock"
    with bootstrap.lock(path), path.open("ab") as second:
        assert not bootstrap._locked(second.fileno())
    with path.open("ab") as second:
        assert bootstrap._locked(second.fileno())


@POSIX_ONLY
def test_lock_outlives_a_killed_process_while_its_installer_runs(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = """if True:
        import sys
        from pathlib import Path
        from workbench import bootstrap
        with bootstrap.lock(Path(sys.argv[1])) as held:
            bootstrap.call([sys.executable, "-c", "print('up', flush=True); input()"], Path.cwd(), held)
    """
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "up\n"
        process.kill()
        process.wait()
        with path.open("ab") as second:
            assert not bootstrap._locked(second.fileno())
        process.communicate("done\n", timeout=20)
    with bootstrap.lock(path):
        pass


@POSIX_ONLY
def test_two_processes_build_one_environment_without_a_download(tmp_path: Path) -> None:
    root = fake_project(tmp_path / "project")
    code = f"from pathlib import Path; from workbench import bootstrap; print(bootstrap.prepare(frozenset(['test']), Path({str(root)!r})))"
    environment = {**os.environ, "PIP_NO_INDEX": "1"}
    command = [sys.executable, "-S", "-c", code]
    processes = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    python = Environment(root).python
    assert [out for out, _ in outputs] == [f"{python}\n"] * 2
    progress = "".join(error for _, error in outputs)
    assert progress.count("workbench: making ") == 1
    assert progress.count("workbench: installing about ") == 1
    assert "to download" in progress
    assert subprocess.run([python, "-I", "-c", "import fake_project"]).returncode == 0
    assert Environment(root).ready(frozenset({"test"}))
    assert Environment(root).usable()


@POSIX_ONLY
def test_command_gets_its_environment_and_gives_its_exit_code(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from pathlib import Path
        from workbench import bootstrap
        shown = "import os; names = ('PYTHONUTF8', 'TOKENIZERS_PARALLELISM', 'JUPYTER_PLATFORM_DIRS', 'HF_HUB_OFFLINE')"
        shown += "; print(os.getcwd(), [os.environ[name] for name in names], flush=True); input(); raise SystemExit(7)"
        sys.exit(bootstrap.hand_over([sys.executable, "-c", shown], Path(sys.argv[1])))
    """
    command = [sys.executable, "-c", code, str(tmp_path)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "as it was"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.communicate("\n", timeout=20)[0] == f"{tmp_path} ['1', 'false', '1', 'as it was']\n"
        assert process.returncode == 7
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.communicate(timeout=20)[1]
        assert process.returncode == -signal.SIGINT  # a shell shows 130


def test_run_prepares_then_pulls_models_then_starts_the_command(
    project: Path, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "hand_over", lambda command, _: started.append(command) or 5)
    python = str(stamped(project, frozenset({"test"})).python)
    assert bootstrap.run("test", ["-k", "chunk"], project) == 5
    assert calls == [[python, "-m", "workbench", "models", "pull", *bootstrap.COMMANDS["test"].models]]
    assert started == [[python, "-m", "pytest", "-n", "2", "--dist", "worksteal", "-k", "chunk"]]
    monkeypatch.setattr(bootstrap, "call", lambda *_: 2)
    assert bootstrap.run("demo", [], project) == 2
    assert len(started) == 1
