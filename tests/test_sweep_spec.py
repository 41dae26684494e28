"""Sweeps before the first kernel: every field, name, value and point is checked, and no value becomes a path."""

import json
import re
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_sweep import SPEC, make_project, notebook, tree, write_spec

from workbench import data, storage
from workbench.datatypes import WorkbenchError
from workbench.sweep_spec import SweepLimits, load_spec, plan

PLAIN = """dataset: str = "folder:docs"  # documents and questions
chunkers: list[str] = ["fixed", "recursive"]
chunk_sizes: list[int] = [8, 16]
tokenizer: str = "simple"
retriever: str = "bm25:word"
baseline: str = "fixed"
seed: int = 0
"""
LOOSE = PLAIN + "knobs: dict = {}\nanything: list = []\nrate: float = 0.5\nfast: bool = False\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a project that no sweep has run in, without models, with three notebooks."""
    make_project(tmp_path)
    storage.write_text(tmp_path / "notebooks/plain.ipynb", notebook(PLAIN, "1"))
    storage.write_text(tmp_path / "notebooks/loose.ipynb", notebook(LOOSE, "1"))
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "no-models"))
    return tmp_path


def refused(project: Path, spec: dict[str, Any]) -> str:
    """Return why a spec is refused, after a look that nothing was written."""
    path = write_spec(project, spec)
    before = tree(project)
    with pytest.raises(WorkbenchError) as error:
        plan(path)
    assert tree(project) == before
    assert not (project / "outputs").exists()
    assert str(error.value).startswith("tiny.sweep.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"notebook": "tyni"}, "unknown notebook 'tyni'; did you mean 'tiny'?"),
        ({"notebook": "../tiny"}, "notebook: String should match pattern"),
        ({"gird": {}}, "unknown field 'gird'; did you mean 'grid'?"),
        ({"grid": {"chunker": []}}, "grid.chunker: List should have at least 1 item"),
        ({"grid": {"chunker": "fixed"}}, "grid.chunker: Input should be a valid list, got 'fixed'"),
        ({"grid": {"chunker": ["fixed", "fixed"]}}, "the point stands twice; take a value out of 'grid' or 'fan_out' (at chunker fixed)"),
        ({"fixed": {"chunker": "fixed"}}, "chunker stands in both 'fixed' and 'grid'"),
        ({"fixed": {"chunk_size": 8}}, "fixed: unknown parameter 'chunk_size'; did you mean 'chunk_sizes'?"),
        ({"fixed": {"chunk_sizes": 8}}, "fixed chunk_sizes: expected list, got 8 (int)"),
        ({"fixed": {"chunk_sizes": [8, "16"]}}, "chunk_sizes: expected a list of int, got '16' (str) in it"),
        ({"fixed": {"chunk_sizes": []}}, "chunk_sizes is empty; it needs at least one chunk_size"),
        ({"fixed": {"chunk_sizes": [8, 0]}}, "chunk_size = 0: Input should be greater than or equal to 1"),
        ({"fixed": {"chunk_sizes": [8, 16], "chunk_overlap": 8}}, "must be smaller than chunk_size 8 (at chunker fixed, and 1 more)"),
        ({"grid": {"chunk_overlap": [0, True]}}, "grid chunk_overlap: expected int, got True (bool)"),
        ({"fixed": {"note": float("nan")}}, "is not plain JSON"),
        ({"fixed": {"note": "a\0b"}}, "fixed note: 'a\\x00b' holds a NUL character"),
        ({"fixed": {"note": "hf_" + "x" * 30}}, "fixed: parameter 'note' looks like a secret; put it into an environment variable"),
        ({"grid": {"api_key": ["x"]}}, "grid: parameter 'api_key' looks like a secret"),
        ({"baseline": {"chunker": "sk-" + "x" * 30}}, "baseline: parameter 'chunker' looks like a secret"),
        ({"password": "x"}, "parameter 'password' looks like a secret"),
        ({"grid": {"chunker": ["fixed", "recursiv"]}}, "unknown chunker 'recursiv'; did you mean 'recursive'?"),
        ({"fixed": {"embedder": "hsh"}}, "unknown embedder 'hsh'; did you mean 'hash'?"),
        ({"fixed": {"dataset": "folder:dosc"}}, "no such file or folder: dosc"),
        ({"fixed": {"dataset": "demo-xx"}}, "unknown data set 'demo-xx'"),
        ({"fixed": {"embedder": "auto"}}, "workbench models pull sentence-transformers/all-MiniLM-L6-v2"),
        ({"fixed": {"tokenizer": "intfloat/multilingual-e5-small"}}, "workbench models pull intfloat/multilingual-e5-small"),
        ({"primary": "ngcd@10"}, "unknown metric 'ngcd@10'; did you mean 'ndcg@10'?"),
        ({"primary": "answer_f1"}, "answer metrics need a generator"),
        ({"primary": "ndcg\0"}, "primary primary: 'ndcg\\x00' holds a NUL character"),
        ({"primary": ""}, "primary: String should have at least 1 character"),
        ({"primary": "ndcg@10", "fixed": {"primary": "ndcg@5"}}, "primary stands in both 'primary' and 'fixed'"),
        ({"primary": "ndcg@10", "notebook": "plain", "grid": {}}, "primary: unknown parameter 'primary' (the notebook declares: dataset,"),
        ({"baseline": {"chunksize": 8}}, "baseline: 'chunksize'; did you mean 'chunk_size'?"),
        ({"baseline": {"chunk_size": "8"}}, "baseline.chunk_size: Input should be a valid integer, got '8'"),
        ({"baseline": 8}, "baseline: Input should be a valid dictionary"),
        ({"prices": {"tokns": 1}}, "unknown cost in prices: 'tokns'; did you mean 'tokens'?"),
        ({"sampler": "randm"}, "sampler: Input should be 'grid' or 'random', got 'randm'"),
        ({"sampler": "random"}, "sampler: random needs 'samples', the number of points to draw"),
        ({"sampler": "random", "samples": 0}, "samples: Input should be greater than or equal to 1, got 0"),
        ({"sampler": "random", "samples": 3}, "samples: 3 is more than the 2 combinations there are; set sampler: grid"),
        ({"samples": 3}, "samples: 3 has no effect, because sampler: grid takes every point"),
        ({"seed": 3}, "seed: 3 has no effect, because sampler: grid takes every point; set sampler: random; the seeds of the runs are"),
        ({"repeats": [1]}, "repeats: unknown parameter 'seed'"),
        ({"repeats": []}, "repeats: List should have at least 1 item"),
        ({"repeats": [1, -1]}, "repeats.1: Input should be greater than or equal to 0, got -1"),
        ({"repeats": [1, 1]}, "repeats: [1, 1] holds a seed twice"),
        ({"repeats": [True]}, "repeats.0: Input should be a valid integer, got True"),
        ({"notebook": "plain", "grid": {"seed": [1]}, "repeats": [2]}, "seed stands in both 'repeats' and 'grid'"),
        ({"fan_out": "chunksizes"}, "unknown parameter in fan_out: 'chunksizes'; did you mean 'chunk_sizes'?"),
        ({"fan_out": "note"}, "fan_out: note is declared as str, and only a list can be one run for each value"),
        ({"fan_out": "chunk_sizes", "fixed": {"chunk_sizes": []}}, "fan_out: chunk_sizes is empty"),
        ({"fan_out": "chunk_sizes", "fixed": {"chunk_sizes": [8, 8]}}, "the point stands twice"),
        ({"fan_out": ["chunk_sizes"], "grid": {"chunk_sizes": [[8]]}}, "fan_out: chunk_sizes stands in 'grid'"),
        ({"fan_out": ["chunk_sizes", "chunk_sizes"]}, "names a parameter twice"),
        ({"limits": {"seconds": 0}}, "limits.seconds: Input should be greater than 0, got 0"),
        ({"limits": {"seconds": float("inf")}}, "limits.seconds: Input should be a finite number, got inf"),
        ({"limits": {"memory_mb": 1.5}}, "limits.memory_mb: Input should be a valid integer, got 1.5"),
        ({"limits": {"second": 3}}, "limits.second: Extra inputs are not permitted, got 3"),
        ({"engine": "ray"}, "engine: Input should be 'notebook' or 'direct', got 'ray'"),
        ({"engine": "direct"}, "engine: direct evaluates settings, and tiny also takes note, trouble; use engine: notebook"),
        ({"engine": "direct", "limits": {"seconds": 5}}, "limits: engine: direct runs in one process with all points"),
        ({"grid": {"note": [str(n) for n in range(400)], "chunk_overlap": list(range(300))}}, "120,000 points are more than 100,000; draw"),
    ],
)
def test_a_bad_spec_is_refused_before_anything_starts(project: Path, changes: dict[str, Any], message: str) -> None:
    said = refused(project, SPEC | changes)
    assert message in said
    assert "\n" not in said
    assert "x" * 30 not in said


def test_one_error_tells_all_problems(project: Path) -> None:
    said = refused(
        project,
        SPEC | {"gird": {}, "sampler": "randm", "samples": -1, "baseline": {"chunksize": 8, "top_k": "2"}, "prices": {"tokens": "2e-7"}},
    )
    assert said.startswith("tiny.sweep.yaml has 6 problems:\n  - unknown field 'gird'; did you mean 'grid'?")
    grid = {"chunker": ["fixed", 3], "chunksizes": [[8]], "note": ["x", None]}
    said = refused(project, SPEC | {"fixed": {"top_k": 3}, "grid": grid, "fan_out": "chunks", "repeats": [1], "engine": "direct"})
    assert re.findall(r"\n  - (\S+ ?\w*)", said) == [
        *("fixed: unknown", "grid chunker", "grid: unknown", "grid note", "repeats: unknown"),
        *("unknown parameter", "engine: direct"),
    ]
    said = refused(project, SPEC | {"grid": {"chunker": ["fixd", "recursiv", "fixed"], "retriever": ["dens", "bm25"]}})
    assert said.splitlines()[1].startswith("  - unknown chunker 'fixd'; did you mean 'fixed'?")
    assert said.splitlines()[1].endswith(" (at chunker fixd, retriever dens, and 1 more)")
    assert len(said.splitlines()) == 4  # a choice is wrong once, however many points have it
    many = refused(project, {"notebook": "tiny", "fixed": {f"x{number}": 1 for number in range(50)}})
    assert many.startswith("tiny.sweep.yaml has 50 problems:")
    assert many.endswith("\n  - and 30 more")


@pytest.mark.parametrize("place", ["fixed", "grid", "fan_out", "baseline", "top level", "prices"])
@pytest.mark.parametrize("name", ["x = 1; __import__('os').system('touch mark')", "chunker\nimport os", "class", "chunker ", "__import__"])
def test_a_name_that_is_code_is_refused(project: Path, place: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PM6: papermill pastes names as source."""
    monkeypatch.chdir(project)
    entry: Any = {"grid": {name: ["x"]}, "fan_out": [name], "top level": "x"}.get(place, {name: "x"})
    said = refused(project, SPEC | ({name: entry} if place == "top level" else {place: entry}))
    assert repr(name) in said
    assert not (project / "mark").exists()


def test_the_value_of_a_secret_variable_is_refused_and_not_repeated(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SC1: it looks like no key, yet is one."""
    monkeypatch.setenv("CANARY_API_KEY", "plain words")
    for changes in ({"fixed": {"note": "see plain words."}}, {"grid": {"note": ["a", "plain words"]}}, {"primary": "plain words"}):
        said = refused(project, SPEC | changes)
        assert "holds the value of the environment variable CANARY_API_KEY; take it out" in said
        assert "plain words" not in said
    monkeypatch.setenv("CANARY_API_KEY", "fixed")  # too short to be one
    assert len(plan(write_spec(project, SPEC))[1]) == 2


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
        ("notebook: tiny\n1: x\n", "unknown field '1'"),
        ("notebook: tiny\nsamples: yes\n", "samples: Input should be a valid integer, got True"),
        ('notebook: loose\nfixed: {knobs: {"\\u00e9": 1, "e\\u0301": 2}}\n', "fixed knobs: two of the keys"),
    ],
)
def test_a_spec_that_cannot_be_read_is_an_input_error(project: Path, text: str, message: str) -> None:
    path = storage.write_text(project / "params/tiny.sweep.yaml", text)
    with pytest.raises(WorkbenchError, match=re.escape(message)):
        plan(path)


@pytest.mark.parametrize("name", ["{chunker}.sweep.yaml", "...sweep.yaml", ".sweep.yaml", "-x.yaml", ".yaml", "cache.sweep.yaml"])
def test_a_spec_whose_name_is_no_folder_is_refused(project: Path, name: str) -> None:
    """'..' would put the results into the project itself, papermill formats braces, and outputs/cache holds the cache."""
    with pytest.raises(WorkbenchError, match=r"rename the"):
        plan(write_spec(project, SPEC, name))


# --- points -------------------------------------------------------------------------------------------------------------------------


def test_values_never_become_paths(project: Path) -> None:
    """PM12: neither braces, nor slashes, nor dots of a value reach a path that papermill formats."""
    notes = ["../../x", "{note}", "{note.__class__}", "a/../b", "C:\\x", "-", "..", "한글 값", "n" * 300, "가" * 300]
    folder, points = plan(write_spec(project, {"notebook": "tiny", "grid": {"note": notes}}))
    assert folder == project / "outputs/tiny"
    names = [point.folder.name.removesuffix(point.run_id) for point in points]
    assert names == ["x-", "note-", "note.__class__-", "b-", "C-x-", "", "", "한글-값-", "n" * 87 + "-", "가" * 29 + "-"]
    assert points[8].label == "note " + "n" * 60 + "…"


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60) | st.text("가힣ㄱ각/.-{} _\\", max_size=60)
ITEM = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT.map(lambda key: unicodedata.normalize("NFC", key)), inner, max_size=3),
    max_leaves=6,
)


@given(values=st.lists(ITEM, min_size=1, max_size=12, unique_by=storage.canonical_json))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_value_gets_a_folder_and_an_id_of_its_own(project: Path, values: list[Any]) -> None:
    def planned(order: list[Any]) -> dict[str, str]:
        folder, points = plan(
            write_spec(project, {"notebook": "loose", "grid": {"anything": json.loads(json.dumps([[v] for v in order]))}})
        )
        for point in points:
            assert point.folder.parent == folder / "runs" == project / "outputs/tiny/runs"
            assert re.fullmatch(r"\w[\w.-]*", point.folder.name)
            assert len(point.folder.name.encode()) <= 100
        return {storage.canonical_json(point.parameters["anything"][0]): point.folder.name for point in points}

    names = planned(values)
    assert len({name[-12:] for name in names.values()}) == len(names) == len(values)  # different points, different ids
    assert planned(values[::-1]) == names  # equal points, equal ids


def test_fan_out_and_repeats_make_one_run_for_each_value_and_seed(project: Path) -> None:
    fixed = {"chunk_sizes": [8, 16], "rate": 1.0}
    spec = {"notebook": "loose", "fixed": fixed, "fan_out": ["chunk_sizes", "chunkers"], "grid": {"fast": [False]}, "repeats": [3, 1]}
    _, points = plan(write_spec(project, spec | {"limits": {"seconds": 5, "memory_mb": 100}}))
    assert [point.label for point in points][:3] == [
        "fast False, seed 3, chunk_size 8, chunker fixed",
        "fast False, seed 1, chunk_size 8, chunker fixed",
        "fast False, seed 3, chunk_size 8, chunker recursive",
    ]
    assert [(point.parameters["chunk_sizes"], point.parameters["chunkers"], point.seed) for point in points] == [
        ([size], [chunker], seed) for size in (8, 16) for chunker in ("fixed", "recursive") for seed in (3, 1)
    ]
    assert {point.limits for point in points} == {SweepLimits(seconds=5.0, memory_mb=100)}
    (alone,) = plan(write_spec(project, {"notebook": "loose", "fixed": fixed}))[1]
    assert (alone.label, alone.seed, alone.parameters["chunk_sizes"], alone.limits) == ("the one run", 0, [8, 16], SweepLimits())
    assert load_spec(write_spec(project, {**spec, "fan_out": "chunk_sizes"})).fan_out == ["chunk_sizes"]


def test_a_random_sweep_keeps_its_points_and_its_baseline(project: Path) -> None:
    spec = {"notebook": "plain", "fan_out": "chunk_sizes", "grid": {"retriever": [f"bm25:{name}" for name in ("word", "english")]}}
    spec |= {"sampler": "random", "samples": 3, "seed": 5, "baseline": {"chunk_size": 16, "retriever": "bm25"}}

    def labels(**changes: Any) -> list[str]:
        return [point.label for point in plan(write_spec(project, spec | changes))[1]]

    assert len(labels()) == 3
    assert labels() == labels()
    assert len({tuple(labels(seed=seed, samples=2)) for seed in range(8)}) == 3  # all pairs that hold the baseline
    assert all("retriever bm25:word, chunk_size 16" in labels(seed=seed, samples=1) for seed in range(5))
    assert set(labels(samples=2)) <= set(labels(samples=3)) <= set(labels(samples=4))
    assert len(labels(repeats=[0, 1], samples=2)) == 4


def test_the_engine_and_the_primary_metric_reach_the_points(project: Path) -> None:
    (point,) = plan(write_spec(project, {"notebook": "tiny", "primary": "ndcg@10"}))[1]
    assert point.parameters["primary"] == "ndcg@10"
    notebook_run, direct = (plan(write_spec(project, {"notebook": "plain", "engine": engine}))[1][0] for engine in ("notebook", "direct"))
    assert notebook_run.parameters == direct.parameters
    assert notebook_run.run_id != direct.run_id  # a notebook adds controls of its own
    limited = plan(write_spec(project, {"notebook": "plain", "limits": {"seconds": 1.5}}))[1][0]
    assert limited.run_id == notebook_run.run_id


def test_ten_thousand_points_are_planned_in_seconds(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, load = [], data.load
    monkeypatch.setattr(data, "load", lambda name: loaded.append(name) or load(name))
    path = write_spec(project, {"notebook": "plain", "fan_out": ["chunkers", "chunk_sizes"], "repeats": list(range(2500))})
    start = time.process_time()
    assert len(plan(path)[1]) == 10_000
    assert time.process_time() - start < 10
    assert loaded == ["folder:docs"]
