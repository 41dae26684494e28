"""The mapped file of a large corpus: the same vectors, no rows read, killed jobs resumed, damage mended."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from test_cache import CountingEmbedder

from workbench import cache as cache_module
from workbench import cache_vectors
from workbench.cache import Cache, CachedEmbedder
from workbench.datatypes import WorkbenchError

TEXTS = [f"문서 {number} about topic" for number in range(100)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_vectors, "IN_MEMORY", 60)
    monkeypatch.setattr(cache_vectors, "BLOCK", 32)
    monkeypatch.setattr(cache_module, "ENCODED_AT_ONCE", 16)


def encode(path: Path, texts: Sequence[str] = TEXTS, role: str = "passage", **changes) -> tuple[np.ndarray, CountingEmbedder, Cache]:
    embedder, cache = CountingEmbedder(**changes), Cache(path)
    vectors = CachedEmbedder(embedder, cache).encode(texts, role)
    cache.close()
    return vectors, embedder, cache


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.sqlite"


def files(path: Path) -> list[Path]:
    return sorted(cache_vectors.vector_folder(path).glob("*.npy"))


def test_many_vectors_are_mapped_and_few_are_not(path):
    few, _, _ = encode(path, TEXTS[:60])
    assert not isinstance(few, np.memmap)
    assert files(path) == []
    many, embedder, cache = encode(path)
    assert isinstance(many, np.memmap)
    assert many.dtype == np.float32
    assert many.tobytes() == CountingEmbedder().encode(TEXTS, "passage").tobytes()
    assert (len(embedder.asked), cache.counts.misses, cache.counts.hits) == (40, 40, 60)
    with pytest.raises(ValueError, match="read-only"):
        many[0, 0] = 1


def test_a_second_run_reads_the_file_and_no_rows(path, monkeypatch):
    first, _, _ = encode(path)
    monkeypatch.setattr(Cache, "get", lambda self, keys: pytest.fail("rows were read"))
    again, embedder, cache = encode(path)
    assert again.tobytes() == first.tobytes()
    assert embedder.asked == []
    assert (cache.counts.hits, cache.counts.misses, cache.counts.damaged) == (100, 0, 0)


def test_every_text_its_place_the_role_and_the_model_are_in_the_name(path):
    encode(path)
    for texts, role, changes in (
        (TEXTS[::-1], "passage", {}),
        ([*TEXTS[:99], "another"], "passage", {}),
        ([*TEXTS[:98], TEXTS[98] + TEXTS[99][:1], TEXTS[99][1:]], "passage", {}),
        (TEXTS, "query", {}),
        (TEXTS, "passage", {"version": 2}),
    ):
        vectors, _, _ = encode(path, texts, role, **changes)
        assert vectors.tobytes() == CountingEmbedder(**changes).encode(texts, role).tobytes()
    assert len(files(path)) == 6


def test_repeated_texts_are_encoded_once(path):
    vectors, embedder, _ = encode(path, TEXTS[:10] * 10)
    assert len(embedder.asked) == 10
    assert vectors.tobytes() == CountingEmbedder().encode(TEXTS[:10] * 10, "passage").tobytes()


@pytest.mark.parametrize("harm", ["flip", "cut", "no checksum", "bad checksum"])
def test_a_damaged_file_is_made_again_from_the_rows_and_counted(path, harm):
    first, _, _ = encode(path)
    expected = first.tobytes()
    del first
    (file,) = files(path)
    data = file.read_bytes()
    if harm == "flip":
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif harm == "cut":
        file.write_bytes(data[:-100])
    elif harm == "no checksum":
        file.with_suffix(".json").unlink()
    else:
        file.with_suffix(".json").write_text("{", encoding="utf-8")
    again, embedder, cache = encode(path)
    assert again.tobytes() == expected
    assert embedder.asked == []  # the rows are whole
    assert cache.counts.damaged == 1
    _, _, cache = encode(path)
    assert cache.counts.damaged == 0


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from test_cache import CountingEmbedder
    from test_cache_vectors import TEXTS
    from workbench import cache, cache_vectors
    cache_vectors.IN_MEMORY, cache_vectors.BLOCK, cache.ENCODED_AT_ONCE = 60, 32, 16
    class Dying(CountingEmbedder):
        def encode(self, texts, role):
            if len(self.asked) >= 48:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().encode(texts, role)
    cache.CachedEmbedder(Dying(), cache.Cache(Path(sys.argv[1]))).encode(TEXTS, "passage")
"""


def test_a_job_killed_with_sigkill_resumes_where_it_stood(path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(path)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert files(path) == []
    (unfinished,) = cache_vectors.vector_folder(path).glob(".*.tmp")
    vectors, embedder, _ = encode(path)
    assert len(embedder.asked) == len(TEXTS) - 48
    assert vectors.tobytes() == CountingEmbedder().encode(TEXTS, "passage").tobytes()
    assert unfinished.exists()  # it might be another's
    os.utime(unfinished, (0, 0))
    encode(path, TEXTS[::-1])
    assert not unfinished.exists()


def test_files_are_private_counted_and_removed(path):
    encode(path)
    (file,) = files(path)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    cache = Cache(path)
    row = cache.stats()[-1]
    assert (row["kind"], row["part"], row["rows"], row["bytes"]) == ("vectors", "files", 1, file.stat().st_size)
    assert cache.prune(1) == 0
    assert file.exists()
    os.utime(file, (0, 0))
    assert cache.prune(1) == 0
    assert not file.exists()
    encode(path)
    assert cache.clear() == 100
    assert list(cache_vectors.vector_folder(path).iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_message(path):
    cache_vectors.vector_folder(path).write_text("no folder", encoding="utf-8")
    with pytest.raises(WorkbenchError, match="cannot be stored or read"):
        encode(path)


def test_an_embedder_that_changes_its_dimension_is_refused(path):
    class Growing(CountingEmbedder):
        def encode(self, texts, role):
            return np.ones((len(texts), 4 + len(self.asked + [self.asked.append(text) for text in texts]) // 64), np.float32)

    with pytest.raises(WorkbenchError, match="dimension"):
        CachedEmbedder(Growing(), Cache(path)).encode(TEXTS, "passage")
