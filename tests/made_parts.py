"""Parts and settings for whole runs in tests: an embedder with prefixes that needs no model, and small sizes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from workbench.datatypes import Role
from workbench.embedding import HashEmbedder
from workbench.models import LocalModel

SMALL = {"tokenizer": "simple", "chunk_size": 16, "top_k": 3, "budgets": (16, 64)}  # for the corpora of small_corpus.py
MODEL = LocalModel("made", "embedder", Path("made"), "0", "fp32", ("en",), 32, {"query": "query: ", "passage": "passage: "}, "MIT")


class MadeModel:
    """Embed like `hash` with prefixes that make a difference, say what a local model says of itself, and count what was asked.

    Subclasses count apart when they have `calls` of their own.
    """

    model = MODEL
    weights = 1
    calls: ClassVar[list[tuple[str, Role]]] = []

    def __init__(self) -> None:
        self.prefixes = dict(MODEL.prefixes or {})

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {"name": "made", "version": 1, "weights": self.weights, "prefixes": self.prefixes}

    def encode(self, texts: Sequence[str], role: Role) -> np.ndarray:
        self.calls.extend((text, role) for text in texts)
        return HashEmbedder(dimension=512).encode([self.prefixes[role] + text for text in texts], role)

    def lengths(self, texts: Sequence[str], role: Role) -> np.ndarray:
        return np.array([len(text.split()) for text in texts])


def levels(checks: Sequence[Any]) -> dict[str, str]:
    """Return the checks of an audit that are not ok, with their levels."""
    return {check.id: check.level for check in checks if check.level != "ok"}
