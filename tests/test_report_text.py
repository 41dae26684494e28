"""report.md: the decision first, every part of the report, Korean unbroken, and nothing that a document wrote is interpreted."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from factories import QUESTIONS, make_answer, make_answered_results, make_result, make_results
from test_report_json import in_parts

from workbench.datatypes import WorkbenchError
from workbench.evaluation import Check, RunResult
from workbench.report_parts import gather
from workbench.report_text import render_markdown
from workbench.settings import parse_settings
from workbench.storage import parse_yaml

BAD = "<img src=x onerror=alert(1)> [click](javascript:alert(1)) | `code` $x$ **bold** 한글 \ud800\x1b\u202e\n# title"


@pytest.fixture
def written() -> Callable[..., str]:
    """Give a function that writes the report and reads its text."""

    def write(results: list[RunResult], *arguments: Any, **options: Any) -> str:
        return render_markdown(gather(results, *(arguments or ("Title",)), **options))

    return write


def headings(text: str) -> list[str]:
    return re.findall("^#+ .*$", re.sub("(?s)^(```+).*?^\\1$", "", text, flags=re.MULTILINE), re.MULTILINE)


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading; each row must have as many as its header."""
    lines = [line for line in text.partition(f"\n{heading}\n")[2].partition("\n#")[0].splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    assert len({len(row) for row in cells}) == 1
    return [[cell.strip() for cell in row] for row in cells]


def test_every_part_stands_there_the_decision_first(written: Callable[..., str]) -> None:
    results = in_parts(make_results("demo-ko", "ko"))
    causes = tuple("cut" if score < 1 else "fine" for score in results[0].scores["evidence_recall@512t"])
    results = [replace(result, causes=causes, cases=()) for result in results]
    text = written(results, "조각 크기", command="workbench sweep params/x.sweep.yaml")
    assert headings(text) == [
        "# 조각 크기",
        "## demo-ko",
        "### Decision",
        "### Data",
        "### Leaderboard",
        "### Main effects",
        "### Where questions are lost",
        "### What the best candidate failed to find",
        "### Audit",
        "## How to reproduce",
    ]
    (part,) = gather(results, "x").parts
    memo = text.partition("### Data")[0]
    assert f"(`{part.decision.recommended.config_id}`)" in memo
    for heading in ("What to use", "How sure", "What it costs", "What was not tested"):
        assert f"\n**{heading}**\n\n- " in memo
    assert "Not confirmed" not in memo
    assert "others, in 10 document groups that chose nothing" in memo
    assert len(rows(text, "### Leaderboard")) == 12 + 2
    assert {row[0] for row in rows(text, "### Main effects")[2:]} == {"chunker", r"chunk\_size", "retriever"}
    assert rows(text, "### Audit")[2][:3] == ["truncated", "warning", "9 of 12"]
    for question in QUESTIONS["ko"]:
        assert f"**{question}**" in text
    assert "“근속 기간이 1년 미만인 직원은 만근한 달마다 하루의 유급 연차를 받습니다.”" in text
    assert "```\nworkbench sweep params/x.sweep.yaml\n```" in text
    assert f"data fingerprint of demo-ko: {results[0].data['fingerprint']}" in text
    settings = re.search("```yaml\n(.*?)```", text, re.DOTALL)
    assert parse_settings(parse_yaml(settings[1], "report")) == part.decision.recommended.settings
    assert text.endswith("\n")


def test_answers_and_failed_runs_are_told(written: Callable[..., str]) -> None:
    text = written(make_answered_results(), failed=[{"point": {"chunker": "whole"}, "error": "Traceback\nValueError: no luck"}])
    assert {"### Answers", "### What the best candidate answered worst", "## Runs that failed"} <= set(headings(text))
    assert rows(text, "## Runs that failed")[2:] == [["chunker whole", "ValueError: no luck"]]
    assert "- gold answer: “the FL-20 filter”" in text
    alone = written([], failed=[{"point": "x", "error": ""}])
    assert "No run has a result." in alone
    assert rows(alone, "## Runs that failed")[2:] == [["x", "no message"]]
    with pytest.raises(WorkbenchError, match="nothing to report"):
        written([])


def test_no_decision_says_why_and_an_audit_error_stands_first(written: Callable[..., str]) -> None:
    bad = replace(make_results()[0], audit=(Check("oracle", "error", "a perfect ranking reaches 90 %"),))
    text = written([bad, *make_results()[1:]])
    alarm, decision = text.index("> **Audit error.**"), text.index("**No decision.** an audit check failed")
    assert alarm < decision < text.index("### Leaderboard")
    assert "> - oracle (1 of 12 configurations): a perfect ranking reaches 90 %" in text
    unscored = written([make_result({"ndcg@10": [np.nan, np.nan]})])
    assert r"**No decision.** ndcg@10: no question was scored" in unscored
    assert "### Leaderboard" not in unscored


def test_untrusted_text_is_shown_and_never_interpreted(written: Callable[..., str]) -> None:
    failure = {"id": BAD, "question": BAD, "answers": [BAD], "score": 0.0}
    failure["evidence"] = [{"document": BAD, "title": "", "text": BAD, "rank": None}]
    failure["hits"] = [{"rank": 1, "document": BAD, "score": 1.0, "text": BAD}]
    record = make_answer("q0", question=BAD, gold=[BAD], text=BAD, completion=BAD, passages=[[BAD, 0, 9, BAD]])
    result = make_result(
        {"ndcg@10": [0, 1], "answer_f1": [0.0, np.nan]},
        failures=[failure],
        records=[record],
        generator="extractive",
        dataset="folder:/srv/someone/" + BAD.replace("=", ""),
        audit=(Check("oracle", "error", BAD),),
        versions={BAD: BAD},
    )
    result.details["answers"]["generator_precision"] = None
    text = written([result], BAD, command=f"workbench ```\n{BAD}", failed=[{"point": BAD, "error": BAD + "\n" + BAD}])
    body = re.sub("(?ms)^(````+|```)(yaml)?$.*?^\\1$", "", text)
    assert "onerror=alert" in body
    assert not re.findall(r"<(?!span>|/span>|details>|/details>|summary>|/summary>)", body)
    assert not re.search(r"(?<!\\)\[click", body)
    assert "\n# title" not in body
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\ud800]", text)
    assert "someone" not in text
    assert "한글" in body


def test_a_block_of_code_ends_only_where_it_should(written: Callable[..., str]) -> None:
    text = written(make_results()[:1], command="workbench sweep `x` ```` y")
    assert "\n`````\nworkbench sweep `x` ```` y\n`````\n" in text


def test_the_same_results_give_the_same_text() -> None:
    results = [*make_results("demo-ko", "ko"), *make_answered_results()]
    again = [replace(result, timings={"embed": 9.9}) for result in results]
    assert render_markdown(gather(results, "T")) == render_markdown(gather(again, "T"))
