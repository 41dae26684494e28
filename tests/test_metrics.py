"""Metrics: hand-worked numbers, invariants on random input, and agreement with ir-measures."""

import math
import random

import ir_measures
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from workbench import metrics
from workbench.datatypes import Chunk, Example, Hit, Span, WorkbenchError
from workbench.packing import Context, pack
from workbench.tokens import SimpleTokenizer, token_table

KS = (1, 2, 3, 5, 10)
# twenty tokens "aa" that start at 0, 3, 6, ... in each of two documents
TABLES = {name: token_table("aa " * 20, SimpleTokenizer()) for name in ("d", "e")}
LOG3 = math.log2(3)  # discount of rank 2; that of rank 3 is log2(4) = 2


def span(start, end, document="d"):
    return Span(document, start, end)


def ranked(*spans, scores=None):
    return [
        Hit(Chunk(item, "x" * (item.end - item.start)), scores[rank - 1] if scores else 1 / rank, rank)
        for rank, item in enumerate(spans, 1)
    ]


def question(*units, gains=()):
    return Example("q", "?", ("a",), tuple(tuple(unit) if isinstance(unit, (tuple, list)) else (unit,) for unit in units), gains=gains)


def scores_of(hits, example, ks=KS):
    return metrics.score_ranking(hits, example, ks, TABLES)


# --- hand-worked rankings --------------------------------------------------------------------------


def test_d16_rank_metrics_of_two_units_by_hand():
    example = question(span(10, 20), span(40, 50))
    # rank 1 only touches the border of unit 1; rank 2 finds unit 1, rank 3 unit 2, rank 4 unit 2 again, rank 5 nothing
    hits = ranked(span(0, 10), span(15, 30), span(30, 45), span(45, 60), span(0, 60, "e"))
    assert metrics.first_ranks(hits, example) == [2, 3]
    scores = scores_of(hits, example)
    assert [scores[f"recall@{k}"] for k in KS] == [0, 0.5, 1, 1, 1]
    assert [scores[f"hit@{k}"] for k in KS] == [0, 1, 1, 1, 1]
    assert [scores[f"precision@{k}"] for k in KS] == [0, 1 / 2, 2 / 3, 3 / 5, 3 / 10]  # ten ranks asked for, five given: still / 10
    assert [scores[f"mrr@{k}"] for k in KS] == [0, 0.5, 0.5, 0.5, 0.5]
    # (1 unit found at position 2 + 2 found at position 3) / 2 units = (1/2 + 2/3) / 2 = 7/12
    assert [scores[f"map@{k}"] for k in KS] == pytest.approx([0, 1 / 4, 7 / 12, 7 / 12, 7 / 12])
    # found: 1/log2(3) + 1/log2(4); ideal: 1 + 1/log2(3)
    assert scores["ndcg@1"] == 0
    assert scores["ndcg@2"] == pytest.approx((1 / LOG3) / (1 + 1 / LOG3))
    assert scores["ndcg@3"] == pytest.approx(0.69343, abs=1e-5)  # (0.63093 + 0.5) / 1.63093
    assert scores["ndcg@10"] == scores["ndcg@3"]


def test_one_hit_that_finds_two_units_counts_them_at_successive_positions():
    example = question(span(0, 5), span(10, 15), span(40, 45))
    scores = scores_of(ranked(span(0, 20), span(40, 50)), example)
    assert metrics.positions([1, 1, 2], (1.0, 1.0, 1.0)) == [(1, 1.0), (2, 1.0), (3, 1.0)]
    assert scores["recall@1"] == pytest.approx(2 / 3)
    assert scores["ndcg@1"] == 1  # one unit is all that one rank can ideally hold; the second one must not lift it to 2
    assert scores["ndcg@3"] == scores["map@3"] == scores["mrr@3"] == 1


def test_units_found_late_together_keep_the_rank_of_their_hit():
    example = question(span(0, 5), span(20, 25), span(30, 35))
    scores = scores_of(ranked(span(0, 10), span(10, 15), span(20, 40)), example)
    # ranks 1, 3, 3 -> positions max(1,1), max(3,2), max(3,3) = 1, 3, 3
    assert scores["ndcg@3"] == pytest.approx((1 + 1 / 2 + 1 / 2) / (1 + 1 / LOG3 + 1 / 2))
    assert scores["map@3"] == pytest.approx((1 / 1 + 2 / 3 + 3 / 3) / 3)


def test_graded_gains_by_hand():
    weak_first = question(span(0, 5), span(20, 25), gains=(1.0, 3.0))
    # gain 1 at rank 1 and 3 at rank 2: 1 + 3/log2(3) = 2.89279; ideal 3 + 1/log2(3) = 3.63093
    assert scores_of(ranked(span(0, 10), span(20, 30)), weak_first)["ndcg@2"] == pytest.approx(0.79671, abs=1e-5)
    assert scores_of(ranked(span(20, 30), span(0, 10)), weak_first)["ndcg@2"] == 1
    assert scores_of(ranked(span(0, 10), span(20, 30)), weak_first)["ndcg@1"] == pytest.approx(1 / 3)
    assert scores_of(ranked(span(0, 30)), weak_first)["ndcg@2"] == 1  # found at one rank, the stronger counts first


def test_any_alternative_will_do_and_two_of_them_count_once():
    example = question([span(0, 5), span(30, 35, "e")], span(50, 55))
    assert metrics.first_ranks(ranked(span(28, 33, "e")), example) == [1, None]
    scores = scores_of(ranked(span(28, 33, "e"), span(0, 10)), example)
    assert scores["recall@2"] == 0.5  # the second alternative of a unit already found adds nothing
    assert scores["precision@2"] == 1
    assert scores["ndcg@2"] == pytest.approx(1 / (1 + 1 / LOG3))


def test_token_precision_and_iou_by_hand():
    example = question(span(3, 12))  # tokens at 3, 6, 9
    scores = scores_of(ranked(span(0, 9), span(6, 15), span(0, 9, "e")), example)
    # k=1: 3 tokens retrieved, 2 shared, 3 gold -> 2/3 and 2/(3 + 3 - 2)
    assert (scores["token_precision@1"], scores["token_iou@1"]) == pytest.approx((2 / 3, 2 / 4))
    # k=2: the union 0-15 holds 5 tokens, not 6; 3 shared -> 3/5 and 3/(5 + 3 - 3)
    assert (scores["token_precision@2"], scores["token_iou@2"]) == pytest.approx((3 / 5, 3 / 5))
    # k=3: three more tokens of another document
    assert (scores["token_precision@3"], scores["token_iou@3"]) == pytest.approx((3 / 8, 3 / 8))
    assert scores["token_iou@10"] == scores["token_iou@3"]


def test_token_overlap_takes_the_alternative_that_was_retrieved():
    example = question([span(0, 6), span(30, 36, "e")])
    scores = scores_of(ranked(span(30, 36, "e")), example)
    assert (scores["token_precision@1"], scores["token_iou@1"]) == (1, 1)


def test_nothing_retrieved_scores_zero_everywhere():
    assert set(scores_of([], question(span(0, 5))).values()) == {0.0}


# --- defects of peers ------------------------------------------------------------------------------


def test_d28_adjacent_spans_share_nothing():
    example = question(span(10, 20))
    for neighbour in (span(0, 10), span(20, 30)):
        assert not metrics.touches(neighbour, example.evidence[0])
        assert scores_of(ranked(neighbour), example)["recall@1"] == 0
    assert metrics.touches(span(0, 11), example.evidence[0])
    assert metrics.touches(span(19, 30), example.evidence[0])


def test_d28_repeated_text_is_told_apart_by_its_offsets():
    example = question(span(30, 36))  # reads "aa aa " like every other place of the text
    assert scores_of(ranked(span(0, 6)), example)["recall@1"] == 0
    assert scores_of(ranked(span(30, 36)), example)["recall@1"] == 1


def test_d15_several_chunks_of_one_gold_document_do_not_add_up():
    example = question(span(0, 60))  # the whole document is gold
    scores = scores_of(ranked(span(0, 20), span(20, 40), span(40, 60)), example)
    assert scores["ndcg@3"] == scores["map@3"] == scores["recall@3"] == 1


def test_d15_the_same_chunk_twice_raises():
    with pytest.raises(WorkbenchError, match="'q': the same chunk was retrieved twice"):
        scores_of(ranked(span(0, 5), span(0, 5)), question(span(0, 5)))


@pytest.mark.parametrize("ranks", [(0, 1), (2, 1), (1, 1), (1, 3)])
def test_d16_d30_hits_must_come_in_order_with_ranks_from_one(ranks):
    hits = [Hit(hit.chunk, hit.score, rank) for hit, rank in zip(ranked(span(0, 5), span(5, 10)), ranks, strict=True)]
    with pytest.raises(WorkbenchError, match=r"ranks 1, 2, 3.*got \[" + f"{ranks[0]}, {ranks[1]}"):
        scores_of(hits, question(span(0, 5)))


def test_d18_compressed_scores_with_the_same_ranking_score_the_same():
    spans = span(0, 5), span(10, 20), span(30, 40)
    example = question(span(12, 14))
    assert scores_of(ranked(*spans, scores=(0.9, 0.5, 0.1)), example) == scores_of(ranked(*spans, scores=(0.803, 0.802, 0.801)), example)


def test_d29_a_reversed_ranking_scores_lower_yet_never_falls_as_k_grows():
    spans = [span(start, start + 6) for start in range(0, 60, 6)]
    example = question(span(0, 6))
    right, reversed_ = scores_of(ranked(*spans), example), scores_of(ranked(*reversed(spans)), example)
    assert (right["mrr@10"], reversed_["mrr@10"]) == (1, 1 / 10)
    assert reversed_["ndcg@10"] == pytest.approx(1 / math.log2(11))
    for family in ("recall", "hit", "mrr", "map", "ndcg"):  # one unit: its ideal does not grow with k, so nDCG must not fall either
        values = [reversed_[f"{family}@{k}"] for k in KS]
        assert values == sorted(values)


def test_ndcg_of_several_units_may_fall_because_its_ideal_grows():
    scores = scores_of(ranked(span(0, 5)), question(span(0, 5), span(50, 55)))
    assert scores["ndcg@1"] == 1
    assert scores["ndcg@2"] == pytest.approx(1 / (1 + 1 / LOG3))


def test_d30_every_listed_name_is_computed_and_accepted():
    names = metrics.metric_names(KS, (256, 512), document_gold=False)
    computed = [*(f"evidence_recall@{budget}t" for budget in (256, 512)), *scores_of([], question(span(0, 5)))]
    assert sorted(names) == sorted(computed)
    assert [metrics.check_metric(name, names) for name in names] == names
    with pytest.raises(WorkbenchError, match=r"unknown metric 'ndgc@10'; did you mean 'ndcg@10'\?"):
        metrics.check_metric("ndgc@10", names)


def test_answer_metrics_are_known_where_answers_are_generated():
    without = metrics.metric_names(KS, (256,), document_gold=False)
    names = metrics.metric_names(KS, (256,), document_gold=False, answers=True)
    assert names == [*without, *metrics.TEXT_METRICS]
    for name in metrics.TEXT_METRICS:
        assert metrics.check_metric(name, names) == name
        with pytest.raises(WorkbenchError, match=rf"{name} .* need a generator \(--generator hf:MODEL\)"):
            metrics.check_metric(name, without)
    with pytest.raises(WorkbenchError, match=r"unknown metric 'answer_f2'; did you mean 'answer_f1'\?"):
        metrics.check_metric("answer_f2", names)
    for name in metrics.JUDGE_METRICS:
        assert name in metrics.metric_names(KS, (256,), document_gold=False, answers=True, judged=True)
        with pytest.raises(WorkbenchError, match=rf"{name} needs a judge \(--judge openai:MODEL\)"):
            metrics.check_metric(name, names)


def test_whole_document_gold_has_no_budget_recall():
    names = metrics.metric_names(KS, (256,), document_gold=True)
    assert not any(name.startswith("evidence_recall") for name in names)
    with pytest.raises(WorkbenchError, match="gold is whole documents, so use"):
        metrics.check_metric("evidence_recall@256t", names)


def test_a_question_without_evidence_cannot_be_scored():
    with pytest.raises(WorkbenchError, match="'q' has no evidence"):
        scores_of(ranked(span(0, 5)), question())


@pytest.mark.parametrize("gains", [(1.0,), (1.0, 0.0), (1.0, -2.0), (1.0, math.nan)])
def test_gains_must_be_positive_and_one_for_each_unit(gains):
    with pytest.raises(WorkbenchError, match="one positive number for each evidence unit"):
        scores_of(ranked(span(0, 5)), question(span(0, 5), span(10, 15), gains=gains))


# --- evidence recall -------------------------------------------------------------------------------

WORDS = {"d": token_table("abcd efgh ijkl mnop", SimpleTokenizer()), "e": token_table("wxyz   \n  ", SimpleTokenizer())}


def context_of(*pieces):
    return Context(tuple(pieces), 0, True)


def test_evidence_recall_of_partial_coverage_by_hand():
    example = question(span(0, 9))  # "abcd efgh": 8 characters and a space
    assert metrics.evidence_recall(context_of(span(5, 14)), example, WORDS) == 4 / 8  # "efgh" of it
    assert metrics.evidence_recall(context_of(span(6, 14)), example, WORDS) == 3 / 8
    assert metrics.evidence_recall(context_of(), example, WORDS) == 0
    assert metrics.evidence_recall(context_of(span(0, 4, "e")), example, WORDS) == 0


def test_evidence_recall_does_not_count_white_space():
    assert metrics.evidence_recall(context_of(span(0, 4), span(5, 9)), question(span(0, 9)), WORDS) == 1  # the space between is missing
    assert metrics.evidence_recall(context_of(span(4, 5)), question(span(0, 9)), WORDS) == 0  # the space is all there is
    assert math.isnan(metrics.evidence_recall(context_of(span(0, 10, "e")), question(span(5, 10, "e")), WORDS))  # nothing to find


def test_evidence_recall_weighs_all_units_by_their_characters():
    example = question(span(0, 4), span(5, 14))  # 4 and 8 characters
    assert metrics.evidence_recall(context_of(span(0, 4)), example, WORDS) == pytest.approx(4 / 12)
    assert metrics.evidence_recall(context_of(span(0, 4), span(10, 12)), example, WORDS) == pytest.approx(6 / 12)


def test_evidence_recall_takes_the_alternative_covered_best():
    example = question([span(0, 9), span(15, 19)])  # 8 or 4 characters
    assert metrics.evidence_recall(context_of(span(15, 19)), example, WORDS) == 1  # 0/8 or 4/4
    assert metrics.evidence_recall(context_of(span(0, 4), span(15, 16)), example, WORDS) == 4 / 8  # 4/8 or 1/4
    assert metrics.evidence_recall(context_of(span(0, 2), span(15, 17)), example, WORDS) == 2 / 4  # 2/8 or 2/4


def test_evidence_recall_does_not_fall_when_a_shorter_alternative_turns_out_covered():
    example = question([span(0, 9), span(15, 16)], span(10, 14))  # (8 or 1) and 4 characters: the first unit weighs 1, the second 4
    assert metrics.evidence_recall(context_of(span(0, 4)), example, WORDS) == pytest.approx((1 * 4 / 8 + 0) / 5)
    # summing the characters of the best alternative would fall here, from 4/12 to 1/5
    assert metrics.evidence_recall(context_of(span(0, 4), span(15, 16)), example, WORDS) == pytest.approx((1 * 1 / 1 + 0) / 5)


def test_evidence_recall_counts_overlapping_pieces_once():
    assert metrics.evidence_recall(context_of(span(0, 3), span(1, 4), span(0, 2)), question(span(0, 9)), WORDS) == 4 / 8


def test_evidence_recall_of_a_packed_budget():
    hits = ranked(span(5, 14), span(0, 9))  # "efgh ijkl", then "abcd" (its "efgh" is there already)
    recalls = [metrics.evidence_recall(pack(hits, budget, WORDS), question(span(0, 9)), WORDS) for budget in (1, 2, 3)]
    assert recalls == [4 / 8, 4 / 8, 8 / 8]


def test_merge_joins_overlapping_and_touching_spans():
    spans = [span(30, 40), span(0, 10), span(10, 20), span(15, 18), span(0, 5, "e")]
    assert metrics.merge(spans) == {"d": [(0, 20), (30, 40)], "e": [(0, 5)]}


# --- invariants on random input --------------------------------------------------------------------

WHOLE = token_table("a" * 60, SimpleTokenizer())  # no white space
spans = st.builds(
    lambda document, start, size: Span(document, start, min(60, start + size)),
    st.sampled_from("de"),
    st.integers(0, 59),
    st.integers(1, 25),
)


@st.composite
def examples(draw):
    units = draw(st.lists(st.lists(spans, min_size=1, max_size=3), min_size=1, max_size=5))
    gains = draw(st.sampled_from([(), tuple(float(draw(st.integers(1, 4))) for _ in units)]))
    return question(*units, gains=gains)


@given(st.lists(spans, max_size=12, unique=True), examples())
def test_every_metric_stays_between_0_and_1_and_never_falls_with_k(found, example):
    ks = range(1, 15)
    scores = metrics.score_ranking(ranked(*found), example, ks, TABLES)
    assert all(0 <= value <= 1 for value in scores.values()), scores
    for family in ("recall", "hit", "mrr", "map"):
        values = [scores[f"{family}@{k}"] for k in ks]
        assert values == sorted(values), family


@given(st.lists(spans, max_size=12, unique=True), examples())
def test_evidence_recall_stays_between_0_and_1_and_never_falls_with_the_budget(found, example):
    assume(any(TABLES["d"].visible_in(item.start, item.end) for unit in example.evidence for item in unit))
    values = [metrics.evidence_recall(pack(ranked(*found), budget, TABLES), example, TABLES) for budget in range(1, 41)]
    assert all(0 <= value <= 1 for value in values)
    assert values == sorted(values)


@given(examples())
def test_a_perfect_ranking_scores_one(example):
    best = list(dict.fromkeys(unit[0] for unit in example.evidence))
    scores = metrics.score_ranking(ranked(*best), example, [len(best)], TABLES)
    assert scores[f"recall@{len(best)}"] == scores[f"mrr@{len(best)}"] == scores[f"precision@{len(best)}"] == 1
    assert metrics.evidence_recall(context_of(*best), example, {"d": WHOLE, "e": WHOLE}) == 1


# --- agreement with ir-measures --------------------------------------------------------------------


@pytest.mark.parametrize("grades", [(1,), (1, 2, 3)])
def test_d16_whole_documents_agree_with_ir_measures(grades):
    """Document gold and the `whole` chunker: each metric equals the reference, question by question."""
    rng = random.Random(len(grades))
    documents = [f"doc{number}" for number in range(40)]
    tables = {document: token_table("aa aa", SimpleTokenizer()) for document in documents}
    qrels, run, ours = [], [], {}
    for number in range(60):
        gold = rng.sample(documents, rng.randint(1, 12))
        gains = tuple(float(rng.choice(grades)) for _ in gold)
        found = rng.sample(documents, rng.randint(1, 30))
        scores = sorted((rng.random() for _ in found), reverse=True)  # distinct: the reference breaks ties by document id
        qrels += [ir_measures.Qrel(f"q{number}", document, int(gain)) for document, gain in zip(gold, gains, strict=True)]
        run += [ir_measures.ScoredDoc(f"q{number}", document, value) for document, value in zip(found, scores, strict=True)]
        example = question(*(span(0, 5, document) for document in gold), gains=gains if len(grades) > 1 else ())
        hits = ranked(*(span(0, 5, document) for document in found), scores=scores)
        ours[f"q{number}"] = metrics.score_ranking(hits, example, (1, 3, 10, 20), tables)
    names = {"nDCG": "ndcg", "R": "recall", "P": "precision", "RR": "mrr", "AP": "map", "Success": "hit"}
    measures = {ir_measures.parse_measure(f"{theirs}@{k}"): f"{name}@{k}" for theirs, name in names.items() for k in (1, 3, 10, 20)}
    compared = 0
    for value in ir_measures.iter_calc(list(measures), qrels, run):
        assert ours[value.query_id][measures[value.measure]] == pytest.approx(value.value, abs=1e-9), (value.query_id, value.measure)
        compared += 1
    assert compared == 60 * len(measures)
