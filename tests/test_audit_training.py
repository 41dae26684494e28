"""A model must not be asked about documents that it was trained on."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import save_tiny_model
from made_parts import SMALL

from workbench.experiment import run
from workbench.finetuning import Plan
from workbench.finetuning_runs import tune_embedder
from workbench.settings import Settings


def test_trained_models_are_asked_about_other_documents_only(
    small: Callable[[str], str], own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "models"))
    settings = Settings(**SMALL, dataset=small("en"))
    trained = tune_embedder(settings.replace(embedder="hash"), str(save_tiny_model(tmp_path / "tiny")), plan=Plan(batch_size=4))
    levels = {}
    for split, seed in (("test", 0), ("train", 0), ("all", 0), ("test", 1)):
        result = run(settings.replace(embedder=f"st:{trained.name}", split=split, seed=seed))
        levels[split, seed] = {check.id: check for check in result.audit}["trained_on_test"].level
    assert levels == {("test", 0): "ok", ("train", 0): "error", ("all", 0): "error", ("test", 1): "error"}
    assert "trained_on_test" not in {check.id for check in run(settings.replace(embedder="hash")).audit}
