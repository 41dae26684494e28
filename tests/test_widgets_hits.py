"""How hits are shown: marks keep every character, untrusted text stays text, ranks and the end of the context are told."""

import importlib.util
import re

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from shown_page import NASTY, Page, columns, texts

from workbench.datatypes import Chunk, Example, Hit, Span
from workbench.text import TOKENISERS
from workbench.widgets_hits import Found, retrieval_view, term_spans
from workbench.widgets_question import FREE
from workbench.widgets_style import folded, visible

WITH_KIWI = pytest.mark.skipif(importlib.util.find_spec("kiwipiepy") is None, reason="the extra 'korean' is not installed")  # takes 2 s


@pytest.fixture(autouse=True, scope="module")
def _english():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_LANG", "en")
        yield


def make_hit(text: str, rank: int, document: str = "d", start: int = 0, title: str = "") -> Hit:
    return Hit(Chunk(Span(document, start, start + len(text)), text, title), 1 / rank, rank)


def make_found(label: str, hits: list[Hit], full: int | None = None, tokeniser: str = "word") -> Found:
    return Found(label, tuple(hits), 512, tuple(10 * hit.rank for hit in hits), full, None, tokeniser)


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
    assert "no evidence in the hits" in second.text
    order = [first.text.index(word) for word in ("weekly", "The context is full: 20 of 512 tokens. What follows is not read.", "G <1>")]
    assert order == sorted(order)
    assert first.text.count("not in the context") == 1
    assert first.text.count("only here") == 2
    assert "only here" not in second.text
    assert "The context is not full: 10 of 512 tokens." in second.text


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


def test_a_view_is_korean_too(monkeypatch) -> None:
    monkeypatch.setenv("WORKBENCH_LANG", "ko")
    example = Example("q", "환불은?", ("7일",), ((Span("d", 0, 4),),))
    page = Page(retrieval_view(example, [make_found("하나", [make_hit("환불은 7일 안에", 1), make_hit("긴 글 " * 400, 2, "e")], 1)])).text
    for words in (
        "질문: 환불은?",
        "정답: 7일",
        "첫 근거 1위",
        "점수 1 · +10토큰",
        "컨텍스트가 다 참: 512토큰 중 10토큰. 아래는 읽지 않음.",
        "컨텍스트 밖",
    ):
        assert words in page
    assert not re.search(r"[a-z]{3}", page)
