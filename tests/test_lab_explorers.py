"""The chunk and the retrieval explorer as a user sees them in JupyterLab."""

import re

import pytest
from small_corpus import write_corpus

pytest_plugins = ["lab"]

CHUNKS = """from workbench import widgets
from workbench.datatypes import Dataset, Document, Example, Span
text = "식물에 물을 매주 줍니다. 비료는 매달 줍니다. Water the plants weekly. Feed them monthly.\\n\\n" * 20
asked = Example("q", "언제 물을 줍니까?", ("매주",), tuple((Span("plants", start, start + 40),) for start in range(30, 1500, 300)))
dataset = Dataset("made", (Document("plants", text, "식물 돌보기"), Document("b", "Another text. " * 30, "Other")), (asked,))
widgets.chunk_explorer(dataset, "sentence", 32, 8)"""
HITS = """from workbench.experiment import prepare
from workbench.settings import Settings
from workbench.widgets_retrieval import retrieval_explorer
point = Settings(dataset="folder:corpus-LANGUAGE", tokenizer="simple", chunk_size=16, top_k=3, budgets=(16, 64), retriever="bm25")
candidates = [point, point.replace(retriever="dense", embedder="hash"), point.replace(retriever="random")]
retrieval_explorer(prepare(point), candidates, k=6, budget=40)"""
BROKEN = """import workbench.widgets_chunks, workbench.widgets_retrieval
def broken(*_, **__):
    raise RuntimeError("the disk is on fire")
workbench.widgets_chunks.create_chunker = workbench.widgets_retrieval.pack = broken"""

FONT = "element => getComputedStyle(element).fontFamily"
RIGHT = """output => Math.max(...[...output.querySelectorAll("dl, pre, select, input, section, .slider-container")]
  .map(element => element.getBoundingClientRect().right))"""


@pytest.fixture(scope="module", autouse=True)
def corpora(lab):
    """Write a small corpus in each language where the kernels look for it."""
    for language in ("en", "ko"):
        write_corpus(lab.root / f"corpus-{language}", language)


def numbers(outputs) -> list[str]:
    """Return the counts that stand below the sliders."""
    return outputs.locator("dd").all_inner_texts()


def press(slider, key: str, times: int = 1) -> None:
    slider.focus()
    for _ in range(times):
        slider.press(key)


@pytest.mark.parametrize(
    ("language", "width", "theme", "words"),
    [
        ("en", 1280, "light", ["size (tokens)", "chunks", "cut evidence", " of 5", "end of 1", "Striped: in more than one chunk"]),
        ("ko", 800, "dark", ["크기 (토큰)", "청크 수", "잘린 근거", "5개 중 ", "1 끝", "줄무늬: 둘 이상의 청크에 든 부분"]),
    ],
)
def test_counts_follow_the_sliders_of_the_chunk_explorer(open_notebook, language, width, theme, words):
    from playwright.sync_api import expect

    with open_notebook([CHUNKS], width=width, theme=theme, language=language) as shown:
        outputs = shown.outputs.last
        for word in words:
            expect(outputs).to_contain_text(word)
        sliders = outputs.get_by_role("slider")
        before = numbers(outputs)
        press(sliders.first, "PageUp", 6)
        expect(outputs.locator("dd").last).not_to_have_text(before[-1])
        expect(sliders.first).to_have_attribute("aria-valuetext", re.compile("62"))
        expect(outputs.locator("dd").nth(1)).to_have_text(re.compile(" · (5[5-9]|6[0-2])$"))  # the largest chunk
        after = numbers(outputs)
        assert int(after[0]) < int(before[0])
        expect(sliders.first).to_be_focused()
        expect(sliders.first).to_have_css("outline-style", "solid")
        expect(sliders.first).to_have_accessible_name(words[0])
        shown.picture("chunks")
        press(sliders.nth(1), "Home")
        expect(outputs.locator("dd").nth(2)).to_have_text("0%")
        outputs.get_by_role("combobox").first.select_option(label="Other (b)")
        expect(outputs.locator("pre")).to_contain_text("Another text.")
        assert outputs.evaluate(RIGHT) <= width


def test_errors_are_seen(open_notebook):
    from playwright.sync_api import expect

    with open_notebook([CHUNKS, HITS.replace("LANGUAGE", "ko"), BROKEN], language="ko") as shown:
        chunks, hits = shown.outputs.filter(has=shown.page.get_by_role("slider")).all()
        size = chunks.get_by_role("slider").first
        press(size, "Home")
        press(chunks.get_by_role("slider").nth(1), "PageUp", 4)
        expect(chunks.get_by_role("alert")).to_contain_text(re.compile(r"오류: 겹침\(\d+\)은 크기\(16\)보다 작아야 합니다"))
        shown.picture("chunks-error")
        press(size, "End")
        press(hits.get_by_role("slider").nth(1), "PageUp")
        for explorer in (chunks, hits):
            expect(explorer).to_contain_text("RuntimeError: the disk is on fire")


@pytest.mark.parametrize(("language", "width", "theme"), [("ko", 1280, "light"), ("en", 800, "dark")])
def test_hits_follow_the_question_and_the_sliders_of_the_retrieval_explorer(open_notebook, language, width, theme):
    from playwright.sync_api import expect

    korean = language == "ko"
    full = "컨텍스트가 다 참" if korean else "The context is full"
    with open_notebook([HITS.replace("LANGUAGE", language)], width=width, theme=theme, language=language) as shown:
        outputs = shown.outputs.last
        columns = outputs.locator("section")
        expect(columns).to_have_count(3)
        expect(outputs.get_by_role("img")).to_have_count(1)
        assert columns.nth(1).locator("pre").last.evaluate(FONT) == columns.nth(1).evaluate(FONT)
        expect(outputs).to_contain_text("지도 없음" if korean else "No map")
        expect(columns.nth(1).get_by_role("separator")).to_contain_text(full)
        shown.picture("hits")
        first = columns.nth(1).get_by_role("group").all_inner_texts()
        line = columns.nth(1).get_by_role("separator").bounding_box()["y"]
        press(outputs.get_by_role("slider").nth(1), "Home")
        expect(columns.nth(1).get_by_role("separator")).to_contain_text("16토큰 중 16토큰" if korean else "16 of 16 tokens")
        assert columns.nth(1).get_by_role("separator").bounding_box()["y"] < line  # it has moved up
        press(outputs.get_by_role("slider").first, "ArrowRight", 2)
        expect(columns.nth(1).get_by_role("group")).to_have_count(8)
        assert len(first) == 6
        own = outputs.get_by_role("textbox", name="직접 입력" if korean else "or your own")
        own.fill("E4 오류는 무슨 뜻인가요?" if korean else "What does error E4 mean?")
        own.press("Enter")
        expect(columns.first.locator("mark", has_text="E4").first).to_be_visible()
        expect(columns.first.locator("u").first).to_be_visible()  # the evidence: the data set has this question
        outputs.get_by_role("checkbox").nth(2).uncheck()
        expect(columns).to_have_count(2)
        outputs.get_by_role("checkbox").first.uncheck()
        outputs.get_by_role("checkbox").nth(1).uncheck()
        expect(outputs.get_by_role("alert")).to_contain_text("후보를 하나 이상" if korean else "at least one candidate")
        assert outputs.evaluate(RIGHT) <= width
