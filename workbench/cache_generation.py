"""Remember completions: a question is asked once for each prompt, model and sampling setting, and what failed is asked again."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from workbench.cache import Cache
from workbench.cache_claims import claimed
from workbench.datatypes import Completion, Conversation, Generator, WorkbenchError
from workbench.generation import PromptSize, never
from workbench.storage import canonical_json, fingerprint

GENERATED_AT_ONCE = 32  # conversations; a kill loses those that are in work (of a generator that does not tell them one by one: a block)


class CachedGenerator:
    """Wrap a generator: known conversations come from the cache as they were, tokens and seconds included.

    The key is the generator's fingerprint and the conversation. Never stored: errors (CL10), what somebody stopped, and what is sampled
    without a seed (CL9).
    A generator whose `generate` takes `done` (called with number and completion as each is finished) has each stored at once.
    """

    def __init__(self, generator: Generator, cache: Cache) -> None:
        identity = getattr(generator, "fingerprint", None)
        if not isinstance(identity, Mapping) or not identity.get("name"):
            raise WorkbenchError(f"{type(generator).__name__} has no fingerprint with a name, so its completions cannot be cached safely")
        self.generator = generator
        self.cache = cache
        self._part = canonical_json(identity)
        self._sampled = bool(identity.get("sampled"))
        self._tells = "done" in inspect.signature(generator.generate).parameters

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
        missing = dict(sorted(missing.items(), key=lambda item: (_length(item[1]), item[0])))
        failed = 0  # in a row
        with claimed(self.cache, missing, GENERATED_AT_ONCE) as blocks:
            for known, block in blocks:
                found |= {key: _read(value) for key, value in known.items()}
                self.cache.counts.completion_hits += len(known)
                fresh = self._complete(block) if block else {}
                found |= fresh
                errors = [completion.error for completion in fresh.values() if completion.finish_reason == "error"]
                failed = failed + len(errors) if len(errors) == len(block) else 0
                if failed >= GENERATED_AT_ONCE:  # a server that is down, or prompts that are all too long: the rest are no shorter
                    reason = f"not asked: all of {failed} conversations before failed, the last: {errors[-1]}"
                    found |= {key: Completion("", "error", error=reason) for key in missing if key not in found}
                    break
        return [found[key] for key in keys]

    def stream(self, conversation: Conversation, say: Callable[[str], None], stop: Callable[[], bool] = never) -> Completion:
        """Return one completion, its text handed over piece by piece as it comes, at once where it is known."""
        if self._sampled:
            return self.generator.stream(conversation, say, stop)
        key = self._key(conversation)
        found = self._known([key])
        if key in found:
            self.cache.counts.completion_hits += 1
            say(found[key].text)
            return found[key]
        self.cache.counts.completions += 1
        completion = self.generator.stream(conversation, say, stop)
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

    def size(self, conversation: Conversation) -> PromptSize | None:
        """Return the tokens of a prompt, None where the generator counts none here."""
        return self.generator.size(conversation)

    def _key(self, conversation: Conversation) -> str:
        messages = [[message.role, message.content] for message in conversation.messages]
        passages = [[passage.title, passage.text] for passage in conversation.passages]
        return fingerprint([self._part, messages, conversation.shared, conversation.question, passages])

    def _known(self, keys: Sequence[str]) -> dict[str, Completion]:
        return {key: _read(value) for key, value in self.cache.get(list(dict.fromkeys(keys))).items()}

    def _complete(self, block: Sequence[tuple[str, Conversation]]) -> dict[str, Completion]:
        """Ask for a block and store each completion as soon as the generator tells it."""
        keys = [key for key, _ in block]
        told: set[str] = set()

        def done(number: int, completion: Completion) -> None:
            self._store({keys[number]: completion})
            told.add(keys[number])

        asked = self._ask([conversation for _, conversation in block], **({"done": done} if self._tells else {}))
        completions = dict(zip(keys, asked, strict=True))
        self._store({key: completion for key, completion in completions.items() if key not in told})
        return completions

    def _ask(self, conversations: Sequence[Conversation], **done: Callable[[int, Completion], None]) -> list[Completion]:
        self.cache.counts.completions += len(conversations)
        completions = self.generator.generate(conversations, **done)
        if len(completions) != len(conversations):
            name = self.fingerprint["name"]
            raise WorkbenchError(
                f"{name} returned {len(completions)} completions for {len(conversations)} conversations; nothing is stored"
            )
        return completions

    def _store(self, completions: Mapping[str, Completion]) -> None:
        good = [(key, json.dumps(asdict(value)).encode()) for key, value in completions.items() if not value.error]
        if good:
            self.cache.put("completion", str(self.fingerprint["name"]), good)


def _read(value: bytes) -> Completion:
    return Completion(**json.loads(value))


def _length(conversation: Conversation) -> int:
    return sum(len(message.content) for message in conversation.messages)
