"""Say how fit a data set is for an evaluation: counts, losses, duplicates, leakage, languages."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from workbench.datatypes import Dataset
from workbench.text import folded, guess_language

SHOWN = 10  # findings of one kind that are printed; all are in the report


@dataclass(frozen=True)
class DataReport:
    """Hold what `data.check` found. Each tuple of duplicates or leakage is one set of ids that share something.

    `exit_code` is 0 for a clean data set and 1 for one that is usable with losses, duplicates or leakage.
    """

    name: str
    documents: int
    characters: int
    groups: int
    longest_document: tuple[str, int]  # id, characters
    questions: int
    answerable: int
    several_places: int  # questions with two evidence units or more
    without_evidence: int  # answerable questions that only have an answer
    evidence_spans: int
    document_languages: Mapping[str, int]
    question_languages: Mapping[str, int]
    losses: tuple[str, ...]
    notes: tuple[str, ...]
    duplicate_documents: tuple[tuple[str, ...], ...]  # same text, one group
    leakage: tuple[tuple[str, ...], ...]  # same text in several groups: train and test would share it
    duplicate_questions: tuple[tuple[str, ...], ...]  # same question about one group
    repeated_questions: tuple[tuple[str, ...], ...]  # same question about several groups: filter, or expect ties
    similar_ids: tuple[tuple[str, ...], ...]  # ids that differ in case, width or separators only

    @property
    def unanswerable_share(self) -> float:
        return (self.questions - self.answerable) / self.questions if self.questions else 0.0

    @property
    def exit_code(self) -> int:
        return int(any((self.losses, self.duplicate_documents, self.leakage, self.duplicate_questions)))

    def render(self) -> str:
        """Return the report as plain text for a terminal."""
        longest, size = self.longest_document
        extent = f"{self.documents:,} in {self.groups:,} groups, {self.characters:,} characters"
        lines = [
            f"{self.name}",
            f"  documents   {extent}, {_counts(self.document_languages)}",
            f"  longest     {longest} ({size:,} characters)",
            f"  questions   {self.questions:,}, {_counts(self.question_languages)}",
            f"  answerable  {self.answerable:,}; unanswerable {self.questions - self.answerable:,} ({self.unanswerable_share:.1%})",
            f"  evidence    {self.evidence_spans:,} spans; {self.several_places:,} questions need several places; "
            f"{self.without_evidence:,} have an answer only",
        ]
        sections = (
            ("lost or skipped", self.losses),
            ("documents with the same text", map(", ".join, self.duplicate_documents)),
            ("leakage: the same text in several groups", map(", ".join, self.leakage)),
            ("the same question about one group", map(", ".join, self.duplicate_questions)),
            ("warning: the same question about several groups", map(", ".join, self.repeated_questions)),
            ("warning: ids that are almost the same", map(", ".join, self.similar_ids)),
            ("notes", self.notes),
        )
        for title, findings in sections:
            listed = list(findings)
            if listed:
                lines.append(f"  {title}: {len(listed):,}")
                lines.extend(f"    - {_shorten(finding)}" for finding in listed[:SHOWN])
            if len(listed) > SHOWN:
                lines.append(f"    - and {len(listed) - SHOWN:,} more")
        lines.append("  clean" if self.exit_code == 0 else "  usable, but look at the findings above")
        return "\n".join(lines)


def report(dataset: Dataset, clusters: Mapping[str, str]) -> DataReport:
    """Examine a data set whose questions belong to the given clusters (see `data.clusters`)."""
    same_text = _shared((document.text, document.id) for document in dataset.documents)
    group_of = {document.id: document.group for document in dataset.documents}
    leaking = [ids for ids in same_text if len({group_of[name] for name in ids}) > 1]
    by_question: defaultdict[str, list[str]] = defaultdict(list)
    for example in dataset.examples:
        by_question[folded(example.question)].append(example.id)
    same_cluster = [ids for names in by_question.values() for ids in _shared((clusters[name], name) for name in names)]
    repeated = [tuple(names) for names in by_question.values() if len({clusters[name] for name in names}) > 1]
    longest = max(dataset.documents, key=lambda document: len(document.text))
    answerable = [example for example in dataset.examples if example.answerable]
    return DataReport(
        name=dataset.name,
        documents=len(dataset.documents),
        characters=sum(len(document.text) for document in dataset.documents),
        groups=len(set(group_of.values())),
        longest_document=(longest.id, len(longest.text)),
        questions=len(dataset.examples),
        answerable=len(answerable),
        several_places=sum(len(example.evidence) > 1 for example in answerable),
        without_evidence=sum(not example.evidence for example in answerable),
        evidence_spans=sum(len(unit) for example in answerable for unit in example.evidence),
        document_languages=_languages(document.text for document in dataset.documents),
        question_languages=_languages(example.question for example in dataset.examples),
        losses=dataset.losses,
        notes=dataset.notes,
        duplicate_documents=tuple(ids for ids in same_text if ids not in leaking),
        leakage=tuple(leaking),
        duplicate_questions=tuple(same_cluster),
        repeated_questions=tuple(repeated),
        similar_ids=tuple(
            _shared((_folded(document.id), document.id) for document in dataset.documents)
            + _shared((_folded(example.id), example.id) for example in dataset.examples)
        ),
    )


def _shared(pairs: Iterable[tuple[Hashable, str]]) -> list[tuple[str, ...]]:
    """Return the ids of each key that has two or more."""
    ids: defaultdict[Hashable, list[str]] = defaultdict(list)
    for key, name in pairs:
        ids[key].append(name)
    return [tuple(names) for names in ids.values() if len(names) > 1]


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", "-", unicodedata.normalize("NFKC", name).casefold())


def _languages(texts: Iterable[str]) -> dict[str, int]:
    return dict(Counter(map(guess_language, texts)).most_common())


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def _shorten(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
