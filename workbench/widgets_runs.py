"""Browse sweeps and their runs while others run them: progress, results, two configurations question by question, score against cost.

What is shown comes from plain functions (`sweep_status`, `sweep_results`, `widgets_runs_view`, `_pair`, `_pareto`), which this wires up.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from workbench import storage
from workbench.sweep_status import Watch
from workbench.widgets_runs_view import sweeps_table
from workbench.widgets_saved import saved_as


def run_browser(folder: Path | str | None = None) -> Any:
    """Return an interface to the sweeps below a folder, by default outputs/ of the project; it may be the folder of one sweep.

    While something runs it is looked at every second, in a thread, and nothing in the folder is changed. Raise WorkbenchError where the
    folder does not exist. With the environment variable WORKBENCH_HEADLESS set, return a static table of the sweeps with their best
    results and create no widget.
    """
    watch = Watch(Path(folder) if folder is not None else storage.outputs())
    page = sweeps_table(watch.look())
    if os.environ.get("WORKBENCH_HEADLESS"):
        from IPython.display import HTML

        return HTML(page)
    from workbench.widgets_runs_browser import Browser

    return saved_as(Browser(watch).box, page)
