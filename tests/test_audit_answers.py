"""Faults of answers are found, with the level they deserve and the remedy."""

from pathlib import Path

import pytest
from factories import make_answer

from workbench.audit_answers import audit_answers
from workbench.evaluation import Check
from workbench.evaluation_answers import answer_details
from workbench.models import LocalModel

MISSING = {"error": "timed out", "finish_reason": "error", "prompt_tokens": None, "completion_tokens": None}
SHRUNK = {"notes": [["context", "shrunk from 512 to 300 tokens to fit the generator's window"]]}


def checks(
    count: int = 100, language: str = "en", languages: tuple[str, ...] | None = None, **faults: tuple[int, dict]
) -> dict[str, Check]:
    """Audit `count` answers; each fault befalls the first so many of them, failed ones the last."""
    records = [make_answer(f"q{number}") for number in range(count)]
    for name, (times, change) in faults.items():
        for number in range(times):
            records[-1 - number if name == "failed" else number] |= change
    model = LocalModel("acme/writer", "generator", Path("x"), "0", "bf16", languages, 2048, None, "MIT") if languages is not None else None
    found = audit_answers(answer_details(records) | {"left_out": 0}, language, model)
    assert [check.id for check in found] == [
        "answers_failed",
        "answers_capped",
        "contexts_shrunk",
        "shots_dropped",
        "answers_left_out",
        "generator_language",
        "verdicts_lost",
    ]
    return {check.id: check for check in found}


def test_good_answers_pass() -> None:
    assert {check.level for check in checks(languages=("en",)).values()} == {"ok"}


@pytest.mark.parametrize(("failed", "level"), [(0, "ok"), (1, "warning"), (2, "warning"), (3, "error"), (100, "error")])
def test_a_failed_answer_warns_and_more_than_two_percent_are_an_error(failed: int, level: str) -> None:
    check = checks(failed=(failed, MISSING))["answers_failed"]
    assert check.level == level
    assert check.message == (f"{failed} of 100 questions have no answer: {failed} × timed out" if failed else "every question has one")


@pytest.mark.parametrize(("capped", "failed", "level"), [(10, 0, "ok"), (11, 0, "warning"), (9, 10, "ok"), (10, 10, "warning")])
def test_more_than_a_tenth_of_capped_answers_is_a_warning_with_the_remedy(capped: int, failed: int, level: str) -> None:
    check = checks(capped=(capped, {"finish_reason": "length"}), failed=(failed, MISSING))["answers_capped"]
    assert check.level == level
    assert check.message.startswith(f"{capped} of {100 - failed} answers were cut by max_new_tokens")
    assert ("generator.max_new_tokens" in check.message) is (level == "warning")


@pytest.mark.parametrize(("dropped", "level"), [(0, "ok"), (2, "warning")])
def test_dropped_shots_are_a_warning(dropped: int, level: str) -> None:
    check = checks(dropped=(dropped, {"notes": [["shots", "dropped 1 of 4 shots to fit the generator's window: q7"]]}))["shots_dropped"]
    assert check.level == level
    assert ("2 of 100 prompts lost shots" in check.message) is bool(dropped)


@pytest.mark.parametrize(("shrunk", "level"), [(0, "ok"), (1, "warning")])
def test_any_shrunk_context_is_a_warning(shrunk: int, level: str) -> None:
    check = checks(shrunk=(shrunk, SHRUNK))["contexts_shrunk"]
    assert check.level == level
    assert ("1 of 100 contexts were shrunk" in check.message) is bool(shrunk)


@pytest.mark.parametrize(
    ("language", "languages", "level"),
    [
        ("ko", ("en",), "warning"),
        ("ko", ("en", "ko"), "ok"),
        ("ko", ("multilingual",), "ok"),
        ("ko", (), "ok"),  # nothing is known
        ("ko", None, "ok"),  # no local model
        ("en", ("en",), "ok"),
    ],
)
def test_a_generator_of_another_language_is_a_warning(language: str, languages: tuple[str, ...] | None, level: str) -> None:
    check = checks(language=language, languages=languages)["generator_language"]
    assert check.level == level
    if level == "warning":
        assert check.message == "the data is 'ko', but acme/writer is made for en"


def counts(asked: int, unparsed: int = 0, failed: int = 0, **reasons: int) -> dict:
    return {"asked": asked, "unparsed": unparsed, "failed": failed, "reasons": reasons, "length_correlation": None}


@pytest.mark.parametrize(
    ("correctness", "groundedness", "level", "message"),
    [
        (counts(100), counts(50), "ok", "all 150 verdicts were given"),
        (counts(100, 1, 1, cut=1, busy=1), counts(50), "warning", "judge_correctness lacks 2 of 100 verdicts: 1 × cut; 1 × busy"),
        (counts(100, 3, 0, cut=3), counts(50), "error", "judge_correctness lacks 3 of 100 verdicts: 3 × cut"),
        (counts(100, 0, 3, busy=3), counts(50), "error", "judge_correctness lacks 3 of 100 verdicts: 3 × busy"),
        (
            counts(100, 1, cut=1),
            counts(4, 4, a=1, b=1, c=1, d=1),
            "error",
            "judge_correctness lacks 1 of 100 verdicts: 1 × cut; "
            "judge_groundedness lacks 4 of 4 verdicts: 1 × a; 1 × b; 1 × c; 1 other reasons",
        ),
        (counts(0), counts(0), "ok", "all 0 verdicts were given"),
    ],
)
def test_a_lost_verdict_warns_and_more_than_two_percent_of_a_metric_are_an_error(
    correctness: dict, groundedness: dict, level: str, message: str
) -> None:
    judged = {"metrics": {"judge_correctness": correctness, "judge_groundedness": groundedness}}
    details = answer_details([make_answer("q")]) | {"left_out": 0}
    assert audit_answers(details, "en", None, judged)[-1] == Check("verdicts_lost", level, message)
    assert audit_answers(details, "en", None)[-1] == Check("verdicts_lost", "ok", "not applicable: nothing is judged")
