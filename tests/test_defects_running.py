"""Defects of other tools in whole runs: a backend that is not there (D3), a kill in the middle (D10), a second sweep (D19)."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeServer
from made_parts import SMALL
from small_sweep import SPEC, run_cli, tree, write_spec

from workbench import cache_generation, sweep, sweep_done
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.experiment import run_all
from workbench.settings import Settings

QUESTIONS = 100
STUCK_AT = 60  # the question that gets no answer
RUN = """import json, sys, time
from pathlib import Path
from workbench import generation
from workbench.experiment import run
from workbench.settings import parse_settings

log, stuck_at, point = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])

class Noting(generation.ExtractiveGenerator):
    fingerprint = {"name": "noting", "version": 1}

    def generate(self, conversations):
        completions = []
        for conversation in conversations:
            with log.open("a") as lines:
                lines.write(conversation.question + chr(10))
            if len(log.read_text().splitlines()) == stuck_at:
                time.sleep(600)
            completions += super().generate([conversation])
        return completions

generation.GENERATORS["noting"] = Noting
print(json.dumps(run(parse_settings(point)).to_json()))
"""


# --- D3 -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize(
    "parts",
    [
        ("--embedder", "openai:fake", "--retriever", "dense"),
        ("--embedder", "openai:fake", "--retriever", "hybrid"),
        ("--generator", "openai:fake", "--retriever", "bm25"),
    ],
)
def test_d3_a_server_that_is_not_there_fails_the_run_and_nothing_stands_in(
    run: Callable[..., tuple[int, str, str]], project: Path, monkeypatch: pytest.MonkeyPatch, parts: tuple[str, ...]
) -> None:
    with FakeServer() as gone:
        monkeypatch.setenv("OPENAI_BASE_URL", gone.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    common = ("--dataset", "folder:docs", "--tokenizer", "simple", "--chunk-size", "8")
    code, out, err = run("evaluate", *common, *parts)
    assert (code, out) == (2, "")
    assert f"the server at {gone.url} cannot be reached; is OPENAI_BASE_URL right?" in err
    point = Settings(dataset="folder:docs", tokenizer="simple", chunk_size=8, embedder="hash")
    part = "generator" if "--generator" in parts else "embedder"
    with pytest.raises(WorkbenchError, match="cannot be reached"):  # not even those of the candidates that need no server
        run_all([point, point.replace(retriever=parts[-1], **{part: "openai:fake"})])
    assert not [path for path in project.rglob("*") if path.suffix in (".csv", ".html") and "docs" not in path.parts]


# --- D10 ----------------------------------------------------------------------------------------------------------------------------


def write_facts(folder: Path) -> str:
    """Write 25 documents of four sentences and a question about each sentence; return the spec."""
    folder.mkdir()
    questions = []
    for number in range(QUESTIONS // 4):
        facts = [f"Room {number}-{floor} is painted in colour {7 * number + floor}." for floor in range(4)]
        (folder / f"d{number:02}.md").write_text(f"# House {number}\n\n{' '.join(facts)}\n", encoding="utf-8")
        questions += [
            {
                "id": f"q{number:02}{floor}",
                "question": f"Which colour has room {number}-{floor}?",
                "answers": [str(7 * number + floor)],
                "evidence": [[{"document": f"d{number:02}", "quote": fact}]],
            }
            for floor, fact in enumerate(facts)
        ]
    (folder / "questions.jsonl").write_text("".join(json.dumps(question) + "\n" for question in questions), encoding="utf-8")
    return f"folder:{folder}"


def start(point: Settings, folder: Path, stuck_at: int = 0) -> "subprocess.Popen[str]":
    """Start a run of one configuration in a process of its own, which notes each question in `folder` and gets stuck at one."""
    command = [sys.executable, "-c", RUN, str(folder / "asked"), str(stuck_at), json.dumps(point.model_dump(mode="json"))]
    variables = {**os.environ, "WORKBENCH_CACHE": str(folder / "cache.sqlite")}
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")


def finish(process: "subprocess.Popen[str]") -> RunResult:
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    return RunResult.from_json(json.loads(out))


def asked(folder: Path) -> list[str]:
    """Return the questions that were asked, in their order."""
    return (folder / "asked").read_text("utf-8").splitlines() if (folder / "asked").exists() else []


def without_clock(result: RunResult) -> dict[str, Any]:
    """Return all of a result that depends neither on the clock nor on what the cache held."""
    record = result.to_json()
    for answer in (*record["answers"], record["details"]["answers"]):
        answer.pop("seconds")
    return {name: value for name, value in record.items() if name not in ("timings", "cache")}


def test_d10_a_run_killed_at_60_percent_goes_on_where_it_stopped(tmp_path: Path) -> None:
    point = Settings(dataset=write_facts(tmp_path / "facts"), embedder="hash", generator="noting", answers=0, **SMALL)
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    for folder in (killed, undisturbed):
        folder.mkdir()
    process = start(point, killed, STUCK_AT)
    end = time.monotonic() + 180
    while len(asked(killed)) < STUCK_AT:
        assert process.poll() is None and time.monotonic() < end, process.communicate()  # noqa: PT018
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=10)
    finished = asked(killed)[: STUCK_AT - 1]

    resumed = finish(start(point, killed))
    again = asked(killed)[STUCK_AT:]
    stored = set(finished) - set(again)
    assert len(stored) > len(finished) - cache_generation.GENERATED_AT_ONCE  # of the last block only
    assert len(again) == len(set(again)) == QUESTIONS - len(stored)
    assert (resumed.cache["completion_hits"], resumed.cache["completions"]) == (len(stored), len(again))
    assert (resumed.cache["misses"], resumed.cache["calls"]) == (0, 0)  # no vector is computed twice

    whole = finish(start(point, undisturbed))
    assert sorted(asked(undisturbed)) == sorted(stored | set(again))
    assert whole.cache["misses"] > QUESTIONS
    assert without_clock(resumed) == without_clock(whole)
    assert (whole.interval("answer_f1").n, whole.unscored("answer_f1")) == (QUESTIONS, 0)


# --- D19 ----------------------------------------------------------------------------------------------------------------------------


def test_d19_a_second_run_of_a_sweep_removes_no_result(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = project / "outputs/tiny/runs"
    fixed = {"chunk_sizes": [8]}
    first = {**SPEC, "fixed": fixed, "grid": {"chunker": ["fixed"]}}
    path = write_spec(project, first)
    assert run_cli("sweep", str(path)) == 0
    before = tree(runs)
    assert {Path(name).name for name in before} == {"notebook.ipynb", "record.json", "result.json"}
    write_spec(project, {**first, "grid": {"chunker": ["recursive"]}, "baseline": {}})
    assert run_cli("sweep", str(path)) == 0
    after = tree(runs)
    assert {name: after.get(name) for name in before} == before  # to the byte and the nanosecond
    assert len(after) == 2 * len(before)
    write_spec(project, {**first, "grid": {"chunker": ["recursive", "fixed"]}})
    capsys.readouterr()
    assert run_cli("sweep", str(path)) == 0
    assert "0 runs executed, 2 done before, 0 failed" in capsys.readouterr().out
    assert tree(runs) == after
    assert [sweep_done.finished(point) is not None for point in sweep.plan(path)[1]] == [True, True]
