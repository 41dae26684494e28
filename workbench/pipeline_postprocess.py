"""Turn what a generator wrote into what a user sees, and record each step in a note.

Five hooks, in this order:

1. *clean-up* puts the text into NFC without unwanted characters and takes off what is no part of the answer: thoughts (`<think>`), a label
   in front ("Answer:", "답변:"), quotes or a code fence around the whole, a new turn that the model went on to write, and the repeats of a
   looping model. It takes off nothing else, and cleaning a clean text changes nothing.
2. *format* takes the answer out of the format that the prompt asks for (`workbench.pipeline_formats`), and cleans it up like a text.
3. *citations* finds the passages that markers such as [1], [1, 3], [2-4], 【1】, [문서 2] and (출처: 3) name. The markers stay in the text,
   a user should see them; `without_citations` takes them out for scoring.
4. *refusal* tells whether the answer refuses (`workbench.text_refusal`).
5. *rules* applies the operator's rules (`workbench.pipeline_rules`).

An answer is untrusted text: it is only searched and cut here, and notes never quote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workbench.datatypes import Note
from workbench.pipeline_formats import FormatError, find_answer
from workbench.pipeline_rules import Rule, apply_rules
from workbench.text import normalise, sentences


@dataclass(frozen=True, slots=True)
class Processed:
    """Hold an answer after postprocessing; `citations` are the numbers of existing passages, ascending.

    `valid` tells whether the completion has the format that the prompt asks for, None where it asks for none.
    """

    text: str
    refused: bool
    citations: tuple[int, ...]
    notes: tuple[Note, ...]
    valid: bool | None = None


def postprocess(
    text: str, passages: int, rules: Sequence[Rule] = (), format: str = "text", marker: str = "", refusal: str = ""
) -> Processed:
    """Run all hooks on the text of a completion that was given so many passages.

    `format` and `marker` are those of the prompt; `refusal` is shown for a null answer in JSON. A completion without its format is kept
    whole. An answer is refused when it was before any rule changed it (an appended notice is no answer) or when a rule refused; a rule's
    refusal cites nothing.
    """
    from workbench.text_refusal import is_refusal  # 0.2 s of patterns

    answer, notes, valid = _read(text, format, marker)
    text = refusal if answer is None else answer
    cited = {number for match in _markers(text) for number in _numbers(match[0])}
    missing = sorted(number for number in cited if number > passages)
    if missing:
        notes.append(Note("citations", f"cites passage{'s' * (len(missing) > 1)} {_listed(missing)} of {passages}"))
    refused = answer is None or is_refusal(text)
    if refused:
        notes.append(Note("refusal", "gives no answer"))
    text, stopped, fired = apply_rules(text, rules)
    citations = () if stopped else tuple(sorted(cited.difference(missing)))
    return Processed(text, refused or stopped, citations, (*notes, *fired), valid)


def _read(text: str, format: str, marker: str) -> tuple[str | None, list[Note], bool | None]:
    """Return the answer (None where JSON says null), notes, and whether the format is right; where it is not, the answer is the whole.

    In marked text, labels in front are left to the format: "Answer: 14 days" is an answer behind its marker, with no word before it.
    """
    whole, done = clean_up(text, labels=format != "marked")
    if format == "text":
        return whole, [Note("clean-up", step) for step in done], None
    faults = []
    try:
        found = find_answer(whole, format, marker)
        answer, more = (None, ()) if found is None else clean_up(found)
        if answer == "":
            raise FormatError("gives an empty answer")
    except FormatError as error:
        answer, more = clean_up(whole)
        faults = [Note("format", str(error))]
    return answer, [*(Note("clean-up", step) for step in dict.fromkeys((*done, *more))), *faults], not faults


# --- clean-up -------------------------------------------------------------------------------------------------------------------------

_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_THOUGHT_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_TURN = re.compile(
    r"<\|(?:im_start|im_end|endoftext|eot_id|start_header_id|end|user|assistant|system)\|>|<(?:start|end)_of_turn>"
    r"|\n[^\S\n]*(?:#{1,6}[^\S\n]*|\*\*)?(?:(?:question|질문)(?:[^\S\n]*\d+)?|q|human)(?:\*\*)?[^\S\n]*[:：]"
    r"|\n[^\S\n]*(?:user|사용자)[^\S\n]*[:：](?=.*\n[^\S\n]*(?:assistant|answer|답변|a)[^\S\n]*[:：])",  # "User: admin" may be an answer
    re.IGNORECASE | re.DOTALL,
)
_ROLE = re.compile(
    r"(?:(?:<\|(?:im_start|start_header_id)\|>|<start_of_turn>)\s*(?:assistant|model)?(?:<\|end_header_id\|>)?|<\|assistant\|>)\s*",
    re.IGNORECASE,
)
_NAME = r"(?:(?:the |final )?answer|(?:최종 ?)?답변|정답|답|assistant)"
_LABEL = re.compile(
    rf"(?:(?:#{{1,6}}\s*)?(?:{_NAME}\s*[:：]|\*\*{_NAME}(?:\*\*\s*[:：]|\s*[:：]\s*\*\*)|\[{_NAME}\]\s*[:：]?)\s*"
    rf"|(?:#{{1,6}}\s*{_NAME}|\*\*{_NAME}\*\*)\s*\n\s*|(?-i:A)\s*[:：]\s*(?!.{{0,300}}\bB\s*[:：]))+",
    re.IGNORECASE | re.DOTALL,
)
_FENCE = re.compile(r"```(?:[\w+-]*\n)?((?:(?!```).)*)```", re.DOTALL)
_QUOTES = re.compile(r"\"([^\"“”]*)\"|“([^\"“”]*)”|'([^'‘’]*)'|‘([^'‘’]*)’")
LONGEST_LOOP = 20  # sentences or lines


def clean_up(text: str, labels: bool = True) -> tuple[str, tuple[str, ...]]:
    """Return the text without what is no part of the answer, and what was done, each thing once; `labels` in front may be left."""
    done: dict[str, None] = {}
    before = None
    while text != before:  # a label may stand inside the quotes, or the quotes behind the label
        before = text
        text, counts = normalise(text)
        done |= dict.fromkeys(f"normalised ({kind})" for kind in counts)
        text = text.strip()
        for what, changed in _changes(text, labels):
            if changed != text:
                done[what] = None
                text = changed.strip()
                break
    return text, tuple(done)


def _changes(text: str, labels: bool) -> Iterator[tuple[str, str]]:
    """Give the ways to clean a text; one that finds nothing to do gives the text itself."""
    yield "cut a thought", _THOUGHT_END.split(_THOUGHT.sub("", text))[-1]  # some chat templates open the thought in the prompt
    role = _ROLE.match(text)
    yield "removed a role marker in front", text[role.end() :] if role else text
    turn = _TURN.search(text)
    yield "cut a new turn", text[: turn.start()] if turn else text
    label = _LABEL.match(text) if labels else None
    yield "removed a label in front", text[label.end() :] if label else text
    fence = _FENCE.fullmatch(text)
    yield "removed a code fence around it", fence[1] if fence else text
    quotes = _QUOTES.fullmatch(text)
    yield "removed quotes around it", text[1:-1] if quotes else text
    yield "cut repeats at the end", _without_repeats(text)


def _without_repeats(text: str) -> str:
    """Cut the repeats of a block of sentences or lines at the end; the last repeat may be incomplete.

    A block counts with a letter in it, and with 10 characters or three times in a row: "12\n12" may be two values.
    """
    spans = sentences(text)
    units = [text[start:end] for start, end in spans]
    for size in range(1, min(LONGEST_LOOP, len(units) // 2) + 1):
        end = len(units)
        if units[-1] != units[-1 - size] and units[-1 - size].startswith(units[-1]):
            end -= 1
        first = end
        while first > size and units[first - 1] == units[first - 1 - size]:
            first -= 1
        repeats = (end - first) // size
        block = text[spans[first - size][0] : spans[first - 1][1]]
        if repeats and re.search(r"[^\W\d_]", block) and (len(block) >= 10 or repeats >= 2):
            return text[: spans[first - 1][1]]
    return text


# --- citations ------------------------------------------------------------------------------------------------------------------------

# Passages beyond the 99th cannot be cited, so that "[2024]" is no citation; nor is "[0, 1]".
_NUMBER = r"(?:0?[1-9]|[1-9][0-9])(?![0-9])"
_LABEL_OF_PASSAGE = r"(?:문서|지문|출처|자료|근거|본문|참고|passages?|documents?|docs?|sources?|references?|ref)\.?"
_LIST = rf"{_NUMBER}번?(?:\s*(?:[,;·~–-]|and|및|와|과)\s*(?:{_LABEL_OF_PASSAGE}\s*)?{_NUMBER}번?)*"
_MARKER = (
    rf"[\[【［](?:\^|(?:{_LABEL_OF_PASSAGE}\s*+[:：]?\s*+)*#?){_LIST}(?:†[^\]】］\n]*)?[\]】］]"
    rf"|\((?:{_LABEL_OF_PASSAGE}\s*+[:：]?\s*+)+#?{_LIST}\)"
)
_CODE = r"```.*?```|`[^`\n]*`"
_MARKER_OR_CODE = re.compile(rf"{_CODE}|(?P<marker>{_MARKER})", re.DOTALL | re.IGNORECASE)
_MARKERS_OR_CODE = re.compile(
    rf"{_CODE}|(?P<marker>(?<![^\S\n])[^\S\n]*(?:{_MARKER})(?:[^\S\n]*[,;·]?[^\S\n]*(?:{_MARKER}))*)", re.DOTALL | re.IGNORECASE
)
_RANGE = re.compile(r"([0-9]+)번?(?:\s*[~–-]\s*([0-9]+))?")


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:5])) + (" and more" if len(numbers) > 5 else "")


def _markers(text: str) -> Iterator[re.Match[str]]:
    return (match for match in _MARKER_OR_CODE.finditer(text) if match["marker"])


def _numbers(marker: str) -> Iterator[int]:
    for match in _RANGE.finditer(marker.partition("†")[0]):
        first, last = sorted((int(match[1]), int(match[2] or match[1])))
        yield from range(first, last + 1)


def without_citations(text: str) -> str:
    """Take the citation markers out of a text, so that they do not count as words of the answer; code stays as it is."""
    return _MARKERS_OR_CODE.sub(lambda match: "" if match["marker"] else match[0], text).strip()
