"""The prompt playground in a real JupyterLab: messages before anything is sent, answers side by side, a stop, a template that is edited."""

from typing import Any

import pytest
from lab_server import PATIENCE

from workbench import models
from workbench.storage import write_text
from workbench.widgets_prompt_template import PLACE, template_text

pytest_plugins = ["lab"]

SMOLLM = "HuggingFaceTB/SmolLM2-135M-Instruct"
LAST = 200  # characters that may still come after the button was pressed; by itself the answer would go on for minutes
CELL = """from workbench.experiment import prepare
from workbench.settings import Settings
from workbench.widgets_prompt import prompt_playground
settings = Settings(
    dataset="demo-{language}", split="test", retriever="bm25", tokenizer="simple", answer_budget=64, shot_count={shots},
    generator="{generator}", options={options},
)
prompt_playground(prepare(settings), settings, {prompts}, cached=False)"""
STORY = """---
name: story
language: en
purpose: Write for a long time.
citations: false
---
[user]
Write a very long story with many chapters, in great detail: {{ question }}
"""


def cell(language: str, prompts: list[str], generator: str = "extractive", shots: int = 0, **options: Any) -> str:
    made = {"generator": options} if options else {}
    return CELL.format(language=language, prompts=prompts, generator=generator, shots=shots, options=made)


def column(shown: Any, name: str) -> Any:
    """Locate the column of a prompt."""
    return shown.panel.locator(".workbench-column", has=shown.page.get_by_role("heading", name=name, exact=True))


def see(place: Any, text: str) -> None:
    from playwright.sync_api import expect

    expect(place).to_contain_text(text, timeout=PATIENCE)


@pytest.mark.parametrize(("width", "theme", "language"), [(1280, "dark", "en"), (800, "light", "ko")])
def test_a_korean_question_is_asked_with_two_prompts(open_notebook: Any, width: int, theme: str, language: str) -> None:
    from playwright.sync_api import expect

    run, sent, done = {"en": ("Run", "What was sent", "Done."), "ko": ("실행", "보낸 메시지", "끝났습니다.")}[language]
    with open_notebook([cell("ko", ["plain", "chain"], shots=1)], width=width, theme=theme, language=language) as shown:
        see(column(shown, "plain:ko"), "질문: ")  # what will be sent is there before anything is asked
        own = shown.panel.locator(".workbench-playground input[type=text]").first
        own.fill("WM400 쾌속 코스에는 몇 kg까지 넣나요?")
        own.press("Enter")
        see(column(shown, "chain:ko"), "질문: WM400 쾌속 코스에는 몇 kg까지 넣나요?")
        expect(shown.outputs.get_by_role("slider")).to_have_accessible_name({"en": "shots", "ko": "예시 수"}[language])
        shown.picture("prompt-messages")
        shown.outputs.get_by_role("button", name=run).press("Enter")
        see(shown.panel.locator(".workbench-playground"), done)
        for name in ("plain:ko", "chain:ko"):
            assert "kg" in column(shown, name).locator(".said").inner_text()
        see(column(shown, "plain:ko"), sent)
        left, right = (column(shown, name).bounding_box() for name in ("plain:ko", "chain:ko"))
        assert (left["y"], left["x"] + left["width"] <= right["x"]) == (right["y"], True)  # side by side
        assert right["x"] + right["width"] <= width
        shown.picture("prompt-answers")


def test_a_template_is_edited_and_saved(open_notebook: Any, lab: Any) -> None:
    with open_notebook([cell("en", ["plain"])]) as shown:
        shown.outputs.get_by_role("button", name="Edit a template").press("Enter")
        area = shown.panel.locator("textarea")
        area.click()  # which waits until it is shown; keys do not wait
        area.press("Control+End")
        area.press_sequentially("{{ questio }}")
        see(shown.panel.locator(".workbench-template"), "unknown variable of section [user]: 'questio'; did you mean 'question'?")
        shown.picture("prompt-wrong")
        area.press("Control+a")
        area.fill(template_text("plain", "en") + "In one word.")
        see(shown.panel.locator(".workbench-template"), "✓ valid")
        see(column(shown, "draft"), "In one word.")
        shown.panel.get_by_label("save as").fill("한-단어")
        shown.outputs.get_by_role("button", name="Save").click()
        see(shown.panel.locator(".workbench-template"), f"prompt: file:{PLACE}/한-단어.md")
        see(column(shown, f"file:{PLACE}/한-단어.md"), "In one word.")
        assert (lab.root / PLACE / "한-단어.md").read_text(encoding="utf-8").endswith("In one word.")
        shown.picture("prompt-saved")
        area.press("Control+End")
        area.press_sequentially(" Or two.")
        see(column(shown, "draft"), "Or two.")
        shown.outputs.get_by_role("button", name="Save").click()
        see(shown.panel.locator(".workbench-template"), "exists already. Write over it?")
        shown.outputs.get_by_role("button", name="Keep the old one").click()
        assert (lab.root / PLACE / "한-단어.md").read_text(encoding="utf-8").endswith("In one word.")


def test_a_stop_ends_the_work_of_a_model(open_notebook: Any, lab: Any) -> None:
    from playwright.sync_api import expect

    if not models.stored(SMOLLM):
        pytest.skip(f"run: workbench models pull {SMOLLM}")
    write_text(lab.root / PLACE / "story.md", STORY)
    prompts = [f"file:{PLACE}/story.md", "plain"]
    with open_notebook([cell("en", prompts, f"hf:{SMOLLM}", max_new_tokens=4000)], width=800, theme="dark") as shown:
        story, waiting = column(shown, prompts[0]), column(shown, "plain:en")
        see(story, "up to 4,000 tokens may be written · the window holds 8,192 tokens")
        shown.outputs.get_by_role("button", name="Run").click()
        see(story, "writing")
        written = story.locator(".said")
        before = written.inner_text()
        expect(written).not_to_have_text(before, timeout=PATIENCE)  # it grows
        shown.picture("prompt-writing")
        shown.outputs.get_by_role("button", name="Stop").click()
        at_stop = written.inner_text()
        see(story, "stopped by you: not scored, not kept")
        text = written.inner_text()
        assert len(text) - len(at_stop) < LAST
        see(waiting, "not asked yet")
        see(shown.panel.locator(".workbench-playground"), "Stopped.")
        kernel = lab.kernel(shown.kernel_id)
        used = kernel.cpu_times().user
        shown.page.wait_for_timeout(2000)
        assert kernel.cpu_times().user - used < 1  # a model at work takes all it gets
        assert written.inner_text() == text
        assert len(text) > len(before)
        shown.picture("prompt-stopped")
