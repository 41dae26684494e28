"""The language of interfaces: what decides it, and that every text exists in both."""

import importlib
import re
from pathlib import Path

import pytest

from workbench.widgets_language import LOCALE, language, words

PACKAGE = Path(__file__).resolve().parent.parent / "workbench"
TABLES = sorted(path.stem for path in PACKAGE.glob("*.py") if re.search(r"^say = words\(", path.read_text(encoding="utf-8"), re.M))
FIELD = re.compile(r"{(\w*)")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "en"),
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "WORKBENCH_LANG": "ko"}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "WORKBENCH_LANG": "en"}, "en"),
        ({"LANG": "ko_KR.UTF-8", "WORKBENCH_LANG": ""}, "ko"),
    ],
)
def test_the_variable_decides_else_the_locale(monkeypatch, variables, expected):
    for name in LOCALE:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert language() == expected


def test_words_are_chosen_when_they_are_said(monkeypatch):
    say = words({"left": ("{count} left", "{count}개 남음")})
    monkeypatch.setenv("WORKBENCH_LANG", "en")
    assert say("left", count=3) == "3 left"
    monkeypatch.setenv("WORKBENCH_LANG", "ko")
    assert say("left", count=3) == "3개 남음"
    with pytest.raises(KeyError):
        say("right")


@pytest.mark.parametrize("name", TABLES)
def test_every_text_is_in_both_languages_with_the_same_fields(name):
    table = importlib.import_module(f"workbench.{name}").WORDS
    for key, (english, korean) in table.items():
        assert english.strip(), key
        assert korean.strip(), key
        assert sorted(FIELD.findall(english)) == sorted(FIELD.findall(korean)), key
        assert not re.search("[가-힣]", english), key
