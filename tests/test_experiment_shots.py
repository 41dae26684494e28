"""Whole runs with shots and with a reranker: what settings resolve to, what is shown, what is refused; no model is needed here."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from made_parts import SMALL, MadeModel, levels
from small_corpus import ENGLISH

from workbench import embedding, generation, reranking
from workbench.datatypes import Completion, Conversation, WorkbenchError
from workbench.evaluation import RunResult
from workbench.experiment import prepare, run
from workbench.experiment_build import DEFAULT_EMBEDDERS, resolve
from workbench.experiment_latency import probe_latency
from workbench.generation import ExtractiveGenerator
from workbench.settings import SHOT_FIELDS, Settings
from workbench.text import words

pytestmark = pytest.mark.usefixtures("own_cache")
SHOTS = {"split": "selection", "shot_count": 2, "shot_budget": 16}


def settings(spec: str, **changes: Any) -> Settings:
    return Settings(dataset=spec, **{"retriever": "bm25", "generator": "extractive"} | SMALL | changes)


def resolved(spec: str, **changes: Any) -> Settings:
    point = settings(spec, **changes)
    return resolve(point, prepare(point))


class Watched(ExtractiveGenerator):
    """Answer like the control, and keep the conversations."""

    conversations: ClassVar[list[Conversation]] = []

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {"name": "watched", "version": 1}

    def generate(self, conversations: Sequence[Conversation]) -> list[Completion]:
        self.conversations.extend(conversations)
        return super().generate(conversations)


class Overlap:
    """Score by the words that question and passage share; `sign` -1 turns the order round."""

    seen: ClassVar[list[tuple[str, str]]] = []

    def __init__(self, *, sign: int = 1) -> None:
        self.sign = sign

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {"name": "overlap", "sign": self.sign}

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        self.seen.extend(pairs)
        return np.array([self.sign * len({*words(question)} & {*words(passage)}) for question, passage in pairs], np.float32)


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(generation.GENERATORS, "watched", Watched)
    monkeypatch.setitem(reranking.RERANKERS, "overlap", Overlap)
    monkeypatch.setitem(embedding.EMBEDDERS, "made", MadeModel)
    monkeypatch.setattr(Watched, "conversations", [])
    monkeypatch.setattr(Overlap, "seen", [])


# --- resolve --------------------------------------------------------------------------------------------------------------------------

ODD = {"shot_selection": "random", "shot_budget": 7, "shuffle_shots": True}
SIMILAR = {**SHOTS, "shot_selection": "similar", "embedder": "hash"}
SAME = {
    "shot fields without a shot": ({**ODD}, {}),
    "shot fields without a generator": ({**ODD, "shot_count": 3, "generator": "none"}, {"generator": "none"}),
    "options of no reranker": ({"options": {"reranker": {"depth": 3}}}, {}),
    "an embedder for shots that are drawn": ({**SHOTS, "embedder": "hash"}, SHOTS),
    "an embedder for similar shots without a shot": ({"shot_selection": "similar", "embedder": "hash"}, {}),
    "an index for similar shots": ({**SIMILAR, "index": "hnsw"}, SIMILAR),
}
OTHER = {
    "shots": ({"shot_count": 2}, {}),
    "their selection": ({"shot_count": 2, "shot_selection": "random"}, {"shot_count": 2}),
    "their budget": ({"shot_count": 2, "shot_budget": 7}, {"shot_count": 2}),
    "their answers": ({"shot_count": 2, "shuffle_shots": True}, {"shot_count": 2}),
    "a reranker": ({"reranker": "overlap"}, {}),
    "its depth": ({"reranker": "overlap", "options": {"reranker": {"depth": 3}}}, {"reranker": "overlap"}),
    "options of the embedder of shots": (
        {**SIMILAR, "options": {"embedder": {"dimension": 64}}},
        SIMILAR,
    ),
}


@pytest.mark.parametrize("case", [*SAME, *OTHER])
def test_settings_have_one_config_id_exactly_where_they_do_the_same(small, case: str) -> None:
    left, right = (SAME | OTHER)[case]
    assert (resolved(small("en"), **left).config_id == resolved(small("en"), **right).config_id) is (case in SAME)


def test_fields_without_effect_get_their_defaults(small) -> None:
    idle = resolved(small("en"), **ODD, options={"reranker": {"depth": 3}, "embedder": {"dimension": 8}})
    assert {name: getattr(idle, name) for name in SHOT_FIELDS} == {name: Settings.model_fields[name].default for name in SHOT_FIELDS}
    assert idle.options == {}
    shown = resolved(small("en"), shot_count=1, **ODD)
    assert {name: getattr(shown, name) for name in SHOT_FIELDS} == ODD
    assert resolved(small("en"), reranker="overlap", options={"reranker": {"depth": 3}}).options == {"reranker": {"depth": 3}}
    assert resolve(shown, prepare(shown)) == shown


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("selection", ["fixed", "random", "similar", "diverse"])
def test_an_embedder_is_kept_where_shots_are_compared_by_it(small, language: str, selection: str) -> None:
    compared = selection in ("similar", "diverse")
    found = resolved(small(language), **SHOTS, shot_selection=selection, embedder="hash")
    assert found.embedder == ("hash" if compared else "none")
    assert found.index == "none"  # nothing is searched by vectors but the shots
    automatic = resolved(small(language), **SHOTS, shot_selection=selection)
    assert automatic.embedder == (DEFAULT_EMBEDDERS[language] if compared else "none")
    assert resolved(small(language), **SHOTS, shot_selection=selection, retriever="dense", embedder="hash").embedder == "hash"


# --- runs with shots ------------------------------------------------------------------------------------------------------------------


def shown(conversation: Conversation) -> list[str]:
    """Return the answers of the shots of a conversation."""
    return [message.content for message in conversation.messages if message.role == "assistant"]


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("selection", ["fixed", "random", "similar", "diverse"])
def test_shots_come_from_the_training_part_and_are_shown_to_each_question(small, language: str, selection: str) -> None:
    point = settings(small(language), **SHOTS, generator="watched", shot_selection=selection, embedder="made")
    result, prepared = run(point), prepare(point)
    conversations = Watched.conversations
    assert len(conversations) == len(result.answers) == len(prepared.dataset.examples) > 3
    training = {answer for example in prepared.training for answer in example.answers}
    asked = {answer for example in prepared.dataset.examples for answer in example.answers}
    for conversation in conversations:
        assert len(shown(conversation)) == 2
        assert {*shown(conversation)} <= training - asked
        assert conversation.question == next(answer["question"] for answer in result.answers if answer["question"] in conversation.question)
    assert (len({tuple(shown(conversation)) for conversation in conversations}) == 1) is (selection in ("fixed", "diverse"))
    assert result.settings.shot_count == 2
    assert result.details["answers"]["shots_dropped"] == 0


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_run_with_shots_scores_and_is_the_same_again(small, language: str) -> None:
    result = run(settings(small(language), **SHOTS))
    plain = run(settings(small(language), split="selection"))
    assert result.interval("answer_f1").n == len(result.answers) > 3
    assert result.interval("answer_f1").mean > 0.6
    np.testing.assert_array_equal(result.scores["answer_f1"], plain.scores["answer_f1"])  # the control reads passages, not shots
    assert result.example_ids == plain.example_ids
    assert result.config_id != plain.config_id
    assert set(levels(result.audit)) <= {"few_clusters", "generator_language"}

    def lasting(one: RunResult) -> dict[str, Any]:
        return {name: value for name, value in one.to_json().items() if name not in ("timings", "cache", "answers", "details")}

    assert lasting(run(settings(small(language), **SHOTS), cached=False)) == lasting(result)


def test_shuffled_shots_have_the_same_questions_and_none_of_its_answers(small) -> None:
    for shuffled in (False, True):
        run(settings(small("en"), **SHOTS, generator="watched", shuffle_shots=shuffled))
    half = len(Watched.conversations) // 2
    for straight, turned in zip(Watched.conversations[:half], Watched.conversations[half:], strict=True):
        users = [[message.content for message in one.messages if message.role == "user"] for one in (straight, turned)]
        assert users[0] == users[1]
        assert all(left != right for left, right in zip(shown(straight), shown(turned), strict=True))


@pytest.mark.parametrize("split", ["all", "train"])
def test_shots_need_a_part_of_the_split_that_is_not_trained_on(small, split: str) -> None:
    message = f"shots are taken from the training part of the data, so split '{split}' must be selection, confirmation or test"
    with pytest.raises(WorkbenchError, match=message):
        run(settings(small("en"), shot_count=2, split=split))
    assert run(settings(small("en"), shot_count=2, split=split, generator="none")).answers == ()  # nothing is shown
    with pytest.raises(WorkbenchError, match=r"shot_count 99 needs as many different training questions that may be shown; there are \d+"):
        run(settings(small("en"), shot_count=99, split="test"))


# --- runs with a reranker -------------------------------------------------------------------------------------------------------------


def test_a_reranker_reorders_what_was_found_and_is_asked_once(small) -> None:
    point = settings(small("en"), generator="none", chunker="whole", retriever="random", reranker="overlap", seed=1)
    found, blind = run(point), run(point.replace(reranker="none"))
    assert found.interval("recall@1").mean > 0.4 > 0.2 > blind.interval("recall@1").mean
    assert found.cache["misses"] == len(set(Overlap.seen)) == len(Overlap.seen)
    assert {passage.split(" ")[0] for _, passage in Overlap.seen} == {title.split(" ")[0] for title, *_ in ENGLISH}  # as it is indexed
    asked = len(Overlap.seen)
    again = run(point)
    assert len(Overlap.seen) == asked
    assert (again.cache["misses"], again.cache["hits"]) == (0, found.cache["hits"] + found.cache["misses"])
    for other in (again, run(point, cached=False)):
        np.testing.assert_array_equal(other.scores["recall@1"], found.scores["recall@1"])
    turned = run(point.replace(options={"reranker": {"sign": -1}}))
    assert turned.interval("recall@1").mean < 0.1
    assert found.details["reranker_precision"] is None  # it says none


def test_a_depth_of_one_changes_nothing_and_only_found_chunks_are_scored(small) -> None:
    point = settings(small("ko"), generator="none")
    plain = run(point)
    one = run(point.replace(reranker="overlap", options={"reranker": {"depth": 1, "sign": -1}}))
    assert len(Overlap.seen) == 24
    for metric, values in plain.scores.items():
        assert np.array_equal(values, one.scores[metric], equal_nan=True)
    deep = run(point.replace(reranker="overlap", options={"reranker": {"depth": 5, "sign": -1}}))
    assert deep.interval("recall@1").mean < plain.interval("recall@1").mean


def test_a_latency_probe_asks_the_reranker_anew(small) -> None:
    point = settings(small("en"), generator="none", reranker="overlap", options={"reranker": {"depth": 4}})
    run(point)
    del Overlap.seen[:]
    assert probe_latency(point, questions=3)["n"] == 3
    assert len(Overlap.seen) >= 4
    assert run(point).cache["misses"] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reranker": "overlpa"}, r"unknown reranker 'overlpa'; did you mean 'overlap'\?"),
        ({"reranker": "overlap:x"}, "reranker 'overlap' takes no argument"),
        ({"reranker": "overlap", "options": {"reranker": {"depth": 0}}}, r"reranker.depth 0 must be a whole number from 1"),
        ({"reranker": "overlap", "options": {"reranker": {"sing": 1}}}, "unknown option of reranker 'overlap': 'sing'"),
    ],
)
def test_bad_rerankers_say_what_would_be_right(small, changes: dict, message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        run(settings(small("en")).replace(**changes))
