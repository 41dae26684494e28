"""Load a data set by its spec, draw from it, split it into independent parts, check it.

A spec is a name (`demo-en`, `demo-ko`), "format:PATH", or the path of a folder. Relative paths count from the current folder,
then from the project's folder.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from workbench import registry, storage
from workbench.data_checks import DataReport, report
from workbench.data_folder import read_demo, read_folder
from workbench.data_formats import read_beir, read_jsonl, read_squad, read_squad_article
from workbench.data_records import fingerprinted
from workbench.data_tables import read_table
from workbench.data_template import write_template
from workbench.datatypes import Dataset, Example, WorkbenchError

__all__ = ["DATASETS", "SHARES", "check", "clusters", "fingerprinted", "load", "sample", "split", "write_template"]

SHARES: Mapping[str, float] = MappingProxyType({"train": 0.3, "selection": 0.4, "confirmation": 0.3})


def demo_en(*, name: str) -> Dataset:
    """Read the packaged English demo corpus."""
    return read_demo("en", name)


def demo_ko(*, name: str) -> Dataset:
    """Read the packaged Korean demo corpus."""
    return read_demo("ko", name)


DATASETS: dict[str, Callable[..., Dataset]] = {
    "demo-en": demo_en,
    "demo-ko": demo_ko,
    "squad": read_squad,
    "squad-article": read_squad_article,
    "beir": read_beir,
    "jsonl": read_jsonl,
    "table": read_table,
    "folder": read_folder,
}


def load(spec: str, **options: Any) -> Dataset:
    """Load the data set that a spec names; all text NFC, all evidence checked against its document.

    Options: `encoding` (squad, jsonl, table, folder), `split` (beir: which file in qrels).
    What had to be dropped stands in `losses`, what else to know in `notes`. Raise WorkbenchError for an unknown or unreadable source.
    """
    kind, argument = registry.split_spec(spec)
    if kind not in DATASETS:
        kind, argument = kind_of_path(spec)
    if argument and "argument" in inspect.signature(DATASETS[kind]).parameters:
        argument = str(locate(argument))
    return registry.create("data set", DATASETS, kind if argument is None else f"{kind}:{argument}", options, name=spec)


def kind_of_path(spec: str) -> tuple[str, str]:
    """Return what a bare path is, ("jsonl" or "folder", path); raise WorkbenchError where it is neither."""
    path = _find(spec) if spec.strip() else None
    if path is None:
        if ":" not in spec and ("/" in spec or "\\" in spec):
            return "folder", spec  # the error then says where it was looked for
        raise registry.unknown("data set", registry.split_spec(spec)[0], DATASETS)
    if not path.is_dir():
        raise WorkbenchError(f"{spec} is a file; say what it is: table:{spec}, squad:{spec} or squad-article:{spec}")
    return ("jsonl" if (path / "documents.jsonl").is_file() else "folder"), spec


def locate(argument: str) -> Path:
    """Return the path that an argument names, from here or from the project; raise WorkbenchError where there is none."""
    path = _find(argument)
    if path is None:
        raise WorkbenchError(f"no such file or folder: {argument} (looked in {' and '.join(map(str, _bases()))})")
    return path


def _find(argument: str) -> Path | None:
    paths = (os.path.join(base, os.path.expanduser(argument)) for base in _bases())
    return next((Path(path) for path in paths if os.path.exists(path)), None)


def _bases() -> list[Path]:
    return list(dict.fromkeys((Path.cwd(), storage.home())))


def check(dataset: Dataset | str, **options: Any) -> DataReport:
    """Examine a data set, or load the one a spec names and examine it."""
    if isinstance(dataset, str):
        dataset = load(dataset, **options)
    return report(dataset, clusters(dataset))


def sample(dataset: Dataset, n: int, seed: int) -> Dataset:
    """Keep n questions drawn by seed, or all if there are fewer, and every document.

    The draw depends on ids and seed only, not on the order of the questions; a larger n keeps what a smaller one drew.
    """
    if n < 1:
        raise WorkbenchError(f"a sample needs at least 1 question, got {n}")
    if n >= len(dataset.examples):
        return dataset
    drawn = set(sorted((example.id for example in dataset.examples), key=lambda name: (_draw(name, seed), name))[:n])
    examples = tuple(example for example in dataset.examples if example.id in drawn)
    note = f"{n} of {len(dataset.examples)} questions drawn with seed {seed}"
    return fingerprinted(replace(dataset, examples=examples, notes=(*dataset.notes, note)))


def _draw(name: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()


def clusters(dataset: Dataset) -> dict[str, str]:
    """Return a label for each question such that questions with different labels share no document group.

    Document groups that one question's evidence touches are joined; the label is the first name of the joined groups.
    A question without evidence belongs to the group in its metadata, else stands alone.
    """
    group_of = {document.id: document.group for document in dataset.documents}
    parents: dict[str, str] = {}

    def root(group: str) -> str:
        parents.setdefault(group, group)
        while parents[group] != group:
            parents[group] = parents[parents[group]]  # halve the path, so that long chains stay cheap
            group = parents[group]
        return group

    homes = {example.id: _home(example, group_of) for example in dataset.examples}
    for example in dataset.examples:
        for unit in example.evidence:
            for span in unit:
                first, second = sorted((root(homes[example.id]), root(group_of[span.document_id])))
                parents[second] = first
    return {name: root(group) for name, group in homes.items()}


def _home(example: Example, group_of: Mapping[str, str]) -> str:
    if example.evidence:
        return group_of[example.evidence[0][0].document_id]
    return str(example.metadata["group"]) if "group" in example.metadata else f"question:{example.id}"


def split(dataset: Dataset, seed: int = 0, shares: Mapping[str, float] = SHARES) -> dict[str, Dataset]:
    """Divide the questions into named parts that share no cluster; each part keeps every document.

    The shares are met as far as whole clusters allow: the largest cluster goes first, always to the part that lacks most.
    Clusters of one size go in the order that the seed draws. Raise WorkbenchError when a part would stay empty.
    """
    if not shares or any(share <= 0 for share in shares.values()):
        raise WorkbenchError(f"each part of a split needs a share above 0, got {dict(shares)}")
    labels = clusters(dataset)
    sizes = Counter(labels.values())
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda label: -sizes[label])
    lacking = {name: share / sum(shares.values()) * len(dataset.examples) for name, share in shares.items()}
    part_of: dict[str, str] = {}
    for label in order:
        part = max(lacking, key=lacking.__getitem__)
        part_of[label] = part
        lacking[part] -= sizes[label]
    empty = sorted(set(shares) - set(part_of.values()))
    if empty:
        raise WorkbenchError(
            f"{dataset.name} cannot be split into {', '.join(shares)}: no question is left for {', '.join(empty)} "
            f"({len(dataset.examples)} questions in {len(sizes)} independent groups of documents)"
        )
    parts = {}
    for name in shares:
        examples = tuple(example for example in dataset.examples if part_of[labels[example.id]] == name)
        note = f"{name} part of a split with seed {seed}: {len(examples)} of {len(dataset.examples)} questions"
        parts[name] = fingerprinted(replace(dataset, examples=examples, notes=(*dataset.notes, note)))
    return parts
