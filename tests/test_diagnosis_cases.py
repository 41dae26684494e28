"""Which questions of a whole data set are diagnosed, and which are shown in full."""

import json
import math

import numpy as np
import pytest
from test_diagnosis import DOCUMENTS, HALVES, TABLES, answer, example, hits, span

from workbench.datatypes import Chunk, Dataset, Document, Hit, Span
from workbench.diagnosis import EXCERPT, diagnose, in_full
from workbench.packing import Context, pack
from workbench.settings import Settings


def test_cases_are_the_three_worst_of_each_cause_in_full_and_plain_values() -> None:
    missed = [example((span(8, 9),), name=name, answers=("ii", "jj")) for name in ("m4", "m3", "m2", "m1")]
    examples = (*missed, example((span(0, 1),), name="good"), example(name="none", answers=()), example((span(0, 1),), name="said"))
    dataset = Dataset("made", DOCUMENTS, examples)
    first, found = hits(span(0, 4)), hits(span(5, 9), span(0, 4))
    contexts = {
        row: (given_hits, pack(given_hits, 20, TABLES)) for row, given_hits in enumerate([first] * 4 + [found, [], found]) if row != 5
    }
    chunks = [hit.chunk for hit in hits(*HALVES)]
    scores = {"evidence_recall@20t": np.array([0, 0.2, 0.2, 0.1, 1, math.nan, 1]), "answer_em": np.zeros(7), "answer_f1": np.zeros(7)}
    scores["groundedness"] = np.ones(7)
    settings = Settings(primary="evidence_recall@20t", budgets=(5, 20))
    arguments = (settings, dataset, chunks, TABLES, contexts, {}, scores, "en")
    causes, cases = diagnose(*arguments)
    assert causes == (*["not_retrieved"] * 4, "fine", "", "fine")
    assert [(case["cause"], case["id"], case["score"]) for case in cases] == [
        ("not_retrieved", "m4", 0),
        ("not_retrieved", "m1", 0.1),
        ("not_retrieved", "m2", 0.2),
    ]
    assert cases[0] == {
        "cause": "not_retrieved",
        "score": 0.0,
        "id": "m4",
        "question": "question m4",
        "answers": ["ii", "jj"],
        "evidence": [{"document": "d", "title": "Letters", "text": "ii jj", "rank": None, "share": 0.0}],
        "hits": [{"rank": 1, "document": "d", "score": 1.0, "text": "aa bb cc dd ee"}],
    }
    assert json.loads(json.dumps(cases, allow_nan=False)) == list(cases)
    assert diagnose(*arguments) == (causes, cases)
    at_five = diagnose(settings.replace(primary="evidence_recall@5t"), *arguments[1:6], scores | {"evidence_recall@5t": np.zeros(7)}, "en")
    assert at_five[0] == (*["not_retrieved"] * 4, "below_budget", "", "below_budget")
    answers = {6: answer("hh", span(0, 4), name="said")}
    at_five = diagnose(
        settings.replace(primary="evidence_recall@5t"), *arguments[1:5], answers, scores | {"evidence_recall@5t": np.zeros(7)}, "en"
    )
    assert at_five[0] == (*[""] * 6, "not_used")  # what was not asked is not diagnosed; an answer is judged by what it was given
    assert [(case["cause"], case["id"]) for case in at_five[1]] == [("not_used", "said")]


def test_long_texts_are_cut_and_unscored_questions_come_last() -> None:
    text = "word " * 300
    dataset = Dataset("made", (Document("long", text),), tuple(example((Span("long", 0, 1500),), name=name) for name in "ab"), True)
    scores = {"recall@1": np.array([math.nan, 0])}
    whole = Chunk(Span("long", 0, 1500), text)
    found = {row: ([Hit(whole, 1.0, 1)], Context((), 0, False)) for row in (0, 1)}
    answers = {row: answer("", name=name) for row, name in enumerate("ab")}
    scores |= dict.fromkeys(("answer_em", "answer_f1", "groundedness"), np.zeros(2))
    causes, cases = diagnose(Settings(primary="recall@1"), dataset, [whole], {}, found, answers, scores, "en")
    assert causes == ("below_budget", "below_budget")
    assert [(case["id"], case["score"]) for case in cases] == [("b", 0), ("a", None)]
    assert len(cases[0]["evidence"][0]["text"]) == len(cases[0]["hits"][0]["text"]) == EXCERPT
    assert cases[0]["evidence"][0]["share"] is None  # of a whole document any piece will do


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_hit_whose_score_is_no_number_is_shown_without_it(score: float) -> None:
    found = [Hit(hit.chunk, score, hit.rank) for hit in hits(span(0, 1))]
    shown = in_full(example((span(1, 1),)), [(span(1, 1), {"rank": 1})], found, {"d": DOCUMENTS[0]})
    assert shown["hits"] == [{"rank": 1, "document": "d", "score": None, "text": "aa bb"}]
    assert shown["evidence"] == [{"document": "d", "title": "Letters", "text": "bb", "rank": 1}]
    assert json.dumps(shown, allow_nan=False)
