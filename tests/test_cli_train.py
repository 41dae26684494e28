"""`workbench train`: a whole training by the command line, its control, and refusals."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_training import BASE, store_tiny_generator

from workbench import cli_train, models, models_trained
from workbench.finetuning import Plan
from workbench.settings import Settings

KNOBS = ("--tokenizer", "simple", "--embedder", "hash", "--chunker", "sentence", "--chunk-size", "12", "--prompt", "concise")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a model store with one tiny generator."""
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "models"))
    store_tiny_generator(window=4096)


def test_options_change_the_plan_of_the_kind():
    plan = cli_train._plan(Plan(learning_rate=3e-4), Settings(seed=7), None, None, 4)
    assert plan == Plan(learning_rate=3e-4, seed=7, batch_size=4)


def test_a_generator_is_trained_and_stored_once(run: Callable, store: None, small: Callable, own_cache: Path):
    command = ("train", "generator", "--dataset", small("en"), *KNOBS, "--base", BASE, "--rank", "2", "--answer-budget", "24")
    code, out, err = run(*command, "--json")
    assert code == 0, err
    record = json.loads(out)
    assert record["generator"] == f"hf:{record['name']}"
    assert models.resolve(record["name"]).fingerprint == record["fingerprint"]
    assert "step 0 of " in err
    code, out, err = run(*command)
    assert (code, err) == (0, "")
    assert "step 0 of " not in out  # what is stored is not trained again
    assert out.splitlines()[-1].endswith(f"use it: --generator hf:{record['name']}")
    code, out, _ = run(*command, "--shuffle", "--pretrain")
    assert code == 0
    assert len(models_trained.names()) == 3
    assert models_trained.card(out.split()[-1].removeprefix("hf:"))["data"]["shuffled"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("generator", "--name", "mine"), "'mine' is no name for a trained model; right would be trained/NAME"),
        (("generator", "--base", "sentence-transformers/all-MiniLM-L6-v2"), "model sentence-transformers/all-MiniLM-L6-v2 is not here"),
        (("generator", "--epochs", "0"), "epochs must be above 0, not 0.0"),
        (("generator", "--rank", "0"), "rank 0 and alpha 0 of the adapter must be whole numbers above 0"),
        (("generator", "--held-out", "1"), "a held-out share of 1.0 must be at least 0 and below 1"),
    ],
)
def test_wrong_use_is_one_line(run: Callable, store: None, small: Callable, own_cache: Path, arguments: tuple, message: str):
    base = () if "--base" in arguments else ("--base", BASE)
    code, _, err = run("train", *arguments, *base, "--dataset", small("en"), *KNOBS)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1
