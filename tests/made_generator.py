"""A generator for tests that numbers its answers, writes word by word, and waits or fails where it is told to."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from workbench.datatypes import Completion, Conversation
from workbench.generation import STOPPED, PromptSize, never


class MadeGenerator:
    """Answer each conversation with its number, fail where it is told to, and keep what was asked.

    A stream says its words one by one; while `gate` is closed it waits before each.
    """

    asked: ClassVar[list[Conversation]] = []
    fails: ClassVar[list[Exception]] = []
    gate: ClassVar[threading.Event] = threading.Event()

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {"name": "made", "version": 1, "sampled": True}

    def generate(self, conversations: Sequence[Conversation]) -> list[Completion]:
        if self.fails:
            raise self.fails[0]
        self.asked.extend(conversations)
        return [Completion(f"Answer: number {len(self.asked)} [1]", "length", 70, 5) for _ in conversations]

    def stream(self, conversation: Conversation, say: Callable[[str], None], stop: Callable[[], bool] = never) -> Completion:
        completion = self.generate([conversation])[0]
        said = ""
        for word in completion.text.split(" "):
            while not self.gate.wait(0.01):
                if stop():
                    return Completion(said, "stopped", 70, error=STOPPED)
            said += word + " "
            say(word + " ")
        return completion

    def overflows(self, conversations: Sequence[Conversation]) -> list[int]:
        return [0] * len(conversations)

    def size(self, conversation: Conversation) -> PromptSize:
        counts = tuple(len(message.content.split()) for message in conversation.messages)
        return PromptSize(counts, sum(counts) + 4, 64, 2048, "<made>" + conversation.messages[-1].content)
