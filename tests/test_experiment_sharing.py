"""Configurations that are run one after the other share models, data and retrieval, and score as if each were run alone."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from made_parts import SMALL, MadeModel

from workbench import embedding, experiment_scores, generation, reranking
from workbench.cache import Cache, CachedEmbedder
from workbench.cache_generation import CachedGenerator
from workbench.cache_reranking import CachedReranker
from workbench.datatypes import Conversation, Role, WorkbenchError
from workbench.evaluation import RunResult
from workbench.experiment import grid, prepare, run, run_all
from workbench.experiment_build import Models
from workbench.experiment_latency import with_latency
from workbench.generation import ExtractiveGenerator
from workbench.settings import Settings
from workbench.text import words

pytestmark = pytest.mark.usefixtures("own_cache")


class MadeReranker:
    """Score by the words that question and passage share; `sign` -1 turns the order round."""

    def __init__(self, *, sign: int = 1) -> None:
        self.sign = sign
        self.fingerprint: Mapping[str, Any] = {"name": "made", "sign": sign}

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        return np.array([self.sign * len({*words(left)} & {*words(right)}) for left, right in pairs], np.float32)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Register an embedder `made`, a reranker and a generator, each with one option; give what is built and asked, in order."""
    seen: list[str] = []

    class Embedder(MadeModel):
        calls: ClassVar[list] = []

        def __init__(self, *, turn: int = 0) -> None:
            super().__init__()
            self.turn = turn
            seen.append("embedder")

        @property
        def fingerprint(self) -> Mapping[str, Any]:
            return {**super().fingerprint, "turn": self.turn}

        def encode(self, texts: Sequence[str], role: Role) -> np.ndarray:
            seen.append(f"encode {role}")
            return super().encode(texts, role)

    class Reranker(MadeReranker):
        def __init__(self, *, sign: int = 1) -> None:
            super().__init__(sign=sign)
            seen.append("reranker")

        def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
            seen.append("score")
            return super().score(pairs)

    class Generator(ExtractiveGenerator):
        def __init__(self, argument: str = "", *, tone: str = "") -> None:
            self.given = {"argument": argument, "tone": tone}
            seen.append("generator")

        @property
        def fingerprint(self) -> Mapping[str, Any]:
            return {"name": "made", **self.given}

        def generate(self, conversations: Sequence[Conversation]) -> list:
            seen.append("generate")
            return super().generate(conversations)

    monkeypatch.setitem(embedding.EMBEDDERS, "made", Embedder)
    monkeypatch.setitem(reranking.RERANKERS, "made", Reranker)
    monkeypatch.setitem(generation.GENERATORS, "made", Generator)
    return seen


@pytest.fixture
def retrieved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the retrievers of all searches over a whole data set, in order."""
    seen: list[str] = []
    retrieve = experiment_scores._retrieve

    def counted(parts: Any, *others: Any) -> Any:
        seen.append(parts.settings.retriever)
        return retrieve(parts, *others)

    monkeypatch.setattr(experiment_scores, "_retrieve", counted)
    return seen


def settings(spec: str, **changes: Any) -> Settings:
    return Settings(dataset=spec, **{"retriever": "bm25", "generator": "extractive"} | SMALL | changes)


def numbers(result: RunResult) -> dict[str, Any]:
    """Return all of a result that does not depend on the clock or the cache."""
    record = result.to_json()
    for answer in record["answers"]:
        answer.pop("seconds")
    (record["details"]["answers"] or {}).pop("seconds", None)
    return {name: record[name] for name in record if name not in ("timings", "cache")}


# --- models ---------------------------------------------------------------------------------------------------------------------------

MADE = Settings(embedder="made", reranker="made", generator="made")
KINDS: dict[str, Callable[[Models, Settings], Any]] = {
    "embedder": lambda models, point: models.embedder(point),
    "reranker": lambda models, point: models.reranker(point, point.options.get("reranker", {})),
    "generator": lambda models, point: models.generator(point),
}
OPTIONS = {"embedder": {"turn": 1}, "reranker": {"sign": -1}, "generator": {"tone": "kind"}}
WRAPPED = {"embedder": CachedEmbedder, "reranker": CachedReranker, "generator": CachedGenerator}


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_built_once_for_neighbours_and_anew_for_another_option(
    built: list[str], tmp_path: Path, kind: str, cached: bool
) -> None:
    models = Models(Cache(tmp_path / "cache.sqlite") if cached else None)
    build = KINDS[kind]
    first = build(models, MADE)
    others = {other: knobs for other, knobs in OPTIONS.items() if other != kind}
    assert build(models, MADE.replace(chunk_size=9, prompt="cite", options=others)) is first  # the options of other parts do not matter
    assert built == [kind]
    assert isinstance(first, WRAPPED[kind]) is cached
    other = build(models, MADE.replace(options={kind: OPTIONS[kind]}))
    assert built == [kind] * 2
    assert other is not first
    assert other.fingerprint != first.fingerprint
    assert build(models, MADE.replace(options={kind: OPTIONS[kind]})) is other
    build(models, MADE)  # only the last one was kept
    assert built == [kind] * 3


def test_kinds_do_not_push_one_another_out_and_other_names_are_built_anew(built: list[str]) -> None:
    models = Models(None)
    kept = [build(models, MADE) for build in KINDS.values()]
    assert all(build(models, MADE) is part for build, part in zip(KINDS.values(), kept, strict=True))
    assert built == list(KINDS)
    assert models.embedder(MADE.replace(embedder="none")) is None
    assert models.embedder(MADE) is kept[0]
    assert models.generator(MADE.replace(generator="made:b")).fingerprint["argument"] == "b"
    with pytest.raises(WorkbenchError, match="unknown option of embedder 'made': 'trun'"):
        models.embedder(MADE.replace(options={"embedder": {"trun": 1}}))
    assert models.embedder(MADE) is kept[0]  # what could not be built pushes nothing out


@pytest.mark.parametrize("cached", [True, False])
def test_a_grid_builds_each_model_once(small, built: list[str], cached: bool) -> None:
    point = settings(small("en"), retriever="dense", embedder="made", reranker="made", generator="made", answers=3)
    assert len(grid(point, cached=cached, chunk_size=[16, 24], prompt=["plain", "cite"])) == 4
    assert [built.count(kind) for kind in KINDS] == [1, 1, 1]


# --- retrieval ------------------------------------------------------------------------------------------------------------------------

HOW = {
    "an embedder for shots": {"shot_count": 2, "shot_selection": "similar", "embedder": "made"},
    # differences in how is answered
    "prompt": {"prompt": "cite"},
    "generator": {"generator": "made"},
    "options of the generator": {"generator": "made", "options": {"generator": {"tone": "kind"}}},
    "smaller contexts": {"shrink_context": True},
    "shots": {"shot_count": 2},
    "control": {"shot_count": 2, "shuffle_shots": True, "shot_selection": "random", "shot_budget": 8},
}
WHAT = {  # differences in what is found, or of which questions
    "retriever": {"retriever": "bm25:word"},
    "options of the retriever": {"options": {"retriever": {"k1": 0.1}}},
    "chunks": {"chunk_size": 24},
    "reranker": {"reranker": "made"},
    "options of the reranker": {"reranker": "made", "options": {"reranker": {"depth": 2}}},
    "hits": {"top_k": 2},
    "budgets": {"budgets": (8, 64)},
    "budget of the answers": {"answer_budget": 32},
    "number of answers": {"answers": 3},
    "no answers": {"generator": "none"},
}


@pytest.mark.parametrize("case", [*HOW, *WHAT])
def test_what_differs_in_its_answers_only_is_retrieved_once_and_scores_as_alone(
    small, built: list[str], retrieved: list[str], case: str
) -> None:
    first = settings(small("en"), split="test")
    other = first.replace(**(HOW | WHAT)[case])
    alone = run(other)
    retrieved.clear()
    results = run_all([first, other])
    assert len(retrieved) == (1 if case in HOW else 2)
    assert numbers(results[1]) == numbers(alone)
    assert numbers(results[0]) == numbers(run(first))
    assert results[1].settings == alone.settings != results[0].settings
    assert ("retrieve" in results[1].timings) is (case in WHAT)  # time is counted where it was spent
    assert "answer" in results[0].timings


def test_only_neighbours_share_and_equal_configurations_run_once(small, retrieved: list[str]) -> None:
    first, other = settings(small("ko")), settings(small("ko"), retriever="bm25:word")
    points = [first, first.replace(prompt="cite"), other, other.replace(prompt="cite"), first.replace(prompt="concise"), first]
    assert len(run_all(points)) == 5
    assert retrieved == ["bm25:hangul-bigram", "bm25:word", "bm25:hangul-bigram"]


def test_other_seeds_and_data_are_retrieved_apart(small, retrieved: list[str]) -> None:
    points = [settings(small(language), seed=seed, answers=5) for language in ("en", "ko") for seed in (0, 1)]
    results = run_all(points)
    assert len(retrieved) == 4
    assert [numbers(result) for result in results] == [numbers(run(point)) for point in points]
    assert [answer["id"] for answer in results[0].answers] != [answer["id"] for answer in results[1].answers]


# --- latency --------------------------------------------------------------------------------------------------------------------------


def test_latency_is_added_to_each_result_with_models_built_once_and_nothing_from_the_cache(small, built: list[str]) -> None:
    point = settings(small("en"), retriever="dense", embedder="made", reranker="made", generator="none")
    results = run_all([point, point.replace(chunk_size=24), settings(small("ko"), generator="none")])
    data = {spec: prepare(settings(spec)) for spec in (small("en"), small("ko"))}
    del built[:]
    probed = with_latency(results, data, questions=4)
    assert [built.count(kind) for kind in KINDS] == [1, 1, 0]
    assert built.count("encode query") == built.count("score") == 2 * (1 + 4)  # a warm-up and each question, alone
    assert built.count("encode passage") == 0  # the index came from the cache
    for before, after in zip(results, probed, strict=True):
        assert 0 < after.timings["query_median_ms"] <= after.timings["query_p95_ms"]
        assert {name: after.timings[name] for name in before.timings} == before.timings
        assert "query_median_ms" not in before.timings
        assert numbers(after) == numbers(before)
    with pytest.raises(WorkbenchError, match="a latency probe needs at least 1 question, got 0"):
        with_latency(results, data, questions=0)
    assert with_latency([], {}) == []


def test_data_that_is_prepared_is_not_read_again(small: Callable[[str], str], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small("en").removeprefix("folder:"), tmp_path / "docs"))
    point = settings(f"folder:{folder}")
    prepared = prepare(point)
    expected = grid(point, chunk_size=[8, 16])
    shutil.rmtree(folder)
    again = grid(point, chunk_size=[8, 16], prepared=[prepared])
    assert [one.scores.keys() for one in again] == [one.scores.keys() for one in expected]
    for one, other in zip(again, expected, strict=True):
        for metric, values in other.scores.items():
            np.testing.assert_array_equal(one.scores[metric], values)
    with pytest.raises(WorkbenchError, match="no such file or folder"):
        grid(point.replace(seed=1), chunk_size=[8], prepared=[prepared])  # another draw
