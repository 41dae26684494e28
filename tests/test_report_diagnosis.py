"""Where questions are lost, in reports: counts, one sentence, cases in full, and nothing of theirs interpreted."""

import re
from dataclasses import replace

import pytest
from factories import make_answer, make_result, make_results
from test_report_html import BAD, Page

from workbench.datatypes import WorkbenchError
from workbench.diagnosis import CAUSES
from workbench.evaluation import RunResult
from workbench.report import compare
from workbench.report_diagnosis import NAMES, STAGES, counts, diagnosis, diagnosis_cases, diagnosis_sentence, diagnosis_table

BUDGET = "evidence_recall@512t"


def diagnosed(**numbers: int) -> RunResult:
    """Make a result with so many questions of each cause; `undiagnosed` ones have none."""
    causes = [name.replace("undiagnosed", "") for name, number in numbers.items() for _ in range(number)]
    return make_result({BUDGET: [0.5] * max(len(causes), 1)}, causes=tuple(causes))


def case(cause: str, name: str, **changes) -> dict:
    evidence = {"document": "d", "title": "Rules", "text": f"evidence of {name}", "rank": 7, "share": 0.997}
    hit = {"rank": 1, "document": "e", "score": 2.0, "text": f"hit of {name}"}
    return {
        "cause": cause,
        "score": 0.25,
        "id": name,
        "question": f"question {name}",
        "answers": ["gold"],
        "evidence": [evidence],
        "hits": [hit],
    } | changes


def test_every_cause_has_a_name_and_something_to_mend() -> None:
    assert list(NAMES) == list(CAUSES)
    assert sorted(cause for causes in STAGES.values() for cause in causes) == sorted(set(CAUSES) - {"fine"})


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (
            {"fine": 96, "not_retrieved": 14, "cut": 4, "below_budget": 6},
            "Of 120 questions 24 are lost: 14 not retrieved, 6 below the budget, 4 cut by a chunk border. Mend retrieval first.",
        ),
        (
            {"not_retrieved": 3, "no_chunk": 2, "cut": 2},  # two causes of one stage weigh together
            "Of 7 questions 7 are lost: 3 not retrieved, 2 lost by the chunker, 2 cut by a chunk border. Mend chunking first.",
        ),
        (
            {"fine": 1, "not_used": 1, "not_retrieved": 1},  # of equals what is upstream
            "Of 3 questions 2 are lost: 1 not retrieved, 1 not used though in the context. Mend retrieval first.",
        ),
        (
            {"fine": 1, "wrongly_refused": 1, "undiagnosed": 3},
            "Of 2 questions 1 is lost: 1 wrongly refused. Mend refusals first. 3 more cannot be diagnosed.",
        ),
        ({"fine": 1}, "Of 1 question none is lost."),
        ({"undiagnosed": 2}, "No question was diagnosed."),
        ({}, "No question was diagnosed."),
    ],
)
def test_one_sentence_says_what_was_lost_and_what_to_mend(numbers: dict, expected: str) -> None:
    assert diagnosis_sentence(diagnosed(**numbers)) == expected


def test_the_sentence_tells_what_was_not_answered() -> None:
    causes = ("fine", "not_used", "", "", "")
    one, both = (
        make_result({BUDGET: [0.5] * 5}, causes=causes, records=[make_answer(f"q{row}") for row in rows])
        for rows in ((0, 1, 2, 3), (0, 1, 2))
    )
    lost = "Of 2 questions 1 is lost: 1 not used though in the context. Mend generation first."
    assert diagnosis_sentence(one) == f"{lost} 1 more is not answered, so not diagnosed. 2 more cannot be diagnosed."
    assert diagnosis_sentence(both) == f"{lost} 2 more are not answered, so not diagnosed. 1 more cannot be diagnosed."


def test_counts_leave_out_what_was_not_diagnosed_and_add_up_seeds() -> None:
    one = diagnosed(fine=3, cut=1, undiagnosed=2)
    again = replace(one, settings=one.settings.replace(seed=1), causes=("failed", *one.causes[1:]))
    other = replace(diagnosed(fine=1), settings=one.settings.replace(chunk_size=9))
    found = counts([one, again, other])
    assert {config: {name: number for name, number in row.items() if number} for config, row in found.items()} == {
        one.config_id: {"cut": 2, "failed": 1, "fine": 5},
        other.config_id: {"fine": 1},
    }
    assert all(list(row) == list(CAUSES) for row in found.values())


def test_the_table_has_a_row_for_each_candidate_and_only_causes_that_occur() -> None:
    first, second = diagnosed(fine=5, cut=3), diagnosed(not_retrieved=1, fine=1, undiagnosed=6)
    second = replace(second, settings=second.settings.replace(chunk_size=9))
    assert diagnosis_table([first, second]).splitlines() == [
        "| configuration | not retrieved | cut by a chunk border | fine | n |",
        "|---|---|---|---|---|",
        "| 256 tokens | 0 | 3 (38%) | 5 (62%) | 8 |",
        "| 9 tokens | 1 (50%) | 0 | 1 (50%) | 2 |",
    ]
    assert diagnosis_table([diagnosed()]) == "No question was diagnosed."


def test_cases_are_shown_in_full_by_cause() -> None:
    records = [
        make_answer("c", number=0, text="said *this*"),
        make_answer("r", refused=True, text="No."),
        make_answer("f", text="", error="HTTP 500"),
    ]
    cases = [case("not_retrieved", "a", score=None), case("not_used", "c"), case("wrongly_refused", "r"), case("failed", "f", answers=[])]
    cases.insert(1, case("not_retrieved", "b", evidence=[case("", "b")["evidence"][0] | {"rank": None, "share": None}]))
    causes = tuple(item["cause"] for item in cases)
    result = make_result({BUDGET: [0.5] * 5}, causes=causes, cases=tuple(cases), records=records)
    words = diagnosis_cases(result)
    for part in (
        "**Not retrieved**: no hit holds the evidence.",
        "**question a** (a, evidence\\_recall@512t unscored)",
        "- evidence in *Rules*, first reached at rank 7, 99% of it in the context: “evidence of a”",
        "- evidence in *Rules*, not retrieved: “evidence of b”",
        "- hit 1 from *e*: “hit of a”",
        "- answer: “said \\*this\\*”",
        "- passage 2 from *handbook-2*: “Unused leave",
        "- refused: “No.”",
        "- error: “HTTP 500”",
        "- gold answer: none",
    ):
        assert part in words
    assert words.index("question b") < words.index("question c") < words.index("question f")
    assert "question b" not in diagnosis_cases(result, number=1)
    only = diagnosis_cases(result, "not_used")
    assert "question c" in only
    assert "question a" not in only
    assert diagnosis_cases(result, "cut") == "No question is cut by a chunk border."
    assert diagnosis_cases(diagnosed(fine=2)) == "No question is lost."
    nothing_kept = diagnosed(fine=2, cut=1, failed=2)
    assert diagnosis_cases(nothing_kept) == "3 questions are lost; none is shown in full."
    assert diagnosis_cases(nothing_kept, "cut") == "1 question is cut by a chunk border; none is shown in full."
    assert diagnosis_cases(nothing_kept, "fine") == "2 questions are fine; none is shown in full."
    assert diagnosis_cases(nothing_kept, "not_used") == "No question is not used though in the context."
    assert diagnosis_cases(diagnosed(), "cut") == diagnosis_cases(diagnosed(undiagnosed=2)) == "No question was diagnosed."
    with pytest.raises(WorkbenchError, match="unknown cause 'cutt'; did you mean 'cut'"):
        diagnosis_cases(result, "cutt")


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_page_counts_every_candidate_and_shows_the_best_one_s_cases(language: str) -> None:
    results = make_results(f"demo-{language}", language)
    comparison = compare(results)
    text = diagnosis(results, comparison, f' lang="{language}"')
    Page(text)
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>', text)
    assert rows == [row.label for row in comparison.rows]
    best = comparison.rows[0].result
    assert diagnosis_sentence(best) in text
    for cause in set(best.causes):
        assert CAUSES[cause] in text
        number = best.causes.count(cause)
        assert (f"<summary>{NAMES[cause].capitalize()}: {min(number, 3)} of {number} question{'s' * (number > 1)}</summary>" in text) == (
            cause != "fine"
        )
    assert text.count(f'<article class="failure"><h4 lang="{language}">') == len(best.cases)
    alone = diagnosis(results, None, "")
    assert re.findall(r'<tr><th scope="row">(.*?)</th>', alone)[0] == "recursive · 128 tokens · hybrid:word"
    assert diagnosis(results, comparison, f' lang="{language}"') == text


def test_nothing_is_shown_where_nothing_was_diagnosed() -> None:
    assert diagnosis([diagnosed()], None, "") == ""


def test_no_text_from_elsewhere_is_interpreted() -> None:
    unit = {"document": BAD, "title": BAD, "text": BAD, "rank": 1, "share": 0.5}
    hit = {"rank": 1, "document": BAD, "score": 1.0, "text": BAD}
    bad = case("not_used", BAD, question=BAD, answers=[BAD], evidence=[unit], hits=[hit])
    failed = case("failed", f"{BAD}2")
    records = [make_answer(BAD, text=BAD, passages=[[BAD, 0, 9, BAD]]), make_answer(f"{BAD}2", text="", error=BAD)]
    result = make_result({BUDGET: [0.5, 0.5]}, causes=("not_used", "failed"), cases=(bad, failed), records=records)
    page = Page(diagnosis([result], None, ""))
    assert {name for name, _ in page.elements} <= {"h3", "p", "div", "table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd"} | {
        "details", "summary", "article", "h4", "span"
    }  # fmt: skip
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    markdown = diagnosis_cases(result)
    assert "<script" not in markdown
    assert "<img" not in markdown
