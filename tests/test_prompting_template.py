"""Reading prompt templates: every fault of a file has its own message, and a hostile template is refused before it runs."""

import random
import time
import unicodedata
from pathlib import Path

import pytest

from workbench.datatypes import Passage, Span, WorkbenchError
from workbench.prompting import FOLDER, Prompt, load_prompt

FRONT = "---\nname: mine\nlanguage: en\npurpose: Answer.\ncitations: false\n---\n"
USER = "[user]\n{{ question }}\n"
PASSAGES = (Passage(Span("rent", 0, 13), "Rent: 600 won", "Lease"), Passage(Span("rent", 20, 25), "Heat.", ""))


def load(folder: Path, text: str | bytes) -> Prompt:
    path = folder / "prompt.md"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_prompt(f"file:{path}", "en")


def user_message(prompt: Prompt, question: str = "How much?") -> str:
    return prompt.render(question, PASSAGES).messages[-1].content


def test_a_template_gives_what_it_says(tmp_path):
    prompt = load(
        tmp_path,
        FRONT
        + """
[system]
{# not shown #}
Answer.
{% raw %}Use {{ braces }} like this.{% endraw %}
[user]
{% if passages|length > 1 %}
Several of {{ passages|length }}:
{% endif %}
{% for passage in passages if passage.text %}
  {% if not loop.first %}

  {% endif %}
({{ passage.number }}/{{ loop.length }}) {{ passage.title|trim if passage.title else "no title" }}: {{ passage.text }}
{% else %}
nothing
{% endfor %}
{ "json": {{ question|trim }} }
""",
    )
    system, user = prompt.render("How much?", PASSAGES).messages
    assert system.content == "Answer.\nUse {{ braces }} like this."
    assert user.content == 'Several of 2:\n(1/2) Lease: Rent: 600 won\n\n(2/2) no title: Heat.\n{ "json": How much? }'
    assert prompt.render("Why?", ()).messages[1].content == 'nothing\n{ "json": Why? }'
    assert (prompt.name, prompt.language, prompt.purpose, prompt.citations, prompt.refusal) == ("mine", "en", "Answer.", False, "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no front matter"),
        ("[user]\n{{ question }}\n", "has no front matter"),
        ("\n" + FRONT + USER, "has no front matter"),
        ("---\nname: mine\n" + USER, "the front matter does not end"),
        ("---\n---\n" + USER, "holds no keys"),
        ("---\n- name\n---\n" + USER, "holds no keys"),
        (FRONT.replace("purpose", "goal") + USER, "unknown front-matter key 'goal'"),
        (FRONT.replace("citations", "citation") + USER, "did you mean 'citations'"),
        (FRONT.replace("name: mine\n", "") + USER, "the front matter lacks name"),
        (FRONT.replace("language: en\n", "name: again\n") + USER, "duplicate key 'name'"),
        (FRONT.replace("name: mine", "name: &a mine\npurpose: *a") + USER, "aliases"),
        (FRONT.replace("name: mine", "name: [mine") + USER, "line 3"),
        (FRONT.replace("mine", "''") + USER, "name must be one line of text, got ''"),
        (FRONT.replace("mine", "12") + USER, "name must be one line of text, got 12"),
        (FRONT.replace(": en", ": no") + USER, "language must be one line of text, got False; put it in quotes"),
        (FRONT.replace(": en", ": kr") + USER, "'kr' must be a two-letter code such as en, or ko for Korean"),
        (FRONT.replace(": en", ": english") + USER, "'english' must be a two-letter code"),
        (FRONT.replace("false", "sometimes") + USER, "citations must be true or false, got 'sometimes'"),
        (FRONT.replace("false\n", "false\nrefusal: I do not know.\n") + USER, "stands in no section"),
        (FRONT, "has no section [user]"),
        (FRONT + "[system]\nAnswer.\n", "has no section [user]"),
        (FRONT + "Hello\n" + USER, "line 7: text before the first section"),
        (
            FRONT + "[tool]\nx\n" + USER,
            "line 7: unknown role 'tool'; a line of one word in brackets starts a section, roles: system, user, assistant",
        ),
        (FRONT + "[User]\n{{ question }}", "unknown role 'User'"),
        (FRONT + USER + "[사용자]\n", "unknown role '사용자'"),
        (FRONT + USER + USER, "line 9: a second section [user]"),
        (FRONT + USER + "[system]\nAnswer.\n", "the order is system, user, assistant"),
        (FRONT + "[system]\n \n" + USER, "section [system] is empty"),
        (FRONT + "[system]\n{# later #}\n" + USER, "section [system] writes nothing"),
        (FRONT + USER + "[assistant]\n", "section [assistant] is empty"),
        (FRONT + "[user]\nAnswer!\n", "section [user] does not use {{ question }}"),
        (FRONT + "[user]\nAnswer {question}\n", "{question} in single braces is only text"),
        (FRONT + USER + "[assistant]\nYes.\n", "section [assistant] does not use {{ answer }}"),
        (FRONT + "[user]\n\n{{ question }\n", "line 9: unexpected '}'"),
        (FRONT + "[user]\n{{ question }} {{\n", "line 8: unexpected 'end of template'"),
        (FRONT + "[user]\n{{ question }} {% for passage in passages %}\n", "line 8: Unexpected end of template"),
        (FRONT + "[user]\n{{ question }} {% iff x %}", "Encountered unknown tag 'iff'. (braces that are only text go between {% raw %}"),
        (
            FRONT + "[user]\n{{ question }}\n\n{{ pasages }}\n",
            "line 10: unknown variable of section [user]: 'pasages'; did you mean 'passages'",
        ),
        (FRONT + "[user]\n{{ question }} {{ documents }}", "(available: passages, question)"),
        (FRONT + "[user]\n{{ question }} {{ answer }}", "unknown variable of section [user]: 'answer'"),
        (
            FRONT + "[system]\nAbout {{ question }}\n" + USER,
            "line 8: the system section may use no variable: documents and questions never",
        ),
        (FRONT + "[system]\n{% for p in passages %}x{% endfor %}\n" + USER, "the system section may use no variable"),
        (FRONT + "[system]\n{{ passage.text }}\n" + USER, "the system section may use no variable"),
        (
            FRONT + USER + "{% for p in passages %}{{ p.body }}{% endfor %}",
            "line 9: unknown field of p: 'body' (available: number, text, title)",
        ),
        (FRONT + USER + "{% for p in passages %}{{ p }}{% endfor %}", "'p' alone is no text; it has the fields number, title, text"),
        (FRONT + USER + "{{ passages.text }}", ".text goes with nothing but the passage of a loop"),
        (FRONT + USER + "{% for p in passages %}{% endfor %}{{ p.text }}", ".text goes with nothing but"),
        (FRONT + USER + "{% for p in question %}x{% endfor %}", "a loop reads {% for passage in passages %}"),
        (FRONT + USER + "{% for question in passages %}x{% endfor %}", "a loop reads"),
        (FRONT + USER + "{{ passages }}", "cannot be rendered: only text and numbers can be written"),
        (FRONT + USER + "{{ 'yes' if not passages }}", "cannot be rendered: only text and numbers can be written"),
        (FRONT + USER + "{% for p in passages if p.body %}x{% endfor %}", "unknown field of p: 'body'"),
        (FRONT + USER + "{% for p in passages %}x{% else %}{{ documents }}{% endfor %}", "unknown variable of section [user]: 'documents'"),
        (FRONT + USER + "{{ 'a' if question > 1 else 'b' }}", "cannot be rendered"),
        (FRONT + USER + "{{ question|replace('a', 'b') }}", "unknown filter 'replace' (available: json, length, trim)"),
        (FRONT.encode() + b"[user]\n\xb9\xae\xbc\xad {{ question }}", "is not UTF-8 text"),
        (FRONT + USER + "x" * 100_000, "is larger than 100 kB"),
    ],
)
def test_a_faulty_template_is_refused_with_its_own_message(tmp_path, text, words):
    with pytest.raises(WorkbenchError) as caught:
        load(tmp_path, text)
    assert words in str(caught.value)
    assert "prompt.md" in str(caught.value)


@pytest.mark.parametrize(
    "attack",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ question.__class__ }}",
        "{{ question['__class__'] }}",
        "{{ (question|attr('format'))('{0.__class__}') }}",
        "{{ '{0.__class__}'.format(question) }}",
        "{{ '%s' % question.__init__ }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ question|map('attr', '__class__')|list }}",
        "{{ passages|map(attribute='text.__class__')|join }}",
        "{{ passages|tojson }}",
        "{{ passages|json }}",
        "{{ question|json(indent=9) }}",
        "{% for a in passages %}{{ a|json }}{% endfor %}",
        "{{ self._TemplateReference__context }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ lipsum(n=100000) }}",
        "{{ namespace(a=1) }}",
        "{{ range(10**9)|list }}",
        "{{ 'x' * 1000000000 }}",
        "{{ 9**9**9 }}",
        "{{ 'x'|center(1000000000) }}",
        "{{ question ~ question }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
        "{% for a in passages %}{% for b in passages %}x{% endfor %}{% endfor %}",
        "{% for a in passages recursive %}{{ loop(passages) }}{% endfor %}",
        "{% for a in passages %}{{ loop.cycle.__func__ }}{% endfor %}",
        "{% for a, b in passages %}x{% endfor %}",
        "{% set x = question %}{{ x }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% filter upper %}x{% endfilter %}",
        "{% include 'settings.py' %}",
        "{% extends 'x' %}",
        "{% import 'os' as os %}",
        "{% autoescape true %}x{% endautoescape %}",
        "{{ question is callable }}",
        "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
        "{% if question %}" * 200 + "{% endif %}" * 200,
        "{{ " + "not " * 5000 + "question }}",
        "{{ question" + " and question" * 3000 + " }}",
        "{{ " + "9" * 5000 + " }}",
    ],
)
def test_a_hostile_template_is_refused_at_once(tmp_path, attack):
    started = time.perf_counter()
    with pytest.raises(WorkbenchError):
        load(tmp_path, FRONT + USER + attack)
    assert time.perf_counter() - started < 2


def test_a_message_has_a_largest_size(tmp_path):
    prompt = load(tmp_path, FRONT + USER + "{% for p in passages %}" + "{{ p.text }}" * 1999 + "{% endfor %}")
    long = Passage(Span("a", 0, 1000), "x" * 1000)
    assert len(user_message(prompt, "?")) < len(prompt.render("?", [long]).messages[0].content) < 2_000_000
    with pytest.raises(WorkbenchError, match="more than 2000000 characters"):
        prompt.render("?", [long] * 2)


def test_the_fingerprint_is_of_the_text_not_of_its_spelling(tmp_path):
    text = FRONT.replace("Answer.", "답합니다.") + "[user]\n질문: {{ question }}\n"
    prompt = load(tmp_path, text)
    for same in ("\ufeff" + text, text.replace("\n", "\r\n"), unicodedata.normalize("NFD", text)):
        assert load(tmp_path, same).fingerprint == prompt.fingerprint
        assert user_message(load(tmp_path, same)) == "질문: How much?"
    assert load(tmp_path, text.replace("질문", "물음")).fingerprint != prompt.fingerprint


def test_broken_files_give_errors_of_ours_only(tmp_path):
    source = (FOLDER / "cite.ko.md").read_bytes()
    draw = random.Random(7)
    pieces = [
        b"{{",
        b"}}",
        b"{%",
        b"%}",
        b"---\n",
        b"[user]\n",
        b"\n",
        b"|",
        b".",
        b"(",
        b"'",
        b"\xff",
        b"\0",
        b"{#",
        b"for ",
        b"if ",
        b": ",
        b"- ",
    ]
    loaded = 0
    for _ in range(400):
        text = bytearray(source)
        for _ in range(draw.randint(1, 4)):
            start = draw.randrange(len(text))
            text[start : start + draw.choice((0, 0, 1, 5, 40))] = draw.choice(pieces)
        try:
            user_message(load(tmp_path, bytes(text)))
            loaded += 1
        except WorkbenchError:
            pass
    assert 0 < loaded < 400  # both outcomes were tried
