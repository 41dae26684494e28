"""Check configurations as their runs will, and fingerprint what decides their numbers: code, data, models, files."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench import data, judging_labels, models, registry, storage
from workbench.datatypes import WorkbenchError
from workbench.experiment_build import resolve
from workbench.experiment_data import NONE, Prepared, corpus_language
from workbench.notebook import code_fingerprint
from workbench.pipeline_rules import load_rules
from workbench.prompting import load_prompt, locate
from workbench.settings import Settings, parse_settings
from workbench.tokens import SimpleTokenizer

LOCAL_PARTS = ("st", "onnx", "openvino", "cross-encoder", "hf")  # those that run a model of the store or a folder
NO_EFFECT_ON_NUMBERS = re.compile(
    r"(bench|report|widgets|fonts|ledger|engine|executors|sweep(?!_direct)|cli|bootstrap|__main__|__init__|notebook)"
)
# what decides neither which inputs are read nor whether a part of them exists: points that differ in these alone are looked up once
SIZES = {"chunk_size", "chunk_overlap", "limit", "filter", "shot_budget", "answers", "answer_budget", "seed"}


class Inputs:
    """Check configurations and fingerprint their inputs; every data set, model, prompt and file is read once for all of them."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, ...], Any] = {}

    def fingerprint(self, values: Mapping[str, Any]) -> str:
        """Return the sha256 of the data, models and files that one configuration reads; raise WorkbenchError when it cannot run."""
        settings = parse_settings(values)
        key = json.dumps(settings.model_dump(exclude=SIZES), sort_keys=True)
        return self._once(("settings", key), lambda: storage.fingerprint(self._read(settings)))

    def _once(self, key: tuple[str, ...], compute: Callable[[], Any]) -> Any:
        """Compute a value once; what failed fails again without another try."""
        if key not in self._kept:
            try:
                self._kept[key] = compute()
            except WorkbenchError as error:
                self._kept[key] = error
        if isinstance(self._kept[key], WorkbenchError):
            raise self._kept[key]
        return self._kept[key]

    def _read(self, settings: Settings) -> list[Any]:
        name = settings.dataset
        prepared, print_ = self._once(("data", name), lambda: _prepared(name))
        settings = resolve(settings, prepared)
        parts = [registry.split_spec(spec) for spec in (settings.embedder, settings.reranker, settings.generator)]
        names = [model or "" for part, model in parts if part in LOCAL_PARTS]
        names += [settings.tokenizer] * (settings.tokenizer != SimpleTokenizer.name)
        prints = [print_, *(self._once(("model", model), lambda model=model: models.resolve(model).fingerprint) for model in names)]
        if any(part == "openai" for part, _ in (*parts, registry.split_spec(settings.judge))):
            prints += [os.environ.get(name, "") for name in ("OPENAI_BASE_URL", "WORKBENCH_JUDGE_BASE_URL")]
        if labels := settings.options.get("judge", {}).get("labels"):
            prints.append(self._once(("labels", str(labels)), lambda: _labels(labels)))
        if settings.generator != NONE:
            language = prepared.language
            prints.append(self._once(("prompt", settings.prompt, language), lambda: load_prompt(settings.prompt, language).fingerprint))
        if settings.rules:
            prints.append(self._once(("rules", settings.rules), lambda: _rules(settings.rules)))
        return prints


def _prepared(name: str) -> tuple[Prepared, str]:
    """Return what settings are resolved with, and the fingerprint of the data.

    One document is kept: which tokeniser "auto" stands for is guessed from all texts each time, and changes nothing here.
    """
    dataset = data.load(name)
    slim = replace(dataset, documents=dataset.documents[:1])
    return Prepared(slim, slim, (), (), {}, None, corpus_language(dataset)), dataset.fingerprint


def _labels(name: Any) -> str:
    if not isinstance(name, str):
        raise WorkbenchError(f"judge.labels {name!r:.80} must be the name of a file")
    path = locate(name, "labels")
    judging_labels.read_labels(path)
    return storage.sha256_file(path)


def _rules(name: str) -> str:
    return storage.fingerprint([rule.model_dump() for rule in load_rules(locate(name, "rules"))])


def package_fingerprint() -> str:
    """Return the sha256 of the modules that decide numbers: an edited metric makes old results stale, an edited report does not."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if not NO_EFFECT_ON_NUMBERS.match(path.stem):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def code_of(engine: str, notebook: Path) -> list[str]:
    """Return fingerprints of the code that decides the numbers of a sweep."""
    return [engine if engine == "direct" else code_fingerprint(notebook), package_fingerprint()]
