"""Keep an interface readable in a saved notebook where no kernel runs: on GitHub, in nbviewer, in an export."""

from __future__ import annotations

from typing import Any


def saved_as(widget: Any, page: str) -> Any:
    """Return an interface that leaves `page`, its static view (HTML), in the notebook beside itself.

    JupyterLab shows the widget; a viewer that knows no widgets, or finds none behind the saved output, shows the page (PM21).
    """
    bundle = widget._repr_mimebundle_

    def with_page(**options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        shown = bundle(**options)
        data, metadata = shown if isinstance(shown, tuple) else (shown, {})
        return {**data, "text/html": page}, metadata

    widget._repr_mimebundle_ = with_page
    return widget
