"""What is read from ONNX graphs without running them: number formats, weights in other files, damage; which graph of a folder is meant."""

import contextlib
from pathlib import Path

import made_onnx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import models, models_onnx
from workbench.datatypes import WorkbenchError
from workbench.models_catalogue import CATALOGUE


def written(folder: Path, data: bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(data)
    return path


def in_attribute(tensor: bytes) -> bytes:
    """Put a tensor into a Constant, within the branch of an If."""
    constant = made_onnx.message({2: "x", 4: "Constant", 5: made_onnx.message({1: "value", 5: tensor, 20: 4})})
    branch = made_onnx.message({1: "then_branch", 6: made_onnx.message({1: constant}), 20: 5})
    return made_onnx.model(made_onnx.message({1: made_onnx.message({4: "If", 5: branch})}))


@pytest.mark.parametrize("kind", made_onnx.FORMATS)
def test_precision_is_what_most_bytes_have(tmp_path: Path, kind: str) -> None:
    names = {"float32": "fp32", "float16": "fp16"}
    most, few = made_onnx.tensor("w", np.ones((7, 9), kind)), made_onnx.tensor("b", np.ones(3, np.float32))
    data = made_onnx.model(made_onnx.message({5: [few, most]}))
    assert models_onnx.precision(written(tmp_path, data)) == names.get(kind, kind)
    assert models_onnx.precision(written(tmp_path, in_attribute(most))) == names.get(kind, kind)
    packed = made_onnx.message({1: made_onnx.varint(7) + made_onnx.varint(9), 2: made_onnx.FORMATS[kind], 9: bytes(500)})
    assert models_onnx.precision(written(tmp_path, made_onnx.model(made_onnx.message({5: [few, packed]})))) == names.get(kind, kind)


@pytest.mark.parametrize("place", ["weights.bin", "../../secret", "/etc/passwd"])
@pytest.mark.parametrize("deep", [False, True])
def test_weights_in_other_files_are_refused_wherever_they_hide(tmp_path: Path, place: str, deep: bool) -> None:
    tensor = made_onnx.tensor("w", np.ones(9, np.float32), external=place)
    data = in_attribute(tensor) if deep else made_onnx.embedder_graph(external=place)
    written(tmp_path, data)
    with pytest.raises(WorkbenchError, match=r"model\.onnx keeps weights in other files, which is refused"):
        models.resolve(str(tmp_path))


@pytest.mark.parametrize(
    "data",
    [b"", b"version https://git-lfs.github.com/spec/v1\n", b"<html>not found</html>", b"\x80" * 50, made_onnx.model(b""), b"PK\x03\x04"],
)
def test_what_is_no_graph_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(WorkbenchError, match="is not an ONNX file"):
        models_onnx.precision(written(tmp_path, data))


def test_every_cut_off_file_is_refused(tmp_path: Path) -> None:
    data = made_onnx.embedder_graph(vocabulary=5)
    end = len(data) - len(made_onnx.message({8: made_onnx.message({2: 17})}))  # without what follows the graph, it is whole
    for size in range(end):
        with pytest.raises(WorkbenchError, match="is not an ONNX file"):
            models_onnx.precision(written(tmp_path, data[:size]))


@given(st.binary(max_size=60), st.integers(0, 10**6))
def test_any_bytes_give_a_format_or_our_error(tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int) -> None:
    data = made_onnx.reranker_graph()
    at %= len(data)
    path = written(tmp_path_factory.getbasetemp(), data[:at] + junk + data[at + len(junk) :])
    with contextlib.suppress(WorkbenchError):
        assert models_onnx.precision(path)


def test_graphs_within_graphs_have_an_end(tmp_path: Path) -> None:
    inner = b""
    for _ in range(100):
        inner = made_onnx.message({1: made_onnx.message({5: made_onnx.message({6: inner})})})
    with pytest.raises(WorkbenchError, match="nested too deeply"):
        models_onnx.precision(written(tmp_path, made_onnx.model(inner)))


@pytest.mark.parametrize(
    ("files", "meant"),
    [
        (["graph.onnx"], "graph.onnx"),
        (["a.onnx", "model.onnx", "onnx/model.onnx"], "model.onnx"),
        (["onnx/model.onnx", "onnx/model_int8.onnx"], "onnx/model.onnx"),
        (["tokenizer.json"], None),
    ],
)
def test_which_graph_of_a_folder_is_meant(tmp_path: Path, files: list[str], meant: str | None) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert models_onnx.find_graph("x", tmp_path) == (tmp_path / meant if meant else None)


def test_several_graphs_need_a_name(tmp_path: Path) -> None:
    for file in ("a.onnx", "b.onnx"):
        (tmp_path / file).touch()
    with pytest.raises(WorkbenchError, match=r"model x has several \.onnx files \(a\.onnx, b\.onnx\); call the one to run model\.onnx"):
        models_onnx.find_graph("x", tmp_path)


@pytest.mark.parametrize("name", ["BAAI/bge-small-en-v1.5", "cross-encoder/ms-marco-MiniLM-L12-v2"])
def test_packaged_graphs_are_what_the_catalogue_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not models.stored(name):
        pytest.skip(f"the model is not here; fetch it with: workbench models pull {name}")
    model, entry = models.resolve(name), CATALOGUE[name]
    assert models_onnx.precision(model.path / "model.onnx") == model.precision == entry.precision == "int8"
    assert (model.kind, model.max_length, model.languages) == (entry.kind, 512, ("en",))
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path))
    copied = models.resolve(str(model.path))  # as a folder, too: by its manifest
    assert (copied.kind, copied.prefixes, copied.fingerprint) == (model.kind, model.prefixes, model.fingerprint)
