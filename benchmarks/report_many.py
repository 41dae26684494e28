"""Measure how long a report takes, and how much memory, for 100, 1,000 and 10,000 candidates: made-up results, one process each.

Each result has 100 questions in 20 document groups, a third of which confirm, and differs from the others on four axes of up to 10 values
(chunk size, top_k, an option of the retriever and one of the index). Steps: compare all candidates, decide, gather (both, as a sweep does
it), main effects, write report.html, report.md and report.json, write leaderboard.csv. Memory is the highest resident size of the process,
results included; what making the results took is told apart. In brackets stands the time for each candidate, as a multiple of that for the
smallest number: 1 is linear growth.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

QUESTIONS, GROUPS, VALUES = 100, 20, 10
BUDGETS = (128, 256, 512, 1024)
STEPS = ("compare", "decide", "gather", "effects", "write_report", "leaderboard.csv")


def made_results(candidates: int, seed: int = 0) -> list:
    """Return made-up results of one data set, their scores drawn; the settings run through four axes, the first axis fastest."""
    from workbench import metrics
    from workbench.evaluation import Check, RunResult, rank_cutoffs
    from workbench.settings import Settings

    draw = np.random.default_rng(seed)
    clusters = tuple(f"group-{number % GROUPS}" for number in range(QUESTIONS))
    ids = tuple(f"q{number}" for number in range(QUESTIONS))
    parts = tuple("confirmation" if number % GROUPS % 3 == 0 else "selection" for number in range(QUESTIONS))
    shared = draw.normal(0, 0.25, QUESTIONS) + draw.normal(0, 0.15, GROUPS)[np.arange(QUESTIONS) % GROUPS]
    effects = draw.normal(0, 0.02, (4, VALUES))
    data = {
        "name": "demo-en",
        "fingerprint": "0" * 64,
        "language": "en",
        "documents": 42,
        "groups": GROUPS,
        "questions": QUESTIONS,
        "scored": QUESTIONS,
        "unanswerable": 0,
        "losses": 0,
    }
    audit = (Check("oracle", "ok", "a perfect ranking reaches all evidence"), Check("bounded", "ok", "every score lies within 0 and 1"))
    results = []
    for number in range(candidates):
        places = [number // VALUES**axis % VALUES for axis in range(4)]
        level = 0.6 + effects[range(4), places].sum()
        noise = draw.normal(0, 0.15, QUESTIONS)
        settings = Settings(
            dataset="demo-en",
            retriever="hybrid:word",
            embedder="st:intfloat/multilingual-e5-small",
            index="exact",
            chunk_size=64 * (1 + places[0]),
            top_k=10 + places[1],
            primary="evidence_recall@512t",
            budgets=BUDGETS,
            options={"retriever": {"weight": round(0.1 * places[2], 1)}, "index": {"ef": 16 * (1 + places[3])}},
        )
        scores = {}
        for name in metrics.metric_names(rank_cutoffs(10), BUDGETS, document_gold=False):
            scores[name] = np.clip(level + 0.02 * (len(name) % 5) + shared + noise, 0, 1).round(4)
        causes = tuple("fine" if value >= 1 else "not_retrieved" for value in scores["evidence_recall@512t"])
        details = {"chunks": 64_000 // settings.chunk_size, "chunk_tokens_mean": 0.8 * settings.chunk_size, "index_bytes": 4000 * number}
        results.append(
            RunResult(settings, ids, clusters, scores, data, parts, details=details, causes=causes, audit=audit, timings={"total": 1.0})
        )
    return results


def measured(candidates: int, only: str) -> dict[str, float]:
    """Run the steps on so many candidates; seconds by step, MB, and the sizes of the files."""
    from workbench import report, report_files, report_parts, report_winner

    results = made_results(candidates)
    baseline = results[0].config_id
    found = {"results MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kept = {}
        for step, run in {
            "compare": lambda: report.compare(results, baseline=baseline),
            "decide": lambda: report_winner.decide(results, baseline=baseline),
            "gather": lambda: kept.setdefault("record", report_parts.gather(results, "made up", baseline={"demo-en": baseline})),
            "effects": lambda: [part.effects for part in kept["record"].parts],
            "write_report": lambda: report_files.write_report(folder, kept["record"]),
            "leaderboard.csv": lambda: report_files.write_leaderboard(folder / "leaderboard.csv", results),
        }.items():
            if only and step not in only.split(","):
                continue
            started = time.process_time()
            run()
            found[step] = time.process_time() - started
            found[f"{step} MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{candidates:,} candidates, {step}: {found[step]:.2f} s, {found[f'{step} MB']:.0f} MB", file=sys.stderr, flush=True)
        found |= {f"{path.name} MB": path.stat().st_size / 1e6 for path in sorted(folder.iterdir())}
    return found


def main() -> None:
    """Print a table of seconds of processor time, memory and sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--steps", default="", help="comma separated, of " + ", ".join(STEPS))
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measured(arguments.child, arguments.steps)))
        return
    tables = {}
    for number in arguments.candidates:
        command = [sys.executable, __file__, "--child", str(number), "--steps", arguments.steps]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        tables[number] = json.loads(done.stdout)
    first = tables[arguments.candidates[0]]
    print(f"{'':<20}" + "".join(f"{f'{number:,} candidates':>28}" for number in tables))
    for name, start in first.items():
        cells = [f"{table[name]:.2f}" for table in tables.values()]
        if name in STEPS:  # seconds for each candidate, in those of the smallest number
            growth = [table[name] / number / (start / arguments.candidates[0]) for number, table in tables.items()]
            cells = [f"{cell} ({ratio:.2f})" for cell, ratio in zip(cells, growth, strict=True)]
        print(f"{name + ' s' * (name in STEPS):<20}" + "".join(f"{cell:>28}" for cell in cells))
    for number, table in tables.items():
        print(f"{number:,} candidates: {sum(table.get(step, 0.0) for step in STEPS if step not in ('compare', 'decide')):.1f} s in all")


if __name__ == "__main__":
    main()
