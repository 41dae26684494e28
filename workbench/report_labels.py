"""Name configurations by what varies between them, and tell which are controls."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from workbench.evaluation import RunResult
from workbench.registry import split_spec
from workbench.settings import ANSWER_FIELDS, CLOSED_BOOK, SHOT_FIELDS, Settings

HIDDEN_FIELDS = ("dataset", "options", "budgets", "primary")  # shown apart from labels
SHUFFLED = "-shuffled"  # the end of the name of a model that was trained on shuffled pairs
CONTROLS = ("whole", "random", "hash")  # parts that should lose


def is_control(settings: Settings) -> bool:
    """Tell whether a configuration is a control that should lose."""
    parts = (getattr(settings, field).split(":")[0] for field in ("chunker", "retriever", "embedder"))
    return (
        any(part in CONTROLS for part in parts)
        or settings.shuffle_shots
        or any(getattr(settings, field).endswith(SHUFFLED) for field in ("embedder", "generator"))
        or split_spec(settings.prompt)[0] == CLOSED_BOOK
    )


def varying(results: Sequence[RunResult]) -> list[str]:
    """Return the settings that differ between results, in the order of Settings."""
    return [field for field in Settings.model_fields if len({repr(getattr(result.settings, field)) for result in results}) > 1]


def label(settings: Settings, fields: Sequence[str], silent: Collection[tuple[str, str]] = ()) -> str:
    """Name a configuration by the fields that vary, shortly: "recursive · 256 tokens", "whole document", "bm25:word".

    Options (part, name) that are `silent` are not named.
    """
    words = ["whole document"] if settings.chunker == "whole" else []
    if settings.retriever == "random" and "retriever" not in fields:
        words.append("random chunks")
    if settings.embedder == "hash" and "embedder" not in fields:
        words.append("hash embedder")
    if settings.shuffle_shots and "shuffle_shots" not in fields:
        fields = [*fields, "shuffle_shots"]
    for field in fields:
        value = getattr(settings, field)
        if settings.chunker == "whole" and field in ("chunker", "chunk_size", "chunk_overlap"):
            continue
        if field == "options":
            given = [(part, name, item) for part, options in value.items() for name, item in options.items()]
            words += [f"{part}.{name} {item}" for part, name, item in given if (part, name) not in silent]
        elif _idle(settings, field):
            continue
        elif field == "shot_count":
            words.append(f"{value} shot{'s' * (value != 1)}" if value else "zero-shot")
        elif field == "shot_selection":
            words.append(value)
        elif field == "shuffle_shots":
            words += ["shuffled answers"] * value
        elif field == "reranker":
            words.append(f"reranked by {_short(field, value)}")
        elif field in ("embedder", "generator", "prompt"):
            words.append(_short(field, value))
        elif field in ("chunker", "retriever", "dataset"):
            words.append(str(value))
        elif field == "chunk_size":
            words.append(f"{value} tokens")
        else:
            words.append(f"{field.replace('_', ' ')} {'none' if value == '' else value}")
    return " · ".join(words) or "the one configuration"


def _silent_options(settings: Sequence[Settings]) -> set[tuple[str, str]]:
    """Return the options (part, name) that are the same wherever a part is the same: its name says it all."""
    given = {(part, name) for one in settings for part, options in one.options.items() for name in options}
    values: dict[tuple[str, str, str], set[str]] = {}
    for one in settings:
        for part, name in given:
            values.setdefault((part, name, getattr(one, part)), set()).add(repr(one.options.get(part, {}).get(name)))
    return given - {(part, name) for (part, name, _), found in values.items() if len(found) > 1}


def _idle(settings: Settings, field: str) -> bool:
    """Tell whether a setting has no effect in a configuration."""
    if field in ("embedder", "index", "reranker"):
        return getattr(settings, field) == "none"
    return (settings.generator == "none" and field in ANSWER_FIELDS) or (not settings.shot_count and field in SHOT_FIELDS)


def _short(field: str, value: str) -> str:
    """Return a model without its owner and kind, a prompt file without its folder."""
    name, argument = split_spec(value)
    if field == "prompt" and name != "file":
        return f"prompt {value}"
    last = re.split(r"[/\\]", argument or name)[-1]
    return f"no {field}" if value == "none" else f"prompt {last}" if field == "prompt" else last


def labels(results: Sequence[RunResult]) -> list[str]:
    """Name each result by the settings that vary between candidates; the whole-document and random controls by what they are.

    An embedder, an index or a kind of shots is named only where there are several; equal names get their config id.
    """
    candidates = [result for result in results if not is_control(result.settings)]
    fields = varying(candidates if len(candidates) > 1 else results)
    fields = [field for field in fields if field not in HIDDEN_FIELDS or field == "options"]
    for field in ("embedder", "index", *SHOT_FIELDS):
        used = {getattr(result.settings, field) for result in results if not _idle(result.settings, field)}
        if field in fields and len(used) < 2:
            fields.remove(field)
    silent = _silent_options([result.settings for result in results])
    names = [label(result.settings, fields, silent) for result in results]
    counted = Counter(names)
    return [name if counted[name] == 1 else f"{name} · {result.config_id}" for name, result in zip(names, results, strict=True)]
