"""Let every run check itself: controls with a known answer, and invariants that published code has broken."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench import metrics
from workbench.datatypes import Chunk, Dataset, Embedder, Hit
from workbench.evaluation import Check
from workbench.packing import pack
from workbench.settings import Settings
from workbench.stats import FEW_CLUSTERS
from workbench.text import guess_language
from workbench.tokens import TokenTable

MAX_UNSCORED = 0.02
MAX_TRUNCATED = 0.01
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Evidence:
    """Hold what the checks look at: one run's inputs, hits and scores."""

    settings: Settings
    dataset: Dataset  # the scored questions only
    chunks: Sequence[Chunk]
    texts: Sequence[str]  # what was embedded
    hits: Sequence[Sequence[Hit]]
    scores: Mapping[str, np.ndarray]
    clusters: Sequence[str]
    tables: Mapping[str, TokenTable]
    embedder: Embedder | None
    languages: Sequence[str] = ()  # of the embedding model
    max_length: int | None = None


def audit(run: Evidence) -> tuple[Check, ...]:
    """Return one Check for each id in CHECKS, in their order."""
    return tuple(check(run) for check in CHECKS.values())


def _outcome(name: str, problem: str, level: str, fine: str) -> Check:
    return Check(name, level if problem else "ok", problem or fine)


def oracle(run: Evidence) -> Check:
    """Rank the chunks that touch the evidence first: recall, MRR and the largest budget's evidence recall must then be perfect."""
    by_document: dict[str, list[Chunk]] = {}
    for chunk in run.chunks:
        by_document.setdefault(chunk.span.document_id, []).append(chunk)
    worst = ""
    for example in run.dataset.examples:
        chosen = {
            chunk.id: chunk
            for unit in example.evidence
            for document_id in dict.fromkeys(span.document_id for span in unit)
            for chunk in by_document.get(document_id, ())
            if metrics.touches(chunk.span, unit)
        }
        hits = [Hit(chunk, 1.0, rank) for rank, chunk in enumerate(chosen.values(), start=1)]
        ranks = metrics.first_ranks(hits, example)
        context = pack(
            hits, sum(run.tables[chunk.span.document_id].count(chunk.span.start, chunk.span.end) for chunk in chosen.values()), run.tables
        )
        if None in ranks or metrics.evidence_recall(context, example, run.tables) < 1 - TOLERANCE:
            worst = (
                f"question {example.id!r}: even a perfect ranking misses evidence; the chunker lost text or a metric is wrong"
            )
            break
    return _outcome("oracle", worst, "error", "a perfect ranking reaches all evidence")


def random_control(run: Evidence) -> Check:
    """Rank at random: mean recall must agree with the probability that k draws touch the evidence."""
    generator = np.random.default_rng(run.settings.seed)
    total = len(run.chunks)
    k = min(run.settings.top_k, total)
    rows: dict[str, list[int]] = {}
    for row, chunk in enumerate(run.chunks):
        rows.setdefault(chunk.span.document_id, []).append(row)
    seen, expected, variance = 0.0, 0.0, 0.0
    for example in run.dataset.examples:
        drawn = generator.choice(total, size=k, replace=False)
        hits = [Hit(run.chunks[row], 1.0, rank) for rank, row in enumerate(drawn, start=1)]
        seen += metrics.recall(metrics.first_ranks(hits, example), k)
        share = 0.0
        for unit in example.evidence:
            candidates = {row for span in unit for row in rows.get(span.document_id, ()) if metrics.touches(run.chunks[row].span, unit)}
            share += 1 - _miss(total, len(candidates), k)
        share /= len(example.evidence)
        expected += share
        variance += max(share * (1 - share), 0.0)
    n = len(run.dataset.examples)
    gap = abs(seen - expected)
    problem = (
        f"random ranking: recall@{k} is {seen / n:.3f}, chance is {expected / n:.3f}"
        if gap > 5 * math.sqrt(variance) + TOLERANCE * n
        else ""
    )
    return _outcome(
        "random", problem, "error", f"a random ranking scores as chance does (recall@{k} {seen / n:.3f}, expected {expected / n:.3f})"
    )


def _miss(total: int, relevant: int, k: int) -> float:
    """Return the probability that k draws without replacement hit none of the relevant items."""
    return math.comb(total - relevant, k) / math.comb(total, k)


def shuffled_gold(run: Evidence) -> Check:
    """Score the same hits against another question's evidence: the result must not be as good as with the true evidence."""
    examples = run.dataset.examples
    labels = sorted(set(run.clusters))
    if len(labels) < 2 or len(run.chunks) < 2 * run.settings.top_k:
        return Check("shuffled_gold", "ok", "not applicable: fewer than two document groups, or a corpus that top_k nearly covers")
    by_label = {label: [row for row, cluster in enumerate(run.clusters) if cluster == label] for label in labels}
    generator = np.random.default_rng(run.settings.seed)
    metric = f"recall@{run.settings.top_k}"
    scores = []
    for row, found in enumerate(run.hits):
        label = labels[(labels.index(run.clusters[row]) + 1 + int(generator.integers(len(labels) - 1))) % len(labels)]
        other = examples[int(generator.choice(by_label[label]))]
        scores.append(metrics.recall(metrics.first_ranks(found, other), run.settings.top_k))
    true, wrong = float(np.mean(run.scores[metric])), float(np.mean(scores))
    suspicious = wrong >= true and wrong > 0.05
    problem = (
        f"{metric} is {true:.3f} with the true evidence and {wrong:.3f} with another question's: scores do not depend on the gold"
        if suspicious
        else ""
    )
    return _outcome("shuffled_gold", problem, "error", f"{metric} falls from {true:.3f} to {wrong:.3f} with another question's evidence")


def monotone(run: Evidence) -> Check:
    """Check that recall, hit and MRR never fall as k grows, nor evidence recall as the budget grows (D29)."""
    problem = ""
    for family in ("recall", "hit", "mrr", metrics.BUDGET_METRIC):
        names = [name for name in run.scores if name.startswith(f"{family}@")]
        names.sort(key=lambda name: int(name.partition("@")[2].rstrip("t")))
        for small, large in itertools.pairwise(names):
            falls = np.flatnonzero(np.asarray(run.scores[large]) < np.asarray(run.scores[small]) - TOLERANCE)
            if len(falls):
                problem = f"{large} is below {small} for question {run.dataset.examples[falls[0]].id!r}"
    return _outcome("monotone", problem, "error", "recall, hit, MRR and evidence recall never fall as k or the budget grows")


def bounded(run: Evidence) -> Check:
    """Check that every score lies within 0 and 1 (D15)."""
    bad = [name for name, values in run.scores.items() if np.nanmin(values) < -TOLERANCE or np.nanmax(values) > 1 + TOLERANCE]
    return _outcome("bounded", f"{', '.join(bad)} outside 0 to 1" if bad else "", "error", "every score lies within 0 and 1")


def duplicate_ids(run: Evidence) -> Check:
    """Check that no question got the same chunk twice and that chunk and question ids are unique."""
    chunk_ids = [chunk.id for chunk in run.chunks]
    question_ids = [example.id for example in run.dataset.examples]
    problem = ""
    if len(set(chunk_ids)) < len(chunk_ids) or len(set(question_ids)) < len(question_ids):
        problem = "chunk or question ids repeat"
    for example, found in zip(run.dataset.examples, run.hits, strict=True):
        if len({hit.chunk.id for hit in found}) < len(found):
            problem = f"question {example.id!r} got the same chunk twice"
    return _outcome("duplicate_ids", problem, "error", "all ids are unique")


def ranks_in_order(run: Evidence) -> Check:
    """Check that hits are ranked 1, 2, 3 … by falling score."""
    problem = ""
    for example, found in zip(run.dataset.examples, run.hits, strict=True):
        scores = [hit.score for hit in found]
        if [hit.rank for hit in found] != list(range(1, len(found) + 1)) or any(
            better < worse for better, worse in itertools.pairwise(scores)
        ):
            problem = f"question {example.id!r}: hits are not in order of their scores"
            break
    return _outcome("ranks_in_order", problem, "error", "hits are ranked by falling score")


def roles(run: Evidence) -> Check:
    """Check that a model with prefixes embeds a text differently as question and as passage (D1)."""
    prefixes = dict(run.embedder.fingerprint.get("prefixes", {})) if run.embedder else {}
    if run.embedder is None or prefixes.get("query", "") == prefixes.get("passage", ""):
        return Check("roles", "ok", "not applicable: the embedder has no role prefixes")
    text = [run.dataset.examples[0].question]
    same = np.allclose(run.embedder.encode(text, "query"), run.embedder.encode(text, "passage"), atol=1e-6)
    return _outcome(
        "roles",
        "query and passage prefixes are known but make no difference" if same else "",
        "error",
        "query and passage prefixes are applied",
    )


def leakage(run: Evidence) -> Check:
    """Check that no document text stands in two groups: such a pair could lie on both sides of a split."""
    groups: dict[str, set[str]] = {}
    for document in run.dataset.documents:
        groups.setdefault(document.text, set()).add(document.group)
    count = sum(len(names) > 1 for names in groups.values())
    problem = f"{count} document text(s) stand in more than one group, so a split by group can leak" if count else ""
    return _outcome("leakage", problem, "warning" if run.settings.split == "all" else "error", "no document text stands in two groups")


def unscored(run: Evidence) -> Check:
    """Check that at most 2 % of the questions lack a score."""
    share = max(float((~np.isfinite(values)).mean()) for values in run.scores.values())
    return _outcome(
        "unscored",
        f"{share:.1%} of the questions have no score" if share > MAX_UNSCORED else "",
        "error",
        f"{share:.1%} of the questions have no score",
    )


def truncated(run: Evidence) -> Check:
    """Check that the embedder reads the chunks to their end (VX7)."""
    lengths = getattr(getattr(run.embedder, "embedder", run.embedder), "lengths", None)
    if lengths is None or not run.max_length:
        return Check("truncated", "ok", "not applicable: no limit is known")
    share = float((lengths(run.texts, "passage") > run.max_length).mean())
    problem = (
        f"{share:.1%} of the chunks are longer than the {run.max_length} tokens that the embedder reads" if share > MAX_TRUNCATED else ""
    )
    return _outcome("truncated", problem, "warning", f"{share:.1%} of the chunks are longer than the embedder reads")


def language(run: Evidence) -> Check:
    """Check that the embedding model knows the corpus's language (VX9)."""
    if not run.languages or "multilingual" in run.languages:
        return Check("language", "ok", "not applicable: the embedder is multilingual, or its languages are unknown")
    corpus = guess_language(" ".join(document.text[:300] for document in run.dataset.documents[:200]))
    problem = f"the corpus looks {corpus!r}, the model knows {', '.join(run.languages)}" if corpus not in run.languages else ""
    return _outcome("language", problem, "warning", f"the model knows the corpus's language ({corpus})")


def few_clusters(run: Evidence) -> Check:
    """Check that there are enough document groups for the intervals to be trusted."""
    groups = len(set(run.clusters))
    problem = f"{groups} document groups: intervals from fewer than {FEW_CLUSTERS} are rough" if groups < FEW_CLUSTERS else ""
    return _outcome("few_clusters", problem, "warning", f"{groups} document groups")


def unresolved(run: Evidence) -> Check:
    """Check that the loader lost nothing."""
    losses = run.dataset.losses
    problem = f"{len(losses)} losses while loading, first: {losses[0]}" if losses else ""
    return _outcome("unresolved", problem, "warning", "nothing was lost while loading")


CHECKS: dict[str, Callable[[Evidence], Check]] = {
    "oracle": oracle,
    "random": random_control,
    "shuffled_gold": shuffled_gold,
    "monotone": monotone,
    "bounded": bounded,
    "duplicate_ids": duplicate_ids,
    "ranks_in_order": ranks_in_order,
    "roles": roles,
    "leakage": leakage,
    "unscored": unscored,
    "truncated": truncated,
    "language": language,
    "few_clusters": few_clusters,
    "unresolved": unresolved,
}
