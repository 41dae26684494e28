"""Remember completions: a question is asked once for each prompt, model and sampling setting, and what failed is asked again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from workbench.cache import Cache, batched
from workbench.datatypes import Completion, Conversation, Generator, WorkbenchError
from workbench.storage import canonical_json, fingerprint

GENERATED_AT_ONCE = 32  # conversations; what is done is stored, so a kill or a failing server loses one block at most


class CachedGenerator:
    """Wrap a generator: known conversations come from the cache as they were, tokens and seconds included.

    The key is the generator's fingerprint and the conversation. Never stored: errors (CL10), and what is sampled without a seed (CL9).
    """

    def __init__(self, generator: Generator, cache: Cache) -> None:
        identity = getattr(generator, "fingerprint", None)
        if not isinstance(identity, Mapping) or not identity.get("name"):
            raise WorkbenchError(f"{type(generator).__name__} has no fingerprint with a name, so its completions cannot be cached safely")
        self.generator = generator
        self.cache = cache
        self._part = canonical_json(identity)
        self._sampled = bool(identity.get("sampled"))

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return self.generator.fingerprint

    def generate(self, conversations: Sequence[Conversation]) -> list[Completion]:
        """Return a completion for each conversation; equal ones are asked once, block by block, those of like length together."""
        if self._sampled:
            return self._ask(conversations)
        keys = [self._key(conversation) for conversation in conversations]
        found = self._known(keys)
        missing = {key: conversation for key, conversation in zip(keys, conversations, strict=True) if key not in found}
        self.cache.counts.completion_hits += sum(key in found for key in keys)
        for block in batched(sorted(missing.items(), key=lambda item: (_length(item[1]), item[0])), GENERATED_AT_ONCE):
            fresh = dict(zip([key for key, _ in block], self._ask([conversation for _, conversation in block]), strict=True))
            self._store(fresh)
            found |= fresh
            errors = [completion.error for completion in fresh.values() if completion.finish_reason == "error"]
            if len(errors) == len(block):  # a server that is down, or prompts that are all too long: the rest are no shorter
                reason = f"not asked: all of {len(block)} conversations before failed, the last: {errors[-1]}"
                found |= {key: Completion("", "error", error=reason) for key in missing if key not in found}
                break
        return [found[key] for key in keys]

    def stream(self, conversation: Conversation, say: Callable[[str], None]) -> Completion:
        """Return one completion, its text handed over piece by piece as it comes, at once where it is known."""
        if self._sampled:
            return self.generator.stream(conversation, say)
        key = self._key(conversation)
        found = self._known([key])
        if key in found:
            self.cache.counts.completion_hits += 1
            say(found[key].text)
            return found[key]
        self.cache.counts.completions += 1
        completion = self.generator.stream(conversation, say)
        self._store({key: completion})
        return completion

    def overflows(self, conversations: Sequence[Conversation]) -> list[int]:
        """Return how many tokens too long each conversation is; what was completed or measured before loads no tokenizer."""
        if self._sampled:
            return self.generator.overflows(conversations)
        keys = [self._key(conversation) for conversation in conversations]
        names = {key: fingerprint([key, "overflow"]) for key in keys}
        measured = self.cache.get(list(names.values()))
        over = dict.fromkeys(self._known(keys), 0) | {key: int(measured[name]) for key, name in names.items() if name in measured}
        unknown = {key: conversation for key, conversation in zip(keys, conversations, strict=True) if key not in over}
        if unknown:
            fresh = dict(zip(unknown, self.generator.overflows(list(unknown.values())), strict=True))
            self.cache.put("overflow", str(self.fingerprint["name"]), [(names[key], b"%d" % tokens) for key, tokens in fresh.items()])
            over |= fresh
        return [over[key] for key in keys]

    def _key(self, conversation: Conversation) -> str:
        messages = [[message.role, message.content] for message in conversation.messages]
        passages = [[passage.title, passage.text] for passage in conversation.passages]
        return fingerprint([self._part, messages, conversation.shared, conversation.question, passages])

    def _known(self, keys: Sequence[str]) -> dict[str, Completion]:
        return {key: Completion(**json.loads(value)) for key, value in self.cache.get(list(dict.fromkeys(keys))).items()}

    def _ask(self, conversations: Sequence[Conversation]) -> list[Completion]:
        self.cache.counts.completions += len(conversations)
        completions = self.generator.generate(conversations)
        if len(completions) != len(conversations):
            name = self.fingerprint["name"]
            raise WorkbenchError(
                f"{name} returned {len(completions)} completions for {len(conversations)} conversations; nothing is stored"
            )
        return completions

    def _store(self, completions: Mapping[str, Completion]) -> None:
        good = [(key, json.dumps(asdict(value)).encode()) for key, value in completions.items() if value.finish_reason != "error"]
        self.cache.put("completion", str(self.fingerprint["name"]), good)


def _length(conversation: Conversation) -> int:
    return sum(len(message.content) for message in conversation.messages)
