"""Whole runs with the real default models, in English and Korean; skipped where these are not in the model store."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_parts import levels

from workbench import experiment
from workbench.embedding_st import SentenceTransformersEmbedder
from workbench.evaluation import RunResult
from workbench.experiment_build import DEFAULT_EMBEDDERS
from workbench.settings import Settings

pytestmark = pytest.mark.usefixtures("shared_cache", "stored_models")
SIZES = {"chunk_size": 24, "top_k": 3, "budgets": (16, 64)}
WARM = """
import json, sys
from workbench import experiment
from workbench.settings import parse_settings
result = experiment.run(parse_settings(json.loads(sys.argv[1])))
heavy = sorted({"torch", "transformers", "sentence_transformers"} & set(sys.modules))
print(json.dumps({"heavy": heavy, "result": result.to_json()}))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[tuple, Any]:
    return {}


@pytest.fixture(autouse=True)
def loaded_once(loaded: dict[tuple, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Load each model once for all tests here; a run by itself keeps nothing."""
    load = SentenceTransformersEmbedder._loaded.func

    def kept(embedder: SentenceTransformersEmbedder) -> Any:
        key = (embedder.model.path, embedder.dtype)
        if key not in loaded:
            loaded[key] = load(embedder)
        return loaded[key]

    monkeypatch.setattr(SentenceTransformersEmbedder, "_loaded", property(kept))


@pytest.fixture
def real(small, request) -> Settings:
    """Give the settings of a small dense run with the default model of the language."""
    return Settings(dataset=small(request.param), **SIZES)


def numbers(record: dict) -> dict:
    return {name: value for name, value in record.items() if name not in ("timings", "cache")}


@pytest.mark.parametrize("real", ["en", "ko"], indirect=True)
def test_the_default_model_finds_what_chance_does_not(real: Settings) -> None:
    result = experiment.run(real)
    assert result.settings.embedder == DEFAULT_EMBEDDERS[result.data["language"]]
    assert result.settings.tokenizer == "intfloat/multilingual-e5-small"
    assert levels(result.audit) == {}
    assert result.interval("recall@1").mean > 0.8
    assert experiment.run(real.replace(retriever="random")).interval("recall@1").mean < 0.2
    hybrid = experiment.run(real.replace(retriever="hybrid"))
    assert hybrid.interval("recall@3").mean > 0.9
    assert hybrid.cache["misses"] == 0
    assert "weights" in result.details["embedder_precision"]


@pytest.mark.parametrize("real", ["ko"], indirect=True)
def test_d1_vx6_missing_prefixes_of_a_model_that_asks_for_them_are_a_warning(real: Settings) -> None:
    bare = {"embedder": {"query_prefix": "", "passage_prefix": ""}}
    result = experiment.run(real.replace(limit=12, options=bare))
    assert levels(result.audit)["roles"] == "warning"
    (found,) = [check.message for check in result.audit if check.id == "roles"]
    assert found.startswith("the prefixes used are {'query': '', 'passage': ''}, the model asks for {")
    assert set(levels(result.audit)) <= {"roles", "few_clusters"}  # 12 questions are from fewer than 12 documents
    assert result.cache["misses"] > 40  # other prefixes, other vectors


@pytest.mark.parametrize("real", ["en", "ko"], indirect=True)
def test_d7_a_cached_rerun_in_a_new_process_loads_no_model_and_gives_the_same(real: Settings, tmp_path: Path) -> None:
    point = real.replace(limit=20)
    cold = experiment.run(point)
    arguments = [sys.executable, "-c", WARM, json.dumps(point.model_dump(mode="json"))]
    done = subprocess.run(arguments, capture_output=True, text=True, encoding="utf-8", check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    warm = json.loads(done.stdout)
    assert warm["heavy"] == []
    assert warm["result"]["cache"] | {"hits": 0} == dict.fromkeys(
        ("hits", "misses", "damaged", "calls", "completion_hits", "completions"), 0
    )
    assert numbers(warm["result"]) == json.loads(json.dumps(numbers(cold.to_json())))
    assert RunResult.from_json(warm["result"]).config_id == cold.config_id


@pytest.mark.parametrize("retriever", ["bm25", "dense"])
def test_the_english_demo_is_neither_trivial_nor_hopeless(retriever: str) -> None:
    result = experiment.run(Settings(dataset="demo-en", chunker="recursive", chunk_size=128, retriever=retriever))
    assert result.data["scored"] >= 100
    assert 0.4 < result.interval("recall@1").mean < 0.8
    assert "error" not in levels(result.audit).values()
