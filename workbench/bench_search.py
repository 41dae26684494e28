"""Measure indexes: milliseconds a query, seconds to build, and recall against exact search, at a stated size."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from workbench import registry
from workbench.bench_rates import Effort, Part, Rate, Skipped, enough, in_turns, timed
from workbench.bench_texts import SEED, WORDS, Texts
from workbench.datatypes import WorkbenchError
from workbench.index import INDEXES, LEXICAL_INDEXES, create_index

DIMENSION = 384
NEIGHBOURS = 20  # vectors around each centre
SPREAD = 0.5  # length of what is added to a centre of length 1
TOP_K = 10
JUDGED = 100  # queries that recall is measured with
MOST_QUERIES = 1000  # of one repetition


def made_vectors(number: int, seed: int = SEED) -> np.ndarray:
    """Return unit vectors (number, DIMENSION) around random centres, as texts on one subject lie together; seeds share the centres."""
    centres = np.random.default_rng(SEED).normal(size=(max(1, number // NEIGHBOURS), DIMENSION))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    random = np.random.default_rng([SEED, seed])
    vectors = centres[random.integers(len(centres), size=number)] + random.normal(size=(number, DIMENSION)) * SPREAD / DIMENSION**0.5
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def measure_search(effort: Effort) -> Iterator[Rate | Skipped]:
    """Give for each index seconds to build it, then milliseconds a query for TOP_K hits, asked one at a time.

    Vector indexes hold made vectors, lexical ones the words of slices of the demo documents, as many.
    """
    vectors, queries = made_vectors(effort.vectors), made_vectors(effort.vectors, 1)
    names = [str(row) for row in range(len(vectors))]
    exact = [set(rows.tolist()) for rows, _ in create_index("exact", vectors, names).search(queries[:JUDGED], TOP_K)]
    runs: dict[Part, Callable[[], float]] = {}
    facts: dict[Part, dict[str, float]] = {}
    for name in INDEXES:
        part = Part("index", name)
        built: list[object] = []
        try:
            seconds = timed(lambda built=built, name=name: built.append(create_index(name, vectors, names)))
        except WorkbenchError as error:  # needs an option, or more vectors
            yield Skipped(part, str(error))
            continue
        index = built[0]
        found = [set(rows.tolist()) for rows, _ in index.search(queries[:JUDGED], TOP_K)]
        recall = float(np.mean([len(hits & right) / len(right) for hits, right in zip(found, exact, strict=True)]))
        facts[part] = {"vectors": len(vectors), "dimension": DIMENSION, f"recall@{TOP_K}": round(recall, 4), "bytes": index.nbytes}
        yield Rate.of(part, "build", "s", [seconds], **facts[part])
        runs[part] = _asking(lambda row, index=index: index.search(queries[row : row + 1], TOP_K), len(queries), effort)
    texts, asked = Texts("en", WORDS["passage"]), [text.lower().split() for text in Texts("en", WORDS["query"]).take(MOST_QUERIES)]
    rows = [text.lower().split() for text in texts.take(effort.vectors)]
    for name, make in LEXICAL_INDEXES.items():
        part = Part("lexical index", name)
        held: list[object] = []
        facts[part] = {"texts": len(rows), "words": WORDS["passage"], "query_words": WORDS["query"]}
        yield Rate.of(part, "build", "s", [timed(lambda held=held, make=make: held.append(registry.resolve(make)(rows)))], **facts[part])
        runs[part] = _asking(lambda row, index=held[0]: index.search(asked[row : row + 1], TOP_K), len(asked), effort)
    for part, milliseconds in in_turns(runs, effort.repetitions).items():
        yield Rate.of(part, "search", "ms", milliseconds, **facts[part])


def _asking(search: Callable[[int], object], queries: int, effort: Effort) -> Callable[[], float]:
    """Return what searches for queries one after the other and tells milliseconds a query."""

    def ask(number: int) -> None:
        for row in range(number):
            search(row % queries)

    number = enough(ask, effort.seconds / 2, MOST_QUERIES)
    return lambda: 1000 * timed(lambda: ask(number)) / number
