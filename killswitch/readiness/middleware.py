"""Answers probes and scrapers whatever name they use for this host."""

from django.http import HttpRequest, HttpResponsePermanentRedirect
from django.middleware.common import CommonMiddleware

MACHINE_PATHS = ("/healthz", "/readyz", "/metrics")


class HostCheckMiddleware(CommonMiddleware):
    """Django's check of the Host header, except where a machine reads one of its addresses.

    Load balancers and scrapers send an address, an internal name or no host at all. What they read
    is open to everyone, is not cached and contains no URL, so a forged host has no effect on it.
    """

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        if request.path_info in MACHINE_PATHS and request.method in {"GET", "HEAD"}:
            return None
        return super().process_request(request)
