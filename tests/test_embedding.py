"""What every embedder owes its users, run over the dict of them; refused vectors (VX1, VX4, VX6, D1, D7 to D9, D25)."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import made_onnx
import numpy as np
import pytest
from fakes import FakeServer
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from workbench import storage
from workbench.cache import Cache, CachedEmbedder
from workbench.datatypes import Embedder, WorkbenchError
from workbench.embedding import EMBEDDERS, create_embedder, unit_vectors

TEXTS = [
    "",
    " \n\t ",
    "How many days of paid leave are there?",
    "연차는 며칠인가요?",
    "신입 사원은 만근한 달마다 하루의 유급 연차를 받습니다. " * 3,
    "👩‍👩‍👧‍👦🎉",
    "가나다라 " * 2000,
    "x",
    *[f"문서 {number}, part {number % 7} of it" for number in range(6)],
]
PREFIXES = {"query_prefix": "query: ", "passage_prefix": "passage: "}
HEAVY = ("torch", "transformers", "sentence_transformers", "faiss", "openai", "onnxruntime", "openvino", "nncf", "scipy")
Make = Callable[..., Embedder]
with_options = pytest.mark.parametrize("make", [name for name in EMBEDDERS if name != "hash"], indirect=True)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_onnx.save_embedder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one store for the graphs that OpenVINO embedders convert once."""
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    with FakeServer() as fake:
        monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield fake


@pytest.fixture(params=EMBEDDERS)
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Give a function that builds the embedder with options; a new embedder in the dict needs a line here."""
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "store"))
    if request.param == "hash":
        return lambda **options: create_embedder("hash", {key: value for key, value in options.items() if key == "dimension"})
    tiny = request.getfixturevalue("tiny")
    if request.param == "st":
        return lambda **options: create_embedder(f"st:{tiny}", options)
    if request.param == "onnx":  # runs texts one by one
        return lambda batch_size=1, **options: create_embedder(f"onnx:{tiny}", options)
    if request.param == "openvino":
        monkeypatch.setenv("WORKBENCH_MODELS", str(request.getfixturevalue("graphs")))
        return lambda batch_size=1, **options: create_embedder(f"openvino:{tiny}", {"precision": "float32"} | options)
    assert request.param == "openai"
    request.getfixturevalue("server")
    return lambda **options: create_embedder("openai:fake", options)


# --- all embedders ---------------------------------------------------------------------------------------------------------------------


def test_vx4_vectors_are_unit_float32_rows(make: Make) -> None:
    vectors = make().encode(TEXTS, "passage")
    assert vectors.ndim == 2
    assert len(vectors) == len(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    assert np.abs(np.linalg.norm(vectors.astype(float), axis=1) - 1).max() < 1e-6


def test_different_texts_have_different_vectors(make: Make) -> None:
    vectors = make().encode(TEXTS[2:8], "passage")
    assert len({vector.tobytes() for vector in vectors}) == len(vectors)


def test_vx10_a_vector_depends_on_nothing_but_its_text(make: Make) -> None:
    embedder = make()
    vectors = embedder.encode(TEXTS, "passage")
    order = np.random.default_rng(5).permutation(len(TEXTS))
    assert embedder.encode(TEXTS, "passage").tobytes() == vectors.tobytes()
    assert embedder.encode([TEXTS[row] for row in order], "passage").tobytes() == vectors[order].tobytes()
    assert np.concatenate([embedder.encode([text], "passage") for text in TEXTS]).tobytes() == vectors.tobytes()
    for batch_size in (1, 3, 1000):
        assert make(batch_size=batch_size).encode(TEXTS, "passage").tobytes() == vectors.tobytes()


def test_no_texts_give_no_rows(make: Make) -> None:
    vectors = make().encode([], "query")
    assert vectors.ndim == 2
    assert len(vectors) == 0
    assert vectors.dtype == np.float32


def test_d9_fingerprint_is_named_json_and_stays(make: Make) -> None:
    embedder = make()
    before = storage.canonical_json(embedder.fingerprint)
    assert json.loads(before)["name"]
    assert json.loads(before)["version"] >= 1
    embedder.encode(TEXTS[:3], "query")
    assert storage.canonical_json(embedder.fingerprint) == before == storage.canonical_json(make().fingerprint)


@with_options
def test_d1_vx6_role_prefixes_are_applied_and_in_the_fingerprint(make: Make) -> None:
    plain, prefixed = make(), make(**PREFIXES)
    texts = TEXTS[:6]
    query, passage = prefixed.encode(texts, "query"), prefixed.encode(texts, "passage")
    assert (query != passage).any(axis=1).all()
    assert query.tobytes() == plain.encode([f"query: {text}" for text in texts], "query").tobytes()
    assert passage.tobytes() == plain.encode([f"passage: {text}" for text in texts], "passage").tobytes()
    assert plain.encode(texts, "query").tobytes() == plain.encode(texts, "passage").tobytes()
    fingerprints = [make(**options).fingerprint for options in ({}, PREFIXES, {"query_prefix": "query: "}, {"passage_prefix": "query: "})]
    assert len({storage.canonical_json(fingerprint) for fingerprint in fingerprints}) == 4


@with_options
def test_fingerprint_leaves_out_the_batch_size(make: Make) -> None:
    assert make(batch_size=3).fingerprint == make(batch_size=50).fingerprint


@pytest.mark.parametrize("make", ["st", "openai"], indirect=True)  # onnx runs texts one by one
@pytest.mark.parametrize("batch_size", [0, -1, 2.0, "8"])
def test_batch_sizes_that_are_none(make: Make, batch_size: Any) -> None:
    with pytest.raises(WorkbenchError, match=r"embedder\.batch_size .* must be a whole number of at least 1"):
        make(batch_size=batch_size)
    with pytest.raises(WorkbenchError, match=r"embedder\.query_prefix 5 must be text"):
        make(query_prefix=5)


def test_d7_d8_cached_texts_are_not_encoded_again(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder, asked = make(), []
    encode = embedder.encode
    monkeypatch.setattr(embedder, "encode", lambda texts, role: asked.append(list(texts)) or encode(texts, role))
    cached = CachedEmbedder(embedder, Cache(tmp_path / "cache.sqlite"))
    vectors = cached.encode(TEXTS, "passage")
    assert cached.encode(TEXTS, "passage").tobytes() == vectors.tobytes() == encode(TEXTS, "passage").tobytes()
    assert asked == [TEXTS]
    longer = cached.encode([*TEXTS, "one more"], "passage")
    assert asked == [TEXTS, ["one more"]]
    assert longer.tobytes() == encode([*TEXTS, "one more"], "passage").tobytes()


@with_options
def test_d23_roles_and_prefixes_share_nothing_in_the_cache(make: Make, tmp_path: Path) -> None:
    cache, texts = Cache(tmp_path / "cache.sqlite"), TEXTS[2:5]
    for _ in range(2):  # filled, then read
        for embedder in (make(), make(**PREFIXES)):
            for role in ("query", "passage"):
                assert CachedEmbedder(embedder, cache).encode(texts, role).tobytes() == embedder.encode(texts, role).tobytes()
    assert (cache.counts.misses, cache.counts.hits) == (12, 12)


# --- what is imported when -------------------------------------------------------------------------------------------------------------


def imported_by(code: str, **environment: str) -> list[str]:
    """Run code in a new Python; return the heavy packages that it has imported."""
    probe = f"{code}\nimport sys\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=os.environ | environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1].replace("'", '"'))


def test_building_an_embedder_imports_nothing_heavy(tiny: Path, tmp_path: Path, server: FakeServer) -> None:
    code = f"""
from workbench.embedding import create_embedder
for spec in ("hash", "openai:fake", "openvino:{tiny.as_posix()}", "onnx:{tiny.as_posix()}", "st:{tiny.as_posix()}"):
    embedder = create_embedder(spec)
    embedder.fingerprint["name"], embedder.encode([], "query")
assert embedder.lengths(["연차는 며칠인가요?", "x"], "query").tolist() == [28, 3]
assert "arithmetic" in embedder.precision
"""
    assert imported_by(code, WORKBENCH_MODELS=str(tmp_path)) == []
    assert "faiss" in imported_by("import faiss")  # the probe can fail


def test_d7_a_run_that_is_all_cached_imports_nothing_heavy(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path))
    CachedEmbedder(create_embedder(f"st:{tiny}"), Cache(tmp_path / "cache.sqlite")).encode(TEXTS[:4], "passage")
    code = f"""
from pathlib import Path
from workbench.cache import Cache, CachedEmbedder
from workbench.embedding import create_embedder
cached = CachedEmbedder(create_embedder({f"st:{tiny}"!r}), Cache(Path({str(tmp_path / "cache.sqlite")!r})))
assert cached.encode({TEXTS[:4]!r}, "passage").shape == (4, 32)
"""
    assert imported_by(code) == []


# --- names and options -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("hush", {}, r"unknown embedder 'hush'; did you mean 'hash'\? \(available: hash, onnx, openai, openvino, st\)"),
        ("HASH", {}, r"unknown embedder 'HASH'"),
        ("hash:256", {}, r"embedder 'hash' takes no argument, got 'hash:256'"),
        ("st", {}, r"embedder 'st' needs an argument: st:NAME"),
        ("openai:", {}, r"embedder 'openai' needs an argument: openai:NAME"),
        ("hash", {"dimensions": 64}, r"unknown option of embedder 'hash': 'dimensions'; did you mean 'dimension'\?"),
        ("hash", {"dimension": 4}, r"hash dimension 4 must be a whole number of at least 8"),
        ("hash", {"dimension": "64"}, r"hash dimension '64' must be"),
        ("openai:fake", {"batchsize": 4}, r"unknown option of embedder 'openai': 'batchsize'; did you mean 'batch_size'\?"),
        ("st:anything", {"dtyp": "float32"}, r"unknown option of embedder 'st': 'dtyp'; did you mean 'dtype'\?"),
        ("st:anything", {"allow_download": True}, r"unknown option of embedder 'st': 'allow_download'"),
    ],
)
def test_d25_names_and_options_that_do_not_exist(spec: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        create_embedder(spec, options)


# --- refused vectors -------------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ([np.nan, 1.0], "a NaN or infinite vector"),
        ([np.inf, 1.0], "a NaN or infinite vector"),
        ([-np.inf, np.nan], "a NaN or infinite vector"),
        ([1e38, 1e38], "a NaN or infinite vector"),  # its length is beyond float32
        ([0.0, -0.0], "a zero vector"),
        ([1e-30, 1e-30], "a zero vector"),
    ],
)
def test_vx1_bad_rows_are_refused_and_named(row: list[float], kind: str) -> None:
    texts = ["fine", "이 문장이 문제입니다 " + "x" * 200, "fine too", "the same again"]
    with pytest.raises(WorkbenchError) as caught:
        unit_vectors(np.array([[1.0, 0.0], row, [0.0, 1.0], row]), texts, "st:model")
    assert str(caught.value) == f"st:model returned {kind} for 2 of 4 texts, first: {texts[1][:80]!r}"


@pytest.mark.parametrize("shape", [(3, 4), (1, 4), (2,), (2, 4, 1), (0, 4)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(WorkbenchError) as caught:
        unit_vectors(np.ones(shape), ["one", "two"], "part")
    assert str(caught.value) == f"part returned an array of shape {shape} for 2 texts"


def test_vectors_without_dimensions_are_refused() -> None:
    with pytest.raises(WorkbenchError, match="a zero vector for 1 of 1 texts, first: 'one'"):
        unit_vectors(np.ones((1, 0)), ["one"], "part")


@given(st_numpy.arrays(np.float64, st.tuples(st.just(2), st.integers(1, 5)), elements=st.floats(-1e15, 1e15)))
def test_accepted_rows_are_unit_and_keep_their_direction(vectors: np.ndarray) -> None:
    try:
        unit = unit_vectors(np.asfortranarray(vectors), ["one", "two"], "part")
    except WorkbenchError:
        assert np.linalg.norm(vectors, axis=1).min() < 1.1e-12
        return
    assert unit.dtype == np.float32
    assert unit.flags.c_contiguous
    expected = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.abs(unit - expected).max() < 1e-6
