"""Main effects and seeds of results: hand-worked designs, and what tables, sentences and HTML say of them."""

import math
import re
from dataclasses import astuple

import numpy as np
import pytest
from factories import make_answer, make_result, make_results

from workbench import report, report_effects, stats
from workbench.datatypes import WorkbenchError

METRIC = "evidence_recall@512t"
RNG = np.random.default_rng(3)
GROUPS = [f"g{number % 20}" for number in range(80)]
QUESTION = RNG.normal(0, 0.2, 80)


def result(level, **changes):
    return make_result({METRIC: level + QUESTION + RNG.normal(0, 0.03, 80)}, GROUPS, **changes)


def crossed(levels, **extra):
    """Return results of chunk sizes and ranks: {(chunk_size, top_k): level}."""
    return [result(level, chunk_size=size, top_k=top_k, **extra) for (size, top_k), level in levels.items()]


def test_effects_are_the_mean_paired_differences_over_blocks():
    results = crossed({(128, 5): 0.5, (256, 5): 0.6, (128, 9): 0.5, (256, 9): 0.7})
    size, rank = report_effects.main_effects(results, METRIC)
    scores = np.stack([one.scores[METRIC] for one in results], axis=1)
    by_hand = np.stack([scores[:, [1, 3]].mean(axis=1) - scores[:, [0, 2]].mean(axis=1), (scores @ [-1, -1, 1, 1]) / 2], axis=1)
    for effect, expected in zip((size, rank), stats.max_t(by_hand, GROUPS, seed=0), strict=True):
        assert astuple(effect.interval) == pytest.approx(astuple(expected))
    assert (size.field, size.value, size.reference, size.blocks, size.reverses) == ("chunk_size", "256", "128", 2, False)
    assert (rank.field, rank.value, rank.reference, rank.blocks) == ("top_k", "9", "5", 2)
    assert size.interval.mean == pytest.approx(0.15, abs=0.01)


def test_the_baselines_values_are_the_references():
    results = crossed({(128, 5): 0.5, (256, 5): 0.6, (128, 9): 0.5, (256, 9): 0.6})
    effects = report_effects.main_effects(results, METRIC, baseline=results[3].config_id)
    assert [(effect.value, effect.reference) for effect in effects] == [("128", "256"), ("5", "9")]
    assert effects[0].interval.mean == pytest.approx(-report_effects.main_effects(results, METRIC)[0].interval.mean)


def test_the_made_up_design_has_the_effects_that_it_was_made_of():
    """Controls are left out, and settings that only follow the retriever are no axis of their own."""
    results = make_results()
    found = {(one.field, one.value): one for one in report_effects.main_effects(results, METRIC)}
    assert [(*key, one.blocks) for key, one in found.items()] == [
        ("chunker", "sentence", 1),
        ("chunker", "fixed", 1),
        ("chunk_size", "256", 2),
        ("chunk_size", "512", 2),
        ("retriever", "bm25:word", 2),
    ]
    truth = {"sentence": 0.01, "fixed": -0.06, "256": -0.02, "512": -0.095, "bm25:word": -0.085}
    for (_, value), effect in found.items():
        assert effect.interval.mean == pytest.approx(truth[value], abs=0.04)  # scores are cut at 1
    assert report_effects.left_out(results, METRIC) == []


def test_options_are_axes_of_their_own_and_the_seed_of_a_sweep_is_none():
    results = [result(0.5 + 0.1 * (ef > 8), seed=seed, options={"index": {"ef": ef}}) for seed, ef in enumerate((8, 16))]
    (effect,) = report_effects.main_effects(results, METRIC)
    assert (effect.field, effect.value, effect.reference) == ("index.ef", "16", "8")


def test_settings_that_vary_together_are_named_together_and_an_axis_without_block_is_left_out():
    results = [
        result(0.5, chunk_size=size, chunk_overlap=overlap, top_k=rank)
        for size, overlap, rank in ((64, 8, 5), (128, 16, 5), (128, 16, 9), (256, 32, 9))
    ]
    assert [effect.field for effect in report_effects.main_effects(results, METRIC)] == ["top_k"]
    assert report_effects.left_out(results, METRIC) == ["chunk_size", "chunk_overlap"]
    (effect,) = report_effects.main_effects(results[:2], METRIC)
    assert (effect.field, effect.value, effect.reference) == ("chunk_size + chunk_overlap", "128 + 16", "64 + 8")


def test_only_questions_that_all_candidates_scored_count():
    results = crossed({(128, 5): 0.5, (256, 5): 0.6})
    results[1].scores[METRIC][:4] = np.nan
    assert report_effects.main_effects(results, METRIC)[0].interval.n == 76


def test_nothing_varies_but_controls():
    results = [result(0.6), result(0.2, chunker="whole"), result(0.1, retriever="random")]
    assert report_effects.main_effects(results, METRIC) == []
    assert report_effects.effects(results, report.compare(results)) == ""
    assert report_effects.effects(results[:1], report.compare(results[:1])) == ""


def test_the_extractive_control_is_left_out_among_written_answers():
    answers = [make_answer(f"q{number}") for number in range(80)]
    results = [
        make_result({"answer_f1": 0.5 + QUESTION}, GROUPS, generator=generator, prompt=prompt, records=answers)
        for generator, prompt in (("hf:a/b", "plain"), ("hf:a/b", "concise"), ("extractive", "plain"))
    ]
    assert [(one.field, one.interval.mean) for one in report_effects.main_effects(results, "answer_f1")] == [("prompt", 0)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "nonsense"}, "nonsense"),
        ({"baseline": "0123"}, "unknown baseline '0123'"),
        ({"results": [result(0.5, seed=1), result(0.5, seed=2)]}, r"several results of one configuration; merge their seeds first"),
        ({"results": []}, "no results"),
        ({"results": [result(0.5), make_result({METRIC: [0.1, 0.2]}, top_k=5)]}, "answered different questions"),
    ],
)
def test_bad_input_is_named(change, message):
    given = {"results": crossed({(128, 5): 0.5, (256, 5): 0.6}), "metric": METRIC} | change
    with pytest.raises(WorkbenchError, match=message):
        report_effects.main_effects(**given)


def test_an_effect_that_turns_around_is_a_warning():
    results = crossed({(128, 5): 0.5, (256, 5): 0.7, (128, 9): 0.5, (256, 9): 0.35})
    found = report_effects.main_effects(results, METRIC)
    assert [effect.reverses for effect in found] == [True, False]  # at 128 the rank changes nothing
    sentences = report_effects.effect_sentences(found, ["embedder"])
    assert "chunk_size: 256 gains with some settings and loses with others against 128, so the mean misleads." in sentences
    assert sentences[-1] == "Left out, since no combination of the other settings was run with every value: embedder."
    assert "2 (reverses)" in report_effects.effects_table(found)


def test_sentences_and_table_say_what_is_shown():
    found = report_effects.main_effects(crossed({(128, 5): 0.5, (256, 5): 0.6, (128, 9): 0.5, (256, 9): 0.6}), METRIC)
    sentences = report_effects.effect_sentences(found)
    assert len(sentences) == 1
    assert re.fullmatch(
        r"chunk_size: 256 gains on average against 128, \+0\.\d+ \[\+0\.\d+, \+0\.\d+\], adjusted p < 0\.001\.", sentences[0]
    )
    assert report_effects.effect_sentences(found[1:]) == ["No setting by itself is shown to change the score on average."]
    assert report_effects.effect_sentences([]) == []
    lines = report_effects.effects_table(found).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| chunk\\_size | 256 | 128 | +0.")


def test_the_html_is_escaped_and_keeps_folders_to_itself():
    results = [result(0.5, prompt="file:/secret/place/<b>.txt", generator="hf:a/b"), result(0.7, prompt="plain", generator="hf:a/b")]
    shown = report_effects.effects(results, report.compare(results))
    assert "&lt;b&gt;.txt" in shown
    assert "<b>" not in shown
    assert "/secret" not in shown
    assert shown.count("<tr>") == 2
    assert 'aria-label="Main effects"' in shown


def test_no_effects_where_there_is_no_verdict():
    results = crossed({(128, 5): 0.5, (256, 5): 0.6})
    results[1].scores[METRIC][:4] = np.nan  # 5 %
    assert report_effects.effects(results, report.compare(results)) == ""


# --- seeds ----------------------------------------------------------------------------------------------------------


def seeded(scores, seed, clusters="abcd", **changes):
    return make_result({METRIC: scores}, clusters, seed=seed, **changes)


def test_seed_variance_stands_beside_that_of_questions():
    results = [
        seeded([0, 0.2, 0.8, 1], 1),
        seeded([0, 0.2, 0.8, 1], 0, top_k=5),
        seeded([0.1, 0.3, 0.9, 1.1], 2),
        seeded([0.2, 0.4, 1, 1.2], 3),
    ]
    several, one = report_effects.seed_variance(results, METRIC)
    assert (several.config_id, several.seeds) == (results[0].config_id, (1, 2, 3))
    assert (several.mean, several.sd) == pytest.approx((0.6, 0.1))  # means 0.5, 0.6, 0.7
    assert several.se == pytest.approx(np.std([0.1, 0.3, 0.9, 1.1], ddof=1) / 2)
    assert (one.seeds, one.mean) == ((0,), pytest.approx(0.5))
    assert math.isnan(one.sd)


def test_questions_that_a_seed_left_unscored_do_not_count():
    results = [seeded([0, math.nan, 1, 1], 1), seeded([1, 1, 1, math.nan], 2)]
    (found,) = report_effects.seed_variance(results, METRIC)
    assert (found.mean, found.sd) == pytest.approx((0.75, math.sqrt(0.125)))  # of the first and third: 0.5 and 1
    (none,) = report_effects.seed_variance([seeded([math.nan] * 4, 1), seeded([1] * 4, 2)], METRIC)
    assert math.isnan(none.mean)
    (merged,) = report_effects.merge_seeds(results)
    assert merged.scores[METRIC].tolist()[::2] == [0.5, 1]
    assert (merged.unscored(METRIC), merged.interval(METRIC).n) == (2, 2)


def test_merging_leaves_one_result_a_configuration():
    alone = seeded([1, 0, 0, 0], 1, top_k=5)
    merged = report_effects.merge_seeds([seeded([0, 0.5, 1, 0], 1), alone, seeded([1, 0.5, 0, 0], 2)])
    assert [one.settings.top_k for one in merged] == [10, 5]
    assert merged[0].scores[METRIC].tolist() == [0.5, 0.5, 0.5, 0]
    assert merged[0].details["seeds"] == [1, 2]
    assert merged[1] is alone
    assert len(merged[0].audit) == 2 * len(alone.audit)
    report.compare(merged)  # one row each


def test_a_metric_asked_of_other_questions_by_each_seed_is_left_out():
    masks = [np.array([True, True, False, False]), np.array([True, False, True, False])]
    both = [
        make_result({METRIC: [1, 0, 1, 0], "refusal_precision": [1, 1, 1, 1]}, "abcd", seed=seed, asked={"refusal_precision": mask})
        for seed, mask in enumerate(masks)
    ]
    (merged,) = report_effects.merge_seeds(both)
    assert list(merged.scores) == [METRIC]
    assert merged.asked == {}
    with pytest.raises(WorkbenchError, match="merge their seeds first"):
        report_effects.effects(both, report.compare(both))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (seeded([1, 0, 1, 0], 1), "seed 1 stands twice; give each seed once"),
        (seeded([1, 0, 1, 0], 2, example_ids=("q0", "q1", "q2", "q9")), "answered different questions"),
        (seeded([1, 0, 1, 0], 2, records=[make_answer("q1")]), "its seeds answered different questions"),
        (make_result({METRIC: [1] * 4, "mrr@10": [1] * 4}, "abcd", seed=2), "different metrics"),
    ],
)
def test_seeds_that_do_not_fit_are_refused(second, message):
    for call in (report_effects.merge_seeds, lambda results: report_effects.seed_variance(results, METRIC)):
        with pytest.raises(WorkbenchError, match=message):
            call([seeded([1, 0, 1, 0], 1), second])


def test_seed_tables_are_for_several_seeds_only():
    results = [
        seeded([0, 0.2, 0.8, 1], 1, prompt="a<b", generator="hf:a/b"),
        seeded([0.1, 0.3, 0.9, 1.1], 2, prompt="a<b", generator="hf:a/b"),
    ]
    other = seeded([0.1, 0.3, 0.9, 1.1], 2, prompt="plain", generator="hf:a/b")
    assert report_effects.seeds([results[0], other], METRIC) == ""
    shown = report_effects.seeds([*results, other], METRIC)
    assert [re.findall(r">([^<]+)</t[hd]>", row) for row in shown.split("<tr>")[2:]] == [
        ["prompt a&lt;b", "2", "0.550", "0.071", "0.238"],
        ["prompt plain", "1", "0.600", "–", "0.238"],
    ]
    assert 'data-value="0.0707106781">0.071<' in shown
    assert 'data-value="">–<' in shown
