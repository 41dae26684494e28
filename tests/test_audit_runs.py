"""The audit of whole runs: faulty parts and data are found, by their own check alone unless one fault must show in two."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_parts import SMALL, MadeModel, levels
from small_corpus import write_corpus

from workbench import chunking, data, embedding, experiment, metrics, retrieval
from workbench.datatypes import Chunk, Dataset, Document, Example, Role
from workbench.report import compare
from workbench.report_markdown import table
from workbench.settings import Settings

pytestmark = pytest.mark.usefixtures("own_cache")


def spoken(spec: str, **changes: Any) -> dict[str, str]:
    """Run an experiment and return what its audit found."""
    return levels(experiment.run(Settings(dataset=spec, **{"retriever": "bm25"} | SMALL | changes)).audit)


def test_oracle_finds_a_chunker_that_loses_text(small, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lossy(chunking.RecursiveChunker):
        def chunk(self, document: Document) -> list[Chunk]:
            return [chunk for chunk in super().chunk(document) if "31 December" not in chunk.text]

    monkeypatch.setitem(chunking.CHUNKERS, "lossy", Lossy)
    assert spoken(small("en"), chunker="lossy") == {"oracle": "error"}


def test_oracle_finds_a_chunker_that_cuts_evidence(small, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every piece of evidence is still touched, but its end is in no chunk: budget recall alone can see that."""

    class Cutting(chunking.WholeChunker):
        def chunk(self, document: Document) -> list[Chunk]:
            return [
                chunking.make_chunk(document, start, end - 4) for chunk in super().chunk(document) for start, end in [(0, chunk.span.end)]
            ]

    monkeypatch.setitem(chunking.CHUNKERS, "cutting", Cutting)
    assert spoken(small("en"), chunker="cutting", top_k=2) == {"oracle": "error"}


def test_a_metric_that_ignores_the_gold_fails_both_controls_that_vary_hits_and_gold(small, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random hits then score 1 as well, and so does foreign evidence: one fault that both controls must see."""
    monkeypatch.setattr(metrics, "recall", lambda ranks, k: 1.0)
    assert spoken(small("en")) == {"random": "error", "shuffled_gold": "error"}
    assert spoken(small("en"), limit=5)["random"] == "error"


@pytest.mark.parametrize("language", ["en", "ko"])
def test_gold_of_other_questions_is_found(small, language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a warning: a retriever that finds nothing looks the same."""
    load = data.load

    def rotated(spec: str) -> Dataset:
        dataset = load(spec)
        scored = [example for example in dataset.examples if example.evidence]
        examples = [replace(example, evidence=other.evidence) for example, other in zip(scored, scored[4:] + scored[:4], strict=True)]
        return replace(dataset, examples=tuple(examples))

    monkeypatch.setattr(data, "load", rotated)
    assert spoken(small(language)) == {"shuffled_gold": "warning"}
    assert spoken(small(language), retriever="random") == {}


def test_d1_questions_embedded_as_passages_are_found(small, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: retrieval.DenseRetriever, examples: Sequence[Example]) -> np.ndarray:
        return self.embedder.encode([example.question for example in examples], "passage")

    monkeypatch.setitem(embedding.EMBEDDERS, "made", MadeModel)
    monkeypatch.setattr(retrieval.DenseRetriever, "vectorise", wrong)
    assert spoken(small("en"), retriever="dense", embedder="made") == {"roles": "error"}


@pytest.mark.parametrize("retriever", ["dense", "hybrid"])
def test_prefixes_that_are_not_applied_are_found(small, retriever: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(MadeModel):
        def encode(self, texts: Sequence[str], role: Role) -> np.ndarray:
            return super().encode(texts, "query")

    monkeypatch.setitem(embedding.EMBEDDERS, "deaf", Deaf)
    assert spoken(small("en"), retriever=retriever, embedder="deaf") == {"roles": "error"}


def test_questions_in_a_language_that_the_model_does_not_know_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(embedding.EMBEDDERS, "made", MadeModel)
    folder = write_corpus(tmp_path / "mixed", "en")
    korean = [json.loads(line) for line in (write_corpus(tmp_path / "ko", "ko") / "questions.jsonl").read_text("utf-8").splitlines()]
    english = [json.loads(line) for line in (folder / "questions.jsonl").read_text("utf-8").splitlines()]
    mixed = [{**record, "question": other["question"]} for record, other in zip(english, korean, strict=True)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(record) + "\n" for record in mixed), encoding="utf-8")
    result = experiment.run(Settings(dataset=f"folder:{folder}", embedder="made", **SMALL))
    checks = {check.id: check for check in result.audit}
    assert checks["language"].message == "made knows en, but the questions look 'ko'"
    assert set(levels(result.audit)) <= {"language", "shuffled_gold"}  # and hashes of Korean words find no English text


def with_copy(folder: Path) -> str:
    """Write the small corpus with a copy of its first document, a question about each."""
    write_corpus(folder, "en")
    (folder / "copy.md").write_text((folder / "d01.md").read_text("utf-8"), encoding="utf-8")
    evidence = [[{"document": "copy", "quote": "Unused leave lapses on 31 December."}]]
    with (folder / "questions.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": "copied", "question": "When does unused leave lapse?", "evidence": evidence}) + "\n")
    return f"folder:{folder}"


def test_leak_between_groups_is_a_warning_and_between_parts_of_a_split_an_error(tmp_path: Path) -> None:
    spec = with_copy(tmp_path / "copied")
    assert spoken(spec) == {"leakage": "warning"}
    parts = data.split(data.load(spec))
    home = {
        name: {span.document_id for example in part.examples for unit in example.evidence for span in unit} for name, part in parts.items()
    }
    halves = [name for name, documents in home.items() if {"d01", "copy"} & documents]
    for name in parts:
        found = spoken(spec, split=name)
        assert found.pop("few_clusters") == "warning"  # a third of twelve groups
        expected = {} if name not in halves else {"leakage": "error" if len(halves) == 2 else "warning"}
        assert found == expected
    assert len(halves) == 2, "choose data whose copies fall into two parts"


def test_copies_nobody_asks_about_are_no_leak(small, tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "boilerplate", "en")
    for name in ("x", "y"):
        (folder / f"{name}.md").write_text("The same boilerplate in both.", encoding="utf-8")
    assert spoken(f"folder:{folder}") == {}
    assert set(spoken(small("en"), split="confirmation")) == {"few_clusters"}


def test_d17_an_approximate_index_reports_its_recall() -> None:
    settings = Settings(
        dataset="demo-en", limit=60, tokenizer="simple", embedder="hash", options={"index": {"m": 2, "ef": 2}}, index="hnsw"
    )
    result = experiment.run(settings)
    assert 0 < result.details["ann_recall"] < 0.95
    assert levels(result.audit) == {"ann_recall": "warning"}
    assert f"the index 'hnsw' finds {result.details['ann_recall']:.1%} of the 10 hits" in str(result.audit)
    assert result.interval("index_recall@10").mean == result.details["ann_recall"]
    assert result.interval("index_recall@10").n == result.interval("recall@10").n == 54  # six questions cannot be answered
    hybrid = experiment.run(settings.replace(retriever="hybrid"))
    assert result.details["ann_recall"] < hybrid.details["ann_recall"] < 1
    plain = settings.replace(options={})
    assert 0.95 <= experiment.run(plain).details["ann_recall"] <= 1
    exact = [experiment.run(plain.replace(index=index)) for index in ("flat", "exact")]
    assert [one.details["ann_recall"] for one in exact] == [None, None]
    assert not [name for one in exact for name in one.scores if name.startswith("index_recall")]
    *_, second, third = str(table(compare([exact[0], result]))).splitlines()  # in whatever order of their scores
    assert {line.split("|")[-4].strip() for line in (second, third)} == {"–", f"{result.details['ann_recall']:.3f}"}
