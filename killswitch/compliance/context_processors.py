"""Adds the audit log's part to pages of packages below, which do not import this one."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from killswitch.compliance.queries import QueriesToUser


def request_sections(request: HttpRequest) -> dict[str, Any]:
    """Return the templates that the page of a request includes, and what every page may show."""
    return {
        "request_sections": [
            "compliance/_request_queries.html",
            "compliance/_request_events.html",
        ],
        "asked": SimpleLazyObject(lambda: QueriesToUser.of(request.user)),
        "review_refusal": vars(request).get("review_refusal"),
    }
