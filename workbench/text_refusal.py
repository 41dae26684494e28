"""Tell whether an answer refuses: says that it does not know, that the passages do not tell, or that it will not answer.

An answer is cut into clauses, and each is one of three kinds: a *refusal* ("the passages do not say", "알 수 없습니다"), an *aside* (an
apology, advice to ask elsewhere, what the passages are about, "it is unclear") or, whatever else it may be, an *answer*. A refusal has a
clause that refuses and none that answers ("The passages do not say, but the fee is 5,000 won" answers), or it concludes with one
("Therefore, it cannot be determined"). What no pattern knows counts as an answer: so "no", a ban, a lack ("there is no fee",
"환불할 수 없습니다"), a fact about what nobody knows ("the cause is unknown") and quoted words are answers.

English is recognised by how a clause begins, Korean by how it ends; a clause with Hangul is read as Korean. One reading is open in
principle and fixed here: "the contract does not state a term" refuses, as it mostly comes from passages that lack the answer; with its
consequence ("so it is open-ended") it answers. Not covered: other languages, irony, refusals without any set phrase.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from workbench.text import HANGUL, normalise, sentences
from workbench.text_refusal_patterns import (
    ENGLISH_ASIDE,
    ENGLISH_FORMS,
    ENGLISH_LEAD,
    ENGLISH_REFUSAL,
    KOREAN_ASIDE,
    KOREAN_CONDITION,
    KOREAN_CUED,
    KOREAN_LEAD,
    KOREAN_REFUSAL,
    KOREAN_SOURCE,
)

Kind = Literal["refusal", "aside", "answer"]
LONGEST_CLAUSE = 400  # characters looked at, from the beginning in English, from the end in Korean

_HANGUL = re.compile(f"[{HANGUL}]")
_MARKUP = re.compile(r"\[[^\]\n]{0,40}\d[^\]\n]{0,20}\]|【[^】\n]{0,40}】|[*_`#>]+|^\s*[-•]\s+", re.MULTILINE)
_QUOTED = re.compile(r"“[^“”\n]*”|\"[^\"\n]*\"|「[^「」\n]*」|『[^『』\n]*』|(?<!\w)['‘][^'’\n]*['’](?![A-Za-z])")
_CUT = re.compile(
    r"[;:]\s+|\s[–—-]{1,2}\s|(?<=^no),\s|(?<=^yes),\s"
    r"|,?\s(?=(?:but|however|yet)\b)|,\s(?=(?:so|and|therefore|although|though|while|which|because|since|as|except|unless)\b)"
    r"|(?<=^네),\s|(?<=^아니[요오]),\s|(?<=지만)[,\s]+|(?<=으나)[,\s]+|(?<=으며)[,\s]+|(?<=는데)[,\s]+|(?<=[있없않이]고)[,\s]+"
    r"|(?<=없어)[,\s]+|(?<=않아)[,\s]+|(?<=못해)[,\s]+|(?<=려워)[,\s]+|(?<=족해)[,\s]+|(?<=족하여)[,\s]+|(?<=[없않못려족][어아해워]서)[,\s]+"
    r"|(?<=므로)[,\s]+|(?<=으니)[,\s]+|(?<=때문에)[,\s]+",
    re.IGNORECASE,
)
_CONDITION = re.compile(r"^(?:if|when|where|unless|in case)\b[^,]*,\s*|\s(?:if|when|unless|in case)\s.*", re.IGNORECASE)
_CONCESSION = re.compile(r"(?:although|even though|though|while|whereas)\b([^,]*),\s*", re.IGNORECASE)
_CONCLUSION = re.compile(
    r"(?:so|therefore|thus|hence|consequently|as a result|overall|in short|in conclusion|따라서|그러므로|그래서|결론적으로|결국)\b",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """Return whether the answer refuses, in English or Korean; an empty text does not."""
    text = _MARKUP.sub(" ", normalise(text)[0]).replace("’", "'")
    own_words = _QUOTED.sub(" ", text)
    text = own_words if re.search(r"\w", own_words) else text  # all in quotes
    kinds: list[Kind] = []
    concludes = False
    for start, end in sentences(text):
        sentence = text[start:end]
        told = [kind for kind in map(_kind, _clauses(sentence)) if kind != "aside"]
        if told:
            concludes = told[-1] == "refusal" and _CONCLUSION.match(sentence) is not None
        kinds += told
    return "refusal" in kinds and (concludes or "answer" not in kinds)


def _clauses(sentence: str) -> Iterator[str]:
    for part in _CUT.split(sentence):
        concession = _CONCESSION.match(part)
        yield from (concession[1], part[concession.end() :]) if concession else (part,)


def _kind(clause: str) -> Kind:
    return _korean_kind(clause) if _HANGUL.search(clause) else _english_kind(clause)


def _english_kind(clause: str) -> Kind:
    """Judge a clause after its condition, which says nothing about the answer, and its opening ("Unfortunately, based on ...") are off."""
    plain = _CONDITION.sub("", clause[:LONGEST_CLAUSE]).lower()
    for pattern, form in ENGLISH_FORMS:
        plain = pattern.sub(form, plain)
    plain = plain.strip()
    while not (refuses := ENGLISH_REFUSAL.match(plain)) and (lead := ENGLISH_LEAD.match(plain)):
        plain = plain[lead.end() :]
    if refuses:
        return "refusal"
    return "aside" if not plain or ENGLISH_ASIDE.match(plain) else "answer"


def _korean_kind(clause: str) -> Kind:
    """Judge a clause by its end, all spaces left out, since writers differ in where they put them."""
    solid = re.sub(r"[^\w%]+", "", clause[-LONGEST_CLAUSE:])
    while lead := KOREAN_LEAD.match(solid):
        solid = solid[lead.end() :]
    sourced = KOREAN_SOURCE.search(solid)
    refuses = KOREAN_REFUSAL.search(solid) or (sourced and KOREAN_CUED.search(solid))
    if refuses and (sourced or not KOREAN_CONDITION.search(clause)):
        return "refusal"
    return "aside" if not solid or KOREAN_ASIDE.search(solid) else "answer"
