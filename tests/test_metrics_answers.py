"""Answer metrics: hand-worked numbers in Korean and English, published implementations, and who is asked what."""

import math
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from workbench import metrics_answers as metrics
from workbench.datatypes import Answer, Completion, Example, Passage, Span, Step, WorkbenchError

GOLD = {"en": "green cord", "ko": "초록색"}
TEXTS = {
    "en": "During a power cut, pull the green cord behind the filter cover. It takes 29 minutes.",
    "ko": "전기가 끊겼을 때는 필터 덮개 안쪽의 초록색 끈을 당겨 여십시오. 29분 걸립니다.",
}
REFUSALS = {"en": "The documents do not mention a green cord.", "ko": "문서에는 초록색 끈에 관한 내용이 없습니다."}


def passage(text, start=0, document="d", title=""):
    return Passage(Span(document, start, start + len(text)), text, title)


def answered(example_id, text, *, passages=(), citations=(), refused=False, error="", finish="stop", valid=None):
    completion = Completion("" if error else text, "error" if error else finish, error=error)
    step = Step("answer", (), completion)
    text = "" if error else text
    return Answer(example_id, "?", text, passages=passages, steps=(step,), refused=refused, citations=citations, valid=valid)


# --- exact match and F1 ----------------------------------------------------------------------------

# SQuAD: these are also the values of torchmetrics 1.9.0 and of SQuAD's evaluate-v2.0.py (as in transformers 4.44), which agreed on 4,000
# random pairs. KorQuAD: worked by hand from the rules of evaluate-v1.0.py.
CASES = {
    "en": [
        ("The Green Cord!", ["green cord"], 1, 1),
        ("pull the green cord", ["green cord"], 0, 4 / 5),  # 2 shared of 3 and 2
        ("two hours", ["one hour", "two days or two hours"], 0, 4 / 7),  # the second gold answer: 2 shared of 2 and 5
        ("two hours", ["one hour", "two hours"], 1, 1),
        ("cord cord cord", ["green cord"], 0, 2 / 5),  # a repeated word is shared once
        ("U.S.", ["us"], 1, 1),
        ("2,000 kg", ["2000 KG"], 1, 1),
        ("2kg", ["2 kg"], 0, 0),
        ("form A-1", ["form A1"], 1, 1),  # punctuation goes before articles
        ("“green” cord", ["green cord"], 0, 2 / 4),  # only ASCII punctuation goes
        ("theatre", ["atre"], 0, 0),  # an article inside a word stays
        ("", ["green cord"], 0, 0),
        ("the", ["green cord"], 0, 0),
        ("the", ["a!"], 1, 1),  # nothing is left of either side
    ],
    "ko": [
        ("초록색 끈", ["초록색 끈"], 1, 1),
        ("초록색 끈입니다", ["초록색"], 0, 6 / 10),  # 3 shared characters of 7 and 3
        ("2kg", ["2 kg"], 0, 1),  # spaces decide exact match, not F1
        ("‘어린이 잠금’", ["어린이 잠금"], 1, 1),
        ("《훈민정음》", ["훈민정음"], 1, 1),
        ("4시간(18시간과 14시간)", ["4시간 18시간과 14시간"], 1, 1),
        ("「WM400」", ["wm400"], 0, 10 / 12),  # these brackets stay: 5 shared of 7 and 5
        ("3,800,000원", ["3800000원"], 1, 1),
        ("나나나", ["나비"], 0, 2 / 5),
        ("a 등급", ["등급"], 0, 4 / 5),  # no articles in Korean
        ("월요일부터", ["토요일까지", "월요일"], 0, 6 / 8),
        ("", ["초록색"], 0, 0),
        ("'", ["!"], 1, 1),  # as in English; KorQuAD's script calls this F1 0
    ],
    "other": [("la torre", ["torre"], 0, 2 / 3), ("a torre", ["torre"], 1, 1)],  # by SQuAD's rules
}


@pytest.mark.parametrize(("language", "case"), [(language, case) for language, cases in CASES.items() for case in cases])
def test_exact_match_and_f1_by_hand(language, case):
    prediction, answers, exact, f1 = case
    assert metrics.exact_match(prediction, answers, language) == exact
    assert metrics.f1(prediction, answers, language) == pytest.approx(f1)


def test_ko9_korean_sentences_count_by_their_own_letters():
    same, other = "계좌는 7영업일 안에 해지됩니다.", ["매년 7월에 정기 점검을 합니다."]
    assert metrics.exact_match(same, [same], "ko") == metrics.f1(same, [same], "ko") == metrics.chrf(same, [same]) == 1
    assert metrics.exact_match(same, other, "ko") == 0
    assert metrics.f1(same, other, "ko") < 0.4
    assert metrics.chrf(same, other) < 0.2


# --- chrF ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prediction", "answers"),
    [
        ("the green cord behind the cover", ["Pull the green cord behind the filter cover.", "green cord"]),
        ("세탁기 도어가 열린 상태입니다", ["도어 열림", "세탁기 도어가 열려 있습니다."]),
        ("WM400은 2 kg까지", ["2 kg"]),
        ("", ["green cord"]),
    ],
)
def test_chrf_is_that_of_sacrebleu(prediction, answers):
    assert metrics.chrf(prediction, answers) == pytest.approx(sacrebleu.sentence_chrf(prediction, answers).score / 100, abs=1e-12)


def test_chrf_by_hand():
    # 초록색 against 초록색끈 (no spaces): precisions 3/3, 2/2, 1/1, recalls 3/4, 2/3, 1/2; F2 = 5 P R / (4 P + R) of the means 1 and 23/36
    assert metrics.chrf("초록색", ["초록색 끈"]) == pytest.approx(5 * (23 / 36) / (4 + 23 / 36))
    assert metrics.chrf("초록색", ["초록색 끈", "초록색"]) == 1  # the best reference counts
    assert metrics.chrf("", ["초록색 끈"]) == 0


def test_a_question_without_gold_answers_cannot_be_compared():
    for score in (lambda: metrics.exact_match("a", [], "en"), lambda: metrics.f1("a", [], "ko"), lambda: metrics.chrf("a", [])):
        with pytest.raises(WorkbenchError, match="compared with gold answers"):
            score()


# --- groundedness ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "prediction", "share"),
    [
        ("en", "the green cord", 1),
        ("en", "Pulling green cords, 30 minutes", 4 / 5),  # stems; 30 is not there
        ("en", "cord cord cord red", 1 / 2),  # a repeated word counts once
        ("en", "WM400 cord", 1),  # the title is shown too
        ("en", "No.", math.nan),  # only a stop word
        ("ko", "초록색 끈을 당기세요", 3 / 6),  # 초록 록색 끈을, but not 당기 기세 세요
        ("ko", "끈", 0),  # the passage has 끈을: one syllable must stand alone there
        ("ko", "29분", 1),
        ("ko", "30분", 1 / 2),  # 분 is there
        ("ko", "필터 덮개 안쪽입니다.", 1),  # a polite ending adds no term
        ("ko", "WM400 필터", 1),
        ("ko", "…", math.nan),
        ("other", "green torre", 1 / 2),
    ],
)
def test_groundedness_by_hand(language, prediction, share):
    shown = [passage(TEXTS.get(language, TEXTS["en"]), title="WM400"), passage("filter")]
    assert metrics.groundedness(prediction, shown, language) == pytest.approx(share, nan_ok=True)


def test_without_passages_nothing_is_grounded():
    assert [metrics.groundedness(GOLD[language], [], language) for language in GOLD] == [0, 0]


# --- citation --------------------------------------------------------------------------------------

EVIDENCE = Example("q", "?", (), ((Span("d", 10, 20),), (Span("d", 40, 50), Span("e", 0, 5))))
SHOWN = (passage("x" * 10), passage("x" * 5, 15), passage("x" * 5, 2, "e"), passage("x" * 5, 20), passage("x" * 9, 12, "other"))


@pytest.mark.parametrize(
    ("citations", "share"),
    [((2,), 1), ((3,), 1), ((2, 3), 1), ((1,), 0), ((4, 5), 0), ((1, 2), 1 / 2), ((1, 2, 3, 4), 2 / 4), ((2, 2, 1), 1 / 2), ((), 0)],
)
def test_citation_by_hand(citations, share):
    """Passages 1 and 4 only meet the border of the first unit; 2 touches it, 3 an alternative of the second, 5 is elsewhere."""
    assert metrics.citation(answered("q", "x", passages=SHOWN, citations=citations), EVIDENCE) == share


@pytest.mark.parametrize("number", [0, -1, 6])
def test_a_citation_of_no_passage_is_an_error_not_a_score(number):
    with pytest.raises(WorkbenchError, match=rf"'q': citations \[{number}\] must be numbers from 1 to 5"):
        metrics.score_answers([EVIDENCE], [answered("q", "x", passages=SHOWN, citations=(number,))], "en", citations=True)


def test_citations_need_evidence():
    with pytest.raises(WorkbenchError, match="'q' has no evidence"):
        metrics.citation(answered("q", "x"), Example("q", "?", ("a",)))


# --- populations -----------------------------------------------------------------------------------

NAN, NOT = math.nan, None  # asked and unscored; not asked


def made(language):
    """Build questions and answers with, for each, the expected em, f1, chrf, citation, groundedness, refusal precision and recall."""
    gold, text, refusal = GOLD[language], TEXTS[language], REFUSALS[language]
    shown = (passage(text), passage(text, 500))
    unit = ((Span("d", 30, 40),),)
    rows = [
        (Example("right", "?", ("x", gold), unit), {"text": f"{gold} [1]", "citations": (1,)}, (1, 1, 1, 1, 1, NOT, NOT)),
        (Example("capped", "?", (gold,), unit), {"text": gold, "finish": "length"}, (1, 1, 1, 0, 1, NOT, NOT)),
        (Example("refused", "?", (gold,), unit), {"text": refusal, "refused": True, "citations": (1,)}, (0, 0, 0, 0, NOT, 0, NOT)),
        (Example("failed", "?", (gold,), unit), {"text": "", "error": "no reply"}, (NAN, NAN, NAN, NAN, NAN, NAN, NOT)),
        (Example("wordless", "?", (gold,), unit), {"text": "…"}, (0, 0, 0, 0, NOT, NOT, NOT)),
        (Example("no answers", "?", (), unit), {"text": f"{gold} [2]", "citations": (2,)}, (NOT, NOT, NOT, 0, 1, NOT, NOT)),
        (Example("no evidence", "?", (gold,)), {"text": gold, "citations": (2,)}, (1, 1, 1, NOT, 1, NOT, NOT)),
        (Example("unknown", "?"), {"text": refusal, "refused": True}, (NOT, NOT, NOT, NOT, NOT, 1, 1)),
        (Example("guessed", "?"), {"text": gold, "citations": (1,)}, (NOT, NOT, NOT, NOT, 1, NOT, 0)),
        (Example("unknown, failed", "?"), {"text": "", "error": "no reply"}, (NOT, NOT, NOT, NOT, NAN, NAN, NAN)),
    ]
    examples = [example for example, _, _ in rows]
    return examples, [answered(example.id, passages=shown, **answer) for example, answer, _ in rows], [expected for _, _, expected in rows]


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("citations", [True, False])
def test_who_is_asked_what(language, citations):
    examples, answers, expected = made(language)
    scores, asked = metrics.score_answers(examples, answers, language, citations)
    assert tuple(scores) == tuple(asked) == metrics.TEXT_METRICS
    for column, metric in enumerate(metrics.TEXT_METRICS):
        unasked = metric == "format_validity" or (metric == "citation" and not citations)
        wanted = [NOT if unasked else row[column] for row in expected]
        assert asked[metric].tolist() == [value is not NOT for value in wanted], metric
        np.testing.assert_allclose(scores[metric], [NAN if value is NOT else value for value in wanted], err_msg=metric)


def test_validity_is_asked_of_every_question_when_the_prompt_has_a_format():
    examples, answers, _ = made("en")
    plain, _ = metrics.score_answers(examples, answers, "en", citations=True)
    formatted = [answer if answer.error else replace(answer, valid=row % 2 == 0) for row, answer in enumerate(answers)]
    scores, asked = metrics.score_answers(examples, formatted, "en", citations=True)
    assert asked["format_validity"].all()
    np.testing.assert_array_equal(scores["format_validity"], [1, 0, 1, NAN, 1, 0, 1, 0, 1, NAN])
    for metric in metrics.TEXT_METRICS[:-1]:  # nothing else depends on it
        np.testing.assert_array_equal(scores[metric], plain[metric])


def test_the_words_of_a_refusal_earn_nothing():
    """D21: this refusal shares words with the gold answer, and would score as a text."""
    for language, refusal in REFUSALS.items():
        assert metrics.f1(refusal, [GOLD[language]], language) > 0
        example = Example("q", "?", (GOLD[language],))
        scores = metrics.score_answer(example, answered("q", refusal, refused=True), language, citations=False)
        assert scores == {"answer_em": 0, "answer_f1": 0, "chrf": 0, "refusal_precision": 0}


def test_answers_must_belong_to_the_questions():
    examples, answers, _ = made("ko")
    for wrong in (answers[::-1], answers[:-1], []):
        with pytest.raises(WorkbenchError, match="do not belong to the 10 questions"):
            metrics.score_answers(examples, wrong, "ko", citations=False)


# --- invariants ------------------------------------------------------------------------------------

texts = st.text(st.sampled_from("가나끈을초록 색입니다ab the an2,.!'’《》\u0301é\n…"), max_size=20) | st.text(max_size=20)
languages = st.sampled_from(["en", "ko", "other"])


@given(texts, st.lists(texts, min_size=1, max_size=3), languages)
def test_values_lie_within_0_and_1_and_more_gold_never_lowers_them(prediction, answers, language):
    exact, f1 = metrics.exact_match(prediction, answers, language), metrics.f1(prediction, answers, language)
    assert 0 <= exact <= f1 <= 1
    assert 0 <= metrics.chrf(prediction, answers) <= 1
    grounded = metrics.groundedness(prediction, [passage(text) for text in answers if text], language)
    assert math.isnan(grounded) or 0 <= grounded <= 1
    for score in (metrics.exact_match, metrics.f1):
        assert score(prediction, answers[:1], language) <= score(prediction, answers, language)
    assert metrics.chrf(prediction, answers[:1]) <= metrics.chrf(prediction, answers)


@given(texts, texts, languages)
def test_sides_are_normalised_alike(left, right, language):
    for score in (metrics.exact_match, metrics.f1):
        assert score(left, [right], language) == score(right, [left], language)
        assert score(unicodedata.normalize("NFD", left), [right], language) == score(left, [right], language)
        assert score(left, [left], language) == 1
    assert metrics.chrf(unicodedata.normalize("NFD", left), [left]) == (1 if left.split() else 0)
    assert metrics.groundedness(left, [passage(left or "x")], language) in (1, pytest.approx(math.nan, nan_ok=True))
