"""Make training examples out of the training part of a data set, in the form in which a run will ask: same retrieval, same prompt.

The split keeps documents apart, so nothing that is trained on is asked about later; a held-out share of the training part, again apart by
documents, is what learning curves are measured on.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from workbench import data, metrics
from workbench.audit_training import documents_read
from workbench.cache import Cache
from workbench.datatypes import Conversation, Document, Example, WorkbenchError
from workbench.experiment_build import Models, Parts, build_retrieval, resolve
from workbench.experiment_data import NONE, Prepared, describe_data, prepare
from workbench.pipeline import retrieve_to_fill
from workbench.prompting import load_prompt
from workbench.registry import split_spec
from workbench.retrieval import question_keys
from workbench.settings import Settings
from workbench.storage import cache_file

HELD_OUT = 0.2  # share of the training questions, by whole document groups
COVERED = 0.999  # share of the evidence that must lie in the context: answering from anything else would train guessing
T = TypeVar("T")


@dataclass(frozen=True)
class TrainingPairs:
    """Hold what a generator learns from: conversations with the answers to write."""

    pairs: tuple[tuple[Conversation, str], ...]
    held_out: tuple[tuple[Conversation, str], ...]
    clusters: tuple[str, ...]  # of the pairs
    data: Mapping[str, Any]  # for the model card
    left_out: int  # questions whose evidence retrieval did not find


@dataclass(frozen=True)
class TrainingPassages:
    """Hold what an embedder learns from: questions with passages that hold their evidence."""

    pairs: tuple[tuple[str, str], ...]
    held_out: tuple[tuple[str, str], ...]
    positives: tuple[tuple[str, ...], ...]  # of each pair: all passages that touch its evidence, which are no negatives
    held_out_positives: tuple[tuple[str, ...], ...]
    corpus: tuple[str, ...]  # every passage as it is indexed
    data: Mapping[str, Any]
    left_out: int  # questions without evidence


def training_pairs(
    settings: Settings, held_out_share: float = HELD_OUT, shuffled: bool = False, allow_download: bool = False
) -> TrainingPairs:
    """Return conversations of the training part with their first gold answers, an unanswerable question's answer being the refusal.

    Left out are questions whose evidence is not in the context, and as large a share of the unanswerable ones. `shuffled` gives each
    question the answer of another: a control.
    """
    answering = settings if settings.generator != NONE else settings.replace(generator="auto")  # "none" would reset prompt and budget
    prepared, parts = _prepared(answering, allow_download)
    settings = parts.settings
    prompt = load_prompt(settings.prompt, prepared.language)
    if prompt.before or "assistant" in prompt.sections:
        raise WorkbenchError(
            f"{prompt.source} wants answers in a form of its own, which gold answers lack; take plain, concise, refuse or question-first"
        )
    keys = question_keys(settings.filter)  # an unanswerable question may lack what the filter asks of it
    examples = [
        example
        for example in prepared.dataset.examples
        if (example.answers and example.evidence)
        or (not example.answerable and prompt.refusal and all(key in example.metadata for key in keys))
    ]
    _, contexts = retrieve_to_fill(
        parts.retriever,
        examples,
        settings.top_k,
        settings.answer_budget,
        prepared.tables,
        len(parts.chunks),
        float(parts.sizes.mean()),
    )
    documents = {document.id: document for document in prepared.dataset.documents}
    pairs: dict[str, tuple[Conversation, str]] = {}
    for example, context in zip(examples, contexts, strict=True):
        if example.evidence and not metrics.evidence_recall(context, example, prepared.tables) >= COVERED:
            continue
        conversation = prompt.render(example.question, context.passages(documents))
        pairs[example.id] = (conversation, example.answers[0] if example.answers else prompt.refusal)
    names = _proportioned(examples, set(pairs), settings.seed)
    kept, held = _held_out(prepared, names, held_out_share, settings)
    if shuffled:
        answers = derangement([pairs[name][1] for name in kept], settings.seed)
        pairs |= {name: (pairs[name][0], answer) for name, answer in zip(kept, answers, strict=True)}
    labels = data.clusters(prepared.dataset)
    facts = _facts(settings, prepared, len(kept), len(held), shuffled) | {"prompt": prompt.fingerprint[:12]}
    return TrainingPairs(
        tuple(pairs[name] for name in kept),
        tuple(pairs[name] for name in held),
        tuple(labels[name] for name in kept),
        facts,
        len(examples) - len(names),
    )


def training_passages(
    settings: Settings, held_out_share: float = HELD_OUT, shuffled: bool = False, allow_download: bool = False
) -> TrainingPassages:
    """Return questions of the training part with the chunk that holds most of their evidence, as it is indexed.

    `shuffled` gives each question the passage of another: a control.
    """
    prepared, parts = _prepared(settings.replace(generator=NONE), allow_download)
    touching = {example.id: _touching(example, parts) for example in prepared.scored.examples}
    found = {name: rows for name, rows in touching.items() if rows}
    questions = {example.id: example.question for example in prepared.scored.examples}
    kept, held = _held_out(prepared, list(found), held_out_share, parts.settings)
    passages = {name: parts.texts[rows[0]] for name, rows in found.items()}
    positives = {name: tuple(parts.texts[row] for row in rows) for name, rows in found.items()}
    kept_aside = {text for name in held for text in positives[name]}  # no negatives, so that they are never trained on
    if shuffled:
        swapped = derangement([passages[name] for name in kept], parts.settings.seed)
        passages |= dict(zip(kept, swapped, strict=True))
        positives |= {name: (*positives[name], passages[name]) for name in kept}
    return TrainingPassages(
        tuple((questions[name], passages[name]) for name in kept),
        tuple((questions[name], passages[name]) for name in held),
        tuple(positives[name] for name in kept),
        tuple(positives[name] for name in held),
        tuple(text for text in dict.fromkeys(parts.texts) if text not in kept_aside),
        _facts(parts.settings, prepared, len(kept), len(held), shuffled),
        len(prepared.dataset.examples) - len(found),
    )


def training_texts(settings: Settings, allow_download: bool = False) -> list[str]:
    """Return the texts of the documents of the training part."""
    return [document.text for document in training_documents(prepare(settings.replace(split="train", shot_count=0), allow_download))]


def derangement(items: Sequence[T], seed: int) -> list[T]:
    """Return the items shuffled by seed so that no place keeps an equal one; raise WorkbenchError where one item is over half of them.

    Sorted by value and turned by the largest number of equal ones, no item meets its equal; the seed draws which of the others it meets.
    """
    order = list(range(len(items)))
    random.Random(seed).shuffle(order)
    counts = Counter(items)
    most = max(counts.values(), default=0)
    if 2 * most > len(items):
        raise WorkbenchError(f"{most} of {len(items)} answers are the same, so they cannot be shuffled; take more questions")
    places = {item: number for number, item in enumerate(random.Random(seed).sample(list(counts), len(counts)))}
    order.sort(key=lambda at: places[items[at]])
    moved = {at: items[order[(place + most) % len(order)]] for place, at in enumerate(order)}
    return [moved[at] for at in range(len(items))]


def _prepared(settings: Settings, allow_download: bool) -> tuple[Prepared, Parts]:
    settings = settings.replace(split="train", shot_count=0, primary="auto")
    prepared = prepare(settings, allow_download)
    prepared = replace(prepared, dataset=replace(prepared.dataset, documents=training_documents(prepared)))
    resolved = resolve(settings, prepared)
    with closing(Cache(cache_file())) as cache:  # which opens itself again when it is used
        return prepared, build_retrieval(resolved, prepared, Models(cache, allow_download))


def training_documents(prepared: Prepared) -> tuple[Document, ...]:
    """Return the documents that share no group with those that the other parts of the split ask about."""
    documents = prepared.dataset.documents
    asked = {document.group for document in documents if document.id in prepared.elsewhere}
    return tuple(document for document in documents if document.group not in asked)


def _touching(example: Example, parts: Parts) -> list[int]:
    """Return the rows of the chunks that touch the evidence, the one that holds most of it first."""
    shared = {
        row: sum(max(chunk.span.overlap(span) for span in unit) for unit in example.evidence) for row, chunk in enumerate(parts.chunks)
    }
    return sorted((row for row, characters in shared.items() if characters), key=lambda row: (-shared[row], row))


def _proportioned(examples: Sequence[Example], fitting: set[str], seed: int) -> list[str]:
    """Return the questions to learn from: unanswerable ones, whose evidence never lacks, only in the share that they have of all.

    A model that sees more refusals than there are learns to refuse.
    """
    answerable = [example.id for example in examples if example.answerable]
    others = [example.id for example in examples if not example.answerable]
    found = sum(name in fitting for name in answerable)
    wanted = round(len(others) * found / len(answerable)) if answerable else len(others)
    drawn = {*random.Random(seed).sample(sorted(others), min(wanted, len(others)))}
    return [example.id for example in examples if example.id in fitting and (example.answerable or example.id in drawn)]


def _held_out(prepared: Prepared, names: Sequence[str], share: float, settings: Settings) -> tuple[list[str], list[str]]:
    """Divide questions into those to train on and those to measure on, which share no document group."""
    if not 0 <= share < 1:
        raise WorkbenchError(f"a held-out share of {share} must be at least 0 and below 1")
    if not names:
        raise WorkbenchError(f"{settings.dataset}: the training part has no question to learn from (its evidence must be in the context)")
    labels = data.clusters(prepared.dataset)
    if not share or len({labels[name] for name in names}) < 2:
        return list(names), []  # one document group cannot be divided
    wanted = set(names)
    usable = replace(prepared.dataset, examples=tuple(example for example in prepared.dataset.examples if example.id in wanted))
    parts = data.split(usable, settings.seed, {"kept": 1 - share, "held": share})
    return [example.id for example in parts["kept"].examples], [example.id for example in parts["held"].examples]


def _facts(settings: Settings, prepared: Prepared, pairs: int, held_out: int, shuffled: bool) -> dict[str, Any]:
    described = {name: describe_data(prepared)[name] for name in ("fingerprint", "language", "documents", "groups")}
    kind, path = split_spec(settings.dataset)
    settings = settings.replace(dataset=f"{kind}:{Path(path).name}" if path else kind)  # a model card names no folder of this machine
    read = documents_read([document.text for document in prepared.dataset.documents])
    return {
        **described,
        "name": settings.dataset,
        "documents_read": read,
        "settings": settings.model_dump(mode="json"),
        "pairs": pairs,
        "held_out": held_out,
        "shuffled": shuffled,
    }
