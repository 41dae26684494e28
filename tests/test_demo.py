"""The packaged demo corpora keep what the README and the notebooks say of them."""

import re
from collections import Counter

import pytest

from workbench import data

LANGUAGES = ("en", "ko")


@pytest.fixture(scope="module")
def demos():
    return {language: data.load(f"demo-{language}") for language in LANGUAGES}


@pytest.mark.parametrize("language", LANGUAGES)
def test_size_and_kinds(demos, language):
    demo = demos[language]
    assert len(demo.documents) >= 42
    assert len(demo.examples) >= 160
    lengths = [len(document.text.split()) for document in demo.documents]
    assert min(lengths) >= 300
    assert max(lengths) <= 900
    kinds = Counter(example.metadata["type"] for example in demo.examples)
    shares = {kind: count / len(demo.examples) for kind, count in kinds.items()}
    assert shares == pytest.approx({"one-place": 0.70, "two-place": 0.15, "unanswerable": 0.15}, abs=0.04)
    assert set(Counter(example.metadata["domain"] for example in demo.examples).values()) == {56}
    assert data.check(demo).exit_code == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_kinds_mean_what_they_say(demos, language):
    units = {"one-place": 1, "two-place": 2, "unanswerable": 0}
    for example in demos[language].examples:
        assert len(example.evidence) == units[example.metadata["type"]]
        assert bool(example.answers) == example.answerable == (example.metadata["type"] != "unanswerable")


@pytest.mark.parametrize("language", LANGUAGES)
def test_documents_are_structured(demos, language):
    texts = [document.text for document in demos[language].documents]
    assert all(len(re.findall(r"^#{1,3} ", text, re.MULTILINE)) >= 4 for text in texts)
    assert sum(bool(re.search(r"^ *(-|\d+\.) ", text, re.MULTILINE)) for text in texts) >= len(texts) * 3 / 4
    assert sum("\n|" in text for text in texts) >= len(texts) / 3


@pytest.mark.parametrize("language", LANGUAGES)
def test_splits_by_group_are_disjoint_and_big_enough(demos, language):
    parts = data.split(demos[language], seed=0)
    groups = {name: {example.metadata["group"] for example in part.examples} for name, part in parts.items()}
    assert groups["train"].isdisjoint(groups["selection"] | groups["confirmation"])
    assert groups["selection"].isdisjoint(groups["confirmation"])
    assert sum(len(part.examples) for part in parts.values()) == len(demos[language].examples)
    assert min(len(part.examples) for part in parts.values()) >= 40


def test_both_languages_are_parallel(demos):
    english, korean = demos["en"], demos["ko"]
    assert [(document.id, document.group) for document in english.documents] == [
        (document.id, document.group) for document in korean.documents
    ]
    for left, right in zip(english.examples, korean.examples, strict=True):
        assert left.id == right.id
        assert left.metadata == right.metadata
        documents = [[sorted({span.document_id for span in unit}) for unit in example.evidence] for example in (left, right)]
        assert documents[0] == documents[1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_questions_do_not_copy_the_evidence(demos, language):
    copied = 0
    for example in demos[language].examples:
        question = set(re.findall(r"\w+", example.question.lower()))
        for unit in example.evidence:
            document = demos[language].document(unit[0].document_id)
            evidence = set(re.findall(r"\w+", document.text[unit[0].start : unit[0].end].lower()))
            copied += len(question & evidence) > 0.6 * len(question)
    assert copied <= 2
