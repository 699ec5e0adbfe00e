"""The kill in the browser: confirm it, request it, and see its outcome."""

from collections.abc import Iterable
from typing import TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from killswitch.accounts import client_info
from killswitch.accounts.decorators import requires
from killswitch.accounts.models import User
from killswitch.accounts.permissions import Permission
from killswitch.cancels import manual_cancel, press_keys, services
from killswitch.cancels.confirmation import Reason, Target, build_confirmation, wants_hold
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.request_page import RequestPage
from killswitch.cancels.services import CancelResult, PressContext
from killswitch.cancels.view_models import BatchPage
from killswitch.exchanges.runbook import last_read_text
from killswitch.runtime.http import is_htmx, see_other
from killswitch.runtime.revisions import current

Row = TypeVar("Row", bound=Model)


@requires(Permission.CANCEL)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def cancel_one(request: HttpRequest, pk: int) -> HttpResponse:
    """Cancel all on one exchange: GET shows the confirmation, POST requests it."""
    return _cancel(request, Target.one(pk))


@requires(Permission.CANCEL)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def cancel_everywhere(request: HttpRequest) -> HttpResponse:
    """Cancel all on every exchange, or on those that the address names."""
    return _cancel(request, Target.from_query(request))


@requires(Permission.REQUESTS)
@never_cache
@require_safe
def show_batch(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Show all requests of one batch."""
    revision = current()
    page = BatchPage.of(get_or_404(Batch.objects.filter(uuid=uuid)), user=_user(request))
    return render(request, "cancels/batch.html", {"page": page, "known": revision})


@requires(Permission.REQUESTS)
@never_cache
@require_safe
def show_request(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Show one request with all its attempts."""
    revision = current()
    rows = CancelRequest.objects.select_related("batch", "configured_exchange").filter(uuid=uuid)
    page = RequestPage.of(get_or_404(rows), user=_user(request))
    return render(request, "cancels/request.html", {"page": page, "known": revision})


@requires(Permission.CANCEL)
@never_cache
def confirm_again(request: HttpRequest, *, pk: int | None = None) -> HttpResponse:
    """Show the filled confirmation again to a POST that failed the CSRF check."""
    target = Target.from_query(request) if pk is None else Target.one(pk)
    notice = "This page was out of date, so no cancel was sent. Please confirm again."
    return _show_confirmation(request, target, status=403, notice=notice)


def not_recorded(
    request: HttpRequest,
    *,
    exchange_ids: Iterable[str],
    target: Target | None = None,
    certain: bool = False,
) -> HttpResponse:
    """Offer to send again with the same key, and how to cancel these exchanges manually.

    Reads no database, so there is no target when it could not be read. Unless that is `certain`, an
    earlier request with the same key may have been recorded.
    """
    context = {
        "certain": certain,
        "target": target,
        "covered": target.covered if target else (),
        "lines": manual_cancel.lines(exchange_ids),
        "at": target.path if target else request.get_full_path(),
        "key": request.POST.get("key", ""),
        "reason": Reason.from_form(request.POST).carried(),
        "hold_chosen": wants_hold(request.POST),
        # The database has just failed: this page must not wait for it again.
        "runbook_text": last_read_text(),
    }
    template = "cancels/_not_recorded.html" if is_htmx(request) else "cancels/not_recorded.html"
    answer = render(request, template, context, status=503)
    answer["X-Recorded"] = "no" if certain else "unknown"
    return answer


def _cancel(request: HttpRequest, target: Target) -> HttpResponse:
    """Show the confirmation, or request the cancel; each refusal says what to do next."""
    if request.method != "POST":
        return _show_confirmation(request, target)
    context = PressContext(
        user=_user(request),
        address=client_info.address(request),
        user_agent=request.headers.get("User-Agent", ""),
        gesture=request.POST.get("gesture", ""),
        reason=str(Reason.from_form(request.POST)),
        hold=wants_hold(request.POST),
    )
    try:
        result = services.request_cancel(
            target=target, key=request.POST.get("key", ""), press=context
        )
    except press_keys.InvalidKey:
        notice = "This confirmation was not valid, so no cancel was sent. Please confirm again."
        return _show_confirmation(request, target, status=400, notice=notice)
    except press_keys.KeyExpired:
        notice = (
            "This retry was not sent: the original cancel is too old to retry without confirmation."
        )
        return _show_confirmation(request, target, status=409, notice=f"{notice} Please confirm.")
    except press_keys.KeyForAnotherTarget:
        if target.group:
            notice = (
                f"The exchanges of {target.group} have changed, or this confirmation belongs to"
                " another user. No cancel was sent. Please confirm again."
            )
            return _show_confirmation(request, target, status=409, notice=notice)
        sentence = (
            "This confirmation belongs to another user or to other exchanges. No cancel was sent."
            " Start again."
        )
        return _refuse(request, sentence, status=409, target=target)
    except services.NothingToCancel:
        return _refuse(request, _nothing_to_cancel(target), status=409)
    except (services.NotRecorded, services.CommitOutcomeUnknown) as error:
        return not_recorded(
            request,
            exchange_ids=[exchange.exchange_id for exchange in target.covered],
            target=target,
            certain=isinstance(error, services.NotRecorded),
        )
    return _show_result(request, target, result)


def _show_confirmation(
    request: HttpRequest, target: Target, *, status: int = 200, notice: str = ""
) -> HttpResponse:
    """Show the confirmation with a fresh key, filled with what the request carries."""
    if not target.covered:
        return _refuse(request, _nothing_to_cancel(target), status=409)
    data = request.POST if request.method == "POST" else request.GET
    confirmation = build_confirmation(
        target=target,
        user_id=_user(request).pk,
        reason=Reason.from_form(data),
        hold=wants_hold(data),
    )
    template = "cancels/_confirm.html" if is_htmx(request) else "cancels/confirm.html"
    context = {"confirmation": confirmation, "notice": notice}
    return render(request, template, context, status=status)


def _show_result(request: HttpRequest, target: Target, result: CancelResult) -> HttpResponse:
    """Return 202 and the batch, or redirect a plain browser to the page of a new batch."""
    in_dialog = is_htmx(request)
    if not result.repeated and not in_dialog:
        return see_other(reverse("batch", args=[result.batch.uuid]))
    revision = current()
    user = _user(request)
    context = {
        "page": BatchPage.of(result.batch, user=user),
        "known": revision,
        "in_dialog": in_dialog,
        "target": target,
        "repeated": result.repeated,
        "fresh_key": target.key(user_id=user.pk) if result.repeated else "",
        "hold_chosen": wants_hold(request.POST),
    }
    template = "cancels/_request_result.html" if in_dialog else "cancels/batch.html"
    return render(request, template, context, status=202)


def _refuse(
    request: HttpRequest, sentence: str, *, status: int, target: Target | None = None
) -> HttpResponse:
    context = {"sentence": sentence, "target": target}
    template = "cancels/_refused.html" if is_htmx(request) else "cancels/refused.html"
    return render(request, template, context, status=status)


def _nothing_to_cancel(target: Target) -> str:
    if target.everywhere and not target.exchanges:
        return "No exchange is enabled here. No cancel was recorded or sent."
    names = ", ".join(exchange.exchange_id for exchange in target.exchanges)
    if target.group and not names:
        return f"The group {target.group} has no exchanges. No cancel was recorded or sent."
    return (
        f"Disabled here: {names}. No cancel was recorded or sent. Cancel at the exchange, or"
        " ask an administrator to enable it here."
    )


def get_or_404(rows: QuerySet[Row]) -> Row:
    """Return the only row, or raise `Http404` with a sentence for the error page."""
    row = rows.first()
    if row is None:
        sentence = "There is no request with this ID. Check the link, or find it under Requests."
        raise Http404(sentence)
    return row


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # noqa: S101 - `requires` admits signed-in users only
    return request.user
