"""Compute through the cache as one of several processes, slowly, and note every text that is asked.

`claims_worker.py KINDS CACHE LOG SECONDS LEASE TEXT…` says "ready", waits for a line, and prints, as JSON, the values of the texts by kind
(embed, score, complete), how many this process computed itself and how many it found. A line of LOG is kind and text, written before it
is computed. A block is 6 texts; the generator works on 2 at a time.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from workbench import cache, cache_claims, cache_generation, cache_reranking
from workbench.cache import Cache, CachedEmbedder
from workbench.cache_generation import CachedGenerator
from workbench.cache_reranking import CachedReranker
from workbench.datatypes import Completion, Conversation, Message, Role

BLOCK, BATCH = 6, 2


class Slow:
    """Embed, score and complete at so many seconds a text; the value of a text is its length and its first letter."""

    fingerprint: Mapping[str, object] = {"name": "slow", "version": 1}

    def __init__(self, log: Path, seconds: float) -> None:
        self.log, self.seconds = log, seconds

    def note(self, kind: str, texts: Sequence[str]) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            log.write("".join(f"{kind} {text}\n" for text in texts))
        time.sleep(self.seconds * len(texts))

    def encode(self, texts: Sequence[str], role: Role) -> np.ndarray:
        self.note("embed", texts)
        return np.array([[len(text), ord(text[0])] for text in texts], np.float32)

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        self.note("score", [passage for _, passage in pairs])
        return np.array([len(passage) + ord(passage[0]) / 1000 for _, passage in pairs], np.float32)

    def generate(self, conversations: Sequence[Conversation], done: Callable[[int, Completion], None] | None = None) -> list[Completion]:
        completions = [Completion(f"{len(item.question)} {item.question[0]}") for item in conversations]
        for at in range(0, len(conversations), BATCH):
            self.note("complete", [item.question for item in conversations[at : at + BATCH]])
            for number in range(at, min(at + BATCH, len(conversations))):
                if done:
                    done(number, completions[number])
        return completions


def conversation(text: str) -> Conversation:
    """Ask a text."""
    return Conversation((Message("user", text),), text)


def values(kind: str, part: Slow, store: Cache, texts: Sequence[str]) -> list:
    """Return the value of each text: a vector, a score or an answer."""
    if kind == "embed":
        return CachedEmbedder(part, store).encode(texts, "passage").tolist()
    if kind == "score":
        return CachedReranker(part, store).score([("question", text) for text in texts]).tolist()
    return [completion.text for completion in CachedGenerator(part, store).generate([conversation(text) for text in texts])]


def main() -> None:
    """Do what the command line says."""
    kinds, path, log, seconds, lease, *texts = sys.argv[1:]
    cache_claims.CLAIM_SECONDS = float(lease)
    cache.ENCODED_AT_ONCE = cache_reranking.SCORED_AT_ONCE = cache_generation.GENERATED_AT_ONCE = BLOCK
    store = Cache(Path(path))
    print("ready", flush=True)
    sys.stdin.readline()
    found = {kind: values(kind, Slow(Path(log), float(seconds)), store, texts) for kind in kinds.split(",")}
    counts = store.counts
    print(json.dumps({"values": found, "own": counts.misses + counts.completions, "hits": counts.hits + counts.completion_hits}))


if __name__ == "__main__":
    main()
