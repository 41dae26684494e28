"""Embed with sentence-transformers models that OpenVINO runs, each text alone, so that its vector never depends on its neighbours."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import embedding_st, models_openvino, registry, storage
from workbench.datatypes import Role, WorkbenchError
from workbench.embedding import unit_vectors
from workbench.embedding_local import LocalEmbedder

if TYPE_CHECKING:
    import openvino

PRECISIONS = ("auto", "bfloat16", "float32", "int8")
ARITHMETIC = {"int8": "f32", "bfloat16": "bf16", "float32": "f32"}  # of what is not int8
RECIPE = 1  # of _build
PACKAGES = {"float32": ("openvino",), "int8": ("openvino", "nncf")}  # that make a graph
ENCODED_AT_ONCE = 32  # texts
LANGUAGES = ("en", "ko")  # of the samples that int8 is calibrated on


class OpenVinoEmbedder(LocalEmbedder):
    """Run a sentence-transformers model on texts through OpenVINO; the prefix of the role goes before each.

    `precision` is the arithmetic: "auto" takes bfloat16 where the processor computes in it natively and float32 elsewhere; "int8" must be
    asked for, as it may cost quality. Development numbers of benchmarks/embedding_speed.py on two cores, against
    SentenceTransformer.encode with its defaults: MiniLM on English abstracts is 2.9 times as fast in bfloat16 and 4.2 times in int8,
    nDCG@10 is the same; multilingual-e5-small on Korean paragraphs 3.0 and 4.1 times, nDCG@10 99.8 % and 98.4 %. On x86 without VNNI,
    int8 may saturate.

    The first use converts the model, which needs torch, and keeps the graph in the store; later ones load no torch. For int8 it also
    calibrates fixed scales on parts of the packaged demo documents. The model cuts texts longer than its `max_length` tokens; `lengths`
    tells. Vectors are equal bit for bit in any batch and on any number of cores.
    """

    def __init__(
        self,
        argument: str,
        allow_download: bool = False,
        *,
        precision: str = "auto",
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
    ) -> None:
        for package in PACKAGES["int8" if precision == "int8" else "float32"]:
            registry.require(package, "fast", f"embedder 'openvino:{argument}'")
        if precision not in PRECISIONS:
            raise registry.unknown("embedder.precision", str(precision), PRECISIONS)
        if precision == "bfloat16" and embedding_st.native_dtype() != "bfloat16":
            raise WorkbenchError("embedder.precision 'bfloat16' needs a processor that computes in it; this one has 'int8' and 'float32'")
        super().__init__(argument, allow_download, query_prefix, passage_prefix)
        embedding_st.check_weights(self.model, argument)
        self._precision = embedding_st.native_dtype() if precision == "auto" else precision

    @property
    def precision(self) -> str:
        """Say what the weights and the arithmetic are."""
        return f"{self.model.precision} weights, {self._precision} arithmetic"

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {
            "name": f"openvino:{self.model.name}",
            "version": 1,
            "weights": self.model.fingerprint,
            "precision": self._precision,
            "graph": self._recipe,
            "max_length": self.model.max_length,
            "prefixes": self.prefixes,
        }

    @functools.cached_property
    def _recipe(self) -> dict[str, Any]:
        """Tell all but the weights that decides the graph; bfloat16 runs that of float32."""
        quantised = self._precision == "int8"
        packages = models_openvino.versions(PACKAGES["int8" if quantised else "float32"])
        return {
            "version": RECIPE,
            "packages": packages,
            "samples": storage.fingerprint([self.model.max_length, *self._samples()]) if quantised else None,
        }

    def _samples(self) -> list[str]:
        """Return what int8 is calibrated on: texts in the languages that the model knows, with the prefixes of both roles in turns."""
        texts = models_openvino.samples([language for language in LANGUAGES if self.model.knows(language)] or LANGUAGES)
        prefixes = tuple((self.model.prefixes or {}).values()) or ("",)
        return [prefixes[number % len(prefixes)] + text for number, text in enumerate(texts)]

    def encode(self, texts: Sequence[str], role: Role) -> np.ndarray:
        """Return unit vectors."""
        if not texts:
            return np.zeros((0, 0), np.float32)
        vectors = self._graph.run(self._tokens([self.prefixes[role] + text for text in texts]))
        return unit_vectors(np.stack([vectors[row] for row in range(len(texts))]), texts, self.fingerprint["name"])

    def _tokens(self, texts: Sequence[str]) -> Iterator[tuple[int, list[int]]]:
        """Give the number and tokens of each text, long ones first: no core is left with a long one at the end."""
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        for at in range(0, len(order), ENCODED_AT_ONCE):
            rows = order[at : at + ENCODED_AT_ONCE]
            encodings = self._tokenizer.encode_batch_fast([texts[row] for row in rows])
            yield from ((row, encoding.ids) for row, encoding in zip(rows, encodings, strict=True))

    @functools.cached_property
    def _graph(self) -> models_openvino.Graph:
        identity = {"weights": self.model.fingerprint, **self._recipe}
        path = models_openvino.stored_graph(self.model.name, identity, self._build)
        return models_openvino.Graph(self.model.name, path, ARITHMETIC[self._precision], self.model.max_length)

    def _build(self) -> openvino.Model:
        """Convert the model; calibrate and quantise it for int8."""
        import torch

        class Vectors(torch.nn.ModuleList):
            """Give the vectors of texts by their tokens, padded at the end."""

            def forward(self, tokens: torch.Tensor) -> torch.Tensor:
                mask = tokens != models_openvino.PADDING
                features = {"input_ids": torch.where(mask, tokens, padding), "attention_mask": mask.to(torch.int64)}
                return self[0](features)["sentence_embedding"]

        model = embedding_st.load(self.model, "float32").cpu()
        padding = model.tokenizer.pad_token_id or 0
        graph = models_openvino.convert(Vectors([model]), {"tokens": torch.ones((2, 8), dtype=torch.int64)})
        if self._precision != "int8":
            return graph
        encodings = self._tokenizer.encode_batch_fast(self._samples())
        return models_openvino.quantise(graph, [{"tokens": np.array([encoding.ids], np.int64)} for encoding in encodings])
