"""Templates that are edited and saved: what is wrong with them is said, and a file is never written over unasked or out of place."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import prompting
from workbench.datatypes import WorkbenchError
from workbench.prompting import PROMPTS, load_prompt
from workbench.settings import CLOSED_BOOK
from workbench.widgets_prompt_template import (
    NAME,
    PLACE,
    VariantExistsError,
    check_template,
    save_variant,
    saved_variants,
    template_text,
)

PLAIN = (prompting.FOLDER / "plain.en.md").read_text(encoding="utf-8")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder of variants of a new project."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("WORKBENCH_LANG", "en")
    monkeypatch.chdir(tmp_path)
    return tmp_path / PLACE


@pytest.mark.parametrize("language", ["en", "ko"])
def test_what_ships_is_valid_and_is_what_is_loaded(language: str) -> None:
    for name in (*PROMPTS, CLOSED_BOOK):
        text = template_text(name, language)
        assert check_template(text, language).fingerprint == load_prompt(name, language).fingerprint


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            "{{ question }}",
            "{{ questio }}",
            r"^the template, line \d+: unknown variable of section \[user\]: 'questio'; did you mean 'question'",
        ),
        ("{{ question }}", "{question}", r"^the template: section \[user\] does not use \{\{ question \}\}; \{question\} in single braces"),
        ("{% endfor %}", "", "^the template, line"),
        ("---\nname", "name", "^the template has no front matter"),
        ("language: en", "language: english", "^the template: language 'english'"),
        ("citations: false", "citations: false\nbefore: extrac", r"^the template: section \[user\] does not use \{\{ previous"),
        ("Question", "\ud800", "^the template is not UTF-8"),
    ],
)
def test_what_is_wrong_is_said_of_the_template(place: Path, old: str, new: str, reason: str) -> None:
    assert old in PLAIN
    with pytest.raises(WorkbenchError, match=reason):
        check_template(PLAIN.replace(old, new), "en")


def test_the_step_before_must_be_there(place: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"^unknown step before the template, in the language 'en': 'extrac'; did you mean 'extract'"):
        check_template(template_text("chain", "en").replace("before: extract", "before: extrac"), "en")


def test_a_variant_is_a_prompt_like_any_other(place: Path) -> None:
    assert saved_variants() == []
    text = PLAIN.replace("Question:", "질문:")
    spec = save_variant(" 짧은-답변_2 ", text, "en")
    assert spec == "file:params/prompts/짧은-답변_2.md"
    assert load_prompt(spec, "en").render("How?", ()).messages[-1].content.startswith("질문: How?")
    assert template_text(spec, "en") == text
    (place / "not a variant.md").write_text("x", encoding="utf-8")
    assert saved_variants() == [spec]
    assert [path.name for path in place.iterdir() if path.suffix != ".md"] == []


def test_nothing_is_written_over_unasked_and_nothing_wrong_is_written(place: Path) -> None:
    save_variant("mine", PLAIN, "en")
    other = PLAIN.replace("Question:", "Q:")
    with pytest.raises(VariantExistsError, match=r"params/prompts/mine\.md exists already"):
        save_variant("mine", other, "en")
    assert template_text("file:params/prompts/mine.md", "en") == PLAIN
    with pytest.raises(WorkbenchError, match="unknown variable"):
        save_variant("mine", PLAIN.replace("question", "query"), "en", overwrite=True)
    assert template_text("file:params/prompts/mine.md", "en") == PLAIN
    save_variant("mine", other, "en", overwrite=True)
    assert template_text("file:params/prompts/mine.md", "en") == other
    (place / "folder.md").mkdir()
    with pytest.raises(WorkbenchError, match=r"folder\.md cannot be written"):
        save_variant("folder", other, "en", overwrite=True)


def test_names_in_pieces_are_put_together(place: Path) -> None:
    assert save_variant(unicodedata.normalize("NFD", "가나"), PLAIN, "en") == "file:params/prompts/가나.md"


@settings(deadline=None)
@given(
    st.one_of(st.text(max_size=8), st.sampled_from(["../a", "a/b", "a.b", ".", "", "-", "a" * 61, "ㄱ", "a b", "a\n", "é", "a=b", "C:a"]))
)
def test_a_name_is_plain_or_refused(name: str) -> None:
    if NAME.fullmatch(unicodedata.normalize("NFC", name.strip())):
        assert all(letter.isalnum() or letter in "-_" for letter in unicodedata.normalize("NFC", name.strip()))
    else:
        with pytest.raises(WorkbenchError, match=r"name|이름"):
            save_variant(name, "", "en")  # the name is looked at first
