"""Test cleaning, search terms, sentences and the language guess."""

import importlib.util
import time
import unicodedata
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.datatypes import WorkbenchError
from workbench.text import (
    TOKENISERS,
    Alignment,
    english_words,
    folded,
    guess_language,
    hangul_bigrams,
    kiwi_words,
    normalise,
    sentences,
    words,
)

# Characters that merge, reorder, decompose or vanish, beside plain ones.
MERGING = "e\u1100\u1161\u11a8\u0301\u0323\u0327\u212b\u0344\u0958\u0f73\u1e9b\ufb1d\U0001d15e\u09c7\u09be"
AWKWARD = st.text(st.sampled_from(MERGING + "ab가각 \n\r\0.\u200b\ufeff\u202e\ud800"), max_size=25)
PROSE = st.text(st.sampled_from("abA가다네. . . !?…。\"')」 \n\t\v\u20281239제조|#-*eg"), max_size=60)


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


def test_normalise_says_what_it_changed():
    assert normalise("plain\ntext") == ("plain\ntext", {})
    text, counts = normalise("\ufeff한글\r\nA\0B\ud800\u200b\u202e\rC\ufeff")
    assert text == "한글\nAB\nC"
    assert counts == {
        "byte-order marks": 1,
        "carriage returns": 2,
        "NUL characters": 1,
        "lone surrogates": 1,
        "zero-width characters": 2,
        "bidirectional controls": 1,
    }
    assert normalise(unicodedata.normalize("NFD", "한글 é")) == ("한글 é", {"texts not in NFC": 1})


def test_normalise_composes_what_a_removed_character_kept_apart():
    assert normalise("e\u200b\u0301")[0] == "é"


def test_joiners_of_emoji_and_persian_stay():
    text = "👩\u200d💻 می\u200cخواهم"
    assert normalise(text) == (text, {})


@given(AWKWARD)
def test_normalise_is_idempotent_nfc_and_encodable(text):
    once, _ = normalise(text)
    assert normalise(once) == (once, {})
    assert unicodedata.is_normalized("NFC", once)
    once.encode("utf-8")


@settings(max_examples=300)
@given(AWKWARD)
def test_alignment_cuts_where_the_normal_form_can_be_cut(text):
    aligned = Alignment(text)
    assert aligned.span(0, len(text)) == (0, len(aligned.text))
    for place in range(len(text) + 1):
        before, after = aligned.span(0, place)[1], aligned.span(place, len(text))[0]
        if before == after and text[max(0, place - 1) : place + 1] != "\r\n":
            assert aligned.text[:before] == normalise(text[:place])[0]
            assert aligned.text[after:] == normalise(text[place:])[0]
        else:
            assert after <= before  # inside characters that merged: a span up to here and one from here both hold them


def test_alignment_by_hand():
    decomposed = unicodedata.normalize("NFD", "한글은 ") + "café\r\n끝"
    aligned = Alignment("\ufeff" + decomposed)
    assert aligned.text == "한글은 café\n끝"
    for word in ("café", "끝"):
        start = aligned.original.index(word)
        first, last = aligned.span(start, start + len(word))
        assert aligned.text[first:last] == word
    assert aligned.span(1, 4) == (0, 1)  # three jamo are one syllable
    assert aligned.span(2, 3) == (0, 1)  # part of a syllable is the whole one


def test_words_and_bigrams():
    assert words("Der WM400's Müll_1") == ["der", "wm400", "s", "müll_1"]
    assert hangul_bigrams("세탁기의 문이 안 열려요") == ["세탁", "탁기", "기의", "문이", "안", "열려", "려요"]
    assert hangul_bigrams("WM400의 A/S는 3년") == ["wm400", "의", "a", "s", "는", "3", "년"]
    assert hangul_bigrams("Spin 憲法 ㅋㅋㅋ") == ["spin", "憲法", "ㅋㅋ", "ㅋㅋ"]
    assert hangul_bigrams("") == words("") == []


def test_english_words_drop_stop_words_and_endings():
    assert english_words("The doors of a dryer are opening") == ["door", "dryer", "open"]
    assert english_words("An island") == ["island"]


@pytest.mark.parametrize("name", ["word", "english", "hangul-bigram"])
def test_decomposed_text_gives_the_same_tokens(name):
    text = "환불은 Café에서 14일 이내"
    assert TOKENISERS[name](unicodedata.normalize("NFD", text)) == TOKENISERS[name](text) != []


@pytest.mark.skipif(importlib.util.find_spec("kiwipiepy") is None, reason="the extra 'korean' is not installed")
def test_kiwi_keeps_content_morphemes():
    tokens = kiwi_words(unicodedata.normalize("NFD", "세탁기의 문이 WM 400에서 안 열렸습니다."))
    assert {"세탁기", "문", "wm", "400", "열리"} <= set(tokens)
    assert not {"의", "이", "에서", "습니다", "."} & set(tokens)


def test_kiwi_never_sees_a_long_run(monkeypatch):
    seen = []
    monkeypatch.setattr("workbench.text._kiwi", lambda: SimpleNamespace(tokenize=lambda text: seen.append(text) or []))
    kiwi_words("b " + "a" * 4_500 + "\n" + "가" * 2_000)
    assert seen == ["b " + "a" * 2_000 + " " + "a" * 2_000 + " " + "a" * 500 + "\n" + "가" * 2_000]


def test_kiwi_missing_names_the_extra(monkeypatch):
    from workbench import text

    text._kiwi.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WorkbenchError, match=r"tokeniser 'kiwi' needs .*rag-workbench\[korean\]"):
        kiwi_words("문")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It costs 3.5 won. Next one!", ["It costs 3.5 won.", "Next one!"]),
        ("Dr. Kim uses tools, e.g. Excel. He left.", ["Dr. Kim uses tools, e.g. Excel.", "He left."]),
        ("See No. 5 and p. 12. The U.S. Army. Is it no. Yes", ["See No. 5 and p. 12.", "The U.S. Army.", "Is it no.", "Yes"]),
        ('"Why?" she asked. "So." Then', ['"Why?"', "she asked.", '"So."', "Then"]),
        ("J. Smith et al. (2020) showed it... and so on", ["J. Smith et al. (2020) showed it... and so on"]),
        ("**Warning.** Keep dry. (See v1.2.) End", ["**Warning.**", "Keep dry.", "(See v1.2.)", "End"]),
        ("환불됩니다. 언제요? 3일 뒤…  네.", ["환불됩니다.", "언제요?", "3일 뒤…", "네."]),
        ("제3조. 목적은 다음과 같다. 제4조의2. 정의", ["제3조. 목적은 다음과 같다.", "제4조의2. 정의"]),
        ("1. 먼저 끈다. 2) 닦는다. 가. 다시 켠다.", ["1. 먼저 끈다.", "2) 닦는다.", "가. 다시 켠다."]),
        ("2024. 3. 15. 시행한다. 끝", ["2024. 3. 15. 시행한다.", "끝"]),
        ('"됩니다." 라고 답했다. 그는 "네." 하고 갔다.', ['"됩니다." 라고 답했다.', '그는 "네." 하고 갔다.']),
        ("次です。次。", ["次です。", "次。"]),
        ("## 1. Title. More\n- one. Two\n\n| a. | B. C |\r\n text ", ["## 1. Title. More", "- one.", "Two", "| a. | B. C |", "text"]),
        (" \n\t\n", []),
    ],
)
def test_sentences(text, expected):
    assert cut(text) == expected


@given(PROSE)
def test_sentences_leave_only_white_space_between_them(text):
    position = 0
    for start, end in sentences(text):
        assert position <= start < end
        assert not text[position:start].strip()
        assert text[start:end] == text[start:end].strip()
        assert "\n" not in text[start:end]
        position = end
    assert not text[position:].strip()


@pytest.mark.parametrize("text", ["." * 100_000, " " * 100_000, ".)" * 50_000, "a. " * 30_000, "2024. 3. " * 10_000, "A" * 100_000])
def test_sentences_take_linear_time(text):
    start = time.perf_counter()
    sentences(text)
    assert time.perf_counter() - start < 30  # well under a second; minutes when the search is quadratic


def test_guess_language():
    assert guess_language("The washing machine café") == "en"
    assert guess_language("세탁기 WM400 매뉴얼") == guess_language(unicodedata.normalize("NFD", "세탁기 문")) == "ko"
    assert guess_language("See the word 문 here in this long English sentence") == "en"
    assert guess_language("Стиральная машина") == guess_language("123 ...") == guess_language("") == "other"


@pytest.mark.parametrize(
    ("question", "other"),
    [
        ("When does it open?", "when does  it open"),
        ("「문」은 언제 열리나요?", "문은 언제 열리나요"),
        ("카페는 언제 여나요?", unicodedata.normalize("NFD", "카페는 언제 여나요?")),
        ("환불 할 수 있나요?", "환불할 수 있나요…"),
        ("Is it 'open'?", "Is it “open”?!"),
    ],
)
def test_case_spacing_form_and_punctuation_make_no_other_question(question: str, other: str) -> None:
    assert folded(question) == folded(other)


@pytest.mark.parametrize(
    ("question", "other"),
    [("What is C++?", "What is C#?"), ("Is it 5 $?", "Is it 5 %?"), ("Is it 3.5?", "Is it 35?"), ("언제요?", "어제요?")],
)
def test_other_questions_stay_apart(question: str, other: str) -> None:
    assert folded(question) != folded(other)


@given(st.text())
def test_what_stands_around_a_question_does_not_matter(text: str) -> None:
    assert folded(f"  “ {text} ” ?!") == folded(text)
