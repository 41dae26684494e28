"""What the prompt playground works with: a thread for what takes long, and columns whose text grows while it is written."""

from __future__ import annotations

import functools
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from workbench.datatypes import Completion, Example, Tokenizer, WorkbenchError
from workbench.registry import require
from workbench.widgets_language import words
from workbench.widgets_prompt_view import Asked, Tried, answer_view, asked_view, columns_style, completion_facts
from workbench.widgets_style import brief, error_box, visible

STATIC = Path(__file__).resolve().parent / "static"
REPAINT = 0.1  # seconds between two looks at a text that is being written
WORDS = {
    "text": ("text as it is written", "생성된 답변"),
    "gone": ("The kernel is gone. Run this cell again.", "커널이 끊겼습니다. 이 셀을 다시 실행하십시오."),
    "new": ("not asked yet", "아직 실행하지 않음"),
    "queued": ("waits for its turn", "차례를 기다리는 중"),
    "outdated": ("the template is wrong now; this is how it was before", "템플릿에 오류가 있어 수정하기 전의 내용을 표시합니다"),
    "writing": ("writing …", "생성 중 …"),
    "seconds": ("{seconds:.1f} s", "{seconds:.1f}초"),
}
say = words(WORDS)


@functools.cache
def _stream_class() -> type:
    """Return the widget that shows a text while it grows."""
    require("anywidget", "lab", "the prompt playground")
    import anywidget
    import traitlets

    class Stream(anywidget.AnyWidget):
        _esm = (STATIC / "streams.js").read_text(encoding="utf-8")
        _css = (STATIC / "streams.css").read_text(encoding="utf-8")
        words = traitlets.Dict().tag(sync=True)
        name = traitlets.Unicode().tag(sync=True)
        state = traitlets.Unicode("waiting").tag(sync=True)
        note = traitlets.Unicode().tag(sync=True)
        text = traitlets.Unicode().tag(sync=True)

    return Stream


class Column:
    """Show what one prompt sends and what comes back; its methods may be called from any one thread at a time."""

    def __init__(self, name: str) -> None:
        import ipywidgets

        self.stream = _stream_class()(words={"text": say("text"), "gone": say("gone")}, name=brief(name), note=say("new"))
        self.below = ipywidgets.HTML()
        self.box = ipywidgets.VBox(
            [self.stream, self.below], layout={"min_width": "0", "border": "1px solid var(--jp-border-color1, #b9c1c9)"}
        )
        self.box.add_class("workbench-column")
        self._expected: object = None
        self._sent = ""  # HTML of the messages
        self._pieces: list[str] = []
        self._painted = 0.0

    def expect(self, generator: str, asked: Asked, shots: int, tokenizer: Tokenizer, more: bool) -> None:
        """Show the messages that would be sent; an answer to the very same ones stays."""
        if self._expected != (generator, asked):
            self._expected = generator, asked
            self.below.value = self._sent = columns_style(asked_view(asked, shots, tokenizer, more))
            self._tell("waiting", say("new"), "")

    def outdate(self) -> None:
        """Say that what stands here is of a template before the one that is wrong now."""
        self._expected = None
        self._tell("failed", say("outdated"), "")

    def queue(self) -> None:
        """Say that the answer comes later."""
        self._pieces = []
        self.below.value = self._sent  # what an answer before this one came to belongs to no text now
        self._tell("waiting", say("queued"), "")

    def hear(self, piece: str) -> None:
        """Add a piece of text."""
        self._pieces.append(piece)
        if time.monotonic() - self._painted >= REPAINT:
            self._tell("writing", say("writing"), "".join(self._pieces))
            self._painted = time.monotonic()

    def finish(self, example: Example, tried: Tried, tokenizer: Tokenizer) -> None:
        """Show the whole answer, or what was written of it."""
        completion = tried.answer.completion
        stopped = any(step.completion.finish_reason == "stopped" for step in tried.answer.steps)
        state = "stopped" if stopped else "failed" if tried.answer.error else "done"
        self.below.value = columns_style(answer_view(example, tried, tokenizer, live=True))
        self._tell(state, _facts(completion, stopped), completion.text)

    def leave(self) -> None:
        """Say that nothing was asked after all."""
        if self.stream.state == "waiting":
            self._tell("waiting", say("new"), "")

    def _tell(self, state: str, note: str, text: str) -> None:
        with self.stream.hold_sync():
            self.stream.state, self.stream.note, self.stream.text = state, note, visible(text)


def _facts(completion: Completion, stopped: bool) -> str:
    ended = completion_facts(completion if not stopped or completion.finish_reason == "stopped" else Completion("", "stopped"))
    return " · ".join([*ended, *([say("seconds", seconds=completion.seconds)] if completion.seconds else [])])


class _Shown(AbstractContextManager):
    """Show the error of what is done inside: a thread has nobody to raise it to."""

    def __init__(self, problem: Any, crash: Any) -> None:
        self._problem, self._crash = problem, crash

    def __exit__(self, _kind: Any, error: BaseException | None, _place: Any) -> bool:
        if isinstance(error, WorkbenchError):
            self._problem.value = error_box(str(error))
        elif error:
            self._crash.append_stderr("".join(traceback.format_exception(error)))
        return True


class Work:
    """Do one thing after the other in a thread that ends when nothing is left, so that buttons are heard meanwhile.

    What is wrong with the input goes into `problem` (an HTML widget), any other error with its traceback into `crash` (an Output).
    """

    def __init__(self, problem: Any, crash: Any) -> None:
        self._problem, self._crash = problem, crash
        self._jobs: dict[str, Callable[[], None]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def do(self, kind: str, job: Callable[[], None]) -> None:
        """Do this job after those before it, instead of one of its kind that has not begun."""
        with self._lock:
            self._jobs.pop(kind, None)
            self._jobs[kind] = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="playground", daemon=True)
                self._thread.start()

    def wait(self) -> None:
        """Return when nothing is left to do."""
        while thread := self._thread:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._thread = None
                    return
                job = self._jobs.pop(next(iter(self._jobs)))
            with _Shown(self._problem, self._crash):
                job()
