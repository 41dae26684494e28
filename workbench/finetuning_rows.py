"""Turn conversations and documents into the token rows that a generator is trained on, and rows into losses."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.datatypes import Message, WorkbenchError
from workbench.generation_hf_text import MessageTokenizer, completion_prompt, without_system

if TYPE_CHECKING:
    import torch

MICRO_TOKENS = 2048  # padded tokens that are differentiated together
MICRO_TARGETS = 512  # and tokens to predict: each has a score for every word of the vocabulary
IGNORED = -100  # torch's number for a token that is not to be learned
PROBE = "answer-probe"


@dataclass(frozen=True)
class Row:
    """Hold the tokens that are read, and those after them that are to be learned."""

    prompt: Sequence[int]
    answer: Sequence[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


class PairTokenizer(MessageTokenizer):
    """Tokenise an answer as it would stand after its prompt, with the token at which `HFGenerator` stops."""

    def row(self, messages: Sequence[Message], answer: str, ends: frozenset[int]) -> Row:
        """Return the prompt as `encode` gives it, and the answer after it.

        The answer is tokenised together with the prompt; on its own where their tokens would merge, for no prompt ends within a token.
        The answer of a base model is put on one line, as only its first line would be read.
        """
        answer = answer.strip() if self.chats else " ".join(answer.split())
        if not answer:
            raise WorkbenchError(f"the answer to {messages[-1].content[-80:]!r} is empty, so there is nothing to learn")
        prompt = self.encode(messages)
        if self.chats:
            shown = self._rendered(messages if self._reads_system else without_system(messages)) + answer
            whole = self._tokenizer(shown, add_special_tokens=False, verbose=False).input_ids
        else:
            whole = self._tokenizer(completion_prompt([*messages, Message("assistant", answer)]), verbose=False).input_ids
        if whole[: len(prompt)] != prompt:
            alone = answer if self.chats else f" {answer}"
            whole = prompt + self._tokenizer(alone, add_special_tokens=False, verbose=False).input_ids
        return Row(prompt, [*whole[len(prompt) :], self._end_of_turn(ends)])

    def windows(self, texts: Sequence[str], size: int) -> list[Row]:
        """Join texts, each ended by the token that ends a text, and cut them every `size` tokens; a single last token is dropped."""
        tokens: list[int] = []
        for text in texts:
            tokens += self._tokenizer(text, verbose=False).input_ids
            if self.end is not None and tokens and tokens[-1] != self.end:
                tokens.append(self.end)
        cut = [tokens[at : at + size] for at in range(0, len(tokens), size)]
        return [Row(part[:1], part[1:]) for part in cut if len(part) > 1]

    @functools.cache  # noqa: B019 - it lives as long as its one training
    def _end_of_turn(self, ends: frozenset[int]) -> int:
        """Return which of the tokens that end generation the chat template writes after an answer, else the one that ends a text."""
        if self.chats:
            turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": PROBE}]
            after = self._tokenizer.apply_chat_template(turns, tokenize=False).partition(PROBE)[2]
            for token in self._tokenizer(after, add_special_tokens=False).input_ids:
                if token in ends:
                    return token
        if self.end is None:
            raise WorkbenchError(f"the tokenizer of the model {self.model.name!r} names no token that ends a text")
        return self.end


def ends_of(model: Any) -> frozenset[int]:
    """Return the tokens at which a loaded model stops."""
    ends = model.generation_config.eos_token_id
    return frozenset(ends if isinstance(ends, list) else [ends]) - {None}


def micro_batches(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Give rows of like length together, the longest first, within the bounds of memory but at least one."""
    part: list[Row] = []
    targets = 0
    for row in sorted(rows, key=lambda row: (-len(row), -len(row.answer))):
        targets = max(targets, len(row.answer))
        if part and ((len(part) + 1) * len(part[0]) > MICRO_TOKENS or (len(part) + 1) * targets > MICRO_TARGETS):
            yield part
            part, targets = [], len(row.answer)
        part.append(row)
    if part:
        yield part


def collate(rows: Sequence[Row]) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
    """Return tokens padded on the left, as the generator does, their mask, and the targets of the last columns.

    Only as many columns have targets as the longest answer has tokens; what is not an answer is IGNORED there.
    """
    width, longest = max(map(len, rows)), max(len(row.answer) for row in rows)
    ids = [[0] * (width - len(row)) + [*row.prompt, *row.answer] for row in rows]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
    targets = [[IGNORED] * (longest - len(row.answer)) + [*row.answer] for row in rows]
    return ids, mask, targets


def answer_loss(model: Any, rows: Sequence[Row]) -> torch.Tensor:
    """Return the cross entropy of the answers' tokens, summed; the vocabulary is scored at their places only."""
    import torch

    ids, mask, targets = (torch.tensor(values, device=model.device) for values in collate(rows))
    places = (mask.cumsum(1) - 1).clamp(min=0)
    keep = targets.shape[1] + 1  # the token before an answer predicts its first
    logits = model(ids, attention_mask=mask, position_ids=places, use_cache=False, logits_to_keep=keep).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum")
