"""Statistics: hand-worked numbers, agreement with scipy, honest widths, and error rates by small seeded simulations."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from workbench import stats
from workbench.datatypes import WorkbenchError


def own_cluster(n):
    return [f"question-{number}" for number in range(n)]


def unequal_groups(rng, groups):
    return np.repeat(np.arange(groups), np.maximum(1, np.rint(np.exp(rng.normal(np.log(5), 0.8, groups)))).astype(int)).tolist()


# --- one mean -------------------------------------------------------------------------------------------------------


def test_equal_clusters_give_the_hand_worked_cr1_interval():
    # mean 3; cluster sums of deviations: (3-3)+(5-3) = 2, (0-3)+(2-3) = -4, (1-3)+(7-3) = 2; squares 4+16+4 = 24
    # CR1: sqrt(3/2 * 24) / 6 = 1; t(2) at 0.975 = 4.302653
    interval = stats.mean_interval([3, 5, 0, 2, 1, 7], ["a", "a", "b", "b", "c", "c"])
    assert (interval.mean, interval.n, interval.clusters) == (3, 6, 3)
    assert interval.se == pytest.approx(1)
    assert (interval.low, interval.high) == pytest.approx((3 - 4.302653, 3 + 4.302653))
    assert interval.p == pytest.approx(2 * scipy_stats.t.sf(3, df=2))


def test_unequal_clusters_give_the_hand_worked_cr2_interval():
    # mean 6; sums of deviations -4, -1, 2+3 = 5; shares 1/4, 1/4, 1/2, so inflations 4/3, 4/3, 2
    # se = sqrt(16 * 4/3 + 1 * 4/3 + 25 * 2) / 4 = sqrt(72.6667) / 4
    # freedom: 4² / (1 + 1 + 4 + (1/3 + 1/3 + 2)² - (1/9 + 1/9 + 4)) = 16 / (6 + 64/9 - 38/9) = 1.8 (of G - 1 = 2)
    interval = stats.mean_interval([2, 5, 8, 9], ["a", "b", "c", "c"])
    assert interval.se == pytest.approx(math.sqrt(72 + 2 / 3) / 4)
    assert stats.degrees_of_freedom(np.array([1, 1, 2])) == pytest.approx(1.8)
    assert interval.high - 6 == pytest.approx(scipy_stats.t.ppf(0.975, 1.8) * interval.se)


@pytest.mark.parametrize("size", [1, 3])
def test_equal_clusters_have_one_degree_of_freedom_fewer_than_clusters(size):
    assert stats.degrees_of_freedom(np.full(9, size)) == pytest.approx(8)
    assert stats.degrees_of_freedom(np.array([size] * 8 + [10 * size])) < 3


def test_every_question_its_own_cluster_gives_the_plain_t_interval():
    values = np.random.default_rng(3).normal(5, 2, 40)  # outside 0 to 1, so no proportion
    interval = stats.mean_interval(values, own_cluster(40))
    expected = scipy_stats.ttest_1samp(values, 0)
    assert (interval.low, interval.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert interval.p == pytest.approx(expected.pvalue)
    wider = stats.mean_interval(values, own_cluster(40), confidence=0.99)
    assert (wider.low, wider.high) == pytest.approx(tuple(expected.confidence_interval(0.99)))


def test_scores_well_inside_0_to_1_are_close_to_the_plain_t_interval():
    values = np.random.default_rng(3).uniform(0.2, 0.8, 200)
    interval = stats.mean_interval(values, own_cluster(200))
    assert (interval.low, interval.high) == pytest.approx(tuple(scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)), abs=0.002)


def test_questions_alike_within_a_cluster_widen_the_interval():
    values = [1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0]
    clusters = [number // 3 for number in range(12)]
    together, apart = stats.mean_interval(values, clusters), stats.mean_interval(values, own_cluster(12))
    assert together.se == pytest.approx(math.sqrt(4 / 3 * 4 * 1.5**2) / 12)  # CR1 of the sums 1.5, -1.5, 1.5, -1.5
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


def test_d13_fifty_questions_at_070_are_known_to_about_0127():
    interval = stats.mean_interval([1.0] * 35 + [0.0] * 15, own_cluster(50))
    assert (interval.high - interval.low) / 2 == pytest.approx(0.127, abs=0.001)
    # Wilson with t(49) = 2.0096 and effective n = 0.7 * 0.3 / (0.21 / 49) = 49: centre 0.6848, reach 0.1274
    assert (interval.low, interval.high) == pytest.approx((0.5574, 0.8121), abs=2e-4)


@pytest.mark.parametrize(("value", "low", "high"), [(1.0, 0.925, 1.0), (0.0, 0.0, 0.075), (0.5, 0.463, 0.537)])
def test_d13_equal_scores_everywhere_still_have_width(value, low, high):
    interval = stats.mean_interval([value] * 50, own_cluster(50))  # unseen share t² / (50 + t²) = 4.038 / 54.038 = 0.0747
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-4)
    assert interval.p == (1 if value == 0 else 2.0**-49)


def test_d13_width_changes_little_from_all_right_to_one_wrong():
    perfect, near = stats.mean_interval([1.0] * 50, own_cluster(50)), stats.mean_interval([1.0] * 49 + [0.0], own_cluster(50))
    assert near.low < perfect.low < near.low + 0.05
    assert near.high < 1


def test_constant_values_that_are_no_scores_are_unknown():
    assert not stats.mean_interval([512.0] * 20, own_cluster(20)).known


def test_rounding_is_no_variation():
    assert stats.mean_interval([0.1, 0.3 - 0.2] * 10, own_cluster(20)).low < 0.09


def test_d30_an_empty_sample_raises():
    with pytest.raises(WorkbenchError, match="nothing to average"):
        stats.mean_interval([], [])
    with pytest.raises(WorkbenchError, match="nothing to average"):
        stats.max_t(np.empty((0, 3)), [], seed=0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_raise(bad):
    with pytest.raises(WorkbenchError, match="must be finite; leave unscored questions out and count them"):
        stats.mean_interval([0.5, bad], ["a", "b"])
    with pytest.raises(WorkbenchError, match="must be finite"):
        stats.difference_interval([0.5, bad], [0.5, 0.5], ["a", "b"])
    with pytest.raises(WorkbenchError, match="must be finite"):
        stats.max_t(np.array([[0.5], [bad]]), ["a", "b"], seed=0)


def test_unequal_lengths_raise():
    with pytest.raises(WorkbenchError, match="3 values but 2 cluster labels"):
        stats.mean_interval([1, 2, 3], ["a", "b"])
    with pytest.raises(WorkbenchError, match="same questions on both sides, got 2 and 3"):
        stats.difference_interval([1, 2], [1, 2, 3], ["a", "b"])
    with pytest.raises(WorkbenchError, match="2 values but 3 cluster labels"):
        stats.max_t(np.ones((2, 1)), ["a", "b", "c"], seed=0)
    with pytest.raises(WorkbenchError, match=r"needs a table \(questions, comparisons\).*got shape \(2,\)"):
        stats.max_t(np.ones(2), ["a", "b"], seed=0)


def test_one_cluster_has_an_unknown_interval():
    for interval in (
        stats.mean_interval([0, 1, 1], ["a"] * 3),
        stats.difference_interval([0, 1, 1], [1, 1, 1], ["a"] * 3),
        stats.max_t(np.array([[0.0], [1.0]]), ["a", "a"], seed=0)[0],
    ):
        assert not interval.known
        assert interval.clusters == 1
        assert math.isnan(interval.high)
        assert math.isnan(interval.p)


def test_labels_are_compared_as_text():
    assert stats.mean_interval([1, 2, 3, 4], [1, "1", "2", 2]).clusters == 2


def test_coverage_with_twelve_unequal_groups():
    rng, held, repetitions = np.random.default_rng(7), 0, 400
    for _ in range(repetitions):
        clusters = unequal_groups(rng, 12)
        ability = rng.beta(0.7 * 4, 0.3 * 4, 12)  # intra-group correlation 1 / (1 + 4) = 0.2
        interval = stats.mean_interval((rng.random(len(clusters)) < ability[clusters]).astype(float), clusters)
        held += interval.low <= 0.7 <= interval.high
    assert 0.925 <= held / repetitions <= 0.985  # CR1 with G - 1 holds the truth in 0.88 to 0.91 of such samples


# --- differences ----------------------------------------------------------------------------------------------------


def test_the_difference_is_that_of_the_paired_t_test():
    rng = np.random.default_rng(5)
    difficulty = rng.normal(size=60)
    left, right = difficulty + rng.normal(0.2, 0.3, 60), difficulty + rng.normal(0, 0.3, 60)
    interval, expected = stats.difference_interval(left, right, own_cluster(60)), scipy_stats.ttest_rel(left, right)
    assert (interval.low, interval.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert interval.p == pytest.approx(expected.pvalue)
    unpaired = scipy_stats.ttest_ind(left, right).confidence_interval(0.95)
    assert interval.high - interval.low < (unpaired.high - unpaired.low) / 2  # ST3: the shared difficulty cancels
    swapped = stats.difference_interval(right, left, own_cluster(60))
    assert (swapped.low, swapped.high, swapped.p) == pytest.approx((-interval.high, -interval.low, interval.p))


def test_two_sides_that_agree_everywhere_do_not_differ():
    interval = stats.difference_interval([0.1 + 0.2, 1, 0], [0.3, 1, 0], ["a", "b", "c"])  # 0.1 + 0.2 is 0.30000000000000004
    assert (interval.low, interval.high, interval.p) == (0, 0, 1)


@pytest.mark.parametrize("simultaneous", [False, True])
def test_d13_the_same_difference_everywhere_still_has_width_and_a_p_above_zero(simultaneous):
    ones, zeros = np.ones(12), np.zeros(12)
    if simultaneous:
        interval = stats.max_t((ones - zeros)[:, np.newaxis], own_cluster(12), seed=0)[0]
    else:
        interval = stats.difference_interval(ones, zeros, own_cluster(12))
    # unseen share t(11)² / (12 + t²) = 4.844 / 16.844 = 0.2876 may score -1: low = 0.7124 - 0.2876
    assert (interval.low, interval.high) == pytest.approx((0.4248, 1), abs=1e-3)
    assert interval.p == 2.0**-11  # all twelve signs alike by chance, either way


# --- proportions and corrections ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_values(successes, n, low, high):
    """Newcombe 1998, Statistics in Medicine 17, table I, method 3."""
    assert stats.wilson(successes, n) == pytest.approx((low, high), abs=5e-5)
    assert stats.wilson(n - successes, n) == pytest.approx((1 - high, 1 - low), abs=5e-5)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_wilson_refuses_what_is_no_proportion(successes, n):
    with pytest.raises(WorkbenchError, match=f"got {successes} of {n}"):
        stats.wilson(successes, n)


def test_holm_by_hand():
    # sorted: 0.01 * 4 = 0.04, 0.02 * 3 = 0.06, 0.03 * 2 = 0.06, 0.5 * 1 = 0.5
    assert stats.holm([0.03, 0.5, 0.01, 0.02]) == pytest.approx([0.06, 0.5, 0.04, 0.06])
    # 0.04 * 2 = 0.08 lifts the next, 0.05 * 1 = 0.05, to 0.08; 0.9 * 2 is cut at 1
    assert stats.holm([0.04, 0.05]) == pytest.approx([0.08, 0.08])
    assert stats.holm([0.9, 0.9]) == [1, 1]
    assert stats.holm([]) == []


def test_holm_leaves_unknown_p_values_out_of_the_count():
    adjusted = stats.holm([0.02, math.nan, 0.03])
    assert math.isnan(adjusted[1])
    assert [adjusted[0], adjusted[2]] == pytest.approx([0.04, 0.04])


# --- max-T ----------------------------------------------------------------------------------------------------------


def critical(interval):
    return (interval.high - interval.mean) / interval.se


def numbers(intervals):
    return np.array([(interval.low, interval.high, interval.p) for interval in intervals])


def differences(n=60, columns=10, seed=1):
    return np.random.default_rng(seed).normal(0.1, 1, (n, columns))


def test_max_t_of_one_column_is_about_the_plain_t_interval():
    table = differences(columns=1)
    single = stats.difference_interval(table[:, 0], np.zeros(60), own_cluster(60))
    together = stats.max_t(table, own_cluster(60), seed=0)[0]
    assert (together.mean, together.se) == (single.mean, single.se)
    assert critical(single) <= critical(together) < 1.06 * critical(single)
    assert together.p == pytest.approx(single.p, abs=0.02)


def test_max_t_of_ten_columns_is_wider_than_single_intervals_and_no_wider_than_bonferroni():
    table = differences()
    together = stats.max_t(table, own_cluster(60), seed=0)
    single = [stats.difference_interval(column, np.zeros(60), own_cluster(60)) for column in table.T]
    assert len({round(critical(interval), 9) for interval in together}) == 1
    bonferroni = scipy_stats.t.ppf(1 - 0.025 / 10, df=59)
    assert 1.25 * critical(single[0]) < critical(together[0]) < 1.05 * bonferroni
    assert all(wide.p >= narrow.p for wide, narrow in zip(together, single, strict=True))
    assert all((interval.p < 0.05) == (interval.low > 0 or interval.high < 0) for interval in together)


def test_max_t_uses_the_correlation_of_columns():
    table = differences(columns=1)
    alone = stats.max_t(table, own_cluster(60), seed=4)[0]
    copies = stats.max_t(np.repeat(table, 20, axis=1), own_cluster(60), seed=4)
    assert numbers(copies) == pytest.approx(numbers([alone] * 20))
    scaled = stats.max_t(table * [1, -1, 3], own_cluster(60), seed=4)  # neither sign nor scale matters
    assert [critical(interval) for interval in scaled] == pytest.approx([critical(alone)] * 3)


def test_max_t_depends_on_its_seed_alone():
    table = differences()
    first = stats.max_t(table, own_cluster(60), seed=0)
    np.random.seed(99)  # the global generator must not matter (ST8)
    assert stats.max_t(table, own_cluster(60), seed=0) == first
    assert stats.max_t(table, own_cluster(60), seed=1) != first


def test_max_t_equals_its_bootstrap_written_out():
    """Flip the sign of each group's jackknifed residuals, and take the CR2 t statistic of every column anew: no algebra, no blocks."""
    rng = np.random.default_rng(2)
    labels = np.array([0, 0, 0, 0, 0, 1, 2, 2, 3, 4, 4, 5, 6, 7, 7, 7])
    table = rng.normal(size=(16, 3))
    share = np.bincount(labels)[labels] / 16
    residuals = (table - table.mean(axis=0)) / (1 - share)[:, np.newaxis]
    highest = []
    for signs in np.random.default_rng(9).choice((-1.0, 1.0), size=(200, 8)):
        drawn = signs[labels][:, np.newaxis] * residuals
        error = stats.standard_error(*stats.cluster_sums(drawn, labels.tolist()))
        highest.append(np.abs(drawn.mean(axis=0) / error).max())
    for interval in stats.max_t(table, labels.tolist(), seed=9, draws=200):
        assert critical(interval) == pytest.approx(np.quantile(highest, 0.95, method="higher"))


def test_max_t_in_blocks_equals_max_t_at_once(monkeypatch):
    table = differences(columns=7)
    expected = stats.max_t(table, own_cluster(60), seed=0)
    monkeypatch.setattr(stats, "BLOCK", 3)
    assert numbers(stats.max_t(table, own_cluster(60), seed=0)) == pytest.approx(numbers(expected))


def test_max_t_counts_a_column_without_any_difference_as_no_difference():
    table = differences(columns=3)
    table[:, 1] = 0
    intervals = stats.max_t(table, own_cluster(60), seed=0)
    assert (intervals[1].low, intervals[1].high, intervals[1].p) == (0, 0, 1)
    assert numbers(intervals[::2]) == pytest.approx(numbers(stats.max_t(table[:, ::2], own_cluster(60), seed=0)))
    assert stats.max_t(np.zeros((60, 2)), own_cluster(60), seed=0)[0].p == 1
    assert stats.max_t(np.empty((60, 0)), own_cluster(60), seed=0) == []


def test_max_t_with_too_few_clusters_is_unknown_rather_than_infinite():
    for values in ([1.0, -2.0], [1.0, 1.0, -1.0, -1.0]):
        interval = stats.max_t(np.array(values)[:, np.newaxis], own_cluster(len(values)), seed=0)[0]
        assert not interval.known
        assert interval.p > 0.05


def test_max_t_finds_a_real_difference():
    table = differences(columns=12) - 0.1
    table[:, 4] += 1
    intervals = stats.max_t(table, own_cluster(60), seed=0)
    assert [number for number, interval in enumerate(intervals) if interval.low > 0] == [4]
    assert intervals[4].p < 0.001
    assert stats.max_t(table, own_cluster(60), seed=0, draws=99)[4].p == 1 / 100  # the sample itself counts as one draw: never 0


def test_max_t_keeps_the_family_wise_error_rate():
    """Twelve candidates equal to the baseline, 40 groups of unequal size, 200 sweeps (ST2): uncorrected p-values err in about a third."""
    rng, sweeps, wrong, uncorrected = np.random.default_rng(11), 200, 0, 0
    for sweep in range(sweeps):
        clusters = unequal_groups(rng, 40)
        shared = rng.normal(size=(40, 13))[clusters]
        scores = (rng.normal(size=(len(clusters), 1)) + 0.45 * shared + 0.9 * rng.normal(size=(len(clusters), 13)) < 0.7).astype(float)
        table = scores[:, 1:] - scores[:, :1]
        wrong += min(interval.p for interval in stats.max_t(table, clusters, seed=sweep, draws=299)) < 0.05
        uncorrected += min(stats.difference_interval(column, np.zeros(len(column)), clusters).p for column in table.T) < 0.05
    assert wrong / sweeps <= 0.09
    assert uncorrected / sweeps > 0.2
