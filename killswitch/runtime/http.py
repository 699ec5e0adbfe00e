"""Answers to htmx and to plain browsers, and row numbers in addresses."""

from django.http import HttpRequest, HttpResponse

MAX_ID = 2**63 - 1  # the largest key that both databases store


def is_htmx(request: HttpRequest) -> bool:
    """Return whether htmx asks for a part of a page. Works without the middleware as well."""
    return request.headers.get("HX-Request") == "true"


def see_other(url: str) -> HttpResponse:
    """Return a 303 redirect: reloading the page it leads to does not send the form again."""
    return HttpResponse(status=303, headers={"Location": url})


def parse_id(text: str) -> int | None:
    """Return the row number in an address or a form, None for any other text."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ID))):
        return None
    number = int(text)
    return number if number <= MAX_ID else None
