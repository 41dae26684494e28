"""Show how a document was cut: plain functions that count and return HTML.

Colour is never the only sign: chunks have borders and numbered labels, overlaps are striped, evidence is underlined. Where a viewer strips
the style sheet, the tags alone (mark, u, sup) keep it readable.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.datatypes import Chunk, Document, Span
from workbench.text import guess_language
from workbench.tokens import SimpleTokenizer, TokenTable, token_table
from workbench.widgets_language import words
from workbench.widgets_style import escape

GUESSED = 4000  # characters that tell the language of a document

WORDS = {
    "chunks": ("chunks", "청크 수"),
    "tokens": ("tokens: min · median · max", "토큰: 최소 · 중앙값 · 최대"),
    "repeated": ("tokens repeated by overlap", "겹쳐서 반복된 토큰"),
    "cut": ("cut evidence", "잘린 근거"),
    "of": ("{count} of {all}", "{all}개 중 {count}개"),
    "no evidence": ("none here", "근거 없음"),
    "label": ("{number} · {tokens} tok", "{number} · {tokens}토큰"),
    "end": ("end of {number}", "{number} 끝"),
    "title": ("chunk {number}", "청크 {number}"),
    "legend": (
        "Striped: in more than one chunk. Underlined: evidence. Wavy line: cut evidence, which no chunk holds whole.",
        "줄무늬: 둘 이상의 청크에 든 부분. 밑줄: 근거. 물결 밑줄: 잘린 근거(온전히 담은 청크가 없음).",
    ),
}
say = words(WORDS)

# Named, since a browser that has to look for a font with Hangul takes three times as long to lay a page of Korean out
KOREAN = '"Noto Sans KR", "Noto Sans CJK KR", "Malgun Gothic", "Apple SD Gothic Neo", NanumGothic'
# JupyterLab's colours where they exist, else those of the browser's light or dark scheme
_LIGHT = "color-scheme: light; --odd: rgba(0, 114, 178, .16); --even: rgba(230, 159, 0, .28); --border: #5f6b76; --evidence: #b34700;"
_DARK = "color-scheme: dark; --odd: rgba(86, 180, 233, .26); --even: rgba(230, 159, 0, .30); --border: #a9b4be; --evidence: #ff9d5c;"
CSS = f"""<style>
.workbench-chunks {{ {_LIGHT} background: var(--jp-layout-color0, Canvas); color: var(--jp-content-font-color1, CanvasText);
  padding: 8px 12px; font: 13px/1.5 var(--jp-ui-font-family, system-ui, sans-serif); }}
@media (prefers-color-scheme: dark) {{ .workbench-chunks {{ {_DARK} }} }}
[data-jp-theme-light="true"] .workbench-chunks {{ {_LIGHT} }}
[data-jp-theme-light="false"] .workbench-chunks {{ {_DARK} }}
.workbench-chunks.part {{ padding: 2px 12px; contain: layout style; }}
.workbench-chunks p {{ margin: 0 0 6px; }}
.workbench-chunks dl {{ display: flex; flex-wrap: wrap; gap: 4px 28px; margin: 0 0 6px; }}
.workbench-chunks dl dt {{ float: none; width: auto; font-weight: 400; opacity: .8; }}
.workbench-chunks dl dd {{ margin: 0; width: auto; font-size: 17px; font-weight: 600; font-variant-numeric: tabular-nums; }}
.workbench-chunks pre.text {{ margin: 0; white-space: pre-wrap; overflow-wrap: break-word; word-break: normal;
  background: none; color: inherit; font: 14px/1.85 var(--jp-content-font-family, system-ui, sans-serif); }}
.workbench-chunks pre.text:lang(ko) {{ font-family: {KOREAN}, var(--jp-content-font-family, system-ui, sans-serif); }}
.workbench-chunks :is(span, mark) {{ color: inherit; padding: 2px 0; background: none; }}
.workbench-chunks .odd {{ background: var(--odd); }}
.workbench-chunks .even {{ background: var(--even); }}
.workbench-chunks .both {{ background: repeating-linear-gradient(135deg, var(--odd) 0 5px, var(--even) 5px 10px);
  border-block: 1px dashed var(--border); }}
.workbench-chunks .first {{ border-left: 2px solid var(--border); padding-left: 2px; }}
.workbench-chunks .last {{ border-right: 2px solid var(--border); padding-right: 2px; }}
.workbench-chunks u {{ text-decoration: underline 2px var(--evidence); text-underline-offset: 4px; }}
.workbench-chunks u.cut {{ text-decoration-style: wavy; text-decoration-thickness: 1.5px; }}
.workbench-chunks sup {{ font: 600 10px/1 var(--jp-ui-font-family, system-ui, sans-serif); margin: 0 3px; opacity: .8;
  user-select: none; white-space: nowrap; }}
.workbench-chunks :is(sup, dd).cut {{ color: var(--evidence); opacity: 1; }}
</style>"""


# --- counting ----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChunkCounts:
    """Hold what a cutting of one document comes to.

    `sizes` are the tokens of each chunk; `repeated` is the share of all these that an earlier chunk holds too, from 0 to 1; `cut` of
    `evidence` spans stand whole in no chunk.
    """

    sizes: tuple[int, ...]
    repeated: float
    cut: int
    evidence: int


def count_chunks(chunks: Sequence[Chunk], table: TokenTable, evidence: Iterable[Span] = ()) -> ChunkCounts:
    """Count the chunks and the evidence of one document, whose tokens are `table`."""
    firsts, lasts = np.searchsorted(table.starts, [(chunk.span.start, chunk.span.end) for chunk in chunks]).reshape(-1, 2).T
    steps = np.zeros(len(table.starts) + 1, dtype=np.int64)
    np.add.at(steps, firsts, 1)
    np.add.at(steps, lasts, -1)
    sizes, spans = (lasts - firsts).tolist(), set(evidence)
    repeated = sum(sizes) - int((np.cumsum(steps) > 0).sum())
    return ChunkCounts(tuple(sizes), repeated / max(1, sum(sizes)), len(cut_spans(spans, chunks, table)), len(spans))


def cut_spans(evidence: Iterable[Span], chunks: Sequence[Chunk], table: TokenTable) -> set[Span]:
    """Return the evidence that no single chunk of one document holds whole, white space aside."""
    starts, ends = np.array([(chunk.span.start, chunk.span.end) for chunk in chunks], dtype=np.int64).reshape(-1, 2).T

    def whole(span: Span) -> bool:
        low, high = np.maximum(starts, span.start), np.minimum(ends, span.end)
        visible = table.visible_before(high) - table.visible_before(low)
        return bool(((low < high) & (visible == table.visible_in(span.start, span.end))).any())

    return {span for span in evidence if not whole(span)}


# --- the view ----------------------------------------------------------------------------------------------------------------------------


def chunk_view(document: Document, chunks: Sequence[Chunk], evidence: Iterable[Span] = (), table: TokenTable | None = None) -> str:
    """Return static, escaped HTML of the document with its chunks in alternating colours and its evidence underlined, and its counts.

    Every character of the document stands once, in order, outside the labels (`sup`). Labels give the number of a chunk and its tokens,
    counted in `table`, by default that of the tokenizer "simple". Evidence that no single chunk holds whole is marked as cut. Chunks and
    evidence of other documents are left out.
    """
    table = table or token_table(document.text, SimpleTokenizer())
    chunks = [chunk for chunk in chunks if chunk.span.document_id == document.id]
    evidence = [span for span in evidence if span.document_id == document.id]
    head = f"<p><b>{escape(document.title or document.id)}</b></p>"
    counts = counts_row(count_chunks(chunks, table, evidence))
    inner = f"{head}{counts}<p>{say('legend')}</p>{marked_text(document.text, chunks, evidence, table)}"
    return f'{CSS}<div class="workbench-chunks">{inner}</div>'


def counts_row(counts: ChunkCounts) -> str:
    """Return the counts as a row of names and numbers."""
    sizes = counts.sizes
    cells = [(say("chunks"), f"{len(sizes):,}", "")]
    if sizes:
        cells += [
            (say("tokens"), f"{min(sizes):,} · {np.median(sizes):,g} · {max(sizes):,}", ""),
            (say("repeated"), f"{counts.repeated:.0%}", ""),
        ]
    found = say("of", count=counts.cut, all=counts.evidence) if counts.evidence else say("no evidence")
    cells.append((say("cut"), found, ' class="cut"' if counts.cut else ""))
    return "<dl>" + "".join(f"<div><dt>{name}</dt><dd{style}>{value}</dd></div>" for name, value, style in cells) + "</dl>"


def marked_text(text: str, chunks: Sequence[Chunk], evidence: Iterable[Span], table: TokenTable) -> str:
    """Return the text of a document as HTML, its chunks and evidence marked; see chunk_view."""
    spans = sorted((chunk.span for chunk in chunks), key=lambda span: (span.start, span.end))
    borders = np.searchsorted(table.starts, [(span.start, span.end) for span in spans]).reshape(-1, 2)
    labels = [say("label", number=number, tokens=last - first) for number, (first, last) in enumerate(borders.tolist(), start=1)]
    evidence = sorted(set(evidence))
    cut = cut_spans(evidence, chunks, table)
    parts, here, touched = [], [], []
    before: list[int] = []
    waiting, asked = 0, 0  # the next chunk and the next evidence to begin
    edges = {0, len(text)} | {edge for span in (*spans, *evidence) for edge in (span.start, span.end)}
    for start, end in itertools.pairwise(sorted(edges)):
        here = [number for number in before if spans[number].end > start]
        while waiting < len(spans) and spans[waiting].start == start:
            here.append(waiting)
            waiting += 1
        touched = [span for span in touched if span.end > start]
        while asked < len(evidence) and evidence[asked].start == start:
            touched.append(evidence[asked])
            asked += 1
        # the end of a chunk is said only where another chunk goes on
        goes_on = any(number in before for number in here)
        parts += [f"<sup>{say('end', number=number + 1)}</sup>" for number in before if goes_on and number not in here]
        parts += [f"<sup>{labels[number]}</sup>" for number in here if number not in before]
        if any(span.start == start and span in cut for span in touched):
            parts.append(f'<sup class="cut">{say("cut")}</sup>')
        piece = html.escape(text[start:end]).replace("\r", "&#13;")  # browsers turn a bare CR into LF
        if touched:
            piece = ('<u class="cut">' if cut.intersection(touched) else "<u>") + piece + "</u>"
        first, last = any(number not in before for number in here), any(spans[number].end == end for number in here)
        parts.append(_segment(piece, here, first, last))
        before = here
    korean = guess_language(text[:GUESSED]) == "ko"  # Korean lines break between words
    style = f"white-space: pre-wrap; word-break: {'keep-all' if korean else 'normal'}; overflow-wrap: break-word"
    named = ' lang="ko"' if korean else ""
    return f'<pre class="text" dir="auto"{named} style="{style}">{"".join(parts)}</pre>'


def _segment(text: str, here: Sequence[int], first: bool, last: bool) -> str:
    """Wrap text (HTML) in the chunks that cover it; those of even numbers are `mark`, which stands out without a style sheet too."""
    if not here:
        return f"<span>{text}</span>"
    kind = "both" if len(here) > 1 else ("odd", "even")[here[0] % 2]
    tag = "span" if kind == "odd" else "mark"
    title = say("title", number=", ".join(str(number + 1) for number in here))
    return f'<{tag} class="{kind}{" first" * first}{" last" * last}" title="{title}">{text}</{tag}>'
