"""Error pages for answers without a body, and compression of whole pages."""

from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.gzip import GZipMiddleware

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


def _content_length(request: HttpRequest) -> int:
    """Return the announced bytes of the body; the server reads no body without a length."""
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0
