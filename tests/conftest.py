"""Fixtures shared by the tests."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Give the folder of real data sets (WORKBENCH_SHARED_DATA, else ../shared/data), or skip."""
    folder = Path(os.environ.get("WORKBENCH_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data sets are not here: {folder} (set WORKBENCH_SHARED_DATA)")
    return folder
