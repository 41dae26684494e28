"""The annotator in a real JupyterLab: select by mouse and by keys, ask in Korean, save, edit, undo; what is lost is said."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from workbench import data
from workbench.storage import write_text

pytest_plugins = ["lab"]

LEAVE = """---
title: 연차휴가 안내
---
# 연차휴가 안내

👍 연차휴가는 사용 예정일 3일 전까지 전자결재로 신청합니다. 급한 사정이 있으면 당일 오전 9시까지 알립니다.

## 이월

쓰지 않은 연차는 다음 해 3월 말까지 최대 5일 이월됩니다. 기한이 지나면 소멸합니다.
"""
PENSION = "# 퇴직연금\n\n퇴직연금은 입사 1년 뒤부터 적립됩니다.\n"
numbers = itertools.count(1)
# the middle of the place between two characters of the text, as a mouse would point at it
CORNERS = """(pane, quote) => {
  const walker = document.createTreeWalker(pane, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const at = walker.currentNode.data.indexOf(quote);
    if (at < 0) continue;
    const range = document.createRange();
    range.setStart(walker.currentNode, at);
    range.setEnd(walker.currentNode, at + quote.length);
    const boxes = [...range.getClientRects()], first = boxes[0], last = boxes[boxes.length - 1];
    return [first.left + 1, (first.top + first.bottom) / 2, last.right - 1, (last.top + last.bottom) / 2];
  }
}"""

# close the notebook and open it again, as a reload of the page does: the kernel lives on
REOPEN = """async () => {
  const context = window.shownPanel.context;
  await context.save();
  const path = context.path;
  window.shownPanel.dispose();
  window.shownPanel = await window.jupyterapp.commands.execute("docmanager:open", {path, factory: "Notebook"});
  await window.shownPanel.sessionContext.ready;
}"""

# a defect of the program, in place of its answer to any message
BREAK = """() => window.shownPanel.sessionContext.session.kernel.requestExecute({code:
  "import workbench.widgets_annotator; workbench.widgets_annotator.respond = None"}).done.then(() => true)"""


def expect(place: Any) -> Any:
    from playwright.sync_api import expect

    return expect(place)


def see(place: Any, text: str) -> None:
    expect(place).to_contain_text(text)


@pytest.fixture
def folder(lab: Any) -> Path:
    """Give a new folder of two documents below the folder that JupyterLab serves."""
    made = lab.root / f"documents-{next(numbers)}"
    write_text(made / "leave.md", LEAVE)
    write_text(made / "pension.md", PENSION)
    return made


def cell(folder: Path) -> str:
    return f"from workbench.widgets_annotator import annotator\nannotator({folder.name!r})"


class Annotator:
    """Hold what a person uses of an annotator, by its labels."""

    def __init__(self, shown: Any, korean: bool = True) -> None:
        self.page, self.keyboard = shown.page, shown.page.keyboard
        self.root = shown.panel.locator(".workbench-annotator")
        self.text = self.root.locator(".text")
        self.question = self.root.get_by_label("질문" if korean else "Question", exact=True).and_(self.root.locator("textarea"))
        self.answer = self.root.get_by_label("답" if korean else "Answer", exact=True).and_(self.root.locator("textarea"))
        self.evidence = self.root.get_by_role("list", name="근거" if korean else "Evidence")
        self.questions = self.root.get_by_role("list", name="질문 목록" if korean else "Questions")
        self.said = self.root.get_by_role("status")
        self.alert = self.root.get_by_role("alert")

    def drag(self, quote: str) -> None:
        see(self.text, quote)
        self.text.scroll_into_view_if_needed()
        left, top, right, bottom = self.text.evaluate(CORNERS, quote)
        self.page.mouse.move(left, top)
        self.page.mouse.down()
        self.page.mouse.move((left + right) / 2, (top + bottom) / 2)
        self.page.mouse.move(right, bottom)
        self.page.mouse.up()

    def write(self, text: str) -> None:
        self.keyboard.insert_text(text)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.keyboard.press(key)


def test_questions_are_written_by_mouse_and_by_keys_and_load_as_a_data_set(open_notebook: Any, folder: Path) -> None:
    with open_notebook([cell(folder)], width=1280, language="ko") as shown:
        page = Annotator(shown)
        see(page.text, "사용 예정일 3일 전까지")
        page.drag("사용 예정일 3일 전까지 전자결재로 신청합니다.")
        expect(page.question).to_be_focused()  # nothing to click between selecting and asking
        see(page.evidence, "사용 예정일 3일 전까지")
        page.write("휴가 쓰려면 며칠 전에 올려야 하나요?")
        page.press("Enter")
        expect(page.answer).to_be_focused()
        page.drag("3일 전")  # of an empty answer: the words become the answer, not evidence
        expect(page.answer).to_be_focused()
        assert page.answer.input_value() == "3일 전"
        page.press("Enter")
        see(page.said, "q-001 저장됨")
        see(page.questions, "휴가 쓰려면 며칠 전에 올려야 하나요?")
        expect(page.question).to_be_focused()
        assert (page.question.input_value(), page.answer.input_value()) == ("", "")

        page.press("Escape", "Control+Home", "ArrowDown", "ArrowDown")  # by keys alone, past an emoji, across lines
        page.press("Shift+End", "Shift+ArrowDown", "Enter")
        expect(page.question).to_be_focused()
        page.write("언제까지 결재를 올리나요?")
        page.drag("기한이 지나면 소멸합니다.")
        page.drag("최대 5일 이월됩니다.")
        page.root.get_by_label("근거 3번과 앞 근거의 관계").select_option("앞 근거와 같은 내용(하나면 충분)")
        page.root.get_by_role("button", name="근거 2번 빼기").press("Enter")
        expect(page.root.get_by_label("근거 2번과 앞 근거의 관계")).to_have_value("needed")  # as the one that is gone was
        page.root.get_by_label("근거 2번과 앞 근거의 관계").select_option("앞 근거와 같은 내용(하나면 충분)")
        shown.picture("annotator-writing")
        page.question.focus()
        page.press("Control+Enter")
        see(page.said, "q-002 저장됨")
        see(page.said, "답이 없습니다. 검색만 평가됩니다.")

        page.press("Alt+ArrowDown")
        see(page.text, "퇴직연금은 입사 1년 뒤부터")
        composing = shown.page.context.new_cdp_session(shown.page)
        page.text.focus()
        composing.send("Input.imeSetComposition", {"text": "ㅋㅋ", "selectionStart": 2, "selectionEnd": 2})
        composing.send("Input.insertText", {"text": "ㅋㅋ"})
        expect(page.text).not_to_contain_text("ㅋ")  # an input method writes nothing into the document
        page.question.focus()
        composing.send("Input.imeSetComposition", {"text": "육", "selectionStart": 1, "selectionEnd": 1})
        page.press("Enter")  # ends the syllable, not the question
        expect(page.question).to_be_focused()
        page.question.fill("")
        page.write("육아휴직은 몇 달인가요?")
        page.press("Control+Enter")
        see(page.alert.filter(visible=True), "답이 없다고 표시하세요")
        page.press("Alt+u", "Control+Enter")
        see(page.said, "q-003 저장됨")
        see(page.root, "질문 3/100개 · 질문이 있는 문서 2/2개")
        shown.page.evaluate(REOPEN)
        see(page.questions, "휴가 쓰려면 며칠 전에 올려야 하나요?")
        see(page.text, "퇴직연금은 입사 1년 뒤부터")  # where one was
        page.question.fill("다시 연 뒤의 질문?")
        page.press("Alt+u", "Enter")
        see(page.said, "q-004 저장됨")
    loaded = data.load(str(folder))
    text = loaded.document("leave").text
    assert not loaded.losses
    assert [[[text[span.start : span.end] for span in unit] for unit in each.evidence] for each in loaded.examples] == [
        [["사용 예정일 3일 전까지 전자결재로 신청합니다."]],
        [[text[text.index("👍") : text.index("\n\n## 이월")], "최대 5일 이월됩니다."]],
        [],
        [],
    ]
    assert data.check(loaded).exit_code == 0


RECORD = {"id": "q-001", "question": "How long?", "answers": ["1년"], "evidence": [{"document": "pension", "quote": "입사 1년 뒤부터"}]}
OTHER = {"id": "q-002", "question": "Is there a gym?", "unanswerable": True}


def test_questions_are_filtered_edited_deleted_and_brought_back(open_notebook: Any, folder: Path) -> None:
    path = folder / "questions.jsonl"
    write_text(path, f"{json.dumps(RECORD)}\n{json.dumps(OTHER)}\n")
    with open_notebook([cell(folder)], width=800, theme="dark") as shown:
        page = Annotator(shown, korean=False)
        see(page.questions, "Is there a gym?")
        page.root.get_by_label("Which questions").focus()
        page.press("ArrowDown", "ArrowDown")  # its keys are not JupyterLab's
        expect(page.root.get_by_label("Which questions")).to_have_value("unanswerable_kind")
        assert page.questions.get_by_role("listitem").count() == 1
        page.root.get_by_role("button", name="Edit q-002").focus()
        page.press("d", "d")  # of JupyterLab: delete the cell
        see(page.questions, "Is there a gym?")
        page.root.get_by_label("Which questions").select_option("all questions")
        page.root.get_by_role("searchbox").fill("1년")
        assert page.questions.get_by_role("listitem").count() == 1

        page.root.get_by_role("button", name="Edit q-001").click()
        see(page.root, "Editing q-001")
        page.root.get_by_role("searchbox").fill("")
        page.root.get_by_role("button", name="Edit q-002").click()  # nothing was changed: nothing to save or clear
        see(page.root, "Editing q-002")
        page.root.get_by_role("button", name="Edit q-001").press("Enter")
        see(page.root, "Editing q-001")
        see(page.text, "퇴직연금은")  # its document
        see(page.text.locator(".draft"), "입사 1년 뒤부터")
        page.question.fill("When does it begin?")
        page.root.get_by_role("searchbox").fill("")
        page.root.get_by_role("button", name="Edit q-002").click()
        see(page.said, "Save or clear the question in the form first.")  # nothing typed is thrown away
        shown.picture("annotator-editing")
        page.question.focus()
        page.press("Control+s")
        see(page.said, "Saved q-001.")
        see(page.questions, "When does it begin?")
        assert json.loads(path.read_text(encoding="utf-8").splitlines()[0]) == RECORD | {"question": "When does it begin?"}
        page.root.get_by_role("button", name="Delete q-002").click()
        see(page.said, "Deleted q-002.")
        expect(page.root.get_by_role("button", name="Undo: deleted q-002")).to_be_focused()
        assert len(path.read_text(encoding="utf-8").splitlines()) == 1
        page.press("Enter")
        see(page.questions, "Is there a gym?")
        assert json.loads(path.read_text(encoding="utf-8").splitlines()[1]) == OTHER

        shown.page.evaluate(BREAK)
        page.press("Alt+z")
        see(page.alert.filter(visible=True), "An error in the program, shown below; nothing was saved.")
        see(shown.panel, "'NoneType' object is not callable")


def test_what_is_lost_is_said_and_what_is_typed_stays(open_notebook: Any, folder: Path) -> None:
    path = folder / "questions.jsonl"
    with open_notebook([cell(folder)], language="ko", width=800) as shown:
        page = Annotator(shown)
        page.drag("3일 전까지")
        expect(page.question).to_be_focused()
        page.write("며칠 전까지인가요?")
        write_text(path, "{")  # as another program would
        page.press("Control+Enter")
        see(page.alert.filter(visible=True), "다른 창이나 프로그램이 파일을 바꾸었습니다")
        page.root.get_by_role("button", name="파일 다시 읽기").click()
        see(page.alert.filter(visible=True).last, "is not valid JSON")
        write_text(path, f"{json.dumps(RECORD)}\n")
        write_text(folder / "leave.md", LEAVE.replace("👍", "2026년 개정. 👍"))
        page.root.get_by_role("button", name="파일 다시 읽기").click()
        see(page.questions, "How long?")
        see(page.text, "2026년 개정.")
        page.press("Control+Enter")
        see(page.alert.filter(visible=True), "문서가 바뀌어 이 근거가 제자리에 없습니다")
        page.root.get_by_role("button", name="근거 1번 빼기").click()
        page.drag("3일 전까지")
        assert page.question.input_value() == "며칠 전까지인가요?"
        page.question.focus()
        page.press("Control+Enter")
        see(page.said, "q-002 저장됨")
        assert [json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()] == ["q-001", "q-002"]

        page.write("기다리는 동안")
        kernel = shown.lab.kernel(shown.kernel_id)
        kernel.suspend()
        page.press("Alt+u", "Control+Enter")
        expect(page.alert.filter(visible=True)).to_contain_text("지금부터 저장되지 않습니다")
        page.press("Control+Enter", "Control+Enter")
        page.write(" 더 쓴 질문")
        kernel.resume()
        see(page.root, "q-003 편집 중")  # saved once; what was typed since is not thrown away
        page.press("Control+Enter")
        see(page.questions, "기다리는 동안 더 쓴 질문")
        expect(page.alert.filter(visible=True)).to_have_count(0)
        assert len(path.read_text(encoding="utf-8").splitlines()) == 3

        page.write("천천히 저장되는 질문")
        kernel.suspend()
        page.press("Alt+u", "Control+Enter")
        page.root.get_by_role("button", name="비우기").click()
        page.write("그사이 쓴 다른 질문")
        kernel.resume()
        see(page.said, "q-004 저장됨")
        see(page.root, "새 질문")  # not an edit of q-004, which it would replace
        expect(page.question).to_have_value("그사이 쓴 다른 질문")
        page.root.get_by_role("button", name="비우기").click()

        page.write("끝까지 쓰지 못한 질문")
        shown.kill_kernel()
        see(page.alert.filter(visible=True), "지금부터 저장되지 않습니다")
        assert page.question.input_value() == "끝까지 쓰지 못한 질문"
        shown.picture("annotator-lost")
        shown.dialog.get_by_role("button", name="Ok").click()
        shown.page.wait_for_function("window.shownPanel.sessionContext.session.kernel.status === 'idle'")
        shown.run_all()
        expect(page.alert.filter(visible=True)).to_have_count(0)
        expect(page.question).to_have_value("끝까지 쓰지 못한 질문")  # a new run of the cell brings it back
        see(page.questions, "며칠 전까지인가요?")
