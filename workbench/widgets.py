"""Name the interface that most notebooks show, and what all interfaces share."""

from workbench.widgets_chunks import chunk_explorer
from workbench.widgets_style import error_box, plural

__all__ = ["chunk_explorer", "error_box", "plural"]
