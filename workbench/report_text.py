"""Write report.md: what report.html shows, as Markdown that GitHub renders; whatever comes from documents, models or errors is escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import yaml

from workbench import report_json
from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.metrics import ANSWER_METRICS, BUDGET_METRIC
from workbench.report_diagnosis import diagnosis_cases, diagnosis_sentence, diagnosis_table
from workbench.report_effects import effect_sentences, effects_table
from workbench.report_markdown import answer_failures, answer_table, data_table, escape, failures, markdown_table, table
from workbench.report_memo import memo_parts, memo_scores, memo_title
from workbench.report_parts import Part, Report, commit
from workbench.report_shown import SHOWN, failed_words, rest, shown
from workbench.report_svg import FOLDERS, UNSHOWABLE, measured
from workbench.report_tables import ALSO, plain
from workbench.report_words import answered_by, limits

DATA = ("name", "language", "documents", "groups", "questions", "scored", "unanswerable", "losses")
AUDIT = ("check", "worst", "ok", "what was seen at worst", "what is checked")


def render_markdown(record: Report) -> str:
    """Return the whole report as Markdown."""
    blocks = [f"# {_own(record.title)}", f"{_own(record.counts)}."]
    blocks += [block for part in record.parts for block in _data_set(part, record.prices)]
    if record.failed:
        failed = record.failed[:SHOWN]
        rows = [[_cell(plain(run["point"])), _cell((str(run["error"]).strip() or "no message").splitlines()[-1])] for run in failed]
        blocks += ["## Runs that failed", failed_words(len(record.failed)), markdown_table(("run", "error"), rows)]
    blocks += _reproduction(record)
    return UNSHOWABLE.sub("\N{REPLACEMENT CHARACTER}", "\n\n".join(filter(None, blocks))) + "\n"


def _data_set(part: Part, prices: Mapping[str, float] | None) -> list[str]:
    data, comparison = part.results[0].data, part.comparison
    facts = {name: _cell(data.get(name, "–")) for name in DATA}
    blocks = [f"## {_own(part.name)}", _alarm(part.results), *_memo(part, prices), "### Data", data_table(facts)]
    if comparison:
        names = [name for name in part.results[0].scores if name.startswith(f"{BUDGET_METRIC}@") or name in ALSO]
        everywhere = measured(part.results)
        extra = [name for name in names if name in everywhere and name != comparison.metric]
        rows = shown(comparison).rows
        cut = rest(len(rows), len(comparison.rows))
        blocks += ["### Leaderboard", _own(comparison.verdict), cut, table(shown(comparison), extra), *_answers(part.results)]
        if part.effects:
            said = effect_sentences(part.effects, part.left_out)
            blocks += ["### Main effects", _own(" ".join(said)), effects_table(part.effects)]
        best, label = rows[0].result, rows[0].label
        if best.causes:
            blocks += ["### Where questions are lost", cut, diagnosis_table([row.result for row in rows], [row.label for row in rows])]
            blocks += [f"{_own(label)}: {_own(diagnosis_sentence(best))}"]
            blocks += ["<details><summary>Examples of each cause</summary>", diagnosis_cases(best), "</details>"]
        if best.settings.primary not in ANSWER_METRICS:
            blocks += ["### What the best candidate failed to find", _own(label), failures(best)]
        if best.answers:
            blocks += ["### What the best candidate answered worst", _own(label), answer_failures(best)]
    rows = report_json.audit(part.results)
    cells = [[row["id"], row["level"], f"{row['ok']} of {row['of']}", _cell(row["message"]), row["meaning"] or "–"] for row in rows]
    return [*blocks, "### Audit", markdown_table(AUDIT, cells) if cells else "No check was recorded."]


def _alarm(results: Sequence[RunResult]) -> str:
    errors = [row for row in report_json.audit(results) if row["level"] == "error"]
    if not errors:
        return ""
    lines = [f"> - {_own(row['id'])} ({len(row['not_ok'])} of {len(results)} configurations): {_own(row['message'])}" for row in errors]
    return "\n".join(["> **Audit error.** Do not use these numbers before this is explained:", ">", *lines])


def _memo(part: Part, prices: Mapping[str, float] | None) -> list[str]:
    """Return the decision with its figures; without one, why there is none."""
    if part.decision is None:
        words = [f"- {_own(sentence)}" for sentence in limits(part.results)]
        return ["### Decision", f"**No decision.** {_own(part.problem)}", "**What was not tested**", "\n".join(words)]
    figures = [[_cell(name), _cell(value)] for name, value in memo_scores(part.decision)]
    blocks = ["### Decision", f"**{_own(memo_title(part.decision))}** (`{part.decision.recommended.config_id}`)"]
    blocks.append(markdown_table(("score", "mean [95 %]"), figures))
    for heading, sentences in memo_parts(part.decision, part.results, prices):
        blocks += [f"**{_own(heading)}**", "\n".join(f"- {_own(sentence)}" for sentence in sentences)] if sentences else []
    return blocks


def _answers(results: Sequence[RunResult]) -> list[str]:
    answered = [result for result in results if result.answers]
    if not answered:
        return []
    try:
        return ["### Answers", _own(answered_by(answered)), answer_table(answered)]
    except WorkbenchError as error:
        return ["### Answers", _own(answered_by(answered)), f"Answers are not compared: {_own(error)}"]


def _reproduction(record: Report) -> list[str]:
    head = commit()
    named = ", ".join(f"{package} {' and '.join(found)}" for package, found in record.versions.items())
    facts = [f"- commit: `{head}`"] * bool(head) + [f"- versions: {_own(named)}"] * bool(named)
    facts += [
        f"- data fingerprint of {_own(part.name)}: {_own(part.results[0].data.get('fingerprint', 'unknown'))}" for part in record.parts
    ]
    blocks = ["## How to reproduce", _fenced(record.command) if record.command else "", "\n".join(facts)]
    for part in record.parts:
        best = part.decision.recommended if part.decision else part.comparison.rows[0].result if part.comparison else None
        if best:
            text = yaml.safe_dump(best.settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=1000)
            words = "Settings of what to use" if part.decision else "Settings of the best candidate"
            blocks += [f"{words} on {_own(part.name)}, `{best.config_id}`:", _fenced(text, "yaml")]
    return blocks


def _fenced(text: str, kind: str = "") -> str:
    """Put text into a block of code that its own backticks cannot end."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{kind}\n{FOLDERS.sub('…/', text).rstrip()}\n{fence}"


def _own(text: object) -> str:
    """Escape text of the workbench itself, without the folders of absolute paths, since a report travels (SC2)."""
    return escape(_cell(text))


def _cell(text: object) -> str:
    """Take the folders of absolute paths out of what a table will escape."""
    return FOLDERS.sub("…/", str(text))
