"""What the run browser says of runs and scores, its links, lists, pairs and plot: plain functions."""

import html
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from factories import make_result
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from runs_shown import CLUSTERS, METRIC, candidates, plain
from shown_page import NASTY, texts

from workbench import report
from workbench.diagnosis import CAUSES
from workbench.ledger_rows import STATES, Entry
from workbench.report_costs import COSTS
from workbench.report_pairs import Candidate, pair
from workbench.report_words import headline as report_headline
from workbench.sweep_results import Scored
from workbench.sweep_status import SweepStatus
from workbench.widgets_runs_items import Item, fitting, run_items
from workbench.widgets_runs_links import Server, link, own_server
from workbench.widgets_runs_list import PAGE, RowList
from workbench.widgets_runs_pair import KINDS, chosen_changes, pair_head, question_view
from workbench.widgets_runs_pareto import known_costs, scatter
from workbench.widgets_runs_view import config_details, progress_view, run_details, run_facts, score_facts, span_of, sweeps_table
from workbench.widgets_runs_words import WORDS, headline


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_LANG", "en")
    monkeypatch.delenv("WORKBENCH_HEADLESS", raising=False)


def entry(state: str = "ok", label: str = "a label", **changes: Any) -> Entry:
    known = {"run_id": "0123456789ab", "attempts": 1, "owner": "", "kind": "", "error": "", "seconds": 2.5, "result": "", "updated": 1000.0}
    return Entry(**{"state": state, "label": label, **known, **changes})


# --- what is said ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (entry("queued", seconds=None), "○ queued"),
        (entry("running", seconds=None, attempts=2), "▶ running 90 s attempt 2"),
        (entry("ok"), "✓ ok 2.5 s"),
        (
            entry("failed", kind="raised", error="Traceback\nValueError: no luck: at all"),
            "✗ failed 2.5 s ValueError no luck: at all",
        ),
        (entry("failed", kind="raised", error="no colon here"), "✗ failed 2.5 s raised no colon here"),
        (entry("lost", kind="killed", error="", seconds=None), "! lost killed"),
    ],
)
def test_a_run_is_told_by_sign_word_seconds_and_error(one: Entry, said: str) -> None:
    assert " ".join(plain(run_facts(one, 1090.0)).split()) == said


@given(texts)
@hypothesis_settings(max_examples=50, deadline=None)
def test_untrusted_text_stays_text(text: str) -> None:
    nasty = f"{text}{NASTY}"
    runs = (entry("failed", nasty, kind=nasty, error=nasty), entry("running", nasty, seconds=None))
    status = SweepStatus(Path("/none") / "x", nasty, runs, nasty)
    pages = [progress_view(status, None, True), sweeps_table([status]), run_details(status, runs[0], [], None)]
    pages += [run_facts(one) for one in runs]
    result = candidates(0.5, 0.6)
    record = {"id": "q0", "question": nasty, "gold": [nasty], "answerable": True, "text": nasty, "refused": True, "error": nasty}
    answer = record | {"passages": [[nasty, 0, 9, nasty]]}
    sides = [Candidate(make_result(one.scores, CLUSTERS), (nasty,), nasty) for one in result]
    both = pair(*sides, METRIC)
    seen = SimpleNamespace(left=candidate_with(sides[0], answer), right=candidate_with(sides[1], answer), metric=METRIC)
    pages += [pair_head(both), question_view(seen, SimpleNamespace(id="q0", question=nasty, left=1.0, right=0.0, difference=1.0))]
    for page in pages:
        page.encode()
        assert "<script" not in page
        assert "<img" not in page


def candidate_with(candidate: Candidate, answer: dict) -> Any:
    result = SimpleNamespace(example_ids=("q0",), causes=("not_used",), failures=(), cases=(), answers=(answer,))
    return SimpleNamespace(result=result, label=candidate.label)


@pytest.mark.parametrize("means", [(0.9, 0.2, 0.1), (0.6, 0.58, 0.1), (0.5, 0.5), (0.4,)])
def test_the_headline_says_what_the_report_says(means: tuple[float, ...]) -> None:
    comparison = report.compare(candidates(*means))
    said, expected = headline(comparison), report_headline(comparison)
    assert said.replace("others cannot", "cannot") == expected.replace("others cannot", "cannot") or (
        "cannot be told" in said and "cannot be told" in expected
    )


def test_a_configuration_shows_interval_difference_costs_and_audit(tmp_path: Path) -> None:
    results = candidates(0.4, 0.9)
    comparison = report.compare(results)
    scored = Scored("data", results, comparison, {one.config_id: ("0123456789ab",) for one in results})
    status = SweepStatus(tmp_path, "s", (entry(),))
    shown = plain(config_details(status, scored, comparison.rows[0], None))
    assert report.format_interval(comparison.rows[0].interval) in shown
    assert f"against the baseline {comparison.baseline}: {report.format_difference(comparison.rows[0].difference)}" in shown
    assert "200 chunks · index 5 MB" in shown
    assert "best" in plain(score_facts(comparison.rows[0], span_of(comparison.rows)))
    assert "No executed notebook" in shown


# --- links -------------------------------------------------------------------------------------------------------------------------------


def test_links_lead_into_the_server_or_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = tmp_path / "root/가 <b>&\"'%#?/notebook.ipynb"
    notebook.parent.mkdir(parents=True)
    notebook.touch()
    server = Server((tmp_path / "root").resolve(), "/user/me/")
    made = link(notebook, "Open", server)
    address = "/user/me/lab/tree/%EA%B0%80%20%3Cb%3E%26%22%27%25%23%3F/notebook.ipynb"
    assert f'href="{address}"' in made
    arguments = html.unescape(made.partition('data-commandlinker-args="')[2].partition('"')[0])
    assert json.loads(arguments) == {"path": notebook.relative_to(tmp_path / "root").as_posix()}
    assert "<b>" not in made
    page = link(tmp_path / "root/report.html", "Report", server)
    assert 'href="/user/me/files/report.html"' in page
    for outside, none in ((tmp_path / "x.ipynb", server), (notebook, None), (tmp_path / "root/.hidden/x.ipynb", server)):
        assert "<a" not in link(outside, "Open", none)
        assert html.escape(str(outside)) in link(outside, "Open", none)
    inside = tmp_path / "root/link.ipynb"
    inside.symlink_to(tmp_path / "x.ipynb")
    assert "<a" not in link(inside, "Open", server)


@pytest.mark.parametrize(
    ("record", "known"),
    [
        ('{"root_dir": "/srv", "base_url": "/"}', True),
        ('{"root_dir": "/srv", "base_url": "javascript:"}', False),
        ('{"root_dir": "srv", "base_url": "/"}', False),
        ("[]", False),
        ("{", False),
        (None, False),
    ],
)
def test_the_own_server_is_found_by_what_it_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: str | None, known: bool) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("JPY_PARENT_PID", "17")
    if record is not None:
        (tmp_path / "jpserver-17.json").write_text(record, encoding="utf-8")
    assert (own_server() is not None) == known
    monkeypatch.setenv("JPY_PARENT_PID", "../17")
    assert own_server() is None


# --- lists, pairs, the plot ---------------------------------------------------------------------------------------------------------------


def test_runs_are_filtered_by_words_and_state_what_runs_first() -> None:
    runs = tuple(
        entry(
            state,
            f"chunker {state}",
            run_id=f"{number:012x}",
            error="ValueError: 안 됨" * (state == "failed"),
            kind="raised",
            updated=float(number),
        )
        for number, state in enumerate((*STATES, "ok"))
    )
    items = run_items(SweepStatus(Path("x"), "x", runs))
    assert [item.label.split()[1] for item in items] == ["running", "failed", "lost", "ok", "ok", "queued"]
    assert [item.key for item in items[3:5]] == [runs[5].run_id, runs[2].run_id]  # the latest first
    assert [item.label for item in fitting(items, "CHUNKER 안")] == ["chunker failed"]
    assert len(run_items(SweepStatus(Path("x"), "x", runs), "ok")) == 2
    assert run_items(None) == []


def test_a_list_of_a_thousand_draws_a_page() -> None:
    drawn: list[int] = []
    chosen: list[str] = []
    guarded: list[object] = []
    rows = RowList(lambda work: lambda *arguments: (guarded.append(work), work(*arguments)), chosen.append)
    items = [
        Item(f"k{number}", f"label {number}", lambda number=number: drawn.append(number) or f"facts {number}") for number in range(1000)
    ]
    began = time.perf_counter()
    rows.show(items, "k1")
    assert time.perf_counter() - began < 0.5
    grid, none, pager = rows.box.children
    assert drawn == list(range(PAGE))
    back, on, where = pager.children
    assert (back.disabled, on.disabled) == (True, False)
    for _ in range(1000 // PAGE):
        on.click()
    assert (back.disabled, on.disabled) == (False, True)
    assert "of 1,000" in where.value
    assert grid.children[0].description == f"label {1000 // PAGE * PAGE}"
    grid.children[0].click()
    assert chosen == [f"k{1000 // PAGE * PAGE}"]
    assert len(guarded) == 1000 // PAGE + 1  # every turned page and the choice: errors are shown
    rows.show(items[:3], top=True)
    assert len(grid.children) == 6
    rows.show([])
    assert "Nothing fits" in none.value


def test_questions_are_chosen_by_who_won_and_by_words() -> None:
    left, right = (Candidate(one, (), str(number)) for number, one in enumerate(candidates(0.7, 0.5)))
    both = pair(left, right, METRIC)
    counts = {kind: len(chosen_changes(both, kind)) for kind in KINDS}
    assert counts == {"differ": both.wins + both.losses, "A wins": both.wins, "B wins": both.losses, "all": 40}
    first = both.changes[0]
    assert first in chosen_changes(both, "all", first.id.upper())
    assert f"A wins {both.wins}, B wins {both.losses}, equal {both.ties}" in pair_head(both)


def test_the_plot_has_every_point_in_order_of_cost_and_says_what_it_is() -> None:
    comparison = report.compare(candidates(0.4, 0.9, 0.6))
    assert known_costs(comparison) == ["chunks"]
    plot = scatter(comparison, "chunks")
    assert [point["x"] for point in plot["points"]] == sorted(point["x"] for point in plot["points"])
    best = next(point for point in plot["points"] if point["shape"] == "diamond")
    assert (best["y"], best["front"]) == (max(point["y"] for point in plot["points"]), True)
    assert all(0 <= place <= 1 for point in plot["points"] for place in (point["x"], point["y"], *point["reach"]))
    assert [point["ring"] for point in plot["points"]] == [True, False, False]
    assert "200 chunks, best" in best["words"]
    many = scatter(report.compare(candidates(*(0.3 + 0.002 * number for number in range(250)))), "chunks")
    assert 100 <= len(many["points"]) <= 130
    assert "of 250" in many["title"]
    json.dumps(many, allow_nan=False)


def test_every_state_cost_and_cause_has_words() -> None:
    causes = {"failed_answer" if cause == "failed" else cause for cause in CAUSES}
    assert {*STATES, *COSTS, *(f"so many {cost}" for cost in COSTS), *causes} <= WORDS.keys()
