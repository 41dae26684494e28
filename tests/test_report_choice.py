"""What is chosen on some questions, and what others say of it (ST2)."""

import math
import re
from typing import Any

import numpy as np
import pytest
from factories import make_result

from workbench import report, report_choice, stats
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult

METRIC = "evidence_recall@512t"
SHARED = np.random.default_rng(0).normal(0, 0.1, 80)


def result(level: float, seed: int, split: str = "selection", groups: int = 20, **changes: Any) -> RunResult:
    """Make a result of 80 questions of a split whose scores lie around `level`."""
    scores = np.clip(level + SHARED + np.random.default_rng(seed).normal(0, 0.05, 80), 0, 1)
    ids = tuple(f"{split}-{number}" for number in range(80))
    return make_result({METRIC: scores}, [f"{split}-{n % groups}" for n in range(80)], split=split, example_ids=ids, **changes)


def chosen_of(*results: RunResult) -> RunResult:
    return report_choice.choose(report.compare(results))


def test_the_best_is_chosen_where_nothing_is_tied_with_it() -> None:
    dear, cheap = result(0.7, 1, chunk_size=16), result(0.5, 2, chunk_size=1024)
    assert chosen_of(cheap, dear) is dear


def test_of_those_tied_with_the_best_the_cheapest_is_chosen() -> None:
    best, cheap, worse = result(0.61, 1, chunk_size=64), result(0.6, 2, chunk_size=512), result(0.3, 3, chunk_size=1024)
    comparison = report.compare([best, cheap, worse])
    assert [(row.result, row.tied) for row in comparison.rows] == [(best, True), (cheap, True), (worse, False)]
    assert report_choice.choose(comparison) is cheap
    timed = [result(0.61, 1, chunk_size=64, timings={"query_median_ms": 2}), result(0.6, 2, chunk_size=512, timings={"query_median_ms": 3})]
    assert chosen_of(*timed) is timed[0]


def test_a_control_is_chosen_only_where_there_is_nothing_else() -> None:
    control, other = result(0.61, 1, chunker="whole", chunk_size=1024), result(0.6, 2, chunk_size=64)
    assert chosen_of(control, other) is other
    assert chosen_of(control) is control
    assert chosen_of(result(0.9, 1, retriever="random"), worse := result(0.3, 2)) is worse  # a control that wins is a fault, no choice


def test_equal_costs_leave_the_best() -> None:
    results = [result(level, 1, top_k=top_k) for level, top_k in ((0.6, 5), (0.605, 6), (0.602, 7))]
    assert chosen_of(*results).settings.top_k == 6


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (80, "no question was scored by every candidate, so nothing can be said."),
        (2, "2.5% of the questions lack a score, so nothing can be chosen"),
    ],
)
def test_nothing_is_chosen_where_scores_lack(missing: int, words: str) -> None:
    results = [result(0.6, 1), result(0.5, 2, chunk_size=64)]
    results[1].scores[METRIC][:missing] = np.nan
    with pytest.raises(WorkbenchError, match=f"{METRIC}: {words}"):
        report_choice.choose(report.compare(results))


def confirm(level: float, base: float, groups: int = 20) -> str:
    """Choose a candidate of 0.7 over a baseline of 0.4, and confirm it on questions where both score otherwise."""
    chosen = chosen_of(result(0.4, 1, chunk_size=64), result(0.7, 2, chunk_size=128))
    others = [result(base, 3, "confirmation", groups, chunk_size=64), result(level, 4, "confirmation", groups, chunk_size=128)]
    return report_choice.confirmation(chosen, report.compare(others))


@pytest.mark.parametrize(
    ("level", "base", "words"),
    [
        (0.6, 0.4, r"It is better than the baseline 64 tokens: \+0\.\d+ \[\+0\.\d+, \+0\.\d+\], adjusted p < 0\.001\.$"),
        (0.4, 0.6, r"It is worse than the baseline 64 tokens: -0\.\d+ \[-0\.\d+, -0\.\d+\], adjusted p < 0\.001\.$"),
        (0.5, 0.5, r"It is not distinguishable from the baseline 64 tokens: [+-]0\.0\d+ \[-0\.\d+, \+0\.\d+\], adjusted p 0\.\d+\.$"),
    ],
)
def test_a_confirmation_says_both_scores_and_what_others_show(level: float, base: float, words: str) -> None:
    said = confirm(level, base)
    head = r"^128 tokens was chosen on 80 questions, where it scores 0\.[67]\d+ \[.*\]\. On 80 others, in 20 document groups that chose"
    assert re.search(head, said)
    assert re.search(words, said)


def test_one_document_group_confirms_nothing() -> None:
    assert "It is not distinguishable from the baseline 64 tokens: +0." in (said := confirm(0.9, 0.1, groups=1))
    assert said.endswith("[unknown].")


def test_a_baseline_that_was_chosen_is_said_to_be_it() -> None:
    base, other = result(0.7, 1), result(0.4, 2, chunk_size=64)
    confirmed = report.compare([result(0.6, 3, "confirmation"), result(0.4, 4, "confirmation", chunk_size=64)])
    assert report_choice.confirmation(chosen_of(base, other), confirmed).endswith(
        "It is the baseline: no other candidate was shown to be better."
    )


def test_lacking_scores_confirm_nothing() -> None:
    others = [result(0.4, 3, "confirmation", chunk_size=64), result(0.6, 4, "confirmation")]
    others[0].scores[METRIC][:4] = np.nan
    said = report_choice.confirmation(result(0.7, 2), report.compare(others))
    assert said.endswith("No verdict, because 5.0% of the questions were not scored by every candidate.")
    assert "better" not in said


def test_a_confirmation_needs_the_chosen_candidate_on_other_questions() -> None:
    chosen = result(0.7, 1)
    for confirmed in ([result(0.6, 2, "confirmation", chunk_size=64)], [result(0.6, 2, "confirmation", top_k=3)]):
        with pytest.raises(WorkbenchError, match=f"must score the candidate {chosen.config_id} that was chosen"):
            report_choice.confirmation(chosen, report.compare(confirmed))
    unscored = result(0.6, 2, "confirmation")
    unscored.scores[METRIC][:] = np.nan
    with pytest.raises(WorkbenchError, match="must score the candidate"):
        report_choice.confirmation(chosen, report.compare([unscored]))
    with pytest.raises(WorkbenchError, match=f"80 of the questions that chose {chosen.config_id} are asked again; confirm it on others"):
        report_choice.confirmation(chosen, report.compare([chosen, result(0.5, 2, chunk_size=64)]))


@pytest.mark.parametrize(
    ("before", "after", "bounds"),
    [
        # variance 0.01 + 0.04 with 4 and 3 degrees of freedom: 0.05² / (0.01² / 4 + 0.04² / 3) = 4.48, whose t is 2.66
        (stats.Interval(0.7, 0.5, 0.9, 50, 5, 0.1), stats.Interval(0.5, 0.1, 0.9, 40, 4, 0.2), (0.2 - 0.596, 0.2 + 0.596)),
        # all right in the first: sqrt(0.2² + 0.4²) below, nothing but the second's width above
        (stats.Interval(1.0, 0.8, 1.0, 50, 5, 0.0), stats.Interval(0.5, 0.1, 0.9, 40, 4, 0.2), (0.5 - 0.447214, 0.5 + 0.4)),
        (stats.Interval(0.7, math.nan, math.nan, 50, 1), stats.Interval(0.5, 0.1, 0.9, 40, 4, 0.2), (math.nan, math.nan)),
    ],
)
def test_shrinkage_by_hand(before: stats.Interval, after: stats.Interval, bounds: tuple[float, float]) -> None:
    clusters = [f"{number % 5}" for number in range(50)], [f"{number % 4}" for number in range(40)]
    found = report_choice.shrinkage(before, after, clusters)
    assert found.mean == pytest.approx(before.mean - after.mean)
    assert (found.low, found.high) == pytest.approx(bounds, abs=0.002, nan_ok=True)
    assert (found.n, found.clusters) == (90, before.clusters + 4)


def test_a_declared_pair_is_tested_alone() -> None:
    """Of three candidates, the difference of one is wider when the other is tested with it."""
    base, one, other = (
        result(level, seed, chunk_size=size, groups=10) for level, seed, size in ((0.4, 1, 64), (0.5, 2, 128), (0.5, 3, 256))
    )
    comparison = report.compare([base, one, other])
    row = next(row for row in comparison.rows if row.result is one)
    found = report_choice.declared(comparison, row).difference
    assert row.difference
    assert found
    assert found.mean == row.difference.mean
    assert found.high - found.low < row.difference.high - row.difference.low
