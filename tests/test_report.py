"""Comparisons say what was shown and no more; their text cannot be mistaken for markup or formulas."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from factories import make_result, make_results

from workbench import report, report_files, report_markdown
from workbench.datatypes import WorkbenchError
from workbench.evaluation import Check, RunResult

BUDGET = "evidence_recall@512t"


def scores(mean: float, seed: int, questions: int = 100) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(mean, 0.1, questions), 0, 1)


def candidates(*means: float, clusters: int = 25, questions: int = 100) -> list[RunResult]:
    """Give one result for each mean, with chunk sizes 64, 128, …"""
    groups = [f"g{number % clusters}" for number in range(questions)]
    return [make_result({BUDGET: scores(mean, seed, questions)}, groups, chunk_size=64 * 2**seed) for seed, mean in enumerate(means)]


def test_a_clear_winner_is_named_and_nothing_is_tied_with_it() -> None:
    comparison = report.compare(candidates(0.5, 0.8, 0.6))
    assert [row.label for row in comparison.rows] == ["128 tokens", "256 tokens", "64 tokens"]
    assert [row.tied for row in comparison.rows] == [True, False, False]
    assert comparison.rows[2].difference is None
    assert comparison.verdict.startswith("evidence_recall@512t, 100 questions in 25 document groups: 128 tokens scores highest, 0.792 [")
    assert "It is better than every other candidate (95 %, all pairs tested together)." in comparison.verdict
    assert "Against the baseline 64 tokens: +0." in comparison.verdict
    assert "adjusted p < 0.001." in comparison.verdict


def test_a_tie_names_the_tied_ones_and_the_smallest_index() -> None:
    results = candidates(0.8, 0.8, 0.3)
    scores = next(iter(results[0].scores))
    results[1].scores[scores][:] = results[0].scores[scores][::-1]
    comparison = report.compare(results, baseline=results[2].config_id)
    assert sorted(row.label for row in comparison.rows if row.tied) == ["128 tokens", "64 tokens"]
    assert "Not distinguishable from it" in comparison.verdict
    assert "Of those within one standard error of the best, 128 tokens has the fewest chunks (500)." in comparison.verdict
    assert "Against the baseline 256 tokens" in comparison.verdict


def test_equal_candidates_give_no_difference_shown() -> None:
    same = scores(0.7, 0)
    results = [make_result({BUDGET: same}, chunk_size=size) for size in (64, 128, 256)]
    comparison = report.compare(results)
    assert all(row.tied for row in comparison.rows)
    assert "No difference shown: no candidate can be told from it" in comparison.verdict
    assert "better" not in comparison.verdict
    assert comparison.rows[0].label == "256 tokens"  # equal means: the smaller index stands first
    assert comparison.rows[0].difference is not None
    assert comparison.rows[0].difference.p == 1


def test_one_candidate_has_nothing_to_compare_with() -> None:
    comparison = report.compare(candidates(0.7))
    assert "the one configuration scores 0.7" in comparison.verdict
    assert comparison.verdict.endswith("Nothing to compare: there is one candidate.")
    assert comparison.rows[0].best


def test_one_document_group_shows_no_difference() -> None:
    comparison = report.compare(candidates(0.2, 0.9, clusters=1))
    assert "one document group cannot show any difference" in comparison.verdict
    assert not comparison.rows[0].interval.known
    assert all(row.tied for row in comparison.rows)


@pytest.mark.parametrize(("clusters", "rough"), [(11, True), (12, False)])
def test_few_document_groups_are_called_rough(clusters: int, rough: bool) -> None:
    verdict = report.compare(candidates(0.4, 0.9, clusters=clusters)).verdict
    assert ("With fewer than 12 document groups these intervals are rough." in verdict) is rough


@pytest.mark.parametrize(("questions", "missing", "refused"), [(100, 2, False), (50, 1, False), (100, 3, True)])
def test_more_than_two_percent_unscored_refuse_a_verdict(questions: int, missing: int, refused: bool) -> None:
    results = candidates(0.3, 0.9, questions=questions)
    results[1].scores[BUDGET][:missing] = np.nan
    comparison = report.compare(results)
    assert comparison.questions == questions - missing
    assert comparison.lost == missing / questions
    assert ("no verdict" in comparison.verdict) is refused
    assert ("better" in comparison.verdict) is not refused
    assert {row.interval.n for row in comparison.rows} == {questions - missing}  # left out for all candidates


def test_nothing_scored_by_all_is_said() -> None:
    results = candidates(0.3, 0.9)
    results[0].scores[BUDGET][:50] = np.nan
    results[1].scores[BUDGET][50:] = np.nan
    comparison = report.compare(results)
    assert comparison.verdict == "evidence_recall@512t: no question was scored by every candidate, so nothing can be said."
    assert (comparison.questions, comparison.lost) == (0, 1.0)
    assert not any(row.best or row.tied for row in comparison.rows)


def test_other_data_or_other_questions_are_refused() -> None:
    left, right = candidates(0.5, 0.6)
    with pytest.raises(WorkbenchError, match=f"{left.config_id} and {right.config_id} ran on different data"):
        report.compare([left, replace(right, data={**right.data, "fingerprint": "f" * 64})])
    with pytest.raises(WorkbenchError, match="answered different questions; use the same split, limit and seed"):
        report.compare([left, replace(right, example_ids=tuple(reversed(right.example_ids)))])
    with pytest.raises(WorkbenchError, match="no results"):
        report.compare([])


def test_a_baseline_is_named_by_its_config_id() -> None:
    results = candidates(0.5, 0.6)
    comparison = report.compare(results, baseline=results[1].config_id)
    assert comparison.baseline == "128 tokens"
    assert [row.label for row in comparison.rows if row.difference is None] == ["128 tokens"]
    with pytest.raises(WorkbenchError, match=rf"unknown baseline 'abc'.*{results[0].config_id}"):
        report.compare(results, baseline="abc")
    with pytest.raises(WorkbenchError, match=r"unknown metric .*did you mean 'evidence_recall@512t'"):
        report.compare(results, "evidence_recal@512t")


def test_a_baseline_is_found_by_its_settings_and_never_a_control() -> None:
    results = make_results()
    assert report.find_baseline(results, {"chunk_size": 512}) == results[5].config_id
    assert report.find_baseline(results, {}) == results[0].config_id
    with pytest.raises(WorkbenchError, match=r"only controls have the baseline's settings \{'chunker': 'whole'\}"):
        report.find_baseline(results, {"chunker": "whole"})
    with pytest.raises(WorkbenchError, match=r"no result has the baseline's settings \{'chunk_size': 7\}"):
        report.find_baseline(results, {"chunk_size": 7})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", "a\\|b"),
        ("**bold** _it_ ~~no~~ `code`", "\\*\\*bold\\*\\* \\_it\\_ \\~\\~no\\~\\~ \\`code\\`"),
        ("[x](javascript:alert(1))", "\\[x\\](javascript:alert(1))"),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("&lt;", "&amp;lt;"),
        ("# heading", "\\# heading"),
        ("one\r\n\r\n- two\u2028three\x0bfour", "one - two three four"),
        ("$x$", "<span>&#36;</span>x<span>&#36;</span>"),
        ("\\(x\\) \\begin{a}", "<span>&#92;</span>(x<span>&#92;</span>) <span>&#92;</span>begin{a}"),
        ("한국어 문서 🙂", "한국어 문서 🙂"),
    ],
)
def test_escape_leaves_nothing_to_interpret(text: str, shown: str) -> None:
    assert report_markdown.escape(text) == shown


def test_tables_and_failures_escape_what_comes_from_documents() -> None:
    bad = "<b>x</b> | $y$\nz"
    failure = {
        "id": bad,
        "question": bad,
        "score": 0.0,
        "evidence": [{"document": "d", "title": bad, "text": bad, "rank": None}, {"document": bad, "title": "", "text": bad, "rank": 4}],
        "hits": [{"rank": 1, "document": bad, "score": 1.0, "text": bad}],
    }
    result = make_result({BUDGET: [0.0, 1.0]}, failures=(failure,), audit=(Check("oracle", "error", bad),))
    for text in (report_markdown.failures(result), report_markdown.audit_table([result]), report_markdown.markdown_table(["a"], [[bad]])):
        assert "<b>" not in text
        assert "$y" not in text
        assert "\nz" not in text
    assert "not retrieved" in report_markdown.failures(result)
    assert "first reached at rank 4" in report_markdown.failures(result)
    assert report_markdown.failures(make_result({BUDGET: [1.0]})) == f"No question lost anything on {BUDGET}."


def test_the_table_shows_intervals_differences_and_ties() -> None:
    results = candidates(0.5, 0.8)
    lines = report_markdown.table(report.compare(results), ["evidence_recall@512t"]).splitlines()
    assert lines[0].startswith("| configuration | evidence\\_recall@512t \\[95 %\\] | difference to baseline")
    assert "| +0." in lines[2]
    assert "| < 0.001 |" in lines[2].replace("&lt;", "<")
    assert "| ● |" in lines[2]
    assert "| baseline |  |  |" in lines[3]
    rows = report.compare(results).rows
    assert [row.tied for row in rows] == [True, False]
    assert rows[1].difference is None


def test_the_audit_table_shows_the_worst_of_each_check_even_where_runs_differ_in_their_checks() -> None:
    good = make_result({BUDGET: [1.0]}, audit=(Check("oracle", "ok", "fine"), Check("new", "ok", "fine too")))
    bad = make_result({BUDGET: [1.0]}, audit=(Check("oracle", "error", "lost text"),))
    lines = report_markdown.audit_table([good, bad]).splitlines()
    assert lines[2:] == ["| oracle | error | 1/2 | lost text |", "| new | ok | 1/1 | fine too |"]
    assert report.audit_errors([good, bad]) == [f"{bad.config_id} oracle: lost text"]


def test_the_audit_table_shows_the_levels_asked_for() -> None:
    first = make_result({BUDGET: [1.0]}, audit=(Check("a", "ok", "fine"), Check("b", "ok", "fine"), Check("c", "warning", "few")))
    second = make_result({BUDGET: [1.0]}, audit=(Check("a", "ok", "fine"), Check("b", "error", "lost"), Check("c", "ok", "enough")))
    lost, few, fine = "| b | error | 1/2 | lost |", "| c | warning | 1/2 | few |", "| a | ok | 2/2 | fine |"
    for only, shown in (
        (("ok", "warning", "error"), [lost, few, fine]),
        (("warning", "error"), [lost, few]),
        (("error",), [lost]),
        (("ok",), [fine]),
        ((), []),
    ):
        assert report_markdown.audit_table([first, second], only=only).splitlines()[2:] == shown
    assert report_markdown.audit_table([first, second]).splitlines()[2:] == [lost, few, fine]


def test_the_data_table_names_each_row_by_its_data_or_by_a_label() -> None:
    described = [make_result({BUDGET: [0.5]}, dataset=name).data for name in ("demo-en", "a|b")]
    counts = "| en | 42 | 7 | 25 | 1 | 24 | 0 |"
    described = [{**data, "groups": 7} for data in described]
    header, _, *rows = report_markdown.data_table(*described).splitlines()
    assert header == "| data set | language | documents | groups | questions | scored | unanswerable | losses |"
    assert rows == [f"| demo-en {counts}", f"| a\\|b {counts}"]
    labelled = report_markdown.data_table(*described, labels=["selection", "$x$"]).splitlines()
    assert labelled[2:] == [f"| selection {counts}", f"| <span>&#36;</span>x<span>&#36;</span> {counts}"]
    assert labelled[0] == header
    with pytest.raises(ValueError, match="argument 2 is longer"):
        report_markdown.data_table(*described, labels=["one"])


def test_the_leaderboard_file_is_the_same_whenever_and_in_whatever_order_results_come(tmp_path: Path) -> None:
    results = make_results() + make_results("demo-ko", "ko")
    first = report_files.write_leaderboard(tmp_path / "a.csv", results).read_bytes()
    timed = [replace(result, timings={"index": 3.5}, cache={"hits": 7}) for result in reversed(results)]
    assert report_files.write_leaderboard(tmp_path / "b.csv", timed).read_bytes() == first
    assert first.startswith(b"\xef\xbb\xbfconfig_id,dataset,chunker,chunk_size,")
    assert b"index,3" not in first
    assert len(first.splitlines()) == 25
    assert report_files.write_timings(tmp_path / "t.csv", timed).read_text("utf-8-sig").splitlines()[1].endswith(",3.5,7")


def test_no_cell_of_the_leaderboard_is_a_formula(tmp_path: Path) -> None:
    results = [make_result({BUDGET: [0.5, 1.0]}, dataset=name) for name in ('=HYPERLINK("x")', "+1", "-1", "@x", "\tx")]
    text = report_files.write_leaderboard(tmp_path / "a.csv", results).read_text("utf-8-sig")
    cells = [line.split(",", 2)[1] for line in text.splitlines()[1:]]
    assert sorted(cell.strip('"')[:2] for cell in cells) == ["'\t", "'+", "'-", "'=", "'@"]


def pair(fixed: tuple[float, float], budget: tuple[float, float], sizes: tuple[int, int] = (64, 512), **changes: str) -> list[RunResult]:
    rows = zip(fixed, budget, sizes, strict=True)
    return [make_result({BUDGET: [at_budget] * 4, "recall@5": [at_k] * 4}, chunk_size=size, **changes) for at_k, at_budget, size in rows]


def test_fixed_k_and_equal_budget_agree() -> None:
    assert (
        report.fixed_k_note(pair((0.9, 0.5), (0.8, 0.4)), "recall@5", BUDGET)
        == f"recall@5 and {BUDGET} agree: 64 tokens scores highest on both."
    )
    # a shared first place is no disagreement
    assert "agree: 64 tokens" in report.fixed_k_note(pair((0.9, 0.9), (0.8, 0.4)), "recall@5", BUDGET)


def test_fixed_k_favours_larger_chunks() -> None:
    note = report.fixed_k_note(pair((0.5, 0.9), (0.8, 0.4)), "recall@5", BUDGET)
    assert note.startswith("The two views disagree: recall@5 prefers 512 tokens (0.900; its chunks average 410 tokens)")
    assert f"{BUDGET} prefers 64 tokens (0.800; 51 tokens). The same number of larger chunks buys more context" in note
    note = report.fixed_k_note(pair((0.9, 0.5), (0.4, 0.8)), "recall@5", BUDGET)
    assert "Larger chunks are not the reason here" in note


def test_controls_do_not_count_at_fixed_k() -> None:
    results = pair((0.5, 0.4), (0.8, 0.4))
    results += pair((1.0, 1.0), (0.1, 0.1), sizes=(1024, 2048), chunker="whole")[:1]
    assert "agree: 64 tokens" in report.fixed_k_note(results, "recall@5", BUDGET)


def test_groups_of_one_name_are_all_kept() -> None:
    results = []
    for number in range(4):
        ids = tuple(f"{number}-{question}" for question in range(5))
        results.append(make_result({BUDGET: [0.5] * 5}, example_ids=ids, limit=5, seed=number % 2))
    groups = report.by_dataset(results)
    assert [members[0].example_ids for members in groups.values()] == [result.example_ids for result in results]
    assert next(iter(groups)) == "demo-en"
    assert list(groups)[1].startswith("demo-en (split all, seed 1, 5 questions, data ")


def test_all_questions_unanswerable_runs_and_says_so(tmp_path) -> None:
    from workbench import report_html, report_parts, report_plots

    results = [make_result({BUDGET: [], "recall@5": []}, clusters=[], chunk_size=size) for size in (64, 128)]
    comparison = report.compare(results)
    assert "nothing can be said" in comparison.verdict
    assert report.fixed_k_note(results, "recall@5", BUDGET).startswith("No question was scored")
    assert results[0].summary()[BUDGET] == {"mean": None, "low": None, "high": None, "n": 0, "unscored": 0}
    assert "not scored" in report_markdown.table(comparison)
    report_plots.plot_intervals(comparison)
    report_plots.plot_budgets(results)
    report_files.write_leaderboard(tmp_path / "leaderboard.csv", results)
    assert "nothing can be said" in report_html.render_html(report_parts.gather(results, "x"))
