"""The list of requests, and the same requests as a file for a spreadsheet."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_safe

from killswitch.accounts.client_info import client_info
from killswitch.accounts.decorators import current_user, requires
from killswitch.accounts.permissions import Permission
from killswitch.audit.export import csv_safe
from killswitch.cancels import requests_csv
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.request_filter_fields import BY_LABELS, FIELDS, Choices
from killswitch.cancels.request_filters import RequestFilter
from killswitch.cancels.request_list import ListPage
from killswitch.cancels.request_outcomes import OUTCOMES
from killswitch.runtime.filter_values import InvalidFilter
from killswitch.runtime.http import is_of_other_site, parse_id, streamed
from killswitch.runtime.revisions import current

OTHER_SITE = (
    "A link on another website requested this export. Exports are recorded under your name, so it"
    " was not started."
)


@requires(Permission.REQUESTS)
@never_cache
@require_safe
def list_requests(request: HttpRequest) -> HttpResponse:
    """List the cancels that the filter selects, newest first."""
    if page := _page_of_id(request.GET.get("q", "")):
        return page
    revision = current()
    choices = Choices.now()
    context: dict[str, Any] = {
        "known": revision,
        "choices": choices,
        "outcomes": OUTCOMES,
        "by_labels": BY_LABELS,
        "values": {name: request.GET[name] for name in FIELDS if request.GET.get(name)},
    }
    try:
        selection = RequestFilter.from_query(request.GET, choices=choices)
    except InvalidFilter as error:
        # The fields of the form have a place for their error, other parts of the address do not.
        others = error.errors.keys() - FIELDS.keys() | error.errors.keys() & {"size"}
        context["errors"] = error.errors
        context["other_errors"] = [error.errors[name] for name in sorted(others)]
        return render(request, "cancels/requests.html", context, status=400)
    before = parse_id(request.GET.get("before", ""))
    context["values"] = selection.form_values()
    context["page"] = ListPage.of(selection, before=before, revision=revision)
    return render(request, "cancels/requests.html", context)


@requires(Permission.REQUESTS)
@never_cache
@require_GET  # not HEAD: every answer is recorded
def export_requests(request: HttpRequest) -> HttpResponseBase:
    """Stream every request that the filter selects, for a spreadsheet."""
    if is_of_other_site(request):
        return _refuse(request, [OTHER_SITE], status=403)
    try:
        selection = RequestFilter.from_query(request.GET, choices=Choices.now())
        export = requests_csv.begin(
            selection, who=current_user(request).actor, origin=client_info(request)
        )
    except InvalidFilter as error:
        return _refuse(request, list(error.errors.values()), status=400)
    except requests_csv.ExportNotRecorded:
        return _refuse(request, ["It could not be recorded in the audit log."], status=503)
    return StreamingHttpResponse(
        streamed(export.stream(), interrupted=csv_safe.INTERRUPTED),
        content_type=requests_csv.CONTENT_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{export.file_name}"'},
    )


def _refuse(request: HttpRequest, reasons: list[str], *, status: int) -> HttpResponse:
    context = {"reasons": reasons, "status": status}
    return render(request, "cancels/export_refused.html", context, status=status)


def _page_of_id(text: str) -> HttpResponse | None:
    """Return a redirect to the page of the request or cancel with this ID, None for other texts."""
    try:
        uuid = UUID(text.strip())
    except ValueError:
        return None
    if CancelRequest.objects.filter(uuid=uuid).exists():
        return redirect("request", uuid=uuid)
    if Batch.objects.filter(uuid=uuid).exists():
        return redirect("batch", uuid=uuid)
    return None
