"""Train parameters by AdamW so that a killed run resumes to the same bits: the loop that generators and embedders share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import models, storage
from workbench.datatypes import WorkbenchError
from workbench.embedding_st import native_dtype
from workbench.finetuning_checkpoint import Checkpoint, read_checkpoint, write_checkpoint

if TYPE_CHECKING:
    import torch

    from workbench.models import LocalModel

Say = Callable[[str], None]
QUARTERS = 4


def ignore(text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Plan:
    """Say how long and how fast to train; a step is one update by one batch."""

    epochs: float = 1
    batch_size: int = 8
    learning_rate: float = 5e-4  # at its highest, after the warm-up
    warmup: float = 0.1  # share of the steps
    weight_decay: float = 0.0
    max_norm: float = 1.0  # a longer gradient is cut to this length
    seed: int = 0
    checkpoint_every: int = 20  # steps
    evaluate_every: int = 0  # steps; 0 means each quarter. Always at the start and the end

    def __post_init__(self) -> None:
        whole = {"batch_size": 1, "seed": 0, "checkpoint_every": 1, "evaluate_every": 0}
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int if name in whole else (int, float)) or not math.isfinite(value):
                raise WorkbenchError(f"{name} must be a {'whole ' if name in whole else ''}number, not {value!r}")
            if value < whole.get(name, 0):
                raise WorkbenchError(f"{name} must be at least {whole.get(name, 0)}, not {value!r}")
            if name in ("epochs", "learning_rate", "max_norm") and value == 0:
                raise WorkbenchError(f"{name} must be above 0, not {value!r}")
        if self.warmup > 1:
            raise WorkbenchError(f"warmup is a share of the steps from 0 to 1, not {self.warmup!r}")


@dataclass(frozen=True)
class Point:
    """Hold how well the model did after so many steps."""

    step: int
    epoch: float
    train_loss: float | None  # mean of the steps since the last point; None at the start
    held_out_loss: float | None  # None without held-out data
    seconds: float  # of training so far, evaluation and checkpoints not counted, over all resumes


@dataclass(frozen=True)
class TrainedModel:
    """Hold a stored model and how it was trained."""

    name: str  # trained/NAME
    model: LocalModel
    points: tuple[Point, ...]
    seconds: float  # of training
    tokens: int  # read in training, padding not counted


def train(
    plan: Plan,
    size: int,
    parameters: Mapping[str, torch.nn.Parameter],
    losses: Callable[[Sequence[int]], Iterable[torch.Tensor]],
    held_out: Callable[[], float] | None,
    folder: Path,
    fingerprint: Mapping[str, Any],
    say: Say = ignore,
) -> tuple[Point, ...]:
    """Train `parameters` (float32, in place) on the rows 0 to size - 1 and return the losses on the way.

    `losses` gets the row numbers of a batch and gives its loss in one or more scalar shares that add up to it: each share is
    differentiated before the next is asked for, so that only one micro-batch is in memory (write it as a generator, or return a list of
    one). `held_out` returns the loss on data that is never trained on, in evaluation mode; it runs without gradients. Both run inside
    `arithmetic`. The model is the caller's, who also sets its training mode inside `losses`.

    AdamW; the learning rate rises over the warm-up and falls to 0, both linearly; each epoch takes the rows in an order that depends on
    the seed and the epoch, and each step draws from its own seed (dropout, negatives), so that resuming changes no draw. State is kept in
    `folder` (safetensors and JSON); the same call after a kill goes on from there, to the same bits on the same machine and number of
    threads, and after the end it trains nothing. State of another fingerprint (plan, size and parameter shapes are added here) is ignored,
    which is said. The caller removes the folder once the result is stored.
    Raise WorkbenchError for damaged state, and for a loss or gradient that is not finite, naming the step.
    """
    import torch

    if size < 1 or not parameters:
        raise WorkbenchError(f"nothing to train: {size} rows, {len(parameters)} parameters")
    shapes = {name: list(parameter.shape) for name, parameter in parameters.items()}
    identity = storage.fingerprint({**fingerprint, "plan": asdict(plan), "size": size, "parameters": shapes})
    device = next(iter(parameters.values())).device
    optimiser = torch.optim.AdamW(parameters.values(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    state = read_checkpoint(folder, identity, parameters, optimiser, say) or Checkpoint()
    points = [Point(**point) for point in state.points]
    steps, per_epoch, wanted = count_steps(plan, size), -(-size // plan.batch_size), set(evaluation_steps(plan, size))
    if state.step:
        say(f"going on after step {state.step} of {steps}")

    def evaluate() -> None:
        if held_out is not None:
            with torch.no_grad(), arithmetic(device):
                loss = _finite(held_out(), "the held-out loss", state.step)
        mean = state.loss / state.steps if state.steps else None
        points.append(Point(state.step, state.step / per_epoch, mean, None if held_out is None else loss, state.seconds))
        state.loss, state.steps, state.points = 0.0, 0, [asdict(point) for point in points]
        say(_describe(points[-1], steps))

    with torch.random.fork_rng():
        if not points:
            evaluate()
        while state.step < steps:
            start = time.perf_counter()
            torch.manual_seed(int(np.random.SeedSequence([plan.seed, state.step]).generate_state(1, np.uint64)[0]))
            loss = _step(plan, batch(plan, size, state.step), parameters, losses, device, state.step + 1)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(plan, steps, state.step)
            optimiser.step()
            state.step, state.loss, state.steps = state.step + 1, state.loss + loss, state.steps + 1
            state.seconds += time.perf_counter() - start
            if state.step in wanted:
                evaluate()
            if state.step == steps or state.step % plan.checkpoint_every == 0:
                write_checkpoint(folder, identity, parameters, optimiser, state)
    return tuple(points)


def _step(
    plan: Plan,
    rows: Sequence[int],
    parameters: Mapping[str, torch.nn.Parameter],
    losses: Callable[[Sequence[int]], Iterable[torch.Tensor]],
    device: torch.device,
    number: int,
) -> float:
    """Compute the gradients of one batch, cut to their longest length, and return its loss."""
    import torch

    for parameter in parameters.values():
        parameter.grad = None
    total, shares = 0.0, iter(losses(rows))
    while True:
        with arithmetic(device):
            share = next(shares, None)
        if share is None:
            break
        total += _finite(share.item(), "the loss", number)
        share.backward()
    norm = torch.nn.utils.clip_grad_norm_(parameters.values(), plan.max_norm)
    _finite(norm.item(), "the gradient", number)
    return total


def _finite(value: float, what: str, step: int) -> float:
    if not math.isfinite(value):
        raise WorkbenchError(f"{what} is {value} at step {step}; take a lower learning rate")
    return value


def _describe(point: Point, steps: int) -> str:
    losses = (("training", point.train_loss), ("held-out", point.held_out_loss))
    known = "".join(f", {name} loss {loss:.4f}" for name, loss in losses if loss is not None)
    return f"step {point.step} of {steps}{known}, {point.seconds:.0f} s"


def count_steps(plan: Plan, size: int) -> int:
    """Count the steps of a whole training; the last batch of an epoch may be smaller."""
    return max(1, round(plan.epochs * -(-size // plan.batch_size)))


def evaluation_steps(plan: Plan, size: int) -> list[int]:
    """List the steps after which there is a point: the start, the end, and each quarter or every so many."""
    steps = count_steps(plan, size)
    between = range(0, steps, plan.evaluate_every) if plan.evaluate_every else [round(steps * part / QUARTERS) for part in range(QUARTERS)]
    return sorted({0, steps, *between})


def batch(plan: Plan, size: int, step: int) -> list[int]:
    """Return the row numbers of a step (counted from 0)."""
    epoch, place = divmod(step, -(-size // plan.batch_size))
    order = np.random.default_rng([plan.seed, epoch]).permutation(size)
    return order[place * plan.batch_size : (place + 1) * plan.batch_size].tolist()


def learning_rate(plan: Plan, steps: int, step: int) -> float:
    """Return the rate of a step (counted from 0): the highest one at the end of the warm-up, almost 0 at the last step."""
    rising = round(plan.warmup * steps)
    share = (step + 1) / rising if step < rising else (steps - step) / (steps - rising)
    return plan.learning_rate * share


def training_device() -> str:
    """Return where to put a model that is to be trained: a GPU where torch finds one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def arithmetic(device: torch.device) -> AbstractContextManager[Any]:
    """Compute in bfloat16 where the device does so natively, as generators do, else in float32; weights and their changes are float32."""
    import torch

    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=computes_in(device.type) == "bfloat16")


def computes_in(device: str) -> str:
    """Name the number format of the arithmetic: part of the fingerprint of what was trained."""
    return "bfloat16" if device == "cuda" else native_dtype()


def training_folder(name: str) -> Path:
    """Return where the state of the training of trained/NAME is kept until its result is stored."""
    return models.store() / ".training" / name.replace("/", "--")


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of packages and the arithmetic: part of the fingerprint of what they trained."""
    return {package: version(package) for package in packages} | {"arithmetic": computes_in(training_device())}
