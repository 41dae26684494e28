"""Compare indexes up to a million vectors: time to build, memory, milliseconds a query, recall@10 against exact search, growth.

The recipe of the vectors: real passages (chunks of --data, drawn by --seed) and its questions are embedded; each vector is
unit(passage + noise), each query unit(question + noise), of passages and questions drawn with replacement. The noise is Gaussian with the
covariance of the passages, so that it goes where texts differ, not evenly into all dimensions; its expected length is --noise for
vectors and --query-noise for queries (passages have length 1). How near neighbours lie is printed for the real vectors and the made ones.
Vectors are memory-mapped from a temporary file. All indexes are built first, then asked in turns, three times: medians of the three.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workbench import data
from workbench.cache import Cache, CachedEmbedder
from workbench.chunking import chunk_documents, create_chunker
from workbench.embedding import create_embedder
from workbench.evaluation import package_versions
from workbench.index import INDEXES, create_index
from workbench.storage import cache_file
from workbench.tokens import load_tokenizer

K = 10
TURNS = 3
BLOCK = 50_000
EXHAUSTIVE = ("exact", "flat")  # these are asked fewer questions one at a time
NEIGHBOURS_OF = 300  # vectors whose nearest neighbours are looked at
SHOWN = {"build_s": 1, "index_mb": 0, "private_mb": 0, "p50_ms": 2, "p95_ms": 2, "batch_ms": 3}  # figures with their digits
Timings = dict[str, list[tuple[float, float, float]]]  # index -> p50, p95, in batch: milliseconds a query, of each turn


def real_vectors(arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Embed passages and questions of a data set; what is embedded stays in the cache."""
    dataset = data.load(arguments.data)
    chunks = chunk_documents(create_chunker("recursive", load_tokenizer("simple"), 128, 0), dataset.documents)
    texts = list(dict.fromkeys(chunk.text for chunk in chunks))
    texts = [texts[row] for row in np.random.default_rng(arguments.seed).permutation(len(texts))[: arguments.passages]]
    questions = list(dict.fromkeys(example.question for example in dataset.examples))
    embedder = CachedEmbedder(create_embedder(arguments.embedder), Cache(cache_file()))
    return embedder.encode(texts, "passage"), embedder.encode(questions, "query")


def noise_shape(passages: np.ndarray) -> np.ndarray:
    """Return the matrix (dimension, dimension) that gives Gaussian noise the covariance of the passages and an expected length of 1."""
    values, directions = np.linalg.eigh(np.cov(passages.T))
    values = np.clip(values, 0, None)
    return (directions * np.sqrt(values / values.sum())).T.astype(np.float32)


def fill(vectors: np.ndarray, real: np.ndarray, shape: np.ndarray, noise: float, seed: Sequence[int]) -> None:
    """Write unit(real + noise) into every row, block by block."""
    random = np.random.default_rng(seed)
    for at in range(0, len(vectors), BLOCK):
        size = min(BLOCK, len(vectors) - at)
        drawn = random.standard_normal((size, real.shape[1]), dtype=np.float32) @ shape * np.float32(noise)
        drawn += real[random.integers(len(real), size=size)]
        vectors[at : at + size] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def nearness(asked: np.ndarray, vectors: np.ndarray, among_themselves: bool) -> str:
    """Describe the cosines of the first and the tenth neighbour: 5th percentile, median, 95th percentile."""
    index = create_index("exact", vectors, range(len(vectors)))
    scores = np.stack([found[1] for found in index.search(asked[:NEIGHBOURS_OF], K + among_themselves)])[:, int(among_themselves) :]
    return "  ".join(
        f"{rank:>2}. " + " ".join(f"{cosine:.2f}" for cosine in np.quantile(scores[:, rank - 1], [0.05, 0.5, 0.95])) for rank in (1, K)
    )


def private_megabytes() -> float:
    """Return the memory of this process that belongs to no file, NaN where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return math.nan
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:")), math.nan)


def ask(index: Any, queries: np.ndarray, alone: int) -> tuple[float, float, float]:
    """Return p50 and p95 of milliseconds a query asked alone, and milliseconds a query in one batch of all."""
    seconds = []
    for row in range(alone):
        started = time.perf_counter()
        index.search(queries[row : row + 1], K)
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    index.search(queries, K)
    batch = (time.perf_counter() - started) / len(queries)
    return 1000 * float(np.median(seconds)), 1000 * float(np.quantile(seconds, 0.95)), 1000 * batch


def measure(vectors: np.ndarray, queries: np.ndarray, kinds: Sequence[str], arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Build the indexes, ask them in turns, and print a line for each."""
    slow, options = arguments.slow_queries, json.loads(arguments.options)
    names = range(len(vectors))
    exact = create_index("exact", vectors, names).search(queries, K)
    built: dict[str, Any] = {}
    facts: dict[str, dict[str, float]] = {}
    for kind in kinds:
        before, started = private_megabytes(), time.perf_counter()
        built[kind] = create_index(kind, vectors, names, options.get(kind), arguments.keep)
        seconds = time.perf_counter() - started
        size = (built[kind].nbytes - vectors.nbytes) / 1e6
        facts[kind] = {"build_s": seconds, "index_mb": size, "private_mb": private_megabytes() - before}
        print(f"  {getattr(built[kind], 'origin', 'built')} {kind} in {seconds:.1f} s", flush=True)
    timings: Timings = {kind: [] for kind in kinds}
    for _ in range(TURNS):
        for kind in kinds:
            timings[kind].append(ask(built[kind], queries, min(slow, len(queries)) if kind in EXHAUSTIVE else len(queries)))
    columns = ("build s", "MB beside", "process MB", "p50 ms", "p95 ms", "batch ms", "x first")
    print(f"  {'index':<8}" + "".join(f"{name:>11}" for name in columns) + f"{'recall@10 [95 %]':>25}")
    for kind in kinds:
        p50, p95, batch = np.median(np.array(timings[kind]), axis=0).tolist()
        shares = [len(set(rows) & set(right)) / K for (rows, _), (right, _) in zip(built[kind].search(queries, K), exact, strict=True)]
        recall, half = float(np.mean(shares)), 1.96 * float(np.std(shares)) / len(shares) ** 0.5
        facts[kind] |= {"p50_ms": p50, "p95_ms": p95, "batch_ms": batch}
        cells = [f"{facts[kind][name]:>11.{digits}f}" for name, digits in SHOWN.items()]
        cells.append(f"{facts[kinds[0]]['p50_ms'] / p50:>11.1f}")
        print(f"  {kind:<8}{''.join(cells)}{recall:>9.4f} [{recall - half:.4f}, {min(recall + half, 1):.4f}]", flush=True)
    return facts


def main() -> None:
    """Print a table for each size, and how times grow with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000,1000000", help="numbers of vectors, ascending (1,000,000 takes 1.5 GB of disk)")
    parser.add_argument("--kinds", default="flat,ivf_sq,hnsw_sq,hnsw", help=f"indexes among {', '.join(INDEXES)}; ratios are to the first")
    parser.add_argument("--data", default="demo-en", help="data set of the real passages and questions, such as beir:FOLDER")
    parser.add_argument("--passages", type=int, default=3000, help="real passages at most")
    parser.add_argument("--embedder", default="st:sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--noise", type=float, default=0.7)
    parser.add_argument("--query-noise", type=float, default=0.35)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--slow-queries", type=int, default=50, help="asked one at a time of exact and flat")
    parser.add_argument("--options", default="{}", help='of the indexes, such as {"hnsw_sq": {"ef": 128}}')
    parser.add_argument("--keep", type=Path, help="folder for built indexes: the next run loads them, and tells the time of that")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sizes, kinds = [int(size) for size in arguments.sizes.split(",")], arguments.kinds.split(",")
    passages, questions = real_vectors(arguments)
    import faiss

    threads = f"{os.cpu_count()} cores, {faiss.omp_get_max_threads()} threads"
    print(f"{threads}; faiss {faiss.__version__} ({faiss.get_compile_options().strip()}), numpy {package_versions()['numpy']}")
    print(f"{arguments.data}: {len(passages)} passages, {len(questions)} questions, {arguments.embedder}; seed {arguments.seed}")
    shape = noise_shape(passages)
    queries = np.empty((arguments.queries, passages.shape[1]), np.float32)
    fill(queries, questions, shape, arguments.query_noise, [arguments.seed, 1])
    print("cosine to the nearest and to the 10th neighbour, each 5 %, 50 %, 95 %")
    print(f"  real passages, n {len(passages)}: {nearness(passages, passages, True)}")
    print(f"  real questions to them:   {nearness(questions, passages, False)}")
    facts = []
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            path = Path(folder) / f"{size}.npy"
            vectors = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(size, passages.shape[1]))
            fill(vectors, passages, shape, arguments.noise, [arguments.seed, 0])
            vectors.flush()
            vectors = np.load(path, mmap_mode="r", allow_pickle=False)
            print(f"{size:,} vectors ({vectors.nbytes / 1e6:.0f} MB), noise {arguments.noise}; {len(queries)} queries")
            print(f"  made vectors, n {min(size, len(passages))}: {nearness(vectors[: len(passages)], vectors[: len(passages)], True)}")
            print(f"  made vectors, all:    {nearness(vectors[:NEIGHBOURS_OF], vectors, True)}")
            print(f"  made queries to them: {nearness(queries, vectors, False)}", flush=True)
            facts.append(measure(vectors, queries, kinds, arguments))
            del vectors
            path.unlink()
    for name in ("build_s", "p50_ms", "batch_ms") if len(sizes) > 1 else ():
        for kind in kinds:
            times = [fact[kind][name] for fact in facts]
            if kind in EXHAUSTIVE and name == "build_s":
                continue  # a check of the vectors
            slopes = np.diff(np.log(times)) / np.diff(np.log(sizes))
            print(f"growth of {name} of {kind}: time ~ n^{', n^'.join(f'{slope:.2f}' for slope in slopes)} between the sizes")


if __name__ == "__main__":
    main()
