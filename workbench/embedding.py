"""Turn texts into unit vectors: `hash` (control), `st:MODEL` (sentence-transformers), `openai:MODEL` (any compatible server)."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from workbench import models, registry
from workbench.datatypes import Embedder, Role, WorkbenchError
from workbench.text import words


def unit_vectors(vectors: np.ndarray, texts: Sequence[str], source: str) -> np.ndarray:
    """Return the rows as unit float32; raise WorkbenchError for a row that is not finite or zero, quoting its text (VX1, VX4)."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise WorkbenchError(f"{source} returned an array of shape {vectors.shape} for {len(texts)} texts")
    norms = np.linalg.norm(vectors, axis=1)
    bad = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if len(bad):
        kind = "a zero" if norms[bad[0]] == 0 else "a NaN or infinite"
        raise WorkbenchError(f"{source} returned {kind} vector for {len(bad)} of {len(texts)} texts, first: {texts[bad[0]][:80]!r}")
    return vectors / norms[:, None]


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


class SentenceTransformersEmbedder:
    """Run a sentence-transformers model from the model store or a local folder.

    Nothing heavy is loaded before the first text must be encoded. The model cuts texts longer than its `max_length` tokens; `lengths` tells.
    """

    def __init__(
        self,
        argument: str,
        allow_download: bool = False,
        *,
        batch_size: int = 64,
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
    ) -> None:
        self.model = models.resolve(argument, allow_download=allow_download)
        self.batch_size = batch_size
        given = {"query": query_prefix, "passage": passage_prefix}
        known = {} if None not in given.values() else models.prefixes(self.model)
        self.prefixes = {role: prefix if prefix is not None else known.get(role, "") for role, prefix in given.items()}

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {
            "name": f"st:{self.model.name}",
            "version": 1,
            "weights": self.model.fingerprint,
            "precision": self.model.precision,
            "max_length": self.model.max_length,
            "prefixes": self.prefixes,
        }

    def encode(self, texts: Sequence[str], role: Role) -> np.ndarray:
        """Return unit vectors; the prefix of the role goes before each text; batches are sorted by length."""
        prompt = self.prefixes[role]
        vectors = self._loaded.encode(
            [prompt + text for text in texts],
            batch_size=self.batch_size,
            prompt="",
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=False,
        )
        return unit_vectors(vectors, texts, self.fingerprint["name"])

    def lengths(self, texts: Sequence[str], role: Role) -> np.ndarray:
        """Return how many tokens the model would need for each text, prefix and special tokens included; loads no model."""
        encoded = self._tokenizer.encode_batch_fast([self.prefixes[role] + text for text in texts])
        return np.array([len(item.ids) for item in encoded])

    @functools.cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.model.path / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @functools.cached_property
    def _loaded(self) -> Any:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()

        model = SentenceTransformer(str(self.model.path), local_files_only=True, trust_remote_code=False)
        if self.model.max_length:
            model.max_seq_length = self.model.max_length
        return model


EMBEDDERS: dict[str, Callable[..., Embedder] | str] = {
    "hash": HashEmbedder,
    "st": SentenceTransformersEmbedder,
    "openai": "workbench.embedding_openai:OpenAIEmbedder",
}


def create_embedder(spec: str, options: Mapping[str, Any] | None = None, allow_download: bool = False) -> Embedder:
    """Build the embedder that `spec` names."""
    return registry.create("embedder", EMBEDDERS, spec, options or {}, allow_download=allow_download)
