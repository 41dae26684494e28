"""Let every run check itself: controls with a known answer here, invariants that published code has broken in its siblings."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from workbench import metrics
from workbench.audit_checks import (
    TOLERANCE,
    Evidence,
    bounded,
    duplicate_ids,
    few_clusters,
    leakage,
    monotone,
    outcome,
    ranks_in_order,
    saturated,
    unresolved,
    unscored,
)
from workbench.audit_health import bm25_ceiling, ceiling_floor
from workbench.audit_vectors import ann_recall, language, reranker_truncated, roles, truncated, vectors_finite
from workbench.datatypes import Hit
from workbench.evaluation import Check
from workbench.packing import pack
from workbench.registry import split_spec

DRAWS = 500  # random rankings, at least
OTHERS = 10  # questions whose evidence stands in for a question's own
MIN_QUESTIONS = 10
MAX_CHANCE = 0.25


def audit(run: Evidence) -> tuple[Check, ...]:
    """Return one Check for each id in CHECKS, in their order."""
    return tuple(check(run) for check in CHECKS.values())


def oracle(run: Evidence) -> Check:
    """Rank the chunks that touch the evidence first: recall, hit, MRR and evidence recall must then be perfect, and nDCG without grades."""
    for example, units in zip(run.dataset.examples, run.relevant, strict=True):
        firsts = [min(rows) for rows in units if rows]
        order = [run.chunks[row] for row in [*firsts, *sorted(set().union(*units))]]
        hits = [Hit(chunk, 1.0, rank) for rank, chunk in enumerate({chunk.id: chunk for chunk in order}.values(), start=1)]
        size = sum(run.tables[hit.chunk.span.document_id].count(hit.chunk.span.start, hit.chunk.span.end) for hit in hits)
        k = max(len(hits), 1)
        scores = metrics.score_ranking(hits, example, [k], run.tables)
        scores[metrics.BUDGET_METRIC] = metrics.evidence_recall(pack(hits, size, run.tables), example, run.tables)
        perfect = ["recall", "hit", "mrr", *([] if example.gains else ["ndcg"])]
        if any(scores[name] < 1 - TOLERANCE for name in (metrics.BUDGET_METRIC, *(f"{name}@{k}" for name in perfect))):
            problem = f"question {example.id!r}: even a perfect ranking misses evidence; the chunker lost text or a metric is wrong"
            return Check("oracle", "error", problem)
    return Check("oracle", "ok", "a perfect ranking reaches all evidence")


def random_control(run: Evidence) -> Check:
    """Rank at random: mean recall must agree with the probability that k draws touch the evidence.

    By Bernstein's inequality a sound run fails once in a million times, however few the questions and however rare the evidence.
    """
    generator = np.random.default_rng(run.settings.seed)
    n = len(run.dataset.examples)
    rounds = math.ceil(DRAWS / n)
    seen = 0.0
    for example in run.dataset.examples * rounds:
        drawn = generator.choice(len(run.chunks), size=run.k, replace=False)
        hits = [Hit(run.chunks[row], 1.0, rank) for rank, row in enumerate(drawn, start=1)]
        seen += metrics.recall(metrics.first_ranks(hits, example), run.k) / rounds
    variance = float((run.chance * (1 - run.chance)).sum()) * rounds
    off = rounds * abs(seen - float(run.chance.sum())) > 5 + math.sqrt(25 + 30 * max(variance, 0.0))
    message = f"recall@{run.k} of random rankings is {seen / n:.3f}, chance is {run.chance.mean():.3f}"
    return outcome("random", f"{message}: a metric is wrong" if off else "", "error", message)


def shuffled_gold(run: Evidence) -> Check:
    """Score the same hits against other questions' evidence: they must fit their own clearly better.

    An error where foreign evidence scores high, because scores then do not depend on the gold; else a warning, for a hopeless retriever
    looks like wrong gold.
    """
    rows: dict[str, list[int]] = {}
    for row, cluster in enumerate(run.clusters):
        rows.setdefault(cluster, []).append(row)
    if split_spec(run.settings.retriever)[0] == "random":
        return Check("shuffled_gold", "ok", "not applicable: a random ranking does not depend on the question")
    if len(run.clusters) < MIN_QUESTIONS or len(rows) < 2 or run.chance.mean() > MAX_CHANCE:
        wanted = f"{MIN_QUESTIONS} questions, two document groups, and many more chunks than top_k"
        return Check("shuffled_gold", "ok", f"not applicable: needs {wanted}")
    generator = np.random.default_rng(run.settings.seed)
    metric = f"recall@{run.settings.top_k}"
    foreign = []
    others_before = {cluster: np.array(own) - np.arange(len(own)) for cluster, own in rows.items()}  # each question of the cluster
    for cluster, found in zip(run.clusters, run.hits, strict=True):
        others = len(run.clusters) - len(rows[cluster])
        places = generator.choice(others, size=min(OTHERS, others), replace=False)
        drawn = places + np.searchsorted(others_before[cluster], places, side="right")  # the rows of these others
        ranks = [metrics.first_ranks(found, run.dataset.examples[row]) for row in drawn]
        foreign.append(np.mean([metrics.recall(item, run.settings.top_k) for item in ranks]))
    own, other = run.scores[metric].mean(), np.mean(foreign)
    gain = run.scores[metric] - foreign
    message = f"{metric} is {own:.3f}, with other questions' evidence {other:.3f}"
    if gain.mean() > 2 * gain.std() / math.sqrt(len(gain)):
        return Check("shuffled_gold", "ok", message)
    if other > 2 * MAX_CHANCE:
        return Check("shuffled_gold", "error", f"{message}: scores do not depend on the gold")
    return Check("shuffled_gold", "warning", f"{message}: the evidence belongs to other questions, or this retriever finds nothing")


CHECKS: dict[str, Callable[[Evidence], Check]] = {
    "oracle": oracle,
    "random": random_control,
    "shuffled_gold": shuffled_gold,
    "monotone": monotone,
    "bounded": bounded,
    "duplicate_ids": duplicate_ids,
    "ranks_in_order": ranks_in_order,
    "vectors_finite": vectors_finite,
    "roles": roles,
    "leakage": leakage,
    "unscored": unscored,
    "truncated": truncated,
    "reranker_truncated": reranker_truncated,
    "language": language,
    "few_clusters": few_clusters,
    "saturated": saturated,
    "unresolved": unresolved,
    "ann_recall": ann_recall,
    "bm25_ceiling": bm25_ceiling,
    "ceiling_floor": ceiling_floor,
}
