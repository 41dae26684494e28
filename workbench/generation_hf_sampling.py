"""Draw tokens by their probability."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def seeded(seed: int | None, prompt: Sequence[int]) -> torch.Generator:
    """Return a generator of random numbers that depends on the seed and the prompt only, on nothing where the seed is None."""
    import torch

    draws = torch.Generator()
    if seed is None:
        draws.seed()
    else:
        draws.manual_seed(int.from_bytes(hashlib.sha256(repr((seed, prompt)).encode()).digest()[:8], "big"))
    return draws


def drawn(logits: torch.Tensor, draws: Sequence[torch.Generator], temperature: float, top_p: float) -> list[int]:
    """Draw a token for each row of logits (rows, vocabulary), from the likeliest that together reach `top_p`."""
    import torch

    logits = logits.cpu()
    shares, tokens = torch.softmax((logits - logits.amax(1, keepdim=True)) / temperature, 1).sort(descending=True, stable=True)
    shares[shares.cumsum(1) - shares >= top_p] = 0
    places = [int(torch.multinomial(share, 1, generator=one)) for share, one in zip(shares, draws, strict=True)]
    return [int(tokens[number, place]) for number, place in enumerate(places)]
