"""Turn messages into the tokens a causal language model reads, and the tokens it writes into text."""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from workbench.datatypes import Message, WorkbenchError
from workbench.models import LocalModel

TEMPLATE_VARIABLES = {  # which chat templates look for; a template that does not know them ignores them
    "enable_thinking": False,  # Qwen 3, EXAONE 4: answer without reasoning first
    "date_string": "26 Jul 2024",  # Llama 3 takes today's date otherwise, and its answers would change from day to day
}
PROBE = "system-probe"
LONGEST_CHARACTER = 4  # bytes, and a token may be one of them
CUT_CHARACTER = "\ufffd"  # what a tokenizer writes for the bytes of an unfinished character


class RefusedError(WorkbenchError):
    """Say why a chat template refuses some messages; others may go through."""


class MessageTokenizer:
    """Read messages through the chat template of a model, or as one text to continue where it has none (a base model).

    That text ends with the cue of the last user message ("Answer:"); the answer of a shot follows its own cue after a space, and what the
    model writes ends with its first line. Loads the tokenizer at the first use.
    """

    def __init__(self, model: LocalModel) -> None:
        self.model = model

    @property
    def chats(self) -> bool:
        """Tell whether there is a chat template."""
        return bool(self._tokenizer.chat_template)

    @property
    def end(self) -> int | None:
        """Return the token that ends a text."""
        return self._tokenizer.eos_token_id

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Return the tokens of a prompt; raise RefusedError when the chat template refuses the messages."""
        return self.prompt(messages)[1]

    def count(self, text: str) -> int:
        """Return how many tokens a text has by itself."""
        return len(self._tokenizer(text, add_special_tokens=False, verbose=False).input_ids)

    def prompt(self, messages: Sequence[Message]) -> tuple[str, list[int]]:
        """Return a prompt as text and its tokens; raise RefusedError when the chat template refuses the messages."""
        if not self.chats:
            text = completion_prompt(messages)
            return text, self._tokenizer(text, verbose=False).input_ids
        messages = messages if self._reads_system else without_system(messages)
        try:
            text = self._rendered(messages)
        except TemplateError as error:
            raise RefusedError(f"the chat template of the model {self.model.name!r} refuses these messages: {error}") from None
        return text, self._tokenizer(text, add_special_tokens=False, verbose=False).input_ids  # the template has written them

    def text(self, written: Sequence[int]) -> str:
        """Return the answer in these tokens, without an unfinished last character and white space around it."""
        text = self._decode(written)
        for cut in range(1, min(len(written) + 1, LONGEST_CHARACTER)):
            if not text.endswith(CUT_CHARACTER):
                break
            text = self._decode(written[:-cut])
        if not self.chats:
            text = text.lstrip().partition("\n")[0]
        return unicodedata.normalize("NFC", text.strip())

    def ends_line(self, written: Sequence[int]) -> bool:
        """Tell whether the last token ends the answer of a base model: its first line that is not blank."""
        return not self.chats and "\n" in self._decode(written[-1:]) and "\n" in self._decode(written).lstrip()

    def _decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _rendered(self, messages: Sequence[Message]) -> str:
        plain = [{"role": message.role, "content": message.content} for message in messages]
        return self._tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=True, **TEMPLATE_VARIABLES)

    @functools.cached_property
    def _reads_system(self) -> bool:
        """Tell whether the chat template shows a system message: some refuse it, others drop it without a word."""
        try:
            return PROBE in self._rendered([Message("system", PROBE), Message("user", "?")])
        except TemplateError:
            return False

    @functools.cached_property
    def _tokenizer(self) -> Any:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from transformers import AutoTokenizer

        if not (self.model.path / "tokenizer.json").is_file():
            raise WorkbenchError(f"the model {self.model.name!r} has no tokenizer.json; save it again with a fast tokenizer")
        try:
            return AutoTokenizer.from_pretrained(str(self.model.path), local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise WorkbenchError(f"the tokenizer of the model {self.model.name!r} cannot be loaded: {error}") from None


def completion_prompt(messages: Sequence[Message]) -> str:
    """Join messages to a text that a base model can continue: blank lines between them, an answer right after the cue it answers."""
    return "".join((" " if message.role == "assistant" else "\n\n") + message.content for message in messages).strip()


def without_system(messages: Sequence[Message]) -> list[Message]:
    """Put the text of a system message before the first user message."""
    if len(messages) < 2 or messages[0].role != "system":
        return list(messages)
    system, first, *others = messages
    return [Message(first.role, f"{system.content}\n\n{first.content}"), *others]
