"""Whole runs: what settings resolve to, edge cases and grids; no model is needed here."""

import json
from pathlib import Path
from typing import Any

import pytest
from made_parts import SMALL, levels

from workbench import data, experiment, metrics, retrieval
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult, rank_cutoffs
from workbench.experiment import grid, prepare, run
from workbench.experiment_build import DEFAULT_EMBEDDERS, resolve
from workbench.experiment_latency import probe_latency
from workbench.settings import Settings

pytestmark = pytest.mark.usefixtures("own_cache")


def settings(spec: str, **changes: Any) -> Settings:
    return Settings(dataset=spec, **{"retriever": "bm25"} | SMALL | changes)


def resolved(spec: str, **changes: Any) -> Settings:
    point = settings(spec, **changes)
    return resolve(point, prepare(point))


def numbers(result: RunResult) -> dict[str, Any]:
    """Return all of a result that does not depend on the clock or the cache."""
    record = result.to_json()
    return {name: record[name] for name in record if name not in ("timings", "cache")}


# --- resolve ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "tokeniser"), [("en", "english"), ("ko", "hangul-bigram")])
@pytest.mark.parametrize("retriever", ["bm25", "dense", "hybrid", "random", "bm25:auto", "hybrid:", "bm25:word"])
def test_resolve_replaces_every_auto_by_the_language(small, language: str, tokeniser: str, retriever: str) -> None:
    found = resolved(small(language), retriever=retriever)
    assert "auto" not in found.canonical()
    kind, _, given = retriever.partition(":")
    names = {"bm25": f"bm25:{tokeniser}", "hybrid": f"hybrid:{tokeniser}"}
    assert found.retriever == (retriever if given == "word" else names.get(kind, kind))
    dense = kind in retrieval.DENSE_RETRIEVERS
    assert found.embedder == (DEFAULT_EMBEDDERS[language] if dense else "none")
    assert found.index == ("exact" if dense else "none")
    assert found.header == "title"  # a folder asks for it
    assert found.primary == "evidence_recall@64t"
    assert resolve(found, prepare(found)) == found


def test_resolve_takes_the_multilingual_model_for_other_languages(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Небо синее. Трава зелёная.", encoding="utf-8")
    evidence = [[{"document": "a", "quote": "Небо синее."}]]
    (tmp_path / "questions.jsonl").write_text(json.dumps({"id": "q", "question": "Небо?", "evidence": evidence}), encoding="utf-8")
    assert resolved(f"folder:{tmp_path}", retriever="hybrid").embedder == DEFAULT_EMBEDDERS["ko"]
    assert resolved(f"folder:{tmp_path}", retriever="hybrid").retriever == "hybrid:word"


@pytest.mark.parametrize(
    ("budgets", "primary"), [((256, 512, 1024), "512t"), ((100, 600), "600t"), ((64, 128), "128t"), ((2048,), "2048t")]
)
def test_the_primary_budget_is_512_or_the_next(small, budgets: tuple, primary: str) -> None:
    assert resolved(small("en"), budgets=budgets).primary == f"evidence_recall@{primary}"


SAME = {
    "embedder and index of a retriever without": ({"embedder": "hash", "index": "hnsw"}, {}),
    "options of unused parts": ({"options": {"embedder": {"dtype": "float32"}, "index": {"ef": 8}}}, {}),
    "empty options": ({"options": {"chunker": {}, "retriever": {}}}, {}),
    "auto and what it stands for": ({"header": "title", "primary": "evidence_recall@64t", "retriever": "bm25:english"}, {}),
    "sizes of whole documents": ({"chunker": "whole", "chunk_size": 99, "chunk_overlap": 9}, {"chunker": "whole"}),
    "no embedder named for dense": ({"retriever": "dense", "embedder": "none", "index": "none"}, {"retriever": "dense"}),
    "seed": ({"seed": 5}, {}),
}


@pytest.mark.parametrize("case", SAME)
def test_settings_that_do_the_same_have_one_config_id(small, case: str) -> None:
    left, right = SAME[case]
    assert resolved(small("en"), **left).config_id == resolved(small("en"), **right).config_id


@pytest.mark.parametrize("changes", [{"chunk_size": 17}, {"options": {"retriever": {"k1": 2.0}}}, {"retriever": "bm25:word"}, {"limit": 5}])
def test_settings_that_differ_have_other_config_ids(small, changes: dict) -> None:
    assert resolved(small("en"), **changes).config_id != resolved(small("en")).config_id


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chunker": "recursiv"}, r"unknown chunker 'recursiv'; did you mean 'recursive'\?"),
        ({"retriever": "bm52"}, r"unknown retriever 'bm52'; did you mean 'bm25'\?"),
        ({"retriever": "bm25:hangul"}, r"unknown tokeniser 'hangul'; did you mean 'hangul-bigram'\?"),
        ({"retriever": "dense", "embedder": "hsah"}, r"unknown embedder 'hsah'; did you mean 'hash'\?"),
        ({"retriever": "dense", "embedder": "hash:x"}, "embedder 'hash' takes no argument"),
        ({"retriever": "dense", "embedder": "hash", "index": "hsnw"}, r"unknown index 'hsnw'; did you mean 'hnsw'\?"),
        ({"options": {"indx": {"ef": 3}}}, r"unknown options for 'indx'; did you mean 'index'\?"),
        ({"options": {"retriever": {"k11": 3}}}, r"unknown option of retriever 'bm25': 'k11'; did you mean 'k1'\?"),
        ({"retriever": "dense", "embedder": "hash", "options": {"embedder": {"dim": 3}}}, "unknown option of embedder 'hash': 'dim'"),
        ({"retriever": "dense", "embedder": "hash", "options": {"index": {"ef": 3}}}, "index 'exact' has no options, got 'ef'"),
        ({"options": {"chunker": {"size": 3}}}, "chunker 'recursive' has no options, got 'size'"),
        ({"primary": "ndcg@2"}, r"unknown metric 'ndcg@2'; did you mean 'ndcg@3'\?"),
        ({"primary": "evidence_recall@512t"}, r"unknown metric 'evidence_recall@512t'; did you mean 'evidence_recall@1"),
        ({"filter": "departement"}, "filter: no document has the metadata 'departement'"),
        ({"tokenizer": "simpel"}, "simpel"),
        ({"split": "confirmation", "limit": 1, "dataset": "demo-kr"}, r"unknown data set 'demo-kr'; did you mean 'demo-ko'\?"),
    ],
)
def test_unknown_names_options_and_metrics_name_the_nearest(small, changes: dict, message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        run(settings(spec=changes.pop("dataset", small("en")), **changes))


def test_d30_every_metric_of_a_result_may_be_the_primary_one(small) -> None:
    prepared = prepare(settings(small("en")))
    names = metrics.metric_names(rank_cutoffs(3), (16, 64), document_gold=False)
    assert list(run(settings(small("en")), prepared=prepared).scores) == names
    for name in names:
        assert run(settings(small("en"), primary=name), prepared=prepared).settings.primary == name


# --- edge cases -------------------------------------------------------------------------------------------------------------------


def write_questions(folder: Path, *questions: dict) -> str:
    (folder / "a.md").write_text("Snow is white.", encoding="utf-8")
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, questions)), encoding="utf-8")
    return f"folder:{folder}"


WHITE = {"id": "white", "question": "Is snow white?", "evidence": [[{"document": "a", "quote": "Snow is white."}]]}
BLUE = {"id": "blue", "question": "Blue?", "answers": ["yes"]}
UNANSWERABLE = {"id": "u", "question": "Why?", "unanswerable": True}


def test_no_question_with_evidence_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"none of 2 questions has evidence.*add a quote or offsets.*workbench data template"):
        run(settings(write_questions(tmp_path, UNANSWERABLE, BLUE)))
    spec = write_questions(tmp_path, WHITE, BLUE)
    unlucky = next(seed for seed in range(99) if data.sample(data.load(spec), 1, seed).examples[0].id == "blue")
    with pytest.raises(WorkbenchError, match=r"none of 1 questions has evidence.*raise `limit`, or take another split or seed"):
        run(settings(spec, limit=1, seed=unlucky))


@pytest.mark.parametrize("retriever", ["bm25", "dense", "hybrid", "random"])
def test_all_unanswerable_runs_and_says_that_nothing_was_scored(tmp_path: Path, retriever: str) -> None:
    point = settings(write_questions(tmp_path, UNANSWERABLE), retriever=retriever, embedder="hash", index="hnsw")
    result = run(point)
    assert levels(result.audit) == {"unscored": "warning"}
    assert (result.data["scored"], result.data["unanswerable"], result.example_ids) == (0, 1, ("u",))
    assert result.summary()["recall@1"] == {"mean": None, "low": None, "high": None, "n": 0, "unscored": 0}
    assert RunResult.from_json(json.loads(json.dumps(result.to_json(), allow_nan=False))).to_json() == result.to_json()
    assert probe_latency(point, questions=2)["n"] == 2


def test_top_k_above_the_corpus_is_clipped_and_recorded(small) -> None:
    result = run(settings(small("en"), retriever="dense", embedder="hash", top_k=500))
    assert result.details["top_k_clipped"] == result.details["chunks"] == result.details["hits_mean"]
    assert result.interval("recall@500").mean == 1
    assert run(settings(small("en"))).details["top_k_clipped"] is None


@pytest.mark.parametrize("retriever", ["bm25", "dense", "hybrid", "random"])
def test_one_document_and_one_question_run(tmp_path: Path, retriever: str) -> None:
    result = run(settings(write_questions(tmp_path, WHITE), retriever=retriever, embedder="hash"))
    assert {name: values.tolist() for name, values in result.scores.items() if name.startswith(("recall", "ndcg"))} == {
        "recall@1": [1], "recall@3": [1], "ndcg@1": [1], "ndcg@3": [1]
    }  # fmt: skip
    assert result.summary()["recall@1"]["low"] is None  # one question has no interval
    assert levels(result.audit).keys() == {"few_clusters", "saturated"}


def test_limit_is_seeded_and_d26_never_removes_documents(small) -> None:
    whole = run(settings(small("en")))
    drawn = [run(settings(small("en"), limit=8, seed=seed)) for seed in (0, 0, 1)]
    assert drawn[0].example_ids == drawn[1].example_ids != drawn[2].example_ids
    for result in drawn:
        assert result.data["questions"] == 8
        assert set(result.example_ids) < set(whole.example_ids)
        assert result.data["documents"] == whole.data["documents"] == 12
        assert result.details["chunks"] == whole.details["chunks"]
    scores = dict(zip(whole.example_ids, whole.scores["ndcg@3"], strict=True))
    for result in drawn:
        assert result.scores["ndcg@3"].tolist() == [scores[name] for name in result.example_ids]


def test_parts_of_a_split_share_no_question_and_no_cluster(small) -> None:
    parts = [run(settings(small("en"), split=name)) for name in data.SHARES]
    assert sorted(name for part in parts for name in part.example_ids) == sorted(run(settings(small("en"))).example_ids)
    assert sum(len(set(part.clusters)) for part in parts) == len({name for part in parts for name in part.clusters}) == 13
    assert {part.details["chunks"] for part in parts} == {parts[0].details["chunks"]}
    assert run(settings(small("en"), split="train", seed=1)).example_ids != parts[0].example_ids


def test_random_control_depends_on_the_seed(small) -> None:
    first, again, other = (run(settings(small("en"), retriever="random", seed=seed)) for seed in (0, 0, 1))
    assert numbers(first) == numbers(again)
    assert first.failures[0]["hits"] != other.failures[0]["hits"]


def test_results_survive_json(small) -> None:
    result = run(settings(small("ko")))
    assert RunResult.from_json(json.loads(json.dumps(result.to_json(), allow_nan=False))).to_json() == result.to_json()
    assert result.data["language"] == "ko"
    assert result.data["scored"] == 24
    assert result.data["unanswerable"] == 1
    assert {"numpy", "PyStemmer"} <= set(result.versions)


def test_d21_a_failing_metric_fails_the_run(small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "ndcg", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(settings(small("en")))


# --- grid -------------------------------------------------------------------------------------------------------------------------


def test_grid_runs_what_differs_once(small, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = data.load
    monkeypatch.setattr(data, "load", lambda spec: loaded.append(spec) or load(spec))
    ran: list[Settings] = []
    one = experiment._run
    monkeypatch.setattr(experiment, "_run", lambda point, *given: ran.append(point) or one(point, *given))
    results = grid(
        settings(small("en"), embedder="hash"), retriever=["bm25", "bm25:english", "dense"], chunk_size=[16, 32], index=["exact", "none"]
    )
    assert [(result.settings.retriever, result.settings.chunk_size) for result in results] == [
        ("bm25:english", 16), ("bm25:english", 32), ("dense", 16), ("dense", 32)
    ]  # fmt: skip
    assert loaded == [small("en")]
    assert len(ran) == 4
    alone = run(settings(small("en"), embedder="hash", retriever="dense", chunk_size=32))
    assert numbers(alone) == numbers(results[-1])


def test_grid_over_data_and_seeds_prepares_each_once(small, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = data.load
    monkeypatch.setattr(data, "load", lambda spec: loaded.append(spec) or load(spec))
    results = grid(settings(small("en"), limit=8), chunk_size=[16, 32], dataset=[small("en"), small("ko")], seed=[0, 1])
    assert len(results) == 8
    assert len(loaded) == 4
    assert {result.settings.retriever for result in results} == {"bm25:english", "bm25:hangul-bigram"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"chunk_size": []}, r"grid: chunk_size = \[\] must be a list of at least one value"),
        ({"chunker": "fixed"}, "grid: chunker = 'fixed' must be a list"),
        ({"chunk_sise": [1]}, r"unknown setting 'chunk_sise'; did you mean 'chunk_size'\?"),
        ({"chunker": ["fixed", "fxied"]}, r"unknown chunker 'fxied'; did you mean 'fixed'\?"),
    ],
)
def test_grid_refuses_bad_lists(small, fields: dict, message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        grid(settings(small("en")), **fields)
