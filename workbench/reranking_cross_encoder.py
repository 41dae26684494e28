"""Score pairs of question and passage with a cross-encoder from the store or a folder: ONNX or safetensors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import models, models_onnx, registry
from workbench.datatypes import WorkbenchError
from workbench.reranking import check_scores

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

ENCODED_AT_ONCE = 1024  # pairs: their tokens need more memory than their texts
LOGITS = "logits"


class CrossEncoderReranker:
    """Read question and passage together and score how well they fit: the raw output (logit) of the model.

    A passage is cut where the pair is longer than the model's `max_length` tokens; `truncated` counts. Pairs run one at a time, unpadded:
    a score depends on nothing but its pair, so there is no batch size to set. The weights are the folder's ONNX graph where it has one (on
    the processor), else its safetensors (on a GPU where torch finds one). Nothing heavy is loaded before the first pair is scored.
    """

    def __init__(self, argument: str, allow_download: bool = False) -> None:
        self.model = models.resolve(argument, allow_download=allow_download)
        if self.model.kind != "reranker":
            raise WorkbenchError(
                f"model {self.model.name} is no reranker but a model of kind {self.model.kind}; a reranker's config.json names a class "
                "…ForSequenceClassification"
            )
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
        scores: list[float] = []
        for at in range(0, len(pairs), ENCODED_AT_ONCE):
            scores += [self._one(self._run(encoding)) for encoding in self._encode(pairs[at : at + ENCODED_AT_ONCE])]
        return check_scores(np.array(scores, dtype=np.float32), pairs, self.fingerprint["name"])

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
    def _run(self) -> Callable[[Encoding], np.ndarray]:
        """Load the model; return what gives the logits of an encoded pair."""
        return self._onnx(self._file) if self._file else self._torch()

    def _onnx(self, file: Path) -> Callable[[Encoding], np.ndarray]:
        graph = models_onnx.Graph(self.model.name, file)
        if graph.outputs.get(LOGITS) != 2:
            raise WorkbenchError(f"model {self.model.name} has no output {LOGITS}, but {', '.join(graph.outputs)}: it is no cross-encoder")
        return lambda encoding: graph.run(encoding, LOGITS)

    def _torch(self) -> Callable[[Encoding], np.ndarray]:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        path, safely = str(self.model.path), {"local_files_only": True, "trust_remote_code": False}
        try:
            model = AutoModelForSequenceClassification.from_pretrained(path, use_safetensors=True, dtype=torch.float32, **safely)
            taken = AutoTokenizer.from_pretrained(path, **safely).model_input_names  # some models are trained without type ids
        except (OSError, ValueError) as error:
            raise WorkbenchError(f"the model {self.model.name!r} cannot be loaded: {error}") from None
        model = model.to("cuda" if torch.cuda.is_available() else "cpu").train(False)
        inputs = {name: attribute for name, attribute in models_onnx.INPUTS.items() if name in taken}

        def run(encoding: Encoding) -> np.ndarray:
            features = {name: torch.tensor([getattr(encoding, attribute)], device=model.device) for name, attribute in inputs.items()}
            with torch.inference_mode():
                return model(**features).logits[0].cpu().numpy()

        return run

    def _one(self, logits: np.ndarray) -> float:
        if logits.shape != (1,):
            raise WorkbenchError(f"model {self.model.name} gives {logits.size} scores for each pair; a reranker gives one")
        return logits[0]
