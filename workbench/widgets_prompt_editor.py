"""Edit a prompt template in JupyterLab: what is wrong with it is said while it is written, and a variant is saved as a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.datatypes import WorkbenchError
from workbench.prompting import Prompt
from workbench.widgets_language import words
from workbench.widgets_prompt_template import VariantExistsError, check_template, save_variant, template_text
from workbench.widgets_style import brief, error_box, escape

WORDS = {
    "start": ("start from", "바탕"),
    "load": ("Load", "불러오기"),
    "text": ("Template", "템플릿"),
    "same": ("✓ as {name} has it; change it and it becomes the column “draft”", "✓ {name} 그대로입니다. 고치면 ‘초안’ 열이 됩니다"),
    "valid": ("✓ valid", "✓ 올바른 템플릿"),
    "name": ("save as", "이름"),
    "hint": ("a name, such as short-answer", "예: 짧은-답변"),
    "save": ("Save", "저장"),
    "replace": ("Overwrite", "덮어쓰기"),
    "keep": ("Keep the old one", "그대로 두기"),
    "exists": ("{reason}. Write over it?", "{reason}. 덮어쓸까요?"),
    "saved": ("✓ saved. In a sweep or a notebook:", "✓ 저장했습니다. 스윕이나 노트북에서는:"),
}
say = words(WORDS)
STYLE = """<style>
.workbench-template textarea { font: 13px/1.5 var(--jp-code-font-family, monospace); }
.workbench-template :is(textarea, input, button, select):focus-visible { outline: 3px solid #1f78d1; outline-offset: 1px; }
</style>"""


class Editor:
    """Hold the text area and the form that saves; `box` is the widget.

    `drafted` gets the prompt of the text, what is wrong with it, or None while it is as it was; `saved` gets the spec of a new file.
    """

    def __init__(
        self,
        names: Sequence[str],
        language: str,
        crash: Any,
        drafted: Callable[[Prompt | WorkbenchError | None], None],
        saved: Callable[[str], None],
    ) -> None:
        import ipywidgets

        self._language, self._drafted, self._saved = language, drafted, saved
        wide = {"layout": {"width": "min(100% - 4px, 720px)"}, "style": {"description_width": "130px"}}
        self._start = ipywidgets.Dropdown(options=list(names), description=say("start"), **wide)
        self._load = ipywidgets.Button(description=say("load"), icon="download")
        self._text = ipywidgets.Textarea(layout={"width": "calc(100% - 4px)", "height": "340px"})
        self._text.tooltip = say("text")
        self._state = ipywidgets.HTML()
        self._name = ipywidgets.Text(description=say("name"), placeholder=say("hint"), **wide)
        self._save = ipywidgets.Button(description=say("save"), icon="save")
        self._replace = ipywidgets.Button(description=say("replace"), button_style="warning", layout={"width": "auto"})
        self._keep = ipywidgets.Button(description=say("keep"), layout={"width": "auto"})
        self._choice = ipywidgets.HBox([self._replace, self._keep], layout={"display": "none"})
        self._done = ipywidgets.HTML()
        first, last = (
            ipywidgets.Box(parts, layout={"flex_flow": "row wrap"})
            for parts in ([self._start, self._load], [self._name, self._save, self._choice])
        )
        self.box = ipywidgets.VBox([ipywidgets.HTML(STYLE), first, self._text, self._state, last, self._done])
        self.box.layout = {"display": "none", "border": "1px solid var(--jp-border-color1, #b9c1c9)", "padding": "8px"}
        self.box.add_class("workbench-template")

        shown = crash.capture(clear_output=True)
        self._load.on_click(shown(lambda _button: self._begin()))
        self._text.observe(shown(self._check), "value")
        self._name.observe(lambda _change: self._ask(False), "value")
        self._save.on_click(shown(lambda _button: self._write(False)))
        self._replace.on_click(shown(lambda _button: self._write(True)))
        self._keep.on_click(shown(lambda _button: self._ask(False)))
        self._begin()

    def show(self, whether: bool) -> None:
        """Open the editor or close it."""
        self.box.layout.display = "flex" if whether else "none"

    def offer(self, names: Sequence[str], chosen: str) -> None:
        """List these templates to start from, and begin with one of them."""
        self._start.options = list(names)
        self._start.value = chosen
        self._begin()

    def _begin(self) -> None:
        """Take the text of the template chosen."""
        self._loaded = self._start.value
        try:
            self._text.value = template_text(self._loaded, self._language)
            self._check()
        except WorkbenchError as error:
            self._state.value = error_box(str(error))

    def _check(self, _change: Mapping[str, Any] | None = None) -> None:
        self._done.value = ""
        self._ask(False)
        draft: Prompt | WorkbenchError | None = None
        try:
            if self._text.value == template_text(self._loaded, self._language):
                self._tell(say("same", name=brief(self._loaded)))
            else:
                draft = check_template(self._text.value, self._language)
                self._tell(say("valid"))
        except WorkbenchError as error:
            draft = error
            self._state.value = error_box(str(error))
        self._drafted(draft)

    def _tell(self, text: str) -> None:
        self._state.value = f'<div role="status">{escape(text)}</div>'

    def _ask(self, whether: bool) -> None:
        """Ask whether to write over a file, or take the question back."""
        self._choice.layout.display = "flex" if whether else "none"

    def _write(self, overwrite: bool) -> None:
        self._ask(False)
        try:
            spec = save_variant(self._name.value, self._text.value, self._language, overwrite)
        except VariantExistsError as error:
            self._done.value = f'<div role="alert">{escape(say("exists", reason=error))}</div>'
            self._ask(True)
        except WorkbenchError as error:
            self._done.value = error_box(str(error))
        else:
            self._saved(spec)
            self._done.value = f'<div role="status">{escape(say("saved"))} <code>prompt: {escape(spec)}</code></div>'
