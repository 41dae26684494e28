"""Whole runs with a judge behind a server on this machine: columns, cache, labels, settings."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeServer, Reply, completion, reply
from made_parts import SMALL

from workbench import report
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.experiment import grid, run
from workbench.judging_labels import write_sheet
from workbench.metrics import JUDGE_METRICS
from workbench.report_judge import judge_note
from workbench.settings import Settings

pytestmark = pytest.mark.usefixtures("own_cache")


def settings(spec: str, **changes: Any) -> Settings:
    return Settings(dataset=spec, **{"retriever": "bm25", "generator": "extractive", "judge": "openai:judge"} | SMALL | changes)


def by_rule(request: Mapping[str, Any]) -> Reply:
    """Grade by whether the answer is one of the gold answers, or stands in the passages."""
    judged = json.loads(request["messages"][-1]["content"])
    if "gold_answers" in judged:
        verdict = "correct" if judged["answer"] in judged["gold_answers"] else "wrong"
    else:
        verdict = "grounded" if any(judged["answer"] in passage["text"] for passage in judged["passages"]) else "ungrounded"
    return reply(completion(json.dumps({"verdict": verdict, "reason": "rule"})))(request)


@pytest.mark.parametrize("language", ["en", "ko"])
def test_verdicts_are_columns_like_others_and_a_second_run_asks_nothing(language: str, small: Any, server: FakeServer) -> None:
    server.replies = [by_rule]
    result = run(settings(small(language)))
    assert result.asked_of("judge_correctness").sum() == 24
    assert result.asked_of("judge_groundedness").sum() >= 24
    assert result.interval("judge_correctness").mean == pytest.approx(result.interval("answer_em").mean, abs=0.1)
    assert result.interval("judge_groundedness").mean == 1  # a sentence of the context
    counts = result.details["judge"]["metrics"]
    assert sum(counts[metric]["asked"] for metric in JUDGE_METRICS) == len(server.requests)
    assert judge_note([result]) == "uncalibrated"
    again = run(settings(small(language)))
    assert sum(counts[metric]["asked"] for metric in JUDGE_METRICS) == len(server.requests)
    assert again.to_json()["scores"] == result.to_json()["scores"]
    assert again.details["judge"] == result.details["judge"]
    assert RunResult.from_json(json.loads(json.dumps(result.to_json(), allow_nan=False))).details["judge"] == result.details["judge"]


def test_candidates_are_compared_by_verdicts_and_share_their_retrieval(small: Any, server: FakeServer) -> None:
    server.replies = [by_rule]
    results = grid(settings(small("en"), primary="judge_correctness"), chunk_size=[16, 32])
    assert report.compare(results).metric == "judge_correctness"
    assert report.compare(results).questions == 24


def test_labels_on_one_candidate_calibrate_the_judge(small: Any, server: FakeServer, tmp_path: Path) -> None:
    server.replies = [by_rule]
    result = run(settings(small("en")))
    write_sheet(tmp_path / "sheet.csv", result.answers)
    header, *rows = (tmp_path / "sheet.csv").read_text(encoding="utf-8-sig").splitlines()
    scores = dict(zip(result.example_ids, result.scores["judge_correctness"], strict=True))
    filled = [f"{row}{'correct' if scores[row.split(',')[0]] else 'wrong'}" for row in rows]
    (tmp_path / "labels.csv").write_text("\n".join([header, *filled]), encoding="utf-8")
    labelled = run(settings(small("en"), options={"judge": {"labels": str(tmp_path / "labels.csv")}}))
    assert judge_note([labelled]).startswith("kappa 1.00 [")
    assert judge_note([labelled]).endswith(f"n {len(rows)}")
    (tmp_path / "bare.csv").write_text("id,label\nd12a,correct\n", encoding="utf-8")
    with pytest.raises(WorkbenchError, match="must say in the column answer"):
        run(settings(small("en"), options={"judge": {"labels": str(tmp_path / "bare.csv")}}))


def test_settings_without_a_judge_stay_as_they_were(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = run(settings(small("en"), judge="none"))
    assert plain.details["judge"] is None
    assert not set(JUDGE_METRICS) & set(plain.scores)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for changes, problem in (
        ({"generator": "none"}, "nothing generates any"),
        ({"generator": "openai:a/judge"}, "are the same model"),
        ({"judge": "oracle"}, "unknown judge 'oracle'"),
        ({"judge": "none", "primary": "judge_correctness"}, "needs a judge"),
        ({}, "OPENAI_API_KEY is not set"),
        ({"options": {"judge": {"labels": "nowhere.csv"}}}, "no such labels file: nowhere.csv"),
    ):
        with pytest.raises(WorkbenchError, match=problem):
            run(settings(small("en"), **changes))


def test_runs_with_other_seeds_share_the_verdicts(small: Any, server: FakeServer) -> None:
    server.replies = [by_rule]
    first = run(settings(small("en")))
    asked = len(server.requests)
    again = run(settings(small("en"), seed=1))
    assert len(server.requests) == asked > 0
    assert again.details["judge"]["fingerprint"] == first.details["judge"]["fingerprint"]
    assert judge_note([first, again]) == "uncalibrated"
    run(settings(small("en"), options={"judge": {"seed": 1}}))  # another opinion, where it is asked for
    assert len(server.requests) == 2 * asked


def test_a_label_of_an_unknown_question_is_refused_before_anything_is_asked(small: Any, server: FakeServer, tmp_path: Path) -> None:
    server.replies = [by_rule]
    (tmp_path / "labels.csv").write_text("id,answer,label\nnobody,x,correct\n", encoding="utf-8")
    options = {"judge": {"labels": str(tmp_path / "labels.csv")}}
    with pytest.raises(WorkbenchError, match=r"labels\.csv row 2: there is no question 'nobody'"):
        run(settings(small("en"), generator="openai:writer", options=options))
    assert server.requests == []
    agreement = run(settings(small("en"), limit=3, options=options)).details["judge"]["agreement"]  # it may be among the others
    assert agreement["elsewhere"] == 1


def test_lost_verdicts_are_in_the_audit(small: Any, server: FakeServer) -> None:
    server.replies = [reply(completion("no JSON")), by_rule]
    audit = {check.id: check for check in run(settings(small("en"))).audit}
    assert audit["verdicts_lost"].level == "error"  # 1 of 24
    assert audit["verdicts_lost"].message.endswith("1 × no JSON object")
