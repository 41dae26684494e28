"""Turn texts into unit vectors: `hash` (control), `st:MODEL` (sentence-transformers), `openvino:`, `onnx:`, `openai:MODEL` (any server)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from workbench import registry
from workbench.datatypes import Embedder, Role, WorkbenchError
from workbench.models import LocalModel
from workbench.text import words

SMALLEST_NORM = 1e-12  # below it float32 squares lose their digits, and the row would not be unit


def unit_vectors(vectors: np.ndarray, texts: Sequence[str], source: str) -> np.ndarray:
    """Return the rows as unit float32; raise WorkbenchError for a row that is not finite or zero, quoting its text (VX1, VX4)."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise WorkbenchError(f"{source} returned an array of shape {vectors.shape} for {len(texts)} texts")
    norms = np.linalg.norm(vectors, axis=1)
    bad = np.flatnonzero(~np.isfinite(norms) | (norms < SMALLEST_NORM))
    if len(bad):
        kind = "a zero" if norms[bad[0]] < SMALLEST_NORM else "a NaN or infinite"
        raise WorkbenchError(f"{source} returned {kind} vector for {len(bad)} of {len(texts)} texts, first: {texts[bad[0]][:80]!r}")
    return vectors / norms[:, None]


def check_options(batch_size: int, **prefixes: str | None) -> None:
    """Raise WorkbenchError for a batch size that is no whole number above 0, or a prefix that is no text."""
    if not isinstance(batch_size, int) or batch_size < 1:
        raise WorkbenchError(f"embedder.batch_size {batch_size!r} must be a whole number of at least 1")
    for name, prefix in prefixes.items():
        if prefix is not None and not isinstance(prefix, str):
            raise WorkbenchError(f"embedder.{name} {prefix!r} must be text")


class HashEmbedder:
    """Hash words and character trigrams into `dimension` buckets: a control without any learning, that real models must beat."""

    def __init__(self, *, dimension: int = 256) -> None:
        if not isinstance(dimension, int) or dimension < 8:
            raise WorkbenchError(f"hash dimension {dimension!r} must be a whole number of at least 8")
        self.dimension = dimension

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {"name": "hash", "version": 1, "dimension": self.dimension}

    def encode(self, texts: Sequence[str], role: Role) -> np.ndarray:  # noqa: ARG002 - a control has no roles
        """Return signed bucket counts, normalised; the role makes no difference."""
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            features = words(text)
            features += [word[at : at + 3] for word in features for at in range(len(word) - 2)]
            for feature in features or [text or " "]:
                number = int.from_bytes(hashlib.blake2b(feature.encode("utf-8", "replace"), digest_size=8).digest(), "little")
                vectors[row, number % self.dimension] += 1 if number >> 63 else -1
            if not vectors[row].any():  # features that cancel out
                vectors[row, 0] = 1
        return unit_vectors(vectors, texts, "hash")


EMBEDDERS: dict[str, Callable[..., Embedder] | str] = {
    "hash": HashEmbedder,
    "st": "workbench.embedding_st:SentenceTransformersEmbedder",
    "openvino": "workbench.embedding_openvino:OpenVinoEmbedder",
    "onnx": "workbench.embedding_onnx:OnnxEmbedder",
    "openai": "workbench.embedding_openai:OpenAIEmbedder",
}


def create_embedder(spec: str, options: Mapping[str, Any] | None = None, allow_download: bool = False) -> Embedder:
    """Build the embedder that `spec` names."""
    return registry.create("embedder", EMBEDDERS, spec, options or {}, allow_download=allow_download)


def knows_language(spec: str, language: str) -> bool:
    """Tell whether nothing states that the model of an embedder knows other languages only; loads no weights."""
    model = getattr(create_embedder(spec), "model", None)
    return not isinstance(model, LocalModel) or model.knows(language)
