"""The parameters cell: read by `ast`, kept readable to papermill, and every value checked before a kernel sees it."""

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workbench.datatypes import WorkbenchError
from workbench.notebook import Parameter, check_parameters, code_cells, code_fingerprint, declared_parameters
from workbench.settings import refuse_secrets

ROOT = Path(__file__).resolve().parent.parent
GOOD = """# a comment, then a blank line

dataset: str = "demo-ko"  # 데이터 이름
sizes: list[int] = [64, 128]  # tokens # of text
rate: float = 1
names: list = ["a", 2]
arms: list[dict] = [{"a": {"b": [1.5, None, True]}}]
label: str = "#ff0000"
어절: str = "한국어 문장"  # 도움말
flag: bool = False
shift: int = -3
"""


def write(path: Path, *cells: dict[str, Any]) -> Path:
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(json.dumps({"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}), encoding="utf-8")
    return path


def code(source: str | list[str], *tags: str) -> dict[str, Any]:
    return {"cell_type": "code", "metadata": {"tags": list(tags)} if tags else {}, "source": source, "outputs": [], "execution_count": None}


def declare(tmp_path: Path, source: str | list[str]) -> dict[str, Parameter]:
    return declared_parameters(write(tmp_path / "x.ipynb", code("import os"), code(source, "parameters"), code("print(1)")))


def papermill_names(path: Path) -> list[str]:
    import papermill

    return list(papermill.inspect_notebook(str(path)))


def test_all_kinds_of_parameters_are_read(tmp_path: Path) -> None:
    declared = declare(tmp_path, GOOD)
    assert list(declared) == ["dataset", "sizes", "rate", "names", "arms", "label", "어절", "flag", "shift"]
    assert declared["dataset"] == Parameter("dataset", "str", None, "demo-ko", "데이터 이름")
    assert declared["sizes"] == Parameter("sizes", "list", "int", [64, 128], "tokens # of text")
    assert declared["arms"].item == "dict"
    assert declared["label"] == Parameter("label", "str", None, "#ff0000", "")
    assert declared["어절"].help == "도움말"  # ast counts bytes
    assert declared["shift"].default == -3
    assert declare(tmp_path, GOOD.splitlines(keepends=True)) == declared
    assert declare(tmp_path, GOOD.replace("\n", "\r\n")) == declared


def test_papermill_reads_the_same_names(tmp_path: Path) -> None:
    declared = declare(tmp_path, GOOD)
    assert papermill_names(tmp_path / "x.ipynb") == list(declared)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_papermill_reads_the_parameters_of_our_notebooks(path: Path) -> None:
    declared = declared_parameters(path)
    assert declared
    assert papermill_names(path) == list(declared)
    assert all(parameter.help for parameter in declared.values())


FORM = "must read 'name: type = literal  # help', without another '='"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("n = 2", f"'n = 2' {FORM}"),
        ("n: int", FORM),
        ("n: int = 2\nhalf = n // 2", f"'half = n // 2' {FORM}"),
        ("n: int = 2; m: int = 3", FORM),
        ('url: str = "a=b"', FORM),
        ("n: int = 2  # more = better", FORM),
        ("a, b = 1, 2", FORM),
        ("x.y: int = 2", FORM),
        ("sizes: list[int] = [\n  1,\n  2,\n]", FORM),
        ('text: str = """a\nb"""', FORM),
        ("import os", FORM),
        ("'a text'", FORM),
        ("한글 = 1", "'한글 = 1' must read"),
        ("n: int = 1\nn: int = 2", "parameter n: declared twice"),
        ("n: int | None = 2", "type 'int | None' must be one of int, float, str, bool, list, dict or list[one of them]"),
        ("n: Optional[int] = 2", "type 'Optional[int]' must be"),
        ("n: tuple = (1, 2)", "type 'tuple' must be"),
        ("n: dict[str, int] = {}", "type 'dict[str, int]' must be"),
        ("n: list[integer] = [2]", "type 'list[integer]' must be"),
        ("n: list[list[int]] = [[2]]", "type 'list[list[int]]' must be"),
        ("n: int = 1 + 1", "parameter n: the default must be a literal"),
        ("n: int = len('a')", "parameter n: the default must be a literal"),
        ("n: dict = {[]: 1}", "parameter n: the default must be a literal"),
        ("n: int = 2.0", "default of n: expected int, got 2.0 (float)"),
        ("n: int = True", "default of n: expected int, got True (bool)"),
        ("n: str = None", "default of n: expected str, got None"),
        ("n: list[int] = [1, '2']", "expected a list of int, got '2' (str) in it"),
        ("n: list = [(1, 2)]", "is not plain JSON"),
        ("n: float = 1e999", "is not plain JSON"),
        ("n: dict = {1: 2}", "is not plain JSON"),
        ('api_key: str = ""', "parameter 'api_key' looks like a secret"),
        ("n: int = ", "parameters cell: invalid syntax"),
        ("%matplotlib inline", "parameters cell: invalid syntax"),
        ("  n: int = 2", "parameters cell: unexpected indent"),
        ("n: int = 2\0", "parameters cell: source code"),
        ('n: str = "\ud800"', "surrogates not allowed"),
    ],
)
def test_anything_else_in_the_cell_is_refused(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(WorkbenchError) as error:
        declare(tmp_path, source)
    assert message in str(error.value)
    assert str(error.value).startswith("x.ipynb")


def test_papermill_would_miss_what_is_refused_for_its_sake(tmp_path: Path) -> None:
    """PM8: these lines are valid Python, yet papermill neither lists nor types them."""
    for source in ('url: str = "a=b"', "n: int = 2  # more = better", "n: int = 2; m: int = 3"):
        assert papermill_names(write(tmp_path / "y.ipynb", code(source, "parameters"))) == []


def test_exactly_one_code_cell_has_the_tag(tmp_path: Path) -> None:
    cell = code("n: int = 1", "parameters")
    prose = {"cell_type": "markdown", "metadata": {"tags": ["parameters"]}, "source": "n"}
    for cells, found in (([code("n: int = 1")], 0), ([prose], 0), ([code(" \n", "parameters")], 0), ([cell, cell], 2)):
        with pytest.raises(WorkbenchError, match=f"x.ipynb must have exactly one code cell tagged 'parameters', it has {found}"):
            declared_parameters(write(tmp_path / "x.ipynb", *cells))
    assert list(declared_parameters(write(tmp_path / "x.ipynb", prose, cell))) == ["n"]


@pytest.mark.parametrize("text", ["[]", "{}", '{"cells": 3}', "null"])
def test_a_file_that_is_no_notebook_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.ipynb").write_text(text, encoding="utf-8")
    with pytest.raises(WorkbenchError, match="is not a notebook"):
        code_cells(tmp_path / "x.ipynb")


def test_the_code_fingerprint_sees_code_only(tmp_path: Path) -> None:
    path = write(tmp_path / "x.ipynb", code("a\nb"))
    first = code_fingerprint(path)
    run = code(["a\n", "b"]) | {"execution_count": 3, "outputs": [{"output_type": "stream", "name": "stdout", "text": "x"}]}
    assert code_fingerprint(write(path, {"cell_type": "markdown", "metadata": {}, "source": "prose"}, run, code("  \n"))) == first
    assert code_fingerprint(write(path, code("a\nc"))) != first
    assert code_fingerprint(write(path, code("a"), code("b"))) != first


# --- values -------------------------------------------------------------------------------------------------------------------------

DECLARED = {
    parameter.name: parameter
    for parameter in (
        Parameter("chunk_sizes", "list", "int", [64]),
        Parameter("chunker", "str", None, "recursive"),
        Parameter("top_k", "int", None, 10),
        Parameter("rate", "float", None, 0.5),
        Parameter("fast", "bool", None, False),
        Parameter("options", "dict", None, {}),
        Parameter("anything", "list", None, []),
    )
}


def test_values_replace_defaults() -> None:
    values = {"chunk_sizes": [8, 16], "rate": 1, "anything": [1, "a", None, {"b": [True]}], "options": {"index": {"ef": 64}}}
    checked = check_parameters(DECLARED, values, "a.yaml")
    assert checked == {"chunk_sizes": [8, 16], "chunker": "recursive", "top_k": 10, "rate": 1, "fast": False} | values
    assert list(checked) == list(DECLARED)
    assert check_parameters(DECLARED, {}, "a.yaml")["chunk_sizes"] == [64]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "chunk_size",
            [8],
            "unknown parameter 'chunk_size'; did you mean 'chunk_sizes'? (the notebook declares: chunk_sizes, chunker,",
        ),
        ("xyzzy", 1, "a.yaml: unknown parameter 'xyzzy' (the notebook declares: "),
        ("top_k", True, "a.yaml top_k: expected int, got True (bool)"),
        ("top_k", "5", "a.yaml top_k: expected int, got '5' (str)"),
        ("top_k", 5.0, "a.yaml top_k: expected int, got 5.0 (float)"),
        ("top_k", None, "a.yaml top_k: expected int, got None (NoneType)"),
        ("rate", True, "expected float, got True (bool)"),
        ("fast", 1, "expected bool, got 1 (int)"),
        ("fast", "true", "expected bool, got 'true' (str)"),
        ("chunker", 5, "expected str, got 5 (int)"),
        ("chunk_sizes", 5, "expected list, got 5 (int)"),
        ("chunk_sizes", [8, "16"], "expected a list of int, got '16' (str) in it"),
        ("chunk_sizes", [8, True], "expected a list of int, got True (bool) in it"),
        ("chunk_sizes", [8, 16.0], "expected a list of int, got 16.0 (float) in it"),
        ("chunk_sizes", (8, 16), "(8, 16) is not plain JSON"),
        ("rate", float("nan"), "nan is not plain JSON"),
        ("rate", float("inf"), "inf is not plain JSON"),
        ("top_k", np.int64(3), "is not plain JSON"),
        ("fast", np.bool_(False), "is not plain JSON"),
        ("rate", np.float32(0.5), "is not plain JSON"),
        ("anything", [np.int64(3)], "is not plain JSON"),
        ("anything", [datetime.date(2024, 1, 1)], "is not plain JSON"),
        ("options", {datetime.date(2024, 1, 1): 1}, "is not plain JSON"),
        ("options", {1: 2}, "is not plain JSON"),
        ("anything", {1}, "is not plain JSON"),
        ("chunker", b"x", "is not plain JSON"),
        ("chunker", "\ud800", "is not plain JSON"),
        ("chunker", "a\0b", "a.yaml chunker: 'a\\x00b' holds a NUL character, which no path and no name can hold; take it out"),
        ("options", {"index": [{"e\0": 1}]}, "holds a NUL character"),
        ("options", {"\u00e9": 1, "e\u0301": 2}, "a.yaml options: two of the keys"),
        ("chunker", ["x" * 500], "got ['" + "x" * 78 + " (list)"),
        ("__import__('os').system('touch x')", 1, "is no parameter name"),
        ("x\nimport os", 1, "is no parameter name"),
        ("class", 1, "'class' is no parameter name"),
        ("None", 1, "'None' is no parameter name"),
        ("", 1, "'' is no parameter name"),
        (3, 1, "3 is no parameter name"),
    ],
)
def test_bad_values_are_refused(name: Any, value: Any, message: str) -> None:
    """PM5, PM6, PM7, PM10."""
    with pytest.raises(WorkbenchError) as error:
        check_parameters(DECLARED, {name: value}, "a.yaml")
    assert message in str(error.value)


def test_a_numpy_double_is_a_float_to_papermill_too() -> None:
    from papermill.translators import PythonTranslator

    checked = check_parameters(DECLARED, {"rate": np.float64(0.25)}, "a.yaml")
    assert "rate = 0.25\n" in PythonTranslator.codify({"rate": checked["rate"]})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_key", "x"),
        ("OPENAI_API_KEY", "x"),
        ("apikey", ""),
        ("password", "x"),
        ("db_password", "x"),
        ("client_secret", "x"),
        ("hf_token", "x"),
        ("token", "x"),
        ("access_token", "x"),
        ("aws_access_key", "x"),
        ("private_key", "x"),
        ("credentials", "x"),
        ("options", {"embedder": {"api_key": "x"}}),
        ("options", {"embedder": {"token": "x"}}),
        ("options", {"embedder": {"url": "sk-" + "a1" * 12}}),
        ("anything", ["fine", "see hf_" + "b2" * 12]),
        ("chunker", "line\nsk-proj-" + "c3" * 12),
        ("chunker", "ghp_" + "d4" * 18),
        ("chunker", "AKIA" + "E5" * 8),
    ],
)
def test_what_looks_like_a_secret_is_refused_and_not_repeated(name: str, value: Any) -> None:
    """SC1: papermill writes each value twice into its output."""
    with pytest.raises(WorkbenchError, match=f"a.yaml: parameter '{name}.* looks like a secret; put it into an env") as error:
        refuse_secrets(name, value, "a.yaml")
    for piece in ("a1a1", "b2b2", "c3c3", "d4d4", "E5E5"):
        assert piece not in str(error.value)
    with pytest.raises(WorkbenchError, match="looks like a secret"):
        check_parameters(DECLARED, {name: value}, "a.yaml")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tokenizer", "intfloat/multilingual-e5-small"),
        ("max_tokens", 512),
        ("tokens", [1]),
        ("keyboard", "x"),
        ("chunker", "task-oriented-dialogue-and-more-words"),
        ("options", {"index": {"ef": 64}, "tokenizer": {"name": "simple"}}),
        ("dataset", "folder:secretariat"),
    ],
)
def test_ordinary_names_and_values_are_no_secrets(name: str, value: Any) -> None:
    refuse_secrets(name, value, "a.yaml")
