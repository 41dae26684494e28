"""List many things a page at a time: each row a button and a line of facts; the widgets of a page are made once and filled again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from workbench.widgets_runs_items import Item
from workbench.widgets_runs_view import wrapped
from workbench.widgets_runs_words import say
from workbench.widgets_style import brief

PAGE = 12  # rows


class Pager:
    """Turn pages: two buttons and where one is; `turned` is called when the page changes."""

    def __init__(self, size: int, turned: Callable[[], object]) -> None:
        import ipywidgets

        self.size, self.first, self._total, self._turned = size, 0, 0, turned
        self._back = ipywidgets.Button(description=say("previous"), layout={"width": "auto"})
        self._on = ipywidgets.Button(description=say("next"), layout={"width": "auto"})
        self._where = ipywidgets.HTML()
        self._back.on_click(lambda _button: self._turn(-size))
        self._on.on_click(lambda _button: self._turn(size))
        self.box = ipywidgets.HBox([self._back, self._on, self._where], layout={"align_items": "center"})

    def _turn(self, by: int) -> None:
        self.first += by
        self._turned()

    def cut(self, things: Sequence[Any]) -> Sequence[Any]:
        """Return the things of the page that is shown, and say where one is."""
        self._total = len(things)
        last = max(0, (self._total - 1) // self.size * self.size)
        self.first = min(max(0, self.first), last)
        self._back.disabled, self._on.disabled = self.first == 0, self.first == last
        self.box.layout.display = "none" if self._total <= self.size else "flex"
        end = min(self.first + self.size, self._total)
        self._where.value = wrapped(say("range", first=self.first + 1, last=end, total=self._total)) if self._total else ""
        return things[self.first : end]


class RowList:
    """Show items as rows of a page; `choose` is called with the key of the row that is pressed. Every callback is wrapped by `guarded`."""

    def __init__(self, guarded: Callable[[Callable[..., object]], Callable[..., None]], choose: Callable[[str], object]) -> None:
        import ipywidgets

        self._items: Sequence[Item] = ()
        self._keys: list[str] = []
        self._opened = ""
        self._buttons = [ipywidgets.Button() for _ in range(PAGE)]
        self._facts = [ipywidgets.HTML() for _ in range(PAGE)]
        for place, button in enumerate(self._buttons):
            button.add_class("workbench-row")
            button.on_click(guarded(lambda _button, place=place: choose(self._keys[place])))
        self._pool = [widget for pair in zip(self._buttons, self._facts, strict=True) for widget in pair]
        columns = "minmax(120px, 1fr) minmax(0, 3fr)"
        self._grid = ipywidgets.GridBox([], layout={"grid_template_columns": columns, "grid_gap": "0 12px", "align_items": "center"})
        self._none = ipywidgets.HTML()
        self._pager = Pager(PAGE, guarded(self._fill))
        self.box = ipywidgets.VBox([self._grid, self._none, self._pager.box])

    def show(self, items: Sequence[Item], opened: str = "", top: bool = False) -> None:
        """Show these items, the opened one marked; where `top`, from the first page on."""
        self._items, self._opened = items, opened
        if top:
            self._pager.first = 0
        self._fill()

    def _fill(self) -> None:
        here = self._pager.cut(self._items)
        self._keys = [item.key for item in here]
        for item, button, facts in zip(here, self._buttons, self._facts, strict=False):
            button.description, button.tooltip = brief(item.label), say("open", label=brief(item.label))
            (button.add_class if item.key == self._opened else button.remove_class)("opened")
            facts.value = item.facts()
        pool = self._pool[: 2 * len(here)]
        if len(self._grid.children) != len(pool):
            self._grid.children = pool
        self._none.value = "" if here else wrapped(say("nothing fits"))
