"""The log as a file to keep: what the page shows, whole, in two layouts."""

import time
from collections.abc import Iterator

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from killswitch.accounts.client_info import client_info
from killswitch.accounts.decorators import Permission, actor, requires
from killswitch.audit.export import export
from killswitch.audit.export.formats import ExportFormat
from killswitch.audit.filters import EventFilter, InvalidFilter

MAX_PAUSE_S = 0.1  # seconds
# Who sent the browser here, as browsers say and scripts do not: the person, or a page of ours.
OURS = {"none", "same-origin"}
FOREIGN = "A page of another site asked for this, and an export is recorded in your name."


@requires(Permission.EXPORT)
@never_cache
@require_GET  # not HEAD: each answer is an event
def export_csv(request: HttpRequest) -> HttpResponseBase:
    """For a spreadsheet."""
    return _export(request, layout=ExportFormat.CSV)


@requires(Permission.EXPORT)
@never_cache
@require_GET
def export_jsonl(request: HttpRequest) -> HttpResponseBase:
    """For a program, and for the proof."""
    return _export(request, layout=ExportFormat.JSONL)


def _export(request: HttpRequest, *, layout: ExportFormat) -> HttpResponseBase:
    if request.headers.get("Sec-Fetch-Site", "none") not in OURS:
        return _refuse(request, [FOREIGN], status=403)
    try:
        begun = export.begin(
            selection=EventFilter.from_query(request.GET),
            layout=layout,
            who=actor(request.user),
            origin=client_info(request),
        )
    except InvalidFilter as error:
        return _refuse(request, list(error.errors.values()), status=400)
    except export.ExportNotRecorded as error:
        return _refuse(request, [str(error)], status=503)
    return StreamingHttpResponse(
        _unhurried(begun.stream()),
        content_type=begun.content_type,
        headers={"Content-Disposition": f'attachment; filename="{begun.file_name}"'},
    )


def _refuse(request: HttpRequest, why: list[str], *, status: int) -> HttpResponse:
    context = {"why": why, "status": status}
    return render(request, "compliance/export_refused.html", context, status=status)


def _unhurried(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Rest for as long as each piece took: this process has clicks to answer meanwhile."""
    started = time.monotonic()
    for piece in pieces:
        worked = time.monotonic() - started
        yield piece
        time.sleep(min(worked, MAX_PAUSE_S))
        started = time.monotonic()
