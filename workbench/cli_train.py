"""The command line of training: `workbench train generator | embedder`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from workbench import cli_options as options
from workbench import models_trained

if TYPE_CHECKING:
    from workbench.finetuning import Plan, TrainedModel
    from workbench.settings import Settings

SPECS = {"generator": "hf", "embedder": "st"}

train_app = typer.Typer(no_args_is_help=True, help="Fine-tune a generator or an embedder.")
Limit = Annotated[int | None, typer.Option(help="Sample so many questions (seeded); documents stay.")]
Seed = Annotated[int | None, typer.Option(help="Seed of every draw.")]
Base = Annotated[str | None, typer.Option(help="Model to start from; by the language of the documents when absent.")]
Name = Annotated[str | None, typer.Option(help="trained/NAME; made of the base, the data and a fingerprint when absent.")]
Epochs = Annotated[float | None, typer.Option(help="Passes through the pairs.")]
Rate = Annotated[float | None, typer.Option(help="Learning rate at its highest.")]
BatchSize = Annotated[int | None, typer.Option(help="Pairs of one step.")]
HeldOut = Annotated[float, typer.Option(help="Share of the training part for the learning curve only, apart by documents.")]
Shuffle = Annotated[bool, typer.Option("--shuffle", help="Train on shuffled pairs: the control that must lose.")]


@train_app.command("generator")
def train_generator(
    dataset: options.Dataset = None,
    chunker: options.Chunker = None,
    chunk_size: options.ChunkSize = None,
    chunk_overlap: options.ChunkOverlap = None,
    header: options.Header = None,
    tokenizer: options.Tokenizer = None,
    embedder: options.Embedder = None,
    retriever: options.Retriever = None,
    top_k: options.TopK = None,
    filter: options.Filter = None,
    limit: Limit = None,
    seed: Seed = None,
    prompt: options.Prompt = None,
    answer_budget: options.AnswerBudget = None,
    option: options.Option = None,
    settings_file: options.SettingsFile = None,
    base: Base = None,
    name: Name = None,
    epochs: Epochs = None,
    learning_rate: Rate = None,
    batch_size: BatchSize = None,
    rank: Annotated[int, typer.Option(help="Rank of the adapter's matrices.")] = 16,
    held_out: HeldOut = 0.2,
    shuffle: Shuffle = False,
    pretrain: Annotated[bool, typer.Option("--pretrain", help="First train all weights on the documents (without questions).")] = False,
    allow_download: options.AllowDownload = False,
    as_json: options.JsonOutput = False,
) -> None:
    """Train a LoRA adapter on the answers to questions of the training part, asked with the passages that retrieval finds."""
    from workbench.finetuning_generator import LORA_PLAN, PRETRAINING_PLAN
    from workbench.finetuning_runs import tune_generator

    settings = _checked(name, options.settings_from(locals()))
    trained = tune_generator(
        settings,
        base or "",
        name or "",
        _plan(LORA_PLAN, settings, epochs, learning_rate, batch_size),
        rank=rank,
        held_out=held_out,
        shuffled=shuffle,
        pretraining=replace(PRETRAINING_PLAN, seed=settings.seed) if pretrain else None,
        allow_download=allow_download,
        say=_say(as_json),
    )
    _tell(trained, "generator", as_json)


@train_app.command("embedder")
def train_embedder(
    dataset: options.Dataset = None,
    chunker: options.Chunker = None,
    chunk_size: options.ChunkSize = None,
    chunk_overlap: options.ChunkOverlap = None,
    header: options.Header = None,
    tokenizer: options.Tokenizer = None,
    limit: Limit = None,
    seed: Seed = None,
    option: options.Option = None,
    settings_file: options.SettingsFile = None,
    base: Base = None,
    name: Name = None,
    epochs: Epochs = None,
    learning_rate: Rate = None,
    batch_size: BatchSize = None,
    negatives: Annotated[int, typer.Option(help="Hard negatives for each question, mined in the chunks.")] = 1,
    held_out: HeldOut = 0.2,
    shuffle: Shuffle = False,
    allow_download: options.AllowDownload = False,
    as_json: options.JsonOutput = False,
) -> None:
    """Train all weights of an embedder to find the chunks with the evidence for questions of the training part."""
    from workbench.finetuning_embedder import DEFAULT_PLAN
    from workbench.finetuning_runs import tune_embedder

    settings = _checked(name, options.settings_from(locals()))
    trained = tune_embedder(
        settings,
        base or "",
        name or "",
        _plan(DEFAULT_PLAN, settings, epochs, learning_rate, batch_size),
        negatives=negatives,
        held_out=held_out,
        shuffled=shuffle,
        allow_download=allow_download,
        say=_say(as_json),
    )
    _tell(trained, "embedder", as_json)


def _checked(name: str | None, settings: Settings) -> Settings:
    """Refuse a name before any work is done for it."""
    if name is not None:
        models_trained.check_name(name)
    return settings


def _plan(plan: Plan, settings: Settings, epochs: float | None, learning_rate: float | None, batch_size: int | None) -> Plan:
    given = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size}
    return replace(plan, seed=settings.seed, **{key: value for key, value in given.items() if value is not None})


def _say(as_json: bool) -> Callable[[str], None]:
    return partial(typer.echo, err=as_json)  # where standard output must stay JSON, progress goes beside it


def _tell(trained: TrainedModel, kind: str, as_json: bool) -> None:
    """Print what was trained and how to use it."""
    spec = f"{SPECS[kind]}:{trained.name}"
    if as_json:
        record = {"name": trained.name, kind: spec, "fingerprint": trained.model.fingerprint, "points": [asdict(p) for p in trained.points]}
        typer.echo(json.dumps(record | {"seconds": trained.seconds, "tokens": trained.tokens}, indent=1))
    else:
        typer.echo(f"{trained.name}: {trained.tokens} tokens in {trained.seconds:.0f} s; use it: --{kind} {spec}")
