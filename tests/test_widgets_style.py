"""How untrusted text is drawn: every character once, nothing invisible, long texts folded."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from shown_page import NASTY, Page, columns, texts

from workbench.widgets_style import LABEL, SHOWN, SLACK, brief, column, escape, folded, labelled, page, visible

ranges = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=5)


@given(texts, st.integers(1, 4), st.integers(1, 80), st.integers(0, 80), ranges, ranges)
@hypothesis_settings(max_examples=200, deadline=None)
def test_every_character_stands_once_and_in_order(text: str, times: int, head: int, tail: int, terms: list, evidence: list) -> None:
    text *= times
    page = folded(text, head, tail, terms, evidence)
    shown = Page(page)
    assert shown.text == visible(text)
    assert len(visible(text)) == len(text)
    assert ("<details" in page) == (len(text) > head + tail + SLACK)
    for tag, spans in (("mark", terms), ("u", evidence)):
        inside = [character for at, character in enumerate(text) if any(start <= at < end for start, end in spans)]
        assert "".join(shown.of.get(tag, [])) == visible("".join(inside))
    if "<details" in page:
        assert ("<details open" in page) == ("with evidence" in page) == ("u" in Page(shown_fold(page)).of)


def shown_fold(page: str) -> str:
    return page[page.index("<details") : page.index("</details>") + len("</details>")]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\0b\x1b\rc", "a␀b␛␍c"),
        ("\u202eabc\u2066\u200b\ufeff\ud800\x85\U000e0041", "�abc������"),
        ("가나 é 👩\u200d💻\n\tsoft\u00adhyphen", "가나 é 👩\u200d💻\n\tsoft\u00adhyphen"),
    ],
)
def test_what_shows_nothing_is_seen(text: str, seen: str) -> None:
    assert visible(text) == seen


def test_a_fold_is_cut_between_words_and_keeps_a_first_line_break() -> None:
    text = "\n" + "word " * 300
    shown = folded(text, 98, 99)
    assert shown.startswith('<pre dir="auto" style="white-space: pre-wrap; overflow-wrap: anywhere"><span>\nword')
    assert [piece[:4] for piece in Page(shown).of["span"]] == ["\nwor", "word", "word"]
    assert "… 1,305 more characters" in shown  # from 96 to 1,401 of 1,501: after whole words
    assert "<details" not in folded("x" * (SHOWN + SLACK))
    assert folded("x" * (SHOWN + SLACK + 1)).count("x") == SHOWN + SLACK + 1


def test_labels_are_short_plain_text() -> None:
    assert brief("a\n b\t c") == "a b c"
    assert brief("x" * 500) == "x" * (LABEL - 1) + "…"
    assert brief(NASTY * 99, 30) == visible(" ".join(NASTY.split()))[:29] + "…"
    assert escape("\"<&>'") == "&quot;&lt;&amp;&gt;&#x27;"


def test_a_page_is_well_formed_whatever_it_holds() -> None:
    whole = page(labelled(NASTY, NASTY), [column(NASTY, folded(NASTY)), column("two", "")])
    shown = Page(whole)
    assert shown.text.count(visible(NASTY)) == 3
    assert len(columns(whole)) == 2
    assert shown.labels[1] == "two"
    assert "prefers-color-scheme: dark" in whole
    assert "data-jp-theme-light" in whole
