"""Count what the points of a sweep compute: texts to embed, pairs to score, prompts to answer, and what of it the cache has."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench import storage
from workbench.cache import Cache, CachedEmbedder
from workbench.datatypes import Role
from workbench.experiment_build import Models, passages, resolve
from workbench.experiment_data import NONE, Prepared, data_key, prepare
from workbench.notebook import settings_of
from workbench.prompting import Prompt, load_prompt
from workbench.registry import split_spec
from workbench.reranking import split_options
from workbench.retrieval import DENSE_RETRIEVERS, nfc
from workbench.settings import Settings, parse_settings
from workbench.sweep_spec import Point


@dataclass(frozen=True)
class Part:
    """Name what is measured: its kind ("embedder", "generator", "reranker"), its spec, its options as canonical JSON."""

    kind: str
    spec: str
    options: str = "{}"

    @classmethod
    def of(cls, kind: str, spec: str, options: Mapping[str, Any] | None = None) -> Part:
        """Build one from its options as settings have them."""
        return cls(kind, spec, storage.canonical_json(options or {}))

    @property
    def label(self) -> str:
        """Return the spec, with the options where there are some."""
        return self.spec + (f" {self.options}" if self.options != "{}" else "")


@dataclass
class Texts:
    """Count distinct texts, those that the cache has a vector of, and the characters of the others."""

    number: int = 0
    cached: int = 0
    characters: float = 0.0

    @property
    def missing(self) -> int:
        """Return how many must be embedded."""
        return self.number - self.cached


@dataclass
class Prompts:
    """Count prompts that are answered at most, and their characters."""

    number: int = 0
    characters: float = 0.0


@dataclass
class Work:
    """Hold what all points of a sweep compute, at most; everything by part and by the language of the data ("en", "ko" or "other").

    Controls that a notebook adds are not counted. Whether an answer or a score of a pair is cached shows only when its passages are
    retrieved, so of these there are fewer at every run after the first. `loads` counts the runs that load a model.
    """

    runs: int = 0
    configurations: int = 0
    questions: int = 0  # of all configurations
    texts: dict[tuple[Part, Role, str], Texts] = field(default_factory=lambda: defaultdict(Texts))
    pairs: dict[tuple[Part, str], int] = field(default_factory=Counter)
    prompts: dict[tuple[Part, str], Prompts] = field(default_factory=lambda: defaultdict(Prompts))
    loads: dict[Part, int] = field(default_factory=Counter)


def count_work(folder: Path, points: Sequence[Point]) -> Work:
    """Return what these points of the sweep in `folder` compute; loads no model, but reads and cuts the documents."""
    with contextlib.chdir(storage.home(folder)), closing(Cache(storage.cache_file())) as cache:  # where the runs will stand
        return _Counter(cache).count(points)


class _Counter:
    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.models = Models(cache)
        self.work = Work()
        self._prepared: dict[Any, Prepared] = {}
        self._seen: dict[Any, set[bytes]] = defaultdict(set)  # digests: the texts of many chunkings would not fit
        self._lists: set[str] = set()
        self._evaluated: set[tuple[str, int]] = set()

    def count(self, points: Sequence[Point]) -> Work:
        self.work.runs = len(points)
        for point in points:
            loaded: set[Part] = set()
            for values in settings_of(point.parameters):
                loaded |= self._configuration(parse_settings(values))
            self.work.loads = Counter(self.work.loads) + Counter(loaded)
        return self.work

    def _configuration(self, settings: Settings) -> set[Part]:
        """Count one configuration, where it was not counted before; return the parts whose models it loads."""
        key = data_key(settings)
        if key not in self._prepared:
            self._prepared = {key: prepare(settings, cache=self.cache)}  # neighbours share it; more at once would not fit
        prepared = self._prepared[key]
        settings = resolve(settings, prepared)
        if (settings.config_id, settings.seed) in self._evaluated:
            return set()
        self._evaluated.add((settings.config_id, settings.seed))
        self.work.configurations += 1
        self.work.questions += len(prepared.dataset.examples)
        found = {self._embedded(settings, prepared)}
        if settings.reranker != NONE:
            found.add(self._reranked(settings, prepared))
        if settings.generator != NONE:
            found.add(self._answered(settings, prepared))
        return found - {None}  # type: ignore[return-value]

    def _embedded(self, settings: Settings, prepared: Prepared) -> Part | None:
        """Count the texts that a dense retriever embeds and that no configuration before had; return the embedder where some are new."""
        if split_spec(settings.retriever)[0] not in DENSE_RETRIEVERS:
            return None
        part = Part.of("embedder", settings.embedder, settings.options.get("embedder"))
        cut = settings.model_dump(
            include={"dataset", "chunker", "chunk_size", "chunk_overlap", "header", "tokenizer", "embedder", "options"}
        )
        cut = storage.canonical_json(cut)
        new = self._new(settings, prepared, part, "query", [nfc(example.question) for example in prepared.dataset.examples])
        if cut not in self._lists:
            self._lists.add(cut)
            new += self._new(settings, prepared, part, "passage", passages(settings, prepared, self.cache))
        return part if new else None

    def _new(self, settings: Settings, prepared: Prepared, part: Part, role: Role, texts: Sequence[str]) -> int:
        digests = {hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest(): text for text in texts}
        seen = self._seen[part, role]
        fresh = [text for digest, text in digests.items() if digest not in seen]
        seen.update(digests)
        embedder = self.models.embedder(settings)
        known = embedder.known(fresh, role) if isinstance(embedder, CachedEmbedder) else 0
        total = self.work.texts[part, role, prepared.language]
        total.number += len(fresh)
        total.cached += known
        total.characters += sum(map(len, fresh)) * (1 - known / max(1, len(fresh)))
        return len(fresh) - known

    def _reranked(self, settings: Settings, prepared: Prepared) -> Part:
        depth, knobs = split_options(settings.options.get("reranker", {}))
        part = Part.of("reranker", settings.reranker, knobs)
        self.work.pairs[part, prepared.language] += depth * len(prepared.dataset.examples)
        return part

    def _answered(self, settings: Settings, prepared: Prepared) -> Part:
        part = Part.of("generator", settings.generator, settings.options.get("generator"))
        questions = len(prepared.dataset.examples)
        answers = min(settings.answers, questions) if settings.answers else questions
        total = self.work.prompts[part, prepared.language]
        prompt = load_prompt(settings.prompt, prepared.language)
        for step in (*((prompt.before,) if prompt.before else ()), prompt):
            total.number += answers
            total.characters += answers * _prompt_characters(settings, prepared, step)
        return part


def _prompt_characters(settings: Settings, prepared: Prepared, prompt: Prompt) -> float:
    """Return the characters of a prompt with a full context and all its shots."""
    characters = sum(len(document.text) for document in prepared.dataset.documents)
    each = characters / max(1, sum(len(table.starts) for table in prepared.tables.values()))
    budget = settings.answer_budget if prompt.shows_passages else 0
    asked = [len(example.question) for example in prepared.dataset.examples]
    shots = settings.shot_count * settings.shot_budget * each
    instructions = prompt.parts("?", ())["instructions"]
    return min(budget * each, characters) + shots + len(instructions) + sum(asked) / max(1, len(asked))
