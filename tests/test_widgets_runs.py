"""The run browser without a browser: its controls, errors, and the thread that looks again."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import ipywidgets
import pytest
from IPython.display import HTML
from runs_shown import candidates, plain

from workbench import widgets_runs_pareto
from workbench.datatypes import WorkbenchError
from workbench.evaluation import save_results
from workbench.ledger import Ledger
from workbench.storage import sha256_file, write_json
from workbench.widgets_runs import run_browser
from workbench.widgets_runs_repeat import Repeat


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_LANG", "en")
    monkeypatch.delenv("WORKBENCH_HEADLESS", raising=False)


# --- the interface -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def swept(tmp_path: Path) -> Path:
    """Give a sweep of two runs that ended well and one that failed."""
    folder = tmp_path / "outputs/first"
    with closing(Ledger(folder / "ledger.sqlite")) as ledger:
        for number, result in enumerate(candidates(0.4, 0.9)):
            run_id = f"{number:012x}"
            save_results(folder / f"runs/r-{run_id}/result.json", [result])
            sha256 = sha256_file(folder / f"runs/r-{run_id}/result.json")
            write_json(folder / f"runs/r-{run_id}/record.json", {"result": sha256})
            ledger.add([(run_id, f"run {number}")])
            ledger.claim([run_id])
            ledger.ok(run_id, sha256, 1.0)
        ledger.add([("c" * 12, "run 2")])
        ledger.claim(["c" * 12])
        ledger.fail("c" * 12, "raised", "ValueError: no luck", 1.0)
    return tmp_path / "outputs"


def every(widget: Any) -> Iterator[Any]:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from every(child)


def find(box: Any, kind: type, description: str = "") -> Any:
    return next(one for one in every(box) if isinstance(one, kind) and description in getattr(one, "description", ""))


def shown(box: Any) -> str:
    """Return the text of all that is visible."""
    if box.layout.display == "none":
        return ""
    own = plain(str(getattr(box, "value", ""))) if isinstance(box, ipywidgets.HTML) else getattr(box, "description", "")
    return f"{own} {' '.join(map(shown, getattr(box, 'children', ())))}"


def wait_for(fact: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end
        time.sleep(0.01)


def threads() -> int:
    import threading

    return sum(thread.name == "run browser" for thread in threading.enumerate())


def test_headless_is_a_static_table_and_wrong_folders_are_named(swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    monkeypatch.setattr(ipywidgets, "VBox", None)
    page = run_browser(swept)
    assert isinstance(page, HTML)
    assert "✓ ok 2 · ✗ failed 1" in plain(page.data)
    assert "no report yet" in plain(page.data)
    monkeypatch.delenv("WORKBENCH_HEADLESS")
    with pytest.raises(WorkbenchError, match="no such folder"):
        run_browser(swept / "none")


def test_it_goes_from_a_sweep_to_its_results_and_stops_looking(swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.sweep_status.STILL", 0.0)
    box = run_browser(swept)
    wait_for(lambda: "is better than every other" in shown(box))
    views = find(box, ipywidgets.ToggleButtons)
    assert views.value == "results"
    rows = [one for one in every(box) if isinstance(one, ipywidgets.Button) and "workbench-row" in one._dom_classes and one.description]
    assert len(rows) == 2
    rows[0].click()
    assert "All metrics" in shown(box)
    find(box, ipywidgets.Button, "Compare as B").click()
    assert views.value == "pairs"
    assert "A wins 0, B wins 20" in shown(box)
    find(box, ipywidgets.Button, "Swap").click()
    assert "A wins 20, B wins 0" in shown(box)
    views.value = "costs"
    find(box, ipywidgets.Text, "filter").value = "no luck"
    views.value = "runs"
    assert "run 2" in shown(box)
    assert "run 1" not in shown(box)
    wait_for(lambda: threads() == 0)


def test_what_another_process_changes_appears_and_closing_ends_the_thread(swept: Path) -> None:
    with closing(Ledger(swept / "first/ledger.sqlite")) as ledger:
        ledger.add([("d" * 12, "run 3")])
        ledger.claim(["d" * 12])
        box = run_browser(swept)
        assert "▶ running 1" in shown(box)
        wait_for(lambda: threads() == 1)
        ledger.fail("d" * 12, "raised", "ValueError: late", 1.0)
        wait_for(lambda: "✗ failed 2" in shown(box))
    box.close()
    wait_for(lambda: threads() == 0)


def test_what_a_cell_showed_before_it_ran_again_looks_no_more(swept: Path) -> None:
    with closing(Ledger(swept / "first/ledger.sqlite")) as ledger:
        ledger.add([("d" * 12, "run 3")])
        ledger.claim(["d" * 12])
        boxes = [run_browser(swept) for _ in range(3)]
        wait_for(lambda: threads() == 1)
        find(boxes[0], ipywidgets.Button, "Refresh").click()
        wait_for(lambda: threads() == 1)
        ledger.fail("d" * 12, "raised", "ValueError: late", 1.0)
        wait_for(lambda: "✗ failed 2" in shown(boxes[0]))
    assert "✗ failed 2" not in shown(boxes[1])
    for box in boxes:
        box.close()
    wait_for(lambda: threads() == 0)


def test_refreshing_reads_what_was_run_again_in_the_meantime(swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.sweep_status.STILL", 0.0)
    box = run_browser(swept)
    wait_for(lambda: "is better than every other" in shown(box) and threads() == 0)
    folder = swept / "first/runs" / f"r-{1:012x}"
    save_results(folder / "result.json", candidates(0.4, 0.4)[1:])
    write_json(folder / "record.json", {"result": sha256_file(folder / "result.json")})
    find(box, ipywidgets.Button, "Refresh").click()
    wait_for(lambda: "No difference shown" in shown(box) and threads() == 0)


def test_an_empty_folder_says_how_to_begin(tmp_path: Path) -> None:
    said = shown(run_browser(tmp_path))
    assert "No sweep has run here yet. `workbench sweep params/NAME.sweep.yaml` starts one" in said
    assert "Nothing fits" not in said


def test_errors_in_callbacks_and_in_the_thread_are_shown(swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = run_browser(swept)
    find(box, ipywidgets.ToggleButtons).value = "results"
    wait_for(lambda: "is better" in shown(box))
    crash = find(box, ipywidgets.Output)
    monkeypatch.setattr("workbench.widgets_runs_browser.score_items", lambda rows: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        find(box, ipywidgets.Text, "filter").value = "x"
    assert "ZeroDivisionError" in str(crash.outputs)
    monkeypatch.undo()
    monkeypatch.setenv("WORKBENCH_LANG", "en")
    (swept / "first/ledger.sqlite").write_bytes(b"broken" * 500)
    find(box, ipywidgets.Button, "Refresh").click()
    assert "The ledger cannot be read" in shown(box)
    os.rename(swept, swept.parent / "gone")
    find(box, ipywidgets.Button, "Refresh").click()
    assert "no such folder" in shown(box)
    box.close()
    wait_for(lambda: threads() == 0)


def test_repeating_ends_when_nothing_is_left_and_begins_anew() -> None:
    left, done, ended = [3], [], []

    def work() -> bool:
        done.append(1)
        left[0] -= 1
        return left[0] > 0

    repeat = Repeat(work, lambda: ended.append(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workbench.widgets_runs_repeat.POLL", 0.01)
        repeat.start()
        wait_for(lambda: bool(ended))
        assert not repeat.running
        first = len(done)
        assert first in (3, 4)  # being asked while it works, it works once more
        repeat.start()
        wait_for(lambda: len(ended) == 2)
    assert len(done) > first


def test_without_anywidget_it_says_what_to_install(swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = widgets_runs_pareto.importlib.util.find_spec
    monkeypatch.setattr(widgets_runs_pareto.importlib.util, "find_spec", lambda name: None if name == "anywidget" else real(name))
    box = run_browser(swept)
    find(box, ipywidgets.ToggleButtons).value = "costs"
    wait_for(lambda: "pip install 'rag-workbench[lab]'" in shown(box))
    box.close()
