"""Keep what takes long to build, a faiss index, in a file that faiss reads only after its checksum was found right (VX5).

The name of a file is the key of all that decides its content: the vectors, the kind of index with its options, the version of faiss.
It holds what customers' texts became, so its owner alone may read it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from workbench.datatypes import WorkbenchError
from workbench.storage import atomic_path, fingerprint

STORED_FROM = 50_000  # vectors; fewer are indexed in seconds
SUFFIX = ".faiss"
BLOCK = 1 << 22  # bytes
DIGEST = hashlib.sha256().digest_size  # the last bytes of a file


def stored_index(
    folder: Path | None, vectors: np.ndarray, kind: str, options: Mapping[str, Any], build: Callable[[], Any]
) -> tuple[Any, str]:
    """Return the index that `build()` returns, from its file where there is one, and "built", "loaded" or "rebuilt" (a file was damaged).

    Without a folder, and for few vectors, nothing is stored. Raise WorkbenchError where a file cannot be read or written.
    """
    if folder is None or len(vectors) < STORED_FROM:
        return build(), "built"
    import faiss

    key = fingerprint([kind, dict(options), faiss.__version__, list(vectors.shape), checksum(vectors)])
    path = folder / f"{key}{SUFFIX}"
    try:
        found = _load(path, key)
        if found is not None:
            return found, "loaded"
        damaged = path.exists()
        index = build()
        _save(path, key, index)
    except OSError as error:
        raise WorkbenchError(f"the stored index {path} cannot be used: {error}") from None
    return index, "rebuilt" if damaged else "built"


def checksum(vectors: np.ndarray) -> str:
    """Return the sha256 (hex) of a C-contiguous array's bytes, read in blocks."""
    digest = hashlib.sha256()
    rows = max(1, BLOCK // max(vectors[:1].nbytes, 1))
    for at in range(0, len(vectors), rows):
        digest.update(vectors[at : at + rows])
    return digest.hexdigest()


def index_folder(cache: Path) -> Path:
    """Return where the indexes of a cache lie."""
    return cache.with_name(f"{cache.name}.indexes")


def _load(path: Path, key: str) -> Any:
    """Return the index in a file, None where there is no file or its checksum is wrong."""
    import faiss

    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        if _digest(file, key, os.fstat(file.fileno()).st_size - DIGEST) != file.read():
            return None
        file.seek(0)
        return faiss.read_index(faiss.PyCallbackIOReader(file.read))


def _save(path: Path, key: str, index: Any) -> None:
    import faiss

    with atomic_path(path) as temporary:
        os.chmod(temporary, 0o600)
        with temporary.open("wb+") as file:
            faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))
            size = file.tell()
            file.seek(0)
            file.write(_digest(file, key, size))


def _digest(file: BinaryIO, key: str, size: int) -> bytes:
    """Return the sha256 of the key and of the next so many bytes, so that files with exchanged names are caught too."""
    digest = hashlib.sha256(key.encode())
    while size > 0:
        block = file.read(min(BLOCK, size))
        if not block:
            break
        digest.update(block)
        size -= len(block)
    return digest.digest()
