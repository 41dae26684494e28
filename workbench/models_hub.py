"""Take model weights from the hub: safetensors, tokenizer and configuration files only, at a recorded commit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from workbench.datatypes import WorkbenchError
from workbench.models_catalogue import MODEL_SUFFIXES
from workbench.models_folder import model_files

OTHER_ENGINES = ("onnx", "openvino")  # folders with the same model again


def build(name: str, revision: str | None, target: Path) -> dict[str, Any]:
    """Fetch a model (the newest commit when `revision` is None) into the folder `target`; return what the manifest records of it.

    The download goes through the hub client's own cache, so it resumes; no file that can hold code is asked for.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError  # of whichever HTTP client it is built on

    try:
        snapshot = Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=[f"*{suffix}" for suffix in MODEL_SUFFIXES],
                ignore_patterns=["*.onnx", *(f"{folder}/*" for folder in OTHER_ENGINES)],
            )
        )
    except (OSError, ValueError, HTTPError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise WorkbenchError(f"model {name} could not be fetched from the hub: {reason}") from error
    for relative, path in model_files(snapshot).items():  # the client's cache may hold more than was asked for now
        if relative.split("/")[0] not in OTHER_ENGINES and path.suffix != ".onnx":
            (target / relative).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target / relative)
    return {"hub": name, "revision": snapshot.name}
