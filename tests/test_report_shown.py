"""Reports of hundreds of candidates: what a page shows, where the rest stands, and that all scores are in the files."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from factories import make_result

from workbench import report, report_files, report_parts, report_shown
from workbench.evaluation import RunResult

METRIC = "evidence_recall@512t"
CLUSTERS = [f"group-{number % 12}" for number in range(36)]
MANY = 260


def many() -> list[RunResult]:
    """Draw 260 results: 26 chunk sizes x 10 top_k, of which 60 are controls; the baseline scores low, the best control high."""
    draw = np.random.default_rng(0)
    shared = draw.normal(0, 0.1, 36)
    results = []
    for place in range(MANY):
        retriever = "random" if place % 13 in (3, 6, 9) else "bm25:word"
        level = 0.1 if place == 0 else 0.2 if retriever == "random" else 0.4 + 0.001 * place
        column = np.clip(level + shared + draw.normal(0, 0.05, 36), 0, 1)
        scores = {METRIC: column, "evidence_recall@1024t": np.sqrt(column), "recall@5": column.round(1), "ndcg@10": column}
        details = {"chunks": 100 + place, "chunk_tokens_mean": 90.0, "index_bytes": 1000 * (1 + place)}
        own = {"details": details, "chunk_size": 64 + 8 * (place // 10), "top_k": 10 + place % 10, "retriever": retriever}
        results.append(make_result(scores, CLUSTERS, causes=("fine",) * 30 + ("not_retrieved",) * 6, **own))
    return results


@pytest.fixture(scope="module")
def results() -> list[RunResult]:
    return many()


@pytest.fixture(scope="module")
def written(results, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    failed = [{"point": {"chunk_size": place}, "error": "no space"} for place in range(230)]
    report_files.write_report(folder, report_parts.gather(results, "many", failed=failed))
    report_files.write_leaderboard(folder / "leaderboard.csv", results)
    return folder


def test_the_best_the_baseline_and_ten_controls_are_shown(results):
    comparison = report.compare(results)
    rows = report_shown.shown(comparison, 50).rows
    assert len(rows) == 50
    assert [row.label for row in rows[:39]] == [row.label for row in comparison.rows[:39]]
    assert [row.label for row in rows if row.difference is None] == [comparison.baseline]
    assert [row.label for row in rows if row.control] == [row.label for row in comparison.rows if row.control][:10]
    assert report_shown.shown(comparison, MANY) is comparison


def test_pages_hold_200_rows_and_say_where_the_others_are(written):
    page, text = (written / "report.html").read_text("utf-8"), (written / "report.md").read_text("utf-8")
    said = "Shown are 200 of 260 candidates: the best, the baseline and at most 10 controls; the other 60 stand in leaderboard.csv."
    for name in ("Leaderboard of demo-en", "Where questions are lost", "Config ids of demo-en", "Runs that failed"):
        table = page.split(f'aria-label="{name}"')[1].split("</table>")[0]
        assert table.count("<tr") - table.split("<tbody>")[0].count("<tr") == 200, name
        assert (said in table) == (name != "Runs that failed")
    assert text.count(said) == 2
    assert text.split("### Leaderboard")[1].split("###")[0].count("\n| ") == 201
    assert "230 without a result; no comparison above contains them. The first 200 are shown, all stand in report.json." in text
    assert "not compared" in page
    figure = page.split('id="data-1-scores-900-title"')[1].split("</svg>")[0]
    assert figure.count('<g class="mark') == 100


def test_the_plot_of_costs_keeps_the_front(written):
    figure = (written / "report.html").read_text("utf-8").split('id="data-1-cost-900-title"')[1].split("</svg>")[0]
    title = re.match("[^<]*", figure)[0]
    drawn = int(re.search(r", (\d+) of 260 candidates", title)[1])
    assert 100 <= drawn <= 126
    assert len(re.findall('<g class="mark [^>]*><title>', figure)) == drawn


def test_files_hold_all_candidates(written, results):
    record = json.loads((written / "report.json").read_text("utf-8"))
    (part,) = record["data_sets"]
    assert len(part["leaderboard"]) == MANY
    assert len(record["failed"]) == 230
    row = part["leaderboard"][0]
    assert sorted(row["settings"]) == ["chunk_size", "retriever", "top_k"]
    assert part["shared_settings"]["chunker"] == results[0].settings.chunker
    assert not set(part["shared_settings"]) & set(row["settings"])
    assert sorted(row["metrics"][METRIC]) == ["high", "low", "mean"]
    assert "shared_settings" in part["abridged"]
    with (written / "leaderboard.csv").open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == MANY
    means = [float(line[METRIC]) for line in lines]
    assert means == sorted(means, reverse=True)


def test_sums_of_many_results_are_those_of_each():
    """Also where questions are unscored, and where results have other metrics or clusters."""
    results = many()[:105]
    unscored = {name: np.where(np.arange(36) % 5 == 0, np.nan, values) for name, values in results[3].scores.items()}
    results[3] = replace(results[3], scores=unscored)
    results[4] = replace(results[4], scores={METRIC: np.full(36, np.nan)})
    results[5] = replace(results[5], clusters=tuple(f"other-{number % 5}" for number in range(36)))
    for found, result in zip(report_shown.summaries(results), results, strict=True):
        assert list(found) == list(result.summary())
        for metric, expected in result.summary().items():
            assert found[metric] == pytest.approx(expected)
