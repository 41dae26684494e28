"""Tell refusals from answers in English and Korean (KO10)."""

import csv
import json
import time
from pathlib import Path
from types import ModuleType

import pytest
import refusals_en
import refusals_ko
from hypothesis import given
from hypothesis import strategies as st

from workbench.text_refusal import is_refusal

LANGUAGES = pytest.mark.parametrize("answers", [refusals_en, refusals_ko], ids=["en", "ko"])
ANSWER = {refusals_en: "The fee is 5,000 won.", refusals_ko: "수수료는 5,000원입니다."}
ALL = [
    text
    for language in (refusals_en, refusals_ko)
    for text in (*language.REFUSALS, *language.ANSWERS, *language.HELD_OUT_REFUSALS, *language.HELD_OUT_ANSWERS)
]


@LANGUAGES
def test_the_answers_that_the_patterns_were_fitted_to(answers: ModuleType) -> None:
    assert min(len(answers.REFUSALS), len(answers.ANSWERS)) >= 60
    assert [text for text in answers.REFUSALS if not is_refusal(text)] == []
    assert [text for text in answers.ANSWERS if is_refusal(text)] == []


@LANGUAGES
def test_precision_and_recall_on_held_out_answers(answers: ModuleType) -> None:
    assert min(len(answers.HELD_OUT_REFUSALS), len(answers.HELD_OUT_ANSWERS)) >= 60
    assert not {*answers.REFUSALS, *answers.ANSWERS} & {*answers.HELD_OUT_REFUSALS, *answers.HELD_OUT_ANSWERS}
    found = sum(map(is_refusal, answers.HELD_OUT_REFUSALS))
    false = sum(map(is_refusal, answers.HELD_OUT_ANSWERS))
    assert found / (found + false) >= 0.97
    assert found / len(answers.HELD_OUT_REFUSALS) >= 0.93


@LANGUAGES
def test_an_answer_beside_a_refusal_makes_it_an_answer(answers: ModuleType) -> None:
    texts = [f"{text} {ANSWER[answers]}" for text in answers.REFUSALS if text[-1] in ".!다요"]
    texts += [f"{ANSWER[answers]} {text}" for text in answers.REFUSALS if "Therefore" not in text and "따라서" not in text]
    assert len(texts) > 100
    assert [text for text in texts if is_refusal(text)] == []


@LANGUAGES
def test_apologies_advice_and_markup_change_nothing(answers: ModuleType) -> None:
    before, after = {
        refusals_en: ("I'm very sorry. ", "\nPlease contact customer service for more details."),
        refusals_ko: ("죄송합니다. ", "\n자세한 내용은 고객센터로 문의해 주시기 바랍니다."),
    }[answers]
    for text in answers.REFUSALS:
        for changed in (before + text, text + after, f"**{text}**", f"{text} [1][2]", f'"{text}"', text.replace("'", "’")):
            assert is_refusal(changed), changed
    for text in answers.ANSWERS:
        for changed in (before + text, text + after, f"**{text}**", f"{text} [1]"):
            assert not is_refusal(changed), changed


@LANGUAGES
def test_a_quoted_refusal_is_no_refusal(answers: ModuleType) -> None:
    quoting = {refusals_en: 'The screen shows "{}".', refusals_ko: '화면에 "{}"라고 표시됩니다.'}[answers]
    plain = [text for text in (*answers.REFUSALS, *answers.HELD_OUT_REFUSALS) if '"' not in text]
    assert [text for text in plain if is_refusal(quoting.format(text))] == []


def test_a_conclusion_outweighs_what_leads_to_it() -> None:
    assert is_refusal("Fire and theft are insured. Therefore, it cannot be determined from the passages whether floods are.")
    assert not is_refusal("Fire and theft are insured. The passages do not mention floods.")
    assert not is_refusal("Therefore, it cannot be determined from the passages. Floods are insured up to 5,000 won.")
    assert is_refusal("화재와 도난은 보장됩니다. 따라서 침수가 보장되는지는 알 수 없습니다.")
    assert not is_refusal("화재와 도난은 보장됩니다. 침수는 언급되어 있지 않습니다.")


@pytest.mark.parametrize("text", ["", " \n", "[1]", "...", "죄송합니다.", "I am sorry.", "Please contact us.", '""'])
def test_what_says_nothing_is_no_refusal(text: str) -> None:
    assert not is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "알수없습니다.",
        "알 수\u200b 없습니다.",
        "\u110b\u1161\u11af \u1109\u116e \u110b\u1165\u11b9\u1109\u1173\u11b8\u1102\u1175\u1103\u1161",
    ],
    ids=["no spaces", "zero-width space", "NFD"],
)
def test_the_ways_korean_is_typed(text: str) -> None:
    assert is_refusal(text)


@given(
    st.one_of(
        st.text(max_size=60), st.lists(st.sampled_from([*ALL[:60], "\n", "'", '"', "[", "없어", "if ", ", but "]), max_size=6).map(" ".join)
    )
)
def test_no_text_raises(text: str) -> None:
    assert is_refusal(text) in (True, False)


@pytest.mark.parametrize("piece", ["the ", "'a ", "없어 ", "저는", "[1", "the passage ", "“", "1. ", "해당정보", "no information "])
def test_a_long_text_does_not_hang(piece: str) -> None:
    started = time.perf_counter()
    is_refusal(piece * (60_000 // len(piece)))
    assert time.perf_counter() - started < 3


def test_every_unknown_of_bbq_is_found_and_nothing_else(shared_data: Path) -> None:
    """BBQ labels which of its three answers says that the context does not tell, in 10 wordings."""
    answers: dict[str, bool] = {}
    for file in sorted((shared_data / "bbq").glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            answers |= {record[name]: info[1] == "unknown" for name, info in record["answer_info"].items()}
    assert sum(answers.values()) >= 8
    assert [text for text, unknown in answers.items() if is_refusal(text) != unknown] == []


def test_spans_of_documents_are_hardly_ever_refusals(shared_data: Path) -> None:
    policies = json.loads((shared_data / "policyqa" / "dev.json").read_text(encoding="utf-8"))["data"]
    texts = {
        answer["text"] for policy in policies for part in policy["paragraphs"] for question in part["qas"] for answer in question["answers"]
    }
    assert len(texts) > 2000
    assert sum(map(is_refusal, texts)) <= 1
    with (shared_data / "kornlu" / "sts-dev.tsv").open(encoding="utf-8") as file:
        pairs = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    sentences = {text for row in pairs for text in row[5:7]}
    assert len(sentences) > 2000
    assert sum(map(is_refusal, sentences)) <= 3


@pytest.mark.parametrize(
    "text",
    [
        "계약서에 명시되어 있지 않은 사항은 민법에 따릅니다.",
        "약관에 규정되지 않은 사항은 관계 법령을 적용한다.",
        "확인할 수 없는 부분은 담당자가 직접 방문해 조사합니다.",
        "The document does not have to be signed.",
        "Not covered.",
        "There is no information desk on the second floor.",
        "There is no reference number.",
    ],
)
def test_rules_for_what_is_not_stated_are_answers(text: str) -> None:
    assert not is_refusal(text)
