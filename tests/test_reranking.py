"""Rerankers: scores worked out by hand, cuts, refusals, independence of batches; the retriever that reorders (VX1, VX10, VX12)."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import made_onnx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import models, reranking_cross_encoder
from workbench.datatypes import Chunk, Example, Hit, Span, WorkbenchError
from workbench.reranking import DEFAULT_DEPTH, RerankingRetriever, check_scores, create_reranker, split_options

MS_MARCO = "cross-encoder/ms-marco-MiniLM-L12-v2"
PAIRS = [("q", "a b"), ("q r", "c"), ("a b", "b b b"), ("", ""), ("q", "a " * 7), ("r", "x a")]


@pytest.fixture(autouse=True)
def own_store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "packaged" not in request.node.name:
        monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "store"))


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_onnx.save_reranker(tmp_path_factory.mktemp("graph"))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_onnx.save_cross_encoder(tmp_path_factory.mktemp("bert"))


# --- cross-encoders --------------------------------------------------------------------------------------------------------------------


def test_scores_are_the_logits_of_question_and_passage_in_this_order(graph: Path) -> None:
    scores = create_reranker(f"cross-encoder:{graph}").score(PAIRS)  # a counts 1, b 2, c -4, in passages only
    assert scores.tolist() == [3, -4, 6, 0, 7, 1]
    assert scores.dtype == np.float32
    assert create_reranker(f"cross-encoder:{graph}").score([]).shape == (0,)


def test_vx7_only_the_passage_is_cut_and_truncated_counts(graph: Path) -> None:
    reranker = create_reranker(f"cross-encoder:{graph}")  # reads 12 tokens, three of them special
    pairs = [("q", "b " * 8), ("q", "b " * 9), ("q r q r", "b " * 8), ("q " * 8, "b b")]
    assert reranker.score(pairs).tolist() == [16, 16, 10, 2]
    assert reranker.truncated(pairs) == 3
    assert reranker.truncated([]) == 0
    with pytest.raises(WorkbenchError, match=r"reads 9 tokens of question and passage, but this question alone has 9: 'q q q"):
        reranker.score([("q", "a"), ("q " * 9, "b")])


def test_vx1_a_score_that_is_no_number_is_refused_with_its_pair(graph: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"a NaN or infinite score for 1 of 2 pairs, first: 'q r' with 'a n'"):
        create_reranker(f"cross-encoder:{graph}").score([("q", "a"), ("q r", "a n")])


@pytest.mark.parametrize("kind", ["graph", "bert"])
def test_vx10_a_score_depends_on_nothing_but_its_pair(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = request.getfixturevalue(kind)
    scores = create_reranker(f"cross-encoder:{folder}").score(PAIRS)
    order = np.random.default_rng(2).permutation(len(PAIRS))
    monkeypatch.setattr(reranking_cross_encoder, "ENCODED_AT_ONCE", 4)
    reranker = create_reranker(f"cross-encoder:{folder}")
    assert reranker.score([PAIRS[row] for row in order]).tobytes() == scores[order].tobytes()
    assert np.concatenate([reranker.score([pair]) for pair in PAIRS]).tobytes() == scores.tobytes()


@pytest.mark.parametrize("inputs", [["input_ids", "attention_mask"], ["input_ids", "token_type_ids", "attention_mask"]])
def test_safetensors_score_as_sentence_transformers_does(tmp_path: Path, inputs: list[str]) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    bert = made_onnx.save_cross_encoder(tmp_path / "bert", inputs=inputs)
    expected = CrossEncoder(str(bert), device="cpu", local_files_only=True).predict(PAIRS, activation_fn=torch.nn.Identity())
    reranker = create_reranker(f"cross-encoder:{bert}")
    found = reranker.score(PAIRS)
    assert np.ptp(found) > 0.01
    assert np.abs(found - expected).max() < 1e-5
    assert reranker.precision == "fp32 weights"


def test_fingerprints_tell_the_weights(graph: Path, bert: Path) -> None:
    first, other = (create_reranker(f"cross-encoder:{folder}").fingerprint for folder in (graph, bert))
    assert first["weights"] != other["weights"]
    assert json.loads(json.dumps(first))["name"] == f"cross-encoder:{graph}"


@pytest.mark.parametrize(
    ("config", "columns", "message"),
    [
        ({"architectures": ["BertModel"]}, 1, "is no reranker but a model of kind embedder"),
        ({"architectures": ["LlamaForCausalLM"]}, 1, "of kind generator"),
        ({"architectures": ["BertForSequenceClassification"]}, 2, "gives 2 scores for each pair; a reranker gives one"),
    ],
)
def test_models_that_are_no_reranker(tmp_path: Path, config: dict[str, Any], columns: int, message: str) -> None:
    folder = made_onnx.save_reranker(tmp_path / "m", columns=columns)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(WorkbenchError, match=message):
        create_reranker(f"cross-encoder:{folder}").score([("q", "a")])


def test_a_classifier_of_several_classes_is_no_reranker(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="gives 3 scores for each pair"):
        create_reranker(f"cross-encoder:{made_onnx.save_cross_encoder(tmp_path / 'm', labels=3)}").score([("q", "a")])


def test_vx12_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = made_onnx.save_reranker(tmp_path / "m")
    (folder / "model.onnx").rename(folder / "model.joblib.pkl")
    with pytest.raises(WorkbenchError, match="is pickled, and pickled weights can run code"):
        create_reranker(f"cross-encoder:{folder}")


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("cross-encode:x", {}, "unknown reranker 'cross-encode'; did you mean 'cross-encoder'"),
        ("cross-encoder", {}, "needs an argument: cross-encoder:NAME"),
        ("cross-encoder:x", {"depth": 3}, "reranker 'cross-encoder' has no options, got 'depth'"),
        (f"cross-encoder:{MS_MARCO}", {}, f"model {MS_MARCO} is not here; fetch it once .* workbench models pull {MS_MARCO}"),
    ],
)
def test_d25_names_and_options_that_do_not_exist(spec: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        create_reranker(spec, options)


def test_packaged_ms_marco_scores_as_its_card_says() -> None:
    """The two passages of the model card, which scores them 9.2 and -4.1 (in fp32, L-12)."""
    if not models.stored(MS_MARCO):
        pytest.skip(f"the model is not here; fetch it with: workbench models pull {MS_MARCO}")
    reranker = create_reranker(f"cross-encoder:{MS_MARCO}")
    question = "How many people live in Berlin?"
    passages = [
        "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
        "Berlin is well known for its museums.",
    ]
    good, bad = reranker.score([(question, passage) for passage in passages])
    assert abs(good - 9.2) < 1
    assert abs(bad + 4.1) < 1
    assert reranker.score([(question, passages[0])])[0] == good
    assert reranker.precision == "int8 weights"


# --- the depth and the retriever -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [0, -1, 1001, 2.0, "50", True, None])
def test_depths_that_are_none(depth: Any) -> None:
    with pytest.raises(WorkbenchError, match=r"reranker\.depth .* must be a whole number from 1 to 1000"):
        split_options({"depth": depth})


def test_the_depth_is_split_off() -> None:
    given_options = {"depth": 7, "batch_size": 2}
    assert split_options(given_options) == (7, {"batch_size": 2})
    assert given_options == {"depth": 7, "batch_size": 2}
    assert split_options({}) == (DEFAULT_DEPTH, {})


class Listed:
    """Retrieve made chunks in a fixed order with made scores, and remember how deep."""

    index_bytes = 17

    def __init__(self, scores: Sequence[float]) -> None:
        self.scores = scores
        self.depths: list[int] = []

    def vectorise(self, examples: Sequence[Example]) -> list[str]:
        return [example.id for example in examples]

    def retrieve(self, examples: Sequence[Example], k: int, queries: Sequence[Any] | None = None) -> list[list[Hit]]:
        assert queries is None or queries == self.vectorise(examples)
        self.depths.append(k)
        return [[Hit(chunk(row), score, row + 1) for row, score in enumerate(self.scores[:k])] for _ in examples]


class Scoring:
    """Score by a made number for each passage; remember the pairs."""

    def __init__(self, scores: Sequence[float]) -> None:
        self.fingerprint = {"name": "scoring"}
        self.scores = scores
        self.calls: list[list[tuple[str, str]]] = []

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        self.calls.append(list(pairs))
        return np.array([self.scores[int(passage.split()[-1])] for _, passage in pairs], np.float32)


def chunk(row: int) -> Chunk:
    return Chunk(Span("d", row, row + 1), str(row), "Title" if row % 2 else "")


def rows(hits: Sequence[Hit]) -> list[int]:
    return [hit.chunk.span.start for hit in hits]


EXAMPLES = [Example("1", "one?"), Example("2", "둘?")]


def test_the_first_hits_are_reordered_and_the_others_follow() -> None:
    retriever, reranker = Listed([9, 8, 7, 6.5, 6.5, 5]), Scoring([0.5, 2, 0.5, 9, 9, 9])
    found = RerankingRetriever(retriever, reranker, 3, with_title=True).retrieve(EXAMPLES, 6, ["1", "2"])
    for hits in found:
        assert rows(hits) == [1, 0, 2, 3, 4, 5]  # equal scores keep the retriever's order
        assert [hit.score for hit in hits] == [2, 0.5, 0.5, 0, 0, -1.5]  # below 0.5 as the retriever's fall from 7
        assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5, 6]
    assert reranker.calls == [[(question, text) for question in ("one?", "둘?") for text in ("0", "Title 1", "2")]]
    plain = Scoring([0.0] * 6)
    RerankingRetriever(retriever, plain, 2).retrieve(EXAMPLES[:1], 2)
    assert plain.calls == [[("one?", "0"), ("one?", "1")]]


def test_few_hits_are_the_best_of_as_many_as_the_depth() -> None:
    retriever = Listed([3, 2, 1])
    wrapped = RerankingRetriever(retriever, Scoring([1, 2, 3]), 3)
    assert rows(wrapped.retrieve(EXAMPLES, 1)[0]) == [2]
    assert retriever.depths == [3]
    assert wrapped.vectorise(EXAMPLES) == ["1", "2"]
    assert wrapped.index_bytes == 17


def test_no_hits_and_no_questions_are_fine() -> None:
    assert RerankingRetriever(Listed([]), Scoring([])).retrieve(EXAMPLES, 5) == [[], []]
    assert RerankingRetriever(Listed([1]), Scoring([1])).retrieve([], 5) == []


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), max_size=12), st.integers(1, 14))
def test_a_deeper_search_reorders_nothing_and_scores_fall(scores: list[tuple[int, int]], depth: int) -> None:
    first = sorted((score for score, _ in scores), reverse=True)
    second = [score for _, score in scores]
    whole = RerankingRetriever(Listed(first), Scoring(second), depth).retrieve(EXAMPLES[:1], 20)[0]
    assert sorted(rows(whole)) == list(range(len(scores)))
    assert rows(whole)[depth:] == list(range(len(scores)))[depth:]
    assert all(better.score >= worse.score for better, worse in itertools.pairwise(whole))
    for k in range(1, 16):
        assert RerankingRetriever(Listed(first), Scoring(second), depth).retrieve(EXAMPLES[:1], k)[0] == whole[:k]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1.0], r"made returned scores of shape \(1,\) for 2 pairs"),
        ([[1.0], [2.0]], r"of shape \(2, 1\) for 2 pairs"),
        ([1.0, np.inf], r"a NaN or infinite score for 1 of 2 pairs, first: 'c' with 'd'"),
        ([1.0, 1e300], r"for 1 of 2 pairs"),
    ],
)
def test_scores_that_cannot_be_used(scores: Any, message: str) -> None:
    with np.errstate(over="ignore"), pytest.raises(WorkbenchError, match=message):
        check_scores(np.array(scores), [("a", "b"), ("c", "d")], "made")
