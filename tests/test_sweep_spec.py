"""Sweeps before the first kernel: every point is checked, and no value becomes a path."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_sweep import SPEC, make_project, run_cli, tree, write_spec

from workbench import storage, sweep
from workbench.datatypes import WorkbenchError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a project that no sweep has run in, and fail the test if a kernel is started."""
    make_project(tmp_path)
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setattr(sweep, "execute", lambda *_: pytest.fail("a kernel was started"))
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"notebook": "tyni"}, "unknown notebook 'tyni'; did you mean 'tiny'?"),
        ({"notebook": "../tiny"}, "notebook: String should match pattern"),
        ({"gird": {}}, "unknown field in tiny.sweep.yaml: 'gird'; did you mean 'grid'?"),
        ({"grid": {"chunker": []}}, "grid.chunker: List should have at least 1 item"),
        ({"grid": {"chunker": "fixed"}}, "grid.chunker: Input should be a valid list"),
        ({"grid": {"chunker": ["fixed", "fixed"]}}, "the point {'chunker': 'fixed'} stands twice in the grid"),
        ({"fixed": {"chunker": "fixed"}}, "chunker stands in both 'fixed' and 'grid'"),
        ({"fixed": {"chunk_size": 8}}, "unknown parameter 'chunk_size'; did you mean 'chunk_sizes'?"),
        ({"fixed": {"chunk_sizes": 8}}, "tiny.sweep.yaml chunk_sizes: expected list, got 8 (int)"),
        ({"fixed": {"chunk_sizes": [8, "16"]}}, "chunk_sizes: expected a list of int, got '16' (str) in it"),
        ({"fixed": {"chunk_sizes": []}}, "chunk_sizes is empty; it needs at least one chunk_size"),
        ({"fixed": {"chunk_sizes": [8, 0]}}, "chunk_size = 0: Input should be greater than or equal to 1"),
        ({"fixed": {"chunk_sizes": [8, 16], "chunk_overlap": 8}}, "chunk_overlap 8 must be smaller than chunk_size 8"),
        ({"fixed": {"note": True}}, "note: expected str, got True (bool)"),
        ({"fixed": {"note": float("nan")}}, "is not plain JSON"),
        ({"fixed": {"note": "hf_" + "x" * 30}}, "looks like a secret; put it into an environment variable"),
        ({"fixed": {"chunker": "fixed"}, "grid": {"api_key": ["x"]}}, "parameter 'api_key' looks like a secret"),
        ({"grid": {"chunker": ["fixed", "recursiv"]}}, "unknown chunker 'recursiv'; did you mean 'recursive'?"),
        ({"fixed": {"embedder": "hsh"}}, "unknown embedder 'hsh'; did you mean 'hash'?"),
        ({"fixed": {"retriever": "bm52"}}, "unknown retriever 'bm52'; did you mean 'bm25'?"),
        ({"fixed": {"primary": "ngcd@10"}}, "unknown metric 'ngcd@10'; did you mean 'ndcg@10'?"),
        ({"fixed": {"dataset": "folder:dosc"}}, "no such file or folder: dosc"),
        ({"fixed": {"dataset": "demo-xx"}}, "unknown data set 'demo-xx'"),
        ({"fixed": {"embedder": "auto"}}, "workbench models pull sentence-transformers/all-MiniLM-L6-v2"),
        ({"fixed": {"tokenizer": "intfloat/multilingual-e5-small"}}, "workbench models pull intfloat/multilingual-e5-small"),
        ({"baseline": {"chunksize": 8}}, "baseline: 'chunksize'; did you mean 'chunk_size'?"),
        ({"baseline": 8}, "baseline: Input should be a valid dictionary"),
    ],
)
def test_bad_points_stop_the_sweep_before_it_starts(
    project: Path, changes: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_MODELS", str(project / "no-models"))
    path = write_spec(project, SPEC | changes)
    before = tree(project)
    assert run_cli("sweep", str(path)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert tree(project) == before
    assert not (project / "outputs").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("notebook: tiny\nnotebook: tiny\n", "duplicate key 'notebook'"),
        ("notebook: tiny\nfixed: &a {note: x}\nbaseline: *a\n", "aliases (*name) are refused"),
        ("notebook: !!python/object/apply:os.system [id]\n", "tags (!name) are refused"),
        ("- tiny\n", "must be a mapping with 'notebook', 'fixed' and 'grid'"),
        ("", "must be a mapping"),
        ("notebook: [tiny", "is not valid YAML"),
        ("grid: {}\n", "notebook: Field required"),
        ("notebook: tiny\nfixed: {note: {2024-01-01: x}}\n", "is not plain JSON"),
        ("notebook: tiny\nfixed: {1: x}\n", "fixed.1"),
        ('notebook: tiny\nfixed: {"os.system(1)": x}\n', "'os.system(1)' is no parameter name"),
    ],
)
def test_a_spec_that_cannot_be_read_is_an_input_error(project: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = storage.write_text(project / "params/tiny.sweep.yaml", text)
    assert run_cli("sweep", str(path)) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_a_missing_spec_is_an_input_error(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli("sweep", str(project / "params/none.sweep.yaml")) == 2
    assert capsys.readouterr().err == f"error: no such file: {project}/params/none.sweep.yaml\n"


def test_a_dry_run_lists_the_points_and_writes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(project)
    assert run_cli("sweep", "--dry-run", str(project / "params/tiny.sweep.yaml")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1:] for line in lines[:2]] == [["to do", "chunker fixed"], ["to do", "chunker recursive"]]
    assert lines[2].startswith("2 points, results go to ")
    assert tree(project) == before


def test_values_never_become_paths(project: Path) -> None:
    """PM12: neither braces, nor slashes, nor dots of a value reach a path that papermill formats."""
    notes = ["../../x", "{note}", "{note.__class__}", "a/../b", "C:\\x", "-", "..", "한글 값", "n" * 300]
    path = write_spec(project, {"notebook": "tiny", "grid": {"note": notes}})
    folder, points = sweep.plan(path)
    assert folder == project / "outputs/tiny"
    assert len({point.folder for point in points}) == len(notes)
    for point in points:
        assert point.folder.parent == folder / "runs"
        assert point.folder.name.endswith(point.run_id)
        assert not set(point.folder.name) & set("{}/\\ ")
        assert point.folder.name[0] not in ".-"
        assert len(point.folder.name.encode()) < 255
    assert points[7].folder.name == f"한글-값-{points[7].run_id}"


def test_braces_in_the_place_of_results_are_refused(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_spec(project, SPEC, "{chunker}.sweep.yaml")
    with pytest.raises(WorkbenchError, match="papermill takes braces in a path for parameters"):
        sweep.plan(path)


def test_a_run_id_stands_for_everything_that_decides_the_numbers(project: Path) -> None:
    """D22, CL12: parameters, notebook code, data, package code; neither prose, outputs, folder, nor the order of keys."""

    def ids() -> list[str]:
        return [point.run_id for point in sweep.plan(project / "params/tiny.sweep.yaml")[1]]

    first = ids()
    assert len(set(first)) == 2
    file = project / "notebooks/tiny.ipynb"
    record = json.loads(file.read_text("utf-8"))
    record["cells"].insert(0, {"cell_type": "markdown", "id": "m", "metadata": {}, "source": "# Prose"})
    record["cells"][2]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x"}]
    storage.write_json(file, record)
    write_spec(project, {**SPEC, "fixed": {"retriever": "dense", "chunk_sizes": [8, 16]}})
    assert ids() == first
    write_spec(project, {**SPEC, "fixed": {"chunk_sizes": [16, 8]}})
    assert not set(ids()) & set(first)
    write_spec(project, SPEC)
    record["cells"][2]["source"] += "\n1 + 1"
    storage.write_json(file, record)
    other = ids()
    assert not set(other) & set(first)
    storage.write_text(project / "docs/kettle.md", (project / "docs/kettle.md").read_text("utf-8") + "It is blue.\n")
    assert not set(ids()) & {*first, *other}


def test_only_modules_that_decide_numbers_make_results_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for source in Path(sweep.__file__).parent.glob("*.py"):
        shutil.copy(source, tmp_path)
    monkeypatch.setattr(sweep, "__file__", str(tmp_path / "sweep.py"))
    first = sweep.package_fingerprint()
    for name in ("report_html", "widgets", "cli", "sweep_run", "bootstrap"):
        (tmp_path / f"{name}.py").write_text("# edited", encoding="utf-8")
    assert sweep.package_fingerprint() == first
    seen = {first}
    for name in ("metrics", "chunking", "evaluation", "embedding_st", "retrieval", "packing", "experiment", "data_tables"):
        (tmp_path / f"{name}.py").write_text("# edited", encoding="utf-8")
        seen.add(sweep.package_fingerprint())
    assert len(seen) == 9


def test_relative_paths_count_from_the_project_wherever_one_stands(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = sweep.plan(project / "params/tiny.sweep.yaml")[1]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "docs").mkdir()  # another folder of that name
    monkeypatch.chdir(elsewhere)
    monkeypatch.delenv("WORKBENCH_HOME")
    assert [point.run_id for point in sweep.plan(project / "params/tiny.sweep.yaml")[1]] == [point.run_id for point in here]
    assert Path.cwd() == elsewhere


def test_models_are_needed_only_where_they_are_used(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_MODELS", str(project / "no-models"))
    path = write_spec(project, {"notebook": "tiny", "fixed": {"retriever": "bm25", "embedder": "auto"}})
    assert len(sweep.plan(path)[1]) == 1
