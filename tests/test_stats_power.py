"""Planning: hand-worked numbers, agreement with scipy, and the power that simulated questions really have."""

import json
import math
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from workbench import stats, stats_power
from workbench.datatypes import WorkbenchError

UNEQUAL = [1, 2, 2, 3, 3, 4, 5, 5, 6, 7, 8, 9, 11, 14]


def drawn(rng, sizes, columns=1, icc=0.2):
    """Draw differences (n, columns) around 0 with standard deviation 1, alike within groups."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    shared = rng.normal(size=(len(sizes), columns))[labels]
    return math.sqrt(icc) * shared + math.sqrt(1 - icc) * rng.normal(size=(len(labels), columns)), labels.tolist()


@pytest.mark.parametrize(("freedom", "expected"), [(1e7, 1.959964 + 0.841621), (11, 3.0784), (1.8, None), (47.3, None)])
def test_the_smallest_difference_is_that_of_the_noncentral_t(freedom, expected):
    found = stats_power.detectable(0.02, freedom) / 0.02
    assert scipy_stats.nct.sf(scipy_stats.t.ppf(0.975, freedom), freedom, found) == pytest.approx(0.8, abs=1e-6)
    assert expected is None or found == pytest.approx(expected, abs=1e-4)
    assert stats_power.detectable(0.02, freedom, power=0.9) > stats_power.detectable(0.02, freedom) > 0.02 * 2.8
    assert stats_power.detectable(0.0, freedom) == 0


def ended(expression):
    """Return the value of an expression from a process of its own, which is ended where scipy does not return."""
    code = f"import json; from workbench.stats_power import *; print(json.dumps(({expression}), default=vars))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    return json.loads(done.stdout, object_hook=lambda values: SimpleNamespace(**values))


def test_few_degrees_of_freedom_show_nothing_and_end():
    """The t quantile of one degree of freedom is tan(pi / 2 c): about 6e7 for c = 1 - 1e-8, and no difference is found beyond it."""
    assert ended("detectable(1, 1, confidence=1 - 1e-8), detectable(0, 1, confidence=1 - 1e-8)") == [math.inf, 0]
    assert stats_power.detectable(1, 1, confidence=0.9999) == pytest.approx(8161.8, rel=1e-3)  # 6366.2 is the quantile


def test_so_few_groups_that_they_have_no_degree_of_freedom_are_not_enough():
    known = [stats_power.planned(sizes) for sizes in ([60] + [2] * 20, [100] + [1] * 10, [500] + [3] * 200)]
    plans = "planned([60] + [2] * 20), planned([100] + [1] * 10), planned([500] + [3] * 200)"
    found = ended(f"[[questions_needed(one, difference) for difference in (100, 0.05)] for one in ({plans})]")
    for one, (least, usual) in zip(known, found, strict=True):  # a few groups would show 100, were there a degree of freedom
        assert [one.freedom * (groups - 1) / (one.groups - 1) >= 1 for groups in (least.groups - 1, least.groups)] == [False, True]
        assert 2 < least.groups < usual.groups < math.inf


@pytest.mark.parametrize("sizes", [[4] * 12, UNEQUAL], ids=["equal", "unequal"])
def test_the_smallest_difference_is_found_in_eight_of_ten_simulated_samples(sizes):
    rng = np.random.default_rng(1)
    effect = stats_power.planned(sizes, sd=1, icc=0.2).detectable()
    found = 0
    for _ in range(600):
        values, clusters = drawn(rng, sizes)
        found += stats.difference_interval(values[:, 0] + effect, np.zeros(len(values)), clusters).low > 0
    assert found / 600 == pytest.approx(0.8, abs=0.045)


def test_the_smallest_difference_of_simultaneous_comparisons_is_found_in_eight_of_ten():
    rng, sizes = np.random.default_rng(2), [4] * 20
    known, found = stats_power.planned(sizes, sd=1, icc=0.2), 0
    interval = stats.max_t(*drawn(rng, sizes, 8), seed=0)[0]
    critical = (interval.high - interval.low) / 2 / interval.se
    effect = known.detectable(confidence=stats_power.single_confidence(critical, known.freedom))
    assert effect > 1.2 * known.detectable()
    for seed in range(300):
        values, clusters = drawn(rng, sizes, 8)
        found += stats.max_t(values + effect, clusters, seed, draws=299)[0].low > 0
    assert found / 300 == pytest.approx(0.8, abs=0.06)


def test_a_critical_value_is_that_of_one_interval_of_some_confidence():
    assert stats_power.single_confidence(scipy_stats.t.ppf(0.995, 7.5), 7.5) == pytest.approx(0.99)


def test_correlation_within_clusters_by_hand():
    # means 1 and 5: between 2 * (4 + 4) / 1 = 16, within 4 / 2 = 2, two questions a cluster: (16 - 2) / (16 + 2)
    assert stats_power.intraclass_correlation([0, 2, 4, 6], "aabb") == pytest.approx(14 / 18)
    # sizes 1 and 3: m0 = (4 - 10/4) / 1 = 1.5; between 1 * 9 + 3 * 1 = 12, within 2 / 2 = 1: 11 / 12.5
    assert stats_power.intraclass_correlation([0, 3, 4, 5], "abbb") == pytest.approx(11 / 12.5)
    assert stats_power.intraclass_correlation([0, 4, 0, 4], "aabb") == 0  # clipped
    assert stats_power.intraclass_correlation([0, 0, 4, 4], "aabb") == 1
    for values, clusters in (([1, 2, 3], "abc"), ([1, 2, 3], "aaa"), ([2, 2, 2], "aab")):
        assert math.isnan(stats_power.intraclass_correlation(values, clusters))


def test_correlation_is_recovered_from_many_groups():
    values, clusters = drawn(np.random.default_rng(0), UNEQUAL * 60, icc=0.3)
    assert stats_power.intraclass_correlation(values[:, 0], clusters) == pytest.approx(0.3, abs=0.03)


def test_a_plan_has_the_error_of_the_design_effect():
    plan = stats_power.planned([5] * 20, sd=0.35, icc=0.1)
    assert plan.se == pytest.approx(0.35 * math.sqrt(1.4 / 100))
    assert (plan.questions, plan.groups, plan.freedom) == (100, 20, pytest.approx(19))
    assert stats_power.planned([5] * 20, icc=1).se == pytest.approx(0.35 / math.sqrt(20))
    # sizes 1 and 3: (4 * 0.5 + 0.5 * 10) / 16
    assert stats_power.planned([1, 3], sd=1, icc=0.5).se == pytest.approx(math.sqrt(7 / 16))


def test_a_pilot_measures_what_the_intervals_use():
    values, clusters = drawn(np.random.default_rng(4), UNEQUAL)
    known = stats_power.pilot(values[:, 0], clusters)
    interval = stats.mean_interval(values[:, 0], clusters)
    assert (known.difference, known.se) == pytest.approx((interval.mean, interval.se))
    assert known.freedom == pytest.approx(stats.degrees_of_freedom(np.array(UNEQUAL)))
    assert (sorted(known.sizes), known.sd) == (UNEQUAL, pytest.approx(values.std(ddof=1)))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 40), st.integers(1, 8), st.floats(0, 0.9), st.floats(0.02, 0.5), st.sampled_from([0.95, 0.995]), st.sampled_from([-1, 1])
)
def test_the_number_needed_is_the_smallest_that_shows_the_difference(groups, size, icc, difference, confidence, sign):
    needed = stats_power.questions_needed(stats_power.planned([size] * groups, icc=icc), sign * difference, confidence=confidence)

    def shown(number):
        return stats_power.planned([size] * number, icc=icc).detectable(confidence=confidence)

    assert needed.questions == needed.groups * size
    assert shown(needed.groups) <= difference * (1 + 1e-9)
    assert needed.groups == 2 or shown(needed.groups - 1) > difference * (1 - 1e-9)


def test_more_questions_about_the_same_documents_shrink_only_the_variance_within_them():
    known = stats_power.planned([5] * 20, icc=0.1)
    needed = stats_power.questions_needed(known, 0.1)
    assert needed.questions < needed.same_documents < math.inf
    size = needed.same_documents / 20
    assert stats_power.planned([math.ceil(size)] * 20, icc=0.1).detectable() <= 0.1
    assert stats_power.planned([math.floor(size)] * 20, icc=0.1).detectable() > 0.1
    floor = 0.35 * math.sqrt(0.1 / 20) * stats_power.detectable(1, 19)  # with endless questions a document
    assert stats_power.questions_needed(known, floor * 0.99).same_documents == math.inf
    assert stats_power.questions_needed(known, floor * 1.01).same_documents < math.inf
    assert math.isnan(stats_power.questions_needed(stats_power.pilot([0.0, 1, 0, 1, 1], "abcde"), 0.1).same_documents)


def test_no_number_of_questions_shows_no_difference():
    needed = stats_power.questions_needed(stats_power.planned([5] * 20), 0)
    assert (needed.questions, needed.groups, needed.same_documents) == (math.inf, math.inf, math.inf)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats_power.detectable(math.nan, 5), "standard error >= 0 and degrees of freedom > 0, got nan and 5"),
        (lambda: stats_power.detectable(0.1, 0), "got 0.1 and 0"),
        (lambda: stats_power.detectable(0.1, 5, power=0.2), "power 0.2 and confidence 0.95 must be at least 0.5 and below 1"),
        (lambda: stats_power.detectable(0.1, 5, confidence=1), "power 0.8 and confidence 1 must"),
        (lambda: stats_power.pilot([1.0, 2.0], "aa"), "one document group tells nothing"),
        (lambda: stats_power.planned([5]), "two document groups with a question each or more, got 1"),
        (lambda: stats_power.planned([5, 0]), "a question each or more"),
        (lambda: stats_power.planned([5, 5], sd=0), "must be above 0, got 0"),
        (lambda: stats_power.planned([5, 5], icc=1.5), "must lie within 0 and 1, got 1.5"),
        (lambda: stats_power.questions_needed(stats_power.planned([5, 5]), math.nan), "must be a number, got nan"),
        (lambda: stats_power.questions_needed(stats_power.pilot([0.1] * 4, "aabb"), 0.1), "the same on every question"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(WorkbenchError, match=message):
        call()
