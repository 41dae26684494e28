"""Train an embedder on questions and the passages that answer them, and store it as a model that `st:` loads."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import models_trained, storage
from workbench.datatypes import EMPTY, Role, WorkbenchError
from workbench.embedding_st import SentenceTransformersEmbedder
from workbench.finetuning import (
    Plan,
    Point,
    Say,
    TrainedModel,
    batch,
    count_steps,
    ignore,
    train,
    training_device,
    training_folder,
    versions,
)
from workbench.finetuning_negatives import Pair, accept, add_negatives, candidates, mine

if TYPE_CHECKING:
    import torch

    from workbench.models import LocalModel

DEFAULT_PLAN = Plan(epochs=1, batch_size=16, learning_rate=2e-5, warmup=0.1, weight_decay=0.01)
SCALE = 20.0  # of the cosine in the loss: a temperature of 0.05
METHOD = (
    "All weights of a sentence-transformers embedder were trained on questions and passages that answer them: multiple negatives ranking "
    f"loss (cosine times {SCALE:.0f}) over the passages of a batch and mined hard negatives."
)
VERSION = 1  # of the loss and the mining: part of the fingerprint


def ranking_loss(questions: torch.Tensor, passages: torch.Tensor, own: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Return for each question the cross entropy of its own passage among those not hidden from it (InfoNCE, multiple negatives ranking).

    Rows of `questions` (n, d) and `passages` (m, d) are vectors of any length, compared by SCALE times their cosine; `own` (n,) holds row
    numbers, `hidden` (n, m) is true where a passage must not count as a negative. With nothing hidden the mean of the result is
    sentence-transformers' MultipleNegativesRankingLoss, which cannot hide any.
    """
    import torch

    normalise = torch.nn.functional.normalize
    with torch.autocast(questions.device.type, enabled=False):  # in bfloat16 near passages would tie
        scores = SCALE * normalise(questions.float(), dim=1) @ normalise(passages.float(), dim=1).T
    return torch.nn.functional.cross_entropy(scores.masked_fill(hidden, -torch.inf), own, reduction="none")


def train_embedder(
    pairs: Sequence[tuple[str, str]],
    held_out: Sequence[tuple[str, str]],
    corpus: Sequence[str],
    base: str,
    name: str,
    plan: Plan = DEFAULT_PLAN,
    negatives: int = 1,
    data: Mapping[str, Any] = EMPTY,
    *,
    positives: Sequence[Sequence[str]] = (),
    held_out_positives: Sequence[Sequence[str]] = (),
    allow_download: bool = False,
    say: Say = ignore,
) -> TrainedModel:
    """Train the sentence-transformers model `base` on (question, passage with the evidence) and store it as `name` (trained/NAME).

    Each question must find its passage among the passages of its batch and `negatives` hard ones for each question of it, which the base
    finds in `corpus` (give passages of the training split). `positives` (parallel to `pairs`, and `held_out_positives` to `held_out`) list
    what else may answer a question, and so is no negative of it. Prefixes and longest input are those of `st:BASE`; all weights are
    trained. `held_out` may be empty, else the same loss is measured on it. `data` goes to the model card and changes nothing else.
    A call with equal arguments returns what is stored, or goes on where it was killed.
    Raise WorkbenchError for pairs or passages that cannot teach anything, and for a base that does not embed.
    """
    _check(pairs, held_out, corpus, plan, negatives, positives, held_out_positives)
    embedder = SentenceTransformersEmbedder(base, allow_download, dtype="float32")
    models_trained.check_base(embedder.model, "embedder", adapter=False)
    made_of = {
        "version": VERSION,
        "base": [embedder.model.fingerprint, embedder.model.max_length, embedder.prefixes],
        "pairs": [list(pairs), list(held_out)],
        "positives": [[list(texts) for texts in several] for several in (positives, held_out_positives)],
        "corpus": list(corpus),
        "plan": asdict(plan),
        "negatives": negatives,
        "versions": versions("torch", "transformers", "sentence-transformers"),
    }
    identity = storage.fingerprint(made_of)
    if stored := models_trained.find(name, identity):
        return _trained(*stored)
    if negatives:
        say(f"looking for hard negatives among {len(corpus)} passages")
    several = [*(positives or [()] * len(pairs)), *(held_out_positives or [()] * len(held_out))]
    rows = _rows(embedder, [*pairs, *held_out], several, corpus, negatives, plan.seed)
    training, unseen = rows[: len(pairs)], rows[len(pairs) :]
    if negatives and not any(row.negatives for row in training):
        raise WorkbenchError(
            f"none of the {len(corpus)} passages of the corpus can be a hard negative: each may answer the questions, or is as near to "
            "them as their own passages; give more passages, or negatives=0"
        )
    model = embedder._loaded.to(training_device())

    def losses(numbers: Sequence[int]) -> Iterator[torch.Tensor]:
        model.train()
        yield _batch_losses(embedder, [training[number] for number in numbers]).mean()

    def held_out_loss() -> float:
        model.train(False)
        batches = [unseen[at : at + plan.batch_size] for at in range(0, len(unseen), plan.batch_size)]
        return sum(_batch_losses(embedder, part).sum().item() for part in batches) / len(unseen)

    def save(folder: Path) -> None:
        model.prompts = {"query": embedder.prefixes["query"], "document": embedder.prefixes["passage"]}
        model.save(str(folder), create_model_card=False)

    folder = training_folder(name)
    parameters = dict(model.named_parameters())
    points = train(plan, len(training), parameters, losses, held_out_loss if unseen else None, folder, {"identity": identity}, say)
    facts = {
        "identity": identity,
        "method": METHOD,
        "data": dict(data),
        "settings": {"negatives": negatives, "mined": sum(len(row.negatives) for row in training), "prefixes": embedder.prefixes},
        "plan": made_of["plan"],
        "versions": made_of["versions"],
        "points": [asdict(point) for point in points],
        **_reading(embedder, training, plan),
    }
    models_trained.publish(name, embedder.model, facts, save)
    shutil.rmtree(folder, ignore_errors=True)
    return _trained(*models_trained.find(name, identity))


def _rows(
    embedder: SentenceTransformersEmbedder,
    pairs: Sequence[tuple[str, str]],
    positives: Sequence[Sequence[str]],
    corpus: Sequence[str],
    negatives: int,
    seed: int,
) -> list[Pair]:
    """Find what may answer each question, and its hard negatives, all as the base embeds them."""
    passages = list(dict.fromkeys(corpus))
    place = {text: row for row, text in enumerate(dict.fromkeys([*passages, *(passage for _, passage in pairs)]))}
    rows = accept(pairs, positives, place)
    if not negatives:
        return rows
    questions, vectors = embedder.encode([row.question for row in rows], "query"), embedder.encode(list(place), "passage")
    golds = vectors[[place[row.passage] for row in rows]]
    excluded = [[place[text] for text in row.accepted if place.get(text, len(passages)) < len(passages)] for row in rows]
    mined = mine(questions, golds, vectors[: len(passages)], excluded, negatives, seed)
    return add_negatives(rows, passages, mined)


def _batch_losses(embedder: SentenceTransformersEmbedder, pairs: Sequence[Pair]) -> torch.Tensor:
    """Return the loss of each pair of a batch, (n,)."""
    import torch

    texts, own, hidden = candidates(pairs)
    questions, passages = _embed(embedder, [pair.question for pair in pairs], "query"), _embed(embedder, texts, "passage")
    return ranking_loss(questions, passages, torch.tensor(own, device=questions.device), torch.tensor(hidden, device=questions.device))


def _embed(embedder: SentenceTransformersEmbedder, texts: Sequence[str], role: Role) -> torch.Tensor:
    """Return vectors (n, d) through which gradients flow; texts are prefixed and cut as in `encode`."""
    import torch

    model = embedder._loaded
    features = model.preprocess([embedder.prefixes[role] + text for text in texts])
    return model({key: value.to(model.device) for key, value in features.items() if torch.is_tensor(value)})["sentence_embedding"]


def _reading(embedder: SentenceTransformersEmbedder, pairs: Sequence[Pair], plan: Plan) -> dict[str, int]:
    """Count the tokens that a training reads, padding not counted, and the different passages that are longer than the model reads."""
    limit = embedder.model.max_length or sys.maxsize
    ranked = [{pair.passage, *pair.negatives} for pair in pairs]
    texts = sorted(set().union(*ranked))
    questions, passages = embedder.lengths([pair.question for pair in pairs], "query"), embedder.lengths(texts, "passage")
    read = dict(zip(texts, np.minimum(passages, limit).tolist(), strict=True))
    tokens = 0
    for step in range(count_steps(plan, len(pairs))):
        numbers = batch(plan, len(pairs), step)
        tokens += int(np.minimum(questions[numbers], limit).sum())
        tokens += sum(read[text] for text in set().union(*(ranked[number] for number in numbers)))
    return {"tokens": tokens, "truncated_passages": int((passages > limit).sum())}


def _trained(model: LocalModel, card: Mapping[str, Any]) -> TrainedModel:
    points = tuple(Point(**point) for point in card["points"])
    return TrainedModel(model.name, model, points, points[-1].seconds, card["tokens"])


def _check(
    pairs: Sequence[tuple[str, str]],
    held_out: Sequence[tuple[str, str]],
    corpus: Sequence[str],
    plan: Plan,
    negatives: int,
    positives: Sequence[Sequence[str]],
    held_out_positives: Sequence[Sequence[str]],
) -> None:
    """Raise WorkbenchError, naming the place, for what cannot teach an embedder anything."""
    if isinstance(negatives, bool) or not isinstance(negatives, int) or negatives < 0:
        raise WorkbenchError(f"negatives {negatives!r} must be a whole number of at least 0 for each question")
    if len(pairs) < 2:
        raise WorkbenchError(
            f"an embedder learns by telling passages apart: it needs at least 2 pairs of question and passage, not {len(pairs)}"
        )
    for where, rows, several in (("pairs", pairs, positives), ("held_out", held_out, held_out_positives)):
        if several and len(several) != len(rows):
            raise WorkbenchError(
                f"there are {len(several)} lists of positives for {len(rows)} {where}; one for each is right, or none at all"
            )
        for number, (question, passage) in enumerate(rows):
            for part, text in (("question", question), ("passage", passage)):
                _check_text(f"the {part} of {where}[{number}]", text)
        for number, texts in enumerate(several):
            for text in texts:
                _check_text(f"a positive of {where}[{number}]", text)
    for number, text in enumerate(corpus):
        _check_text(f"corpus[{number}]", text)
    if negatives and not corpus:
        raise WorkbenchError("the corpus is empty, so no hard negative can be found in it; give passages, or negatives=0")
    if not negatives and (plan.batch_size < 2 or len({passage for _, passage in pairs}) < 2):
        raise WorkbenchError("without mined negatives a batch needs other passages: give a batch_size of at least 2 and different passages")


def _check_text(where: str, text: Any) -> None:
    if not isinstance(text, str) or not text.strip():
        raise WorkbenchError(f"{where} is {text!r}; it must be text that is not empty")
