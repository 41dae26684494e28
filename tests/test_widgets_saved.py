"""An interface in a saved notebook, as viewers without a kernel find it."""

import ipywidgets
import pytest
from IPython.core.formatters import DisplayFormatter

from workbench.widgets_saved import saved_as


def anywidget_of() -> ipywidgets.DOMWidget:
    import anywidget

    class Plain(anywidget.AnyWidget):
        _esm = "export default { render() {} }"

    return Plain()


@pytest.mark.parametrize("make", [lambda: ipywidgets.VBox([ipywidgets.IntSlider(3)]), anywidget_of], ids=["ipywidgets", "anywidget"])
def test_the_static_view_is_saved_beside_the_widget(make):
    plain = make()
    before, _ = DisplayFormatter().format(plain)
    shown = saved_as(plain, "<p>가나</p>")
    assert shown is plain
    data, _ = DisplayFormatter().format(shown)
    assert data == before | {"text/html": "<p>가나</p>"}
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == plain.model_id
    other, _ = DisplayFormatter().format(make())
    assert "text/html" not in other
