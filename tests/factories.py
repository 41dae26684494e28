"""Made-up results for tests: scores are drawn, nothing is chunked, embedded or searched."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workbench import metrics
from workbench.diagnosis import CAUSES
from workbench.evaluation import Check, RunResult, rank_cutoffs
from workbench.evaluation_answers import answer_details
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


OWN = ("data", "parts", "details", "failures", "causes", "cases", "audit", "versions", "example_ids", "asked", "timings", "cache")
GENERATORS = (  # generator, precision, prompt, mean answer_f1, prompt tokens, share of answerable and of unanswerable questions refused
    ("hf:HuggingFaceTB/SmolLM2-135M-Instruct", "Q4_1", "plain", 0.38, 610, 0.05, 0.2),
    ("hf:HuggingFaceTB/SmolLM2-135M-Instruct", "Q4_1", "concise", 0.62, 632, 0.1, 0.5),
    ("hf:google/gemma-3-270m", "Q4_K_M", "plain", 0.45, 540, 0.0, 0.0),
    ("hf:google/gemma-3-270m", "Q4_K_M", "concise", 0.52, 561, 0.1, 0.3),
    ("extractive", None, "plain", 0.48, None, 0.02, 0.1),
)
ANSWERS = {  # for each of QUESTIONS: gold, and what was answered instead
    "en": (
        ("one day for each full month worked", "A new employee gets 25 days of paid leave."),
        ("the FL-20 filter", "Any filter fits the WM400."),
        ("at 9 a.m.", "The clinic opens at noon."),
    ),
    "ko": (
        ("만근한 달마다 하루", "신입 사원은 연차를 25일 쓸 수 있습니다."),
        ("FL-20 필터", "WM400에는 어떤 필터든 맞습니다."),
        ("오전 9시", "토요일에는 낮 12시에 문을 엽니다."),
    ),
}
REFUSALS = {"en": "The passages do not answer this.", "ko": "제공된 자료에서 답을 찾을 수 없습니다."}


def make_result(scores: Mapping[str, Sequence[float]], clusters: Sequence[str] = (), **changes: Any) -> RunResult:
    """Build a result from scores: metric -> one value a question. Each question is its own cluster unless `clusters` says otherwise.

    What is named in OWN replaces that of the result, everything else goes into its settings. `records` are those of its answers, which
    are summed up.
    """
    n = len(next(iter(scores.values())))
    own = {name: changes.pop(name) for name in OWN if name in changes}
    records = tuple(changes.pop("records", ()))
    settings = Settings(**{"primary": next(iter(scores)), "embedder": "none", "index": "none", "retriever": "bm25:word"} | changes)
    return RunResult(
        **{
            "settings": settings,
            "example_ids": tuple(f"q{number}" for number in range(n)),
            "clusters": tuple(clusters) or tuple(f"group-{number}" for number in range(n)),
            "scores": {metric: np.asarray(values, dtype=float) for metric, values in scores.items()},
            "data": make_data(settings.dataset, "en", n),
            "details": {
                "chunks": 64_000 // settings.chunk_size,
                "chunk_tokens_mean": 0.8 * settings.chunk_size,
                "top_k_clipped": None,
                "answers": answer_details(records) if records else None,
            },
            "answers": records,
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
    primary, lost = scores["evidence_recall@512t"], ("cut", "below_budget", "below_budget")
    causes = ["fine" if value >= 1 else "not_retrieved" if value < 0.2 else lost[row % 3] for row, value in enumerate(primary)]
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
        causes=tuple(causes),
        cases=make_cases(causes, primary, failures),
        audit=(
            Check("oracle", "ok", "a perfect ranking reaches all evidence"),
            Check("random", "ok", "a random ranking scores as chance does (recall@10 0.010, expected 0.011)"),
            Check("truncated", "warning" if size == 512 else "ok", "0.0% of the chunks are longer than the embedder reads"),
            Check("few_clusters", "ok", f"{len(set(clusters))} document groups"),
        ),
    )


def make_cases(causes: Sequence[str], scores: Sequence[float], failures: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Build three cases of each cause, the worst scores first, each with the texts of one of these failures."""
    rows, cases = sorted(range(len(causes)), key=lambda row: (scores[row], f"q{row}")), []
    for cause in [name for name in CAUSES if name != "fine"]:
        for row in [row for row in rows if causes[row] == cause][:3]:
            failure, own = failures[row % len(failures)], {"id": f"q{row}", "cause": cause, "score": float(scores[row])}
            cases.append({**failure, **own, "evidence": [unit | {"share": own["score"]} for unit in failure["evidence"]]})
    return tuple(cases)


def make_answer(example_id: str, language: str = "en", number: int = 0, **changes: Any) -> dict[str, Any]:
    """Build the record of one answer, wrong and cut out of a longer completion."""
    gold, text = ANSWERS[language][number % 3]
    return {
        "id": example_id,
        "question": QUESTIONS[language][number % 3],
        "gold": [gold],
        "answerable": True,
        "text": text,
        "completion": f"{text}\n\n{QUESTIONS[language][0]}",
        "refused": False,
        "citations": [2],
        "notes": [["clean-up", "took off a new turn"]],
        "error": "",
        "finish_reason": "stop",
        "prompt_tokens": 600,
        "completion_tokens": 20,
        "seconds": 1.5,
        "context_tokens": 498,
        "passages": [
            [f"handbook-{place}", 120, 120 + length, text]
            for place, (text, length) in enumerate(zip(TEXTS[language], (260, 90, 70), strict=True), start=1)
        ],
    } | changes


def make_answered_results(
    dataset: str = "demo-en", language: str = "en", questions: int = 120, groups: int = 20, primary: str = "evidence_recall@512t"
) -> list[RunResult]:
    """Build results of one retrieval and five generators and prompts; each fifth question is unanswerable, each sixth is not sampled."""
    draw = np.random.default_rng(sum(map(ord, dataset)))
    clusters = [f"group-{number % groups}" for number in range(questions)]
    rows = np.arange(questions)
    answerable, sampled = rows % 5 != 4, rows % 6 != 5
    shared = draw.normal(0, 0.2, questions)
    found = np.where(answerable, np.clip(0.7 + shared, 0, 1), np.nan)
    retrieval = {"evidence_recall@512t": found, "evidence_recall@1024t": np.sqrt(found)}
    results = []
    for generator, precision, prompt, level, tokens, *rates in GENERATORS:
        refused = draw.random(questions) < np.where(answerable, *rates)
        f1 = np.where(refused, 0.0, np.clip(level + shared + draw.normal(0, 0.2, questions), 0, 1).round(3))
        columns = {  # metric: scores, population
            "answer_em": (f1 > 0.8, answerable),
            "answer_f1": (f1, answerable),
            "chrf": (0.9 * f1, answerable),
            "citation": (f1, np.zeros(questions, dtype=bool)),
            "groundedness": (np.clip(f1 + 0.3, 0, 1), ~refused),
            "refusal_precision": (~answerable, refused),
            "refusal_recall": (refused, ~answerable),
        }
        asked = {name: population & sampled for name, (_, population) in columns.items()}
        scores = {name: np.where(asked[name], np.asarray(column, dtype=float), np.nan) for name, (column, _) in columns.items()}
        records = [
            make_answer(
                f"q{row}",
                language,
                int(row),
                answerable=bool(answerable[row]),
                **({} if answerable[row] else {"gold": []}),
                refused=bool(refused[row]),
                prompt_tokens=tokens,
                completion_tokens=None if tokens is None else 20,
                finish_reason="length" if row % 9 == 1 else "stop",
                **({"text": REFUSALS[language], "completion": None, "citations": [], "notes": []} if refused[row] else {}),
            )
            for row in rows[sampled]
        ]
        result = make_result(
            {**retrieval, **scores},
            clusters,
            dataset=dataset,
            primary=primary,
            generator=generator,
            prompt=f"{prompt}:{language}",
            answer_budget=512,
            data=make_data(dataset, language, int(answerable.sum())),
            asked={**dict.fromkeys(retrieval, answerable), **asked},
            records=records,
        )
        result.details["answers"]["generator_precision"] = precision
        results.append(result)
    return results
