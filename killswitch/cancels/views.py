"""The kill in the browser: confirm, ask, and look at what became of it."""

from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from killswitch.accounts import client_info
from killswitch.accounts.decorators import Permission, requires
from killswitch.accounts.models import User
from killswitch.cancels import press_keys, services
from killswitch.cancels.confirmation import Reason, Target, confirm
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.services import CancelResult, PressContext
from killswitch.cancels.view_models import BatchPage, ListPage, RequestPage
from killswitch.compliance.log_page import parse_seq
from killswitch.runtime.revisions import current

Row = TypeVar("Row", bound=Model)


@requires(Permission.CANCEL)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def cancel_one(request: HttpRequest, pk: int) -> HttpResponse:
    """Cancel all on one exchange: GET confirms, POST asks."""
    return _confirm_or_ask(request, Target.one(pk))


@requires(Permission.CANCEL)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def cancel_all(request: HttpRequest) -> HttpResponse:
    """The same everywhere, or on the exchanges that the address names."""
    return _confirm_or_ask(request, Target.from_query(request))


@requires(Permission.REQUESTS)
@never_cache
@require_safe
def batch(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """What became of one press."""
    known = current()
    found = _found(Batch.objects.filter(uuid=uuid))
    page = BatchPage.of(found, user=_person(request))
    return render(request, "cancels/batch.html", {"page": page, "known": known})


@requires(Permission.COMPLETE_REASON)
@require_POST
def reason(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Say afterwards why."""
    found = _found(Batch.objects.filter(uuid=uuid))
    words = str(Reason.from_form(request.POST))
    try:
        services.complete_reason(batch=found, user=_person(request), reason=words)
    except services.EmptyReason:
        return _refuse(request, "Nothing was written down: the reason was empty.", status=400)
    except services.NotTheRequester:
        return _refuse(request, "Only the person who pressed can say why.", status=403)
    except services.AlreadyCompleted:
        return _refuse(request, "The reason was completed before; it is not edited.", status=409)
    return _to_page_of(found)


@requires(Permission.REQUESTS)
@never_cache
@require_safe
def requests(request: HttpRequest) -> HttpResponse:
    """Every request, newest first."""
    known = current()
    page = ListPage.before(parse_seq(request.GET.get("before", "")))
    return render(request, "cancels/requests.html", {"page": page, "known": known})


@requires(Permission.REQUESTS)
@never_cache
@require_safe
def request(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """One request with all its attempts."""
    known = current()
    found = _found(
        CancelRequest.objects.select_related("batch", "configured_exchange").filter(uuid=uuid)
    )
    page = RequestPage.of(found, user=_person(request))
    return render(request, "cancels/request.html", {"page": page, "known": known})


@requires(Permission.CANCEL)
@never_cache
def confirm_again(request: HttpRequest, *, pk: int | None = None) -> HttpResponse:
    """A press that could not be trusted: the filled confirmation, one press away, nothing sent."""
    target = Target.from_query(request) if pk is None else Target.one(pk)
    if not target.covered:
        return _refuse(request, _nothing_here(target), status=409)
    notice = "This page had grown old, so nothing was sent. Press again."
    return _show_confirmation(request, target, status=403, notice=notice)


def _show_confirmation(
    request: HttpRequest, target: Target, *, status: int = 200, notice: str = ""
) -> HttpResponse:
    """The filled confirmation with a fresh key; nothing is sent by showing it."""
    data = request.POST if request.method == "POST" else request.GET
    confirmation = confirm(
        target=target, user_id=_person(request).pk, reason=Reason.from_form(data)
    )
    template = "cancels/_confirm.html" if _htmx(request) else "cancels/confirm.html"
    context = {"confirmation": confirmation, "notice": notice}
    return render(request, template, context, status=status)


def _confirm_or_ask(request: HttpRequest, target: Target) -> HttpResponse:
    if request.method == "POST":
        return _ask(request, target)
    if not target.covered:
        return _refuse(request, _nothing_here(target), status=409)
    return _show_confirmation(request, target)


def _ask(request: HttpRequest, target: Target) -> HttpResponse:
    """One call to the service; every refusal says what to do next."""
    try:
        asked = services.request_cancel(
            target=target,
            key=request.POST.get("key", ""),
            press=_press(request),
        )
    except press_keys.InvalidKey:
        if not target.covered:
            return _refuse(request, _nothing_here(target), status=409)
        notice = "This confirmation had no valid key. Nothing was sent: press again."
        return _show_confirmation(request, target, status=400, notice=notice)
    except press_keys.KeyForAnotherTarget:
        sentence = "This key was made for another person or another target. Nothing was sent."
        return _refuse(request, sentence, status=409, target=target)
    except services.NothingToCancel:
        return _refuse(request, _nothing_here(target), status=409)
    except services.NotRecorded:
        return _not_recorded(request, target, certain=True)
    except services.CommitOutcomeUnknown:
        return _not_recorded(request, target, certain=False)
    return _asked(request, target, asked)


def _asked(request: HttpRequest, target: Target, asked: CancelResult) -> HttpResponse:
    """202 and the batch; a plain browser is sent to its page instead."""
    if not asked.repeated and not _htmx(request):
        return _to_page_of(asked.batch)
    known = current()
    user = _person(request)
    context: dict[str, Any] = {
        "page": BatchPage.of(asked.batch, user=user),
        "known": known,
        "in_dialog": _htmx(request),
        "target": target,
        "repeated": asked.repeated,
        "fresh_key": target.key(user_id=user.pk) if asked.repeated else "",
    }
    template = "cancels/_request_result.html" if _htmx(request) else "cancels/batch.html"
    return render(request, template, context, status=202)


def _not_recorded(request: HttpRequest, target: Target, *, certain: bool) -> HttpResponse:
    """The log did not take it, or may have. The same key is offered again, and the way by hand."""
    context = {
        "certain": certain,
        "target": target,
        "key": request.POST.get("key", ""),
        "reason": Reason.from_form(request.POST).carried(),
    }
    template = "cancels/_not_recorded.html" if _htmx(request) else "cancels/not_recorded.html"
    answer = render(request, template, context, status=503)
    if certain:
        answer["X-Recorded"] = "no"
    return answer


def _refuse(
    request: HttpRequest, sentence: str, *, status: int, target: Target | None = None
) -> HttpResponse:
    context = {"sentence": sentence, "target": target}
    template = "cancels/_refused.html" if _htmx(request) else "cancels/refused.html"
    return render(request, template, context, status=status)


def _nothing_here(target: Target) -> str:
    if not target.exchanges:
        return "No exchange is enabled here, so there is nothing to cancel. Nothing was recorded."
    names = ", ".join(exchange.exchange_id for exchange in target.exchanges)
    return f"{names} is disabled here, so it cannot be cancelled. Nothing was recorded."


def _to_page_of(found: Batch) -> HttpResponse:
    """303, so that loading the page again does not send the form again."""
    return HttpResponse(status=303, headers={"Location": reverse("batch", args=[found.uuid])})


def _press(request: HttpRequest) -> PressContext:
    return PressContext(
        user=_person(request),
        address=client_info.address(request),
        user_agent=request.headers.get("User-Agent", ""),
        gesture=request.POST.get("gesture", ""),
        reason=str(Reason.from_form(request.POST)),
    )


def _found(rows: QuerySet[Row]) -> Row:
    """The only row, or a page that says in our words that there is none."""
    row = rows.first()
    if row is None:
        raise Http404("Nothing was ever asked under that number here.")
    return row


def _htmx(request: HttpRequest) -> bool:
    return bool(getattr(request, "htmx", False))


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # noqa: S101 - `requires` let nobody else in
    return request.user
