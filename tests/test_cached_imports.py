"""What is cached costs no import: a notebook run and `evaluate` whose values are known load no library that computes with models."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import tiny_generator
from small_sweep import notebook

from workbench import models, storage
from workbench.engine import run_notebook
from workbench.engine_limits import Limits

HEAVY = ("torch", "transformers", "sentence_transformers", "peft", "gguf", "faiss", "onnxruntime")
HEAVY += ("openvino", "openvino_genai", "openvino_tokenizers", "nncf")
MODEL = "BAAI/bge-small-en-v1.5"
LOADED = f"import sys\nprint('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
RUN = """from workbench import evaluation, experiment, storage
from workbench.settings import parse_settings
result = experiment.run(parse_settings(dict(
    dataset=dataset, tokenizer="simple", chunk_size=16, embedder=embedder, generator=generator, answers=2, answer_budget=16,
    options=dict(generator=dict(max_new_tokens=4)))))
evaluation.save_results(storage.run_folder("tiny") / "result.json", [result])
print(result.cache)
"""
PARTS = f"""from workbench.bench_parts import candidates, create
parts, skipped = candidates()
print([dict(create(part).fingerprint)["name"] for part in parts])
{LOADED}"""


@pytest.fixture
def store() -> Path:
    """Give the model store of this machine, or skip where the model is not in it."""
    if not models.stored(MODEL):
        pytest.skip(f"run: workbench models pull {MODEL}")
    return models.store()


def python(code: str, folder: Path, **variables: str) -> list[str]:
    """Run code in a new process; return its lines."""
    environment = {**os.environ, **variables}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.usefixtures("store")
def test_every_part_with_a_stored_model_is_fingerprinted_without_its_library(tmp_path: Path) -> None:
    """All that a run needs of a part whose values are cached; parts and models of this installation, whatever they are."""
    names, loaded = python(PARTS, tmp_path)
    assert f"onnx:{MODEL}" in names
    assert "extractive" in names
    assert loaded == "LOADED []"


def test_a_cached_notebook_run_and_a_cached_evaluate_import_nothing_heavy(
    store: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run embeds with one library and answers with another: they are noticed."""
    monkeypatch.setenv("WORKBENCH_MODELS", str(store))
    monkeypatch.setattr(tiny_generator, "TINY_WINDOW", 4096)  # tokens; its tokens are bytes
    writer = tiny_generator.save_tiny_generator(project / "writer")
    given: dict[str, Any] = {"dataset": "folder:docs", "embedder": f"onnx:{MODEL}", "generator": f"hf:{writer}"}
    parameters = "\n".join(f'{name}: str = ""' for name in given)
    storage.write_text(project / "cached.ipynb", notebook(parameters, RUN, LOADED))

    def run() -> tuple[dict[str, int], str]:
        environment = {"WORKBENCH_RUN_DIR": str(project / "run"), "WORKBENCH_CACHE": str(project / "cache.sqlite")}
        ended = run_notebook(
            project / "cached.ipynb", project / "out.ipynb", given, environment=environment, folder=project, limits=Limits(seconds=500)
        )
        assert (ended.state, ended.error) == ("ok", "")
        cells = nbformat.read(project / "out.ipynb", as_version=4).cells
        *_, counts, loaded = ["".join(item.text for item in cell.outputs) for cell in cells if cell.cell_type == "code"]
        return json.loads(counts.replace("'", '"')), loaded.strip()

    counts, loaded = run()
    assert (counts["misses"] > 0, counts["completions"]) == (True, 2)
    assert all(name in loaded for name in ("torch", "transformers", "onnxruntime"))
    counts, loaded = run()
    assert (counts["misses"], counts["completions"], counts["completion_hits"]) == (0, 0, 2)
    assert loaded == "LOADED []"

    options = [
        "--tokenizer",
        "simple",
        "--chunk-size",
        "16",
        "--answers",
        "2",
        "--answer-budget",
        "16",
        "--set",
        "generator.max_new_tokens=4",
    ]
    arguments = ["evaluate", *(text for name, value in given.items() for text in (f"--{name}", value)), *options]
    code = f"from workbench.cli import main\ntry: main({arguments!r})\nexcept SystemExit as end: print(end.code)\n{LOADED}"
    *_, counted, ended, loaded = python(code, project, WORKBENCH_CACHE=str(project / "cache.sqlite"))
    assert counted.endswith("misses 0, damaged 0, calls 0, completion_hits 2, completions 0")
    assert (ended, loaded) == ("0", "LOADED []")
