"""The answer in a formatted completion: strict JSON, or what follows the last marker; anything else stays whole and is invalid."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.datatypes import Note, WorkbenchError
from workbench.pipeline_formats import find_answer
from workbench.pipeline_postprocess import Processed, clean_up, postprocess
from workbench.pipeline_rules import Rule

REFUSAL = "The passages do not say."


def read(text: str, format: str = "json", marker: str = "", passages: int = 3, rules: tuple[Rule, ...] = ()) -> Processed:
    return postprocess(text, passages, rules, format, marker, REFUSAL)


# --- JSON -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"answer": "14 days"}', "14 days"),
        ('{"answer": "14일", "quote": "기간은 14일입니다."}', "14일"),
        ('{"quote": null, "answer": "14 days"}', "14 days"),
        ('```json\n{\n "answer": "14 days"\n}\n```', "14 days"),
        ('```{"answer": "14 days"}```', "14 days"),
        ('Answer: {"answer": "14 days"}\n\nQuestion: And', "14 days"),
        ('<think>{"answer": 1}</think>{"answer": "14 days"}', "14 days"),
        (r'{"answer": "\"14\" days\n\u200bor\u0020so \\ {x}"}', '"14" days\nor so \\ {x}'),
        ('{"answer": " Answer: “14 days” "}', "14 days"),
        ('{"answer": "{\\"answer\\": null}"}', '{"answer": null}'),
        ('{"answer": "\\ud800 14"}', "14"),
    ],
)
def test_the_answer_of_a_json_object(text, answer):
    done = read(text)
    assert (done.text, done.valid, done.refused) == (answer, True, False)


FAULTS = [
    ("14 days", "is no JSON: Extra data: line 1 column 4 (char 3)"),
    ("It is 14 days", "is no JSON: Expecting value: line 1 column 1 (char 0)"),
    ("", "is no JSON: Expecting value"),
    ('{"answer": "14', "is no JSON: Unterminated string"),
    ('{"answer": "14"', "is no JSON: Expecting ',' delimiter"),
    ("{'answer': '14'}", "is no JSON: Expecting property name"),
    ('{"answer": "14",}', "is no JSON"),
    ('{"answer": "1\n4"}', "is no JSON: Invalid control character"),
    ('{"answer": "14"} I hope this helps.', "is no JSON: Extra data"),
    ('Here it is: {"answer": "14"}', "is no JSON: Expecting value"),
    ('```json\n{"answer": "14"}\n```\nDone.', "is no JSON: Expecting value"),
    ('{"answer": "14"}\n{"answer": "15"}', "is no JSON: Extra data"),
    ('[{"answer": "14"}]', "is JSON, but no object"),
    ("null", "is JSON, but no object"),
    ("14", "is JSON, but no object"),
    ("{}", "is a JSON object without the key 'answer'"),
    ('{"quote": "x"}', "without the key 'answer'"),
    ('{"Answer": "14"}', "without the key 'answer'"),
    ('{"answer": "14", "source": "secret"}', "with other keys than 'answer' and 'quote'"),
    ('{"answer": "14", "answer": "15"}', "is a JSON object with a key twice"),
    ('{"answer": "14", "quote": {"a": 1, "a": 2}}', "with a key twice"),
    ('{"answer": 14}', "with values that are neither text nor null"),
    ('{"answer": true}', "neither text nor null"),
    ('{"answer": ["14"]}', "neither text nor null"),
    ('{"answer": "14", "quote": ["x"]}', "neither text nor null"),
    ('{"answer": NaN}', "NaN and Infinity are no numbers there"),
    ('{"answer": -Infinity}', "NaN and Infinity"),
    ('{"answer": "14", "quote": ' + "9" * 5000 + "}", "holds a number too long to be read"),
    ("[" * 100_000, "nested too deep"),
    ('{"answer": ""}', "gives an empty answer"),
    ('{"answer": " \\n"}', "gives an empty answer"),
    ('{"answer": "답변: "}', "gives an empty answer"),
]


@pytest.mark.parametrize(("text", "fault"), FAULTS, ids=[text[:30] for text, _ in FAULTS])
def test_anything_else_is_invalid_kept_whole_and_not_repaired(text, fault):
    done = read(text)
    assert (done.text, done.valid) == (clean_up(text)[0], False)
    assert [note for note in done.notes if note.hook == "format" and fault in note.text]
    assert not any(said in note.text for note in done.notes for said in ("days", "secret", "hope", "source", "Here"))


def test_null_refuses_with_the_sentence_of_the_prompt():
    for text in ('{"answer": null}', '{"answer": null, "quote": null}', '{"answer": null, "quote": "It is 14 days [1]."}'):
        assert read(text) == Processed(REFUSAL, True, (), (Note("refusal", "gives no answer"),), True)
    assert read('{"answer": "The passages do not say."}').refused


def test_citations_and_rules_see_the_answer_alone():
    hide = Rule(name="hide", pattern="14|quote", action="replace", text="[hidden]")
    done = read('{"answer": "14 days [2][9]", "quote": "[1] 14"}', rules=(hide,))
    assert (done.text, done.citations) == ("[hidden] days [2][9]", (2,))
    assert [note.hook for note in done.notes] == ["citations", "rules"]


# --- markers ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("It says so.\nAnswer: 14 days", "14 days"),
        ("Answer: 14 days", "14 days"),  # nothing before it; clean-up must not take the marker for a label
        ("  answer : 14 days", "14 days"),
        ("It says so.\n\nANSWER：\n14 days\nor 15", "14 days\nor 15"),
        ("It says so.\n**Answer:** 14 days", "14 days"),
        ("It says so.\n**Answer**: 14 days", "14 days"),
        ("It says so.\n**Answer: 14 days**", "14 days"),
        ("It says so.\n**Answer:** **14 days**", "**14 days**"),
        ('It says so.\nAnswer: "14 days"', "14 days"),
        ("Answer: 3 days is wrong.\nSo I look again.\nAnswer: 14 days", "14 days"),  # a quoted passage may hold the marker
        ("It says so.\nAnswer: see Answer: 14 days", "see Answer: 14 days"),
        ("```\nIt says so.\nAnswer: 14 days\n```", "14 days"),
        ("<think>Answer: 3</think>It says so.\nAnswer: 14 days\n\nQuestion: And?\nAnswer: 3", "14 days"),
        ("It says so.\nAnswer: Final answer: 14 days", "14 days"),
    ],
)
def test_the_answer_follows_the_last_marker(text, answer):
    done = read(text, "marked", "Answer:")
    assert (done.text, done.valid) == (answer, True)


@pytest.mark.parametrize(
    ("text", "kept", "fault"),
    [
        ("It says 14 days.", "It says 14 days.", "lacks the marker 'Answer:' at the start of a line"),
        ("It says: Answer: 14 days", "It says: Answer: 14 days", "lacks the marker"),
        ("Answers: 14", "Answers: 14", "lacks the marker"),
        ("**Answer**\n14 days", "14 days", "lacks the marker"),
        ("Final answer: 14 days", "14 days", "lacks the marker"),  # then it is cleaned like any text
        ("It says 14.\nAnswer:", "It says 14.\nAnswer:", "gives an empty answer"),
        ("It says 14.\nAnswer: 14\nAnswer: ", "It says 14.\nAnswer: 14\nAnswer:", "gives an empty answer"),
        ('It says 14.\nAnswer: ""', 'It says 14.\nAnswer: ""', "gives an empty answer"),
        ("", "", "lacks the marker"),
    ],
)
def test_without_a_marker_the_text_is_kept_whole(text, kept, fault):
    done = read(text, "marked", "Answer:")
    assert (done.text, done.valid) == (kept, False)
    assert any(note.hook == "format" and note.text.startswith(fault) and "14" not in note.text for note in done.notes)


def test_korean_markers_and_refusals():
    done = read("기간은 14일입니다. [1]\n답변： 14일 [2]", "marked", "답변:")
    assert (done.text, done.citations, done.valid, done.refused) == ("14일 [2]", (2,), True, False)
    assert read("없음\n답변: 문서에서 답을 찾을 수 없습니다.", "marked", "답변:").refused
    refused = read("문서에서 답을 찾을 수 없습니다.", "marked", "답변:")
    assert (refused.refused, refused.valid) == (True, False)
    assert not read("기간은 알 수 없습니다.\n답변: 14일", "marked", "답변:").refused
    assert read("생각 끝\n결론 14일", "marked", "결론").text == "14일"
    assert read("생각 끝\n결론적으로 14일", "marked", "결론").valid is False


# --- any text ---------------------------------------------------------------------------------------------------------------------

PIECES = [
    '{"answer": ',
    '"quote": ',
    '"14 days"',
    "null",
    "}",
    "{",
    ", ",
    "[",
    "]",
    '"',
    "\\",
    "Answer:",
    "**",
    "\n",
    "```",
    "NaN",
    "1",
    "가",
    " ",
    "：",
]
WILD = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=10).map("".join))


@settings(max_examples=300)
@given(WILD)
def test_no_text_raises_and_an_invalid_one_is_cleaned_like_any_other(text):
    plain = postprocess(text, 3)
    assert plain.valid is None
    for format, marker in (("json", ""), ("marked", "Answer:")):
        done = read(text, format, marker)
        assert done.valid is not None
        assert bool(done.text) or not done.valid
        assert done.valid == (not any(note.hook == "format" for note in done.notes))
        assert done.valid or done.text == plain.text


@given(st.text(min_size=1, max_size=30), st.none() | st.text(max_size=30), st.booleans())
def test_what_json_writes_is_read(answer, quote, ascii_only):
    cleaned = clean_up(answer)[0]
    done = read(json.dumps({"answer": answer, "quote": quote}, ensure_ascii=ascii_only))
    if ascii_only:  # else clean-up may change the written characters before they are read
        assert (done.text, done.valid) == (cleaned, True) if cleaned else done.valid is False


@pytest.mark.parametrize("piece", ['{"answer":', '"', "Answer:", "\n**Answer:", "\nAnswer: \n", "** ", "\n    ", "[[", "\\"])
def test_a_long_text_does_not_hang(piece):
    started = time.process_time()
    for format, marker in (("json", ""), ("marked", "Answer:")):
        read(piece * (60_000 // len(piece)), format, marker)
    assert time.process_time() - started < 5


def test_an_unknown_format_is_an_error():
    with pytest.raises(WorkbenchError, match="unknown format 'xml'; json and marked hold an answer"):
        read("x", "xml")
    with pytest.raises(WorkbenchError, match="unknown format 'text'"):
        find_answer("x", "text", "")
