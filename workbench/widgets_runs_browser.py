"""Wire the run browser: controls, the view that is chosen, and a thread that looks again while something runs."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workbench.datatypes import WorkbenchError
from workbench.ledger_rows import STATES
from workbench.sweep_results import Results, Scored
from workbench.sweep_status import SweepStatus, Watch
from workbench.widgets import error_box
from workbench.widgets_runs_compare import PairView
from workbench.widgets_runs_items import fitting, run_items, score_items, sweep_items
from workbench.widgets_runs_links import own_server
from workbench.widgets_runs_list import RowList
from workbench.widgets_runs_pareto import known_costs, scatter, scatter_widget
from workbench.widgets_runs_repeat import Repeat
from workbench.widgets_runs_view import CSS, config_details, progress_view, run_details, scored_head, wrapped
from workbench.widgets_runs_words import SIGNS, say
from workbench.widgets_style import STYLE, brief, escape

VIEWS = ("sweeps", "runs", "results", "pairs", "costs")
LATEST: dict[Path, Browser] = {}  # by folder: where a cell ran again, what it showed before looks no more


class Browser:
    """Hold the widgets of one run browser; `box` is what is displayed."""

    def __init__(self, watch: Watch) -> None:
        import ipywidgets

        self._watch, self._server = watch, own_server()
        self._statuses = watch.look()
        self._results: dict[str, Results] = {}
        self._scored: tuple[str, list[Scored]] = ("", [])  # of the sweep of that name
        self._failed_read = ""
        self._again = 0.0  # when to read and compare again, at the earliest, what is shown already
        self._opened: tuple[str, str] = ("", "")  # "run" or "configuration", and its id
        self._lock = threading.RLock()  # callbacks and the thread change the same widgets
        self._quiet = False
        self._repeat = Repeat(self._look, self._guarded(self._draw))
        wide = {"layout": {"width": "min(100%, 460px)"}, "style": {"description_width": "64px"}}
        self._sweep = ipywidgets.Dropdown(description=say("sweep"), **wide)
        refresh = ipywidgets.Button(description=say("refresh"), layout={"width": "auto"})
        self._views = ipywidgets.ToggleButtons(
            options=[(say(view), view) for view in VIEWS],
            tooltips=[say(view) for view in VIEWS],
            style={"button_width": "auto"},
            layout={"margin": "4px 0 6px"},
        )
        self._text = ipywidgets.Text(description=say("filter"), placeholder=say("filter hint"), **wide)
        states = [(say("all states"), ""), *((f"{SIGNS[state]} {say(state)}", state) for state in STATES)]
        self._state = ipywidgets.Dropdown(options=states, value="", description=say("state"), layout={"width": "220px"})
        self._data = ipywidgets.Dropdown(description=say("data set"), **wide)
        self._cost = ipywidgets.Dropdown(description=say("cost"), layout={"width": "280px"})
        self._progress, self._head, self._details = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.HTML()
        self._list = RowList(self._guarded, self._choose)
        self._pairs = PairView(self._guarded)
        self._plot = scatter_widget(self._guarded(lambda key: self._open("configuration", key)))
        self._sides = [ipywidgets.Button(description=say(f"compare as {side}"), layout={"width": "auto"}) for side in "AB"]
        self._tools = ipywidgets.HBox(self._sides)
        self._crash = ipywidgets.Output()  # shows the traceback of an error that is not about the input
        row = {"flex_flow": "row wrap", "align_items": "center"}
        self.box = ipywidgets.VBox(
            [
                ipywidgets.HTML(STYLE + CSS),
                ipywidgets.Box([self._sweep, refresh], layout=row),
                self._progress,
                self._views,
                ipywidgets.Box([self._text, self._state, self._data, self._cost], layout=row),
                self._crash,
                self._head,
                self._list.box,
                self._pairs.box,
                *([self._plot] if self._plot else []),
                self._details,
                self._tools,
            ]
        )
        self.box.add_class("workbench-runs")
        self._list_sweeps()
        self._views.value = "sweeps" if len(self._statuses) != 1 else "runs" if self._statuses[0].live() else "results"
        refresh.on_click(self._guarded(lambda _button: self._refresh()))
        self._sweep.observe(self._guarded(lambda _change: self._refresh(top=True)), "value")
        self._views.observe(self._guarded(lambda _change: self._refresh(top=True)), "value")
        for control in (self._text, self._state, self._data, self._cost):
            control.observe(self._guarded(lambda _change: self._draw(top=True)), "value")
        for side, button in zip("AB", self._sides, strict=True):
            button.on_click(self._guarded(lambda _button, side=side: self._compare_as(side)))
        self._refresh()

    # --- errors, the thread ---------------------------------------------------------------------------------------------------------------

    def _guarded(self, work: Callable[..., object]) -> Callable[..., None]:
        """Return a callback that holds the lock, is silent while this code sets a control itself, and shows what goes wrong."""

        def call(*arguments: Any) -> None:
            with self._lock:
                if not self._quiet:
                    self._crash.outputs = ()
                    with self._crash_shown():
                        work(*arguments)

        return call

    @contextmanager
    def _crash_shown(self) -> Iterator[None]:
        """Show an error of the input as a box, and any other with its traceback, in a thread too."""
        try:
            yield
        except WorkbenchError as error:
            self._head.value = error_box(str(error))
        except BaseException:
            self._crash.append_stderr(traceback.format_exc())
            raise

    @contextmanager
    def _silent(self) -> Iterator[None]:
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    def _refresh(self, top: bool = False) -> None:
        """Look again now, and as long as something runs."""
        LATEST[self._watch.folder] = self
        self._statuses = self._watch.look()
        self._list_sweeps()
        self._failed_read, self._again = "", 0.0
        self._draw(top)
        self._repeat.start()

    def _needed(self) -> bool:
        latest = LATEST[self._watch.folder] is self
        return self.box.comm is not None and (self._unread() or (latest and any(status.live() for status in self._statuses)))

    def _unread(self) -> bool:
        """Tell whether results are to be shown that were not read yet."""
        status, read = self._status(), (self._scored[0], self._failed_read)
        return status is not None and self._views.value not in ("sweeps", "runs") and status.name not in read

    def _look(self) -> bool:
        """Look, and read what is shown; called in a thread. Return whether to look again."""
        with self._lock, self._crash_shown():
            self._statuses = self._watch.look()
            self._list_sweeps()
            self._draw()
        with self._crash_shown():
            self._read()
        return self._needed()

    def _read(self) -> None:
        """Read and compare the results of the chosen sweep, outside the lock: it may take seconds."""
        status = self._status()
        wait = bool(status) and status.live() and time.monotonic() < self._again
        if status is None or (not self._unread() and (self._scored[0] != status.name or wait)):
            return
        results = self._results.setdefault(status.name, Results(status.folder))

        def told(done: int, total: int) -> None:
            if self._unread():
                self._head.value = wrapped(say("reading", done=done, total=total))

        try:
            if results.update(status, told) or self._scored[0] != status.name:
                if self._unread():
                    self._head.value = wrapped(say("comparing"))
                began = time.monotonic()
                scored = results.scored()
                self._again = time.monotonic() + 5 * (time.monotonic() - began)  # a thousand candidates take seconds
                with self._lock:
                    self._scored = (status.name, scored)
                    self._list_data()
                    self._draw()
        except WorkbenchError:
            self._failed_read = status.name
            raise

    # --- what is chosen -------------------------------------------------------------------------------------------------------------------

    def _status(self) -> SweepStatus | None:
        return next((status for status in self._statuses if status.name == self._sweep.value), None)

    def _part(self) -> Scored | None:
        """Return the chosen data set of the chosen sweep, once it is read."""
        if self._sweep.value != self._scored[0]:
            return None
        return next((part for part in self._scored[1] if part.name == self._data.value), None)

    def _list_sweeps(self) -> None:
        _offer(self, self._sweep, [(brief(status.name), status.name) for status in self._statuses])

    def _list_data(self) -> None:
        _offer(self, self._data, [(brief(part.name), part.name) for part in self._scored[1]])

    def _choose(self, key: str) -> None:
        """Open what a row stands for."""
        if self._views.value == "sweeps":
            with self._silent():
                self._sweep.value = key
                status = self._status()
                self._views.value = "results" if status and status.counts["ok"] and not status.counts["running"] else "runs"
                self._text.value = ""
            self._refresh(top=True)
        else:
            self._open("run" if self._views.value == "runs" else "configuration", key)

    def _open(self, kind: str, key: str) -> None:
        self._opened = (kind, key)
        self._draw()

    def _compare_as(self, side: str) -> None:
        part = self._part()
        if part:
            self._pairs.take(part, self._results[self._scored[0]], **{side: self._opened[1]})
            with self._silent():
                self._views.value = "pairs"
            self._draw(top=True)

    # --- drawing --------------------------------------------------------------------------------------------------------------------------

    def _draw(self, top: bool = False) -> None:
        """Draw everything as it is now; `top`: from the first page of the list on."""
        view, status, part = self._views.value, self._status(), self._part()
        live, compared = bool(status and self._repeat.running and status.live()), bool(part and part.comparison)
        self._progress.value = progress_view(status, self._server, live) if status else wrapped(escape(say("no sweep")))
        for widget, visible in (
            (self._progress, view != "sweeps" or not status),
            (self._state, view == "runs"),
            (self._data, view in VIEWS[2:] and part is not None and len(self._scored[1]) > 1),
            (self._cost, view == "costs" and part is not None),
            (self._text, view != "costs"),
            (self._list.box, (view in ("sweeps", "runs") and bool(self._statuses)) or (view == "results" and compared)),
            (self._pairs.box, view == "pairs" and compared),
            (self._plot, view == "costs" and compared),
        ):
            if widget is not None:
                widget.layout.display = None if visible else "none"
        if view in ("sweeps", "runs"):
            self._head.value = ""
            items = run_items(status, self._state.value) if view == "runs" else sweep_items(self._statuses)
            self._list.show(fitting(items, self._text.value), self._opened[1], top)
        elif part is None:
            if status and status.name == self._scored[0]:
                self._head.value = wrapped(say("no result"))
        else:
            unread = list(self._results[self._scored[0]].problems.values())  # the thread may be adding to them
            note = say("unread", count=len(unread), problem=unread[0]) if unread else ""
            self._head.value = scored_head(part) + (error_box(note) if note else "")
            if part.comparison and view == "results":
                self._list.show(fitting(score_items(part.comparison.rows), self._text.value), self._opened[1], top)
            elif part.comparison and view == "pairs":
                self._pairs.take(part, self._results[self._scored[0]])
                self._pairs.draw(self._text.value, top)
            elif part.comparison:
                self._draw_costs(part)
        self._draw_details(status, part)

    def _draw_costs(self, part: Scored) -> None:
        costs = known_costs(part.comparison)
        _offer(self, self._cost, [(say(name), name) for name in costs])
        if self._plot is None:
            self._head.value += wrapped(escape(say("no anywidget")))
        elif not costs:
            self._plot.plot = {}
            self._head.value += wrapped(escape(say("no cost")))
        else:
            self._plot.plot = scatter(part.comparison, self._cost.value)

    def _draw_details(self, status: SweepStatus | None, part: Scored | None) -> None:
        kind, key = self._opened
        entry = next((entry for entry in status.entries if entry.run_id == key), None) if status and kind == "run" else None
        row = next((row for row in part.comparison.rows if row.result.config_id == key), None) if part and part.comparison else None
        view = self._views.value
        if entry and status and view == "runs":
            scored = self._scored[1] if self._scored[0] == status.name else []
            self._details.value = run_details(status, entry, scored, self._server)
        elif row and status and part and kind == "configuration" and view in ("results", "costs"):
            self._details.value = config_details(status, part, row, self._server)
        else:
            self._details.value = wrapped(f'<div class="faint">{say("nothing open")}</div>') if view in ("runs", "results", "costs") else ""
            row = None
        self._tools.layout.display = None if row and kind == "configuration" else "none"


def _offer(browser: Browser, menu: Any, options: list[tuple[str, str]]) -> None:
    """Give a menu other options, and keep what is chosen where it is still there; else choose the first."""
    if list(menu.options) != options:
        chosen, values = menu.value, [value for _, value in options]
        with browser._silent():
            menu.options = options
            menu.value = chosen if chosen in values else next(iter(values), None)
