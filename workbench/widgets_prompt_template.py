"""Check a template while it is written, and save variants of templates as files that a prompt `file:PATH` names."""

from __future__ import annotations

import re
import tempfile
import unicodedata
from pathlib import Path

from workbench import prompting, storage
from workbench.datatypes import WorkbenchError
from workbench.prompting import Prompt, load_prompt, locate, resolve_prompt
from workbench.text import normalise
from workbench.widgets_language import words

PLACE = "params/prompts"  # in the project's folder
NAME = re.compile(r"[0-9A-Za-z가-힣_-]{1,60}")
WORDS = {
    "template": ("the template", "템플릿"),
    "name": (
        "the name {name!r} of a variant may hold letters, digits, Hangul, - and _ only, at most 60 of them, such as short-answer",
        "변형의 이름 {name!r}: 영문자, 숫자, 한글, -, _ 만 60자까지 쓸 수 있습니다. 예: 짧은-답변",
    ),
    "exists": ("{file} exists already", "{file} 파일이 이미 있습니다"),
}
say = words(WORDS)


class VariantExistsError(WorkbenchError):
    """Say that a variant of this name is there, so somebody must allow that it is written over."""


def template_text(spec: str, language: str) -> str:
    """Return the text of the template that a prompt's spec names, as its file holds it; raise WorkbenchError when it cannot be read."""
    name, argument = resolve_prompt(spec, language).split(":", 1)
    path = locate(argument, "prompt") if name == "file" else prompting.FOLDER / f"{name}.{argument}.md"
    try:
        return normalise(path.read_text(encoding="utf-8"))[0]
    except (OSError, UnicodeDecodeError) as error:
        raise WorkbenchError(f"the template {spec} cannot be read: {error}") from None


def check_template(text: str, language: str) -> Prompt:
    """Return the prompt of a template's text; raise WorkbenchError that says what is wrong, with the line where one is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template.md"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        spec = f"file:{path}"
        try:
            return load_prompt(spec, language)
        except WorkbenchError as error:
            raise WorkbenchError(str(error).replace(f"prompt {spec!r}", say("template"))) from None


def save_variant(name: str, text: str, language: str, overwrite: bool = False) -> str:
    """Write a template into the project's folder of prompts and return its spec, `file:params/prompts/NAME.md`.

    Raise WorkbenchError for a name that is none, for a template that is wrong, and VariantExistsError for a name that is taken.
    """
    name = unicodedata.normalize("NFC", name.strip())
    if not NAME.fullmatch(name):
        raise WorkbenchError(say("name", name=name[:80]))
    check_template(text, language)
    path = storage.home() / PLACE / f"{name}.md"
    if path.exists() and not overwrite:
        raise VariantExistsError(say("exists", file=f"{PLACE}/{name}.md"))
    try:
        storage.write_text(path, normalise(text)[0])
    except OSError as error:
        raise WorkbenchError(f"{PLACE}/{name}.md cannot be written: {error.strerror}") from None
    return f"file:{PLACE}/{name}.md"


def saved_variants() -> list[str]:
    """Return the specs of the variants that were saved in this project, by name."""
    folder = storage.home() / PLACE
    return [f"file:{PLACE}/{path.name}" for path in sorted(folder.glob("*.md")) if NAME.fullmatch(path.stem)]
