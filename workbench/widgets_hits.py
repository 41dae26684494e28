"""Show what several configurations found for a question, side by side: plain functions that return HTML."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workbench.datatypes import Example, Hit, Span
from workbench.metrics import first_ranks
from workbench.text import HANGUL, TOKENISERS
from workbench.widgets_language import words
from workbench.widgets_question import question_head
from workbench.widgets_style import LABEL, column, folded, page

WORDS = {
    "legend": (
        "<mark>Highlighted</mark>: a term of the question, as BM25 cuts terms. <u>Underlined</u>: evidence. Long texts are folded (…). "
        "Scores compare within a column only.",
        "<mark>형광 표시</mark>: 질문에 나온 말(BM25가 자르는 단위). <u>밑줄</u>: 근거. 긴 텍스트는 접힘(…). 점수는 같은 열 안에서만 비교.",
    ),
    "no evidence": ("no evidence in the hits", "검색 결과에 근거 없음"),
    "first": ("first evidence at rank {rank}", "첫 근거 {rank}위"),
    "pieces": (" ({found} of {all} pieces found: {ranks})", " (근거 {all}개 중 {found}개 찾음: {ranks}위)"),
    "recall": ("{share:.0%} of it in the context of {budget:,} tokens", "{budget:,}토큰 컨텍스트에 근거의 {share:.0%}"),
    "score": ("score {score:.4g}", "점수 {score:.4g}"),
    "brings": ("+{tokens:,} tok", "+{tokens:,}토큰"),
    "past": ("not in the context", "컨텍스트 밖"),
    "only here": ("only here", "여기에만 있음"),
    "full": ("The context is full: {tokens:,} of {budget:,} tokens.", "컨텍스트가 다 참: {budget:,}토큰 중 {tokens:,}토큰."),
    "not read": (" What follows is not read.", " 아래는 읽지 않음."),
    "not full": ("The context is not full: {tokens:,} of {budget:,} tokens.", "컨텍스트가 다 차지 않음: {budget:,}토큰 중 {tokens:,}토큰."),
    "nothing": ("Nothing found.", "검색 결과 없음."),
    "hit": ("hit {rank}", "검색 결과 {rank}위"),
    "evidence": ("evidence", "근거"),
}
say = words(WORDS)

_WORD = re.compile(r"\w+")
_HANGUL = re.compile(f"[{HANGUL}]")
_LATIN = re.compile(f"[^{HANGUL}]+")  # within a word


@dataclass(frozen=True, slots=True)
class Found:
    """Hold what one candidate found for a question.

    `tokens[i]` is the size of the context that the first i + 1 hits fill; `full` is the rank of the hit that reaches the budget, None when
    the hits end before it does. `recall` is the share of the evidence in that context, None when nothing tells.
    """

    label: str
    hits: tuple[Hit, ...]
    budget: int
    tokens: tuple[int, ...]
    full: int | None
    recall: float | None = None
    tokeniser: str = "word"


# --- which terms match -------------------------------------------------------------------------------------------------------------------


def term_spans(text: str, question: str, tokeniser: str) -> list[tuple[int, int]]:
    """Return where the text holds terms of the question, as a tokeniser of `text.TOKENISERS` cuts them.

    A Hangul term marks just its syllables: 환불을 matches 환불 in 환불은 and leaves the particle. A Latin one marks the whole word, since
    stems are no prefixes. Words are cut one by one, so what Kiwi would only see from a whole sentence may differ.
    """
    asked = frozenset(TOKENISERS[tokeniser](question))
    found: list[tuple[int, int]] = []
    for word in _WORD.finditer(text):
        found += [(word.start() + start, word.start() + end) for start, end in _in_word(word[0], tokeniser, asked)]
    return found


def _in_word(word: str, tokeniser: str, asked: frozenset[str]) -> Iterable[tuple[int, int]]:
    lower = word.lower()
    for term in asked.intersection(_terms(tokeniser, word)):
        places = []
        if not _HANGUL.search(term):
            places = [run.span() for run in _LATIN.finditer(word) if term in _terms(tokeniser, run[0])]
        elif len(lower) == len(word):
            start = lower.find(term)
            while start >= 0:
                places.append((start, start + len(term)))
                start = lower.find(term, start + 1)  # pairs of syllables overlap
        yield from places or [(0, len(word))]


@functools.lru_cache(maxsize=50_000)
def _terms(tokeniser: str, word: str) -> frozenset[str]:
    return frozenset(TOKENISERS[tokeniser](word))


# --- the view ----------------------------------------------------------------------------------------------------------------------------


def retrieval_view(example: Example, found: Sequence[Found], maps: Sequence[str] = ()) -> str:
    """Return static, escaped HTML of what each candidate found for a question, side by side.

    Each hit shows its rank, its score (comparable within a candidate only), its title, the tokens it brings, and its text with the
    question's terms highlighted and evidence underlined; SHOWN characters stand open, a fold with evidence too. A line follows the hit that
    fills the budget. `maps` are trusted HTML, one for each candidate, shown above its hits.
    """
    columns = [
        column(item.label, _column(example, item, [other for other in found if other is not item], drawn))
        for item, drawn in zip(found, maps or [""] * len(found), strict=True)
    ]
    return page(question_head(example) + f'<div class="faint">{say("legend")}</div>', columns)


def evidence_summary(example: Example, hits: Sequence[Hit]) -> str:
    """Say at which ranks the evidence of a question is first touched, as trusted text."""
    ranks = first_ranks(hits, example)
    reached = sorted(rank for rank in ranks if rank is not None)
    if not reached:
        return say("no evidence")
    pieces = say("pieces", found=len(reached), all=len(ranks), ranks=", ".join(map(str, reached))) if len(ranks) > 1 else ""
    return say("first", rank=reached[0]) + pieces


def _column(example: Example, found: Found, others: Sequence[Found], drawn: str) -> str:
    facts = [f"<b>{evidence_summary(example, found.hits)}</b>"] if example.evidence else []
    if found.recall is not None:
        facts.append(say("recall", share=found.recall, budget=found.budget))
    parts = [f'<div class="row">{" · ".join(facts)}</div>', drawn]
    for hit, tokens, before in zip(found.hits, found.tokens, (0, *found.tokens), strict=False):
        past = found.full is not None and hit.rank > found.full
        shared = any(hit.chunk.span.overlap(other.chunk.span) for item in others for other in item.hits)
        facts = [say("score", score=hit.score), say("past") if past else say("brings", tokens=tokens - before)]
        parts.append(_hit(example, hit, found.tokeniser, facts + [say("only here")] * (bool(others) and not shared), past))
        if hit.rank == found.full:
            after = say("not read") if hit.rank < len(found.hits) else ""
            parts.append(_line(say("full", tokens=tokens, budget=found.budget) + after))
    if found.full is None and found.hits:
        parts.append(_line(say("not full", tokens=found.tokens[-1], budget=found.budget)))
    return "".join(parts) if found.hits else "".join(parts) + f'<div class="item">{say("nothing")}</div>'


def _line(text: str) -> str:
    return f'<div class="limit" role="separator" aria-label="{text}">{text}</div>'


def _hit(example: Example, hit: Hit, tokeniser: str, facts: Sequence[str], past: bool) -> str:
    """Return one hit; `facts` are trusted."""
    chunk = hit.chunk
    evidence = evidence_ranges(example, chunk.span)
    badge = f' <span class="badge found">{say("evidence")}</span>' if evidence else ""
    title = folded(chunk.title or chunk.span.document_id, LABEL)
    head = f'<div class="row"><b>{hit.rank}</b> {badge} {title}</div><div class="faint">{" · ".join(facts)}</div>'
    text = folded(chunk.text, terms=term_spans(chunk.text, example.question, tokeniser), evidence=evidence)
    return f'<div class="item{" past" * past}" role="group" aria-label="{say("hit", rank=hit.rank)}">{head}{text}</div>'


def evidence_ranges(example: Example, span: Span) -> list[tuple[int, int]]:
    """Return the ranges of a span's own characters that are evidence of a question."""
    touched = [other for unit in example.evidence for other in unit if span.overlap(other)]
    return [(max(other.start, span.start) - span.start, min(other.end, span.end) - span.start) for other in touched]
