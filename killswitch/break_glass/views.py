"""Break glass in the browser: the question, the press, and its outcome. Reads no database.

Who may press is known from a signed cookie alone. The middleware, the context processors and the
templates of these pages must not touch the database or the session either.
"""

import socket
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from killswitch.accounts import client_info
from killswitch.accounts.decorators import public
from killswitch.accounts.officer_cookie import KnownOfficer, known_officer
from killswitch.break_glass import outage, press_registry
from killswitch.break_glass.confirmation import InvalidQuestion, Offer, Question
from killswitch.break_glass.press import Presser, new_press
from killswitch.break_glass.press_registry import ShownPress
from killswitch.cancels import press_keys
from killswitch.cancels.confirmation import Reason
from killswitch.runtime.http import is_htmx, see_other


@public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def break_glass(request: HttpRequest) -> HttpResponse:
    """Ask whether to cancel without the log; POST cancels.

    A process that has not seen the database fail leads to the console's own confirmation, unless
    that was not answered. If it fails, it brings this question.
    """
    officer = known_officer(request)
    if officer is None:
        return _refuse(request, "not_known", status=403)
    try:
        question = Question.of_form(request.POST if request.method == "POST" else request.GET)
    except InvalidQuestion:
        return _refuse(request, "invalid_exchange", status=400)
    if request.method == "POST":
        return _press(request, question, officer)
    if not outage.is_recent() and "unanswered" not in request.GET:
        return see_other(question.console_address)
    return show_question(request, question, officer)


@public
@never_cache
@require_safe
def show_press(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Show what is known of a press; the page asks again every second until it is over."""
    if known_officer(request) is None:
        return _refuse(request, "not_shown", status=403)
    try:
        press = press_registry.PROCESS.find(str(uuid))
    except OSError:
        press = None
    if press is None:
        return _refuse(request, "not_here", status=404)
    template = "break_glass/_press.html" if is_htmx(request) else "break_glass/press.html"
    is_first = request.headers.get("HX-Trigger") != "break-glass-press"  # not one of its own polls
    return render(request, template, _context(press, is_first=is_first))


@public
@never_cache
@require_safe
def show_sent(request: HttpRequest) -> HttpResponse:
    """List the cancels that this host has just sent without the log."""
    if known_officer(request) is None:
        return _refuse(request, "not_shown", status=403)
    template = "break_glass/_sent_list.html" if is_htmx(request) else "break_glass/sent.html"
    return render(request, template)


def show_question(
    request: HttpRequest,
    question: Question,
    officer: KnownOfficer,
    *,
    status: int = 200,
    notice: str = "",
) -> HttpResponse:
    """Show the confirmation with a fresh key."""
    template = "break_glass/_confirm.html" if is_htmx(request) else "break_glass/confirm.html"
    context = {"offer": Offer.make(request, question, officer), "notice": notice}
    return render(request, template, context, status=status)


def _press(request: HttpRequest, question: Question, officer: KnownOfficer) -> HttpResponse:
    if not question.exchange_ids:
        return _refuse(request, "no_exchange", status=409)
    key = request.POST.get("key", "")
    try:
        nonce = question.read_key(key, user_id=officer.user_id)
    except (press_keys.InvalidKey, press_keys.UnusableKey):
        notice = "This confirmation is no longer valid, so no cancel was sent. Confirm again."
        return show_question(request, question, officer, status=400, notice=notice)
    if not press_registry.PROCESS.limit.allows(officer.user_id, question.exchange_ids, nonce=nonce):
        return _refuse(request, "too_many", status=429)
    session_key = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
    if outage.was_revoked(session_key):
        return _refuse(request, "not_known", status=403)
    press = new_press(
        question.exchange_ids,
        everywhere=question.everywhere,
        snapshot=question.snapshot,
        by=Presser(
            user_id=officer.user_id,
            name=officer.name,
            role=officer.role,
            address=client_info.address(request),
            user_agent=request.headers.get("User-Agent", ""),
            gesture=request.POST.get("gesture", ""),
        ),
        reason=str(Reason.from_form(request.POST)),
        nonce=nonce,
    )
    press_uuid = press_registry.PROCESS.start(press)
    address = reverse("break_glass_press", args=[press_uuid])
    if not is_htmx(request):
        return see_other(address)
    context = _context(press_registry.PROCESS.find(press_uuid))
    return render(request, "break_glass/_press.html", context, status=202)


def _context(press: ShownPress | None, *, is_first: bool = True) -> dict[str, Any]:
    return {
        "press": press,
        "is_first": is_first,
        "host": socket.gethostname(),
        "now": datetime.now(UTC),
    }


def _refuse(request: HttpRequest, why: str, *, status: int) -> HttpResponse:
    template = "break_glass/_refused.html" if is_htmx(request) else "break_glass/refused.html"
    return render(request, template, {"why": why}, status=status)
