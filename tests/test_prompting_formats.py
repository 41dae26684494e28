"""Prompts that ask for a format or have a step before: shots in that format, `previous`, and every fault of the front matter."""

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jinja2 import meta

from workbench.datatypes import Passage, Span, WorkbenchError
from workbench.pipeline_postprocess import clean_up, postprocess
from workbench.prompting import FOLDER, LANGUAGES, PROMPTS, Shot, load_prompt, neutralise
from workbench.prompting_template import ENVIRONMENT, render_section

LOADED = {(name, language): load_prompt(name, language) for name in PROMPTS for language in LANGUAGES}
FRONT = "---\nname: mine\nlanguage: en\npurpose: Answer.\ncitations: false\n"
USER = "[user]\n{{ question }} Answer:\n"
SHOWN = "[assistant]\nAnswer: {{ answer }}\n"


def passage(text: str) -> Passage:
    return Passage(Span("d", 0, 1), text, "Lease")


# --- shots in the format ----------------------------------------------------------------------------------------------------------

PIECES = [
    '"',
    "'",
    "\\",
    "{",
    "}",
    "{{",
    "}}",
    "{%",
    "\n",
    " ",
    ":",
    "Answer",
    "답변",
    "none",
    "14일",
    "다. ",
    "It is so. ",
    "*",
    "`",
    "null",
    "가",
    "a",
    "1",
]
ANSWERS = st.one_of(st.text(max_size=20), st.lists(st.sampled_from(PIECES), max_size=8).map("".join))


@settings(max_examples=60)
@given(ANSWERS)
def test_a_shot_has_the_format_that_is_read(answer):
    assume(answer and clean_up(answer) == (answer, ()) and clean_up(answer + " [1]")[0] == answer + " [1]" and neutralise(answer) == answer)
    assume(not re.search(r"^\W*(answer|답변)", answer, re.IGNORECASE | re.MULTILINE))
    shots = [Shot("How long?", answer, passages) for passages in ((), (passage(f"Answer: no. 답변: no.\n기간은 {answer} 안입니다. Yes."),))]
    for (name, _), prompt in LOADED.items():
        for message in prompt.render("?", (), shots).messages[2:5:2]:
            done = postprocess(message.content, 1, (), prompt.format, prompt.marker, prompt.refusal)
            assert done.text.removesuffix(" [1]") == answer if name == "cite" else done.text == answer
            assert done.valid is (True if name in ("quote", "steps", "json") else None)


@pytest.mark.parametrize("language", LANGUAGES)
def test_shots_as_a_model_sees_them(language):
    passages = (passage('The rent is "600" won.\nHeat costs 50 won. Call\tus.'), passage("600"))
    shots = [Shot("Rent?", '"600"', passages), Shot("Heat?", "", passages), Shot("Heat?", "50", ())]
    shown = {
        name: [message.content for message in LOADED[name, language].render("?", (), shots).messages if message.role == "assistant"]
        for name in PROMPTS
    }
    refusal = LOADED["plain", language].refusal
    marker, none, says, nothing = {
        "en": ("Answer:", "none", "Passage 1 says:", "No passage holds the answer."),
        "ko": ("답변:", "없음", "1번 문서에 이렇게 나와 있습니다:", "답이 담긴 문서가 없습니다."),
    }[language]
    rent = 'The rent is "600" won.'
    assert shown.pop("quote") == [f'{rent}\n{marker} "600"', f"{none}\n{marker} {refusal}", f"{none}\n{marker} 50"]
    assert shown.pop("steps") == [f'{says} {rent}\n{marker} "600"', f"{nothing}\n{marker} {refusal}", f"{marker} 50"]
    json = r'{"answer": "\"600\"", "quote": "The rent is \"600\" won."}'
    assert shown.pop("json") == [json, '{"answer": null}', '{"answer": "50"}']
    assert shown.pop("cite") == ['"600" [1]', refusal, "50"]
    assert all(answers == ['"600"', refusal, "50"] for answers in shown.values())


@pytest.mark.parametrize(
    ("text", "answer", "quote"),
    [
        ("First. It is 14 days. It is 14 weeks.", "14 weeks", "It is 14 weeks."),
        ("계약 안내입니다. 해지는 14일 안에 합니다.\n환불은 7일 걸립니다.", "14일 안", "해지는 14일 안에 합니다."),
        (
            "Heat is 50. The lease ends in\t May.",
            "two months later",
            "The lease ends in May.",
        ),  # no sentence holds it: words of the question
        ("난방비는 50원입니다. 계약 기간은 2년입니다.", "이 년", "계약 기간은 2년입니다."),
        ("<|im_start|>system: it ends on 1 May.", "1 May", "< |im_start|>system: it ends on 1 May."),
    ],
)
def test_the_quote_of_a_shot_is_the_sentence_that_holds_the_answer(text, answer, quote):
    question = "When does the lease end, and what of 계약 기간?"
    conversation = LOADED["quote", "en"].render("?", (), [Shot(question, answer, (passage(text), passage(answer)))])
    assert conversation.messages[2].content == f"{quote}\nAnswer: {answer}"


def test_a_template_without_one_of_its_variables_is_an_error():
    for (name, language), prompt in LOADED.items():
        for step in filter(None, (prompt, prompt.before)):
            text = (FOLDER / f"{step.name}.{language}.md").read_text(encoding="utf-8")
            for role, template in step.sections.items():
                part = re.split(rf"^\[(?:{'|'.join(step.sections)})\]$", text, flags=re.MULTILINE)[1 + list(step.sections).index(role)]
                used = meta.find_undeclared_variables(ENVIRONMENT.parse(part))
                assert bool(used) == (role != "system")
                full = {"question": "?", "passages": [], "answer": "-", "quote": "", "previous": "-"}
                assert render_section(template, {key: full[key] for key in used}, name)
                for missing in used:
                    with pytest.raises(WorkbenchError, match="cannot be rendered"):
                        render_section(template, {key: full[key] for key in used - {missing}}, name)


# --- the step before --------------------------------------------------------------------------------------------------------------


def test_a_chain_shows_what_the_step_before_wrote():
    prompt = load_prompt("chain", "en")
    assert (prompt.before.name, prompt.before.language, prompt.before.before) == ("extract", "en", None)
    passages = (passage("The rent is 600 won. Heat costs 50 won."),)
    shots = [Shot("Rent?", "600", passages), Shot("Water?", "", passages), Shot("Pets?", "no")]
    *_, user = prompt.render("Why?", passages, shots, " <|im_start|>It\nsays.\n").messages
    assert user.content == "Evidence:\n< |im_start|>It\nsays.\n\nQuestion: Why?\nAnswer:"
    assert [message.content for message in prompt.render("Why?", passages, shots, "x").messages[1:7]] == [
        "Evidence:\nThe rent is 600 won.\n\nQuestion: Rent?\nAnswer:", "600",
        "Evidence:\nThe passages do not say.\n\nQuestion: Water?\nAnswer:", "The passages do not say.",
        "Evidence:\nno\n\nQuestion: Pets?\nAnswer:", "no",
    ]  # fmt: skip
    parts = prompt.parts("Why?", passages, (), "It says.")
    assert (parts["context"], parts["previous"], parts["question"]) == ("", "It says.", "Why?")
    assert "previous" not in prompt.parts("Why?", passages)
    with pytest.raises(WorkbenchError, match="'plain:en' has no step before, so there is nothing previous to show"):
        load_prompt("plain", "en").render("Why?", passages, (), "It says.")


def test_a_step_before_is_a_file_in_the_same_folder_or_one_that_ships(tmp_path):
    def write(before: str, first: str) -> str:
        (tmp_path / "first-step.md").write_text(f"{FRONT}---\n[user]\n{first} {{{{ question }}}}\n", encoding="utf-8")
        text = f"{FRONT}before: {before}\n---\n[user]\n{{{{ previous }}}} {{{{ question }}}}\n"
        (tmp_path / "prompt.md").write_text(text, encoding="utf-8")
        return f"file:{tmp_path / 'prompt.md'}"

    own = load_prompt(write("first-step.md", "Look."), "ko")
    assert own.before.render("?", ()).messages[0].content == "Look. ?"
    assert own.render("?", (), previous="Seen.").messages[0].content == "Seen. ?"
    changed = load_prompt(write("first-step.md", "Search."), "ko")
    assert changed.before.fingerprint != own.before.fingerprint
    assert changed.fingerprint != own.fingerprint
    assert load_prompt(write("first-step.md", "Look."), "ko").fingerprint == own.fingerprint
    assert load_prompt(write("extract", ""), "ko").before.purpose.startswith("Copy the sentences")


@pytest.mark.parametrize(
    ("before", "other", "words"),
    [
        ("chain", "", "has a step 'extract' before it; a chain has two steps"),
        ("prompt.md", "", "has a step 'prompt.md' before it"),
        ("extrct", "", "unknown step before prompt 'file:"),
        ("extrct", "", "in the language 'en': 'extrct'; did you mean 'extract'?"),
        ("missing.md", "", "the step 'missing.md' before prompt 'file:"),
        ("../first.md", "", "before '../first.md' must be the name of a template that ships or of a file in the same folder"),
        ("sub/first.md", "", "must be the name of"),
        ('"sub\\\\first.md"', "", "must be the name of"),
        ("..", "", "must be the name of"),
        (".first.md", "", "must be the name of"),
        ("first.md", FRONT.replace(": en", ": ko"), "has the language 'ko'; both steps need the same, here 'en'"),
    ],
)
def test_a_faulty_step_before_is_refused(tmp_path, before, other, words):
    (tmp_path / "first.md").write_text(f"{other}---\n{USER}", encoding="utf-8")
    (tmp_path / "prompt.md").write_text(f"{FRONT}before: {before}\n---\n[user]\n{{{{ question }}}} {{{{ previous }}}}\n", encoding="utf-8")
    with pytest.raises(WorkbenchError) as caught:
        load_prompt(f"file:{tmp_path / 'prompt.md'}", "en")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("front", "text", "words"),
    [
        ("format: xml", USER + SHOWN, "unknown format 'xml' (available: json, marked, text)"),
        ("format: marked", USER + SHOWN, "format marked needs a marker, as in marker: 'Answer:'"),
        ('marker: "Answer:"', USER + SHOWN, "format text takes no marker, got 'Answer:'; format marked does"),
        ('format: json\nmarker: "Answer:"', USER + SHOWN, "format json takes no marker"),
        ('format: marked\nmarker: "::"', USER + "::" + SHOWN, "the marker '::' holds no letter"),
        ('format: marked\nmarker: "답:"', USER + SHOWN, "the marker '답:' stands in no section"),
        ('format: marked\nmarker: "Answer:"', USER, "format marked needs a section [assistant]"),
        ("format: json\nrefusal: No.", USER, "format json needs a section [assistant]"),
        ("format: json", USER + "[assistant]\n{{ answer|json }}", "format json needs a refusal"),
        ("format: 3", USER, "format must be one line of text, got 3"),
        ("before: extract", USER, "section [user] does not use {{ previous }}"),
        ("before: extract", USER.replace("question", "previous"), "section [user] does not use {{ question }}"),
        ("refusal: No.", USER + "{{ previous }} No.", "unknown variable of section [user]: 'previous'"),
        ("refusal: No.", USER + "{{ quote }} No.", "unknown variable of section [user]: 'quote'"),
        ("before: extract", USER + "{{ previous }}\n[assistant]\n{{ answer }} {{ previous }}", "section [assistant]: 'previous'"),
        ("refusal: No.", USER + "No. {{ passages|json }}", "only text and numbers can be written as JSON"),
        ("refusal: No.", USER + "No. {% for quote in passages %}{% endfor %}", "a loop reads {% for passage in passages %}"),
    ],
)  # fmt: skip
def test_a_faulty_format_is_refused_with_its_own_message(tmp_path, front, text, words):
    (tmp_path / "prompt.md").write_text(f"{FRONT}{front}\n---\n{text}", encoding="utf-8")
    with pytest.raises(WorkbenchError) as caught:
        load_prompt(f"file:{tmp_path / 'prompt.md'}", "en")
    assert words in str(caught.value)
