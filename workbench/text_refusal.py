"""Tell whether an answer refuses: says that it does not know, that the passages do not tell, or that it will not answer.

An answer is cut into clauses, and each is one of three kinds: a *refusal* ("the passages do not say", "알 수 없습니다"), *aside* (apologies,
advice to ask elsewhere, what the passages are about, "it is unclear") or, whatever else it may be, an *answer*. A refusal has a clause that
refuses and none that answers ("The passages do not say, but the fee is 5,000 won" answers), or concludes with one ("Therefore, it cannot be
determined"). So whatever the patterns do not know counts as an answer. "No", a ban, a lack ("there is no fee", "환불할 수 없습니다"), a fact about
what nobody knows ("the cause is unknown") and quoted words are answers.

Korean is recognised by how a clause ends, English by how it begins; clauses with Hangul are read as Korean. Two readings are open in
principle and fixed here: "the contract does not state a term" alone refuses, as it mostly comes from a passage that lacks the answer;
followed by its consequence ("so it is open-ended") it answers. Not covered: other languages, irony, refusals without any set phrase.
"""

from __future__ import annotations

import re
from typing import Literal

from workbench.text import normalise, sentences

Kind = Literal["refusal", "aside", "answer"]

# --- English ----------------------------------------------------------------------------------------------------------------------

_NOT = r"(?: not|n't)"
_SAID = r"(?:mentioned|specified|stated|indicated|disclosed|discussed|addressed|described|explained|clarified)"
_GIVEN = rf"(?:{_SAID}|given|provided|included|listed|available|contained|found|answered|covered|named|present|known|there|in)"
_FACTS = r"(?:information|info|details?|mention|answers?|references?|data|indication|evidence|context|figures?|specifics|explanation)"
# Passages of whatever kind; what a contract or a policy "does not cover" or "does not include" is an answer, so they are another group.
_PASSAGE = (
    r"(?:passages?|documents?|docs|context|texts?|excerpts?|snippets?|extracts?|sources?|materials?|knowledge base|search results"
    r"|(?:given|provided|supplied|available|retrieved|uploaded|above) (?:information|content|data|files?|pages?|sections?|articles?|records?"
    r"|paragraphs?|terms|references?)|information (?:given|provided|supplied|available|above))"
)
_WORK = (
    r"(?:articles?|sections?|paragraphs?|contract|agreement|lease|policy|policies|terms|handbook|manual|leaflet|booklet|brochure|guide"
    r"|guidelines?|instructions|regulations?|report|notice|faq|judge?ment|ruling|book|story|letter|e-?mail|pages?|files?|website"
    r"|transcript|study|paper|chapter|content|information)"
)
_BEFORE = r"(?:(?!that\b|which\b|who\b|because\b|whether\b|not\b|no\b)[\w'-]+ ){0,6}?"
_AFTER = r"(?: (?!that\b|which\b|says?\b|is\b|are\b)[\w',-]+){0,6}?"
_PASSAGES = rf"{_BEFORE}{_PASSAGE}{_AFTER}"
_WORKS = rf"{_BEFORE}(?:{_PASSAGE}|{_WORK}){_AFTER}"
_IN = rf"(?: anywhere)? (?:in|by|from|within|with|on|based on|using|under|through|given|of) (?:[\w'-]+ ){{0,5}}?(?:{_PASSAGE}|{_WORK})\b"
_IN_PASSAGES = rf"(?: anywhere)? (?:in|by|from|within|with|on|based on|using|given|of) (?:[\w'-]+ ){{0,5}}?{_PASSAGE}\b"
_TELL = r"(?:mention|state|specify|say|indicate|tell|discuss|address|describe|explain|disclose|clarify|name|identify|reveal|report|refer)s?"
_HOLD = r"(?:contain|provide|include|give|offer|have|hold|list|supply|present|cover|answer|support|show|make)s?"
_FIND = r"(?:determine|tell|say|know|answer|establish|infer|conclude|identify|find|give|provide|state)"
_ADVERB = r"(?: (?:explicitly|directly|specifically|clearly|actually|seem to|appear to|currently|really|even|exactly))?"
_NO_FACTS = rf"(?:no|not enough|insufficient|not sufficient|not any|limited) (?:[\w'-]+ ){{0,3}}?{_FACTS}\b"
_CANNOT = r"(?:can ?not|can't|could not|couldn't|(?:am|are|was|were|'m|'re)? ?(?:not able|unable) to|won't|will not)"
_THIS = r"(?:it|this|that|these|they|the answer|an? (?:definite |exact |clear )?answer|(?:the|your|this|that) question)"
_ENGLISH_REFUSAL = re.compile(
    rf"""
    # the speaker does not know, cannot tell, or declines
    (?:i|we)(?:\ do{_NOT}|\ dont)\ (?:know\b(?!\ of)|(?:currently\ |actually\ )?have\ (?:any\ |enough\ |sufficient\ |the\ |that\ |this\ |access|
        specific\ |more\ |an\ )*(?:necessary\ )?(?:\b{_FACTS}|knowledge|access|answer|evidence|idea))
    |(?:i|we)\ ?{_CANNOT}\ (?:\w+ly\ )?(?:{_FIND}|help|assist|comment|respond|locate|confirm|verify|offer|fulfil+|see)\b
        (?!\ (?:the\ )?(?:product|item|order)s?\b)
    |(?:i|we)\ (?:did\ not|didn't)\ find\b
    |(?:i|we)\ have\ no\ (?:[\w-]+\ )?(?:idea|{_FACTS}|knowledge|way|comment|access)\b
    |(?:i'm|i\ am|we\ are|we're)\ not\ (?:sure|certain|aware)\b
    |(?:i|we)\ (?:must|have\ to)\ decline\b
    # the passages do not tell
    |{_PASSAGES}\ (?:do|does|did|seems?){_NOT}{_ADVERB}\ (?:{_TELL}|{_HOLD})\b
    |{_WORKS}\ (?:do|does|did){_NOT}{_ADVERB}\ (?:{_TELL}\b|{_HOLD}\ (?:[\w'-]+\ ){{0,3}}?{_FACTS}\b)
    |(?:it|they|this|these|neither|none)\ (?:do|does|did){_NOT}{_ADVERB}\ (?:{_TELL}|{_HOLD}\ (?:[\w'-]+\ ){{0,3}}?{_FACTS})\b
    |(?:none|neither|no\ part|nothing)\b(?:{_IN}|\ {_PASSAGE})?{_AFTER}\ (?:{_TELL}|(?:{_HOLD})(?!\ up))\b
    |no\ {_PASSAGE}{_AFTER}\ (?:{_TELL}|{_HOLD})\b
    |nothing{_IN}
    |{_WORKS}\ (?:(?:lacks?|fails?\ to|(?:is|are)\ silent|says?\ nothing)\b|(?:{_HOLD}|{_TELL})\ {_NO_FACTS})
    |{_WORKS}\ (?:is|are|was|were|does|do){_NOT}\ (?:appear\ |seem\ )?(?:to\ be\ )?(?:relevant|related|enough|sufficient)\b
    # something is not told
    |{_BEFORE}{_FACTS}{_AFTER}\ (?:is|are|was|were|has|have){_NOT}{_ADVERB}(?:\ been)?\ {_GIVEN}\b(?!\ to\b)
    |(?:(?!that\b|which\b|who\b)[\w',-]+\ ){{1,12}}?(?:is|are|was|were){_NOT}{_ADVERB}\ {_GIVEN}{_IN_PASSAGES}
    |(?:(?!that\b|which\b|who\b)[\w',-]+\ ){{1,12}}?(?:is|are|was|were){_NOT}{_ADVERB}\ {_SAID}(?:{_IN}|$)
    |{_BEFORE}(?:{_FACTS}|{_THIS}){_AFTER}\ (?:is|are)\ (?:missing|absent|unavailable|outside|beyond|unanswerable)\b
    |(?:that|this|the|no|such)\ (?:[\w'-]+\ ){{0,3}}?(?:do|does|did)(?:{_NOT})?\ appear{_IN_PASSAGES}
    |{_THIS}\ falls\ outside\b
    |(?:{_THIS}|(?:[\w'-]+\ ){{1,8}}?(?=[\w' ]+?{_IN_PASSAGES}))\ ?(?:can\ ?not|can't|could\ not|couldn't)\ be
        \ (?:\w+ly\ )?(?:determined|answered|found|inferred|established|known|derived|verified|confirmed|identified)\b
    |(?:it\ is|it's|it\ was|is)\ (?:not\ possible|impossible)(?:{_IN})?\ (?:for\ me\ )?to\ (?:\w+ly\ )?{_FIND}\b
    |(?:it\ is|it's|it\ remains)\ (?:unclear|not\ clear){_IN}
    |there(?:\ is|\ are|'s|\ was|\ were|\ does\ not\ (?:seem|appear)\ to\ be)\ (?:{_NO_FACTS}(?!\ (?:that|for)\b)|(?:nothing|none){_IN})
    |there(?:\ is|\ are|'s){_NOT}\ (?:any|enough|sufficient)\ (?:[\w'-]+\ ){{0,3}}?{_FACTS}\b
    |no\ (?:[\w'-]+\ ){{0,3}}?{_FACTS}\b{_AFTER}\ (?:is|are|was|were|has\ been|could\ be|can\ be)\ (?:{_GIVEN}|made)\b(?!\ to\b)
    # a few words
    |(?:(?:the\ )?answer\ (?:is\ )?)?(?:unknown|n/?a|not\ (?:{_GIVEN}|known|sure|answerable|applicable)|unanswerable|undetermined|unclear
        |unspecified|unsure|no\ idea|not\ enough\ {_FACTS}|(?:insufficient|no|not\ sufficient)\ (?:relevant\ )?{_FACTS}(?:\ (?:found|available|given|provided))?
        |(?:cannot|can't|could\ not|not\ possible\ to|impossible\ to|unable\ to)
            \ (?:be\ (?:determined|answered|found)|{_FIND}(?:\ (?:this|that|it|the\ (?:answer|question)|the\ \w+|an\ answer))?))(?:{_IN})?$
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ENGLISH_ASIDE = re.compile(
    rf"""
    (?:i\ am|i'm|we\ are|we're)?\ ?(?:very\ |so\ )?(?:sorry|afraid)\b(?!.*\w{{3}}.*\w{{3}}.*\w{{3}})|(?:i|we|my)\ apolog\w*|apologies|unfortunately$|regrettably$
    |(?:please|kindly|you\ (?:may|might|can|could|should|will\ (?:need|have)\ to)|i(?:\ would|'d)?\ (?:recommend|suggest|advise))\b
    |(?:let\ me|for\ (?:more|further)|feel\ free|if\ you|contact|consult|ask|check|refer|is\ there|would\ you|can\ you|could\ you|sources?\b)
    |(?:the|your|this)\ question\ (?:asks|is\ about)
    |{_WORKS}\ (?:only\ |does\ |do\ |just\ |mainly\ |briefly\ )?(?:cover|discuss|describe|mention|focus|talk|explain|deal|contain|provide|list|refer|address|(?:is|are)\ about)
        (?:s|es|ed)?\b(?!.*\bthat\b)
    |(?:it|they)\ (?:only\ |does\ |do\ )(?:cover|discuss|describe|mention|focus|talk|explain|deal|contain|provide|list|refer)s?\b(?!\ that\b)
    |(?:it\ is|it's|.{{1,80}}\ (?:is|are|was|were|remains?))\ (?:unknown|unclear|not\ (?:clear|known|certain))\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ENGLISH_LEAD = re.compile(
    r"(?:(?:and|but|so|yet|however|therefore|thus|hence|consequently|as a result|also|well|unfortunately|regrettably|sadly|again|overall|in short"
    r"|i'm sorry|i am sorry|i'm afraid(?: that)?|i am afraid(?: that)?|sorry|i apologi[sz]e|my apologies|which means(?: that)?|which makes it"
    r"|because|since|as|although|though|while|as an ai(?: language)?(?: model| assistant)?|to be honest"
    rf"|(?:based on|according to|from|given|in|with|per)(?: [\w'-]+){{0,6}}? (?:{_PASSAGE}|{_WORK})(?: \w+){{0,3}}?)(?:, |,? but | (?!to\b)))",
    re.IGNORECASE,
)
_ENGLISH_CUT = re.compile(
    r"[;:]\s+|\s+[–—-]{1,2}\s+"
    r"|,?\s+(?=(?:but|however|yet)\b)|,\s+(?=(?:so|and|therefore|although|though|while|which|because|since|as|except|unless)\b)"
    r"|(?<=^no),\s+|(?<=^yes),\s+",
    re.IGNORECASE,
)
_ENGLISH_OPENING = re.compile(r"(although|though|even though|while|whereas|despite|if|when|where|unless|in case)\b[^,]*,\s*", re.IGNORECASE)
_ENGLISH_CONDITION = re.compile(r"\s(?:if|when|unless|in case)\s.*", re.IGNORECASE | re.DOTALL)
_ENGLISH_CONCLUSION = re.compile(r"(?:so|therefore|thus|hence|consequently|as a result|overall|in short|in conclusion)\b", re.IGNORECASE)
