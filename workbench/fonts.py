"""Find a font with Hangul for matplotlib and for pages: one that is installed, else NanumGothic inside the package koreanize-matplotlib.

That package is never imported (it needs distutils, which Python 3.12 removed); only its font files are located.
"""

from __future__ import annotations

import base64
import io
import re
from importlib import metadata
from pathlib import Path

from workbench.datatypes import WorkbenchError

FAMILIES = ("NanumGothic", "Noto Sans KR", "Noto Sans CJK KR", "Malgun Gothic", "AppleGothic")
PACKAGE = "koreanize-matplotlib"
FILES = ("NanumGothic.ttf", "NanumGothicBold.ttf", "NanumGothicExtraBold.ttf")  # of weight 400, 600 and 700
EMBEDDED = "Workbench Hangul"  # the family name of letters that a page carries itself
HANGUL = re.compile(  # and the signs and Chinese characters of Korean documents: ℃, ※, ①, ㈜, ㎡
    "[\u1100-\u11ff\u2103\u203b\u2460-\u24ff\u3000-\u303f\u3130-\u318f\u3200-\u33ff\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff01-\uff5e\uffe6]"
)
LATIN = "DejaVu Sans"  # comes with matplotlib, and draws the signs that a Korean font lacks


def korean_family() -> str:
    """Return the family name of a font that draws Hangul, made known to matplotlib; raise WorkbenchError when there is none."""
    from matplotlib import font_manager

    installed = {entry.name for entry in font_manager.fontManager.ttflist if Path(entry.fname).is_file()}
    for family in FAMILIES:
        if family in installed:
            return family
    files = packaged_files()
    if not files:
        raise WorkbenchError(f"no font with Hangul: install one of {', '.join(FAMILIES)}, or the package {PACKAGE}")
    for file in files:
        font_manager.fontManager.addfont(file)
    return font_manager.FontProperties(fname=files[0]).get_name()


def packaged_files() -> list[Path]:
    """Return the NanumGothic files (regular first) of the installed package; empty when the package is not installed."""
    try:
        listed = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return []
    paths = {file.name: Path(str(file.locate())) for file in listed}
    return [paths[name] for name in FILES if name in paths and paths[name].is_file()]


def use_korean_font() -> str:
    """Set matplotlib's rcParams so that Korean, its minus sign included, renders in every later figure; return the family used."""
    import matplotlib

    family = korean_family()
    matplotlib.rcParams.update({"font.family": [family, LATIN], "axes.unicode_minus": False})
    return family


def embedded_hangul(text: str) -> str:
    """Return a CSS rule that carries the Korean letters of a text, so that a page shows them on a system without a Korean font.

    It is "" for a text without any, and where the package with the font is not installed. The same text gives the same bytes.
    """
    letters = sorted(set(HANGUL.findall(text)))
    files = packaged_files() if letters else []
    if not files:
        return ""
    from fontTools.subset import Options, Subsetter
    from fontTools.ttLib import TTFont

    with TTFont(files[0], recalcTimestamp=False) as font:
        options = Options(layout_features=[], hinting=False, name_IDs=[0, 13, 14])  # with its copyright and licence
        options.drop_tables += [f"TSI{number}" for number in (0, 1, 2, 3, 5)]  # sources of the hinting
        subsetter = Subsetter(options)
        subsetter.populate(text="".join(letters))
        subsetter.subset(font)
        font.flavor = "woff"
        stored = io.BytesIO()
        font.save(stored)
    data = base64.b64encode(stored.getvalue()).decode()
    return f'@font-face {{ font-family: "{EMBEDDED}"; src: url(data:font/woff;base64,{data}) format("woff"); }}\n'
