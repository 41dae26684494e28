"""Patterns of refusals for `workbench.text_refusal`: one set phrase a line, words in capitals stand for lists of words.

English phrases are matched at the beginning of a clause that `ENGLISH_FORMS` has made plain: lower case, no articles, no adverbs, "is",
"do", "have" and "can not" for all forms of these verbs, "i" for "we". Korean ones are matched at the end of a clause without spaces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping


def _alternatives(lines: str, words: Mapping[str, str]) -> str:
    """Join the phrases into one pattern; what follows # is a comment."""
    phrases = filter(None, (line.split("#")[0].strip() for line in lines.splitlines()))
    return "|".join(re.sub(r"[A-Z]+|~", lambda name: words[name[0]], phrase) for phrase in phrases)


# --- English ----------------------------------------------------------------------------------------------------------------------

ENGLISH_FORMS = [
    (re.compile(pattern), form)
    for pattern, form in {
        r"\bcannot\b|\bcan't\b|\bcouldn't\b|\bcould not\b": "can not",
        r"n't\b": " not",
        r"[^\w' /-]": " ",
        r"\b(?:am|are|was|were|been|remains?)\b|'m\b|'re\b|(?:(?<=\bit)|(?<=\bthat)|(?<=\bthere))'s\b": " is",
        r"\bdid\b": "does",
        r"\b(?:has|had|have)\b|'ve\b": " have",
        r"\bwe\b": "i",
        r"(?<!/)\b(?:an?|the|any|explicitly|directly|specifically|clearly|actually|currently|really|exactly|definitively|definitely|also"
        r"|simply|anywhere|either|still|just|(?:seem|appear)s? to)\b": "",
        r"\s+": " ",
        r"(?:\bis )?\b(?:unable|not able) to\b": "can not",
    }.items()
]
_PASSAGE = (  # passages as such
    r"(?:passages?|documents?|docs|context|texts?|excerpts?|snippets?|extracts?|sources?|materials?|knowledge base|search results"
    r"|(?:given|provided|supplied|available|retrieved|uploaded|above) (?:information|content|data|files?|pages?|sections?|articles?"
    r"|records?|paragraphs?|terms|references?)|information (?:given|provided|supplied|available|above|i have))"
)
_WORK = (  # what it "does not mention" is a refusal, what it "does not cover" or "does not include" an answer
    r"(?:articles?|sections?|paragraphs?|contract|agreement|lease|polic(?:y|ies)|terms|handbook|manual|leaflet|booklet|brochure|guide"
    r"|guidelines?|instructions|regulations?|report|notice|faq|judge?ment|ruling|book|story|letter|e-?mail|pages?|files?|website"
    r"|transcript|study|paper|chapter|content|information)"
)
_FACTS = r"(?:information|info|details?|mention|answers?|references?|data|indication|evidence|context|figures?|specifics|explanation)"
_SAID = r"(?:mentioned|specified|stated|indicated|disclosed|discussed|addressed|described|explained|clarified)"
_ENGLISH = {
    "~": r"(?:(?!(?:that|which|who|because|whether|not|no|is|do|can|says?)\b)[\w'/-]+ ){0,7}?",  # some words, with a space after each
    "FACTS": _FACTS,
    "PASSAGE": _PASSAGE,
    "SOURCE": rf"(?:{_PASSAGE}|{_WORK})",
    "INPASSAGE": rf"(?:in|by|from|within|with|on|using|under|of|given) (?:[\w'-]+ ){{0,5}}?{_PASSAGE}\b",
    "INSOURCE": rf"(?:in|by|from|within|with|on|using|under|of|given) (?:[\w'-]+ ){{0,5}}?(?:{_PASSAGE}|{_WORK})\b",
    "TELL": r"(?:mention|state|specify|specifies|say|indicate|tell|discuss|discusses|address|addresses|describe|explain|disclose|clarify"
    r"|clarifies|name|identify|identifies|reveal|refer)s?\b",
    "HOLD": r"(?:contain|provide|include|give|offer|have|hold|list|supply|present|cover|answer|support|show|make)s?\b",
    "SAID": _SAID,
    "GIVEN": rf"(?:{_SAID}|given|provided|included|listed|available|contained|found|answered|covered|named|present|known|there|in)",
    "FIND": r"(?:determine|tell|say|know|answer|establish|infer|conclude|identify|find|give|provide|state|locate|confirm|verify)\b",
    "FOUND": r"(?:determined|answered|found|inferred|established|known|derived|verified|confirmed|identified)\b",
    "THIS": r"(?:it|this|that|(?:definite |exact )?answer|(?:this |that |your )?question)",
    "DO": r"(?:do|does)",
    "LACK": r"(?:no|not enough|insufficient|not sufficient|limited)",
}
ENGLISH_REFUSAL = re.compile(
    _alternatives(
        r"""
        # the speaker does not know, can not tell, declines
        i do not know\b(?! of\b)
        i do not have ~(?:FACTS|access|knowledge|idea)\b
        i have no ~(?:FACTS|access|knowledge|idea|way|comment)\b
        i (?:can not|will not|won't) (?:FIND|help|assist|comment|respond)
        i does not find\b
        i is not (?:sure|certain|aware)\b
        i (?:must|have to) decline\b
        # the passages do not tell
        ~PASSAGE ~DO not (?:TELL|HOLD)
        ~SOURCE ~DO not (?:TELL|HOLD ~FACTS\b)
        (?:it|they|this|these|neither|none) DO not (?:TELL|HOLD ~FACTS\b)
        (?:none|neither|no|nothing) (?:of |in )?~SOURCE ~(?:TELL|HOLD)
        (?:none|neither|nothing) TELL
        does not (?:TELL|HOLD ~FACTS\b)  # after "but"
        nothing INSOURCE
        ~SOURCE ~(?:lacks?|fails? to|is silent|says? nothing)\b
        ~SOURCE ~(?:TELL|HOLD) LACK ~FACTS\b
        ~SOURCE ~is not (?:relevant|related|enough|sufficient)\b
        # something is not told
        ~FACTS ~is not GIVEN\b(?! to\b)
        ~(?:FACTS|question) ~is (?:missing|absent|unavailable|outside|beyond|unanswerable)\b
        ~(?:that )?is not SAID(?: INSOURCE|$)
        ~(?:that )?is not GIVEN INPASSAGE
        (?:it|that) is not SAID\b
        ~DO not appear INPASSAGE
        ~(?:FACTS|question) (?:falls|lies) (?:outside|beyond)\b
        THIS can not be FOUND
        ~can not be FOUND ~INPASSAGE
        it is (?:not possible|impossible)(?: INSOURCE)? to FIND
        it is (?:unclear|not clear) INPASSAGE
        there is LACK ~FACTS\b(?! that\b)
        there is not ~(?:FACTS)\b(?! that\b)
        there is (?:nothing|none) INSOURCE
        no ~FACTS (?:~(?:INSOURCE )?is |can be |could be )(?:GIVEN|made)\b(?! to\b)
        # a few words
        (?:answer )?(?:is )?(?:unknown|n/a|not (?:GIVEN|sure|answerable|determinable)|unanswerable|undetermined|unclear|unspecified|unsure|no idea)(?: INSOURCE)?$
        LACK ~FACTS(?: (?:GIVEN|to FIND.*))?(?: INSOURCE)?$
        (?:can not|not possible to|impossible to) (?:be FOUND|FIND)(?: (?:this|that|it|answer|question|\w+))?(?: INSOURCE)?$
        """,
        _ENGLISH,
    )
)
ENGLISH_ASIDE = re.compile(
    _alternatives(
        r"""
        (?:i is |my )?(?:very |so )?(?:sorry|afraid|apolog\w+|unfortunately|regrettably)(?: for \w+ \w+)?$
        i apolog\w+
        (?:please|kindly|let me|for more|for further|feel free|contact|consult|ask|check|refer|is there|would you|can you|sources?)\b
        (?:i|you) (?:would|could|should|may|might|can|recommend|suggest|advise|need to|will need to|have to)\b
        (?:your |this )?question (?:asks|is about)\b
        ~SOURCE ~(?:only |do |does )?(?:is about|(?:cover|discuss|describe|mention|focus|talk|explain|deal|contain|provide|list|refer|address)(?:s|es)?\b)(?!.*\bthat\b)
        (?:it|they) (?:only |do |does )(?:cover|discuss|describe|mention|focus|talk|explain|deal|contain|provide|list|refer)s?\b(?!.*\bthat\b)
        (?:it|.{1,99}) is (?:unknown|unclear|not (?:clear|known|certain))\b
        """,
        _ENGLISH,
    )
)
ENGLISH_LEAD = re.compile(
    _alternatives(
        r"""
        (?:and|but|so|yet|however|therefore|thus|hence|consequently|as result|overall|in short|in conclusion|because|since|although|though|while)\s
        (?:unfortunately|regrettably|sadly|sorry|i is sorry|i is afraid(?: that)?|i apologi[sz]e|my apologies|to be honest|well)\s
        which means (?:that )?
        as ai(?: language)?(?: model| assistant)?\s
        (?:based on|according to|from|given|in) (?:[\w'-]+ ){0,6}?SOURCE(?: above| given| provided)?\s
        """,
        _ENGLISH,
    )
)

# --- Korean -----------------------------------------------------------------------------------------------------------------------

_E = (  # endings of 없-, 않-, 못하- and the like, sentence-final or connective
    r"(?:[었았]?(?:습니다만?|습니까|다|어요|아요|음|네요|군요|지요|죠|는데요|거든요|구요|고요|지만|으나|으며|고|는데|으므로|으니까?|기때문에|기에)|는다"
    r"|[어아]서?|[은는](?:것같|듯|것으로|상태|상황|질문|내용|부분|사항)[가-힣]*|을것같[가-힣]*)"
)
_NO = rf"없{_E}"
_HAD = r"(?:못(?:했|하|함|합|해)[가-힣]{0,5})"
_HARD = (
    r"(?:어렵[가-힣]{0,5}|어려[워울움][가-힣]{0,6}|곤란[가-힣]{0,5}|힘들[가-힣]{0,5}|불가(?:능)?(?:합니다|하다|해요|함|하여|해서?|하므로|하며|하지만|입니다)?)"
)
_KOREAN = {
    "E": _E,
    "NO": _NO,
    "CANT": rf"수(?:가|는|도)?{_NO}",
    "NOT": rf"지(?:는|도|가|를)?(?:않{_E}|{_HAD})",
    "HARD": _HARD,
    "FACTS": r"(?:정보|내용|언급|설명|안내|답변?|정답|기재|자료|데이터|단서|서술|명시)",
    "ANSWER": r"(?:답변?|대답|응답|정답)",
    "P": r"(?:이|가|은|는|을|를|도)?",
    "JUDGE": r"(?:확인|파악|판단|특정|추론|추정|단정|확정|유추|식별|결정)",
    "SAID": r"(?:언급|명시|기재|기술|서술|적시)",
    "TOLD": r"(?:언급|명시|기재|기술|서술|적시|설명|안내|소개|규정|제시|제공|포함|수록|기록|정의|공개|표기|표시)",
}
KOREAN_SOURCE = re.compile("문서")
KOREAN_CUED = re.compile("x")
KOREAN_REFUSAL = re.compile("x")
KOREAN_ASIDE = re.compile("x")
KOREAN_LEAD = re.compile("x")
KOREAN_CONDITION = re.compile("x")
