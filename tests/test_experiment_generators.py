"""Whole runs with real language models, SmolLM2 in English and Gemma in Korean; skipped where these are not in the model store."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from workbench import experiment, models
from workbench.experiment_build import DEFAULT_GENERATORS
from workbench.settings import Settings

pytestmark = pytest.mark.usefixtures("shared_cache", "stored_models")
WARM = """
import json, sys
from workbench import experiment
from workbench.settings import parse_settings
result = experiment.run(parse_settings(json.loads(sys.argv[1])))
heavy = sorted({"torch", "transformers", "sentence_transformers", "gguf"} & set(sys.modules))
print(json.dumps({"heavy": heavy, "result": result.to_json()}))
"""
SMALL = {"answers": 6, "answer_budget": 96, "limit": 24, "retriever": "bm25", "chunk_size": 48}


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_real_model_answers_and_a_rerun_asks_nothing_and_loads_no_torch(language: str, tmp_path: Path) -> None:
    name = DEFAULT_GENERATORS[language].partition(":")[2]
    if not models.stored(name):
        pytest.skip(f"run: workbench models pull {name}")
    point = Settings(dataset=f"demo-{language}", generator="auto", options={"generator": {"max_new_tokens": 12}}, **SMALL)
    cold = experiment.run(point)
    assert cold.settings.generator == f"hf:{name}"
    assert cold.details["answers"]["answered"] == len(cold.answers) == 6
    assert "4-bit" in cold.details["answers"]["generator_precision"]
    for record in cold.answers:
        assert record["error"] == ""
        assert 96 < record["prompt_tokens"] < 400
        assert 1 <= record["completion_tokens"] <= 12
        assert record["finish_reason"] == ("length" if record["completion_tokens"] == 12 else record["finish_reason"])
    assert sum(bool(record["text"]) for record in cold.answers) >= 4
    assert cold.interval("groundedness").mean > 0.3  # it says words of the context
    arguments = [sys.executable, "-c", WARM, json.dumps(point.model_dump(mode="json"))]
    done = subprocess.run(arguments, capture_output=True, text=True, encoding="utf-8", check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    warm = json.loads(done.stdout)
    assert warm["heavy"] == []
    assert (warm["result"]["cache"]["completions"], warm["result"]["cache"]["completion_hits"]) == (0, 6)
    assert warm["result"]["answers"] == json.loads(json.dumps([dict(record) for record in cold.answers]))
    assert warm["result"]["scores"] == json.loads(json.dumps(cold.to_json()["scores"]))
