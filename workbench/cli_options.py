"""Name the options that several commands share, and turn them into Settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.datatypes import WorkbenchError
from workbench.settings import Settings, parse_settings
from workbench.storage import read_yaml

Dataset = Annotated[
    str | None, typer.Option(help="demo-en, demo-ko, squad:FILE, squad-article:FILE, beir:DIR, jsonl:DIR, table:FILE, folder:DIR")
]
Chunker = Annotated[str | None, typer.Option(help="whole, fixed, sentence, recursive, markdown")]
ChunkSize = Annotated[int | None, typer.Option(help="Tokens of the measuring tokenizer.")]
ChunkOverlap = Annotated[int | None, typer.Option(help="Tokens that neighbours share.")]
Header = Annotated[str | None, typer.Option(help="What is indexed in front of each chunk: auto, title, none.")]
Tokenizer = Annotated[str | None, typer.Option(help="Measuring tokenizer: a model's name or 'simple'.")]
Embedder = Annotated[str | None, typer.Option(help="auto, hash, st:MODEL, openvino:MODEL, onnx:MODEL, openai:MODEL")]
Retriever = Annotated[str | None, typer.Option(help="dense, bm25, bm25:english, bm25:hangul-bigram, bm25:kiwi, bm25:word, hybrid, random")]
Index = Annotated[str | None, typer.Option(help="exact, flat, hnsw, hnsw_sq, ivf_sq")]
TopK = Annotated[int | None, typer.Option(help="Hits of the fixed-k metrics.")]
Filter = Annotated[str | None, typer.Option(help="Metadata that hits must share with the question: title, or title:VALUE.")]
Generator = Annotated[str | None, typer.Option(help="none, auto, extractive, hf:MODEL, openvino:MODEL, openai:MODEL")]
Reranker = Annotated[str | None, typer.Option(help="none, cross-encoder:MODEL")]
Prompt = Annotated[
    str | None,
    typer.Option(
        help="plain, concise, cite, quote, refuse, steps, json, question-first, chain, closed-book; plain:ko is Korean, file:PATH your own."
    ),
]
ShotCount = Annotated[
    int | None, typer.Option(help="Examples in the prompt, out of the training split (needs --split selection, confirmation or test).")
]
ShotSelection = Annotated[str | None, typer.Option(help="fixed, random, similar, diverse")]
ShotBudget = Annotated[int | None, typer.Option(help="Tokens of context that each shot shows.")]
ShuffleShots = Annotated[bool | None, typer.Option("--shuffle-shots", help="Give each shot the answer of another: a control.")]
AnswerBudget = Annotated[int | None, typer.Option(help="Tokens of context for an answer; 0 takes the first budget of at least 512.")]
ShrinkContext = Annotated[bool | None, typer.Option("--shrink-context", help="Let a context that overflows the model's window shrink.")]
Rules = Annotated[str | None, typer.Option(help="YAML file of business rules for answers.")]
Judge = Annotated[str | None, typer.Option(help="Model that judges answers: none, openai:MODEL; never the generator itself.")]
Option = Annotated[list[str] | None, typer.Option("--set", help="Knob of a part: index.ef=64. Repeat for several.")]
SettingsFile = Annotated[Path | None, typer.Option("--settings", help="YAML file of settings; options given here win.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Compute everything anew and store nothing.")]
AllowDownload = Annotated[bool, typer.Option("--allow-download", help="Fetch an absent model from the model hub.")]
JsonOutput = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def settings_from(given: Mapping[str, Any]) -> Settings:
    """Build Settings from a command's options: those of the file given with --settings, then the others."""
    path = given["settings_file"]
    values = read_yaml(path) if path else {}
    if not isinstance(values, dict):
        raise WorkbenchError(f"{path} must hold settings as 'name: value' lines")
    values |= {name: given[name] for name in Settings.model_fields if given.get(name) is not None}
    if given.get("budget"):
        values["budgets"] = given["budget"]
    settings = parse_settings(values)
    return settings.replace(options=_merge(settings.options, given["option"])) if given["option"] else settings


def _merge(options: Mapping[str, Mapping[str, Any]], given: Sequence[str]) -> dict[str, Any]:
    """Add "part.name=value" texts to an options mapping; values are read as JSON where they are JSON."""
    merged = {part: dict(knobs) for part, knobs in options.items()}
    for text in given:
        path, equals, value = text.partition("=")
        part, dot, name = path.partition(".")
        if not (equals and dot and part and name):
            raise WorkbenchError(f"--set {text!r} must read part.name=value, for example index.ef=64")
        try:
            merged.setdefault(part, {})[name] = json.loads(value)
        except json.JSONDecodeError:
            merged.setdefault(part, {})[name] = value
    return merged
