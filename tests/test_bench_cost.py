"""What a sweep will cost: the work is counted as the sweep then does it, and turned into seconds by hand-worked rates."""

import math
from pathlib import Path
from typing import Any

import pytest
from small_sweep import notebook, write_spec

from workbench import storage, sweep
from workbench.bench import EVALUATION, KERNELS, Bench
from workbench.bench_cost import Plan, cost, plan_cost
from workbench.bench_probe import Job
from workbench.bench_rates import Effort, Part, Rate
from workbench.datatypes import WorkbenchError
from workbench.evaluation import load_results
from workbench.sweep_work import Prompts, Texts, Work

PARAMETERS = """dataset: str = "folder:docs"
tokenizer: str = "simple"
retriever: str = "dense"
chunk_size: int = 8
chunk_overlap: int = 0
embedder: str = "hash"
generator: str = "none"
answer_budget: int = 16
top_k: int = 3
"""
SPEC = {"notebook": "costs", "engine": "direct", "grid": {"chunk_size": [8, 16], "retriever": ["dense", "bm25", "hybrid"]}}
EMBEDDER, GENERATOR = Part("embedder", "st:made"), Part.of("generator", "hf:made", {"max_new_tokens": 10})
RERANKER = Part("reranker", "cross-encoder:made")


def spec(project: Path, **changes: Any) -> Path:
    """Write a sweep that is evaluated in this process."""
    storage.write_text(project / "notebooks/costs.ipynb", notebook(PARAMETERS, "print(1)"))
    return write_spec(project, {**SPEC, **changes}, "costs.sweep.yaml")


def rate(part: Part, what: str, value: float, **facts: Any) -> Rate:
    return Rate.of(part, what, "", [value], **facts)


# --- counting ---------------------------------------------------------------------------------------------------------------------------


def test_what_is_counted_is_what_the_sweep_computes(project: Path) -> None:
    """Six points share one embedder: questions once, passages once for each size; then nothing is left."""
    path = spec(project, fixed={"generator": "extractive"})
    plan = plan_cost(path)
    assert plan.states == {"all": 6, "done": 0, "failed": 0, "to_do": 6}
    work, embedder = plan.work, Part("embedder", "hash")
    assert (work.runs, work.configurations, work.questions) == (6, 6, 24)
    queries, passages = (work.texts[embedder, role, "en"] for role in ("query", "passage"))
    assert (queries.number, queries.missing, queries.cached) == (4, 4, 0)
    (part, language), prompts = next(iter(work.prompts.items()))
    assert (part.spec, language, prompts.number) == ("extractive", "en", 24)
    assert 100 < prompts.characters / prompts.number < 1500  # instructions, 16 tokens of context, a question
    assert plan.jobs == (EVALUATION, Job(embedder, ("en",)), Job(part, ("en",)))
    outcome = sweep.run_sweep(path)
    assert outcome.failed == []
    results = [result for point in outcome.points for result in load_results(point.folder / "result.json")]
    assert sum(result.cache["misses"] for result in results) == queries.missing + passages.missing
    assert sum(result.cache["completions"] for result in results) <= prompts.number
    again = plan_cost(path)
    assert (again.states["done"], again.states["to_do"], again.jobs) == (6, 0, ())
    assert again.work == Work()


def test_what_the_cache_has_is_not_computed_again(project: Path) -> None:
    sweep.run_sweep(spec(project, grid={"chunk_size": [8]}))
    plan = plan_cost(spec(project, grid={"chunk_size": [8, 16]}))
    assert plan.states == {"all": 2, "done": 1, "failed": 0, "to_do": 1}
    queries, passages = plan.work.texts.values()
    assert (queries.number, queries.cached) == (4, 4)
    small, large = (set(_chunks(project, size)) for size in (8, 16))
    assert (passages.number, passages.cached) == (len(large), len(small & large))  # a short document is one chunk of either size
    assert passages.characters == pytest.approx(sum(map(len, large)) / passages.number * passages.missing)
    other = plan_cost(spec(project, grid={"chunk_size": [8], "top_k": [4, 5]}))
    assert [found.missing for found in other.work.texts.values()] == [0, 0]
    assert (other.jobs, other.work.loads) == ((EVALUATION,), {})


def _chunks(project: Path, size: int) -> list[str]:
    from workbench.experiment_build import passages, resolve
    from workbench.experiment_data import prepare
    from workbench.settings import Settings

    settings = Settings(dataset="folder:docs", tokenizer="simple", embedder="hash", chunk_size=size, chunk_overlap=0)
    prepared = prepare(settings)
    return passages(resolve(settings, prepared), prepared, None)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"grid": {"chunk_size": [0]}}, "chunk_size"),
        ({"grid": {"chunk_sise": [8]}}, "did you mean 'chunk_size'"),
        ({"grid": {"embedder": ["st:intfloat/multilingual-e5-small"]}}, "workbench models pull intfloat/multilingual-e5-small"),
        ({"grid": {"embedder": ["openvinoo:any"]}}, "unknown embedder 'openvinoo'"),
    ],
)
def test_a_spec_that_cannot_run_is_refused_as_a_sweep_refuses_it(changes: dict[str, Any], problem: str, project: Path) -> None:
    with pytest.raises(WorkbenchError, match=problem):
        plan_cost(spec(project, **changes))
    with pytest.raises(WorkbenchError, match=r"no such file: none\.sweep\.yaml"):
        plan_cost(Path("none.sweep.yaml"))


# --- seconds ----------------------------------------------------------------------------------------------------------------------------


def made_work() -> Work:
    """Ten runs: 100 short texts are missing, half of 40 long ones; 8 prompts of 400 characters; 50 pairs."""
    work = Work(runs=10, configurations=10, questions=300)
    work.texts[EMBEDDER, "query", "en"] = Texts(100, 0, 100 * 40.0)
    work.texts[EMBEDDER, "passage", "en"] = Texts(40, 20, 20 * 640.0)
    work.prompts[GENERATOR, "other"] = Prompts(8, 3200.0)
    work.pairs[RERANKER, "en"] = 50
    work.loads.update({EMBEDDER: 2, GENERATOR: 3})
    return work


MADE = [
    rate(Part("start", "papermill"), "import", 1.0),
    rate(Part("start", "warm kernels"), "prepare", 2.0),
    rate(Part("start", "warm kernel"), "run of one cell", 0.5),
    rate(Part("start", "ordinary kernel"), "run of one cell", 1.5),
    rate(EVALUATION.part, "evaluate", 100.0),
    rate(Part("import", "torch"), "import", 4.0),
    rate(Part("import", "sentence_transformers"), "import", 3.0),
    rate(Part("import", "transformers"), "import", 2.0),
    rate(EMBEDDER, "load", 1.0),
    rate(EMBEDDER, "query en", 50.0, characters=40, tokens=10, max_length=128),  # 20 ms
    rate(EMBEDDER, "passage en", 10.0, characters=440, tokens=110, max_length=128),  # 100 ms: 12 ms and 0.2 ms a character, cut at 512
    rate(GENERATOR, "load", 2.0),
    rate(GENERATOR, "prefill en", 200.0, prompt_tokens=100, characters=400),
    rate(GENERATOR, "decode en", 40.0),
    rate(RERANKER, "load", 1.0),
    rate(RERANKER, "pairs en", 25.0),
]


def made_bench(*without: str, cores: int = 4) -> Bench:
    """Return a bench with these rates, but for those whose part or measure is named."""
    kept = [rate for rate in MADE if rate.part.spec not in without and rate.what not in without]
    return Bench(Effort(), kept, machine={"cores": cores})


@pytest.mark.parametrize(
    ("direct", "jobs", "without", "workers", "seconds"),
    [
        # start 3 + embed 2 + 20 × 0.1144 + pairs 2 + read 4 + write 2 + imports 9; kernels 5, evaluation 3, loads 8 are divided
        (False, 1, (), 1, 24.288 + 16),
        (False, 2, (), 2, 24.288 + 16 / 2),
        (False, 99, (), 4, 24.288 + 16 / 4),
        (False, 1, ("warm kernel", "warm kernels"), 1, 13.288 + 10 * 1.5 + 3 + 8 + 3 * 9),
        (True, 1, (), 1, 12.288 + 3 + 3 + 9),
    ],
)
def test_the_stages_add_up(direct: bool, jobs: int, without: tuple[str, ...], workers: int, seconds: float) -> None:
    plan = Plan(Path("outputs/made"), {"all": 10, "done": 0, "failed": 0, "to_do": 10}, made_work(), direct, ())
    found = cost(plan, made_bench(*without), jobs)
    assert (found.workers, found.seconds) == (workers, pytest.approx(seconds))
    stages = {stage.name: stage.seconds for stage in found.stages}
    assert stages["rerank with cross-encoder:made"] == 2.0
    assert stages['read prompts with hf:made {"max_new_tokens":10}'] == 4.0
    assert stages['write answers with hf:made {"max_new_tokens":10}'] == 2.0
    assert ("kernels" in stages) is not direct
    record = found.to_json()
    assert record["seconds"] == round(found.seconds, 2)
    assert [text["cached"] for text in record["texts"]] == [0, 20]
    assert record["prompts"] == [{"generator": GENERATOR.label, "language": "other", "prompts_at_most": 8, "new_tokens_at_most": 80}]


def test_what_was_not_measured_makes_the_sum_unknown_and_is_said() -> None:
    plan = Plan(Path("outputs/made"), {"all": 10, "done": 0, "failed": 0, "to_do": 10}, made_work(), False, ())
    found = cost(plan, made_bench("decode en", "passage en"), 1)
    unknown = {stage.name for stage in found.stages if math.isnan(stage.seconds)}
    assert unknown == {"embed with st:made", 'write answers with hf:made {"max_new_tokens":10}'}
    assert found.to_json()["seconds"] is None
    assert {stage["seconds"] for stage in found.to_json()["stages"] if stage["stage"] in unknown} == {None}
    assert cost(Plan(Path("x"), {}, Work(), False, ()), made_bench(), 1).seconds == 0


def test_a_notebook_sweep_measures_kernels_too(project: Path) -> None:
    plan = plan_cost(project / "params/tiny.sweep.yaml")
    assert plan.jobs == (KERNELS, EVALUATION, Job(Part("embedder", "hash"), ("en",)))
    assert (plan.direct, plan.work.runs, plan.work.configurations) == (False, 2, 4)
    assert sum(plan.work.loads.values()) == 2
