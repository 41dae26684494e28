"""Labels by people: how they are read, what they are compared with, and how far verdicts agree with them."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.datatypes import WorkbenchError
from workbench.judging_agreement import agreement, as_agreement, as_plain, rank_correlation
from workbench.judging_labels import Label, calibrate, check_questions, read_labels, write_sheet

GRADE = st.sampled_from([0.0, 0.5, 1.0])


def record(name: str, verdict: str | None = "correct", text: str = "15 days", **changes: Any) -> dict[str, Any]:
    verdicts = {"judge_correctness": [verdict, "why"]}
    return {"id": name, "question": f"{name}?", "gold": ["15 days"], "text": text, "verdicts": verdicts} | changes


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


# --- agreement --------------------------------------------------------------------------------------------------------------------------


def test_kappa_is_plain_cohen_with_two_grades() -> None:
    """20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: the textbook example, kappa 0.4."""
    cells = [(1, 1)] * 20 + [(1, 0)] * 5 + [(0, 1)] * 10 + [(0, 0)] * 15
    found = agreement([said for said, _ in cells], [given for _, given in cells], [str(row) for row in range(50)])
    assert (found.n, found.clusters, found.unjudged, found.problem) == (50, 50, 0, "")
    assert found.raw == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)
    assert found.base_rate == pytest.approx(0.6)  # 30 of 50 labels are yes
    assert 0.1 < found.low < 0.2  # sqrt(.7 * .3 / 50) / .5 = .13 on each side, twice
    assert 0.58 < found.high < 0.65


def test_kappa_is_weighted_by_distance() -> None:
    """One of four is off by half: distance 1/8. By chance each verdict meets each label: (0 + .5 + 1 + 1 four ways) / 16."""
    found = agreement([0, 0.5, 1, 0.5], [0, 0.5, 1, 1], list("abcd"))
    chance = ((0 + 0.5 + 1 + 1) + 2 * (0.5 + 0 + 0.5 + 0.5) + (1 + 0.5 + 0 + 0)) / 16
    assert found.kappa == pytest.approx(1 - (1 / 8) / chance)
    assert found.raw == 0.75
    far = agreement([0, 0.5, 1, 0], [0, 0.5, 1, 1], list("abcd"))
    assert far.kappa < found.kappa  # wrong for correct is worse than partly for correct


@given(st.lists(st.tuples(GRADE, GRADE, st.integers(0, 5)), min_size=1, max_size=40))
def test_agreement_is_symmetric_and_its_interval_holds_it(rows: list[tuple[float, float, int]]) -> None:
    said, given_, groups = ([row[place] for row in rows] for place in range(3))
    found, turned = agreement(said, given_, groups), agreement(given_, said, groups)
    assert found.kappa == pytest.approx(turned.kappa, nan_ok=True)
    assert math.isnan(found.kappa) == (len({*said, *given_}) == 1)
    if not math.isnan(found.low):
        assert -1 <= found.low <= found.kappa + 1e-9
        assert found.kappa - 1e-9 <= found.high <= 1
    assert as_plain(as_agreement(json.loads(json.dumps(as_plain(found), allow_nan=False)))) == as_plain(found)


def test_document_groups_widen_the_interval() -> None:
    said, given_ = [1, 1, 0, 0, 1, 0] * 10, [1, 0, 0, 0, 1, 1] * 10
    alone = agreement(said, given_, range(60))
    grouped = agreement(said, given_, [row % 6 for row in range(60)])  # all ten answers of a group agree, or none does
    assert grouped.kappa == alone.kappa
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


def test_full_agreement_of_few_is_not_certain() -> None:
    found = agreement([0, 1] * 15, [0, 1] * 15, range(30))
    assert (found.kappa, found.high) == (1, 1)
    assert 0.7 < found.low < 0.8  # t² / (30 + t²) = .122 of the groups unseen, by chance half differ: 1 - .122 / .5


@pytest.mark.parametrize(
    ("said", "given_", "clusters", "problem"),
    [
        ([1, 0] * 9, [1, 0] * 9, range(18), "too few labels (18; at least 20 are needed)"),
        ([1] * 25, [1] * 25, range(25), "the 25 labels and verdicts are all the same grade, so kappa is not defined"),
        ([1, 0] * 15, [0, 0] * 15, ["one"] * 30, "the 30 labels come from too few document groups for an interval"),
        ([math.nan] * 30, [1] * 30, range(30), "too few labels (0; at least 20 are needed)"),
    ],
)
def test_what_is_not_calibrated_says_why(said: Sequence[float], given_: Sequence[float], clusters: Sequence[str], problem: str) -> None:
    assert agreement(said, given_, clusters).problem == problem


def test_verdicts_that_are_missing_are_counted_and_not_graded() -> None:
    found = agreement([1, math.nan, 0], [1, 0, 0], "abc")
    assert (found.n, found.unjudged, found.raw, found.kappa) == (2, 1, 1, 1)
    with pytest.raises(WorkbenchError, match=r"must be 0, 0\.5 or 1"):
        agreement([0.7], [1], ["a"])
    with pytest.raises(WorkbenchError, match="must be as many"):
        agreement([1, 1], [1], ["a"])


def test_ranks_of_ties_are_their_mean() -> None:
    from scipy.stats import spearmanr

    left, right = [0, 0.5, 1, 1, 0, 1, 0.5], [3, 9, 4, 4, 1, 30, 2]
    assert rank_correlation(left, right) == pytest.approx(spearmanr(left, right).statistic)
    assert math.isnan(rank_correlation([1, 1], [2, 3]))
    assert math.isnan(rank_correlation([], []))


# --- label files ------------------------------------------------------------------------------------------------------------------------

FILES = {
    "labels.csv": ("id,label\nq1,correct\nq2,Partly\nq3,\nq4,0\n", "utf-8"),
    "excel.csv": ("번호;판정\r\nq1;맞음\r\nq2;일부\r\nq3;\r\nq4;틀림\r\n", "cp949"),
    "marked.tsv": ("\ufeffid\tquestion\t판정\nq1\twhy, then?\t1\nq2\t\t0.5\nq4\t\twrong\n", "utf-8"),
    "quoted.csv": ('"id";"label"\n"q1";"correct"\n"q2";"partly"\n"q4";"wrong"\n', "utf-8"),
    "quoted.tsv": ('"id"\t"question"\t"label"\n"q1"\t"why, then"\t"1"\n"q2"\t\t".5"\n"q4"\t\t"0"\n', "utf-8"),
    "labels.jsonl": ('{"id": "q1", "label": 1}\n\n{"id": "q2", "label": 0.5}\n{"아이디": "q4", "판정": "틀림"}\n', "utf-8"),
}


@pytest.mark.parametrize("name", FILES)
def test_label_files_are_read(name: str, tmp_path: Path) -> None:
    labels = read_labels(written(tmp_path / name, *FILES[name]))
    assert [(label.id, label.grades["judge_correctness"], label.answer) for label in labels] == [
        ("q1", 1.0, None),
        ("q2", 0.5, None),
        ("q4", 0.0, None),
    ]


def test_grounding_is_labelled_in_its_own_column(tmp_path: Path) -> None:
    labels = read_labels(written(tmp_path / "l.csv", "id,판정,근거판정,답변\nq1,맞음,없음,15일 입니다\nq2,,grounded,\n"))
    assert labels[0].grades == {"judge_correctness": 1.0, "judge_groundedness": 0.0}
    assert labels[0].answer == "15일 입니다"
    assert (labels[1].grades, labels[1].answer) == ({"judge_groundedness": 1.0}, None)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.csv", "id,label\nq1,corect\n", "a.csv row 2: unknown label 'corect'; did you mean 'correct'"),
        ("a.csv", "id,label\nq1,0.7\n", "unknown label '0.7'"),
        ("a.csv", "id,label\n,correct\n", "a.csv row 2: no id"),
        ("a.csv", "id,label\nq1,correct\nq1,wrong\n", "a.csv row 3: the answer to 'q1' was labelled before, in a.csv row 2"),
        ("a.csv", "id,label,판정\nq1,correct,1\n", "two columns for judge_correctness"),
        ("a.csv", "id,note\nq1,correct\n", "labels need the columns id and label"),
        ("a.csv", "name,label\nq1,correct\n", "no column 'id'"),
        ("a.csv", "", "no column 'id'"),
        ("a.csv", "id,label\nq1,\n", "holds no label"),
        ("a.csv", "id,label\nq1,correct,more\n", "row 2 has 3 cells, the first row has 2"),
        ("a.csv", 'id,label\n"q1,correct\n', "line 2 is not valid CSV"),
        ("a.csv", 'id;label\n"q1;correct\n', "line 2 is not valid CSV"),
        ("a.jsonl", '{"id": "q1", "label": [1]}\n', "a.jsonl line 1: [1] must be a text or a number"),
        ("a.jsonl", '{"id": "q1", "label": true}\n', "True must be a text or a number"),
        ("a.jsonl", "[1]\n", "a.jsonl line 1 must be a JSON object"),
        ("a.jsonl", "{\n", "a.jsonl line 1 is not valid JSON"),
        ("a.xlsx", "", "must be a .csv, .tsv or .jsonl file of labels"),
    ],
)
def test_bad_label_files_are_named(name: str, text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError) as error:
        read_labels(written(tmp_path / name, text))
    assert problem in str(error.value)


def test_a_missing_label_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="no such file"):
        read_labels(tmp_path / "labels.csv")


# --- labels and verdicts ----------------------------------------------------------------------------------------------------------------


def label(name: str, grade: float, answer: str | None = None) -> Label:
    return Label(name, {"judge_correctness": grade}, answer, "labels.csv row 2")


def test_labels_meet_the_verdicts_on_the_same_answers() -> None:
    names = [f"q{number}" for number in range(30)]
    records = [record(name, "correct" if number % 3 else "wrong", " 15  days\n") for number, name in enumerate(names)]
    labels = [label(name, 1.0 if number % 3 else 0.0, "15 days") for number, name in enumerate(names[:24])]
    labels += [label("q25", 0.0, "another configuration's answer"), label("q26", 1.0, None)]
    found = calibrate(labels, records, {name: name for name in names})
    assert (found["labels"], found["elsewhere"], found["ruled"]) == (26, 1, 0)
    measured = found["metrics"]["judge_correctness"]
    assert (measured["n"], measured["kappa"], measured["raw"]) == (25, 1, 1)
    assert json.dumps(found, allow_nan=False)


def test_refusals_and_unreadable_verdicts_are_no_agreement() -> None:
    records = [record("refused", verdicts={}), record("unread", None), record("read")]
    labels = [label("refused", 0.0), label("unread", 1.0), label("read", 1.0), label("not answered", 1.0)]
    clusters: Mapping[str, str] = {name: name for name in ("refused", "unread", "read", "not answered")}
    found = calibrate(labels, records, clusters)
    assert (found["elsewhere"], found["ruled"]) == (1, 1)
    measured = found["metrics"]["judge_correctness"]
    assert (measured["n"], measured["unjudged"], measured["kappa"]) == (1, 1, None)


def test_a_label_of_no_question_is_an_error_where_all_questions_are_known() -> None:
    labels = [label("q0", 1.0), label("nobody", 1.0)]
    with pytest.raises(WorkbenchError, match=r"there is no question 'nobody' \(1 such labels\)"):
        check_questions(labels, {"q0"})
    check_questions(labels, {"q0", "nobody"})
    assert calibrate(labels, [record("q0")], {"q0": "a"})["elsewhere"] == 1


def test_a_sheet_comes_back_with_its_answers(tmp_path: Path) -> None:
    """Formulas are defused for spreadsheets, and still the same answers."""
    records = [record("q0", text="=SUM(A1)\nand, more"), record("-1", text="15일"), record("refused", verdicts={})]
    path = tmp_path / "sheet.csv"
    assert write_sheet(path, records) == 2
    with pytest.raises(WorkbenchError, match="exists already"):
        write_sheet(path, records)
    lines = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
    assert "why" not in lines  # people label without seeing the verdict
    path.write_text(lines.replace('more",', 'more",correct').replace("15일,", "15일,틀림"), encoding="utf-8")
    found = calibrate(read_labels(path), records, {"q0": "a", "-1": "b", "refused": "c"})
    assert (found["elsewhere"], found["metrics"]["judge_correctness"]["n"], found["metrics"]["judge_correctness"]["raw"]) == (0, 2, 0.5)
