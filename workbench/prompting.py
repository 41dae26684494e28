"""Make conversations of questions, passages and shots with prompt templates: the names in PROMPTS, or "file:PATH".

Text of documents, questions and models is untrusted. It goes into user messages and the answers of shots only, is never rendered again, and
cannot form control tokens (`neutralise`). It can still imitate plain text such as "Question:" or "[2]", and it can still hold
instructions: no prompt prevents that, so nothing that an answer says may be carried out.
"""

from __future__ import annotations

import functools
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench import registry, storage
from workbench.datatypes import Conversation, Message, Passage, Span, WorkbenchError
from workbench.prompting_template import read_template, render_section
from workbench.settings import CLOSED_BOOK
from workbench.text import hangul_bigrams, normalise, sentences

if TYPE_CHECKING:
    from jinja2 import Template

FOLDER = Path(__file__).parent / "prompts"
PROMPTS = ("plain", "concise", "cite", "quote", "refuse", "steps", "json", "question-first", "chain")
STEPS = ("extract",)  # templates that only come before others
LANGUAGES = ("en", "ko")  # each ships in all of them, as prompts/NAME.LANGUAGE.md

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

    `passages` are what the answer rests on, first the one that holds it: that is the one a citing prompt cites and a quoting one quotes.
    """

    question: str
    answer: str
    passages: tuple[Passage, ...] = ()
    id: str = ""  # of the example it was made of


@dataclass(frozen=True)
class Prompt:
    """Hold a checked template; `refusal` is the sentence that stands for "the passages hold no answer", "" if there is none.

    `format` is what an answer looks like: text, json, or marked (what follows the `marker`). `before` is the prompt of the step before,
    whose completion this one shows as `previous`.
    """

    name: str
    language: str
    purpose: str
    citations: bool
    refusal: str
    fingerprint: str
    source: str
    sections: Mapping[str, Template] = field(repr=False, compare=False)
    format: str = "text"
    marker: str = ""
    before: Prompt | None = None

    def render(
        self,
        question: str,
        passages: Sequence[Passage],
        shots: Sequence[Shot] = (),
        previous: str = "",
        *,
        shots_shared: bool = False,
    ) -> Conversation:
        """Return the system message, each shot as a user and an assistant message, then the question with its passages.

        `previous` is what the model wrote in the step before, "" if it wrote nothing; `shots_shared` says that every question gets these
        shots. Raise WorkbenchError for an empty question or message, for a shot without answer where the template knows no refusal, and
        for `previous` where there is no step before.
        """
        if not all(text.strip() for text in (question, *(shot.question for shot in shots))):
            raise WorkbenchError(f"{self.source} was given an empty question")
        if previous and not self.before:
            raise WorkbenchError(f"{self.source} has no step before, so there is nothing previous to show")
        system = self._system()
        messages = [*system, *self._shots(shots), self._asked(question, passages, previous)]
        for message in messages:
            if not message.content:
                raise WorkbenchError(f"{self.source} gives an empty {message.role} message for the question {question[:80]!r}")
        return Conversation(tuple(messages), question, tuple(passages), len(system) + 2 * len(shots) * shots_shared)

    def parts(self, question: str, passages: Sequence[Passage], shots: Sequence[Shot] = (), previous: str = "") -> dict[str, str]:
        """Return the text of each part of a conversation, so that its tokens can be counted when it is too long.

        "instructions" is the template with nothing filled in; what it repeats for each passage counts nowhere. "context" is empty where
        the template shows no passages; "previous" is there when there is something.
        """
        shown = _shown(question, passages if self._places_passages else ())
        return {
            "instructions": _joined(message.content for message in (*self._system(), self._asked("", (), ""))),
            "shots": _joined(message.content for message in self._shots(shots)),
            "context": _joined(f"{passage['title']}\n{passage['text']}" for passage in shown["passages"]),
            "question": shown["question"],
            **({"previous": neutralise(previous).strip()} if previous else {}),
        }

    @property
    def shows_passages(self) -> bool:
        """Tell whether this template or the one of the step before shows the passages; a closed-book prompt does not."""
        return self._places_passages or bool(self.before and self.before.shows_passages)

    @functools.cached_property
    def _places_passages(self) -> bool:
        probe = (Passage(Span("probe", 0, 1), "probe"),)
        return self._asked("?", probe, "") != self._asked("?", (), "")

    def _system(self) -> list[Message]:
        return [self._message("system", {})] if "system" in self.sections else []

    def _asked(self, question: str, passages: Sequence[Passage], previous: str) -> Message:
        return self._message("user", {**_shown(question, passages), "previous": neutralise(previous).strip()})

    def _shots(self, shots: Sequence[Shot]) -> list[Message]:
        messages = []
        for shot in shots:
            previous = self.before._replied(shot).content if self.before else ""
            messages += [self._asked(shot.question, shot.passages, previous), self._replied(shot)]
        return messages

    def _replied(self, shot: Shot) -> Message:
        """Return the answer of a shot in the format of this prompt, the refusal where it has none (in JSON: null)."""
        answer: str | None = neutralise(shot.answer).strip()
        quote = _quote(shot) if answer else ""
        if not answer:
            if not self.refusal:
                raise WorkbenchError(f"the shot {shot.question[:80]!r} has no answer, and {self.source} has no refusal to show instead")
            if self.format == "text":
                return Message("assistant", self.refusal)
            answer = None if self.format == "json" else self.refusal
        if "assistant" not in self.sections:
            return Message("assistant", answer)
        return self._message("assistant", {**_shown(shot.question, shot.passages), "answer": answer, "quote": quote})

    def _message(self, role: Literal["system", "user", "assistant"], values: Mapping[str, Any]) -> Message:
        return Message(role, _nfc(render_section(self.sections[role], values, self.source)))


def _shown(question: str, passages: Sequence[Passage]) -> dict[str, Any]:
    """Return the variables of a template, all untrusted text neutralised."""
    numbered = [
        {"number": number, "title": neutralise(passage.title).strip(), "text": neutralise(passage.text).strip()}
        for number, passage in enumerate(passages, 1)
    ]
    return {"question": neutralise(question).strip(), "passages": numbered}


def _quote(shot: Shot) -> str:
    """Return the sentence of a shot's first passage that holds its answer, in one line; "" without passages.

    Where no sentence holds the answer, it is the one with most words (pairs of Hangul syllables) of the answer and the question.
    """
    text = neutralise(shot.passages[0].text) if shot.passages else ""
    said = {*hangul_bigrams(shot.answer), *hangul_bigrams(shot.question)}
    answer = neutralise(shot.answer).strip()
    found = [text[start:end] for start, end in sentences(text)]
    best = max(found, key=lambda sentence: (answer in sentence, len(said.intersection(hangul_bigrams(sentence)))), default="")
    return " ".join(best.split())


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
    if name not in (*PROMPTS, CLOSED_BOOK):
        raise registry.unknown("prompt", name, [*PROMPTS, CLOSED_BOOK, "file:PATH"])
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
    prompt, before = _read(path, f"prompt {full!r}")
    return _with_before(prompt, before, path.parent)


def _read(path: Path, source: str) -> tuple[Prompt, str]:
    """Return the prompt of a file alone, and the name of the step before it."""
    template = read_template(path, source)
    front = dict(template.front)
    before = front.pop("before")
    return Prompt(**front, fingerprint=template.fingerprint, source=source, sections=template.sections), before


def _with_before(prompt: Prompt, name: str, folder: Path) -> Prompt:
    """Return a prompt with the step before it: a file beside its own where the name has an ending, else a template that ships."""
    if not name:
        return prompt
    if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", name):
        raise WorkbenchError(f"{prompt.source}: before {name!r} must be the name of a template that ships or of a file in the same folder")
    if "." not in name and not (FOLDER / f"{name}.{prompt.language}.md").is_file():
        shipped = (step for step in (*STEPS, *PROMPTS) if (FOLDER / f"{step}.{prompt.language}.md").is_file())
        raise registry.unknown(f"step before {prompt.source}, in the language {prompt.language!r}:", name, shipped)
    path = folder / name if "." in name else FOLDER / f"{name}.{prompt.language}.md"
    before, first = _read(path, f"the step {name!r} before {prompt.source}")
    if first:
        raise WorkbenchError(f"{before.source} has a step {first!r} before it; a chain has two steps")
    if before.language != prompt.language:
        raise WorkbenchError(f"{before.source} has the language {before.language!r}; both steps need the same, here {prompt.language!r}")
    return replace(prompt, before=before, fingerprint=storage.fingerprint([before.fingerprint, prompt.fingerprint]))


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
