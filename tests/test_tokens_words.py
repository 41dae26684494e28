"""Counting word by word gives the counts of the tokenizer itself, and the chunks too."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import models
from workbench.chunking import CHUNKERS, create_chunker
from workbench.data import load
from workbench.datatypes import Document
from workbench.tokens import SimpleTokenizer, load_tokenizer
from workbench.tokens_words import WordTokenizer

some, other = st.sampled_from("가나다a1.# \n\t\r\v\f\u00a0\u2003"), st.characters(exclude_categories=["Cs"])
texts = st.text(some, max_size=60) | st.text(some | other, max_size=60)


class Pairs:
    """Cut every two characters, wherever words end."""

    name = "pairs"

    def offsets(self, text: str) -> list[tuple[int, int]]:
        return [(start, min(start + 2, len(text))) for start in range(0, len(text), 2)]


class Cleaning:
    """Drop vertical tabs and form feeds, as BERT's tokenizers do, and cut what they stood between every two characters."""

    name = "cleaning"

    def offsets(self, text: str) -> list[tuple[int, int]]:
        found = []
        for word in re.finditer(r"[^ \t\n\r]+", text):
            kept = [at for at in range(*word.span()) if text[at] not in "\v\f"]
            found += [(kept[at], kept[min(at + 1, len(kept) - 1)] + 1) for at in range(0, len(kept), 2)]
        return found


@pytest.mark.parametrize("tokenizer", [SimpleTokenizer(), Pairs(), Cleaning()], ids=lambda tokenizer: tokenizer.name)
@given(texts, st.data())
@settings(max_examples=100, deadline=None)
def test_pieces_count_what_the_tokenizer_counts(tokenizer, text, data):
    words = WordTokenizer(tokenizer, text)
    assert list(map(tuple, words.offsets(text).tolist())) == tokenizer.offsets(text)
    start = data.draw(st.integers(0, len(text)))
    piece = text[start : data.draw(st.integers(start, len(text)))]
    if not isinstance(tokenizer, Pairs):
        assert words.by_word
        assert words.count(piece) == len(tokenizer.offsets(piece))


def test_a_tokenizer_that_cuts_across_words_is_asked_about_every_piece():
    words = WordTokenizer(Pairs(), "one two three four")
    assert not words.by_word
    assert words.count("two three") == 5


@pytest.mark.parametrize("name", ["intfloat/multilingual-e5-small", "sentence-transformers/all-MiniLM-L6-v2"])
@pytest.mark.parametrize("language", ["en", "ko"])
def test_chunks_are_those_of_the_model_s_tokenizer(name, language):
    if not models.stored(name):
        pytest.skip(f"run: workbench models pull {name}")
    tokenizer = load_tokenizer(name)
    document = load(f"demo-{language}").documents[0]
    document = Document("d", document.text[:6000])
    words = WordTokenizer(tokenizer, document.text)
    assert words.by_word
    for chunker in CHUNKERS:
        for size, overlap in ((16, 4), (100, 0)):
            assert create_chunker(chunker, words, size, overlap).chunk(document) == create_chunker(chunker, tokenizer, size, overlap).chunk(
                document
            )
