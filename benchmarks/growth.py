"""Measure how the time of each stage grows with the chunks and with the questions, and state the slopes (log-log; 1 is linear).

A first table runs 100 questions over more and more chunks of about 64 tokens, a second one more and more questions over 10,000 chunks.
The text is that of corpus_scale.py (seeded shuffles of the packaged English demo documents), in documents of about ten chunks; where a
stage says "one document", all is one. Questions are sentences of the corpus; their evidence is the sentence. Vectors are random unit
vectors of 128 numbers, so that no model is measured. Seconds are of the processor, the median of --repeats; slopes are those
between neighbouring sizes: a stage that is linear stands near 1 or, where something costs the same at every size, below.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from corpus_scale import made_texts, real_sentences

from workbench import stats
from workbench.audit import audit
from workbench.audit_checks import Evidence
from workbench.chunking import chunk_documents, create_chunker
from workbench.datatypes import Dataset, Document, Example, Hit, Span
from workbench.diagnosis import diagnose
from workbench.evaluation import score
from workbench.index import ExactIndex
from workbench.index_bm25 import Bm25Index
from workbench.packing import Context, pack
from workbench.retrieval import to_hits
from workbench.settings import Settings
from workbench.text import english_words, sentences
from workbench.tokens import load_tokenizer, token_tables

CHUNK_SIZE, CHUNK_BYTES, DOCUMENT_BYTES, DIMENSION, BUDGET = 64, 330, 3_300, 128, 2_000
SETTINGS = Settings(
    dataset="demo-en",
    retriever="bm25:english",
    embedder="none",
    index="none",
    chunk_size=CHUNK_SIZE,
    primary="ndcg@10",
    budgets=(512, 2000),
)
REAL = real_sentences(None, "en")


@dataclass
class Corpus:
    """Hold documents and questions about them, and what the stages made so far."""

    documents: list[Document]
    examples: tuple[Example, ...]

    def stages(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Give the stages in order; each may be run several times."""
        tokenizer = load_tokenizer("simple")
        chunker = create_chunker("sentence", tokenizer, CHUNK_SIZE, 0)
        fixed = create_chunker("fixed", tokenizer, CHUNK_SIZE, CHUNK_SIZE // 4)
        recursive = create_chunker("recursive", tokenizer, CHUNK_SIZE, 0)
        whole = [Document("all", "\n".join(document.text for document in self.documents))]
        yield "chunk: sentence", lambda: chunk_documents(chunker, self.documents)
        yield "chunk: sentence, one document", lambda: chunk_documents(chunker, whole)
        yield "chunk: fixed, one document", lambda: chunk_documents(fixed, whole)
        yield "chunk: recursive, one document", lambda: chunk_documents(recursive, whole)
        chunks = chunk_documents(chunker, self.documents)
        yield "token tables", lambda: token_tables(self.documents, tokenizer)
        tables = token_tables(self.documents, tokenizer)
        rows = [english_words(chunk.text) for chunk in chunks]
        queries = [english_words(example.question) for example in self.examples]
        yield "bm25: tokens", lambda: [english_words(chunk.text) for chunk in chunks]
        yield "bm25: build", lambda: Bm25Index(rows)
        bm25 = Bm25Index(rows)
        yield "bm25: search", lambda: bm25.search(queries, 50)
        draw = np.random.default_rng(0)
        vectors = unit(draw.normal(size=(len(chunks), DIMENSION)))
        asked = unit(draw.normal(size=(len(self.examples), DIMENSION)))
        names = [chunk.id for chunk in chunks]
        yield "vectors: build (exact)", lambda: ExactIndex(vectors, names)
        exact = ExactIndex(vectors, names)
        yield "vectors: search (exact)", lambda: exact.search(asked, 50)
        found = to_hits(chunks, bm25.search(queries, 50))
        yield "pack", lambda: [pack(hits, BUDGET, tables) for hits in found]
        contexts = [pack(hits, BUDGET, tables) for hits in found]
        dataset = Dataset("made up", tuple(self.documents), self.examples)
        yield "metrics", lambda: score(dataset, found, contexts, SETTINGS, tables)
        values = score(dataset, found, contexts, SETTINGS, tables)
        clusters = [example.evidence[0][0].document_id for example in self.examples]
        texts = [chunk.text for chunk in chunks]
        yield "audit", lambda: audit(Evidence(SETTINGS, dataset, chunks, texts, found, values, clusters, tables))
        both: dict[int, tuple[list[Hit], Context]] = dict(enumerate(zip(found, contexts, strict=True)))
        yield "diagnosis", lambda: diagnose(SETTINGS, dataset, chunks, tables, both, {}, values, "en")
        yield "intervals", lambda: [stats.mean_interval(column, clusters) for column in values.values()]


def corpus(chunks: int, questions: int, seed: int = 0) -> Corpus:
    """Make documents of about so many chunks, and questions that repeat some words of a sentence of theirs."""
    documents = [
        Document(f"d{number}", text) for number, text in enumerate(made_texts(REAL, chunks * CHUNK_BYTES, DOCUMENT_BYTES, 0.01, seed))
    ]
    draw = random.Random(seed)
    examples = []
    for number in range(questions):
        document = draw.choice(documents)
        start, end = draw.choice(sentences(document.text))
        words = document.text[start:end].split()
        question = " ".join(draw.sample(words, min(8, len(words))))
        examples.append(Example(f"q{number}", question, evidence=((Span(document.id, start, end),),)))
    return Corpus(documents, tuple(examples))


def unit(rows: np.ndarray) -> np.ndarray:
    """Return rows of length 1, float32."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def timed(run: Callable[[], object], repeats: int) -> float:
    """Return the median of the processor seconds of some runs."""
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        run()
        seconds.append(time.process_time() - started)
    return statistics.median(seconds)


def table(kind: str, sizes: list[int], made: Callable[[int], Corpus], only: str, repeats: int) -> None:
    """Print seconds by stage and size, and the slope of each stage."""
    seconds: dict[str, list[float]] = {}
    for size in sizes:
        for name, run in made(size).stages():
            if only in name:
                seconds.setdefault(name, []).append(timed(run, repeats))
                print(f"{size:,} {kind}, {name}: {seconds[name][-1]:.3f} s", file=sys.stderr, flush=True)
    print(f"{'':<32}" + "".join(f"{f'{size:,} {kind}':>18}" for size in sizes) + f"{'slopes':>16}")
    for name, values in seconds.items():
        pairs = itertools.pairwise(zip(sizes, values, strict=True))
        slopes = [math.log(max(late, 1e-6) / max(early, 1e-6)) / math.log(large / small) for (small, early), (large, late) in pairs]
        print(f"{name:<32}" + "".join(f"{value:>16.3f} s" for value in values) + "".join(f"{slope:>8.2f}" for slope in slopes))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--questions", type=int, nargs="+", default=[10, 100, 1_000])
    parser.add_argument("--stage", default="", help="only stages with this in their name")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of the chunks, one repetition")
    arguments = parser.parse_args()
    shrink = 10 if arguments.quick else 1
    repeats = 1 if arguments.quick else arguments.repeats
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, numpy {version('numpy')}; processor seconds, median of {repeats}")
    table("chunks", [size // shrink for size in arguments.chunks], lambda size: corpus(size, 100), arguments.stage, repeats)
    table("questions", arguments.questions, lambda size: corpus(10_000 // shrink, size), arguments.stage, repeats)


if __name__ == "__main__":
    main()
