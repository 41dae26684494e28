"""Tokens: offsets, tables whose counts add up, cuts that never cost more than they may."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models as fast_models
from tokenizers import pre_tokenizers

from workbench import models
from workbench.datatypes import Document, Span, WorkbenchError
from workbench.tokens import ModelTokenizer, SimpleTokenizer, counter, load_tokenizer, token_count, token_table, token_tables, trim

E5 = "intfloat/multilingual-e5-small"
MIXED = st.text(alphabet="ab1 .\n\u3000가나다㈜漢é\u0301👩\u200d🇰_", max_size=40)


class ByteTokenizer:
    """Make every UTF-8 byte a token: Hangul costs three and an emoji four, all at one place, as byte-level models do."""

    name = "bytes"

    def offsets(self, text: str) -> list[tuple[int, int]]:
        return [(at, at + 1) for at, character in enumerate(text) for _ in character.encode()]


class NoTokenizer:
    """Find no token at all."""

    name = "nothing"

    def offsets(self, text: str) -> list[tuple[int, int]]:
        return []


@pytest.fixture(scope="module")
def e5() -> ModelTokenizer:
    if not (models.store() / E5.replace("/", "--")).is_dir():
        pytest.skip(f"model {E5} is not in the store")
    return load_tokenizer(E5)


def write_tokenizer(folder: Path, truncation: int | None = None) -> Path:
    """Write a small word tokenizer that, like SentencePiece, joins the space before a word to it."""
    words = {"<unk>": 0, "▁": 1, "▁one": 2, "▁two": 3, "▁three": 4}
    fast = FastTokenizer(fast_models.WordLevel(words, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Metaspace()
    if truncation:
        fast.enable_truncation(truncation)
        fast.enable_padding(length=truncation)
    fast.save(str(folder / "tokenizer.json"))
    return folder


# --- tokenizers -------------------------------------------------------------------------------------------------------------------


def test_simple_tokens_by_hand() -> None:
    assert SimpleTokenizer().offsets("한국어 retrieval2024!") == [(0, 2), (2, 3), (4, 10), (10, 13), (13, 16), (16, 17), (17, 18)]


@settings(deadline=None)
@given(MIXED)
def test_simple_tokens_cover_every_visible_character(text: str) -> None:
    covered = {at for start, end in SimpleTokenizer().offsets(text) for at in range(start, end)}
    assert covered == {at for at, character in enumerate(text) if not character.isspace()}


def test_offsets_leave_out_the_space_joined_to_a_word(tmp_path: Path) -> None:
    tokenizer = ModelTokenizer("small", write_tokenizer(tmp_path))
    text = "one two  three"
    assert [text[start:end] for start, end in tokenizer.offsets(text) if text[start:end].strip()] == ["one", "two", "three"]
    table = token_table(text, tokenizer)
    assert table.count(text.index("three"), len(text)) == 1  # what a chunk that begins with this word costs


def test_truncation_and_padding_of_the_file_are_off(tmp_path: Path) -> None:
    tokenizer = ModelTokenizer("small", write_tokenizer(tmp_path, truncation=4))
    assert len(tokenizer.offsets("one two three one two three")) == 6
    assert len(tokenizer.offsets("one")) == 1


def test_model_without_tokenizer_file(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"'empty' has no tokenizer\.json.*'simple'"):
        ModelTokenizer("empty", tmp_path)


def test_unknown_tokenizer_names_the_nearest() -> None:
    with pytest.raises(WorkbenchError, match="did you mean 'intfloat/multilingual-e5-small'"):
        load_tokenizer("multilingual-e5-small")


def test_load_simple() -> None:
    assert load_tokenizer("simple").name == "simple"


def test_e5_korean_tokens(e5: ModelTokenizer) -> None:
    text = "안녕하세요 세계입니다."
    assert [text[start:end] for start, end in e5.offsets(text)] == ["안녕하세요", "세계", "입니다", "."]


def test_e5_cut_never_splits_one_character(e5: ModelTokenizer) -> None:
    table = token_table("㈜한국", e5)  # NFKC makes "(주)" of the first sign: three tokens, one place
    assert table.count(0, 1) == 3
    assert [table.cut(0, tokens) for tokens in range(6)] == [0, 0, 0, 1, 3, 3]


def test_trim() -> None:
    assert trim("  ab \n", 0, 6) == (2, 4)
    assert trim("  ab \n", 4, 6) == (4, 6)  # nothing but white space stays
    assert trim("ab", 1, 1) == (1, 1)


# --- tables -----------------------------------------------------------------------------------------------------------------------


def test_table_by_hand() -> None:
    table = token_table("ab 12, 가나다\n", SimpleTokenizer())
    assert table.starts.tolist() == [0, 3, 5, 7, 9]
    assert table.count(0, 11) == 5
    assert table.count(1, 11) == 4  # a token belongs to the piece that holds its start
    assert table.count(3, 7) == 2
    assert [table.cut(3, tokens) for tokens in range(6)] == [3, 5, 6, 9, 10, 10]
    assert table.visible_in(0, 11) == 8
    assert table.visible_in(6, 7) == 0


def test_table_of_no_text() -> None:
    for text in ("", " \n"):
        table = token_table(text, SimpleTokenizer())
        assert (table.count(0, len(text)), table.cut(0, 5), table.visible_in(0, len(text))) == (0, 0, 0)


def test_tokens_out_of_order_keep_the_table_ascending() -> None:
    class Backwards:
        name = "backwards"

        def offsets(self, text: str) -> list[tuple[int, int]]:
            return [(0, 4), (2, 3), (1, 6), (6, 7)]

    table = token_table("abcdefg", Backwards())
    assert table.starts.tolist() == [0, 2, 2, 6]
    assert table.cut(0, 1) == 2  # not 4: the next token starts at 2
    assert table.cut(0, 2) == 2
    assert table.cut(0, 3) == 6


@pytest.mark.parametrize("tokenizer", [SimpleTokenizer(), ByteTokenizer()], ids=lambda tokenizer: tokenizer.name)
@settings(deadline=None)
@given(text=MIXED, data=st.data())
def test_counts_add_up_and_cuts_fit(tokenizer: SimpleTokenizer | ByteTokenizer, text: str, data: st.DataObject) -> None:
    table = token_table(text, tokenizer)
    start, middle, end = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 3)))
    assert table.count(start, end) == table.count(start, middle) + table.count(middle, end)
    assert table.count(0, len(text)) == counter(tokenizer)(text)
    budget = data.draw(st.integers(0, 30))
    cut = table.cut(start, budget)
    assert start <= cut <= len(text)
    assert table.count(start, cut) <= budget
    following = table.starts[table.starts >= cut]
    if len(following):  # one more whole character would have been too much
        assert table.count(start, int(following[0]) + 1) > budget


@settings(deadline=None)
@given(MIXED, st.integers(0, 40))
def test_arrays_say_what_the_lists_say(text: str, offset: int) -> None:
    simple, table = SimpleTokenizer(), token_table(text, SimpleTokenizer())
    assert [tuple(pair) for pair in simple.offset_array(text).tolist()] == simple.offsets(text)
    assert simple.count(text) == len(simple.offsets(text)) == len(table.starts)
    offsets = np.arange(len(text) + 1)
    assert table.visible_before(offsets).tolist() == [sum(not sign.isspace() for sign in text[:offset]) for offset in offsets]
    offset = min(offset, len(text))
    assert table.visible_in(offset, len(text)) == sum(not sign.isspace() for sign in text[offset:])


def test_every_white_space_character_is_known() -> None:
    signs = [chr(code) for code in range(0x110000)]
    table = token_table("".join(signs), NoTokenizer())
    assert table.blanks.tolist() == [code for code, sign in enumerate(signs) if sign.isspace()]


def test_a_table_needs_few_bytes() -> None:
    text = "A sentence of usual words, 그리고 한국어 문장도 있습니다. " * 500
    table = token_table(text, SimpleTokenizer())
    assert table.starts.nbytes + table.ends.nbytes + table.blanks.nbytes < 4 * len(text)


def test_token_tables_and_spans() -> None:
    documents = [Document("a", "one two three"), Document("b", "하나 둘")]
    tables = token_tables(documents, SimpleTokenizer())
    assert token_count(Span("a", 4, 13), tables) == 2
    assert token_count(Span("b", 0, 4), tables) == 2
