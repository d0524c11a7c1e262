"""Tests run offline, without a display, on one thread."""

import os
import sys
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "Agg"

DATA_FOLDER = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def few_threads():
    """Tests share a machine; torch is not imported for the ones that do without it."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def data_folder():
    """Real rows of the tasks (`gsm8k/`, `xsum/`, ...), from `$KETCHUP_TEST_DATA` or `../shared/data`."""
    folder = Path(os.environ.get("KETCHUP_TEST_DATA", DATA_FOLDER))
    if not folder.is_dir():
        pytest.skip("no real data; set KETCHUP_TEST_DATA to a folder that has it")
    return folder
