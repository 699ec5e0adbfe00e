"""The log as a file to keep: all events that the filter of the page selects."""

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from killswitch.accounts.client_info import client_info
from killswitch.accounts.decorators import current_user, requires
from killswitch.accounts.permissions import Permission
from killswitch.audit.export import export
from killswitch.audit.export.formats import ExportFormat
from killswitch.audit.filters import EventFilter
from killswitch.runtime.filter_values import InvalidFilter
from killswitch.runtime.http import is_of_other_site, streamed

OTHER_SITE = (
    "A link on another website requested this export. Exports are recorded under your name, so it"
    " was not started."
)


@requires(Permission.EXPORT)
@never_cache
@require_GET  # not HEAD: every answer is recorded
def export_log(request: HttpRequest, layout: ExportFormat) -> HttpResponseBase:
    """Stream the export for reading, for a spreadsheet, or for programs and verification."""
    if is_of_other_site(request):
        return _refuse(request, [OTHER_SITE], status=403)
    try:
        selection = EventFilter.from_query(request.GET)
        selection.check_names()
        new_export = export.begin(
            selection=selection,
            layout=layout,
            who=current_user(request).actor,
            origin=client_info(request),
        )
    except InvalidFilter as error:
        return _refuse(request, list(error.errors.values()), status=400)
    except export.ExportNotRecorded as error:
        return _refuse(request, [str(error)], status=503)
    return StreamingHttpResponse(
        streamed(new_export.stream(), interrupted=new_export.interrupted),
        content_type=new_export.content_type,
        headers={"Content-Disposition": f'attachment; filename="{new_export.file_name}"'},
    )


def _refuse(request: HttpRequest, reasons: list[str], *, status: int) -> HttpResponse:
    context = {"reasons": reasons, "status": status}
    return render(request, "compliance/export_refused.html", context, status=status)
