"""Hold what embedders of models of the store or a folder share: the prefixes of roles, and how many tokens a text needs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench import models, models_onnx
from workbench.datatypes import Role
from workbench.embedding import check_options

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class LocalEmbedder:
    """Find a model and the texts that go before queries and passages: those that are given, else what the catalogue or the model states."""

    def __init__(self, argument: str, allow_download: bool, query_prefix: str | None, passage_prefix: str | None) -> None:
        check_options(1, query_prefix=query_prefix, passage_prefix=passage_prefix)
        self.model = models.resolve(argument, allow_download=allow_download)
        given = {"query": query_prefix, "passage": passage_prefix}
        known = {} if None not in given.values() else models.prefixes(self.model)
        self.prefixes = {role: prefix if prefix is not None else known.get(role, "") for role, prefix in given.items()}

    def lengths(self, texts: Sequence[str], role: Role) -> np.ndarray:
        """Return how many tokens the model would need for each text, prefix and special tokens included; loads no model."""
        encoded = self._measuring.encode_batch_fast([self.prefixes[role] + text for text in texts])
        return np.array([len(item.ids) for item in encoded], dtype=np.int64)

    @functools.cached_property
    def _measuring(self) -> Tokenizer:
        return models_onnx.load_tokenizer(self.model.name, self.model.path)

    @functools.cached_property
    def _tokenizer(self) -> Tokenizer:
        """Cut texts to what the model reads."""
        return models_onnx.load_tokenizer(self.model.name, self.model.path, self.model.max_length)
