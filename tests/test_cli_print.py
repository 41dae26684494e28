"""What is printed comes from files and models in part: no character of theirs that a terminal obeys reaches it."""

from dataclasses import replace

import pytest
from factories import make_answer, make_result

from workbench import cli_print, report
from workbench.datatypes import Answer, Note, Passage, Span
from workbench.evaluation import Check, RunResult

EVIL = "\x1b[31m\x9b\x07\u202e\u2066\u2069"
METRIC = "answer_f1"


def results() -> list[RunResult]:
    """Give two results with such characters in every text that a file or a model can set."""
    named = {"dataset": f"jsonl:{EVIL}", "prompt": f"file:{EVIL}.txt", "generator": f"hf:a/{EVIL}b", "tokenizer": "word"}
    audit = (Check("truncated", "warning", f"the title {EVIL} is long"),)
    one, other = (
        make_result({METRIC: [0.1 * place, 0.5, 0.9]}, records=[make_answer("q0")], audit=audit, top_k=place, **named) for place in (1, 2)
    )
    one.details["answers"]["generator_precision"] = EVIL
    return [replace(one, timings={EVIL: 1.0}, cache={EVIL: 1}), other]


def print_result() -> None:
    cli_print.print_result(results()[0], {}, [f"{EVIL} oracle: no"])


def print_leaderboard() -> None:
    # EVIL takes 16 columns
    found = results()
    comparison = report.compare(found)
    rows = tuple(replace(row, label=f"{EVIL} {place}") for place, row in enumerate(comparison.rows))
    cli_print.print_leaderboard(f"data {EVIL}", replace(comparison, rows=rows, verdict=f"{EVIL} scores highest."))


def print_answer() -> None:
    passage = Passage(Span("d", 0, 4), f"text {EVIL}", f"title {EVIL}")
    cli_print.print_answer(Answer("q0", "?", f"answer {EVIL}", passages=(passage,), citations=(1,)))


def watch_step() -> None:
    cli_print.watch_step("preprocess", 0.1, [Answer("q0", f"asked {EVIL}", "")])
    cli_print.watch_step("postprocess", 0.1, [Answer("q0", "?", "", notes=(Note("clean", EVIL),))])


@pytest.mark.parametrize("show", [print_result, print_leaderboard, print_answer, watch_step])
def test_nothing_steers_the_terminal(show, capsys: pytest.CaptureFixture[str]) -> None:
    show()
    printed = "".join(capsys.readouterr())
    assert not set(EVIL.replace("[31m", "")) & set(printed)
    assert printed.count("\N{REPLACEMENT CHARACTER}[31m") >= 2


def test_what_a_terminal_may_show_stays() -> None:
    text = "연차 15일\t① 50 ℃\n“quoted”\u200d👩\u200d🔬"
    assert cli_print.shown(text) == text
    assert cli_print.shown("a\u202ab\u2069\r\ud800") == "a\ufffdb\ufffd\ufffd\ufffd"
