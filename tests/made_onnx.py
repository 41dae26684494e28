"""Write tiny ONNX graphs, tokenizers and cross-encoders: protocol buffers by hand, as there is no package for them here."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fakes import save_tiny_model

Field = int | str | bytes | Sequence[Any]
FORMATS = {"float32": 1, "uint8": 2, "int8": 3, "int64": 7, "float16": 10}
SPECIALS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]")
WEIGHTS = {"a": 1.0, "b": 2.0, "c": -4.0, "n": np.nan}  # of the words that the reranker adds up
QUESTION_WORDS = ("q", "r")


def varint(number: int) -> bytes:
    """Write a number in 7 bits a byte."""
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def message(fields: dict[int, Field]) -> bytes:
    """Write a message of numbers, bytes and texts; a list repeats its field."""
    out = b""
    for number, values in fields.items():
        for value in values if isinstance(values, (list, tuple)) else [values]:
            if isinstance(value, int):
                out += varint(number << 3) + varint(value)
            else:
                raw = value.encode() if isinstance(value, str) else value
                out += varint(number << 3 | 2) + varint(len(raw)) + raw
    return out


def tensor(name: str, values: np.ndarray, external: str = "") -> bytes:
    """Write a tensor; with `external` its values are in that file."""
    fields: dict[int, Field] = {1: list(values.shape), 2: FORMATS[str(values.dtype)], 8: name}
    return message(fields | ({13: [message({1: "location", 2: external})], 14: 1} if external else {9: values.tobytes()}))


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **numbers: int) -> bytes:
    """Write an operation with whole numbers as attributes."""
    attributes = [message({1: name, 3: value, 20: 2}) for name, value in numbers.items()]
    return message({1: list(inputs), 2: list(outputs), 4: kind, 5: attributes})


def value(name: str, kind: int, *dimensions: str) -> bytes:
    """Describe an input or output by its type and the names of its dimensions."""
    shape = message({1: [message({2: dimension}) for dimension in dimensions]})
    return message({1: name, 2: message({1: message({1: kind, 2: shape})})})


def model(graph: bytes) -> bytes:
    """Write a whole file."""
    return message({1: 8, 7: graph, 8: message({2: 17})})


def embedder_graph(vocabulary: int = 260, output: str = "last_hidden_state", seed: int = 0, external: str = "") -> bytes:
    """Write a graph that looks up tokens, adds a mixture of all to each, and quantises all dynamically.

    As in packaged models, whatever is run together would change every number, so.
    """
    table = np.random.default_rng(seed).normal(size=(vocabulary, 16)).astype(np.float32)
    nodes = [
        node("Gather", ["table", "input_ids"], ["tokens"]),
        node("Softmax", ["tokens"], ["soft"], axis=1),
        node("Mul", ["tokens", "soft"], ["weighted"]),
        node("ReduceSum", ["weighted", "axis"], ["sum"], keepdims=1),
        node("Add", ["tokens", "sum"], ["mixed"]),
        node("DynamicQuantizeLinear", ["mixed"], ["small", "scale", "zero"]),
        node("DequantizeLinear", ["small", "scale", "zero"], [output]),
    ]
    inputs = [value(name, 7, "batch", "length") for name in ("input_ids", "attention_mask")]
    weights = [tensor("table", table, external), tensor("axis", np.array([1]))]
    return model(message({1: nodes, 2: "g", 5: weights, 11: inputs, 12: [value(output, 1, "batch", "length", "width")]}))


def save_embedder(folder: Path) -> Path:
    """Save the tiny sentence-transformers model with a graph beside its weights (which is another model); return its folder."""
    model_folder = save_tiny_model(folder)
    (model_folder / "model.onnx").write_bytes(embedder_graph())
    return model_folder


def reranker_graph(columns: int = 1) -> bytes:
    """Write a graph whose logit is the sum of the weights of the passage's words."""
    words = [*SPECIALS, *WEIGHTS, *QUESTION_WORDS]
    table = np.array([[WEIGHTS.get(word, 0.0)] * columns for word in words], np.float32)
    nodes = [
        node("Gather", ["table", "input_ids"], ["tokens"]),
        node("Cast", ["token_type_ids"], ["second"], to=1),
        node("Unsqueeze", ["second", "last"], ["mask"]),
        node("Mul", ["tokens", "mask"], ["passage"]),
        node("ReduceSum", ["passage", "axis"], ["logits"], keepdims=0),
    ]
    inputs = [value(name, 7, "batch", "length") for name in ("input_ids", "token_type_ids")]
    weights = [tensor("table", table), tensor("axis", np.array([1])), tensor("last", np.array([2]))]
    return model(message({1: nodes, 2: "g", 5: weights, 11: inputs, 12: [value("logits", 1, "batch", "columns")]}))


def save_tokenizer(folder: Path, max_length: int, inputs: Sequence[str] = ("input_ids", "attention_mask")) -> None:
    """Save a tokenizer of whole words that joins pairs."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {word: number for number, word in enumerate([*SPECIALS, *WEIGHTS, *QUESTION_WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[CLS]", 1), ("[SEP]", 2)]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ends)
    tokenizer.enable_padding(length=max_length)  # must be ignored
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"model_max_length": max_length, "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}
    settings["model_input_names"] = list(inputs)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def save_reranker(folder: Path, max_length: int = 12, columns: int = 1) -> Path:
    """Save an ONNX reranker whose scores can be worked out by hand."""
    save_tokenizer(folder, max_length)
    (folder / "config.json").write_text('{"architectures": ["BertForSequenceClassification"]}', encoding="utf-8")
    (folder / "model.onnx").write_bytes(reranker_graph(columns))
    return folder


def save_cross_encoder(folder: Path, max_length: int = 24, labels: int = 1, inputs: Sequence[str] = ("input_ids",)) -> Path:
    """Save a random one-layer BERT that scores pairs, as safetensors."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "initializer_range": 0.5}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vocabulary = len(SPECIALS) + len(WEIGHTS) + len(QUESTION_WORDS)
        config = BertConfig(vocab_size=vocabulary, max_position_embeddings=max_length, num_labels=labels, pad_token_id=0, **sizes)
        BertForSequenceClassification(config).save_pretrained(folder)
    save_tokenizer(folder, max_length, inputs)
    return folder
