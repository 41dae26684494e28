"""The retrieval explorer: marks keep every character, untrusted text stays text, candidates are built once, errors are shown."""

import importlib.util
import re

import ipywidgets
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from IPython.display import HTML
from made_parts import SMALL
from shown_page import NASTY, Page, columns, texts

from workbench import widgets_question, widgets_retrieval
from workbench.datatypes import Chunk, Dataset, Example, Hit, Span, WorkbenchError
from workbench.experiment import prepare
from workbench.settings import Settings
from workbench.text import TOKENISERS
from workbench.widgets_question import FREE, find_question
from workbench.widgets_retrieval import Found, retrieval_explorer, retrieval_view, retrieve_side_by_side, term_spans
from workbench.widgets_style import folded, visible

pytestmark = pytest.mark.usefixtures("own_cache")
WITH_KIWI = pytest.mark.skipif(importlib.util.find_spec("kiwipiepy") is None, reason="the extra 'korean' is not installed")  # takes 2 s


def make_hit(text: str, rank: int, document: str = "d", start: int = 0, title: str = "") -> Hit:
    return Hit(Chunk(Span(document, start, start + len(text)), text, title), 1 / rank, rank)


def make_found(label: str, hits: list[Hit], full: int | None = None, tokeniser: str = "word") -> Found:
    return Found(label, tuple(hits), 512, tuple(10 * hit.rank for hit in hits), full, None, tokeniser)


def candidates(spec: str) -> list[Settings]:
    point = Settings(dataset=spec, **SMALL)
    return [point.replace(retriever="bm25"), point.replace(retriever="dense", embedder="hash"), point.replace(retriever="random")]


# --- marks -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokeniser", "question", "text", "marked"),
    [
        ("english", "Which policies apply?", "The policy (a Policy!) was applied to pol.", ["policy", "Policy", "applied"]),
        ("english", "the load", "front-loading, the loads", ["loading", "loads"]),
        ("word", "the load", "front-loading, the loads", ["the"]),
        ("hangul-bigram", "환불을 받나요", "환불은 7일 안에 전액환불", ["환불", "환불"]),
        ("hangul-bigram", "AI를 쓰나요", "AI가 쓰나 AIDS ai", ["AI", "쓰나", "ai"]),
        ("hangul-bigram", "가가", "가가가 가", ["가가가"]),
        ("hangul-bigram", "a가나다", "aaa가나다라", ["가나다"]),
        pytest.param("kiwi", "환불을 받았나요?", "환불은 전액을 받습니다", ["환불", "받"], marks=WITH_KIWI),
        ("word", "İstanbul", "istanbul İSTANBUL", ["İSTANBUL"]),
        ("word", "cafe\u0301", "caf\u00e9 cafe", ["caf\u00e9"]),
    ],
)
def test_terms_are_marked_as_bm25_cuts_them(tokeniser: str, question: str, text: str, marked: list[str]) -> None:
    page = Page(folded(text, terms=term_spans(text, question, tokeniser)))
    assert page.of.get("mark", []) == marked
    assert page.text == text


@given(texts, texts, st.sampled_from(sorted(set(TOKENISERS) - {"kiwi"})))
@hypothesis_settings(max_examples=200, deadline=None)
def test_marks_lie_in_words_and_exist_just_where_a_term_is_shared(text: str, question: str, tokeniser: str) -> None:
    spans = term_spans(text, question, tokeniser)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    words = {term for word in re.findall(r"\w+", text) for term in TOKENISERS[tokeniser](word)}
    assert bool(spans) == bool(words & set(TOKENISERS[tokeniser](question)))


def test_long_words_take_no_quadratic_time() -> None:
    for text in ("가" * 100_000, "a" * 100_000 + "가a", "a가" * 50_000):
        assert term_spans(text, text[-2:] + " a 가가", "hangul-bigram")
        assert term_spans(text, text, "word") == [(0, len(text))]


# --- the view ----------------------------------------------------------------------------------------------------------------------------


def test_untrusted_text_is_escaped_everywhere_and_folded() -> None:
    long = NASTY + "x <b>" * 20_000
    example = Example(long, long, (long,), ((Span(long, 0, 50),),))
    hits = [make_hit(long, 1, long, 0, long), make_hit(NASTY, 2, NASTY)]
    page = retrieval_view(example, [make_found(long, hits, 1), make_found(NASTY, hits)])
    shown = Page(page)
    page.encode()
    assert not re.search("[\0-\x08\x0b-\x1f\u202e\u2066\u200b\ud800-\udfff]", page)
    assert shown.text.count(visible(long)) == 7  # question, answer, label; title and text in both columns
    assert all(len(label) <= 120 for label in shown.labels)
    folds = sum(len(text) for text in shown.of["details"])
    assert len(shown.text) - folds < 12_000


def test_a_column_tells_ranks_evidence_and_the_end_of_the_context() -> None:
    example = Example("q", "How often?", ("weekly",), ((Span("d", 4, 9), Span("e", 0, 3)), (Span("f", 0, 3),)))
    hits = [make_hit("nothing of it", 1, "c"), make_hit("how often is weekly", 2), make_hit("past", 3, "g", title="G <1>")]
    page = retrieval_view(example, [make_found("one", hits, 2), make_found("two", hits[:1])])
    first, second = (Page(column) for column in columns(page))
    assert "first evidence at rank 2 (1 of 2 pieces found: 2)" in first.text
    assert first.of["u"] == ["often"]
    assert first.of["mark"] == ["how", "often"]
    assert "no evidence in 1 hit" in second.text
    order = [first.text.index(word) for word in ("weekly", "The context is full: 20 of 512 tokens. What follows is not read.", "G <1>")]
    assert order == sorted(order)
    assert first.text.count("not in the context") == 1
    assert first.text.count("only here") == 2
    assert "only here" not in second.text
    assert "After 1 hit the context holds 10 of 512 tokens." in second.text


@pytest.mark.parametrize(
    ("example", "said"),
    [
        (Example("q", "Why?"), "Unanswerable: no document answers it."),
        (Example(FREE, "Why?"), "Your own question: no gold answer, no evidence."),
        (Example("q", "Why?", (), ((Span("d", 0, 1),),)), "No gold answer; its evidence is known."),
        (Example("q", "Why?", ("a", "b")), "Gold answer: a / b"),
    ],
)
def test_what_is_known_of_a_question_is_said(example: Example, said: str) -> None:
    text = Page(retrieval_view(example, [make_found("none", [])])).text
    assert said in text
    assert "Nothing found." in text


# --- finding -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "ko"])
def test_hits_are_those_of_the_retrievers_within_their_budget(small, language: str) -> None:
    points = [point.replace(answer_budget=20) for point in candidates(small(language))]
    prepared = prepare(points[0])
    example, (bm25, dense, drawn) = retrieve_side_by_side(prepared, points, k=6)
    assert example.evidence
    tokeniser = {"en": "english", "ko": "hangul-bigram"}[language]
    assert [found.label for found in (bm25, dense, drawn)] == [f"bm25:{tokeniser}", "hash embedder · dense", "random"]
    assert bm25.tokeniser == drawn.tokeniser == tokeniser
    for found in (dense, drawn):
        assert [hit.rank for hit in found.hits] == [1, 2, 3, 4, 5, 6]
        assert found.full is not None
        assert found.tokens[found.full - 1] == 20
        assert list(found.tokens) == sorted(found.tokens)
        assert found.tokens[found.full - 2] < 20
    assert "only here" in retrieval_view(example, [bm25, drawn])
    enough = retrieve_side_by_side(prepared, [points[0].replace(answer_budget=1000)], k=10)[1][0]
    assert (enough.full, enough.recall) == (None, 1.0)


def test_a_question_is_found_by_id_by_text_or_is_ones_own(small) -> None:
    dataset = prepare(candidates(small("en"))[0]).dataset
    known = dataset.examples[3]
    assert find_question(dataset, known.id) == find_question(dataset, f" {known.question}\n") == known
    assert find_question(dataset) == next(example for example in dataset.examples if example.evidence)
    assert find_question(dataset, "Is it\n raining?") == Example(FREE, "Is it raining?")
    with pytest.raises(WorkbenchError, match="'empty' has no questions; write one"):
        find_question(Dataset("empty", (), ()))


def test_wrong_arguments_raise_before_any_widget_is_made(small, monkeypatch) -> None:
    monkeypatch.delenv("WORKBENCH_HEADLESS", raising=False)
    monkeypatch.setattr(ipywidgets, "VBox", None)
    points = candidates(small("en"))
    prepared = prepare(points[0])
    for listed, reason in [
        ([], "no candidate"),
        ([points[0], points[1].replace(dataset="demo-en")], "their dataset is demo-en and folder:"),
        ([points[0].replace(tokenizer="other")], "prepared with the tokenizer 'simple', the settings name 'other'"),
        ([points[0].replace(retriever="bm26")], "bm25"),
    ]:
        with pytest.raises(WorkbenchError, match=reason):
            retrieval_explorer(prepared, listed)
    with pytest.raises(WorkbenchError, match="k 0 must be between 1 and 50"):
        retrieval_explorer(prepared, points, k=0)


def test_no_generator_is_loaded_to_look_at_hits(small) -> None:
    point = candidates(small("en"))[0].replace(generator="hf:no/such-model", primary="answer_f1", answer_budget=20)
    found = retrieve_side_by_side(prepare(point), [point])[1][0]
    assert found.budget == 20


# --- the interface -----------------------------------------------------------------------------------------------------------------------


def test_headless_returns_the_static_view_without_widgets(small, monkeypatch) -> None:
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    monkeypatch.setattr(ipywidgets, "VBox", None)
    points = candidates(small("ko"))
    shown = retrieval_explorer(prepare(points[0]), points)
    assert isinstance(shown, HTML)
    assert len(columns(shown.data)) == 3
    assert shown.data == retrieval_explorer(prepare(points[0]), points).data


def parts(explorer: ipywidgets.VBox):
    choice, own, note, depth, boxes, crash, page = explorer.children
    return choice, own, note, depth, boxes.children, crash, page


def test_controls_change_the_page_and_build_each_candidate_once(small, monkeypatch) -> None:
    monkeypatch.delenv("WORKBENCH_HEADLESS", raising=False)
    monkeypatch.setattr(widgets_question, "MAX_QUESTIONS", 5)
    built = []
    build = widgets_retrieval.build
    monkeypatch.setattr(widgets_retrieval, "build", lambda settings, *rest: built.append(settings.retriever) or build(settings, *rest))
    points = candidates(small("en"))
    prepared = prepare(points[0])
    last = prepared.dataset.examples[-1]
    choice, own, note, depth, boxes, crash, page = parts(retrieval_explorer(prepared, points, last.id, k=4))
    assert len(choice.options) == 6
    assert f"{len(prepared.dataset.examples) - 6} more questions not listed" in note.value
    assert last.question in page.value
    depth.value = 2
    assert page.value.count('aria-label="hit 2"') == 3
    assert 'aria-label="hit 3"' not in page.value
    choice.value = 1
    assert Page(page.value).text.startswith(f"Question: {prepared.dataset.examples[1].question}")
    boxes[2].value = boxes[1].value = False
    assert len(columns(page.value)) == 1
    own.value = "What does error E4 mean, <b>really</b>?"
    assert "Your own question" in page.value
    assert "&lt;b&gt;really" in page.value
    choice.value = 2
    assert own.value == ""
    assert prepared.dataset.examples[2].question in Page(page.value).text
    own.value = prepared.dataset.examples[4].id
    assert prepared.dataset.examples[4].question in Page(page.value).text
    assert sorted(built) == ["bm25:english", "dense", "random"]
    assert not crash.outputs


def test_errors_in_a_callback_are_shown_and_go_away(small, monkeypatch) -> None:
    monkeypatch.delenv("WORKBENCH_HEADLESS", raising=False)
    points = candidates(small("en"))[:1]
    _, own, _, _, boxes, _, page = parts(retrieval_explorer(prepare(points[0]), points))
    boxes[0].value = False
    assert "<b>Error:</b> tick at least one candidate" in page.value
    boxes[0].value = True
    assert "Error:" not in page.value
    own.value = "\u200b"
    assert "<b>Error:</b> the question is empty; ask something" in page.value
    own.value = "leave"
    assert "Error:" not in page.value
