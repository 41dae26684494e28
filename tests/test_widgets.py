"""The chunk explorer: every character once, everything escaped, errors shown, no widget where nothing can click."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import ipywidgets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.display import HTML

from workbench import widgets, widgets_chunks
from workbench.datatypes import Chunk, Dataset, Document, Example, Span, WorkbenchError
from workbench.tokens import SimpleTokenizer, token_table
from workbench.widgets_chunks_view import ChunkCounts, chunk_view, count_chunks, counts_row, cut_spans

TEXT = "Water the plants weekly. Feed them monthly.\n\n식물에 물을 매주 줍니다. 비료는 매달 줍니다."


@pytest.fixture(autouse=True, scope="module")
def _english():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_LANG", "en")
        yield


class Page(HTMLParser):
    """Collect the text of the document and the labels of a chunk view."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.labels, self.tags, self.open, self.pieces = "", [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag != "br":
            self.open.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if "sup" in [tag for tag, _ in self.open]:
            self.labels.append(data)
        elif "pre" in [tag for tag, _ in self.open]:
            self.text += data
            self.pieces.append((data, self.open[2:]))


def make_chunk(document: Document, start: int, end: int) -> Chunk:
    return Chunk(Span(document.id, start, end), document.text[start:end])


def make_dataset() -> Dataset:
    first, second = Document("plants", TEXT, "Plant care"), Document("b", "Nothing is asked about this one. " * 40)
    asked = Example("q", "How often?", ("weekly",), ((Span("plants", 0, 24),), (Span("plants", 45, 59), Span("plants", 25, 43))))
    return Dataset("hand-made", (second, first), (asked,))


@pytest.fixture
def with_widgets(monkeypatch):
    monkeypatch.delenv("WORKBENCH_HEADLESS", raising=False)


@st.composite
def views(draw):
    text = draw(
        st.text(st.one_of(st.sampled_from("<>&\"' \n\r\t가나a1;#"), st.characters(exclude_categories=["Cs"])), min_size=1, max_size=60)
    )
    edges = st.lists(st.integers(0, len(text)), min_size=2, max_size=2, unique=True).map(sorted)
    return text, draw(st.lists(edges, max_size=6)), draw(st.lists(edges, max_size=4))


@given(views())
@settings(max_examples=200, deadline=None)
def test_every_character_stands_once_and_in_order(case):
    text, cuts, evidence = case
    document = Document("d", text)
    chunks = [make_chunk(document, start, end) for start, end in cuts]
    page = Page(chunk_view(document, chunks, [Span("d", start, end) for start, end in evidence]))
    assert page.text == text
    assert not page.open
    position = 0
    ordered = sorted(cuts)
    for data, around in page.pieces:
        start, position = position, position + len(data)
        titles = [attributes["title"] for _, attributes in around if "title" in attributes]
        covering = [number for number, (low, high) in enumerate(ordered, start=1) if low <= start and position <= high]
        assert [int(number) for title in titles for number in re.findall(r"\d+", title)] == covering
        assert any(tag == "u" for tag, _ in around) == any(low <= start and position <= high for low, high in evidence)


def test_text_is_escaped_everywhere():
    nasty = '<script>alert("1")</script>&amp;<img src=x onerror=1>'
    document = Document(nasty, nasty, nasty)
    page = chunk_view(document, [make_chunk(document, 3, 20)], [Span(nasty, 0, 10)])
    assert "<script" not in page
    assert "<img" not in page
    assert Page(page).text == nasty
    assert set(Page(page).tags) <= {"style", "div", "p", "b", "dl", "dt", "dd", "pre", "span", "mark", "u", "sup"}


def test_labels_give_number_and_tokens_and_overlaps_are_striped():
    document = Document("d", "one two three four five")
    page = Page(chunk_view(document, [make_chunk(document, 0, 13), make_chunk(document, 8, 23)]))
    assert page.labels == ["1 · 3 tok", "2 · 3 tok", "end of 1"]
    classes = {data: around[0][1].get("class", "") for data, around in page.pieces}
    assert classes == {"one two ": "odd first", "three": "both first last", " four five": "even last"}


def test_white_space_outside_chunks_stays_uncoloured():
    document = Document("d", "\n one \n\n two\r\n")
    page = Page(chunk_view(document, [make_chunk(document, 2, 5), make_chunk(document, 9, 12)]))
    assert page.text == document.text
    assert [data for data, around in page.pieces if not around[0][1]] == ["\n ", " \n\n ", "\r\n"]


def test_cut_evidence_is_marked_and_whole_evidence_is_not():
    document = Document("d", "one two three four")
    chunks = [make_chunk(document, 0, 7), make_chunk(document, 8, 18)]
    whole, cut = Span("d", 0, 8), Span("d", 4, 13)  # the space after "two" is in no chunk, and matters to nobody
    assert cut_spans([whole, cut], chunks, token_table(document.text, SimpleTokenizer())) == {cut}
    assert cut_spans([whole], [], token_table(document.text, SimpleTokenizer())) == {whole}
    assert 'class="cut"' not in chunk_view(document, chunks, [whole])
    page = Page(chunk_view(document, chunks, [whole, cut]))
    assert page.labels == ["1 · 2 tok", "cut evidence", "2 · 2 tok"]
    assert "".join(data for data, around in page.pieces if around[-1] == ("u", {"class": "cut"})) == "two three"


def test_other_documents_are_left_out():
    document, other = Document("d", "one"), Document("e", "two")
    page = chunk_view(document, [make_chunk(document, 0, 3), make_chunk(other, 0, 3)], [Span("e", 0, 3)])
    assert Page(page).labels == ["1 · 1 tok"]
    assert "<u" not in page


def test_counts_are_those_of_the_chunks():
    document = Document("d", "one two three four five six")
    table = token_table(document.text, SimpleTokenizer())
    chunks = [make_chunk(document, 0, 13), make_chunk(document, 8, 27), make_chunk(document, 14, 18)]  # 1-3, 3-6, 4
    evidence = [Span("d", 0, 3), Span("d", 4, 18)]
    counts = count_chunks(chunks, table, evidence)
    assert counts == ChunkCounts((3, 4, 1), 0.25, 1, 2)
    for shown in ("<dd>3</dd>", "<dd>1 · 3 · 4</dd>", "<dd>25%</dd>", '<dd class="cut">1 of 2</dd>'):
        assert shown in counts_row(counts)
    assert count_chunks([], table) == ChunkCounts((), 0, 0, 0)
    assert "none here" in counts_row(ChunkCounts((), 0, 0, 0))


@given(views())
@settings(max_examples=100, deadline=None)
def test_repeated_tokens_are_those_that_several_chunks_hold(case):
    text, cuts, _ = case
    document = Document("d", text)
    table = token_table(text, SimpleTokenizer())
    counts = count_chunks([make_chunk(document, start, end) for start, end in cuts], table)
    held = {at for start, end in cuts for at in table.starts.tolist() if start <= at < end}
    assert counts.sizes == tuple(table.count(start, end) for start, end in cuts)
    assert counts.repeated == (sum(counts.sizes) - len(held)) / max(1, sum(counts.sizes))


def test_korean_labels(monkeypatch):
    monkeypatch.setenv("WORKBENCH_LANG", "ko")
    document = Document("d", "식물에 물을 매주 줍니다.")
    page = chunk_view(document, [make_chunk(document, 0, 6), make_chunk(document, 7, 14)], [Span("d", 4, 9)])
    assert Page(page).labels == ["1 · 3토큰", "잘린 근거", "2 · 4토큰"]
    assert "1개 중 1개" in page
    assert '<pre class="text" dir="auto" lang="ko" style="white-space: pre-wrap; word-break: keep-all' in page


def test_headless_returns_the_static_view_without_widgets(monkeypatch):
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    monkeypatch.setattr(ipywidgets, "VBox", None)
    shown = widgets.chunk_explorer(make_dataset(), chunk_size=16)
    assert isinstance(shown, HTML)
    assert Page(shown.data).text == TEXT  # of the first document with evidence, not the first one
    assert "of 3" in shown.data
    assert "max-height" not in shown.data  # what stands in a saved notebook is read without scrolling in it
    assert shown.data == widgets.chunk_explorer(make_dataset(), chunk_size=16).data


def parts(explorer: ipywidgets.VBox):
    controls = {child.description: child for child in explorer.children[0].children}
    counts, _, crash, page = explorer.children[-5:-1]
    return controls, counts, page, crash


def test_controls_change_the_counts_and_the_text(with_widgets):
    controls, counts, page, crash = parts(widgets.chunk_explorer(make_dataset(), chunk_size=16))
    assert list(controls) == ["document", "chunker", "size (tokens)", "overlap (tokens)"]
    size, overlap = controls["size (tokens)"], controls["overlap (tokens)"]
    assert (size.min, size.max) == (16, 1024)
    assert all(slider.continuous_update for slider in (size, overlap))
    assert Page(page.value).text == TEXT
    before = counts.value
    size.value = 256
    assert counts.value != before
    assert "<dd>1</dd>" in counts.value
    controls["document"].value = "b"
    assert Page(page.value).text.startswith("Nothing is asked")
    assert "none here" in counts.value
    controls["chunker"].value = "fixed"
    size.value = 64
    assert "end of" not in page.value
    assert "<dd>0%</dd>" in counts.value
    overlap.value = 20
    assert "end of 1" in page.value
    assert "<dd>0%</dd>" not in counts.value
    controls["chunker"].value = "whole"
    assert "<dd>1</dd>" in counts.value
    assert not crash.outputs
    assert parts(widgets.chunk_explorer(make_dataset(), chunk_size=8))[0]["size (tokens)"].min == 8


def test_the_interface_shows_what_the_static_view_does(with_widgets, monkeypatch):
    arguments = {"chunker": "recursive", "chunk_size": 16, "chunk_overlap": 4}
    _, counts, page, _ = parts(widgets.chunk_explorer(make_dataset(), **arguments))
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    static = widgets.chunk_explorer(make_dataset(), **arguments).data
    for shown in (page.value, counts.value):
        assert re.search(r">(<.*>)</div>", shown, re.DOTALL)[1] in static


def test_errors_in_a_callback_are_shown_and_go_away(with_widgets):
    controls, counts, page, _ = parts(widgets.chunk_explorer(make_dataset(), chunk_size=64, chunk_overlap=40))
    controls["size (tokens)"].value = 40
    assert "<b>Error:</b> the overlap (40) must be smaller than the size (40)" in counts.value
    assert 'role="alert"' in counts.value
    assert Page(page.value).text == ""  # nothing stale is left
    controls["size (tokens)"].value = 41
    assert "Error" not in counts.value
    assert controls["overlap (tokens)"].value == 40  # what was set is kept
    assert Page(page.value).text == TEXT


def test_wrong_arguments_raise_before_any_widget_is_made(with_widgets, monkeypatch):
    monkeypatch.setattr(ipywidgets, "VBox", None)
    dataset = make_dataset()
    with pytest.raises(WorkbenchError, match="chunk_size 64 and chunk_overlap 64"):
        widgets.chunk_explorer(dataset, chunk_size=64, chunk_overlap=64)
    with pytest.raises(WorkbenchError, match="unknown chunker 'recursiv'; did you mean 'recursive'"):
        widgets.chunk_explorer(dataset, chunker="recursiv")
    with pytest.raises(WorkbenchError, match="'hand-made' has no document 'plant'; did you mean 'plants'"):
        widgets.chunk_explorer(dataset, document_id="plant")
    with pytest.raises(WorkbenchError, match="has no document '???'; one of its 2 is 'b'".replace("?", r"\?")):
        widgets.chunk_explorer(dataset, document_id="???")
    with pytest.raises(WorkbenchError, match="'empty' has no documents to show"):
        widgets.chunk_explorer(Dataset("empty", (), ()))


def test_a_long_list_of_documents_is_cut_and_says_so(with_widgets, monkeypatch):
    monkeypatch.setattr(widgets_chunks, "MAX_DOCUMENTS", 3)
    dataset = Dataset("many", tuple(Document(str(number), f"Text {number}.") for number in range(10)), ())
    explorer = widgets.chunk_explorer(dataset, document_id="8")
    controls, _, page, _ = parts(explorer)
    assert [value for _, value in controls["document"].options] == ["0", "1", "2", "8"]
    assert "6 more documents are not listed" in explorer.children[1].value
    assert Page(page.value).text == "Text 8."


def test_error_box_is_escaped():
    assert "&lt;b&gt;" in widgets.error_box("<b>")


def test_importing_loads_no_ipywidgets():
    check = "import sys, workbench.widgets; sys.exit('ipywidgets' in sys.modules or 'IPython' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
