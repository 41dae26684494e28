"""Training examples: only of the training part, in the form of a run, evidence in the context, shuffled controls."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_parts import SMALL

from workbench import data
from workbench.datatypes import WorkbenchError
from workbench.experiment import prepare
from workbench.experiment_train import derangement, training_documents, training_pairs, training_passages
from workbench.settings import Settings


def settings(spec: str, **changes) -> Settings:
    return Settings(**({"dataset": spec, "retriever": "bm25", "generator": "extractive"} | SMALL | changes))


@pytest.mark.parametrize("language", ["en", "ko"])
def test_pairs_come_from_training_documents_only_and_look_like_a_run(small, own_cache, language: str) -> None:
    point = settings(small(language), answer_budget=64)
    found = training_pairs(point)
    parts = data.split(data.load(small(language)), seed=0)
    train = {example.question for example in parts["train"].examples}
    assert found.pairs
    assert found.held_out
    asked = {conversation.question for conversation, _ in (*found.pairs, *found.held_out)}
    assert asked <= train
    groups = {document.id: document.group for document in parts["train"].documents}
    elsewhere = {
        groups[span.document_id]
        for name in ("selection", "confirmation")
        for example in parts[name].examples
        for unit in example.evidence
        for span in unit
    }
    gold = {example.question: example for example in parts["train"].examples}
    for conversation, answer in (*found.pairs, *found.held_out):
        assert not {groups[passage.span.document_id] for passage in conversation.passages} & elsewhere
        example = gold[conversation.question]
        if example.answers:
            assert answer == example.answers[0]
            assert all(any(passage.span.overlap(span) for span in unit for passage in conversation.passages) for unit in example.evidence)
        else:
            assert answer in ("The passages do not say.", "문서에서 답을 찾을 수 없습니다.")
    assert found.data["pairs"] == len(found.pairs)
    assert found.data["settings"]["split"] == "train"


def test_pairs_and_held_out_share_no_document_group(small, own_cache) -> None:
    found = training_pairs(settings(small("en"), answer_budget=64), held_out_share=0.4)
    labels = data.clusters(data.load(small("en")))
    by_question = {example.question: labels[example.id] for example in data.load(small("en")).examples}
    kept, held = ({by_question[conversation.question] for conversation, _ in part} for part in (found.pairs, found.held_out))
    assert not kept & held
    assert training_pairs(settings(small("en"), answer_budget=64), held_out_share=0).held_out == ()
    with pytest.raises(WorkbenchError, match="held-out share of 1"):
        training_pairs(settings(small("en")), held_out_share=1)


def test_what_retrieval_does_not_find_is_left_out_and_counted(small, own_cache) -> None:
    wide, narrow = (training_pairs(settings(small("en"), answer_budget=budget), 0) for budget in (64, 12))
    assert narrow.left_out > wide.left_out
    assert len(narrow.pairs) + narrow.left_out == len(wide.pairs) + wide.left_out


def test_shuffled_pairs_keep_questions_and_answers_but_no_match(small, own_cache) -> None:
    right, wrong = (training_pairs(settings(small("en"), answer_budget=64), 0, shuffled=shuffled) for shuffled in (False, True))
    assert [conversation for conversation, _ in right.pairs] == [conversation for conversation, _ in wrong.pairs]
    assert Counter(answer for _, answer in right.pairs) == Counter(answer for _, answer in wrong.pairs)
    assert not any(left[1] == other[1] for left, other in zip(right.pairs, wrong.pairs, strict=True))
    assert wrong.data["shuffled"]


@pytest.mark.parametrize("prompt", ["cite", "json", "quote", "chain"])
def test_prompts_with_a_form_of_their_own_are_refused(small, prompt: str) -> None:
    with pytest.raises(WorkbenchError, match="in a form of its own"):
        training_pairs(settings(small("en"), prompt=prompt))


def test_passages_hold_the_evidence_and_their_negatives_are_known(small, own_cache) -> None:
    found = training_passages(settings(small("en")))
    gold = {example.question: example for example in data.load(small("en")).examples}
    documents = {document.id: document for document in data.load(small("en")).documents}
    for (question, passage), positives in zip(found.pairs, found.positives, strict=True):
        assert passage in positives
        assert set(positives) <= set(found.corpus)
        spans = [span for unit in gold[question].evidence for span in unit]
        assert any(documents[span.document_id].text[span.start : span.end][:8] in passage for span in spans)
    shuffled = training_passages(settings(small("en")), shuffled=True)
    assert [question for question, _ in shuffled.pairs] == [question for question, _ in found.pairs]
    assert not any(left[1] == other[1] for left, other in zip(found.pairs, shuffled.pairs, strict=True))


def test_documents_of_other_parts_are_left_out(small) -> None:
    prepared = prepare(settings(small("en"), split="train"))
    kept = training_documents(prepared)
    assert {document.id for document in kept}.isdisjoint(prepared.elsewhere)
    assert len(kept) < len(prepared.dataset.documents)


@given(st.lists(st.sampled_from("abcdef"), max_size=30), st.integers(0, 5))
def test_a_derangement_moves_every_item_to_an_unequal_place(items: list[str], seed: int) -> None:
    most = max(Counter(items).values(), default=0)
    if 2 * most > len(items):
        with pytest.raises(WorkbenchError, match="are the same"):
            derangement(items, seed)
        return
    moved = derangement(items, seed)
    assert Counter(moved) == Counter(items)
    assert all(left != right for left, right in zip(items, moved, strict=True))
    assert derangement(items, seed) == moved


def test_the_test_part_is_all_that_is_not_trained_on(small) -> None:
    parts = {name: prepare(settings(small("en"), split=name)) for name in ("all", "train", "selection", "confirmation", "test")}
    ids = {name: {example.id for example in part.dataset.examples} for name, part in parts.items()}
    assert ids["test"] == ids["selection"] | ids["confirmation"] == ids["all"] - ids["train"]
    assert {example.id for example in parts["test"].training} == ids["train"]
    assert parts["train"].training == parts["all"].training == ()
    assert not set(parts["test"].clusters) & set(parts["train"].clusters)
    assert len({part.dataset.fingerprint for part in parts.values()}) == 5


def test_refusals_keep_their_share(own_cache) -> None:
    found = training_pairs(settings("demo-en", chunk_size=64, answer_budget=64), 0)
    train = data.split(data.load("demo-en"), seed=0)["train"].examples
    refusals = sum(answer == "The passages do not say." for _, answer in found.pairs)
    answered = len(found.pairs) - refusals
    unanswerable = sum(not example.answerable for example in train)
    assert 0 < answered < len(train) - unanswerable
    assert unanswerable
    assert refusals == round(unanswerable * answered / (len(train) - unanswerable)) < unanswerable


def test_the_facts_for_a_card_name_no_folder(small, own_cache) -> None:
    spec = small("en")
    facts = training_pairs(settings(spec, answer_budget=64)).data
    assert facts["name"] == facts["settings"]["dataset"] == f"folder:{spec.rpartition('/')[2]}"
    assert spec.partition(":")[2] not in str(facts)
