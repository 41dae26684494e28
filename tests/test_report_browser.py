"""report.html in a real browser: nothing fails, loads, overflows or lacks a letter, in two widths, two themes and two languages."""

import base64
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import UNKNOWN_GLYPHS, Tab, browser
from factories import make_answered_results, make_results
from fontTools.ttLib import TTFont
from matplotlib import get_data_path

from workbench import fonts
from workbench.report_html import render_html
from workbench.report_parts import gather
from workbench.storage import write_text

FONTS = '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig><dir>{}</dir><cachedir>{}</cachedir></fontconfig>'


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = [*make_results(), *make_results("demo-ko", "ko"), *make_answered_results("answers-ko", "ko")]
    page = render_html(gather(results, "보고서", "workbench sweep params/x.sweep.yaml"))
    return write_text(tmp_path_factory.mktemp("report") / "report.html", page)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """Give a browser on a system that has no Korean font."""
    folder = tmp_path_factory.mktemp("browser")
    (folder / "fonts.conf").write_text(FONTS.format(Path(get_data_path()) / "fonts" / "ttf", folder / "cache"))
    with browser(folder, os.environ | {"FONTCONFIG_FILE": str(folder / "fonts.conf")}) as opened:
        yield opened


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_report_is_whole_in_a_browser(page: Path, tab: Tab, width: int, dark: bool) -> None:
    tab.open(page, width, dark)
    assert tab.complaints == []
    assert tab.requests == []
    assert tab.value("document.documentElement.scrollWidth") <= width
    assert tab.value(UNKNOWN_GLYPHS) == ""
    wide, narrow = (tab.value(f"getComputedStyle(document.querySelector('svg.{kind}')).display") for kind in ("wide", "narrow"))
    assert (wide, narrow) == (("block", "none") if width > 800 else ("none", "block"))


def test_a_press_on_a_heading_sorts_the_leaderboard(page: Path, tab: Tab) -> None:
    tab.open(page, 1280)
    place = tab.value("[...document.querySelectorAll('table.sortable th[scope=col]')].findIndex(cell => cell.hasAttribute('aria-sort'))")
    column = f"[...document.querySelector('table.sortable').tBodies[0].rows].map(row => row.cells[{place}].dataset.value)"
    means = [float(value) for value in tab.value(column)]
    assert means == sorted(means, reverse=True)
    tab.value(f"document.querySelectorAll('table.sortable th button')[{place}].click()")
    assert [float(value) for value in tab.value(column)] == means[::-1]


def test_the_browser_checks_can_fail(page: Path, tab: Tab, tmp_path: Path) -> None:
    broken = page.read_text(encoding="utf-8")
    broken = broken.replace("default-src 'none'", "default-src *").replace("script-src", "x-src").replace(fonts.EMBEDDED, "x")
    broken = broken.replace(
        "<main>", '<main><p style="width: 5000px">wide</p><img src="http://127.0.0.1:9/none.png"><script>fail()</script>'
    )
    (tmp_path / "broken.html").write_text(broken, encoding="utf-8")
    tab.open(tmp_path / "broken.html", 390)
    assert tab.complaints
    assert tab.requests == ["http://127.0.0.1:9/none.png"]
    assert tab.value("document.documentElement.scrollWidth") > 390
    assert "고" in tab.value(UNKNOWN_GLYPHS)


def test_signs_of_korean_documents_are_embedded() -> None:
    signs = "㈜㎡①℃※漢"
    data = re.search("base64,([^)]+)", fonts.embedded_hangul(f"plain {signs}"))[1]
    with TTFont(io.BytesIO(base64.b64decode(data))) as font:
        assert set(map(ord, signs)) <= set(font.getBestCmap())


def test_the_same_letters_give_the_same_font_and_none_give_none() -> None:
    assert fonts.embedded_hangul("plain words, 1234") == ""
    first = fonts.embedded_hangul("연차는 며칠?")
    assert first == fonts.embedded_hangul("며칠? 연차는")
    assert first.startswith("@font-face")
    assert len(first) < len(fonts.embedded_hangul("연차는 며칠 이월할 수 있나요?"))
