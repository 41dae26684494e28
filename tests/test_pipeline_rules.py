"""Operators' rules: what each action does, what a wrong file says (IN7), and that no pattern hangs (LM8)."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import pipeline_rules, storage
from workbench.datatypes import Note, WorkbenchError
from workbench.pipeline_rules import MAX_RULES, Rule, apply_rules, load_rules

PHONE = r"\d{2,3}-\d{3,4}-\d{4}"
FILE = rf"""
- name: hide phone numbers
  pattern: '{PHONE}'     # searched in the answer
  action: replace
  text: '[phone number removed]'
- name: 의료 조언
  pattern: '(?i)복용량|dosage'
  action: refuse
  text: 의사와 상담하세요.
- name: notice
  pattern: '^'
  action: append
  text: This is no legal advice.
"""


def rule(action: str, pattern: str = PHONE, text: str = "[removed]", name: str = "one") -> Rule:
    return Rule(name=name, pattern=pattern, action=action, text=text)


@pytest.fixture
def rules(tmp_path: Path) -> tuple[Rule, ...]:
    (tmp_path / "rules.yaml").write_text(FILE, encoding="utf-8")
    return load_rules(tmp_path / "rules.yaml")


def test_rules_of_a_file_run_in_its_order(rules: tuple[Rule, ...]) -> None:
    assert apply_rules("02-123-4567 또는 010-1234-5678로 전화하세요.", rules) == (
        "[phone number removed] 또는 [phone number removed]로 전화하세요.\n\nThis is no legal advice.",
        False,
        (Note("rules", "rule 'hide phone numbers': replaced 2 places"), Note("rules", "rule 'notice': appended its text")),
    )
    assert apply_rules("The DOSAGE is 5 mg, call 02-123-4567.", rules) == (
        "의사와 상담하세요.",
        True,
        (Note("rules", "rule 'hide phone numbers': replaced 1 place"), Note("rules", "rule '의료 조언': refused")),
    )


def test_rules_that_find_nothing_leave_no_trace(rules: tuple[Rule, ...]) -> None:
    assert apply_rules("14 days", rules[:2]) == ("14 days", False, ())
    assert apply_rules("14 days", ()) == ("14 days", False, ())


@pytest.mark.parametrize("text", [r"\1 \g<0> {0} $1", "", "0"])
def test_the_text_of_a_rule_is_literal(text: str) -> None:
    assert apply_rules("call 02-123-4567 now", [rule("replace", "(" + PHONE + ")", text)])[0] == f"call {text} now"


def test_an_empty_match_is_no_place() -> None:
    assert apply_rules("abba", [rule("replace", "a*", "-")])[0] == "-bb-"
    assert apply_rules("abba", [rule("replace", "x*|^", "-")]) == ("abba", False, ())


def test_a_later_rule_sees_what_an_earlier_one_left() -> None:
    assert apply_rules("a", [rule("replace", "a", "b"), rule("replace", "b", "c")])[0] == "c"
    assert apply_rules("b", [rule("replace", "a", "b"), rule("append", "a", "x"), rule("replace", "b", "c")])[0] == "c"


def test_a_text_is_appended_once() -> None:
    text, _, notes = apply_rules("a a a", [rule("append", "a", "Notice."), rule("append", "a", "Notice.", name="two")])
    assert text == "a a a\n\nNotice."
    assert len(notes) == 1
    assert apply_rules(text, [rule("append", "a", "Notice.")]) == (text, False, ())


def test_a_pattern_in_nfd_finds_nfc() -> None:
    decomposed = unicodedata.normalize("NFD", "환불")
    assert apply_rules("환불 가능", [rule("replace", decomposed, unicodedata.normalize("NFD", "교환"))])[0] == "교환 가능"


@given(st.text(max_size=80))
def test_no_answer_raises_and_none_keeps_a_match(text: str) -> None:
    changed, refused, _ = apply_rules(text, [rule("replace", r"[0-9]", "")])
    assert changed == "".join(character for character in text if character not in "0123456789")
    assert not refused


@pytest.mark.parametrize("action", ["replace", "refuse", "append"])
def test_a_pattern_that_backtracks_for_ever_is_an_error(action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pipeline_rules.TIMEOUT_SECONDS == 1
    monkeypatch.setattr(pipeline_rules, "TIMEOUT_SECONDS", 0.1)
    with pytest.raises(
        WorkbenchError, match=r"rule 'slow': its pattern takes more than 0.1 s on an answer of 41 characters; make it simpler"
    ):
        apply_rules("a" * 40 + "!", [rule(action, r"(?:a|a|aa)+$", name="slow")])  # would take hours


def test_the_time_is_for_all_matches_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_rules, "TIMEOUT_SECONDS", 0.2)
    slow = rule("replace", r"(?:a|a|aa)+\$|!", name="slow")  # about a millisecond to each exclamation mark
    assert apply_rules("a" * 10 + "! ", [slow])[0] == "a" * 10 + "[removed] "
    with pytest.raises(WorkbenchError, match="rule 'slow'"):
        apply_rules(("a" * 10 + "! ") * 2000, [slow])


def test_rules_can_be_fingerprinted(rules: tuple[Rule, ...]) -> None:
    plain = [one.model_dump() for one in rules]
    assert plain[0] == {"name": "hide phone numbers", "pattern": PHONE, "action": "replace", "text": "[phone number removed]"}
    assert [Rule(**one) for one in plain] == list(rules)
    assert len({storage.fingerprint(one) for one in plain}) == 3


GOOD = {"name": "'x'", "pattern": "'a'", "action": "refuse", "text": "'no'"}


def entry(**changes: str | None) -> str:
    fields = {key: value for key, value in (GOOD | changes).items() if value is not None}
    return "\n".join(f"{'- ' if number == 0 else '  '}{key}: {value}" for number, (key, value) in enumerate(fields.items())) + "\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"rules\.yaml must be a list of rules, each with name, pattern, action, text"),
        ("name: x", "must be a list of rules"),
        ("- 7", r"rules\.yaml, rule 1: must be a mapping with name, pattern, action, text, got 7"),
        (entry() + entry(name="'y'", action="replce"), r"rule 2 \('y'\): unknown action 'replce'; did you mean 'replace'\?"),
        (entry(patern="'a'"), r"rule 1 \('x'\): unknown field 'patern'; did you mean 'pattern'\?"),
        (entry(pattern="'a(b'"), r"rule 1 \('x'\): pattern: is no regular expression: missing \) at position 3"),
        (entry(pattern="''"), r"rule 1 \('x'\): pattern: String should have at least 1 character"),
        (entry(pattern=None), r"rule 1 \('x'\): pattern: Field required"),
        (entry(pattern="12"), r"rule 1 \('x'\): pattern: Input should be a valid string"),
        (entry(action="no"), r"rule 1 \('x'\): action: Input should be 'replace', 'refuse' or 'append'"),  # YAML reads no as false
        (entry(text="' '"), r"rule 1 \('x'\): text: must not be empty when the action is refuse"),
        (entry(text="' '", action="append"), "text: must not be empty when the action is append"),
        (entry(name=None), r"rule 1: name: Field required"),
        (entry(name="''"), r"rule 1 \(''\): name: String should have at least 1 character"),
        (entry(name='"a\\nb"'), r"name: must be one line without space around it"),
        (entry(name="' a'"), "name: must be one line"),
        (entry() + entry(pattern="'b'"), r"rule 2: another rule has the name 'x'"),
        ("".join(entry(name=f"'{number}'") for number in range(MAX_RULES + 1)), "holds 201 rules, more than 200"),
        ("- &a {name: x}\n- *a", "aliases"),
        (entry() + "  text: 'again'\n", "duplicate key 'text'"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_the_place(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(WorkbenchError, match=message) as caught:
        load_rules(path)
    assert "rules.yaml" in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="no such file"):
        load_rules(tmp_path / "rules.yaml")


def test_as_many_rules_as_allowed(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("".join(entry(name=f"'{number}'") for number in range(MAX_RULES)), encoding="utf-8")
    assert len(load_rules(path)) == MAX_RULES
