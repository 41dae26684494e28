"""Show how a chunker cuts a document: plain functions that return HTML, and a JupyterLab interface that only wires them.

Colour is never the only sign: chunks have borders and numbered labels, overlaps are striped, evidence is underlined. Where a viewer strips
the style sheet, the tags alone (mark, u, sup) keep it readable.
"""

from __future__ import annotations

import difflib
import html
import itertools
import os
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from workbench.chunking import CHUNKERS, create_chunker
from workbench.datatypes import Chunk, Dataset, Document, Span, Tokenizer, WorkbenchError
from workbench.tokens import SimpleTokenizer, TokenTable, load_tokenizer, token_count, token_tables

SIZES = (16, 1024)  # tokens
MAX_DOCUMENTS = 500  # in the dropdown

# JupyterLab's colours where they exist, else those of the browser's light or dark scheme
CSS = """<style>
.workbench-chunks { color-scheme: light dark; background: var(--jp-layout-color0, Canvas); color: var(--jp-content-font-color1, CanvasText);
  padding: 8px 12px; --odd: rgba(0, 114, 178, .16); --even: rgba(230, 159, 0, .28); --border: #5f6b76; --evidence: #b34700; }
@media (prefers-color-scheme: dark) {
  .workbench-chunks { --odd: rgba(86, 180, 233, .26); --even: rgba(230, 159, 0, .30); --border: #a9b4be; --evidence: #ff9d5c; } }
[data-jp-theme-light="true"] .workbench-chunks { color-scheme: light; --odd: rgba(0, 114, 178, .16); --even: rgba(230, 159, 0, .28);
  --border: #5f6b76; --evidence: #b34700; }
[data-jp-theme-light="false"] .workbench-chunks { color-scheme: dark; --odd: rgba(86, 180, 233, .26); --even: rgba(230, 159, 0, .30);
  --border: #a9b4be; --evidence: #ff9d5c; }
.workbench-chunks p { margin: 0 0 8px; font: 13px/1.5 var(--jp-ui-font-family, system-ui, sans-serif); }
.workbench-chunks pre.text { margin: 0; white-space: pre-wrap; overflow-wrap: break-word; word-break: normal;
  background: none; color: inherit;
  font: 14px/1.85 var(--jp-content-font-family, system-ui, sans-serif); }
.workbench-chunks :is(span, mark) { color: inherit; padding: 2px 0; background: none; }
.workbench-chunks .odd { background: var(--odd); }
.workbench-chunks .even { background: var(--even); }
.workbench-chunks .both { background: repeating-linear-gradient(135deg, var(--odd) 0 5px, var(--even) 5px 10px);
  border-block: 1px dashed var(--border); }
.workbench-chunks .first { border-left: 2px solid var(--border); padding-left: 2px; }
.workbench-chunks .last { border-right: 2px solid var(--border); padding-right: 2px; }
.workbench-chunks u { text-decoration: underline 2px var(--evidence); text-underline-offset: 4px; }
.workbench-chunks u.cut { text-decoration-style: wavy; text-decoration-thickness: 1.5px; }
.workbench-chunks sup { font: 600 10px/1 var(--jp-ui-font-family, system-ui, sans-serif); margin: 0 3px; opacity: .8; user-select: none;
  white-space: nowrap; }
.workbench-chunks sup.cut { color: var(--evidence); opacity: 1; }
</style>"""

LEGEND = "Striped: in more than one chunk. Underlined: evidence. Wavy line: cut evidence, which no chunk holds whole."


def chunk_view(
    document: Document, chunks: Sequence[Chunk], evidence: Iterable[Span] = (), tables: Mapping[str, TokenTable] | None = None
) -> str:
    """Return static, escaped HTML of the document with its chunks in alternating colours and its evidence underlined.

    Every character of the document stands once, in order, outside the labels (`sup`). Labels give the number of a chunk and its tokens,
    counted in `tables`, by default with the tokenizer "simple". Evidence that no single chunk holds whole is marked as cut.
    """
    tables = tables or token_tables([document], SimpleTokenizer())
    chunks = sorted(
        (chunk for chunk in chunks if chunk.span.document_id == document.id), key=lambda chunk: (chunk.span.start, chunk.span.end)
    )
    evidence = sorted({span for span in evidence if span.document_id == document.id})
    cut = cut_spans(evidence, chunks, tables)
    edges = {0, len(document.text)} | {edge for span in (*evidence, *(chunk.span for chunk in chunks)) for edge in (span.start, span.end)}
    parts = []
    before: list[int] = []
    for start, end in itertools.pairwise(sorted(edges)):
        here = [number for number, chunk in enumerate(chunks, start=1) if chunk.span.start <= start and end <= chunk.span.end]
        # the end of a chunk is said only where another chunk goes on
        labels = [f"end of {number}" for number in before if number not in here and set(before) & set(here)]
        labels += [f"{n} · {plural(token_count(chunks[n - 1].span, tables), 'token')}" for n in here if chunks[n - 1].span.start == start]
        parts += [f"<sup>{label}</sup>" for label in labels]
        if any(span.start == start for span in cut):
            parts.append('<sup class="cut">cut evidence</sup>')
        text = html.escape(document.text[start:end]).replace("\r", "&#13;")  # browsers turn a bare CR into LF
        touched = [span for span in evidence if span.start <= start and end <= span.end]
        if touched:
            text = ('<u class="cut">' if cut & set(touched) else "<u>") + text + "</u>"
        first = any(chunks[number - 1].span.start == start for number in here)
        last = any(chunks[number - 1].span.end == end for number in here)
        parts.append(_segment(text, here, first, last))
        before = here
    heading = f"<b>{html.escape(document.title or document.id)}</b><br>{html.escape(chunk_summary(chunks, tables, evidence))}<br>{LEGEND}"
    body = (
        f'<pre class="text" dir="auto" style="white-space: pre-wrap; word-break: normal; overflow-wrap: break-word">{"".join(parts)}</pre>'
    )
    return f'{CSS}<div class="workbench-chunks"><p>{heading}</p>{body}</div>'


def _segment(text: str, here: Sequence[int], first: bool, last: bool) -> str:
    """Wrap text (HTML) in the chunks that cover it; even chunks are `mark`, which stands out without a style sheet too."""
    if not here:
        return f"<span>{text}</span>"
    kind = "both" if len(here) > 1 else ("even", "odd")[here[0] % 2]
    tag = "span" if kind == "odd" else "mark"
    title = ("chunks " if len(here) > 1 else "chunk ") + ", ".join(map(str, here))
    return f'<{tag} class="{kind}{" first" * first}{" last" * last}" title="{title}">{text}</{tag}>'


def cut_spans(evidence: Iterable[Span], chunks: Iterable[Chunk], tables: Mapping[str, TokenTable]) -> set[Span]:
    """Return the evidence that no single chunk holds whole, white space aside."""
    by_document: dict[str, list[Span]] = {}
    for chunk in chunks:
        by_document.setdefault(chunk.span.document_id, []).append(chunk.span)

    def whole(span: Span) -> bool:
        visible = tables[span.document_id].visible_in
        shared = ((max(span.start, other.start), min(span.end, other.end)) for other in by_document.get(span.document_id, ()))
        return any(start < end and visible(start, end) == visible(span.start, span.end) for start, end in shared)

    return {span for span in evidence if not whole(span)}


def chunk_summary(chunks: Sequence[Chunk], tables: Mapping[str, TokenTable], evidence: Iterable[Span] = ()) -> str:
    """Return one line: how many chunks, their tokens, and how many evidence spans no single chunk holds whole."""
    spans = set(evidence)
    counts = [token_count(chunk.span, tables) for chunk in chunks]
    words = [plural(len(counts), "chunk")]
    if counts:
        words.append(f"tokens: min {min(counts)}, median {statistics.median(counts):g}, max {max(counts)}")
    words.append(f"evidence spans cut: {len(cut_spans(spans, chunks, tables))} of {len(spans)}" if spans else "no evidence here")
    return " · ".join(words)


def plural(number: int, noun: str) -> str:
    """Return "1 token", "2 tokens"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def chunk_explorer(
    dataset: Dataset,
    chunker: str = "recursive",
    chunk_size: int = 256,
    chunk_overlap: int = 0,
    document_id: str | None = None,
    tokenizer: str = "simple",
) -> Any:
    """Return an interface to try chunkers, sizes and overlaps (tokens) on one document after the other, its evidence marked.

    The first document is `document_id`, else the first one with evidence. The view is made once before any widget is, so wrong arguments
    raise WorkbenchError here. With the environment variable WORKBENCH_HEADLESS set, return that static view and create no widget.
    """
    measure = load_tokenizer(tokenizer)
    evidence = evidence_spans(dataset)
    document = first_document(dataset, evidence, document_id)

    def view(document_id: str, name: str, size: int, overlap: int) -> str:
        return render(dataset.document(document_id), evidence.get(document_id, set()), name, size, overlap, measure)

    first = view(document.id, chunker, chunk_size, chunk_overlap)
    if os.environ.get("WORKBENCH_HEADLESS"):
        from IPython.display import HTML

        return HTML(first)
    return _wire(dataset, view, first, (document.id, chunker, chunk_size, chunk_overlap))


def evidence_spans(dataset: Dataset) -> dict[str, set[Span]]:
    """Return the evidence of all questions of a data set, by document id."""
    found: dict[str, set[Span]] = {}
    for example in dataset.examples:
        for unit in example.evidence:
            for span in unit:
                found.setdefault(span.document_id, set()).add(span)
    return found


def first_document(dataset: Dataset, evidence: Mapping[str, set[Span]], document_id: str | None) -> Document:
    """Return the document named, else the first with evidence, else the first; raise WorkbenchError when there is none."""
    if not dataset.documents:
        raise WorkbenchError(f"data set {dataset.name!r} has no documents to show")
    if document_id is None:
        return next((document for document in dataset.documents if document.id in evidence), dataset.documents[0])
    for document in dataset.documents:
        if document.id == document_id:
            return document
    near = difflib.get_close_matches(document_id, [document.id for document in dataset.documents], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"one of its {len(dataset.documents)} is {dataset.documents[0].id!r}"
    raise WorkbenchError(f"data set {dataset.name!r} has no document {document_id!r}; {hint}")


def render(document: Document, evidence: Iterable[Span], chunker: str, size: int, overlap: int, tokenizer: Tokenizer) -> str:
    """Chunk one document and return its view; raise WorkbenchError for settings that cannot work."""
    chunks = create_chunker(chunker, tokenizer, size, overlap).chunk(document)
    return chunk_view(document, chunks, evidence, token_tables([document], tokenizer))


def error_box(message: str) -> str:
    """Return a red box with an escaped message."""
    style = "border: 2px solid #c62828; border-left-width: 8px; padding: 8px 12px"
    return f'<div class="workbench-error" role="alert" style="{style}"><b>Error:</b> {html.escape(message)}</div>'


def _wire(dataset: Dataset, view: Callable[[str, str, int, int], str], first: str, values: tuple[str, str, int, int]) -> Any:
    """Build the controls, show the first view, and show the view again, or the error, whenever a control changes."""
    import ipywidgets

    document_id, name, tokens, shared = values
    listed = list(dataset.documents[:MAX_DOCUMENTS])
    if document_id not in {document.id for document in listed}:
        listed.append(dataset.document(document_id))
    left_out = len(dataset.documents) - len(listed)
    wide, slider = {"layout": {"width": "420px"}}, {"continuous_update": False, "layout": {"width": "420px"}}
    options = [(f"{item.title} ({item.id})" if item.title not in ("", item.id) else item.id, item.id) for item in listed]
    document = ipywidgets.Dropdown(options=options, value=document_id, description="document", **wide)
    chunker = ipywidgets.Dropdown(options=list(dict.fromkeys((*CHUNKERS, name))), value=name, description="chunker", **wide)
    size = ipywidgets.IntSlider(tokens, min(SIZES[0], tokens), max(SIZES[1], tokens), description="size", **slider)
    overlap = ipywidgets.IntSlider(shared, 0, tokens - 1, description="overlap", **slider)
    note = ipywidgets.HTML(f"{left_out:,} more documents are not listed; name one by document_id." if left_out else "")
    page = ipywidgets.HTML(first)
    crash = ipywidgets.Output()  # shows the traceback of an error that is not about the input

    def limit(change: Mapping[str, Any]) -> None:
        overlap.max = change["new"] - 1  # a larger overlap is lowered to it

    @crash.capture(clear_output=True)
    def show(_change: Mapping[str, Any]) -> None:
        try:
            page.value = view(document.value, chunker.value, size.value, overlap.value)
        except WorkbenchError as error:
            page.value = error_box(str(error))

    size.observe(limit, "value")
    for control in (document, chunker, size, overlap):
        control.observe(show, "value")
    return ipywidgets.VBox([document, note, chunker, size, overlap, crash, page])
