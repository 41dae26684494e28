"""Train generators: LoRA adapters on conversations with their answers, and all weights on plain documents."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import models, models_folder, models_trained, registry, storage
from workbench.datatypes import EMPTY, Conversation, WorkbenchError
from workbench.finetuning import (
    Plan,
    Point,
    Say,
    TrainedModel,
    arithmetic,
    batch,
    count_steps,
    ignore,
    train,
    training_device,
    training_folder,
    versions,
)
from workbench.finetuning_rows import PairTokenizer, Row, answer_loss, ends_of, micro_batches
from workbench.generation_hf_load import ADAPTER_FIELDS, load_generator

if TYPE_CHECKING:
    import torch

    from workbench.models import LocalModel

VERSION = 1  # of rows and losses: part of the fingerprint
TARGETS = "all-linear"  # every linear layer but the one that scores the vocabulary
LORA_PLAN = Plan()
PRETRAINING_PLAN = Plan(learning_rate=5e-5, weight_decay=0.01)
LORA_METHOD = "LoRA adapter, trained to write the answers of conversations; only tokens of answers count in the loss."
PRETRAINING_METHOD = "All weights trained further on plain documents, every token predicted from those before it."


def train_generator(
    pairs: Sequence[tuple[Conversation, str]],
    held_out: Sequence[tuple[Conversation, str]],
    base: str,
    name: str,
    plan: Plan = LORA_PLAN,
    *,
    rank: int = 16,
    alpha: int | None = None,
    dropout: float = 0.0,
    data: Mapping[str, Any] = EMPTY,
    allow_download: bool = False,
    say: Say = ignore,
) -> TrainedModel:
    """Train a LoRA adapter that answers conversations as `pairs` do, and store it as `name` (trained/NAME) for `hf:trained/NAME`.

    `alpha` scales the adapter (2 * rank when None), `dropout` is the share of its inputs dropped in training. `held_out` (may be empty)
    gives the loss on answers never trained on; `data` goes into the model card. The prompts are tokenised as the generator will. Pairs too
    long for the model's window are left out, which is said. A call with equal arguments returns what is stored, or goes on where it was
    killed. An adapter cannot be trained on an adapter; on a model of `pretrain_generator` it can.
    Raise WorkbenchError for no pairs, an empty answer, a base that is no stored generator, and a name that belongs to another model.
    """
    registry.require("peft", "train", "training a generator")
    alpha = 2 * rank if alpha is None else alpha
    if not (isinstance(rank, int) and isinstance(alpha, int) and rank > 0 and alpha > 0):
        raise WorkbenchError(f"rank {rank!r} and alpha {alpha!r} of the adapter must be whole numbers above 0")
    if not 0 <= dropout < 1:
        raise WorkbenchError(f"the adapter's dropout must be at least 0 and below 1, not {dropout!r}")
    if not pairs:
        raise WorkbenchError("there are no pairs of a conversation and its answer to train on")
    start = models_trained.check_base(models.resolve(base, allow_download), "generator", adapter=True)
    lora = {"rank": rank, "alpha": alpha, "dropout": dropout, "targets": TARGETS}
    used = versions("torch", "transformers", "peft")
    identity = _identity("lora", start, [_listed(pairs), _listed(held_out)], plan, lora, used)
    if found := models_trained.find(name, identity):
        return _stored(name, *found)

    def prepare() -> tuple[Any, list[Row], list[Row]]:
        import torch
        from peft import LoraConfig, get_peft_model

        model = load_generator(start, torch.float32, training_device())
        tokenizer, ends = PairTokenizer(start), ends_of(model)
        rows, unseen = (
            _fitting([tokenizer.row(conversation.messages, answer, ends) for conversation, answer in part], start, say)
            for part in (pairs, held_out)
        )
        config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=TARGETS, task_type="CAUSAL_LM")
        with torch.random.fork_rng(), warnings.catch_warnings(action="ignore", category=FutureWarning):  # of transformers, to peft
            torch.manual_seed(plan.seed)  # the adapter starts with random numbers
            return get_peft_model(model, config), rows, unseen

    def save(model: Any, folder: Path) -> None:
        from peft import get_peft_model_state_dict
        from safetensors.torch import save_file

        tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
        save_file({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, folder / models_trained.ADAPTER)
        config = {field: getattr(model.peft_config["default"], field) for field in ADAPTER_FIELDS}
        config |= {"target_modules": sorted(config["target_modules"]), "peft_type": "LORA", "base_model_name_or_path": start.name}
        storage.write_json(folder / models_trained.ADAPTER_CONFIG, config)

    facts = {"method": LORA_METHOD, "settings": lora, "versions": used, "data": dict(data)}
    return _train(name, start, identity, plan, facts, prepare, save, say)


def answer_losses(name: str, pairs: Sequence[tuple[Conversation, str]], allow_download: bool = False) -> np.ndarray:
    """Return how badly a generator predicts given answers: the mean cross entropy of each answer's tokens, (pairs,)."""
    import torch

    model = models.resolve(name, allow_download)
    loaded = load_generator(model, torch.float32, training_device()).train(False)
    tokenizer, ends = PairTokenizer(model), ends_of(loaded)
    rows = [tokenizer.row(conversation.messages, answer, ends) for conversation, answer in pairs]
    with torch.inference_mode(), arithmetic(loaded.device):
        return np.array([answer_loss(loaded, [row]).item() / len(row.answer) for row in rows])


def pretrain_generator(
    texts: Sequence[str],
    held_out: Sequence[str],
    base: str,
    name: str,
    plan: Plan = PRETRAINING_PLAN,
    *,
    window: int = 512,
    data: Mapping[str, Any] = EMPTY,
    allow_download: bool = False,
    say: Say = ignore,
) -> TrainedModel:
    """Train all weights of a generator further on plain documents and store it as `name` (trained/NAME): a base for `train_generator`.

    The documents are joined and cut into windows of so many tokens. The result is a whole model in float32, the format it is trained in:
    bfloat16 would round small changes away. The state kept for resuming is three times as large. Otherwise as `train_generator`.
    """
    start = models_trained.check_base(models.resolve(base, allow_download), "generator", adapter=False)
    longest = start.max_length or window
    if isinstance(window, bool) or not isinstance(window, int) or not 2 <= window <= longest:
        raise WorkbenchError(f"window must be a whole number from 2 to the {longest} tokens that {start.name} reads, not {window!r}")
    used = versions("torch", "transformers")
    identity = _identity("pretraining", start, [list(texts), list(held_out)], plan, {"window": window}, used)
    if found := models_trained.find(name, identity):
        return _stored(name, *found)
    tokenizer = PairTokenizer(start)
    rows, unseen = tokenizer.windows(texts, window), tokenizer.windows(held_out, window)
    if not rows:
        raise WorkbenchError("the documents have no text to train on")

    def prepare() -> tuple[Any, list[Row], list[Row]]:
        import torch

        return load_generator(start, torch.float32, training_device()), rows, unseen

    def save(model: Any, folder: Path) -> None:
        model.save_pretrained(folder)
        for path, file in models_folder.model_files(start.path).items():
            if file.suffix != ".safetensors" and not path.endswith((".index.json", models_trained.CARD)) and not (folder / path).exists():
                shutil.copyfile(file, folder / path)  # of the tokenizer

    facts = {"method": PRETRAINING_METHOD, "settings": {"window": window}, "versions": used, "data": dict(data)}
    return _train(name, start, identity, plan, facts, prepare, save, say)


def _train(
    name: str,
    base: LocalModel,
    identity: str,
    plan: Plan,
    facts: Mapping[str, Any],
    prepare: Callable[[], tuple[Any, list[Row], list[Row]]],
    save: Callable[[Any, Path], None],
    say: Say,
) -> TrainedModel:
    """Load the model and its rows, train what of it asks for gradients, and store it."""
    model, rows, unseen = prepare()
    parameters = {key: parameter for key, parameter in model.named_parameters() if parameter.requires_grad}

    def losses(numbers: Sequence[int]) -> Iterator[torch.Tensor]:
        model.train()
        chosen = [rows[number] for number in numbers]
        count = sum(len(row.answer) for row in chosen)
        for part in micro_batches(chosen):
            yield answer_loss(model, part) / count

    def held_out_loss() -> float:
        model.train(False)
        return sum(answer_loss(model, part).item() for part in micro_batches(unseen)) / sum(len(row.answer) for row in unseen)

    folder = training_folder(name)
    points = train(plan, len(rows), parameters, losses, held_out_loss if unseen else None, folder, {"identity": identity}, say)
    read = [number for step in range(count_steps(plan, len(rows))) for number in batch(plan, len(rows), step)]
    facts = {
        **facts,
        "identity": identity,
        "plan": asdict(plan),
        "points": [asdict(point) for point in points],
        "seconds": points[-1].seconds,
        "tokens": sum(len(rows[number]) for number in read),
        "rows": len(rows),
        "held_out_rows": len(unseen),
    }
    stored = models_trained.publish(name, base, facts, lambda target: save(model, target))
    shutil.rmtree(folder, ignore_errors=True)
    return _stored(name, stored, facts)


def _stored(name: str, model: LocalModel, card: Mapping[str, Any]) -> TrainedModel:
    return TrainedModel(name, model, tuple(Point(**point) for point in card["points"]), card["seconds"], card["tokens"])


def _fitting(rows: Sequence[Row], model: LocalModel, say: Say) -> list[Row]:
    kept = [row for row in rows if not model.max_length or len(row) <= model.max_length]
    if rows and not kept:
        raise WorkbenchError(
            f"all {len(rows)} pairs are longer than the {model.max_length} tokens that {model.name} reads; shorten the context"
        )
    if len(kept) < len(rows):
        say(f"{len(rows) - len(kept)} of {len(rows)} pairs are left out: longer than the {model.max_length} tokens that {model.name} reads")
    return kept


def _listed(pairs: Sequence[tuple[Conversation, str]]) -> list[Any]:
    return [[[[message.role, message.content] for message in conversation.messages], answer] for conversation, answer in pairs]


def _identity(kind: str, base: LocalModel, texts: Any, plan: Plan, settings: Mapping[str, Any], used: Mapping[str, str]) -> str:
    made_of = {"kind": kind, "version": VERSION, "base": base.fingerprint, "texts": texts, "plan": asdict(plan)}
    return storage.fingerprint({**made_of, "settings": settings, "versions": used})
