"""Score answers against gold answers, evidence and the passages shown; Korean and English by their own published rules.

A metric is *asked* of a question when the question, or the answer to it, belongs to the metric's population:

| metric | asked of | 1 means |
|---|---|---|
| answer_em, answer_f1, chrf | questions with gold answers | the best gold answer is met |
| citation | questions with evidence, when the prompt asks for citations | every passage cited touches evidence |
| groundedness | answers that are no refusals and hold a content term | every term stands in the passages shown |
| refusal_recall | unanswerable questions | refused |
| refusal_precision | refusals | the question is unanswerable |
| format_validity | all questions, when the prompt asks for a format | the completion has it |

A refusal of an answerable question scores 0 on the first four, so the words of a refusal earn nothing. A failed answer is unscored (NaN),
never 0: on all that its question is asked, and on groundedness and refusal_precision, whose populations it might belong to.
Not covered: whether an answer cites all it should, negation, paraphrase (groundedness compares words), languages that put no spaces
between words.
"""

from __future__ import annotations

import functools
import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.datatypes import Answer, Example, Passage, WorkbenchError
from workbench.metrics import TEXT_METRICS, touches
from workbench.pipeline_postprocess import without_citations
from workbench.text import TOKENISERS

if TYPE_CHECKING:
    from sacrebleu.metrics import CHRF

GOLD_METRICS = ("answer_em", "answer_f1", "chrf")
YES_NO = frozenset({"yes", "no", "true", "false", "예", "네", "아니요", "아니오"})  # normalised gold answers that stand in many a text
TERMS = {"ko": "hangul-bigram", "en": "english"}  # as BM25 cuts its terms; any other language: "word"

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_KOREAN_MARKS = re.compile("['\"‘’《》〈〉<>()]")
_POLITE_ENDING = re.compile(r"(?:[입습]?니다|이에요|예요|[아어]요)(?!\w)")


def normalise_answer(text: str, language: str) -> str:
    """Reduce an answer to what is compared: Korean by KorQuAD's rules, everything else by SQuAD's.

    SQuAD (Rajpurkar et al. 2016, evaluate-v2.0.py): lower case, ASCII punctuation out, articles out, white space fixed.
    KorQuAD (Lim et al. 2019, evaluate-v1.0.py): quotes and brackets become spaces, then the same without articles.
    """
    text = unicodedata.normalize("NFC", text).lower()
    if language == "ko":
        text = _KOREAN_MARKS.sub(" ", text).translate(_PUNCTUATION)
    else:
        text = _ARTICLES.sub(" ", text.translate(_PUNCTUATION))
    return " ".join(text.split())


def exact_match(prediction: str, answers: Sequence[str], language: str) -> float:
    """Return 1 when the prediction equals a gold answer after normalisation, else 0."""
    found = normalise_answer(prediction, language)
    return _best(lambda answer: float(found == normalise_answer(answer, language)), answers)


def f1(prediction: str, answers: Sequence[str], language: str) -> float:
    """Return the highest F1 of shared words (Korean: characters, as in KorQuAD) with a gold answer.

    Where normalisation leaves nothing of one side, it is 1 if it leaves nothing of the other too (as in SQuAD 2.0; KorQuAD says 0), else 0.
    """
    found = _units(prediction, language)
    return _best(lambda answer: _overlap(found, _units(answer, language)), answers)


def chrf(prediction: str, answers: Sequence[str]) -> float:
    """Return sacrebleu's sentence chrF2 (Popović 2015) between 0 and 1, with the gold answers as references; an empty prediction gets 0."""
    if not answers:
        raise _no_answers()
    references = [unicodedata.normalize("NFC", answer) for answer in answers]
    return _chrf().sentence_score(unicodedata.normalize("NFC", prediction), references).score / 100


def citation(answer: Answer, example: Example) -> float:
    """Return the share of the passages cited that touch the question's evidence, 0 when none is cited.

    It is a precision, so one right citation is enough; whether all the evidence was found is what the recall of retrieval says.
    """
    if not example.evidence:
        raise WorkbenchError(f"question {example.id!r} has no evidence to score citations with")
    numbers = set(answer.citations)
    if not all(1 <= number <= len(answer.passages) for number in numbers):
        raise WorkbenchError(f"question {example.id!r}: citations {sorted(numbers)} must be numbers from 1 to {len(answer.passages)}")
    right = [any(touches(answer.passages[number - 1].span, unit) for unit in example.evidence) for number in numbers]
    return sum(right) / len(right) if right else 0.0


def groundedness(prediction: str, passages: Sequence[Passage], language: str) -> float:
    """Return the share of the prediction's distinct content terms that the passages or their titles hold; NaN when it has no term.

    Terms are stemmed words without stop words (English), pairs of Hangul syllables without polite endings (Korean; particles still count,
    and a word of one syllable must stand alone in the passage too) or words; numbers are terms. Distinct, so a loop of one word counts
    once. Without passages nothing is grounded. It is K-precision (Adlakha et al. 2024) over types instead of tokens.
    """
    said = _terms(prediction, language)
    shown = {term for passage in passages for term in _terms(f"{passage.title}\n{passage.text}", language)}
    return len(said & shown) / len(said) if said else math.nan


def score_answer(example: Example, answer: Answer, language: str, citations: bool) -> dict[str, float]:
    """Return the metrics that one answer is asked, NaN for those left unscored; `citations` says that the prompt asks for them.

    Texts are scored without citation markers; a completion that was capped is scored like any other.
    """
    validity = {} if answer.valid is None else {"format_validity": float(answer.valid)}
    gold = [*(GOLD_METRICS if example.answers else ()), *(("citation",) if citations and example.evidence else ())]
    unanswerable = float(not example.answerable)
    recall = () if example.answerable else ("refusal_recall",)
    if answer.error:
        return dict.fromkeys([*gold, "groundedness", *recall, "refusal_precision"], math.nan)
    if answer.refused:
        return dict.fromkeys(gold, 0.0) | dict.fromkeys(recall, 1.0) | {"refusal_precision": unanswerable} | validity
    text = without_citations(answer.text)
    scores = dict.fromkeys(recall, 0.0) | validity
    if example.answers:
        values = (exact_match(text, example.answers, language), f1(text, example.answers, language), chrf(text, example.answers))
        scores |= dict(zip(GOLD_METRICS, values, strict=True))
    if "citation" in gold:
        scores["citation"] = citation(answer, example)
    grounded = groundedness(text, answer.passages, language)
    return scores if math.isnan(grounded) else scores | {"groundedness": grounded}


def score_answers(
    examples: Sequence[Example], answers: Sequence[Answer], language: str, citations: bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return metric -> scores (questions,), NaN where unscored, and metric -> mask (questions,) of the questions it is asked of."""
    if [example.id for example in examples] != [answer.example_id for answer in answers]:
        raise WorkbenchError(f"{len(answers)} answers do not belong to the {len(examples)} questions in their order")
    scores = {metric: np.full(len(examples), math.nan) for metric in TEXT_METRICS}
    asked = {metric: np.zeros(len(examples), dtype=bool) for metric in TEXT_METRICS}
    for row, (example, answer) in enumerate(zip(examples, answers, strict=True)):
        for metric, value in score_answer(example, answer, language, citations).items():
            scores[metric][row], asked[metric][row] = value, True
    asked["format_validity"][:] = any(answer.valid is not None for answer in answers)  # a failed answer does not tell
    return scores, asked


def _terms(text: str, language: str) -> set[str]:
    """Return the distinct content terms; polite endings are to Korean what "it is" is to English, so they are stop words here."""
    if language == "ko":
        text = _POLITE_ENDING.sub(" ", unicodedata.normalize("NFC", text))
    return set(TOKENISERS[TERMS.get(language, "word")](text))


def _units(text: str, language: str) -> list[str]:
    """Cut a normalised answer into what F1 counts: words, for Korean the characters of words."""
    words = normalise_answer(text, language).split()
    return [*"".join(words)] if language == "ko" else words


def _overlap(found: Sequence[str], gold: Sequence[str]) -> float:
    """Return the F1 of two bags."""
    if not found or not gold:
        return float(found == gold)
    return 2 * (Counter(found) & Counter(gold)).total() / (len(found) + len(gold))


def _best(score: Callable[[str], float], answers: Sequence[str]) -> float:
    """Return the highest score of any gold answer."""
    if not answers:
        raise _no_answers()
    return max(map(score, answers))


def _no_answers() -> WorkbenchError:
    return WorkbenchError("an answer is compared with gold answers; the question has none")


@functools.cache
def _chrf() -> CHRF:
    from sacrebleu.metrics import CHRF

    return CHRF()
