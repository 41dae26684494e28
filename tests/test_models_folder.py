"""Test what is read from, and refused of, model folders that a user points at."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save
from test_models_wheel import FILES

from workbench import models
from workbench.datatypes import WorkbenchError


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "store"))


def folder_with(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


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


@pytest.mark.parametrize("name", ["my-e5-large", "KoE5", "bge-base-tuned", "intfloat--multilingual-e5-xl"])
def test_e5_and_bge_need_stated_prefixes(tmp_path, name):
    folder = folder_with(tmp_path / name, FILES | {"config_sentence_transformers.json": b'{"prompts": {"query": "", "document": ""}}'})
    with pytest.raises(WorkbenchError, match=r"nothing states its prefixes.*query_prefix='query: '"):
        models.prefixes(str(folder))
    stated = {"prompts": {"query": "query: ", "document": "passage: "}}
    folder_with(folder, {"config_sentence_transformers.json": json.dumps(stated).encode()})
    assert models.prefixes(str(folder)) == {"query": "query: ", "passage": "passage: "}


def test_other_models_need_none_and_the_catalogue_is_first(tmp_path):
    assert models.prefixes(str(folder_with(tmp_path / "phase5-codebge2", FILES))) == {"query": "", "passage": ""}
    assert models.prefixes("BAAI/bge-m3") == {"query": "", "passage": ""}
    assert models.prefixes("intfloat/multilingual-e5-base") == {"query": "query: ", "passage": "passage: "}
