"""Embed with ONNX models from the store or a folder, one text at a time, so that a text's vector never depends on its neighbours."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workbench import models, models_onnx, registry, storage
from workbench.datatypes import Role, WorkbenchError
from workbench.embedding import unit_vectors
from workbench.embedding_local import LocalEmbedder

POOLINGS = ("cls", "mean")
OLD_POOLINGS = {"cls_token": "cls", "mean_tokens": "mean"}  # of files that have one pooling_mode_… key for each
SENTENCES, TOKENS = "sentence_embedding", "last_hidden_state"  # names of outputs; the first needs no pooling
MODULES = ("Transformer", "Pooling", "Normalize")
POOLING_FILE = "1_Pooling/config.json"


class OnnxEmbedder(LocalEmbedder):
    """Run an ONNX model on texts; the prefix of the role goes before each.

    `pooling` ("cls" or "mean") makes one vector of a text's tokens; by default it is what the model's files or the catalogue state. Nothing
    heavy is loaded before the first text must be encoded. The model cuts texts longer than its `max_length` tokens; `lengths` tells.
    Vectors are equal bit for bit in any batch because each text runs alone, unpadded; so there is no batch size to set. On x86 processors
    without VNNI, int8 arithmetic may saturate: compare int8 numbers on like machines.
    """

    def __init__(
        self,
        argument: str,
        allow_download: bool = False,
        *,
        pooling: str | None = None,
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
    ) -> None:
        registry.require("onnxruntime", "onnx", f"embedder 'onnx:{argument}'")
        if pooling not in (None, *POOLINGS):
            raise registry.unknown("embedder.pooling", str(pooling), POOLINGS)
        super().__init__(argument, allow_download, query_prefix, passage_prefix)
        graph = models_onnx.find_graph(self.model.name, self.model.path)
        if graph is None:
            raise WorkbenchError(f"model {self.model.name} has no .onnx file; sentence-transformers reads its weights: st:{argument}")
        if self.model.kind != "embedder":
            raise WorkbenchError(f"model {self.model.name} is a {self.model.kind}, not an embedder")
        self.pooling = pooling or self._stated_pooling()
        self.precision = f"{models_onnx.precision(graph)} weights"
        self._file = graph

    def _stated_pooling(self) -> str:
        """Return the pooling that the model's files or the catalogue state, "" when neither does; refuse what this class cannot do."""
        folder, name = self.model.path, self.model.name
        modules = storage.read_json(folder / "modules.json") if (folder / "modules.json").is_file() else []
        for kind in [str(module.get("type")) for module in modules]:
            if kind.rpartition(".")[2] not in MODULES:
                raise WorkbenchError(f"model {name} asks for {kind} (modules.json), which its ONNX graph does not hold")
        if not (folder / POOLING_FILE).is_file():
            entry = models.catalogue().get(name)
            return entry.pooling if entry else ""
        stated = storage.read_json(folder / POOLING_FILE)
        old = [key.removeprefix("pooling_mode_") for key, used in stated.items() if key.startswith("pooling_mode_") and used is True]
        mode = stated.get("pooling_mode", OLD_POOLINGS.get(" ".join(old), old))
        if mode not in POOLINGS or stated.get("include_prompt", True) is not True:
            raise WorkbenchError(f"model {name} pools by {mode!r} ({POOLING_FILE}); known are {', '.join(POOLINGS)}, prompt included")
        return mode

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {
            "name": f"onnx:{self.model.name}",
            "version": 1,
            "weights": self.model.fingerprint,
            "pooling": self.pooling,
            "max_length": self.model.max_length,
            "prefixes": self.prefixes,
        }

    def encode(self, texts: Sequence[str], role: Role) -> np.ndarray:
        """Return unit vectors."""
        if not texts:
            return np.zeros((0, 0), np.float32)
        graph, output = self._graph
        vectors = [self._pool(graph.run(self._tokenizer.encode(self.prefixes[role] + text), output), output) for text in texts]
        return unit_vectors(np.stack(vectors), texts, self.fingerprint["name"])

    def _pool(self, values: np.ndarray, output: str) -> np.ndarray:
        if output == SENTENCES:
            return values
        if not len(values):  # a text without any token, which unit_vectors names
            return np.zeros(values.shape[1], np.float32)
        return values[0] if self.pooling == "cls" else values.mean(axis=0)

    @functools.cached_property
    def _graph(self) -> tuple[models_onnx.Graph, str]:
        """Load the graph; return it and the name of the output to read."""
        graph = models_onnx.Graph(self.model.name, self._file)
        if graph.outputs.get(SENTENCES) == 2:
            return graph, SENTENCES
        if graph.outputs.get(TOKENS) != 3:
            listed = ", ".join(graph.outputs)
            raise WorkbenchError(f"model {self.model.name} has no output {TOKENS} or {SENTENCES}, but {listed}: it is no embedder")
        if not self.pooling:
            raise WorkbenchError(f"nothing states how model {self.model.name} pools; set the option pooling to 'cls' or 'mean'")
        return graph, TOKENS
