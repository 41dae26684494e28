"""What is said about a judge: its agreement with people or "uncalibrated", and what its verdicts go along with."""

from typing import Any

import pytest
from factories import make_result

from workbench.evaluation import RunResult
from workbench.judging_agreement import Agreement, as_plain
from workbench.report_judge import agreement_lines, judge_note, judge_sentences

GOOD = Agreement(60, 20, 0, 0.85, 0.712, 0.549, 0.871, 0.6)
FEW = Agreement(12, 12, 1, 1.0, 1.0, 0.5, 1.0, 0.6)


def judged(found: Agreement | None = None, fingerprint: str = "aaa", model: str = "openai:judge", **counts: Any) -> RunResult:
    counted = {"asked": 80, "unparsed": 0, "failed": 0, "reasons": {}, "length_correlation": 0.314} | counts
    none = {"asked": 0, "unparsed": 0, "failed": 0, "reasons": {}, "length_correlation": None}
    details = {"model": model, "fingerprint": fingerprint, "metrics": {"judge_correctness": counted, "judge_groundedness": none}}
    if found:
        details["agreement"] = {"labels": 60, "elsewhere": 0, "ruled": 0, "metrics": {"judge_correctness": as_plain(found)}}
    return make_result({"answer_f1": [0.5, 1.0]}, details={"judge": details})


@pytest.mark.parametrize(
    ("results", "note"),
    [
        ([make_result({"answer_f1": [1.0]})], ""),
        ([judged()], "uncalibrated"),
        ([judged(GOOD)], "kappa 0.71 [0.55, 0.87], n 60"),
        ([judged(), judged(FEW), judged(GOOD)], "kappa 0.71 [0.55, 0.87], n 60"),  # most labels
        ([judged(FEW)], "uncalibrated: too few labels (12; at least 20 are needed)"),
        ([judged(GOOD), judged(GOOD, "bbb")], "uncalibrated: different judges"),
    ],
)
def test_the_note_says_kappa_or_uncalibrated(results: list[RunResult], note: str) -> None:
    assert judge_note(results) == note
    assert judge_note(results, "judge_groundedness") in ("", "uncalibrated", "uncalibrated: different judges")


def test_sentences_tell_counts_agreement_and_length() -> None:
    head, length = judge_sentences([judged(GOOD, unparsed=3, failed=1), judged(length_correlation=-0.1)])
    assert head == (
        "judge_correctness: 160 verdicts of openai:judge asked for, 3 not readable and 1 failed: these are unscored. Agreement with "
        "people: kappa 0.71 [0.55, 0.87], n 60 (Cohen's kappa, linear weights), equal grades 85%; always giving the most frequent label "
        "would reach 60%."
    )
    assert "(Spearman) of verdict and length of the answer is -0.10 to +0.31." in length
    assert judge_sentences([judged(length_correlation=None)]) == [
        "judge_correctness: 80 verdicts of openai:judge asked for. Nobody labelled these answers, so the verdicts are uncalibrated."
    ]
    assert judge_sentences([make_result({"answer_f1": [1.0]})]) == []


def test_lines_say_what_labels_were_of_no_use() -> None:
    counts = {"labels": 15, "elsewhere": 2, "ruled": 1}
    lines = agreement_lines(counts | {"metrics": {"judge_correctness": as_plain(FEW)}})
    assert lines == [
        "15 labels; 2 of other questions or answers, 1 of what no judge was asked",
        "judge_correctness: The verdicts are uncalibrated: too few labels (12; at least 20 are needed). 1 labels have no readable verdict.",
    ]
    assert agreement_lines(counts | {"metrics": {}})[-1] == "uncalibrated: no label meets a verdict"
