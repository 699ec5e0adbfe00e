"""The evidence of one cancel as a page that can be printed and filed."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from killswitch.accounts.decorators import requires
from killswitch.accounts.permissions import Permission
from killswitch.cancels.models import Batch
from killswitch.compliance.evidence import Evidence


@requires(Permission.REQUESTS)
@never_cache
@require_safe
def evidence(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Show everything that was recorded of one cancel."""
    batch = Batch.objects.select_related("retry_of").filter(uuid=uuid).first()
    if batch is None:
        raise Http404("There is no cancel with this ID. Check the link, or find it under Requests.")
    return render(request, "compliance/evidence.html", {"evidence": Evidence.of(batch)})
