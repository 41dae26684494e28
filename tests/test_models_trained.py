"""Trained models in the store: names, cards without local paths, damage, and adapters whose base is missing or another one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from workbench import models, models_trained
from workbench.datatypes import WorkbenchError

GEMMA = "google/gemma-3-270m"
CONFIG = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 512}
FACTS = {"identity": "1234", "method": "Made for a test.", "seconds": 1.5, "data": {"name": "table:/srv/data/questions.csv", "pairs": 3}}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a model store that holds one generator, tiny/base."""
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "models"))
    store_model("tiny/base")
    return tmp_path / "models"


def store_model(name: str, value: float = 1.0) -> None:
    folder = models.store() / name.replace("/", "--")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_model(folder, value)
    models._write_manifest(name, models.catalogue().get(name), {"made": "for a test"}, folder)


def write_model(folder: Path, value: float = 1.0) -> None:
    save_file({"weight": np.full(3, value, np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")


def write_adapter(folder: Path) -> None:
    save_file({"lora_A": np.ones(3, np.float32)}, folder / models_trained.ADAPTER)
    (folder / models_trained.ADAPTER_CONFIG).write_text("{}", encoding="utf-8")


def publish_adapter(name: str = "trained/one", base: str = "tiny/base", **facts: object) -> models.LocalModel:
    return models_trained.publish(name, models.resolve(base), {**FACTS, **facts}, write_adapter)


@pytest.mark.parametrize(
    "name",
    [
        *("", "one", "trained", "trained/", "trained/..", "trained/../one", "trained/a/b", "trained/.one", "trained/a--b", "trained/a..b"),
        *("trained/모델", "trained/a b", "trained/a\n", "trained\\one", "/trained/one", "other/one"),
    ],
)
def test_other_names_are_refused(store, name):
    for refuse in (models_trained.check_name, models_trained.resolve, publish_adapter, lambda name: models_trained.find(name, "")):
        with pytest.raises(WorkbenchError, match="is no name for a trained model; right would be trained/NAME"):
            refuse(name)
    assert [path.name for path in store.iterdir()] == ["tiny--base"]


def test_an_adapter_is_its_base_with_an_adapter(store, tmp_path, monkeypatch):
    base, model = models.resolve("tiny/base"), publish_adapter()
    assert (model.path, model.adapter) == (base.path, store / "trained--one")
    assert (model.name, model.kind, model.max_length) == ("trained/one", "generator", 512)
    assert model.fingerprint != base.fingerprint
    (tmp_path / "trained" / "one").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)  # a folder of that name here must not be taken for it
    assert models.resolve("trained/one") == models.verify("trained/one") == models.pull("trained/one") == model
    assert models.stored("trained/one")
    (store / "trained--a--b").mkdir()
    assert models_trained.names() == ["trained/one"]
    assert models_trained.describe("trained/one") == "generator, adapter for tiny/base, fp32, see its model card"
    assert sorted(path.name for path in model.adapter.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "card.json",
        "manifest.json",
    ]
    assert not [path for path in store.iterdir() if path.name.endswith(".tmp")]


def test_a_card_tells_what_it_was_made_of_without_local_paths(store):
    store_model(GEMMA)
    models_trained.publish("trained/whole", models.resolve(GEMMA), FACTS, write_model)
    model = publish_adapter("trained/chained", "trained/whole", points=[{"step": 0, "epoch": 0, "train_loss": None, "held_out_loss": 0.25}])
    card = models_trained.card("trained/chained")
    assert card["base"] == {"name": "trained/whole", "fingerprint": models.resolve("trained/whole").fingerprint}
    assert (card["licence"], card["notice"]) == (models.catalogue()[GEMMA].licence, models.catalogue()[GEMMA].notice)
    assert card["notice"]
    assert model.licence == card["licence"]
    assert card["data"] == {"name": "table:questions.csv", "pairs": 3}
    readme = (store / "trained--chained" / "README.md").read_text(encoding="utf-8")
    for line in ("# trained/chained", "Made for a test.", f"- Notice: {card['notice']}", "- pairs: 3", "| 0 | 0.00 | - | 0.2500 |"):
        assert line in readme.splitlines()
    for name in models_trained.names():
        for path in (store / name.replace("/", "--")).iterdir():
            data = path.read_bytes()
            assert not [text for text in (str(store), str(Path.home()), "/srv") if text.encode() in data], path


def test_the_fingerprint_is_that_of_the_weights_and_the_base(store):
    first = publish_adapter("trained/one")
    store_model("tiny/other", 2.0)
    prints = [publish_adapter("trained/two", seconds=9.9), publish_adapter("trained/three", "tiny/other")]
    assert [model.fingerprint == first.fingerprint for model in prints] == [True, False]


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("card.json", lambda path: path.write_text("{}", encoding="utf-8"), "card.json has 2 bytes instead of"),
        (models_trained.ADAPTER, lambda path: path.unlink(), f"{models_trained.ADAPTER} is missing"),
        ("manifest.json", lambda path: path.write_text("{}", encoding="utf-8"), "manifest.json is missing, changed or of another model"),
        ("more.json", lambda path: path.write_text("{}", encoding="utf-8"), "more.json does not belong to it"),
        (models_trained.ADAPTER, lambda path: path.write_bytes(path.read_bytes()[:-1] + b"!"), "does not have its recorded sha256"),
    ],
)
def test_damage_is_told_and_mended_by_training_again(store, file, change, message):
    model = publish_adapter()
    change(store / "trained--one" / file)
    with pytest.raises(WorkbenchError, match=f"trained/one in .* is damaged: .*{message}.*; train it again, which replaces it"):
        models.verify("trained/one")
    assert models_trained.find("trained/one", "1234") is None
    assert models_trained.describe("trained/one").startswith("generator, adapter" if "sha256" in message else "trained/one in ")
    assert publish_adapter() == model == models.verify("trained/one")


def test_an_adapter_needs_its_very_base(store):
    model = publish_adapter()
    store_model("tiny/base", 2.0)
    with pytest.raises(WorkbenchError, match=f"adapter for tiny/base with sha256 {'.' * 16}, but the one in the store has"):
        models.resolve("trained/one")
    shutil.rmtree(store / "tiny--base")
    with pytest.raises(WorkbenchError, match="trained/one is an adapter for another model, which it needs: model tiny/base is not here"):
        models.resolve("trained/one")
    store_model("tiny/base")
    assert models.resolve("trained/one") == model


def test_a_name_is_found_again_only_by_what_it_was_made_of(store):
    assert models_trained.find("trained/one", "1234") is None
    model = publish_adapter()
    found, card = models_trained.find("trained/one", "1234")
    assert (found, card["seconds"]) == (model, 1.5)
    with pytest.raises(WorkbenchError, match="trained/one was trained on other data, settings or package versions; take another name"):
        models_trained.find("trained/one", "5678")
    for fetch in (models.resolve, models.pull, models.verify):
        with pytest.raises(
            WorkbenchError, match=r"trained/two is not in the store \(trained here: trained/one\); it must be trained first"
        ):
            fetch("trained/two")


def test_bases_that_cannot_be_trained_further(store):
    base, adapter = models.resolve("tiny/base"), publish_adapter()
    folder = models.resolve(str(store / "tiny--base"))
    assert models_trained.check_base(base, "generator", adapter=True) is base
    assert models_trained.check_base(folder, "generator", adapter=False) is folder
    for model, kind, message in (
        (base, "embedder", "the model 'tiny/base' is no embedder"),
        (adapter, "generator", "trained/one is an adapter; train the model under it instead"),
        (folder, "generator", "must be a stored model and not the folder"),
    ):
        with pytest.raises(WorkbenchError, match=message):
            models_trained.check_base(model, kind, adapter=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("table:/data/q.csv", "table:q.csv"),
        ("folder:C:\\data\\docs\\", "folder:docs"),
        ("folder:~/docs", "folder:docs"),
        ("squad:../x/dev.json", "squad:dev.json"),
        ("/data/docs/", "docs"),
        ("hf:google/gemma-3-270m", "hf:google/gemma-3-270m"),
        ("demo-en", "demo-en"),
        ("", ""),
        ({"a": ["/b/c", 1, None, True]}, {"a": ["c", 1, None, True]}),
    ],
)
def test_local_paths_are_cut_to_their_last_part(value, expected):
    assert models_trained.without_paths(value) == expected
