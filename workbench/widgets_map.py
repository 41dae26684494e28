"""Draw the chunks and a question on a plane: the two directions in which the chunks' vectors differ most (PCA)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from workbench.datatypes import Chunk
from workbench.widgets_language import words
from workbench.widgets_style import LABEL, brief, escape

MAX_FITTED = 1000  # chunks that the plane is computed from
MAX_DRAWN = 300  # chunks that are neither hits nor evidence
WIDTH, HEIGHT, EDGE = 400, 270, 14  # of the drawing

WORDS = {
    "title": ("Map of the question and {count:,} chunks", "질문과 청크 {count:,}개의 지도"),
    "caption": (
        "★ question · ● hit with its rank · ■ evidence (□ not found) · dots: other chunks. It shows {share:.0%} of the variance: "
        "distances are distorted.{sample}",
        "★ 질문 · ● 검색 결과와 순위 · ■ 근거(□ 못 찾음) · 점: 다른 청크. 벡터 분산의 {share:.0%}만 나타내므로 거리는 왜곡됨.{sample}",
    ),
    "sample": (" {count:,} of {all:,} chunks are drawn.", " 청크 {all:,}개 중 {count:,}개만 표시."),
    "question": ("question", "질문"),
    "hit": ("hit {rank}: {name}", "{rank}위: {name}"),
    "hit evidence": ("hit {rank}, evidence: {name}", "{rank}위, 근거: {name}"),
    "missed": ("evidence, not found: {name}", "못 찾은 근거: {name}"),
    "none": ("No map: {label} has no embedder.", "지도 없음: 임베딩 모델을 쓰지 않는 후보({label})."),
}
say = words(WORDS)


@dataclass(frozen=True)
class Plane:
    """Hold a plane through vectors: their mean (d,), two orthogonal directions (2, d), and the share of the variance along each."""

    mean: np.ndarray
    axes: np.ndarray
    shares: tuple[float, float]

    def place(self, vectors: np.ndarray) -> np.ndarray:
        """Return where vectors (n, d) lie in the plane, float64 (n, 2)."""
        return (np.asarray(vectors, dtype=np.float64) - self.mean) @ self.axes.T


def fit_plane(vectors: np.ndarray) -> Plane:
    """Return the plane of the two principal components of vectors (n, d); of more than MAX_FITTED, evenly spaced ones are taken.

    The largest entry of each direction is positive, so equal vectors give the same plane. Where the vectors do not differ in a direction,
    it is zero.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    vectors = vectors[np.unique(np.linspace(0, len(vectors) - 1, min(len(vectors), MAX_FITTED)).round().astype(int))]
    mean = vectors.mean(axis=0)
    _, lengths, directions = np.linalg.svd(vectors - mean, full_matrices=False)
    axes, squares = np.zeros((2, vectors.shape[1])), np.zeros(2)
    for row in range(min(2, len(lengths))):
        if lengths[row] > 1e-9 * math.sqrt(len(vectors)):
            axes[row] = directions[row] * np.sign(directions[row][np.argmax(np.abs(directions[row]))])
            squares[row] = lengths[row] ** 2
    shares = squares / max(float((lengths**2).sum()), 1e-12)
    return Plane(mean, axes, (float(shares[0]), float(shares[1])))


def map_view(
    plane: Plane, points: np.ndarray, question: np.ndarray, chunks: Sequence[Chunk], ranks: Mapping[int, int], evidence: Set[int]
) -> str:
    """Return the map as static, escaped HTML: an SVG and what it shows in words.

    `points` (n, 2) are the chunks' places and `question` (2,) that of the question; `ranks` gives the rank of each row that is a hit,
    `evidence` are the rows that hold evidence. Shapes tell hits and evidence apart, not colours alone.
    """
    marked = set(ranks) | evidence
    others = [row for row in range(len(chunks)) if row not in marked]
    drawn = others if len(others) <= MAX_DRAWN else [others[at] for at in np.linspace(0, len(others) - 1, MAX_DRAWN).astype(int)]
    seen = np.vstack([points[[*drawn, *marked]], question])
    low, high = seen.min(axis=0), seen.max(axis=0)
    scale = (np.array([WIDTH, HEIGHT]) - 2 * EDGE) / np.where(high > low, high - low, 1)

    def at(place: np.ndarray) -> tuple[float, float]:
        x, y = (place - low) * scale + EDGE
        return float(x), HEIGHT - float(y)

    parts = [_mark("other", *at(points[row]), _name(chunks[row])) for row in drawn]
    parts += [_mark("missed", *at(points[row]), say("missed", name=_name(chunks[row]))) for row in sorted(evidence - set(ranks))]
    for row, rank in sorted(ranks.items(), key=lambda item: -item[1]):  # the best is drawn last, over the others
        kind, words = ("reached", "hit evidence") if row in evidence else ("hit", "hit")
        parts.append(_mark(kind, *at(points[row]), say(words, rank=rank, name=_name(chunks[row])), str(rank)))
    parts.append(_mark("question", *at(question), say("question")))
    count = len(drawn) + len(marked)
    sample = say("sample", all=len(chunks), count=count) if count < len(chunks) else ""
    caption = say("caption", share=sum(plane.shares), sample=sample)
    title = say("title", count=count)
    head = f'<svg class="map" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}"><title>{title}</title><desc>{caption}</desc>'
    return f'{head}{"".join(parts)}</svg><div class="faint">{caption}</div>'


def no_map(label: str) -> str:
    """Say that a candidate has no vectors to draw."""
    return f'<div class="faint">{say("none", label=escape(brief(label)))}</div>'


def _name(chunk: Chunk) -> str:
    """Return the title of a chunk and how it begins, as plain text."""
    title = chunk.title or chunk.span.document_id
    return brief(f"{title} – {chunk.text}", LABEL)


def _mark(kind: str, x: float, y: float, tooltip: str, number: str = "") -> str:
    """Return one point; `tooltip` is not escaped yet."""
    if kind in ("reached", "missed"):
        size = 8 if kind == "reached" else 6
        shape = f'<rect x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size}" height="{2 * size}" class="{kind}"/>'
    elif kind == "question":
        corners = (((4 if step % 2 else 10), math.pi * (step / 5 - 0.5)) for step in range(10))
        star = " ".join(f"{x + radius * math.cos(turn):.1f},{y + radius * math.sin(turn):.1f}" for radius, turn in corners)
        shape = f'<polygon points="{star}" class="{kind}"/>'
    else:
        shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{8 if kind == "hit" else 2.5}" class="{kind}"/>'
    label = f'<text x="{x:.1f}" y="{y + 3.2:.1f}">{number}</text>' if number else ""
    return f"<g><title>{escape(tooltip)}</title>{shape}{label}</g>"
