"""Fixtures of the task tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real rows, which are not part of the repository; tests that want it are skipped without it."""
    beside_project = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("KETCHUP_TEST_DATA", beside_project))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; name its folder in KETCHUP_TEST_DATA")
    return folder
