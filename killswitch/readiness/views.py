"""`/healthz`, `/readyz`, `/metrics`: for machines, open to everybody, so without any secret.

Metrics are not kept to this machine's own address: behind a proxy every visitor comes from there,
and in containers the scraper never does. They hold counts and ages only.
"""

from dataclasses import asdict

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from killswitch.accounts.decorators import public
from killswitch.readiness import metrics
from killswitch.readiness.background_cache import BackgroundCache
from killswitch.readiness.health_checks import (
    Level,
    Readiness,
    evaluate,
    redacted_for_public,
    without_database,
)

_LATE = "the database does not answer in time"


def _too_late() -> Readiness:
    return without_database(_LATE)


READINESS = BackgroundCache(evaluate, otherwise=_too_late)
METRICS = BackgroundCache(
    metrics.exposition, otherwise=lambda: metrics.without_database(_too_late())
)


@public
@require_safe
@never_cache
def healthz(_request: HttpRequest) -> HttpResponse:
    """This process answers. Asks nobody else, least of all the database."""
    return HttpResponse("ok\n", content_type="text/plain")


@public
@require_safe
@never_cache
def readyz(_request: HttpRequest) -> HttpResponse:
    """Would a click work right now? 503 when it would not."""
    readiness = redacted_for_public(READINESS.get())
    said = asdict(readiness)
    for check in said["checks"]:
        del check["public"]
    return JsonResponse(said, status=503 if readiness.word is Level.NOT_READY else 200)


@public
@require_safe
@never_cache
def exposition(_request: HttpRequest) -> HttpResponse:
    """The metrics."""
    return HttpResponse(METRICS.get(), content_type=CONTENT_TYPE_LATEST)
