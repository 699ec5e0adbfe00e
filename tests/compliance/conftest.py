"""Fixtures of the pages: those of the log, and its reader."""

from tests.audit.conftest import file, five, own_home, reader, requests

__all__ = ["file", "five", "own_home", "reader", "requests"]
