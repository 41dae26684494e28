"""Clean text, cut it into search terms and sentences, and guess its language; Korean and English.

Everything here works on characters; offsets have an exclusive end.
Not covered: other languages than Korean and English beyond white space and Unicode word characters, and hard-wrapped lines
(a line break always ends a sentence).
"""

from __future__ import annotations

import functools
import operator
import re
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench import registry

if TYPE_CHECKING:
    import Stemmer
    from kiwipiepy import Kiwi

HANGUL = "\u1100-\u11ff\u3131-\u318e\ua960-\ua97f\uac00-\ud7a3\ud7b0-\ud7fb"
BOM = "\ufeff"
# ZWNJ and ZWJ (U+200C, U+200D) stay: they carry meaning in Persian and Indic spelling and in emoji.
UNWANTED = {
    "NUL characters": "\0",
    "lone surrogates": "\ud800-\udfff",
    "zero-width characters": "\u200b\u2060\ufeff",
    "bidirectional controls": "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069",
}
_UNWANTED_KINDS = {kind: re.compile(f"[{characters}]") for kind, characters in UNWANTED.items()}
_UNWANTED_ANY = re.compile(f"[{''.join(UNWANTED.values())}]")
QUOTES = re.compile("[\"'“”‘’«»「」『』()\\[\\]{}]")  # dropped wherever they stand: Korean particles follow them without a space
MARKS = ".,;:!?…。，、？！~"  # dropped around words; + # % $ stay, which tell C from C++ and 5 $ from 5 %


def normalise(text: str) -> tuple[str, dict[str, int]]:
    """Return the text in NFC with LF line ends and without unwanted characters, and counts of what was changed.

    Removed are the byte-order mark, NUL, lone surrogates, zero-width characters and bidirectional controls.
    """
    if text.isascii() and "\r" not in text and "\0" not in text:
        return text, {}
    counts: dict[str, int] = {}
    if text.startswith(BOM):
        counts["byte-order marks"] = 1
        text = text[1:]
    if "\r" in text:
        counts["carriage returns"] = text.count("\r")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    for kind, pattern in _UNWANTED_KINDS.items():
        text, count = pattern.subn("", text)
        if count:
            counts[kind] = count
    if not unicodedata.is_normalized("NFC", text):  # last, because a removed character may have kept two apart that compose
        counts["texts not in NFC"] = 1
        text = unicodedata.normalize("NFC", text)
    return text, counts


class Alignment:
    """Map spans of an original text to its normalised text; `counts` says what `normalise` changed."""

    def __init__(self, original: str) -> None:
        self.original = original
        self.text, self.counts = normalise(original)
        self._offsets: tuple[list[int], list[int]] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return where characters start to end of the original lie in the normalised text; characters that merged count whole."""
        if not self.counts:
            return start, end
        if self._offsets is None:
            self._offsets = _offset_map(self.original)
        return self._offsets[0][start], self._offsets[1][end]


def _offset_map(original: str) -> tuple[list[int], list[int]]:
    """Return, for each offset of the original, the normalised offset of a span that starts there and of one that ends there."""
    size = len(original)
    starts, ends = [-1] * (size + 1), [-1] * (size + 1)
    position, segment, members = 0, "", []

    def close() -> int:
        length = len(unicodedata.normalize("NFC", segment))
        for member in members:
            starts[member], ends[member + 1] = position, position + length
        return position + length

    for index, character in enumerate(original):
        if _UNWANTED_ANY.match(character) or (character == "\r" and original[index + 1 : index + 2] == "\n"):
            continue
        kept = "\n" if character == "\r" else character
        if _starts_segment(segment, kept):
            position = close()
            segment, members = "", []
        segment += kept
        members.append(index)
    starts[size] = close()
    ends[0] = 0
    for index in range(size - 1, -1, -1):  # a removed character starts where the next kept one does ...
        if starts[index] < 0:
            starts[index] = starts[index + 1]
    for index in range(1, size + 1):  # ... and ends where the one before it does
        if ends[index] < 0:
            ends[index] = ends[index - 1]
    return starts, ends


def _starts_segment(segment: str, character: str) -> bool:
    """Say whether no later character can merge with the segment once this one has come."""
    if character < "\u0300" or not segment:
        return True
    if unicodedata.combining(unicodedata.normalize("NFD", character)[0]):
        return False
    apart = unicodedata.normalize("NFC", segment) + unicodedata.normalize("NFC", character)
    return unicodedata.normalize("NFC", segment + character) == apart


# --- search terms -----------------------------------------------------------------------------------------------------------------

_WORD = re.compile(r"\w+")
_SCRIPT_RUN = re.compile(rf"([{HANGUL}]+)|[^\W{HANGUL}]+")
_LONG_RUN = re.compile(r"(?<!\S)\S{2001,}")
# Lucene's list.
_ENGLISH_STOP_WORDS = frozenset(
    (
        "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to was will with"
    ).split()
)
# Tags of the Sejong set: nouns, number words, verb and adjective stems, roots, Latin, Chinese characters, digits.
_CONTENT_TAGS = frozenset({"NNG", "NNP", "NNB", "NR", "VV", "VA", "XR", "SL", "SH", "SN"})


def folded(question: str) -> str:
    """Return a question in NFC without case, white space, quotes, brackets and the punctuation around its words."""
    plain = QUOTES.sub("", unicodedata.normalize("NFC", question).casefold())
    return "".join(word.strip(MARKS) for word in plain.split())


def words(text: str) -> list[str]:
    """Cut text into lower-case runs of word characters."""
    return _WORD.findall(unicodedata.normalize("NFC", text).lower())


def hangul_bigrams(text: str) -> list[str]:
    """Cut Hangul runs into overlapping pairs of syllables and everything else into words.

    A single syllable stays one token; no token crosses from Hangul into another script.
    """
    tokens: list[str] = []
    for match in _SCRIPT_RUN.finditer(unicodedata.normalize("NFC", text).lower()):
        run = match[0]
        if match[1] is None or len(run) == 1:
            tokens.append(run)
        else:
            tokens.extend(map(operator.add, run, run[1:]))
    return tokens


@functools.cache
def _stemmer() -> Stemmer.Stemmer:
    import Stemmer

    return Stemmer.Stemmer("porter")


def english_words(text: str) -> list[str]:
    """Cut text into words without Lucene's English stop words, reduced to their Porter stems, as Lucene's EnglishAnalyzer does."""
    return _stemmer().stemWords([word for word in words(text) if word not in _ENGLISH_STOP_WORDS])


@functools.cache
def _kiwi() -> Kiwi:
    registry.require("kiwipiepy", "korean", "the tokeniser 'kiwi'")
    from kiwipiepy import Kiwi

    return Kiwi()


def kiwi_words(text: str) -> list[str]:
    """Cut text into the content morphemes that Kiwi finds: nouns, stems of verbs and adjectives, roots, Latin words, numbers.

    The model is loaded at the first call (about 2 s, 500 MB). A run without white space is broken after 2,000 characters,
    because the time Kiwi takes grows faster than the run. Raise WorkbenchError when kiwipiepy is not installed.
    """
    spaced = _LONG_RUN.sub(_break_run, unicodedata.normalize("NFC", text))
    tokens = _kiwi().tokenize(spaced)
    # irregular stems carry a suffix (VV-I); tags that start with W_ are addresses, serial numbers and the like
    return [token.form.lower() for token in tokens if token.tag.split("-")[0] in _CONTENT_TAGS or token.tag.startswith("W_")]


def _break_run(run: re.Match[str]) -> str:
    return " ".join(run[0][index : index + 2000] for index in range(0, len(run[0]), 2000))


TOKENISERS: dict[str, Callable[[str], list[str]]] = {
    "word": words,
    "english": english_words,
    "hangul-bigram": hangul_bigrams,
    "kiwi": kiwi_words,
}


# --- sentences --------------------------------------------------------------------------------------------------------------------

_CLOSERS = "\"'”’»)\\]」』】〉》*_`"
_LINE = re.compile(r"[^\n\v\f\x85\u2028\u2029]+")
# A run of marks is looked at once, from its start: long runs must not make the search quadratic.
_END = re.compile(rf"(?<![.!?…])([.!?…]+)[{_CLOSERS}]*(?=\s)|[。！？]+[{_CLOSERS}]*")
_NEXT = re.compile(r"\s*(\S{0,4})")
_WHOLE_LINE = re.compile(r"\s*(?:\||#{1,6}\s)")
_MARKER = re.compile(
    r"(?:[-*+>]\s*)*[*_(\[]*(?:\d{1,3}(?:\.\d+)*|[A-Za-z]|[ivxIVX]+|[가나다라마바사아자차카타파하]"
    r"|제\s?\d+\s?[조항장절관편호](?:의\s?\d+)?)[)\]]?"
)
_DATE = re.compile(r"\b\d{4}\.\s?\d{1,2}\.(?:\s?\d{1,2}\.)?")
_LAST_WORD = re.compile(r"(?<![A-Za-z.])[A-Za-z](?:[A-Za-z]|\.(?=[A-Za-z]))*\Z")
_QUOTATIVE = re.compile(r"이?라[고는며]|하[고며]\b")
_NEVER_LAST = re.compile(r"dr|mrs?|ms|prof|rev|gen|st|mt|vs|e\.g|i\.e|cf|viz|al|figs?|eqs?|approx|dept")
_BEFORE_NUMBER = re.compile(r"nos?|vol|pp?|sec|art|ch|chap|ver|para|ref|tab|tel")


def sentences(text: str) -> list[tuple[int, int]]:
    """Return the (start, end) of each sentence, in order; only white space lies between them.

    A line break always ends a sentence (list items, headings, table rows); headings and table rows are never cut further.
    Marks inside numbers, dates, abbreviations, initials and the numbering of clauses do not end one.
    """
    spans: list[tuple[int, int]] = []
    for line in _LINE.finditer(text):
        start = line.end() - len(line[0].lstrip())
        line_end = line.start() + len(line[0].rstrip())
        if start >= line_end:
            continue
        if not _WHOLE_LINE.match(text, start, line_end):
            dates = [match.span() for match in _DATE.finditer(text, start, line_end)]
            for end in _END.finditer(text, start, line_end):
                if end.end() < line_end and _ends_sentence(text, start, end, line_end, dates):
                    spans.append((start, end.end()))
                    start = _NEXT.match(text, end.end()).start(1)
        spans.append((start, line_end))
    return spans


def _ends_sentence(text: str, start: int, end: re.Match[str], line_end: int, dates: list[tuple[int, int]]) -> bool:
    marks = end[1]
    following = _NEXT.match(text, end.end(), line_end)[1]
    closed = end.end() > end.end(1) if marks else False
    if closed and _QUOTATIVE.match(following):
        return False
    if marks is None or "!" in marks or "?" in marks:
        return True
    if "a" <= following[:1] <= "z":
        return False
    if marks != ".":
        return True
    while dates and dates[0][1] <= end.start():
        dates.pop(0)
    if dates and dates[0][0] <= end.start():
        return False
    if end.start() - start <= 24 and _MARKER.fullmatch(text, start, end.start()):
        return False
    last = _LAST_WORD.search(text[max(start, end.start() - 12) : end.start()])
    if last is None:
        return True
    word = last[0].lower()
    if _NEVER_LAST.fullmatch(word) or (last[0].isupper() and (len(word) == 1 or "." in word)):
        return False
    return not (_BEFORE_NUMBER.fullmatch(word) and following[:1].isdigit())


# --- language ---------------------------------------------------------------------------------------------------------------------

_LETTER = re.compile(r"[^\W\d_]")
_HANGUL_LETTER = re.compile(f"[{HANGUL}]")
_LATIN_LETTER = re.compile("[A-Za-z]")


def guess_language(text: str) -> str:
    """Guess 'ko' (at least a fifth of the letters is Hangul), 'en' (at least four fifths are A to Z) or 'other'.

    Only the script is looked at, so other languages in plain Latin letters count as 'en'.
    """
    if text.isascii():
        return "en" if _LATIN_LETTER.search(text) else "other"
    letters = len(_LETTER.findall(text))
    if letters == 0:
        return "other"
    if len(_HANGUL_LETTER.findall(text)) >= 0.2 * letters:
        return "ko"
    return "en" if len(_LATIN_LETTER.findall(text)) >= 0.8 * letters else "other"
