"""The winner of a sweep as a file: its settings give the numbers of the sweep again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from factories import make_results
from small_sweep import SPEC, Told, make_project, run_cli, write_spec

from workbench import report_files, storage, sweep, sweep_executors, sweep_inputs
from workbench.datatypes import WorkbenchError
from workbench.evaluation import load_results
from workbench.report_winner import decide
from workbench.settings import parse_settings


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a project whose sweep of one run, with two chunk sizes, is done."""
    folder = tmp_path_factory.mktemp("winner")
    path = make_project(
        folder, {**SPEC, "fixed": {"retriever": "bm25"}, "grid": {"chunker": ["fixed"]}, "prices": {"chunks": 0.001, "index_mb": 0}}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_HOME", str(folder))
        patch.setattr(sweep_inputs, "package_fingerprint", str)  # an edit while the tests run starts no kernel
        sweep.run_sweep(path)
    return folder


@pytest.fixture
def again(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[sweep.SweepReport, list[str]]]:
    """Give what repeats the sweep, without any run, and returns its report and what it said."""
    monkeypatch.setenv("WORKBENCH_HOME", str(project))
    monkeypatch.chdir(project)
    monkeypatch.setattr(sweep_inputs, "package_fingerprint", str)
    monkeypatch.setattr(sweep_executors, "_execute", lambda *_: pytest.fail("a kernel was started"))

    def repeat() -> tuple[sweep.SweepReport, list[str]]:
        said: list[str] = []
        return sweep.run_sweep(project / "params/tiny.sweep.yaml", Told(said)), said

    return repeat


Again = Callable[[], tuple[sweep.SweepReport, list[str]]]


def test_evaluating_the_winner_reproduces_its_numbers(project: Path, again: Again, capsys: pytest.CaptureFixture[str]) -> None:
    outcome, _ = again()
    decision = outcome.decisions["folder:docs"]
    assert outcome.winners == [project / "outputs/tiny/winner.yaml"]
    for arguments in ((), ("--no-cache",)):
        capsys.readouterr()
        assert run_cli("evaluate", "--settings", "outputs/tiny/winner.yaml", "--json", *arguments) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["config_id"] == decision.chosen.config_id
        (run,) = (project / "outputs/tiny/runs").iterdir()
        (stored,) = (one for one in load_results(run / "result.json") if one.config_id == found["config_id"])
        assert found["metrics"] == stored.summary()
        assert found["metrics"][decision.metric]["n"] == 4
        assert found["data"] == stored.data


def test_the_file_says_what_it_is_and_holds_no_path(project: Path, again: Again) -> None:
    chosen = again()[0].decisions["folder:docs"].chosen
    text = (project / "outputs/tiny/winner.yaml").read_text("utf-8")
    assert parse_settings(storage.parse_yaml(text, "winner.yaml")) == chosen.settings
    head = text.splitlines()[:3]
    assert head[0] == "# Chosen by tiny for folder:docs: 16 tokens"  # half the chunks at the price given
    assert head[1].startswith("# evidence_recall@512t ")
    assert head[1].endswith(" on all 4 questions, not confirmed on others")
    assert head[2] == f"# config id {chosen.config_id}"
    assert str(project) not in text
    before = text.encode()
    again()
    assert (project / "outputs/tiny/winner.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (
            lambda row: row["scores"].update({"evidence_recall@512t": [None, 1, 1, None]}),
            "% of the questions lack a score, so nothing can be",
        ),
        (lambda row: row["audit"].append({"id": "oracle", "level": "error", "message": "m"}), "an audit check failed: "),
    ],
)
def test_a_failed_decision_writes_no_winner_and_says_why(project: Path, again: Again, damage: Any, reason: str) -> None:
    folder = project / "outputs/tiny"
    (run,) = (folder / "runs").iterdir()
    good = {name: (run / name).read_bytes() for name in ("result.json", "record.json")}
    again()
    own = storage.write_text(folder / "winner-of-mine.yaml", "dataset: demo-en\n")
    storage.write_text(folder / "winner-demo-en.yaml", f"{report_files.MARK}tiny when it had two data sets\n")
    results, record = (storage.read_json(run / name) for name in good)
    damage(results["results"][0])
    storage.write_json(run / "result.json", results)
    storage.write_json(run / "record.json", record | {"result": storage.sha256_file(run / "result.json")})
    try:
        outcome, said = again()
    finally:
        for name, content in good.items():
            (run / name).write_bytes(content)
    assert (outcome.decisions, outcome.winners) == ({}, [])
    assert [line for line in said if line.startswith("folder:docs: no winner: ") and reason in line]
    assert [path.name for path in folder.glob("winner*")] == [own.name]  # an older choice would pass for this one
    own.unlink()


NAMES = ["demo-en", "folder:a/docs", "folder:b/docs", "demo-en (split all, seed 0, 4 questions)", "folder:규정집", "folder:" + "x" * 300]


def test_several_data_sets_get_a_file_each(tmp_path: Path) -> None:
    decisions = {name: decide(make_results()[:2]) for name in NAMES}
    paths = report_files.write_winners(tmp_path, decisions, "two sweeps", alone=False)
    assert [path.name for path in paths[:5]] == [
        "winner-demo-en.yaml",
        "winner-docs.yaml",
        "winner-docs-2.yaml",
        "winner-demo-en-split-all-seed-0-4-questions.yaml",
        "winner-folder-규정집.yaml",
    ]
    assert len({path.name for path in tmp_path.iterdir()}) == len(NAMES)
    assert max(len(path.name.encode()) for path in paths) < 255
    (alone,) = report_files.write_winners(tmp_path, {"demo-en": decisions["demo-en"]}, "one", alone=True)
    assert [path.name for path in tmp_path.iterdir()] == [alone.name] == ["winner.yaml"]


@pytest.mark.parametrize(
    "name", ["a\nretriever: random", "a\u2028b: c", "a\x85b", "a\x00b", "평가: 'x' \"y\" #z", "!!python/x", "*a", "yes", "1e3"]
)
def test_no_name_breaks_out_of_its_comment(tmp_path: Path, name: str) -> None:
    results = make_results(dataset=name)[:2]
    (path,) = report_files.write_winners(tmp_path, {name: decide(results)}, name, alone=True)
    assert parse_settings(storage.read_yaml(path)) == decide(results).chosen.settings
    assert len([line for line in path.read_text("utf-8").split("\n") if line.startswith("#")]) == 3


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        ({"tokns": 1}, "tiny.sweep.yaml: unknown cost in prices: 'tokns'; did you mean 'tokens'?"),
        ({"tokens": -0.5}, "tiny.sweep.yaml: prices.tokens -0.5 must be a finite number of at least 0"),
        ({"tokens": float("nan")}, "prices.tokens nan must be a finite number"),
        ({"tokens": "2e-7"}, "prices.tokens '2e-7' is a text; write a number such as"),
        ([1], "prices: Input should be a valid dictionary"),
    ],
)
def test_bad_prices_stop_a_sweep(tmp_path: Path, prices: Any, message: str) -> None:
    with pytest.raises(WorkbenchError) as error:
        sweep.load_spec(write_spec(tmp_path, {**SPEC, "prices": prices}))
    assert message in str(error.value)
    assert sweep.load_spec(write_spec(tmp_path, {**SPEC, "prices": yaml.safe_load("{tokens: 2.0e-7, chunks: 0}")})).prices == {
        "tokens": 2e-7,
        "chunks": 0,
    }
