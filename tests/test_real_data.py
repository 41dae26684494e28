"""BM25 runs on real data sets; skipped where these are not at hand."""

from pathlib import Path
from typing import Any

import pytest
from made_parts import levels

from workbench import report
from workbench.evaluation import RunResult
from workbench.experiment import run
from workbench.settings import Settings

pytestmark = pytest.mark.usefixtures("own_cache")


def bm25(dataset: str, **changes: Any) -> RunResult:
    return run(Settings(dataset=dataset, retriever="bm25", tokenizer="simple", **changes))


def test_policyqa_is_ill_posed_without_the_filter_by_policy(shared_data: Path) -> None:
    """The same question is put to many policies; only the filter says which one is meant."""
    spec = f"squad:{shared_data / 'policyqa' / 'dev.json'}"
    open_, filtered = bm25(spec, limit=100), bm25(spec, limit=100, filter="title")
    assert open_.example_ids == filtered.example_ids
    assert open_.interval("recall@10").mean < 0.2
    assert filtered.interval("recall@10").mean > 0.4
    rows = report.compare([open_, filtered], "recall@10", baseline=open_.config_id).rows
    (gain,) = [row for row in rows if row.result.config_id == filtered.config_id]
    assert gain.difference.low > 0.1
    assert levels(open_.audit) == {"duplicate_questions": "warning"}
    assert levels(filtered.audit) == {}


def test_covid_qa_joined_to_articles(shared_data: Path) -> None:
    result = bm25(f"squad-article:{shared_data / 'covid-qa' / 'covidqa.cc-by.json'}", limit=50)
    assert result.data["documents"] == 92
    assert len(result.example_ids) == 50
    assert 0.5 < result.interval("evidence_recall@512t").mean < 0.85
    assert result.settings.primary == "evidence_recall@512t"
    assert levels(result.audit) == {"duplicate_questions": "warning"}  # one with other gold


def test_scifact_bm25_agrees_with_the_published_number(shared_data: Path) -> None:
    """Of other implementations with stemming nDCG@10 on these questions is 0.696; the documents' titles are indexed too."""
    result = bm25(f"beir:{shared_data / 'scifact'}", chunker="whole")
    assert result.data["document_gold"]
    assert result.settings.header == "title"
    assert result.settings.primary == "ndcg@10"
    assert len(result.example_ids) == 809
    assert result.interval("ndcg@10").mean == pytest.approx(0.696, abs=0.02)
    assert not [name for name in result.scores if name.startswith("evidence_recall")]
    assert levels(result.audit) == {}
