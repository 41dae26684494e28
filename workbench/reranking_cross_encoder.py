"""Score pairs of question and passage with a cross-encoder from the store or a folder: ONNX or safetensors."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import models, models_onnx, registry
from workbench.datatypes import WorkbenchError
from workbench.reranking import check_scores

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

BUCKET = 16  # every pair is padded to a multiple of this, whatever it is batched with: scores are then equal bit for bit
BATCH_TOKENS = 4096  # of one batch, padding included
ENCODED_AT_ONCE = 1024  # pairs: their tokens need more memory than their texts
LOGITS = "logits"


class CrossEncoderReranker:
    """Read question and passage together and score how well they fit: the raw output (logit) of the model, in float32 arithmetic.

    A passage is cut where the pair is longer than the model's `max_length` tokens; `truncated` counts. A pair's score depends on nothing
    but the pair: ONNX graphs (the folder's, where it has one) run one pair at a time, safetensors models in batches of at most
    `batch_size` pairs that pad to one width, equal bit for bit on a processor (a GPU, taken where torch finds one, may differ in the last
    digits). Nothing heavy is loaded before the first pair is scored.
    """

    def __init__(self, argument: str, allow_download: bool = False, *, batch_size: int = 32) -> None:
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            raise WorkbenchError(f"reranker.batch_size {batch_size!r} must be a whole number of at least 1")
        self.model = models.resolve(argument, allow_download=allow_download)
        if self.model.kind != "reranker":
            raise WorkbenchError(
                f"model {self.model.name} is no reranker but a model of kind {self.model.kind}; a reranker's config.json names a class "
                "…ForSequenceClassification"
            )
        self.batch_size = batch_size
        self._file = models_onnx.find_graph(self.model.name, self.model.path)
        if self._file:
            registry.require("onnxruntime", "onnx", f"reranker 'cross-encoder:{argument}'")

    @property
    def precision(self) -> str:
        """Say what the weights are."""
        return f"{models_onnx.precision(self._file) if self._file else self.model.precision} weights"

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {
            "name": f"cross-encoder:{self.model.name}",
            "version": 1,
            "weights": self.model.fingerprint,
            "max_length": self.model.max_length,
        }

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Return one logit for each pair, float32 (len(pairs),)."""
        scores = [self._run(self._encode(pairs[at : at + ENCODED_AT_ONCE])) for at in range(0, len(pairs), ENCODED_AT_ONCE)]
        return check_scores(np.concatenate(scores) if scores else np.zeros(0, np.float32), pairs, self.fingerprint["name"])

    def truncated(self, pairs: Sequence[tuple[str, str]]) -> int:
        """Count the pairs whose passage does not fit as a whole; loads no model."""
        return sum(bool(encoding.overflowing) for encoding in self._encode(pairs))

    def _encode(self, pairs: Sequence[tuple[str, str]]) -> list[Encoding]:
        """Cut into tokens; raise WorkbenchError for a question that leaves no room for a passage."""
        if self.model.max_length:
            room = self.model.max_length - self._tokenizer.num_special_tokens_to_add(is_pair=True)
            questions = list(dict.fromkeys(question for question, _ in pairs))
            for question, encoding in zip(questions, self._measuring.encode_batch_fast(questions, add_special_tokens=False), strict=True):
                if len(encoding.ids) >= room:
                    raise WorkbenchError(
                        f"{self.model.name} reads {room} tokens of question and passage, but this question alone has {len(encoding.ids)}: "
                        f"{question[:80]!r}"
                    )
        return self._tokenizer.encode_batch_fast(list(pairs))

    @functools.cached_property
    def _measuring(self) -> Tokenizer:
        return models_onnx.load_tokenizer(self.model.name, self.model.path)

    @functools.cached_property
    def _tokenizer(self) -> Tokenizer:
        return models_onnx.load_tokenizer(self.model.name, self.model.path, self.model.max_length, "only_second")

    @functools.cached_property
    def _run(self) -> Callable[[Sequence[Encoding]], np.ndarray]:
        """Load the model; return what gives the logits of encoded pairs."""
        return self._onnx(self._file) if self._file else self._torch()

    def _onnx(self, file: Path) -> Callable[[Sequence[Encoding]], np.ndarray]:
        graph = models_onnx.Graph(self.model.name, file)
        if graph.outputs.get(LOGITS) != 2:
            raise WorkbenchError(f"model {self.model.name} has no output {LOGITS}, but {', '.join(graph.outputs)}: it is no cross-encoder")
        return lambda encodings: self._single(np.stack([graph.run(encoding, LOGITS) for encoding in encodings]))

    def _torch(self) -> Callable[[Sequence[Encoding]], np.ndarray]:
        import torch
        from transformers import AutoModelForSequenceClassification
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        try:
            model = AutoModelForSequenceClassification.from_pretrained(
                str(self.model.path), local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
            )
        except (OSError, ValueError) as error:
            raise WorkbenchError(f"the model {self.model.name!r} cannot be loaded: {error}") from None
        model = model.to("cuda" if torch.cuda.is_available() else "cpu").train(False)
        taken = inspect.signature(model.forward).parameters
        padding = {"input_ids": model.config.pad_token_id or 0}

        def run(encodings: Sequence[Encoding]) -> np.ndarray:
            logits = np.zeros((len(encodings), model.config.num_labels), np.float32)
            for width, rows in self._batches([len(encoding.ids) for encoding in encodings]):
                features = {}
                for name, attribute in models_onnx.INPUTS.items():
                    if name in taken:
                        values = np.full((len(rows), width), padding.get(name, 0), np.int64)
                        for place, row in enumerate(rows):
                            values[place, : len(encodings[row].ids)] = getattr(encodings[row], attribute)
                        features[name] = torch.from_numpy(values).to(model.device)
                with torch.inference_mode():
                    logits[rows] = model(**features).logits.float().cpu().numpy()
            return self._single(logits)

        return run

    def _batches(self, lengths: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
        """Give (padded width, row numbers) for pairs that pad to one width, within what the model reads."""
        widths = -(-np.maximum(lengths, 1) // BUCKET) * BUCKET
        widths = np.minimum(widths, self.model.max_length) if self.model.max_length else widths
        for width in np.unique(widths)[::-1].tolist():
            rows = np.flatnonzero(widths == width).tolist()
            size = max(1, min(self.batch_size, BATCH_TOKENS // width))
            for at in range(0, len(rows), size):
                yield width, rows[at : at + size]

    def _single(self, logits: np.ndarray) -> np.ndarray:
        if logits.shape[1] != 1:
            raise WorkbenchError(f"model {self.model.name} gives {logits.shape[1]} scores for each pair; a reranker gives one")
        return logits[:, 0]
