"""From what a generator wrote to what a user sees: clean-up, citations, refusal, rules, and a note for each."""

import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workbench.datatypes import Note
from workbench.pipeline_postprocess import Processed, clean_up, postprocess, without_citations
from workbench.pipeline_rules import Rule

# --- clean-up -------------------------------------------------------------------------------------------------------------------------

LABELS = [
    *(
        "Answer:",
        "answer :",
        "**Answer:**",
        "**Answer**:",
        "ANSWER:\n",
        "The answer:",
        "Final Answer:",
        "A:",
        "### Answer\n",
        "**Answer**\n",
    ),
    *("Answer: A: Answer:", "Assistant:", "답변:", "답:", "정답:", "최종 답변:", "답변：", "[답변]", "[답변]:", "**정답:**", "## 답변\n"),
]


@pytest.mark.parametrize("label", LABELS)
def test_a_label_in_front_is_removed(label: str) -> None:
    assert clean_up(f"{label} 14 days") == ("14 days", ("removed a label in front",))


@pytest.mark.parametrize(
    ("text", "clean", "done"),
    [
        ("  14 days\n\n", "14 days", ()),  # white space around it is not worth a note
        (unicodedata.normalize("NFD", "14일"), "14일", ("normalised (texts not in NFC)",)),
        (
            "14\u200b days\ud800\r\n",
            "14 days",
            ("normalised (carriage returns)", "normalised (lone surrogates)", "normalised (zero-width characters)"),
        ),
        ("<think>It says 14.\n\nSo:</think>\n\n14 days", "14 days", ("cut a thought",)),
        ("It says 14.</think>14 days", "14 days", ("cut a thought",)),
        ("14 days <THINK>or is it", "14 days", ("cut a thought",)),
        ("<think>Let me see", "", ("cut a thought",)),
        ('"14 days"', "14 days", ("removed quotes around it",)),
        ("“14일”", "14일", ("removed quotes around it",)),
        ("'14 days'", "14 days", ("removed quotes around it",)),
        ("```\n14 days\n```", "14 days", ("removed a code fence around it",)),
        ("```json\n14 days\n```", "14 days", ("removed a code fence around it",)),
        ("14 days\n\nQuestion: And how", "14 days", ("cut a new turn",)),
        ("14일\n질문: 그럼 환불은", "14일", ("cut a new turn",)),
        ("14 days\nUser: thanks\nAssistant: 14", "14 days", ("cut a new turn",)),
        ("14 days\n**Question 2:** And", "14 days", ("cut a new turn",)),
        ("14 days<|im_start|>user", "14 days", ("cut a new turn",)),
        ("14 days<end_of_turn>\n<start_of_turn>user", "14 days", ("cut a new turn",)),
        ("<|im_end|>", "", ("cut a new turn",)),
        ('```\nAnswer: "14 days"\n```\nQ: x', "14 days", None),
        ("Answer:\n\nQuestion: x", "", ("cut a new turn", "removed a label in front")),
        ("It is 14 days.\nIt is 14 days.\nIt is 14 days.", "It is 14 days.", ("cut repeats at the end",)),
        ("Yes. It is 14 days. It is 14 days. It is 14", "Yes. It is 14 days.", ("cut repeats at the end",)),
        ("환불은 14일 안에 됩니다. 환불은 14일 안에 됩니다.", "환불은 14일 안에 됩니다.", ("cut repeats at the end",)),
        ("First a.\nThen b.\nFirst a.\nThen b.\nFirst a.\nTh", "First a.\nThen b.", ("cut repeats at the end",)),
        ("네. 네. 네.", "네.", ("cut repeats at the end",)),
    ],
)
def test_what_is_no_part_of_the_answer_goes(text: str, clean: str, done: tuple[str, ...] | None) -> None:
    assert clean_up(text)[0] == clean
    assert done is None or sorted(clean_up(text)[1]) == sorted(done)


@pytest.mark.parametrize(
    "text",
    [
        "An answer: 14 days", "A new answer: 14", "A. 14 days", "A: 14 days\nB: 20 days", "답변 기한: 14일", "Answering: yes",
        '"No" means no, "yes" means yes', 'He said "14 days"', "'It doesn't matter'", "「홍길동전」",
        "`14 days`", "**14 days**", "**Answer: 14 days**",
        "```\na\n```\nand\n```\nb\n```", "Ask the question: how long?", "The user: you", "Question: what?", "I think <b> it is", "a < b",
        "12\n12", "네. 네.", "0\n0\n0", "Monday\n9 to 5 o'clock\nTuesday\n9 to 5 o'clock", "It is 14 days. It is 14 nights.",
        "It is 14 days. Twice: It is 14 days.", "Yes, yes, yes, yes, yes", "- a\n- b\n- c", "14 days [1]. [2]", "",
    ],
)  # fmt: skip
def test_everything_else_stays(text: str) -> None:
    assert clean_up(text) == (text, ())


PIECES = [
    *(
        "Answer:",
        "답변:",
        "A:",
        "B:",
        "**",
        "Answer",
        "[답변]",
        "#",
        "```",
        "```py\n",
        '"',
        "“",
        "”",
        "'",
        "<think>",
        "</think>",
        "<|im_end|>",
    ),
    *(
        "\n",
        " ",
        "\nQ:",
        "\n질문:",
        "It is so. ",
        "It is so.\n",
        "네. ",
        "x",
        "1",
        "e",
        "\u0301",
        "\u200b",
        "\ud800",
        "\u0958",
        "[1]",
        "\r",
    ),
]
WILD = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=14).map("".join))


@settings(max_examples=500)
@given(WILD)
@example("<thi<think></think>nk>x")
@example("e<think></think>\u0301")
@example("It is so. It is so. x It is so. It is so. x It is so. It is so. x")
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    clean, _ = clean_up(text)
    assert clean_up(clean) == (clean, ())
    assert clean == clean.strip() == unicodedata.normalize("NFC", clean)
    assert len(clean) <= len(unicodedata.normalize("NFC", text))


# --- citations ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "numbers", "bare"),
    [
        ("14 days [1].", (1,), "14 days."),
        ("14일입니다[2][1].", (1, 2), "14일입니다."),
        ("14 days [1, 3], [2; 4].", (1, 2, 3, 4), "14 days."),
        ("14 days [2-4] a fee [1–2].", (1, 2, 3, 4), "14 days a fee."),
        ("14일【1】이고 5천 원【2†source】입니다.", (1, 2), "14일이고 5천 원입니다."),
        ("14일 [문서 2], 5천 원 [문서 1, 문서 3]", (1, 2, 3), "14일, 5천 원"),
        ("14일 (출처: 3) 5천 원(출처: 문서 2번)", (2, 3), "14일 5천 원"),
        ("14 days [Passage 2] or so (source: 3) and [^1]", (1, 2, 3), "14 days or so and"),
        ("[1] 14 days\n[2] 5,000 won", (1, 2), "14 days\n 5,000 won"),
        ("in [2024], [350], [0, 1], [1990-2005], [1.5], [x], []", (), None),
        ("(2) and (3 days), [Article 3], [제3조], [표 2], passage 2", (), None),
        ("`values[1]` and ```\nvalues[2]\n```", (), None),
    ],
)
def test_citations(text: str, numbers: tuple[int, ...], bare: str | None) -> None:
    processed = postprocess(text, passages=5)
    assert (processed.text, processed.citations, processed.notes) == (text, numbers, ())
    assert without_citations(text) == (text if bare is None else bare)


@pytest.mark.parametrize(
    ("text", "passages", "numbers", "note"),
    [
        ("a [1][7]", 5, (1,), "cites passage 7 of 5"),
        ("a [9, 7], b [6-7]", 5, (), "cites passages 6, 7, 9 of 5"),
        ("a [1]", 0, (), "cites passage 1 of 0"),
        ("a [2-99]", 3, (2, 3), "cites passages 4, 5, 6, 7, 8 and more of 3"),
        ("a [99-1]", 1, (1,), "cites passages 2, 3, 4, 5, 6 and more of 1"),
    ],
)
def test_a_passage_that_was_not_given_is_noted(text: str, passages: int, numbers: tuple[int, ...], note: str) -> None:
    processed = postprocess(text, passages)
    assert processed.citations == numbers
    assert processed.notes == (Note("citations", note),)


# --- all hooks ------------------------------------------------------------------------------------------------------------------------

HIDE = Rule(name="hide", pattern=r"\d{3}-\d{4}", action="replace", text="[hidden]")
STOP = Rule(name="stop", pattern="secret", action="refuse", text="I may not say that.")
NOTICE = Rule(name="notice", pattern="^", action="append", text="The fee is 5,000 won.")


def test_the_hooks_run_in_order_and_leave_notes() -> None:
    assert postprocess("Answer: Call 123-4567 [1][3].\nQuestion: x", 2, [HIDE, STOP]) == Processed(
        "Call [hidden] [1][3].",
        False,
        (1,),
        (
            Note("clean-up", "cut a new turn"),
            Note("clean-up", "removed a label in front"),
            Note("citations", "cites passage 3 of 2"),
            Note("rules", "rule 'hide': replaced 1 place"),
        ),
    )


def test_refusals() -> None:
    english = postprocess("I don't know.", 2)
    assert (english.text, english.refused, english.notes) == ("I don't know.", True, (Note("refusal", "gives no answer"),))
    assert postprocess('답변: "문서에서 답을 찾을 수 없습니다."', 2).refused
    assert not postprocess("환불할 수 없습니다.", 2).refused
    assert postprocess("", 2) == Processed("", False, (), ())


def test_rules_see_refusals_and_may_refuse() -> None:
    assert postprocess("I don't know the secret [1].", 1, [STOP]).text == STOP.text
    stopped = postprocess("The secret is 7 [1].", 1, [STOP, NOTICE])
    assert (stopped.text, stopped.refused, stopped.citations) == (STOP.text, True, ())  # what is not shown cites nothing
    assert postprocess("I don't know.", 1, [NOTICE]).refused  # a notice is no answer


def test_notes_never_quote_the_answer() -> None:
    loop = "My number is 123-4567. " * 3
    processed = postprocess(f"<think>123-4567</think>Answer: {loop}\nQuestion: 123-4567", 0, [HIDE])
    assert processed.text == "My number is [hidden]."
    assert len(processed.notes) == 5
    assert "4567" not in repr(processed)


@settings(max_examples=300)
@given(WILD, st.integers(0, 12))
def test_no_text_raises_and_citations_exist(text: str, passages: int) -> None:
    processed = postprocess(text, passages, [HIDE, STOP, NOTICE])
    assert list(processed.citations) == sorted(set(processed.citations))
    assert all(1 <= number <= passages for number in processed.citations)
    assert all("\n" not in note.text for note in processed.notes)
    bare = without_citations(text)
    assert len(bare) <= len(text)
    processed.text.encode("utf-8")


@pytest.mark.parametrize(
    "piece",
    [
        "A: ",
        "<think>",
        "</think>",
        "\n ",
        '"',
        "[1",
        "[1] ",
        "(출처: ",
        "```",
        "It is so. ",
        "a\nb\n",
        "<thi<think></think>nk>",
        "**Answer",
    ],
)
def test_a_long_text_does_not_hang(piece: str) -> None:
    started = time.perf_counter()
    postprocess(piece * (60_000 // len(piece)), 5)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    "text",
    [
        "Revenue by quarter:\nQ1: 5 million\nQ2: 6 million",
        "매출:\nQ1: 5억\nQ2: 6억",
        "Log in with:\nUser: admin\nPassword: x",
        "신청 정보는 다음과 같습니다.\n사용자: 홍길동\n금액: 5원",
    ],
)
def test_lines_that_only_look_like_a_turn_stay(text: str) -> None:
    assert clean_up(text) == (text, ())


@pytest.mark.parametrize("marker", ["<|assistant|>\n", "<|im_start|>assistant\n", "<start_of_turn>model\n"])
def test_a_role_marker_in_front_is_removed_and_the_answer_stays(marker: str) -> None:
    assert clean_up(f"{marker}The fee is 5 won.")[0] == "The fee is 5 won."


def test_white_space_after_a_label_takes_no_long_time() -> None:
    start = time.process_time()
    without_citations("[ref" + " " * 20_000 + "x")
    postprocess("[ref" + " " * 20_000 + "x", 3)
    assert time.process_time() - start < 5  # it was quadratic: a minute
