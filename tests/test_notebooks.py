"""The notebooks: their shape, their truth under nbval with the guard, under plain papermill, and the proof that a broken one fails."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell

from workbench.notebook import code_cells, declared_parameters, settings_of, source
from workbench.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
TOOLS = {  # notebooks that hold an interface to work with, and parameters that are no settings
    "06_annotate": {"goal"},
    "07_browse_runs": {"folder"},
    "08_ask": {"question"},
}
WRITE_UPS = [path for path in NOTEBOOKS if path.stem not in TOOLS]
SECTIONS = ["Question", "Parameters", "Data", "Run", "Results", "Failures", "Verdict", "Limits"]
MAX_CELL_LINES = 16
TRAINING = (
    *("other_dataset", "training_questions", "epochs", "learning_rate", "rank"),
    *("embedder_learning_rate", "negatives", "pretrain"),
)  # parameters that are no settings of a run


def nbval(*paths: Path | str, cwd: Path = ROOT, timeout: int = 600) -> subprocess.CompletedProcess:
    """Run nbval as the README says, on these notebooks; other options may stand among them."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        *map(str, paths),
        "-p",
        "no:python",
        "-p",
        "no:cacheprovider",
        "-q",
        "--nbval-lax",
        "--nbval-current-env",
    ]
    command += ["--nbval-cell-timeout=300", f"--nbval-sanitize-with={FOLDER / 'sanitize.cfg'}", "-c", os.devnull, "--rootdir", str(cwd)]
    environment = {**os.environ, "WORKBENCH_HEADLESS": "1", "WORKBENCH_HOME": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout)


@pytest.fixture(scope="session")
def models_here():
    from workbench import models

    missing = [name for name in ("sentence-transformers/all-MiniLM-L6-v2", "intfloat/multilingual-e5-small") if not models.stored(name)]
    if missing:
        pytest.skip(f"run: workbench models pull {' '.join(missing)}")


def prose(path: Path) -> str:
    return "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_titled_in_two_languages_and_plain(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    first = notebook.cells[0].source
    assert notebook.cells[0].cell_type == "markdown"
    assert re.fullmatch(rf"# {path.stem[:2]} .+\n\n\*.+\*\n.*[가-힣].*", first)
    text = "\n".join(source(cell) for cell in code_cells(path))
    assert not re.search(r"^\s*(def|class)\s", text, re.MULTILINE), "notebooks call, they do not define"
    assert not re.search(r"^\s*[!%]", text, re.MULTILINE)
    assert "raises-exception" not in json.dumps([cell.metadata.get("tags", []) for cell in notebook.cells])
    for cell in code_cells(path):  # but for the parameters: papermill wants each on a line of its own (PM8)
        assert "parameters" in cell["metadata"].get("tags", []) or len(source(cell).splitlines()) <= MAX_CELL_LINES


@pytest.mark.parametrize("path", WRITE_UPS, ids=lambda path: path.stem)
def test_a_notebook_has_the_shape_of_a_write_up(path):
    headings = re.findall(r"^## (.+)$", prose(path), re.MULTILINE)
    assert [heading for heading in headings if heading in SECTIONS] == SECTIONS
    assert any("NBVAL_CHECK_OUTPUT" in source(cell) for cell in code_cells(path))


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_explains_itself_and_ends_in_its_interface(name):
    """Parameters, then one cell whose output stays readable where no kernel runs: HTML, and no widget."""
    path = FOLDER / f"{name}.ipynb"
    assert re.findall(r"^## (.+)$", prose(path), re.MULTILINE) == ["Parameters", name[3:].partition("_")[0].capitalize(), "Next"]
    assert all(len(re.findall("[가-힣]", part)) > 50 for part in re.split(r"^## .+$", prose(path), flags=re.MULTILINE)[::3])
    parameters, interface = code_cells(path)
    assert parameters["outputs"] == []
    (output,) = interface["outputs"]
    assert set(output["data"]) == {"text/html", "text/plain"}
    assert "".join(output["data"]["text/html"]).startswith("<style>")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_executed_and_clean(path):
    counts = [cell["execution_count"] for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1)), "execute it top to bottom before committing (NV1)"
    text = path.read_text(encoding="utf-8")
    assert str(Path.home()) not in text
    assert str(ROOT) not in text
    outputs = [item for cell in code_cells(path) for item in cell["outputs"]]
    assert not [item for item in outputs if item["output_type"] == "error" or item.get("name") == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_parameters_are_settings_or_their_plurals(path):
    parameters = declared_parameters(path)
    plurals = {
        name for name in parameters if name not in Settings.model_fields and any(name == f"{field}s" for field in Settings.model_fields)
    }
    others = TOOLS.get(path.stem, {"baseline", *(TRAINING if path.stem == "05_fine_tuning" else ())})
    assert set(parameters) - set(Settings.model_fields) - plurals <= others
    assert all(parameter.help for parameter in parameters.values())
    for values in settings_of({name: parameter.default for name, parameter in parameters.items()}):
        Settings(**values)


def test_the_guard_wraps_names_that_exist():
    assert callable(RunningKernel.await_reply)
    assert callable(RunningKernel.is_alive)
    assert callable(RunningKernel.get_message)
    assert callable(IPyNbCell.runtest)
    assert callable(IPyNbCell.raise_cell_error)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nbval_passes_on_a_committed_notebook(path, models_here, shared_cache):
    done = nbval(path)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


def cell(text: str, count: int | None = 1, output: str | None = None, tags: tuple[str, ...] = ()):
    outputs = [nbformat.v4.new_output("stream", name="stdout", text=output)] if output is not None else []
    return nbformat.v4.new_code_cell(text, execution_count=count, outputs=outputs, metadata={"tags": list(tags)} if tags else {})


SMALL = {  # cells of a notebook, and what its failure says
    "good": ([cell("# NBVAL_CHECK_OUTPUT\nprint(1)", output="1\n")], ""),
    "wrong-output": ([cell("# NBVAL_CHECK_OUTPUT\nprint(1)", output="2\n")], "mismatch"),
    "never-run": ([cell("# NBVAL_CHECK_OUTPUT\nprint(1)", count=None)], "nothing would be compared"),
    "bad-magic": ([cell("%no_such_magic\nprint(1)")], "failed without an error output"),
    "no-exception": ([cell("print(1)", count=None, tags=("raises-exception",))], "raised nothing"),
    "dead-kernel": ([cell("import os\nos._exit(1)")], "kernel died"),
    "assert": ([cell("assert 1 == 2")], "AssertionError"),
    "sys-exit": ([cell("import sys\nsys.exit(0)"), cell("print(1)", 2)], "SystemExit"),
}


def test_nbval_with_the_guard_fails_where_it_should(tmp_path):
    """All small notebooks in one go: to start nbval takes longer than to run them."""
    for name, (cells, _) in SMALL.items():
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}, cells=cells)
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    shutil.copy(FOLDER / "conftest.py", tmp_path / "conftest.py")
    done = nbval(*(tmp_path / f"{name}.ipynb" for name in SMALL), f"--junitxml={tmp_path / 'ended.xml'}", cwd=tmp_path)
    failures = dict.fromkeys((f"{name}.ipynb" for name in SMALL), "")
    cases = list(ElementTree.parse(tmp_path / "ended.xml").iter("testcase"))
    for case in cases:
        failures[case.get("classname")] += "".join("".join(each.itertext()) for each in case if each.tag in ("failure", "error"))
    assert len(cases) == sum(len(cells) for cells, _ in SMALL.values()), done.stdout[-2000:]
    for name, (_, message) in SMALL.items():
        found = failures[f"{name}.ipynb"]
        assert bool(found) == bool(message), name
        assert message in found


BROKEN_METRIC = "from workbench import metrics\nmetrics.recall = lambda ranks, k: 1 / k"


def test_a_broken_copy_of_a_notebook_and_a_broken_metric_are_seen(tmp_path, models_here, shared_cache):
    """The meta-test: what nbval checks on our own notebook must be able to fail (NV15). Without vectors, all in one go."""
    original = nbformat.read(FOLDER / "01_chunk_sizing.ipynb", as_version=4)
    shutil.copy(FOLDER / "conftest.py", tmp_path / "conftest.py")
    for name, old, new, last in (
        ("counts", "experiment.describe_data(prepared)", "experiment.describe_data(prepared) | {'questions': 1}", "NBVAL_CHECK_OUTPUT"),
        ("metric", "results = experiment.grid", f"{BROKEN_METRIC}\nresults = experiment.grid", "assert not report.audit_errors"),
    ):
        notebook = nbformat.from_dict(json.loads(json.dumps(original)))
        notebook.cells = notebook.cells[: next(number for number, item in enumerate(notebook.cells) if last in item.source) + 1]
        touched = [item for item in notebook.cells if old in item.source]
        assert len(touched) == 1, name
        touched[0].source = touched[0].source.replace(old, new)
        (parameters,) = [item for item in notebook.cells if "parameters" in item.metadata.get("tags", [])]
        parameters.source += "\nchunk_sizes, retriever, limit, answers = [128, 512], 'bm25', 0, 4"
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    done = nbval(*(tmp_path / f"{name}.ipynb" for name in ("counts", "metric")), cwd=tmp_path)
    failed = set(re.findall(r"^FAILED (\w+)\.ipynb::", done.stdout, re.MULTILINE))
    assert failed == {"counts", "metric"}, done.stdout[-3000:]
    assert "mismatch" in done.stdout
    assert "a metric is wrong" in done.stdout  # said by the audit


def test_plain_papermill_runs_the_parameters_file(tmp_path, models_here, shared_cache):
    output = tmp_path / "out.ipynb"
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(FOLDER / "01_chunk_sizing.ipynb"),
        str(output),
        "-f",
        str(ROOT / "params" / "01_chunk_sizing.yaml"),
    ]
    command += ["-p", "limit", "20", "-p", "retriever", "bm25", "--no-progress-bar"]
    environment = {**os.environ, "WORKBENCH_HEADLESS": "1", "WORKBENCH_RUN_DIR": str(tmp_path), "WORKBENCH_HOME": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["results"]
    assert {record["settings"]["chunker"] for record in results} == {"sentence", "whole"}
    assert len(results[0]["examples"]) <= 20


ASKED, ANSWERED = "남은 휴가는 언제 소멸하나요?", "쓰지 않은 휴가는 12월 31일에 소멸한다."


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("06_annotate", {"dataset": "FOLDER"}, [ASKED, ANSWERED]),
        ("07_browse_runs", {}, []),
        ("08_ask", {"dataset": "FOLDER", "generator": "extractive", "question": ASKED}, [ASKED, ANSWERED]),
    ],
)
def test_a_tool_takes_the_user_s_folder_and_writes_below_outputs_only(tmp_path, small, models_here, name, values, said):
    folder, home = tmp_path / "documents", tmp_path / "home"
    shutil.copytree(small("ko").removeprefix("folder:"), folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    home.mkdir()
    output = tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "papermill", str(FOLDER / f"{name}.ipynb"), str(output), "--no-progress-bar"]
    for key, value in values.items():
        command += ["-p", key, value.replace("FOLDER", f"folder:{folder}")]
    environment = {**os.environ, "WORKBENCH_HEADLESS": "1", "WORKBENCH_HOME": str(home), "WORKBENCH_LANG": "ko"}
    environment.pop("WORKBENCH_CACHE", None)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    shown = "".join(nbformat.read(output, as_version=4).cells[-2].outputs[-1].data["text/html"])
    assert [text for text in said if text not in shown] == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"documents", "home", "out.ipynb"}
    assert [path.name for path in home.iterdir()] == ["outputs"]
