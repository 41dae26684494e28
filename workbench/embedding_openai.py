"""Embed with any OpenAI-compatible server; URL and key come from OPENAI_BASE_URL and OPENAI_API_KEY, never from settings."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from workbench import registry
from workbench.datatypes import Role, WorkbenchError
from workbench.embedding import unit_vectors

ATTEMPTS = 4
TIMEOUT_SECONDS = 60.0


class OpenAIEmbedder:
    """Send texts in batches to the /embeddings endpoint and check every reply (LM1, LM2)."""

    def __init__(self, argument: str, *, batch_size: int = 64, query_prefix: str = "", passage_prefix: str = "") -> None:
        registry.require("openai", "openai", f"embedder 'openai:{argument}'")
        self.model = argument
        self.batch_size = batch_size
        self.prefixes = {"query": query_prefix, "passage": passage_prefix}
        self.base_url = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
        if urlsplit(self.base_url).username or urlsplit(self.base_url).password:
            raise WorkbenchError("OPENAI_BASE_URL must not hold a user name or password; put the key into OPENAI_API_KEY")
        if not os.environ.get("OPENAI_API_KEY"):
            raise WorkbenchError("OPENAI_API_KEY is not set; export it (any text for a local server that asks for no key)")

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {"name": f"openai:{self.model}", "version": 1, "server": self.base_url, "prefixes": self.prefixes}

    def encode(self, texts: Sequence[str], role: Role) -> np.ndarray:
        """Return unit vectors; transient errors are retried, a reply of the wrong shape raises WorkbenchError."""
        rows: list[list[float]] = []
        for at in range(0, len(texts), self.batch_size):
            rows += self._embed([self.prefixes[role] + text for text in texts[at : at + self.batch_size]])
        if len({len(row) for row in rows}) > 1:
            raise WorkbenchError(f"openai:{self.model} returned vectors of different dimensions")
        return unit_vectors(np.array(rows, dtype=np.float32), texts, f"openai:{self.model}")

    def _embed(self, texts: list[str]) -> list[list[float]]:
        import openai
        import stamina

        transient = (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError)
        try:
            for attempt in stamina.retry_context(on=transient, attempts=ATTEMPTS, timeout=None):
                with attempt:
                    reply = self._client.embeddings.create(model=self.model, input=texts, encoding_format="float")
        except openai.AuthenticationError:
            raise WorkbenchError(f"the server at {self.base_url} refused the key in OPENAI_API_KEY (401)") from None
        except openai.APIConnectionError:
            raise WorkbenchError(f"no answer from {self.base_url} after {ATTEMPTS} attempts; is OPENAI_BASE_URL right?") from None
        except openai.APIStatusError as error:
            raise WorkbenchError(f"the server at {self.base_url} answered {error.status_code} for model {self.model!r}") from None
        except ValueError as error:  # malformed JSON surfaces as a bare JSONDecodeError
            raise WorkbenchError(f"the server at {self.base_url} sent no valid JSON: {error}") from None
        data = getattr(reply, "data", None)
        if not isinstance(data, list) or len(data) != len(texts):
            found = len(data) if isinstance(data, list) else type(reply).__name__
            raise WorkbenchError(f"the server at {self.base_url} sent {found} vectors for {len(texts)} texts")
        rows = [item.embedding for item in sorted(data, key=lambda item: item.index)]
        if not all(isinstance(row, list) and row and all(isinstance(value, (int, float)) for value in row) for row in rows):
            raise WorkbenchError(f"the server at {self.base_url} sent an embedding that is no list of numbers")
        return rows

    @functools.cached_property
    def _client(self) -> Any:
        import openai

        return openai.OpenAI(base_url=self.base_url, max_retries=0, timeout=TIMEOUT_SECONDS)
