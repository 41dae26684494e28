"""What a comparison says of the differences that its questions show, and of more labels."""

import math
import re

import numpy as np
import pytest
from factories import make_result, make_results

from workbench import report, report_power, stats, stats_power
from workbench.datatypes import WorkbenchError

METRIC = "evidence_recall@512t"
RNG = np.random.default_rng(5)
NOISE = RNG.normal(0, 0.1, 120)
OTHER = RNG.normal(0, 0.1, 120)
GROUPS = [f"g{number % 24}" for number in range(120)]


def result(scores, clusters=GROUPS, **changes):
    return make_result({METRIC: scores}, clusters, **changes)


def pair_of(gap, clusters=GROUPS, noise=NOISE):
    """Compare a baseline with a candidate that is better by `gap` on average, exactly."""
    return report.compare(
        [result(0.5 + 0 * noise, clusters, chunk_size=64), result(0.5 + gap + noise - noise.mean(), clusters, chunk_size=128)]
    )


def test_the_smallest_difference_is_that_of_the_median_pair_alone_and_together():
    comparison = report.compare(make_results())
    found = {pair.row.label: pair for pair in report_power.pairs(comparison)}
    assert len(found) == 9  # of 12: without two controls and the baseline
    pair = next(iter(found.values()))
    difference = pair.row.difference
    assert pair.pilot.se == pytest.approx(difference.se)
    assert pair.single == pytest.approx(stats_power.detectable(difference.se, 19))  # 20 groups of 6
    critical = (difference.high - difference.low) / 2 / difference.se
    assert pair.together == pytest.approx(stats_power.detectable(difference.se, 19, confidence=stats_power.single_confidence(critical, 19)))
    assert pair.together > 1.2 * pair.single
    usual = report_power.typical(comparison)
    assert sorted(one.pilot.se for one in found.values())[4] == usual.pilot.se
    sentence = report_power.power_sentences(comparison)[0]
    assert sentence == (
        f"120 questions in 20 document groups show a difference between two candidates of about {usual.single:.3f} or more, if only the "
        f"two are compared (power 80 %, two-sided 5 %), and of about {usual.together:.3f} or more, if all 11 are compared with the "
        "baseline at once."
    )


def test_more_questions_are_told_for_the_pair_that_is_not_told_apart():
    comparison = pair_of(0.015)
    pilot = report_power.pairs(comparison)[0].pilot
    needed = stats_power.questions_needed(pilot, 0.015)
    assert needed.questions > 120
    first, second = report_power.power_sentences(comparison)
    assert "at once" not in first
    assert second.startswith(
        f"To tell 128 tokens from 64 tokens, label about {report_power.rounded(needed.questions - 120)} more questions from about "
        f"{report_power.rounded(needed.groups - 24)} more document groups of the same kind, if the difference is what it looks like "
        "(+0.015) and only the two are compared."
    )


def test_the_advice_holds_in_simulated_labels():
    """With the questions advised, a difference as large as it looked is found in about eight of ten samples."""
    pilot = report_power.pairs(pair_of(0.02))[0].pilot
    groups = round(stats_power.questions_needed(pilot, 0.02).groups)
    rng, found = np.random.default_rng(0), 0
    clusters = np.repeat(np.arange(groups), 5).tolist()
    for _ in range(400):
        scores = 0.02 + rng.normal(0, NOISE.std(ddof=1), 5 * groups)  # NOISE is independent of the groups
        found += stats.difference_interval(scores, np.zeros(5 * groups), clusters).low > 0
    assert found / 400 == pytest.approx(0.8, abs=0.12)


@pytest.mark.parametrize(
    ("gap", "message"),
    [
        (0.0, r"More labels will not settle (128|64) tokens against (128|64) tokens: the difference \([+-]0\.000\) is too small\."),
        (0.001, r"More labels will not settle 128 tokens against 64 tokens: the difference \(\+0\.001\) is too small\."),
    ],
)
def test_labels_do_not_settle_what_is_no_difference(gap, message):
    assert re.fullmatch(message, report_power.power_sentences(pair_of(gap))[1])


def test_nothing_more_is_needed_where_the_difference_is_shown():
    assert len(report_power.power_sentences(pair_of(0.2))) == 1


def test_one_of_many_may_need_no_more_questions_but_others():
    scores = [0.5 + np.random.default_rng(seed).normal(0, 0.1, 120) for seed in range(20)]
    results = [result(column - column.mean() + 0.5, chunk_size=100 + place) for place, column in enumerate(scores)]
    results.append(result(0.5 + 0.042 + NOISE - NOISE.mean(), chunk_size=64))
    comparison = report.compare(results)
    assert comparison.rows[0].label == "64 tokens"
    said = [sentence for sentence in report_power.power_sentences(comparison)[1:] if sentence.startswith("This many")]
    assert said
    assert all("confirm it on others, since these chose the pair." in sentence for sentence in said)


def test_alike_questions_need_new_documents():
    by_group = np.repeat(np.random.default_rng(1).normal(0, 0.1, 24), 5)
    clusters = np.repeat(np.arange(24), 5).astype(str).tolist()
    assert report_power.power_sentences(pair_of(0.02, clusters, by_group + 0.1 * NOISE))[1].endswith(
        "More questions about the same documents alone would not do."
    )


def test_both_ways_to_add_questions_are_told_only_where_they_differ_much():
    def told(same, present=100):
        return report_power.same_documents(stats_power.Needed(300, 60, same), present)

    assert told(math.nan) == told(390) == ""
    assert told(625) == " About the same documents it takes about 530 more."
    assert told(10_200) == told(math.inf) == " More questions about the same documents alone would not do."
    assert told(625, 0) == " About the same documents it takes about 630."


def test_few_groups_are_called_rough():
    assert (
        "with fewer than 12 document groups these figures are rough"
        in report_power.power_sentences(pair_of(0.02, [f"g{number % 8}" for number in range(120)]))[0]
    )


def test_nothing_is_said_where_nothing_can_be():
    same = [result(0.5 + NOISE, chunk_size=64), result(0.5 + NOISE, chunk_size=128)]
    lost = [result(0.5 + NOISE, chunk_size=64), result(np.where(np.arange(120) < 5, np.nan, OTHER), chunk_size=128)]
    none = [result(0.5 + NOISE, chunk_size=64), result(np.full(120, np.nan), chunk_size=128)]
    single = [result(0.5 + NOISE)]
    one_group = [result(0.5 + NOISE, ["g"] * 120, chunk_size=64), result(0.5 + OTHER, ["g"] * 120, chunk_size=128)]
    for results in (same, lost, none, single, one_group):
        assert report_power.power_sentences(report.compare(results)) == []
    with pytest.raises(WorkbenchError, match="no question was scored by every candidate"):
        report_power.paired_scores(none, METRIC)


def test_scores_are_paired_on_the_questions_that_all_scored():
    asked = np.arange(120) < 100
    left, right = (
        result(np.where(asked, NOISE, np.nan), asked={METRIC: asked}),
        result(np.where(asked, OTHER, np.nan), asked={METRIC: asked}),
    )
    right.scores[METRIC][0] = np.nan
    table, clusters = report_power.paired_scores([left, right], METRIC)
    assert table.tolist() == np.stack([NOISE, OTHER], axis=1)[1:100].tolist()
    assert clusters == GROUPS[1:100]


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (7, "7"), (41, "41"), (101, "110"), (780, "780"), (1234.2, "1,300"), (9999, "10,000")]
)
def test_counts_are_rounded_up_to_two_figures(number, text):
    assert report_power.rounded(number) == text
