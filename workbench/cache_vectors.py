"""Keep the vectors of a large corpus in one file that is memory-mapped, so that neither the next run nor the index reads them row by row.

The rows of the cache stay what is computed and resumed: the file is gathered from them. It is named after all that decides it (embedder,
role, every text in its order); its sha256 stands beside it in a JSON file and is checked on read. A file that is missing, damaged or cut
short is gathered again. Files are readable by their owner only, as the cache is.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.datatypes import Role, WorkbenchError
from workbench.index_store import SUFFIX, index_folder
from workbench.storage import atomic_path, files_stats, read_json, remove_older, sha256_file, write_json

if TYPE_CHECKING:
    from workbench.cache import CacheCounts

IN_MEMORY = 32_768  # texts; the vectors of more are mapped
BLOCK = 8_192  # texts that are looked up, or encoded, and written at a time


def vector_folder(cache: Path) -> Path:
    """Return where the files of a cache lie."""
    return cache.with_name(f"{cache.name}.vectors")


def mapped(
    folder: Path, part: str, role: Role, texts: Sequence[str], encode: Callable[[Sequence[str]], np.ndarray], counts: CacheCounts
) -> np.ndarray:
    """Return the vectors of texts as a read-only map of their file: float32 (len(texts), dimension).

    `part` decides the vectors beside role and texts; `encode` gives those of a block, from the cache where it has them.
    """
    file = folder / f"{_name(part, role, texts)}.npy"
    try:
        if file.exists() and _whole(file):
            counts.hits += len(set(texts))
        else:
            counts.damaged += file.exists()
            _write(file, len(texts), (encode(texts[at : at + BLOCK]) for at in range(0, len(texts), BLOCK)))
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise WorkbenchError(f"the vectors {file} cannot be stored or read: {error}") from None


def _name(part: str, role: Role, texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for piece in (part, role, *texts):
        data = piece.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def _whole(file: Path) -> bool:
    try:
        return bool(read_json(file.with_suffix(".json")) == {"sha256": sha256_file(file)})
    except WorkbenchError:
        return False


def _write(file: Path, rows: int, blocks: Iterator[np.ndarray]) -> None:
    """Write blocks of vectors as one array, and its checksum; plain writes, since mapped pages would count as memory of this process."""
    folder = file.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    remove_older(folder.glob(".*.tmp"), math.inf)
    digest = hashlib.sha256()
    with atomic_path(file) as temporary:
        temporary.chmod(0o600)
        with temporary.open("r+b") as output:
            dimension = 0
            for block in blocks:
                if not dimension:
                    dimension = block.shape[1]
                    data = _header(rows, dimension)
                    output.write(data)
                    digest.update(data)
                if block.shape[1] != dimension:
                    raise WorkbenchError(
                        f"the embedder returned vectors of dimension {dimension}, then of {block.shape[1]}; nothing is stored"
                    )
                data = np.ascontiguousarray(block, "<f4").tobytes()
                output.write(data)
                digest.update(data)
        write_json(file.with_suffix(".json"), {"sha256": digest.hexdigest()})  # before the array is in place: no moment without it


def _header(rows: int, dimension: int) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": (rows, dimension)})
    return buffer.getvalue()


def file_stats(cache: Path) -> list[dict[str, Any]]:
    """Return how many files with vectors and stored indexes there are, and their bytes, as `Cache.stats` does; nothing for none."""
    return [*files_stats("vectors", vector_folder(cache).glob("*.npy")), *files_stats("indexes", index_folder(cache).glob(f"*{SUFFIX}"))]


def remove_files(cache: Path, before: float) -> None:
    """Remove the files with vectors and the stored indexes that were written before a time."""
    for folder in (vector_folder(cache), index_folder(cache)):
        remove_older(folder.glob("*"), before)
