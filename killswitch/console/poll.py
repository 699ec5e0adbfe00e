"""The answer to a page's one poller: only what changed, or 204.

The page says what it shows and the revision it has. The newest revision is read before the rows,
so that a page may be told of a change twice, and never misses one; of too many it is loaded anew.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from time import time
from typing import Any
from urllib.parse import quote
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django_htmx.http import HttpResponseClientRefresh

from killswitch.accounts.decorators import Permission, has_permission
from killswitch.accounts.models import User
from killswitch.alarms.models import Alarm
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.view_models import BatchPage, ListPage, RequestPage
from killswitch.compliance.log_page import parse_seq
from killswitch.compliance.new_events import NewEvents
from killswitch.compliance.verification_badge import Badge
from killswitch.console import grid
from killswitch.console.context_processors import last_observed_at
from killswitch.console.readiness_bar import readiness_bar
from killswitch.exchanges.models import Exchange, Observation
from killswitch.runtime.revisions import current

MAX_SHOWN = 6  # things that one page may ask for
MAX_ROWS = 500  # changed lines of a list in one answer; a page that missed more loads anew
MAX_NOTE_CHARS = 200  # characters of the readiness note in a header


class TooManyChanges(Exception):
    """More has changed than fits into one answer."""


@dataclass(frozen=True, kw_only=True)
class PollRequest:
    """Who asks, and what that page knows already."""

    request: HttpRequest
    user: User
    known: int
    newest_look: datetime | None

    def render(self, template: str, context: dict[str, Any]) -> str:
        """A part of the page. In a `template`, because rows may not stand outside a table."""
        part = render_to_string(template, context, request=self.request)
        return f"<template>{part}</template>"


def answer(request: HttpRequest, *, user: User) -> HttpResponse:
    """204 when the page has everything; else the changed parts and the new revision."""
    revision = current()
    seen_at = last_observed_at()
    known = _known(request, revision)
    shown = list(dict.fromkeys(request.GET.getlist("show")))[:MAX_SHOWN]
    asking = PollRequest(request=request, user=user, known=known, newest_look=seen_at)
    try:
        parts = list(_parts(asking, shown, changed=known != revision))
    except TooManyChanges:
        return HttpResponseClientRefresh()
    if known == revision and not parts:
        return _with_facts(HttpResponse(status=204), request, seen_at=seen_at)
    # The revision comes last: a page that fails half-way asks for the same again.
    parts.append(asking.render("console/_known.html", {"known": revision}))
    return _with_facts(HttpResponse("".join(parts)), request, seen_at=seen_at)


def _parts(asking: PollRequest, shown: list[str], *, changed: bool) -> Iterator[str]:
    if "ready" in shown:
        yield asking.render("console/_ready.html", {})
    yield from _log(asking, shown)
    if not changed:
        return
    if Alarm.objects.filter(revision__gt=asking.known).exists():
        yield asking.render("console/_alarms.html", {"brief": "console" not in shown})
    for thing in shown:
        kind, _, name = thing.partition(":")
        if part := PARTS.get(kind):
            yield from part(asking, name)


def _log(asking: PollRequest, shown: list[str]) -> Iterator[str]:
    """New events of the log, which raise no revision: their numbers tell."""
    names = [thing.removeprefix("log:") for thing in shown if thing.startswith("log:")]
    known = (
        NewEvents.known(names[0])
        if names and has_permission(asking.user, Permission.AUDIT)
        else None
    )
    if known is None or (newest := known.now()) == known:
        return
    yield asking.render("compliance/_new_events.html", {"news": newest})
    if newest.verified_at != known.verified_at:
        yield asking.render("compliance/_badge.html", {"badge": Badge.now()})


def _console(asking: PollRequest, _: str) -> Iterator[str]:
    """Changed rows, the rows that are gone, and the panels around them."""
    rows = grid.rows(changed_since=asking.known, newest_look=asking.newest_look)
    for row in rows:
        yield asking.render("console/_row.html", {"row": row, "into": True})
    changed = Exchange.objects.filter(revision__gt=asking.known)
    for gone in changed.filter(enabled=False):
        yield asking.render("console/_gone.html", {"exchange": gone})
    observation = Observation.objects.filter(id=1).first()
    if rows or changed.exists() or (observation and observation.revision > asking.known):
        exchanges = list(Exchange.objects.enabled())
        everywhere = grid.Totals.of(exchanges, observation=observation)
        yield asking.render("console/_everywhere.html", {"everywhere": everywhere})
        yield asking.render("console/_uncovered.html", {"everywhere": everywhere})
    if CancelRequest.objects.filter(revision__gt=asking.known).exists():
        yield asking.render("console/_latest.html", {"latest": grid.latest()})


def _batch(asking: PollRequest, name: str) -> Iterator[str]:
    yield from _press(asking, name, in_dialog=False)


def _dialog(asking: PollRequest, name: str) -> Iterator[str]:
    yield from _press(asking, name, in_dialog=True)


def _press(asking: PollRequest, name: str, *, in_dialog: bool) -> Iterator[str]:
    batch = Batch.objects.filter(uuid=_uuid(name)).first()
    if batch and batch.requests.filter(revision__gt=asking.known).exists():
        page = BatchPage.of(batch, user=asking.user)
        yield asking.render("cancels/_batch.html", {"page": page, "in_dialog": in_dialog})


def _request(asking: PollRequest, name: str) -> Iterator[str]:
    requests = CancelRequest.objects.select_related("batch", "configured_exchange")
    uuid = _uuid(name)
    alarmed = Alarm.objects.filter(revision__gt=asking.known, request_id=str(uuid)).exists()
    request = requests.filter(uuid=uuid).first()
    if request and (alarmed or request.revision > asking.known):
        page = RequestPage.of(request, user=asking.user)
        yield asking.render("cancels/_request.html", {"page": page})


def _requests(asking: PollRequest, name: str) -> Iterator[str]:
    """Changed lines of a list, oldest first; only its first page takes those that are new."""
    newest = name == "newest"
    for request in reversed(
        _changed(asking) if newest else _changed_before(asking, parse_seq(name))
    ):
        context = {"request_row": request, "into": newest}
        yield asking.render("cancels/_request_row.html", context)


def _changed(asking: PollRequest) -> list[CancelRequest]:
    requests = CancelRequest.objects.select_related("batch", "configured_exchange").order_by("-id")
    changed = list(requests.filter(revision__gt=asking.known)[: MAX_ROWS + 1])
    if len(changed) > MAX_ROWS:
        raise TooManyChanges
    return changed


def _changed_before(asking: PollRequest, pk: int | None) -> list[CancelRequest]:
    """Of an older page of the list, which shows so many and no more."""
    return [each for each in ListPage.before(pk).requests if each.revision > asking.known]


PARTS: dict[str, Callable[[PollRequest, str], Iterator[str]]] = {
    "console": _console,
    "batch": _batch,
    "dialog": _dialog,
    "request": _request,
    "requests": _requests,
}


def _known(request: HttpRequest, revision: int) -> int:
    """What the page has; nothing, when it says nonsense or comes from another database."""
    text = request.GET.get("known", "")
    known = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1
    return known if known <= revision else -1


def _uuid(text: str) -> UUID:
    """The uuid that a page names; nonsense finds nothing."""
    try:
        return UUID(text)
    except ValueError:
        return UUID(int=0)


def _with_facts(
    response: HttpResponse, request: HttpRequest, *, seen_at: datetime | None
) -> HttpResponse:
    """What moves all the time travels beside the body, so that an idle answer has none."""
    newest = readiness_bar()
    response["X-Now"] = str(round(time() * 1000))
    response["X-Seen-At"] = str(round(seen_at.timestamp() * 1000)) if seen_at else ""
    response["X-Ready"] = newest.word
    response["X-Ready-Note"] = quote(newest.note[:MAX_NOTE_CHARS])
    ends = request.session.get_expiry_date()
    response["X-Session-Ends"] = str(round(ends.timestamp() * 1000))
    return response
