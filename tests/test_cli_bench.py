"""`workbench bench`: its table, its JSON, what a sweep costs, and one line for each wrong input."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from small_sweep import write_spec
from test_bench_cost import spec

from workbench import bench, cli_bench
from workbench.bench_rates import Part, Rate, Skipped

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a part that cannot answer be given up late: the machine of a test may be busy."""
    monkeypatch.setattr(bench, "SILENCE", 600.0)


def test_without_time_the_machine_and_all_that_is_missing_are_told(run: Run) -> None:
    code, out, err = run("bench", "--seconds", "0")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert " cores, " in lines[0]
    assert lines[1].startswith("fast arithmetic: ")
    assert lines[2].startswith("python 3.")
    missing = lines[lines.index("not measured:") + 1 :]
    assert "  embedder hash: 0 s were over; give more with --seconds" in missing
    expected = (
        "model intfloat/multilingual-e5-small is not here; fetch it once (91 MB): workbench models pull intfloat/multilingual-e5-small"
    )
    assert f"  embedder intfloat/multilingual-e5-small: {expected}" in missing
    assert all(line.startswith("  ") and ": " in line for line in missing)


def test_the_cost_of_a_sweep_is_told_as_text_and_as_json(run: Run, project: Path) -> None:
    """Only what the sweep needs is measured, and nothing is run."""
    path = spec(project, fixed={"generator": "extractive"})
    code, out, err = run("bench", str(path), "--quick", "--seconds", "600", "--json")
    record = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert code == 0
    assert list(record) == ["version", "machine", "effort", "seconds", "rates", "skipped", "sweep"]
    assert record["skipped"] == []
    assert {(rate["kind"], rate["spec"]) for rate in record["rates"]} == {
        *{("evaluation", "cached run"), ("embedder", "hash"), ("generator", "extractive")}
    }
    assert len(err.splitlines()) == len(record["rates"])
    assert err.startswith("[")
    cost = record["sweep"]
    assert (cost["spec"], cost["points"]["to_do"], cost["workers"]) == ("costs.sweep.yaml", 6, 1)
    assert cost["stages"][0]["stage"] == "search, metrics, audit"
    assert 0 < sum(stage["seconds"] for stage in cost["stages"]) == pytest.approx(cost["seconds"], abs=0.1)
    assert not (project / "outputs/costs/ledger.sqlite").exists()
    assert not (project / "outputs/costs/runs").exists()
    code, out, _ = run("bench", str(path), "--seconds", "0")
    assert code == 0
    assert "6 points: 0 done, 0 failed before, 6 to do\n" in out
    assert "time: more than 0 s: not all could be measured\n" in out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("none.sweep.yaml",), "error: no such file: none.sweep.yaml"),
        (("params/wrong.sweep.yaml",), "error: wrong.sweep.yaml"),
        (("params/wrong.sweep.yaml", "--json"), "did you mean 'chunk_sizes'"),
        (("params/tiny.sweep.yaml", "--jobs", "0"), "Invalid value for '--jobs'"),
    ],
)
def test_wrong_input_is_one_error_and_measures_nothing(arguments: tuple[str, ...], problem: str, run: Run, project: Path) -> None:
    write_spec(project, {"notebook": "tiny", "grid": {"chunk_sise": [8]}}, "wrong.sweep.yaml")
    code, out, err = run("bench", *arguments)
    assert (code, out) == (2, "")
    assert problem in err


def test_the_table_names_each_part_once_and_shows_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    part = Part("embedder", "st:\x1b[31mred")
    facts = {"texts": 1234, "after": ["torch", "numpy"]}
    rates = [Rate.of(part, "query en", "texts/s", [3.0, 1.0, 2.0], **facts), Rate.of(part, "load", "s", [4.0])]
    found = bench.Bench(bench.Effort(), [*rates, Rate.of(Part("start", "papermill"), "import", "s", [1.0])], [Skipped(part, "\x1b[2Jgone")])
    cli_bench._print(found, None)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.count("st:�[31mred") == 2  # in the table, and below
    assert out.index("papermill") < out.index("query en")
    row = next(line for line in out.splitlines() if "query en" in line)
    assert [cell.strip() for cell in row.split("│")[2:-1]] == ["query en", "2", "1 to 3", "texts/s", "texts 1,234, after torch and numpy"]
