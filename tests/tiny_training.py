"""Trainings for tests that take a second; run as a program, one stops in the middle and waits to be killed."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tiny_generator import TINY_WINDOW, save_tiny_generator

from workbench import models, storage
from workbench.datatypes import Conversation, Message
from workbench.finetuning import Plan, Point, TrainedModel, ignore, train
from workbench.finetuning_generator import train_generator

BASE = "tiny/words"
PLAN = Plan(epochs=20, batch_size=8, learning_rate=0.01, checkpoint_every=5, evaluate_every=4)
LINE_PLAN = Plan(epochs=4, batch_size=4, learning_rate=0.1, checkpoint_every=5, evaluate_every=3)
FOLLOWING = dict(zip("abcdefgh", "stuvwxyz", strict=True))


def store_tiny_generator(name: str = BASE, window: int = TINY_WINDOW, **options: object) -> str:
    """Put a tiny generator that can be taught to end its answers into the model store and return its name."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = save_tiny_generator(models.store() / name.replace("/", "--"), **options)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][1] = 0.4 * torch.randn(64, generator=torch.Generator().manual_seed(0))  # nothing else writes "<end>"
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    config = storage.read_json(folder / "config.json")
    storage.write_json(folder / "config.json", config | {"max_position_embeddings": window})
    models._write_manifest(name, None, {"made": "for a test"}, folder)
    return name


def words(first: str) -> list[tuple[Conversation, str]]:
    """Return questions of two letters, the first one given, with an answer that only the second decides."""
    return [(Conversation((Message("user", first + letter),)), f"{answer}o{answer}") for letter, answer in FOLLOWING.items()]


def train_words(name: str = "trained/words", say: Callable[[str], None] = ignore, plan: Plan = PLAN) -> TrainedModel:
    """Train an adapter on the words that start with i to l; m is held out."""
    pairs = [pair for first in "ijkl" for pair in words(first)]
    return train_generator(pairs, words("m"), BASE, name, plan, rank=8, dropout=0.1, say=say)


def train_line(
    folder: Path, say: Callable[[str], None] = ignore, plan: Plan = LINE_PLAN, **fingerprint: int
) -> tuple[tuple[Point, ...], bytes]:
    """Fit a line through 30 points, with dropout; return the points of the curve and the bytes of the weights."""
    import torch

    inputs = torch.linspace(-1, 1, 60).reshape(30, 2)
    outputs = inputs @ torch.tensor([[3.0], [-2.0]])
    weights = torch.nn.Parameter(torch.zeros(2, 1))

    def losses(rows: Sequence[int]) -> list[torch.Tensor]:
        found = torch.nn.functional.dropout(inputs[rows], 0.2) @ weights
        return [torch.nn.functional.mse_loss(found, outputs[rows])]

    def held_out() -> float:
        return torch.nn.functional.mse_loss(inputs @ weights, outputs).item()

    points = train(plan, 30, {"weights": weights}, losses, held_out, folder, fingerprint, say)
    return points, weights.detach().numpy().tobytes()


def stop(text: str) -> None:
    """Wait for the end once step 12 is done (the last state on disk is that of step 10)."""
    if text.startswith("step 12 "):
        print("waiting", flush=True)
        time.sleep(600)


def kill_in_the_middle(*arguments: str) -> None:
    """Start a training of this file in a process of its own, wait until it says that it waits, and kill it."""
    child = subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "waiting\n"
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert child.returncode == -9


if __name__ == "__main__":
    if sys.argv[1] == "line":
        train_line(Path(sys.argv[2]), stop)
    else:
        train_words(say=stop, plan=replace(PLAN, epochs=int(sys.argv[2])))
