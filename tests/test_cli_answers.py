"""`workbench evaluate --generator …` and `workbench ask`: what they print, JSON, streams, exit codes, servers that fail."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import FakeServer, completion, piece, reply, streamed

from workbench import storage

BASE = ("--dataset", "folder:docs", "--tokenizer", "simple", "--retriever", "bm25", "--chunk-size", "8")
EVALUATE = ("evaluate", *BASE)
ASK = ("ask", "How often is the kettle descaled?", *BASE)
Run = Callable[..., tuple[int, str, str]]


def test_evaluate_prints_answer_metrics_and_what_answering_took(run: Run) -> None:
    code, out, err = run(*EVALUATE, "--generator", "extractive", "--budget", "512", "--answers", "3")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines() if line.startswith("  answer_")] == ["answer_em", "answer_f1"]
    assert "  answers by extractive, prompt plain:en, 512 tokens of context" in out
    assert "    3 answered, 0 refused, 0 capped, 0 shrunk, 0.00 s a question when first asked" in out
    assert out.splitlines()[-1].endswith("completion_hits 0, completions 3")
    assert run(*EVALUATE, "--generator", "extractive", "--answers", "3")[1].splitlines()[-1].endswith("completion_hits 3, completions 0")


def test_evaluate_as_json_sums_up_the_answers(run: Run) -> None:
    code, out, _ = run(*EVALUATE, "--generator", "extractive", "--prompt", "cite", "--answer-budget", "64", "--json")
    record = json.loads(out)
    assert code == 0
    assert record["details"]["answers"]["answered"] == 4
    assert record["metrics"]["answer_f1"]["n"] == 4
    assert record["metrics"]["citation"]["mean"] == 0  # asked for, and the control cites nothing
    assert (record["settings"]["prompt"], record["settings"]["answer_budget"]) == ("cite:en", 64)
    assert not {"answers", "asked", "scores"} & record.keys()


def test_ask_prints_the_steps_the_sources_and_the_answer(run: Run) -> None:
    code, out, err = run(*ASK, "--generator", "extractive")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    steps = ["preprocess", "vectorise", "retrieve", "augment", "generate", "postprocess"]
    assert [line.split()[:2] for line in lines[:6]] == [[str(number), step] for number, step in enumerate(steps, start=1)]
    assert "sources" in lines
    assert lines[lines.index("sources") + 1].startswith("  [1] ")
    assert lines[-2] == "answer"
    assert "vinegar" in lines[-1]


def test_ask_as_json_holds_all_of_it(run: Run) -> None:
    record = json.loads(run(*ASK, "--generator", "extractive", "--json")[1])
    assert "vinegar" in record["answer"]
    assert record["refused"] is False
    assert record["completion"]["finish_reason"] == "stop"
    assert record["sources"][0]["span"]["document_id"] == "kettle"


def test_ask_without_a_generator_takes_the_default_model_and_says_how_to_get_it(run: Run) -> None:
    code, out, err = run(*ASK)
    assert (code, out) == (2, "")
    assert err == "error: model HuggingFaceTB/SmolLM2-135M-Instruct is not here; fetch it once (93 MB): " + (
        "workbench models pull HuggingFaceTB/SmolLM2-135M-Instruct\n"
    )


def test_ask_streams_from_a_server(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key-0123456789")
    with FakeServer(streamed(piece("Every second "), piece("month."), piece(None, "stop"))) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        code, out, err = run(*ASK, "--generator", "openai:small", "--stream")
    assert (code, err) == (0, "")
    assert "\nEvery second month.\n5 generate" in out
    assert out.endswith("answer\nEvery second month.\n")
    assert "canary" not in out


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (reply("nope", 401), "refused the key in OPENAI_API_KEY (401)"),
        (reply("<html>", 200, "text/html"), "sent a page or plain text, no chat completion"),
        (reply({"choices": []}), "sent no choices"),
        (reply(completion("cut", "length")), "cut the text"),
    ],
)
def test_a_server_that_fails_is_one_line_and_nothing_is_stored(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable, message: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key-0123456789")
    with FakeServer(answer) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        for command in (ASK, EVALUATE):
            code, out, err = run(*command, "--generator", "openai:small")
            assert code == 2
            assert err.startswith("error: ")
            assert message in err
            assert err.count("\n") == 1
            assert "canary" not in out + err
    assert "completion" not in run("cache", "stats")[1]


def test_business_rules_and_an_own_prompt_from_files(run: Run, project: Path) -> None:
    storage.write_text(project / "rules.yaml", "- {name: shout, pattern: vinegar, action: replace, text: VINEGAR}\n")
    head = "---\nname: mine\nlanguage: en\npurpose: Test.\ncitations: false\n---\n"
    storage.write_text(
        project / "mine.md", f"{head}[user]\n{{% for passage in passages %}}{{{{ passage.text }}}}{{% endfor %}} {{{{ question }}}}\n"
    )
    code, out, err = run(*ASK, "--generator", "extractive", "--rules", "rules.yaml", "--prompt", "file:mine.md")
    assert (code, err) == (0, "")
    assert "VINEGAR" in out.splitlines()[-1]
    assert "rule 'shout'" in out
    storage.write_text(project / "mine.md", f"{head}[user]\n{{{{ passage }}}}\n")
    code, _, err = run(*ASK, "--generator", "extractive", "--prompt", "file:mine.md")
    assert code == 2
    assert "passage" in err
