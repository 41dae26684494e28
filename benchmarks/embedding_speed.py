"""Compare ways to embed: texts a second in turns within one run, nDCG@10 on the same questions, seconds until a first vector.

english: MiniLM on abstracts of scifact (those that answer a training claim, others drawn). korean: multilingual-e5-small on the answers of
two Korean FAQs. Both are read from the folder --data, which is not part of the project. `encode` is SentenceTransformer.encode with its
defaults, and all ratios and differences are to that; st, openvino and onnx are this project's. Differences have 95 % intervals, paired by
question and clustered by the texts that answer. `first` is the first use ever, conversion and calibration included, `load` a new process;
both end with the first vector, and count imports.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/embedding_speed.py --data FOLDER --task english
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from workbench import data, embedding_st, metrics, models, stats
from workbench.embedding import create_embedder

MODELS = {"english": "sentence-transformers/all-MiniLM-L6-v2", "korean": "intfloat/multilingual-e5-small"}
ONNX = "BAAI/bge-small-en-v1.5"  # another model with twice the layers: no graph of the others is packaged
BASELINE = "encode"
WAYS = {
    "st float32": ("st", {"dtype": "float32"}),
    "st auto": ("st", {}),
    "openvino float32": ("openvino", {"precision": "float32"}),
    "openvino bfloat16": ("openvino", {"precision": "bfloat16"}),
    "openvino int8": ("openvino", {"precision": "int8"}),
}
FIRST_VECTOR = """
import json, sys, time
began = time.perf_counter()
from workbench.embedding import create_embedder
create_embedder(sys.argv[1], json.loads(sys.argv[2])).encode(["x"], "query")
print(time.perf_counter() - began)
"""


@dataclass(frozen=True)
class Task:
    """Hold texts, questions, the rows of the texts that answer each question, and what joins questions into clusters."""

    texts: list[str]
    questions: list[str]
    answers: list[list[int]]
    clusters: list[str]


def english(folder: Path, texts: int) -> Task:
    """Take the abstracts that answer a claim and draw others, up to so many texts."""
    dataset = data.load(f"beir:{folder / 'scifact'}", split="train")
    cluster = data.clusters(dataset)
    gold = {example.id: sorted({span.document_id for unit in example.evidence for span in unit}) for example in dataset.examples}
    wanted = dict.fromkeys(name for names in gold.values() for name in names)
    others = [document.id for document in dataset.documents if document.id not in wanted]
    drawn = np.random.default_rng(0).permutation(len(others)).tolist()
    kept = set([*wanted, *(others[row] for row in drawn)][:texts])
    documents = [document for document in dataset.documents if document.id in kept]
    row = {document.id: number for number, document in enumerate(documents)}
    examples = [example for example in dataset.examples if kept.issuperset(gold[example.id])]
    return Task(
        [f"{document.title} {document.text}" for document in documents],
        [example.question for example in examples],
        [[row[name] for name in gold[example.id]] for example in examples],
        [cluster[example.id] for example in examples],
    )


def korean(folder: Path, texts: int) -> Task:
    """Take the translated questions and answers."""
    files = {"python-docs-ko-faq/python-faq.en-ko.jsonl": "ko_complete", "debian-faq/faq.en-ko.jsonl": "ko_translated"}
    rows = [(row, flag) for file, flag in files.items() for row in map(json.loads, (folder / file).read_text("utf-8").splitlines())]
    pairs = [(row["question_ko"], row["answer_ko"]) for row, flag in rows if row[flag] and row.get("is_question", True)][:texts]
    numbers = range(len(pairs))
    return Task([answer for _, answer in pairs], [question for question, _ in pairs], [[n] for n in numbers], [str(n) for n in numbers])


def ways(model: str) -> Iterator[tuple[str, str, dict[str, str], Callable[[Sequence[str], str], np.ndarray]]]:
    """Give name, spec, options and function of each way to embed, each loaded."""
    baseline = create_embedder(f"st:{model}", {"dtype": "float32"})
    loaded = embedding_st.load(baseline.model, "float32")
    loaded.encode(["x"])
    yield BASELINE, "", {}, lambda texts, role: loaded.encode([baseline.prefixes[role] + text for text in texts])
    found = {name: (f"{part}:{model}", options) for name, (part, options) in WAYS.items()}
    if model == MODELS["english"] and models.stored(ONNX):
        found["onnx int8 (bge-small)"] = (f"onnx:{ONNX}", {})
    if embedding_st.native_dtype() != "bfloat16":
        del found["openvino bfloat16"]
    for name, (spec, options) in found.items():
        embedder = create_embedder(spec, options)
        embedder.encode(["x"], "query")
        yield name, spec, options, embedder.encode


def ndcg(task: Task, questions: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Return nDCG@10 of each question by exact search."""
    found = []
    norms = np.linalg.norm(texts, axis=1)
    for vector, answers in zip(questions, task.answers, strict=True):
        rank = {row: place for place, row in enumerate(np.argsort(-(texts @ vector) / norms, kind="stable")[:10].tolist(), start=1)}
        gains = [1.0] * len(answers)
        found.append(metrics.ndcg(metrics.positions([rank.get(row) for row in answers], gains), gains, 10))
    return np.array(found)


def first_vector(spec: str, options: dict[str, str], store: Path) -> float:
    """Return the seconds that a new process takes to its first vector."""
    command = [sys.executable, "-c", FIRST_VECTOR, spec, json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"WORKBENCH_MODELS": str(store)})
    return float(done.stdout.split()[-1])


def cold(name: str, options: dict[str, str], spec: str) -> tuple[float, float]:
    """Return the seconds of the first use in a store that holds nothing but the model, and of the next."""
    with tempfile.TemporaryDirectory() as folder:
        model = models.resolve(name).path
        (Path(folder) / model.name).symlink_to(model, target_is_directory=True)
        return first_vector(spec, options, Path(folder)), first_vector(spec, options, Path(folder))


def compare(task: Task, model: str, repetitions: int, starts: bool) -> None:
    """Print one line for each way."""
    loaded = list(ways(model))
    seconds: dict[str, list[float]] = {name: [] for name, *_ in loaded}
    vectors: dict[str, np.ndarray] = {}
    for turn in range(repetitions):
        for name, _, _, encode in loaded[:: 1 if turn % 2 == 0 else -1]:
            began = time.perf_counter()
            vectors[name] = encode(task.texts, "passage")
            seconds[name].append(time.perf_counter() - began)
    scores = {name: ndcg(task, encode(task.questions, "query"), vectors[name]) for name, _, _, encode in loaded}
    rates = {name: len(task.texts) / statistics.median(spent) for name, spent in seconds.items()}
    print(f"{'way':<23}{'texts/s':>9}{'ratio':>7}{'ndcg@10':>9}{'share':>8}  difference, 95 %{'':<14}{'first s':>8}{'load s':>8}")
    for name, spec, options, _ in loaded:
        line = f"{name:<23}{rates[name]:>9.1f}{rates[name] / rates[BASELINE]:>7.2f}{scores[name].mean():>9.4f}"
        line += f"{scores[name].mean() / scores[BASELINE].mean():>8.1%}"
        if name != BASELINE:
            interval = stats.difference_interval(scores[name].tolist(), scores[BASELINE].tolist(), task.clusters)
            line += f"  {interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"
        if starts and spec:
            line += "  {:>8.1f}{:>8.1f}".format(*cold(spec.partition(":")[2], options, spec))
        print(line, flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with scifact, python-docs-ko-faq and debian-faq")
    parser.add_argument("--task", choices=(*MODELS, "both"), default="both")
    parser.add_argument("--texts", type=int, default=2000, help="most texts to embed")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--starts", action="store_true", help="measure first uses and loads, too: some minutes more")
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = ", ".join(f"{name} {version(name)}" for name in ("sentence-transformers", "torch", "openvino", "nncf", "onnxruntime"))
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    print(f"{cores} cores, {platform.machine()}, native {embedding_st.native_dtype()}, OMP_NUM_THREADS {threads}; {packages}")
    for name in MODELS if arguments.task == "both" else (arguments.task,):
        task = {"english": english, "korean": korean}[name](arguments.data, arguments.texts)
        embedder = create_embedder(f"st:{MODELS[name]}")
        lengths = np.minimum(embedder.lengths(task.texts, "passage"), embedder.model.max_length)
        characters = [len(text) for text in task.texts]
        print(
            f"\n{name}: {MODELS[name]}, {len(task.texts)} texts of {statistics.median(characters):.0f} characters (median), read", end=" "
        )
        print(f"{lengths.mean():.0f} tokens each (median {np.median(lengths):.0f}), {len(task.questions)} questions; median of", end=" ")
        print(f"{arguments.repetitions} turns")
        compare(task, MODELS[name], arguments.repetitions, arguments.starts)


if __name__ == "__main__":
    main()
