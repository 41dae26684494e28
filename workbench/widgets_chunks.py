"""Try chunkers, sizes and overlaps on one document after the other: a JupyterLab interface over the functions of widgets_chunks_view."""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from typing import Any

from workbench.cache import Cache
from workbench.cache_tokens import cached_chunks, cached_tables
from workbench.chunking import CHUNKERS, create_chunker
from workbench.datatypes import Dataset, Document, Span, WorkbenchError
from workbench.storage import cache_file
from workbench.tokens import load_tokenizer
from workbench.tokens_words import WordTokenizer
from workbench.widgets_chunks_view import CSS, chunk_view, count_chunks, counts_row, marked_text
from workbench.widgets_chunks_view import say as say_view
from workbench.widgets_crash import CrashBox
from workbench.widgets_language import words
from workbench.widgets_saved import saved_as
from workbench.widgets_sliders import slider_names
from workbench.widgets_style import brief, error_box

SIZES, OVERLAPS = (16, 1024), (0, 512)  # tokens
MAX_DOCUMENTS = 500  # in the list

WORDS = {
    "document": ("document", "문서"),
    "chunker": ("chunker", "청킹 방식"),
    "size": ("size (tokens)", "크기 (토큰)"),
    "overlap": ("overlap (tokens)", "겹침 (토큰)"),
    "left out": ("{count:,} more documents are not listed; name one by document_id.", "목록에 없는 문서 {count:,}개: document_id로 지정."),
    "too much": ("the overlap ({overlap}) must be smaller than the size ({size})", "겹침({overlap})은 크기({size})보다 작아야 합니다"),
}
say = words(WORDS)


def chunk_explorer(
    dataset: Dataset,
    chunker: str = "recursive",
    chunk_size: int = 256,
    chunk_overlap: int = 0,
    document_id: str | None = None,
    tokenizer: str = "simple",
    cached: bool = True,
) -> Any:
    """Return an interface to try chunkers, sizes and overlaps (tokens) on one document after the other, its evidence marked.

    The first document is `document_id`, else the first one with evidence. The view is made once before any widget is, so wrong arguments
    raise WorkbenchError here. With the environment variable WORKBENCH_HEADLESS set, return that static view and create no widget.
    """
    measure = load_tokenizer(tokenizer)
    evidence = evidence_spans(dataset)
    document = first_document(dataset, evidence, document_id)
    with closing(Cache(cache_file())) if cached else nullcontext() as cache:
        chunks = cached_chunks([document], chunker, measure, chunk_size, chunk_overlap, cache=cache) if document.text.strip() else []
        table = cached_tables([document], measure, cache)[document.id]
    first = chunk_view(document, chunks, evidence.get(document.id, ()), table)
    if os.environ.get("WORKBENCH_HEADLESS"):
        from IPython.display import HTML

        return HTML(first)
    tokenised = functools.lru_cache(8)(lambda document_id: WordTokenizer(measure, dataset.document(document_id).text))

    def view(document_id: str, chunker: str, size: int, overlap: int) -> tuple[str, str]:
        """Return the counts and the text as HTML."""
        if overlap >= size:
            raise WorkbenchError(say("too much", overlap=overlap, size=size))
        document, tokens, spans = dataset.document(document_id), tokenised(document_id), evidence.get(document_id, set())
        chunks = create_chunker(chunker, tokens, size, overlap).chunk(document)
        return counts_row(count_chunks(chunks, tokens.table, spans)), marked_text(document.text, chunks, spans, tokens.table)

    return saved_as(_wire(dataset, functools.lru_cache(64)(view), (document, chunker, chunk_size, chunk_overlap)), first)


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


def _wire(dataset: Dataset, view: Callable[..., tuple[str, str]], values: tuple[Document, str, int, int]) -> Any:
    """Build the controls, and show the view, or the error, now and whenever a control changes."""
    import ipywidgets

    document, name, tokens, shared = values
    listed = list(dataset.documents[:MAX_DOCUMENTS])
    if all(item is not document for item in listed):
        listed.append(document)
    left_out = len(dataset.documents) - len(listed)
    wide = {"layout": {"width": "min(100% - 4px, 460px)"}, "style": {"description_width": "130px"}}
    options = [(brief(f"{item.title} ({item.id})" if item.title not in ("", item.id) else item.id), item.id) for item in listed]
    choice = ipywidgets.Dropdown(options=options, value=document.id, description=say("document"), **wide)
    chunker = ipywidgets.Dropdown(options=list(dict.fromkeys((*CHUNKERS, name))), value=name, description=say("chunker"), **wide)
    size = ipywidgets.IntSlider(tokens, min(SIZES[0], tokens), max(SIZES[1], tokens), description=say("size"), **wide)
    overlap = ipywidgets.IntSlider(shared, OVERLAPS[0], max(OVERLAPS[1], shared), description=say("overlap"), **wide)
    notes = [ipywidgets.HTML(say("left out", count=left_out))] if left_out else []
    counts = ipywidgets.HTML(layout={"min_height": "54px"})
    page = ipywidgets.HTML(layout={"max_height": "65vh", "overflow": "auto"})
    crash = CrashBox()

    def show(_change: object = None) -> None:
        with crash:
            try:
                row, text = view(choice.value, chunker.value, size.value, overlap.value)
            except WorkbenchError as error:
                row, text = error_box(str(error)), ""
            counts.value = f'<div class="workbench-chunks part" role="status">{row}</div>'
            page.value = f'<div class="workbench-chunks part">{text}</div>'

    show()
    for control in (choice, chunker, size, overlap):
        control.observe(show, "value")
    controls = ipywidgets.Box([choice, chunker, size, overlap], layout={"flex_flow": "row wrap"})
    legend = f'{CSS}<div class="workbench-chunks part"><p>{say_view("legend")}</p></div>'
    return ipywidgets.VBox([controls, *notes, counts, ipywidgets.HTML(legend), crash.output, page, *slider_names()])
