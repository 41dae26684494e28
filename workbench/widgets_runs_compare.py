"""Choose two configurations and look at the questions on which they differ."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable

from workbench.datatypes import WorkbenchError
from workbench.report_pairs import Change, Pair
from workbench.sweep_results import Results, Scored
from workbench.widgets import error_box
from workbench.widgets_runs_list import Pager
from workbench.widgets_runs_pair import KINDS, QUESTIONS, Again, chosen_changes, pair_head, question_view
from workbench.widgets_runs_view import wrapped
from workbench.widgets_runs_words import say
from workbench.widgets_style import brief, escape


class PairView:
    """Hold the menus of two configurations, which questions are shown, and a page of these."""

    def __init__(self, guarded: Callable[[Callable[..., object]], Callable[..., None]]) -> None:
        import ipywidgets

        self._part: Scored | None = None
        self._results: Results | None = None
        self._pair: tuple[tuple[object, ...], Pair, Again] | None = None
        self._text, self._setting = "", False
        wide = {"layout": {"width": "min(100%, 520px)"}, "style": {"description_width": "24px"}}
        self._sides = {side: ipywidgets.Dropdown(description=side, **wide) for side in "AB"}
        swap = ipywidgets.Button(description=say("swap"), layout={"width": "auto"})
        kinds = [(say(kind), kind) for kind in KINDS]
        self._kind = ipywidgets.Dropdown(options=kinds, description=say("which"), layout={"width": "280px"})
        self._head, self._none = ipywidgets.HTML(), ipywidgets.HTML()
        self._questions = [Question(guarded) for _ in range(QUESTIONS)]
        self._page = ipywidgets.VBox()
        self._pager = Pager(QUESTIONS, guarded(self._show))
        row = {"flex_flow": "row wrap", "align_items": "center"}
        self.box = ipywidgets.VBox(
            [ipywidgets.Box([*self._sides.values(), swap, self._kind], layout=row), self._head, self._none, self._page, self._pager.box]
        )
        for menu in (*self._sides.values(), self._kind):
            menu.observe(guarded(lambda _change: None if self._setting else self.draw(self._text, True)), "value")
        swap.on_click(guarded(lambda _button: self._swap()))

    def take(self, part: Scored, results: Results, **chosen: str) -> None:
        """Offer the configurations of a data set, best first; `A` and `B` choose one. What is chosen stays where it is still there."""
        rows = part.comparison.rows if part.comparison else ()
        options = [(brief(f"{row.label} · {row.interval.mean:.3f}"), row.result.config_id) for row in rows]
        known = [value for _, value in options]
        self._setting = True
        try:
            for side, menu in self._sides.items():
                wanted = chosen.get(side, menu.value)
                if list(menu.options) != options:
                    menu.options = options
                menu.value = wanted if wanted in known else None
            for side, menu in sorted(self._sides.items(), key=lambda pair: pair[0] not in chosen):  # what is chosen now comes first
                other = self._sides["AB".replace(side, "")].value
                if menu.value is None or (chosen and side not in chosen and menu.value == other):
                    menu.value = next((value for value in known if value != other), None)
        finally:
            self._setting = False
        if part is not self._part:
            self._pair = None
        self._part, self._results = part, results

    def _swap(self) -> None:
        left, right = (menu.value for menu in self._sides.values())
        self._setting = True
        try:
            self._sides["A"].value, self._sides["B"].value = right, left
        finally:
            self._setting = False
        self.draw(self._text, True)

    def draw(self, text: str, top: bool = False) -> None:
        """Show the questions that fit the text; `top`: from the first page on."""
        self._text = text
        if top:
            self._pager.first = 0
        self._show()

    def _show(self) -> None:
        if self._part is None or self._results is None:
            return
        left, right = (menu.value for menu in self._sides.values())
        if left == right:
            self._head.value, self._page.children = wrapped(say("choose two")), ()
            self._pager.cut([])
            return
        if self._pair is None or self._pair[0] != (left, right):
            pair = self._results.pair(self._part, str(left), str(right))
            self._pair = ((left, right), pair, Again(pair))
        _, pair, again = self._pair
        self._head.value = pair_head(pair)
        here = self._pager.cut(chosen_changes(pair, self._kind.value, self._text))
        self._none.value = "" if here else wrapped(say("nothing fits"))
        for question, change in zip(self._questions, here, strict=False):
            question.show(pair, change, again)
        self._page.children = [question.box for question in self._questions[: len(here)]]


class Question:
    """Hold one question: what is known of it, and a button that retrieves for it again with both configurations."""

    def __init__(self, guarded: Callable[[Callable[..., object]], Callable[..., None]]) -> None:
        import ipywidgets

        self._of: tuple[Pair, Change, Again] | None = None
        self._known, self._found = ipywidgets.HTML(), ipywidgets.HTML()
        self._button = ipywidgets.Button(description=say("retrieve"), layout={"width": "max-content", "margin": "2px 12px 8px"})
        self._button.on_click(guarded(lambda _button: self._retrieve()))
        self.box = ipywidgets.VBox([self._known, self._button, self._found])

    def show(self, pair: Pair, change: Change, again: Again) -> None:
        """Show a question of a pair; what was retrieved for another one is taken away."""
        if self._of is None or self._of[0] is not pair or self._of[1] != change:
            self._of, self._found.value = (pair, change, again), ""
            self._known.value = question_view(pair, change)

    def _retrieve(self) -> None:
        """Retrieve in a thread: for large documents the first time takes long."""
        if self._of:
            self._button.disabled, self._found.value = True, wrapped(say("searching"))
            threading.Thread(target=self._search, args=(self._of,), name="retrieve again", daemon=True).start()

    def _search(self, of: tuple[Pair, Change, Again]) -> None:
        try:
            found = of[2].view(of[1].id)
        except WorkbenchError as error:
            found = error_box(str(error))
        except BaseException:
            found = wrapped(f"<pre>{escape(traceback.format_exc())}</pre>")
            raise
        finally:
            self._button.disabled = False
            if self._of is of:
                self._found.value = found
