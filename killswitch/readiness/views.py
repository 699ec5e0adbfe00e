"""`/healthz`, `/readyz` and `/metrics`: for machines, open to everyone, so without secrets.

Metrics are not limited to the loopback address: behind a proxy every visitor comes from there, and
in containers the scraper never does. They contain counts and ages only.
"""

from dataclasses import asdict

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from killswitch.accounts.decorators import public
from killswitch.readiness import metrics
from killswitch.readiness.background_cache import BackgroundCache
from killswitch.readiness.health_checks import evaluate
from killswitch.readiness.judgement import Level, Readiness, redacted_for_public, without_database


def _timed_out() -> Readiness:
    return without_database("does not respond in time")


READINESS = BackgroundCache(evaluate, fallback=_timed_out)
METRICS = BackgroundCache(metrics.exposition, fallback=lambda: metrics.exposition(_timed_out()))


@public
@require_safe
@never_cache
def healthz(_request: HttpRequest) -> HttpResponse:
    """Show that this process responds, without a query: the database may be down."""
    return HttpResponse("ok\n", content_type="text/plain")


@public
@require_safe
@never_cache
def readyz(_request: HttpRequest) -> HttpResponse:
    """Return the readiness, with status 503 when no cancel would work."""
    readiness = redacted_for_public(READINESS.get())
    content = asdict(readiness)
    for check in content["checks"]:
        del check["public"]
    return JsonResponse(content, status=503 if readiness.word is Level.NOT_READY else 200)


@public
@require_safe
@never_cache
def exposition(_request: HttpRequest) -> HttpResponse:
    """Return the metrics."""
    return HttpResponse(METRICS.get(), content_type=CONTENT_TYPE_LATEST)
