"""Embed with any OpenAI-compatible server; URL and key come from OPENAI_BASE_URL and OPENAI_API_KEY, never from settings.

Errors quote nothing of what a server sent: it may repeat the key.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from workbench import registry
from workbench.datatypes import Role, WorkbenchError
from workbench.embedding import check_options, unit_vectors

ATTEMPTS = 4
TIMEOUT_SECONDS = 60.0
LONGEST_WAIT_SECONDS = 60.0  # that a server may ask for; when it asks for more, we stop and say so


class OpenAIEmbedder:
    """Send texts in batches to the /embeddings endpoint and check every reply (LM1, LM2)."""

    def __init__(self, argument: str, *, batch_size: int = 64, query_prefix: str | None = None, passage_prefix: str | None = None) -> None:
        registry.require("openai", "openai", f"embedder 'openai:{argument}'")
        check_options(batch_size, query_prefix=query_prefix, passage_prefix=passage_prefix)
        self.model = argument
        self.batch_size = batch_size
        self.prefixes = {"query": query_prefix or "", "passage": passage_prefix or ""}
        self.base_url = _base_url()
        _check_key(os.environ.get("OPENAI_API_KEY", ""))

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {"name": f"openai:{self.model}", "version": 1, "server": self.base_url, "prefixes": self.prefixes}

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
        import stamina

        for attempt in stamina.retry_context(on=_pause, attempts=ATTEMPTS, timeout=None):
            with attempt:
                reply = self._ask(texts)
        data = getattr(reply, "data", None)
        if not isinstance(data, list) or len(data) != len(texts):
            found = f"{len(data)} embeddings" if isinstance(data, list) else "no embeddings"
            raise WorkbenchError(f"{self._server} sent {found} for {len(texts)} texts; is OPENAI_BASE_URL right?")
        by_index = {str(getattr(item, "index", None)): getattr(item, "embedding", None) for item in data}
        rows = [by_index.get(str(index)) for index in range(len(texts))]
        for row, text in zip(rows, texts, strict=True):
            if not isinstance(row, list) or not row or not all(isinstance(value, (int, float)) for value in row):
                raise WorkbenchError(f"{self._server} sent no list of numbers as the embedding of {text[:80]!r}")
        return rows

    def _ask(self, texts: list[str]) -> Any:
        """Send one request; every failure becomes a WorkbenchError here, before anything logs it."""
        import openai

        try:
            return self._client.embeddings.create(model=self.model, input=texts, encoding_format="float")
        except openai.APITimeoutError:
            raise _TransientError(f"{self._server} did not answer within {TIMEOUT_SECONDS:g} seconds, {ATTEMPTS} times") from None
        except openai.APIConnectionError:
            raise _TransientError(f"{self._server} cannot be reached ({ATTEMPTS} attempts); is OPENAI_BASE_URL right?") from None
        except openai.AuthenticationError:
            raise WorkbenchError(f"{self._server} refused the key in OPENAI_API_KEY (401)") from None
        except openai.APIStatusError as error:
            message = f"{self._server} answered {error.status_code} for model {self.model!r}"
            if error.status_code not in (408, 429) and error.status_code < 500:
                raise WorkbenchError(message) from None
            seconds = error.response.headers.get("retry-after", "")
            wait = float(seconds) if seconds.isdecimal() else None
            if wait and wait > LONGEST_WAIT_SECONDS:
                raise WorkbenchError(f"{message} and asks to wait {wait:.0f} seconds; run again then") from None
            raise _TransientError(f"{message}, {ATTEMPTS} times", wait) from None
        except (ValueError, OverflowError):  # the library lets JSONDecodeError, UnicodeDecodeError and numbers beyond float through
            raise WorkbenchError(f"{self._server} sent no valid JSON; is OPENAI_BASE_URL right?") from None

    @property
    def _server(self) -> str:
        return f"the server at {self.base_url}"

    @functools.cached_property
    def _client(self) -> Any:
        import openai

        return openai.OpenAI(base_url=self.base_url, max_retries=0, timeout=TIMEOUT_SECONDS)


class _TransientError(WorkbenchError):
    """Say that asking again may help, after `wait` seconds where the server said so (Retry-After)."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


def _pause(error: Exception) -> bool | float:
    """Tell stamina whether to ask again, or after how many seconds."""
    return isinstance(error, _TransientError) and (error.wait or True)


def _base_url() -> str:
    """Read OPENAI_BASE_URL; it goes into fingerprints and errors, so it must hold no secret, and is not quoted when it may."""
    url = (os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1").rstrip("/")
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise WorkbenchError(
            "OPENAI_BASE_URL must look like https://host:port/v1, without user name, password or query; the key goes into OPENAI_API_KEY"
        )
    return url


def _check_key(key: str) -> None:
    if not key:
        raise WorkbenchError("OPENAI_API_KEY is not set; export it (any text for a local server that asks for no key)")
    if not key.isascii() or key.split() != [key]:
        raise WorkbenchError("OPENAI_API_KEY holds a space, a line break or a letter outside ASCII; no key does, set it again")
