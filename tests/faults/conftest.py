"""Presses for tests with real processes."""

from tests.cancels.conftest import ask

__all__ = ["ask"]
