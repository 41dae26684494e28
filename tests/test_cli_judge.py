"""The command `workbench judge` on files of results."""

from pathlib import Path
from typing import Any

import pytest
import typer
from factories import make_result
from typer.testing import CliRunner

from workbench.cli_judge import judge
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult, save_results
from workbench.storage import write_text

APP = typer.Typer()
APP.command()(judge)
COUNTS = {"asked": 30, "unparsed": 0, "failed": 0, "reasons": {}, "length_correlation": None}
DETAILS = {"model": "openai:judge", "fingerprint": "a", "metrics": dict.fromkeys(("judge_correctness", "judge_groundedness"), COUNTS)}


def judged(**changes: Any) -> RunResult:
    """Build a result with 30 answers, every third of which the judge calls wrong."""
    verdicts = [{"judge_correctness": [("correct", "wrong")[n % 3 == 0], ""]} for n in range(30)]
    records = [{"id": f"q{n}", "question": f"{n}?", "gold": ["g"], "text": f"a{n}", "verdicts": verdicts[n]} for n in range(30)]
    result = make_result({"judge_correctness": [float(n % 3 > 0) for n in range(30)]}, details={"judge": DETAILS}, **changes)
    return RunResult(**{**vars(result), "answers": tuple(records)})


def invoke(*arguments: object) -> str:
    done = CliRunner().invoke(APP, [str(argument) for argument in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def labels(folder: Path, count: int, wrong: int = 0) -> Path:
    rows = [f"q{n},{'correct' if (n % 3 > 0) == (n >= wrong) else 'wrong'}" for n in range(count)]
    return write_text(folder / "labels.csv", "\n".join(["id,label", *rows]))


def test_labels_are_compared_with_the_verdicts_of_the_file(tmp_path: Path) -> None:
    path = save_results(tmp_path / "results.json", [judged()])
    before = path.read_bytes()
    said = invoke("--result", path, "--labels", labels(tmp_path, 30, wrong=3))
    # 27 of 30 agree; of the labels 19 are correct, of the verdicts 20: (20 * 19 + 10 * 11) / 900 = .544 by chance
    assert "kappa 0.78 [" in said
    assert "n 30 (Cohen's kappa, linear weights), equal grades 90%" in said
    assert "uncalibrated: too few labels (19; at least 20 are needed)" in invoke("--result", path, "--labels", labels(tmp_path, 19))
    assert path.read_bytes() == before


def test_a_sheet_is_written_to_be_labelled(tmp_path: Path) -> None:
    path = save_results(tmp_path / "results.json", [judged()])
    assert "30 answers written" in invoke("--result", path, "--sheet", tmp_path / "sheet.csv")
    lines = (tmp_path / "sheet.csv").read_text(encoding="utf-8-sig").splitlines()
    assert lines[:2] == ["id,question,gold,answer,label", "q0,0?,g,a0,"]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    plain = save_results(tmp_path / "plain.json", [make_result({"recall@1": [1.0]})])
    both = save_results(tmp_path / "both.json", [judged(), judged(top_k=5)])
    given = labels(tmp_path, 30)
    for arguments, problem in (
        (("--result", plain), "give --labels FILE to compare with labels, or --sheet FILE"),
        (("--result", plain, "--labels", given), "holds no judged answers; run with --judge"),
        (("--result", both, "--labels", given), "holds several judged results; choose one with --config"),
        (("--result", both, "--labels", given, "--config", "abc"), "unknown config id 'abc'"),
        (("--result", tmp_path / "none.json", "--labels", given), "none.json"),
    ):
        with pytest.raises(WorkbenchError, match=problem):
            invoke(*arguments)
    seeds = save_results(tmp_path / "seeds.json", [judged(), judged(seed=3), judged(top_k=5)])
    chosen = ("--result", seeds, "--labels", given, "--config", judged().config_id)
    with pytest.raises(WorkbenchError, match="holds this configuration with several seeds; choose one with --seed: 0, 3"):
        invoke(*chosen)
    with pytest.raises(WorkbenchError, match="unknown seed '4'"):
        invoke(*chosen, "--seed", 4)
    assert "kappa 1.00" in invoke(*chosen, "--seed", 3)
    assert "kappa 1.00" in invoke("--result", both, "--labels", given, "--config", judged(top_k=5).config_id)
