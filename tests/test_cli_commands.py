"""The command line beside `evaluate` and `sweep`: data, models, cache, help, the program itself in any locale."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from small_sweep import tree

from workbench import bootstrap, cli, data, models, storage
from workbench.settings import Settings

COMMAND = (sys.executable, "-m", "workbench")
BASE = ("evaluate", "--dataset", "folder:docs", "--tokenizer", "simple", "--embedder", "hash", "--chunk-size", "8")
Run = Callable[..., tuple[int, str, str]]


def test_a_template_is_written_checked_and_evaluated(run: Run, project: Path) -> None:
    code, out, _ = run("data", "template", "mine")
    assert (code, out) == (0, "written: mine\nfill it in, then: workbench data check folder:mine\n")
    code, out, _ = run("data", "check", "folder:mine")
    assert code == 0
    assert "answerable  4; unanswerable 1 (20.0%)" in out
    assert run("evaluate", "--dataset", "folder:mine", "--tokenizer", "simple", "--embedder", "hash")[0] == 0
    before = tree(project)
    assert run("data", "template", "mine") == (2, "", "error: mine is not an empty folder; name a new one\n")
    assert tree(project) == before


@pytest.mark.parametrize(
    ("row", "code", "message"),
    [
        ("", 0, "clean"),
        ("q5,What colour is it?,blue,kettle.md,It is blue.", 1, "lost or skipped: 1"),
        ("q5,How do I remove lime from the kettle?,vinegar,kettle.md,Descale it with vinegar every second month.", 1, "the same question"),
        ("q1,What is short?,the cord,kettle.md,The cord is short.\nq1,What else?,x,kettle.md,The cord is short.", 2, "error: "),
    ],
)
def test_data_check_exits_with_what_is_wrong(run: Run, project: Path, row: str, code: int, message: str) -> None:
    table = project / "docs/questions.csv"
    storage.write_text(table, table.read_text("utf-8") + row + "\n" * bool(row))
    found, out, err = run("data", "check", "folder:docs")
    assert found == code
    assert message in out + err
    assert "Traceback" not in err


def test_an_empty_document_is_a_loss_and_no_document_an_error(run: Run, project: Path) -> None:
    storage.write_text(project / "docs/blank.md", " \n")
    assert run("data", "check", "folder:docs")[0] == 1
    (project / "empty").mkdir()
    code, _, err = run("data", "check", "folder:empty")
    assert code == 2
    assert err.startswith("error: ")


def test_models_are_listed_and_missing_ones_named(run: Run) -> None:
    code, out, _ = run("models", "list")
    assert code == 0
    assert {line.split()[1] for line in out.splitlines()} == set(models.catalogue())
    assert not any(" here " in line for line in out.splitlines())
    assert "workbench models pull intfloat/multilingual-e5-small" in run("models", "show", "intfloat/multilingual-e5-small")[2]
    code, _, err = run("models", "pull", "BAAI/bge-m3")
    assert code == 2
    assert err.endswith("needs your consent: workbench models pull BAAI/bge-m3 --allow-download\n")
    assert run("models", "show", "minilm")[2].startswith("error: unknown model 'minilm'")


def test_a_stored_model_is_described(stored_models: None, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKBENCH_MODELS")
    code, out, _ = run("models", "show", "intfloat/multilingual-e5-small")
    assert code == 0
    shown = {line[:12].strip(): line[13:] for line in out.splitlines()}
    assert shown["prefixes"] == "query 'query: ', passage 'passage: '"
    assert shown["max length"] == "512 tokens"
    assert shown["licence"] == "MIT"
    assert len(shown["sha256"]) == 64


def test_the_cache_is_counted_pruned_and_cleared(run: Run) -> None:
    assert run("cache", "stats")[1] == "the cache is empty\n"
    run(*BASE)
    code, out, _ = run("cache", "stats")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert [line[:2] for line in lines] == [["chunks", "recursive"], ["tokens", "simple"], ["vector", "hash"]]
    rows = sum(int(line[2]) for line in lines)
    assert run("cache", "prune")[1] == "0 rows removed, and the files as old\n"
    assert run("cache", "prune", "--days", "0")[1] == f"{rows} rows removed, and the files as old\n"
    run(*BASE)
    assert run("cache", "clear")[1] == f"{rows} rows removed, and all files\n"
    assert run("cache", "stats")[1] == "the cache is empty\n"


# --- the program --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", list(bootstrap.COMMANDS))
def test_demo_test_and_lab_go_to_the_bootstrap(run: Run, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, list[str]]] = []

    def start(word: str, arguments: list[str]) -> int:
        calls.append((word, arguments))
        return 5

    monkeypatch.setattr(bootstrap, "run", start)
    assert run(word, "-k", "name", "--maxfail=1", "path")[0] == 5
    assert calls == [(word, ["-k", "name", "--maxfail=1", "path"])]


def test_an_error_of_the_bootstrap_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise bootstrap.BootstrapError("this is not a checkout")

    monkeypatch.setattr(bootstrap, "run", fail)
    assert run("demo") == (2, "", "error: this is not a checkout\n")
    assert set(cli.STARTS) == set(bootstrap.COMMANDS)


ADDED = ("bench", "compare", "gate", "power", "judge", "explain")


def test_help_names_every_command(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    commands = {line.split()[0]: line for line in out.partition("Commands:")[2].splitlines() if line.strip()}
    assert list(commands) == ["evaluate", "ask", *ADDED, "demo", "test", "test-slow", "lab", "data", "models", "cache", "train", "sweep"]
    assert all(line.endswith(".") and not line.endswith("...") for line in commands.values())
    out = run("evaluate", "--help")[1]
    fields = set(Settings.model_fields) - {"budgets", "options"}
    assert all(f"--{name.replace('_', '-')} " in out for name in fields)
    assert all(name in " ".join(out.split()) for name in data.DATASETS)


@pytest.mark.parametrize("mode", [{}, {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "latin-1"}])
def test_korean_is_printed_whatever_the_locale(project: Path, mode: dict[str, str]) -> None:
    """Piped output in a C locale, as a cron job or an old container has it; the second mode takes Python's own remedies away."""
    table = project / "docs/questions.csv"
    storage.write_text(table, table.read_text("utf-8") + "q5,무슨 색인가요?,파랑,kettle.md,주전자는 파란색입니다.\n")
    (project / "docs").rename(project / "문서")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    variables |= {"LC_ALL": "C", **mode}
    base = [argument.replace("docs", "문서") for argument in BASE]
    for command in (["data", "check", "folder:문서"], base, [*base, "--json"]):
        done = subprocess.run([*COMMAND, *command], env=variables, capture_output=True)
        assert (done.returncode, done.stderr) == (1, b"")
        text = done.stdout.decode("utf-8")
        assert "주전자는 파란색입니다." in text
        assert ("folder:문서" in text) == (not mode)  # as ASCII the argument is only bytes to Python
    missing = subprocess.run([*COMMAND, "data", "check", "folder:없음"], env=variables, capture_output=True)
    assert missing.returncode == 2
    assert missing.stderr.decode("utf-8").startswith("error: no such file or folder: ")


def test_the_installed_program_is_the_same(project: Path) -> None:
    program = Path(sys.executable).with_name("workbench.exe" if os.name == "nt" else "workbench")
    if not program.is_file():
        pytest.skip("the package is not installed as a program here")
    outputs = [
        subprocess.run([*command, "models", "list"], capture_output=True, check=True).stdout for command in (COMMAND, (str(program),))
    ]
    assert outputs[0] == outputs[1]
    done = subprocess.run([str(program), "evaluate", "--chunker", "hole"], capture_output=True, text=True, encoding="utf-8")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: unknown chunker 'hole'; did you mean 'whole'? (available: fixed, markdown, recursive, sentence, whole)\n"
