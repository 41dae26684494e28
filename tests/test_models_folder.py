"""Test what is read from, and refused of, model folders that a user points at."""

import json
from pathlib import Path

import numpy as np
import pytest
from fakes import save_tiny_model
from safetensors.numpy import save
from test_models_wheel import FILES

from workbench import models, models_folder
from workbench.datatypes import WorkbenchError


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "store"))


def folder_with(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def index(*parts: str) -> bytes:
    return json.dumps({"weight_map": {f"tensor.{part}": f"{part}.safetensors" for part in parts}}).encode()


SHARDED = {f"{part}.safetensors": save({f"tensor.{part}": np.ones(4, np.float32)}) for part in ("one", "two")}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"pytorch_model.bin": b"x", "config.json": b"{}"}, "pytorch_model.bin is pickled.*safe_serialization=True"),
        (FILES | {"2_Dense/pytorch_model.bin": b"x"}, "pytorch_model.bin is pickled"),
        ({"config.json": b"{}"}, "has no .safetensors or .onnx weights"),
        ({"model.safetensors": b"version https://git-lfs.github.com/spec/v1\n"}, "is not a safetensors file"),
        ({"model.safetensors": FILES["model.safetensors"][:-4]}, "is cut off: it has 92 bytes, its header describes 96"),
        (FILES | {"modules.json": b'[{"type": "custom_st.Transformer"}]'}, r"asks for code of its own \(custom_st.Transformer"),
        (SHARDED | {"model.safetensors.index.json": index("one", "three")}, "three.safetensors is missing, model.safetensors.index.json"),
        (SHARDED | {"model.safetensors.index.json": index("../one")}, "../one.safetensors is missing"),
    ],
)
def test_unsafe_or_broken_folders_are_refused(tmp_path, files, message):
    with pytest.raises(WorkbenchError, match=message):
        models.resolve(str(folder_with(tmp_path / "mine", files)))


def test_precision_is_what_most_weights_have(tmp_path):
    weights = save({"half": np.ones(100, np.float16), "ids": np.arange(3)})
    assert models.resolve(str(folder_with(tmp_path / "mine", {"model.safetensors": weights}))).precision == "fp16"


def test_a_generator_in_parts_is_taken_with_its_template(tmp_path):
    config = {"architectures": ["Qwen3ForCausalLM"], "max_position_embeddings": 64, "auto_map": {"AutoModelForCausalLM": "own.Model"}}
    files = SHARDED | {"model.safetensors.index.json": index("one", "two"), "config.json": json.dumps(config).encode()}
    files |= {
        "chat_template.jinja": b"{{ messages }}",
        "tokenizer_config.json": b'{"model_max_length": 4096}',
        "own.py": b"raise SystemExit",
    }
    folder = folder_with(tmp_path / "mine", files)
    model = models.resolve(str(folder))
    assert (model.kind, model.precision, model.max_length) == ("generator", "fp32", 64)
    assert set(models_folder.model_files(folder)) == files.keys() - {"own.py"}
    (folder / "chat_template.jinja").write_bytes(b"{{ bos_token }}{{ messages }}")
    assert models.resolve(str(folder)).fingerprint != model.fingerprint


@pytest.mark.parametrize(
    ("architecture", "files", "kind"),
    [
        ("LlamaForCausalLM", {}, "generator"),
        ("GPT2LMHeadModel", {}, "generator"),
        ("Gemma3ForConditionalGeneration", {}, "generator"),
        ("BertModel", {}, "embedder"),
        ("XLMRobertaForSequenceClassification", {}, "reranker"),
        ("Qwen3ForCausalLM", {"modules.json": b"[]"}, "embedder"),  # Qwen3-Embedding says so
    ],
)
def test_the_configuration_tells_the_kind(tmp_path, architecture, files, kind):
    config = {"config.json": json.dumps({"architectures": [architecture]}).encode()}
    assert models.resolve(str(folder_with(tmp_path / "mine", FILES | config | files))).kind == kind


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


def test_an_adapter_of_others_is_refused(tmp_path) -> None:
    """Loaders follow adapter_config.json by themselves, to other models in other places."""
    folder = save_tiny_model(tmp_path / "model")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "elsewhere"}', encoding="utf-8")
    with pytest.raises(WorkbenchError, match="holds a LoRA adapter; merge it into its base first"):
        models.resolve(str(folder))
