"""Runs with answers: what is asked of which questions, failures, samples, settings, and `ask`; no model is needed here."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from made_parts import SMALL, levels

from workbench import generation, report
from workbench.datatypes import Completion, Conversation, WorkbenchError
from workbench.evaluation import RunResult
from workbench.experiment import grid, prepare, run
from workbench.experiment_ask import ask
from workbench.experiment_build import resolve
from workbench.generation import ExtractiveGenerator
from workbench.metrics import TEXT_METRICS
from workbench.settings import Settings

pytestmark = pytest.mark.usefixtures("own_cache")


def settings(spec: str, **changes: Any) -> Settings:
    return Settings(dataset=spec, **{"retriever": "bm25", "generator": "extractive"} | SMALL | changes)


class Moody(ExtractiveGenerator):
    """Answer like the control, but fail on questions with one of these words, and run into the cap on others; count what was asked."""

    asked: ClassVar[list[str]] = []
    fails: ClassVar[tuple[str, ...]] = ()
    cut: ClassVar[tuple[str, ...]] = ()

    @property
    def fingerprint(self) -> dict[str, Any]:
        return {"name": "moody", "version": 1}

    def generate(self, conversations: Sequence[Conversation]) -> list[Completion]:
        self.asked.extend(conversation.question for conversation in conversations)
        found = []
        for conversation, completion in zip(conversations, super().generate(conversations), strict=True):
            if any(word in conversation.question for word in self.fails):
                completion = Completion("", "error", error="the server answered 500 (4 attempts)")
            elif any(word in conversation.question for word in self.cut):
                completion = Completion(completion.text, "length", 10, 3, 0.5)
            found.append(completion)
        return found


@pytest.fixture
def moody(monkeypatch: pytest.MonkeyPatch) -> type[Moody]:
    class Fresh(Moody):
        asked: ClassVar[list[str]] = []

    monkeypatch.setitem(generation.GENERATORS, "moody", Fresh)
    return Fresh


@pytest.mark.parametrize("language", ["en", "ko"])
def test_each_metric_is_asked_of_its_questions(small, language: str) -> None:
    result = run(settings(small(language)))
    assert len(result.example_ids) == len(result.clusters) == 25
    unanswerable = result.example_ids.index("none")
    for metric in ("answer_em", "answer_f1", "chrf", "recall@1", "evidence_recall@64t"):
        assert result.asked_of(metric).sum() == 24
        assert not result.asked_of(metric)[unanswerable]
        assert result.unscored(metric) == 0
        assert result.interval(metric).n == 24
    assert np.flatnonzero(result.asked_of("refusal_recall")).tolist() == [unanswerable]
    assert result.asked_of("citation").sum() == 0  # the plain prompt asks for none
    assert result.interval("answer_em").mean > 0.6  # the gold answers are sentences of the documents
    assert result.interval("answer_f1").mean >= result.interval("answer_em").mean
    assert result.interval("groundedness").mean == 1  # a sentence of the context
    assert run(settings(small(language), prompt="cite")).asked_of("citation").sum() == 24
    assert [record["id"] for record in result.answers] == list(result.example_ids)
    record = next(record for record in result.answers if record["id"] == "d12a")
    assert record["gold"] == [record["text"]]
    assert record["passages"][0][0] == "d12"
    assert {check.id for check in result.audit} >= {"answers_failed", "answers_capped", "contexts_shrunk", "generator_language"}
    assert RunResult.from_json(json.loads(json.dumps(result.to_json(), allow_nan=False))).to_json() == result.to_json()


def test_retrieval_is_the_same_with_and_without_answers(small) -> None:
    plain, answered = run(settings(small("en"), generator="none")), run(settings(small("en")))
    assert plain.answers == ()
    assert plain.details["answers"] is None
    assert set(answered.scores) - set(plain.scores) == set(TEXT_METRICS)
    for metric, values in plain.scores.items():
        assert np.array_equal(values, answered.scores[metric], equal_nan=True)
    assert plain.failures == answered.failures


def test_a_sample_is_seeded_shared_by_candidates_and_zero_takes_all(small) -> None:
    first, other = grid(settings(small("en"), answers=8), chunk_size=[16, 32])
    assert [record["id"] for record in first.answers] == [record["id"] for record in other.answers]
    assert len(first.answers) == 8
    assert first.interval("recall@1").n == 24  # retrieval is scored on all
    assert report.compare([first, other], "answer_f1").questions == int(first.asked_of("answer_f1").sum()) >= 7
    assert [record["id"] for record in run(settings(small("en"), answers=8, seed=1)).answers] != [record["id"] for record in first.answers]
    assert len(run(settings(small("en"), answers=0)).answers) == 25
    with pytest.raises(WorkbenchError, match="answered different questions; use the same `answers` and seed"):
        report.compare([first, run(settings(small("en"), answers=9))], "answer_f1")


def test_a_failing_question_is_unscored_counted_asked_again_and_an_audit_error(small, moody: type[Moody]) -> None:
    moody.fails = ("badge",)
    result = run(settings(small("en"), generator="moody"))
    assert result.unscored("answer_f1") == 1
    assert result.interval("answer_f1").n == 23
    assert result.details["answers"]["failed"] == {"the server answered 500 (4 attempts)": 1}
    found = {check.id: check for check in result.audit}["answers_failed"]
    assert found.level == "error"
    assert found.message == "1 of 25 questions have no answer: 1 × the server answered 500 (4 attempts)"
    asked = len(moody.asked)
    moody.fails = ()
    again = run(settings(small("en"), generator="moody"))
    assert len(moody.asked) == asked + 1  # what failed and nothing else
    assert again.unscored("answer_f1") == 0
    assert "answers_failed" not in levels(again.audit)
    assert again.cache["completion_hits"] == 24
    assert run(settings(small("en"), generator="moody")).cache["completions"] == 0


def test_when_no_question_is_answered_the_run_fails_with_the_reason(small, moody: type[Moody]) -> None:
    moody.fails = ("",)
    with pytest.raises(WorkbenchError, match=r"none of 25 questions was answered: the server answered 500"):
        run(settings(small("en"), generator="moody"))


def test_capped_answers_are_scored_and_counted(small, moody: type[Moody]) -> None:
    moody.cut = ("leave", "badge", "laptop")
    result = run(settings(small("en"), generator="moody"))
    assert result.details["answers"]["capped"] >= 4
    assert result.unscored("answer_f1") == 0
    assert levels(result.audit)["answers_capped"] == "warning"


def test_rules_apply_and_an_answer_metric_may_decide(small, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("- {name: hide, pattern: '\\w+', action: replace, text: x}\n", encoding="utf-8")
    hidden = run(settings(small("en"), rules=str(rules), primary="answer_f1"))
    assert hidden.interval("answer_f1").mean == 0
    assert hidden.failures == ()
    assert hidden.answers[0]["completion"] != hidden.answers[0]["text"]
    comparison = report.compare([run(settings(small("en"), primary="answer_f1")), hidden])
    assert comparison.metric == "answer_f1"
    assert comparison.rows[1].difference.high < 0


def test_answers_need_no_evidence(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Snow\n\nSnow is white.", encoding="utf-8")
    questions = [
        {"id": "q", "question": "What colour is snow?", "answers": ["white"]},
        {"id": "u", "question": "Why?", "unanswerable": True},
    ]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, questions)), encoding="utf-8")
    result = run(settings(f"folder:{tmp_path}"))
    assert result.settings.primary == "answer_f1"
    assert result.interval("answer_f1").mean == pytest.approx(0.5)  # "Snow is white." against "white": precision 1/3
    assert levels(result.audit)["unscored"] == "warning"
    with pytest.raises(WorkbenchError, match="none of 2 questions has evidence"):
        run(settings(f"folder:{tmp_path}", generator="none"))


def test_a_filter_leaves_out_unanswerable_questions_that_it_cannot_search_for(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("---\npolicy: p\n---\n# Snow\n\nSnow is white.", encoding="utf-8")
    known = {"id": "q", "question": "Is snow white?", "answers": ["white"], "metadata": {"policy": "p"}}
    known["evidence"] = [[{"document": "a", "quote": "Snow is white."}]]
    questions = [known, {"id": "u", "question": "Why?", "unanswerable": True}]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, questions)), encoding="utf-8")
    result = run(settings(f"folder:{tmp_path}", filter="policy"))
    assert [record["id"] for record in result.answers] == ["q"]
    assert levels(result.audit)["answers_left_out"] == "warning"
    with pytest.raises(WorkbenchError, match="give the value: --filter policy:VALUE"):
        ask("Why?", settings(f"folder:{tmp_path}", filter="policy"))


def test_edited_rules_show_in_the_result(small, tmp_path: Path) -> None:
    rules, prints = tmp_path / "rules.yaml", set()
    for word in ("x", "y"):
        rules.write_text(f"- {{name: hide, pattern: 'leave', action: replace, text: {word}}}\n", encoding="utf-8")
        prints.add(run(settings(small("en"), rules=str(rules), answers=2)).details["answers"]["rules"])
    assert len(prints) == 2


# --- settings -----------------------------------------------------------------------------------------------------------------------


def test_answer_settings_are_resolved_and_have_no_effect_without_a_generator(small) -> None:
    point = settings(small("ko"), budgets=(256, 1024))
    found = resolve(point, prepare(point))
    assert (found.prompt, found.answer_budget, found.answers) == ("plain:ko", 1024, 100)
    silent = settings(small("ko"), generator="none", prompt="cite", answers=3, answer_budget=9, rules="none.yaml", shrink_context=True)
    silent = silent.replace(options={"generator": {"max_new_tokens": 3}})
    plain = settings(small("ko"), generator="none")
    assert resolve(silent, prepare(silent)).config_id == resolve(plain, prepare(plain)).config_id
    auto = settings(small("en"), generator="auto")
    assert resolve(auto, prepare(auto)).generator == "hf:HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generator": "extractiv"}, r"unknown generator 'extractiv'; did you mean 'extractive'\?"),
        ({"generator": "hf"}, "generator 'hf' needs an argument"),
        ({"generator": "extractive:x"}, "generator 'extractive' takes no argument"),
        ({"prompt": "plian"}, r"unknown prompt 'plian'; did you mean 'plain'\?"),
        ({"prompt": "plain:kr"}, "unknown language of prompt 'plain'"),
        ({"rules": "no/such.yaml"}, "no such rules file: no/such.yaml"),
        ({"primary": "answer_f2"}, r"unknown metric 'answer_f2'; did you mean 'answer_f1'\?"),
        ({"primary": "answer_f1", "generator": "none"}, "answer metrics need a generator"),
        ({"options": {"generator": {"max_new_token": 3}}}, "generator 'extractive' has no options"),
        ({"options": {"generator": {"api_key": "x"}}}, "looks like a secret"),
    ],
)
def test_bad_settings_say_what_would_be_right(small, changes: dict, message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        run(settings(small("en")).replace(**changes))


# --- ask ----------------------------------------------------------------------------------------------------------------------------


def test_ask_answers_what_the_data_set_does_not_ask(small) -> None:
    steps: list[str] = []
    watch: Callable[[str, float, Any], None] = lambda step, seconds, made: steps.append(step)  # noqa: E731
    answer = ask("Which  vests do the wardens have?", settings(small("en")), watch=watch)
    assert answer.text == "Wardens wear orange vests."
    assert len(steps) == 6
    assert ask("안내원의 조끼는 무슨 색인가요?", settings(small("ko"))).text == "안내원은 주황색 조끼를 입는다."


def test_ask_needs_a_generator_and_an_answer(small, moody: type[Moody]) -> None:
    with pytest.raises(WorkbenchError, match="ask needs a generator"):
        ask("Why?", settings(small("en"), generator="none"))
    moody.fails = ("",)
    with pytest.raises(WorkbenchError, match="the server answered 500"):
        ask("Why?", settings(small("en"), generator="moody"))
    with pytest.raises(WorkbenchError, match="the question is empty"):
        ask("  ", settings(small("en")))
