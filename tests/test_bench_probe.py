"""Measuring in processes of their own: real ones here, with a real model where one is stored; what crashes or hangs costs only itself."""

import sys
from pathlib import Path

import pytest

from workbench import bench, models
from workbench.bench import EVALUATION, KERNELS, Bench, run_bench
from workbench.bench_probe import Job, probe
from workbench.bench_rates import Effort, Part, Rate, Skipped

SHORT = Effort(repetitions=2, seconds=0.01, vectors=200)
HASH, EXTRACTIVE = Job(Part("embedder", "hash"), ("ko",)), Job(Part("generator", "extractive"), ("en",))


def told(found: list[Rate | Skipped]) -> list[str]:
    """Return what was found without the numbers."""
    return [f"{item.part.spec}: {item.what if isinstance(item, Rate) else item.reason}" for item in found]


def test_what_crashes_or_cannot_be_measured_is_skipped_and_the_rest_goes_on(own_cache: Path) -> None:
    crash, foreign = Job(Part("nothing", "of the kind")), Job(Part("embedder", "hash"), ("fr",))
    found = list(probe([HASH, crash, foreign, EXTRACTIVE], SHORT, 60, ["json", "colorsys"]))
    assert told(found) == [
        *("json: import", "colorsys: import", "hash: first use", "hash: load", "hash: query ko", "hash: passage ko"),
        *("of the kind: its process ended with code 1: KeyError: 'nothing'", "hash: first use", "hash: load"),
        "hash: texts to measure with are there in en and ko, not in 'fr'",
        "extractive: answers en",
    ]
    assert found[1].facts == {"after": ["json"]}  # type: ignore[union-attr]
    assert not own_cache.exists()  # nothing came from the cache, nothing went there


def test_a_process_that_tells_nothing_is_ended() -> None:
    assert told(list(probe([HASH, EXTRACTIVE], SHORT, 0.01))) == ["hash: told nothing for 0.01 s", "extractive: told nothing for 0.01 s"]


def test_a_stored_model_is_measured_with_its_load_apart(own_cache: Path) -> None:
    """The smallest one that needs no torch."""
    name = "BAAI/bge-small-en-v1.5"
    if not models.stored(name):
        pytest.skip(f"run: workbench models pull {name}")
    part = Part("embedder", f"onnx:{name}")
    lines: list[str] = []
    found = run_bench([Job(part, ("en",))], SHORT, 600, lines.append)
    assert [rate.what for rate in found.rates] == ["first use", "load", "query en", "passage en"]
    first, load, query, passage = found.rates
    assert (first.unit, load.unit, load.n, query.unit, query.n) == ("s", "s", 1, "texts/s", 2)
    assert 0 < query.low <= query.median <= query.high
    assert (query.facts["words"], passage.facts["words"], passage.facts["max_length"]) == (8, 90, 512)
    assert 100 < passage.facts["tokens"] < 200
    assert found.find(part, "passage en") is passage
    assert len(lines) == 4
    assert f"embedder onnx:{name}: passage en {passage.median:g}" in lines[3]
    assert not own_cache.exists()


def test_kernels_run_a_cell_by_the_engine_and_a_cached_run_is_evaluated(own_cache: Path) -> None:
    found = run_bench([KERNELS, EVALUATION], Effort(repetitions=1), 600)
    assert found.skipped == []
    seconds = {rate.part.spec: rate for rate in found.rates if rate.part.kind == "start"}
    assert seconds.keys() >= {"papermill", "ordinary kernel"}
    assert ("warm kernel" in seconds) is sys.platform.startswith("linux")
    evaluated = found.rates[-1]
    assert (evaluated.part, evaluated.unit) == (EVALUATION.part, "questions/s")
    assert evaluated.facts["questions"] > 100
    assert not own_cache.exists()


def test_nothing_is_begun_when_the_time_is_over() -> None:
    found = run_bench([KERNELS, HASH], SHORT, -1)
    assert told(list(found.skipped)) == [
        "kernels: -1 s were over; give more with --seconds",
        "hash: -1 s were over; give more with --seconds",
    ]
    assert found.rates == []


def test_the_record_is_plain_and_stable() -> None:
    made = Bench(SHORT, [Rate.of(HASH.part, "load", "s", [1.0, 2.0], texts=3)], [Skipped(EXTRACTIVE.part, "why")])
    record = made.to_json()
    assert list(record) == ["version", "machine", "effort", "seconds", "rates", "skipped"]
    assert record["version"] == bench.VERSION == 1
    expected = {"kind": "embedder", "spec": "hash", "options": "{}", "what": "load", "unit": "s", "median": 1.5, "low": 1.0, "high": 2.0}
    assert record["rates"] == [{**expected, "n": 2, "facts": {"texts": 3}}]
    assert record["skipped"] == [{"kind": "generator", "spec": "extractive", "options": "{}", "reason": "why"}]
    assert record["machine"].keys() == {"cores", "threads", "memory_gb", "processor", "arithmetic", "system", "versions"}
