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
    names = re.compile("|".join(sorted(words, key=len, reverse=True)))
    return names.sub(lambda name: words[name[0]], "|".join(phrases))


# --- English ----------------------------------------------------------------------------------------------------------------------

ENGLISH_FORMS = [
    (re.compile(pattern), form)
    for pattern, form in {
        r"\bcannot\b|\bcan't\b|\bcouldn't\b|\bcould not\b": "can not",
        r"n't\b": " not",
        r"[^\w' /-]": " ",
        r"\b(passages?|documents?|sources?|excerpts?|texts?|sections?) \d+\b": r"\1",
        r"\b(?:am|are|was|were|been|remains?)\b|'m\b|'re\b|(?:(?<=\bit)|(?<=\bthat)|(?<=\bthere))'s\b": " is",
        r"\bdid\b": "does",
        r"\b(?:has|had|have)\b|'ve\b": " have",
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
    r"|transcript|study|paper|chapter|content)"
)
_FACTS = r"(?:information|info|details?|mention|answers?|references?|data|indication|context|figures?|specifics|explanation)"
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
    "HOLD": r"(?:contain|provide|include|give|offer|have|hold|list|supply|present|cover|answer|support|show|make)s?\b(?! to\b)",
    "SAID": _SAID,
    "GIVEN": rf"(?:{_SAID}|given|provided|included|listed|available|contained|found|answered|covered|named|present|known|there|in)",
    "FIND": r"(?:determine|tell|say|know|answer|establish|infer|conclude|identify|find|give|provide|state|locate|confirm|verify)\b",
    "FOUND": r"(?:determined|answered|found|inferred|established|known|derived|verified|confirmed|identified)\b",
    "THIS": r"(?:it|this|that|(?:definite |exact )?answer|(?:this |that |your )?question)",
    "DO": r"(?:do|does)",
    "SUCHFACTS": r"(?:(?:relevant|specific|explicit|direct|clear|such|further|more|other|additional|enough|sufficient|available|exact"
    rf"|detailed|useful|meaningful) )*{_FACTS}",
    "ABOUT": r"(?:is about|(?:cover|discuss|discusse|describe|mention|focuse|talk|explain|deal|refer|addresse)s?\b"
    rf"|(?:contain|provide|give|list)s? (?:[\w'-]+ ){{0,3}}?{_FACTS}\b)(?!.*(?:\bthat\b|\d))",
    "LACK": r"(?:no|not enough|insufficient|not sufficient)",
}
ENGLISH_REFUSAL = re.compile(
    _alternatives(
        r"""
        # the speaker does not know, can not tell, declines
        i do not know\b(?! of\b)
        i do not have ~(?:FACTS|access|knowledge|evidence|idea)\b
        i have no ~(?:FACTS|access|knowledge|idea|way|comment)\b
        i can not (?:FIND|see|help|assist|comment|respond)
        i (?:will not|won't) (?:answer|help|assist|comment|respond)\b
        i does not find\b
        i is not (?:sure|certain|aware)\b
        i (?:must|have to) decline\b
        we (?:do not|can not) FIND(?: .*)? INPASSAGE  # without it, "we" is mostly the company that wrote the passage
        # the passages do not tell
        ~PASSAGE ~DO not (?:TELL|HOLD)
        ~SOURCE ~DO not (?:TELL|HOLD ~FACTS\b)
        (?:it|they|this|these|neither|none) DO not (?:TELL|HOLD ~FACTS\b)
        (?:none|neither|nothing) (?:of |in )?~SOURCE ~(?:TELL|HOLD)
        no PASSAGE ~(?:TELL|HOLD)
        (?:none|neither|nothing) TELL
        (?:but|and|yet) does not (?:TELL|give|HOLD ~FACTS\b)
        nothing INPASSAGE
        ~SOURCE ~(?:lacks? ~FACTS|fails? to TELL|is silent|says? nothing)\b
        ~SOURCE ~(?:TELL|HOLD) LACK SUCHFACTS\b
        ~SOURCE ~is not (?:(?:relevant|related) to ~question|(?:enough|sufficient) to (?:answer|FIND))\b
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
        it is (?:not possible|impossible)(?: INSOURCE)? to (?:determine|tell|say|answer|establish)\b
        it is (?:unclear|not clear) INPASSAGE
        there is (?:LACK|not) SUCHFACTS\b(?<!no data)(?! (?:that|desk|number|counter|cent(?:re|er)|office)\b)
        there is (?:nothing|none) INSOURCE
        there is no way (?:to|of) (?:know|tell|determine|say|answer)
        no SUCHFACTS (?:~(?:INSOURCE )?is |can be |could be )(?:GIVEN|made)\b(?! to\b)
        # a few words
        (?:answer )?(?:is )?(?:unknown|unclear|undetermined|unspecified|unanswerable|n/a|not (?!covered|included)GIVEN)(?: INSOURCE)?$
        (?:unsure|no idea|not (?:sure|answerable|determinable))$
        LACK SUCHFACTS(?: (?:GIVEN|to FIND.*))?(?: INSOURCE)?$
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
        answer$
        more ~FACTS ~is (?:needed|required|necessary)
        (?:please|kindly|let me|for more|for further|try|feel free|contact|consult|ask|check|refer|is there|would you|can you|sources?)\b
        i (?:would |can |could )?(?:recommend|suggest|advise|help)\b
        you (?:can|could|may|might|should|(?:will |would )?(?:need|have) to)(?: want to)? (?:contact|ask|check|consult|refer|try|call|see)\b
        (?:your |this )?question (?:asks|is about)\b
        ~SOURCE ~(?:only |do |does )?ABOUT
        (?:it|they) (?:only |do |does )ABOUT
        (?:it|.{1,99}) is (?:unknown|unclear|not (?:clear|known|certain))\b
        """,
        _ENGLISH,
    )
)
ENGLISH_LEAD = re.compile(
    _alternatives(
        r"""
        (?:and|but|so|yet|however|therefore|thus|hence|consequently|as result|overall|in short|in conclusion)\s
        (?:because|since|although|though|while)\s
        (?:unfortunately|regrettably|sadly|sorry|i is sorry|i is afraid(?: that)?|i apologi[sz]e|my apologies|to be honest|well)\s
        which means (?:that )?
        as ai(?: language)?(?: model| assistant)?\s
        (?:based on|according to|from|given|in) (?:[\w'-]+ ){0,6}?SOURCE(?: above| given| provided| alone)?\s
        """,
        _ENGLISH,
    )
)

# --- Korean -----------------------------------------------------------------------------------------------------------------------

_E = (  # endings of 없-, 않- and the like: of sentences, of clauses that go on, of nouns that sum up
    r"(?:[었았]?(?:습니다만?|다|어요|아요|음|네요|군요|지요|죠|는데요|거든요|구요|고요|지만|으나|으며|고|는데|으므로|으니까?|기때문에|기에)|는다"
    r"|[어아]서?|[은는](?:것같|듯|것으로)[가-힣]*|[은는](?:상태|상황|질문|부분|사항)(?:입니다|이다|임|이에요|이며|이고|이므로|이라|이지만)?|을것같[가-힣]*)"
)
_NO = f"없{_E}"
_HADA = r"(?:합니다|하다|해요|함|하여|해서?|하므로|하며|하지만|하기때문에|입니다)?"
_DID_NOT = r"못(?:했|하|함|합|해)[가-힣]{0,5}"
_WORK_KO = (
    r"(?:문서|지문|본문|원문|문맥|맥락|[컨콘]텍스트|텍스트|발췌[문본]?|안내문|안내서|공지문?|공고문?|설명서|매뉴얼|지침서?|약관|계약서|판결문"
    r"|조문|보고서|논문|책자|기사)"
)
_MATTER_KO = r"(?:자료|글|내용|정보|근거|데이터|기록)"  # a source only with a particle: "정보에는", not "정보는"
_KOREAN = {
    "NO": _NO,
    "CANT": rf"수(?:가|는|도)?{_NO}",
    "NOT": rf"지(?:는|도|가|를)?(?:않{_E}|{_DID_NOT})",
    "HARD": rf"(?:어렵[가-힣]{{0,5}}|어려[워울움][가-힣]{{0,6}}|힘들[가-힣]{{0,5}}|곤란{_HADA}|불가능?{_HADA})",
    "SHORT": f"(?:부족|불충분|미흡){_HADA}",
    "FACTS": r"(?:정보|내용|언급|설명|안내|답변?|정답|기재|자료|데이터|단서|서술|명시)",
    "ANSWER": r"(?:답변?|대답|응답|정답)",
    "~": r"(?:이|가|은|는|을|를|도)?",
    "JUDGE": r"(?:확인|파악|판단|특정|추론|추정|단정|확정|유추|식별)",
    "SAID": r"(?:언급|명시|기재|서술|적시)",
    "TOLD": r"(?:언급|명시|기재|기술|서술|적시|설명|안내|소개|규정|제시|제공|포함|수록|기록|정의|공개|표기|표시)",
    "WRITTEN": r"(?:나와|적혀|쓰여|담겨|실려|들어|나타나|드러나)",
    "ABOUT": r"(?:에대한|에관한|에대해서?|에관해서?|관련|관련된|해당|그런|이러한|질문하신|문의하신|이에대한|그에관한)",
    "THAT": r"(?:[은는인]지|을지|여부|부분|사항|구체적[가-힣]{0,2}|정확한|자세한|해당|관련|질문|문의하신|대한|관한)",  # what is asked
}
KOREAN_REFUSAL = re.compile(
    "(?:"
    + _alternatives(
        r"""
        # the speaker does not know, cannot answer, cannot help
        (?<![자원사인객람리구무]도)알CANT
        알기(?:가|는|에는)?HARD
        (?<!지도)(?<!줄)모르겠(?:습니다|어요|네요|음|다|는데요|고요|으나|지만|으므로)
        ^(?:저는?|저도|나도?|잘|전혀|정확히|그건)*(?:모릅니다|몰라요|모름|몰라|모른다)
        ANSWER~(?:할|드릴|해드릴|하여드릴|제공할|제공해드릴|제시할|찾을|얻을|알려드릴)CANT
        ANSWER~(?:하기|드리기|해드리기|내리기|찾기)(?:가|는|에는|에)?HARD
        (?:ANSWER|안내)(?:이|가|은|는)?HARD
        ANSWER~찾NOT
        ANSWER(?:이|은|가|는)?(?:나와있|포함되어있|들어있|있)NOT
        ANSWER(?:이|은)?NO
        ^(?:저는|제가)?(?:도와|도움을)[가-힣]{0,3}(?:드릴|줄)CANT
        (?:저는|제가)[가-힣]*(?:접근|열람|조회)할CANT
        # there is too little
        (?:정보|자료|근거|내용|문맥|맥락|단서|데이터)(?:이|가|은|는)?(?:매우|너무|많이)?(?:SHORT|충분하NOT)
        ABOUTFACTS(?:이|가|은|는|도)?(?:전혀|따로|별도로)?NO
        ^FACTS(?:이|가|은|는)?NO
        ABOUT(?:정보|자료)(?:을|를)?(?:갖고|가지고|보유하고)있NOT
        ABOUTFACTS(?:은|는|이|가)(?:따로|별도로)?(?:제공|제시|포함)되(?:어있)?NOT
        # it is not told
        SAID(?:되어있|돼있|되)NOT
        (?:나와|적혀|쓰여)있NOT
        안(?:나와|적혀|쓰여)있(?:습니다|다|어요|음|네요|군요)
        THAT.*JUDGE(?:할CANT|되NOT|하기(?:가|는)?HARD|(?:이|은)?HARD)
        THAT.*찾(?:을CANT|NOT|기HARD)
        ^(?:정확히|정확하게)?JUDGE(?:할CANT|이?HARD|하기HARD|되NOT)
        ^찾을CANT
        질문(?:과|에)[가-힣]{0,4}(?:관련|연관|관계)[가-힣]{0,3}(?:NO|있NOT)
        """,
        _KOREAN,
    )
    + ")$"
)
KOREAN_CUED = re.compile(  # with a word on the passages
    "(?:"
    + _alternatives(
        r"""
        JUDGE(?:할CANT|되NOT|하기(?:가|는)?HARD|(?:이|은)?HARD|하NOT)
        찾(?:을CANT|아볼CANT|아낼CANT|NOT|기HARD)
        WRITTEN있NOT
        (?:나오|나타나|드러나|보이|밝히|밝혀|밝히고있|알려주|말하고있|다루|다루고있|담고있)NOT
        TOLD(?:되어있|돼있|되|하고있|하)?NOT
        TOLD(?:이|가|은|는)?(?:전혀|따로|별도로)?NO
        FACTS(?:이|가|은|는|도)?(?:전혀|따로|별도로)?NO
        (?:WORK|MATTER)(?:들)?(?:에|에는|에도|에서는?|상에는?)(?:전혀|아예)?NO
        """,
        _KOREAN | {"WORK": _WORK_KO, "MATTER": _MATTER_KO},
    )
    + ")$"
)
KOREAN_SOURCE = re.compile(
    rf"(?:{_WORK_KO}|(?:제공|주어|제시|검색)[된진한해](?:주신)?{_MATTER_KO}|[이위본당]글)(?:들)?(?:모두|에|상|으?로|만|은|는|이|가|도|중|을통해|를통해)"
    rf"|{_MATTER_KO}(?:들)?(?:에|상|으?로|만)"
)
KOREAN_ASIDE = re.compile(
    r"^(?:(?:정말|대단히)?(?:죄송|미안|유감|송구)[가-힣]{0,8}|아쉽게도|안타깝게도|글쎄요?|정답|답변?)$"
    # advice to ask elsewhere, offers of help
    r"|(?:문의|연락|상담|확인|참고|참조|질문|시도|입력|추가|알려|방문|검색|선택|말씀|도움|도와|권)[가-힣]*"
    r"(?:바랍니다|주세요|주십시오|하세요|보세요|하십시오|권합니다|장합니다|좋습니다|좋겠습니다|드립니다|드릴까요|요합니다|하신가요)$|정보가필요합니다$"
    # a reason; what follows from it counts
    r"|(?:없|않|못하?|어려|부족하?)(?:어서?|아서?|해서?|여|워서?|으므로|므로|기때문에|으니)$"
    # what the passages or the question are about, without a figure
    r"|^(?=.*(?:문서|지문|본문|자료|글|질문))(?!.*[다라]고)(?!.*(?<!문서)\d).*(?:설명|소개|언급|안내|포함|다루|담|묻|제시)"
    r"[가-힣]{0,2}(?:고있|되어있|하지만|되지만)?(?:합니다|습니다|다|어요|으며|으나|고|지만|는데)?$"
    r"|[은는을]지[는가]?(?:확실|분명|명확)하지않"
)
KOREAN_LEAD = re.compile(
    r"(?:죄송하지만|죄송합니다만|미안하지만|아쉽게도|안타깝게도|유감스럽게도|글쎄요?|하지만|그러나|그런데|다만|따라서|그러므로|그래서|결론적으로|결국|즉)"
)
KOREAN_CONDITION = re.compile(r"(?:[으하되라]면|경우|때|전에|후에|이후|동안|없이)(?:에?는|엔)?\s")
