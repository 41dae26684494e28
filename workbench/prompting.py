"""Make conversations of questions, passages and shots with prompt templates: the names in PROMPTS, or "file:PATH".

Text of documents and questions is untrusted. It goes into user messages and the answers of shots only, is never rendered again, and
cannot form control tokens (`neutralise`). It can still imitate plain text such as "Question:" or "[2]", and it can still hold
instructions: no prompt prevents that, so nothing that an answer says may be carried out.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench import registry, storage
from workbench.datatypes import Conversation, Message, Passage, WorkbenchError
from workbench.prompting_template import read_template, render_section
from workbench.text import normalise

if TYPE_CHECKING:
    from jinja2 import Template

FOLDER = Path(__file__).parent / "prompts"
PROMPTS = ("plain", "concise", "cite")  # each ships in all LANGUAGES, as prompts/NAME.LANGUAGE.md
LANGUAGES = ("en", "ko")

# The bracket that opens a control token, wherever a tokenizer would read one.
_CONTROL_TOKEN = re.compile(
    r"""
    # <|im_start|> (ChatML, Llama 3, Qwen, Phi, HyperCLOVA X), <|turn> (Gemma 4), <｜User｜> (DeepSeek)
      <(?= [|｜] [^\s<>]{1,64} >
    # <turn|>
         | /? \w{1,64} [|｜] >
    # <start_of_turn> (Gemma), <tool_call>, <BOS_TOKEN>, <extra_id_0>, <file_sep>
         | /? [A-Za-z]{1,64} _ \w{1,64} >
    # </s>, <bos>
         | /? (?i:s|[be]os|[be]ot|pad|unk|cls|sep|mask|think|[se]op|eo[ah]|image|video|audio|filename|reponame|unused\d{1,6}) >
    # <<SYS>> (Llama 2)
         | </?SYS>> )
    # [|system|] (EXAONE)
    | \[(?= \| [^\s\[\]]{1,64} \|\]
    # [SYSTEM_PROMPT], [/TOOL_RESULTS] (Mistral)
         | /? [A-Z]{1,64} _ [A-Z_]{1,64} \]
    # [INST], [gMASK], [CLS]
         | /? (?:INST|SYS|THINK|ARGS|IMG|AUDIO|PREFIX|MIDDLE|SUFFIX|BOS|EOS|PAD|UNK|CLS|SEP|[gs]?MASK|multimodal) \] )
    """,
    re.VERBOSE,
)


def neutralise(text: str) -> str:
    """Return untrusted text with a space after each bracket that opens a control token of a language model.

    Tokenizers read `<|im_start|>system` as a change of role wherever it stands, so a document could speak as the system. Covered are the
    families named in `_CONTROL_TOKEN`; HTML stays as it is, except `<s>` and the like, which are control tokens too.
    Plain words that some models were trained on ("### System:", "USER:") are no tokens and not covered.
    """
    return _CONTROL_TOKEN.sub(r"\g<0> ", normalise(text)[0])


@dataclass(frozen=True, slots=True)
class Shot:
    """Hold an example that a prompt shows; no answer means that the passages do not hold one.

    `passages` are what the answer rests on, first the one that holds it: that is the one a citing prompt cites.
    """

    question: str
    answer: str
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True)
class Prompt:
    """Hold a checked template; `refusal` is the sentence it asks for when the passages hold no answer, "" if it asks for none."""

    name: str
    language: str
    purpose: str
    citations: bool
    refusal: str
    fingerprint: str
    source: str
    sections: Mapping[str, Template] = field(repr=False, compare=False)

    def render(self, question: str, passages: Sequence[Passage], shots: Sequence[Shot] = ()) -> Conversation:
        """Return the system message, each shot as a user and an assistant message, then the question with its passages.

        Raise WorkbenchError for an empty question or message, and for a shot without answer where the template knows no refusal.
        """
        if not all(text.strip() for text in (question, *(shot.question for shot in shots))):
            raise WorkbenchError(f"{self.source} was given an empty question")
        messages = [*self._system(), *self._shots(shots), self._message("user", question, passages)]
        for message in messages:
            if not message.content:
                raise WorkbenchError(f"{self.source} gives an empty {message.role} message for the question {question[:80]!r}")
        return Conversation(tuple(messages), question, tuple(passages))

    def parts(self, question: str, passages: Sequence[Passage], shots: Sequence[Shot] = ()) -> dict[str, str]:
        """Return the text of each part of a conversation, so that its tokens can be counted when it is too long.

        "instructions" is the template with nothing filled in; what it repeats for each passage counts nowhere.
        """
        shown = _shown(question, passages)
        return {
            "instructions": _joined(message.content for message in (*self._system(), self._message("user", "", ()))),
            "shots": _joined(message.content for message in self._shots(shots)),
            "context": _joined(f"{passage['title']}\n{passage['text']}" for passage in shown["passages"]),
            "question": shown["question"],
        }

    def _system(self) -> list[Message]:
        if "system" not in self.sections:
            return []
        return [Message("system", _nfc(render_section(self.sections["system"], {}, self.source)))]

    def _shots(self, shots: Sequence[Shot]) -> list[Message]:
        messages = []
        for shot in shots:
            messages.append(self._message("user", shot.question, shot.passages))
            if shot.answer.strip():
                messages.append(self._message("assistant", shot.question, shot.passages, answer=neutralise(shot.answer).strip()))
            elif self.refusal:
                messages.append(Message("assistant", self.refusal))
            else:
                raise WorkbenchError(f"the shot {shot.question[:80]!r} has no answer, and {self.source} has no refusal to show instead")
        return messages

    def _message(self, role: Literal["user", "assistant"], question: str, passages: Sequence[Passage], **values: str) -> Message:
        if role not in self.sections:
            return Message(role, values["answer"])
        return Message(role, _nfc(render_section(self.sections[role], {**_shown(question, passages), **values}, self.source)))


def _shown(question: str, passages: Sequence[Passage]) -> dict[str, Any]:
    """Return the variables of a template, all untrusted text neutralised."""
    numbered = [
        {"number": number, "title": neutralise(passage.title).strip(), "text": neutralise(passage.text).strip()}
        for number, passage in enumerate(passages, 1)
    ]
    return {"question": neutralise(question).strip(), "passages": numbered}


def _nfc(text: str) -> str:
    """Compose what a template put next to each other, such as a letter and a question that starts with an accent."""
    return unicodedata.normalize("NFC", text)


def _joined(texts: Iterable[str]) -> str:
    return "\n\n".join(texts)


def resolve_prompt(spec: str, language: str) -> str:
    """Return the full spec of a prompt: "plain" for Korean data is "plain:ko", for languages without templates "plain:en"."""
    name, argument = registry.split_spec(spec)
    if name == "file":
        if not argument:
            raise WorkbenchError("prompt 'file' needs the path of a template: file:PATH")
        return spec
    if name not in PROMPTS:
        raise registry.unknown("prompt", name, [*PROMPTS, "file:PATH"])
    if argument is None:
        argument = language if language in LANGUAGES else "en"
    if argument not in LANGUAGES:
        raise registry.unknown(f"language of prompt {name!r}:", argument, LANGUAGES)
    return f"{name}:{argument}"


def load_prompt(spec: str, language: str) -> Prompt:
    """Read the prompt that `spec` names: "plain" in the language of the data, "plain:ko" in Korean, "file:PATH" from a file.

    Relative paths count from the current folder, then from the project's folder.
    """
    full = resolve_prompt(spec, language)
    name, argument = full.split(":", 1)
    path = locate(argument, "prompt") if name == "file" else FOLDER / f"{name}.{argument}.md"
    template = read_template(path, f"prompt {full!r}")
    return Prompt(**template.front, fingerprint=template.fingerprint, source=f"prompt {full!r}", sections=template.sections)


def locate(argument: str, what: str) -> Path:
    """Return the file that a setting names: relative paths count from the current folder, then from the project's folder."""
    folders = dict.fromkeys((Path.cwd(), storage.home()))
    paths = [Path(os.path.join(folder, os.path.expanduser(argument))) for folder in folders]
    found = next((path for path in paths if os.path.exists(path)), None)
    if found is None:
        raise WorkbenchError(f"no such {what} file: {argument} (looked in {' and '.join(map(str, folders))})")
    if not found.is_file():
        raise WorkbenchError(f"the {what} file {argument} is a folder or device")
    return found
