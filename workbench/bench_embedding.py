"""Measure embedders and rerankers: texts and pairs a second, after a warm-up; the load of the model apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from workbench.bench_parts import create
from workbench.bench_rates import Effort, Part, Rate, enough, in_turns, timed
from workbench.bench_texts import WORDS, Texts, mean_characters
from workbench.datatypes import Role

ROLES: tuple[Role, ...] = ("query", "passage")
LEAST_TEXTS, MOST_TEXTS = 8, 512  # of one repetition


def used(part: Part, use: Callable[[Any], object]) -> tuple[Any, list[Rate]]:
    """Return a part in use, with the seconds of its very first use (imports, a conversion that is kept) and of the load of a second one."""
    seconds = []
    for _ in range(2):
        made = create(part)
        seconds.append(timed(lambda made=made: use(made)))
    return made, [Rate.of(part, what, "s", [value]) for what, value in zip(("first use", "load"), seconds, strict=True)]


def measure_embedder(part: Part, languages: Sequence[str], effort: Effort) -> Iterator[Rate]:
    """Give seconds of the first use and of a load, then texts a second by role and language.

    Every text is another one, all are WORDS long, and nothing comes from the cache.
    """
    embedder, loaded = used(part, lambda embedder: embedder.encode(["the first text"], "query"))
    yield from loaded
    runs: dict[tuple[Role, str], Callable[[], float]] = {}
    facts: dict[tuple[Role, str], dict[str, Any]] = {}
    for language in languages:
        for role in ROLES:
            runs[role, language], facts[role, language] = _workload(embedder, role, language, effort)
    for (role, language), rates in in_turns(runs, effort.repetitions).items():
        yield Rate.of(part, f"{role} {language}", "texts/s", rates, **facts[role, language])


def _workload(embedder: Any, role: Role, language: str, effort: Effort) -> tuple[Callable[[], float], dict[str, Any]]:
    """Return what embeds once and tells texts a second, and what is to know of its texts."""
    texts = Texts(language, WORDS[role])
    number = enough(lambda least: embedder.encode(texts.take(least), role), effort.seconds, MOST_TEXTS, LEAST_TEXTS)
    sample = Texts(language, WORDS[role]).take(64)
    facts = {"texts": number, "words": WORDS[role], "characters": mean_characters(sample)}
    if hasattr(embedder, "lengths"):
        facts["tokens"] = round(float(embedder.lengths(sample, role).mean()), 1)
        facts["max_length"] = embedder.model.max_length

    def once() -> float:
        drawn = texts.take(number)
        return number / timed(lambda: embedder.encode(drawn, role))

    return once, facts


def measure_reranker(part: Part, languages: Sequence[str], effort: Effort) -> Iterator[Rate]:
    """Give seconds of the first use and of a load, then pairs of a query and a passage a second by language."""
    reranker, loaded = used(part, lambda reranker: reranker.score([("a question", "a passage")]))
    yield from loaded
    for language in languages:
        queries, passages = (Texts(language, WORDS[role]) for role in ROLES)

        def pairs(number: int, queries: Texts = queries, passages: Texts = passages) -> list[tuple[str, str]]:
            return list(zip(queries.take(number), passages.take(number), strict=True))

        number = enough(lambda least, pairs=pairs: reranker.score(pairs(least)), effort.seconds, MOST_TEXTS)
        rates = []
        for _ in range(effort.repetitions):
            drawn = pairs(number)
            rates.append(number / timed(lambda drawn=drawn: reranker.score(drawn)))
        facts = {"pairs": number, "words": WORDS["query"] + WORDS["passage"]}
        yield Rate.of(part, f"pairs {language}", "pairs/s", rates, **facts)
