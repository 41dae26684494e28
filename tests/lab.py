"""Drive a real JupyterLab in headless Chromium: what the tests in tests/test_lab_*.py share.

Use (plain pytest; `pytest_plugins` registers the fixtures, and nothing is imported from here at run time):

    pytest_plugins = ["lab"]

    CELLS = ["from workbench.widgets import chunk_explorer", "chunk_explorer(...)"]

    def test_the_explorer_repaints(open_notebook):
        with open_notebook(CELLS, width=800, theme="dark", language="ko", environment={"OPENAI_BASE_URL": url}) as shown:
            shown.page                                  # Playwright's page (sync API): keyboard, mouse, evaluate ...
            shown.outputs.get_by_label("크기").press("ArrowRight")   # `outputs`: locator of what the cells show
            expect(shown.outputs.first).to_contain_text("조각 12개") # expect: from playwright.sync_api, imported inside the test
            shown.picture("explorer")                   # PNG of the whole notebook: explorer-800-dark-ko.png in WORKBENCH_PICTURES,
                                                        # else in a folder lab-pictures of pytest's temporary folder (-rP prints where)
            shown.kill_kernel()                         # SIGKILL; Lab then says "Kernel Restarting"
            shown.dialog                                # locator of a dialog of JupyterLab, e.g. expect(shown.dialog).to_contain_text(...)

`open_notebook(cells, *, width=1280, theme="light", language="en", environment={}, path=None, raises=False)` writes a notebook of these
cells (code, each a text), opens it, runs all cells and waits until they have finished; `path` opens an existing notebook below
`lab.root` instead (copies of notebooks/ and params/ lie there). A cell that raises fails the test unless `raises`. At the end the kernel
and the notebook are closed, and the test fails if the page logged an error, threw an exception or asked another host for anything. What
is let through: NOISE of lab_server.py, and after `kill_kernel` whatever JupyterLab says about its lost connection (DEAD).

`lab` (session fixture, one per process) is the server: `lab.root` the folder it serves, which is WORKBENCH_HOME of its kernels too (write
data there before opening), `lab.url`, `lab.token`. Kernels start in `lab.root` (notebooks/ for `path="notebooks/..."`), without
WORKBENCH_HEADLESS, with WORKBENCH_LANG from `language`. `lab_browser` is Playwright's browser, and `lab.open(lab_browser, address)` opens
a page of the server, for a test that needs more than one notebook.

Cost: the server and the first page take about 6 s once per process, a notebook 1 to 2 s (the page stays, only notebooks come and go).
Hence prefer few notebooks with several checks each; change language or theme by another `open_notebook`. So that one process runs all of
these tests (one server), they stand together at the start of the second half of all tests, which `--dist worksteal` gives to one process.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import os
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from lab_server import HEIGHT, PATIENCE, Lab, complaints, serve

from workbench.bootstrap import COMMANDS
from workbench.bootstrap_browser import find_browser

TALLEST = 6000  # pixels of a picture
LONGEST = 180  # seconds that a notebook may take to open, to run or to close
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
DEAD = r"kernel|websocket|connection|failed to load resource"  # a pattern of what JupyterLab logs when a kernel was killed
OPEN = """async ({path, theme}) => {
  const app = window.jupyterapp, shell = app.shell;
  shell.mode = "single-document"; shell.collapseLeft(); shell.collapseRight();
  if (document.body.dataset.jpThemeName !== theme) await app.commands.execute("apputils:change-theme", {theme});
  const panel = window.shownPanel = await app.commands.execute("docmanager:open", {path, factory: "Notebook"});
  await panel.context.ready;
  await panel.sessionContext.ready;
  return panel.sessionContext.session.kernel.id;
}"""
RUN = """async () => {
  await window.jupyterapp.commands.execute("notebook:run-all-cells");
  const cells = window.shownPanel.content.widgets.filter(cell => cell.model.type === "code");
  return cells.flatMap(cell => cell.model.outputs.toJSON()).filter(output => output.output_type === "error")
    .map(output => `${output.ename}: ${output.evalue}`);
}"""
CLOSE = """async () => {
  const panel = window.shownPanel;
  await panel.sessionContext.shutdown();
  panel.dispose();
}"""
WHOLE = """() => {
  const outer = document.querySelector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer");
  const cells = [...outer.querySelectorAll(".jp-Cell")].map(cell => cell.getBoundingClientRect());
  outer.scrollTop = 0;
  return Math.ceil(cells.at(-1).bottom - cells[0].top + 48 - outer.clientHeight);
}"""


def timed(script: str) -> str:
    """Make an asynchronous script of the page fail after LONGEST: Playwright waits for its end for ever."""
    late = f"setTimeout(() => fail(new Error('not done in {LONGEST} s')), {LONGEST * 1000})"
    return f"argument => Promise.race([({script})(argument), new Promise((_, fail) => {late})])"


@dataclasses.dataclass
class Shown:
    """Hold a notebook that stands open in the browser."""

    page: Any
    lab: Lab
    kernel_id: str
    path: Path
    pictures: Path
    label: str  # width, theme and language, for the names of pictures
    killed: bool = False

    @property
    def panel(self) -> Any:
        """Locate the open notebook."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    @property
    def outputs(self) -> Any:
        """Locate what the cells show, one per output; of several take .first, .nth(n), .last."""
        return self.panel.locator(".jp-OutputArea-output")

    @property
    def dialog(self) -> Any:
        """Locate the dialog of JupyterLab that is open."""
        return self.page.locator(".jp-Dialog")

    def run_all(self, raises: bool = False) -> None:
        """Run all cells (again) and wait until they have finished."""
        errors = self.page.evaluate(timed(RUN))
        assert raises or not errors, errors

    def picture(self, name: str) -> Path:
        """Store a PNG of the whole notebook as NAME-width-theme-language.png, and return its path."""
        path = self.pictures / f"{name}-{self.label}.png"
        size = dict(self.page.viewport_size)
        self.page.set_viewport_size(size | {"height": min(max(size["height"] + self.page.evaluate(WHOLE), 300), TALLEST)})
        self.page.screenshot(path=path, animations="disabled")
        self.page.set_viewport_size(size)
        print(path)
        return path

    def check(self) -> None:
        """Fail where the page logged an error of ours, threw one, or asked another host for anything."""
        said = complaints(self.page.said)
        self.page.said.clear()
        assert not [each for each in said if not (self.killed and re.search(DEAD, each, re.IGNORECASE))]

    def kill_kernel(self) -> None:
        """Kill the kernel's process as the system does when memory is out."""
        self.killed = True
        self.lab.kernel(self.kernel_id).send_signal(signal.SIGKILL)


def browser_program() -> str:
    """Return the path of the browser; skip the test, with the reason, where it or Playwright is missing."""
    pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed (`make test` installs it)")
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium is installed: `make browser` installs it on Debian and Ubuntu")
    return program


@contextlib.contextmanager
def _loop_of_playwright(loop: list[Any]) -> Iterator[None]:
    """Let the event loop of Playwright, which never ends, be the running one of this thread inside only: other tests start their own."""
    if loop:
        asyncio._set_running_loop(loop[0])
    try:
        yield
    finally:
        loop[:] = [asyncio._get_running_loop()]
        asyncio._set_running_loop(None)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Give a running JupyterLab, started as `make lab` starts it, one for all tests of this process."""
    browser_program()
    with serve(tmp_path_factory.mktemp("lab"), COMMANDS["lab"].arguments) as running:
        yield running


@pytest.fixture(scope="session")
def lab_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of pictures: WORKBENCH_PICTURES, else lab-pictures in pytest's temporary folder."""
    named = os.environ.get("WORKBENCH_PICTURES")
    folder = Path(named) if named else tmp_path_factory.getbasetemp() / "lab-pictures"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def _browser() -> Iterator[tuple[Any, list[Any]]]:
    """Hold a headless browser and the place of its event loop, one for all tests of this process."""
    program = browser_program()
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    loop: list[Any] = []
    with contextlib.ExitStack() as stack:
        with _loop_of_playwright(loop):
            browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser, loop
        asyncio._set_running_loop(loop[0])
        browser.close()


@pytest.fixture
def lab_browser(_browser: tuple[Any, list[Any]]) -> Iterator[Any]:
    """Give the browser (Playwright's) to one test."""
    browser, loop = _browser
    with _loop_of_playwright(loop):
        yield browser


@pytest.fixture(scope="session")
def _lab_page(_browser: tuple[Any, list[Any]]) -> list[Any]:
    """Hold the page in which notebooks come and go; a test that fails leaves it empty, and the next one opens a new page."""
    return []


@pytest.fixture
def open_notebook(lab: Lab, lab_browser: Any, _lab_page: list[Any], lab_pictures: Path) -> Any:
    """Give the function `open_notebook` that the docstring of this file describes."""

    @contextlib.contextmanager
    def opened(
        cells: Sequence[str] = (),
        *,
        width: int = 1280,
        theme: str = "light",
        language: str = "en",
        environment: Mapping[str, str] | None = None,
        path: str | None = None,
        raises: bool = False,
    ) -> Iterator[Shown]:
        if not _lab_page:
            for left in [left for context in lab_browser.contexts for left in context.pages]:  # of tests that failed, or killed a kernel
                left.close()
        page = _lab_page.pop() if _lab_page else lab.open(lab_browser, f"{lab.url}/lab?reset&token={lab.token}")
        page.set_viewport_size({"width": width, "height": HEIGHT})
        page.emulate_media(color_scheme=theme)
        variables = {"WORKBENCH_LANG": language, **(environment or {})}
        name = _write(lab.root, cells, variables) if path is None else _prepared(lab.root, path, variables)
        kernel_id = page.evaluate(timed(OPEN), {"path": name, "theme": THEMES[theme]})
        shown = Shown(page, lab, kernel_id, lab.root / name, lab_pictures, f"{width}-{theme}-{language}")
        shown.run_all(raises)
        try:
            yield shown
        except BaseException:
            page.screenshot(path=lab_pictures / f"failed-{Path(name).stem}.png")
            raise
        page.evaluate(timed(CLOSE))
        shown.path.unlink()
        if not shown.killed:  # a page whose kernel died may have a dialog open
            _lab_page.append(page)
        shown.check()

    return opened


numbers = itertools.count(1)


def _code(source: str, hidden: bool = False) -> dict[str, Any]:
    metadata = {"jupyter": {"source_hidden": True}} if hidden else {}
    identity = {"cell_type": "code", "id": f"cell-{next(numbers)}", "metadata": metadata}
    return {**identity, "source": source, "outputs": [], "execution_count": None}


def _setting(variables: Mapping[str, str]) -> dict[str, Any]:
    return _code(f"import os\nos.environ.update({dict(variables)!r})", hidden=True)


def _write(root: Path, cells: Sequence[str], variables: Mapping[str, str]) -> str:
    """Write a notebook of these cells, after a hidden one that sets variables; return its name."""
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
    content = {"cells": [_setting(variables), *map(_code, cells)], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    name = f"shown-{next(numbers)}.ipynb"
    (root / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return name


def _prepared(root: Path, path: str, variables: Mapping[str, str]) -> str:
    """Write a copy of a notebook beside it, with a hidden cell that sets variables; return its path."""
    content = json.loads((root / path).read_text(encoding="utf-8"))
    content["cells"].insert(0, _setting(variables))
    name = f"{path.removesuffix('.ipynb')}-shown-{next(numbers)}.ipynb"
    (root / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return name


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that need JupyterLab at the start of the second half, so that one of two processes runs them, with one server."""
    ours = [item for item in items if "lab" in item.fixturenames]
    others = [item for item in items if "lab" not in item.fixturenames]
    half = len(items) // 2
    items[:] = [*others[:half], *ours, *others[half:]]
