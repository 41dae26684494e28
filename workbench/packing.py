"""Fill a context budget with hits: best first, no character twice, the last chunk cut at the last whole token that fits."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workbench.datatypes import Document, Hit, Passage, Span, WorkbenchError
from workbench.tokens import TokenTable


@dataclass(frozen=True)
class Context:
    """Hold the pieces of documents that a budget paid for, in the order of the hits."""

    pieces: tuple[Span, ...]
    tokens: int
    full: bool  # False when the hits ran out before the budget did

    def within(self, budget: int, tables: Mapping[str, TokenTable]) -> Context:
        """Return the context that a smaller budget gives: a prefix of this one, by the packing rule."""
        pieces, left = [], _checked(budget)
        for span in self.pieces:  # which hold no character twice
            table = tables[span.document_id]
            over = table.count(span.start, span.end) > left
            end = table.cut(span.start, left) if over else span.end
            if table.visible_in(span.start, end):
                pieces.append(Span(span.document_id, span.start, end) if over else span)
                left -= table.count(span.start, end)
            if over or left == 0:
                return Context(tuple(pieces), budget - left, True)
        return self

    def passages(self, documents: Mapping[str, Document]) -> tuple[Passage, ...]:
        """Return the pieces as a prompt shows them, with the titles of their documents."""
        pieces = ((span, documents[span.document_id]) for span in self.pieces)
        return tuple(Passage(span, document.text[span.start : span.end], document.title) for span, document in pieces)


def pack(hits: Sequence[Hit], budget: int, tables: Mapping[str, TokenTable]) -> Context:
    """Pack hits into so many tokens.

    Each hit adds the parts of its chunk that no earlier hit brought. Costs are document tokens; separators and titles are not counted.
    """
    return pack_spans((hit.chunk.span for hit in hits), budget, tables)


def pack_spans(spans: Iterable[Span], budget: int, tables: Mapping[str, TokenTable]) -> Context:
    """Pack spans in their order into so many tokens; raise WorkbenchError for a budget below 0."""
    taken: dict[str, list[tuple[int, int]]] = {}
    pieces: list[Span] = []
    left = _checked(budget)
    for span in spans:
        table = tables[span.document_id]
        ranges = taken.setdefault(span.document_id, [])
        first = max(bisect.bisect_left(ranges, (span.start,)) - 1, 0)  # ranges are in order and hold no character twice
        for start, end in subtract(span.start, span.end, ranges[first : bisect.bisect_left(ranges, (span.end,))]):
            if not table.visible_in(start, end):
                continue  # white space between two pieces
            cost = table.count(start, end)
            over = cost > left
            if over:
                end = table.cut(start, left)
                cost = table.count(start, end)
            if not over or table.visible_in(start, end):
                pieces.append(Span(span.document_id, start, end))
                bisect.insort(ranges, (start, end))
                left -= cost
            if over or left == 0:
                return Context(tuple(pieces), budget - left, True)
    return Context(tuple(pieces), budget - left, False)


def _checked(budget: int) -> int:
    if budget < 0:
        raise WorkbenchError(f"context budget {budget} must be at least 0 tokens")
    return budget


def subtract(start: int, end: int, taken: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the parts of [start, end) that lie in none of the taken ranges, in order."""
    parts = []
    for low, high in sorted(taken):
        if high <= start or low >= end:
            continue
        if low > start:
            parts.append((start, low))
        start = max(start, high)
    if start < end:
        parts.append((start, end))
    return parts
