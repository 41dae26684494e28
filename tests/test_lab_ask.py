"""Ask, in a real JupyterLab: a Korean question by keyboard, the six steps, the answer with its sources, feedback, a stop, errors."""

import json
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fakes import DONE, KEY, USAGE, FakeServer, piece, reply

pytest_plugins = ["lab"]
QUESTION = "안내원은 어떤 조끼를 입나요?"
ANSWER = "안내원은 주황색 조끼를 입는다."
STEPS = ("1 전처리", "2 벡터화", "3 검색", "4 프롬프트 구성", "5 생성", "6 후처리")


def cell(spec: str, generator: str, **changes: Any) -> str:
    values = {"dataset": spec, "retriever": "bm25", "tokenizer": "simple", "chunk_size": 16, "top_k": 3, "budgets": (16, 64)}
    return f"""from workbench.settings import Settings
from workbench.widgets_ask import ask_agent
ask_agent(Settings(**{values | {"generator": generator} | changes}), cached=False)"""


def written(text: str, ends: bool = True) -> Callable[[Mapping[str, Any]], Any]:
    """Make a reply that writes a text word by word, and then ends or says nothing any more."""

    def pieces() -> Iterator[bytes | None]:
        for word in text.split(" "):
            time.sleep(0.05)
            yield piece(word + " ")
        yield from (piece(finish_reason="stop"), USAGE, DONE) if ends else [None]

    return lambda request: (200, {"Content-Type": "text/event-stream"}, pieces())


def test_a_korean_question_is_asked_answered_and_rated_by_keyboard(open_notebook, lab, small) -> None:
    from playwright.sync_api import expect

    with open_notebook([cell(small("ko"), "extractive")], language="ko") as shown:
        page, outputs = shown.page, shown.outputs.last
        expect(outputs.get_by_role("button", name="중지")).to_be_disabled()
        outputs.get_by_label("질문", exact=True).focus()
        composing = page.context.new_cdp_session(page)  # an input method that is at work on the last syllable
        composing.send("Input.insertText", {"text": QUESTION[:-3]})
        composing.send("Input.imeSetComposition", {"text": "나요?", "selectionStart": 3, "selectionEnd": 3})
        page.keyboard.press("Enter")  # ends the syllable
        composing.send("Input.insertText", {"text": QUESTION[-3:]})
        page.wait_for_timeout(300)
        expect(outputs.get_by_label("질문", exact=True)).to_have_value(QUESTION)
        expect(outputs).not_to_contain_text(STEPS[0])
        page.keyboard.press("Enter")
        expect(outputs.get_by_role("group", name="답변", exact=True)).to_contain_text(ANSWER)
        for step in STEPS:
            expect(outputs.locator("summary", has_text=step)).to_contain_text("✓")
        expect(outputs.locator("summary", has_text="[1] 화재")).to_be_visible()
        outputs.locator("summary", has_text=STEPS[2]).press("Enter")
        expect(outputs.locator("mark", has_text="조끼").first).to_be_visible()
        outputs.locator("summary", has_text=STEPS[3]).press("Enter")
        expect(outputs.get_by_role("row").nth(1)).to_contain_text("전체 포함")
        expect(outputs.get_by_role("group", name="사용자")).to_contain_text(f"질문: {QUESTION}")
        shown.picture("ask")

        outputs.get_by_role("button", name="피드백 저장").press("Enter")
        expect(outputs).to_contain_text("먼저 고르십시오")
        outputs.get_by_label("도움 됨").focus()
        page.keyboard.press("ArrowRight")
        expect(outputs.get_by_label("도움 안 됨")).to_be_checked()
        page.keyboard.press("Tab")
        page.keyboard.insert_text("조끼 색은 맞지만 너무 짧아요")
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        expect(outputs).to_contain_text("outputs/feedback/feedback.jsonl에 저장했습니다. 모두 1건입니다.")
        shown.picture("ask-rated")
        record = json.loads((lab.root / "outputs/feedback/feedback.jsonl").read_text(encoding="utf-8"))
        assert (record["question"], record["answer"]) == (QUESTION, ANSWER)
        assert (record["rating"], record["comment"]) == ("down", "조끼 색은 맞지만 너무 짧아요")
        assert record["passages"][0]["document"] == "d12"

        outputs.get_by_label("질문", exact=True).fill(" ")
        page.keyboard.press("Enter")
        expect(outputs.get_by_role("alert")).to_contain_text("the question is empty")
        expect(outputs.get_by_text(f"✕ {STEPS[0]}")).to_be_visible()
        expect(outputs.get_by_label("의견")).to_be_hidden()
        outputs.get_by_label("예시").select_option(QUESTION)
        page.keyboard.press("Enter")
        expect(outputs.get_by_role("group", name="답변", exact=True)).to_contain_text(ANSWER)
        expect(outputs.get_by_label("의견")).to_have_value("")


def test_an_answer_is_watched_and_stopped_and_a_lost_kernel_is_said(open_notebook, small) -> None:
    from playwright.sync_api import expect

    with FakeServer(written("주황색 조끼입니다 [1]."), written("끝나지 않는 답변", ends=False)) as server:
        environment = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY, "NO_PROXY": "127.0.0.1"}
        with open_notebook(
            [cell(small("ko"), "openai:small", prompt="cite")], width=800, theme="dark", language="ko", environment=environment
        ) as shown:
            page, outputs = shown.page, shown.outputs.last
            box = outputs.get_by_label("질문", exact=True)
            box.fill(QUESTION)
            box.press("Enter")
            expect(outputs.locator("summary", has_text="[1] 화재")).to_contain_text("인용됨")
            outputs.get_by_role("link", name="문서 1번").press("Enter")
            assert page.evaluate("document.activeElement.innerText").startswith("d12:")
            shown.picture("ask-cited")
            box.fill("다른 질문은?")
            outputs.get_by_role("button", name="질문하기").click()
            expect(outputs.get_by_role("group", name="지금까지의 답변")).to_contain_text("끝나지 않는")
            box.press("Enter")
            expect(outputs.get_by_text("아직 답변 중입니다")).to_be_visible()
            shown.picture("ask-writing")
            outputs.get_by_role("button", name="중지").press("Enter")
            expect(outputs).to_contain_text("초 뒤에 중지했습니다.")
            expect(outputs.get_by_role("group", name="지금까지의 답변")).to_contain_text("끝나지 않는")
            expect(outputs.locator("summary", has_text=STEPS[4])).to_contain_text("■")
            assert len(server.requests) == 2
            shown.kill_kernel()
            expect(outputs).to_contain_text("커널이 끊겼습니다. 이 셀을 다시 실행하십시오.")
            expect(outputs.get_by_role("button", name="질문하기")).to_be_disabled()
            expect(outputs.locator("button", has_text="피드백 저장")).to_be_disabled()
            shown.dialog.get_by_role("button").click()


def test_what_is_wrong_is_shown_in_place(open_notebook, small) -> None:
    from playwright.sync_api import expect

    wrong = cell(small("en"), "openai:small")
    keyless = "import os\nkey = os.environ.pop('OPENAI_API_KEY')\ntry:\n" + textwrap.indent(wrong, "    ")
    keyless += "\nfinally:\n    os.environ['OPENAI_API_KEY'] = key"
    with FakeServer(reply("nope", 401)) as server:
        environment = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY, "NO_PROXY": "127.0.0.1"}
        with open_notebook([wrong, keyless], theme="dark", environment=environment, raises=True) as shown:
            expect(shown.outputs.last).to_contain_text("WorkbenchError: OPENAI_API_KEY is not set")
            shown.outputs.get_by_label("Question", exact=True).fill("Where do bicycles stand?")
            shown.outputs.get_by_role("button", name="Ask").click()
            expect(shown.outputs.get_by_role("alert")).to_contain_text("refused the key in OPENAI_API_KEY (401)")
            expect(shown.outputs.locator("summary", has_text="5 Generate")).to_contain_text("✕")
            expect(shown.outputs.get_by_text("There is no answer.")).to_be_visible()
            shown.picture("ask-failed")
