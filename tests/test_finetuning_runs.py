"""Whole trainings: names made of what is trained, and an embedder from data set to stored model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes import save_tiny_model
from made_parts import SMALL

from workbench import finetuning_runs, models, models_trained
from workbench.experiment_train import training_passages
from workbench.finetuning import Plan
from workbench.finetuning_runs import default_name, tune_embedder
from workbench.settings import Settings

DATA = {"name": "folder:내 문서 Q&A..v2--x", "fingerprint": "ab", "language": "ko", "shuffled": False}


def test_a_name_is_made_of_the_base_the_data_and_all_settings():
    name = default_name("google/gemma-3-270m", DATA, [1, 2])
    assert name[:-8] == "trained/gemma-3-270m-folder-q-a-v2-x-"
    assert models_trained.check_name(name) == name == default_name("google/gemma-3-270m", dict(DATA), [1, 2])
    others = [("google/gemma-3-1b", DATA, [1, 2]), ("google/gemma-3-270m", {**DATA, "fingerprint": "cd"}, [1, 2]), ("a", DATA, [1, 3])]
    assert len({name, *(default_name(*other) for other in others)}) == 4
    assert models_trained.check_name(default_name("/모델/", {"name": "문서", "shuffled": False}, 0))
    assert default_name("a", {**DATA, "shuffled": True}, 0).endswith("-shuffled")


def test_an_embedder_is_trained_from_a_data_set_and_stored_once(
    small: Callable[[str], str], own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "models"))
    base = str(save_tiny_model(tmp_path / "tiny"))
    settings = Settings(**SMALL, dataset=small("en"), embedder="hash")
    said: list[str] = []
    trained = tune_embedder(settings, base, plan=Plan(batch_size=4, learning_rate=1e-3), say=said.append)
    card = models_trained.card(trained.name)
    assert card["data"]["pairs"] == len(training_passages(settings).pairs)
    assert str(tmp_path) not in str(card)
    assert models.resolve(trained.name).kind == "embedder"
    assert any("step 0 of" in line for line in said)
    said.clear()
    again = tune_embedder(settings, base, plan=Plan(batch_size=4, learning_rate=1e-3), say=said.append)
    assert again == trained
    assert not any("step 0 of" in line for line in said)
    shuffled = tune_embedder(settings, base, plan=Plan(batch_size=4, learning_rate=1e-3), shuffled=True)
    assert shuffled.name != trained.name
    assert shuffled.name.endswith("-shuffled")
    assert models_trained.card(shuffled.name)["data"]["shuffled"] is True


def test_forgetting_is_a_difference_and_not_a_share(monkeypatch: pytest.MonkeyPatch, small: Callable[[str], str], own_cache: Path) -> None:
    """Changes that all lie between 0 and 1 are no proportion: an interval of Wilson would never reach 0."""
    settings = Settings(**SMALL, dataset=small("en"), retriever="bm25", generator="extractive", answer_budget=64)
    pairs = len(finetuning_runs.training_pairs(settings, 0.0).pairs)
    losses = {"base": np.zeros(pairs), "tuned": np.array([0.9, *[0.01] * (pairs - 1)])}
    monkeypatch.setattr(finetuning_runs, "answer_losses", lambda name, *_: losses[name])
    change = finetuning_runs.forgetting(settings, "base", "tuned")
    assert change.mean == pytest.approx(losses["tuned"].mean())
    assert change.low < 0 < change.high
