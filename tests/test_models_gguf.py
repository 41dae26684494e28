"""Test the conversion of GGUF files on tiny ones written here; what the real ones give is in test_models_generators.py."""

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter
from safetensors.numpy import load_file

from workbench import models_gguf
from workbench.datatypes import WorkbenchError

LAYERS, HIDDEN, INNER, HEADS, KEY_HEADS, HEAD = 2, 32, 64, 4, 2, 8
NORMAL, CONTROL, USER_DEFINED, BYTE = 1, 3, 4, 6
SMOL_TOKENS = ["<|end|>", "<|im|>", "a", "b", "1", "Ġ", "Ċ", "ab", "Ġab", "aa"]
GEMMA_TOKENS = {  # token: (kind, score)
    "<pad>": (CONTROL, 0.0),
    "<eos>": (CONTROL, 0.0),
    "<bos>": (CONTROL, 0.0),
    "<unk>": (CONTROL, 0.0),
    "\n": (USER_DEFINED, 0.0),
    "\n\n": (USER_DEFINED, 0.0),
    "  ": (USER_DEFINED, 0.0),
    "<b>": (USER_DEFINED, 0.0),
    **{f"<0x{byte:02X}>": (BYTE, 0.0) for byte in range(256)},
    "가나": (NORMAL, -1.0),
    "나다": (NORMAL, 0.0),
    "▁가": (NORMAL, -2.0),
    "▁": (NORMAL, -3.0),
    "가": (NORMAL, -4.0),
    "나": (NORMAL, -5.0),
    "다": (NORMAL, -6.0),
    "b": (NORMAL, -7.0),
}
SPECIAL = {"bos": 1, "eos": 0, "unknown": 0, "padding": 0}
Parts = tuple[dict[str, Any], dict[str, np.ndarray]]


def sizes(architecture: str, vocabulary: int) -> dict[str, Any]:
    values = {"embedding_length": HIDDEN, "block_count": LAYERS, "feed_forward_length": INNER, "context_length": 128}
    values |= {"attention.head_count": HEADS, "attention.head_count_kv": KEY_HEADS, "rope.freq_base": 10000.0}
    values |= {"attention.layer_norm_rms_epsilon": 1e-5, "vocab_size": vocabulary}
    return {"general.architecture": architecture} | {f"{architecture}.{key}": value for key, value in values.items()}


def matrices(vocabulary: int, norms: dict[str, int]) -> dict[str, np.ndarray]:
    """Make small random tensors under the names of a file."""
    shapes = {"attn_q": (HEADS * HEAD, HIDDEN), "attn_k": (KEY_HEADS * HEAD, HIDDEN), "attn_v": (KEY_HEADS * HEAD, HIDDEN)}
    shapes |= {"attn_output": (HIDDEN, HEADS * HEAD), "ffn_gate": (INNER, HIDDEN), "ffn_up": (INNER, HIDDEN), "ffn_down": (HIDDEN, INNER)}
    shapes |= {name: (size,) for name, size in norms.items()}
    named = {"token_embd": (vocabulary, HIDDEN), "output_norm": (HIDDEN,)}
    named |= {f"blk.{layer}.{name}": shape for layer in range(LAYERS) for name, shape in shapes.items()}
    made = np.random.default_rng(0)
    return {f"{name}.weight": made.normal(0.5, 0.1, shape).astype(np.float32) for name, shape in named.items()}


def llama() -> Parts:
    tokenizer = {"model": "gpt2", "pre": "smollm", "add_bos_token": False, "tokens": SMOL_TOKENS, "merges": ["a b", "Ġ ab", "a a"]}
    tokenizer |= {"token_type": [CONTROL, CONTROL] + [NORMAL] * 8} | {f"{name}_token_id": value for name, value in SPECIAL.items()}
    values = sizes("llama", len(SMOL_TOKENS)) | {f"tokenizer.ggml.{key}": value for key, value in tokenizer.items()}
    values["tokenizer.chat_template"] = "{% for message in messages %}<|im|>{{ message['content'] }}<|end|>{% endfor %}"
    return values, matrices(len(SMOL_TOKENS), {"attn_norm": HIDDEN, "ffn_norm": HIDDEN})


def gemma() -> Parts:
    tokenizer = {"model": "llama", "add_bos_token": True, "add_space_prefix": False, "tokens": list(GEMMA_TOKENS)}
    tokenizer |= {"token_type": [kind for kind, _ in GEMMA_TOKENS.values()], "scores": [score for _, score in GEMMA_TOKENS.values()]}
    tokenizer |= {"bos_token_id": 2, "eos_token_id": 1, "unknown_token_id": 3, "padding_token_id": 0}
    values = sizes("gemma3", len(GEMMA_TOKENS)) | {f"tokenizer.ggml.{key}": value for key, value in tokenizer.items()}
    values |= {"gemma3.attention.key_length": HEAD, "gemma3.attention.sliding_window": 16}
    norms = {"attn_norm": HIDDEN, "post_attention_norm": HIDDEN, "ffn_norm": HIDDEN, "post_ffw_norm": HIDDEN}
    return values, matrices(len(GEMMA_TOKENS), norms | {"attn_q_norm": HEAD, "attn_k_norm": HEAD})


def written(path: Path, parts: Parts, packed: dict[str, GGMLQuantizationType] | None = None) -> Path:
    """Write a GGUF file; tensors named in `packed` hold bytes of that number format."""
    values, tensors = parts
    writer = GGUFWriter(path, values["general.architecture"])
    for key, value in values.items():
        if key != "general.architecture":
            writer.add_key_value(key, value, GGUFValueType.get_type(value))
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor, raw_dtype=(packed or {}).get(name))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def converted(folder: Path, parts: Parts, packed: dict[str, GGMLQuantizationType] | None = None) -> Path:
    models_gguf.convert(written(folder / "tiny.gguf", parts, packed), folder / "out")
    return folder / "out"


# --- what a conversion writes


@pytest.mark.parametrize("parts", [llama(), gemma()], ids=["llama", "gemma3"])
def test_transformers_loads_the_folder_by_itself(tmp_path, parts):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = converted(tmp_path, parts)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    stored = load_file(folder / "model.safetensors")
    assert set(stored) == set(model.state_dict()) - {"lm_head.weight"}  # nothing is left as transformers made it up
    assert {tensor.dtype for tensor in stored.values()} == {np.dtype(np.float32)}
    special = [f"{parts[0][f'tokenizer.ggml.{name}_token_id']}" for name in ("bos", "eos", "padding")]
    assert special == [
        f"{tokenizer.convert_tokens_to_ids(token)}" for token in (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token)
    ]
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert tokenizer.model_max_length == 128
    prompt = tokenizer("ab", return_tensors="pt")
    assert model.generate(**prompt, max_new_tokens=3, min_new_tokens=3).shape[1] == prompt["input_ids"].shape[1] + 3


def test_gemma_layers_read_near_and_far(tmp_path):
    values, tensors = gemma()
    layer = {name: tensor for name, tensor in tensors.items() if name.startswith("blk.0.")}
    for number in range(LAYERS, 7):
        tensors |= {name.replace("blk.0.", f"blk.{number}."): tensor for name, tensor in layer.items()}
    config = json.loads((converted(tmp_path, (values | {"gemma3.block_count": 7}, tensors)) / "config.json").read_text(encoding="utf-8"))
    assert config["layer_types"] == ["sliding_attention"] * 5 + ["full_attention"] + ["sliding_attention"]
    assert (config["sliding_window"], config["query_pre_attn_scalar"], config["rms_norm_eps"]) == (16, HEAD, 1e-5)
    assert (config["rope_theta"], config["rope_local_base_freq"]) == (10000.0, 10000.0)


def test_packed_numbers_are_unpacked_exactly(tmp_path):
    values, tensors = llama()
    q4_1 = struct.pack("<ee", 0.5, -1.0) + bytes(place | (15 - place) << 4 for place in range(16))
    q8_0 = struct.pack("<e", 0.3) + bytes([255, 127, 0, 128] * 8)
    tensors["blk.1.ffn_up.weight"] = np.tile(np.frombuffer(q4_1, np.uint8), (INNER, HIDDEN // 32))
    tensors["token_embd.weight"] = np.tile(np.frombuffer(q8_0, np.uint8), (len(SMOL_TOKENS), HIDDEN // 32))
    kinds = {"blk.1.ffn_up.weight": GGMLQuantizationType.Q4_1, "token_embd.weight": GGMLQuantizationType.Q8_0}
    weights = load_file(converted(tmp_path, (values, tensors), kinds) / "model.safetensors")
    row = weights["model.layers.1.mlp.up_proj.weight"][INNER - 1]
    assert row[[0, 1, 15, 16, 17, 31]].tolist() == [-1.0, -0.5, 6.5, 6.5, 6.0, -1.0]  # 0.5 n - 1: low halves 0.. 15, high halves 15..0
    scale = float(np.float16(0.3))  # 1229 / 4096: times 127 it needs more digits than bfloat16 or float16 have
    assert weights["model.embed_tokens.weight"][3, :4].tolist() == [-scale, 127 * scale, 0.0, -128 * scale]


def test_llama_rows_of_queries_and_keys_return_to_their_order(tmp_path):
    values, tensors = llama()
    for short, rows in (("attn_q", HEADS * HEAD), ("attn_k", KEY_HEADS * HEAD), ("attn_v", KEY_HEADS * HEAD)):
        tensors[f"blk.0.{short}.weight"] = np.repeat(np.arange(rows, dtype=np.float32)[:, None], HIDDEN, axis=1)
    weights = load_file(converted(tmp_path, (values, tensors)) / "model.safetensors")
    order = {short: weights[f"model.layers.0.self_attn.{short}_proj.weight"][:, 0].tolist() for short in "qkv"}
    head = [0, 2, 4, 6, 1, 3, 5, 7]  # pairs side by side become two halves
    assert order["q"] == [start + row for start in (0, 8, 16, 24) for row in head]
    assert order["k"] == [start + row for start in (0, 8) for row in head]
    assert order["v"] == list(range(16))


def test_gemma_norms_lose_the_one_that_was_added(tmp_path):
    values, tensors = gemma()
    for name in ("output_norm", "blk.1.attn_k_norm", "blk.0.ffn_norm"):
        tensors[f"{name}.weight"] = np.full_like(tensors[f"{name}.weight"], 1.25)
    queries = tensors["blk.0.attn_q.weight"]
    weights = load_file(converted(tmp_path, (values, tensors)) / "model.safetensors")
    assert set(weights["model.norm.weight"]) == set(weights["model.layers.1.self_attn.k_norm.weight"]) == {np.float32(0.25)}
    assert set(weights["model.layers.0.pre_feedforward_layernorm.weight"]) == {np.float32(0.25)}
    assert (weights["model.layers.0.self_attn.q_proj.weight"] == queries).all()  # gemma files keep the row order


# --- tokenizers


def tokens_of(folder: Path) -> Callable[[str], list[str]]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return lambda text: tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])


def test_llama_tokens_by_hand(tmp_path):
    from transformers import AutoTokenizer

    folder = converted(tmp_path, llama())
    tokens = tokens_of(folder)
    assert tokens("ab ab") == ["ab", "Ġab"]
    assert tokens("aab") == ["a", "ab"]  # "a b" is the earlier merge
    assert tokens("aa11\n") == ["aa", "1", "1", "Ċ"]  # every digit on its own
    assert tokens("a<|im|>b") == ["a", "<|im|>", "b"]
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert tokenizer.apply_chat_template([{"role": "user", "content": "ab"}], tokenize=False) == "<|im|>ab<|end|>"
    assert tokenizer.decode(tokenizer("ab a<|im|>\n")["input_ids"], skip_special_tokens=True) == "ab a\n"


def test_gemma_tokens_by_hand(tmp_path):
    from transformers import AutoTokenizer

    folder = converted(tmp_path, gemma())
    tokens = tokens_of(folder)
    assert tokens("가나다") == ["<bos>", "가", "나다"]  # the best score is merged first, not the leftmost pair
    assert tokens("가나 가") == ["<bos>", "가나", "▁가"]
    assert tokens("가   가") == ["<bos>", "가", "  ", "▁가"]  # user-defined runs go first, the longest at once
    assert tokens("\n\n\n<b>b") == ["<bos>", "\n\n", "\n", "<b>", "b"]
    assert tokens("é") == ["<bos>", "<0xC3>", "<0xA9>"]
    assert tokens("") == ["<bos>"]
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert tokenizer.decode(tokenizer("가   é가나\n<b>")["input_ids"], skip_special_tokens=True) == "가   é가나\n<b>"


# --- damaged and unknown files


def test_every_cut_off_file_is_refused(tmp_path):
    data = written(tmp_path / "whole.gguf", llama()).read_bytes()
    cut = tmp_path / "cut.gguf"
    for size in [*range(0, 3000, 41), *range(3000, len(data), 1997), len(data) - 128]:
        cut.write_bytes(data[:size])
        with pytest.raises(WorkbenchError, match=r"cut\.gguf is not a usable GGUF file"):
            models_gguf.convert(cut, tmp_path / "out")
    cut.write_bytes(b"GGML" + data[4:])
    with pytest.raises(WorkbenchError, match=r"cut off or damaged .*magic invalid"):
        models_gguf.convert(cut, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the reader multiplies damaged sizes
def test_a_flipped_byte_converts_or_is_refused(tmp_path):
    data = written(tmp_path / "whole.gguf", gemma()).read_bytes()
    chance, refused = random.Random(0), 0
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(3):
            damaged[chance.randrange(9000)] = chance.randrange(256)  # metadata and tensor list; whole.gguf has about 160 kB
        (tmp_path / "damaged.gguf").write_bytes(damaged)
        try:
            models_gguf.convert(tmp_path / "damaged.gguf", tmp_path / "out")
        except WorkbenchError:
            refused += 1
    assert 75 < refused <= 150


def without(key: str) -> Callable[[Parts], None]:
    def change(parts: Parts) -> None:
        for part in parts:
            part.pop(key, None)

    return change


def with_value(key: str, value: Any) -> Callable[[Parts], None]:
    return lambda parts: parts[0].update({key: value})


def with_tensor(name: str, tensor: np.ndarray) -> Callable[[Parts], None]:
    return lambda parts: parts[1].update({name: tensor})


FLAT = np.zeros((HIDDEN, HIDDEN), np.float32)


@pytest.mark.parametrize(
    ("made", "change", "message"),
    [
        (llama, with_value("general.architecture", "mamba"), "general.architecture is 'mamba', expected 'llama' or 'gemma3'"),
        (llama, without("llama.block_count"), "llama.block_count is missing, expected int"),
        (llama, with_value("llama.block_count", "2"), "llama.block_count is '2', expected int"),
        (llama, with_value("llama.block_count", 0), "llama.block_count is 0, expected 1 to 1000000"),
        (llama, with_value("llama.attention.head_count", 5), "hidden 32, heads 5 of 6 and key heads 2 do not divide"),
        (llama, with_value("llama.rope.scaling.type", "yarn"), "llama.rope.scaling.type is not supported"),
        (llama, with_value("llama.attention.layer_norm_rms_epsilon", float("nan")), "epsilon is nan, expected 0 to 1"),
        (llama, with_value("tokenizer.ggml.pre", "qwen2"), "tokenizer.ggml.pre is 'qwen2', expected 'smollm'"),
        (llama, with_value("tokenizer.ggml.eos_token_id", 10), "eos_token_id is 10, expected 0 to 9"),
        (llama, with_value("tokenizer.ggml.merges", ["a b", "a 1"]), "merge 'a 1' is not two tokens that make a third"),
        (llama, with_value("tokenizer.ggml.token_type", [NORMAL] * 9), "10 tokens .* do not fit 9 token types"),
        (llama, with_value("tokenizer.ggml.tokens", ["a"] * 10), "10 tokens .all must be different texts. do not fit"),
        (llama, with_value("tokenizer.ggml.token_type", [7] * 10), "token type 7 is unknown"),
        (gemma, with_value("tokenizer.ggml.add_bos_token", False), "add_bos_token is False, expected True"),
        (gemma, with_value("tokenizer.ggml.scores", [0.0]), "1 scores .* do not fit 272 tokens"),
        (gemma, with_value("tokenizer.ggml.scores", [float("nan")] * 272), "scores .all must be finite numbers."),
        (gemma, without("gemma3.attention.sliding_window"), "gemma3.attention.sliding_window is missing"),
        (llama, without("blk.1.ffn_up.weight"), "tensor blk.1.ffn_up.weight is missing"),
        (gemma, without("blk.1.attn_q_norm.weight"), "tensor blk.1.attn_q_norm.weight is missing"),
        (llama, with_tensor("output.weight", FLAT), "tensor output.weight has no place in llama"),
        (llama, with_tensor("blk.0.attn_k.weight", FLAT), r"blk.0.attn_k.weight has shape \(32, 32\), expected \(16, 32\)"),
        (llama, with_tensor("blk.0.attn_q.weight", FLAT + np.inf), "attn_q.weight has values that are not finite"),
        (llama, with_tensor("blk.0.attn_q.weight", FLAT.astype(np.float64)), "attn_q.weight has the unknown number format F64"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, made, change, message):
    parts = made()
    change(parts)
    with pytest.raises(WorkbenchError, match=message):
        converted(tmp_path, parts)
    assert not (tmp_path / "out").exists()
