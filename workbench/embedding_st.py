"""Embed with sentence-transformers models from the store or a folder, so that a text's vector never depends on its neighbours."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import registry
from workbench.datatypes import Role, WorkbenchError
from workbench.embedding import check_options, unit_vectors
from workbench.embedding_local import LocalEmbedder
from workbench.models import LocalModel

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DTYPES = ("auto", "float32", "bfloat16")
BUCKET = 16  # every text is padded to a multiple of this, whatever it is batched with: results are then equal bit for bit
BATCH_TOKENS = 4096  # of one batch, padding included: more does not fit the processor's caches
CPU_FLAGS = Path("/proc/cpuinfo")


class SentenceTransformersEmbedder(LocalEmbedder):
    """Run a sentence-transformers model on texts; the prefix of the role goes before each.

    `dtype` is the arithmetic: "auto" takes bfloat16 where the processor computes in it natively (faster, cosine to float32 above 0.9999;
    benchmarks/embedding_speed.py measures both) and float32 elsewhere; set float32 to compare numbers between machines. Nothing heavy is
    loaded before the first text must be encoded. The model cuts texts longer than its `max_length` tokens; `lengths` tells. Vectors are
    equal bit for bit in any batch on a processor; a GPU, which is taken where torch finds one, may differ in the last digits.
    """

    def __init__(
        self,
        argument: str,
        allow_download: bool = False,
        *,
        batch_size: int = 64,
        dtype: str = "auto",
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
    ) -> None:
        if dtype not in DTYPES:
            raise registry.unknown("embedder.dtype", str(dtype), DTYPES)
        check_options(batch_size)
        super().__init__(argument, allow_download, query_prefix, passage_prefix)
        check_weights(self.model, argument)
        self.batch_size = batch_size
        self.dtype = native_dtype() if dtype == "auto" else dtype

    @property
    def precision(self) -> str:
        """Say what the weights and the arithmetic are."""
        return f"{self.model.precision} weights, {self.dtype} arithmetic"

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {
            "name": f"st:{self.model.name}",
            "version": 2,
            "weights": self.model.fingerprint,
            "dtype": self.dtype,
            "max_length": self.model.max_length,
            "prefixes": self.prefixes,
        }

    def encode(self, texts: Sequence[str], role: Role) -> np.ndarray:
        """Return unit vectors; texts of like length are batched."""
        if not texts:
            return np.zeros((0, 0), np.float32)
        import torch

        lengths = self.lengths(texts, role)
        model = self._loaded
        prefixed = [self.prefixes[role] + text for text in texts]
        limit = model.max_seq_length or self.model.max_length
        vectors: list[Any] = [None] * len(prefixed)
        for width, rows in self._batches(lengths, limit):
            features = model.preprocess([prefixed[row] for row in rows])
            padded = {name: _pad(tensor, width, model.tokenizer, name) for name, tensor in features.items() if torch.is_tensor(tensor)}
            with torch.inference_mode():
                batch = model({name: tensor.to(model.device) for name, tensor in padded.items()})["sentence_embedding"]
            for row, vector in zip(rows, batch.float().cpu().numpy(), strict=True):
                vectors[row] = vector
        return unit_vectors(np.stack(vectors), texts, self.fingerprint["name"])

    def _batches(self, lengths: np.ndarray, limit: int | None) -> Iterator[tuple[int, list[int]]]:
        """Give (padded width, row numbers) for texts that pad to one width."""
        cut = np.minimum(lengths, limit) if limit else lengths
        widths = -(-np.maximum(cut, 1) // BUCKET) * BUCKET  # an empty text may have no token at all
        widths = np.minimum(widths, limit) if limit else widths
        for width in np.unique(widths)[::-1]:
            rows = np.flatnonzero(widths == width).tolist()
            size = max(1, min(self.batch_size, BATCH_TOKENS // int(width)))
            for at in range(0, len(rows), size):
                yield int(width), rows[at : at + size]

    @functools.cached_property
    def _loaded(self) -> SentenceTransformer:
        return load(self.model, self.dtype)


def check_weights(model: LocalModel, argument: str) -> None:
    """Raise WorkbenchError for a model that has no safetensors."""
    if not any(model.path.glob("**/*.safetensors")):
        raise WorkbenchError(f"the model {model.name!r} has no .safetensors weights; its graph runs as onnx:{argument}")


def load(model: LocalModel, dtype: str) -> SentenceTransformer:
    """Load a model to compute in "float32" or "bfloat16", reading as many tokens as it states."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    options = {"local_files_only": True, "trust_remote_code": False, "model_kwargs": {"dtype": getattr(torch, dtype)}}
    try:
        loaded = SentenceTransformer(str(model.path), **options)
    except (OSError, ValueError) as error:
        raise WorkbenchError(f"the model {model.name!r} cannot be loaded: {error}") from None
    if model.max_length:
        loaded.max_seq_length = model.max_length
    return loaded.train(False)


def _pad(tensor: Any, width: int, tokenizer: Any, name: str) -> Any:
    """Pad the rows of a (texts, tokens) tensor to a width: ids with the padding token, everything else with 0."""
    import torch

    if tensor.ndim != 2 or tensor.shape[1] >= width:
        return tensor
    return torch.nn.functional.pad(tensor, (0, width - tensor.shape[1]), value=tokenizer.pad_token_id if name == "input_ids" else 0)


@functools.cache
def native_dtype() -> str:
    """Return "bfloat16" where the processor multiplies it natively (Linux on x86 tells by its flags), else "float32"."""
    try:
        flags = CPU_FLAGS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return "float32"
    return "bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"
