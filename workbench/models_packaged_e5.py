"""Convert packaged multilingual-e5-small weights (the file e5-small-q4.bin) into a sentence-transformers folder.

The file is read as data; no code of its package runs. Layout, little endian and without padding:

    magic "E5S1", u32 version (1)
    i32 hidden, layers, heads, feed-forward, vocabulary, positions, token types; f32 layer-norm epsilon; i32 block size (32)
    tokenizer: i32 pieces, bos, eos, pad, unk; u64 blob bytes; u32 offsets[pieces + 1]; f32 scores[pieces]; blob
    normalisation map: i32 entries, u32 bytes, bytes (it equals NMT + NFKC except that U+FF5E stays, so it is skipped)
    directory: i32 entries, each u16 name length, name, u8 kind, u32 values, u64 offset, u64 bytes

Kind 0 is f32, kind 1 is Q4_0: blocks of 32 values in 18 bytes, an f16 scale, then 16 bytes whose low nibbles are values 0 to 15 and
whose high nibbles are values 16 to 31, each minus 8. The vocabulary has a few more rows than the tokenizer has pieces.
"""

from __future__ import annotations

import itertools
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench.datatypes import WorkbenchError

FLOAT32, Q4_0 = 0, 1
BLOCK_VALUES, BLOCK_BYTES = 32, 18
MAX_SIZE = 1_000_000  # no dimension of a sensible file is larger; keeps sizes read from a damaged one from being allocated

WIDE_TILDE, STAND_IN = "\uff5e", "\uf8ff"  # "1～3월": the model knows this tilde as a piece of its own, NFKC would replace it

MATRICES = {  # short name in the file: (name in BERT, rows, columns)
    "q": ("attention.self.query", "hidden", "hidden"),
    "k": ("attention.self.key", "hidden", "hidden"),
    "v": ("attention.self.value", "hidden", "hidden"),
    "ao": ("attention.output.dense", "hidden", "hidden"),
    "fi": ("intermediate.dense", "inner", "hidden"),
    "fo": ("output.dense", "hidden", "inner"),
}
NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}


@dataclass(frozen=True)
class _Shape:
    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    types: int
    epsilon: float


class _Reader:
    """Read values in order; every read past the end is a WorkbenchError."""

    def __init__(self, data: bytes, source: Path) -> None:
        self.data, self.source, self.at = data, source, 0

    def error(self, reason: str) -> WorkbenchError:
        return WorkbenchError(f"{self.source.name} is not a usable E5S1 file: {reason}")

    def take(self, size: int, what: str) -> bytes:
        if not 0 <= size <= len(self.data) - self.at:
            raise self.error(f"{what} needs {size} bytes at {self.at}, the file has {len(self.data)}")
        self.at += size
        return self.data[self.at - size : self.at]

    def values(self, kinds: str, what: str) -> tuple[Any, ...]:
        return struct.unpack("<" + kinds, self.take(struct.calcsize("<" + kinds), what))

    def count(self, kind: str, what: str, low: int = 1) -> int:
        (value,) = self.values(kind, what)
        return self.within(value, low, what)

    def within(self, value: int, low: int, what: str) -> int:
        if not low <= value <= MAX_SIZE:
            raise self.error(f"{what} is {value}, expected {low} to {MAX_SIZE}")
        return value


def convert(source: Path, target: Path) -> None:
    """Write model.safetensors (f32), the tokenizer and the configuration files into the folder `target`.

    Raise WorkbenchError when the file is cut off, inconsistent, or holds values that are not finite.
    """
    from safetensors.numpy import save_file

    reader = _Reader(source.read_bytes(), source)
    shape = _read_shape(reader)
    pieces, special = _read_pieces(reader, shape)
    tensors = _read_tensors(reader, shape)
    target.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    (target / "model.safetensors").chmod(0o644)  # safetensors leaves it readable by its owner alone
    _write_tokenizer(pieces, special, shape, target)
    _write_configuration(shape, special, target)


def _read_shape(reader: _Reader) -> _Shape:
    if reader.take(4, "the magic") != b"E5S1":
        raise reader.error("it does not start with E5S1")
    if (version := reader.values("I", "the version")[0]) != 1:
        raise reader.error(f"version {version} is unknown, expected 1")
    names = ("hidden", "layers", "heads", "inner", "vocabulary", "positions", "types")
    sizes = {name: reader.count("i", name) for name in names}
    epsilon, block = reader.values("fi", "the header")
    shape = _Shape(**sizes, epsilon=float(f"{epsilon:.6g}"))
    if block != BLOCK_VALUES:
        raise reader.error(f"blocks hold {block} values, expected {BLOCK_VALUES}")
    if shape.hidden % shape.heads or shape.hidden % BLOCK_VALUES or shape.inner % BLOCK_VALUES:
        raise reader.error(f"hidden {shape.hidden} and inner {shape.inner} do not divide into {shape.heads} heads and blocks of {block}")
    if not 0 < epsilon < 1:
        raise reader.error(f"layer-norm epsilon is {epsilon}, expected 0 to 1")
    return shape


def _read_pieces(reader: _Reader, shape: _Shape) -> tuple[list[tuple[str, float]], dict[str, int]]:
    count = reader.count("i", "pieces")
    if count > shape.vocabulary:
        raise reader.error(f"{count} pieces do not fit a vocabulary of {shape.vocabulary}")
    special = dict(zip(("bos", "eos", "pad", "unk"), reader.values("4i", "the special pieces"), strict=True))
    if not all(0 <= piece < count for piece in special.values()) or len(set(special.values())) < len(special):
        raise reader.error(f"special pieces {special} must be four different numbers below {count}")
    (blob_size,) = reader.values("Q", "the blob size")
    offsets = np.frombuffer(reader.take(4 * (count + 1), "piece offsets"), "<u4").astype(np.int64)
    scores = np.frombuffer(reader.take(4 * count, "piece scores"), "<f4")
    blob = reader.take(blob_size, "the pieces")
    if offsets[0] != 0 or offsets[-1] != blob_size or (np.diff(offsets) <= 0).any():
        raise reader.error("piece offsets must grow from 0 to the blob size")
    if not np.isfinite(scores).all():
        raise reader.error("a piece score is not finite")
    try:
        texts = [blob[start:end].decode("utf-8") for start, end in itertools.pairwise(offsets)]
    except UnicodeDecodeError as error:
        raise reader.error(f"a piece is not UTF-8 text ({error.reason})") from None
    if len(set(texts)) < count:
        raise reader.error("a piece occurs twice")
    return list(zip(texts, scores.tolist(), strict=True)), special


def _read_tensors(reader: _Reader, shape: _Shape) -> dict[str, np.ndarray]:
    reader.values("i", "the normalisation map")
    reader.take(reader.values("I", "the normalisation map")[0], "the normalisation map")
    directory: dict[str, tuple[int, int, int, int]] = {}
    for _ in range(reader.count("i", "directory entries", low=0)):
        name = reader.take(reader.values("H", "the directory")[0], "the directory").decode("ascii", "backslashreplace")
        directory[name] = reader.values("BIQQ", "the directory")

    def tensor(name: str, *dimensions: int) -> np.ndarray:
        kind = Q4_0 if name == "emb.word" or (name.endswith(".w") and name.split(".")[-2] in MATRICES) else FLOAT32
        values = int(np.prod(dimensions))
        size = values // BLOCK_VALUES * BLOCK_BYTES if kind == Q4_0 else 4 * values
        if name not in directory:
            raise reader.error(f"tensor {name} is missing")
        if directory[name][:2] != (kind, values) or directory[name][3] != size:
            raise reader.error(
                f"tensor {name} is (kind, values, bytes) {(*directory[name][:2], directory[name][3])}, expected {(kind, values, size)}"
            )
        reader.at = min(directory[name][2], len(reader.data))
        raw = reader.take(size, f"tensor {name}")
        array = dequantize(raw) if kind == Q4_0 else np.frombuffer(raw, "<f4")
        if not np.isfinite(array).all():
            raise reader.error(f"tensor {name} has values that are not finite")
        return np.ascontiguousarray(array.reshape(dimensions), dtype=np.float32)

    hidden = shape.hidden
    tensors = {
        "embeddings.word_embeddings.weight": tensor("emb.word", shape.vocabulary, hidden),
        "embeddings.position_embeddings.weight": tensor("emb.pos", shape.positions, hidden),
        "embeddings.token_type_embeddings.weight": tensor("emb.type", shape.types, hidden),
        "embeddings.LayerNorm.weight": tensor("emb.ln.w", hidden),
        "embeddings.LayerNorm.bias": tensor("emb.ln.b", hidden),
    }
    for layer in range(shape.layers):
        prefix = f"encoder.layer.{layer}"
        for short, (long, rows, columns) in MATRICES.items():
            tensors[f"{prefix}.{long}.weight"] = tensor(f"l{layer}.{short}.w", getattr(shape, rows), getattr(shape, columns))
            tensors[f"{prefix}.{long}.bias"] = tensor(f"l{layer}.{short}.b", getattr(shape, rows))
        for short, long in NORMS.items():
            tensors[f"{prefix}.{long}.weight"] = tensor(f"l{layer}.{short}.w", hidden)
            tensors[f"{prefix}.{long}.bias"] = tensor(f"l{layer}.{short}.b", hidden)
    return tensors


def dequantize(raw: bytes) -> np.ndarray:
    """Turn Q4_0 blocks (18 bytes each) into a flat float32 array, 32 values a block."""
    blocks = np.frombuffer(raw, np.uint8).reshape(-1, BLOCK_BYTES)
    scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
    nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float32) - 8
    with np.errstate(invalid="ignore"):  # a damaged scale may be infinite; the caller looks for that
        return (nibbles * scales).reshape(-1)


def _write_tokenizer(pieces: list[tuple[str, float]], special: dict[str, int], shape: _Shape, target: Path) -> None:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    bos, eos, pad, unk = (pieces[special[name]][0] for name in ("bos", "eos", "pad", "unk"))
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=special["unk"], byte_fallback=False))
    steps = [
        normalizers.Nmt(),
        normalizers.Replace(WIDE_TILDE, STAND_IN),
        normalizers.NFKC(),
        normalizers.Replace(STAND_IN, WIDE_TILDE),
        normalizers.Replace(Regex(" {2,}"), " "),
    ]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}", special_tokens=[(bos, special["bos"]), (eos, special["eos"])]
    )
    tokenizer.save(str(target / "tokenizer.json"), pretty=False)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": shape.positions,
        "bos_token": bos,
        "eos_token": eos,
        "pad_token": pad,
        "unk_token": unk,
        "cls_token": bos,
        "sep_token": eos,
    }
    _write_json(target / "tokenizer_config.json", settings)


def _write_configuration(shape: _Shape, special: dict[str, int], target: Path) -> None:
    model = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.inner,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": shape.positions,
        "type_vocab_size": shape.types,
        "layer_norm_eps": shape.epsilon,
        "hidden_act": "gelu",
        "pad_token_id": special["pad"],
        "position_embedding_type": "absolute",
    }
    pooling = {"word_embedding_dimension": shape.hidden, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    steps = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{step}"}
        for index, (step, path) in enumerate(steps.items())
    ]
    _write_json(target / "config.json", model)
    _write_json(target / "modules.json", modules)
    _write_json(target / "1_Pooling" / "config.json", pooling)
    # the file has no pooler, mean pooling needs none, and without this transformers would make up a random one and warn
    reading = {"max_seq_length": shape.positions, "do_lower_case": False, "model_args": {"add_pooling_layer": False}}
    _write_json(target / "sentence_bert_config.json", reading)
    prompts = {"query": "query: ", "document": "passage: "}
    _write_json(target / "config_sentence_transformers.json", {"prompts": prompts, "similarity_fn_name": "cosine"})


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
