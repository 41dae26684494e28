"""Run JupyterLab for tests: a server of its own on this machine, with settings that make it quick and quiet (tests/lab.py drives it)."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
START = 180  # seconds that the server, or the page, may take on a busy machine
END = 10  # seconds that the server may take to end: one whose kernel is just starting does not
PATIENCE = 90_000  # milliseconds that Playwright, and its `expect`, wait for what should be seen
HEIGHT = 900  # pixels of the page
OFF = (  # plugins that ask the server or the network for what the tests have no use for
    "@jupyterlab/apputils-extension:announcements",
    "@jupyterlab/debugger-extension",
    "@jupyterlab/extensionmanager-extension",
    "@jupyterlab/fileeditor-extension:language-server",
    "@jupyterlab/lsp-extension",
    "@jupyterlab/notebook-extension:language-server",
    "@jupyterlab/terminal-extension",
)
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},  # every cell is in the page
}
SERVER = {
    "ServerApp": {
        "jpserver_extensions": {"jupyter_lsp": False, "jupyter_server_terminals": False, "notebook_shim": False},
        "shutdown_no_activity_timeout": 900,  # where pytest itself was killed
    },
    "MappingKernelManager": {"cull_idle_timeout": 600, "cull_interval": 60, "cull_connected": False},
}
LAB = r"http://127\.0\.0\.1:\d+/static/lab/[^()\s]+"  # JupyterLab's own code; that of widgets and extensions lies elsewhere
LINE = rf"\n +at (?:[^()\n]+ \((?:{LAB}|<anonymous>)\)|{LAB})"  # of a stack: JupyterLab's own code, or a function of the browser
NOISE = (  # of JupyterLab itself, as patterns of what the console says
    r"Canceled future for \w+ message before replies were done",  # a notebook was closed while Lab still asked its kernel for something
    # Lab removes a cell that is not in the page; with other code in the stack it is an error of ours
    rf"\A(?:exception: )?NotFoundError: Failed to execute 'removeChild' on 'Node': [^\n]+(?:{LINE})+(?: \({LAB}\))?\Z",
)


@dataclasses.dataclass(frozen=True)
class Lab:
    """Hold a running server: the folder it serves (WORKBENCH_HOME of its kernels), its address, its token and its process."""

    root: Path
    url: str
    token: str
    process: psutil.Process

    @property
    def start_page(self) -> Path:
        """Return the file by which the server sends the user's browser to its first page."""
        return next(self.root.parent.glob("runtime/jpserver-*-open.html"))

    def open(self, browser: Any, address: str) -> Any:
        """Open an address in a new page; errors, and requests to other hosts, are collected in its list `said`.

        All pages are of one context, so that only the first one takes JupyterLab from the server and compiles it.
        """
        context = browser.contexts[0] if browser.contexts else browser.new_context(viewport={"width": 1280, "height": HEIGHT})
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.said = []
        page.on("pageerror", lambda error: page.said.append(f"exception: {error.stack or error}"))
        page.on("console", lambda message: message.type == "error" and page.said.append(f"{message.text} ({message.location['url']})"))
        allowed = (self.url, self.url.replace("http:", "ws:"), "data:", "blob:", "about:", self.start_page.as_uri())
        page.on("request", lambda request: request.url.startswith(allowed) or page.said.append(f"asked for {request.url}"))
        page.goto(address, timeout=START * 1000)
        page.wait_for_function("window.jupyterapp", timeout=START * 1000)
        page.evaluate("window.jupyterapp.restored.then(() => true)")
        return page

    def kernel(self, kernel_id: str) -> psutil.Process:
        """Return the process of a kernel."""
        for each in self.process.children(recursive=True):
            with contextlib.suppress(psutil.Error):  # one that has just ended
                if kernel_id in " ".join(each.cmdline()):
                    return each
        raise AssertionError(f"the kernel {kernel_id} does not run")


def complaints(said: Sequence[str]) -> list[str]:
    """Return what counts of what a page said: all but NOISE."""
    return [each for each in said if not any(re.search(noise, each) for noise in NOISE)]


def server_environment(folder: Path) -> dict[str, str]:
    """Return the environment of a JupyterLab that neither sees nor touches the settings of the user, all its files below `folder`."""
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
        "WORKBENCH_HOME": "root",
    }
    strange = re.compile(r"WORKBENCH_(?!MODELS)|JUPYTER|JPY_|IPYTHON|LC_|LANG|PYTEST_|OPENAI_")
    kept = {name: value for name, value in os.environ.items() if not strange.match(name)}
    return kept | {name: str(folder / place) for name, place in places.items()} | {"LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def serve(folder: Path, command: Sequence[str]) -> Iterator[Lab]:
    """Run a command (arguments of Python) that starts JupyterLab in `folder`/root, with a port of its own and its browser not opened."""
    (folder / "config" / "labconfig").mkdir(parents=True)
    for name, value in (
        ("jupyter_server_config.json", SERVER),
        ("labconfig/page_config.json", {"disabledExtensions": dict.fromkeys(OFF, True)}),
        ("labconfig/default_setting_overrides.json", SETTINGS),
    ):
        (folder / "config" / name).write_text(json.dumps(value), encoding="utf-8")
    for name in ("notebooks", "params"):
        shutil.copytree(ROOT / name, folder / "root" / name, ignore=shutil.ignore_patterns("*.pyc", "__pycache__", ".ipynb_checkpoints"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = server_environment(folder)
    options = ["--no-browser", f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--LabApp.expose_app_in_browser=True"]
    options += ["--allow-root"] * (hasattr(os, "geteuid") and os.geteuid() == 0)
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command, *options], cwd=folder / "root", env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield _started(process, folder, port)
    finally:
        left = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END)
        process.kill()
        process.wait()
        for each in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()


def _started(process: subprocess.Popen, folder: Path, port: int) -> Lab:
    """Wait until the server answers; its token is in the file that it writes for its user."""
    end = time.monotonic() + START
    while time.monotonic() < end and process.poll() is None:
        for file in folder.glob(f"runtime/jpserver-{process.pid}.json"):
            with contextlib.suppress(OSError, ValueError):
                lab = Lab(folder / "root", f"http://127.0.0.1:{port}", json.loads(file.read_text())["token"], psutil.Process(process.pid))
                try:
                    with urllib.request.urlopen(f"{lab.url}/api/status?token={lab.token}"):
                        return lab
                except urllib.error.HTTPError as early:
                    early.close()
        time.sleep(0.1)
    raise AssertionError(f"JupyterLab did not start: {(folder / 'server.log').read_text(encoding='utf-8')[-2000:]}")
