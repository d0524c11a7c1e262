"""Calls that are tried again do not wait long."""

import pytest

from ketchup.remote.calls import Patience


@pytest.fixture
def short_waits(monkeypatch):
    monkeypatch.setattr(Patience, "wait", lambda self, attempt: 0.01)
