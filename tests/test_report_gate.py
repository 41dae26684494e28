"""The gate decides by the bounds of the paired difference: it passes and fails what is shown, and says when the data cannot tell."""

import math
from typing import Any

import numpy as np
import pytest
from factories import make_data, make_result

from workbench import report_gate, stats
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.report_pairs import Candidate, join

METRIC = "ndcg@10"


def lone(result: RunResult, source: str = "A", label: str = "") -> Candidate:
    """Give a candidate that no file holds."""
    return Candidate(result, (source,), label or source)


def check(old: Any, new: Any, max_drop: float, clusters: Any = (), **changes: Any) -> report_gate.Gate:
    results = [make_result({METRIC: scores}, clusters) for scores in (old, new)]
    return report_gate.check(lone(results[0]), lone(results[1], "B"), max_drop, **changes)


DROPS = 0.1 * np.tile([1.0, 0.0, 1.0, 0.0], 5)  # mean 0.05; sum of squares 20 x 0.05², so se 0.05 / sqrt(19); t(19) is 2.0930
HALF = 2.0930 * 0.05 / math.sqrt(19)


@pytest.mark.parametrize(
    ("max_drop", "outcome"),
    [
        (0.05 + HALF + 0.0001, "pass"),
        (0.05 + HALF - 0.0001, "undecided"),
        (0.05, "undecided"),
        (0.05 - HALF + 0.0001, "undecided"),
        (0.05 - HALF - 0.0001, "fail"),
    ],
)
def test_the_bounds_decide_by_hand(max_drop: float, outcome: str) -> None:
    old = np.full(20, 0.8)
    gate = check(old, old - DROPS, max_drop)
    assert gate.outcome == outcome
    assert gate.interval.mean == pytest.approx(-0.05)
    assert gate.interval.low == pytest.approx(-0.05 - HALF, abs=1e-5)
    assert (gate.sentence.count("is ruled out"), gate.sentence.count("is shown")) == (outcome == "pass", outcome == "fail")


def test_a_drop_of_the_mean_alone_is_noise() -> None:
    """20 questions, one lost and none won: the mean falls by 0.05, more than allowed, and still nothing is shown."""
    old = np.full(20, 1.0)
    gate = check(old, np.r_[old[:-1], 0], 0.02)
    assert (gate.outcome, gate.interval.mean) == ("undecided", pytest.approx(-0.05))
    assert check(old, old, 0.0).outcome == "pass"  # the same answers: nothing was lost
    assert check(old, old - 0.5, 0.02).outcome == "fail"  # each question loses as much


def test_undecided_says_how_many_questions_would_tell() -> None:
    """With so many of the same kind the interval falls on one side of the limit."""
    old = np.full(20, 0.8)
    gate = check(old, old - DROPS, 0.06)
    assert gate.outcome == "undecided"
    assert 20 < gate.needed < math.inf
    copies = math.ceil(gate.needed / 20)
    assert check(np.tile(old, copies), np.tile(old - DROPS, copies), 0.06).outcome == "pass"
    assert "questions in all would tell, if the difference is as seen" in gate.sentence
    assert math.isinf(check(old, old - DROPS, DROPS.mean()).needed)
    alone = check(old, old - DROPS, 0.06, clusters=["one"] * 20)
    assert alone.outcome == "undecided"
    assert math.isnan(alone.needed)
    assert "1 document group: candidate - baseline -0.050 [unknown]. Too few document groups" in alone.sentence


def test_noise_rarely_fails_and_never_more_than_its_level() -> None:
    """A candidate that drops by exactly what is allowed fails, and passes, in about 2.5 % of the runs; at most 6 of 100 here."""
    draw = np.random.default_rng(7)
    outcomes = []
    for _ in range(100):
        noise = np.repeat(draw.normal(0, 0.1, 20), 3) + draw.normal(0, 0.1, 60)
        outcomes.append(check(np.full(60, 0.5), 0.48 + noise, 0.02, clusters=[f"g{row // 3}" for row in range(60)]).outcome)
    assert outcomes.count("fail") <= 6
    assert outcomes.count("pass") <= 6
    assert outcomes.count("undecided") >= 88


def test_results_that_cannot_be_paired_are_refused() -> None:
    old = make_result({METRIC: [1, 0, 1]})
    for other, message in (
        (make_result({METRIC: [1, 0, 1]}, data=make_data("demo-ko", "ko", 3)), r"^A and B have different data: "),
        (make_result({METRIC: [1, 0]}, limit=2), r"^A and B have different questions: .*limit 2"),
        (make_result({"mrr@10": [1, 0, 1]}), r"^the primary metrics differ \(ndcg@10, mrr@10\); name one with --metric"),
        (make_result({METRIC: [math.nan] * 3}), r"no question was scored by both"),
        (make_result({METRIC: [1, math.nan, 1]}), r"33\.3% of the questions lack a score in the baseline or the candidate, more than 2%"),
    ):
        with pytest.raises(WorkbenchError, match=message):
            report_gate.check(lone(old), lone(other, "B"), 0.02)
    lost = np.r_[math.nan, np.ones(59)]
    assert check(lost, np.ones(60), 0.02).outcome == "pass"  # 1.7 % lost, and counted
    for drop in (-0.01, 2, math.nan):
        with pytest.raises(WorkbenchError, match=r"max-drop .* at least 0 and below 1"):
            check([1, 0], [1, 0], drop)


def test_the_configuration_of_each_side_is_unique_or_named() -> None:
    small, large, whole = (make_result({METRIC: [1, 0]}, chunk_size=size) for size in (64, 128, 256))
    one, two, three = (lone(result, "A", str(result.settings.chunk_size)) for result in (small, large, whole))
    assert report_gate.choose([one], [two]) == (one, two)
    assert report_gate.choose([one, two], [two]) == (two, two)
    assert report_gate.choose([one, two], [two, three]) == (two, two)
    assert report_gate.choose([one, two], [three], small.config_id[:8]) == (one, three)
    for sides, config in ((([one, two], [one, two]), ""), (([one, two], [three]), "")):
        with pytest.raises(WorkbenchError, match=rf"^which configuration of A\? Name one with --config: {small.config_id} \(64, in A\), "):
            report_gate.choose(*sides, config)
    for sides in (([one], [two]), ([one, two], [three])):
        with pytest.raises(WorkbenchError, match="no configuration has the config id 'zzz'"):
            report_gate.choose(*sides, "zzz")


def test_sweeps_with_several_seeds_are_gated_by_their_means() -> None:
    sides = []
    for source, drop in (("A", 0.0), ("B", 0.3)):
        seeds = [make_result({METRIC: np.full(20, 0.8 - drop + 0.1 * seed)}, seed=seed) for seed in (0, 1)]
        sides.append(next(iter(join({source: [*seeds, make_result({METRIC: [0.5] * 20}, chunk_size=64)]})[0].values())))
    old, new = report_gate.choose(*(side[:1] for side in sides))
    gate = report_gate.check(old, new, 0.02)
    assert (gate.outcome, gate.interval.mean, new.seeds) == ("fail", pytest.approx(-0.3), (0, 1))
    assert report_gate.settings_changed(gate) == []
    assert report_gate.choose(*sides, old.result.config_id) == (old, new)
    assert report_gate.settings_changed(report_gate.check(old, lone(make_result({METRIC: [0.8] * 20}, seed=1)), 0.5)) == [
        "seed 0 and 1 -> 1"
    ]


def test_what_changed_is_named() -> None:
    results = [make_result({METRIC: [1, 0]}, chunk_size=size) for size in (64, 128)]
    gate = report_gate.check(*map(lone, results), 0.5)
    assert report_gate.settings_changed(gate) == ["chunk_size 64 -> 128"]
    assert gate.interval.clusters < stats.FEW_CLUSTERS
    assert gate.sentence.endswith("With fewer than 12 document groups this interval is rough.")
