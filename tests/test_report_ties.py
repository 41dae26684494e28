"""Comparisons of more candidates than pairs are tested of: what stays simultaneous, who is tied, who is not compared."""

import numpy as np
import pytest
from factories import make_result

from workbench import report, report_winner, stats
from workbench.evaluation import RunResult
from workbench.report_costs import contenders
from workbench.report_ties import MOST_PAIRED, listed, standing

METRIC = "recall@5"
CLUSTERS = [f"group-{number % 12}" for number in range(48)]


def candidates(levels: list[float], seed: int = 0, **settings: object) -> list[RunResult]:
    """Draw results with these mean scores, by top_k; the first is the baseline."""
    draw = np.random.default_rng(seed)
    shared = draw.normal(0, 0.1, 48)
    scores = [np.clip(level + shared + draw.normal(0, 0.05, 48), 0, 1) for level in levels]
    return [make_result({METRIC: column}, CLUSTERS, top_k=5 + place, **settings) for place, column in enumerate(scores)]


def test_up_to_the_limit_all_pairs_are_tested_and_everybody_is_compared():
    comparison = report.compare(candidates([0.5] * MOST_PAIRED))
    assert all(row.compared for row in comparison.rows)
    assert "all pairs tested together" in comparison.verdict


def test_of_equal_candidates_those_beyond_the_best_are_not_compared_and_nobody_is_worse():
    comparison = report.compare(candidates([0.5] * 140))
    assert [row.tied for row in comparison.rows] == [True] * MOST_PAIRED + [False] * 40
    assert [row.compared for row in comparison.rows] == [True] * MOST_PAIRED + [False] * 40
    assert f"(95 %, all pairs of the {MOST_PAIRED} best tested together): top k" in comparison.verdict
    assert "and 89 more. Of the other 40 candidates 0 are worse than it (95 %, all candidates tested together); " in comparison.verdict
    assert "40 are too close to tell and were not compared in pairs." in comparison.verdict
    assert all(row.compared for row in contenders(comparison.rows))


def test_candidates_far_behind_are_worse_wherever_they_stand():
    comparison = report.compare(candidates([0.3] * 130 + [0.7]))
    best, *others = comparison.rows
    assert best.result.settings.top_k == 135
    assert not any(row.tied for row in others)
    assert all(row.compared and row.behind > 3 for row in others)
    assert f"It is better than each of the {MOST_PAIRED - 1} next (95 %" in comparison.verdict
    assert "Of the other 31 candidates 31 are worse than it (95 %, all candidates tested together). " in comparison.verdict


def test_differences_to_the_baseline_hold_together_over_all_candidates():
    results = candidates([0.4] + [0.5] * 120)
    comparison = report.compare(results)
    table = np.stack([result.scores[METRIC] for result in results], axis=1)
    every = stats.max_t(table[:, 1:] - table[:, :1], CLUSTERS, seed=0)
    found = {row.result.config_id: row.difference for row in comparison.rows}
    assert found[results[0].config_id] is None
    assert [found[result.config_id] for result in results[1:]] == every


def test_the_tied_set_is_that_of_the_best_alone():
    results = candidates([0.6] * 30 + [0.5] * 70 + [0.2] * 60)
    many = {row.result.config_id: row for row in report.compare(results).rows}
    best = [row.result for row in report.compare(results).rows[:MOST_PAIRED]]
    for row in report.compare(best).rows:
        assert (row.tied, row.behind) == (many[row.result.config_id].tied, many[row.result.config_id].behind)


def test_metrics_asked_of_other_questions_leave_a_still_candidate_untold():
    """The last one scores the same on the few groups that it was asked of: nothing tells how sure its mean is."""
    results = candidates([0.6] * 120)
    table = np.stack([*(result.scores[METRIC] for result in results), np.full(48, 0.1)], axis=1)
    asked = np.ones(table.shape, dtype=bool)
    asked[:, -1] = np.isin(CLUSTERS, ["group-1", "group-2", "group-3"])
    order = np.argsort(-table.mean(axis=0), kind="stable").tolist()
    assert 120 not in standing(table, asked, order, 0, CLUSTERS, draws=200).compared
    asked[:, -1] = True
    assert 120 in standing(table, asked, order, 0, CLUSTERS, draws=200).compared


def test_a_decision_names_who_was_not_compared():
    split = tuple("confirmation" if number % 12 < 4 else "selection" for number in range(48))
    results = candidates([0.5] * 139 + [0.8], parts=split)
    decision = report_winner.decide(results)
    assert decision.chosen is results[-1]
    results = candidates([0.5] * 140, parts=split)
    words = report_winner.decide(results).verdict
    assert f"(95 %, all pairs of the {MOST_PAIRED} best tested together)" in words
    assert "40 lower ones are too close to the best to tell, but were not compared in pairs." in words


@pytest.mark.parametrize(
    ("labels", "of", "words"),
    [(["a", "b"], 5000, "a, b"), (list("abcdefghijkl"), 100, "a, b, c, d, e, f, g, h, i, j, k, l")],
)
def test_few_names_are_all_said(labels, of, words):
    assert listed(labels, of) == words
    assert listed([str(number) for number in range(1200)], 5000).endswith("8, 9 and 1,190 more")
