"""Write files so that a crash leaves the old or the new one; fingerprint content; find the project's folders."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import math
import numbers
import os
import secrets
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from workbench.datatypes import WorkbenchError

MAX_YAML_BYTES = 1_000_000
MAX_YAML_DEPTH = 20
DAY = 86_400  # seconds
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def home(start: Path | None = None) -> Path:
    """Return the project folder: WORKBENCH_HOME, else the nearest parent of `start` (default: here) that holds notebooks/ and params/.

    Falls back to the folder of the installed checkout, then to the current folder.
    """
    if os.environ.get("WORKBENCH_HOME"):
        return Path(os.environ["WORKBENCH_HOME"]).expanduser().resolve()
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parent.parent):
        if (folder / "notebooks").is_dir() and (folder / "params").is_dir():
            return folder
    return here


def outputs(start: Path | None = None) -> Path:
    """Return the outputs folder of the project, created when absent."""
    folder = home(start) / "outputs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cache_file() -> Path:
    """Return the path of the cache database (WORKBENCH_CACHE, else outputs/cache/cache.sqlite)."""
    if os.environ.get("WORKBENCH_CACHE"):
        return Path(os.environ["WORKBENCH_CACHE"]).expanduser().resolve()
    return outputs() / "cache" / "cache.sqlite"


def run_folder(name: str) -> Path:
    """Return where a notebook writes its results: the folder that the sweep gave it, else outputs/NAME/by-hand."""
    if os.environ.get("WORKBENCH_RUN_DIR"):
        return Path(os.environ["WORKBENCH_RUN_DIR"])
    return outputs() / name / "by-hand"


def canonical_json(value: Any) -> str:
    """Render JSON with one spelling for equal values: sorted keys, NFC text, 1.0 as 1, -0.0 as 0; NaN is refused."""
    return json.dumps(_canonical(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _canonical(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return int(value)
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, Mapping):
        canonical = {unicodedata.normalize("NFC", str(key)): _canonical(item) for key, item in value.items()}
        if len(canonical) < len(value):
            raise WorkbenchError(f"two of the keys {list(value)} have the same spelling in JSON (as text in NFC)")
        return canonical
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    return value


def fingerprint(value: Any) -> str:
    """Return the sha256 (hex) of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends well, and is removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text atomically."""
    return write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> Path:
    """Write bytes atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return path


def write_json(path: Path, value: Any) -> Path:
    """Write readable JSON atomically; NaN is refused."""
    return write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Return readable JSON; NaN is refused."""
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False) + "\n"


def write_new(path: Path, data: bytes) -> Path:
    """Write a file of a folder that nobody reads before it is put in place: on disk when this returns, without a detour."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return path


def files_stats(kind: str, files: Iterable[Path]) -> list[dict[str, Any]]:
    """Return how many files there are, their bytes and ages, as a row of the statistics of a cache; nothing where there is none."""
    found = [file.stat() for file in files]
    if not found:
        return []
    changed = [status.st_mtime for status in found]
    size = sum(status.st_size for status in found)
    return [{"kind": kind, "part": "files", "rows": len(found), "bytes": size, "oldest": min(changed), "newest": max(changed)}]


def remove_older(files: Iterable[Path], before: float) -> None:
    """Remove those of the files that were written before a time; unfinished ones (.tmp) stay a day, for they may be another process's."""
    unfinished = min(before, time.time() - DAY)
    for file in files:
        with contextlib.suppress(FileNotFoundError):  # another process finished or removed it
            if file.stat().st_mtime < (unfinished if file.suffix == ".tmp" else before):
                file.unlink()


def read_json(path: Path) -> Any:
    """Read a JSON file; raise WorkbenchError naming the file when it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WorkbenchError(f"no such file: {path}") from None
    except OSError as error:
        raise WorkbenchError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise WorkbenchError(f"{path} is not valid JSON: {error}") from None


def safe_cell(value: Any) -> str:
    """Render one CSV cell so that no spreadsheet takes text for a formula (a leading apostrophe)."""
    if value is None:
        return ""
    if isinstance(value, numbers.Integral):  # numpy's numbers too
        return str(value)
    if isinstance(value, numbers.Real):
        return "" if math.isnan(value) else repr(round(float(value), 6))
    text = str(value)
    return "'" + text if text.startswith(FORMULA_STARTS) else text


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write a CSV atomically, with BOM so that Excel reads Korean, and formula-safe text cells."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)  # its CR LF line ends make it quote cells with a lone CR, where a spreadsheet would start a new row
    writer.writerow([safe_cell(column) for column in columns])
    for row in rows:
        writer.writerow([safe_cell(row.get(column)) for column in columns])
    return write_bytes(path, buffer.getvalue().encode("utf-8-sig"))


class _StrictLoader(yaml.SafeLoader):
    """Load YAML without aliases, tags and duplicate keys; errors tell the line."""

    def compose_node(self, parent, index):  # type: ignore[no-untyped-def]
        event = self.peek_event()
        depth = self._depth = getattr(self, "_depth", 0) + 1
        if isinstance(event, yaml.events.AliasEvent):
            raise yaml.constructor.ConstructorError(None, None, "aliases (*name) are refused", event.start_mark)
        if event.tag:
            raise yaml.constructor.ConstructorError(None, None, "tags (!name) are refused", event.start_mark)
        if depth > MAX_YAML_DEPTH:
            raise yaml.constructor.ConstructorError(None, None, f"more than {MAX_YAML_DEPTH} levels", event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node, deep=False):  # type: ignore[no-untyped-def]
        try:
            return super().construct_object(node, deep=deep)
        except ValueError as error:  # 2024-13-45, or a number of 5000 digits
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None

    def construct_mapping(self, node, deep=False):  # type: ignore[no-untyped-def]
        mapping = super().construct_mapping(node, deep=deep)  # refuses lists and mappings as keys, resolves merge keys (<<)
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
            seen.add(key)
        return mapping


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML; raise WorkbenchError for aliases, tags, duplicate keys, more than 20 levels or 1 MB."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_YAML_BYTES:
        raise WorkbenchError(f"{source} is larger than {MAX_YAML_BYTES} bytes")
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two: \U escapes beyond Unicode
        raise WorkbenchError(f"{source} is not valid YAML here: {error}") from None


def read_yaml(path: Path) -> Any:
    """Read a YAML file with `parse_yaml`."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return parse_yaml(file.read(MAX_YAML_BYTES + 1), str(path))
    except FileNotFoundError:
        raise WorkbenchError(f"no such file: {path}") from None
    except OSError as error:
        raise WorkbenchError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise WorkbenchError(f"{path} is not UTF-8 text: {error}") from None
