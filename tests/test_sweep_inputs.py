"""What makes a result stale: code, parameters, data, models and files, and nothing else."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_sweep import PARAMETERS, SPEC, make_project, notebook, write_spec

from workbench import data, storage, sweep_inputs
from workbench.datatypes import WorkbenchError
from workbench.sweep_inputs import Inputs, package_fingerprint
from workbench.sweep_spec import plan

PLAIN = {"dataset": "folder:docs", "tokenizer": "simple", "embedder": "hash"}
ANSWERED = PLAIN | {"generator": "extractive", "split": "all"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a project without models, and stand in it."""
    make_project(tmp_path)
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "no-models"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ids(project: Path, spec: dict[str, Any] = SPEC) -> list[str]:
    return [point.run_id for point in plan(write_spec(project, spec))[1]]


def test_a_run_id_stands_for_everything_that_decides_the_numbers(project: Path) -> None:
    """D22, CL12: parameters, notebook code, data, package code; neither prose, outputs, folder, nor the order of keys."""
    first = ids(project)
    assert len(set(first)) == 2
    file = project / "notebooks/tiny.ipynb"
    record = json.loads(file.read_text("utf-8"))
    record["cells"].insert(0, {"cell_type": "markdown", "id": "m", "metadata": {}, "source": "# Prose"})
    record["cells"][2]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x"}]
    storage.write_json(file, record)
    assert ids(project, {**SPEC, "fixed": {"retriever": "dense", "chunk_sizes": [8, 16]}}) == first
    assert not set(ids(project, {**SPEC, "fixed": {"chunk_sizes": [16, 8]}})) & set(first)
    record["cells"][2]["source"] += "\n1 + 1"
    storage.write_json(file, record)
    other = ids(project)
    assert not set(other) & set(first)
    storage.write_text(project / "docs/kettle.md", (project / "docs/kettle.md").read_text("utf-8") + "It is blue.\n")
    assert not set(ids(project)) & {*first, *other}


def test_the_code_of_a_notebook_does_not_decide_what_runs_without_it(project: Path) -> None:
    parameters = "\n".join(line for line in PARAMETERS.splitlines() if not line.startswith(("note", "trouble")))
    found = set()
    for code in ("1", "2"):
        storage.write_text(project / "notebooks/tiny.ipynb", notebook(parameters, code))
        found.add((ids(project)[0], ids(project, SPEC | {"engine": "direct"})[0]))
    assert [len(set(column)) for column in zip(*found, strict=True)] == [2, 1]


def test_only_modules_that_decide_numbers_make_results_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for source in Path(sweep_inputs.__file__).parent.glob("*.py"):
        shutil.copy(source, tmp_path)
    monkeypatch.setattr(sweep_inputs, "__file__", str(tmp_path / "sweep_inputs.py"))
    first = package_fingerprint()
    for name in ("report_html", "widgets", "cli", "sweep_run", "sweep_spec", "engine_kernels", "ledger", "executors", "bootstrap"):
        (tmp_path / f"{name}.py").write_text("# edited", encoding="utf-8")
    assert package_fingerprint() == first
    seen = {first}
    for name in ("metrics", "chunking", "evaluation", "embedding_st", "retrieval", "packing", "experiment", "data_tables", "sweep_direct"):
        (tmp_path / f"{name}.py").write_text("# edited", encoding="utf-8")
        seen.add(package_fingerprint())
    assert len(seen) == 10


def test_relative_paths_count_from_the_project_wherever_one_stands(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = ids(project)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "docs").mkdir()  # another folder of that name
    monkeypatch.chdir(elsewhere)
    monkeypatch.delenv("WORKBENCH_HOME")
    assert ids(project) == here
    assert Path.cwd() == elsewhere


def test_models_are_needed_only_where_they_are_used(project: Path) -> None:
    spec = {"notebook": "tiny", "fixed": {"retriever": "bm25", "embedder": "auto"}}
    assert len(ids(project, spec)) == 1


@pytest.mark.parametrize(
    ("name", "content", "edited", "settings"),
    [
        ("labels.csv", "id,judge_correctness\nq1,correct\n", "id,judge_correctness\nq1,wrong\n", {"judge": "openai:m"}),
        ("rules.yaml", "- {name: a, pattern: x, action: append, text: b}\n", "- {name: a, pattern: x, action: append, text: c}\n", {}),
    ],
)
def test_an_edited_file_makes_results_stale(
    project: Path, name: str, content: str, edited: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = ANSWERED | settings
    values |= {"rules": name} if name == "rules.yaml" else {"options": {"judge": {"labels": name}}}
    seen = {Inputs().fingerprint(ANSWERED)}
    for text in (content, edited):
        storage.write_text(project / name, text)
        seen |= {Inputs().fingerprint(values), Inputs().fingerprint(values)}
    assert len(seen) == 3
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    assert (Inputs().fingerprint(values) in seen) == (name == "rules.yaml")  # another server, another judge
    storage.write_text(project / name, "- broken")
    for _ in range(2):
        with pytest.raises(WorkbenchError, match=name):
            Inputs().fingerprint(values)
    (project / name).unlink()
    with pytest.raises(WorkbenchError, match=f"no such .* file: {name}"):
        Inputs().fingerprint(values)


def test_labels_must_be_a_file_name(project: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"judge.labels \['x'\] must be the name of a file"):
        Inputs().fingerprint(ANSWERED | {"judge": "openai:m", "options": {"judge": {"labels": ["x"]}}})


def test_each_input_is_read_once_and_fails_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, load = [], data.load
    monkeypatch.setattr(data, "load", lambda name: loaded.append(name) or load(name))
    inputs = Inputs()
    prints = {inputs.fingerprint(PLAIN | {"chunk_size": size, "chunker": name}) for size in (8, 16) for name in ("fixed", "whole")}
    assert prints == {Inputs().fingerprint(PLAIN)}  # of the same data and models
    for index in ("exact", "flat"):
        with pytest.raises(WorkbenchError, match="no such file or folder: dosc"):
            inputs.fingerprint(PLAIN | {"dataset": "folder:dosc", "index": index})
    assert loaded == ["folder:docs", "folder:docs", "folder:dosc"]
    with pytest.raises(WorkbenchError, match="chunk_overlap 8 must be smaller than chunk_size 8"):
        inputs.fingerprint(PLAIN | {"chunk_size": 8, "chunk_overlap": 8})
