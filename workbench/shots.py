"""Choose the examples that a prompt shows: training questions with a piece of their document and their answer, never a leak.

No shot comes from a document group that is asked about, and none repeats the text of the question asked or of another shot: the same
question about another policy would only mislead. Of training questions with one text, one is kept, drawn by seed.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from workbench import registry
from workbench.datatypes import Document, Embedder, Example, Passage, Span, WorkbenchError
from workbench.index import DECIMALS, ExactIndex
from workbench.prompting import Shot
from workbench.settings import SHOT_SELECTIONS
from workbench.storage import fingerprint
from workbench.text import words
from workbench.tokens import TokenTable

SHARED = ("fixed", "diverse")  # every question gets the same shots
EMBEDDED = ("similar", "diverse")
ARTICLES = frozenset({"a", "an", "the"})  # as SQuAD leaves them out of answers
DRAWS = 100  # permutations tried before answers come from outside the shots


def shot_pool(training: Sequence[Example], asked: Sequence[Example], documents: Mapping[str, Document]) -> tuple[Example, ...]:
    """Return the training questions that may be shown: those with a gold answer and one piece of evidence, in their order.

    Raise WorkbenchError when a training question is itself asked, or shares a document group with one that is: the lists are then no split
    (a question belongs to the groups of all its evidence, without evidence to the one in its metadata, as in `data.split`). Left out are
    questions on a copy of a document asked about, which can stand in another group, and those tied to a group asked about by metadata only.
    """
    refuse_leaks(training, asked, documents)
    groups = {group for example in asked for group in _groups(example, documents) | _named(example)}
    texts = {documents[name].text for example in asked for name in _documents(example)}
    return tuple(
        example
        for example in training
        if len(example.evidence) == 1
        and any(answer.strip() for answer in example.answers)
        and not (_groups(example, documents) | _named(example)) & groups
        and not any(documents[name].text in texts for name in _documents(example))
    )


def refuse_leaks(training: Sequence[Example], asked: Sequence[Example], documents: Mapping[str, Document]) -> None:
    """Raise WorkbenchError naming a training question that is asked, or that shares a document group with one that is."""
    ids = {example.id for example in asked}
    groups = {group: example.id for example in asked for group in _groups(example, documents)}
    for example in training:
        if example.id in ids:
            raise WorkbenchError(f"the question {example.id!r} is both shown and asked; take shots from the training part of a split")
        if shared := sorted(_groups(example, documents) & groups.keys()):
            raise WorkbenchError(
                f"the questions {example.id!r} (to show) and {groups[shared[0]]!r} (asked) share the document group {shared[0]!r}, so a "
                "shot could give the answer away; take shots from the training part of a split"
            )


class ShotSelector:
    """Choose `count` shots for each question out of a pool made by `shot_pool`.

    | selection | shots | order |
    |---|---|---|
    | fixed | drawn by seed, as many document groups as possible; the same for all | as drawn |
    | random | drawn anew for each question, by seed and its id | as drawn |
    | similar | the nearest training questions by embedding | nearest last, next to the question |
    | diverse | the medoid, then always the question farthest from those chosen (greedy k-center); the same for all | as chosen |

    The order of the pool makes no difference, and a larger count shows what a smaller one showed. A shot shows its evidence in at most
    `budget` tokens of its document (0: no passage), title not counted, and the first gold answer. `shuffled` gives each shot the answer of
    another: a control that should lose.
    """

    def __init__(
        self,
        pool: Sequence[Example],
        documents: Mapping[str, Document],
        tables: Mapping[str, TokenTable],
        count: int,
        selection: str,
        budget: int,
        seed: int,
        shuffled: bool = False,
        embedder: Embedder | None = None,
    ) -> None:
        if selection not in SHOT_SELECTIONS:
            raise registry.unknown("shot_selection", selection, SHOT_SELECTIONS)
        if selection in EMBEDDED and embedder is None:
            raise WorkbenchError(f"shot_selection {selection!r} compares questions by an embedder; set one, or take fixed or random")
        if count < 1 or budget < 0:
            raise WorkbenchError(f"shot_count {count} must be at least 1 and shot_budget {budget} at least 0")
        by_id = sorted(pool, key=lambda example: example.id)
        one_of_each = {_folded(by_id[row].question): row for row in np.random.default_rng(seed).permutation(len(by_id))}
        self.pool = [by_id[row] for row in sorted(one_of_each.values())]
        if len(self.pool) < count:
            raise WorkbenchError(
                f"shot_count {count} needs as many different training questions that may be shown; there are {len(self.pool)}"
            )
        self.documents = documents
        self.tables = tables
        self.count = count
        self.selection = selection
        self.budget = budget
        self.seed = seed
        self.shuffled = shuffled
        self.embedder = embedder

    @property
    def shared(self) -> bool:
        """Tell whether all questions get the same shots (but for a question whose own text is among them: it gets the next instead)."""
        return self.selection in SHARED

    def select(self, examples: Sequence[Example]) -> list[tuple[Shot, ...]]:
        """Return the shots of each question; what a question gets does not depend on the others.

        Raise WorkbenchError as `shot_pool` does, and when too few questions are left without the one asked.
        """
        refuse_leaks(self.pool, examples, self.documents)
        chosen = []
        for example, ranking in zip(examples, self._rankings(examples), strict=True):
            rows = [row for row in ranking if self._texts[row] != _folded(example.question)][: self.count]
            if len(rows) < self.count:
                raise WorkbenchError(f"shot_count {self.count}, but {len(rows)} training questions differ from {example.question[:80]!r}")
            chosen.append(tuple(rows[::-1] if self.selection == "similar" else rows))
        return [self._shots(rows) for rows in chosen]

    def _rankings(self, examples: Sequence[Example]) -> list[Sequence[int]]:
        """Return rows of the pool for each question, best first: one more than are shown, since one may be the question itself."""
        if self.selection == "random":
            return [self._generator(example.id).permutation(len(self.pool)).tolist() for example in examples]
        if self.selection == "similar":
            index = ExactIndex(self._vectors, [example.id for example in self.pool])
            queries = self.embedder.encode([example.question for example in examples], "query")
            return [rows.tolist() for rows, _ in index.search(queries, self.count + 1)]
        ranking = self._spread_over_groups() if self.selection == "fixed" else farthest_first(self._vectors, self.count + 1)
        return [ranking] * len(examples)

    def _spread_over_groups(self) -> list[int]:
        """Return all rows as drawn by seed, but the first of each document group before any second."""
        drawn = np.random.default_rng(self.seed).permutation(len(self.pool)).tolist()
        seen: Counter[str] = Counter()
        rounds = {}
        for row in drawn:
            group = self.documents[self.pool[row].evidence[0][0].document_id].group
            rounds[row] = seen[group]
            seen[group] += 1
        return sorted(drawn, key=rounds.__getitem__)

    @functools.cached_property
    def _texts(self) -> list[str]:
        return [_folded(example.question) for example in self.pool]

    @functools.cached_property
    def _vectors(self) -> np.ndarray:
        return self.embedder.encode([example.question for example in self.pool], "query")

    def _generator(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, int(fingerprint(name)[:15], 16)])

    def _shots(self, rows: Sequence[int]) -> tuple[Shot, ...]:
        answers = self._wrong_answers(rows) if self.shuffled else [_answer(self.pool[row]) for row in rows]
        return tuple(
            Shot(self.pool[row].question, answer, self._passages(self.pool[row]), self.pool[row].id)
            for row, answer in zip(rows, answers, strict=True)
        )

    def _wrong_answers(self, rows: Sequence[int]) -> list[str]:
        """Return an answer for each shot that is none of its own gold answers, drawn by the seed and the shots.

        They are those of the shots, permuted; where no draw puts all wrong (one shot, equal answers), those of other training questions.
        """
        generator = self._generator("\n".join(self.pool[row].id for row in rows))
        for _ in range(DRAWS):
            drawn = [rows[place] for place in generator.permutation(len(rows))]
            if all(self._wrong(row, other) for row, other in zip(rows, drawn, strict=True)):
                return [_answer(self.pool[row]) for row in drawn]
        answers = []
        for row in rows:
            order = generator.permutation(len(self.pool)).tolist()
            other = next((other for other in order if self._wrong(row, other)), None)
            if other is None:
                raise WorkbenchError(
                    f"shuffle_shots: no training question has another answer than {self.pool[row].id!r}; there is no control"
                )
            answers.append(_answer(self.pool[other]))
        return answers

    def _wrong(self, row: int, other: int) -> bool:
        return _folded(_answer(self.pool[other])) not in {_folded(answer) for answer in self.pool[row].answers}

    def _passages(self, example: Example) -> tuple[Passage, ...]:
        evidence = example.evidence[0][0]
        document = self.documents[evidence.document_id]
        span = window(evidence, self.budget, document.text, self.tables[document.id])
        return (Passage(span, document.text[span.start : span.end], document.title),) if span else ()


def window(evidence: Span, budget: int, text: str, table: TokenTable) -> Span | None:
    """Return a piece of a document of at most `budget` tokens with the evidence in it, from the start of a word to the end of a token.

    It reaches as far before the evidence as behind it, further at one side where the document ends at the other. Evidence longer than the
    budget is cut from its start. None when not one character fits.
    """
    if not budget or not len(table.starts):
        return None
    # the first token that ends inside, else the last of the document
    first = min(int(np.searchsorted(table.ends, evidence.start, side="right")), len(table.starts) - 1)
    room = budget - table.count(int(table.starts[first]), evidence.end)
    at = max(0, min(first - room // 2, len(table.starts) - budget)) if room > 0 else first
    while at < first and (
        (at > 0 and not text[table.starts[at] - 1].isspace())
        or table.count(int(table.starts[at]), evidence.end) > budget  # a character can be several tokens
    ):
        at += 1
    start = int(table.starts[at])
    end = table.cut(start, budget)
    return Span(evidence.document_id, start, end) if end > start else None


def farthest_first(vectors: np.ndarray, count: int) -> list[int]:
    """Return at most `count` rows that cover the others: first the medoid, then always the one least like the nearest of those taken.

    Rows are unit vectors; equal ones are ordered by row number. Source: Gonzalez (1985), the greedy 2-approximation of k-center.
    """
    vectors = vectors.astype(np.float64)
    row = int(np.argmax(np.round(vectors @ vectors.mean(0), DECIMALS)))
    taken = [row]
    nearest = np.full(len(vectors), -np.inf)
    while len(taken) < min(count, len(vectors)):
        nearest = np.maximum(nearest, np.round(vectors @ vectors[row], DECIMALS))
        nearest[row] = np.inf
        row = int(np.argmin(nearest))
        taken.append(row)
    return taken


def _answer(example: Example) -> str:
    return next(answer for answer in example.answers if answer.strip())


def _folded(text: str) -> str:
    """Return what is compared of a question or answer: its letters and digits in lower case, without articles."""
    return "".join(word for word in words(text) if word not in ARTICLES) or text.casefold().strip()


def _documents(example: Example) -> set[str]:
    return {span.document_id for unit in example.evidence for span in unit}


def _named(example: Example) -> set[str]:
    return {str(example.metadata["group"])} if "group" in example.metadata else set()


def _groups(example: Example, documents: Mapping[str, Document]) -> set[str]:
    """Return the document groups of a question: of all its evidence, or the one in its metadata where it has none."""
    return {documents[name].group for name in _documents(example)} or _named(example)
