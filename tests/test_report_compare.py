"""Candidates whose metric is asked of different questions are compared as ratios; by hand, and by simulation."""

import math

import numpy as np
import pytest
from factories import make_answer, make_answered_results, make_result
from scipy.special import ndtri

from workbench import report, stats
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult

PRECISION = "refusal_precision"


def refuser(unanswerable: np.ndarray, refused: np.ndarray, size: int = 64, clusters: tuple[str, ...] = (), **changes) -> RunResult:
    """Make a result that refused these questions: its precision is asked of them alone."""
    scores = np.where(refused, np.asarray(unanswerable, dtype=float), np.nan)
    asked = {PRECISION: np.asarray(refused, dtype=bool)}
    return make_result({PRECISION: scores}, clusters, chunk_size=size, asked=asked, **changes)


def pair(unanswerable: list[int], left: list[int], right: list[int]) -> report.Comparison:
    return report.compare([refuser(np.array(unanswerable), np.array(refused), size) for refused, size in ((left, 64), (right, 128))])


def test_linearised_values_by_hand() -> None:
    """Three of four are asked, their mean is 2/3: 2/3 + (1 - 2/3) / 0.75 = 10/9 and 2/3 - (2/3) / 0.75 = -2/9."""
    values = report.linearised(np.array([1, 0, math.nan, 1]), np.array([True, True, False, True]))
    assert values == pytest.approx([10 / 9, -2 / 9, 2 / 3, 10 / 9])
    assert values.mean() == pytest.approx(2 / 3)
    everyone = np.array([0.25, 1.0])
    assert report.linearised(everyone, np.array([True, True])) is everyone


def test_a_difference_of_ratios_by_hand() -> None:
    """The left refuses questions 0 to 2 (2 of 3 right), the right 2 to 4 (1 of 3 right); nobody refuses the last.

    By the linearised ratio, question by question: 1/9, 1/9, -2/9 + 1/9, 1/9, -2/9; their squares add up to 8/81, times 5/4 for five
    clusters of one gives the variance.
    """
    comparison = pair([1, 1, 0, 0, 1, 0], [1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 0])
    best, other = comparison.rows
    assert (best.interval.mean, best.interval.n) == (pytest.approx(2 / 3), 3)
    assert (other.interval.mean, other.interval.n) == (pytest.approx(1 / 3), 3)
    assert other.difference is not None
    assert other.difference.mean == pytest.approx(-1 / 3)
    assert other.difference.se == pytest.approx(math.sqrt(5 / 4 * 8 / 81))
    assert (comparison.questions, comparison.lost) == (5, 0)
    assert comparison.verdict.startswith("refusal_precision, 5 questions in 5 document groups: 64 tokens scores highest, 0.667 [")


@pytest.mark.parametrize("metric", ["answer_f1", "refusal_recall", "evidence_recall@512t"])
def test_a_mask_that_all_share_changes_nothing(metric: str) -> None:
    masked = make_answered_results()
    kept = masked[0].asked_of(metric)
    assert 10 < kept.sum() < 120
    clusters = [cluster for cluster, keep in zip(masked[0].clusters, kept, strict=True) if keep]
    small = [make_result({metric: result.scores[metric][kept]}, clusters, **result.settings.model_dump()) for result in masked]
    left, right = report.compare(masked, metric), report.compare(small, metric)
    assert [(row.label, row.tied, row.interval, row.difference) for row in left.rows] == [
        (row.label, row.tied, row.interval, row.difference) for row in right.rows
    ]
    assert (left.questions, left.clusters, left.lost) == (right.questions, right.clusters, 0)


def test_what_scores_alike_on_questions_of_its_own_has_an_unknown_difference() -> None:
    """Two refusals, both right, against 6 of 10 right: nothing tells how sure the first mean is, so it cannot win."""
    unanswerable = [1, 1, *[1] * 6, *[0] * 4]
    comparison = pair(unanswerable, [1, 1, *[0] * 10], [0, 0, *[1] * 10])
    best, other = comparison.rows
    assert (best.interval.mean, other.interval.mean) == (1, 0.6)
    assert other.difference is not None
    assert not other.difference.known
    assert math.isnan(other.difference.p)
    assert other.tied
    assert "No difference shown" in comparison.verdict
    both = pair([1, 1, 1, 0, 0, 1], [1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 1])
    assert not any(row.difference.known for row in both.rows if row.difference)  # not +0.000 [+0.000, +0.000]
    same = pair([1, 1, 1, 0, 0, 1], [1, 1, 1, 0, 0, 1], [1, 1, 1, 0, 0, 1])
    assert [row.difference.low for row in same.rows if row.difference] == [0]


def test_what_scores_alike_on_questions_from_many_groups_can_win() -> None:
    """Sixteen refusals, all right, against 20 of which 8 are: as the extractive control is always grounded where it answers."""
    comparison = pair([1] * 24 + [0] * 12, [1] * 16 + [0] * 20, [0] * 16 + [1] * 20)
    best, other = comparison.rows
    assert (best.interval.mean, other.interval.mean) == (1, 0.4)
    assert other.difference is not None
    assert other.difference.high < 0
    assert not other.tied


def test_a_candidate_that_was_asked_nothing_ends_the_comparison() -> None:
    comparison = pair([1, 0, 1], [1, 1, 0], [0, 0, 0])
    assert (comparison.questions, comparison.lost) == (0, 1)
    assert "no question was scored by every candidate" in comparison.verdict


def test_a_missing_score_is_left_out_for_all_and_counted_where_it_is_asked() -> None:
    results = [refuser(np.array([1, 0] * 50), np.arange(100) % 3 != shift, 64 * 2**shift) for shift in (0, 1)]
    results[0].scores[PRECISION][:9] = np.nan  # failed answers: 6 of them asked of the first, 7 of some candidate
    comparison = report.compare(results)
    lost = [row for row in range(9) if results[0].asked_of(PRECISION)[row]]
    assert (comparison.questions, comparison.lost) == (100 - len(lost), len(lost) / 100)
    assert "no verdict" in comparison.verdict


def test_few_groups_of_any_candidate_are_called_rough() -> None:
    many, few = np.ones(40, dtype=int), (np.arange(40) < 11).astype(int)
    assert "these intervals are rough" in pair([1, 0] * 20, list(many), list(few)).verdict
    assert "rough" not in pair([1, 0] * 20, list(many), list(many)).verdict


def test_the_paired_interval_of_a_refusal_precision_covers_at_its_nominal_rate() -> None:
    """20 groups of 5 questions, 40 % unanswerable; two candidates refuse by difficulty that groups and questions share.

    300 draws put a true 95 % at 0.92 to 0.98 (2.5 standard errors), and the standard error within 10 % of the true one (2.5 of its own).
    """
    rates = np.array([(0.6, 0.25), (0.4, 0.3)])  # of unanswerable and answerable questions refused
    shares = rates[:, 0] * 0.4 / (rates @ (0.4, 0.6))
    clusters = tuple(f"group-{number}" for number in range(20) for _ in range(5))
    rng = np.random.default_rng(0)
    covered, means, errors = [], [], []
    for _ in range(300):
        unanswerable = rng.random(100) < 0.4
        shared = np.repeat(rng.normal(0, math.sqrt(0.2), 20), 5) + rng.normal(0, math.sqrt(0.2), 100)
        results = []
        for size, (right, wrong) in zip((64, 128), rates, strict=True):
            refused = shared + rng.normal(0, math.sqrt(0.6), 100) < ndtri(np.where(unanswerable, right, wrong))
            results.append(refuser(unanswerable, refused, size, clusters))
        difference = next(row.difference for row in report.compare(results).rows if row.difference)
        covered.append(difference.low <= shares[1] - shares[0] <= difference.high)
        means.append(difference.mean)
        errors.append(difference.se)
    assert 0.92 <= np.mean(covered) <= 0.98
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.1)


def test_other_samples_of_questions_are_refused_for_answers_alone() -> None:
    left, right = make_answered_results()[:2]
    other = make_result(
        right.scores, right.clusters, **right.settings.model_dump(), asked=right.asked, records=right.answers[1:], data=right.data
    )
    with pytest.raises(WorkbenchError, match="answer_f1: the candidates answered different questions; use the same `answers` and seed"):
        report.compare([left, other], "answer_f1")
    assert report.compare([left, other], "evidence_recall@512t").questions == 96
    with pytest.raises(WorkbenchError, match="answer metrics need a generator"):
        report.compare([make_result({"evidence_recall@512t": [1.0]})], "answer_f1")


@pytest.mark.parametrize(
    ("tokens", "generators", "words"),
    [
        (
            (600, 500),
            ("a", "a"),
            "best, prompt concise:en needs the fewest tokens (520 a question, prompt and answer).",
        ),
        ((600, 600), ("a", "a"), ""),
        ((600, None), ("a", "a"), ""),
        ((600, 500), ("a", "b"), ""),  # their tokens are not the same thing
    ],
)
def test_of_tied_answers_the_cheapest_is_named_by_its_tokens(tokens: tuple, generators: tuple, words: str) -> None:
    results = [
        make_result(
            {"answer_f1": [0.5, 0.7]},
            generator=f"hf:{generator}",
            prompt=prompt,
            records=[make_answer(f"q{number}", prompt_tokens=count) for number in range(2)],
        )
        for count, generator, prompt in zip(tokens, generators, ("plain:en", "concise:en"), strict=True)
    ]
    verdict = report.compare(results).verdict
    assert words in verdict
    assert ("Of those" in verdict) is bool(words)


def test_simultaneous_intervals_are_those_of_max_t() -> None:
    results = make_answered_results()[:2]
    kept = results[0].asked_of("answer_f1")
    left, right = (result.scores["answer_f1"][kept] for result in results)
    clusters = [cluster for cluster, keep in zip(results[0].clusters, kept, strict=True) if keep]
    (expected,) = stats.max_t((right - left)[:, np.newaxis], clusters, seed=0)
    assert next(row.difference for row in report.compare(results, "answer_f1").rows if row.difference) == expected
