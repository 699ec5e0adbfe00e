"""The fixtures of the log and of its reader."""

from tests.audit.conftest import file, five, own_home, reader, requests

__all__ = ["file", "five", "own_home", "reader", "requests"]
