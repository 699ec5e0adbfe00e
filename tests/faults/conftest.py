"""Presses for tests with real processes."""

from tests.cancels.conftest import press

__all__ = ["press"]
