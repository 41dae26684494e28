"""Candidates are named by what varies, shortly, and never alike."""

import pytest
from factories import make_answered_results, make_result

from workbench import report_labels
from workbench.settings import Settings

BUDGET = "evidence_recall@512t"


def test_labels_name_what_varies_shortly() -> None:
    base = {"embedder": "st:sentence-transformers/all-MiniLM-L6-v2", "retriever": "dense", "index": "exact"}
    settings = Settings(**base)
    fields = ["chunker", "chunk_size", "chunk_overlap", "embedder", "retriever", "index", "filter", "top_k", "options"]
    assert (
        report_labels.label(settings, fields)
        == "recursive · 256 tokens · chunk overlap 0 · all-MiniLM-L6-v2 · dense · index exact · filter none · top k 10"
    )
    assert report_labels.label(settings.replace(chunker="whole"), fields[:4]) == "whole document · all-MiniLM-L6-v2"
    assert report_labels.label(settings.replace(options={"index": {"ef": 64}}), ["options"]) == "index.ef 64"
    assert report_labels.label(settings.replace(retriever="bm25:word", embedder="none", index="none"), fields[3:6]) == "bm25:word"
    assert report_labels.label(settings, ["seed"]) == "seed 0"
    assert report_labels.label(settings, []) == "the one configuration"


def test_labels_leave_out_the_only_embedder_and_are_never_equal() -> None:
    lexical, dense = {"retriever": "bm25:word"}, {"retriever": "dense", "embedder": "hash", "index": "exact"}
    results = [make_result({BUDGET: [1.0]}, **lexical), make_result({BUDGET: [1.0]}, **dense)]
    assert report_labels.labels(results) == ["bm25:word", "hash embedder · dense"]
    results = [make_result({BUDGET: [1.0]}, budgets=budgets) for budgets in ((512,), (512, 1024))]
    assert report_labels.labels(results) == [f"the one configuration · {result.config_id}" for result in results]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"generator": "hf:google/gemma-3-270m"}, "gemma-3-270m"),
        ({"generator": "openai:llama3.2:1b"}, "llama3.2:1b"),
        ({"generator": "hf:models/내-모델"}, "내-모델"),
        ({"generator": "extractive"}, "extractive"),
        ({"prompt": "concise:ko"}, "prompt concise:ko"),
        ({"prompt": "file:prompts/사내 규정.md"}, "prompt 사내 규정.md"),
        ({"prompt": "file:C:\\me\\mine.md"}, "prompt mine.md"),
        ({"answer_budget": 256}, "answer budget 256"),
    ],
)
def test_generators_and_prompts_are_named_without_owner_and_folder(changes: dict, words: str) -> None:
    spoken = {"generator": "hf:HuggingFaceTB/SmolLM2-135M-Instruct", "prompt": "plain:ko", "answer_budget": 512}
    results = [make_result({BUDGET: [1.0]}, **settings) for settings in (spoken, spoken | changes)]
    assert report_labels.labels(results)[1] == words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shot_count": 0}, "zero-shot"),
        ({"shot_count": 1, "shot_selection": "similar"}, "1 shot · similar"),
        ({"shuffle_shots": True, "shot_count": 4}, "4 shots · fixed · shuffled answers"),
        ({"reranker": "cross-encoder:owner/ms-marco"}, "reranked by ms-marco · 2 shots · fixed"),
    ],
)
def test_shots_and_rerankers_are_named_where_they_have_an_effect(changes: dict, words: str) -> None:
    settings = Settings(**{"generator": "hf:owner/model", "shot_count": 2} | changes)
    assert report_labels.label(settings, ["reranker", "shot_count", "shot_selection", "shuffle_shots"]) == words


@pytest.mark.parametrize("changes", [{"shuffle_shots": True, "shot_count": 2}, {"prompt": "closed-book:ko"}, {"retriever": "random"}])
def test_what_should_lose_is_a_control(changes: dict) -> None:
    assert report_labels.is_control(make_result({BUDGET: [1.0]}, **changes).settings)
    assert not report_labels.is_control(make_result({BUDGET: [1.0]}, prompt="plain:ko", shot_count=2).settings)


def test_options_that_a_part_always_has_are_not_named() -> None:
    capped = {"generator": "hf:m", "options": {"generator": {"max_new_tokens": 48}}}
    names = report_labels.labels([make_result({BUDGET: [1.0]}, **item) for item in (capped, {"generator": "extractive"})])
    assert names == ["m", "extractive"]
    wider = capped | {"options": {"generator": {"max_new_tokens": 64}}}
    names = report_labels.labels([make_result({BUDGET: [1.0]}, **item) for item in (capped, wider)])
    assert names == ["generator.max_new_tokens 48", "generator.max_new_tokens 64"]


def test_a_configuration_without_generator_is_called_that_alone() -> None:
    results = [*make_answered_results()[:2], make_result({BUDGET: [1.0]})]
    names = report_labels.labels(results)
    assert names[0] == "SmolLM2-135M-Instruct · prompt plain:en · answer budget 512"
    assert names[2] == "no generator"
