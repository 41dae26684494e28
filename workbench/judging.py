"""Let an OpenAI-compatible model judge answers: correct by the gold answers, grounded in the passages shown. Never the generator itself.

| metric | asked of | verdicts |
|---|---|---|
| judge_correctness | questions with gold answers | correct 1, partly 0.5, wrong 0 |
| judge_groundedness | answers that are no refusals and were given passages | grounded 1, partly 0.5, ungrounded 0 |

A refusal or an empty answer to a question with gold answers is wrong without asking; an empty one states nothing to ground. An answer that
failed is unscored (NaN), and so is one whose verdict failed or cannot be read: both are counted, and never graded. Whether verdicts can be
trusted is measured on labels that people gave (`judging_labels`); without them they are uncalibrated.

A judge sees the texts of documents and models as data (`judging_prompts`), which does not prevent that it obeys them: what a verdict says
goes into scores and reports, and nothing else is done with it. Not covered: judges that reason in their reply (`<think>`).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workbench import registry
from workbench.datatypes import Answer, Completion, Conversation, Example, Generator, WorkbenchError
from workbench.judging_agreement import rank_correlation
from workbench.judging_labels import Label, calibrate
from workbench.judging_prompts import GRADES, correctness, groundedness, instruction
from workbench.pipeline_postprocess import without_citations
from workbench.storage import fingerprint

JUDGES: dict[str, Callable[..., Generator] | str] = {"openai": "workbench.generation_openai:OpenAIGenerator"}
REASON = 300  # characters kept of the reason for a verdict
SURROGATE = re.compile("[\ud800-\udfff]")
FENCE = re.compile(r"```(?:json)?\s*\n(.*?)\n?\s*```", re.DOTALL)


@dataclass(frozen=True)
class Judgement:
    """Hold what a judge found: scores and masks (answers,) for each metric, the verdicts with their reasons, and counts.

    `verdicts` has for each answer {metric: [verdict, reason]} of what the model was asked; where there is no verdict it is None, and the
    reason says why.
    """

    scores: Mapping[str, np.ndarray]
    asked: Mapping[str, np.ndarray]
    verdicts: tuple[Mapping[str, list[str | None]], ...]
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Judge:
    """Hold the model that judges, and what people said about some answers."""

    generator: Generator
    labels: tuple[Label, ...] = ()

    def __post_init__(self) -> None:
        if silent := next((label for label in self.labels if label.answer is None), None):
            raise WorkbenchError(
                f"{silent.where}: labels for a run must say in the column answer (답변) which answer was labelled, as every configuration "
                "gives another; `workbench judge --sheet` writes a table with them"
            )

    def assess(
        self,
        examples: Sequence[Example],
        answers: Sequence[Answer],
        records: Sequence[Mapping[str, Any]],
        clusters: Mapping[str, str],
    ) -> tuple[Judgement, tuple[Mapping[str, Any], ...]]:
        """Return the judgement, its details with the agreement with the labels, and the answer records with their verdicts.

        `clusters` are those of `calibrate`.
        """
        found = judge_answers(self.generator, examples, answers)
        records = tuple({**record, "verdicts": verdicts} for record, verdicts in zip(records, found.verdicts, strict=True))
        measured = {"agreement": calibrate(self.labels, records, clusters)} if self.labels else {}
        return replace(found, details={**found.details, **measured}), records


def check_judge(judge: str, generator: str) -> None:
    """Raise WorkbenchError when there is nothing to judge, or when a model would judge itself (D12)."""
    if judge == "none":
        return
    if generator == "none":
        raise WorkbenchError(f"judge {judge!r} judges answers, and nothing generates any; set a generator (--generator hf:MODEL)")
    if _model(judge) and _model(judge) == _model(generator):
        raise WorkbenchError(
            f"judge {judge!r} and generator {generator!r} are the same model; a model prefers what it wrote itself, so set another judge"
        )


def create_judge(spec: str, options: Mapping[str, Any], allow_download: bool = False) -> Generator:
    """Build the model that `spec` names, at temperature 0 unless its options say otherwise.

    Its server is that of WORKBENCH_JUDGE_BASE_URL and WORKBENCH_JUDGE_API_KEY where these are set, else that of OPENAI_BASE_URL.
    """
    return registry.create("judge", JUDGES, spec, {"temperature": 0.0, **options}, allow_download=allow_download, part="judge")


def judge_answers(judge: Generator, examples: Sequence[Example], answers: Sequence[Answer]) -> Judgement:
    """Ask the judge for all verdicts that the answers call for; raise WorkbenchError when it gives none because every request failed."""
    if [example.id for example in examples] != [answer.example_id for answer in answers]:
        raise WorkbenchError(f"{len(answers)} answers do not belong to the {len(examples)} questions in their order")
    scores = {metric: np.full(len(answers), math.nan) for metric in GRADES}
    asked = {metric: np.zeros(len(answers), dtype=bool) for metric in GRADES}
    wanted: list[tuple[int, str, Conversation]] = []
    for row, (example, answer) in enumerate(zip(examples, answers, strict=True)):
        text = "" if answer.refused else without_citations(answer.text)
        if example.answers:
            asked["judge_correctness"][row] = True
            if text and not answer.error:
                wanted.append((row, "judge_correctness", correctness(example.question, example.answers, text)))
            elif not answer.error:
                scores["judge_correctness"][row] = 0.0
        if answer.passages and (text or answer.error):
            asked["judge_groundedness"][row] = True
            if not answer.error:
                wanted.append((row, "judge_groundedness", groundedness(example.question, answer.passages, text)))
    completions = judge.generate([conversation for _, _, conversation in wanted]) if wanted else []
    if wanted and all(completion.error for completion in completions):
        raise WorkbenchError(f"the judge gave none of {len(wanted)} verdicts: {completions[0].error}")
    verdicts: list[dict[str, list[str | None]]] = [{} for _ in answers]
    for (row, metric, _), completion in zip(wanted, completions, strict=True):
        verdict, reason = read_verdict(completion, metric)
        verdicts[row][metric] = [verdict, reason]
        scores[metric][row] = math.nan if verdict is None else GRADES[metric][verdict]
    failed = {(row, metric) for (row, metric, _), completion in zip(wanted, completions, strict=True) if completion.error}
    return Judgement(
        scores,
        asked,
        tuple(verdicts),
        {
            "model": judge.fingerprint["name"],
            "fingerprint": fingerprint([judge.fingerprint, [instruction(metric, ()) for metric in GRADES]])[:12],
            "metrics": {metric: _counts(metric, verdicts, failed, answers) for metric in GRADES},
        },
    )


def read_verdict(completion: Completion, metric: str) -> tuple[str | None, str]:
    """Return (verdict, reason), or (None, why there is none).

    The reply must be one JSON object with exactly the keys verdict and reason, and the verdict one of the metric's. White space around it
    and one Markdown code fence are allowed; nothing is repaired or guessed (LM4).
    """
    if completion.error:
        return None, completion.error
    if completion.finish_reason == "length":
        return None, "cut at judge.max_new_tokens"
    text = completion.text.strip()
    fenced = FENCE.fullmatch(text)
    try:
        reply = json.loads(fenced[1] if fenced else text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None, "no JSON object"
    # an object comes as a list of tuples, so that a key given twice is seen; an array comes as a list of other things
    pairs = reply if isinstance(reply, list) and all(isinstance(pair, tuple) for pair in reply) else []
    if sorted(key for key, _ in pairs) != ["reason", "verdict"]:
        return None, "no JSON object with the keys verdict and reason"
    found = dict(pairs)
    if not isinstance(found["verdict"], str) or found["verdict"] not in GRADES[metric]:
        return None, "a verdict that was not offered"
    if not isinstance(found["reason"], str) or SURROGATE.search(found["reason"]):
        return None, "a reason that is no text"
    return found["verdict"], " ".join(found["reason"].split())[:REASON]


def _counts(
    metric: str, verdicts: Sequence[Mapping[str, list[str | None]]], failed: set[tuple[int, str]], answers: Sequence[Answer]
) -> dict[str, Any]:
    """Count what became of the verdicts on one metric, and say how they go with the length of the answers.

    `asked` are requests for a verdict; `reasons` say why there is none, those of failed requests too.
    """
    given = [(row, *verdict[metric]) for row, verdict in enumerate(verdicts) if metric in verdict]
    graded = [(GRADES[metric][verdict], len(without_citations(answers[row].text))) for row, verdict, _ in given if verdict is not None]
    lost = sum((row, metric) in failed for row, _, _ in given)
    rho = rank_correlation([grade for grade, _ in graded], [length for _, length in graded])
    return {
        "asked": len(given),
        "unparsed": len(given) - len(graded) - lost,
        "failed": lost,
        "reasons": dict(Counter(reason for _, verdict, reason in given if verdict is None).most_common()),
        "length_correlation": None if math.isnan(rho) else round(rho, 4),
    }


def _model(spec: str) -> str:
    """Return what is left of the name of a model when servers spell it differently, "" where there is none.

    That is the last part of its path without case, ":latest", a date at its end and punctuation: hf:Qwen/Qwen2.5-7B-Instruct and
    openai:qwen2.5:7b-instruct are one. Not covered: names that tell nothing, such as an alias.
    """
    last = re.split(r"[/\\]", (registry.split_spec(spec)[1] or "").rstrip("/\\"))[-1].casefold().removesuffix(":latest")
    return re.sub(r"[\W_]", "", re.sub(r"-\d{4}-?\d\d-?\d\d$", "", last))
