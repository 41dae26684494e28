"""`make browser`: what it installs where, and that it leaves a complete system alone."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from workbench import bootstrap_browser
from workbench.bootstrap_browser import BrowserError

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="apt-get is of Linux")
DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n'
MINT = 'PRETTY_NAME="Linux Mint 22"\nID=linuxmint\nID_LIKE="ubuntu debian"\n'
FEDORA = 'PRETTY_NAME="Fedora Linux 42"\nID=fedora\n'
UBUNTU = "ID=ubuntu\nID_LIKE=debian\n"


class System:
    """A folder that is the whole PATH: programs that write down how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self.release = folder / "bin", folder / "log", folder / "os-release"
        self.folder.mkdir()
        self.log.touch()
        (self.folder / "env").symlink_to("/usr/bin/env")

    def add(self, name: str, script: str = "") -> None:
        (self.folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {self.log}\n{script}\n', encoding="utf-8")
        (self.folder / name).chmod(0o755)

    @property
    def called(self) -> list[str]:
        """How apt-get was called, without its options."""
        calls = [line.split() for line in self.log.read_text(encoding="utf-8").splitlines() if line.startswith("apt-get")]
        return [" ".join(word for word in call[call.index("DPkg::Lock::Timeout=120") + 1 :]) for call in calls]


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    """Give a Debian with apt-get on which this is root, without a browser and without fonts."""
    made = System(tmp_path)
    made.release.write_text(DEBIAN, encoding="utf-8")
    made.add("apt-get", 'test -n "$DEBIAN_FRONTEND"')
    made.add("fc-list")
    monkeypatch.setenv("PATH", str(made.folder))
    monkeypatch.setattr(bootstrap_browser.os, "geteuid", lambda: 0)
    return made


@pytest.mark.parametrize("browser", bootstrap_browser.BROWSERS)
def test_nothing_is_done_where_all_is_there(system: System, browser: str, capsys: pytest.CaptureFixture[str]) -> None:
    system.add(browser)
    system.add("fc-list", "echo NanumGothic")
    for release in (DEBIAN, FEDORA):
        system.release.write_text(release, encoding="utf-8")
        assert bootstrap_browser.install(system.release) == 0
    assert system.called == []
    assert capsys.readouterr().err.endswith(f"the browser is installed: {system.folder / browser}\n")


@pytest.mark.parametrize(("release", "package"), [(DEBIAN, "chromium"), (UBUNTU, "chromium-browser"), (MINT, "chromium-browser")])
def test_what_is_missing_is_installed(system: System, release: str, package: str) -> None:
    system.release.write_text(release, encoding="utf-8")
    assert bootstrap_browser.install(system.release) == 0
    assert system.called == ["update", f"install --yes --no-install-recommends {package} fonts-nanum"]
    system.log.write_text("")
    system.add("chromium")
    assert bootstrap_browser.install(system.release) == 0
    assert system.called[1:] == ["install --yes --no-install-recommends fonts-nanum"]


def test_packages_that_cannot_be_fetched_are_an_exit_code_and_a_message(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    system.add("apt-get", "exit 100")
    assert bootstrap_browser.main(system.release) == 1
    assert "could not be installed, see above; the tests that need it will be skipped" in capsys.readouterr().err


def test_sudo_is_used_where_this_is_not_root_and_asks_nobody_who_is_not_there(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap_browser.os, "geteuid", lambda: 1000)
    with pytest.raises(BrowserError, match="not root and there is no sudo; install by hand: chromium fonts-nanum"):
        bootstrap_browser.install(system.release)
    system.add("sudo", 'test "$1" = -n && shift; exec "$@"')
    monkeypatch.setattr(sys, "stdin", None)  # as where it is closed
    assert bootstrap_browser.install(system.release) == 0
    assert system.log.read_text(encoding="utf-8").splitlines()[-2].startswith("sudo -n env DEBIAN_FRONTEND=noninteractive ")
    assert len(system.called) == 2


@pytest.mark.parametrize(
    ("release", "apt", "message"),
    [
        (FEDORA, True, r"on Fedora Linux 42 install Chromium or Google Chrome by hand, so that one of chromium, .* is on PATH"),
        ("", True, r"on linux install Chromium"),
        (None, True, r"on linux install Chromium"),
        (DEBIAN, False, r"there is no apt-get here; install by hand: chromium fonts-nanum"),
    ],
)
def test_elsewhere_the_message_says_what_to_do(system: System, release: str | None, apt: bool, message: str) -> None:
    if release is None:
        system.release.unlink()
    else:
        system.release.write_text(release, encoding="utf-8")
    if not apt:
        (system.folder / "apt-get").unlink()
    with pytest.raises(BrowserError, match=message):
        bootstrap_browser.install(system.release)
    assert system.called == []


def test_the_makefile_and_ci_call_it_and_only_the_standard_library_is_imported() -> None:
    assert "\n\t@$(PYTHON) -m workbench.bootstrap_browser\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "make browser </dev/null &" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    code = "import sys, workbench.bootstrap_browser; print({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names)"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert sorted(ast.literal_eval(done.stdout)) == ["__main__", "workbench"]
