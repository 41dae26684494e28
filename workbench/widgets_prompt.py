"""The prompt playground in JupyterLab: prompts side by side, what is sent byte for byte, answers as they are written, and a stop.

The kernel hears of a button only when it does nothing else, so what takes long is done in a thread (`widgets_prompt_stream.Work`).
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from workbench import models
from workbench.datatypes import Example, WorkbenchError
from workbench.experiment_data import Prepared
from workbench.prompting import PROMPTS, Prompt, load_prompt, resolve_prompt
from workbench.settings import CLOSED_BOOK, Settings
from workbench.widgets_language import words
from workbench.widgets_prompt_answers import Prompts
from workbench.widgets_prompt_editor import Editor
from workbench.widgets_prompt_stream import Column, Work
from workbench.widgets_prompt_template import saved_variants
from workbench.widgets_prompt_view import PROMPT_STYLE, prompt_view
from workbench.widgets_question import find_question, question_controls, question_head
from workbench.widgets_saved import saved_as
from workbench.widgets_sliders import slider_names
from workbench.widgets_style import STYLE, brief, error_box, escape

DRAFT = "draft"  # the name of the prompt that stands in the editor
MAX_SHOTS = 8
STOPS: weakref.WeakSet[threading.Event] = weakref.WeakSet()  # of the playgrounds of this kernel
WORDS = {
    "generator": ("generator", "생성기"),
    "generator hint": ("extractive, hf:MODEL, openvino:MODEL or openai:MODEL", "extractive, hf:모델, openvino:모델 또는 openai:모델"),
    "shots": ("shots", "예시 수"),
    "no shots": (
        "Shots are taken from the training part of the data; prepare it with split selection, confirmation or test.",
        "예시는 데이터의 학습 부분에서 가져옵니다. 데이터를 준비할 때 split을 selection, confirmation, test 중 하나로 지정하십시오.",
    ),
    "prompts": ("Prompts", "프롬프트"),
    "draft": ("draft", "초안"),
    "run": ("Run", "실행"),
    "stop": ("Stop", "중지"),
    "loading": ("Reading the messages …", "메시지를 만드는 중 …"),
    "ready": ("Nothing is sent before you press Run.", "실행을 누르기 전에는 아무것도 보내지 않습니다."),
    "busy": ("{generator} is answering …", "{generator}: 답변 생성 중 …"),
    "still": ("Still answering: stop it first.", "아직 답변을 생성하는 중입니다. 먼저 중지하십시오."),
    "stopping": ("Stopping …", "중지하는 중 …"),
    "idle": ("Nothing is being written.", "생성 중인 답변이 없습니다."),
    "done": ("Done.", "끝났습니다."),
    "stopped": ("Stopped.", "중지했습니다."),
    "failed": ("Not done.", "끝내지 못했습니다."),
    "none": ("tick at least one prompt", "프롬프트를 하나 이상 고르십시오"),
    "edit": ("Edit a template", "템플릿 편집"),
    "saved": ("Run this cell in JupyterLab to try prompts here.", "JupyterLab에서 이 셀을 실행하면 여기서 프롬프트를 시험할 수 있습니다."),
}
say = words(WORDS)
CSS = """<style>
.workbench-playground :is(button, input, select, textarea, summary):focus-visible { outline: 3px solid #1f78d1; outline-offset: 1px; }
.workbench-column { padding: 10px 12px; border-radius: 6px; }
</style>"""


def prompt_playground(prepared: Prepared, settings: Settings, prompts: Sequence[str], question: str = "", cached: bool = True) -> Any:
    """Return an interface that asks one question after the other with each of several prompts, and edits their templates.

    It shows the messages at once and answers when its button is pressed. Prompts and settings are checked before any widget is made, so
    wrong arguments raise WorkbenchError here. With the environment variable WORKBENCH_HEADLESS set, answer the question, return that static
    view and create no widget.
    """
    example, group = find_question(prepared.dataset, question), Prompts(prepared, settings, prompts, cached)
    if os.environ.get("WORKBENCH_HEADLESS"):
        from IPython.display import HTML

        return HTML(prompt_view(example, list(group.answer(example, group.prompts)), prepared.tokenizer))
    return saved_as(Playground(group, example).box, f"<p>{say('saved')}</p>")


def known_generators(settings: Settings) -> list[str]:
    """Return the generators to choose from: the one that is set, `extractive`, and the models that are in the store."""
    stored = [f"hf:{name}" for name, entry in models.catalogue().items() if entry.kind == "generator" and models.stored(name)]
    return list(dict.fromkeys([settings.generator, "extractive", *stored]))


class Playground:
    """Hold the widgets of a playground and what they work with; `box` is the widget to show."""

    def __init__(self, group: Prompts, example: Example) -> None:
        import ipywidgets

        self.group = group
        self.prompts: dict[str, Prompt | WorkbenchError | None] = dict(group.prompts)
        language = group.prepared.language
        others = [resolve_prompt(name, language) for name in (*PROMPTS, CLOSED_BOOK)]
        listed = list(dict.fromkeys([*group.prompts, *others, *saved_variants()]))
        wide = {"layout": {"width": "min(100% - 4px, 720px)"}, "style": {"description_width": "130px"}}

        for stop in STOPS:
            stop.set()  # a cell that is run again leaves no model at work behind what is no longer shown
        self.stop = threading.Event()
        STOPS.add(self.stop)
        self.busy = False
        self.columns: dict[str, Column] = {}
        self.crash = ipywidgets.Output()  # shows the traceback of an error that is not about the input
        self.problem, self.status, self.head = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.HTML()
        self.work = Work(self.problem, self.crash)
        self.generator = ipywidgets.Combobox(
            value=group.settings.generator,
            options=known_generators(group.settings),
            placeholder=say("generator hint"),
            description=say("generator"),
            continuous_update=False,
            **wide,
        )
        most = max(MAX_SHOTS, group.settings.shot_count)
        self.shots = ipywidgets.IntSlider(
            group.settings.shot_count,
            0,
            most,
            description=say("shots"),
            continuous_update=False,
            disabled=not group.prepared.training,
            **wide,
        )
        lacking = "" if group.prepared.training else f'<div style="opacity: .75">{escape(say("no shots"))}</div>'
        self.boxes: dict[str, Any] = {}
        self.choice = ipywidgets.Box(layout={"flex_flow": "row wrap"})
        self.run = ipywidgets.Button(description=say("run"), icon="play", button_style="primary")
        self.halt = ipywidgets.Button(description=say("stop"), icon="stop")
        columns = "repeat(auto-fit, minmax(min(100%, 300px), 1fr))"
        self.grid = ipywidgets.GridBox(layout={"grid_template_columns": columns, "grid_gap": "12px", "align_items": "flex-start"})
        shown = self.crash.capture(clear_output=True)
        self.look = shown(self._look)
        controls, self.current = question_controls(group.prepared.dataset, example, self.look)
        for name in listed:
            self._list(name, name in group.prompts)
        self.editor = Editor(listed, language, self.crash, self._drafted, self._saved)
        edit = ipywidgets.ToggleButton(description=say("edit"), icon="edit", layout={"width": "auto", "align_self": "flex-start"})
        edit.observe(lambda change: self.editor.show(change["new"]), "value")
        legend = ipywidgets.HTML(f"<b>{say('prompts')}</b>")
        bar = ipywidgets.HBox([self.run, self.halt, self.status])
        styles = ipywidgets.HTML(STYLE + PROMPT_STYLE + CSS)
        parts = [styles, *controls, self.generator, self.shots, ipywidgets.HTML(lacking), legend, self.choice, edit, self.editor.box, bar]
        self.box = ipywidgets.VBox([*parts, self.problem, self.crash, self.head, self.grid, *slider_names()])
        self.box.add_class("workbench-playground")
        self.run.on_click(shown(self._run))
        self.halt.on_click(shown(self._halt))
        for control in (self.generator, self.shots):
            control.observe(lambda _change: self.look(), "value")
        self.look()

    # --- choosing ------------------------------------------------------------------------------------------------------------------------

    def _list(self, name: str, ticked: bool) -> None:
        """Offer a prompt."""
        import ipywidgets

        label = say("draft") if name == DRAFT else brief(name)
        box = self.boxes[name] = ipywidgets.Checkbox(
            ticked, description=label, indent=False, layout={"width": "auto", "margin": "2px 12px 2px 0"}
        )
        box.observe(lambda _change: self.look(), "value")
        self.choice.children = [*self.choice.children, box]

    def _drafted(self, draft: Prompt | WorkbenchError | None) -> None:
        """Let the text in the editor be a prompt like the others while it is a template of its own; one that is wrong cannot be asked."""
        before, self.prompts[DRAFT] = self.prompts.get(DRAFT), draft
        if DRAFT not in self.boxes:
            if draft is None:
                return
            self._list(DRAFT, False)
        box = self.boxes[DRAFT]
        box.disabled = draft is None
        if (before is None) != (draft is None):
            box.value = draft is not None  # which looks
        elif isinstance(draft, Prompt):
            self.look()
        if isinstance(draft, WorkbenchError) and DRAFT in self.columns:
            self.columns[DRAFT].outdate()

    def _saved(self, spec: str) -> None:
        """Ask with the file that was saved in the place of the draft."""
        self.prompts[spec] = load_prompt(spec, self.group.prepared.language)
        if spec not in self.boxes:
            self._list(spec, True)
        self.boxes[spec].value = True
        if DRAFT in self.boxes:
            self.boxes[DRAFT].value = False
        self.editor.offer([name for name in self.boxes if name != DRAFT], spec)
        self.look()

    def _chosen(self) -> tuple[str, int, Example, dict[str, Prompt]]:
        """Return the generator, the number of shots, the question and the prompts; raise WorkbenchError where one is missing or wrong."""
        names = [name for name, box in self.boxes.items() if box.value]
        if not names:
            raise WorkbenchError(say("none"))
        chosen = {}
        for name in names:
            prompt = self.prompts.get(name) or load_prompt(name, self.group.prepared.language)
            if isinstance(prompt, WorkbenchError):
                raise prompt
            chosen[name] = self.prompts[name] = prompt
        return self.generator.value.strip(), self.shots.value, self.current(), chosen

    def _lay_out(self) -> tuple[str, int, Example, dict[str, Prompt]] | None:
        """Return what is chosen, with a column for each prompt, or show why it cannot be."""
        try:
            chosen = self._chosen()
        except WorkbenchError as error:
            self.problem.value = error_box(str(error))
            return None
        self.problem.value, self.crash.outputs = "", ()
        for name in chosen[3]:
            if name not in self.columns:
                self.columns[name] = Column(say("draft") if name == DRAFT else name)
        self.grid.children = [self.columns[name].box for name in chosen[3]]
        return chosen

    def _tell(self, text: str) -> None:
        self.status.value = f'<span role="status">{escape(text)}</span>'

    # --- showing and answering -----------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Show what would be sent, unless an answer is being written."""
        if not self.busy and (chosen := self._lay_out()):
            self._tell(say("loading"))
            self.work.do("messages", lambda: self._show_messages(*chosen))

    def _show_messages(self, generator: str, shots: int, example: Example, prompts: Mapping[str, Prompt]) -> None:
        ended = "failed"
        try:
            self._expect(generator, shots, example, prompts)
            ended = "ready"
        finally:
            if not self.busy:
                self._tell(say(ended))

    def _expect(self, generator: str, shots: int, example: Example, prompts: Mapping[str, Prompt]) -> None:
        self.group.change(generator, shots)
        self.head.value = f'<div class="workbench-view prompt">{question_head(example)}</div>'
        for name, asked in self.group.messages(example, prompts):
            more = prompts[name].before is not None
            self.columns[name].expect(self.group.settings.generator, asked, shots, self.group.prepared.tokenizer, more)

    def _run(self, _button: Any) -> None:
        if self.busy:
            self._tell(say("still"))
            return
        if chosen := self._lay_out():
            self.stop.clear()
            self.busy, self.run.button_style, self.halt.button_style = True, "", "danger"
            self._tell(say("busy", generator=brief(self.generator.value)))
            self.work.do("answers", lambda: self._answer(*chosen))  # last: it may end before this returns

    def _halt(self, _button: Any) -> None:
        self.stop.set()
        self._tell(say("stopping" if self.busy else "idle"))

    def _answer(self, generator: str, shots: int, example: Example, prompts: Mapping[str, Prompt]) -> None:
        ended = "failed"
        try:
            self._expect(generator, shots, example, prompts)
            for name in prompts:
                self.columns[name].queue()
            for tried in self.group.answer(example, prompts, lambda name, piece: self.columns[name].hear(piece), self.stop.is_set):
                self.columns[tried.prompt].finish(example, tried, self.group.prepared.tokenizer)
            ended = "stopped" if self.stop.is_set() else "done"
        finally:
            for name in prompts:
                self.columns[name].leave()
            self.run.button_style, self.halt.button_style = "primary", ""
            self._tell(say(ended))
            self.busy = False
