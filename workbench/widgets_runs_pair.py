"""Show two configurations question by question: who won, the question, what each side answered or retrieved."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from workbench import stats
from workbench.datatypes import WorkbenchError
from workbench.diagnosis import CAUSES
from workbench.experiment import prepare
from workbench.report import format_difference, format_interval
from workbench.report_pairs import Candidate, Change, Pair
from workbench.widgets_question import find_question
from workbench.widgets_runs_view import wrapped
from workbench.widgets_runs_words import say
from workbench.widgets_style import brief, column, escape, folded

QUESTIONS = 5  # on a page
HITS = 3
DEPTH = 10  # hits when it is retrieved again
KINDS = ("differ", "A wins", "B wins", "all")


def chosen_changes(pair: Pair, kind: str, text: str = "") -> list[Change]:
    """Return the questions of a kind (KINDS) whose text or id holds these words, the largest difference first."""
    signs = {"differ": (1, -1), "A wins": (1,), "B wins": (-1,), "all": (1, 0, -1)}[kind]
    wanted = text.casefold().split()
    return [
        change
        for change in pair.changes
        if _sign(change) in signs and all(word in f"{change.question} {change.id}".casefold() for word in wanted)
    ]


def pair_head(pair: Pair) -> str:
    """Return both sides with their scores, who won how often, and the mean difference with its interval."""
    lines = []
    for side, candidate in (("A", pair.left), ("B", pair.right)):
        score = format_interval(candidate.result.interval(pair.metric))
        lines.append(f'<div class="row"><b>{side}</b> {escape(brief(candidate.label))} · <span class="number">{score}</span></div>')
    difference = format_difference(pair.interval).replace("adjusted p", "p") if pair.interval.n else say("unknown")
    tally = say("tally", wins=pair.wins, losses=pair.losses, ties=pair.ties)
    lines.append(f"<div><b>{tally}</b> · {say('mean difference')}: {difference} ({escape(pair.metric)})</div>")
    notes = [say("picked")] + ([say("left out", share=f"{pair.lost:.1%}")] if pair.lost else [])
    return wrapped("".join(lines) + f'<div class="faint">{" · ".join(notes)}</div>')


def question_view(pair: Pair, change: Change) -> str:
    """Return one question with who won it, its gold, and both sides beside one another."""
    sides = [(name, candidate, _record(candidate, change.id)) for name, candidate in (("A", pair.left), ("B", pair.right))]
    winner = _winner(change)
    text = folded(change.question) if change.question else f'<span class="faint">{say("no text")}</span>'
    columns = [
        column(f"{name} · {score:.3f}{f' · {winner}' if _sign(change) == sign else ''}", _side(candidate, record))
        for (name, candidate, record), score, sign in zip(sides, (change.left, change.right), (1, -1), strict=True)
    ]
    facts = [f'<span class="badge">{winner}</span>', f'<span class="number">{change.difference:+.3f}</span>']
    facts.append(f'<span class="faint">{escape(brief(change.id))}</span>')
    gold = next((gold for _, _, record in sides if (gold := _gold(record))), "")
    inner = f'<div class="row">{text} {" ".join(facts)}</div>{gold}<div class="columns">{"".join(columns)}</div>'
    return wrapped(f'<div class="item" role="group" aria-label="{escape(brief(change.question or change.id))}">{inner}</div>')


def _sign(change: Change) -> int:
    """Return 1 where A (left) wins, -1 where B does, 0 where they are equal."""
    return (change.difference > stats.STILL) - (change.difference < -stats.STILL)


def _winner(change: Change) -> str:
    sign = _sign(change)
    return say("won", side="A" if sign > 0 else "B") if sign else say("equal")


def _record(candidate: Candidate, id: str) -> dict[str, Any]:
    """Return what the result of a candidate holds on one question: its cause, its answer, or its first hits."""
    result = candidate.result
    found: dict[str, Any] = {"cause": dict(zip(result.example_ids, result.causes, strict=False)).get(id, "")}
    for name, records in (("case", (*result.failures, *result.cases)), ("answer", result.answers)):
        found |= {name: record for record in records if str(record["id"]) == id}  # noqa: B035 - the last one counts
    return found


def _gold(known: Mapping[str, Any]) -> str:
    """Return the gold answers of a question where a record holds them."""
    gold = known["answer"]["gold"] if "answer" in known else known["case"]["answers"] if "case" in known else ()
    return f'<div class="row"><b>{say("gold")}</b> {folded(" / ".join(map(str, gold)), 200)}</div>' if gold else ""


def _side(candidate: Candidate, record: Mapping[str, Any]) -> str:
    """Return what one side did with a question, as far as it was recorded."""
    blocks = [f'<div class="faint">{escape(brief(candidate.label))}</div>']
    if cause := record["cause"]:
        words = say("failed_answer" if cause == "failed" else cause) if cause in CAUSES else escape(brief(str(cause)))
        blocks.append(f'<div class="row"><b>{say("cause")}</b> {words}</div>')
    answer, case = record.get("answer"), record.get("case")
    if answer:
        refused = f' <span class="badge">{say("refused")}</span>' if answer["refused"] else ""
        text = folded(str(answer["text"]), 300) if str(answer["text"]).strip() else f'<span class="faint">{say("no answer")}</span>'
        error = f'<div class="box wrong">{escape(brief(str(answer["error"])))}</div>' if answer["error"] else ""
        blocks.append(f'<div class="row"><b>{say("answered")}</b>{refused} {text}</div>{error}')
        blocks += [_text("passage", rank, document, text) for rank, (document, _, _, text) in enumerate(answer["passages"][:HITS], start=1)]
    elif case:
        blocks += [_text("hit", hit["rank"], hit["document"], hit["text"]) for hit in case["hits"][:HITS]]
    else:
        blocks.append(f'<div class="faint">{say("only score")}</div>')
    return "".join(blocks)


def _text(key: str, rank: int, document: str, text: str) -> str:
    place = f'<b>{say(key, rank=rank)}</b> <span class="faint">{escape(brief(str(document), 60))}</span>'
    return f'<div class="item"><div class="row">{place}</div>{folded(str(text), 160)}</div>'


class Again:
    """Retrieve for single questions with both configurations of a pair; their data and indexes are built once, and then kept."""

    def __init__(self, pair: Pair) -> None:
        self._pair, self._group, self._lock = pair, None, threading.Lock()

    def view(self, id: str) -> str:
        """Return what both retrieve for a question now, marked as in the retrieval explorer.

        Raise WorkbenchError where the data set is not what the runs were evaluated on any more.
        """
        from workbench.widgets_hits import retrieval_view
        from workbench.widgets_retrieval import Candidates

        with self._lock:
            if self._group is None:
                settings = [side.result.settings for side in (self._pair.left, self._pair.right)]
                prepared = prepare(settings[0])
                if prepared.dataset.fingerprint != self._pair.left.result.data["fingerprint"]:
                    raise WorkbenchError(say("other data", dataset=settings[0].dataset))
                self._group = Candidates(prepared, settings)
            example = find_question(self._group.prepared.dataset, id)
            return retrieval_view(example, [self._group.find(row, example, DEPTH) for row in (0, 1)])
