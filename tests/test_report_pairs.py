"""Results of several files are read, joined and paired by what their records say, or refused with a reason."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import make_answered_results, make_data, make_result, make_results
from hypothesis import given, settings
from hypothesis import strategies as st
from test_report_gate import lone

from workbench import report_pairs, storage
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult, save_results

METRIC = "ndcg@10"


def result(*scores: float, **changes: Any) -> RunResult:
    return make_result({METRIC: scores}, **changes)


def save_run(folder: Path, *results: RunResult, listed: bool = True) -> Path:
    """Write a run folder as a sweep does."""
    path = save_results(folder / "result.json", results)
    if listed:
        storage.write_json(folder / "record.json", {"run_id": "x", "result": storage.sha256_file(path)})
    return path


# --- reading ------------------------------------------------------------------------------------------------------------------------


def test_a_sweep_a_run_and_a_file_are_read(tmp_path: Path) -> None:
    one, two = result(1, 0, chunk_size=64), result(0, 1, chunk_size=128)
    file = save_run(tmp_path / "runs" / "b", two)
    save_run(tmp_path / "runs" / "a", one)
    save_run(tmp_path / "runs" / ".run-killed", result(0, 0), listed=False)
    (tmp_path / "runs" / "notes.txt").write_text("no run")
    ids = [one.config_id, two.config_id]
    assert [found.config_id for found in report_pairs.load_any(tmp_path)] == ids
    for path in (file, file.parent):
        assert [found.config_id for found in report_pairs.load_any(path)] == ids[1:]
    by_hand = save_run(tmp_path / "by-hand", one, listed=False)
    assert report_pairs.load_any(by_hand.parent)[0].config_id == ids[0]
    storage.write_json(tmp_path / "record.json", {"runs": ["b"]})  # what the last sweep ran; "a" is a run of older data
    assert [found.config_id for found in report_pairs.load_any(tmp_path)] == ids[1:]


def test_what_is_no_result_is_named(tmp_path: Path) -> None:
    """D27: results come from run records, never from files that happen to be there."""

    def refused(path: Path) -> str:
        with pytest.raises(WorkbenchError) as error:
            report_pairs.load_any(path)
        return str(error.value)

    assert refused(tmp_path / "gone").startswith(f"no such file or folder: {tmp_path / 'gone'}; name the output folder")
    assert "holds neither result.json nor runs" in refused(tmp_path)
    (tmp_path / "runs").mkdir()
    assert "holds no run that ended well" in refused(tmp_path)
    file = save_run(tmp_path / "runs" / "a", result(1, 0))
    stray = save_run(tmp_path / "runs" / "stray", result(0, 1), listed=False)
    assert f"no such file: {stray.with_name('record.json')}" in refused(tmp_path)
    stray.unlink()
    stray.parent.rmdir()
    storage.write_json(tmp_path / "record.json", {"runs": ["../by-hand"]})
    assert "must list run folders that are in" in refused(tmp_path)
    (tmp_path / "record.json").unlink()
    file.write_text(file.read_text("utf-8").replace("1.0", "0.9"), "utf-8")
    for path in (tmp_path, file.parent, file):
        assert refused(path) == f"{file} is not the result that {file.with_name('record.json')} records; run it again"
    file.unlink()
    assert f"no such file: {file}, although" in refused(tmp_path)
    broken = storage.write_json(tmp_path / "old.json", {"results": [{"format": 1}]})
    assert refused(broken).startswith(f"{broken}: result of format 1, this version reads ")


# --- joining ------------------------------------------------------------------------------------------------------------------------


def test_equal_results_become_one_candidate_and_labels_stay_apart() -> None:
    shared, first, second = (result(*scores, chunk_size=size) for scores, size in (((1, 0, 1), 64), ((0, 0, 1), 128), ((1, 1, 1), 128)))
    groups, notes = report_pairs.join({"A": [shared, first], "B": [shared, second]})
    (candidates,) = groups.values()
    assert notes == []
    assert [one.sources for one in candidates] == [("A", "B"), ("A",), ("B",)]
    names = [one.label for one in candidates]
    assert len(set(names)) == 3
    assert names[0] == "64 tokens"
    assert [name.rpartition(" · ")[2] for name in names[1:]] == ["A", "B"]  # the same configuration, other scores: the code changed
    comparison = report_pairs.joint(candidates)
    assert [row.label for row in comparison.rows] == [names[2], names[0], names[1]]
    assert comparison.baseline == "64 tokens"
    assert f"{names[2]} scores highest" in comparison.verdict
    other = report_pairs.joint(candidates, baseline=candidates[1])
    assert next(row.label for row in other.rows if row.difference is None) == names[1]
    assert f"Against the baseline {names[1]}: +0.667" in other.verdict


def test_the_seeds_of_a_source_are_merged_and_one_file_must_not_contradict_itself() -> None:
    seeds = [result(1, 0, 1, seed=0), result(0, 0, 1, seed=1)]
    (candidates,) = report_pairs.join({"A": seeds[:1], "B": seeds[1:]})[0].values()
    assert [one.label for one in candidates] == ["seed 0", "seed 1"]
    (candidates,) = report_pairs.join({"A": [*seeds, seeds[0]], "B": seeds[::-1], "C": [seeds[1], seeds[1]]})[0].values()
    assert [(one.seeds, one.sources, one.label[-4:]) for one in candidates] == [
        ((0, 1), ("A",), " · A"),
        ((1, 0), ("B",), " · B"),
        ((1,), ("C",), " · C"),
    ]
    assert candidates[0].result.scores[METRIC].tolist() == [0.5, 0, 1]
    assert report_pairs.find(candidates, seeds[0].config_id, "A") is candidates[0]
    comparison = report_pairs.joint(candidates)
    assert sorted(row.label for row in comparison.rows) == [one.label for one in candidates]
    with pytest.raises(WorkbenchError, match=f"^A has {seeds[0].config_id} \\(seed 0\\) more than once, with different scores"):
        report_pairs.join({"A": [seeds[0], result(0, 0, 1)]})


def test_other_data_or_questions_are_refused_with_what_each_has() -> None:
    left, shorter = result(1, 0, 1), result(1, 0, limit=2)
    older = result(1, 0, 1, data=make_data("demo-en", "en", 3) | {"fingerprint": "f" * 64})
    with pytest.raises(WorkbenchError) as error:
        report_pairs.join({"A": [left], "B": [older]})
    assert str(error.value) == (
        f"A and B have different data: A has demo-en (data {left.data['fingerprint'][:12]}, split all, limit 0, seed 0, 3 questions); "
        "B has demo-en (data ffffffffffff, split all, limit 0, seed 0, 3 questions); run both on the same version of the data"
    )
    with pytest.raises(WorkbenchError, match=r"have different questions: .*limit 0.*limit 2.*run both on the same split, limit and seed$"):
        report_pairs.join({"A": [left], "B": [shorter]})
    with pytest.raises(WorkbenchError, match=r"no data set stands in all .*A has demo-en .*B has demo-ko .*run each on the same data$"):
        report_pairs.join({"A": [left], "B": [result(1, 0, 1, dataset="demo-ko")]})
    groups, notes = report_pairs.join({"A": [left, result(1, 0, 1, dataset="demo-ko")], "B": [result(0, 1, 1, chunk_size=64)]})
    assert [len(candidates) for candidates in groups.values()] == [2]
    assert [note.partition(" (")[0] for note in notes] == ["left out, because it is only in A: demo-ko"]


def test_a_control_is_the_baseline_only_where_it_is_named() -> None:
    control, other, last = (
        result(*scores, **given) for scores, given in (((0, 0, 1), {"chunker": "whole"}), ((1, 0, 1), {}), ((1, 1, 1), {"top_k": 5}))
    )
    (candidates,) = report_pairs.join({"A": [control, other, last]})[0].values()
    for named, base in ((None, candidates[1]), (candidates[0], candidates[0])):
        comparison = report_pairs.joint(candidates, baseline=named)
        assert comparison.baseline == base.label == next(row.label for row in comparison.rows if row.difference is None)


def test_different_primary_metrics_need_a_name() -> None:
    scores = {METRIC: (1, 0, 1), "mrr@10": (0, 1, 1)}
    sides = {name: [make_result(scores, primary=primary)] for name, primary in (("A", METRIC), ("B", "mrr@10"))}
    (candidates,) = report_pairs.join(sides)[0].values()
    with pytest.raises(WorkbenchError, match=r"ndcg@10 in A, mrr@10 in B.*--metric"):
        report_pairs.joint(candidates)
    assert report_pairs.joint(candidates, "mrr@10").metric == "mrr@10"


def test_a_configuration_is_found_by_the_beginning_of_its_id() -> None:
    first, second = lone(result(1, 0), "A"), lone(result(0, 0), "B")
    other = lone(result(0, 1, chunk_size=64), "B")
    wanted = first.result.config_id
    assert report_pairs.find([first, other], wanted[:6]) is first
    assert report_pairs.find([first, second, other], wanted, "B") is second
    with pytest.raises(WorkbenchError, match=f"^'{wanted}' fits 2 configurations; there are: "):
        report_pairs.find([first, second], wanted)
    with pytest.raises(WorkbenchError, match=r"^no configuration has the config id 'zz'; there are: .* in B\)$"):
        report_pairs.find([other], "zz")


# --- pairing ------------------------------------------------------------------------------------------------------------------------


def test_a_pair_by_hand() -> None:
    """Differences 1, 0, 0, 0 on four groups: mean 1/4, squares 3/4 x 4/3 (CR2), so se 1/4; t with 3 degrees of freedom is 3.1824."""
    left = lone(result(1, 1, 0, 0.5, math.nan))
    right = lone(result(0, 1, 0, 0.5, 1, chunk_size=64, failures=[{"id": "q0", "question": "연차는 며칠인가요?"}]))
    pair = report_pairs.pair(left, right, METRIC)
    assert (pair.wins, pair.losses, pair.ties, pair.lost) == (1, 0, 3, pytest.approx(0.2))
    assert (pair.interval.mean, pair.interval.se, pair.interval.n) == (pytest.approx(0.25), pytest.approx(0.25), 4)
    assert (pair.interval.low, pair.interval.high) == (
        pytest.approx(0.25 - 3.1824 / 4, abs=1e-4),
        pytest.approx(0.25 + 3.1824 / 4, abs=1e-4),
    )
    assert pair.changes[0] == report_pairs.Change("q0", "연차는 며칠인가요?", 1.0, 0.0)
    assert [change.id for change in pair.changes] == ["q0", "q1", "q2", "q3"]


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 2), min_size=2, max_size=12))
@settings(max_examples=40, deadline=None)
def test_turning_a_pair_round_turns_every_number(scores: list[tuple[float, float]]) -> None:
    sides = [lone(result(*column)) for column in zip(*scores, strict=True)]
    one, other = report_pairs.pair(*sides, METRIC), report_pairs.pair(*sides[::-1], METRIC)
    assert (one.wins, one.losses, one.ties) == (other.losses, other.wins, other.ties)
    assert one.wins + one.losses + one.ties == len(scores)
    assert one.interval.mean == pytest.approx(-other.interval.mean)
    assert one.interval.low == pytest.approx(-other.interval.high)
    assert [change.id for change in one.changes] == [change.id for change in other.changes]


def test_ratios_are_paired_by_their_means_and_only_shared_questions_counted() -> None:
    """Refusal precision asks each system of what it refused: the difference is that of the two means."""
    left, right = make_answered_results()[1:4:2]
    pair = report_pairs.pair(lone(left), lone(right), "refusal_precision")
    means = [one.interval("refusal_precision").mean for one in (left, right)]
    assert pair.interval.mean == pytest.approx(means[0] - means[1])
    both = left.asked_of("refusal_precision") & right.asked_of("refusal_precision")
    assert len(pair.changes) == both.sum() < left.asked_of("refusal_precision").sum()
    fewer = replace(right, answers=right.answers[1:])
    with pytest.raises(WorkbenchError, match=r"^answer_f1: not the same questions were answered"):
        report_pairs.pair(lone(left), lone(fewer), "answer_f1")


def test_nothing_scored_is_unknown_and_never_zero() -> None:
    pair = report_pairs.pair(lone(result(math.nan, math.nan)), lone(result(1, 0)), METRIC)
    assert (pair.interval.n, pair.lost, pair.changes) == (0, 1.0, ())
    assert math.isnan(pair.interval.mean)
    with pytest.raises(WorkbenchError, match="unknown metric"):
        report_pairs.pair(lone(result(1, 0)), lone(result(1, 0)), "ndcg@11")


def test_a_side_that_never_varies_on_few_groups_tells_no_bounds() -> None:
    asked = [np.array([True, True, False, False]), np.array([False, True, True, True])]
    sides = [result(1, 1, math.nan, math.nan, asked={METRIC: asked[0]}), result(math.nan, 1, 0, 1, asked={METRIC: asked[1]})]
    pair = report_pairs.pair(*map(lone, sides), METRIC)
    assert pair.interval.mean == pytest.approx(1 / 3)
    assert not pair.interval.known


def test_the_groups_of_each_sides_own_questions_count() -> None:
    """The right side answers all of its 3 questions: 3 groups do not tell how sure that is, however many the left side has."""
    asked = [np.arange(24) < 20, np.arange(24) >= 21]
    scores = [np.where(asked[0], np.arange(24) % 2, math.nan), np.where(asked[1], 1.0, math.nan)]
    left, right = (result(*column, asked={METRIC: mask}) for column, mask in zip(scores, asked, strict=True))
    interval = report_pairs.difference(left, right, METRIC)[0]
    assert interval.mean == pytest.approx(-0.5)
    assert not interval.known
    row = next(row for row in report_pairs.joint([lone(right, "B", "b"), lone(left, "A", "a")]).rows if row.difference)
    assert not row.difference.known


def test_pairing_agrees_with_the_leaderboard() -> None:
    """One comparison at a time: the interval is that of the leaderboard with two candidates, which is never narrower."""
    left, right = make_results()[:2]
    pair = report_pairs.pair(lone(left), lone(right), left.settings.primary)
    row = next(row for row in report_pairs.joint([lone(right, "B", "b"), lone(left, "A", "a")]).rows if row.difference)
    assert pair.interval.mean == pytest.approx(row.difference.mean)
    assert row.difference.low <= pair.interval.low + 1e-12
    assert [change.difference for change in pair.changes[:1]] == [
        pytest.approx(max((change.difference for change in pair.changes), key=abs))
    ]
