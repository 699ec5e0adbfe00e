"""Administrators sign in with fresh limits, as in the tests of accounts."""

from tests.accounts.conftest import ada, clock, limits

__all__ = ["ada", "clock", "limits"]
