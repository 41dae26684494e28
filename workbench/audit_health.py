"""Check whether the evaluation set can tell configurations apart: repeated, given-away, trivial and hopeless questions, small slices."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from workbench import metrics
from workbench.audit_checks import Evidence, outcome, saturated
from workbench.datatypes import Dataset, Example
from workbench.evaluation import Check
from workbench.metrics_answers import YES_NO
from workbench.registry import split_spec
from workbench.retrieval import Bm25Retriever, question_keys
from workbench.settings import Settings
from workbench.text import folded, guess_language, words

ENOUGH = 50  # questions; of fewer even a perfect score allows more than 6 % of errors (rule of three), so they show no ceiling
MAX_LEXICAL = 0.9
SAMPLE = 200  # questions that BM25 is asked
MOST_CHARACTERS = 1_000_000  # of the chunks, where BM25 must index them for this alone: about a second
CEILING, FLOOR = 0.98, 0.02
MAX_REPEATED = 0.01  # share of the questions; published sets have 0 to 1.6 %
MAX_GIVEN_AWAY = 0.02  # share of the questions with answers; published sets have 0 to 1.1 %
MIN_SLICE = 10
MOST_VALUES = 12  # of a metadata field that is a slice
CHOICE = re.compile(r"\bor\b|또는|혹은|아니면|[와과]\s.*\s중(?:에서|에)?\s*(?:무엇|뭐|뭘|어느|어떤|어디|누)", re.IGNORECASE)
NO_FLOOR = ("precision", "token_precision", "token_iou")  # low by nature: most of what is retrieved is no evidence


def audit_questions(settings: Settings, dataset: Dataset) -> tuple[Check, ...]:
    """Return one Check for each id in QUESTION_CHECKS, over all questions of a run, those without evidence too."""
    return tuple(check(settings, dataset) for check in QUESTION_CHECKS.values())


def duplicate_questions(settings: Settings, dataset: Dataset) -> Check:
    """Check that hardly a question is asked twice: same words, and same metadata where the filter takes a value from the question."""
    keys = question_keys(settings.filter)
    seen: dict[tuple[str, ...], list[Example]] = {}
    for example in dataset.examples:
        place = (folded(example.question), *(str(example.metadata.get(key)) for key in keys))
        seen.setdefault(place, []).append(example)
    repeated = [group for group in seen.values() if len(group) > 1]
    if not repeated:
        return Check("duplicate_questions", "ok", "no question is asked twice")
    unlike = [group for group in repeated if len({(frozenset(item.answers), frozenset(item.evidence)) for item in group}) > 1]
    first, second = (unlike or repeated)[0][:2]
    surplus = sum(len(group) - 1 for group in repeated)
    message = f"{surplus} of {len(dataset.examples)} questions repeat another, {len(unlike)} questions are asked with different gold"
    message += f", e.g. {first.id!r} and {second.id!r}"
    problem = f"{message}: merge them, or set a filter that tells them apart" if surplus > MAX_REPEATED * len(dataset.examples) else ""
    return outcome("duplicate_questions", problem, "warning", message)


def answer_in_question(settings: Settings, dataset: Dataset) -> Check:  # noqa: ARG001 - all of these are called alike
    """Check that few questions contain a gold answer, for these measure nothing; one that offers a choice has to."""
    asked = [example for example in dataset.examples if example.answers]
    told = [example for example in asked if not CHOICE.search(example.question)]
    given = [example for example in told if any(contains(example.question, answer) for answer in example.answers)]
    message = f"{len(given)} of {len(asked)} questions with answers contain a gold answer"
    if given:
        message += f", e.g. {given[0].id!r}"
    problem = f"{message}: rewrite them so that the answer must be found" if len(given) > MAX_GIVEN_AWAY * len(asked) else ""
    return outcome("answer_in_question", problem, "warning", message)


def contains(question: str, answer: str) -> bool:
    """Tell whether an answer stands in a question: as whole words, with Hangul as characters from the start of a word on.

    Answers of one word (with Hangul: one character) and yes or no are not looked for: too short to give anything away.
    """
    parts, asked = words(answer), words(question)
    if " ".join(parts) in YES_NO:
        return False
    if guess_language(answer) == "ko":
        sought = "".join(parts)
        return len(sought) > 1 and any("".join(asked[row:]).startswith(sought) for row in range(len(asked)))
    return len(parts) > 1 and f" {' '.join(parts)} " in f" {' '.join(asked)} "


def small_slices(settings: Settings, dataset: Dataset) -> Check:
    """Check that each kind of question that the metadata tells apart has enough, and the unanswerable ones where answers are generated."""
    examples = dataset.examples
    if settings.limit or len(examples) < ENOUGH:
        return Check("small_slices", "ok", f"not applicable: needs all questions, and {ENOUGH} of them")
    found: list[tuple[str, int]] = []
    for field in sorted({key for example in examples for key in example.metadata} - {"group", *question_keys(settings.filter)}):
        counts = Counter(str(example.metadata[field]) for example in examples if field in example.metadata)
        if 2 <= len(counts) <= MOST_VALUES:
            found += [(f"{field} {value[:40]!r}", count) for value, count in sorted(counts.items())]
    unanswerable = sum(not example.answerable for example in examples)
    if unanswerable and settings.generator != "none":
        found.append(("unanswerable", unanswerable))
    few = [f"{name} ({count})" for name, count in found if count < MIN_SLICE]
    problem = f"fewer than {MIN_SLICE} questions: {', '.join(few)}; write more, or draw no conclusion from these alone" if few else ""
    return outcome("small_slices", problem, "warning", f"{len(found)} slices with {MIN_SLICE} questions or more" if found else "no slices")


QUESTION_CHECKS = {
    "duplicate_questions": duplicate_questions,
    "answer_in_question": answer_in_question,
    "small_slices": small_slices,
}


def bm25_ceiling(run: Evidence) -> Check:
    """Check that BM25 does not put all evidence of nearly every question first, where nothing is left for other retrievers to find.

    First means: n pieces of evidence within the first n hits. A run by BM25 itself is judged by its own hits.
    """
    examples, name = run.dataset.examples, split_spec(run.settings.retriever)[0]
    known = name == "bm25" and run.settings.reranker == "none"
    if len(examples) < ENOUGH or name == "random" or not (known or sum(map(len, run.texts)) <= MOST_CHARACTERS):
        wanted = f"{ENOUGH} questions, and BM25 or at most {MOST_CHARACTERS:,} characters"
        return Check("bm25_ceiling", "ok", f"not applicable: needs {wanted}")
    rows = np.sort(np.random.default_rng(run.settings.seed).permutation(len(examples))[:SAMPLE])
    drawn = [examples[row] for row in rows]
    if known:
        hits = [run.hits[row] for row in rows]
    else:
        hits = Bm25Retriever(run.chunks, run.texts, run.settings.filter).retrieve(drawn, max(len(example.evidence) for example in drawn))
    ranks = [metrics.first_ranks(found[: len(example.evidence)], example) for example, found in zip(drawn, hits, strict=True)]
    share = sum(None not in found for found in ranks) / len(drawn)
    message = f"BM25 finds all evidence of {share:.0%} of {len(drawn)} questions first"
    problem = f"{message}, so they hardly differ from the documents in words; paraphrase them, or embedders cannot show what they can"
    return outcome("bm25_ceiling", problem if share > MAX_LEXICAL else "", "warning", message)


def ceiling_floor(run: Evidence) -> Check:
    """Check that the primary metric is neither near 1 nor near 0 (precision may be), where no candidate can be told from another."""
    metric = run.settings.primary
    values = np.asarray(run.scores.get(metric, ()), dtype=float)
    values = values[np.isfinite(values)]
    if len(values) < ENOUGH or split_spec(run.settings.retriever)[0] == "random" or saturated(run).level != "ok":
        return Check("ceiling_floor", "ok", f"not applicable: needs {ENOUGH} scores of a retrieval metric that sees a part of the corpus")
    mean = float(values.mean())
    advice = ""
    if mean > CEILING:
        advice = "nothing is left to gain; ask harder questions, or compare on a smaller budget or k"
    elif mean < FLOOR and metric.partition("@")[0] not in NO_FLOOR:
        advice = "hardly anything is found; check the gold, the language of the models and the filter"
    message = f"{metric} is {mean:.3f} on average"
    return outcome("ceiling_floor", f"{message}: {advice}" if advice else "", "warning", message)
