"""`workbench compare` and `workbench gate` on result files: what they print, their JSON, and their exit codes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from factories import make_data, make_result, make_results
from small_sweep import run_cli, write_spec

from workbench import cli, cli_compare, storage
from workbench.evaluation import Check, save_results
from workbench.report_pairs import load_any
from workbench.sweep import run_sweep

Run = Callable[..., tuple[int, str, str]]
METRIC = "evidence_recall@512t"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Give a function that runs the two commands alone, in a folder with two sweeps and a result: exit code, stdout, stderr."""
    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command("compare")(cli_compare.compare)
    app.command("gate")(cli_compare.gate)
    monkeypatch.setattr(cli, "app", app)
    monkeypatch.chdir(tmp_path)
    results = make_results("demo-ko", "ko")
    for name, members in (("A", results[:3]), ("B", results[2:5])):
        for number, result in enumerate(members):
            file = save_results(tmp_path / name / "runs" / str(number) / "result.json", [result])
            storage.write_json(file.with_name("record.json"), {"result": storage.sha256_file(file)})
    save_results(tmp_path / "one.json", results[:1])
    return lambda *arguments: (run_cli(*arguments), *capsys.readouterr())


def test_two_sweeps_make_one_leaderboard_and_the_best_are_paired(call: Run) -> None:
    results = make_results("demo-ko", "ko")
    code, out, err = call("compare", "A", "B", "--show", "2")
    assert (code, err) == (0, "")
    assert f"demo-ko: {METRIC}, best first" in out
    best = max(results[2:5], key=lambda result: result.interval(METRIC).mean)
    scores = [result.scores[METRIC] for result in (results[0], best)]
    assert f"left  {results[0].config_id}" in out
    assert f"right {best.config_id}" in out
    difference = scores[0] - scores[1]
    wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
    assert f"left wins {wins}, loses {losses}, ties {120 - wins - losses}; left - right {difference.mean():+.3f} [" in out
    assert "these questions picked the pair" in out
    top = int(np.argmax(difference))
    assert (
        f"left scores higher, 2 of {wins} questions:\n    {scores[0][top]:.3f} {scores[1][top]:.3f} {difference[top]:+.3f}  q{top}" in out
    )
    assert f"right scores higher, 2 of {losses} questions:" in out
    table = out.partition("Question by question")[0]
    assert len([line for line in table.splitlines() if "[0." in line]) >= 5  # the configuration of both sweeps stands there once


def test_the_json_holds_every_question_and_named_sides(call: Run) -> None:
    results = make_results("demo-ko", "ko")
    ids = [result.config_id for result in results]
    code, out, _ = call(
        "compare", "A", "B", "--left", ids[2][:8], "--right", ids[3], "--baseline", ids[4], "--metric", "recall@5", "--json"
    )
    assert code == 0
    (group,) = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))["data_sets"]
    assert group["metric"] == "recall@5"
    assert sorted(row["config_id"] for row in group["leaderboard"]) == sorted(ids[:5])
    assert [row["config_id"] for row in group["leaderboard"] if row["difference"] is None] == [ids[4]]
    pair = group["pair"]
    assert (pair["left"]["config_id"], pair["left"]["sources"], pair["right"]["sources"]) == (ids[2], ["A", "B"], ["B"])
    assert len(pair["questions"]) == 120 == pair["wins"] + pair["losses"] + pair["ties"]
    changes = [abs(question["difference"]) for question in pair["questions"]]
    assert changes == sorted(changes, reverse=True)
    assert pair["picked"] is False
    assert pair["difference"]["mean"] == pytest.approx(np.mean(results[2].scores["recall@5"] - results[3].scores["recall@5"]), abs=1e-6)


def test_one_sweep_is_compared_with_itself_and_questions_are_shown(call: Run, tmp_path: Path) -> None:
    code, out, _ = call("compare", "A")
    assert (code, out.count("\n  left  "), out.count("\n  right ")) == (0, 1, 1 + out.count("right scores higher"))
    text = "휴가는 \x1b[31m며칠인가요? " + "아" * 200
    cases = [{"id": f"q{number}", "question": text} for number in range(3)]
    sides = [make_result({"ndcg@10": scores}, failures=cases, chunk_size=size) for scores, size in (((1, 0, 0.5), 64), ((0, 1, 0.5), 128))]
    for name, result in zip("XY", sides, strict=True):
        save_results(tmp_path / f"{name}.json", [result])
    out = call("compare", "X.json", "Y.json")[1]
    shown = text.replace("\x1b", "\N{REPLACEMENT CHARACTER}")[:100] + "…"
    assert f"1.000 0.000 +1.000  q0  {shown}\n" in out
    assert f"0.000 1.000 -1.000  q1  {shown}\n" in out
    assert "\x1b" not in out
    same = call("compare", "X.json", "X.json")
    assert same == (2, "", "error: X.json is named twice; name each path once\n")
    save_results(tmp_path / "Z.json", sides[:1])
    assert "Both sides are" in call("compare", "X.json", "Z.json")[1]


def test_wrong_use_is_one_line(call: Run, tmp_path: Path) -> None:
    save_results(tmp_path / "en.json", make_results()[:1])
    save_results(
        tmp_path / "new.json", [replace(make_results("demo-ko", "ko")[0], data=make_data("demo-ko", "ko", 120) | {"fingerprint": "e" * 64})]
    )
    for arguments, message in (
        (("A", "gone"), "error: no such file or folder: gone; name the output folder of a sweep"),
        (("A", "en.json"), "error: no data set stands in all of them"),
        (("A", "new.json"), "error: A and new.json have different data: A has demo-ko (data "),
        (("A", "B", "--left", "zz"), "error: no data set has a configuration 'zz'; there are: "),
        (("A", "B", "--metric", "recall@6"), "error: unknown metric 'recall@6'"),
    ):
        code, out, err = call("compare", *arguments)
        assert (code, out, err.startswith(message), err.count("\n")) == (2, "", True, 1)


def test_an_audit_error_exits_with_3(call: Run, tmp_path: Path) -> None:
    bad = replace(make_results("demo-ko", "ko")[0], audit=(Check("oracle", "error", "a perfect ranking reaches 90 %"),))
    save_results(tmp_path / "bad.json", [bad])
    for arguments in (("compare", "bad.json", "B"), ("gate", "--baseline", "bad.json", "--candidate", "one.json", "--max-drop", "0.02")):
        code, out, err = call(*arguments)
        assert code == 3
        assert f"AUDIT ERROR {bad.config_id} oracle: a perfect ranking reaches 90 % (in bad.json)" in err
        assert out


def test_the_gate_passes_fails_and_says_when_it_cannot_tell(call: Run, tmp_path: Path) -> None:
    old = make_results("demo-ko", "ko")[0]
    draw = np.random.default_rng(1).normal(0, 0.1, 120)
    for name, change in (("same", 0.0), ("lower", -0.1), ("noise", draw - draw.mean() - 0.02)):
        save_results(tmp_path / f"{name}.json", [replace(old, scores={**old.scores, METRIC: np.clip(old.scores[METRIC] + change, 0, 1)})])
    gate = ("gate", "--baseline", "one.json", "--max-drop", "0.02", "--candidate")
    code, out, err = call(*gate, "same.json")
    assert (code, err) == (0, "")
    assert out.splitlines()[-2:] == [
        "settings   the same",
        f"pass: {METRIC}, 120 questions in 20 document groups: candidate - baseline +0.000 [+0.000, +0.000]. "
        "A drop of more than 0.02 is ruled out (95 % interval).",
    ]
    code, out, _ = call(*gate, "lower.json")
    assert (code, out.splitlines()[-1].startswith("fail: ")) == (1, True)
    code, out, err = call(*gate, "noise.json")
    assert (code, out.splitlines()[-1].startswith("undecided: ")) == (0, True)
    assert err == "WARNING not decided, which is let through; --strict fails it\n"
    assert call(*gate, "noise.json", "--strict")[0::2] == (1, "")
    record = json.loads(call(*gate, "lower.json", "--json")[1])
    assert (record["outcome"], record["metric"], record["max_drop"]) == ("fail", METRIC, 0.02)
    assert record["candidate"]["sources"] == ["lower.json"]
    assert record["difference"]["high"] < -0.02 < record["baseline"]["score"]["mean"]
    assert record["questions_needed"] is None


def test_the_gate_names_what_a_folder_holds(call: Run) -> None:
    ids = [result.config_id for result in make_results("demo-ko", "ko")]
    gate = ("gate", "--max-drop", "0.5", "--baseline", "A", "--candidate")
    code, out, _ = call(*gate, "B")  # both hold the third configuration
    assert (code, out.count(ids[2])) == (0, 2)
    assert call(*gate, "one.json")[1].count(ids[0]) == 2
    code, _, err = call(*gate, "A")
    assert (code, err.startswith("error: which configuration of A? Name one with --config: ")) == (2, True)
    assert all(name in err for name in ids[:3])
    assert call(*gate, "A", "--config", ids[1][:6])[1].count(ids[1]) == 2
    code, out, _ = call(*gate, "one.json", "--config", ids[1])
    assert (code, "chunk_size 256 -> 128" in out) == (0, True)


def test_several_seeds_are_one_candidate(call: Run, tmp_path: Path) -> None:
    for name, level in (("old", 0.7), ("new", 0.4)):
        checks = (Check("bounded", "error", "no"),) * (name == "new")
        seeds = [make_result({"ndcg@10": np.full(20, level + 0.1 * seed)}, seed=seed, audit=checks) for seed in (0, 1)]
        save_results(tmp_path / f"{name}.json", seeds)
    code, out, err = call("gate", "--baseline", "old.json", "--candidate", "new.json", "--max-drop", "0.02", "--json")
    found = json.loads(out)
    assert (code, found["outcome"], found["baseline"]["seeds"]) == (3, "fail", [0, 1])
    assert (found["difference"]["mean"], found["candidate"]["score"]["mean"]) == (pytest.approx(-0.3), pytest.approx(0.45))
    assert err.count("AUDIT ERROR") == 1
    (group,) = json.loads(call("compare", "old.json", "new.json", "--json")[1])["data_sets"]
    assert (len(group["leaderboard"]), group["pair"]["right"]["seeds"]) == (2, [0, 1])


def test_a_real_sweep_is_compared_with_another_run(call: Run, project: Path) -> None:
    spec = {"notebook": "tiny", "fixed": {"chunk_sizes": [8, 16]}, "grid": {"chunker": ["fixed"]}}
    run_sweep(write_spec(project, spec, "first.sweep.yaml"))
    results = load_any(project / "outputs/first")
    assert [result.settings.chunk_size for result in results] == [8, 16]
    save_results(project / "again.json", results[1:])
    code, out, _ = call("compare", "outputs/first", "again.json", "--json")
    (group,) = json.loads(out)["data_sets"]
    assert (code, len(group["leaderboard"])) == (0, 2)  # of the three results, one stands in both
    code, out, _ = call("gate", "--baseline", "outputs/first", "--candidate", "again.json", "--max-drop", "0")
    assert (code, "pass: " in out) == (0, True)
    (file,) = (project / "outputs/first/runs").glob("*/result.json")
    file.write_text(file.read_text("utf-8").replace('"seed": 0', '"seed": 1'), "utf-8")
    assert "is not the result that" in call("compare", "outputs/first", "again.json")[2]
