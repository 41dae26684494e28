"""Made-up results for tests: scores are drawn, nothing is chunked, embedded or searched."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workbench import metrics
from workbench.evaluation import Check, RunResult, rank_cutoffs
from workbench.settings import Settings

QUESTIONS = {
    "en": (
        "How many days of paid leave does a new employee get?",
        "Which filter fits the WM400?",
        "When does the clinic open on Saturdays?",
    ),
    "ko": ("신입 사원은 연차를 며칠 쓸 수 있나요?", "세탁기 WM400에는 어떤 필터가 맞나요?", "토요일에는 병원이 몇 시에 문을 여나요?"),
}
TEXTS = {
    "en": (
        "Employees with less than one year of service earn one day of paid leave for each full month worked.",
        "Unused leave lapses on 31 December; up to five days may be carried over with the approval of the manager.",
        "The office is closed on public holidays. Overtime is booked in quarters of an hour.",
    ),
    "ko": (
        "근속 기간이 1년 미만인 직원은 만근한 달마다 하루의 유급 연차를 받습니다.",
        "쓰지 않은 연차는 12월 31일에 소멸하며, 관리자의 승인을 받으면 최대 5일까지 이월할 수 있습니다.",
        "공휴일에는 사무실이 문을 닫습니다. 초과 근무는 15분 단위로 기록합니다.",
    ),
}
DESIGN = (  # chunker, chunk size, retriever, mean primary score
    ("recursive", 128, "hybrid:word", 0.80),
    ("recursive", 256, "hybrid:word", 0.75),
    ("sentence", 128, "hybrid:word", 0.77),
    ("recursive", 128, "bm25:word", 0.70),
    ("recursive", 256, "bm25:word", 0.68),
    ("recursive", 512, "bm25:word", 0.60),
    ("sentence", 256, "bm25:word", 0.69),
    ("fixed", 128, "bm25:word", 0.64),
    ("fixed", 256, "bm25:word", 0.62),
    ("fixed", 512, "bm25:word", 0.55),
    ("whole", 512, "bm25:word", 0.40),
    ("recursive", 128, "random", 0.05),
)


def make_result(scores: Mapping[str, Sequence[float]], clusters: Sequence[str] = (), **changes: Any) -> RunResult:
    """Build a result from scores: metric -> one value a question. Each question is its own cluster unless `clusters` says otherwise.

    `data`, `details`, `failures`, `audit` and `versions` replace those of the result, everything else goes into its settings.
    """
    n = len(next(iter(scores.values())))
    own = {name: changes.pop(name) for name in ("data", "details", "failures", "audit", "versions", "example_ids") if name in changes}
    settings = Settings(**{"primary": next(iter(scores)), "embedder": "none", "index": "none", "retriever": "bm25:word"} | changes)
    return RunResult(
        **{
            "settings": settings,
            "example_ids": tuple(f"q{number}" for number in range(n)),
            "clusters": tuple(clusters) or tuple(f"group-{number}" for number in range(n)),
            "scores": {metric: np.asarray(values, dtype=float) for metric, values in scores.items()},
            "data": make_data(settings.dataset, "en", n),
            "details": {"chunks": 64_000 // settings.chunk_size, "chunk_tokens_mean": 0.8 * settings.chunk_size, "top_k_clipped": None},
            "audit": (
                Check("oracle", "ok", "a perfect ranking reaches all evidence"),
                Check("bounded", "ok", "every score lies within 0 and 1"),
            ),
            "versions": {"rag-workbench": "0.1.0", "numpy": "2.4.6"},
        }
        | own
    )


def make_data(name: str, language: str, questions: int) -> dict[str, Any]:
    """Build what a result records about its data."""
    return {
        "name": name,
        "fingerprint": hashlib.sha256(name.encode("utf-8", "replace")).hexdigest(),
        "language": language,
        "documents": 42,
        "questions": questions + 24,
        "scored": questions,
        "unanswerable": 24,
        "document_gold": False,
        "losses": 0,
        "tokens": 40_000,
        "characters": 156_000 if language == "en" else 75_000,
    }


def make_results(
    dataset: str = "demo-en", language: str = "en", questions: int = 120, groups: int = 20, copies: int = 1
) -> list[RunResult]:
    """Build the 12 results of one data set (12 more for each further copy, by top_k), with two controls and all retrieval metrics."""
    generator = np.random.default_rng(sum(map(ord, dataset)))
    clusters = [f"group-{number % groups}" for number in range(questions)]
    by_group = generator.normal(0, 0.15, groups)
    by_question = generator.normal(0, 0.25, questions) + by_group[np.arange(questions) % groups]
    return [
        _candidate(generator, design, by_question, clusters, dataset, language, top_k=10 + 2 * copy)
        for copy in range(copies)
        for design in DESIGN
    ]


def _candidate(
    generator: np.random.Generator,
    design: tuple[str, int, str, float],
    by_question: np.ndarray,
    clusters: Sequence[str],
    dataset: str,
    language: str,
    top_k: int,
) -> RunResult:
    chunker, size, retriever, level = design
    settings = Settings(
        dataset=dataset,
        chunker=chunker,
        chunk_size=size,
        retriever=retriever,
        embedder="st:intfloat/multilingual-e5-small" if "hybrid" in retriever else "none",
        index="exact" if "hybrid" in retriever else "none",
        top_k=top_k,
        primary="evidence_recall@512t",
    )
    names = metrics.metric_names(rank_cutoffs(top_k), settings.budgets, document_gold=False)
    noise = generator.normal(0, 0.15, len(by_question))
    scores = {}
    for name in names:
        number = int(name.partition("@")[2].rstrip("t"))
        # larger chunks gain at a fixed number of hits and lose at an equal budget
        gain = 0.09 * np.log2(number / 512) if name.endswith("t") else 0.04 * np.log2(number / 5) + 0.12 * np.log2(size / 128)
        scores[name] = np.clip(level + gain + by_question + noise, 0, 1).round(4)
    title, other, third = TEXTS[language]
    failures = tuple(
        {
            "id": f"{language}-{number:02}",
            "question": question,
            "answers": ["…"],
            "score": 0.25 * number,
            "evidence": [
                {
                    "document": f"handbook-{number}",
                    "title": ("Handbook", "취업 규칙")[language == "ko"],
                    "text": title,
                    "rank": (None, 7, 2)[number],
                }
            ],
            "hits": [
                {"rank": rank, "document": f"manual-{rank}", "score": 9.5 - rank, "text": text}
                for rank, text in enumerate((other, third, title), 1)
            ],
        }
        for number, question in enumerate(QUESTIONS[language])
    )
    return make_result(
        scores,
        clusters,
        **settings.model_dump(),
        data=make_data(dataset, language, len(by_question)),
        failures=failures,
        audit=(
            Check("oracle", "ok", "a perfect ranking reaches all evidence"),
            Check("random", "ok", "a random ranking scores as chance does (recall@10 0.010, expected 0.011)"),
            Check("truncated", "warning" if size == 512 else "ok", "0.0% of the chunks are longer than the embedder reads"),
            Check("few_clusters", "ok", f"{len(set(clusters))} document groups"),
        ),
    )
