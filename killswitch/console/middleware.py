"""Error pages for answers without a body, and compression of whole pages and static files."""

import gzip
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.utils.cache import patch_vary_headers
from whitenoise.middleware import WhiteNoiseMiddleware

from killswitch.console.error_views import error_page

# The longest form has a few hundred bytes, an audit filter some thousand.
MAX_BODY_BYTES = 2**20
STATUSES_WITH_PAGE = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.TOO_MANY_REQUESTS,
}
# Small pages, some of which show secrets: there is little to gain, and compression leaks lengths.
UNCOMPRESSED_PATHS = ("/accounts/", "/administration/")
COMPRESSED_FILES = ("text/css", "text/javascript", "image/svg+xml")
MAX_COMPRESSED_FILES = 100  # kept in memory, more than all pages use


class ErrorPageMiddleware:
    """Gives an error without a body, such as 405, its page.

    It comes before everything that reads a body and refuses any that no form here sends: Django
    would store a file of any size on disk, even from a visitor who has not signed in.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if _content_length(request) > MAX_BODY_BYTES:
            return error_page(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        response = self.get_response(request)
        status = response.status_code
        if (
            status not in STATUSES_WITH_PAGE
            or not isinstance(response, HttpResponse)
            or response.content
        ):
            return response
        page = error_page(request, HTTPStatus(status))
        for name in ("Allow", "Retry-After", "HX-Trigger"):
            if name in response.headers:
                page.headers[name] = response.headers[name]
        return page


class PageCompression(GZipMiddleware):
    """Compresses whole HTML pages, but neither parts of a page nor exports."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        is_html = response.headers.get("Content-Type", "").startswith("text/html")
        is_part = "HX-Request" in request.headers
        if not is_html or is_part or request.path.startswith(UNCOMPRESSED_PATHS):
            return response
        return super().process_response(request, response)


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]
    """Serves styles and scripts compressed, without a build step: each is compressed once."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = WhiteNoiseMiddleware.serve(static_file, request)
        if not response.headers.get("Content-Type", "").startswith(COMPRESSED_FILES):
            return response
        patch_vary_headers(response, ["Accept-Encoding"])
        is_whole = request.method == "GET" and response.status_code == HTTPStatus.OK
        if not is_whole or "gzip" not in request.headers.get("Accept-Encoding", ""):
            return response
        content = _compressed(b"".join(response))
        response.close()
        headers = dict(response.headers) | {
            "Content-Encoding": "gzip",
            "Content-Length": str(len(content)),
        }
        return HttpResponse(content, headers=headers)


@lru_cache(MAX_COMPRESSED_FILES)
def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _content_length(request: HttpRequest) -> int:
    """Return the announced bytes of the body; the server reads no body without a length."""
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0
