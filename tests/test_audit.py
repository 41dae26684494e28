"""The audit: sound runs pass however small, controls that should lose are no faults, each fault makes its check speak alone (ST5)."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_parts import MODEL, SMALL, MadeModel, levels

from workbench import audit_vectors, embedding, experiment, experiment_scores, metrics
from workbench.audit import CHECKS, audit
from workbench.audit_checks import Evidence
from workbench.audit_health import QUESTION_CHECKS
from workbench.datatypes import Chunk, Dataset, Document, Example, Hit, Span
from workbench.settings import Settings
from workbench.tokens import SimpleTokenizer, token_tables

pytestmark = pytest.mark.usefixtures("own_cache")


def spoken(spec: str, **changes: Any) -> dict[str, str]:
    """Run an experiment and return what its audit found."""
    return levels(experiment.run(Settings(dataset=spec, **{"retriever": "bm25"} | SMALL | changes)).audit)


def message(run: Evidence, name: str) -> str:
    return CHECKS[name](run).message


@pytest.fixture
def evidence_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Evidence]:
    """Give a function that runs an experiment and returns what its audit looked at."""

    def run(spec: str, **changes: Any) -> Evidence:
        seen: list[Evidence] = []
        with monkeypatch.context() as patch:
            patch.setattr(experiment_scores, "audit", lambda evidence: seen.append(evidence) or audit(evidence))
            experiment.run(Settings(dataset=spec, **SMALL | changes))
        return seen[0]

    return run


@pytest.fixture
def good(small, evidence_of) -> Evidence:
    """Give what the audit of a sound run looks at: a model with prefixes on the small English corpus."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(embedding.EMBEDDERS, "made", MadeModel)
        run = evidence_of(small("en"), embedder="made")
    assert levels(audit(run)) == {}
    return run


# --- sound runs -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["demo-en", "demo-ko"])
@pytest.mark.parametrize(
    "changes", [{"retriever": "bm25"}, {"embedder": "hash"}, {"retriever": "random"}, {"retriever": "bm25", "chunker": "whole"}]
)
def test_sound_runs_on_the_demo_pass_every_check(spec: str, changes: dict) -> None:
    result = experiment.run(Settings(dataset=spec, tokenizer="simple", **changes))
    assert levels(result.audit) == {}
    assert [check.id for check in result.audit] == [*CHECKS, *QUESTION_CHECKS]


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("retriever", ["bm25", "dense", "hybrid", "random"])
def test_sound_runs_on_a_small_corpus_pass_every_check(small, language: str, retriever: str) -> None:
    for seed in range(5):
        assert spoken(small(language), retriever=retriever, embedder="hash", seed=seed) == {}


@pytest.mark.parametrize(
    "changes", [{}, {"top_k": 100}, {"chunker": "whole"}, {"retriever": "random"}, {"retriever": "dense", "embedder": "hash"}]
)
def test_one_document_and_one_question_are_only_too_few(tmp_path: Path, changes: dict) -> None:
    (tmp_path / "a.md").write_text("The sky is blue. Grass is green. Snow is white. Coal is black and burns well.", encoding="utf-8")
    question = {"id": "q", "question": "Is snow white?", "evidence": [[{"document": "a", "quote": "Snow is white."}]]}
    (tmp_path / "questions.jsonl").write_text(json.dumps(question), encoding="utf-8")
    assert spoken(f"folder:{tmp_path}", budgets=(8,), chunk_size=6, **changes) == {"few_clusters": "warning"}


def test_document_gold_passes(tmp_path: Path) -> None:
    names = [f"d{number}" for number in range(40)]
    rows = {
        "corpus.jsonl": [{"_id": name, "title": "", "text": f"word{name} and other text"} for name in names],
        "queries.jsonl": [{"_id": f"q-{name}", "text": f"word{name}"} for name in names],
    }
    for file, records in rows.items():
        (tmp_path / file).write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    (tmp_path / "qrels").mkdir()
    judgements = "".join(f"q-{name}\t{name}\t{1 + number % 2}\n" for number, name in enumerate(names))
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judgements, encoding="utf-8")
    assert spoken(f"beir:{tmp_path}", chunker="whole") == {}


def test_random_control_allows_rare_evidence(good: Evidence) -> None:
    """One chunk of 2000 is drawn once in a while; a rule of five standard deviations would then call the metric wrong."""
    text = "word " * 2000
    document = Document("d", text)
    chunks = [Chunk(Span("d", at, at + 4), "word") for at in range(0, len(text), 5)]
    example = Example("q", "word?", evidence=((Span("d", 5000, 5004),),))
    tables = token_tables([document], SimpleTokenizer())
    for seed in range(30):
        rare = replace(
            good, settings=Settings(seed=seed, top_k=1), dataset=Dataset("d", (document,), (example,)), chunks=chunks, tables=tables
        )
        assert CHECKS["random"](rare).level == "ok", seed


# --- faults in hits and scores ----------------------------------------------------------------------------------------------------


def changed(run: Evidence, metric: str, value: float) -> Evidence:
    """Return the run with another score for its first question."""
    values = run.scores[metric].copy()
    values[0] = value
    return replace(run, scores={**run.scores, metric: values})


def reranked(hits: Sequence[Hit]) -> list[Hit]:
    return [Hit(hit.chunk, hit.score, rank) for rank, hit in enumerate(hits, start=1)]


def first_hits(run: Evidence, hits: Sequence[Hit]) -> Evidence:
    return replace(run, hits=[list(hits), *run.hits[1:]])


def first_example(run: Evidence, **changes: Any) -> Evidence:
    first, *others = run.dataset.examples
    return replace(run, dataset=replace(run.dataset, examples=(replace(first, **changes), *others)))


FAULTS: dict[str, tuple[str, str, Callable[[Evidence], Evidence]]] = {
    "nDCG of 2.13 (D15)": ("bounded", "error", lambda run: changed(run, "ndcg@3", 2.13)),
    "negative score": ("bounded", "error", lambda run: changed(run, "token_iou@1", -0.1)),
    "recall falls with k": ("monotone", "error", lambda run: changed(changed(run, "recall@1", 1.0), "recall@3", 0.5)),
    "hit falls with k": ("monotone", "error", lambda run: changed(changed(run, "hit@1", 1.0), "hit@3", 0.0)),
    "MRR falls with k (D29)": ("monotone", "error", lambda run: changed(changed(run, "mrr@1", 1.0), "mrr@3", 0.5)),
    "evidence recall falls with the budget": (
        "monotone",
        "error",
        lambda run: changed(changed(run, "evidence_recall@16t", 0.9), "evidence_recall@64t", 0.8),
    ),
    "ranking turned round": ("ranks_in_order", "error", lambda run: first_hits(run, [run.hits[0][0], *reranked(run.hits[0])[:0:-1]])),
    "rank from 0 (D30)": ("ranks_in_order", "error", lambda run: first_hits(run, [replace(hit, rank=hit.rank - 1) for hit in run.hits[0]])),
    "the same chunk twice": ("duplicate_ids", "error", lambda run: first_hits(run, reranked([run.hits[0][0], *run.hits[0]]))),
    "chunk id twice": (
        "duplicate_ids",
        "error",
        lambda run: replace(run, chunks=[*run.chunks, *run.chunks], texts=[*run.texts, *run.texts]),
    ),
    "question id twice": ("duplicate_ids", "error", lambda run: first_example(run, id=run.dataset.examples[1].id)),
    "4 % unscored": ("unscored", "error", lambda run: changed(run, "evidence_recall@16t", np.nan)),
    "stale vectors (D2, VX8)": ("roles", "error", lambda run: first_hits(run, [replace(hit, score=hit.score / 2) for hit in run.hits[0]])),
    "the model asks for other prefixes": (
        "roles",
        "error",
        lambda run: replace(run, model=replace(MODEL, prefixes={"query": "q: ", "passage": ""})),
    ),
    "evidence stands in another part of the split": ("leakage", "error", lambda run: replace(run, elsewhere={"d02"})),
    "chunks longer than the model reads (VX7)": ("truncated", "warning", lambda run: replace(run, model=replace(MODEL, max_length=3))),
    "a model for another language (VX9)": ("language", "warning", lambda run: replace(run, model=replace(MODEL, languages=("ko",)))),
    "eleven groups": (
        "few_clusters",
        "warning",
        lambda run: replace(run, clusters=["d02" if name == "d01" else name for name in run.clusters]),
    ),
    "a budget above the corpus": (
        "saturated",
        "warning",
        lambda run: replace(run, settings=run.settings.replace(budgets=(512,), primary="evidence_recall@512t")),
    ),
    "k as large as the corpus": (
        "saturated",
        "warning",
        lambda run: replace(run, settings=run.settings.replace(primary=f"recall@{len(run.chunks)}")),
    ),
    "losses": ("unresolved", "warning", lambda run: replace(run, dataset=replace(run.dataset, losses=("a.md was skipped",)))),
    "an index that misses hits (D17)": ("ann_recall", "warning", lambda run: replace(run, ann_recall=0.94)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_by_its_check_alone(good: Evidence, fault: str) -> None:
    check, level, plant = FAULTS[fault]
    assert levels(audit(plant(good))) == {check: level}


def test_little_is_tolerated(good: Evidence) -> None:
    assert levels(audit(replace(good, ann_recall=0.95))) == {}
    rounding = first_hits(good, [replace(hit, score=0.5 + 1e-12 * hit.rank) for hit in good.hits[0]])
    assert CHECKS["ranks_in_order"](rounding).level == "ok"
    many = replace(good, scores={"recall@3": np.r_[np.nan, np.ones(49)]})
    assert CHECKS["unscored"](many).level == "ok"
    assert CHECKS["bounded"](replace(good, scores={"recall@3": np.full(3, np.nan)})).level == "ok"


def test_a_metric_that_wants_all_of_the_evidence_fails_the_oracle(good: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "ndcg", lambda found, gains, k: 0.9)
    assert levels(audit(good)) == {"oracle": "error"}


def test_d28_a_metric_that_takes_the_whole_document_fails_the_random_control(good: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judging documents instead of spans gives random chunks several times what chance gives; hits still fit their own questions best."""
    monkeypatch.setattr(metrics, "touches", lambda span, unit: any(span.document_id == other.document_id for other in unit))
    assert levels(audit(good)) == {"random": "error"}


# --- the checks themselves --------------------------------------------------------------------------------------------------------


def test_every_check_has_a_fault_that_it_alone_finds() -> None:
    in_whole_runs = {"oracle", "random", "shuffled_gold"}  # in test_audit_runs.py
    in_whole_runs |= {
        "vectors_finite",
        "reranker_truncated",
        "bm25_ceiling",
        "ceiling_floor",
    }  # in test_audit_planted.py, _vectors.py, _health.py
    assert {check for check, _, _ in FAULTS.values()} | in_whole_runs == set(CHECKS)


def test_chance_is_the_hypergeometric_expectation(good: Evidence) -> None:
    """Two of four chunks touch the evidence; two draws miss both with probability 2/4 · 1/3 = 1/6."""
    chunks = [Chunk(Span("d", at, at + 4), "text") for at in (0, 4, 8, 12)]
    example = Example("q", "?", evidence=((Span("d", 2, 8),),))
    run = replace(good, settings=Settings(top_k=2), dataset=Dataset("d", (), (example,)), chunks=chunks)
    assert run.relevant == [[{0, 1}]]  # the third chunk only touches the end
    assert run.chance == pytest.approx([5 / 6])
    assert replace(run, settings=Settings(top_k=9)).chance == pytest.approx([1])
    alternatives = replace(example, evidence=((Span("d", 0, 1), Span("d", 12, 13)), (Span("e", 0, 5),)))
    other = replace(run, dataset=Dataset("d", (), (alternatives,)))
    assert other.relevant == [[{0, 3}, set()]]
    assert other.chance == pytest.approx([5 / 12])


def test_shuffled_gold_compares_with_questions_of_other_groups_only(good: Evidence) -> None:
    """Half of the questions share their evidence; drawn from all, foreign evidence would score 0.25 or more."""
    first = good.dataset.examples[0].evidence
    examples = [replace(example, evidence=first) if row < 12 else example for row, example in enumerate(good.dataset.examples)]
    run = replace(
        good,
        dataset=replace(good.dataset, examples=tuple(examples)),
        hits=[good.hits[0] if row < 12 else found for row, found in enumerate(good.hits)],
        clusters=["first" if row < 12 else "other" for row in range(24)],
    )
    assert float(message(run, "shuffled_gold").rpartition(" ")[2]) < 0.1


@pytest.mark.parametrize("changes", [{"limit": 9}, {"top_k": 13}])
def test_shuffled_gold_needs_questions_and_many_more_chunks_than_hits(small, evidence_of, changes: dict) -> None:
    run = evidence_of(small("en"), retriever="bm25", **changes)
    hopeless = replace(run, scores={name: 0 * values for name, values in run.scores.items()})
    assert message(hopeless, "shuffled_gold").startswith("not applicable")
    enough = evidence_of(small("en"), retriever="bm25", limit=12, top_k=9)
    hopeless = replace(enough, scores={name: 0 * values for name, values in enough.scores.items()})
    assert CHECKS["shuffled_gold"](hopeless).level == "warning"


def test_messages_name_the_question_and_the_numbers(good: Evidence) -> None:
    assert message(changed(good, "recall@3", 0.0), "monotone") == "recall@3 is below recall@1 for question 'd01a'"
    assert message(changed(good, "ndcg@3", 2.13), "bounded") == "ndcg@3 outside 0 to 1"
    assert message(replace(good, ann_recall=0.5), "ann_recall") == "the index 'exact' finds 50.0% of the 3 hits of exact search"
    assert "evidence" in message(good, "oracle")
    assert message(good, "shuffled_gold").startswith("recall@3 is ")


def test_the_audit_embeds_nothing_anew_the_second_time(small, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a run with all its vectors in the cache would load the model for its audit, for instance after a change of the limit."""
    monkeypatch.setitem(embedding.EMBEDDERS, "made", MadeModel)
    settings = Settings(dataset=small("en"), embedder="made", **SMALL)
    assert experiment.run(settings).cache["misses"] > 0
    for changes in ({}, {"limit": 7, "seed": 3}, {"split": "confirmation"}, {"top_k": 1}):
        assert experiment.run(settings.replace(**changes)).cache["misses"] == 0


def test_probed_questions_are_few(good: Evidence) -> None:
    class Counting(MadeModel):
        calls = []  # noqa: RUF012 - its own

    assert CHECKS["roles"](replace(good, embedder=Counting())).level == "ok"
    assert len(Counting.calls) == 2 + 2 * audit_vectors.PROBED
