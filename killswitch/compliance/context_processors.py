"""Adds the audit log's part to pages of packages below, which do not import this one."""

from django.http import HttpRequest


def request_sections(_request: HttpRequest) -> dict[str, list[str]]:
    """Return the templates that the page of a request includes at its end."""
    return {"request_sections": ["compliance/_request_events.html"]}
