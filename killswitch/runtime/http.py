"""Answers to htmx and to plain browsers, row numbers in addresses, and files that are streamed."""

import time
from collections.abc import Callable, Iterator
from typing import Final
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.encoding import iri_to_uri

from killswitch.runtime.kept_connections import release_connection

MAX_PAUSE_S = 0.1
# What a browser sends when the person, or one of our pages, has requested the address.
OWN_SITES = {"none", "same-origin"}
MAX_ID = 2**63 - 1  # the largest key that both databases store
# Members of a request's META: its ID in the log, and what Django learns of it for its line there.
ID_KEY: Final = "killswitch.request_id"
USER_KEY: Final = "killswitch.user"
CLIENT_KEY: Final = "killswitch.client"
SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")


def is_htmx(request: HttpRequest) -> bool:
    """Return whether htmx asks for a part of a page. Works without the middleware as well."""
    return request.headers.get("HX-Request") == "true"


def see_other(url: str) -> HttpResponse:
    """Return a 303 redirect: reloading the page it leads to does not send the form again.

    The address may come from a form, with characters that no header can contain.
    """
    return HttpResponse(status=303, headers={"Location": iri_to_uri(url)})


def parse_id(text: str) -> int | None:
    """Return the row number in an address or a form, None for any other text."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ID))):
        return None
    number = int(text)
    return number if number <= MAX_ID else None


def addresses(name: str, *, sample: UUID | int) -> Callable[[UUID | int], str]:
    """Return a function for the addresses of many rows, for which the URL is reversed only once.

    `sample` is any key of the URL that is found nowhere else in it.
    """
    before, after = reverse(name, args=[sample]).split(str(sample))
    return lambda key: f"{before}{key}{after}"


def is_of_other_site(request: HttpRequest) -> bool:
    """Return True if a page of another website has made the browser request this address."""
    return request.headers.get("Sec-Fetch-Site", "none") not in OWN_SITES


def streamed(chunks: Iterator[bytes], *, interrupted: bytes) -> Iterator[bytes]:
    """Yield the chunks of a file, and `interrupted` as its last line if it fails half-way.

    The server ends such an answer like a complete one, so that no browser reports the failure. The
    pauses, each as long as its chunk took, are for clicks, which the same process answers. No
    database connection is held while a chunk is sent, for as long as its reader likes.
    """
    started_at = time.monotonic()
    try:
        for chunk in chunks:
            work_s = time.monotonic() - started_at
            release_connection()
            yield chunk
            time.sleep(min(work_s, MAX_PAUSE_S))
            started_at = time.monotonic()
    except Exception:
        yield interrupted
        raise
