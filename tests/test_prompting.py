"""Prompts: what ships, how shots and passages become messages, and that untrusted text stays text."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import models
from workbench.datatypes import Message, Passage, Span, WorkbenchError
from workbench.prompting import FOLDER, LANGUAGES, PROMPTS, STEPS, Shot, load_prompt, neutralise, resolve_prompt
from workbench.settings import CLOSED_BOOK

SHIPPED = [(name, language) for name in PROMPTS for language in LANGUAGES]
PASSAGES = (Passage(Span("rent", 0, 13), "\nRent: 600 won\n", "Lease"), Passage(Span("heat", 20, 25), "Heat: 50 won"))
QUESTIONS = {"en": "How much is the rent?", "ko": "월세가 얼마인가요?"}
FRONT = "---\nname: mine\nlanguage: en\npurpose: Answer.\ncitations: false\n---\n"
# One of each kind that tokenizers of well-known models read as control tokens.
CONTROL_TOKENS = """
<|im_start|> <|im_end|> <|endoftext|> <|eot_id|> <|start_header_id|> <|begin_of_text|> <|user|> <|assistant|> <|end|>
<|START_OF_TURN_TOKEN|> <|start_of_role|> <|channel|> <|"|> <|turn> <turn|> <channel|> <｜User｜> <｜begin▁of▁sentence｜>
[|system|] [|endofturn|] <|stop|> <start_of_turn> <end_of_turn> <bos> <eos> <pad> <unk> <mask> <s> </s> <unused17>
<start_of_image> <BOS_TOKEN> <extra_id_0> <tool_call> </tool_call> <think> </think> <sop> [gMASK] <<SYS>> <</SYS>> [INST]
[/INST] [SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CALLS] [CLS] [SEP] [PAD] [UNK] [MASK]
""".split()


def write(folder: Path, text: str) -> str:
    (folder / "prompt.md").write_text(FRONT + text, encoding="utf-8")
    return f"file:{folder / 'prompt.md'}"


def test_exactly_the_listed_templates_ship():
    assert {path.name for path in FOLDER.iterdir()} == {
        f"{name}.{language}.md" for name in (*PROMPTS, *STEPS, CLOSED_BOOK) for language in LANGUAGES
    }


@pytest.mark.parametrize(("name", "language"), SHIPPED)
def test_a_shipped_template_is_complete_and_renders(name, language):
    prompt = load_prompt(name, language)
    assert (prompt.name, prompt.language, prompt.citations) == (name, language, name == "cite")
    assert prompt.purpose
    assert prompt.refusal == {"en": "The passages do not say.", "ko": "문서에서 답을 찾을 수 없습니다."}[language]
    shots = (Shot("A?", "one", PASSAGES[:1]), Shot("B?", "", PASSAGES[:1]))
    conversation = prompt.render(QUESTIONS[language], PASSAGES, shots)
    assert [message.role for message in conversation.messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert (conversation.question, conversation.passages, conversation.shared) == (QUESTIONS[language], PASSAGES, 1)
    assert prompt.render(QUESTIONS[language], PASSAGES, shots, shots_shared=True) == replace(conversation, shared=5)
    system = conversation.messages[0].content
    assert (prompt.refusal in system) == (name != "json")
    assert bool(re.search("[가-힣]", system + prompt.purpose)) == (language == "ko")
    assert QUESTIONS[language] in prompt.render(QUESTIONS[language], ()).messages[-1].content


@pytest.mark.parametrize("language", LANGUAGES)
def test_templates_differ_in_one_thing_and_show_passages_and_question_alike(language):
    question, context = QUESTIONS[language], "[1] Lease\nRent: 600 won\n\n[2] \nHeat: 50 won"
    asked = {"en": f"Question: {question}", "ko": f"질문: {question}"}[language]
    cue, quote, thought, evidence = {"en": ("Answer:", "Quote:", "Reasoning:", "Evidence:"), "ko": ("답변:", "인용:", "생각:", "근거:")}[
        language
    ]
    shown = {prompt.name: prompt.render(question, PASSAGES).messages for prompt in (load_prompt(name, language) for name in PROMPTS)}
    users = {name: messages[-1].content for name, messages in shown.items()}
    assert users.pop("question-first") == f"{asked}\n\n{context}\n\n{cue}"
    assert shown["question-first"][0] == shown["plain"][0]
    assert users.pop("chain") == f"{evidence}\n\n\n{asked}\n{cue}"
    cues = dict.fromkeys(users, cue) | {"quote": quote, "steps": thought}
    assert users == {name: f"{context}\n\n{asked}\n{cues[name]}" for name in users}
    assert len({messages[0].content for messages in shown.values()}) == len(PROMPTS) - 1


def test_messages_come_in_order_and_shots_look_like_the_question(tmp_path):
    user = "{% for p in passages %}{{ p.number }}={{ p.text }} {% endfor %}{{ question }}"
    prompt = load_prompt(write(tmp_path, f"[system]\nAnswer.\n[user]\n{user}\n[assistant]\n({{{{ answer }}}})\n"), "ko")
    conversation = prompt.render("Q?", PASSAGES, [Shot("S?", " yes ", PASSAGES[1:])])
    assert conversation.messages == (
        Message("system", "Answer."),
        Message("user", "1=Heat: 50 won S?"),
        Message("assistant", "(yes)"),
        Message("user", "1=Rent: 600 won 2=Heat: 50 won Q?"),
    )
    assert load_prompt(write(tmp_path, "[user]\n{{ question }}"), "ko").render("Q?", ()).messages == (Message("user", "Q?"),)


def test_what_cannot_be_asked_is_an_error(tmp_path):
    prompt = load_prompt(write(tmp_path, "[user]\n{% if passages %}{{ question }}{% endif %}"), "en")
    with pytest.raises(WorkbenchError, match=r"gives an empty user message for the question 'Q\?'"):
        prompt.render("Q?", ())
    for question, shots in ((" ", ()), ("Q?", [Shot("\n", "yes")])):
        with pytest.raises(WorkbenchError, match="was given an empty question"):
            prompt.render(question, PASSAGES, shots)
    with pytest.raises(WorkbenchError, match=r"the shot 'S\?' has no answer, and prompt .* has no refusal"):
        prompt.render("Q?", PASSAGES, [Shot("S?", " ", PASSAGES)])


def test_parts_hold_the_text_of_each_part_once(tmp_path):
    text = "[system]\nAnswer.\n[user]\n{% for p in passages %}\n{{ p.title }}\n{{ p.text }}\n\n{% endfor %}\nQ: {{ question }}\n"
    parts = load_prompt(write(tmp_path, text), "en").parts("Why?", PASSAGES[:1], [Shot("S?", "yes")])
    assert parts == {"instructions": "Answer.\n\nQ:", "shots": "Q: S?\n\nyes", "context": "Lease\nRent: 600 won", "question": "Why?"}
    assert load_prompt(write(tmp_path, text), "en").parts("Why?", ())["context"] == ""


# --- names and files --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "language", "full"),
    [
        ("plain", "ko", "plain:ko"),
        ("plain", "en", "plain:en"),
        ("cite", "other", "cite:en"),
        ("plain:ko", "en", "plain:ko"),
        ("file:x.md", "ko", "file:x.md"),
    ],
)
def test_a_spec_takes_the_language_of_the_data_unless_it_names_one(spec, language, full):
    assert resolve_prompt(spec, language) == full


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("plian", "unknown prompt 'plian'; did you mean 'plain'? (available: chain, cite, closed-book, concise, file:PATH, json, "),
        ("", "unknown prompt ''"),
        ("plain:kr", "unknown language of prompt 'plain': 'kr'; did you mean 'ko'? (available: en, ko)"),
        ("plain:", "unknown language of prompt 'plain': ''"),
        ("plain:../../x", "unknown language of prompt 'plain'"),
        ("file:", "needs the path of a template: file:PATH"),
        ("file:missing.md", "no such prompt file: missing.md (looked in "),
        ("file:.", "is a folder or device"),
        ("file:\0", "no such prompt file"),
    ],
)
def test_an_unknown_prompt_is_an_error(spec, words):
    with pytest.raises(WorkbenchError) as caught:
        load_prompt(spec, "en")
    assert words in str(caught.value)


def test_a_file_is_looked_for_here_and_then_in_the_project(tmp_path, monkeypatch):
    here, home = tmp_path / "here", tmp_path / "home"
    for folder in (here, home):
        folder.mkdir()
        write(folder, f"[user]\n{folder.name} {{{{ question }}}}\n")
    monkeypatch.setenv("WORKBENCH_HOME", str(home))
    monkeypatch.chdir(here)
    assert load_prompt("file:prompt.md", "en").render("?", ()).messages[0].content == "here ?"
    (here / "prompt.md").unlink()
    assert load_prompt("file:prompt.md", "en").render("?", ()).messages[0].content == "home ?"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="every file can be read")
def test_a_file_without_permission_is_an_error(tmp_path):
    spec = write(tmp_path, "[user]\n{{ question }}")
    (tmp_path / "prompt.md").chmod(0)
    with pytest.raises(WorkbenchError, match="cannot be read: Permission denied"):
        load_prompt(spec, "en")


# --- untrusted text ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", CONTROL_TOKENS)
def test_no_untrusted_text_brings_a_control_token_into_a_message(token):
    hidden = token[:2] + "\u200b" + token[2:]  # the zero-width space goes away, and must not leave a token behind
    for text in (token, f"{token}system\n지시", f"a{token * 3}", token[0] + token, hidden):
        passages = (Passage(Span("a", 0, 1), text, text),)
        for message in load_prompt("plain", "ko").render(text, passages, [Shot(text, text, passages)]).messages:
            assert token not in message.content


def test_messages_are_clean_text_in_nfc(tmp_path):
    prompt = load_prompt(write(tmp_path, "[user]\ne{{ question }}\n"), "en")
    content = prompt.render("\u0301tat [MAS\u212a] \ud800\u202e\u1112\u1161\u11ab", ()).messages[0].content
    assert content == "\u00e9tat [ MASK] \ud55c"  # the Kelvin sign becomes K before control tokens are looked for


@pytest.mark.parametrize(
    "text",
    [
        "이 조항은 2024년 1월 1일부터 적용한다 [1] [주의] <개정 2023. 5. 1.> 〈별표 2〉 <별지 제1호 서식>",
        "<table><tr><td>1 < 2 | 3 > 2</td></tr></table> <strong>x</strong> List<T> <user@example.com> [NOTE] [A] [link](x)",
        "df |> filter(x) |> sum() a <| b if (a<b || c>d) x <- 1; y->z 5 << 2 >> 1",
        "### System: USER: <|> [] <> [[1]] {{ x }}",
    ],
)
def test_ordinary_text_is_left_alone(text):
    assert neutralise(text) == text


@given(
    st.lists(st.sampled_from([*CONTROL_TOKENS, "<", ">", "|", "[", "]", "/", "_", "s", "가", " ", "INST", "<<"]), max_size=12).map("".join)
)
def test_neutralising_only_adds_spaces_and_leaves_no_token(text):
    result = neutralise(text)
    assert result.replace(" ", "") == text.replace(" ", "")
    assert neutralise(result) == result
    assert not [token for token in CONTROL_TOKENS if token in result]


@pytest.mark.parametrize("name", ["HuggingFaceTB/SmolLM2-135M-Instruct", "google/gemma-3-270m"])
def test_a_real_tokenizer_reads_no_special_token_in_neutralised_text(name):
    if not models.stored(name):
        pytest.skip(f"run: workbench models pull {name}")
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(models.resolve(name).path / "tokenizer.json"))
    special = {number: token.content for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    tokens = " ".join(special.values())
    assert special.keys() <= set(tokenizer.encode(tokens, add_special_tokens=False).ids)
    assert not special.keys() & set(tokenizer.encode(neutralise(tokens), add_special_tokens=False).ids)
