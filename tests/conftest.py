"""Tests run offline, without a display, on one thread."""

import os
import sys

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "Agg"


@pytest.fixture(autouse=True)
def few_threads():
    """Tests share a machine; torch is not imported for the ones that do without it."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
        sys.modules["torch"].set_warn_always(True)  # or a one-time warning fails whichever test comes first
