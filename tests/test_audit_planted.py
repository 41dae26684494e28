"""Eight faults that published evaluations had, each planted in a run: its own check finds it and no other, or the run ends."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_parts import MODEL, SMALL, MadeModel, levels

from workbench import data, embedding, experiment, index, metrics, retrieval
from workbench.datatypes import Dataset, Example, Hit, Role, WorkbenchError
from workbench.settings import Settings

pytestmark = pytest.mark.usefixtures("own_cache")
Patch = pytest.MonkeyPatch
BM25, DENSE = {"retriever": "bm25"}, {"retriever": "dense", "embedder": "planted"}


def loaded(patch: Patch, change: Callable[[Dataset], Dataset]) -> None:
    """Let the loader return a changed data set."""
    load = data.load
    patch.setattr(data, "load", lambda spec: data.fingerprinted(change(load(spec))))


def embedder(patch: Patch, **attributes: Any) -> dict[str, Any]:
    patch.setitem(embedding.EMBEDDERS, "planted", type("Planted", (MadeModel,), attributes))
    return DENSE


def sound(patch: Patch) -> dict[str, Any]:
    return embedder(patch)


def reversed_ranking(patch: Patch) -> dict[str, Any]:
    class Reversed(retrieval.Bm25Retriever):
        def retrieve(self, examples: Sequence[Example], k: int, queries: Any = None) -> list[list[Hit]]:
            found = super().retrieve(examples, k, queries)
            return [[Hit(hit.chunk, hit.score, rank) for rank, hit in enumerate(hits[::-1], start=1)] for hits in found]

    patch.setitem(retrieval.RETRIEVERS, "reversed", Reversed)
    return {"retriever": "reversed"}


def shuffled_gold(patch: Patch) -> dict[str, Any]:
    def rotated(dataset: Dataset) -> Dataset:
        scored = [example for example in dataset.examples if example.evidence]
        pairs = zip(scored, scored[4:] + scored[:4], strict=True)
        return replace(dataset, examples=tuple(replace(example, evidence=other.evidence) for example, other in pairs))

    loaded(patch, rotated)
    return BM25


def missing_prefix(patch: Patch) -> dict[str, Any]:
    """The model asks for "query: ", its embedder puts nothing there."""

    def bare(self: MadeModel) -> None:
        self.prefixes = {"query": "", "passage": "passage: "}

    return embedder(patch, __init__=bare)


def leak(patch: Patch) -> dict[str, Any]:
    """A document that the test part asks about stands among the training documents as a copy, with a question about it."""

    def leaking(dataset: Dataset) -> Dataset:
        parts = data.split(dataset)
        asked, read = (next(item for item in parts[name].examples if item.evidence) for name in ("selection", "train"))
        source, group = (dataset.document(item.evidence[0][0].document_id) for item in (asked, read))
        copy = replace(source, id="copy", metadata={**source.metadata, "group": group.group})
        question = replace(asked, id="copied", evidence=((replace(asked.evidence[0][0], document_id="copy"),),))
        changed = replace(dataset, documents=(*dataset.documents, copy), examples=(*dataset.examples, question))
        assert "copied" in {example.id for example in data.split(changed)["train"].examples}
        assert asked.id not in {example.id for example in data.split(changed)["train"].examples}
        return changed

    loaded(patch, leaking)
    return {**BM25, "dataset": "demo-en", "split": "test"}


def duplicated_ids(patch: Patch) -> dict[str, Any]:
    def twice(dataset: Dataset) -> Dataset:
        first, second, third, *others = dataset.examples
        return replace(dataset, examples=(first, second, replace(third, id=second.id), *others))

    loaded(patch, twice)
    return BM25


def metric_above_one(patch: Patch) -> dict[str, Any]:
    """Gains are summed without an ideal that fits: 2.13 where 1 is right (D15)."""
    ndcg = metrics.ndcg
    patch.setattr(metrics, "ndcg", lambda found, gains, k: 2.13 * ndcg(found, gains, k))
    return BM25


def nan_vectors(patch: Patch) -> dict[str, Any]:
    """The third question's vector is NaN, and the index looks at no vector."""
    patch.setattr(index, "check_vectors", lambda vectors, names, dimension=None: np.asarray(vectors, np.float32))

    def encode(self: MadeModel, texts: Sequence[str], role: Role) -> np.ndarray:
        vectors = MadeModel.encode(self, texts, role)
        vectors[[number for number, text in enumerate(texts) if "receipts of a trip" in text]] = np.nan
        return vectors

    return embedder(patch, encode=encode)


def truncation(patch: Patch) -> dict[str, Any]:
    return embedder(patch, model=replace(MODEL, max_length=6))


PLANTED = {
    sound: {},
    reversed_ranking: {"ranks_in_order": "error"},
    shuffled_gold: {"shuffled_gold": "warning"},
    missing_prefix: {"roles": "error"},
    leak: {"leakage": "error"},
    duplicated_ids: {"duplicate_ids": "error"},
    metric_above_one: {"bounded": "error"},
    nan_vectors: {"vectors_finite": "error"},
    truncation: {"truncated": "warning"},
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found_by_its_own_check_and_no_other(small, plant: Callable, monkeypatch: Patch) -> None:
    changes = {"dataset": small("en")} | plant(monkeypatch)
    settings = Settings(**({**SMALL} if changes["dataset"] != "demo-en" else {"tokenizer": "simple"}), **changes)
    assert levels(experiment.run(settings, cached=False).audit) == PLANTED[plant]


@pytest.mark.parametrize("kind", ["NaN or infinite", "zero", "not unit length"])
@pytest.mark.parametrize(("role", "words"), [("passage", "lawn behind"), ("query", "receipts of a trip")])
@pytest.mark.parametrize(("retriever", "search"), [("dense", "exact"), ("dense", "flat"), ("dense", "hnsw"), ("hybrid", "exact")])
def test_a_bad_vector_never_gives_numbers(small, kind: str, retriever: str, role: str, words: str, search: str, monkeypatch: Patch) -> None:
    factor = {"NaN or infinite": np.nan, "zero": 0.0, "not unit length": 2.0}[kind]

    def encode(self: MadeModel, texts: Sequence[str], role: Role) -> np.ndarray:
        return MadeModel.encode(self, texts, role) * np.array([[factor if words in text else 1.0] for text in texts], np.float32)

    settings = Settings(dataset=small("en"), index=search, **SMALL, **embedder(monkeypatch, encode=encode) | {"retriever": retriever})
    place = "d12:" if role == "passage" else "query 2"
    with pytest.raises(WorkbenchError, match=rf"^{place}.*: its vector is {kind} \(\d of \d+ vectors are\)"):
        experiment.run(settings, cached=False)
    if kind == "NaN or infinite":
        with pytest.raises(WorkbenchError, match=r"made returned shape .* or NaN; nothing is stored"):
            experiment.run(settings)


def test_a_retriever_that_returns_a_chunk_twice_ends_the_run(small, monkeypatch: Patch) -> None:
    class Double(retrieval.Bm25Retriever):
        def retrieve(self, examples: Sequence[Example], k: int, queries: Any = None) -> list[list[Hit]]:
            found = super().retrieve(examples, k, queries)
            return [[Hit(hit.chunk, hit.score, rank) for rank, hit in enumerate([*hits[:1], *hits], start=1)] for hits in found]

    monkeypatch.setitem(retrieval.RETRIEVERS, "double", Double)
    with pytest.raises(WorkbenchError, match="question 'd01a': the same chunk was retrieved twice"):
        experiment.run(Settings(dataset=small("en"), retriever="double", **SMALL))
