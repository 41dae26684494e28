"""Install the browser that the tests of the interfaces drive: Debian's Chromium, and a Korean font for its pictures.

Only the standard library is imported. `make browser` runs this file; where it cannot install, the tests that need a browser are skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = {"debian": "chromium", "ubuntu": "chromium-browser"}
FONT = "fonts-nanum"
RELEASE = Path("/etc/os-release")
PATIENCE = ("-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=30", "-o", "DPkg::Lock::Timeout=120")


class BrowserError(Exception):
    """Say why no browser can be installed here, and what to do by hand."""


def find_browser() -> str | None:
    """Return the path of an installed browser of the Chromium family, None where there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def install(release: Path) -> int:
    """Install what is missing by apt-get and return its exit code; do nothing when all is there. Raise BrowserError elsewhere."""
    missing = missing_packages(system(release))
    if not missing:
        say(f"the browser is installed: {find_browser()}")
        return 0
    apt = apt_get(missing)
    say(f"installing {' and '.join(missing)}")
    subprocess.run([*apt, "update"], stdout=2, check=False)  # noqa: S603 - what it could not fetch shows in the next step
    return subprocess.run([*apt, "install", "--yes", "--no-install-recommends", *missing], stdout=2, check=False).returncode  # noqa: S603


def system(release: Path) -> Mapping[str, str]:
    """Read the fields of an os-release file; empty where there is none."""
    if not release.is_file():
        return {}
    fields = (line.partition("=") for line in release.read_text(encoding="utf-8").splitlines())
    return {name: value.strip("\"'") for name, _, value in fields}


def missing_packages(release: Mapping[str, str]) -> list[str]:
    """Name the packages to install on this system; raise BrowserError where their names are not known and a browser is missing."""
    missing = []
    if find_browser() is None:
        families = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
        package = next((CHROMIUM[family] for family in families if family in CHROMIUM), None)
        if package is None:
            name = release.get("PRETTY_NAME", sys.platform)
            raise BrowserError(f"on {name} install Chromium or Google Chrome by hand, so that one of {', '.join(BROWSERS)} is on PATH")
        missing.append(package)
    return missing if has_korean_font() else [*missing, FONT]


def has_korean_font() -> bool:
    """Ask fontconfig for a font with Hangul; False where there is none. A system without fontconfig (no Linux) has its own fonts."""
    if shutil.which("fc-list") is None:
        return sys.platform != "linux"
    listed = subprocess.run(["fc-list", ":lang=ko", "family"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)  # noqa: S607
    return bool(listed.stdout.strip())


def apt_get(packages: list[str]) -> list[str]:
    """Return how apt-get is called here: through sudo unless this is root. Raise BrowserError where that is impossible."""
    by_hand = f"install by hand: {' '.join(packages)}"
    program = shutil.which("apt-get")
    if program is None:
        raise BrowserError(f"there is no apt-get here; {by_hand}")
    command = ["env", "DEBIAN_FRONTEND=noninteractive", program, "--quiet", *PATIENCE]
    if os.geteuid() == 0:
        return command
    sudo = shutil.which("sudo")
    if sudo is None:
        raise BrowserError(f"this is not root and there is no sudo; {by_hand}")
    return [sudo, *(() if os.isatty(0) else ("-n",)), *command]  # nobody is there to type a password


def say(message: str) -> None:
    """Print one line of progress on stderr."""
    print(f"workbench: {message}", file=sys.stderr, flush=True)


def main(release: Path = RELEASE) -> int:
    """Install the browser; return an exit code, 1 with a message where it cannot be installed."""
    try:
        code = install(release)
    except BrowserError as error:
        say(f"no browser for the tests: {error}")
        return 1
    if code:
        say("the browser could not be installed, see above; the tests that need it will be skipped")
    return 1 if code else 0


if __name__ == "__main__":
    sys.exit(main())
