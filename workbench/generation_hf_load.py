"""Load a causal language model of transformers from its folder, with the LoRA adapter that was trained on it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import registry, storage
from workbench.datatypes import WorkbenchError

if TYPE_CHECKING:
    import torch

    from workbench.models import LocalModel

ADAPTER_FIELDS = ("r", "lora_alpha", "lora_dropout", "target_modules", "task_type")  # others can name modules to import


def load_generator(model: LocalModel, dtype: torch.dtype, device: str) -> Any:
    """Return the model in evaluation mode; an adapter is merged into its base in float32 before both become `dtype`.

    Raise WorkbenchError when it cannot be loaded, lacks weights, or has an adapter and peft is not installed.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        loaded, found = AutoModelForCausalLM.from_pretrained(
            str(model.path),
            dtype=dtype if model.adapter is None else torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0][:300]  # transformers may list every model it knows
        raise WorkbenchError(f"the model {model.name!r} cannot be loaded: {reason}") from None
    if found["missing_keys"]:  # transformers would go on with random numbers in their place
        raise WorkbenchError(f"the model {model.name!r} lacks weights: {', '.join(sorted(found['missing_keys'])[:3])}")
    if model.adapter is not None:
        loaded = _merged(loaded, model, model.adapter).to(dtype)
    return loaded.train(False).to(device)


def _merged(loaded: Any, model: LocalModel, folder: Path) -> Any:
    registry.require("peft", "train", f"the adapter {model.name!r}")
    import peft

    stored = storage.read_json(folder / "adapter_config.json")
    config = peft.LoraConfig(**{name: stored[name] for name in ADAPTER_FIELDS}, inference_mode=True)
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # peft uses what transformers renames
            return peft.PeftModel.from_pretrained(loaded, str(folder), config=config).merge_and_unload()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise WorkbenchError(f"the adapter {model.name!r} cannot be put on its base: {str(error)[:300]}") from None
