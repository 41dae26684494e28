"""Every check that a run can show is explained, and nothing else is; `workbench explain` is in test_cli_explain.py."""

import ast
from pathlib import Path

import pytest
from made_parts import SMALL

from workbench import experiment, models_trained
from workbench.audit import CHECKS
from workbench.audit_catalogue import EXPLANATIONS
from workbench.audit_health import QUESTION_CHECKS
from workbench.audit_training import audit_training
from workbench.data import load
from workbench.settings import Settings

PACKAGE = Path(experiment.__file__).parent


def written() -> dict[str, set[str]]:
    """Read the ids and levels of all checks that the code can return."""
    found: dict[str, set[str]] = {}
    for path in [*PACKAGE.glob("audit*.py"), *PACKAGE.glob("experiment*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Check", "outcome"):
                name, level = node.args[0], node.args[1 if node.func.id == "Check" else 2]
                if isinstance(name, ast.Constant):
                    levels = {item.value for item in ast.walk(level) if isinstance(item, ast.Constant)} & {"error", "warning"}
                    found.setdefault(name.value, set()).update(levels)
    return found


def test_every_check_in_the_code_is_explained_with_the_levels_it_can_have() -> None:
    assert {name: set(explanation.levels) for name, explanation in EXPLANATIONS.items()} == written()
    assert {*CHECKS, *QUESTION_CHECKS} <= set(EXPLANATIONS)


@pytest.mark.usefixtures("own_cache")
def test_every_check_of_real_runs_is_explained_and_no_other(small, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(dataset=small("en"), retriever="dense", embedder="hash", generator="extractive", **SMALL)
    seen = {check.id for check in experiment.run(settings).audit}
    monkeypatch.setattr(models_trained, "card", lambda name: {"data": {}})
    trained = audit_training(settings.replace(embedder="st:trained/small"), load(small("en")))
    assert seen | {check.id for check in trained} == set(EXPLANATIONS)


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_an_explanation_is_whole(name: str) -> None:
    explanation = EXPLANATIONS[name]
    assert explanation.id == name
    assert explanation.levels in (("error",), ("warning",), ("error", "warning"))
    assert "\n" not in explanation.meaning
    assert not explanation.meaning.endswith(".")
    for text in (explanation.why, explanation.what_to_do):
        assert text[0].isupper()
        assert text.endswith(".")
