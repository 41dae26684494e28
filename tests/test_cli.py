"""`workbench evaluate`: its text and JSON, its exit codes, and one clear line for each wrong input or use."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_sweep import tree

from workbench import cli, cli_options, experiment, report, storage
from workbench.settings import Settings

BASE = ("evaluate", "--dataset", "folder:docs", "--tokenizer", "simple", "--embedder", "hash", "--chunk-size", "8")
Run = Callable[..., tuple[int, str, str]]


def evaluate(run: Run, *arguments: str) -> dict[str, Any]:
    """Run `evaluate --json` and parse what it prints strictly."""
    code, out, err = run(*BASE, *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


# --- evaluate -----------------------------------------------------------------------------------------------------------------------


def test_evaluate_prints_settings_data_metrics_audit_and_cache(run: Run) -> None:
    code, out, err = run(*BASE)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].startswith("dataset=folder:docs  chunker=recursive  chunk_size=8  chunk_overlap=0  embedder=hash  retriever=dense")
    assert lines[1].startswith("3 documents, 4 questions (4 with evidence, 0 unanswerable), ")
    assert [line.split()[0] for line in lines if line.endswith("<- primary")] == ["evidence_recall@512t"]
    assert any(line.startswith("  recall@10 ") and line.endswith("n 4") for line in lines)
    assert any(line.startswith("  audit warning: few_clusters: 3 document group") for line in lines)
    assert re.fullmatch(r"  cache: hits \d+, misses [1-9]\d*, damaged 0, calls 2, completion_hits 0, completions 0", lines[-1])
    assert run(*BASE)[1].splitlines()[-1].endswith("misses 0, damaged 0, calls 0, completion_hits 0, completions 0")  # D7


def test_evaluate_as_json_has_the_documented_keys(run: Run) -> None:
    record = evaluate(run, "--top-k", "50", "--latency")
    assert {"metrics", "settings", "audit", "timings", "cache", "data"} <= record.keys()
    assert all(row.keys() == {"mean", "low", "high", "n", "unscored"} for row in record["metrics"].values())
    recall = record["metrics"]["recall@50"]
    assert (recall["mean"], recall["n"], recall["unscored"]) == (1.0, 4, 0)
    assert 0 <= recall["low"] <= recall["mean"] <= recall["high"] <= 1
    assert record["settings"].keys() == Settings.model_fields.keys()
    assert record["settings"]["top_k"] == 50
    assert record["details"]["top_k_clipped"] == record["details"]["chunks"] < 50  # clipped and recorded
    assert {check["level"] for check in record["audit"]} <= {"ok", "warning"}
    assert {"index", "retrieve", "score", "median_ms", "p95_ms"} <= record["timings"].keys()
    assert record["cache"]["misses"] > 0
    assert (record["data"]["documents"], record["data"]["questions"], record["data"]["losses"]) == (3, 4, 0)
    assert "scores" not in record


def test_a_single_question_runs_and_says_what_is_unknown(run: Run) -> None:
    record = evaluate(run, "--limit", "1")
    assert record["data"] | {"documents": 3, "questions": 1} == record["data"]  # D26: documents stay
    assert record["metrics"]["recall@1"]["low"] is None
    code, out, _ = run(*BASE, "--limit", "1")
    assert code == 0
    assert "[unknown]  n 1" in out


def test_a_limit_draws_by_seed(run: Run) -> None:
    drawn = {seed: [evaluate(run, "--limit", "2", "--seed", seed)["data"]["fingerprint"] for _ in range(2)] for seed in "0123456"}
    assert all(first == second for first, second in drawn.values())
    assert len({first for first, _ in drawn.values()}) > 1


def test_settings_come_back_from_a_file(run: Run, project: Path) -> None:
    first = evaluate(run, "--chunker", "sentence", "--budget", "64", "--budget", "128", "--index", "hnsw", "--set", "index.ef=99")
    assert first["settings"]["options"] == {"index": {"ef": 99}}
    for name, text in (("a.yaml", yaml.safe_dump(first["settings"])), ("a.json", json.dumps(first["settings"]))):
        storage.write_text(project / name, text)
        code, out, _ = run("evaluate", "--settings", name, "--json")
        assert code == 0
        again = json.loads(out)
        for key in ("config_id", "settings", "metrics"):
            assert again[key] == first[key]
    changed = json.loads(run("evaluate", "--settings", "a.yaml", "--chunk-size", "16", "--set", "index.m=8", "--json")[1])
    assert changed["settings"] | {"chunk_size": 16, "options": {"index": {"ef": 99, "m": 8}}} == changed["settings"]
    assert changed["settings"]["chunker"] == "sentence"


def test_a_filter_restricts_hits(run: Run) -> None:
    assert evaluate(run, "--filter", "group:kettle", "--top-k", "50")["metrics"]["recall@50"]["mean"] == 0.25
    assert run(*BASE, "--filter", "colour")[2] == "error: unknown filter: no document has the metadata 'colour' (available: group)\n"


def test_without_a_cache_nothing_is_stored(run: Run, project: Path) -> None:
    code, out, _ = run(*BASE, "--no-cache")
    assert code == 0
    assert out.splitlines()[-1] == "  cache: not used"
    assert not (project / "outputs").exists()


def test_losses_and_audit_errors_have_exit_codes(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = project / "docs/questions.csv"
    storage.write_text(table, table.read_text("utf-8") + "q5,What colour is it?,blue,kettle.md,It is blue.\n")
    code, out, _ = run(*BASE)
    assert code == 1
    assert "audit warning: unresolved: 1 loss" in out
    monkeypatch.setattr(report, "audit_errors", lambda results: [f"{results[0].config_id} bounded: a score of 1.2"])
    code, out, err = run(*BASE)
    assert code == 3
    assert err.startswith("AUDIT ERROR ")
    assert run(*BASE, "--json")[0] == 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("64", 64),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ("word", "word"),
        ("a=b", "a=b"),
        ("", ""),
        ('"64"', "64"),
        ("[1, 2]", [1, 2]),
    ],
)
def test_option_values_are_json_where_they_can_be(text: str, value: Any) -> None:
    given = {"index": {"m": 8}}
    assert cli_options._merge(given, [f"index.ef={text}", "chunker.x=1"]) == {"index": {"m": 8, "ef": value}, "chunker": {"x": 1}}
    assert given == {"index": {"m": 8}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--chunker", "recursiv"], "unknown chunker 'recursiv'; did you mean 'recursive'? (available: "),
        (["--embedder", "hsh"], "unknown embedder 'hsh'; did you mean 'hash'?"),
        (["--embedder", "hash:64"], "embedder 'hash' takes no argument"),
        (["--embedder", "st"], "embedder 'st' needs an argument: st:NAME"),
        (["--retriever", "bm52"], "unknown retriever 'bm52'; did you mean 'bm25'?"),
        (["--retriever", "bm25:hangul"], "unknown tokeniser 'hangul'; did you mean 'hangul-bigram'?"),
        (["--index", "exakt"], "unknown index 'exakt'; did you mean 'exact'?"),
        (["--primary", "ngcd@10"], "unknown metric 'ngcd@10'; did you mean 'ndcg@10'?"),
        (["--primary", "recall@99"], "unknown metric 'recall@99'"),
        (["--split", "tain"], "split 'tain' must be one of all, train, selection, confirmation"),
        (["--chunk-size", "0"], "chunk_size = 0: Input should be greater than or equal to 1"),
        (["--chunk-size", "-5"], "chunk_size = -5"),
        (["--chunk-overlap", "8"], "chunk_overlap 8 must be smaller than chunk_size 8"),
        (["--top-k", "0"], "top_k = 0: Input should be greater than or equal to 1"),
        (["--limit", "-1"], "limit = -1"),
        (["--budget", "0"], "budgets.0 = 0"),
        (["--budget", "512", "--budget", "256"], "budgets [512, 256] must hold at least one size and rise without repetition"),
        (["--set", "ef=64"], "--set 'ef=64' must read part.name=value, for example index.ef=64"),
        (["--set", "index.ef"], "--set 'index.ef' must read part.name=value"),
        (["--set", "indx.ef=64"], "unknown options for 'indx'; did you mean 'index'?"),
        (["--index", "hnsw", "--set", "index.eff=64"], "unknown option of index 'hnsw': 'eff'; did you mean 'ef'?"),
        (["--set", "embedder.api_key=sk-000"], "parameter 'options.embedder.api_key' looks like a secret"),
        (["--dataset", "demo-e"], "unknown data set 'demo-e'; did you mean 'demo-en'?"),
        (["--dataset", "squad:none.json"], "no such file or folder: none.json (looked in "),
        (["--dataset", "docs/kettle.md"], "docs/kettle.md is a file; say what it is: table:docs/kettle.md"),
        (["--settings", "none.yaml"], "no such file: none.yaml"),
        (["--settings", "list.yaml"], "list.yaml must hold settings as 'name: value' lines"),
        (["--settings", "twice.yaml"], "duplicate key 'seed'"),
        (["--settings", "alias.yaml"], "aliases (*name) are refused"),
        (["--settings", "typo.yaml"], "unknown setting 'chunksize'; did you mean 'chunk_size'?"),
        (["--settings", "null.yaml", "--set", "index.ef=64"], "options = None: Input should be a valid dictionary"),
        (["--tokenizer", "intfloat/multilingual-e5-small"], "(91 MB): workbench models pull intfloat/multilingual-e5-small\n"),
        (["--embedder", "st:sentence-transformers/all-MiniLM-L6-v2"], ": workbench models pull sentence-transformers/all-MiniLM-L6-v2\n"),
        (["--embedder", "auto"], ": workbench models pull sentence-transformers/all-MiniLM-L6-v2\n"),
        (["--embedder", "st:BAAI/bge-m3"], ": workbench models pull BAAI/bge-m3 --allow-download\n"),
        (["--embedder", "openai:text-embedding-3-small"], "OPENAI_API_KEY is not set"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    run: Run, project: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for name, text in (
        ("list", "- seed"),
        ("twice", "seed: 1\nseed: 2\n"),
        ("alias", "seed: &a 1\ntop_k: *a\n"),
        ("typo", "chunksize: 8\n"),
        ("null", "options:\n"),
    ):
        storage.write_text(project / f"{name}.yaml", text)
    before = tree(project)
    code, out, err = run(*BASE, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1 or "YAML" in err  # a parser shows where
    assert "Traceback" not in err
    assert tree(project) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "--chunk-size", "many"], "Invalid value for '--chunk-size'"),
        (["evaluate", "--chunksize", "8"], "No such option: --chunksize (Possible options: "),
        (["evaluate", "demo-en"], "unexpected extra argument"),
        (["evalaute"], "No such command 'evalaute'. Did you mean 'evaluate'?"),
        (["sweep", "run"], "Missing argument"),
        (["data", "chekc"], "No such command 'chekc'. Did you mean 'check'?"),
        (["models", "show"], "Missing argument"),
        (["cache", "prune", "--days", "-1"], "Invalid value for '--days'"),
        (["cache", "prune", "--days", "nan"], "Invalid value for '--days'"),
    ],
)
def test_wrong_use_ends_with_2(run: Run, arguments: list[str], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("Error: ")


def test_an_interrupt_ends_with_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "run", interrupt)
    assert run(*BASE)[0] == 130


def test_an_error_of_the_system_is_one_line(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.write_text(project / "outputs", "a file")
    code, _, err = run(*BASE)
    assert code == 2
    assert err.count("\n") == 1
    assert f"{project}/outputs" in err

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "/disk/file")

    monkeypatch.setattr(experiment, "run", full)
    assert run(*BASE)[1:] == ("", "error: No space left on device: /disk/file\n")


def test_errors_of_the_program_itself_are_not_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(experiment, "run", bug)
    with pytest.raises(ZeroDivisionError):
        cli.main(BASE)
