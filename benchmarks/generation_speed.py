"""Compare ways to answer the same prompts: transformers one by one, `hf:` in batches, `openvino:`; without shots and with four shared ones.

The prompts are what the workbench asks about the English demo: BM25, the best passages in so many tokens, questions drawn by seed. Every
timing is of a new process that has read nothing before; loading the model is timed apart and not part of it. One by one is `model.generate`
as a user writes it, in float32 (the default of transformers for these weights) and in bfloat16. Seconds are medians of alternating
repetitions; times faster, equal answers and F1 (paired intervals, clustered by document) are against the first way.

    python benchmarks/generation_speed.py --prompts 16 --repetitions 1
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
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np

from workbench import experiment
from workbench.datatypes import Conversation, Message
from workbench.embedding_st import native_dtype
from workbench.experiment_build import Models, build, resolve
from workbench.generation import create_generator
from workbench.metrics_answers import f1
from workbench.pipeline import retrieve_to_fill
from workbench.settings import Settings
from workbench.stats import difference_interval

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
SHOTS = (0, 4)
SEED = 0
Timed = tuple[float, float, float, list[str]]  # seconds to load, to answer, of all cores while answering; answers
WAYS = ("one by one float32", "one by one bfloat16", "hf", "openvino")


def prompts(count: int, shots: int, budget: int) -> list[dict[str, object]]:
    """Return conversations with their gold answers and the document group of each."""
    settings = Settings(
        dataset="demo-en",
        split="test",
        retriever="bm25",
        generator=f"hf:{MODEL}",
        answer_budget=budget,
        shot_count=shots,
        shot_budget=budget,
    )
    prepared = experiment.prepare(settings, cached=False)
    settings = resolve(settings, prepared)
    parts = build(settings, prepared, Models(None))
    asked = zip(prepared.dataset.examples, prepared.clusters, strict=True)
    answerable = [(example, cluster) for example, cluster in asked if example.answers]
    drawn = [answerable[row] for row in np.random.default_rng(SEED).permutation(len(answerable))[:count]]
    examples = [example for example, _ in drawn]
    made = parts.pipeline
    queries = parts.retriever.vectorise(examples)
    _, contexts = retrieve_to_fill(parts.retriever, examples, made.top_k, made.budget, made.tables, made.chunks, made.chunk_tokens, queries)
    contexts = [context.within(budget, made.tables) for context in contexts]
    return [
        {"conversation": asdict(item.conversation), "answers": example.answers, "cluster": cluster}
        for item, (example, cluster) in zip(made.augment(made.prompt, examples, contexts), drawn, strict=True)
    ]


def one_by_one(conversations: Sequence[Conversation], tokens: int, dtype: str) -> Timed:
    """Answer with transformers alone; return times and answers."""
    began = time.perf_counter()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from workbench import models

    path = models.resolve(MODEL).path
    model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype), local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    model.generate(**tokenizer("Hello", return_tensors="pt"), max_new_tokens=1)
    answers, loaded, busy = [], time.perf_counter(), time.process_time()
    for conversation in conversations:
        messages = [{"role": message.role, "content": message.content} for message in conversation.messages]
        inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        written = model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
        answers.append(tokenizer.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip())
    return loaded - began, time.perf_counter() - loaded, time.process_time() - busy, answers


def workbench(spec: str, conversations: Sequence[Conversation], tokens: int) -> Timed:
    """Answer with a generator of the workbench."""
    began = time.perf_counter()
    generator = create_generator(spec, {"max_new_tokens": tokens})
    generator.overflows(conversations[:1])
    generator.generate([Conversation((Message("user", "Hello"),))])  # loads the model
    loaded, busy = time.perf_counter(), time.process_time()
    completions = generator.generate(conversations)
    took, busy = time.perf_counter() - loaded, time.process_time() - busy
    if errors := [completion.error for completion in completions if completion.error]:
        raise SystemExit(errors[0])
    return loaded - began, took, busy, [completion.text for completion in completions]


def answer(way: str, file: Path) -> None:
    """Answer the prompts in a file in one way and print the result."""
    given = json.loads(file.read_text(encoding="utf-8"))
    conversations = [
        Conversation(tuple(Message(**message) for message in item["conversation"]["messages"]), shared=item["conversation"]["shared"])
        for item in given["prompts"]
    ]
    ways: dict[str, Callable[[], Timed]] = {
        "one by one float32": lambda: one_by_one(conversations, given["tokens"], "float32"),
        "one by one bfloat16": lambda: one_by_one(conversations, given["tokens"], "bfloat16"),
        "hf": lambda: workbench(f"hf:{MODEL}", conversations, given["tokens"]),
        "openvino": lambda: workbench(f"openvino:{MODEL}", conversations, given["tokens"]),
    }
    print(json.dumps(ways[way]()))


def compare(count: int, shots: int, tokens: int, budget: int, repetitions: int, ways: Sequence[str]) -> None:
    """Answer the same prompts in all ways, in turns; print a table."""
    asked = prompts(count, shots, budget)
    counter = create_generator(f"hf:{MODEL}")
    conversations = [Conversation(tuple(Message(**message) for message in item["conversation"]["messages"])) for item in asked]
    sizes = [counter.size(conversation).total for conversation in conversations]
    print(f"\n{len(asked)} prompts of {min(sizes)} to {max(sizes)} tokens (mean {statistics.mean(sizes):.0f}), {shots} shared shots")
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    loading: dict[str, list[float]] = {way: [] for way in ways}
    computing: dict[str, list[float]] = {way: [] for way in ways}
    answers: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prompts.json"
        file.write_text(json.dumps({"prompts": asked, "tokens": tokens}), encoding="utf-8")
        for _ in range(repetitions):
            for way in ways:
                command = [sys.executable, __file__, "--way", way, "--file", str(file)]
                done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
                if done.returncode:
                    raise SystemExit(done.stdout + done.stderr)
                load, took, busy, answers[way] = json.loads(done.stdout.splitlines()[-1])
                loading[way].append(load)
                computing[way].append(busy)
                seconds[way].append(took)
    scores = {way: [f1(text, item["answers"], "en") for text, item in zip(answers[way], asked, strict=True)] for way in ways}
    clusters = [item["cluster"] for item in asked]
    first = ways[0]
    slowest = statistics.median(seconds[first])
    print(f"{'way':<22}{'load s':>8}{'answer s':>10}{'core s':>8}{'times':>8}{'equal':>8}{'F1':>8}   F1 difference (95 % interval)")
    for way in ways:
        took = statistics.median(seconds[way])
        equal = statistics.mean(one == other for one, other in zip(answers[way], answers[first], strict=True))
        line = f"{way:<22}{statistics.median(loading[way]):>8.1f}{took:>10.1f}{statistics.median(computing[way]):>8.1f}"
        line += f"{slowest / took:>8.2f}{equal:>8.2f}{statistics.mean(scores[way]):>8.3f}"
        if way != first:
            found = difference_interval(scores[way], scores[first], clusters)
            line += f"   {found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f}; {found.clusters} clusters)"
        print(line, flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=24, help="new tokens at most")
    parser.add_argument("--budget", type=int, default=160, help="tokens of context, of a shot too; 160 make prompts of about 280 tokens")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="the first is what others are compared with")
    parser.add_argument("--shots", type=int, nargs="+", default=SHOTS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        answer(arguments.way, arguments.file)
        return
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "openvino", "openvino-genai"))
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    print(f"{platform.machine()}, {os.cpu_count()} cores, OMP_NUM_THREADS {threads}, native arithmetic {native_dtype()}; {packages}")
    print(f"{MODEL}, at most {arguments.tokens} new tokens, {arguments.repetitions} repetitions; all prompts are new to each process")
    create_generator(f"openvino:{MODEL}", {"max_new_tokens": 1}).generate([Conversation((Message("user", "Hello"),))])  # writes the graph
    for shots in arguments.shots:
        compare(arguments.prompts, shots, arguments.tokens, arguments.budget, arguments.repetitions, arguments.ways)


if __name__ == "__main__":
    main()
