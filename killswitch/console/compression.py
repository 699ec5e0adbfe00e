"""Send pages compressed; leave alone what is small, polled every second, or hashed."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware

# Small pages, some of which show secrets: there is little to gain, and compression leaks lengths.
UNCOMPRESSED_PATHS = ("/accounts/", "/admin/")


class PageCompression(GZipMiddleware):
    """Compress whole HTML pages, but neither parts of a page nor exports."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        is_html = response.headers.get("Content-Type", "").startswith("text/html")
        is_part = "HX-Request" in request.headers
        if not is_html or is_part or request.path.startswith(UNCOMPRESSED_PATHS):
            return response
        return super().process_response(request, response)
