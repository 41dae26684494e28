"""Chunk a corpus and build BM25 over it, each in a process of its own; print peak memory, time of each stage and MB a second.

The text is made of real text, all .txt, .md and .html files below --folder (default: the packaged demo documents of the language): every
sentence made is one of theirs with its words drawn anew from a sentence of the same length and --fresh of its words replaced by words that
did not exist (two real words joined), so the vocabulary grows with the corpus as that of real text does; it is printed. Documents are made
one by one and kept, as a data set keeps them; chunks are made and tokenised document by document (`--chunks kept` keeps all chunks, as a
retriever does). MB are millions of bytes of UTF-8. Shapes: many (2 kB each) and few (10 MB each) documents.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

TOKENISERS = {"en": "english", "ko": "hangul-bigram"}
SHAPES = {"many": 2_000, "few": 10_000_000}  # bytes of a document
QUESTIONS = 100


def real_sentences(folder: Path | None, language: str) -> list[list[str]]:
    """Return the sentences of the files as words."""
    from workbench import data
    from workbench.text import normalise, sentences

    if folder is None:
        texts = [document.text for document in data.load(f"demo-{language}").documents]
    else:
        files = sorted(file for file in folder.rglob("*") if file.suffix in (".txt", ".md", ".html"))
        texts = [normalise(file.read_text(encoding="utf-8", errors="replace"))[0] for file in files]
    found = [text[start:end].split() for text in texts for start, end in sentences(text)]
    return [words for words in found if len(words) > 1]


def made_texts(sentences: list[list[str]], total: int, size: int, fresh: float, seed: int) -> Iterator[str]:
    """Give texts of about `size` bytes each, `total` bytes in all."""
    draw = random.Random(seed)
    words = [word for sentence in sentences for word in sentence]
    made = 0
    while made < total:
        lines, length = [], 0
        while length < min(size, total - made):
            kept = list(draw.choice(sentences))
            for place in range(len(kept)):
                if draw.random() < 0.5:
                    kept[place] = draw.choice(words)
                if draw.random() < fresh:
                    kept[place] = draw.choice(words).strip(".,") + draw.choice(words)
            line = " ".join(kept)
            lines.append(line + ("\n\n" if draw.random() < 0.2 else " "))
            length += len(line.encode()) + 1
        made += length
        yield "".join(lines)


def peak() -> float:
    """Return the highest resident size of this process so far in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def measured(arguments: argparse.Namespace) -> dict[str, float]:
    """Run the stages in this process; return seconds and MB."""
    from workbench.chunking import chunk_documents, create_chunker
    from workbench.datatypes import Chunk, Document
    from workbench.index_bm25 import Bm25Index
    from workbench.text import TOKENISERS as CUT
    from workbench.tokens import load_tokenizer, token_tables

    language, shape = arguments.child
    tokenise = CUT[TOKENISERS[language]]
    sentences = real_sentences(arguments.folder, language)
    found: dict[str, float] = {"start MB": peak()}
    seconds = dict.fromkeys(("make text", "token tables", "chunk", "tokenise", "index"), 0.0)

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds[stage] += time.perf_counter() - started

    with timed("make text"):
        texts = made_texts(sentences, int(arguments.megabytes * 1e6), SHAPES[shape], arguments.fresh, arguments.seed)
        documents = [Document(f"d{number}", text) for number, text in enumerate(texts)]
    found |= {"documents": len(documents), "MB": sum(len(document.text.encode()) for document in documents) / 1e6, "with text MB": peak()}
    tokenizer = load_tokenizer("simple")
    if arguments.tables:
        with timed("token tables"):
            tables = token_tables(documents, tokenizer)
        found |= {"table MB": sum(part.nbytes for table in tables.values() for part in vars(table).values()) / 1e6}
    chunker = create_chunker(arguments.chunker, tokenizer, arguments.chunk_size, arguments.chunk_overlap)
    rows = 0

    def pieces() -> Iterator[Chunk]:
        if arguments.chunks == "kept":
            with timed("chunk"):
                chunks = chunk_documents(chunker, documents)
            found["with chunks MB"] = peak()
            yield from chunks
            return
        for document in documents:
            with timed("chunk"):
                chunks = chunker.chunk(document)
            yield from chunks

    def tokens() -> Iterator[list[str]]:
        nonlocal rows
        for chunk in pieces():
            rows += 1
            with timed("tokenise"):
                cut = tokenise(chunk.text)
            yield cut

    with timed("index"):  # and all that it asks for
        index = Bm25Index(tokens())
    whole = seconds["index"] + seconds["token tables"]
    seconds["index"] -= seconds["chunk"] + seconds["tokenise"]
    found |= {f"{name} s": value for name, value in seconds.items()}
    found |= {"MB/s": found["MB"] / whole, "chunks": rows, "vocabulary": len(index.vocabulary)}
    found |= {"postings": len(index.rows), "index MB": index.nbytes / 1e6, "peak MB": peak()}
    draw = random.Random(arguments.seed + 1)
    questions = [tokenise(" ".join(draw.choice(sentences)[:12])) for _ in range(QUESTIONS)]
    started = time.perf_counter()
    index.search(questions, 10)
    return found | {"ms a query": 1e3 * (time.perf_counter() - started) / QUESTIONS, "peak with search MB": peak()}


def main() -> None:
    """Print one table: a row for each figure, a column for each language and shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--folder", type=Path, help="real text to start from")
    parser.add_argument("--languages", nargs="+", choices=sorted(TOKENISERS), default=sorted(TOKENISERS))
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--chunker", default="sentence")
    parser.add_argument("--chunk-size", type=int, default=256, help="tokens of the simple tokenizer")
    parser.add_argument("--chunk-overlap", type=int, default=0)
    parser.add_argument("--chunks", choices=("kept", "streamed"), default="kept")
    parser.add_argument("--tables", action="store_true", help="hold the token tables of all documents too, as an experiment does")
    parser.add_argument("--fresh", type=float, default=0.01, help="share of the words that are new")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="5 MB")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measured(arguments)))
        return
    given = sys.argv[1:] + ["--megabytes", "5"] * arguments.quick
    columns = {}
    for language in arguments.languages:
        for shape in arguments.shapes:
            command = [sys.executable, __file__, *given, "--child", language, shape]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            columns[f"{language} {shape}"] = json.loads(done.stdout)
            print(f"{language} {shape} done", file=sys.stderr, flush=True)
    print(
        f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, numpy {version('numpy')}; {arguments.chunker} chunks {arguments.chunks}"
    )
    print(f"{'':<22}" + "".join(f"{name:>14}" for name in columns))
    for name in next(iter(columns.values())):
        cells = [column[name] for column in columns.values()]
        print(f"{name:<22}" + "".join(f"{cell:>14,.1f}" if isinstance(cell, float) else f"{cell:>14,}" for cell in cells))


if __name__ == "__main__":
    main()
