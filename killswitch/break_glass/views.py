"""Break glass in the browser: the question, the press, and its outcome. Reads no database.

Who may press is known from a signed cookie alone. The middleware, the context processors and the
templates of these pages must not touch the database or the session either.
"""

import socket
import uuid
from datetime import UTC, datetime
from pathlib import Path
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
from killswitch.break_glass import cancelling, holders, offers, outage, question, running
from killswitch.break_glass.press import Press
from killswitch.break_glass.press_limit import PressLimit
from killswitch.break_glass.question import InvalidKey, Question
from killswitch.break_glass.running import ShownPress
from killswitch.cancels.confirmation import Reason
from killswitch.cancels.services import MAX_REASON_CHARS
from killswitch.runtime.http import is_htmx, see_other
from killswitch.runtime.text import clean_line

_limit = PressLimit()
_journal = cancelling.default_journal()


@public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def break_glass(request: HttpRequest) -> HttpResponse:
    """Ask whether to cancel without the log; POST cancels.

    A process that has not seen the database fail leads to the console's own confirmation. If that
    fails, it brings this question.
    """
    officer = known_officer(request)
    if officer is None:
        return _refuse(request, "not_known", status=403)
    if request.method == "POST":
        return _press(request, question.of_form(request.POST), officer)
    asked = question.of_form(request.GET)
    if not outage.is_recent():
        return see_other(asked.console_address)
    return show_question(request, asked, officer)


@public
@never_cache
@require_safe
def show_press(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Show what is known of a press; the page asks again every second until it is over."""
    if known_officer(request) is None:
        return _refuse(request, "not_shown", status=403)
    try:
        press = running.find(str(uuid))
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
    asked: Question,
    officer: KnownOfficer,
    *,
    status: int = 200,
    notice: str = "",
) -> HttpResponse:
    """Show the confirmation with a fresh key."""
    template = "break_glass/_confirm.html" if is_htmx(request) else "break_glass/confirm.html"
    context = {"offer": offers.make(request, asked, officer), "notice": notice}
    return render(request, template, context, status=status)


def _press(request: HttpRequest, asked: Question, officer: KnownOfficer) -> HttpResponse:
    if not asked.exchange_ids:
        return _refuse(request, "no_exchange", status=409)
    key = request.POST.get("key", "")
    try:
        nonce = question.read_key(key, user_id=officer.user_id, exchange_ids=asked.exchange_ids)
    except InvalidKey:
        notice = "This confirmation is no longer valid, so no cancel was sent. Confirm again."
        return show_question(request, asked, officer, status=400, notice=notice)
    if not _limit.allows(officer.user_id, asked.exchange_ids):
        return _refuse(request, "too_many", status=429)
    session_key = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
    if not outage.is_recent() and outage.was_revoked(session_key):
        return _refuse(request, "not_known", status=403)
    reason = str(Reason.from_form(request.POST))
    text = clean_line(reason, max_chars=MAX_REASON_CHARS)
    press = Press(
        press=str(uuid.uuid4()),
        nonce=nonce,
        user_id=officer.user_id,
        by_name=officer.name,
        by_role=officer.role,
        asked_at=cancelling.utc_now(),
        reason=text,
        reason_altered=text != reason.strip(),
        origin=cancelling.ORIGIN,
        address=clean_line(client_info.address(request), max_chars=100),
        user_agent=clean_line(request.headers.get("User-Agent", ""), max_chars=500),
        gesture=clean_line(request.POST.get("gesture", ""), max_chars=100),
        everywhere=asked.everywhere,
        deadline_ms=round(settings.CANCEL_DEADLINE * 1000),
        holder=holders.own_name(Path(settings.KILLSWITCH_HOME)),
        requests=tuple(
            cancelling.new_request(name, asked.snapshot.find(name) if asked.snapshot else None)
            for name in asked.exchange_ids
        ),
    )
    press_uuid = running.start(press, journal=_journal)
    address = reverse("break_glass_press", args=[press_uuid])
    if not is_htmx(request):
        return see_other(address)
    context = _context(running.find(press_uuid))
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
