"""Checks of what models did: prefixes set on purpose, scores that are no numbers, passages that a reranker cuts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import made_onnx
import numpy as np
import pytest
from made_parts import MODEL, SMALL, MadeModel, levels

from workbench import embedding, experiment, experiment_scores
from workbench.audit import CHECKS, audit
from workbench.audit_checks import Evidence
from workbench.datatypes import Hit
from workbench.reranking import create_reranker
from workbench.settings import Settings

pytestmark = pytest.mark.usefixtures("own_cache")
Patch = pytest.MonkeyPatch


@pytest.fixture
def evidence_of(small, monkeypatch: Patch) -> Callable[..., Evidence]:
    """Give a function that runs the small English corpus and returns what its audit looked at."""
    monkeypatch.setitem(embedding.EMBEDDERS, "made", MadeModel)

    def run(**changes: object) -> Evidence:
        seen: list[Evidence] = []
        with monkeypatch.context() as patch:
            patch.setattr(experiment_scores, "audit", lambda evidence: seen.append(evidence) or audit(evidence))
            experiment.run(Settings(dataset=small("en"), **SMALL | {"embedder": "made"} | changes))
        return seen[0]

    return run


@pytest.mark.parametrize(
    ("options", "level"),
    [({}, "error"), ({"embedder": {"query_prefix": ""}}, "warning"), ({"embedder": {"batch_size": 2}}, "error"), ({"index": {}}, "error")],
)
def test_a_missing_prefix_is_an_error_unless_the_settings_ask_for_it(evidence_of: Callable, options: dict, level: str) -> None:
    run = evidence_of()
    bare = replace(run, model=replace(MODEL, prefixes={"query": "q: ", "passage": ""}))
    check = CHECKS["roles"](replace(bare, settings=run.settings.replace(options=options)))
    assert check.level == level
    assert "the prefixes used are {'query': 'query: '" in check.message


@pytest.mark.parametrize(
    ("score", "changes", "level"),
    [
        (np.nan, {"retriever": "bm25"}, "error"),
        (-np.inf, {"retriever": "hybrid"}, "error"),
        (1.2, {}, "error"),
        (-1.2, {}, "error"),
        (1.0005, {}, "ok"),  # rounding
        (7.5, {"retriever": "bm25"}, "ok"),
    ],
)
def test_scores_must_be_numbers_and_products_of_unit_vectors_at_most_1(
    evidence_of: Callable, score: float, changes: dict, level: str
) -> None:
    run = evidence_of(**changes)
    found = [Hit(hit.chunk, score, hit.rank) for hit in run.hits[4]]
    assert CHECKS["vectors_finite"](replace(run, hits=[*run.hits[:4], found, *run.hits[5:]])).level == level


def test_lost_hits_are_found_where_every_chunk_can_be_one(evidence_of: Callable) -> None:
    dense, sparse = evidence_of(), evidence_of(retriever="bm25")
    for run, level in ((dense, "error"), (sparse, "ok")):
        check = CHECKS["vectors_finite"](replace(run, hits=[*run.hits[:4], run.hits[4][:2], *run.hits[5:]]))
        assert check.level == level
    assert CHECKS["vectors_finite"](replace(dense, hits=[found[:3] for found in dense.hits])).level == "ok"


@pytest.mark.parametrize(("size", "spoken"), [(64, {}), (24, {"reranker_truncated": "warning"})])
def test_a_reranker_that_cuts_its_passages_is_found_by_its_check_alone(
    evidence_of: Callable, tmp_path: Path, size: int, spoken: dict
) -> None:
    spec = f"cross-encoder:{made_onnx.save_reranker(tmp_path / 'reranker', size)}"
    run = evidence_of(reranker=spec, retriever="bm25", options={"reranker": {"depth": 2}})
    checks = audit(run)
    assert levels(checks) == spoken
    text_of = dict(zip((chunk.id for chunk in run.chunks), run.texts, strict=True))
    pairs = [
        (example.question, text_of[hit.chunk.id]) for example, hits in zip(run.dataset.examples, run.hits, strict=True) for hit in hits[:2]
    ]
    cut = create_reranker(spec).truncated(pairs) / len(pairs)
    (message,) = [check.message for check in checks if check.id == "reranker_truncated"]
    assert message.startswith(f"{cut:.1%} of the passages found are longer than the {size} tokens")
    assert (cut > 0) is bool(spoken)
