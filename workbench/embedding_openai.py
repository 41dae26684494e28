"""Embed with any OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workbench import registry
from workbench.datatypes import Role, WorkbenchError
from workbench.embedding import check_options, unit_vectors
from workbench.endpoint import Endpoint

TIMEOUT_SECONDS = 60.0


class OpenAIEmbedder:
    """Send texts in batches to the /embeddings endpoint and check every reply (LM1, LM2)."""

    def __init__(self, argument: str, *, batch_size: int = 64, query_prefix: str | None = None, passage_prefix: str | None = None) -> None:
        registry.require("openai", "openai", f"embedder 'openai:{argument}'")
        check_options(batch_size, query_prefix=query_prefix, passage_prefix=passage_prefix)
        self.model = argument
        self.batch_size = batch_size
        self.prefixes = {"query": query_prefix or "", "passage": passage_prefix or ""}
        self._endpoint = Endpoint(argument, TIMEOUT_SECONDS)

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {"name": f"openai:{self.model}", "version": 1, "server": self._endpoint.base_url, "prefixes": self.prefixes}

    def encode(self, texts: Sequence[str], role: Role) -> np.ndarray:
        """Return unit vectors; errors that may pass are tried again, a reply of the wrong shape raises WorkbenchError."""
        if not texts:
            return np.zeros((0, 0), np.float32)
        rows: list[list[float]] = []
        for at in range(0, len(texts), self.batch_size):
            rows += self._embed([self.prefixes[role] + text for text in texts[at : at + self.batch_size]])
        dimensions = sorted({len(row) for row in rows})
        if len(dimensions) > 1:
            raise WorkbenchError(f"openai:{self.model} returned vectors of different dimensions ({', '.join(map(str, dimensions))})")
        return unit_vectors(np.array(rows, dtype=np.float32), texts, f"openai:{self.model}")

    def _embed(self, texts: list[str]) -> list[list[float]]:
        reply = self._endpoint.ask(lambda client: client.embeddings.create(model=self.model, input=texts, encoding_format="float"))
        data = getattr(reply, "data", None)
        if not isinstance(data, list) or len(data) != len(texts):
            found = f"{len(data)} embeddings" if isinstance(data, list) else "no embeddings"
            raise WorkbenchError(f"{self._endpoint.server} sent {found} for {len(texts)} texts; is OPENAI_BASE_URL right?")
        by_index = {str(getattr(item, "index", None)): getattr(item, "embedding", None) for item in data}
        rows = [by_index.get(str(index)) for index in range(len(texts))]
        for row, text in zip(rows, texts, strict=True):
            if (
                not isinstance(row, list)
                or not row
                or not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in row)
            ):
                raise WorkbenchError(f"{self._endpoint.server} sent no list of numbers as the embedding of {text[:80]!r}")
        return rows
