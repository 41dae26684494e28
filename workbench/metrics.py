"""Score the hits of one question against its evidence spans.

Evidence is all of (any of spans). A hit *touches* a unit when it shares at least one character with one of its spans. Where one hit is the
first to touch several units, the j-th unit found counts at position max(rank, j): ideal is one unit per rank, so nothing can exceed 1, and
on whole documents the values equal those of ir-measures.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from workbench.datatypes import Example, Hit, Span, WorkbenchError
from workbench.packing import Context
from workbench.registry import unknown
from workbench.tokens import TokenTable

RANK_METRICS = ("recall", "hit", "precision", "mrr", "map", "ndcg", "token_precision", "token_iou")
BUDGET_METRIC = "evidence_recall"
INDEX_METRIC = "index_recall"  # of an approximate index against exact search, where there is one; no metric to choose by
TEXT_METRICS = ("answer_em", "answer_f1", "chrf", "citation", "groundedness", "refusal_precision", "refusal_recall", "format_validity")
JUDGE_METRICS = ("judge_correctness", "judge_groundedness")
ANSWER_METRICS = (*TEXT_METRICS, *JUDGE_METRICS)


def touches(span: Span, unit: Sequence[Span]) -> bool:
    """Tell whether a span shares a character with one of the alternatives of a unit."""
    return any(span.overlap(alternative) for alternative in unit)


def first_ranks(hits: Sequence[Hit], example: Example) -> list[int | None]:
    """Return for each evidence unit the rank of the first hit that touches it, or None."""
    wanted: dict[str, list[int]] = {}
    for number, unit in enumerate(example.evidence):
        for document_id in {span.document_id for span in unit}:
            wanted.setdefault(document_id, []).append(number)
    ranks: list[int | None] = [None] * len(example.evidence)
    for hit in hits:
        for number in wanted.get(hit.chunk.span.document_id, ()):
            if ranks[number] is None and touches(hit.chunk.span, example.evidence[number]):
                ranks[number] = hit.rank
    return ranks


def positions(ranks: Sequence[int | None], gains: Sequence[float]) -> list[tuple[int, float]]:
    """Return (position, gain) of the units found, in order; units found at one rank count from the highest gain down."""
    found = sorted((rank, -gain) for rank, gain in zip(ranks, gains, strict=True) if rank is not None)
    return [(max(rank, number), -gain) for number, (rank, gain) in enumerate(found, start=1)]


def recall(ranks: Sequence[int | None], k: int) -> float:
    """Return the share of evidence units that the first k hits touch."""
    return sum(rank is not None and rank <= k for rank in ranks) / len(ranks)


def reciprocal_rank(ranks: Sequence[int | None], k: int) -> float:
    """Return 1 / rank of the first hit that touches evidence, 0 when none of the first k does."""
    return max((1 / rank for rank in ranks if rank is not None and rank <= k), default=0.0)


def average_precision(found: Sequence[tuple[int, float]], units: int, k: int) -> float:
    """Return the mean over all units of (units found so far / position), 0 for a unit not found in k."""
    return sum(number / position for number, (position, _) in enumerate(found, start=1) if position <= k) / units


def ndcg(found: Sequence[tuple[int, float]], gains: Sequence[float], k: int) -> float:
    """Return the discounted gain of the units found in k, divided by that of one unit per rank, best first (linear gains)."""
    reached = sum(gain / math.log2(position + 1) for position, gain in found if position <= k)
    ideal = sum(gain / math.log2(position + 1) for position, gain in enumerate(sorted(gains, reverse=True)[:k], start=1))
    return reached / ideal


def score_ranking(hits: Sequence[Hit], example: Example, ks: Sequence[int], tables: Mapping[str, TokenTable]) -> dict[str, float]:
    """Return every rank metric at every k, named "recall@5"; the example must have evidence."""
    if not example.evidence:
        raise WorkbenchError(f"question {example.id!r} has no evidence to score retrieval with")
    if example.gains and (len(example.gains) != len(example.evidence) or not all(gain > 0 for gain in example.gains)):
        raise WorkbenchError(f"question {example.id!r}: gains {list(example.gains)} must be one positive number for each evidence unit")
    if [hit.rank for hit in hits] != list(range(1, len(hits) + 1)):
        raise WorkbenchError(
            f"question {example.id!r}: hits must come best first with ranks 1, 2, 3, ..., got {[hit.rank for hit in hits[:5]]}"
        )
    if len({hit.chunk.id for hit in hits}) < len(hits):
        raise WorkbenchError(f"question {example.id!r}: the same chunk was retrieved twice")
    ranks = first_ranks(hits, example)
    gains = example.gains or (1.0,) * len(ranks)
    found = positions(ranks, gains)
    relevant = [any(touches(hit.chunk.span, unit) for unit in example.evidence) for hit in hits[: max(ks)]]
    scores: dict[str, float] = {}
    for k in ks:
        precision, iou = token_overlap(hits[:k], example, tables)
        scores |= {
            f"recall@{k}": recall(ranks, k),
            f"hit@{k}": float(any(rank is not None and rank <= k for rank in ranks)),
            f"precision@{k}": sum(relevant[:k]) / k,
            f"mrr@{k}": reciprocal_rank(ranks, k),
            f"map@{k}": average_precision(found, len(ranks), k),
            f"ndcg@{k}": ndcg(found, gains, k),
            f"token_precision@{k}": precision,
            f"token_iou@{k}": iou,
        }
    return scores


def token_overlap(hits: Sequence[Hit], example: Example, tables: Mapping[str, TokenTable]) -> tuple[float, float]:
    """Return shared tokens / retrieved tokens and shared tokens / tokens in either, of the union of hits and the evidence touched best."""
    retrieved = merge(hit.chunk.span for hit in hits)
    evidence = merge(max(unit, key=lambda span: covered(span, retrieved, tables)) for unit in example.evidence)
    total = sum(tables[document].count(start, end) for document, ranges in retrieved.items() for start, end in ranges)
    gold = sum(tables[document].count(start, end) for document, ranges in evidence.items() for start, end in ranges)
    shared = 0
    for document, ranges in evidence.items():
        for start, end in ranges:
            for low, high in retrieved.get(document, ()):
                if max(start, low) < min(end, high):
                    shared += tables[document].count(max(start, low), min(end, high))
    union = total + gold - shared
    return (shared / total if total else 0.0), (shared / union if union else 0.0)


def evidence_recall(context: Context, example: Example, tables: Mapping[str, TokenTable]) -> float:
    """Return the share of the evidence's characters (white space not counted) that lie in the context.

    Of a unit's alternatives the one covered best counts, and the shortest sets the unit's weight, so a larger budget never scores lower.
    Evidence of white space alone is unscored (NaN).
    """
    ranges = merge(context.pieces)
    inside, total = 0.0, 0
    for unit in example.evidence:
        sizes = {span: size for span in unit if (size := tables[span.document_id].visible_in(span.start, span.end))}
        weight = min(sizes.values(), default=0)
        inside += weight * max((covered(span, ranges, tables) / size for span, size in sizes.items()), default=0.0)
        total += weight
    return inside / total if total else math.nan


def covered(span: Span, ranges: Mapping[str, Sequence[tuple[int, int]]], tables: Mapping[str, TokenTable]) -> int:
    """Count the visible characters of a span that lie in merged ranges."""
    table = tables[span.document_id]
    shared = ((max(span.start, low), min(span.end, high)) for low, high in ranges.get(span.document_id, ()))
    return sum(table.visible_in(start, end) for start, end in shared if start < end)


def merge(spans: Iterable[Span]) -> dict[str, list[tuple[int, int]]]:
    """Join overlapping and touching spans; return the ranges of each document in order."""
    merged: dict[str, list[tuple[int, int]]] = {}
    for span in sorted(spans):
        ranges = merged.setdefault(span.document_id, [])
        if ranges and span.start <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], span.end))
        else:
            ranges.append((span.start, span.end))
    return merged


def metric_names(ks: Sequence[int], budgets: Sequence[int], document_gold: bool, answers: bool = False, judged: bool = False) -> list[str]:
    """List the names of all metrics that a run yields, in column order: those of answers where some are generated, and judged."""
    names = [] if document_gold else [f"{BUDGET_METRIC}@{budget}t" for budget in budgets]
    names += [f"{metric}@{k}" for metric in RANK_METRICS for k in ks]
    return [*names, *TEXT_METRICS * answers, *JUDGE_METRICS * judged]


def check_metric(name: str, known: Sequence[str]) -> str:
    """Return the name; raise WorkbenchError with the nearest match when no such metric is computed."""
    if name not in known:
        if re.fullmatch(rf"{BUDGET_METRIC}@\d+t", name) and not any(item.startswith(BUDGET_METRIC) for item in known):
            raise WorkbenchError(f"{name} needs evidence spans; this data set's gold is whole documents, so use e.g. ndcg@10")
        if name in JUDGE_METRICS:
            raise WorkbenchError(f"{name} needs a judge (--judge openai:MODEL)")
        if name in ANSWER_METRICS:
            raise WorkbenchError(f"{name} scores answers; answer metrics need a generator (--generator hf:MODEL)")
        raise unknown("metric", name, known)
    return name
