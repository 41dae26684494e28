"""The OpenVINO embedder and the store of graphs: a tiny random model made here, and the packaged MiniLM (VX6, VX7, VX10)."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import TINY_LENGTH, save_tiny_model

from workbench import embedding_st, models, models_openvino, registry, storage
from workbench.datatypes import WorkbenchError
from workbench.embedding import create_embedder

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
TEXTS = [
    "",
    "How many days of paid leave does a new employee get?",
    "신입 사원은 만근한 달마다 하루의 유급 연차를 받습니다.",
    "👩‍👩‍👧‍👦🎉",
    "가나다라 " * 2000,
    *[f"문서 {number}: {'아주 ' * number}길다" for number in range(30)],
]
HERE = sorted({"float32", "int8", embedding_st.native_dtype()})


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def own_store(store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Take one store for all tests here, so that each graph is made once."""
    monkeypatch.setenv("WORKBENCH_MODELS", str(store))
    return store


def graphs(store: Path) -> dict[str, dict[str, Any]]:
    """Read the manifests of the graphs by folder."""
    return {file.parent.name: storage.read_json(file) for file in store.glob(f"{models_openvino.FOLDER}/*/manifest.json")}


# --- vectors ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "cosine"), [("float32", 0.999999), ("bfloat16", 0.9995), ("int8", 0.98)])
def test_vectors_are_those_of_sentence_transformers(precision: str, cosine: float, tiny: Path, own_store: Path) -> None:
    if precision not in HERE:
        pytest.skip(f"this processor does not compute in {precision}")
    embedder = create_embedder(f"openvino:{tiny}", {"precision": precision})
    vectors = embedder.encode(TEXTS, "query")
    exact = create_embedder(f"st:{tiny}", {"dtype": "float32"}).encode(TEXTS, "query")
    assert (vectors * exact).sum(axis=1).min() > cosine
    assert embedder.precision == f"fp32 weights, {precision} arithmetic"
    assert (vectors != exact).any()
    assert embedder.encode(TEXTS[::-1], "query").tobytes() == vectors[::-1].tobytes()  # whichever core a text comes to


@pytest.mark.parametrize("precision", HERE)
def test_vx10_the_number_of_cores_makes_no_difference(precision: str, tiny: Path, own_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = []
    for cores in ("1", "2", "3,1"):
        monkeypatch.setenv("OMP_NUM_THREADS", cores)
        vectors.append(create_embedder(f"openvino:{tiny}", {"precision": precision}).encode(TEXTS, "passage").tobytes())
    assert len(set(vectors)) == 1


def test_vx7_a_long_text_is_cut_and_lengths_tell(tiny: Path, own_store: Path) -> None:
    embedder = create_embedder(f"openvino:{tiny}", {"precision": "float32", "passage_prefix": "p: "})
    whole = "abcdefgh" * 5 + "xyz"  # with prefix and two special tokens exactly what the model reads
    assert embedder.lengths([whole, whole + "1", "", "가"], "passage").tolist() == [TINY_LENGTH, TINY_LENGTH + 1, 5, 8]
    vectors = embedder.encode([whole, whole + "1", whole + "9" * 10_000, whole[:-1]], "passage")
    assert vectors[0].tobytes() == vectors[1].tobytes() == vectors[2].tobytes() != vectors[3].tobytes()


def test_a_text_without_any_token_is_named(tiny: Path, own_store: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "bare"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")) | {"post_processor": None}  # no special tokens
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(WorkbenchError, match="a zero vector for 1 of 2 texts, first: ''"):
        create_embedder(f"openvino:{folder}", {"precision": "float32"}).encode(["x", ""], "query")


# --- what is refused -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, r"unknown embedder\.precision 'int4'; did you mean 'int8'\? \(available: auto, bfloat16, float32, int8\)"),
        ({"precision": None}, r"unknown embedder\.precision 'None'"),
        ({"query_prefix": 1}, r"embedder\.query_prefix 1 must be text"),
        ({"batch_size": 8}, r"unknown option of embedder 'openvino': 'batch_size'"),
    ],
)
def test_bad_options(tiny: Path, own_store: Path, options: Any, message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        create_embedder(f"openvino:{tiny}", options)


def test_bfloat16_is_refused_where_the_processor_has_it_not(tiny: Path, own_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_st, "CPU_FLAGS", own_store / "nothing")
    embedding_st.native_dtype.cache_clear()
    try:
        with pytest.raises(WorkbenchError, match=r"'bfloat16' needs a processor that computes in it; this one has 'int8' and 'float32'"):
            create_embedder(f"openvino:{tiny}", {"precision": "bfloat16"})
    finally:
        embedding_st.native_dtype.cache_clear()


def test_weights_and_packages_that_are_missing_are_named(
    tiny: Path, own_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "graph"))
    (folder / "model.safetensors").rename(folder / "model.onnx")
    monkeypatch.setattr(models, "resolve", lambda name, allow_download: models.LocalModel(name, "embedder", folder, *[None] * 6))
    with pytest.raises(WorkbenchError, match=r"has no \.safetensors weights; its graph runs as onnx:"):
        create_embedder(f"openvino:{folder}")
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WorkbenchError, match=r"needs the package 'openvino': pip install 'rag-workbench\[fast\]'"):
        create_embedder(f"openvino:{tiny}")


# --- the store -------------------------------------------------------------------------------------------------------------------------


def test_d2_d23_what_decides_the_vectors_is_in_the_fingerprint(
    tiny: Path, own_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def differing(one: Any, other: Any) -> set[str]:
        return {key for key in one.fingerprint if one.fingerprint[key] != other.fingerprint[key]}

    exact, small = (create_embedder(f"openvino:{tiny}", {"precision": precision}) for precision in ("float32", "int8"))
    changed = create_embedder(f"openvino:{save_tiny_model(tmp_path, seed=1)}", {"precision": "float32"})
    assert differing(exact, small) == {"precision", "graph"}
    assert differing(exact, changed) == {"name", "weights"}
    before = storage.canonical_json(small.fingerprint)
    monkeypatch.setattr(models_openvino, "SAMPLES", tmp_path)  # other texts to calibrate on
    assert storage.canonical_json(create_embedder(f"openvino:{tiny}", {"precision": "int8"}).fingerprint) != before
    monkeypatch.setattr(models_openvino.importlib.metadata, "version", lambda package: "1.0")
    assert differing(exact, create_embedder(f"openvino:{tiny}", {"precision": "float32"})) == {"graph"}


def test_samples_are_texts_in_the_languages_asked_for() -> None:
    english, korean = models_openvino.samples(["en"]), models_openvino.samples(["ko"])
    assert models_openvino.samples(["en", "ko"]) == english + korean
    assert len(english) == len(korean) > 30
    assert all(text.strip() for text in english + korean)
    assert len(set(english + korean)) == 2 * len(english)
    hangul = [sum("가" <= letter <= "힣" for letter in text) / len(text) for text in ("".join(english), "".join(korean))]
    assert hangul[0] < 0.01 < 0.4 < hangul[1]


CODE = """
import sys
from workbench.embedding import create_embedder
vectors = create_embedder({spec!r}, {{"precision": "float32"}}).encode(["x", "가"], "query")
heavy = [name for name in ("torch", "nncf", "transformers") if name in sys.modules]
from openvino.tools.ovc import telemetry_utils
print(vectors.tobytes().hex(), heavy, telemetry_utils.tm.__name__, [name for name in sys.modules if name.startswith("openvino_telemetry.")])
"""


def test_a_stored_graph_needs_no_torch_and_nothing_is_reported_home(tiny: Path, own_store: Path, tmp_path: Path) -> None:
    expected = create_embedder(f"openvino:{tiny}", {"precision": "float32"}).encode(["x", "가"], "query")
    environment = os.environ | {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CODE.format(spec=f"openvino:{tiny}")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split(" ", 1) == [expected.tobytes().hex(), "[] openvino.tools.ovc.telemetry_stub []\n"]
    assert list(tmp_path.iterdir()) == []  # where the package that sends keeps who the user is


def some_graph(number: float) -> Any:
    """Make a graph without torch: it adds a number."""
    openvino = models_openvino.runtime()
    from openvino import opset13

    given = opset13.parameter([-1, 2], np.float32)
    return openvino.Model([opset13.add(given, np.array([number], np.float32))], [given])


def test_a_graph_is_stored_once_with_the_sha256_of_every_file(own_store: Path) -> None:
    built = []
    make = lambda: built.append(1) or some_graph(1)  # noqa: E731
    first, second = (models_openvino.stored_graph("owner/name", {"once": 1}, make) for _ in range(2))
    assert first == second
    assert len(built) == 1
    assert first.parent.name.startswith("owner--name-")
    manifest = graphs(own_store)[first.parent.name]
    assert {name: storage.sha256_file(first.parent / name) for name in ("openvino_model.xml", "openvino_model.bin")} == {
        name: file["sha256"] for name, file in manifest["files"].items()
    }
    assert models_openvino.stored_graph("owner/name", {"once": 2}, make) != first
    assert len(built) == 2


@pytest.mark.parametrize("damage", ["openvino_model.bin", "openvino_model.xml", "manifest.json", "missing", "fingerprint"])
def test_a_damaged_graph_is_made_again(damage: str, own_store: Path) -> None:
    identity = {"damage": damage}
    path = models_openvino.stored_graph("name", identity, lambda: some_graph(1))
    weights = (path.parent / "openvino_model.bin").read_bytes()
    if damage == "missing":
        (path.parent / "openvino_model.bin").unlink()
    elif damage == "fingerprint":  # a whole other graph, with files that fit
        other = models_openvino.stored_graph("name", {"damage": "none"}, lambda: some_graph(2))
        shutil.rmtree(path.parent)
        shutil.copytree(other.parent, path.parent)
    else:
        data = bytearray((path.parent / damage).read_bytes())
        data[len(data) // 2] ^= 1
        (path.parent / damage).write_bytes(data)
    built = []
    assert models_openvino.stored_graph("name", identity, lambda: built.append(1) or some_graph(1)) == path
    assert built == [1]
    assert (path.parent / "openvino_model.bin").read_bytes() == weights
    assert models_openvino.stored_graph("name", identity, lambda: pytest.fail("it is whole again")) == path


def test_builds_at_once_do_not_collide(own_store: Path) -> None:
    together, paths = threading.Barrier(4), []

    def build() -> Any:
        together.wait(timeout=60)  # all have seen that there is none
        return some_graph(3)

    workers = [threading.Thread(target=lambda: paths.append(models_openvino.stored_graph("n", {"at": "once"}, build))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(paths) == 4
    assert len(set(paths)) == 1
    assert models_openvino.stored_graph("n", {"at": "once"}, lambda: pytest.fail("it is there")) == paths[0]
    assert not list((own_store / models_openvino.FOLDER).glob(".*"))


def test_a_build_that_fails_leaves_nothing(own_store: Path) -> None:
    def fail() -> Any:
        raise WorkbenchError("no memory")

    with pytest.raises(WorkbenchError, match="no memory"):
        models_openvino.stored_graph("failing", {}, fail)
    with pytest.raises(WorkbenchError, match=r"OpenVINO cannot keep a graph of failing in .*\.openvino: .+"):
        models_openvino.stored_graph("failing", {}, lambda: models_openvino.runtime().Core().read_model("no such file.xml"))
    assert not list((own_store / models_openvino.FOLDER).glob("*failing*"))


def test_graphs_are_removed_when_asked(tmp_path: Path, run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "store"))
    path = models_openvino.stored_graph("name", {}, lambda: some_graph(1))
    (tmp_path / "store/model").mkdir()
    (making := path.parent.parent / ".name.1.tmp").mkdir()
    assert run("models", "clean") == (0, "0 MB of OpenVINO graphs removed\n", "")
    assert run("models", "clean")[0] == 0  # there is none
    assert list(path.parent.parent.iterdir()) == [making]
    assert (tmp_path / "store/model").is_dir()


def test_a_text_that_fails_takes_no_other_with_it(own_store: Path) -> None:
    def sixteen() -> Any:
        """Make a graph that takes no text of more than 16 tokens."""
        openvino = models_openvino.runtime()
        from openvino import opset13

        given = opset13.parameter([-1, -1], np.int64)
        return openvino.Model([opset13.reshape(opset13.convert(given, "f32"), np.int64([1, 16]), False)], [given])

    graph = models_openvino.Graph("sixteen", models_openvino.stored_graph("sixteen", {"tokens": 16}, sixteen), "f32", None)
    for _ in range(2):
        with pytest.raises(WorkbenchError, match=r"model sixteen failed on a text: .+"):
            graph.run([(0, [1] * 5), (1, [1] * 20), (2, [2] * 5)])
        assert graph.run([(0, [1] * 5)])[0].tolist() == [1.0] * 5 + [-1.0] * 11


# --- the packaged model ----------------------------------------------------------------------------------------------------------------


def test_packaged_minilm_agrees_and_finds_what_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not models.stored(MINILM):
        pytest.skip(f"the model is not here; fetch it with: workbench models pull {MINILM}")
    model = models.resolve(MINILM).path
    (tmp_path / model.name).symlink_to(model, target_is_directory=True)
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path))  # its graph is not left in the user's store
    embedder = create_embedder(f"openvino:{MINILM}", {"precision": "auto"})
    assert embedder.precision == f"fp32 weights, {embedding_st.native_dtype()} arithmetic"
    passages = [
        "A new employee gets one day of paid leave for each month worked.",
        "Travel costs are paid back within two weeks.",
        "The cafeteria opens at half past eleven. " * 60,  # longer than the model reads
    ]
    questions = ["How many holidays do I have in my first year?", "When do I get the money for my train ticket?", "Where can I have lunch?"]
    found = embedder.encode(passages, "passage")
    assert (embedder.encode(questions, "query") @ found.T).argmax(axis=1).tolist() == [0, 1, 2]
    exact = create_embedder(f"st:{MINILM}", {"dtype": "float32"}).encode(passages, "passage")
    assert (found * exact).sum(axis=1).min() > 0.999
    assert np.concatenate([embedder.encode([text], "passage") for text in passages]).tobytes() == found.tobytes()
