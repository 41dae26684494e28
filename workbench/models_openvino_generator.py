"""Write a causal language model as an OpenVINO graph, once: its weights from safetensors, with those of its LoRA adapter added to them.

The graph is the one openvino-genai turns into continuous batching: keys and values are its state, attention is one operation a layer.
Known are models built as Llama is, with the biases of Qwen 2 and the norms of Qwen 3. Anything else (other layers, sliding attention,
scaled positions, a tensor without a place) is refused, not guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import models_openvino, storage
from workbench.datatypes import WorkbenchError

if TYPE_CHECKING:
    import openvino

    from workbench.models import LocalModel

VERSION = 1  # of the graph
KINDS = ("llama", "mistral", "qwen2", "qwen3")
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "intermediate_size", "max_position_embeddings")
FORMATS = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}
MASKED = -65504.0


def stored_decoder(model: LocalModel) -> Path:
    """Return the file of a model's graph, made at the first use; raise WorkbenchError for a model that cannot be one."""
    config = _config(model)
    identity = {"decoder": VERSION, "weights": model.fingerprint}
    return models_openvino.stored_graph(model.name, identity, lambda: _Decoder(config, _Weights(model)).graph())


def check_decoder(model: LocalModel) -> None:
    """Raise WorkbenchError for a model of a kind that cannot be written as a graph; reads its configuration only."""
    _config(model)


def _config(model: LocalModel) -> dict[str, Any]:
    """Return the sizes of a model that is built like Llama."""
    config = storage.read_json(model.path / "config.json")
    kind = config.get("model_type")
    rope = {"rope_theta": config.get("rope_theta", 10_000.0), **(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    slides = config.get("use_sliding_window", kind == "mistral") and config.get("sliding_window")
    for found, right in (
        (f"its kind is {kind!r}", kind in KINDS),
        (f"its activation is {config.get('hidden_act')!r}", config.get("hidden_act") == "silu"),
        ("it scales its positions", rope.get("rope_type", rope.get("type", "default")) == "default"),
        ("it turns a part of each head only", rope.get("partial_rotary_factor", 1) == 1),
        ("its attention slides", not slides and set(config.get("layer_types") or ["full_attention"]) == {"full_attention"}),
    ):
        if not right:
            known = f"models of the kinds {', '.join(KINDS)} with full attention and plain positions"
            raise WorkbenchError(f"openvino cannot run the model {model.name!r}: {found}, and it runs {known}; take hf:{model.name}")
    if missing := [size for size in SIZES if not isinstance(config.get(size), int)]:
        raise WorkbenchError(f"the configuration of the model {model.name!r} does not state {missing[0]}")
    heads = config["num_attention_heads"]
    return {
        **config,
        "keys": config.get("num_key_value_heads") or heads,
        "head": config.get("head_dim") or config["hidden_size"] // heads,
        "rope_theta": float(rope["rope_theta"]),
    }


class _Weights:
    """Give the tensors of a model in float32, each once, with the changes of its adapter."""

    def __init__(self, model: LocalModel) -> None:
        self.model = model
        self.left = _tensors(sorted(model.path.glob("*.safetensors")), model.name)
        self._adapter: dict[str, np.ndarray] = {}
        if model.adapter is not None:
            found = _tensors([model.adapter / "adapter_model.safetensors"], model.name)
            self._adapter = {name.removeprefix("base_model.model."): tensor for name, tensor in found.items()}
            stated = storage.read_json(model.adapter / "adapter_config.json")
            self._scale = np.float32(stated["lora_alpha"] / stated["r"])

    def error(self, reason: str) -> WorkbenchError:
        return WorkbenchError(f"the model {self.model.name!r} cannot become an OpenVINO graph: {reason}")

    def take(self, name: str, *shape: int) -> np.ndarray:
        """Return a tensor and strike it off the list."""
        if name not in self.left:
            raise self.error(f"it lacks {name}")
        tensor = self.left.pop(name)
        if tensor.shape != shape:
            raise self.error(f"{name} has the shape {tensor.shape}, expected {shape}")
        down, up = (self._adapter.pop(f"{name.removesuffix('.weight')}.lora_{part}.weight", None) for part in "AB")
        if down is not None and up is not None:
            tensor = tensor + self._scale * (up @ down)
        if not np.isfinite(tensor).all():
            raise self.error(f"{name} holds NaN or infinity")
        return tensor

    def finish(self) -> None:
        """Raise WorkbenchError when a tensor was not taken."""
        left = [name for name in (*self.left, *self._adapter) if not name.endswith("rotary_emb.inv_freq")]
        if left:
            raise self.error(f"{sorted(left)[0]} has no place in it")


def _tensors(files: list[Path], name: str) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, deserialize

    found = {}
    for file in files:
        try:
            stored = deserialize(file.read_bytes())
        except (SafetensorError, OSError) as error:
            raise WorkbenchError(f"the model {name!r}: {file.name} cannot be read: {error}") from None
        for key, tensor in stored:
            if tensor["dtype"] not in FORMATS:
                raise WorkbenchError(f"the model {name!r}: {key} holds {tensor['dtype']}, expected {', '.join(FORMATS)}")
            array = np.frombuffer(tensor["data"], FORMATS[tensor["dtype"]])
            if tensor["dtype"] == "BF16":  # the upper half of a float32
                array = (array.astype(np.uint32) << 16).view(np.float32)
            found[key] = array.astype(np.float32, copy=False).reshape(tensor["shape"])
    return found


class _Decoder:
    """Build the graph of a model: tokens in, logits out; `_cached` keeps the keys and values of what was read before."""

    def __init__(self, config: Mapping[str, Any], weights: _Weights) -> None:
        models_openvino.runtime()
        from openvino import opset13

        self.op = opset13
        self.config = config
        self.weights = weights
        self.heads, self.keys, self.head = config["num_attention_heads"], config["keys"], config["head"]
        self.assigned: list[Any] = []
        self.inputs = {name: self._input(name, shape) for name, shape in (("input_ids", 2), ("attention_mask", 2), ("position_ids", 2))}
        self.inputs["beam_idx"] = self._input("beam_idx", 1, np.int32)
        self.batch = self._size("input_ids", [0])

    def graph(self) -> openvino.Model:
        op, config = self.op, self.config
        hidden, words = config["hidden_size"], config["vocab_size"]
        tokens = op.constant(self.weights.take("model.embed_tokens.weight", words, hidden))
        state = op.gather(tokens, op.convert(self.inputs["input_ids"], "i32"), np.int32(0))
        turns, mask = self._turns(), self._mask()
        for layer in range(config["num_hidden_layers"]):
            state = self._layer(f"model.layers.{layer}.", state, turns, mask)
        state = self._norm(state, "model.norm.weight", hidden)
        if "lm_head.weight" in self.weights.left and not config.get("tie_word_embeddings"):
            tokens = op.constant(self.weights.take("lm_head.weight", words, hidden))
        self.weights.left.pop("lm_head.weight", None)  # some files repeat what is tied
        logits = op.matmul(state, tokens, False, True)
        logits.output(0).set_names({"logits"})
        self.weights.finish()
        return models_openvino.runtime().Model([op.result(logits)], self.assigned, list(self.inputs.values()), "decoder")

    def _input(self, name: str, dimensions: int, dtype: type = np.int64) -> Any:
        node = self.op.parameter([-1] * dimensions, dtype)
        node.set_friendly_name(name)  # both names are looked for
        node.output(0).set_names({name})
        return node

    def _size(self, name: str, dimension: Any) -> Any:
        return self.op.gather(self.op.shape_of(self.inputs[name]), np.int64(dimension), np.int64(0))

    def _turns(self) -> tuple[Any, Any]:
        """Return cosine and sine (texts, 1, tokens, head) of the angles that positions turn queries and keys by."""
        op = self.op
        speeds = self.config["rope_theta"] ** -(np.arange(0, self.head, 2) / self.head)
        places = op.convert(op.unsqueeze(self.inputs["position_ids"], np.int64(2)), "f32")
        angles = op.multiply(places, op.constant(speeds.astype(np.float32).reshape(1, 1, -1)))
        angles = op.unsqueeze(op.concat([angles, angles], -1), np.int64(1))
        return op.cos(angles), op.sin(angles)

    def _mask(self) -> Any:
        """Return what is added to attention (texts, 1, tokens, all tokens): nothing where a token may look, MASKED elsewhere."""
        op, first, step = self.op, np.int64(0), np.int64(1)
        read, known = self._size("input_ids", 1), self._size("attention_mask", 1)
        here = op.add(op.range(first, read, step, "i64"), op.subtract(known, read))
        before = op.less_equal(op.range(first, known, step, "i64"), op.unsqueeze(here, np.int64(1)))
        shown = op.unsqueeze(op.not_equal(self.inputs["attention_mask"], np.int64(0)), np.int64([1, 2]))
        return op.select(op.logical_and(before, shown), np.float32(0), np.float32(MASKED))

    def _layer(self, name: str, state: Any, turns: tuple[Any, Any], mask: Any) -> Any:
        op, hidden, inner = self.op, self.config["hidden_size"], self.config["intermediate_size"]
        read = self._norm(state, f"{name}input_layernorm.weight", hidden)
        queries = self._turned(self._heads(read, f"{name}self_attn.q", self.heads), turns)
        keys = self._cached(self._turned(self._heads(read, f"{name}self_attn.k", self.keys), turns), f"{name}keys")
        values = self._cached(self._heads(read, f"{name}self_attn.v", self.keys), f"{name}values")
        seen = op.transpose(op.scaled_dot_product_attention(queries, keys, values, mask), np.int64([0, 2, 1, 3]))
        seen = op.reshape(seen, np.int64([0, 0, self.heads * self.head]), True)
        state = op.add(state, self._linear(seen, f"{name}self_attn.o_proj", hidden, self.heads * self.head))
        read = self._norm(state, f"{name}post_attention_layernorm.weight", hidden)
        gate = op.swish(self._linear(read, f"{name}mlp.gate_proj", inner, hidden))
        return op.add(
            state,
            self._linear(op.multiply(gate, self._linear(read, f"{name}mlp.up_proj", inner, hidden)), f"{name}mlp.down_proj", hidden, inner),
        )

    def _norm(self, state: Any, name: str, size: int) -> Any:
        op = self.op
        mean = op.reduce_mean(op.power(state, np.float32(2)), np.int64([-1]), keep_dims=True)
        scale = op.divide(np.float32(1), op.sqrt(op.add(mean, np.float32(self.config.get("rms_norm_eps", 1e-6)))))
        return op.multiply(op.multiply(scale, state), op.constant(self.weights.take(name, size)))

    def _linear(self, state: Any, name: str, rows: int, columns: int) -> Any:
        made = self.op.matmul(state, self.op.constant(self.weights.take(f"{name}.weight", rows, columns)), False, True)
        if f"{name}.bias" in self.weights.left:
            made = self.op.add(made, self.op.constant(self.weights.take(f"{name}.bias", rows)))
        return made

    def _heads(self, state: Any, name: str, count: int) -> Any:
        """Return queries, keys or values (texts, heads, tokens, head)."""
        made = self._linear(state, f"{name}_proj", count * self.head, self.config["hidden_size"])
        made = self.op.reshape(made, np.int64([0, 0, count, self.head]), True)
        if f"{name}_norm.weight" in self.weights.left:
            made = self._norm(made, f"{name}_norm.weight", self.head)
        return self.op.transpose(made, np.int64([0, 2, 1, 3]))

    def _turned(self, state: Any, turns: tuple[Any, Any]) -> Any:
        op, half, last, step = self.op, np.int64([self.head // 2]), np.int64([np.iinfo(np.int64).max]), np.int64([1])
        first, second = op.slice(state, np.int64([0]), half, step, np.int64([3])), op.slice(state, half, last, step, np.int64([3]))
        crossed = op.concat([op.multiply(second, np.float32(-1)), first], -1)
        return op.add(op.multiply(state, turns[0]), op.multiply(crossed, turns[1]))

    def _cached(self, new: Any, name: str) -> Any:
        """Put keys or values behind those before and keep all; return them once for each query head."""
        op, shape = self.op, [self.keys, 0, self.head]
        nothing = op.broadcast(np.float32(0), op.concat([self.batch, np.int64(shape)], 0))
        before = op.gather(op.read_value(nothing, name, np.float32, [-1, self.keys, -1, self.head]), self.inputs["beam_idx"], np.int64(0))
        whole = op.concat([before, new], 2)
        self.assigned.append(op.assign(whole, name))
        if self.heads == self.keys:
            return whole
        counts = op.concat([self.batch, np.int64([1, self.heads // self.keys, 1, 1])], 0)
        copies = op.broadcast(op.unsqueeze(whole, np.int64(2)), counts, broadcast_spec="BIDIRECTIONAL")
        return op.reshape(copies, np.int64([0, self.heads, -1, self.head]), True)
