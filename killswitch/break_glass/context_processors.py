"""Adds break glass to pages of packages below, which do not import this one."""

from typing import Any

from django.http import HttpRequest


def sections(_request: HttpRequest) -> dict[str, Any]:
    """Return the templates that the page of a cancel that was not recorded includes."""
    return {"not_recorded_sections": ["break_glass/_offer.html"]}
