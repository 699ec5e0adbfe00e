"""What the pages of a request and of a batch offer: add the reason, download the open orders."""

import re
from collections.abc import Iterable
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from killswitch.accounts.decorators import current_user, requires
from killswitch.accounts.permissions import Permission
from killswitch.accounts.redirects import can_open
from killswitch.audit.export import csv_safe
from killswitch.cancels import services
from killswitch.cancels.confirmation import Reason
from killswitch.cancels.event_data import ORDER_COLUMNS
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.view_models import BatchPage
from killswitch.cancels.views import get_or_404
from killswitch.runtime.http import is_htmx, see_other

ORDER_HEADINGS = (
    "Symbol",
    "Side",
    "Price",
    "Quantity",
    "Open",
    "Filled",
    "Status",
    "Client order ID",
    "Exchange order ID",
)
MAX_NAME_CHARS = 60


@requires(Permission.COMPLETE_REASON)
@never_cache
@require_POST
def complete_reason(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Add the reason afterwards, and lead back; what is wrong is said next to the fields."""
    batch = get_or_404(Batch.objects.filter(uuid=uuid))
    reason = Reason.from_form(request.POST)
    error, status = "", 200
    try:
        batch = services.complete_reason(
            batch=batch, user=current_user(request), reason=str(reason)
        )
    except services.EmptyReason:
        error, status = "Select or enter a reason.", 400
    except services.DetailsMissing:
        error, status = "Enter details for “Other”.", 400
    except services.ReasonTooLong:
        error, status = f"Use at most {services.MAX_REASON_CHARS} characters.", 400
    except services.NotTheRequester:
        error, status = "Only the user who requested this cancel can add a reason.", 403
    except services.AlreadyCompleted:
        batch.refresh_from_db()
        error, status = "A reason has already been added. It cannot be changed.", 409
    back = _page_to_return_to(request, batch)
    if not error and not is_htmx(request):
        return see_other(f"{back}#reason")
    context = {
        "page": BatchPage.of(batch, user=current_user(request)),
        "batch": batch,
        "back": back,
        "in_dialog": "dialog" in request.POST,
        "answered": True,
        "error": error,
        "picked": reason.picked,
        "words": reason.words,
    }
    if is_htmx(request):
        # To htmx a refused reason is an answer like any other: it shows the form again.
        return render(request, "cancels/_complete.html", context)
    return render(request, "cancels/reason.html", context, status=status)


@requires(Permission.REQUESTS)
@never_cache
@require_safe
def download_orders(_request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Return the orders that a request left open, as a file for a spreadsheet.

    The name of the file says so when only the first of them were kept.
    """
    request = get_or_404(CancelRequest.objects.filter(uuid=uuid))
    orders = list(request.residual_orders.values_list(*ORDER_COLUMNS))
    is_cut = (request.open_after or 0) > len(orders)
    cut = f"-first-{len(orders)}-of-{request.open_after}" if is_cut else ""
    exchange = re.sub(r"[^A-Za-z0-9]+", "-", request.exchange_id)[:MAX_NAME_CHARS].strip("-")
    name = f"open-orders-{exchange}-{str(request.uuid)[:8]}{cut}.csv"
    rows: Iterable[Iterable[str]] = (ORDER_HEADINGS, *orders)
    return HttpResponse(
        "\ufeff" + "".join(csv_safe.row(row) for row in rows),
        content_type="text/csv; charset=utf-8; header=present",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _page_to_return_to(request: HttpRequest, batch: Batch) -> str:
    """Return the page that the form was on if it is one of ours, else the page of the batch."""
    url = request.POST.get("back", "")
    if "#" not in url and can_open(current_user(request), url):
        return url
    return reverse("batch", args=[batch.uuid])
