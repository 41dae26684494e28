"""Make the data of an experiment ready: loaded, split, sampled, tokenised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from workbench import data
from workbench.cache import Cache
from workbench.cache_tokens import cached_tables
from workbench.datatypes import Dataset, Example, WorkbenchError
from workbench.pipeline import preprocess
from workbench.settings import Settings
from workbench.text import guess_language
from workbench.tokens import TokenTable, load_tokenizer

NONE = "none"  # the embedder and index of a retriever that uses neither, the generator of a run without answers


@dataclass(frozen=True)
class Prepared:
    """Hold what all configurations of one experiment share: the data, and its documents in tokens."""

    dataset: Dataset
    scored: Dataset  # the questions that have evidence
    clusters: tuple[str, ...]  # of all questions
    parts: tuple[str, ...]  # of the split, of all questions; none where it cannot be divided
    tables: Mapping[str, TokenTable]
    tokenizer: Any
    language: str
    key: tuple[Any, ...] = ()  # what it was prepared for (data_key)
    elsewhere: frozenset[str] = frozenset()  # documents that the questions of the other parts of the split ask about
    training: tuple[Example, ...] = ()  # the questions that may be shown: of the training part where another is evaluated


def data_key(settings: Settings) -> tuple[Any, ...]:
    """Return what settings share that can use the same Prepared."""
    return (settings.dataset, settings.split, settings.limit, settings.seed, settings.tokenizer, settings.generator == NONE)


def prepare(settings: Settings, allow_download: bool = False, cache: Cache | None = None) -> Prepared:
    """Load, split and sample the data, and tokenise its documents.

    Raise WorkbenchError when there is no question, or when answerable questions come without evidence (answers, where a generator is set);
    all unanswerable is fine.
    """
    loaded = data.load(settings.dataset)
    dataset = replace(loaded, examples=tuple(map(preprocess, loaded.examples)))
    divided = _divided(dataset, settings)
    part_of = {example.id: name for name, part in divided.items() for example in part.examples}
    others: dict[str, Dataset] = {}
    if settings.split != "all":
        others = dict(divided)
        if settings.split == "test":  # selection and confirmation together, for comparisons in which nothing is selected
            trained = {example.id for example in others["train"].examples}
            kept = tuple(example for example in dataset.examples if example.id not in trained)
            others = {"train": others["train"], "test": data.fingerprinted(replace(dataset, examples=kept))}
        dataset = others.pop(settings.split)
    if settings.limit:
        dataset = data.sample(dataset, settings.limit, settings.seed)
    scored = replace(dataset, examples=tuple(example for example in dataset.examples if example.evidence))
    gold = any(example.answers for example in dataset.examples) if settings.generator != NONE else False
    if not scored.examples and not gold and (not dataset.examples or any(example.answerable for example in dataset.examples)):
        advice = "add a quote or offsets to the questions (`workbench data template DIR` shows how)"
        if any(example.evidence for example in loaded.examples):
            advice = "others of this data set have: raise `limit`, or take another split or seed"
        count = len(dataset.examples)
        raise WorkbenchError(f"{settings.dataset}: none of {count} questions has evidence, so retrieval cannot be scored; {advice}")
    labels = data.clusters(dataset)
    return replace(
        _tokenise(dataset, settings.tokenizer, allow_download, cache),
        key=data_key(settings),
        scored=scored,
        clusters=tuple(labels[example.id] for example in dataset.examples),
        parts=tuple(part_of[example.id] for example in dataset.examples if part_of),
        elsewhere=frozenset(
            span.document_id for part in others.values() for example in part.examples for unit in example.evidence for span in unit
        ),
        training=others["train"].examples if "train" in others else (),
    )


def _divided(dataset: Dataset, settings: Settings) -> dict[str, Dataset]:
    """Return the parts of the split; none where all questions are asked and they cannot be divided."""
    try:
        return data.split(dataset, seed=settings.seed)
    except WorkbenchError:
        if settings.split != "all":
            raise
        return {}


def prepare_documents(settings: Settings, allow_download: bool = False, cache: Cache | None = None) -> Prepared:
    """Load and tokenise the documents of a data set without its questions, to ask others; its own serve as examples to show."""
    loaded = data.load(settings.dataset)
    return replace(_tokenise(replace(loaded, examples=()), settings.tokenizer, allow_download, cache), training=loaded.examples)


def corpus_language(dataset: Dataset) -> str:
    """Guess the language of a data set from its documents: "ko", "en" or "other"."""
    return guess_language(" ".join(document.text[:300] for document in dataset.documents[:200]))


def _tokenise(dataset: Dataset, tokenizer_name: str, allow_download: bool, cache: Cache | None) -> Prepared:
    tokenizer = load_tokenizer(tokenizer_name, allow_download)
    return Prepared(dataset, dataset, (), (), cached_tables(dataset.documents, tokenizer, cache), tokenizer, corpus_language(dataset))


def describe_data(prepared: Prepared) -> dict[str, Any]:
    """Return counts, language and fingerprint of the data: what results keep of it."""
    dataset = prepared.dataset
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "language": prepared.language,
        "documents": len(dataset.documents),
        "groups": len({document.group for document in dataset.documents}),
        "questions": len(dataset.examples),
        "scored": len(prepared.scored.examples),
        "unanswerable": sum(not example.answerable for example in dataset.examples),
        "document_gold": dataset.document_gold,
        "losses": len(dataset.losses),
        "tokens": sum(len(table.starts) for table in prepared.tables.values()),
        "characters": sum(len(document.text) for document in dataset.documents),
    }
