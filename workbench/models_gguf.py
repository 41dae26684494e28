"""Convert a GGUF file once into a folder that transformers loads by itself: weights, tokenizer and configuration files.

Known are the two kinds the catalogue names: architecture llama with SmolLM's byte-level BPE, and gemma3 (text only) with SentencePiece BPE.
Anything else in a file (an unknown architecture, tensor or number format, rope scaling) is refused, not guessed.

The weights become float32: a block of 4 to 8 bit numbers with its f16 scale needs up to 18 significant bits, bfloat16 has 8 and float16 11,
so float32 is the smallest kind that holds exactly what the file says. It is also what CPUs compute with; a GPU may load it as bfloat16.
Embeddings are tied to the output in both kinds and are stored once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from workbench.datatypes import WorkbenchError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Value = TypeVar("Value")

NORMAL, CONTROL, USER_DEFINED, BYTE = 1, 3, 4, 6  # kinds of tokens; control ones are hidden when text is decoded
SPECIAL = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}  # name in transformers: name in the file
MATRICES = {  # short name in the file: (name in transformers, rows, columns)
    "attn_q": ("self_attn.q_proj", "queries", "hidden"),
    "attn_k": ("self_attn.k_proj", "keys", "hidden"),
    "attn_v": ("self_attn.v_proj", "keys", "hidden"),
    "attn_output": ("self_attn.o_proj", "hidden", "queries"),
    "ffn_gate": ("mlp.gate_proj", "inner", "hidden"),
    "ffn_up": ("mlp.up_proj", "inner", "hidden"),
    "ffn_down": ("mlp.down_proj", "hidden", "inner"),
}
NORMS = {
    "llama": {"attn_norm": ("input_layernorm", "hidden"), "ffn_norm": ("post_attention_layernorm", "hidden")},
    "gemma3": {
        "attn_norm": ("input_layernorm", "hidden"),
        "attn_q_norm": ("self_attn.q_norm", "head"),
        "attn_k_norm": ("self_attn.k_norm", "head"),
        "post_attention_norm": ("post_attention_layernorm", "hidden"),
        "ffn_norm": ("pre_feedforward_layernorm", "hidden"),
        "post_ffw_norm": ("post_feedforward_layernorm", "hidden"),
    },
}
MAX_SIZE = 1_000_000  # no dimension of a sensible file is larger
GEMMA_LOCAL_THETA, GEMMA_GLOBAL_EVERY = 10_000.0, 6  # of all Gemma 3 models; the file does not state them


class _File:
    """Give the values and tensors of a GGUF file; whatever is missing, damaged or of another type is a WorkbenchError."""

    def __init__(self, source: Path) -> None:
        from gguf import GGUFReader

        self.source = source
        try:
            reader = GGUFReader(source)
            self.fields = {key: field.contents() for key, field in reader.fields.items()}
        except (ValueError, IndexError, KeyError, OverflowError, OSError) as error:  # the reader checks nothing itself
            raise self.error(f"it is cut off or damaged ({error})") from None
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}

    def error(self, reason: str) -> WorkbenchError:
        return WorkbenchError(f"{self.source.name} is not a usable GGUF file: {reason}")

    def value(self, key: str, kind: type[Value]) -> Value:
        value = self.fields.get(key)
        if type(value) is not kind:
            raise self.error(f"{key} is {'missing' if value is None else repr(value)[:40]}, expected {kind.__name__}")
        return value

    def within(self, key: str, low: float, high: float, kind: type[Value] = int) -> Value:
        if not low <= (value := self.value(key, kind)) <= high:
            raise self.error(f"{key} is {value}, expected {low} to {high}")
        return value

    def expect(self, key: str, *known: Any) -> Any:
        if (value := self.value(key, type(known[0]))) not in known:
            raise self.error(f"{key} is {value!r}, expected {' or '.join(map(repr, known))}")
        return value

    def take(self, name: str, *shape: int) -> np.ndarray:
        """Return a tensor as float32 and strike it off the list."""
        from gguf import dequantize

        if name not in self.tensors:
            raise self.error(f"tensor {name} is missing")
        tensor = self.tensors.pop(name)
        if (found := tuple(reversed(tensor.shape.tolist()))) != shape:
            raise self.error(f"tensor {name} has shape {found}, expected {shape}")
        try:
            with np.errstate(all="ignore"):  # a damaged scale may be infinite, which is looked for below
                array = dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError:
            raise self.error(f"tensor {name} has the unknown number format {tensor.tensor_type.name}") from None
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise self.error(f"tensor {name} has values that are not finite float numbers")
        return array


def convert(source: Path, target: Path) -> None:
    """Write model.safetensors (float32), the tokenizer and the configuration files into the folder `target`.

    Raise WorkbenchError when the file is cut off, inconsistent, of an unknown kind, or holds values that are not finite.
    """
    from safetensors.numpy import save_file

    file = _File(source)
    architecture = file.expect("general.architecture", *NORMS)
    sizes = _read_sizes(file, architecture)
    tokens = _read_tokens(file)
    tokenizer = {"llama": _byte_level_tokenizer, "gemma3": _sentencepiece_tokenizer}[architecture](file, tokens)
    settings = _settings(file, architecture, sizes, [token for token, _ in tokens])
    tensors = _read_tensors(file, architecture, sizes | {"vocabulary": len(tokens)})
    target.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    (target / "model.safetensors").chmod(0o644)  # safetensors leaves it readable by its owner alone
    tokenizer.save(str(target / "tokenizer.json"), pretty=False)
    for name, values in settings.items():
        (target / name).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def _read_sizes(file: _File, architecture: str) -> dict[str, int]:
    keys = {"hidden": "embedding_length", "layers": "block_count", "inner": "feed_forward_length"}
    keys |= {"heads": "attention.head_count", "key_heads": "attention.head_count_kv", "positions": "context_length"}
    sizes = {name: file.within(f"{architecture}.{key}", 1, MAX_SIZE) for name, key in keys.items()}
    if architecture == "gemma3":
        sizes["head"] = file.within("gemma3.attention.key_length", 1, MAX_SIZE)
    else:
        sizes["head"] = sizes["hidden"] // sizes["heads"]
    if sizes["head"] % 2 or sizes["hidden"] % sizes["heads"] or sizes["heads"] % sizes["key_heads"]:
        raise file.error("hidden {hidden}, heads {heads} of {head} and key heads {key_heads} do not divide".format(**sizes))
    if scaled := [key for key in file.fields if key.startswith(f"{architecture}.rope.scaling.")]:
        raise file.error(f"{scaled[0]} is not supported")
    return sizes | {"queries": sizes["heads"] * sizes["head"], "keys": sizes["key_heads"] * sizes["head"]}


def _read_tensors(file: _File, architecture: str, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    added = np.float32(1 if architecture == "gemma3" else 0)  # files hold 1 + w of Gemma's norms, transformers adds the 1 itself

    def norm(name: str, size: str) -> np.ndarray:
        return file.take(name, sizes[size]) - added

    tensors = {
        "model.embed_tokens.weight": file.take("token_embd.weight", sizes["vocabulary"], sizes["hidden"]),
        "model.norm.weight": norm("output_norm.weight", "hidden"),
    }
    for layer in range(sizes["layers"]):
        for short, (long, rows, columns) in MATRICES.items():
            matrix = file.take(f"blk.{layer}.{short}.weight", sizes[rows], sizes[columns])
            if architecture == "llama" and short in ("attn_q", "attn_k"):
                matrix = _two_halves(matrix, sizes["head"])
            tensors[f"model.layers.{layer}.{long}.weight"] = np.ascontiguousarray(matrix)
        for short, (long, size) in NORMS[architecture].items():
            tensors[f"model.layers.{layer}.{long}.weight"] = norm(f"blk.{layer}.{short}.weight", size)
    if file.tensors:
        raise file.error(f"tensor {next(iter(file.tensors))} has no place in {architecture}")
    return tensors


def _two_halves(matrix: np.ndarray, head: int) -> np.ndarray:
    """Undo the row order of llama files: within each head they pair rows for rope as 0,1,0,1,..., transformers as 0,0,...,1,1."""
    return matrix.reshape(-1, head // 2, 2, matrix.shape[1]).swapaxes(1, 2).reshape(matrix.shape)


def _read_tokens(file: _File) -> list[tuple[str, int]]:
    """Return every token and its kind, by id."""
    tokens, kinds = file.value("tokenizer.ggml.tokens", list), file.value("tokenizer.ggml.token_type", list)
    if len(tokens) != len(kinds) or len(set(tokens)) != len(tokens) or not all(isinstance(token, str) and token for token in tokens):
        raise file.error(f"{len(tokens)} tokens (all must be different texts) do not fit {len(kinds)} token types")
    if unknown := set(kinds) - {NORMAL, CONTROL, USER_DEFINED, BYTE}:
        raise file.error(f"token type {unknown.pop()!r} is unknown")
    return list(zip(tokens, kinds, strict=True))


def _read_special(file: _File, tokens: Sequence[Any]) -> dict[str, int]:
    return {name: file.within(f"tokenizer.ggml.{long}_token_id", 0, len(tokens) - 1) for name, long in SPECIAL.items()}


def _byte_level_tokenizer(file: _File, tokens: list[tuple[str, int]]) -> Tokenizer:
    """Build SmolLM's tokenizer: bytes as letters, each digit on its own, merges in the order of the file."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    file.expect("tokenizer.ggml.model", "gpt2")
    file.expect("tokenizer.ggml.pre", "smollm")
    file.expect("tokenizer.ggml.add_bos_token", False)
    known = {token: place for place, (token, _) in enumerate(tokens)}
    merges = [tuple(str(merge).split(" ")) for merge in file.value("tokenizer.ggml.merges", list)]
    for merge in merges:
        if len(merge) != 2 or not {*merge, "".join(merge)} <= known.keys():
            raise file.error(f"merge {' '.join(merge)!r} is not two tokens that make a third")
    tokenizer = Tokenizer(models.BPE(known, merges))
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), letters])
    tokenizer.decoder = decoders.ByteLevel()
    _add_whole_tokens(tokenizer, tokens)
    return tokenizer


def _sentencepiece_tokenizer(file: _File, tokens: list[tuple[str, int]]) -> Tokenizer:
    """Build Gemma's tokenizer: any two neighbours that make a token merge, best score first; unknown letters become bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors

    file.expect("tokenizer.ggml.model", "llama")
    file.expect("tokenizer.ggml.add_bos_token", True)
    file.expect("tokenizer.ggml.add_space_prefix", False)
    known = {token: place for place, (token, _) in enumerate(tokens)}
    scores = file.value("tokenizer.ggml.scores", list)
    if len(scores) != len(tokens) or not all(isinstance(score, float) and math.isfinite(score) for score in scores):
        raise file.error(f"{len(scores)} scores (all must be finite numbers) do not fit {len(tokens)} tokens")
    normal = {token for token, kind in tokens if kind == NORMAL}
    merges = []
    for token in sorted(normal, key=lambda token: (-scores[known[token]], known[token])):
        cuts = [(token[:cut], token[cut:]) for cut in range(1, len(token)) if token[:cut] in normal and token[cut:] in normal]
        merges += sorted(cuts, key=lambda pair: (known[pair[0]], known[pair[1]]))
    special = _read_special(file, tokens)
    bos, unknown = tokens[special["bos"]][0], tokens[special["unk"]][0]
    tokenizer = Tokenizer(models.BPE(known, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, special["bos"])])
    _add_whole_tokens(tokenizer, tokens)
    return tokenizer


def _add_whole_tokens(tokenizer: Tokenizer, tokens: list[tuple[str, int]]) -> None:
    """Make control and user-defined tokens be found in a text before anything else, the longest first."""
    from tokenizers import AddedToken

    whole = [AddedToken(token, special=kind == CONTROL, normalized=False) for token, kind in tokens if kind in (CONTROL, USER_DEFINED)]
    tokenizer.add_tokens(whole)


def _settings(file: _File, architecture: str, sizes: dict[str, int], tokens: list[str]) -> dict[str, dict[str, Any]]:
    """Return the contents of the configuration files by their names."""
    special = _read_special(file, tokens)
    ends = {f"{name}_token_id": special[name] for name in ("bos", "eos", "pad")}
    epsilon = file.within(f"{architecture}.attention.layer_norm_rms_epsilon", 0, 1, float)
    model = {
        "vocab_size": len(tokens),
        "hidden_size": sizes["hidden"],
        "intermediate_size": sizes["inner"],
        "num_hidden_layers": sizes["layers"],
        "num_attention_heads": sizes["heads"],
        "num_key_value_heads": sizes["key_heads"],
        "head_dim": sizes["head"],
        "max_position_embeddings": sizes["positions"],
        "rms_norm_eps": float(f"{epsilon:.6g}"),  # 1e-05 was stored as a float32
        "rope_theta": file.within(f"{architecture}.rope.freq_base", 1, 1e9, float),
        "tie_word_embeddings": True,
        "dtype": "float32",
        **ends,
    }
    if architecture == "llama":
        model |= {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu"}
    else:
        kinds = ["sliding_attention" if (layer + 1) % GEMMA_GLOBAL_EVERY else "full_attention" for layer in range(sizes["layers"])]
        model |= {
            "architectures": ["Gemma3ForCausalLM"],
            "model_type": "gemma3_text",
            "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": sizes["head"],
            "rope_local_base_freq": GEMMA_LOCAL_THETA,
            "sliding_window": file.within("gemma3.attention.sliding_window", 1, MAX_SIZE),
            "layer_types": kinds,
        }
    reading = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": sizes["positions"], "clean_up_tokenization_spaces": False}
    reading |= {f"{name}_token": tokens[place] for name, place in special.items()}
    if "tokenizer.chat_template" in file.fields:
        reading["chat_template"] = file.value("tokenizer.chat_template", str)
    return {"config.json": model, "generation_config.json": ends, "tokenizer_config.json": reading}
