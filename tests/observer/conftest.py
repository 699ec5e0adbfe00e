"""Fixtures of the observer: those of readiness, which judges what the observer writes."""

from tests.readiness.conftest import _nothing_is_remembered, all_is_well, broker

__all__ = ["_nothing_is_remembered", "all_is_well", "broker"]
