"""Defects of other tools in what is measured and compared (D11, D14, D22, D27, D29, D30), and that each of D1 to D30 has its test."""

import ast
import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import make_result, make_results
from made_parts import SMALL, levels
from small_corpus import write_corpus
from small_sweep import make_project

from workbench import evaluation, generation, metrics, report, stats, storage, sweep
from workbench.datatypes import Completion, Conversation, WorkbenchError
from workbench.evaluation import RunResult
from workbench.experiment import grid, run
from workbench.generation import ExtractiveGenerator
from workbench.report_choice import format_interval
from workbench.report_files import leaderboard_rows
from workbench.report_winner import decide
from workbench.settings import Settings

DEFECTS = range(1, 31)
pytestmark = pytest.mark.usefixtures("own_cache")


def settings(spec: str, **changes: Any) -> Settings:
    return Settings(dataset=spec, **{"retriever": "bm25", "generator": "extractive", "prompt": "cite"} | SMALL | changes)


def test_d11_metrics_of_answers_have_a_value_for_each_question_and_are_compared_like_any_other(small) -> None:
    results = grid(settings(small("ko")), chunk_size=[16, 32])
    compared = {metric for metric in results[0].scores if results[0].asked_of(metric).any()}
    assert compared >= {"answer_em", "answer_f1", "chrf", "citation", "groundedness", "refusal_recall", "ndcg@3"}
    for metric in compared:
        for result in results:
            assert result.scores[metric].shape == (25,)
            assert np.isfinite(result.scores[metric][result.asked_of(metric)]).all()
        questions = int(results[0].asked_of(metric).sum())
        comparison = report.compare(results, metric)
        assert (comparison.questions, comparison.lost) == (questions, 0)
        (difference,) = [row.difference for row in comparison.rows if row.difference]
        assert difference.n == questions
        assert difference.known == (comparison.clusters > 1)


# --- D14: the order of the questions ------------------------------------------------------------------------------------------------


def reordered(result: RunResult, order: Sequence[int]) -> RunResult:
    """Return a result whose questions come in another order."""
    by_question = {name: getattr(result, name) for name in ("example_ids", "clusters", "parts", "causes")}
    return replace(
        result,
        scores={metric: values[list(order)] for metric, values in result.scores.items()},
        **{name: tuple(values[row] for row in order) for name, values in by_question.items()},
    )


def test_d14_sorted_and_shuffled_questions_pick_the_same_winner() -> None:
    results = make_results(questions=80, groups=16)
    clusters, metric = results[0].clusters, results[0].settings.primary
    parts = tuple("confirmation" if cluster in {f"group-{number}" for number in range(4, 9)} else "selection" for cluster in clusters)
    results = [replace(result, parts=parts) for result in results]
    # the best candidate loses on the questions that come first when they are sorted by group
    hard = np.isin(clusters, ["group-0", "group-1", "group-10"])
    best = np.where(hard, 0.3, np.maximum(results[0].scores[metric], 0.95))
    results[0] = replace(results[0], scores={**results[0].scores, metric: best})
    by_group = sorted(range(80), key=lambda row: (clusters[row], row))
    orders = [by_group, by_group[::-1], *(np.random.default_rng(seed).permutation(80).tolist() for seed in range(3))]
    tables = [[reordered(result, order) for result in results] for order in orders]
    compared = [report.compare(table) for table in tables]
    assert len({tuple((row.label, row.tied) for row in comparison.rows) for comparison in compared}) == 1
    assert len({comparison.verdict for comparison in compared}) == 1  # with every number in it
    decisions = [decide(table) for table in tables]
    assert {decision.problem for decision in decisions} == {""}
    assert len({decision.verdict for decision in decisions}) == 1
    first = {int(np.argmax([result.scores[metric][:15].mean() for result in table])) for table in tables}
    assert len(first) > 1  # a race over the first questions would have crowned others


def test_d14_a_run_over_the_first_questions_of_a_sorted_file_takes_no_other_questions(tmp_path: Path) -> None:
    questions = (write_corpus(tmp_path / "sorted", "ko") / "questions.jsonl").read_text("utf-8").splitlines()
    mixed = write_corpus(tmp_path / "mixed", "ko") / "questions.jsonl"
    mixed.write_text("\n".join(questions[::-2] + questions[-2::-2]) + "\n", encoding="utf-8")
    scores = []
    for folder in ("sorted", "mixed"):
        results = grid(settings(f"folder:{tmp_path / folder}", limit=12, answers=6), chunk_size=[16, 32])
        comparison = report.compare(results, "answer_f1")
        by_question = [dict(zip(result.example_ids, result.to_json()["scores"]["answer_f1"], strict=True)) for result in results]
        scores.append((by_question, [(row.label, row.tied) for row in comparison.rows]))
    assert scores[0] == scores[1]
    drawn = {json.loads(line)["id"]: place for place, line in enumerate(questions)}
    assert sorted(drawn[name] for name in scores[0][0][0]) != list(range(12))


# --- D22 ----------------------------------------------------------------------------------------------------------------------------


def test_d22_results_on_edited_documents_are_not_compared_with_older_ones(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "corpus", "en")
    before = run(settings(f"folder:{folder}", generator="none"))
    page = folder / "d05.md"
    page.write_text(page.read_text("utf-8").replace("bleach", "blench"), encoding="utf-8")
    after = run(settings(f"folder:{folder}", generator="none"))
    assert before.config_id == after.config_id  # the name of the data is what it was
    with pytest.raises(WorkbenchError, match="ran on different data"):
        report.compare([before, after])


# --- D27: what failed is counted, and results come from run records -----------------------------------------------------------------


class Failing(ExtractiveGenerator):
    """Fail on questions about badges, and answer the others like the control."""

    def generate(self, conversations: Sequence[Conversation]) -> list[Completion]:
        return [
            Completion("", "error", error="the server fell silent") if "badge" in conversation.question else completion
            for conversation, completion in zip(conversations, super().generate(conversations), strict=True)
        ]


def test_d27_failed_generations_are_counted_and_neither_dropped_nor_scored_0(small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(generation.GENERATORS, "failing", Failing)
    whole, broken = run(settings(small("en"))), run(settings(small("en"), generator="failing"), cached=False)
    failed = {record["id"] for record in broken.answers if record["error"]}
    assert failed == {"d03a"}
    assert len(broken.answers) == len(broken.example_ids) == 25  # the failed one stays in the record
    kept = [name not in failed for name in whole.example_ids]
    for metric in ("answer_em", "answer_f1", "chrf", "citation"):
        assert (broken.interval(metric).n, broken.unscored(metric)) == (23, 1)
        assert np.isnan(broken.scores[metric][whole.example_ids.index("d03a")])
        np.testing.assert_array_equal(broken.scores[metric][kept], whole.scores[metric][kept])
    assert broken.details["answers"]["failed"] == {"the server fell silent": 1}
    assert levels(broken.audit)["answers_failed"] == "error"
    _, (row,) = leaderboard_rows([broken])
    assert (row["answered"], row["failed"], row["answer_f1.unscored"], row["audit_errors"]) == (24, 1, 1, 1)
    comparison = report.compare([whole, broken], "answer_f1")
    assert (comparison.questions, comparison.lost) == (23, pytest.approx(1 / 24))
    assert "no verdict, because 4.2% of the questions were not scored by every candidate" in comparison.verdict


def test_d27_results_are_read_from_run_records_not_from_whatever_file_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    path = make_project(tmp_path)
    folder, points = sweep.plan(path)
    for point, score in zip(points, (0.25, 0.5), strict=True):
        evaluation.save_results(point.folder / "result.json", [make_result({"recall@1": [score] * 6}, chunker=point.parameters["chunker"])])
        record = {"run_id": point.run_id, "result": storage.sha256_file(point.folder / "result.json")}
        storage.write_json(point.folder / "record.json", record)
    stray = [make_result({"recall@1": [1.0] * 6}, chunker="whole")]
    for name in ("whole-0123456789ab", "fixed-old/result", f"{points[0].folder.name}/copy"):
        evaluation.save_results(folder / "runs" / name / "result.json", stray)
    evaluation.save_results(points[0].folder / "result-2.json", stray)
    outcome = sweep.run_sweep(path)
    assert (outcome.executed, outcome.skipped) == (0, 2)
    with (folder / "leaderboard.csv").open(encoding="utf-8-sig") as lines:
        rows = [(row["chunker"], row["recall@1"]) for row in csv.DictReader(lines)]
    assert rows == [("recursive", "0.5"), ("fixed", "0.25")]


# --- D29, D30 -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["recall", "hit", "mrr"])
def test_d29_every_run_looks_whether_a_metric_falls_as_k_grows(small, monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    point = settings(small("en"), generator="none")
    assert {check.id: check.level for check in run(point).audit}["monotone"] == "ok"
    score_ranking = metrics.score_ranking

    def falling(*given: Any) -> Mapping[str, float]:
        scores = score_ranking(*given)
        return scores | {f"{family}@3": 0.9 * scores[f"{family}@1"]}

    monkeypatch.setattr(metrics, "score_ranking", falling)
    assert levels(run(point).audit)["monotone"] == "error"


@pytest.mark.parametrize(
    ("evaluate", "message"),
    [
        (lambda spec: run(Settings(dataset=spec, retriever="bm25", **SMALL)), "none of 0 questions has evidence"),
        (lambda spec: run(settings(spec, limit=5)), "none of 0 questions has evidence"),
        (lambda spec: report.compare([]), "nothing to compare: no results"),
        (lambda spec: stats.mean_interval([], []), "nothing to average: no question was scored"),
        (lambda spec: stats.wilson(0, 0), "0 of 0"),
        (lambda spec: evaluation.load_results(storage.write_json(Path(f"{spec[7:]}.json"), {"results": []})), "holds no results"),
    ],
)
def test_d30_an_evaluation_of_nothing_raises(tmp_path: Path, evaluate: Callable[[str], object], message: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# Snow\n\nSnow is white.", encoding="utf-8")
    with pytest.raises(WorkbenchError, match=message):
        evaluate(f"folder:{tmp_path / 'docs'}")


def test_d30_what_was_asked_of_no_question_is_not_scored_rather_than_0(small) -> None:
    result = run(settings(small("ko"), prompt="plain"))  # asks for no citation
    interval = result.interval("citation")
    assert (interval.n, format_interval(interval)) == (0, "not scored")
    assert np.isnan(interval.mean)
    assert result.summary()["citation"]["mean"] is None


# --- none is lost -------------------------------------------------------------------------------------------------------------------


def test_each_defect_has_a_test_that_is_named_after_it() -> None:
    named: dict[int, list[str]] = {number: [] for number in DEFECTS}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for number in map(int, re.findall(r"(?<=_)d(\d+)(?=_)", node.name)):
                    named.setdefault(number, []).append(f"{path.name}::{node.name}")
    assert [f"D{number}" for number in DEFECTS if not named[number]] == []
    assert sorted(named) == list(DEFECTS)  # no other defect is known
