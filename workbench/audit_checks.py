"""Check the inputs, hits and scores of one run for faults that published code has had."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.datatypes import Chunk, Dataset, Embedder, Hit, Span
from workbench.evaluation import Check
from workbench.metrics import ANSWER_METRICS, BUDGET_METRIC
from workbench.models import LocalModel
from workbench.settings import Settings
from workbench.stats import FEW_CLUSTERS
from workbench.tokens import TokenTable

MAX_UNSCORED = 0.02
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Evidence:
    """Hold what the checks look at: one run's inputs, hits and scores."""

    settings: Settings
    dataset: Dataset  # the scored questions only
    chunks: Sequence[Chunk]
    texts: Sequence[str]  # what was embedded for each chunk
    hits: Sequence[Sequence[Hit]]
    scores: Mapping[str, np.ndarray]
    clusters: Sequence[str]
    tables: Mapping[str, TokenTable]
    embedder: Embedder | None = None
    model: LocalModel | None = None  # that the embedder runs
    reranker: LocalModel | None = None
    elsewhere: Collection[str] = ()  # documents that the other parts of the split ask about
    ann_recall: float | None = None  # of an approximate index, against exact search

    @property
    def k(self) -> int:
        return min(self.settings.top_k, len(self.chunks))

    @functools.cached_property
    def truncated_share(self) -> float | None:
        """Return the share of the chunks that the embedder does not read to their end; None without an embedder or a known limit."""
        lengths = getattr(getattr(self.embedder, "embedder", self.embedder), "lengths", None)
        if lengths is None or self.model is None or not self.model.max_length:
            return None
        return float((lengths(self.texts, "passage") > self.model.max_length).mean())

    @functools.cached_property
    def relevant(self) -> list[list[set[int]]]:
        """Return for each question and each unit of its evidence the rows of the chunks that touch it, found without `metrics`."""
        rows: dict[str, list[int]] = {}
        for row, chunk in enumerate(self.chunks):
            rows.setdefault(chunk.span.document_id, []).append(row)

        @functools.cache
        def borders(document_id: str) -> np.ndarray:
            spans = ((row, self.chunks[row].span) for row in rows.get(document_id, ()))
            return np.array([(row, span.start, span.end) for row, span in spans], np.int64).reshape(-1, 3).T

        def touching(span: Span) -> set[int]:
            near, starts, ends = borders(span.document_id)
            return set(near[(starts < span.end) & (span.start < ends)].tolist())

        return [[set().union(*map(touching, unit)) for unit in example.evidence] for example in self.dataset.examples]

    @functools.cached_property
    def chance(self) -> np.ndarray:
        """Return for each question the recall that k chunks drawn at random have on average."""
        total = len(self.chunks)

        def missed(rows: set[int]) -> float:
            return math.prod((total - self.k - number) / (total - number) for number in range(len(rows)))

        return np.array([np.mean([1 - missed(rows) for rows in units]) for units in self.relevant])


def outcome(name: str, problem: str, level: str, fine: str) -> Check:
    """Return a check that found this problem, or none."""
    return Check(name, level if problem else "ok", problem or fine)


def monotone(run: Evidence) -> Check:
    """Check that recall, hit and MRR never fall as k grows, nor evidence recall as the budget grows (D29)."""
    problem = ""
    for family in ("recall", "hit", "mrr", BUDGET_METRIC):
        names = [name for name in run.scores if name.startswith(f"{family}@")]
        names.sort(key=lambda name: int(name.partition("@")[2].rstrip("t")))
        for small, large in itertools.pairwise(names):
            falls = np.flatnonzero(np.asarray(run.scores[large]) < np.asarray(run.scores[small]) - TOLERANCE)
            if len(falls):
                problem = f"{large} is below {small} for question {run.dataset.examples[falls[0]].id!r}"
    return outcome("monotone", problem, "error", "recall, hit, MRR and evidence recall never fall as k or the budget grows")


def bounded(run: Evidence) -> Check:
    """Check that every score lies within 0 and 1 (D15)."""
    bad = [name for name, values in run.scores.items() if ((values < -TOLERANCE) | (values > 1 + TOLERANCE)).any()]
    return outcome("bounded", f"{', '.join(bad)} outside 0 to 1" if bad else "", "error", "every score lies within 0 and 1")


def duplicate_ids(run: Evidence) -> Check:
    """Check that no question got the same chunk twice and that chunk and question ids are unique."""
    problem = ""
    for kind, ids in (("chunk", [chunk.id for chunk in run.chunks]), ("question", [example.id for example in run.dataset.examples])):
        if len(set(ids)) < len(ids):
            problem = f"{kind} ids repeat"
    for example, found in zip(run.dataset.examples, run.hits, strict=True):
        if len({hit.chunk.id for hit in found}) < len(found):
            problem = f"question {example.id!r} got the same chunk twice"
    return outcome("duplicate_ids", problem, "error", "all ids are unique")


def ranks_in_order(run: Evidence) -> Check:
    """Check that hits are ranked 1, 2, 3 … by falling score."""
    problem = ""
    for example, found in zip(run.dataset.examples, run.hits, strict=True):
        rises = any(worse.score > better.score + TOLERANCE for better, worse in itertools.pairwise(found))
        if rises or [hit.rank for hit in found] != list(range(1, len(found) + 1)):
            problem = f"question {example.id!r}: hits are not in order of their scores"
            break
    return outcome("ranks_in_order", problem, "error", "hits are ranked by falling score")


def leakage(run: Evidence) -> Check:
    """Check that no document asked about stands, as a copy, in another group or in another part of the split."""
    asked = {span.document_id for example in run.dataset.examples for unit in example.evidence for span in unit}
    copies: dict[str, list[str]] = {}
    groups: dict[str, set[str]] = {}
    for document in run.dataset.documents:
        if document.id in asked:
            copies.setdefault(document.text, []).append(document.id)
            groups.setdefault(document.text, set()).add(document.group)
    shared = [copies[document.text] for document in run.dataset.documents if document.id in run.elsewhere and document.text in copies]
    if shared:
        return Check("leakage", "error", f"{len(shared)} document(s) asked about stand in another part of the split too: {shared[0][0]}")
    double = [copies[text] for text, names in groups.items() if len(names) > 1]
    problem = f"{len(double)} document(s) asked about stand in more than one group: {', '.join(double[0])}" if double else ""
    return outcome("leakage", problem, "warning", "no document asked about stands in two groups or parts")


def unscored(run: Evidence) -> Check:
    """Check that at most 2 % of the questions lack a score."""
    share = max(float((~np.isfinite(values)).mean()) for values in run.scores.values())
    message = f"{share:.1%} of the questions have no score"
    return outcome("unscored", message if share > MAX_UNSCORED else "", "error", message)


def few_clusters(run: Evidence) -> Check:
    """Check that there are enough document groups for the intervals to be trusted."""
    groups = len(set(run.clusters))
    problem = f"{groups} document group(s): intervals from fewer than {FEW_CLUSTERS} are rough" if groups < FEW_CLUSTERS else ""
    return outcome("few_clusters", problem, "warning", f"{groups} document groups")


def saturated(run: Evidence) -> Check:
    """Check that the primary metric does not see the whole corpus, where all configurations score alike."""
    family, _, size = run.settings.primary.partition("@")
    number = int(size.rstrip("t")) if size else run.settings.answer_budget
    in_tokens = family == BUDGET_METRIC or family in ANSWER_METRICS
    corpus = sum(len(table.starts) for table in run.tables.values()) if in_tokens else len(run.chunks)
    alike = (in_tokens or family in ("recall", "hit")) and number >= corpus
    problem = f"{run.settings.primary} reaches over the whole corpus ({corpus}), so all configurations score alike; take a smaller one"
    return outcome("saturated", problem if alike else "", "warning", f"{run.settings.primary} sees a part of the corpus")


def unresolved(run: Evidence) -> Check:
    """Check that the loader lost nothing."""
    losses = run.dataset.losses
    problem = f"{len(losses)} losses while loading, first: {losses[0]}" if losses else ""
    return outcome("unresolved", problem, "warning", "nothing was lost while loading")
