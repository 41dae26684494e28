"""What is decided: chosen on some questions, confirmed on others, never by the same (ST2)."""

import re
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from factories import make_answered_results, make_result
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from workbench import report, stats
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.report_winner import Decision, decide, learns

METRIC = "evidence_recall@512t"
GROUPS = {"train": 12, "selection": 16, "confirmation": 12}
CLUSTERS = [f"{part}-{number}" for part, groups in GROUPS.items() for number in range(groups) for _ in range(3)]
PARTS = tuple(name.partition("-")[0] for name in CLUSTERS)
SHARED = np.random.default_rng(0).normal(0, 0.1, len(PARTS))
CHOSE = [part != "confirmation" for part in PARTS]


def result(level: float, draw: int, later: float | None = None, keep: tuple[str, ...] = tuple(GROUPS), **changes: Any) -> RunResult:
    """Make a result of 120 questions whose scores lie around `level`, around `later` on those that confirm; `keep` some parts."""
    levels = np.where(CHOSE, level, level if later is None else later)
    scores = np.clip(levels + SHARED + np.random.default_rng(draw).normal(0, 0.05, len(PARTS)), 0, 1)
    made = make_result({METRIC: scores}, CLUSTERS, parts=PARTS, **changes).within(keep)
    assert made is not None
    return made


def chosen_row(decision: Decision) -> report.Row:
    assert decision.confirmation
    return next(row for row in decision.confirmation.rows if row.label == decision.label)


def test_the_cheapest_of_the_tied_is_chosen_on_some_questions_and_confirmed_on_others() -> None:
    base, best = result(0.4, 1, chunk_size=64), result(0.71, 2, chunk_size=128)
    cheap, control = result(0.709, 3, later=0.6, chunk_size=512), result(0.1, 4, chunker="whole", chunk_size=1000)
    decision = decide([base, best, cheap, control])
    assert (decision.metric, decision.chosen, decision.baseline) == (METRIC, cheap, base)
    assert (decision.label, decision.baseline_label, decision.problem) == ("512 tokens", "64 tokens", "")
    assert (decision.selection.questions, decision.selection.clusters) == (84, 28)
    assert [row.label for row in decision.selection.rows if row.tied] == ["128 tokens", "512 tokens"]
    compared = report.compare([one.within({"train", "selection"}) for one in (base, best, cheap, control)])
    assert [(row.label, row.interval, row.difference) for row in decision.selection.rows] == [
        (row.label, row.interval, row.difference) for row in compared.rows
    ]
    confirmed = decision.confirmation
    assert confirmed
    assert (confirmed.questions, confirmed.clusters, confirmed.baseline) == (36, 12, "64 tokens")
    assert {row.label for row in confirmed.rows} == {"512 tokens", "64 tokens", "whole document"}  # as among all
    mine, other = (one.scores[METRIC][84:] for one in (cheap, base))
    row = chosen_row(decision)
    assert row.interval == stats.mean_interval(mine, CLUSTERS[84:])
    assert row.difference == stats.max_t((mine - other)[:, np.newaxis], CLUSTERS[84:], seed=0)[0]  # the only one that is tested
    assert decision.shrinkage
    assert decision.shrinkage.mean == pytest.approx(cheap.scores[METRIC][:84].mean() - mine.mean())
    assert decision.shrinkage.low > 0
    assert decision.verdict.startswith("Use 512 tokens: ")
    assert "(95 %, all pairs tested together)" in decision.verdict
    assert "Of those within one standard error of the best, 512 tokens has the fewest chunks (125). " in decision.verdict
    assert decision.verdict.endswith(confirmed.verdict)
    assert re.search(r"Shrinkage, the first score minus the second: \+0\.1\d+ \[.*\], more than chance explains", confirmed.verdict)
    assert re.search(r"It is better than the baseline 64 tokens: \+0\.\d+ \[\+0\.\d+, \+0\.\d+\], adjusted p < 0\.001\.$", decision.verdict)


@settings(max_examples=10, deadline=None)
@given(arrays(float, (4, CHOSE.count(False)), elements=st.floats(0, 1)))
def test_confirmation_questions_never_choose(scores: np.ndarray) -> None:
    results = [result(level, 1, top_k=top_k) for top_k, level in enumerate((0.4, 0.6, 0.61, 0.3), start=3)]
    for one, column in zip(results, scores, strict=True):
        one.scores[METRIC][84:] = column
    decision = decide(results)
    assert decision.chosen is results[2]
    assert chosen_row(decision).interval.mean == pytest.approx(scores[2].mean())


def test_of_equal_candidates_the_confirmed_score_is_unbiased_and_the_choosing_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 sweeps of 6 candidates that all score 0.5: the standard errors of the two means are 0.005 and 0.002."""
    monkeypatch.setattr(stats, "max_t", partial(stats.max_t, draws=39))  # fewer draws, for speed: all stay tied more or less often
    rng = np.random.default_rng(0)
    chose, confirmed = [], []
    for _ in range(100):
        results = [make_result({METRIC: rng.random(120)}, CLUSTERS, parts=PARTS, top_k=top_k) for top_k in range(1, 7)]
        decision = decide(results)
        chose.append(decision.selection.rows[0].interval.mean)
        confirmed.append(chosen_row(decision).interval.mean)
        assert decision.chosen.config_id == decision.selection.rows[0].result.config_id  # they cost the same
    assert np.mean(confirmed) == pytest.approx(0.5, abs=0.015)
    assert np.mean(chose) == pytest.approx(0.54, abs=0.01)  # the mean of the highest of 6 normals is 1.27 standard errors, each 0.0315


def test_who_is_shown_to_be_worse_than_the_baseline_is_no_bargain() -> None:
    """All pairs at once show less than the pairs with the baseline: here only these tell the cheap one from it."""
    draw = np.random.default_rng(0)
    base = np.clip(0.6 + draw.normal(0, 0.15, 60), 0, 1)
    cheap = np.clip(base - 0.05 + draw.normal(0, 0.02, 60), 0, 1)
    best = np.clip(0.66 + draw.normal(0, 0.35, 60), 0, 1)
    results = [make_result({METRIC: scores}, chunk_size=size) for scores, size in ((base, 256), (cheap, 512), (best, 128))]
    decision = decide(results)
    rows = {row.label: row for row in decision.selection.rows}
    assert rows["512 tokens"].tied
    assert rows["512 tokens"].difference.high < 0
    assert decision.label == "256 tokens"
    assert "Of those within one standard error of the best, 256 tokens has the fewest chunks" in decision.verdict


def test_a_candidate_far_behind_is_no_bargain_however_few_the_questions() -> None:
    """Few document groups tell nobody from anybody; within one standard error cost decides, beyond it the score."""
    draw = np.random.default_rng(3)
    clusters = [f"g{number % 5}" for number in range(40)]
    best = np.clip(0.9 + draw.normal(0, 0.05, 40), 0, 1)
    groups = np.array([0.0, 0.0, 0.3, 0.5, 0.2])[np.arange(40) % 5]
    cheap, near = best - groups, best - 0.002 * (np.arange(40) % 3 - 1)
    results = [make_result({METRIC: scores}, clusters, chunk_size=size) for scores, size in ((best, 64), (cheap, 512), (near, 128))]
    decision = decide(results)
    rows = {row.label: row for row in decision.selection.rows}
    assert rows["512 tokens"].tied
    assert rows["512 tokens"].behind > 1
    assert decision.label == "128 tokens"


def test_the_baseline_is_not_kept_where_another_is_shown_to_be_better() -> None:
    row = report.compare([result(0.5, 1), result(0.5, 2, chunk_size=64), result(0.5, 3, chunk_size=512)]).rows
    better = replace(row[0], tied=True, control=False, difference=stats.Interval(0.04, 0.01, 0.07, 9, 9))
    alike = replace(row[1], tied=True, control=False, difference=stats.Interval(0.03, -0.01, 0.07, 9, 9))
    base = replace(row[2], tied=True, control=False, difference=None)
    assert report.contenders([better, alike, base]) == [better, alike]
    assert report.contenders([alike, base]) == [alike, base]


@pytest.mark.parametrize("groups", [1, 2])
def test_too_few_document_groups_choose_nothing(groups: int) -> None:
    clusters = [f"g{number % groups}" for number in range(40)]
    results = [
        make_result({METRIC: np.linspace(level - 0.1, level + 0.1, 40)}, clusters, chunk_size=size)
        for level, size in ((0.9, 64), (0.2, 512))
    ]
    with pytest.raises(WorkbenchError, match="cannot show any difference, so nothing can be chosen; ask about 3 groups at least"):
        decide(results)


def test_too_few_groups_to_confirm_let_all_questions_choose() -> None:
    clusters, parts = list("aaabbbcccddd"), ["train"] * 3 + ["selection"] * 6 + ["confirmation"] * 3
    scores = np.linspace(0.2, 0.8, 12)
    decision = decide(
        [make_result({METRIC: scores + add}, clusters, parts=tuple(parts), chunk_size=size) for add, size in ((0, 64), (0.1, 128))]
    )
    assert decision.selection.questions == 12
    assert decision.confirmation is None
    assert decision.problem.startswith("Not confirmed: there are too few document groups, so all questions chose")


def test_a_choice_that_proves_worse_than_the_baseline_is_not_recommended() -> None:
    base, lucky = result(0.6, 1, chunk_size=64), result(0.61, 2, later=0.4, chunk_size=512)
    decision = decide([base, lucky])
    assert (decision.chosen, decision.recommended, decision.held) == (lucky, base, False)
    assert decision.verdict.startswith("Keep the baseline 64 tokens, for the choice does not hold. Chosen was 512 tokens: ")
    assert "worse than the baseline 64 tokens" in decision.verdict
    held = decide([base, result(0.8, 2, chunk_size=512)])
    assert (held.recommended, held.held) == (held.chosen, True)


def test_a_control_is_not_chosen_and_one_that_keeps_up_is_said() -> None:
    base, other = result(0.4, 1, chunk_size=64), result(0.5, 2, chunk_size=128)
    control = result(0.9, 3, retriever="random", chunk_size=128)
    decision = decide([base, control, other])
    assert decision.chosen is other
    assert decision.verdict.startswith(
        "Use 128 tokens: it scores higher than every other candidate that is meant to win (95 %, all pairs tested together). "
        "Controls cannot be told from the best either (random chunks · 128 tokens)"
    )
    assert "A control scores no lower, so this shows no gain: " in decision.verdict
    alone = decide([one.within({"selection"}) for one in (base, control, other)])
    assert "A control scores no lower, so this shows no gain: " in alone.verdict


def test_the_extractive_generator_is_a_control_among_answers() -> None:
    results = [replace(one, parts=tuple(("train", "selection", "confirmation")[n % 20 % 3] for n in range(120)))
               for one in make_answered_results(primary="answer_f1")]  # fmt: skip
    decision = decide(results)
    assert decision.confirmation
    assert "extractive" in {row.result.settings.generator for row in decision.confirmation.rows if row.control}
    assert decision.chosen.settings.generator != "extractive"


CONFIRM = "run the choice and the baseline with --split confirmation"
ALONE = {  # parts kept, number of candidates: questions that choose, problem
    (("selection",), 3): (48, f"Not confirmed: no confirmation question was asked; {CONFIRM}."),
    (("train", "selection"), 3): (84, f"Not confirmed: no confirmation question was asked; {CONFIRM}."),
    (("confirmation",), 3): (36, f"Not confirmed: the confirmation questions chose; choose with --split selection, then {CONFIRM} only."),
    (("confirmation",), 2): (
        36,
        "These are the confirmation questions: they confirm 128 tokens if it was chosen on others, and nothing if it was not.",
    ),
}


@pytest.mark.parametrize("case", ALONE)
def test_without_other_questions_there_is_a_choice_and_no_confirmation(case: tuple) -> None:
    (keep, number), (questions, problem) = case, ALONE[case]
    decision = decide([result(0.3 + 0.2 * place, place, keep=keep, chunk_size=64 << place) for place in range(number)])
    assert (decision.selection.questions, decision.confirmation, decision.shrinkage) == (questions, None, None)
    assert decision.label == f"{32 << number} tokens"
    assert decision.problem == problem
    assert decision.verdict.startswith(f"Use {decision.label}: it scores higher than every other candidate (95 %, all pairs")
    assert f" on the {questions} questions that chose it ({METRIC}). Against the baseline 64 tokens: +0." in decision.verdict
    assert decision.verdict.endswith(f" {problem}")


def damaged(results: list[RunResult], how: str) -> list[RunResult]:
    """Take something from the confirmation questions."""
    rows = np.array(PARTS) == "confirmation"
    if how == "undivided":
        return [replace(one, parts=()) for one in results]
    if how == "one group":
        kept = [row for row in range(len(PARTS)) if not rows[row] or CLUSTERS[row] == "confirmation-3"]
        names = {f"q{row}" for row in kept}
        ids = tuple(name for name in results[0].example_ids if name in names)
        return [replace(one, example_ids=ids, clusters=tuple(CLUSTERS[row] for row in kept), parts=tuple(PARTS[row] for row in kept),
                        scores={METRIC: one.scores[METRIC][kept]}) for one in results]  # fmt: skip
    results[1].scores[METRIC][np.flatnonzero(rows)[: {"2 lost": 2, "all lost": 36}[how]]] = np.nan
    return results


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("undivided", "the questions cannot be divided into parts that share no document group; add questions about other documents."),
        ("one group", "there are too few document groups, so all questions chose; ask about more documents."),
        ("2 lost", "5.6% of the confirmation questions lack a score; run what failed again."),
        ("all lost", f"{METRIC} has no score on any confirmation question; ask more questions."),
    ],
)
def test_too_little_to_confirm_on_is_said(how: str, problem: str) -> None:
    base = result(0.4, 1, chunk_size=64)
    if how == "2 lost":  # of all questions less than 2 %, so that the choice stands
        assert 2 / len(PARTS) < report.MAX_LOST
    decision = decide(damaged([base, result(0.7, 2, chunk_size=128)], how))
    assert (decision.confirmation, decision.shrinkage, decision.problem) == (None, None, f"Not confirmed: {problem}")
    assert decision.label == "128 tokens"
    assert decision.verdict.endswith(problem)


@pytest.mark.parametrize(
    ("changes", "saw"),
    [
        ({}, False),
        ({"embedder": "st:intfloat/multilingual-e5-small"}, False),
        ({"embedder": "st:trained/e5-demo"}, True),
        ({"generator": "hf:trained/smollm-demo"}, True),
        ({"generator": "hf:a", "shot_count": 2}, True),
    ],
)
def test_training_questions_choose_only_where_no_candidate_saw_them(changes: dict, saw: bool) -> None:
    results = [result(0.4, 1, chunk_size=64), result(0.7, 2, chunk_size=128, **changes)]
    assert learns(results[1]) is saw
    assert decide(results).selection.questions == (48 if saw else 84)
    train = [result(0.4, 1, keep=("train",)), result(0.7, 2, keep=("train",), chunk_size=128, **changes)]
    if saw:
        with pytest.raises(
            WorkbenchError, match="nothing can be chosen on questions that a candidate was trained on or shown; use --split"
        ):
            decide(train)
    else:
        assert decide(train).selection.questions == 36


def test_one_candidate_and_a_chosen_baseline_are_said_to_be_that() -> None:
    one = decide([result(0.7, 1)])
    assert one.chosen is one.baseline
    assert one.verdict.startswith("the one configuration scores 0.7")
    assert one.verdict.endswith("on all questions (evidence_recall@512t). There is one candidate, so nothing is chosen.")
    assert (one.confirmation, one.shrinkage, one.problem) == (None, None, "")
    decision = decide([result(0.7, 1, chunk_size=512), result(0.7, 2, chunk_size=64)])
    assert decision.label == decision.baseline_label == "512 tokens"
    assert decision.verdict.endswith("It is the baseline: no other candidate was shown to be better.")


OTHER = {"name": "demo-en", "fingerprint": "another", "documents": 42}
REFUSED = {
    "no results": ([], "nothing to compare"),
    "other questions": ([result(0.5, 1), result(0.5, 2, keep=("selection",), top_k=3)], "answered different questions; use the same split"),
    "other data": ([result(0.5, 1), result(0.5, 2, top_k=3, data=OTHER)], "ran on different data; compare runs on the same data set"),
    "other parts": (
        [result(0.5, 1), replace(result(0.5, 2, top_k=3, seed=1), parts=PARTS[::-1])],
        "divide the questions otherwise, so what chooses one confirms the other; use the same seed",
    ),
    "two seeds": ([result(0.5, 1), result(0.5, 2, seed=1)], r"stands there more than once \(seeds 0, 1\); decide with one seed at a time"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_compared_is_not_ranked(case: str) -> None:
    """D22: neither other questions, nor other data, nor questions divided otherwise."""
    results, message = REFUSED[case]
    with pytest.raises(WorkbenchError, match=message):
        decide(results)


def test_an_unknown_baseline_and_lacking_scores_are_errors() -> None:
    results = [result(0.5, 1), result(0.5, 2, top_k=3)]
    with pytest.raises(WorkbenchError, match="unknown baseline 'x'"):
        decide(results, baseline="x")
    assert decide(results, baseline=results[1].config_id).baseline is results[1]
    results[0].scores[METRIC][:2] = np.nan
    with pytest.raises(WorkbenchError, match=r"2\.4% of the questions lack a score, so nothing can be chosen"):
        decide(results)


def test_prices_decide_among_the_tied() -> None:
    def spending(size: int, ms: float | None) -> RunResult:
        return result(0.7, 1, chunk_size=size, timings={} if ms is None else {"query_median_ms": ms})

    small, fast = spending(512, 9.0), spending(64, 2.0)  # 125 and 1,000 chunks
    assert decide([small, fast]).chosen is fast  # without prices time counts before chunks
    decision = decide([small, fast], prices={"chunks": 1e-6, "latency_ms": 1.5e-5})  # 0.00026 and 0.00103
    assert decision.chosen is small
    assert (
        "Of those within one standard error of the best, 512 tokens is the cheapest (0.26 for 1,000 questions at the prices given). "
        in decision.verdict + decision.selection.verdict
    )
    assert decide([small, fast], prices={"chunks": 1e-6, "latency_ms": 1e-3}).chosen is fast
    with pytest.raises(
        WorkbenchError, match="latency_ms of 128 tokens is not known, so it has no price: measure it with experiment_latency"
    ):
        decide([small, spending(128, None)], prices={"latency_ms": 1e-5})
    assert decide([small, spending(128, None)], prices={"latency_ms": 0, "chunks": 1}).chosen is small
