"""Keep the models that were trained here: `trained/NAME` in the store, each with a card that says what it was made of.

A LoRA adapter is stored without its base, which must be in the store too and unchanged; everything else is a whole model folder.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import models, models_folder, storage
from workbench.datatypes import WorkbenchError

if TYPE_CHECKING:
    from workbench.models import LocalModel

CARD, ADAPTER, ADAPTER_CONFIG, README = "card.json", "adapter_model.safetensors", "adapter_config.json", "README.md"
LOCAL_PATH = re.compile(r"([a-z-]+:)?(?:~|\.{0,2}[/\\]|[A-Za-z]:[/\\]).*?([^/\\]*)[/\\]*", re.DOTALL)


def check_name(name: str) -> str:
    """Return a name for a trained model; raise WorkbenchError unless it is trained/ and letters, digits, dots, dashes and underscores."""
    if not name.startswith(models.TRAINED) or not models.HUB_ID.fullmatch(name):
        raise WorkbenchError(
            f"{name!r} is no name for a trained model; right would be {models.TRAINED}NAME, where NAME has ASCII letters, digits, "
            "underscores, single dots and single dashes, and starts with a letter or a digit"
        )
    return name


def names() -> list[str]:
    """List the trained models in the store."""
    folders = models.store().glob(f"{models.TRAINED.replace('/', '--')}*")
    found = [folder.name.replace("--", "/", 1) for folder in folders if folder.is_dir()]
    return sorted(name for name in found if models.HUB_ID.fullmatch(name))


def describe(name: str) -> str:
    """Tell in one line what a stored trained model is, or why it cannot be used."""
    try:
        model = resolve(name)
    except WorkbenchError as error:
        return str(error)
    made_of = f"{'adapter for' if model.adapter else 'trained from'} {card(name)['base']['name']}"
    return f"{model.kind}, {made_of}, {model.precision}, {model.licence}"


def card(name: str) -> dict[str, Any]:
    """Return the card of a stored trained model."""
    return storage.read_json(_intact(check_name(name)) / CARD)


def resolve(name: str, hashes: bool = False) -> LocalModel:
    """Return a trained model; raise WorkbenchError when it or the base of an adapter is missing, damaged or (the base) another one.

    Sizes are always compared, contents only with `hashes`.
    """
    folder = _intact(check_name(name), hashes)
    manifest = storage.read_json(folder / models.MANIFEST)
    if not (folder / ADAPTER_CONFIG).is_file():
        return models._local_model(name, folder, manifest["fingerprint"], manifest)
    made_of = storage.read_json(folder / CARD)["base"]
    try:
        base = (models.verify if hashes else models.resolve)(made_of["name"])
    except WorkbenchError as error:
        raise WorkbenchError(f"{name} is an adapter for another model, which it needs: {error}") from None
    if base.fingerprint != made_of["fingerprint"]:
        raise WorkbenchError(
            f"{name} is an adapter for {base.name} with sha256 {made_of['fingerprint'][:16]}, but the one in the store has "
            f"{base.fingerprint[:16]}; bring that version back or train again under another name"
        )
    return replace(base, name=name, fingerprint=manifest["fingerprint"], adapter=folder)


def find(name: str, identity: str) -> tuple[LocalModel, dict[str, Any]] | None:
    """Return a stored model and its card, None when there is none, or only a damaged one, of this name.

    Raise WorkbenchError when the name belongs to a model of other data or settings: others may be built on it.
    """
    folder = models.store() / check_name(name).replace("/", "--")
    if not folder.is_dir() or models._damage(name, folder, hashes=True):
        return None
    found = storage.read_json(folder / CARD)
    if found["identity"] != identity:
        raise WorkbenchError(f"{name} was trained on other data, settings or package versions; take another name, or remove {folder}")
    return resolve(name), found


def check_base(base: LocalModel, kind: str, adapter: bool) -> LocalModel:
    """Return a model that can be trained; raise WorkbenchError for one of another kind, an adapter, and a base that no adapter can name."""
    if base.kind != kind:
        raise WorkbenchError(f"the model {base.name!r} is no {kind}, so it cannot be trained as one")
    if base.adapter is not None:
        raise WorkbenchError(f"{base.name} is an adapter; train the model under it instead, on the data of both")
    if adapter and base.path != models.store() / base.name.replace("/", "--"):
        raise WorkbenchError(f"an adapter needs its base again later, so that must be a stored model and not the folder {base.name!r}")
    return base


def publish(name: str, base: LocalModel, facts: Mapping[str, Any], build: Callable[[Path], None]) -> LocalModel:
    """Let `build` write a model into a new folder and put it into the store with its card; return it.

    `facts` go into the card: at least "identity" (the fingerprint of all it was made of) and "method" (one sentence); local paths are cut
    to their last part. The fingerprint of the model is that of its files and, for an adapter, of its base; the card is not part of it.
    """
    folder = models.store() / check_name(name).replace("/", "--")
    folder.parent.mkdir(parents=True, exist_ok=True)
    entry = models.catalogue().get(base.name)
    above = storage.read_json(base.path / CARD) if (base.path / CARD).is_file() else {}
    notice = entry.notice if entry else above.get("notice", "")
    made_of = {"name": shown(base.name), "fingerprint": base.fingerprint}
    written = {"name": name, "base": made_of, "licence": base.licence, "notice": notice, **without_paths(facts)}
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent, ignore_cleanup_errors=True) as work:
        built = Path(work) / "model"
        built.mkdir()
        build(built)
        adapter = (built / ADAPTER_CONFIG).is_file()
        hashes = {path: storage.sha256_file(file) for path, file in models_folder.model_files(built).items()}
        fingerprint = storage.fingerprint({"base": base.fingerprint, **hashes} if adapter else hashes)
        storage.write_json(built / CARD, written)
        storage.write_text(built / README, _readme(written))
        manifest = {
            "name": name,
            "source": {"trained": made_of},
            "files": {
                path: {"bytes": file.stat().st_size, "sha256": hashes.get(path) or storage.sha256_file(file)}
                for path, file in models_folder.model_files(built).items()
            },
            "fingerprint": fingerprint,
            "precision": models_folder.check_weights(name, built),
            "languages": list(base.languages),
            "licence": base.licence,
            "max_length": base.max_length,
            "prefixes": models.prefixes(base) if base.kind == "embedder" else base.prefixes,
            "notice": notice,
        }
        storage.write_json(built / models.MANIFEST, manifest | {"checksum": storage.fingerprint(manifest)})
        models._publish(name, built, folder)
    return resolve(name)


def shown(name: str) -> str:
    """Return the name of a model as others may see it: of a folder, its last part only."""
    return without_paths(name) if models.HUB_ID.fullmatch(name) is None else name


def without_paths(value: Any) -> Any:
    """Cut every local path in a value to its last part ("table:/data/questions.csv" to "table:questions.csv")."""
    if isinstance(value, str):
        found = LOCAL_PATH.fullmatch(value)
        return (found[1] or "") + found[2] if found else value
    if isinstance(value, Mapping):
        return {str(key): without_paths(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_paths(item) for item in value]
    return value


def _intact(name: str, hashes: bool = False) -> Path:
    folder = models.store() / name.replace("/", "--")
    if not folder.is_dir():
        known = ", ".join(names()) or "none"
        raise WorkbenchError(f"{name} is not in the store (trained here: {known}); it must be trained first: workbench train")
    if damage := models._damage(name, folder, hashes):
        raise WorkbenchError(f"{name} in {folder} is damaged: {damage}; train it again, which replaces it")
    return folder


def _readme(written: Mapping[str, Any]) -> str:
    lines = [f"# {written['name']}", "", str(written.get("method", "")), ""]
    base = written["base"]
    lines += [f"- Base: {base['name']} (sha256 {base['fingerprint'][:16]})", f"- Licence: {written['licence']}"]
    lines += [f"- Notice: {written['notice']}"] if written["notice"] else []
    for title in ("data", "settings", "plan", "versions"):
        lines += ["", f"## {title.capitalize()}", ""] if written.get(title) else []
        lines += [f"- {key}: {value}" for key, value in sorted(dict(written.get(title) or {}).items())]
    if written.get("points"):
        lines += ["", "## Losses", "", "| step | epoch | training | held out |", "|---|---|---|---|"]
        for point in written["points"]:
            losses = ["-" if point[key] is None else f"{point[key]:.4f}" for key in ("train_loss", "held_out_loss")]
            lines.append(f"| {point['step']} | {point['epoch']:.2f} | {' | '.join(losses)} |")
    return "\n".join(lines) + "\n"
