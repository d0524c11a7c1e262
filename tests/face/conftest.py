"""Calls that are tried again do not wait long."""

from tests.judge.conftest import short_waits

__all__ = ["short_waits"]
