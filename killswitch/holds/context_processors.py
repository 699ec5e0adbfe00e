"""Adds what is known of Holds to pages of packages below, which do not import this one."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def sections(_request: HttpRequest) -> dict[str, Any]:
    """Return the templates that a confirmation and a batch include, and how many may release."""
    return {
        "confirmation_sections": ["holds/_held_already.html"],
        "batch_sections": ["holds/_batch.html"],
        "hold_release_persons": settings.HOLD_RELEASE_PERSONS,
    }
