"""One strict frozen configuration, its id, and the messages for wrong values."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from workbench import storage
from workbench.datatypes import WorkbenchError
from workbench.settings import HEADERS, SPLITS, Settings, parse_settings

OTHER_VALUES: dict[str, Any] = {
    "dataset": "demo-ko",
    "split": "selection",
    "limit": 7,
    "chunker": "fixed",
    "chunk_size": 128,
    "chunk_overlap": 16,
    "header": "none",
    "tokenizer": "characters",
    "embedder": "hash",
    "retriever": "bm25",
    "index": "hnsw",
    "filter": "language:ko",
    "reranker": "cross-encoder:m",
    "top_k": 5,
    "budgets": (128, 256),
    "primary": "ndcg@10",
    "generator": "extractive",
    "prompt": "concise",
    "shot_count": 2,
    "shot_selection": "similar",
    "shot_budget": 64,
    "shuffle_shots": True,
    "answers": 5,
    "answer_budget": 256,
    "shrink_context": True,
    "rules": "rules.yaml",
    "judge": "openai:judge",
    "seed": 1,
    "options": {"index": {"ef": 64}},
}


def test_config_id_differs_when_any_field_but_the_seed_differs() -> None:
    assert set(OTHER_VALUES) == set(Settings.model_fields), "a new field of Settings needs a second value above"
    ids = {name: Settings(**{name: value}).config_id for name, value in OTHER_VALUES.items()}
    assert ids.pop("seed") == Settings().config_id
    assert len({*ids.values(), Settings().config_id}) == len(ids) + 1
    for name, value in OTHER_VALUES.items():
        assert Settings(**{name: value}).canonical() != Settings().canonical(), name


def test_config_id_is_stable_across_processes_and_key_order() -> None:
    options = {"index": {"ef": 64, "m": 16}, "embedder": {"dimension": 64}}
    turned = {"embedder": {"dimension": 64.0}, "index": {"m": 16, "ef": 64}}
    settings = Settings(chunk_size=64, options=options)
    assert Settings(options=turned, chunk_size=64, seed=5).config_id == settings.config_id
    assert parse_settings(settings.model_dump()) == settings
    code = f"from workbench.settings import Settings; print(Settings(chunk_size=64, options={options!r}).config_id)"
    for hash_seed in "01":
        other = subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True)
        assert other.stdout.strip() == settings.config_id
    assert len(settings.config_id) == 12
    int(settings.config_id, 16)


def test_config_id_sees_one_spelling_of_korean_names() -> None:
    assert Settings(dataset="squad:\uac00.json").config_id == Settings(dataset="squad:\u1100\u1161.json").config_id


def test_settings_survive_json_and_yaml() -> None:
    settings = parse_settings(OTHER_VALUES)
    assert parse_settings(json.loads(settings.canonical())) == settings
    assert parse_settings(storage.parse_yaml(settings.canonical(), "x")) == settings


def test_settings_are_frozen() -> None:
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.chunk_size = 3
    with pytest.raises(ValidationError, match="frozen"):
        del settings.chunk_size
    assert isinstance(settings.budgets, tuple)


def test_later_changes_of_the_given_options_change_nothing() -> None:
    options = {"index": {"layers": [1, 2]}}
    settings = Settings(options=options)
    before = settings.config_id
    options["index"]["layers"].append(3)
    options["embedder"] = {}
    assert settings.config_id == before
    assert Settings().options is not Settings().options


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"chunk_sise": 1}, "unknown setting 'chunk_sise'; did you mean 'chunk_size'?"),
        ({"chunk_sizes": [64]}, "unknown setting 'chunk_sizes'; did you mean 'chunk_size'?"),
        ({"embeder": "hash"}, "did you mean 'embedder'?"),
        ({"zzzzzz": 1}, "unknown setting 'zzzzzz' (settings: dataset, split, "),
        ({False: 1}, "unknown setting 'False'"),
        ({1: 2}, "unknown setting '1' (settings: dataset, "),
        (None, "settings must be names with values, got None"),
        (["chunk_size"], "settings must be names with values, got ['chunk_size']"),
        ({"chunk_size": "256"}, "chunk_size = '256': Input should be a valid integer"),
        ({"chunk_size": 256.0}, "chunk_size = 256.0: Input should be a valid integer"),
        ({"chunk_size": True}, "chunk_size = True: Input should be a valid integer"),
        ({"chunk_size": np.int64(256)}, "chunk_size = np.int64(256): Input should be a valid integer"),
        ({"chunk_size": None}, "chunk_size = None: Input should be a valid integer"),
        ({"chunk_size": 0}, "chunk_size = 0: Input should be greater than or equal to 1"),
        ({"chunk_size": -5}, "chunk_size = -5: Input should be greater than or equal to 1"),
        ({"chunk_overlap": -1}, "chunk_overlap = -1: Input should be greater than or equal to 0"),
        ({"chunk_size": 64, "chunk_overlap": 64}, "chunk_overlap 64 must be smaller than chunk_size 64"),
        ({"chunk_size": 64, "chunk_overlap": 65}, "chunk_overlap 65 must be smaller than chunk_size 64"),
        ({"top_k": 0}, "top_k = 0: Input should be greater than or equal to 1"),
        ({"limit": -1}, "limit = -1: Input should be greater than or equal to 0"),
        ({"seed": -1}, "seed = -1: Input should be greater than or equal to 0"),
        ({"seed": "0"}, "seed = '0': Input should be a valid integer"),
        ({"dataset": 3}, "dataset = 3: Input should be a valid string"),
        ({"split": "dev"}, "split 'dev' must be one of all, train, selection, confirmation, test"),
        ({"header": "titel"}, "header 'titel' must be one of auto, title, none"),
        ({"budgets": [512, 256]}, "budgets [512, 256] must hold at least one size and rise without repetition"),
        ({"budgets": [256, 256]}, "budgets [256, 256] must hold at least one size and rise without repetition"),
        ({"budgets": []}, "budgets [] must hold at least one size and rise without repetition"),
        ({"budgets": [0, 256]}, "budgets.0 = 0: Input should be greater than or equal to 1"),
        ({"budgets": ["256"]}, "budgets.0 = '256': Input should be a valid integer"),
        ({"budgets": [256, True]}, "budgets.1 = True: Input should be a valid integer"),
        ({"budgets": 256}, "budgets = 256: Input should be a valid tuple"),
        ({"budgets": "256"}, "budgets = '256': Input should be a valid tuple"),
        ({"options": {"index": 3}}, "options.index = 3: Input should be a valid dictionary"),
        ({"options": {1: {}}}, "options.1.[key] = 1: Input should be a valid string"),
        ({"embedder": "st:model=x"}, "embedder 'st:model=x' must not contain '=': options go through `options`"),
        ({"index": "hnsw:ef=64"}, "index 'hnsw:ef=64' must not contain '='"),
    ],
)
def test_wrong_values_are_named(values: Any, message: str) -> None:
    with pytest.raises(WorkbenchError) as caught:
        parse_settings(values)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), (1, 2), np.float32(1), np.int64(1), {1: 2}, {1}, b"x", object()])
def test_pm5_options_hold_json_values_only(value: Any) -> None:
    with pytest.raises(WorkbenchError, match=r"options = .*must hold JSON values only"):
        parse_settings({"options": {"index": {"ef": value}}})


def test_numpy_float64_in_options_becomes_a_plain_number() -> None:
    settings = Settings(options={"index": {"weight": np.float64(0.5)}})
    assert type(settings.options["index"]["weight"]) is float


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(WorkbenchError) as caught:
        parse_settings({"chunk_size": "1", "top_k": 0})
    assert "chunk_size = '1'" in str(caught.value)
    assert "top_k = 0" in str(caught.value)


def test_extra_fields_are_refused_by_the_model_too() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Settings(chunk_sise=1)


def test_a_data_path_may_contain_an_equals_sign() -> None:
    assert Settings(dataset="jsonl:year=2024").dataset == "jsonl:year=2024"


def test_replace_checks_too_and_leaves_the_original() -> None:
    settings = Settings(chunk_size=64)
    assert settings.replace(chunk_overlap=8, budgets=[100]) == Settings(chunk_size=64, chunk_overlap=8, budgets=(100,))
    assert settings == Settings(chunk_size=64)
    with pytest.raises(WorkbenchError, match="chunk_overlap 64 must be smaller"):
        settings.replace(chunk_overlap=64)
    with pytest.raises(WorkbenchError, match="did you mean 'top_k'"):
        settings.replace(topk=3)


@pytest.mark.parametrize(("name", "value"), [*(("split", value) for value in SPLITS), *(("header", value) for value in HEADERS)])
def test_every_listed_value_is_accepted(name: str, value: str) -> None:
    assert getattr(parse_settings({name: value}), name) == value


@pytest.mark.parametrize(
    "values",
    [
        {"options": {"generator": {"api_key": "abc"}}},
        {"generator": "openai:sk-0123456789abcdef01234"},
        {"options": {"generator": {"stop": ["hf_0123456789012345678901"]}}},
    ],
    ids=["named", "in a spec", "deep inside"],
)
def test_a_key_in_a_setting_is_refused_and_not_repeated(values: dict[str, Any]) -> None:
    with pytest.raises(WorkbenchError, match="looks like a secret; put it into an environment variable") as error:
        parse_settings(values)
    assert "0123456789" not in str(error.value)
    assert "abc" not in str(error.value)
