"""Ask an agent questions, watch its six steps and say what an answer is worth: functions that return HTML, and a JupyterLab interface."""

from __future__ import annotations

import functools
import os
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench import feedback
from workbench.datatypes import Answer, WorkbenchError
from workbench.experiment_ask import Agent
from workbench.experiment_data import NONE
from workbench.registry import require
from workbench.settings import Settings
from workbench.storage import home
from workbench.widgets_ask_answer import answer_view, partial_view
from workbench.widgets_ask_steps import Taken, failed_view, running_view, step_view, steps_head
from workbench.widgets_language import words
from workbench.widgets_saved import saved_as
from workbench.widgets_style import error_box

STATIC = Path(__file__).parent / "static"
EXAMPLES = 200  # questions of the data set that are proposed
REPAINT = 0.1  # seconds between two views of a text that is being written
WORDS = {
    "saved": ("Run this cell in JupyterLab to ask questions here.", "JupyterLab에서 이 셀을 실행하면 여기서 질문할 수 있습니다."),
    "preparing": ("Preparing the documents …", "문서를 준비하는 중 …"),
    "question": ("Question", "질문"),
    "hint": ("Any question about the documents; Enter asks", "문서에 대한 질문을 쓰고 Enter를 누르십시오"),
    "examples": ("Examples", "예시"),
    "pick": ("choose a question", "질문 고르기"),
    "ask": ("Ask", "질문하기"),
    "stop": ("Stop", "중지"),
    "seconds": ("{{count}} s", "{{count}}초"),
    "working": ("Answering …", "답변을 만드는 중 …"),
    "busy": ("Still answering: wait, or stop it and ask again.", "아직 답변 중입니다. 기다리거나 중지한 뒤 다시 질문하십시오."),
    "stopping": ("Stopping …", "중지하는 중 …"),
    "gone": ("The kernel is gone. Run this cell again to go on.", "커널이 끊겼습니다. 이 셀을 다시 실행하십시오."),
    "done": ("Answered in {seconds:.1f} s.", "{seconds:.1f}초 만에 답변했습니다."),
    "stopped": ("Stopped after {seconds:.1f} s.", "{seconds:.1f}초 뒤에 중지했습니다."),
    "failed": ("There is no answer.", "답변하지 못했습니다."),
    "rating": ("Is this answer helpful?", "답변이 도움이 되었습니까?"),
    "up": ("helpful", "도움 됨"),
    "down": ("not helpful", "도움 안 됨"),
    "comment": ("Comment", "의견"),
    "why": ("What is right or wrong with it? (optional)", "무엇이 맞거나 틀렸습니까? (선택)"),
    "keep": ("Save feedback", "피드백 저장"),
    "choose": ("Choose helpful or not helpful first.", "도움이 되었는지 먼저 고르십시오."),
    "kept": ("Saved to {file}, {count} in all.", "{file}에 저장했습니다. 모두 {count}건입니다."),
    "damaged": ("{count} unreadable lines there are left as they are.", "읽을 수 없는 {count}줄은 그대로 두었습니다."),
}
say = words(WORDS)


# --- the view ----------------------------------------------------------------------------------------------------------------------------


def ask_view(agent: Agent, question: str) -> str:
    """Answer a question and return static, escaped HTML of the answer and of the six steps; raise WorkbenchError when there is none."""
    taken: list[Taken] = []
    rows: list[str] = []

    def watch(step: str, seconds: float, produced: Any) -> None:
        taken.append(Taken(step, seconds, produced[0]))
        rows.append(step_view(agent, question, taken))

    answer = agent.answer(question, watch)
    if answer.error:
        raise WorkbenchError(answer.error)
    return answer_view(answer, agent.pipeline.prompt.citations) + steps_head() + "".join(rows)


# --- the interface -----------------------------------------------------------------------------------------------------------------------


def ask_agent(settings: Settings, question: str = "", *, cached: bool = True, allow_download: bool = False) -> Any:
    """Return an interface that asks one question after the other over the documents of a data set, and keeps what is said about answers.

    The parts are built here, once, so wrong settings raise WorkbenchError; no generator stands for the default one. A question is answered
    in a thread of its own; it can be stopped, and until it ends no other is taken. Feedback goes to `feedback.feedback_file()`.
    With the environment variable WORKBENCH_HEADLESS set, answer the question, by default the first of the data set, return that static
    view and create no widget.
    """
    from IPython.display import HTML, display

    if settings.generator == NONE:
        settings = settings.replace(generator="auto")
    headless, notice = bool(os.environ.get("WORKBENCH_HEADLESS")), None
    if not headless:
        _forms()  # tells now that a package is missing
        notice = display(HTML(say("preparing")), display_id=True)  # a first embedding of many documents takes minutes
    try:
        agent = Agent(settings, cached=cached, allow_download=allow_download)
    finally:
        if notice:
            notice.update(HTML(""))
    if headless:
        return HTML(ask_view(agent, question or next((example.question for example in agent.prepared.training), "")))
    return _wire(agent, question)


def rate(agent: Agent, answer: Answer, rating: str, comment: str) -> str:
    """Store what is said about an answer and return one line that says where; raise WorkbenchError when it cannot be kept."""
    path = feedback.feedback_file()
    feedback.append(path, feedback.give(answer, agent.settings, agent.prepared.dataset.fingerprint, rating, comment))
    records, damaged = feedback.read(path)
    file = path.relative_to(home()).as_posix()
    return " ".join([say("kept", file=file, count=len(records)), *([say("damaged", count=len(damaged))] if damaged else [])])


@functools.cache
def _forms() -> tuple[type, type]:
    """Return the widget that holds the question box and the one that holds the feedback form."""
    require("anywidget", "lab", "ask_agent")
    import anywidget
    import traitlets

    def read(name: str) -> str:
        return (STATIC / name).read_text(encoding="utf-8")

    class QuestionForm(anywidget.AnyWidget):
        _esm, _css = read("ask.js"), read("ask.css")
        words = traitlets.Dict().tag(sync=True)
        question = traitlets.Unicode().tag(sync=True)
        examples = traitlets.List().tag(sync=True)
        busy = traitlets.Bool().tag(sync=True)
        status = traitlets.Unicode().tag(sync=True)

    class FeedbackForm(anywidget.AnyWidget):
        _esm, _css = read("feedback.js"), read("ask.css")
        words = traitlets.Dict().tag(sync=True)
        longest = traitlets.Int().tag(sync=True)
        shown = traitlets.Bool().tag(sync=True)
        status = traitlets.Unicode().tag(sync=True)

    return QuestionForm, FeedbackForm


def _wire(agent: Agent, question: str) -> Any:
    """Build the forms and the places that views go to."""
    import ipywidgets

    QuestionForm, FeedbackForm = _forms()
    labels = {key: say(key) for key in ("question", "hint", "examples", "ask", "stop", "seconds", "busy", "stopping", "gone")} | {
        "choose": say("pick")
    }
    examples = list(dict.fromkeys(example.question for example in agent.prepared.training[:EXAMPLES]))
    form = QuestionForm(words=labels, question=question, examples=examples)
    labels = {key: say(key) for key in ("rating", "up", "down", "comment", "keep", "choose", "gone")} | {"hint": say("why")}
    opinion = FeedbackForm(words=labels, longest=feedback.MAX_COMMENT)
    card, head = ipywidgets.HTML(), ipywidgets.HTML()
    rows = [ipywidgets.HTML() for _ in agent.steps]
    crash = ipywidgets.Output()  # shows the traceback of an error that is not about the input
    stop = threading.Event()
    answered: list[Answer] = []  # the last one, where feedback can be given

    def work(question: str) -> None:
        taken: list[Taken] = []
        written: list[str] = []
        start, ended, turn = time.monotonic(), threading.Event(), threading.Lock()

        def watch(step: str, seconds: float, produced: Any) -> None:
            with turn:
                taken.append(Taken(step, seconds, produced[0]))
                rows[len(taken) - 1].value = step_view(agent, question, taken)
                if len(taken) < len(rows):
                    rows[len(taken)].value = running_view(agent, len(taken))

        def paint() -> None:  # in a thread of its own, so that what was written before a silence is seen
            painted = 0
            while not ended.wait(REPAINT):
                with turn:
                    if len(written) > painted and agent.steps[len(taken) : len(taken) + 1] == ("generate",):
                        painted, text = len(written), "".join(written)
                        card.value, rows[len(taken)].value = partial_view(question, text), running_view(agent, len(taken), text)

        painter = threading.Thread(target=paint, daemon=True)
        status = "failed"
        try:
            head.value, rows[0].value = steps_head(), running_view(agent, 0)
            painter.start()
            try:
                answer = agent.answer(question, watch, written.append, stop.is_set)
            finally:
                ended.set()
                painter.join()
            if any(step.completion.finish_reason == "stopped" for step in answer.steps):  # of a chain maybe the first
                status, card.value = "stopped", partial_view(question, answer.completion.text)
            elif answer.error:
                raise WorkbenchError(answer.error)
            else:
                status, card.value = "done", answer_view(answer, agent.pipeline.prompt.citations)
                answered.append(answer)
                opinion.shown = True
        except WorkbenchError as error:
            card.value = error_box(str(error))
        except BaseException:
            crash.append_stderr(traceback.format_exc())
            raise
        finally:
            if status == "failed" and len(taken) < len(rows):
                rows[len(taken)].value = failed_view(agent, len(taken))
            form.status = say(status, seconds=time.monotonic() - start)
            form.busy = False

    @crash.capture(clear_output=True)
    def asked(_form: Any, message: Mapping[str, Any], _buffers: Any) -> None:
        if "stop" in message:
            stop.set()
        elif not form.busy:
            form.busy, form.status, opinion.shown, opinion.status = True, say("working"), False, ""
            stop.clear()
            answered.clear()
            for place in (card, head, *rows):
                place.value = ""
            crash.outputs = ()
            threading.Thread(target=work, args=(str(message["ask"]),), daemon=True).start()

    @crash.capture(clear_output=True)
    def rated(_form: Any, message: Mapping[str, Any], _buffers: Any) -> None:
        try:
            if not answered:
                raise WorkbenchError("there is no answer to rate")
            opinion.status = rate(agent, answered[0], str(message["rating"]), str(message["comment"]))
        except WorkbenchError as error:
            opinion.status = str(error)

    form.on_msg(asked)
    opinion.on_msg(rated)
    return saved_as(ipywidgets.VBox([form, card, opinion, head, *rows, crash]), f"<p>{say('saved')}</p>")
