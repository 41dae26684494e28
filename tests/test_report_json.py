"""report.json: the decision and every number of the report as plain values, the same bytes for the same results."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import make_answered_results, make_result, make_results

from workbench.datatypes import WorkbenchError
from workbench.evaluation import Check, RunResult
from workbench.report_files import write_report
from workbench.report_json import plain, render_json
from workbench.report_parts import gather
from workbench.settings import parse_settings

BAD = "<script>한글 \ud800\x1b\u202e /srv/someone/secret/docs"


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Give a function that writes the report and parses it strictly."""

    def write(results: list[RunResult], *arguments: Any, **options: Any) -> dict[str, Any]:
        write_report(tmp_path, gather(results, *(arguments or ("Title",)), **options))
        return json.loads((tmp_path / "report.json").read_text("utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    return write


def in_parts(results: list[RunResult]) -> list[RunResult]:
    """Let whole document groups choose, and others confirm."""
    parts = tuple(("selection", "confirmation")[int(cluster.rpartition("-")[2]) % 2] for cluster in results[0].clusters)
    return [replace(result, parts=parts) for result in results]


def test_what_was_decided_and_seen_stands_there(written: Callable[..., dict[str, Any]]) -> None:
    results = in_parts(make_results())
    report = written(results, "Chunk sizes", command="workbench sweep params/x.sweep.yaml")
    (part,) = gather(results, "x").parts
    decision, chosen = part.decision, part.decision.chosen
    (found,) = report["data_sets"]
    told = found["decision"]
    assert (report["schema"], report["title"], report["command"]) == (1, "Chunk sizes", "workbench sweep params/x.sweep.yaml")
    assert (found["name"], found["verdict"], found["problem"]) == ("demo-en", part.comparison.verdict, "")
    assert told["chosen"] == {"config_id": chosen.config_id, "label": decision.label}
    assert (told["held"], told["recommended"], told["verdict"]) == (decision.held, decision.recommended.config_id, decision.verdict)
    assert parse_settings(told["settings"]) == decision.recommended.settings
    for name, view in (("selection", decision.selection), ("confirmation", decision.confirmation)):
        row = next(row for row in view.rows if row.result.config_id == chosen.config_id)
        assert told[name]["score"] == {"mean": round(row.interval.mean, 6)} | {
            "low": round(row.interval.low, 6),
            "high": round(row.interval.high, 6),
            "n": row.interval.n,
            "groups": 10,
        }
    assert told["shrinkage"]["mean"] == pytest.approx(told["selection"]["score"]["mean"] - told["confirmation"]["score"]["mean"], abs=2e-6)
    assert [row["config_id"] for row in found["leaderboard"]] == [row.result.config_id for row in part.comparison.rows]
    assert [row["difference"] is None for row in found["leaderboard"]].count(True) == 1
    best = found["leaderboard"][0]
    assert (best["best"], best["tied"], best["control"]) == (True, True, False)
    assert set(best["metrics"]) == set(results[0].scores)
    assert best["metrics"]["recall@5"]["n"] == 120
    assert best["costs"]["chunks"] == part.comparison.rows[0].result.details["chunks"]
    assert {effect["setting"] for effect in found["effects"]} == {"chunker", "chunk_size", "retriever"}
    assert found["facts"]["fingerprint"] == results[0].data["fingerprint"]
    checks = {check["id"]: check for check in found["audit"]}
    assert checks["truncated"]["level"] == "warning"
    assert (checks["truncated"]["ok"], checks["truncated"]["of"], len(checks["truncated"]["not_ok"])) == (9, 12, 3)
    assert checks["oracle"]["meaning"] == "a perfect ranking of the chunks reaches all evidence"
    assert report["versions"] == {"rag-workbench": ["0.1.0"], "numpy": ["2.4.6"]}


def test_the_causes_of_losses_are_counted(written: Callable[..., dict[str, Any]]) -> None:
    causes = ("fine", "cut", "cut", "")
    diagnosed = make_result({"ndcg@10": [1, 0, 0, 0.5]}, causes=causes)
    (found,) = written([diagnosed])["data_sets"]
    counts = found["diagnosis"][diagnosed.config_id]
    assert {cause: count for cause, count in counts.items() if count} == {"cut": 2, "fine": 1}
    assert found["causes"]["cut"]
    (found,) = written([make_result({"ndcg@10": [1, 0]})])["data_sets"]
    assert (found["diagnosis"], found["causes"]) == ({}, {})


def test_missing_numbers_are_null_and_a_result_without_a_verdict_says_why(written: Callable[..., dict[str, Any]]) -> None:
    unscored = make_result({"ndcg@10": [np.nan, np.nan], "mrr@10": [0.123456789, -0.0]})
    (found,) = written([unscored])["data_sets"]
    assert (found["leaderboard"], found["decision"]) == ([], None)
    assert "no question was scored by every candidate" in found["problem"]
    bad = replace(make_results()[0], audit=(Check("oracle", "error", "90 %"),))
    (found,) = written([bad, *make_results()[1:]])["data_sets"]
    assert (found["decision"], len(found["leaderboard"])) == (None, 12)
    assert found["problem"].startswith("an audit check failed: ")
    assert found["audit"][0] | {"meaning": ""} == {"id": "oracle", "level": "error", "message": "90 %", "meaning": ""} | {
        "ok": 11,
        "of": 12,
        "not_ok": [bad.config_id],
    }
    with pytest.raises(WorkbenchError, match="nothing to report"):
        written([])


def test_numbers_texts_and_names_are_made_plain() -> None:
    values = {"x": [np.float64(0.123456789), -0.0, float("nan"), np.int64(3), np.inf], 1: True, "text": BAD, "none": None}
    assert plain(values) == {
        "x": [0.123457, 0.0, None, 3, None],
        "1": True,
        "text": "<script>한글 \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} …/docs",
        "none": None,
    }
    assert str(plain(-0.0)) == "0.0"


def test_the_same_results_give_the_same_bytes_whatever_was_measured() -> None:
    results = [*make_results("demo-ko", "ko"), *make_answered_results()]
    slower = [replace(result, timings={"embed": 9.9}, cache={"hits": 3}) for result in results]
    slower = [
        replace(result, details={**result.details, "answers": {**result.details["answers"], "seconds": 77.0}}) if result.answers else result
        for result in slower
    ]
    texts = [json.dumps(render_json(gather(each, "T"))) for each in (results, results, slower)]
    assert len(set(texts)) == 1
    assert "77.0" not in texts[2]


def test_untrusted_text_stays_data_and_no_folder_of_this_computer_is_told(written: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    result = make_result({"ndcg@10": [1, 0]}, dataset="folder:/srv/someone/secret/docs")
    report = written(
        [result], BAD, failed=[{"point": {"chunker": BAD}, "error": f"OSError: {BAD}"}], command="workbench sweep /srv/someone/x.yaml"
    )
    text = (tmp_path / "report.json").read_text("utf-8")
    assert "someone" not in text
    assert "한글" in text
    assert report["data_sets"][0]["name"] == "folder:…/docs"
    assert report["failed"][0]["error"].startswith("OSError: <script>한글")
