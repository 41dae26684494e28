"""`workbench power`: planning from data, numbers and results, and contradictory input."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import typer
from factories import make_result, make_results
from test_report_pairs import save_run
from typer.testing import CliRunner

from workbench import data, report, report_power, stats_power, storage
from workbench.cli_power import power
from workbench.datatypes import WorkbenchError
from workbench.evaluation import save_results

app = typer.Typer()
app.command()(power)


def run(*arguments: Any) -> list[str]:
    """Run the command and return its lines; raise what it raises."""
    done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


def record(*arguments: Any) -> dict[str, Any]:
    return json.loads("\n".join(run(*arguments, "--json")))


def test_each_part_of_a_data_set_shows_its_own_difference() -> None:
    plan = record("--dataset", "demo-en")
    parts = {name: (part["questions"], part["groups"]) for name, part in plan["parts"].items()}
    loaded = data.load("demo-en")
    labels = data.clusters(loaded)
    for name, part in data.split(loaded).items():
        found = [labels[example.id] for example in part.examples if example.evidence]
        assert parts[name] == (len(found), len(set(found)))
    assert list(parts) == ["train", "selection", "confirmation", "test", "all"]
    assert parts["test"] == tuple(map(sum, zip(parts["selection"], parts["confirmation"], strict=True)))
    assert parts["all"] == tuple(map(sum, zip(parts["train"], parts["test"], strict=True)))
    smallest = {name: part["smallest_difference"] for name, part in plan["parts"].items()}
    assert smallest["all"] < smallest["test"] < smallest["selection"] < smallest["confirmation"]
    assert plan["assumed"] == {"sd": 0.35, "icc": 0.1}
    lines = run("--dataset", "demo-en")
    assert lines[5].split() == ["all", str(parts["all"][0]), str(parts["all"][1]), f"{smallest['all']:.3f}"]
    assert any(line.startswith("Assumed, not measured: ") for line in lines)


def test_the_number_of_comparisons_counts() -> None:
    many = record("--dataset", "demo-en", "--comparisons", 10)["parts"]["all"]["smallest_difference"]
    loaded = data.load("demo-en")
    labels = data.clusters(loaded)
    found = [labels[example.id] for example in loaded.examples if example.evidence]
    sizes = [found.count(label) for label in sorted(set(found))]
    assert many == pytest.approx(stats_power.planned(sizes).detectable(confidence=0.995), abs=1e-6)


def test_data_that_cannot_be_divided_is_planned_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        json.dumps(
            {
                "data": [
                    {
                        "title": title,
                        "paragraphs": [
                            {
                                "context": f"{title} is red.",
                                "qas": [{"id": title, "question": "Colour?", "answers": [{"text": "red", "answer_start": len(title) + 4}]}],
                            }
                        ],
                    }
                    for title in ("Apple", "Brick")
                ]
            }
        )
    )
    plan = record("--dataset", f"squad:{tmp_path / 'a.json'}")
    assert list(plan["parts"]) == ["all"]
    assert (plan["parts"]["all"]["questions"], plan["parts"]["all"]["groups"]) == (2, 2)
    assert any(line.startswith("No parts: ") for line in run("--dataset", f"squad:{tmp_path / 'a.json'}"))


def test_numbers_of_questions_and_groups() -> None:
    plan = record("--questions", 100, "--groups", 20)
    assert plan["smallest_difference"] == pytest.approx(stats_power.planned([5] * 20).detectable(), abs=1e-6)
    assert run("--questions", 100, "--groups", 20)[0] == "100 questions in 20 document groups show differences of about 0.122 or more."
    assert record("--questions", 100) == plan
    assert record("--questions", 100, "--per-group", 10)["groups"] == 10
    uneven = record("--questions", 22, "--groups", 4, "--sd", 0.2, "--icc", 0)
    assert uneven["smallest_difference"] == pytest.approx(stats_power.planned([6, 6, 5, 5], 0.2, 0).detectable(), abs=1e-6)
    assert (
        run("--questions", 3, "--groups", 3, "--sd", 1)[0]
        == "3 questions in 3 document groups show no difference between scores of 0 to 1."
    )
    assert run("--questions", 22, "--groups", 4)[1].startswith("Take 12 document groups or more")


def test_a_difference_says_how_many() -> None:
    plan = record("--difference", 0.05)
    assert plan["groups"] * 5 == plan["questions"]
    assert stats_power.planned([5] * plan["groups"]).detectable() <= 0.05 < stats_power.planned([5] * (plan["groups"] - 1)).detectable()
    assert run("--difference", 0.05)[0].startswith(
        "A difference of 0.05 needs about 550 questions from about 110 document groups with 5 each."
    )
    assert record("--difference", 0.05, "--per-group", 1)["questions"] < plan["questions"]
    assert run("--difference", 1e-7)[0] == "No number of questions that anybody labels shows a difference of 1e-07."
    assert record("--difference", 1e-7)["questions"] is None


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Give a sweep's output folder with two runs of two data sets, and a leftover of a third."""
    english, korean = make_results(), make_results("demo-ko", "ko")
    for name, results in (("a", english[:6] + korean[:3]), ("b", english[6:] + korean[3:]), (".run-c", english[:1])):
        save_run(tmp_path / "runs" / name, *results)
    return tmp_path


def test_results_are_pilots(sweep: Path) -> None:
    plans = record("--result", sweep)["datasets"]
    assert [plan["name"] for plan in plans] == ["demo-en", "demo-ko"]
    comparison = report.compare(make_results())
    pairs = report_power.pairs(comparison)
    assert plans[0]["sentences"] == report_power.power_sentences(comparison)
    assert [pair["configuration"] for pair in plans[0]["pairs"]] == [pair.row.label for pair in pairs]
    assert plans[0]["pairs"][0]["sd"] == pytest.approx(pairs[0].pilot.sd, abs=1e-6)
    lines = run("--result", sweep)
    assert lines[0] == "demo-en: evidence_recall@512t, 120 questions in 20 document groups"
    assert lines[3].endswith(f"{pairs[0].single:.3f}   {pairs[0].together:.3f}  {pairs[0].row.label}")
    assert plans[0]["sentences"][0] in lines
    assert len(record("--result", sweep / "runs" / "a")["datasets"][1]["pairs"]) == 2


def test_runs_of_older_data_and_changed_results_do_not_count(sweep: Path) -> None:
    storage.write_json(sweep / "record.json", {"runs": ["b"]})
    plans, alone = (record("--result", path)["datasets"] for path in (sweep, sweep / "runs" / "b"))
    assert plans == alone
    file = sweep / "runs" / "b" / "result.json"
    file.write_text(file.read_text("utf-8").replace("1.0", "0.9"), "utf-8")
    with pytest.raises(WorkbenchError, match="is not the result that"):
        run("--result", sweep)


def test_a_result_that_stands_in_two_runs_counts_once(sweep: Path) -> None:
    before = record("--result", sweep)
    save_run(sweep / "runs" / "copy", *make_results()[:2])
    assert record("--result", sweep) == before
    other = make_results()[0]
    other.scores[other.settings.primary][0] += 0.01
    save_run(sweep / "runs" / "other", other)
    with pytest.raises(WorkbenchError, match="more than once, with different scores"):
        run("--result", sweep)


def test_measured_variances_tell_what_a_difference_needs(sweep: Path) -> None:
    file = sweep / "runs" / "b" / "result.json"
    plan = record("--result", file, "--difference", 0.05, "--metric", "ndcg@10")["datasets"][0]
    usual = report_power.typical(report.compare(make_results()[6:], "ndcg@10"))
    assert plan["needed"]["questions"] == stats_power.questions_needed(usual.pilot, 0.05).questions
    assert any(
        line.startswith("To show a difference of 0.05 between two candidates alone") for line in run("--result", file, "--difference", 0.05)
    )


def test_the_baseline_of_results_can_be_named(sweep: Path) -> None:
    chosen = make_results()[4]
    plans = record("--result", sweep, "--baseline", chosen.config_id)["datasets"]
    assert plans[0]["baseline"] == report.compare(make_results(), baseline=chosen.config_id).baseline
    with pytest.raises(WorkbenchError, match="no result has the config id '0123'"):
        run("--result", sweep, "--baseline", "0123")


def test_seeds_are_merged_and_one_candidate_plans_nothing(tmp_path: Path) -> None:
    results = [make_result({"ndcg@10": [0.1, 0.2, 0.9]}, seed=seed) for seed in (1, 2)]
    save_results(tmp_path / "result.json", results)
    assert run("--result", tmp_path)[1].startswith("No difference between two candidates varies")
    assert record("--result", tmp_path)["datasets"][0]["pairs"] == []


def test_unknown_numbers_are_null(tmp_path: Path) -> None:
    results = [make_result({"ndcg@10": column}, chunk_size=64 + place) for place, column in enumerate(([0.1, 0.2, 0.9], [0.3, 0.2, 0.5]))]
    save_results(tmp_path / "result.json", results)
    assert record("--result", tmp_path)["datasets"][0]["pairs"][0]["icc"] is None
    assert not math.isnan(record("--result", tmp_path)["datasets"][0]["pairs"][0]["sd"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "say what to plan for: --dataset, --questions, --difference or --result"),
        ("--sd 0.2", "say what to plan for"),
        ("--dataset demo-en --questions 5", "--questions does not go with --dataset; that takes --sd, --icc, --comparisons"),
        ("--dataset demo-en --difference 0.1", "--difference does not go with --dataset"),
        ("--questions 50 --difference 0.1", "--difference does not go with --questions"),
        ("--difference 0.1 --groups 5", "--groups does not go with --difference"),
        ("--result x --sd 0.2", "--sd does not go with --result; that takes --difference, --metric, --baseline"),
        ("--questions 50 --metric ndcg@10", "--metric does not go with --questions"),
        ("--questions 50 --groups 5 --per-group 10", "--groups and --per-group say the same"),
        ("--questions 0", "--questions must be 1 or more, got 0"),
        ("--questions 5 --comparisons 0", "--comparisons must be 1 or more, got 0"),
        ("--questions 5 --groups 6", "5 questions in 6 document groups: take 2 groups or more, with a question each or more"),
        ("--questions 5 --groups 1", "5 questions in 1 document groups"),
        ("--difference 0", "--difference must be above 0 and at most 1, got 0.0"),
        ("--difference nan", "--difference must be above 0 and at most 1, got nan"),
        ("--difference 0.1 --sd 0", "standard deviation of the paired difference must be above 0, got 0.0"),
        ("--difference 0.1 --icc 2", "must lie within 0 and 1, got 2.0"),
        ("--dataset nonsense", "nonsense"),
        ("--result missing.json", "no such file or folder: missing.json"),
        ("--result .", "holds neither result.json nor runs"),
    ],
)
def test_contradictions_are_named(arguments: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WorkbenchError, match=message):
        run(*arguments.split())


def test_labels_of_results_cannot_steer_the_terminal(tmp_path: Path) -> None:
    prompts = ("plain", "file:bad\x1b[31m.txt")
    results = [
        make_result({"answer_f1": [0.1 * place, 0.2, 0.9]}, prompt=prompt, generator="hf:a/b")
        for place, prompt in enumerate(prompts, start=1)
    ]
    save_results(tmp_path / "result.json", results)
    assert "\x1b" not in "\n".join(run("--result", tmp_path))


def test_planning_needs_no_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "none"))
    assert record("--dataset", "demo-ko")["parts"]["all"]["questions"] > 100
