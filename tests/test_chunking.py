"""Chunking: one conformance suite over all chunkers, tokenizers and kinds of text (KO12, ST7, D28)."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tokens import E5, MIXED, ByteTokenizer

import workbench
from workbench import models
from workbench.chunking import CHUNKERS, chunk_documents, create_chunker
from workbench.datatypes import Chunk, Document, Tokenizer, WorkbenchError
from workbench.text import sentences
from workbench.tokens import SimpleTokenizer, load_tokenizer, token_table

SIMPLE = SimpleTokenizer()
DOCUMENT_COUNTED = ("fixed", "sentence")  # sizes in tokens of the document; the others count each chunk by itself
SIZES = [(size, overlap) for size in (8, 32, 128) for overlap in (0, size // 4)]
ENGLISH = """# Washer WM400

Read this first. The drum holds 9 kg; never overload it! Dr. Kim wrote e.g. section 2.1 of this manual in 2024.

| code | meaning | action |
|------|---------|--------|
| E1   | no water | open the tap |
| E2   | door open | close the door |

## Reset

1. Unplug the machine.
2. Wait for 10 minutes.

```python
def reset(machine: str) -> None:
    machine.unplug()
    wait(minutes=10)
```

- Keep children away.
- Do not use bleach.
"""
KOREAN = """# 연차휴가 규정

제1조(목적) 이 규정은 임직원의 휴가에 관한 사항을 정한다. 회사는 2024. 3. 1. 부터 이를 시행한다.

| 근속 | 일수 |
|------|------|
| 1년 미만 | 11일 |
| 3년 이상 | 16일 |

## 신청

가. 휴가는 3일 전에 신청하여야 합니다. 급한 사정이 있으면 당일에도 할 수 있나요? 네, 할 수 있습니다!

```sql
SELECT 이름, 일수 FROM 휴가 WHERE 연도 = 2024;
```

(주)한빛의 ㈜와 "인용"이라고 말했다.
"""
TEXTS = {
    "english": ENGLISH,
    "korean": KOREAN,
    "korean without spaces": "휴가는삼일전에신청하여야합니다회사는이를거부할수없습니다" * 20,
    "repeated": "같은 문장입니다. The same sentence again. " * 30,
    "signs": "👨‍👩‍👧‍👦 가족 🇰🇷 e\u0301te\u0301 ㈜한국 ½컵 … \u3000전각　공백 a\u200db ✍🏽\u0301 " * 12,
    "one word": "pneumonoultramicroscopic" * 50,
    "gaps": "one" + "\n" * 100 + "둘" + " " * 40 + "3." + "\n" * 40,
    "white space": " \n\n\t\u3000 \n",
    "empty": "",
    "one character": "가",
}


@pytest.fixture(scope="module", params=["simple", "bytes", "e5"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    if request.param == "e5":
        if not (models.store() / E5.replace("/", "--")).is_dir():
            pytest.skip(f"model {E5} is not in the store")
        return load_tokenizer(E5)
    return {"simple": SIMPLE, "bytes": ByteTokenizer()}[request.param]


def check(chunks: list[Chunk], document: Document, name: str, tokenizer: Tokenizer, size: int, overlap: int) -> None:
    """Assert all that is true of the chunks of any document; "whole" has no size."""
    text, table = document.text, token_table(document.text, tokenizer)

    def cost(start: int, end: int) -> int:
        return table.count(start, end) if name in DOCUMENT_COUNTED else len(tokenizer.offsets(text[start:end].strip()))

    spans = [(chunk.span.start, chunk.span.end) for chunk in chunks]
    assert all(chunk.text == text[start:end] == chunk.text.strip() != "" for chunk, (start, end) in zip(chunks, spans, strict=True))
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    assert spans == sorted(spans)
    covered = {at for start, end in spans for at in range(start, end)}
    assert all(text[at].isspace() for at in range(len(text)) if at not in covered), "text was lost"
    if name == "whole":
        assert len(chunks) == bool(text.strip())
        return
    assert max((cost(start, end) for start, end in spans), default=0) <= size
    for before, after in pairwise(spans):
        assert before[0] < after[0]
        assert before[1] < after[1], "a chunk lies inside the one before"
        assert after[0] >= before[1] or cost(after[0], before[1]) <= overlap


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", CHUNKERS)
def test_ko12_every_chunker_keeps_offsets_sizes_and_text(name: str, text: str, tokenizer: Tokenizer) -> None:
    document = Document("d", TEXTS[text])
    for size, overlap in SIZES:
        chunks = create_chunker(name, tokenizer, size, overlap).chunk(document)
        check(chunks, document, name, tokenizer, size, overlap)


@pytest.mark.parametrize("name", CHUNKERS)
def test_demo_documents_conform(name: str, tokenizer: Tokenizer) -> None:
    paths = sorted((Path(workbench.__file__).parent / "demo").rglob("*.md"))
    assert len(paths) >= 40
    chunker = create_chunker(name, tokenizer, 64, 16)
    for path in paths[:: 1 if tokenizer is SIMPLE else 9]:
        document = Document(path.stem, path.read_text(encoding="utf-8"))
        check(chunker.chunk(document), document, name, tokenizer, 64, 16)


@pytest.mark.parametrize("counting", [SIMPLE, ByteTokenizer()], ids=lambda tokenizer: tokenizer.name)
@pytest.mark.parametrize("name", CHUNKERS)
@settings(max_examples=40, deadline=None)
@given(text=MIXED, size=st.integers(4, 12), data=st.data())
def test_any_text_conforms(name: str, counting: Tokenizer, text: str, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, size - 1))
    document = Document("d", text)
    check(create_chunker(name, counting, size, overlap).chunk(document), document, name, counting, size, overlap)


@pytest.mark.parametrize("name", CHUNKERS)
def test_a_size_smaller_than_one_character_still_ends(name: str) -> None:
    text = "가 나🇰🇷다"
    chunks = create_chunker(name, ByteTokenizer(), 1, 0).chunk(Document("d", text))
    assert "".join(chunk.text for chunk in chunks).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("name", CHUNKERS)
def test_d28_repeated_text_keeps_its_offsets(name: str) -> None:
    sentence = "환불은 7일 안에 신청합니다. "
    text = sentence * 20
    chunks = create_chunker(name, SIMPLE, 22, 11).chunk(Document("d", text))
    assert all(text[chunk.span.start : chunk.span.end] == chunk.text for chunk in chunks)
    places = {at for chunk in chunks for at in range(chunk.span.start, chunk.span.end)}
    assert {at // len(sentence) for at in places} == set(range(20))  # every repetition is found at its own place


@pytest.mark.parametrize("name", CHUNKERS)
def test_st7_neighbours_without_overlap_share_nothing(name: str) -> None:
    chunks = create_chunker(name, SIMPLE, 8, 0).chunk(Document("d", KOREAN))
    assert sum(one.span.overlap(two.span) for one in chunks for two in chunks if one is not two) == 0


# --- what each chunker is for -----------------------------------------------------------------------------------------------------


def texts_of(name: str, text: str, size: int, overlap: int = 0) -> list[str]:
    return [chunk.text for chunk in create_chunker(name, SIMPLE, size, overlap).chunk(Document("d", text))]


def test_fixed_by_hand() -> None:
    assert texts_of("fixed", "a b c d e f g", 3) == ["a b c", "d e f", "g"]
    assert texts_of("fixed", " a b c d e f g\n", 3, 1) == ["a b c", "c d e", "e f g"]
    assert texts_of("fixed", "a b c d e", 3, 2) == ["a b c", "b c d", "c d e"]
    assert texts_of("fixed", "a b c", 3, 2) == ["a b c"]


def test_sentence_by_hand() -> None:
    text = "A one. A two. A three. A four."  # three tokens each
    assert texts_of("sentence", text, 6) == ["A one. A two.", "A three. A four."]
    assert texts_of("sentence", text, 6, 3) == ["A one. A two.", "A two. A three.", "A three. A four."]
    assert texts_of("sentence", text, 5, 2) == ["A one.", "A two.", "A three.", "A four."]


def test_sentence_overlap_gives_way_to_the_next_sentence() -> None:
    text = "A one. A two. A b c d e f g h. A three."  # 3, 3, 9 and 3 tokens
    assert texts_of("sentence", text, 9, 3) == ["A one. A two.", "A b c d e f g h.", "A three."]


def test_long_sentence_is_cut_by_tokens() -> None:
    assert texts_of("sentence", "Yes. A b c d e f g h i. No.", 4) == ["Yes.", "A b c d", "e f g h", "i. No."]


@pytest.mark.parametrize("text", ["english", "korean", "repeated"])
def test_sentence_chunks_begin_and_end_at_sentence_borders(text: str) -> None:
    document = Document("d", TEXTS[text])
    table = token_table(document.text, SIMPLE)
    spans = sentences(document.text)
    assert max(table.count(start, end) for start, end in spans) <= 64
    for overlap in (0, 16):
        chunks = create_chunker("sentence", SIMPLE, 64, overlap).chunk(document)
        assert len(chunks) > 1
        assert {chunk.span.start for chunk in chunks} <= {start for start, _ in spans}
        assert {chunk.span.end for chunk in chunks} <= {end for _, end in spans}


def test_recursive_cuts_at_paragraphs_first() -> None:
    text = "One two. Three four.\n\nFive six. Seven eight.\n\nNine ten."
    assert texts_of("recursive", text, 8) == ["One two. Three four.", "Five six. Seven eight.", "Nine ten."]


def test_markdown_keeps_a_heading_with_its_section() -> None:
    text = "# One\n\nalpha beta gamma delta\n\nepsilon zeta\n\n# Two\n\neta theta"
    assert any("epsilon" in chunk and "# Two" in chunk for chunk in texts_of("recursive", text, 11))
    assert texts_of("markdown", text, 11) == ["# One\n\nalpha beta gamma delta\n\nepsilon zeta", "# Two\n\neta theta"]


def test_chunks_carry_title_and_metadata() -> None:
    document = Document("d", "가나다 라마바", "제목", {"group": "g"})
    for name in CHUNKERS:
        assert {(chunk.title, chunk.metadata["group"]) for chunk in create_chunker(name, SIMPLE, 2, 0).chunk(document)} == {("제목", "g")}


@pytest.mark.parametrize("name", ["fixed", "sentence"])
def test_d6_a_document_is_tokenised_once(name: str) -> None:
    class Counting(SimpleTokenizer):
        calls = 0

        def offset_array(self, text: str) -> np.ndarray:
            self.calls += 1
            return super().offset_array(text)

    tokenizer = Counting()
    chunk_documents(create_chunker(name, tokenizer, 8, 2), [Document(str(number), ENGLISH) for number in range(5)])
    assert tokenizer.calls == 5


# --- creation and corpora ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (-1, 0), (8, 8), (8, 9), (8, -1)])
@pytest.mark.parametrize("name", CHUNKERS)
def test_bad_sizes(name: str, size: int, overlap: int) -> None:
    with pytest.raises(WorkbenchError, match=f"chunk_size {size} and chunk_overlap {overlap} must satisfy 0 <= overlap < size"):
        create_chunker(name, SIMPLE, size, overlap)


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (lambda: create_chunker("sentense", SIMPLE, 8, 0), "unknown chunker 'sentense'; did you mean 'sentence'"),
        (lambda: create_chunker("fixed:8", SIMPLE, 8, 0), "chunker 'fixed' takes no argument, got 'fixed:8'"),
        (lambda: create_chunker("whole", SIMPLE, 8, 0, {"size": 3}), "chunker 'whole' has no options, got 'size'"),
    ],
)
def test_d25_unknown_names_and_options(create: Callable[[], object], message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        create()


def test_chunks_come_in_order_of_their_ids() -> None:
    documents = [Document("b", "one two three four five six seven"), Document("a", "하나 둘 셋"), Document("c", "  ")]
    chunks = chunk_documents(create_chunker("fixed", SIMPLE, 1, 0), documents)
    assert [chunk.id for chunk in chunks] == sorted(chunk.id for chunk in chunks)
    assert {chunk.span.document_id for chunk in chunks} == {"a", "b"}


@pytest.mark.parametrize("documents", [[], [Document("a", ""), Document("b", " \n")]])
def test_no_text_left(documents: list[Document]) -> None:
    with pytest.raises(WorkbenchError, match="no text left to index"):
        chunk_documents(create_chunker("fixed", SIMPLE, 8, 0), documents)


def test_d15_two_documents_with_one_id_are_refused() -> None:
    with pytest.raises(WorkbenchError, match="2 documents have the id 'a'"):
        chunk_documents(create_chunker("whole", SIMPLE, 8, 0), [Document("a", "one"), Document("b", "two"), Document("a", "three")])
