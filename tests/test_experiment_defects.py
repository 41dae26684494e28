"""Defects of other tools that whole runs must not have: in calls and numbers, by their ids D1 to D28."""

import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from made_parts import SMALL, MadeModel
from small_corpus import write_corpus
from test_experiment import numbers

from workbench import data, embedding, experiment
from workbench.chunking import make_chunk
from workbench.datatypes import Dataset, Document, Example, Span, WorkbenchError
from workbench.experiment import run
from workbench.experiment_latency import probe_latency
from workbench.settings import Settings

pytestmark = pytest.mark.usefixtures("own_cache")


def settings(spec: str, **changes: Any) -> Settings:
    return Settings(dataset=spec, **SMALL | {"embedder": "made"} | changes)


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> type[MadeModel]:
    """Offer an embedder `made` that counts what it embeds."""

    class Counting(MadeModel):
        calls: ClassVar[list] = []

    monkeypatch.setitem(embedding.EMBEDDERS, "made", Counting)
    return Counting


@pytest.mark.parametrize("retriever", ["dense", "hybrid"])
def test_d1_questions_are_embedded_as_queries_and_chunks_as_passages(small, made: type[MadeModel], retriever: str) -> None:
    result = run(settings(small("en"), retriever=retriever))
    dataset = data.load(small("en"))
    asked = {role: {text for text, given in made.calls if given == role} for role in ("query", "passage")}
    fixed = {"workbench"}  # the audit's
    assert asked["query"] - fixed == {example.question for example in dataset.examples if example.evidence}
    assert len(asked["passage"] - fixed) == result.details["chunks"]
    assert len(made.calls) == len(set(made.calls))


def test_d2_new_weights_under_the_same_name_never_meet_old_vectors(small, made: type[MadeModel], monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(settings(small("en")))
    calls = len(made.calls)
    encode = made.encode
    monkeypatch.setattr(made, "weights", 2)
    monkeypatch.setattr(made, "encode", lambda self, texts, role: np.roll(encode(self, texts, role), 7, axis=1) * np.float32(-1))
    second = run(settings(small("en")))
    assert len(made.calls) == 2 * calls
    assert second.cache["misses"] == first.cache["misses"]
    assert numbers(second) == numbers(run(settings(small("en")), cached=False))
    assert second.values("ndcg@3")[0].tolist() == first.values("ndcg@3")[0].tolist()  # turned alike, all cosines stay what they were


def test_d6_ten_times_the_documents_take_about_ten_times_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are counted exactly; what hides inside one call (a scan of a list) would show in the processor time, 100 times as long."""

    def corpus(spec: str) -> Dataset:
        size = int(spec)
        documents = [Document(f"d{number}", f"Fact {number} says w{number % 97} and w{number % 89} here.") for number in range(size)]
        examples = [Example(f"q{number}", f"fact {number}", evidence=((Span(f"d{number}", 0, 9),),)) for number in range(20)]
        return Dataset(spec, tuple(documents), tuple(examples))

    monkeypatch.setattr(data, "load", corpus)

    def work(size: int, **changes: Any) -> tuple[int, float]:
        count = 0

        def counted(*event: Any) -> None:
            nonlocal count
            count += 1

        began = time.process_time()
        run(Settings(dataset=str(size), **SMALL | changes), cached=False)
        seconds = time.process_time() - began
        sys.setprofile(counted)
        try:
            run(Settings(dataset=str(size), **SMALL | changes), cached=False)
        finally:
            sys.setprofile(None)
        return count, seconds

    for changes in ({"retriever": "bm25"}, {"embedder": "hash"}):
        run(Settings(dataset="30", **SMALL | changes), cached=False)  # imports
        (few, short), (many, long) = work(150, **changes), work(1500, **changes)
        assert many < 12 * few
        assert long < 40 * max(short, 0.01)


@pytest.mark.parametrize("retriever", ["dense", "hybrid"])
def test_d7_a_warm_rerun_embeds_nothing(small, made: type[MadeModel], retriever: str) -> None:
    cold = run(settings(small("en"), retriever=retriever))
    assert cold.cache["calls"] > 0
    assert cold.cache["misses"] == len(made.calls)
    made.calls.clear()
    warm = run(settings(small("en"), retriever=retriever))
    assert made.calls == []
    assert (warm.cache["calls"], warm.cache["misses"]) == (0, 0)
    assert warm.cache["hits"] >= cold.cache["misses"]
    assert numbers(warm) == numbers(cold)
    assert numbers(run(settings(small("en"), retriever=retriever), cached=False)) == numbers(cold)


def test_d8_d22_one_new_document_embeds_its_chunks_and_one_edit_changes_the_fingerprint(tmp_path: Path, made: type[MadeModel]) -> None:
    folder = write_corpus(tmp_path / "corpus", "en")
    before = run(settings(f"folder:{folder}"))
    made.calls.clear()
    news = "# News\n\nThe lift of building A has been out of order since Monday.\n\nRepairs will take a week or two, says the technician.\n"
    (folder / "new.md").write_text(news, encoding="utf-8")
    added = run(settings(f"folder:{folder}"))
    new = [text for text, _ in made.calls]
    assert len(new) == added.details["chunks"] - before.details["chunks"] > 1
    assert all(text.startswith("News ") for text in new)
    assert added.data["fingerprint"] != before.data["fingerprint"]
    made.calls.clear()
    (folder / "new.md").write_text(news.replace("week", "year"), encoding="utf-8")
    edited = run(settings(f"folder:{folder}"))
    (changed,) = made.calls
    assert "will take a year" in changed[0]
    assert len({before.data["fingerprint"], added.data["fingerprint"], edited.data["fingerprint"]}) == 3
    assert edited.config_id == before.config_id  # the same settings on other data


@pytest.mark.parametrize("retriever", ["dense", "hybrid"])
def test_d18_compressed_cosines_with_equal_ranking_score_equal(small, monkeypatch: pytest.MonkeyPatch, retriever: str) -> None:
    """All cosines of the second model lie between 0.9 and 1."""

    class Narrow(MadeModel):
        def encode(self, texts: Any, role: Any) -> np.ndarray:
            vectors = super().encode(texts, role)
            return np.hstack([vectors, np.full((len(texts), 1), 3, np.float32)]) / np.sqrt(np.float32(10))

    wide = run(settings(small("en"), retriever=retriever), cached=False)
    monkeypatch.setitem(embedding.EMBEDDERS, "made", Narrow)
    narrow = run(settings(small("en"), retriever=retriever), cached=False)
    assert wide.to_json()["scores"] == narrow.to_json()["scores"]
    best = [result.failures for result in (wide, narrow)]
    assert [item["id"] for item in best[0]] == [item["id"] for item in best[1]]


def test_d20_retrievers_with_one_cache_never_share_hits(small) -> None:
    variants = [
        {"retriever": "dense"},
        {"retriever": "hybrid"},
        {"retriever": "bm25"},
        {"embedder": "hash"},
        {"chunk_size": 32},
        {"header": "none"},
    ]
    alone = [numbers(run(settings(small("ko"), **changes), cached=False)) for changes in variants]
    for order in (variants, variants[::-1]):
        together = [numbers(run(settings(small("ko"), **changes))) for changes in order]
        assert (together if order is variants else together[::-1]) == alone
    assert len({str(record["scores"]) for record in alone}) == len(variants)


def test_d28_offsets_are_carried_not_found_by_text(tmp_path: Path) -> None:
    """Documents that repeat a sentence: only the place that the question means counts."""
    (tmp_path / "a.md").write_text("The fee is ten euros. " * 3 + "It rises. " + "The fee is ten euros. " * 3, encoding="utf-8")
    record = '{"id": "q", "question": "fee?", "evidence": [[{"document": "a", "start": 76, "end": 97, "text": "The fee is ten euros."}]]}'
    (tmp_path / "questions.jsonl").write_text(record, encoding="utf-8")
    point = settings(f"folder:{tmp_path}", chunker="sentence", chunk_size=7, top_k=7, embedder="hash", header="none")
    prepared = experiment.prepare(point)
    (example,) = prepared.scored.examples
    (span,) = example.evidence[0]
    assert (span.start, span.end) == (76, 97)
    assert make_chunk(prepared.dataset.documents[0], span.start, span.end).text == "The fee is ten euros."
    result = run(point, prepared=prepared)
    assert result.details["chunks"] == 7
    assert result.scores["recall@3"].tolist() == [0]  # six equal sentences, ties by place: the fourth comes fourth
    assert result.scores["recall@5"].tolist() == [1]


def test_d5_latency_leaves_out_construction_and_bypasses_the_cache(small, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    class Slow(MadeModel):
        calls: ClassVar[list] = []
        loaded = False

        def __init__(self) -> None:
            super().__init__()
            time.sleep(0.3)

        def encode(self, texts: Any, role: Any) -> np.ndarray:
            time.sleep(0.005 if self.loaded else 0.3)  # the first call loads the model
            self.loaded = True
            return super().encode(texts, role)

    monkeypatch.setitem(embedding.EMBEDDERS, "made", Slow)
    point = settings(small("en"))
    run(point)
    rows = own_cache.stat().st_size
    Slow.calls.clear()
    latency = probe_latency(point, questions=30)
    assert latency["n"] == 30
    assert 5 <= latency["median_ms"] < 150
    assert latency["median_ms"] <= latency["p95_ms"] < 250
    assert len(Slow.calls) == 31  # the warm-up too, though all is cached; no passage
    assert {role for _, role in Slow.calls} == {"query"}
    assert own_cache.stat().st_size == rows
    assert run(point).cache["misses"] == 0


def test_latency_of_a_retriever_without_embedder_and_of_no_question(small) -> None:
    latency = probe_latency(settings(small("ko"), retriever="bm25"), questions=3)
    assert 0 < latency["median_ms"] < 1000
    with pytest.raises(WorkbenchError, match="a latency probe needs at least 1 question, got 0"):
        probe_latency(settings(small("ko"), retriever="bm25"), questions=0)
