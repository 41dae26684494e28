"""Read what a model folder holds: its files, its kind, its weights' number format, its longest input and prefixes; refuse unsafe ones."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from workbench import models_onnx, storage
from workbench.datatypes import WorkbenchError
from workbench.models_catalogue import MODEL_SUFFIXES, Kind

MANIFEST = "manifest.json"
PICKLED_WEIGHTS = re.compile(r"(?!openvino_).*(model.*\.(bin|pt|pth|pkl)|\.(pickle|joblib|ckpt))")
PRECISIONS = {"F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "I8": "int8", "U8": "uint8"}
GENERATING = re.compile(r".*(ForCausalLM|LMHeadModel|ForConditionalGeneration)")  # class names in transformers
SCORING = re.compile(r".*ForSequenceClassification")
MAX_HEADER_BYTES = 100_000_000


def model_files(folder: Path) -> dict[str, Path]:
    """List the files that make up a model by their path in the folder; hidden ones, the manifest and other kinds are left out."""
    found = {path.relative_to(folder).as_posix(): path for path in _entries(folder) if path.suffix in MODEL_SUFFIXES and path.is_file()}
    return {name: path for name, path in found.items() if name != MANIFEST and "/." not in f"/{name}"}


def _entries(folder: Path) -> list[Path]:
    """List a folder and the folders in it: models are never deeper, and a folder named by mistake may be a whole disk."""
    return sorted([*folder.glob("*"), *folder.glob("*/*")])


def own_facts(folder: Path) -> dict[str, Any]:
    """Read the longest input and the prefixes out of a model's configuration files."""
    lengths = (
        _configured(folder, "sentence_bert_config.json", "max_seq_length"),
        _configured(folder, "tokenizer_config.json", "model_max_length"),
        _configured(folder, "config.json", "max_position_embeddings"),
    )
    usable = [length for length in lengths if isinstance(length, int) and 0 < length < 1_000_000]  # transformers writes 1e30 for "no limit"
    if kind(folder) == "generator":
        usable = sorted(usable)  # some tokenizers state what the model could be stretched to
    prompts = _configured(folder, "config_sentence_transformers.json", "prompts")
    prompts = prompts if isinstance(prompts, dict) else {}
    found = {"query": prompts.get("query") or "", "passage": prompts.get("passage") or prompts.get("document") or ""}
    return {"max_length": usable[0] if usable else None, "prefixes": found if any(found.values()) else None}


def kind(folder: Path) -> Kind:
    """Tell what a model is for by the class its configuration names: one that scores reranks, one that writes text generates.

    A model that is set up to embed embeds, whatever its class.
    """
    classes = _configured(folder, "config.json", "architectures")
    names = [str(name) for name in classes] if isinstance(classes, list) else []
    if any(SCORING.fullmatch(name) for name in names):
        return "reranker"
    generating = any(GENERATING.fullmatch(name) for name in names)
    return "generator" if generating and not (folder / "modules.json").is_file() else "embedder"


def _configured(folder: Path, file: str, key: str) -> Any:
    values = storage.read_json(folder / file) if (folder / file).is_file() else {}
    return values.get(key) if isinstance(values, dict) else None


def check_weights(name: str, folder: Path) -> str:
    """Refuse pickled weights, graphs with weights elsewhere and code of a model's own; return the number format of most weights.

    In a folder with both, that is the format of the safetensors.
    """
    weights = [path for path in _entries(folder) if path.suffix == ".safetensors"]
    formats = [models_onnx.precision(path) for path in _entries(folder) if path.suffix == ".onnx"]
    safe_folders = {path.parent for path in weights}
    for path in _entries(folder):
        if PICKLED_WEIGHTS.fullmatch(path.name) and path.parent not in safe_folders:
            raise WorkbenchError(
                f"model {name}: {path.relative_to(folder)} is pickled, and pickled weights can run code; "
                "save the model again with save_pretrained(folder, safe_serialization=True), which writes .safetensors"
            )
    if not weights and not formats:
        raise WorkbenchError(f"model {name} has no .safetensors or .onnx weights; no other kind is accepted (pickled ones can run code)")
    for index in folder.glob("*.safetensors.index.json"):
        parts = _configured(folder, index.name, "weight_map")
        parts = set(map(str, parts.values())) if isinstance(parts, dict) else set()
        if missing := sorted(parts - model_files(folder).keys()):
            raise WorkbenchError(f"model {name}: {missing[0]} is missing, {index.name} lists it")
    modules = storage.read_json(folder / "modules.json") if (folder / "modules.json").is_file() else []
    for kind in [str(module.get("type")) for module in modules if isinstance(module, dict)]:
        if not kind.startswith("sentence_transformers."):
            raise WorkbenchError(f"model {name} asks for code of its own ({kind} in modules.json), which is refused")
    if not weights:
        return formats[0]
    sizes = sum((_safetensors_sizes(path) for path in weights), Counter())
    most = max(sizes, key=sizes.__getitem__, default="empty")
    return PRECISIONS.get(most, most)


def _safetensors_sizes(path: Path) -> Counter[str]:
    """Count the bytes of each number format from a safetensors header, which must account for the whole file."""
    sizes: Counter[str] = Counter()
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= MAX_HEADER_BYTES else b""
    try:
        tensors = {name: tensor for name, tensor in json.loads(header).items() if name != "__metadata__"}
        for tensor in tensors.values():
            start, end = tensor["data_offsets"]
            sizes[tensor["dtype"]] += end - start
    except (ValueError, KeyError, TypeError, AttributeError):
        raise WorkbenchError(f"{path} is not a safetensors file (a Git LFS pointer?)") from None
    if 8 + length + sizes.total() != path.stat().st_size:
        raise WorkbenchError(f"{path} is cut off: it has {path.stat().st_size} bytes, its header describes {8 + length + sizes.total()}")
    return sizes
