"""Stored indexes: faiss reads a file only after its checksum was found right; what is damaged is built again (VX5)."""

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workbench import experiment, index_store
from workbench.cache import Cache
from workbench.datatypes import WorkbenchError
from workbench.index import INDEXES, create_index
from workbench.index_store import checksum, index_folder, stored_index
from workbench.registry import resolve
from workbench.settings import Settings
from workbench.storage import cache_file

SIZE = 400
APPROXIMATE = [name for name in INDEXES if resolve(INDEXES[name]).approximate]
NAMES = [f"chunk-{row}" for row in range(SIZE)]


def random_vectors(seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(SIZE, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


VECTORS, QUERIES = random_vectors(0), random_vectors(1)[:50]


@pytest.fixture(autouse=True)
def _all_are_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_store, "STORED_FROM", 1)


def build(folder: Path | None, spec: str = "hnsw", vectors: np.ndarray = VECTORS, **options: Any) -> Any:
    return create_index(spec, vectors, NAMES, options, folder)


def answers(index: Any) -> list[tuple[list, list]]:
    return [(rows.tolist(), scores.tolist()) for rows, scores in index.search(QUERIES, 5)]


@pytest.mark.parametrize("spec", APPROXIMATE)
def test_a_stored_index_finds_what_it_found(spec: str, tmp_path: Path) -> None:
    first, again = build(tmp_path, spec), build(tmp_path, spec)
    assert (first.origin, again.origin) == ("built", "loaded")
    assert answers(first) == answers(again) == answers(build(None, spec))
    (path,) = tmp_path.iterdir()  # and nothing temporary
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_key_holds_vectors_kind_and_what_it_is_built_by(tmp_path: Path) -> None:
    changed = VECTORS.copy()
    changed[7] = -changed[7]
    made = [
        build(tmp_path),
        build(tmp_path, m=16),
        build(tmp_path, "hnsw_sq"),
        build(tmp_path, "ivf_sq"),
        build(tmp_path, vectors=changed),
    ]
    assert [index.origin for index in made] == ["built"] * len(made)
    assert len(list(tmp_path.iterdir())) == len(made)
    narrow = build(tmp_path, ef=5)
    assert narrow.origin == "loaded"  # one graph for searches of any breadth
    assert answers(narrow) == answers(build(None, ef=5))


def test_exact_and_small_indexes_are_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path, "exact")
    build(tmp_path, "flat")
    monkeypatch.setattr(index_store, "STORED_FROM", SIZE + 1)
    assert build(tmp_path).origin == "built"
    assert not list(tmp_path.iterdir())


def test_vx5_every_kind_of_damage_is_noticed_before_faiss_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import faiss

    expected = answers(build(tmp_path))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    read: list[int] = []
    original = faiss.read_index
    monkeypatch.setattr(faiss, "read_index", lambda *given: read.append(1) or original(*given))
    random = np.random.default_rng(0)
    damages = [b"", whole[:20], whole[:-1], whole[:-40], whole + b"x", whole[1:], bytes(len(whole))]
    for at in (0, 5, len(whole) - 1, *random.integers(len(whole), size=5).tolist()):
        damages.append(whole[:at] + bytes([whole[at] ^ 1 << int(random.integers(8))]) + whole[at + 1 :])
    for damage in damages:
        path.write_bytes(damage)
        index = build(tmp_path)
        assert index.origin == "rebuilt"
        assert answers(index) == expected
        assert path.read_bytes() == whole  # repaired
    assert not read
    assert build(tmp_path).origin == "loaded"
    assert read


def test_a_run_keeps_its_index_beside_the_cache_and_counts_a_damaged_one(own_cache: Path) -> None:
    settings = Settings(dataset="demo-en", limit=3, tokenizer="simple", embedder="hash", index="ivf_sq")
    folder = index_folder(cache_file())
    experiment.run(settings, cached=False)
    assert not folder.exists()
    first = experiment.run(settings)
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    second = experiment.run(settings)
    assert (first.cache["damaged"], second.cache["damaged"]) == (0, 1)
    assert first.summary() == second.summary()


def test_files_with_exchanged_names_are_noticed(tmp_path: Path) -> None:
    build(tmp_path, m=10)
    build(tmp_path, m=20)
    one, two = tmp_path.iterdir()
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    assert [build(tmp_path, m=m).origin for m in (10, 20)] == ["rebuilt", "rebuilt"]


def test_what_cannot_be_written_or_built_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    with pytest.raises(WorkbenchError, match=r"the stored index .*\.faiss cannot be used"):
        build(tmp_path / "file")

    def fail() -> None:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        stored_index(tmp_path / "indexes", VECTORS, "hnsw", {}, fail)
    assert not list((tmp_path / "indexes").glob("*"))


def test_clear_removes_all_or_the_old_ones_and_what_nobody_finishes(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache.sqlite")
    folder = index_folder(cache.path)
    for m in (10, 20, 30):
        build(folder, m=m)
    old = next(folder.glob("*.faiss"))
    (killed, begun) = (folder / f".{name}.faiss.0000.tmp" for name in "ab")
    for file in (old, killed, begun):
        file.touch()
    for file in (old, killed):
        os.utime(file, (1, 1))
    assert [(row["kind"], row["rows"]) for row in cache.stats()] == [("indexes", 3)]
    cache.prune(1)
    assert len(list(folder.glob("*.faiss"))) == 2
    assert not old.exists()
    assert not killed.exists()
    cache.clear()
    assert list(folder.iterdir()) == [begun]  # another process may be writing it
    assert cache.stats() == []
    Cache(tmp_path / "absent.sqlite").clear()


def test_the_checksum_is_that_of_the_bytes_in_whatever_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = checksum(VECTORS)
    monkeypatch.setattr(index_store, "BLOCK", 100)
    assert checksum(VECTORS) == whole != checksum(VECTORS[::-1].copy())
