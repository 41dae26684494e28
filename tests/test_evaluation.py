"""Scoring hits, the failures shown, and result records (ST1, ST8, D11, D15)."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import make_result

from workbench import evaluation, metrics
from workbench.datatypes import Chunk, Dataset, Document, Example, Hit, Span, WorkbenchError
from workbench.diagnosis import EXCERPT
from workbench.embedding import HashEmbedder
from workbench.evaluation import (
    Check,
    RunResult,
    ann_recall,
    load_results,
    rank_cutoffs,
    save_results,
    score,
    worst_questions,
)
from workbench.index_approximate import HnswIndex
from workbench.packing import pack
from workbench.retrieval import create_retriever
from workbench.settings import Settings
from workbench.tokens import SimpleTokenizer, token_tables

TEXT = "one two three four five six seven eight"
DOCUMENTS = tuple(Document(f"d{number}", TEXT, f"Title {number}") for number in range(5))
TABLES = token_tables(DOCUMENTS, SimpleTokenizer())
CHUNKS = [Chunk(Span(document.id, start, end), TEXT[start:end]) for document in DOCUMENTS for start, end in ((0, 18), (19, 39))]


def example(name: str, *units: tuple[tuple[str, int, int], ...]) -> Example:
    return Example(name, f"question {name}", ("answer",), tuple(tuple(Span(*span) for span in unit) for unit in units))


def hits(*rows: int) -> list[Hit]:
    return [Hit(CHUNKS[row], 1 / rank, rank) for rank, row in enumerate(rows, start=1)]


# --- ranks ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("top_k", "expected"), [(1, (1,)), (4, (1, 3, 4)), (5, (1, 3, 5)), (10, (1, 3, 5, 10)), (25, (1, 3, 5, 10, 25))])
def test_rank_cutoffs_end_at_top_k(top_k: int, expected: tuple[int, ...]) -> None:
    assert rank_cutoffs(top_k) == expected


# --- scores -----------------------------------------------------------------------------------------------------------------------


def test_d11_every_metric_gives_one_number_for_every_question() -> None:
    examples = (example("a", (("d0", 0, 18),)), example("b", (("d1", 0, 18),), (("d2", 0, 18),)))
    dataset = Dataset("made", DOCUMENTS, examples)
    found = [hits(0, 3), hits(2, 5, 4)]
    contexts = [pack(items, 64, TABLES) for items in found]
    settings = Settings(top_k=3, budgets=(4, 64))
    scores = score(dataset, found, contexts, settings, TABLES)
    assert list(scores) == metrics.metric_names((1, 3), (4, 64), document_gold=False)
    assert {values.shape for values in scores.values()} == {(2,)}
    by_hand = {"recall@1": [1, 0.5], "recall@3": [1, 1], "hit@1": [1, 1], "mrr@3": [1, 1], "precision@3": [1 / 3, 2 / 3]}
    by_hand |= {"ndcg@3": [1, 1.5 / (1 + 1 / math.log2(3))], "evidence_recall@4t": [1, 0.5], "evidence_recall@64t": [1, 1]}
    for name, values in by_hand.items():
        assert scores[name] == pytest.approx(values), name


def test_document_gold_has_no_budget_recall() -> None:
    dataset = Dataset("made", DOCUMENTS, (example("a", (("d0", 0, len(TEXT)),)),), document_gold=True)
    scores = score(dataset, [hits(0)], [pack(hits(0), 0, TABLES)], Settings(top_k=1), TABLES)
    assert not [name for name in scores if name.startswith(metrics.BUDGET_METRIC)]


def test_d15_the_same_chunk_twice_and_wrong_ranks_raise() -> None:
    dataset = Dataset("made", DOCUMENTS, (example("a", (("d0", 0, 18),)),))
    for found, message in ((hits(0, 0), "the same chunk was retrieved twice"), (hits(0, 1)[::-1], "ranks 1, 2, 3")):
        with pytest.raises(WorkbenchError, match=f"'a'.*{message}"):
            score(dataset, [found], [pack(found, 64, TABLES)], Settings(top_k=2), TABLES)


def test_ann_recall_counts_the_exact_hits_that_were_found(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text number {number} {'abcdefgh'[number % 8]}" for number in range(40)]
    chunks = [Chunk(Span(f"c{number:02}", 0, len(text)), text) for number, text in enumerate(texts)]
    context: dict[str, Any] = {"embedder": HashEmbedder(), "index_options": {}, "filter": "", "seed": 0}
    questions = [example(name) for name in ("number 7", "text a", "39")]
    for spec in ("dense", "hybrid"):
        retriever = create_retriever(spec, chunks, False, index="hnsw", **context)
        assert ann_recall(retriever, questions, 4).tolist() == [1, 1, 1]
        dense = getattr(retriever, "dense", retriever)
        assert isinstance(dense.index, HnswIndex)  # untouched
        assert ann_recall(create_retriever(spec, chunks, False, index="flat", **context), questions, 4) is None
    assert ann_recall(create_retriever("bm25", chunks, False, **context), questions, 4) is None
    retriever = create_retriever("dense", chunks, False, index="hnsw", **context)
    search = retriever.index.search
    monkeypatch.setattr(retriever.index, "search", lambda *given: [(rows[:2], scores[:2]) for rows, scores in search(*given)])
    assert ann_recall(retriever, questions, 4).tolist() == [0.5, 0.5, 0.5]
    monkeypatch.setattr(retriever.index, "search", lambda *given: [(rows[:0], scores[:0]) for rows, scores in search(*given)])
    assert ann_recall(retriever, questions, 4).tolist() == [0, 0, 0]
    assert ann_recall(retriever, [], 4).tolist() == []


# --- failures ---------------------------------------------------------------------------------------------------------------------


def test_worst_questions_are_the_three_that_lost_most_in_full() -> None:
    examples = tuple(example(name, (("d0", 0, 18),), (("d1", 19, 39), ("d2", 0, 3))) for name in ("e", "d", "c", "b", "a"))
    dataset = Dataset("made", DOCUMENTS, examples)
    found = [hits(0, 9, 3, 4)] * 5
    worst = list(worst_questions(dataset, found, np.array([0.5, 1.0, 0.2, 0.5, 0.9])))
    assert [(item["id"], item["score"]) for item in worst] == [("c", 0.2), ("b", 0.5), ("e", 0.5)]
    assert worst[0]["question"] == "question c"
    assert worst[0]["answers"] == ["answer"]
    assert worst[0]["evidence"] == [
        {"document": "d0", "title": "Title 0", "text": "one two three four", "rank": 1},
        {"document": "d1", "title": "Title 1", "text": "five six seven eight", "rank": 3},
    ]
    assert [(hit["rank"], hit["document"], hit["score"]) for hit in worst[0]["hits"]] == [(1, "d0", 1.0), (2, "d4", 0.5), (3, "d1", 0.3333)]
    assert json.loads(json.dumps(worst)) == worst


def test_worst_questions_leave_out_perfect_and_unscored_ones() -> None:
    dataset = Dataset("made", DOCUMENTS, tuple(example(name, (("d0", 0, 3),)) for name in "abcde"))
    worst = worst_questions(dataset, [[]] * 5, np.array([math.nan, 0.9, math.nan, 0.1, 1.0]))
    assert [item["id"] for item in worst] == ["d", "b"]
    assert list(worst_questions(dataset, [[]] * 5, np.ones(5))) == []


def test_worst_questions_cut_long_texts() -> None:
    long = Document("long", "word " * 1000)
    dataset = Dataset("made", (long,), (example("a", (("long", 0, 5000),)),))
    whole = Hit(Chunk(Span("long", 0, 5000), long.text), 1.0, 1)
    (item,) = worst_questions(dataset, [[whole]], np.zeros(1))
    assert len(item["evidence"][0]["text"]) == len(item["hits"][0]["text"]) == EXCERPT


def test_a_hit_without_a_score_does_not_keep_results_from_being_saved(tmp_path: Path) -> None:
    dataset = Dataset("made", DOCUMENTS, (example("a", (("d0", 0, 3),)),))
    (item,) = worst_questions(dataset, [[Hit(CHUNKS[0], math.nan, 1)]], np.zeros(1))
    assert item["hits"][0]["score"] is None
    (loaded,) = load_results(save_results(tmp_path / "results.json", [make_result({"recall@1": [0.0]}, failures=(item,))]))
    assert loaded.failures == (item,)


# --- results ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def result() -> RunResult:
    return replace(
        make_result({"recall@1": [1, 0, math.nan, 1], "ndcg@10": [0.25, 0.5, 1 / 3, 1]}, clusters=("a", "a", "b", "c")),
        timings={"index": 0.123456},
        cache={"hits": 3, "misses": 1},
        failures=({"id": "q1", "question": "?"},),
        asked={"recall@1": np.array([True, False, True, True])},
        answers=({"id": "q1", "text": "한글 </script>", "prompt_tokens": None},),
    )


def test_results_survive_json_with_nan(result: RunResult, tmp_path: Path) -> None:
    record = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert record["scores"]["recall@1"] == [1, 0, None, 1]
    assert record["config_id"] == result.settings.config_id
    again = RunResult.from_json(record)
    assert again.to_json() == result.to_json()
    assert again.settings == result.settings
    assert again.audit == result.audit
    for name, values in result.scores.items():
        assert np.array_equal(again.scores[name], values, equal_nan=True)
    assert record["asked"] == {"recall@1": "1011"}
    assert again.asked["recall@1"].dtype == bool
    assert again.asked_of("recall@1").tolist() == [True, False, True, True]
    assert again.asked_of("ndcg@10").tolist() == [True] * 4
    assert again.answers == result.answers
    (loaded,) = load_results(save_results(tmp_path / "deep" / "result.json", [result]))
    assert loaded.to_json() == result.to_json()


def test_unscored_questions_are_counted_never_averaged(result: RunResult) -> None:
    values, clusters = result.values("recall@1")
    assert (values.tolist(), clusters) == ([1, 0, 1], ["a", "a", "c"])
    assert result.unscored("recall@1") == 1
    assert result.unscored("ndcg@10") == 0
    summary = result.summary()
    assert list(summary) == ["recall@1", "ndcg@10"]
    assert summary["recall@1"]["mean"] == pytest.approx(2 / 3)
    assert (summary["recall@1"]["n"], summary["recall@1"]["unscored"]) == (3, 1)
    json.dumps(summary, allow_nan=False)


def test_a_question_that_a_metric_is_not_asked_of_is_not_unscored() -> None:
    scores = {"answer_f1": [1, math.nan, math.nan, 0.5], "refusal_recall": [math.nan] * 4, "ndcg@10": [math.nan, 1, 1, 1]}
    asked = {"answer_f1": np.array([True, True, False, True]), "refusal_recall": np.zeros(4, dtype=bool)}
    made = make_result(scores, asked=asked)
    assert [made.unscored(name) for name in scores] == [1, 0, 1]
    assert {name: (row["n"], row["unscored"]) for name, row in made.summary().items()} == {
        "answer_f1": (2, 1),
        "refusal_recall": (0, 0),
        "ndcg@10": (3, 1),
    }
    assert made.summary()["answer_f1"]["mean"] == 0.75
    assert made.summary()["refusal_recall"]["mean"] is None


def test_scores_of_some_questions_spread_over_all() -> None:
    spread_out = evaluation.spread(np.array([0.5, 0.25]), [3, 1], 4)
    assert np.array_equal(spread_out, [math.nan, 0.25, math.nan, 0.5], equal_nan=True)
    assert np.isnan(evaluation.spread(np.array([]), [], 2)).all()


def test_st8_the_mean_of_nothing_is_unknown_never_0() -> None:
    nothing = make_result({"recall@1": [math.nan]})
    assert math.isnan(nothing.interval("recall@1").mean)
    assert nothing.summary()["recall@1"] == {"mean": None, "low": None, "high": None, "n": 0, "unscored": 1}
    assert make_result({"recall@1": [1.0]}).summary()["recall@1"] == {"mean": 1.0, "low": None, "high": None, "n": 1, "unscored": 0}


def test_unknown_metric_names_the_nearest(result: RunResult) -> None:
    with pytest.raises(WorkbenchError, match=r"unknown metric 'ndgc@10'; did you mean 'ndcg@10'\?"):
        result.interval("ndgc@10")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "result of format 99, this version reads 3"),
        ({"scores": {"recall@1": [1.0]}}, "scores and questions differ in number"),
        ({"clusters": ["a"]}, "scores and questions differ in number"),
        ({"asked": {"recall@1": "101"}}, "scores and questions differ in number"),
        ({"asked": {"recall@1": None}}, "not a complete result record"),
        ({"answers": None}, "not a complete result record"),
        ({"scores": {"recall@1": ["high", 0, 0, 0]}}, "not a complete result record"),
        ({"scores": []}, "not a complete result record"),
        ({"audit": [{"id": "oracle"}]}, "not a complete result record"),
        ({"settings": {"chunk_sise": 3}}, "unknown setting 'chunk_sise'; did you mean 'chunk_size'"),
    ],
)
def test_broken_records_are_refused(result: RunResult, change: dict, message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        RunResult.from_json(result.to_json() | change)


def test_incomplete_records_are_refused(result: RunResult) -> None:
    record = result.to_json()
    for name in sorted(set(record) - {"config_id"}):
        with pytest.raises(WorkbenchError, match=f"not a complete result record: KeyError\\('{name}'\\)"):
            RunResult.from_json({key: value for key, value in record.items() if key != name})


@pytest.mark.parametrize(
    ("text", "message"), [("{}", "holds no results"), ("[]", "holds no results"), ('{"results": []}', "holds no results")]
)
def test_files_without_results_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "result.json").write_text(text, encoding="utf-8")
    with pytest.raises(WorkbenchError, match=message):
        load_results(tmp_path / "result.json")


def test_a_check_is_plain_data() -> None:
    assert RunResult.from_json(make_result({"hit@1": [1, 0]}, audit=(Check("a", "warning", "b"),)).to_json()).audit == (
        Check("a", "warning", "b"),
    )


def test_a_result_can_be_restricted_to_parts_of_the_split():
    result = make_result({"recall@5": [1.0, 0.0, 0.5, 1.0]}, "aabb", parts=("train", "selection", "confirmation", "selection"))
    half = result.within(["selection"])
    assert half.example_ids == ("q1", "q3")
    assert half.clusters == ("a", "b")
    assert half.scores["recall@5"].tolist() == [0.0, 1.0]
    assert half.within(["train"]) is None
    assert RunResult.from_json(half.to_json()).parts == ("selection", "selection")
