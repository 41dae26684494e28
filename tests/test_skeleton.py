"""The files around the package agree with each other and with the package."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import workbench
from workbench import bootstrap

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def direct_requirements() -> list[Requirement]:
    lines = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    return [requirement for requirement in map(Requirement, lines) if requirement.name != PROJECT["name"]]


def test_pins_of_constraints_and_environment_yml_satisfy_pyproject() -> None:
    pins = bootstrap.read_pins(ROOT / "constraints.txt")
    content = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    pip_lines = next(part["pip"] for part in content["dependencies"] if isinstance(part, dict))
    conda_pins = {bootstrap.normal(name): version for name, _, version in (line.partition("==") for line in pip_lines) if version}
    requirements = direct_requirements()
    for requirement in requirements:
        name = bootstrap.normal(requirement.name)
        assert requirement.specifier.contains(pins[name]), f"{requirement} does not allow the pin {pins[name]}"
        assert conda_pins[name] == pins[name], f"environment.yml has {name} {conda_pins[name]}, constraints.txt {pins[name]}"
    assert set(conda_pins) == {bootstrap.normal(requirement.name) for requirement in requirements}
    assert {"-c constraints.txt", "-e .[test]"} <= set(pip_lines)
    assert "python=3.11" in content["dependencies"]


def test_constraints_are_exact_sorted_pins_without_local_versions() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert len(lines) > 100
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==\d[\w.]*", line)] == []
    names = [bootstrap.normal(line.partition("==")[0]) for line in lines]
    assert len(set(names)) == len(names)


def test_supported_python_versions_agree() -> None:
    supported = Requirement(f"python{PROJECT['requires-python']}").specifier
    for minor in range(8, 16):
        allowed = bootstrap.OLDEST <= (3, minor) <= bootstrap.NEWEST
        assert supported.contains(f"3.{minor}.4") == allowed
    assert f"{bootstrap.OLDEST} <= sys.version_info[:2] <= {bootstrap.NEWEST}" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_version_is_the_same_in_package_and_pyproject() -> None:
    assert workbench.__version__ == PROJECT["version"]


def test_license_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["license"] == "Apache-2.0"
    assert re.match(r"\s*Apache License\s+Version 2\.0, January 2004\s", text)
    assert re.findall(r"^   (\d)\. [A-Z]", text, re.MULTILINE) == list("123456789")
    assert "Copyright The RAG workbench authors" in text
    assert "[yyyy]" not in text


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_makefile_targets_are_the_commands_of_the_package() -> None:
    def make(*words: str) -> str:
        alone = {
            name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "ARGS")
        }  # this may run in make
        command = ["make", "--no-print-directory", *words]
        return subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=True).stdout

    targets = re.search(r"^([a-z -]+):\n\t@\$\(PYTHON\) -m workbench", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert targets is not None
    assert set(targets[1].split()) == set(bootstrap.COMMANDS)
    for word in bootstrap.COMMANDS:
        assert make("-n", word, "PYTHON=this-python", "ARGS=--one 2").strip() == f"this-python -m workbench {word} --one 2"
    assert re.fullmatch(r"python3(\.1[123])? -m workbench test", make("-n", "test").strip())
    shown = make()
    assert [word for word in (*bootstrap.COMMANDS, "clean") if f"make {word} " not in shown] == []


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_make_clean_keeps_what_was_measured(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    kept = [
        tmp_path / "outputs" / "cache" / "cache.sqlite",
        tmp_path / "outputs" / "__pycache__" / "a.pyc",
        tmp_path / "workbench" / "a.py",
    ]
    removed = [tmp_path / ".venv" / "pyvenv.cfg", tmp_path / "workbench" / "__pycache__" / "a.pyc", tmp_path / ".ruff_cache" / "a"]
    for path in (*kept, *removed):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    subprocess.run(["make", "clean"], cwd=tmp_path, capture_output=True, check=True)
    assert [path.exists() for path in kept] == [True, True, True]
    assert [path.exists() for path in removed] == [False, False, False]


def test_files_that_the_commands_name_exist() -> None:
    arguments = " ".join(part for command in bootstrap.COMMANDS.values() for part in command.arguments)
    named = re.findall(r"(?:params|notebooks)/[\w./]+", arguments)
    assert len(named) == 2
    assert [path for path in named if not (ROOT / path).is_file()] == []


@pytest.mark.skipif(os.name == "nt", reason="CI runs on POSIX")
def test_ci_runs_make_test_in_the_root_without_input(tmp_path: Path) -> None:
    fake = tmp_path / "make"
    fake.write_text('#!/bin/sh\necho "$PWD|$*|$(cat)"\ncase $2 in *version) ;; *) exit 7; esac\n', encoding="utf-8")
    fake.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [ROOT / ".ci" / "run"], cwd=tmp_path, env={**os.environ, "PATH": path}, input="typed", capture_output=True, text=True
    )
    assert sorted(done.stdout.splitlines()[:2]) == [f"{ROOT}|browser|", f"{ROOT}|test ARGS=--version|"]  # at once
    assert done.stdout.splitlines()[2:] == [f"{ROOT}|test|"]
    assert done.returncode == 7


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_no_file_names_a_package_registry_or_a_local_path() -> None:
    hosts = ["py" + "pi.org", "files." + "pythonhosted", "download." + "pytorch.org", "registry." + "npmjs"]
    folders = ["/".join(("", name, "")) for name in ("work", "root", "home")]
    pattern = re.compile("|".join(map(re.escape, hosts)) + "|" + r"(?<![\w.}])(?:" + "|".join(folders) + ")")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    found = []
    for name in sorted(filter(None, listed.stdout.decode().split("\0"))):
        content = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
        if b"\0" not in content:
            lines = content.decode("utf-8").splitlines()
            found += [f"{name}:{number}: {line.strip()[:100]}" for number, line in enumerate(lines, 1) if pattern.search(line)]
    assert found == []
