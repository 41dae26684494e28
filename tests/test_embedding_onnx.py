"""The ONNX embedder: pooling, prefixes, lengths, refusals on tiny graphs made here; the packaged bge-small-en-v1.5 (VX6, VX7, VX10)."""

import functools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_onnx
import numpy as np
import pytest
from fakes import TINY_LENGTH

from workbench import models, models_onnx, registry
from workbench.datatypes import WorkbenchError
from workbench.embedding import create_embedder, knows_language
from workbench.embedding_onnx import OnnxEmbedder

NAME = "sentence_embedding"
BGE = "BAAI/bge-small-en-v1.5"
TEXTS = ["", "How many days of paid leave does a new employee get?", "연차", "x", "Overtime is booked in quarters of an hour. " * 80]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_onnx.save_embedder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def own_store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "packaged" not in request.node.name:
        monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "store"))


def changed(tiny: Path, folder: Path, **files: Any) -> Path:
    """Copy the tiny model with some JSON files replaced (None removes one)."""
    copy = Path(shutil.copytree(tiny, folder / "model"))
    for name, value in files.items():
        path = copy / {"pooling": "1_Pooling/config.json", "modules": "modules.json"}.get(name, name)
        path.unlink() if value is None else path.write_text(json.dumps(value), encoding="utf-8")
    return copy


def token_vectors(folder: Path, text: str) -> np.ndarray:
    """Run a text through the graph; give the vectors of its tokens."""
    encoding = models_onnx.load_tokenizer("x", folder).encode(text)
    return models_onnx.Graph("x", folder / "model.onnx").run(encoding, "last_hidden_state")


# --- tiny graphs -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "pooling"),
    [
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": "mean", "include_prompt": True}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}, "mean"),
    ],
)
def test_a_vector_is_the_first_token_or_the_mean_as_the_files_say(tiny: Path, tmp_path: Path, stated: Any, pooling: str) -> None:
    folder = changed(tiny, tmp_path, pooling=stated)
    found = create_embedder(f"onnx:{folder}").encode(["hello"], "query")[0]
    tokens = token_vectors(folder, "hello")
    expected = tokens[0] if pooling == "cls" else tokens.sum(axis=0) / 7  # five letters between two special tokens
    assert np.abs(found - expected / np.linalg.norm(expected)).max() < 1e-6
    other = create_embedder(f"onnx:{folder}", {"pooling": "mean" if pooling == "cls" else "cls"})
    assert (other.encode(["hello"], "query")[0] != found).any()
    assert {key for key, value in other.fingerprint.items() if value != create_embedder(f"onnx:{folder}").fingerprint[key]} == {"pooling"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"pooling": {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}}, r"pools by \['cls_token', 'max_tokens'\]"),
        ({"pooling": {"pooling_mode": "lasttoken"}}, r"pools by 'lasttoken' \(1_Pooling/config\.json\); known are cls, mean"),
        ({"pooling": {"pooling_mode": "mean", "include_prompt": False}}, "prompt included"),
        ({"pooling": {"pooling_mode": ["cls", "mean"]}}, r"pools by \['cls', 'mean'\]"),
        ({"modules": [{"type": "sentence_transformers.models.Dense"}]}, r"asks for sentence_transformers\.models\.Dense"),
        ({"modules": None, "pooling": None}, "nothing states how model .* pools; set the option pooling to 'cls' or 'mean'"),
        ({"tokenizer.json": None}, r"has no tokenizer\.json"),
        ({"model.onnx": None}, r"has no \.onnx file; sentence-transformers reads its weights: st:"),
        ({"config.json": {"architectures": ["BertForSequenceClassification"]}}, "is a reranker, not an embedder"),
    ],
)
def test_what_cannot_be_embedded_with_is_named(tiny: Path, tmp_path: Path, files: Any, message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        create_embedder(f"onnx:{changed(tiny, tmp_path, **files)}").encode(["x"], "query")


def test_a_graph_that_gives_sentence_vectors_is_not_pooled(tiny: Path, tmp_path: Path) -> None:
    folder = changed(tiny, tmp_path, modules=None, pooling=None)
    table = np.random.default_rng(1).normal(size=(260, 4)).astype(np.float32)
    graph = {
        1: [
            made_onnx.node("Gather", ["table", "input_ids"], ["tokens"]),
            made_onnx.node("ReduceSum", ["tokens", "axis"], [NAME], keepdims=0),
        ],
        2: "g",
        5: [made_onnx.tensor("table", table), made_onnx.tensor("axis", np.array([1]))],
        11: made_onnx.value("input_ids", 7, "batch", "length"),
        12: made_onnx.value(NAME, 1, "batch", "width"),
    }
    (folder / "model.onnx").write_bytes(made_onnx.model(made_onnx.message(graph)))
    expected = table[models_onnx.load_tokenizer("x", folder).encode("hello").ids].sum(axis=0)
    assert np.abs(create_embedder(f"onnx:{folder}").encode(["hello"], "query")[0] - expected / np.linalg.norm(expected)).max() < 1e-6


def test_vx7_a_long_text_is_cut_and_lengths_tell(tiny: Path) -> None:
    embedder = create_embedder(f"onnx:{tiny}", {"passage_prefix": "p: "})
    whole = "abcdefgh" * 5 + "xyz"  # with prefix and two special tokens exactly what the model reads
    assert embedder.lengths([whole, whole + "1", "", "가"], "passage").tolist() == [TINY_LENGTH, TINY_LENGTH + 1, 5, 8]
    vectors = embedder.encode([whole, whole + "1", whole + "9" * 10_000, whole[:-1]], "passage")
    assert vectors[0].tobytes() == vectors[1].tobytes() == vectors[2].tobytes() != vectors[3].tobytes()


def test_d2_d23_other_weights_have_another_fingerprint(tiny: Path, tmp_path: Path) -> None:
    before = create_embedder(f"onnx:{tiny}").fingerprint | {"name": ""}
    folder = changed(tiny, tmp_path)
    assert create_embedder(f"onnx:{folder}").fingerprint | {"name": ""} == before
    (folder / "model.onnx").write_bytes(made_onnx.embedder_graph(seed=1))
    after = create_embedder(f"onnx:{folder}").fingerprint | {"name": ""}
    assert {key for key in after if after[key] != before[key]} == {"weights"}


def test_graphs_that_onnxruntime_refuses_or_that_are_no_embedder(tiny: Path, tmp_path: Path) -> None:
    folder = changed(tiny, tmp_path)
    weights = made_onnx.tensor("table", np.ones((3, 2), np.float32))
    (folder / "model.onnx").write_bytes(made_onnx.model(made_onnx.message({1: made_onnx.node("Nothing", ["x"], ["y"]), 5: weights})))
    with pytest.raises(WorkbenchError, match=r"onnxruntime cannot load .*model\.onnx: .+"):
        create_embedder(f"onnx:{folder}").encode(["x"], "query")
    (folder / "model.onnx").write_bytes(made_onnx.reranker_graph())
    with pytest.raises(WorkbenchError, match="has no output last_hidden_state or sentence_embedding, but logits: it is no embedder"):
        create_embedder(f"onnx:{folder}").encode(["x"], "query")
    (folder / "model.onnx").write_bytes(made_onnx.embedder_graph(vocabulary=3))  # smaller than the tokenizer's
    with pytest.raises(WorkbenchError, match=r"failed on a text of 5 tokens: .*Gather"):
        create_embedder(f"onnx:{folder}").encode(["xyz"], "query")


@pytest.mark.parametrize("threads", ["0", "-1", "many", "1.5", "²"])
def test_threads_that_are_none(tiny: Path, monkeypatch: pytest.MonkeyPatch, threads: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    with pytest.raises(WorkbenchError, match=r"OMP_NUM_THREADS is .*; it must be a whole number of at least 1"):
        create_embedder(f"onnx:{tiny}").encode(["x"], "query")


def test_without_onnxruntime_the_extra_is_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WorkbenchError, match=r"needs the package 'onnxruntime': pip install 'rag-workbench\[onnx\]'"):
        create_embedder(f"onnx:{tiny}")


@pytest.mark.parametrize(
    ("options", "message"), [({"pooling": "max"}, "unknown embedder.pooling 'max'"), ({"query_prefix": 1}, "must be text")]
)
def test_bad_options(tiny: Path, options: Any, message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        create_embedder(f"onnx:{tiny}", options)


# --- the packaged model ----------------------------------------------------------------------------------------------------------------


@functools.cache
def packaged() -> OnnxEmbedder:
    if not models.stored(BGE):
        pytest.skip(f"the model is not here; fetch it with: workbench models pull {BGE}")
    return create_embedder(f"onnx:{BGE}")


def test_packaged_bge_pools_prefixes_and_cuts_as_its_card_says() -> None:
    embedder = packaged()
    assert (embedder.pooling, embedder.model.max_length, embedder.precision) == ("cls", 512, "int8 weights")
    assert embedder.prefixes == {"query": "Represent this sentence for searching relevant passages: ", "passage": ""}


def test_packaged_vx10_a_vector_is_the_same_alone_and_in_any_batch() -> None:
    vectors = packaged().encode(TEXTS, "passage")
    assert vectors.shape == (len(TEXTS), 384)
    assert np.abs(np.linalg.norm(vectors.astype(float), axis=1) - 1).max() < 1e-6
    assert np.concatenate([packaged().encode([text], "passage") for text in TEXTS[::-1]]).tobytes() == vectors[::-1].tobytes()


def test_packaged_bge_finds_what_answers() -> None:
    passages = [
        "A new employee gets one day of paid leave for each month worked.",
        "Travel costs are paid back within two weeks.",
        "The cafeteria opens at half past eleven.",
    ]
    questions = ["How many holidays do I have in my first year?", "When do I get the money for my train ticket?", "Where can I have lunch?"]
    scores = packaged().encode(questions, "query") @ packaged().encode(passages, "passage").T
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]


def test_each_backend_names_the_other_where_the_weights_are_not_its_own(tiny: Path, tmp_path: Path) -> None:
    folder = changed(tiny, tmp_path, **{"model.safetensors": None})
    with pytest.raises(WorkbenchError, match=r"has no \.safetensors weights; its graph runs as onnx:"):
        create_embedder(f"st:{folder}")


def test_only_a_model_that_states_other_languages_does_not_know_one(tiny: Path) -> None:
    model = OnnxEmbedder(str(tiny)).model
    stated = {(): True, ("en",): False, ("en", "ko"): True, ("multilingual",): True}
    assert {languages: replace(model, languages=languages).knows("ko") for languages in stated} == stated
    assert knows_language(f"onnx:{tiny}", "ko")  # nothing states its languages
    assert knows_language("hash", "ko")


def test_packaged_bge_knows_english_only() -> None:
    packaged()
    assert [knows_language(f"onnx:{BGE}", language) for language in ("en", "ko")] == [True, False]
