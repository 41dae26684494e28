"""Compare float32 with this processor's native arithmetic: texts per second and the smallest cosine between the two.

Both run on the same chunks of the packaged demo documents, in turns within one run, after a warm-up that loads the model. Where the
processor has no native bfloat16, native is float32 and the ratio is near 1. Needs the two packaged models: workbench models pull NAME.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from workbench import data
from workbench.chunking import chunk_documents, create_chunker
from workbench.embedding import create_embedder
from workbench.embedding_st import native_dtype
from workbench.tokens import load_tokenizer

MODELS = {"demo-ko": "intfloat/multilingual-e5-small", "demo-en": "sentence-transformers/all-MiniLM-L6-v2"}
TURNS = 4


def chunk_texts(dataset: str, chunk_size: int, texts: int, seed: int) -> list[str]:
    """Draw texts from the chunks of a demo corpus; all of them when it has no more."""
    chunker = create_chunker("recursive", load_tokenizer("simple"), chunk_size, 0)
    chunks = [chunk.text for chunk in chunk_documents(chunker, data.load(dataset).documents)]
    return [chunks[row] for row in np.random.default_rng(seed).permutation(len(chunks))[:texts]]


def compare(dataset: str, texts: list[str]) -> str:
    """Encode the texts in both ways; return one line of the table."""
    embedders = {dtype: create_embedder(f"st:{MODELS[dataset]}", {"dtype": dtype}) for dtype in ("float32", "auto")}
    seconds = dict.fromkeys(embedders, 0.0)
    vectors: dict[str, list[np.ndarray]] = {dtype: [] for dtype in embedders}
    for embedder in embedders.values():
        embedder.encode(texts[:8], "passage")
    for turn in range(TURNS):
        for dtype, embedder in embedders.items():
            started = time.perf_counter()
            vectors[dtype].append(embedder.encode(texts[turn::TURNS], "passage"))
            seconds[dtype] += time.perf_counter() - started
    exact, native = (np.concatenate(vectors[dtype]) for dtype in embedders)
    rates = [len(texts) / seconds[dtype] for dtype in embedders]
    cosine = (exact * native).sum(axis=1).min()
    return f"{MODELS[dataset]:<40}{dataset:<9}{len(texts):>6}{rates[0]:>10.1f}{rates[1]:>10.1f}{rates[1] / rates[0]:>7.2f}{cosine:>12.6f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=200, help="chunks to encode per model")
    parser.add_argument("--chunk-size", type=int, default=128, help="tokens of the simple tokenizer per chunk")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"native arithmetic here: {native_dtype()}; texts per second, seed {arguments.seed}, chunk size {arguments.chunk_size}")
    print(f"{'model':<40}{'data':<9}{'texts':>6}{'float32':>10}{'native':>10}{'ratio':>7}{'min cosine':>12}")
    for dataset in MODELS:
        print(compare(dataset, chunk_texts(dataset, arguments.chunk_size, arguments.texts, arguments.seed)), flush=True)


if __name__ == "__main__":
    main()
