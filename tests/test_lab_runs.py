"""The run browser in a real JupyterLab, beside a real sweep in another process."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_sweep import PARAMETERS, RUN, make_project, notebook, write_spec

from workbench import storage
from workbench.ledger_read import read_ledger

pytest_plugins = ["lab"]

CELLS = ["from workbench.widgets_runs import run_browser\nrun_browser()"]
GATE = """while not Path(os.environ["GATES"], chunker).exists():
    time.sleep(0.02)
if chunker == "sentence":
    raise ValueError("문장 <b>조각</b>은 안 됩니다")"""
BUSY = """(path) => {
  window.shownPanel.sessionContext.session.kernel.requestExecute({
    code: `import os, time\\nwhile not os.path.exists(${JSON.stringify(path)}):\\n    time.sleep(0.05)`});
}"""
TITLE = "() => window.jupyterapp.shell.currentWidget.title.label"
LONGEST = 120  # seconds that the sweep may take to start, and to end
BACK = """async () => {
  const app = window.jupyterapp, opened = app.shell.currentWidget;
  await opened.context.ready;
  await opened.sessionContext.ready;
  await opened.sessionContext.shutdown();
  opened.dispose();
  await app.commands.execute("docmanager:open", {path: window.shownPanel.context.path});
}"""


class Sweep:
    """Hold a sweep of three runs in another process; each run waits until it is let through."""

    def __init__(self, home: Path) -> None:
        self.home, self.gates = home, home / "gates"
        make_project(home)
        self.gates.mkdir()
        storage.write_text(home / "notebooks/tiny.ipynb", notebook(PARAMETERS, RUN, GATE))
        spec = write_spec(home, {"notebook": "tiny", "primary": "ndcg@10", "grid": {"chunker": ["fixed", "recursive", "sentence"]}})
        changes = {"WORKBENCH_HOME": str(home), "GATES": str(self.gates), "OMP_NUM_THREADS": "1"}
        environment = {name: value for name, value in os.environ.items() if name != "WORKBENCH_CACHE"} | changes
        command = [sys.executable, "-m", "workbench", "sweep", str(spec)]
        self.process = subprocess.Popen(command, cwd=home, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def begin(self) -> None:
        """Wait until the first run is under way."""
        ledger, end = self.home / "outputs/tiny/ledger.sqlite", time.monotonic() + LONGEST
        while not (ledger.exists() and any(entry.state == "running" for entry in read_ledger(ledger))):
            assert time.monotonic() < end, "the sweep did not start"
            assert self.process.poll() is None
            time.sleep(0.1)

    def end(self) -> int:
        """Let all of it through, and return the exit code."""
        self.let("fixed", "recursive", "sentence")
        return self.process.wait(LONGEST)

    def let(self, *names: str) -> None:
        for name in names:
            (self.gates / name).touch()


@pytest.fixture
def expect() -> Any:
    from playwright.sync_api import expect

    return expect


@pytest.fixture(scope="module")
def running(lab: Any) -> Iterator[Sweep]:
    sweep = Sweep(lab.root / "한글 project")
    yield sweep
    sweep.process.kill()  # it has ended, unless a test failed; its kernels end with it
    sweep.process.wait()


def press(shown: Any, name: str) -> None:
    shown.outputs.get_by_role("button", name=name, exact=True).first.click()


def test_a_sweep_of_another_process_is_followed_to_its_results(open_notebook: Any, running: Sweep, expect: Any) -> None:
    with open_notebook(CELLS, language="ko", environment={"WORKBENCH_HOME": str(running.home)}) as shown:
        page, rows = shown.page, shown.outputs.locator("button.workbench-row:visible")
        running.begin()
        press(shown, "새로고침")
        press(shown, "실행")
        expect(rows).to_have_count(3)
        expect(shown.outputs.first).to_contain_text("▶ 실행 중 1")
        seconds = shown.outputs.locator(".row", has_text=re.compile("chunker fixed.*초"))
        said = seconds.inner_text()
        page.evaluate(BUSY, str(running.gates / "sentence"))  # from here on the kernel is busy, as with a long cell
        expect(seconds).not_to_have_text(said)
        shown.picture("runs-live")
        expect(shown.outputs.first).to_contain_text("실행 3개 중 0개 끝남")
        running.let("fixed")
        expect(shown.outputs.first).to_contain_text("실행 3개 중 1개 끝남")
        running.let("recursive", "sentence")
        expect(shown.outputs.first).to_contain_text("실행 3개 중 3개 끝남")
        assert running.end() == 1
        expect(shown.outputs.get_by_role("link", name="보고서").first).to_be_visible()

        shown.outputs.get_by_label("상태").select_option(label="✗ 실패")
        expect(rows).to_have_count(1)
        rows.first.focus()
        page.keyboard.press("Enter")
        expect(shown.outputs.get_by_role("group", name="오류")).to_contain_text("ValueError: 문장 <b>조각</b>은 안 됩니다")
        shown.picture("runs-failed")
        shown.outputs.get_by_label("상태").select_option(label="모든 상태")
        shown.outputs.get_by_label("필터").fill("recursive")
        expect(rows).to_have_text(["chunker recursive"])
        shown.outputs.get_by_label("필터").fill("")

        press(shown, "질문별 비교")
        shown.outputs.get_by_label("A", exact=True).select_option(index=1)
        shown.outputs.get_by_label("B", exact=True).select_option(index=0)
        shown.outputs.get_by_label("질문", exact=True).select_option(label="전체")
        question = shown.outputs.get_by_role("group", name="젖은 손으로 만져도 되나요?")
        expect(question).to_contain_text("A · ")
        press(shown, "두 설정으로 다시 검색")
        expect(shown.outputs.locator("section").filter(has_text="젖은 손으로 만지지 마십시오").first).to_be_visible()
        shown.picture("runs-pairs")

        press(shown, "점수와 비용")
        points = shown.outputs.locator("[role=button].point")
        best = points.filter(has=page.locator(".diamond"))
        best.focus()
        page.keyboard.press("ArrowRight")  # the best is the cheapest here
        chosen = page.evaluate("document.activeElement.getAttribute('aria-label')")
        assert chosen != best.get_attribute("aria-label")
        page.keyboard.press("Enter")
        opened = shown.outputs.locator(".workbench-view .name", has_text=chosen.partition(",")[0])
        expect(opened).to_be_visible()
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == chosen
        shown.picture("runs-costs")

        address = shown.outputs.get_by_role("link", name="실행된 노트북").first
        assert re.fullmatch(
            r"/lab/tree/%ED%95%9C%EA%B8%80%20project/outputs/tiny/runs/\w+-[0-9a-f]{12}/notebook\.ipynb", address.get_attribute("href")
        )
        report = shown.outputs.get_by_role("link", name="보고서").first.get_attribute("href")
        assert "ndcg@10" in page.evaluate("path => fetch(path).then(answer => answer.text())", report)
        address.click()
        page.wait_for_function(f"({TITLE})() === 'notebook.ipynb'")
        expect(shown.panel).to_contain_text("chunk_sizes: list[int]")
        page.evaluate(BACK)


def test_it_is_read_in_english_on_a_small_dark_page(open_notebook: Any, running: Sweep, expect: Any) -> None:
    running.end()
    shown_as = {"width": 800, "theme": "dark", "environment": {"WORKBENCH_HOME": str(running.home)}}
    with open_notebook(CELLS, **shown_as) as shown:
        rows = shown.outputs.locator("button.workbench-row:visible")
        press(shown, "Sweeps")
        expect(shown.outputs.first).to_contain_text("✓ ok 2 · ✗ failed 1")
        shown.picture("runs-sweeps")
        rows.first.click()
        expect(shown.outputs.first).to_contain_text("ndcg@10, 4 questions in 3 document groups")
        expect(rows).to_have_count(4)
        scores = [
            float(text) for text in shown.outputs.locator(".number").all_inner_texts() if re.match(r"\d", text) for text in [text[:5]]
        ]
        assert scores == sorted(scores, reverse=True)
        labels = rows.all_inner_texts()
        rows.nth(1).click()
        press(shown, "Compare as A")
        chosen = [shown.outputs.get_by_label(side, exact=True).locator("option:checked").text_content() for side in "AB"]
        assert [text.replace("\xa0", " ").rpartition(" · ")[0] for text in chosen] == [labels[1], labels[0]]
        shown.picture("runs-pairs")
        press(shown, "Score and cost")
        expect(shown.outputs.locator("[role=button].point").first).to_be_visible()
        shown.picture("runs-costs")
        wide = "() => [...document.querySelectorAll('.workbench-runs')].some(each => each.scrollWidth > each.clientWidth + 1)"
        assert not shown.page.evaluate(wide)
