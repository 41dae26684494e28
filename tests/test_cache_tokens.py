"""The cache of token offsets and chunk borders: the same values, no tokenizer loaded, nothing stale."""

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_tokens import write_tokenizer

from workbench import cache_tokens, chunking
from workbench.cache import Cache
from workbench.cache_tokens import cached_chunks, cached_tables
from workbench.chunking import CHUNKERS, chunk_documents, create_chunker
from workbench.datatypes import Document, WorkbenchError
from workbench.tokens import ModelTokenizer, SimpleTokenizer, token_tables

SIMPLE = SimpleTokenizer()
TEXTS = [
    "Refunds take five days. Returns take ten.\n\nWrite to us first.",
    "환불은 5일 걸립니다. 반품은 10일 걸립니다.\n\n먼저 연락해 주세요.",
    "가\u1100\u1161 e\u0301 🙂",
]
DOCUMENTS = [Document(f"d{number}", text, "제목", {"group": str(number)}) for number, text in enumerate(TEXTS)]


class Counting(SimpleTokenizer):
    """Count how many texts are tokenised."""

    def __init__(self) -> None:
        self.asked = 0

    def offset_array(self, text):
        self.asked += 1
        return super().offset_array(text)

    def count(self, text):
        self.asked += 1
        return super().count(text)


@pytest.fixture
def cache(tmp_path):
    cache = Cache(tmp_path / "cache.sqlite")
    yield cache
    cache.close()


def same(tables, others):
    assert tables.keys() == others.keys()
    for key, table in tables.items():
        for name in ("starts", "ends", "blanks"):
            assert getattr(table, name).tolist() == getattr(others[key], name).tolist()


@pytest.mark.parametrize("spec", sorted(CHUNKERS))
def test_what_is_remembered_is_what_is_computed(cache, spec):
    for size, overlap in ((4, 0), (8, 3)):
        expected = chunk_documents(create_chunker(spec, SIMPLE, size, overlap), DOCUMENTS)
        for _ in range(2):
            assert cached_chunks(DOCUMENTS, spec, SIMPLE, size, overlap, None, cache) == expected
            same(cached_tables(DOCUMENTS, SIMPLE, cache), token_tables(DOCUMENTS, SIMPLE))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=60), min_size=1, max_size=4), st.integers(1, 9))
def test_any_text_is_remembered_as_it_is(cache, texts, size):
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    for _ in range(2):
        same(cached_tables(documents, SIMPLE, cache), token_tables(documents, SIMPLE))
        try:
            expected = chunk_documents(create_chunker("fixed", SIMPLE, size, 0), documents)
        except WorkbenchError as error:
            with pytest.raises(WorkbenchError, match=str(error)):
                cached_chunks(documents, "fixed", SIMPLE, size, 0, None, cache)
        else:
            assert cached_chunks(documents, "fixed", SIMPLE, size, 0, None, cache) == expected


def test_a_tokenizer_is_asked_and_loaded_once(cache, tmp_path):
    counting = Counting()
    asked = []
    for _ in range(3):
        cached_tables(DOCUMENTS, counting, cache)
        cached_chunks(DOCUMENTS, "recursive", counting, 8, 0, None, cache)
        asked.append(counting.asked)
    assert asked[0] == asked[-1] > len(DOCUMENTS)
    folder = write_tokenizer(tmp_path)
    expected = cached_tables(DOCUMENTS, ModelTokenizer("small", folder), cache)
    again = ModelTokenizer("small", folder)
    same(cached_tables(DOCUMENTS, again, cache), expected)
    assert "fast" not in vars(again)  # not loaded


def test_another_tokenizer_file_another_code_or_another_normal_form_is_another_value(cache, tmp_path, monkeypatch):
    counting = Counting()
    composed, decomposed = Document("a", "caf\u00e9 caf\u00e9"), Document("a", "cafe\u0301 cafe\u0301")
    for document in (composed, decomposed):
        same(cached_tables([document], counting, cache), token_tables([document], SIMPLE))
    assert counting.asked == 2
    monkeypatch.setattr(cache_tokens, "_code", lambda: ["changed"])
    cached_tables([composed], counting, cache)
    assert counting.asked == 3
    folder = write_tokenizer(tmp_path)
    before = ModelTokenizer("small", folder).fingerprint
    changed = shutil.copytree(folder, tmp_path / "changed")
    file = Path(changed, "tokenizer.json")
    file.write_text(file.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert ModelTokenizer("small", changed).fingerprint != before


def test_a_chunker_of_someone_else_is_never_remembered(cache, monkeypatch):
    class Halves:
        def __init__(self, tokenizer, size, overlap):
            pass

        def chunk(self, document):
            calls.append(document.id)
            return [chunking.make_chunk(document, 0, 5)]

    calls = []
    monkeypatch.setitem(CHUNKERS, "halves", Halves)
    for _ in range(2):
        assert len(cached_chunks(DOCUMENTS, "halves", SIMPLE, 8, 0, None, cache)) == len(DOCUMENTS)
    assert len(calls) == 2 * len(DOCUMENTS)


def test_a_damaged_row_is_computed_again(cache):
    expected = cached_chunks(DOCUMENTS, "fixed", SIMPLE, 4, 0, None, cache)
    cache._connect().execute("UPDATE entries SET value = zeroblob(length(value))")
    assert cached_chunks(DOCUMENTS, "fixed", SIMPLE, 4, 0, None, cache) == expected
    assert cache.counts.damaged == len(DOCUMENTS)
