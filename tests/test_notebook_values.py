"""Parameter values: what they stand for as settings, and that papermill can make nothing of them but values."""

import ast
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.datatypes import WorkbenchError
from workbench.notebook import Parameter, beyond_settings, check_parameters, declared_parameters, settings_of, singular

ROOT = Path(__file__).resolve().parent.parent
TRAINING = ["other_dataset", "training_questions", "epochs", "learning_rate", "rank", "embedder_learning_rate", "negatives", "pretrain"]
CODE = [
    "'); import os; os.system('touch mark') #",
    '"""\nimport os\n"""',
    "{__import__('os')}",
    "\\'\n%run x",
    "!touch mark",
    "$(id)",
    "{{ x }}",
]
LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.sampled_from(CODE)
VALUE = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from(CODE), inner, max_size=3), max_leaves=8
)
LOOSE = {"anything": Parameter("anything", "list", None, [])}


def injected(parameters: dict[str, Any]) -> list[ast.stmt]:
    """Return the statements of the cell that papermill injects."""
    from papermill.translators import PythonTranslator

    return ast.parse(PythonTranslator.codify(parameters)).body


@given(value=VALUE)
@settings(max_examples=100, deadline=None)
def test_a_value_that_is_accepted_becomes_that_value_and_nothing_else(value: Any) -> None:
    try:
        checked = check_parameters(LOOSE, {"anything": [value]}, "a.yaml")
    except WorkbenchError:
        return
    (statement,) = injected(checked)
    assert isinstance(statement, ast.Assign)
    assert ast.unparse(statement.targets[0]) == "anything"
    assert ast.literal_eval(statement.value) == [value]


@pytest.mark.parametrize("text", CODE)
def test_code_in_a_value_stays_text(text: str) -> None:
    (statement,) = injected(check_parameters(LOOSE, {"anything": [text, {text: text}]}, "a.yaml"))
    assert ast.literal_eval(statement.value) == [text, {text: text}]


def test_code_in_a_name_would_run_so_it_is_refused() -> None:
    """PM6: the cell that papermill would inject holds a call, which is why no such name gets that far."""
    name = "x = __import__('os').system('touch mark'); y"
    assert any(isinstance(node, ast.Call) for statement in injected({name: 1}) for node in ast.walk(statement))
    with pytest.raises(WorkbenchError, match="is no parameter name"):
        check_parameters(LOOSE, {name: 1}, "a.yaml")
    with pytest.raises(WorkbenchError, match="is no parameter name"):  # not even where a notebook could declare it
        check_parameters({name: Parameter(name, "int", None, 1)}, {name: 1}, "a.yaml")


def test_settings_of_parameters() -> None:
    """A list parameter is the plural of its field; what is no field at all belongs to the notebook."""
    held = {"dataset": "demo-ko", "budgets": [256]}
    points = settings_of({**held, "chunk_sizes": [64, 128], "retrievers": ["dense", "bm25"], "baseline": 64})
    assert points == [{**held, "chunk_size": size, "retriever": name} for size in (64, 128) for name in ("dense", "bm25")]
    assert settings_of({"indexes": ["exact", "hnsw"]}) == [{"index": "exact"}, {"index": "hnsw"}]
    assert settings_of({"chunk_sizes": 5, "note": "x"}) == [{}]
    with pytest.raises(WorkbenchError, match="chunk_sizes is empty; it needs at least one chunk_size"):
        settings_of({"chunk_sizes": []})


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("chunk_sizes", "chunk_size"),
        ("indexes", "index"),
        ("budgets", None),
        ("options", None),
        ("answers", None),
        ("arms", None),
        ("s", None),
    ],
)
def test_the_singular_of_a_list_parameter_is_its_field(name: str, field: str | None) -> None:
    assert singular(name) == field


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("0[0-5]*.ipynb")), ids=lambda path: path.stem)
def test_only_the_notebook_that_trains_needs_more_than_settings(path: Path) -> None:
    assert beyond_settings(declared_parameters(path)) == (TRAINING if path.stem == "05_fine_tuning" else [])


def test_a_parameter_that_settings_cannot_stand_for_is_found() -> None:
    kinds = {"chunk_sizes": "int", "prompts": "list", "prompt": "str", "baseline": "int", "note": "str", "arms": "list"}
    assert beyond_settings({name: Parameter(name, kind, None, None) for name, kind in kinds.items()}) == ["chunk_sizes", "note", "arms"]
