"""Say what an interface says in Korean or in English."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

LANGUAGES = ("en", "ko")
LOCALE = ("WORKBENCH_LANG", "LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set decides


def language() -> str:
    """Return the language of interfaces, "ko" or "en": WORKBENCH_LANG, else the locale; English where neither names Korean."""
    named = next((os.environ[name] for name in LOCALE if os.environ.get(name)), "")
    return "ko" if named.lower().startswith("ko") else "en"


def words(table: Mapping[str, tuple[str, str]]) -> Callable[..., str]:
    """Return a function from a key of the table, which holds (English, Korean), to the text in the language of now, its fields filled in.

    `say = words({"left": ("{count} left", "{count}개 남음")})`, then `say("left", count=3)`. What is filled in is not escaped.
    """

    def say(key: str, /, **fields: object) -> str:
        return table[key][LANGUAGES.index(language())].format(**fields)

    return say
