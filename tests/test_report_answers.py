"""Answers in reports: what was asked of whom, the worst answers in full, no markup of theirs, and no measured time."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from factories import TEXTS, make_answer, make_answered_results, make_result, make_results
from test_report_html import BAD, Page, page

from workbench import report, report_files, report_markdown
from workbench.evaluation import RunResult
from workbench.report_html import render_html
from workbench.report_parts import gather
from workbench.report_words import limits, reading

BUDGET = "evidence_recall@512t"


def answered(scores: list[float], number: int = 0, primary: str = "answer_f1", **change) -> RunResult:
    """Make a result of a few answers that a change befalls."""
    records = [make_answer(f"q{row}", **change) for row in range(len(scores))]
    prompt = ("plain:en", "concise:en")[number]
    values = {"answer_f1": scores, BUDGET: np.linspace(0.2, 0.9, len(scores))}
    return make_result(values, generator="extractive", prompt=prompt, answer_budget=512, primary=primary, records=records)


def section(words: str) -> str:
    return words[words.index("\nAnswers") : words.index("\nAudit")] if "\nAnswers" in words else words


@pytest.fixture(scope="module")
def both() -> Page:
    """Give the page of English results led by retrieval and Korean ones led by answers."""
    results = make_answered_results() + make_answered_results("demo-ko", "ko", primary="answer_f1")
    return page(results)


def test_the_answers_of_each_data_set_are_told_drawn_and_shown(both: Page) -> None:
    words = both.text()
    for part in (
        "100 questions of 120, drawn by seed 0, were answered by HuggingFaceTB/SmolLM2-135M-Instruct (Q4_1), google/gemma-3-270m (Q4_K_M) "
        "and extractive with prompts plain:en and concise:en from at most 512 tokens of context. The documents answer all but 20 of them.",
        "answer_f1, 80 questions in 16 document groups: SmolLM2-135M-Instruct · prompt concise:en scores highest",
        "Retrieval is the same for every candidate: evidence_recall@512t 0.712 [",
        "SmolLM2-135M-Instruct · prompt concise:en: the answers with the lowest answer_f1.",
        "Gold answerFL-20 필터",
        "Answer shown제공된 자료에서 답을 찾을 수 없습니다.",
        "Passage 1, from handbook-1근속 기간이 1년 미만인 직원은 만근한 달마다 하루의 유급 연차를 받습니다. …",
        "answer_f1 0.00 · refused · 632 prompt tokens · 20 new tokens",
        "Answers are those of the generators and prompts named, to 100 of 120 questions",
        "rests on 20 unanswerable questions",
    ):
        assert part in words, part
    assert "Retrieval alone was tested" not in words
    titles = [drawing for drawing in both.all("svg") if "answers" in drawing["aria-labelledby"]]
    assert len(titles) == 2  # wide and narrow, of the English data alone: the Korean plot of answer_f1 is that of the primary metric
    assert words.count("no question lost anything") == 1  # of the data led by retrieval


def test_the_leaderboard_shows_every_answer_metric_that_was_asked() -> None:
    results = make_answered_results()[:3]
    results[1].details["answers"]["failed"] = {"timed out": 2, "refused": 1}
    results[1].scores["chrf"][np.flatnonzero(results[1].asked_of("chrf"))[:2]] = np.nan
    words = page(results).text()
    head = words[words.index("Answers, mean; capped and failed: number") : words.index("mean chunk tokens")]
    heads = [data for place, data in page(results).texts if place == "th"]
    assert heads.index("generator") < heads.index("n")  # what varies stands first
    titles = "answer_f1answer_emchrfgroundednessrefusal_precisionrefusal_recallprompt tokensnew tokenscappedfailed"
    assert titles in head
    assert "citation" not in head  # no prompt asked for any
    first, silent = (result.interval("answer_f1") for result in results[1:])
    assert f"{first.mean:.3f} [{first.low:.3f}, {first.high:.3f}]" in words
    assert "(2 unscored)" in words
    means = [f"{results[1].interval(name).mean:.3f}" for name in ("refusal_precision", "refusal_recall")]
    assert f"{''.join(means)}63220143" in words  # prompt tokens, new tokens, capped, failed
    assert f"{silent.mean:.3f} [" in words
    assert "–0.00054020140" in words  # who refuses nothing has no precision


def test_reports_of_retrieval_say_nothing_of_answers() -> None:
    words = page(make_results()).text()
    assert "nswers, mean" not in words
    assert "\nAnswers" not in words
    assert "groundedness" not in words
    assert "Retrieval alone was tested" in words
    assert "Fixed k beside equal budget" in words


def test_no_answer_is_interpreted() -> None:
    change = dict.fromkeys(("question", "text", "completion"), BAD) | {
        "gold": [BAD, BAD],
        "notes": [[BAD, BAD]],
        "passages": [[BAD, 0, 9999, BAD]],
        "citations": [1],
    }
    results = [answered([0.0, 0.5, 1.0 - number / 2], number, **change) for number in range(2)]
    for result in results:
        result.details["answers"]["generator_precision"] = BAD
    parsed = page(results)
    assert len(parsed.all("script")) == len(parsed.all("style")) == 1
    assert not parsed.all("img")
    known = {name for _, attributes in page(make_results()).elements for name in attributes}
    assert {name for _, attributes in parsed.elements for name in attributes} <= known
    shown = BAD.replace("\x00\x1b\u202e\ud800", "����")
    assert parsed.text().count(shown) > 2 * 8
    for text in (report_markdown.answer_failures(results[0]), report_markdown.answer_table(results)):
        assert "<script" not in text
        assert "<img" not in text


def test_the_same_answers_give_the_same_bytes_whatever_time_they_took(tmp_path: Path) -> None:
    results = make_answered_results()
    slow = [
        replace(
            result,
            answers=tuple(answer | {"seconds": 987.25} for answer in result.answers),
            details=result.details | {"answers": result.details["answers"] | {"seconds": 987.25}},
            timings={"answer": 987.25},
        )
        for result in results
    ]
    assert render_html(gather(results, "x")) == render_html(gather(slow, "x"))
    boards = [report_files.write_leaderboard(tmp_path / name, made).read_bytes() for name, made in (("a", results), ("b", slow))]
    assert boards[0] == boards[1]
    assert "987.25" in report_files.write_timings(tmp_path / "t.csv", slow).read_text("utf-8-sig")


def test_where_nothing_is_lost_or_scored_no_other_thing_is_said() -> None:
    words = page([answered([1.0, 1.0], number) for number in range(2)]).text()
    assert "every answer scored has the full answer_f1." in words
    assert "no question lost anything" not in words
    unasked = replace(answered([0.5, 0.5], primary=BUDGET), asked={"answer_f1": np.zeros(2, dtype=bool)})
    unasked.scores["answer_f1"][:] = np.nan
    words = section(page([unasked]).text())
    assert "answer_f1: no question was scored by every candidate, so nothing can be said." in words
    assert "every answer scored" not in words
    assert report_markdown.failures(unasked) == f"No question lost anything on {BUDGET}."
    assert report_markdown.answer_failures(unasked) == "No answer was scored on answer_f1."


def test_only_refusals_can_be_asked_for() -> None:
    """Without any gold answer, the worst are those of the primary metric."""
    records = [make_answer("q0", answerable=False, gold=[]), make_answer("q1", answerable=False, gold=[], refused=True)]
    asked = {"answer_f1": np.zeros(2, dtype=bool)}
    scores = {"refusal_recall": [0.0, 1.0], "answer_f1": [np.nan, np.nan]}
    words = section(page([make_result(scores, generator="extractive", records=records, asked=asked)]).text())
    assert "the answers with the lowest refusal_recall" in words
    assert "Gold answernone: the documents do not answer this" in words


def test_other_samples_and_missing_comparisons_still_name_the_answers() -> None:
    left, right = answered([0.0, 1.0], primary=BUDGET), answered([0.0, 1.0], 1, primary=BUDGET)
    words = page([left, replace(right, answers=right.answers[:1])]).text()
    assert "2 and 1 questions of 2" in words
    assert "Answers are not compared. answer_f1: the candidates answered different questions" in words
    left.scores[BUDGET][:] = np.nan
    words = page([left, right]).text()
    assert "No comparison." in words
    assert "answer_f1, 2 questions in 2 document groups" in words


def test_results_without_answers_may_stand_beside_others() -> None:
    results = [make_result({BUDGET: [0.5, 0.6]}), answered([0.1, 0.9], primary=BUDGET)]
    words = page(results).text()
    assert (
        "2 questions were answered by extractive with prompt plain:en from at most 512 tokens of context. The documents answer all of them."
        in words
    )
    assert "no generator" in words
    assert len(report_markdown.answer_table(results).splitlines()) == 3


def test_the_markdown_table_has_a_row_for_each_candidate() -> None:
    results = make_answered_results()
    lines = report_markdown.answer_table(results, results[4].config_id).splitlines()
    assert lines[0] == (
        "| configuration | answer\\_f1 \\[95 %\\] | difference to baseline \\[95 %, simultaneous\\] | answer\\_em | chrf | groundedness "
        "| refusal\\_precision | refusal\\_recall | prompt tokens | new tokens | capped | n |"
    )
    assert len(lines) == 2 + 5
    best = report.compare(results, "answer_f1").rows[0]
    assert lines[2].startswith(f"| {best.label} | {best.interval.mean:.3f} \\[")
    assert lines[2].endswith(" | 632 | 20 | 14 | 80 |")
    assert next(line for line in lines if "| baseline |" in line).startswith("| extractive · prompt plain:en (control) |")
    assert report_markdown.answer_table(make_results()) == "No answers were generated: set `generator`."


def test_markdown_failures_are_the_worst_answers_in_full() -> None:
    result = answered([0.5, 0.25, 1.0], finish_reason="length")
    text = report_markdown.answer_failures(result, 1)
    assert text.splitlines() == [
        "**How many days of paid leave does a new employee get?** (q1, answer_f1 0.25, capped)",
        "",
        "- gold answer: “one day for each full month worked”",
        "- answer: “A new employee gets 25 days of paid leave.”",
        "- the generator wrote: “A new employee gets 25 days of paid leave. How many days of paid leave does a new employee get?”",
        f"- passage 1 from *handbook-1*: “{TEXTS['en'][0]}”",
        f"- passage 2 from *handbook-2*, cited: “{TEXTS['en'][1]}”",
        f"- passage 3 from *handbook-3*: “{TEXTS['en'][2]}”",
    ]
    assert report_markdown.failures(result) == report_markdown.answer_failures(result)  # the primary metric is of answers
    assert report_markdown.answer_failures(answered([1.0])) == "Every answer scored has the full answer_f1."
    assert report_markdown.answer_failures(make_results()[0]) == "No answers were generated: set `generator`."


def test_tables_have_columns_for_answers_only_where_there_are_any(tmp_path: Path) -> None:
    names = ("answered", "failed", "capped", "refused", "prompt_tokens", "completion_tokens")
    rows = make_answered_results()
    rows[0].details["answers"]["failed"] = {"a": 2, "b": 1}
    read = {}
    for kind, write in (("board", report_files.write_leaderboard), ("times", report_files.write_timings)):
        text = write(tmp_path / kind, [*rows, make_result({BUDGET: [np.nan]}, chunk_size=64)]).read_text("utf-8-sig")
        read[kind] = {row["config_id"]: row for row in csv.DictReader(io.StringIO(text))}
        assert "answered" not in write(tmp_path / kind, make_results()).read_text("utf-8-sig").splitlines()[0]
    row = read["board"][rows[0].config_id]
    assert [row[name] for name in names[:3]] == ["100", "3", "14"]
    assert [row[name] for name in names[4:]] == ["610.0", "20.0"]
    assert row["questions"] == "96"  # that the primary metric is asked of
    assert read["board"][rows[4].config_id]["prompt_tokens"] == ""  # extractive has none
    assert read["times"][rows[0].config_id]["seconds_per_answer"] == "1.5"
    *_, last = read["board"].values()
    assert (last["chunk_size"], last["answered"], last[BUDGET]) == ("64", "", "")  # nothing scored: last, whatever the input order


@pytest.mark.parametrize("language", ["en", "ko"])
def test_limits_say_how_much_was_asked(language: str) -> None:
    results = make_answered_results(language=language)
    words = " ".join(limits(results))
    assert "No person or model judged them." in words
    assert "fewer than 12" not in words
    assert len(reading(results)) > len(reading(make_results()))
    answerable = [replace(result, answers=tuple(item for item in result.answers if item["answerable"])) for result in results]
    assert "to 80 of 120 questions" in " ".join(limits(answerable))
    assert "No unanswerable question was answered" in " ".join(limits(answerable))
    few = make_answered_results(groups=10)
    assert "fewer than 12 document groups" in limits(few)[-1]
