"""Retrieval: dense, BM25, hybrid and random retrievers, the metadata filter, and Korean questions (KO1, KO2, D1, D18, D30)."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from workbench.datatypes import Chunk, Example, Hit, Role, Span, WorkbenchError
from workbench.retrieval import DENSE_RETRIEVERS, RETRIEVERS, create_retriever, default_tokeniser, embedding_texts, fuse

KEYWORDS = ("refund", "delivery", "battery", "휴가", "출장", "환불", "보관료")
TEXTS = {
    "a": "The refund is paid within seven days. A refund needs the receipt.",
    "b": "Delivery takes two days; a refund of the delivery fee is possible.",
    "c": "The battery lasts for three years.",
    "d": "연차휴가는 3일 전에 신청한다.",
    "e": "출장 중에는 휴가를 쓸 수 없다.",
    "f": "보관료는 매달 말일에 청구한다.",
}
GROUPS = {"a": "shop", "b": "shop", "c": "shop", "d": "company", "e": "company", "f": "storage"}


class KeywordEmbedder:
    """Count keywords exactly as they are spelled, and remember what was asked in which role."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Role]] = []

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {"name": "keyword", "version": 1}

    def encode(self, texts: Sequence[str], role: Role) -> np.ndarray:
        self.calls += [(text, role) for text in texts]
        counts = [[text.lower().count(word) for word in KEYWORDS] + [0.1] for text in texts]
        vectors = np.array(counts, np.float32).reshape(-1, len(KEYWORDS) + 1)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class RandomEmbedder:
    """Give every text a random vector of its own."""

    fingerprint: Mapping[str, Any] = {"name": "random", "version": 1}

    def encode(self, texts: Sequence[str], role: Role) -> np.ndarray:
        seeds = [[len(role), *text.encode()] for text in texts]
        vectors = np.array([np.random.default_rng(seed).normal(size=16) for seed in seeds], np.float32).reshape(-1, 16)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def chunk(name: str, text: str, **metadata: Any) -> Chunk:
    return Chunk(Span(name, 0, len(text)), text, f"title {name}", metadata)


CHUNKS = [chunk(name, text, group=GROUPS[name], number=number) for number, (name, text) in enumerate(TEXTS.items())]


def question(text: str, name: str = "q", **metadata: Any) -> Example:
    return Example(name, text, metadata=metadata)


def build(spec: str, chunks: Sequence[Chunk] = CHUNKS, filter: str = "", embedder: Any = None, index: str = "exact", **options: Any):
    embedder = embedder or KeywordEmbedder()
    return create_retriever(spec, chunks, False, options, embedder=embedder, index=index, index_options={}, filter=filter, seed=0)


def ids(hits: Sequence[Hit]) -> str:
    return "".join(hit.chunk.span.document_id for hit in hits)


QUESTIONS = [
    question("refund of delivery?", "q1"),
    question("휴가", "q2"),
    question("battery refund", "q3"),
    question("nothing at all", "q4"),
]

# --- all retrievers ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", RETRIEVERS)
def test_d30_ranks_start_at_one_and_ids_differ(spec: str) -> None:
    for hits in build(spec).retrieve(QUESTIONS, 4):
        assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
        assert len({hit.chunk.id for hit in hits}) == len(hits) <= 4
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("spec", RETRIEVERS)
def test_k_larger_than_the_corpus(spec: str) -> None:
    for hits in build(spec).retrieve(QUESTIONS, 100):
        assert len(hits) == 6 or (spec == "bm25" and len(hits) < 6)


@pytest.mark.parametrize("filter", ["", "group:shop", "group"])
@pytest.mark.parametrize("spec", RETRIEVERS)
def test_hits_do_not_depend_on_the_batch(spec: str, filter: str) -> None:
    chunks = [chunk(f"{number:03}", f"word{number % 7} refund {number}", group=["shop", "office"][number % 2]) for number in range(200)]
    questions = [question(f"refund word{number % 9} {number}", f"q{number}", group="office") for number in range(40)]
    retriever = build(spec, chunks, filter, RandomEmbedder())
    together = retriever.retrieve(questions, 10)
    assert together == [retriever.retrieve([one], 10)[0] for one in questions]
    assert together == retriever.retrieve(questions[::-1], 10)[::-1]
    assert together == build(spec, chunks, filter, RandomEmbedder()).retrieve(questions, 10)


@pytest.mark.parametrize("spec", RETRIEVERS)
def test_a_deeper_search_begins_with_the_hits_of_a_shallower_one(spec: str) -> None:
    chunks = [chunk(f"{number:04}", f"{'refund ' * (number % 13)} word{number % 11} {number}") for number in range(500)]
    retriever = build(spec, chunks, embedder=RandomEmbedder())
    questions = [question(f"refund word{number}", f"q{number}") for number in range(8)]
    deep = [[hit.chunk.id for hit in hits] for hits in retriever.retrieve(questions, 400)]
    for k in (1, 10, 150):
        assert [[hit.chunk.id for hit in hits] for hits in retriever.retrieve(questions, k)] == [found[:k] for found in deep]


@pytest.mark.parametrize("spec", RETRIEVERS)
def test_no_questions(spec: str) -> None:
    assert build(spec).retrieve([], 3) == []


def test_unknown_names_and_options() -> None:
    with pytest.raises(WorkbenchError, match="unknown retriever 'dens'; did you mean 'dense'"):
        build("dens")
    with pytest.raises(WorkbenchError, match="unknown tokeniser 'hangul'; did you mean 'hangul-bigram'"):
        build("bm25:hangul")
    with pytest.raises(WorkbenchError, match="retriever 'dense' takes no argument"):
        build("dense:word")
    with pytest.raises(WorkbenchError, match="unknown option of retriever 'bm25': 'k'"):
        build("bm25", k=3)
    with pytest.raises(WorkbenchError, match="unknown index 'exakt'; did you mean 'exact'"):
        build("hybrid", index="exakt")


# --- dense ------------------------------------------------------------------------------------------------------------------------


def test_dense_by_hand() -> None:
    (hits,) = build("dense").retrieve([question("refund")], 3)
    assert ids(hits)[:2] == "ab"
    assert hits[0].score == pytest.approx((2 + 0.01) / np.sqrt(1.01 * 4.01), abs=1e-6)  # (1, 0.1) and (2, 0.1), normalised
    assert hits[1].score == pytest.approx((1 + 0.01) / np.sqrt(1.01 * 5.01), abs=1e-6)  # b: refund 1, delivery 2


@pytest.mark.parametrize("spec", DENSE_RETRIEVERS)
def test_d1_questions_are_embedded_as_queries_and_chunks_as_passages_once(spec: str) -> None:
    embedder = KeywordEmbedder()
    retriever = build(spec, embedder=embedder)
    retriever.retrieve(QUESTIONS[:2], 3)
    assert embedder.calls == [(one.text, "passage") for one in CHUNKS] + [(one.question, "query") for one in QUESTIONS[:2]]


@pytest.mark.parametrize("index", ["exact", "flat", "hnsw"])
def test_every_index_gives_the_same_hits(index: str) -> None:
    for filter in ("", "group:company"):
        assert build("dense", filter=filter, index=index).retrieve(QUESTIONS, 6) == build("dense", filter=filter).retrieve(QUESTIONS, 6)


def test_d18_compressed_cosines_rank_alike() -> None:
    class Compressed(KeywordEmbedder):
        def encode(self, texts: Sequence[str], role: Role) -> np.ndarray:
            vectors = super().encode(texts, role)
            return np.hstack([vectors * np.sqrt(0.1), np.full((len(texts), 1), np.sqrt(0.9), np.float32)])

    for plain, compressed in zip(
        build("dense").retrieve(QUESTIONS, 6), build("dense", embedder=Compressed()).retrieve(QUESTIONS, 6), strict=True
    ):
        assert ids(plain) == ids(compressed)
        assert compressed[0].score > 0.9


def test_a_bad_vector_is_refused_with_the_id_of_its_chunk() -> None:
    class Broken(KeywordEmbedder):
        def encode(self, texts: Sequence[str], role: Role) -> np.ndarray:
            vectors = super().encode(texts, role)
            vectors[3] = np.nan
            return vectors

    with pytest.raises(WorkbenchError, match=r"d:0-\d+: its vector is NaN or infinite"):
        build("dense", embedder=Broken())


def test_titles_go_before_the_text_where_asked() -> None:
    assert embedding_texts([chunk("a", "text"), Chunk(Span("b", 0, 4), "bare")], True) == ["title a text", "bare"]
    assert embedding_texts([chunk("a", "text")], False) == ["text"]
    embedder = KeywordEmbedder()
    create_retriever("dense", [chunk("a", "text")], True, embedder=embedder, index="exact", index_options={}, filter="")
    assert embedder.calls == [("title a text", "passage")]


# --- BM25 and Korean --------------------------------------------------------------------------------------------------------------


def test_bm25_leaves_out_chunks_without_a_common_token() -> None:
    assert [ids(hits) for hits in build("bm25:word").retrieve([question("battery"), question("zebra"), question("")], 6)] == ["c", "", ""]


def test_bm25_options_reach_the_index() -> None:
    long, short = chunk("a", "refund " + "filler " * 50), chunk("b", "refund")
    scores = {b: [hit.score for hit in build("bm25:word", [long, short], b=b).retrieve([question("refund")], 2)[0]] for b in (0.0, 1.0)}
    assert scores[0.0][0] == scores[0.0][1]  # b = 0: length makes no difference
    assert scores[1.0][0] > scores[1.0][1]


BARE = [question("휴가"), question("보관료")]


def test_ko2_korean_default_finds_a_bare_noun_where_words_do_not() -> None:
    assert [ids(hits) for hits in build("bm25:word").retrieve(BARE, 6)] == ["", ""]
    for spec in ("bm25", "bm25:hangul-bigram"):
        assert [set(ids(hits)) for hits in build(spec, CHUNKS[3:]).retrieve(BARE, 6)] == [{"d", "e"}, {"f"}]


def test_kiwi_tokeniser_finds_nouns() -> None:
    pytest.importorskip("kiwipiepy")
    assert [set(ids(hits)) for hits in build("bm25:kiwi").retrieve(BARE, 6)] == [{"d", "e"}, {"f"}]


@pytest.mark.parametrize("spec", ["dense", "bm25:word", "bm25:hangul-bigram", "hybrid"])
def test_ko1_a_decomposed_question_finds_a_composed_document(spec: str) -> None:
    retriever = build(spec)
    composed, decomposed = question("출장 휴가를"), question(unicodedata.normalize("NFD", "출장 휴가를"))
    assert decomposed.question != composed.question
    assert retriever.retrieve([decomposed], 2) == retriever.retrieve([composed], 2)
    assert ids(retriever.retrieve([decomposed], 1)[0]) == "e"


def test_default_tokeniser_looks_at_the_whole_corpus() -> None:
    assert default_tokeniser(["A plain English text."] * 10) == "english"
    assert default_tokeniser(["한국어로 쓴 문서입니다."] * 10) == "hangul-bigram"
    assert default_tokeniser(["English first, sorted by id."] * 300 + ["그 다음에는 한국어 문서가 이어진다."] * 300) == "hangul-bigram"
    assert default_tokeniser([]) == "word"


# --- hybrid -----------------------------------------------------------------------------------------------------------------------


def test_d30_fusion_by_hand() -> None:
    rows, scores = fuse([np.array([3, 1, 2]), np.array([1, 4])], 10)
    assert rows.tolist() == [1, 3, 4, 2]
    assert scores.tolist() == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63])
    assert fuse([np.array([3, 1, 2]), np.array([1, 4])], 2)[0].tolist() == [1, 3]
    assert fuse([np.array([5, 2]), np.array([2, 5])], 2)[0].tolist() == [2, 5]  # equal: the lower row first
    assert fuse([np.array([], np.int64), np.array([], np.int64)], 3)[0].tolist() == []


def test_hybrid_is_the_fusion_of_both() -> None:
    dense, bm25 = build("dense"), build("bm25")
    order = {one.id: row for row, one in enumerate(CHUNKS)}
    for one, hits in zip(QUESTIONS, build("hybrid").retrieve(QUESTIONS, 6), strict=True):
        lists = [np.array([order[hit.chunk.id] for hit in part.retrieve([one], 6)[0]], np.int64) for part in (dense, bm25)]
        rows, scores = fuse(lists, 6)
        assert [order[hit.chunk.id] for hit in hits] == rows.tolist()
        assert [hit.score for hit in hits] == scores.tolist()


# --- filter -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", RETRIEVERS)
def test_filter_by_metadata_of_the_question(spec: str) -> None:
    questions = [
        question("refund 휴가 보관료는", f"q-{group}", group=group) for group in ("shop", "company", "storage", "unheard of", "shop")
    ]
    found = [set(ids(hits)) for hits in build(spec, filter="group").retrieve(questions, 6)]
    expected = [set("abc"), set("de"), set("f"), set(), set("abc")]
    assert all(one <= two if spec == "bm25" else one == two for one, two in zip(found, expected, strict=True))
    assert all(bool(one) == bool(two) for one, two in zip(found, expected, strict=True))


@pytest.mark.parametrize("spec", RETRIEVERS)
def test_constant_filter_and_two_filters(spec: str) -> None:
    questions = [question("refund 휴가를 battery", number=4, group="company")]
    assert set(ids(build(spec, filter="group:shop").retrieve(questions, 6)[0])) <= set("abc")
    assert ids(build(spec, filter="group:company,number").retrieve(questions, 6)[0]) == "e"  # a number equals its spelling
    assert ids(build(spec, filter=" group , number:4 ").retrieve(questions, 6)[0]) == "e"
    assert ids(build(spec, filter="group:shop,number").retrieve(questions, 6)[0]) == ""


@pytest.mark.parametrize("spec", RETRIEVERS)
def test_unknown_filter_names_the_nearest(spec: str) -> None:
    with pytest.raises(WorkbenchError, match=r"no document has the metadata 'grop'; did you mean 'group'\? \(available: group, number\)"):
        build(spec, filter="grop")


@pytest.mark.parametrize("spec", RETRIEVERS)
def test_question_without_the_metadata_is_an_error(spec: str) -> None:
    with pytest.raises(WorkbenchError, match="filter 'group': question 'q9' has no such metadata"):
        build(spec, filter="group").retrieve([question("refund", group="shop"), question("refund", "q9")], 3)


def test_filtered_scores_are_those_of_the_whole_corpus() -> None:
    whole = {hit.chunk.id: hit.score for hit in build("bm25").retrieve(QUESTIONS[:1], 6)[0]}
    for hit in build("bm25", filter="group:shop").retrieve(QUESTIONS[:1], 6)[0]:
        assert hit.score == whole[hit.chunk.id]


def test_ko1_filter_values_match_in_nfc() -> None:
    chunks = [chunk("a", "휴가", 부서="인사"), chunk("b", "휴가", 부서="재무")]
    decomposed = unicodedata.normalize("NFD", "부서:재무")
    assert ids(build("dense", chunks, filter=decomposed).retrieve([question("휴가")], 2)[0]) == "b"
    asked = question("휴가", 부서=unicodedata.normalize("NFD", "인사"))
    assert ids(build("dense", chunks, filter="부서").retrieve([asked], 2)[0]) == "a"


# --- random -----------------------------------------------------------------------------------------------------------------------


def test_random_depends_on_seed_and_question() -> None:
    def orders(seed: int) -> list[str]:
        return [ids(hits) for hits in create_retriever("random", CHUNKS, False, filter="", seed=seed).retrieve(QUESTIONS, 6)]

    assert orders(1) == orders(1) != orders(2)
    assert len(set(orders(1))) > 1
    assert all(sorted(order) == sorted("abcdef") for order in orders(1))
