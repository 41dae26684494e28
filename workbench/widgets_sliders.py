"""Make the sliders of an interface speak to screen readers and show the focus."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

STATIC = Path(__file__).parent / "static"


def slider_names() -> list[Any]:
    """Return a widget without a face that names the sliders in its box; none where anywidget (extra `lab`) is not installed."""
    if importlib.util.find_spec("anywidget") is None:
        return []
    return [_names()()]


@functools.cache
def _names() -> type:
    import anywidget

    class SliderNames(anywidget.AnyWidget):
        _esm, _css = ((STATIC / f"sliders.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))

    return SliderNames
