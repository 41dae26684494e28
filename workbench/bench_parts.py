"""Find which embedders, rerankers and generators can be measured here: the controls, and each part for each model of the store."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from workbench import models, models_trained, registry
from workbench.bench_rates import Part, Skipped
from workbench.datatypes import WorkbenchError
from workbench.embedding import EMBEDDERS, create_embedder
from workbench.generation import GENERATORS, create_generator
from workbench.reranking import RERANKERS, create_reranker

KINDS: Mapping[str, tuple[Mapping[str, Any], Callable[..., Any]]] = {
    "embedder": (EMBEDDERS, create_embedder),
    "reranker": (RERANKERS, create_reranker),
    "generator": (GENERATORS, create_generator),
}


def create(part: Part, **options: Any) -> Any:
    """Build a part that computes everything anew (nothing of the cache stands before it) and downloads nothing; options here win."""
    return KINDS[part.kind][1](part.spec, json.loads(part.options) | options)


def parameters(part: Part) -> Mapping[str, inspect.Parameter]:
    """Return what the class of a part takes."""
    return inspect.signature(registry.resolve(KINDS[part.kind][0][registry.split_spec(part.spec)[0]])).parameters


def asks_a_server(part: Part) -> bool:
    """Tell whether a part has a model that it does not run itself: one that runs here may have to fetch it."""
    taken = parameters(part)
    return "argument" in taken and "allow_download" not in taken


def candidates() -> tuple[list[Part], list[Skipped]]:
    """Return what can be measured here, parts of one backend together, and what cannot with the reason; loads no model.

    Models of the catalogue count, and those that were trained here do not: they are as fast as what they were trained from.
    """
    found: list[Part] = []
    skipped: list[Skipped] = []
    here: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for name, entry in models.catalogue().items():
        try:
            models.resolve(name)
            here[entry.kind].append(name)
        except WorkbenchError as error:
            skipped.append(Skipped(Part(entry.kind, name), str(error)))
    for kind, (parts, _) in KINDS.items():
        for name in parts:
            part = Part(kind, name)
            if asks_a_server(part):
                skipped.append(Skipped(part, "asks a server: its speed is not this machine's"))
            elif "argument" not in parameters(part):
                found.append(part)
            for model in here[kind] if not asks_a_server(part) and "argument" in parameters(part) else ():
                part = Part(kind, f"{name}:{model}")
                reason = problem(part)
                found += [] if reason else [part]
                skipped += [Skipped(part, reason)] if reason else []
    if trained := models_trained.names():
        skipped.append(Skipped(Part("trained", f"{len(trained)} models"), "as fast as the models they were trained from"))
    return found, skipped


def problem(part: Part) -> str:
    """Say why a part cannot be built here: another kind of files, an extra that is not installed; "" where it can."""
    try:
        create(part)
    except WorkbenchError as error:
        return str(error)
    return ""


def known_languages(part: Part, languages: tuple[str, ...]) -> list[str]:
    """Return those of the languages that the model of a part does not say it is ignorant of; all where it says nothing."""
    model = getattr(create(part), "model", None)
    return [language for language in languages if not isinstance(model, models.LocalModel) or model.knows(language)]
