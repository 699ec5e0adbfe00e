"""The telephone cards: the page, its copy, and "I telephoned".

Without the database, a known officer gets the copy that this host has kept.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from killswitch.accounts.client_info import client_info
from killswitch.accounts.decorators import P, View, current_user, requires
from killswitch.accounts.officer_cookie import known_officer
from killswitch.accounts.permissions import Permission, has_permission
from killswitch.break_glass import outage
from killswitch.break_glass.telephone import html_copy
from killswitch.break_glass.telephone.call_form import MAX_CHARS, CallForm, target
from killswitch.break_glass.telephone.cards import FormUsed, read_cards, record_call
from killswitch.break_glass.telephone.html_copy import NoCopy, render_copy
from killswitch.cancels import press_keys
from killswitch.exchanges.models import Exchange, Observation
from killswitch.runtime.http import MAX_ID, see_other
from killswitch.runtime.revisions import current

NO_EXCHANGE = "There is no exchange with this ID. Look for it among all telephone cards."
OUT_OF_DATE = "This form was out of date, so the call was not recorded. Please record it again."


def kept_without_database(*, as_file: bool = False) -> Callable[[View[P]], View[P]]:
    """Answer a known officer with the copy of this host if the database cannot be read."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            try:
                return view(request, *args, **kwargs)
            except Error:
                outage.note_failure()
                return _show_kept(request, as_file=as_file)

        return never_cache(guarded)

    return decorate


def returning_call(view: View[P]) -> View[P]:
    """Show what was typed, to be recorded later, if it could not be recorded now."""

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        try:
            response = view(request, *args, **kwargs)
        except Error:
            outage.note_failure()
            return _show_unrecorded(request, kwargs, status=HTTPStatus.SERVICE_UNAVAILABLE)
        sign_in = response.headers.get("Location", "")
        is_filled = any(request.POST.get(name, "").strip() for name in MAX_CHARS)
        if sign_in.startswith("/accounts/") and is_filled:
            return _show_unrecorded(
                request, kwargs, status=HTTPStatus.UNAUTHORIZED, sign_in=sign_in
            )
        return response

    return never_cache(guarded)


@kept_without_database()
@requires(Permission.SIGNED_IN)
@require_safe
def show_cards(request: HttpRequest) -> HttpResponse:
    """Show the cards of all exchanges."""
    return _page(request)


@kept_without_database()
@requires(Permission.SIGNED_IN)
@require_safe
def show_card(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the card of one exchange."""
    return _page(request, pk=pk)


@kept_without_database(as_file=True)
@requires(Permission.SIGNED_IN)
@require_safe
def download_copy(request: HttpRequest) -> HttpResponse:
    """Return all cards in one file that works without this console."""
    may_cancel = has_permission(request.user, Permission.CANCEL)
    return _file(render_copy(read_cards(), may_cancel=may_cancel).encode())


@returning_call
@requires(Permission.TELEPHONED)
@require_POST
def telephoned(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Record a call to an exchange."""
    form, user = CallForm.of_post(request.POST, pk=pk), current_user(request)
    try:
        nonce = press_keys.read(form.key, user_id=user.pk, target=target(pk))
    except (press_keys.InvalidKey, press_keys.UnusableKey):
        return telephoned_again(request, pk=pk, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    if form.call is None:
        return _page(request, pk=pk, form=form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    try:
        record_call(pk, form.call, nonce=nonce, by=user.actor, origin=client_info(request))
    except Exchange.DoesNotExist:
        raise Http404(NO_EXCHANGE) from None
    except FormUsed:
        return telephoned_again(request, pk=pk, status=HTTPStatus.CONFLICT)
    messages.success(request, "Your call is recorded in the audit log.")
    return see_other(reverse("telephone_card", args=[pk]))


@requires(Permission.TELEPHONED)
@never_cache
def telephoned_again(
    request: HttpRequest, *, pk: int, status: int = HTTPStatus.FORBIDDEN
) -> HttpResponse:
    """Show the filled form with a fresh key to a POST that was out of date."""
    key = CallForm.fresh(pk, user_id=current_user(request).pk).key
    form = replace(CallForm.of_post(request.POST, pk=pk), key=key)
    return _page(request, pk=pk, form=form, status=status, notice=OUT_OF_DATE)


def _page(
    request: HttpRequest,
    *,
    pk: int | None = None,
    form: CallForm | None = None,
    status: int = HTTPStatus.OK,
    notice: str = "",
) -> HttpResponse:
    revision = current()  # before the rows: a poll may bring a change twice, but misses none
    observation = Observation.objects.first()
    cards = read_cards(pk=pk) if pk is None or pk <= MAX_ID else []
    if pk is not None and not cards:
        raise Http404(NO_EXCHANGE)
    context = {
        "known": revision,
        "observed_at": observation.seen_at if observation else None,
        "cards": cards,
        "only": pk,
        "form": form,
        "notice": notice,
        "now": datetime.now(UTC),
    }
    return render(request, "break_glass/telephone_cards.html", context, status=status)


def _file(copy: bytes) -> HttpResponse:
    name = f"telephone-cards-{datetime.now(UTC):%Y-%m-%d-%H%M%S}.html"
    return HttpResponse(
        copy,
        content_type="text/html; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _show_kept(request: HttpRequest, *, as_file: bool) -> HttpResponse:
    """Show the copy of this host. Touches neither the database nor the session."""
    if known_officer(request) is None:
        return _refuse(request, "no_cards")
    try:
        copy = html_copy.read_kept(settings.KILLSWITCH_HOME)
        cards = html_copy.cards_of(copy)
    except NoCopy:
        return _refuse(request, "no_copy")
    if as_file:
        return _file(copy)
    return render(request, "break_glass/kept_cards.html", {"cards": cards})


def _show_unrecorded(
    request: HttpRequest, kwargs: Mapping[str, Any], *, status: int, sign_in: str = ""
) -> HttpResponse:
    """Return the filled form on a page of its own. Touches neither the database nor the session."""
    form = CallForm.of_post(request.POST, pk=kwargs["pk"])
    context = {"form": form, "sign_in": sign_in}
    return render(request, "break_glass/call_not_recorded.html", context, status=status)


def _refuse(request: HttpRequest, why: str) -> HttpResponse:
    status = HTTPStatus.SERVICE_UNAVAILABLE
    return render(request, "break_glass/refused.html", {"why": why}, status=status)
