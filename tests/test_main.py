"""`python -m workbench` on a bare Python: only the standard library until the packages are there, and clear errors."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from workbench import __main__ as entry
from workbench import bootstrap

ROOT = Path(__file__).resolve().parent.parent


def test_start_files_import_only_the_standard_library() -> None:
    loaded = "{name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names"
    code = f"import sys, workbench.__main__, workbench.bootstrap; print({loaded})"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == {"__main__", "workbench"}


@pytest.mark.parametrize("name", ["__init__", "__main__", "bootstrap", "bootstrap_browser"])
def test_start_files_parse_on_old_pythons(name: str) -> None:
    ast.parse((ROOT / "workbench" / f"{name}.py").read_text(encoding="utf-8"), feature_version=(3, 8))


def test_other_commands_without_packages_point_to_make_demo() -> None:
    done = subprocess.run([sys.executable, "-S", "-m", "workbench", "models", "list"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.match(r"error: the package \w+ is not installed for .+; run `make demo` first", done.stderr)
    assert "Traceback" not in done.stderr


def test_main_reports_a_bootstrap_error_and_an_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(error: BaseException) -> None:
        def run(*_: object) -> int:
            raise error

        monkeypatch.setattr(bootstrap, "run", run)

    monkeypatch.setattr(sys, "argv", ["workbench", "demo"])
    fail(bootstrap.BootstrapError("no disk"))
    assert entry.main() == 2
    assert capsys.readouterr().err == "error: no disk\n"
    fail(KeyboardInterrupt())
    assert entry.main() == 130
