"""Ask several configurations the same question and compare what they find: a JupyterLab interface over the functions of widgets_hits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, nullcontext
from types import SimpleNamespace
from typing import Any

from workbench.cache import Cache
from workbench.datatypes import Dataset, Example, Hit, WorkbenchError
from workbench.experiment_build import ANSWER_BUDGET, Models, Parts, build, resolve
from workbench.experiment_data import NONE, Prepared
from workbench.metrics import evidence_recall
from workbench.packing import pack
from workbench.registry import split_spec
from workbench.report_labels import labels
from workbench.retrieval import default_tokeniser
from workbench.settings import Settings
from workbench.storage import cache_file
from workbench.widgets_crash import CrashBox
from workbench.widgets_hits import Found, evidence_ranges, retrieval_view
from workbench.widgets_language import words
from workbench.widgets_map import Plane, fit_plane, map_view, no_map
from workbench.widgets_question import find_question, question_controls
from workbench.widgets_saved import saved_as
from workbench.widgets_sliders import slider_names
from workbench.widgets_style import brief, error_box

MAX_K = 50
BUDGETS, STEP = (16, 2048), 16  # tokens
DATA_FIELDS = ("dataset", "split", "limit", "tokenizer")  # what candidates must share to be asked the same questions

WORDS = {
    "hits": ("hits", "검색 결과 수"),
    "budget": ("budget (tokens)", "예산 (토큰)"),
    "map": ("map", "지도"),
    "tick": ("tick at least one candidate", "후보를 하나 이상 선택해야 합니다"),
}
say = words(WORDS)


class Candidates:
    """Find chunks with several configurations over the same data; each builds its parts once, when it is first asked.

    All have the same budget of context: `budget`, by default the largest `answer_budget` among them, else 512 tokens.
    """

    def __init__(self, prepared: Prepared, settings: Sequence[Settings], cached: bool = True, budget: int | None = None) -> None:
        if not settings:
            raise WorkbenchError("there is no candidate to find anything with; give at least one Settings")
        for field in DATA_FIELDS:
            values = sorted({str(getattr(item, field)) for item in settings})
            if len(values) > 1:
                raise WorkbenchError(f"candidates are asked about the same data, but their {field} is {' and '.join(values)}")
        check_tokenizer(prepared, settings[0])
        self.prepared = prepared
        self.budget = max(item.answer_budget or ANSWER_BUDGET for item in settings) if budget is None else budget
        check_budget(self.budget)
        silent = [item.replace(generator=NONE, primary="auto") for item in settings]  # no generator is loaded to look at hits
        self.settings = [resolve(item, prepared) for item in silent]
        # reports name results; they read nothing of one but these two
        self.labels = labels([SimpleNamespace(settings=item, config_id=item.config_id) for item in self.settings])
        self.cache = Cache(cache_file()) if cached else None
        self._parts: dict[int, Parts] = {}
        self._planes: dict[int, tuple[Plane, Any]] = {}
        self._hits: dict[tuple[int, str, str], tuple[Hit, ...]] = {}
        self._drawn: dict[int, tuple[tuple[Any, ...], str]] = {}

    def find(self, row: int, example: Example, k: int, budget: int | None = None) -> Found:
        """Return the k best hits of candidate number `row`; raise WorkbenchError for a question that it cannot search for."""
        tables, budget = self.prepared.tables, budget or self.budget
        hits = self._search(row, example)[:k]
        tokens, context, full = [], None, None
        for size in range(1, len(hits) + 1):
            if full is None:
                context = pack(hits[:size], budget, tables)
                full = size if context.full else None
            tokens.append(context.tokens)
        scored = context and example.evidence and not self.prepared.dataset.document_gold
        recall = evidence_recall(context, example, tables) if scored else None
        return Found(self.labels[row], hits, budget, tuple(tokens), full, recall, self._tokeniser(row))

    def draw(self, row: int, example: Example, k: int) -> str:
        """Return the map of candidate number `row` with its k best hits, or that it has none; the last one is kept."""
        key = example.id, example.question, k
        if self._drawn.get(row, ((), ""))[0] != key:
            self._drawn[row] = key, self._draw(row, example, k)
        return self._drawn[row][1]

    def _draw(self, row: int, example: Example, k: int) -> str:
        ranks = {hit.chunk.id: hit.rank for hit in self._search(row, example)[:k]}
        with self._reading():
            parts = self._built(row)
            if parts.embedder is None:
                return no_map(self.labels[row])
            if row not in self._planes:
                vectors = parts.embedder.encode(parts.texts, "passage")
                plane = fit_plane(vectors)
                self._planes[row] = plane, plane.place(vectors)
            plane, points = self._planes[row]
            question = plane.place(parts.embedder.encode([example.question], "query"))[0]
        evidence = {at for at, chunk in enumerate(parts.chunks) if evidence_ranges(example, chunk.span)}
        found = {at: ranks[chunk.id] for at, chunk in enumerate(parts.chunks) if chunk.id in ranks}
        return map_view(plane, points, question, parts.chunks, found, evidence)

    def _search(self, row: int, example: Example) -> tuple[Hit, ...]:
        """Return the MAX_K best hits: a deeper search does not reorder those of a shallower one, and k can slide."""
        key = row, example.id, example.question
        if key not in self._hits:
            with self._reading():
                self._hits[key] = tuple(self._built(row).retriever.retrieve([example], MAX_K)[0])
        return self._hits[key]

    def _reading(self) -> Any:
        """Close the cache afterwards; it opens again where it is used next."""
        return closing(self.cache) if self.cache else nullcontext()

    def _built(self, row: int) -> Parts:
        if row not in self._parts:
            self._parts[row] = build(self.settings[row], self.prepared, Models(self.cache))
        return self._parts[row]

    def _tokeniser(self, row: int) -> str:
        name, argument = split_spec(self.settings[row].retriever)
        if name in ("bm25", "hybrid") and argument:
            return argument
        return default_tokeniser([document.text for document in self.prepared.dataset.documents])


def retrieve_side_by_side(
    prepared: Prepared, candidates: Sequence[Settings], question: str = "", k: int = 10, budget: int | None = None, cached: bool = True
) -> tuple[Example, list[Found]]:
    """Return a question (its id, its text, or any text) and what each candidate finds for it: k hits, against a budget of context.

    The budget in tokens is the same for all: by default the largest `answer_budget` of the candidates, else 512.
    """
    check_k(k)
    example, group = find_question(prepared.dataset, question), Candidates(prepared, candidates, cached, budget)
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


def check_budget(budget: int) -> None:
    """Raise WorkbenchError for a budget of context that holds nothing."""
    if budget < 1:
        raise WorkbenchError(f"budget {budget} must be at least 1 token")


# --- the interface -----------------------------------------------------------------------------------------------------------------------


def retrieval_explorer(
    prepared: Prepared, candidates: Sequence[Settings], question: str = "", k: int = 10, budget: int | None = None, cached: bool = True
) -> Any:
    """Return an interface that asks candidates one question after the other, of the data set or one's own, with maps of the chunks.

    All candidates get the same budget of context in tokens: by default the largest `answer_budget` of theirs, else 512. The view is made
    once before any widget is, so wrong arguments raise WorkbenchError here. With the environment variable WORKBENCH_HEADLESS set, return
    that static view and create no widget.
    """
    check_k(k)
    example, group = find_question(prepared.dataset, question), Candidates(prepared, candidates, cached, budget)

    def view(example: Example, k: int, budget: int, rows: Iterable[int], mapped: bool = True) -> str:
        rows = list(rows)
        maps = [group.draw(row, example, k) for row in rows] if mapped else []
        return retrieval_view(example, [group.find(row, example, k, budget) for row in rows], maps)

    first = view(example, k, group.budget, range(len(candidates)))
    if os.environ.get("WORKBENCH_HEADLESS"):
        from IPython.display import HTML

        return HTML(first)
    return saved_as(_wire(prepared.dataset, group, view, first, example, k), first)


def _wire(dataset: Dataset, group: Candidates, view: Callable[..., str], first: str, example: Example, k: int) -> Any:
    """Build the controls, show the first view, and show the view again, or the error, whenever a control changes."""
    import ipywidgets

    wide = {"layout": {"width": "min(100% - 4px, 460px)"}, "style": {"description_width": "130px"}}
    depth = ipywidgets.IntSlider(k, 1, MAX_K, description=say("hits"), **wide)
    limits = min(BUDGETS[0], group.budget), max(BUDGETS[1], group.budget)
    step = STEP if group.budget % STEP == 0 else 1  # the slider would round another budget
    budget = ipywidgets.IntSlider(group.budget, *limits, step=step, description=say("budget"), **wide)
    boxes = [ipywidgets.Checkbox(True, description=brief(name), indent=False, layout={"width": "auto"}) for name in group.labels]
    mapped = ipywidgets.Checkbox(True, description=say("map"), indent=False, layout={"width": "auto"})
    result = ipywidgets.HTML(first)
    crash = CrashBox()

    def show() -> None:
        with crash:
            try:
                rows = [row for row, box in enumerate(boxes) if box.value]
                if not rows:
                    raise WorkbenchError(say("tick"))
                result.value = view(current(), depth.value, budget.value, rows, mapped.value)
            except WorkbenchError as error:
                result.value = error_box(str(error))

    controls, current = question_controls(dataset, example, show)
    for control in (depth, budget, mapped, *boxes):
        control.observe(lambda _change: show(), "value")
    row = {"flex_flow": "row wrap", "grid_gap": "0 16px"}
    sliders, candidates = ipywidgets.Box([depth, budget], layout=row), ipywidgets.Box([*boxes, mapped], layout=row)
    return ipywidgets.VBox([*controls, sliders, candidates, crash.output, result, *slider_names()])
