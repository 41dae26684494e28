"""Train on a data set from its spec to the stored model: what `workbench train` and the notebook call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from workbench import models, stats, storage
from workbench.experiment_build import DEFAULT_EMBEDDERS, DEFAULT_GENERATORS
from workbench.experiment_train import HELD_OUT, training_pairs, training_passages, training_texts
from workbench.finetuning import Plan, Say, TrainedModel, ignore, versions
from workbench.finetuning_embedder import DEFAULT_PLAN, train_embedder
from workbench.finetuning_generator import LORA_PLAN, answer_losses, pretrain_generator, train_generator
from workbench.report_labels import SHUFFLED
from workbench.settings import Settings


def tune_generator(
    settings: Settings,
    base: str = "",
    name: str = "",
    plan: Plan = LORA_PLAN,
    *,
    rank: int = 16,
    held_out: float = HELD_OUT,
    shuffled: bool = False,
    pretraining: Plan | None = None,
    allow_download: bool = False,
    say: Say = ignore,
) -> TrainedModel:
    """Train a LoRA adapter on the training part of a data set, asked as the settings ask, and store it.

    `base` defaults by language, `name` (trained/NAME) is made of what it was trained from and with. With `pretraining`, all weights of the
    base are first trained on the documents of the training part. `shuffled` is the control: each question gets the answer of another.
    """
    found = training_pairs(settings, held_out, shuffled, allow_download)
    base = base or _default(DEFAULT_GENERATORS, found.data)
    if found.left_out:
        say(f"{found.left_out} questions are left out: their evidence is not in the context")
    name = _control_name(name, shuffled)
    given: list[Any] = [
        models.resolve(base, allow_download).fingerprint,
        asdict(plan),
        rank,
        asdict(pretraining) if pretraining else None,
        versions("torch", "transformers", "peft"),
    ]
    name = name or default_name(base, found.data, given)
    if pretraining:
        texts = training_texts(settings, allow_download)
        say(f"training all weights of {base} on {len(texts)} documents")
        base = pretrain_generator(
            texts, [], base, f"{name}-pretrained", pretraining, data=found.data, allow_download=allow_download, say=say
        ).name
    say(f"training an adapter of {base} on {len(found.pairs)} pairs")
    return train_generator(
        found.pairs, found.held_out, base, name, plan, rank=rank, data=found.data, allow_download=allow_download, say=say
    )


def tune_embedder(
    settings: Settings,
    base: str = "",
    name: str = "",
    plan: Plan = DEFAULT_PLAN,
    *,
    negatives: int = 1,
    held_out: float = HELD_OUT,
    shuffled: bool = False,
    allow_download: bool = False,
    say: Say = ignore,
) -> TrainedModel:
    """Train an embedder to find the chunks that hold the evidence of the training part's questions, and store it.

    `negatives` hard ones are mined for each question; `shuffled` is the control: each question gets the passage of another.
    """
    found = training_passages(settings, held_out, shuffled, allow_download)
    base = base or _default(DEFAULT_EMBEDDERS, found.data)
    name = _control_name(name, shuffled)
    weights = models.resolve(base, allow_download).fingerprint
    name = name or default_name(
        base, found.data, [weights, asdict(plan), negatives, versions("torch", "transformers", "sentence-transformers")]
    )
    say(f"training {base} on {len(found.pairs)} questions")
    return train_embedder(
        found.pairs,
        found.held_out,
        found.corpus,
        base,
        name,
        plan,
        negatives,
        found.data,
        positives=found.positives,
        held_out_positives=found.held_out_positives,
        allow_download=allow_download,
        say=say,
    )


def forgetting(settings: Settings, base: str, tuned: str, allow_download: bool = False) -> stats.Interval:
    """Return by how much training raised the loss of gold answers on another data set: (tuned minus base), question by question.

    `settings` name that data set; its training part is asked, which the tuned model must not have seen.
    """
    found = training_pairs(settings, 0.0, allow_download=allow_download)
    before, after = (answer_losses(name, found.pairs, allow_download) for name in (base, tuned))
    return stats.difference_interval(after, before, found.clusters)


def default_name(base: str, data: Mapping[str, Any], given: Any) -> str:
    """Return trained/BASE-DATA-FINGERPRINT, in the characters that such a name may have; equal arguments give equal names."""
    parts = [re.split(r"[/\\]", base.rstrip("/\\"))[-1], str(data["name"]), storage.fingerprint([base, dict(data), given])[:8]]
    readable = [re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-")[:40].strip("-") for part in parts]
    return models.TRAINED + "-".join(part for part in readable if part) + (SHUFFLED if data["shuffled"] else "")


def _control_name(name: str, shuffled: bool) -> str:
    """Return the name with the end that marks it as a control where it is one."""
    return name + SHUFFLED if name and shuffled and not name.endswith(SHUFFLED) else name


def _default(defaults: Mapping[str, str], data: Mapping[str, Any]) -> str:
    """Return the model that would answer or embed in the language of the documents."""
    return defaults.get(data["language"], defaults["ko"]).partition(":")[2]
