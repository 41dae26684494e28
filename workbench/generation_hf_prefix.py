"""Compute the keys and values of the tokens that many prompts begin with once, and lay them out for a batch of padded prompts.

A batch pads its prompts at the left. Of a prompt with so many blanks, the first columns are the blanks and then the prefix, so the same
columns of all rows, as many as the prefix has tokens, can come from one computation of the prefix: shifted by the blanks, its last tokens
cut off. What is cut off is computed again with the rest of the prompt. The layout stays that of a batch without a prefix: so do masks,
positions, and the windows of sliding attention, which count columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.datatypes import Message
from workbench.generation_hf_text import MessageTokenizer, RefusedError

if TYPE_CHECKING:
    import torch
    from transformers import DynamicCache

BUCKET = 64  # every prompt is padded to a multiple of this, and every prefix cut to one: other shapes are added up in another order
PROBES = ("a", "1")  # what may follow shared messages; tokens that depend on it belong to no prefix
UNSTEADY_ROPE = ("dynamic", "longrope")  # positions turn by angles that depend on the length of the whole prompt


def shared_tokens(tokenizer: MessageTokenizer, messages: tuple[Message, ...], role: str) -> tuple[int, ...]:
    """Return the tokens that prompts begin with whose first messages are these and whose next has this role; () when there are too few.

    They depend on no question and are whole buckets, so that every prompt uses the same. A prompt can still begin otherwise, where a
    tokenizer merges across the boundary: compare before use.
    """
    try:
        ways = [tokenizer.encode([*messages, Message(role, probe)]) for probe in PROBES]
    except RefusedError:
        return ()
    common = [one for one, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(*ways, strict=False))]
    return tuple(common[: len(common) // BUCKET * BUCKET])


class PrefixCache:
    """Hold the keys and values of the last prefix asked for; it is always computed alone, whatever it will be used with."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.usable = has_plain_cache(model.config)
        self._last: tuple[tuple[int, ...], list[tuple[torch.Tensor, torch.Tensor]]] = ((), [])  # replaced as one: threads may share it

    def spread(self, tokens: tuple[int, ...], blanks: Sequence[int]) -> DynamicCache:
        """Return a new cache of the first len(tokens) columns of prompts that begin with these tokens after so many blanks each.

        There are fewer blanks than tokens. The blanks hold zeros, which the attention mask has to hide.
        """
        import torch
        from transformers import DynamicCache

        known, layers = self._last
        if tokens != known:
            layers = self._computed(tokens)
            self._last = tokens, layers
        cache = DynamicCache(config=self.model.config)
        for number, layer in enumerate(layers):
            shifted = [[torch.nn.functional.pad(part[:, : len(tokens) - blank], (0, 0, blank, 0)) for blank in blanks] for part in layer]
            cache.update(torch.stack(shifted[0]), torch.stack(shifted[1]), number)  # layers with a sliding window keep its columns only
        return cache

    def _computed(self, tokens: tuple[int, ...]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return keys and values (heads, tokens, dimension) of every layer."""
        import torch
        from transformers import DynamicCache

        ids = torch.tensor([tokens], device=self.model.device)
        places = torch.arange(len(tokens), device=self.model.device)[None]
        whole = DynamicCache()  # without a configuration every layer keeps all columns, also those out of its window
        read = self.model(
            ids, attention_mask=torch.ones_like(ids), position_ids=places, past_key_values=whole, use_cache=True, logits_to_keep=1
        )
        return [(layer.keys[0], layer.values[0]) for layer in read.past_key_values.layers]


def has_plain_cache(config: Any) -> bool:
    """Tell whether the keys and values of a token depend on the tokens before it only, and every layer has its own, whole or in a window.

    Not covered, so never used with a prefix: attention in chunks or to both sides, recurrent layers, layers that share keys, and
    positions scaled by the length of the prompt.
    """
    from transformers import DynamicCache

    config = config.get_text_config(decoder=True)
    ropes = getattr(config, "rope_parameters", None) or {}
    kinds = {rope.get("rope_type") for rope in (ropes, *ropes.values()) if isinstance(rope, dict)}
    types = {type(layer).__name__ for layer in DynamicCache(config=config).layers}
    return (
        types <= {"DynamicLayer", "DynamicSlidingWindowLayer"}
        and not getattr(config, "attention_chunk_size", None)
        and not getattr(config, "num_kv_shared_layers", 0)
        and not getattr(config, "use_bidirectional_attention", False)
        and getattr(config, "is_causal", True)
        and not kinds.intersection(UNSTEADY_ROPE)
    )
