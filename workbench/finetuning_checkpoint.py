"""Keep the state of a training on disk: parameters, both moments of AdamW, and the losses so far, checked when read."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import storage
from workbench.datatypes import WorkbenchError

if TYPE_CHECKING:
    import torch

TENSORS, RECORD = "state.safetensors", "state.json"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # torch's names


@dataclass
class Checkpoint:
    """Hold what a training must know to go on, besides the tensors."""

    step: int = 0  # done
    seconds: float = 0.0  # of training
    loss: float = 0.0  # summed over ...
    steps: int = 0  # ... so many steps since the last point
    points: list[dict[str, Any]] = field(default_factory=list)


def write_checkpoint(
    folder: Path, identity: str, parameters: Mapping[str, torch.nn.Parameter], optimiser: torch.optim.AdamW, state: Checkpoint
) -> None:
    """Write the state beside the one before, rename it to its place and remove all others."""
    from safetensors.torch import save_file

    tensors = {f"parameter.{name}": parameter.detach() for name, parameter in parameters.items()}
    for name, parameter in parameters.items():
        kept = optimiser.state.get(parameter, {})  # empty for a parameter that no loss has reached
        tensors |= {f"{moment}.{name}": kept[moment] for moment in MOMENTS if moment in kept}
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".new.", dir=folder))
    with storage.atomic_path(work / TENSORS) as path:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, path)
    record = {"identity": identity, "sha256": storage.sha256_file(work / TENSORS), **asdict(state)}
    storage.write_json(work / RECORD, record | {"checksum": storage.fingerprint(record)})
    place = folder / f"{identity[:16]}-{state.step:08d}"
    if place.exists():
        shutil.rmtree(place)
    work.rename(place)
    for other in folder.iterdir():
        if other != place:
            shutil.rmtree(other, ignore_errors=True)


def read_checkpoint(
    folder: Path,
    identity: str,
    parameters: Mapping[str, torch.nn.Parameter],
    optimiser: torch.optim.AdamW,
    say: Callable[[str], None],
) -> Checkpoint | None:
    """Put the newest state into parameters and optimiser; None, which is said, when it is of another training.

    Raise WorkbenchError when any byte of it has changed.
    """
    import torch
    from safetensors.torch import load_file

    found = sorted(path for path in folder.glob("*-*") if not path.name.startswith(".")) if folder.is_dir() else []
    places = [path for path in found if path.name.startswith(f"{identity[:16]}-")]
    if not places:
        if found:
            say("the state kept under this name is of other data, settings or package versions: training starts anew")
        return None
    newest = places[-1]
    record = storage.read_json(newest / RECORD)
    if not isinstance(record, dict) or record.pop("checksum", None) != storage.fingerprint(record) or record.pop("identity") != identity:
        raise _damaged(newest, RECORD)
    if not (newest / TENSORS).is_file() or storage.sha256_file(newest / TENSORS) != record.pop("sha256"):
        raise _damaged(newest, TENSORS)
    tensors = load_file(newest / TENSORS)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[f"parameter.{name}"])
            kept = {moment: tensors[f"{moment}.{name}"] for moment in MOMENTS if f"{moment}.{name}" in tensors}
            if kept:  # torch keeps the step on the processor
                optimiser.state[parameter] = {key: value if key == "step" else value.to(parameter.device) for key, value in kept.items()}
    return Checkpoint(**record)


def _damaged(place: Path, file: str) -> WorkbenchError:
    return WorkbenchError(f"the state of a training is damaged: {file} in {place} has changed; remove that folder to train from the start")
