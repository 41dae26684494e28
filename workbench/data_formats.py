"""Read SQuAD, BEIR and JSON-lines data sets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench import registry
from workbench.data_files import parse_json
from workbench.data_records import Collector, UnresolvedEvidence, clean, span_of
from workbench.datatypes import Dataset, Example, Span, WorkbenchError
from workbench.text import Alignment

# Other keys of a SQuAD paragraph may be annotation that gives the answer away.
SQUAD_METADATA = ("title", "document_id", "index", "section", "source", "url", "date", "author")


def read_jsonl(argument: str, *, name: str, encoding: str | None = None) -> Dataset:
    """Read documents.jsonl {id, text, title?, group?, metadata?} and, if there, questions.jsonl (see `Collector.add_question`)."""
    folder = Path(argument)
    collector = Collector(encoding)
    for where, record in collector.read_lines(folder / "documents.jsonl"):
        collector.add_document_record(record, where)
    if (folder / "questions.jsonl").exists():
        for where, record in collector.read_lines(folder / "questions.jsonl"):
            collector.add_question(record, where)
    return collector.dataset(name)


def read_squad(argument: str, *, name: str, encoding: str | None = None) -> Dataset:
    """Read SQuAD JSON with one document for each paragraph; identical paragraphs become one, with all their questions."""
    return _read_squad(Path(argument), name, encoding, joined=False)


def read_squad_article(argument: str, *, name: str, encoding: str | None = None) -> Dataset:
    """Read SQuAD JSON with one document for each article: its paragraphs, a blank line between them."""
    return _read_squad(Path(argument), name, encoding, joined=True)


def _read_squad(path: Path, name: str, encoding: str | None, joined: bool) -> Dataset:
    collector = Collector(encoding)
    kept: dict[str, str] = {}  # document id by text
    slugs: set[str] = set()
    merged = 0
    for number, article in enumerate(_list(parse_json(collector.read(path), str(path)), "data", f"{path}"), 1):
        paragraphs = _list(article, "paragraphs", f"{path}, article {number}")
        slug = _slug(clean(article.get("title")), number, slugs)
        for identity, text, parts in _squad_documents(paragraphs, slug, joined, f"{path}, article {number}"):
            aligned = Alignment(text)
            if aligned.text in kept:
                merged += 1
                document = kept[aligned.text]
            else:
                fields = article if len(parts) != 1 else {**article, **parts[0][1]}
                metadata = {key: fields[key] for key in SQUAD_METADATA if key in fields}
                metadata["group"] = clean(article.get("title")) or f"article-{number}"
                document = collector.add_document(identity, text, f"article {number}", article.get("title"), metadata)
                kept[aligned.text] = document
            for offset, paragraph in parts:
                for qa in _list(paragraph, "qas", f"{path}, document {identity}"):
                    _add_squad_question(collector, aligned, document, offset, qa, f"{path.name}, document {identity}")
    if merged:
        collector.notes.append(f"{merged} {'articles' if joined else 'paragraphs'} with the text of an earlier one were merged into it")
    return collector.dataset(name)


def _squad_documents(
    paragraphs: list[dict[str, Any]], slug: str, joined: bool, where: str
) -> Iterator[tuple[str, str, list[tuple[int, dict[str, Any]]]]]:
    """Yield id, text and (offset of the paragraph in it, paragraph) for each document of one article."""
    for paragraph in paragraphs:
        if not isinstance(paragraph, dict) or not isinstance(paragraph.get("context"), str):
            raise WorkbenchError(f"{where} has a paragraph without the text 'context'")
    if not joined:
        for number, paragraph in enumerate(paragraphs, 1):
            yield f"{slug}-{number}", paragraph["context"], [(0, paragraph)]
        return
    parts, offset = [], 0
    for paragraph in paragraphs:
        parts.append((offset, paragraph))
        offset += len(paragraph["context"]) + 2
    yield slug, "\n\n".join(paragraph["context"] for paragraph in paragraphs), parts


def _slug(title: str, number: int, taken: set[str]) -> str:
    """Return a name for an article that no earlier one has: its title in lower case with hyphens, else article-NUMBER."""
    base = re.sub(r"[^\w.]+", "-", title.lower()).strip("-") or f"article-{number}"
    slug = base if base not in taken else f"{base}-article-{number}"
    taken.add(slug)
    return slug


def _add_squad_question(collector: Collector, aligned: Alignment, document: str, offset: int, qa: Any, where: str) -> None:
    if not isinstance(qa, dict) or not isinstance(qa.get("question"), str):
        raise WorkbenchError(f"{where} has a question without the text 'question'")
    name = collector.claim("question", qa.get("id"), where)
    answers = qa.get("answers") or []
    impossible = bool(qa.get("is_impossible"))
    problem = None
    spans: list[Span] = []
    try:
        if document not in collector.documents:
            raise UnresolvedEvidence(f"stands in document {document!r}, which is empty")
        for answer in _list(qa, "answers", where) if answers else []:
            text, start = (answer.get("text"), answer.get("answer_start")) if isinstance(answer, dict) else (None, None)
            if not isinstance(text, str) or type(start) is not int or start < 0:
                raise UnresolvedEvidence(f"has an answer without text and answer_start: {answer!r:.60}")
            spans.append(span_of(aligned, document, offset + start, offset + start + len(text), text))
    except UnresolvedEvidence as error:
        problem = error.args[0]
    if problem is None and impossible and spans:
        problem = "is marked impossible but has answers"
    if problem is None and not impossible and not spans:
        raise WorkbenchError(f"{where}: question {name!r} has neither answer nor an is_impossible mark; give it one of them")
    if problem is not None:
        collector.losses.append(f"{where}: question {name!r} {problem}; dropped")
        return
    home = collector.documents[document].metadata
    metadata = {key: home[key] for key in ("title", "document_id", "group") if key in home}
    texts = tuple(dict.fromkeys(clean(answer["text"]) for answer in answers))
    evidence = (tuple(dict.fromkeys(spans)),) if spans else ()
    collector.examples[name] = Example(name, clean(qa["question"]), texts, evidence, metadata)


def _list(record: Any, key: str, where: str) -> list[Any]:
    value = record.get(key) if isinstance(record, dict) else None
    if not isinstance(value, list):
        raise WorkbenchError(f"{where} is not SQuAD JSON: no list {key!r}")
    return value


def read_beir(argument: str, *, name: str, split: str | None = None) -> Dataset:
    """Read corpus.jsonl, queries.jsonl and one qrels/*.tsv; each relevant document is one evidence unit, whole.

    `split` names the file in qrels (train, dev, test) where there are several. Scores above 0 are relevant and, unless all are 1,
    become gains. Queries without a judgement are left out.
    """
    folder = Path(argument)
    collector = Collector()
    for where, record in collector.read_lines(folder / "corpus.jsonl"):
        metadata = collector.mapping(record.get("metadata"), where)
        collector.add_document(record.get("_id"), record.get("text"), where, record.get("title"), metadata)
    judgements = _read_qrels(_qrels_file(folder / "qrels", split), collector)
    graded = any(score not in (0, 1) for scores in judgements.values() for score in scores.values() if score > 0)
    unjudged = 0
    for where, record in collector.read_lines(folder / "queries.jsonl"):
        query = collector.claim("question", record.get("_id"), where)
        scores = judgements.pop(query, None)
        if scores is None:
            unjudged += 1
            continue
        missing = [document for document, score in scores.items() if score > 0 and document not in collector.documents]
        collector.losses.extend(f"judged document {document!r} of query {query!r} is not in the corpus" for document in missing)
        relevant = {document: score for document, score in scores.items() if score > 0 and document in collector.documents}
        if not relevant:
            collector.losses.append(f"{where}: query {query!r} has no relevant document; dropped")
            continue
        if not clean(record.get("text")):
            raise WorkbenchError(f"{where}: query {query!r} has no text")
        evidence = tuple((Span(document, 0, len(collector.documents[document].text)),) for document in relevant)
        gains = tuple(relevant.values()) if graded else ()
        metadata = collector.metadata(collector.mapping(record.get("metadata"), where))
        collector.examples[query] = Example(query, clean(record["text"]), (), evidence, metadata, gains)
    collector.losses.extend(f"judged query {query!r} is not in queries.jsonl" for query in judgements)
    if unjudged:
        collector.notes.append(f"{unjudged} queries without a judgement were left out")
    return collector.dataset(name, document_gold=True, embed_title=True)


def _qrels_file(folder: Path, split: str | None) -> Path:
    files = {path.stem: path for path in sorted(folder.glob("*.tsv"))}
    if not files:
        raise WorkbenchError(f"no judgements: {folder} holds no .tsv file")
    if split is not None and split not in files:
        raise registry.unknown("split", split, files)
    if split is None and len(files) > 1:
        raise WorkbenchError(f"{folder} holds several judgement files; choose one with the option split: {', '.join(files)}")
    return files[split] if split is not None else next(iter(files.values()))


def _read_qrels(path: Path, collector: Collector) -> dict[str, dict[str, float]]:
    """Return score by document by query of a tab-separated file: query id, document id, score."""
    judgements: dict[str, dict[str, float]] = {}
    for number, line in enumerate(collector.read(path).split("\n"), 1):
        cells = [clean(cell) for cell in line.split("\t")]
        if cells == [""]:
            continue
        if len(cells) != 3:
            raise WorkbenchError(f"{path}, line {number} must be query id, document id and score, separated by tabs; got {line[:60]!r}")
        if re.fullmatch(r"-?\d{1,9}(\.\d{1,9})?", cells[2]) is None:
            if number == 1:
                continue  # the header
            raise WorkbenchError(f"{path}, line {number}: the score must be a number, got {cells[2]!r}")
        scores = judgements.setdefault(cells[0], {})
        if scores.setdefault(cells[1], float(cells[2])) != float(cells[2]):
            raise WorkbenchError(f"{path}, line {number}: query {cells[0]!r} and document {cells[1]!r} have two different scores")
    return judgements
