"""Diagnosis in whole runs: real chunkers, BM25 and generators reach each cause, and results keep it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from made_parts import SMALL
from small_corpus import write_corpus

from workbench import chunking, generation
from workbench.chunking import SentenceChunker
from workbench.datatypes import Chunk, Completion, Conversation, Document, WorkbenchError
from workbench.diagnosis import CAUSES
from workbench.evaluation import RunResult
from workbench.experiment import grid, run
from workbench.generation import ExtractiveGenerator
from workbench.report_diagnosis import diagnosis_sentence
from workbench.settings import Settings

pytestmark = pytest.mark.usefixtures("own_cache")

FILLER = "Gardens grow slowly under grey skies while rivers carry sand."
RULE = "The pension plan doubles each contribution of members below the age of fifty. Everybody else receives a fixed sum in spring."
DOCUMENTS = {
    "leave": f"Unused leave lapses on 31 December every year. {FILLER}",
    "badge": f"{FILLER} A lost badge is reported to security at once. {FILLER}",
    "lift": " ".join(f"Lifts stop, lifts stop, lifts stop at {hour}." for hour in ("one", "two", "three")),
    "dusk": "The old lifts of the tower stop working at dusk.",
    "pension": RULE,
}
QUESTIONS = {  # id: question, answer, document and quote of its evidence; none for an unanswerable question
    "leave": ("When does unused leave lapse?", "31 December", ("leave", "Unused leave lapses on 31 December every year.")),
    "badge": ("Who hears of a lost badge?", "security", ("badge", "A lost badge is reported to security at once.")),
    "sand": ("Zebra?", "sand", ("leave", "rivers carry sand")),  # shares no word with any document
    "dusk": ("Lifts stop when?", "dusk", ("dusk", "stop working at dusk")),
    "pension": ("What doubles each pension contribution?", "the plan, below fifty", ("pension", RULE)),
    "chess": ("Who won the chess tournament?", "", None),
    "badges": ("Is a badge made of gold?", "", None),
}


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    for name, text in DOCUMENTS.items():
        (tmp_path / f"{name}.md").write_text(text, encoding="utf-8")
    lines = []
    for name, (question, gold, unit) in QUESTIONS.items():
        known = {"answers": [gold], "evidence": [[dict(zip(("document", "quote"), unit, strict=True))]]} if unit else {"unanswerable": True}
        lines.append(json.dumps({"id": name, "question": question} | known))
    (tmp_path / "questions.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return f"folder:{tmp_path}"


def settings(spec: str, **changes: Any) -> Settings:
    base = {"retriever": "bm25:english", "tokenizer": "simple", "chunker": "sentence", "chunk_size": 16, "top_k": 3, "budgets": (24, 64)}
    return Settings(dataset=spec, **base | {"primary": "evidence_recall@24t"} | changes)


def causes(result: RunResult) -> dict[str, str]:
    return dict(zip(result.example_ids, result.causes, strict=True))


class Scripted(ExtractiveGenerator):
    """Say what the test wants said, else what the control says; an error where it wants None."""

    says: dict[str, str | None]

    @property
    def fingerprint(self) -> dict[str, Any]:
        return {"name": "scripted", "version": 1, "sampled": True}  # never cached

    def generate(self, conversations: Sequence[Conversation]) -> list[Completion]:
        found = super().generate(conversations)
        for row, conversation in enumerate(conversations):
            if conversation.question in self.says:
                text = self.says[conversation.question]
                found[row] = Completion("", "error", error="HTTP 500") if text is None else Completion(text)
        return found


def answered(monkeypatch: pytest.MonkeyPatch, spec: str, says: dict[str, str | None], **changes: Any) -> RunResult:
    monkeypatch.setitem(generation.GENERATORS, "scripted", Scripted)
    monkeypatch.setattr(Scripted, "says", {QUESTIONS[name][0]: text for name, text in says.items()}, raising=False)
    return run(settings(spec, generator="scripted", answer_budget=24, **changes))


REFUSAL = "The passages do not answer this."
RETRIEVAL = {"leave": "fine", "badge": "fine", "sand": "not_retrieved", "dusk": "below_budget", "pension": "cut"}


def test_retrieval_alone_finds_what_the_chunker_the_retriever_and_the_budget_lose(corpus: str) -> None:
    result = run(settings(corpus))
    assert causes(result) == RETRIEVAL | {"chess": "", "badges": ""}
    assert [(case["id"], case["cause"], case["evidence"][0]["rank"]) for case in result.cases] == [
        ("sand", "not_retrieved", None),
        ("pension", "cut", 1),
        ("dusk", "below_budget", 4),
    ]
    shares = {case["id"]: case["evidence"][0]["share"] for case in result.cases}
    scores = dict(zip(result.example_ids, result.scores["evidence_recall@24t"], strict=True))
    assert shares == {name: pytest.approx(scores[name], abs=1e-4) for name in shares}
    assert 0.5 < shares["pension"] < 1
    assert causes(run(settings(corpus, primary="evidence_recall@64t")))["dusk"] == "fine"
    judged = {budgets: causes(run(settings(corpus, primary="recall@3", budgets=budgets)))["dusk"] for budgets in ((24,), (24, 64))}
    assert judged == {(24,): "below_budget", (24, 64): "fine"}  # the largest budget up to 512
    assert causes(run(settings(corpus, chunker="whole")))["pension"] == "below_budget"  # no border, but too long


def test_a_chunker_that_drops_text_is_found_out(corpus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Careless(SentenceChunker):
        def chunk(self, document: Document) -> list[Chunk]:
            return super().chunk(document)[:1]

    monkeypatch.setitem(chunking.CHUNKERS, "careless", Careless)
    found = causes(run(settings(corpus, chunker="careless")))
    assert {name for name, cause in found.items() if cause == "no_chunk"} == {"badge", "pension"} | {"sand"}


GOOD = {"leave": "It lapses on 31 December.", "sand": "sand", "pension": "the plan, below fifty", "chess": REFUSAL}
BAD = {"leave": REFUSAL, "badge": "Karlheinz Kaufmann.", "sand": None, "pension": "Members.", "dusk": "noon", "chess": "A badge."}


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        (GOOD, {"leave": "fine", "sand": "outside_context", "pension": "fine", "chess": "fine", "badges": "answered_unanswerable"}),
        (BAD, {"leave": "wrongly_refused", "badge": "outside_context", "sand": "failed", "pension": "cut", "dusk": "below_budget"}),
        (BAD, {"chess": "answered_unanswerable"}),
        ({"dusk": REFUSAL, "badge": "A lost badge."}, {"dusk": "below_budget", "badge": "not_used"}),
        ({"leave": "31 December, says Karlheinz Kaufmann from Wuppertal."}, {"leave": "outside_context"}),  # right, but not from here
    ],
)
def test_answers_are_diagnosed_by_what_the_generator_saw(corpus: str, monkeypatch: pytest.MonkeyPatch, says: dict, expected: dict) -> None:
    result = answered(monkeypatch, corpus, says)
    found = causes(result)
    assert {name: found[name] for name in expected} == expected
    records = {record["id"]: record for record in result.answers}
    for case in result.cases:
        assert case["cause"] == found[case["id"]] != "fine"
        assert not {"text", "passages"} & set(case)  # what was answered stands in the record of the answer, once
        assert records[case["id"]]["question"] == case["question"]


def test_only_the_sampled_questions_are_diagnosed(corpus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = dict.fromkeys(QUESTIONS, REFUSAL)
    result = answered(monkeypatch, corpus, refused, answers=4)
    asked = {record["id"] for record in result.answers}
    for name, cause in causes(result).items():
        unit = RETRIEVAL.get(name, "fine")
        refused = "wrongly_refused" if unit == "fine" and name in RETRIEVAL else unit
        assert cause == (refused if name in asked else "")
    assert diagnosis_sentence(result).endswith("3 more are not answered, so not diagnosed.")


def test_without_passages_a_right_answer_comes_from_outside(corpus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    says = {"leave": "31 December", "badge": "no idea", "sand": "no idea"}
    result = answered(monkeypatch, corpus, says, prompt="closed-book")
    found = causes(result)
    assert [found[name] for name in says] == ["outside_context", "below_budget", "not_retrieved"]


def test_candidates_that_share_their_retrieval_are_diagnosed_apart(corpus: str) -> None:
    shown, hidden = grid(settings(corpus, generator="extractive", answer_budget=24), prompt=["plain", "closed-book"])
    assert causes(shown)["leave"] == "fine"
    assert causes(hidden)["leave"] == "below_budget"


def test_document_gold_has_no_budget(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    texts = {"d1": "Snow is white.", "d2": "Snow falls, snow melts, snow snow.", "d3": "Grass is green."}
    for name, rows in (("corpus", texts), ("queries", {"q1": "What about snow?", "q2": "Is it hot?"})):
        lines = [json.dumps({"_id": key, "title": "", "text": text}) for key, text in rows.items()]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td3\t1\n", encoding="utf-8")
    base = {"chunker": "whole", "primary": "recall@1"}
    one, two = (run(settings(f"beir:{tmp_path}", top_k=top_k, **base)) for top_k in (1, 2))
    assert causes(one) == {"q1": "not_retrieved", "q2": "not_retrieved"}
    assert causes(two) == {"q1": "fine", "q2": "not_retrieved"}
    assert one.cases[0]["evidence"][0]["share"] is None


@pytest.mark.parametrize("language", ["en", "ko"])
def test_fine_agrees_with_the_scores_and_results_keep_the_diagnosis(tmp_path: Path, language: str) -> None:
    spec = f"folder:{write_corpus(tmp_path / 'data', language)}"
    base = Settings(dataset=spec, retriever="bm25", **SMALL | {"budgets": (8, 64)}, primary="evidence_recall@8t")
    plain, full = grid(base.replace(split="all"), generator=["none", "extractive"])
    values = dict(zip(plain.example_ids, plain.scores["evidence_recall@8t"], strict=True))
    assert causes(plain) == {name: "" if value != value else causes(plain)[name] for name, value in values.items()}  # NaN
    assert {name for name, cause in causes(plain).items() if cause == "fine"} == {name for name, value in values.items() if value == 1}
    assert 0 < list(plain.causes).count("fine") < 24
    assert set(full.causes) <= set(CAUSES)
    assert causes(full)["none"] == ("fine" if full.answers[0]["refused"] else "answered_unanswerable")
    for result in (plain, full):
        record = json.loads(json.dumps(result.to_json(), allow_nan=False))
        again = RunResult.from_json(record)
        assert (again.causes, again.cases) == (result.causes, result.cases)
        with pytest.raises(WorkbenchError, match="scores and questions differ in number"):
            RunResult.from_json(record | {"causes": ["fine"]})
        assert RunResult.from_json(record | {"causes": [], "cases": []}).causes == ()
        half = result.within(["confirmation"])
        assert half is not None
        kept = set(half.example_ids)
        assert causes(half) == {name: cause for name, cause in causes(result).items() if name in kept}
        assert [case["id"] for case in half.cases] == [case["id"] for case in result.cases if case["id"] in kept]
