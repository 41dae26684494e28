"""JupyterLab as `make lab` starts it, and what a user sees of a notebook in it."""

import json
import time
import urllib.error
import urllib.request

import psutil
import pytest
from lab_server import PATIENCE, complaints

from workbench.bootstrap import START

pytest_plugins = ["lab"]

SLIDER = """import ipywidgets
slider, text = ipywidgets.IntSlider(3, description="크기"), ipywidgets.HTML("start")
slider.observe(lambda change: setattr(text, "value", f"크기 {change['new']}"), "value")
ipywidgets.VBox([slider, text])"""
TOOLS = (
    ("06_annotate", "textbox", "질문"),
    ("07_browse_runs", "button", "새로고침"),
    ("08_ask", "button", "질문하기"),
)
RUN_ABOVE = """async () => {
  const app = window.jupyterapp, panel = app.shell.currentWidget, cells = panel.content.widgets;
  panel.content.activeCellIndex = cells.findIndex(cell => cell.model.sharedModel.source.includes("chunk_explorer")) + 1;
  await panel.sessionContext.ready;
  await app.commands.execute("notebook:run-all-above");
}"""


def test_make_lab_opens_the_first_notebook_and_its_explorer_works(lab, lab_browser, lab_pictures, stored_models):
    from playwright.sync_api import expect

    page = lab.open(lab_browser, lab.start_page.as_uri())  # what the user's browser is sent to
    assert page.url.startswith(f"{lab.url}/lab/tree/{START}")
    panel = page.locator(".jp-NotebookPanel")
    expect(panel.get_by_role("heading", name="00 Start here")).to_be_visible()
    page.evaluate(RUN_ABOVE)
    shown = panel.locator(".jp-OutputArea-output", has=page.get_by_role("slider"))
    expect(shown).to_contain_text("Aeris AP30 Air Purifier Manual")
    before = shown.inner_text()
    slider = shown.get_by_role("slider").first
    slider.focus()
    for _ in range(4):
        slider.press("PageUp")
    expect(shown).not_to_have_text(before, use_inner_text=True)
    page.screenshot(path=lab_pictures / "start-here.png")
    assert complaints(page.said) == []
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.close()


def test_only_this_machine_and_only_with_the_token(lab):
    for address in ("api/contents", "lab", "api/kernels", "files/notebooks/00_start_here.ipynb"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.build_opener(_NoRedirect).open(f"{lab.url}/{address}")
        refused.value.close()
        assert refused.value.code in (302, 403), address  # 302 leads to the page that asks for the token
    with urllib.request.urlopen(f"{lab.url}/api/contents?token={lab.token}") as answer:
        assert {"notebooks", "params"} <= {each["name"] for each in json.load(answer)["content"]}
    port = int(lab.url.rpartition(":")[2])
    listening = [each.laddr.ip for each in lab.process.net_connections() if each.status == psutil.CONN_LISTEN and each.laddr.port == port]
    assert listening == ["127.0.0.1"]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def test_a_slider_moves_in_korean_and_the_kernel_s_death_is_said(open_notebook):
    from playwright.sync_api import expect

    with open_notebook([SLIDER, "import os; print(os.environ['WORKBENCH_LANG'])"], width=800, theme="dark", language="ko") as shown:
        shown.outputs.get_by_role("slider").press("ArrowRight")
        expect(shown.outputs.first).to_contain_text("크기 4")
        expect(shown.outputs.last).to_have_text("ko")
        assert shown.picture("slider").stat().st_size > 5000
        shown.kill_kernel()
        expect(shown.dialog).to_contain_text("Kernel Restarting")
        shown.picture("killed")
        shown.dialog.get_by_role("button", name="Ok").click()


@pytest.mark.parametrize(("name", "role", "label"), [*TOOLS])
def test_a_tool_shows_its_interface(open_notebook, stored_models, name, role, label):
    from playwright.sync_api import expect

    with open_notebook(path=f"notebooks/{name}.ipynb", width=800, theme="dark", language="ko") as shown:
        expect(shown.outputs.last.get_by_role(role, name=label, exact=True)).to_be_visible()
        shown.picture(name)


def test_errors_of_a_cell_and_of_the_page_fail_a_test(open_notebook):
    scripts = {
        "console.error('ours')": "ours",
        "setTimeout(() => { throw new Error('thrown') }, 0)": "exception: Error: thrown",
        "setTimeout(() => document.body.removeChild(document.createElement('p')), 0)": "exception: NotFoundError: Failed to execute",
        "fetch('http://127.0.0.2:9/x').catch(() => 0)": "asked for http://127.0.0.2:9/x",
    }
    cells = ["from IPython.display import Javascript", *(f"Javascript({script!r})" for script in scripts), "raise ValueError('planned')"]

    def look() -> None:
        with open_notebook(cells, raises=True) as shown:
            assert "planned" in shown.outputs.last.inner_text()
            with pytest.raises(AssertionError, match="ValueError: planned"):
                shown.run_all()
            end = time.monotonic() + PATIENCE / 1000
            while not all(any(found in each for each in shown.page.said) for found in scripts.values()):
                assert time.monotonic() < end, "not all was noticed"
                shown.page.wait_for_timeout(20)
            assert complaints(shown.page.said) == shown.page.said

    with pytest.raises(AssertionError, match="ours"):
        look()


@pytest.mark.parametrize(
    ("lowest", "passes"),
    [
        ("at jL.detachWidget (http://127.0.0.1:8889/static/lab/jlab_core.88.js:1:99)", True),
        ("at http://127.0.0.1:8889/static/lab/main.ef.js:1:99", True),
        ("at paint (blob:http://127.0.0.1:8889/3a9b:12:7)", False),  # a module of ours, which anywidget loads
        ("at eval (eval at run (http://127.0.0.1:8889/static/lab/main.ef.js:1:9), <anonymous>:1:42)", False),  # what a cell has put out
        ("at remove (http://127.0.0.1:8889/lab/extensions/anywidget/static/1.js:1:9)", False),
    ],
)
def test_only_jupyterlab_s_own_code_may_remove_a_cell_twice(lowest, passes):
    said = "NotFoundError: Failed to execute 'removeChild' on 'Node': The node to be removed is not a child of this node."
    said += "\n    at Array.map (<anonymous>)"
    for each in (f"exception: {said}\n    {lowest}", f"{said}\n    {lowest} (http://127.0.0.1:8889/static/lab/jlab_core.88.js)"):
        assert (complaints([each]) == []) == passes
        assert complaints([each.replace("removeChild", "appendChild")])


def test_a_saved_interface_shows_where_no_kernel_runs(open_notebook):
    """JupyterLab shows the widget; the file holds the page for other viewers, and no state of widgets (PM21)."""
    from playwright.sync_api import expect

    with open_notebook(
        ["from workbench.widgets_saved import saved_as", f"{SLIDER}\nsaved_as(ipywidgets.VBox([slider]), '<p>정적 보기</p>')"]
    ) as shown:
        expect(shown.outputs.get_by_role("slider")).to_be_visible()
        shown.page.keyboard.press("Control+s")
        shown.page.wait_for_function("() => !window.shownPanel.context.model.dirty")
        saved = json.loads(shown.path.read_text(encoding="utf-8"))
    assert saved["cells"][-1]["outputs"][0]["data"]["text/html"] == ["<p>정적 보기</p>"]
    assert "widgets" not in saved["metadata"]
