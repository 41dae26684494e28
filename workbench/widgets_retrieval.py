"""Show what each of several configurations finds for a question, side by side: a function that returns HTML, and a JupyterLab interface."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from workbench.cache import Cache
from workbench.datatypes import Dataset, Example, Hit, Span, WorkbenchError
from workbench.experiment_build import ANSWER_BUDGET, Models, Parts, build, resolve
from workbench.experiment_data import NONE, Prepared
from workbench.metrics import evidence_recall, first_ranks
from workbench.packing import pack
from workbench.registry import split_spec
from workbench.report_labels import labels
from workbench.retrieval import default_tokeniser
from workbench.settings import Settings
from workbench.storage import cache_file
from workbench.text import HANGUL, TOKENISERS
from workbench.widgets import error_box, plural
from workbench.widgets_question import find_question, question_controls, question_head
from workbench.widgets_style import LABEL, brief, column, folded, page

MAX_K = 50
DATA_FIELDS = ("dataset", "split", "limit", "tokenizer")  # what candidates must share to be asked the same questions
LEGEND = "<mark>Highlighted</mark>: a term of the question, as BM25 cuts terms. <u>Underlined</u>: evidence. Long texts are folded (…)."

_WORD = re.compile(r"\w+")
_HANGUL = re.compile(f"[{HANGUL}]")
_LATIN = re.compile(f"[^{HANGUL}]+")  # within a word


@dataclass(frozen=True, slots=True)
class Found:
    """Hold what one candidate found for a question.

    `tokens[i]` is the size of the context that the first i + 1 hits fill; `full` is the rank of the hit that reaches the budget, None when
    the hits end before it does. `recall` is the share of the evidence in that context, None when nothing tells.
    """

    label: str
    hits: tuple[Hit, ...]
    budget: int
    tokens: tuple[int, ...]
    full: int | None
    recall: float | None = None
    tokeniser: str = "word"


# --- which terms match -------------------------------------------------------------------------------------------------------------------


def term_spans(text: str, question: str, tokeniser: str) -> list[tuple[int, int]]:
    """Return where the text holds terms of the question, as a tokeniser of `text.TOKENISERS` cuts them.

    A Hangul term marks just its syllables: 환불을 matches 환불 in 환불은 and leaves the particle. A Latin one marks the whole word, since
    stems are no prefixes. Words are cut one by one, so what Kiwi would only see from a whole sentence may differ.
    """
    asked = frozenset(TOKENISERS[tokeniser](question))
    found: list[tuple[int, int]] = []
    for word in _WORD.finditer(text):
        found += [(word.start() + start, word.start() + end) for start, end in _in_word(word[0], tokeniser, asked)]
    return found


def _in_word(word: str, tokeniser: str, asked: frozenset[str]) -> Iterable[tuple[int, int]]:
    lower = word.lower()
    for term in asked.intersection(_terms(tokeniser, word)):
        places = []
        if not _HANGUL.search(term):
            places = [run.span() for run in _LATIN.finditer(word) if term in _terms(tokeniser, run[0])]
        elif len(lower) == len(word):
            start = lower.find(term)
            while start >= 0:
                places.append((start, start + len(term)))
                start = lower.find(term, start + 1)  # pairs of syllables overlap
        yield from places or [(0, len(word))]


@functools.lru_cache(maxsize=50_000)
def _terms(tokeniser: str, word: str) -> frozenset[str]:
    return frozenset(TOKENISERS[tokeniser](word))


# --- the view ----------------------------------------------------------------------------------------------------------------------------


def retrieval_view(example: Example, found: Sequence[Found]) -> str:
    """Return static, escaped HTML of what each candidate found for a question, side by side.

    Each hit shows its rank, its score (comparable within a candidate only), its title, the tokens it brings, and its text with the
    question's terms highlighted and evidence underlined; SHOWN characters stand open, a fold with evidence too. A line follows the hit that
    fills the budget.
    """
    columns = [column(item.label, _column(example, item, [other for other in found if other is not item])) for item in found]
    return page(question_head(example) + f'<div class="faint">{LEGEND} Scores compare within a column only.</div>', columns)


def evidence_summary(example: Example, hits: Sequence[Hit]) -> str:
    """Say at which ranks the evidence of a question is first touched, as trusted text."""
    ranks = first_ranks(hits, example)
    reached = sorted(rank for rank in ranks if rank is not None)
    if not reached:
        return f"no evidence in {plural(len(hits), 'hit')}"
    if len(ranks) == 1:
        return f"first evidence at rank {reached[0]}"
    return f"first evidence at rank {reached[0]} ({len(reached)} of {len(ranks)} pieces found: {', '.join(map(str, reached))})"


def _column(example: Example, found: Found, others: Sequence[Found]) -> str:
    words = [f"<b>{evidence_summary(example, found.hits)}</b>"] if example.evidence else []
    if found.recall is not None:
        words.append(f"{found.recall:.0%} of it in the context of {found.budget:,} tokens")
    parts = [f'<div class="row">{" · ".join(words)}</div>']
    for hit, tokens, before in zip(found.hits, found.tokens, (0, *found.tokens), strict=False):
        past = found.full is not None and hit.rank > found.full
        shared = any(hit.chunk.span.overlap(other.chunk.span) for item in others for other in item.hits)
        facts = [f"score {hit.score:.4g}", "not in the context" if past else f"+{plural(tokens - before, 'token')}"]
        parts.append(_hit(example, hit, found.tokeniser, facts + ["only here"] * (bool(others) and not shared), past))
        if hit.rank == found.full:
            after = " What follows is not read." * (hit.rank < len(found.hits))
            parts.append(_line(f"The context is full: {tokens:,} of {found.budget:,} tokens.{after}"))
    if found.full is None and found.hits:
        parts.append(_line(f"After {plural(len(found.hits), 'hit')} the context holds {found.tokens[-1]:,} of {found.budget:,} tokens."))
    return "".join(parts) if found.hits else "".join(parts) + '<div class="item">Nothing found.</div>'


def _line(text: str) -> str:
    return f'<div class="limit" role="separator" aria-label="{text}">{text}</div>'


def _hit(example: Example, hit: Hit, tokeniser: str, facts: Sequence[str], past: bool) -> str:
    """Return one hit; `facts` are trusted."""
    chunk = hit.chunk
    evidence = evidence_ranges(example, chunk.span)
    badge = ' <span class="badge found">evidence</span>' if evidence else ""
    title = folded(chunk.title or chunk.span.document_id, LABEL)
    head = f'<div class="row"><b>{hit.rank}</b> {badge} {title}</div><div class="faint">{" · ".join(facts)}</div>'
    text = folded(chunk.text, terms=term_spans(chunk.text, example.question, tokeniser), evidence=evidence)
    return f'<div class="item{" past" * past}" role="group" aria-label="hit {hit.rank}">{head}{text}</div>'


def evidence_ranges(example: Example, span: Span) -> list[tuple[int, int]]:
    """Return the ranges of a span's own characters that are evidence of a question."""
    touched = [other for unit in example.evidence for other in unit if span.overlap(other)]
    return [(max(other.start, span.start) - span.start, min(other.end, span.end) - span.start) for other in touched]


# --- finding -----------------------------------------------------------------------------------------------------------------------------


class Candidates:
    """Find chunks with several configurations over the same data; each builds its parts once, when it is first asked."""

    def __init__(self, prepared: Prepared, settings: Sequence[Settings], cached: bool = True) -> None:
        if not settings:
            raise WorkbenchError("there is no candidate to find anything with; give at least one Settings")
        for field in DATA_FIELDS:
            values = sorted({str(getattr(item, field)) for item in settings})
            if len(values) > 1:
                raise WorkbenchError(f"candidates are asked about the same data, but their {field} is {' and '.join(values)}")
        check_tokenizer(prepared, settings[0])
        self.prepared = prepared
        self.budgets = [item.answer_budget or ANSWER_BUDGET for item in settings]
        silent = [item.replace(generator=NONE, primary="auto") for item in settings]  # no generator is loaded to look at hits
        self.settings = [resolve(item, prepared) for item in silent]
        # reports name results; they read nothing of one but these two
        self.labels = labels([SimpleNamespace(settings=item, config_id=item.config_id) for item in self.settings])
        self.cache = Cache(cache_file()) if cached else None
        self._parts: dict[int, Parts] = {}

    def find(self, row: int, example: Example, k: int) -> Found:
        """Return the k best hits of candidate number `row`; raise WorkbenchError for a question that it cannot search for."""
        tables = self.prepared.tables
        with closing(self.cache) if self.cache else nullcontext():  # it opens again where it is used next
            if row not in self._parts:
                self._parts[row] = build(self.settings[row], self.prepared, Models(self.cache))
            hits = self._parts[row].retriever.retrieve([example], k)[0]
        contexts = [pack(hits[:size], self.budgets[row], tables) for size in range(1, len(hits) + 1)]
        scored = example.evidence and not self.prepared.dataset.document_gold
        return Found(
            self.labels[row],
            tuple(hits),
            self.budgets[row],
            tuple(context.tokens for context in contexts),
            next((rank for rank, context in enumerate(contexts, start=1) if context.full), None),
            evidence_recall(contexts[-1], example, tables) if scored and contexts else None,
            self._tokeniser(row),
        )

    def _tokeniser(self, row: int) -> str:
        name, argument = split_spec(self.settings[row].retriever)
        if name in ("bm25", "hybrid") and argument:
            return argument
        return default_tokeniser([document.text for document in self.prepared.dataset.documents])


def retrieve_side_by_side(
    prepared: Prepared, candidates: Sequence[Settings], question: str = "", k: int = 10, cached: bool = True
) -> tuple[Example, list[Found]]:
    """Return a question (its id, its text, or any text) and what each candidate finds for it: k hits, against its budget of context.

    The budget is the candidate's `answer_budget`, else 512 tokens.
    """
    check_k(k)
    example, group = find_question(prepared.dataset, question), Candidates(prepared, candidates, cached)
    return example, [group.find(row, example, k) for row in range(len(candidates))]


def check_tokenizer(prepared: Prepared, settings: Settings) -> None:
    """Raise WorkbenchError when the data was measured with another tokenizer than these settings name."""
    if settings.tokenizer != prepared.tokenizer.name:
        raise WorkbenchError(
            f"the data was prepared with the tokenizer {prepared.tokenizer.name!r}, the settings name {settings.tokenizer!r}"
        )


def check_k(k: int) -> None:
    """Raise WorkbenchError for a number of hits that the interface cannot show."""
    if not 1 <= k <= MAX_K:
        raise WorkbenchError(f"k {k} must be between 1 and {MAX_K} hits")


# --- the interface -----------------------------------------------------------------------------------------------------------------------


def retrieval_explorer(prepared: Prepared, candidates: Sequence[Settings], question: str = "", k: int = 10, cached: bool = True) -> Any:
    """Return an interface that asks candidates one question after the other, of the data set or one's own.

    The view is made once before any widget is, so wrong arguments raise WorkbenchError here. With the environment variable
    WORKBENCH_HEADLESS set, return that static view and create no widget.
    """
    check_k(k)
    example, group = find_question(prepared.dataset, question), Candidates(prepared, candidates, cached)

    def view(example: Example, k: int, rows: Iterable[int]) -> str:
        return retrieval_view(example, [group.find(row, example, k) for row in rows])

    first = view(example, k, range(len(candidates)))
    if os.environ.get("WORKBENCH_HEADLESS"):
        from IPython.display import HTML

        return HTML(first)
    return _wire(prepared.dataset, group.labels, view, first, example, k)


def _wire(dataset: Dataset, names: Sequence[str], view: Callable[..., str], first: str, example: Example, k: int) -> Any:
    """Build the controls, show the first view, and show the view again, or the error, whenever a control changes."""
    import ipywidgets

    depth = ipywidgets.IntSlider(k, 1, MAX_K, description="hits", continuous_update=False, style={"description_width": "90px"})
    boxes = [ipywidgets.Checkbox(True, description=brief(name), indent=False, layout={"width": "auto"}) for name in names]
    result = ipywidgets.HTML(first)
    crash = ipywidgets.Output()  # shows the traceback of an error that is not about the input

    @crash.capture(clear_output=True)
    def show() -> None:
        try:
            rows = [row for row, box in enumerate(boxes) if box.value]
            if not rows:
                raise WorkbenchError("tick at least one candidate")
            result.value = view(current(), depth.value, rows)
        except WorkbenchError as error:
            result.value = error_box(str(error))

    controls, current = question_controls(dataset, example, show)
    for control in (depth, *boxes):
        control.observe(lambda _change: show(), "value")
    candidates = ipywidgets.Box(boxes, layout={"flex_flow": "row wrap"})
    return ipywidgets.VBox([*controls, depth, candidates, crash, result])
