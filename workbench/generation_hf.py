"""Generate with transformers models from the store or a folder, so that an answer never depends on what else is in its batch."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from workbench import models, registry
from workbench.datatypes import Completion, Conversation, WorkbenchError
from workbench.embedding_st import DTYPES, native_dtype
from workbench.generation import STOPPED, PromptSize, check_number, never
from workbench.generation_hf_load import load_generator
from workbench.generation_hf_prefix import BUCKET, PrefixCache, shared_tokens
from workbench.generation_hf_sampling import drawn, seeded
from workbench.generation_hf_stop import StoppedError, stoppable
from workbench.generation_hf_text import MessageTokenizer, RefusedError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda")
EXAMPLE = "HuggingFaceTB/SmolLM2-135M-Instruct"
ROWS = 4  # a batch is padded to a multiple of so many rows, repeating the last, as prompts are to buckets of tokens


@dataclass
class _Row:
    """Hold one prompt in tokens and what was written after it; `finish` is "stop" or "length" once nothing more will be.

    `prefix` holds the first tokens of the prompt when they are computed once for many.
    """

    prompt: list[int]
    prefix: tuple[int, ...] = ()
    draws: torch.Generator | None = None
    written: list[int] = field(default_factory=list)
    finish: str = ""


class HFGenerator:
    """Run a causal language model of transformers on conversations.

    A model with a chat template gets the messages through it; one without (a base model) gets their contents as one text to continue, an
    assistant's after the cue it answers ("Answer: 5 days"), and its answer ends with the first line. `max_new_tokens` caps every answer.
    Temperature 0 takes the likeliest token. Above it, a token is drawn from the likeliest that together reach `top_p`; with a seed, the
    draws depend on it and the prompt only. `batch_tokens` bounds the padded tokens of a batch, prompt and answer together.

    `dtype` is the arithmetic, as for embedders ("auto": bfloat16 where the processor has it, else float32). On a processor (measured on one
    x86) logits are equal bit for bit alone and in any batch in bfloat16, where another padding changed 4 of 24 answers of gemma-3-270m, and
    in float32 on one thread; in float32 on several threads they differ by about 1e-6, so that only a tie could change an answer. Between
    dtypes, numbers of threads and machines answers do differ now and then, and on a GPU, which is taken where torch finds one, in any
    batch. What the first messages of all conversations share (`Conversation.shared`) is computed once, from 64 tokens on; whether a
    prompt uses that depends on its conversation alone. Nothing heavy is loaded before the first prompt must be counted or answered.
    """

    def __init__(
        self,
        argument: str,
        allow_download: bool = False,
        *,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        batch_tokens: int = 8192,
        device: str = "auto",
        dtype: str = "auto",
    ) -> None:
        check_number("max_new_tokens", max_new_tokens, 1, whole=True)
        check_number("temperature", temperature, 0)
        check_number("top_p", top_p, 1e-6, 1)
        check_number("seed", 0 if seed is None else seed, 0, whole=True)
        check_number("batch_tokens", batch_tokens, 1, whole=True)
        if device not in DEVICES:
            raise registry.unknown("generator.device", str(device), DEVICES)
        if dtype not in DTYPES:
            raise registry.unknown("generator.dtype", str(dtype), DTYPES)
        self.model = models.resolve(argument, allow_download=allow_download)
        if self.model.kind != "generator":
            raise WorkbenchError(f"the model {self.model.name!r} writes no text; take a causal language model, such as {EXAMPLE}")
        self._tokenizer = MessageTokenizer(self.model)
        self._shared_tokens = functools.lru_cache(maxsize=64)(functools.partial(shared_tokens, self._tokenizer))
        self.max_new_tokens = max_new_tokens
        self.temperature = float(temperature)
        self.top_p = float(top_p)
        self.seed = seed
        self.batch_tokens = batch_tokens
        self.device = device
        self.dtype = native_dtype() if dtype == "auto" else dtype

    @property
    def precision(self) -> str:
        """Say what the weights and the arithmetic are."""
        return f"{self.model.precision} weights, {self.dtype} arithmetic"

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        sampling = {"temperature": self.temperature, "top_p": self.top_p, "seed": self.seed} if self.temperature else {}
        return {
            "name": f"hf:{self.model.name}",
            "version": 2,
            "weights": self.model.fingerprint,  # and tokenizer, chat template and generation settings
            "dtype": self.dtype,
            "max_new_tokens": self.max_new_tokens,
            **sampling,
            "sampled": bool(self.temperature) and self.seed is None,
        }

    def generate(self, conversations: Sequence[Conversation], done: Callable[[int, Completion], None] | None = None) -> list[Completion]:
        """Return a completion for each conversation, an error for one that is too long or that the chat template refuses.

        `done` gets the number and the completion of each that was written, batch by batch.
        """
        read = [self._read(conversation) for conversation in conversations]
        completions = [Completion("", "error", error=error) for _, error in read]
        rows = {
            number: self._row(tokens, self._prefix(conversations[number], tokens))
            for number, (tokens, error) in enumerate(read)
            if not error
        }
        for numbers in self._batches(rows):
            seconds = self._write([rows[number] for number in numbers]) / len(numbers)
            for number in numbers:
                completions[number] = self._completion(rows[number], seconds)
                if done:
                    done(number, completions[number])
        return completions

    def stream(self, conversation: Conversation, say: Callable[[str], None], stop: Callable[[], bool] = never) -> Completion:
        """Return the completion that `generate` returns, and say its text in pieces of whole characters, until `stop()` is true.

        Only what later tokens change differs from the text: bytes that turn out to form no character, letters that compose across tokens.
        """
        tokens, error = self._read(conversation)
        if error:
            return Completion("", "error", error=error)
        row, said = self._row(tokens, self._prefix(conversation, tokens)), 0

        def tell() -> None:
            nonlocal said
            text = self._text(row)
            if len(text) > said:
                say(text[said:])
                said = len(text)

        start = time.perf_counter()
        try:
            with stoppable(self._loaded, stop):
                return self._completion(row, self._write([row], tell))
        except StoppedError:
            row.finish = "stopped"
            return replace(self._completion(row, time.perf_counter() - start), error=STOPPED)

    def overflows(self, conversations: Sequence[Conversation]) -> list[int]:
        """Return how many tokens too long each prompt with its longest answer is for the window; loads the tokenizer only."""
        return [self._excess(self._read(conversation)[0]) for conversation in conversations]

    def size(self, conversation: Conversation) -> PromptSize:
        """Return the tokens of a prompt; loads the tokenizer only. Raise WorkbenchError where the chat template refuses the messages."""
        messages = tuple(self._tokenizer.count(message.content) for message in conversation.messages)
        text, tokens = self._tokenizer.prompt(conversation.messages)
        return PromptSize(messages, len(tokens), self.max_new_tokens, self.model.max_length, text)

    def _read(self, conversation: Conversation) -> tuple[list[int], str]:
        """Return the tokens of a prompt, and why it cannot be answered, "" when it can."""
        try:
            tokens = self._tokenizer.encode(conversation.messages)
        except RefusedError as error:
            return [], str(error)
        if excess := self._excess(tokens):
            room = f"the window of {self.model.max_length} with {self.max_new_tokens} for the answer (generator.max_new_tokens)"
            return tokens, f"the prompt of {len(tokens)} tokens is {excess} too long for {room}; shorten the context"
        return tokens, "" if tokens else "the prompt is empty"

    def _excess(self, tokens: Sequence[int]) -> int:
        window = self.model.max_length
        return max(0, len(tokens) + self.max_new_tokens - window) if window else 0

    def _row(self, prompt: list[int], prefix: tuple[int, ...] = ()) -> _Row:
        return _Row(prompt, prefix, seeded(self.seed, prompt) if self.temperature else None)

    def _prefix(self, conversation: Conversation, prompt: list[int]) -> tuple[int, ...]:
        """Return the tokens of the shared messages; () when they are few, the prompt begins otherwise or the model cannot reuse them."""
        shared = min(conversation.shared, len(conversation.messages) - 1)
        if shared < 1:
            return ()
        prefix = self._shared_tokens(conversation.messages[:shared], conversation.messages[shared].role)
        fits = prefix == tuple(prompt[: len(prefix)]) and len(prefix) < _width(prompt)
        return prefix if prefix and fits and self._prefixes.usable else ()

    def _batches(self, rows: Mapping[int, _Row]) -> Iterator[list[int]]:
        """Give the numbers of prompts that have one prefix and pad to one width, the widest first."""
        alike: dict[tuple[tuple[int, ...], int], list[int]] = {}
        for number, row in rows.items():
            alike.setdefault((row.prefix, _width(row.prompt)), []).append(number)
        for (_, width), numbers in sorted(alike.items(), reverse=True):
            size = max(1, self.batch_tokens // (width + self.max_new_tokens))
            for at in range(0, len(numbers), size):
                yield numbers[at : at + size]

    def _write(self, rows: Sequence[_Row], tell: Callable[[], None] = lambda: None) -> float:
        """Answer prompts of one prefix and width together, a token at a time, calling `tell` after each; return the seconds taken."""
        import torch

        model = self._loaded
        start = time.perf_counter()
        width = _width(rows[0].prompt) + 1
        blank = [width - len(row.prompt) for row in rows]
        ids = torch.tensor([[0] * pad + row.prompt for pad, row in zip(blank, rows, strict=True)], device=model.device)
        mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in blank], device=model.device)
        places = (mask.cumsum(1) - 1).clamp(min=0)
        alive, kept = list(rows), list(range(len(rows)))
        with torch.inference_mode():
            # all but the last token of the prompts, at any number of rows; the last goes with the tokens written, ROWS at a time
            prefix = rows[0].prefix
            known = self._prefixes.spread(prefix, blank) if prefix else None
            new = slice(len(prefix), -1)
            read = model(
                ids[:, new],
                attention_mask=mask[:, :-1],
                position_ids=places[:, new],
                past_key_values=known,
                use_cache=True,
                logits_to_keep=1,
            )
            cache, token, place = read.past_key_values, ids[:, -1:], places[:, -1:]
            changed = True
            while alive:
                if changed:
                    batch = torch.tensor(kept + kept[-1:] * (-len(kept) % ROWS), device=model.device)
                    cache.batch_select_indices(batch)
                    token, mask, place = token[batch], mask[batch], place[batch]
                logits = model(token, attention_mask=mask, position_ids=place, past_key_values=cache, use_cache=True).logits
                chosen = self._choose(logits[: len(alive), -1].float(), alive)
                for row, number in zip(alive, chosen, strict=True):
                    self._append(row, number)
                tell()
                kept = [number for number, row in enumerate(alive) if not row.finish]
                changed = len(kept) < len(alive)
                alive = [alive[number] for number in kept]
                token = torch.tensor(chosen + chosen[-1:] * (len(mask) - len(chosen)), device=model.device)[:, None]
                mask, place = torch.cat([mask, torch.ones_like(token)], 1), place + 1
        return time.perf_counter() - start

    def _choose(self, logits: torch.Tensor, rows: Sequence[_Row]) -> list[int]:
        """Return the next token of each row; logits (rows, vocabulary)."""
        import torch

        if not torch.isfinite(logits.amax(1)).all():
            raise WorkbenchError(f"the model {self.model.name!r} computes NaN or infinity in {self.dtype}; set generator.dtype to float32")
        if not self.temperature:
            return logits.argmax(1).tolist()
        return drawn(logits, [row.draws for row in rows if row.draws], self.temperature, self.top_p)

    def _append(self, row: _Row, token: int) -> None:
        """Add a token and finish the row at an end token, after a base model's first line, or at the cap."""
        row.written.append(token)
        if token in self._ends or self._tokenizer.ends_line(row.written):
            row.finish = "stop"
        elif len(row.written) == self.max_new_tokens:
            row.finish = "length"

    def _text(self, row: _Row) -> str:
        return self._tokenizer.text([token for token in row.written if token not in self._ends])

    def _completion(self, row: _Row, seconds: float) -> Completion:
        return Completion(self._text(row), row.finish, len(row.prompt), len(row.written), seconds)

    @functools.cached_property
    def _ends(self) -> frozenset[int]:
        """Return the tokens that end a text or a turn."""
        ends = self._loaded.generation_config.eos_token_id
        return frozenset([*(ends if isinstance(ends, list) else [ends]), self._tokenizer.end]) - {None}

    @functools.cached_property
    def _prefixes(self) -> PrefixCache:
        return PrefixCache(self._loaded)

    @functools.cached_property
    def _loaded(self) -> Any:
        import torch

        device = self.device if self.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            raise WorkbenchError("generator.device is 'cuda', but torch finds no CUDA device here; take auto or cpu")
        return load_generator(self.model, getattr(torch, self.dtype), device)


def _width(prompt: Sequence[int]) -> int:
    """Return to how many tokens all but the last of a prompt are padded."""
    return max(1, -(-(len(prompt) - 1) // BUCKET)) * BUCKET
