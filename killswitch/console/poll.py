"""The answer to a page's one poller: only what has changed, or 204.

The page names the parts that it shows and the revision that it has. The newest revision is read
before the rows, so a page may get a change twice and never misses one. A page that missed more
than fits into one answer is reloaded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import Any
from urllib.parse import quote
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django_htmx.http import HttpResponseClientRefresh

from killswitch.accounts.models import User
from killswitch.accounts.permissions import Permission, has_permission
from killswitch.alarms.models import Alarm
from killswitch.break_glass import press_registry
from killswitch.break_glass.telephone.cards import read_cards
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.request_list import PageName, changed_rows
from killswitch.cancels.request_page import RequestPage
from killswitch.cancels.view_models import BatchPage, has_followers
from killswitch.compliance.new_events import NewEvents
from killswitch.compliance.queries import QueriesToUser
from killswitch.compliance.verification_badge import Badge
from killswitch.console import exchange_page
from killswitch.console.alarm_list import OpenAlarms
from killswitch.console.console_parts import console_parts
from killswitch.console.context_processors import ReadinessBar
from killswitch.console.exchange_page import ExchangePage
from killswitch.console.newest import SHARED, Newest, read_newest
from killswitch.console.open_order_chart import HOURS, OpenOrderChart, is_outdated
from killswitch.console.row_markup import Viewer
from killswitch.exchanges.models import Exchange, Observation
from killswitch.holds.models import Hold
from killswitch.holds.view_models import HeldSummary, ReleasePage
from killswitch.runtime.filter_values import InvalidFilter
from killswitch.runtime.http import parse_id
from killswitch.runtime.revisions import current, usable_since

MAX_PARTS = 6
MAX_ROWS = 500
MAX_NOTE_CHARS = 200
CARDS_INTERVAL_S = 4  # of telephone cards; a figure is stale later


class TooManyChanges(Exception):
    """More has changed than fits into one answer, so the page is loaded again."""


@dataclass(frozen=True, kw_only=True)
class PollRequest:
    """Who polls, the revision that the page has, and the newest that it is brought to."""

    request: HttpRequest
    user: User
    since: int
    newest: Newest  # or what another poll read a moment ago
    has_new_alarms: bool
    has_new_holds: bool
    max_rows: int

    def render(self, template: str, context: dict[str, Any]) -> str:
        """Render a part, in a `template` element because rows are invalid outside a table."""
        part = render_to_string(template, context, request=self.request)
        return f"<template>{part}</template>"


def answer(request: HttpRequest, *, user: User, max_rows: int = MAX_ROWS) -> HttpResponse:
    """Return the changed parts and the new revision, or 204 when the page has everything."""
    newest = read = read_newest()
    since = usable_since(parse_id(request.GET.get("known", "")), newest=newest.revision)
    has_changes = since != newest.revision
    if has_changes:
        newest = SHARED.of(read, since=since)
    poll = PollRequest(
        request=request,
        user=user,
        since=since,
        newest=newest,
        has_new_alarms=read.alarm_revision > since,
        has_new_holds=read.hold_revision > since,
        max_rows=max_rows,
    )
    names = list(dict.fromkeys(request.GET.getlist("show")))[:MAX_PARTS]
    try:
        parts = list(_parts(poll, names, has_changes=has_changes))
    except TooManyChanges:
        return HttpResponseClientRefresh()
    if not has_changes and not parts:
        response = HttpResponse(status=204)
    else:
        # The revision comes last: a page that fails half-way asks for the same again.
        known = render_to_string("console/_known.html", {"known": newest.revision})
        parts.append(f"<template>{known}</template>")
        response = HttpResponse("".join(parts))
    # What changes every second travels in headers, so that an idle answer has no body.
    bar = ReadinessBar()
    response["X-Now"] = str(round(time() * 1000))
    response["X-Seen-At"] = _milliseconds(newest.observed_at)
    response["X-Ready"] = bar.word
    response["X-Ready-Note"] = quote(bar.note[:MAX_NOTE_CHARS])
    response["X-Break-Glass"] = str(press_registry.PROCESS.pending)
    response["X-Session-Ends"] = _milliseconds(request.session.get_expiry_date())
    return response


def _milliseconds(at: datetime | None) -> str:
    return str(round(at.timestamp() * 1000)) if at else ""


def _parts(poll: PollRequest, names: list[str], *, has_changes: bool) -> Iterator[str]:
    if "ready" in names:
        yield poll.render("console/_ready.html", {})
    yield from _parts_without_revision(poll, names)
    if not has_changes:
        return
    yield from _alarms(poll, has_list="alarms" in names)
    for name in names:
        kind, _, identity = name.partition(":")
        match kind:
            case "console":
                viewer = Viewer.of(poll.user)
                yield console_parts(poll.newest, since=poll.since, viewer=viewer)
            case "batch" | "dialog":
                yield from _batch(poll, _uuid(identity), in_dialog=kind == "dialog")
            case "request":
                yield from _request(poll, _uuid(identity))
            case "requests":
                yield from _requests(poll, identity)
            case "exchange":
                yield from _exchange(poll, parse_id(identity) or 0)
            case "release":
                yield from _release(poll, parse_id(identity))
            case "asked":
                yield from _queries(poll, identity)


def _alarms(poll: PollRequest, *, has_list: bool) -> Iterator[str]:
    """The line of the alarms, and their list, where a later cancel ends what can be retried."""
    if poll.has_new_alarms:
        yield poll.render("console/_alarm_count.html", {})
        yield poll.render("console/_alarms.html", {})
    if has_list and (
        poll.has_new_alarms or CancelRequest.objects.filter(revision__gt=poll.since).exists()
    ):
        yield poll.render("console/_alarm_list.html", {"open_alarms": OpenAlarms.now()})


def _parts_without_revision(poll: PollRequest, names: list[str]) -> Iterator[str]:
    """What raises no revision: reads under Holds, events, counts by the minute."""
    if "holds" in names or poll.has_new_holds:
        yield poll.render("console/_held.html", {"held": HeldSummary.now()})
    yield from _log(poll, [name for name in names if name.startswith("log:")])
    for name in names:
        if name.startswith("cards:"):
            yield from _telephone_cards(poll, name.removeprefix("cards:"))
        if name.startswith("chart:"):
            yield from _chart(poll, name.removeprefix("chart:"))


def _telephone_cards(poll: PollRequest, on_page: str) -> Iterator[str]:
    """The cards that have changed and the times of all figures, every few seconds.

    They are large, so the page keeps for itself since when and since which revision it has them.
    """
    pk, since, shown_at = (parse_id(part) or 0 for part in f"{on_page}::".split(":")[:3])
    if 0 <= time() - shown_at < CARDS_INTERVAL_S:
        return
    revision = current()
    cards = read_cards(pk=pk or None, changed_since=usable_since(since, newest=revision))
    for card in cards:
        yield poll.render("break_glass/_telephone_card.html", {"card": card, "into": not pk})
    exchanges = Exchange.objects.filter(pk=pk) if pk else Exchange.objects.all()
    for exchange in exchanges.exclude(pk__in=[card.exchange.pk for card in cards]):
        yield poll.render("break_glass/_card_figure.html", {"exchange": exchange})
    context = {"only": pk or None, "known": revision}
    yield poll.render("break_glass/_cards_shown.html", context)


def _log(poll: PollRequest, names: list[str]) -> Iterator[str]:
    """New events of the audit log, which raise no revision; their numbers are compared."""
    if not names or not has_permission(poll.user, Permission.AUDIT):
        return
    on_page = NewEvents.known(names[0].removeprefix("log:"))
    if on_page is None or (newest := on_page.now()) == on_page:
        return
    yield poll.render("compliance/_new_events.html", {"news": newest})
    if newest.verified_at != on_page.verified_at:
        yield poll.render("compliance/_badge.html", {"badge": Badge.now()})


def _queries(poll: PollRequest, on_page: str) -> Iterator[str]:
    """The queries of compliance to this user, if they are others than those on the page."""
    if (asked := QueriesToUser.of(poll.user)).text != on_page:
        yield poll.render("compliance/_asked.html", {"asked": asked})


def _chart(poll: PollRequest, identity: str) -> Iterator[str]:
    """The counts of the last hours, which raise no revision, once a minute."""
    pk, hours, end = (parse_id(part) or 0 for part in f"{identity}::".split(":")[:3])
    if hours not in HOURS or not is_outdated(pk, end=datetime.fromtimestamp(min(end, 2**32), UTC)):
        return
    if exchange := Exchange.objects.filter(pk=pk).first():
        chart = OpenOrderChart.of(exchange, hours=hours)
        yield poll.render("console/_exchange_chart.html", {"chart": chart})


def _exchange(poll: PollRequest, pk: int) -> Iterator[str]:
    observation = Observation.objects.first()
    is_other_error = observation is not None and observation.revision > poll.since
    if not (is_other_error or exchange_page.has_changed(pk, since=poll.since)):
        return
    if exchange := exchange_page.find(pk):
        page = ExchangePage.of(exchange, observation=observation)
        yield poll.render("console/_exchange.html", {"page": page})


def _batch(poll: PollRequest, uuid: UUID, *, in_dialog: bool) -> Iterator[str]:
    batch = Batch.objects.filter(uuid=uuid).first()
    if batch is None:
        return
    new_holds = Hold.objects.filter(
        revision__gt=poll.since, configured_exchange__requests__batch=batch
    )
    if has_followers(batch.requests.all(), since=poll.since) or (batch.hold and new_holds.exists()):
        page = BatchPage.of(batch, user=poll.user)
        yield poll.render("cancels/_batch.html", {"page": page, "in_dialog": in_dialog})


def _request(poll: PollRequest, uuid: UUID) -> Iterator[str]:
    new_alarms = Alarm.objects.filter(revision__gt=poll.since, request_id=str(uuid))
    requests = CancelRequest.objects.select_related("batch", "configured_exchange")
    request = requests.filter(uuid=uuid).first()
    is_new = new_alarms.exists() or has_followers(requests.filter(uuid=uuid), since=poll.since)
    if request and is_new:
        page = RequestPage.of(request, user=poll.user)
        yield poll.render("cancels/_request.html", {"page": page})


def _requests(poll: PollRequest, identity: str) -> Iterator[str]:
    """Changed rows of the list, oldest first; only its newest page takes new ones."""
    name = PageName.parse(identity)
    if name is None or name.is_outdated:  # None: of an earlier version
        raise TooManyChanges
    try:
        rows = changed_rows(name, since=poll.since, max_rows=poll.max_rows)
    except InvalidFilter as error:  # the exchange or person has gone: the page says so
        raise TooManyChanges from error
    if len(rows) > poll.max_rows:
        raise TooManyChanges
    for row, into in rows:
        yield poll.render("cancels/_request_row.html", {"row": row, "into": into})


def _release(poll: PollRequest, pk: int | None) -> Iterator[str]:
    """The Hold of one exchange and its open orders, on the pages that start and release it."""
    exchange = Exchange.objects.filter(pk=pk).first() if pk is not None else None
    if exchange is None or not has_permission(poll.user, Permission.HOLD):
        return
    holds = Hold.objects.filter(configured_exchange=exchange, revision__gt=poll.since)
    if exchange.revision > poll.since or holds.exists():
        page = ReleasePage.of(exchange, user=poll.user)
        yield poll.render("holds/_live.html", {"page": page, "exchange": exchange})


def _uuid(text: str) -> UUID:
    """Return the uuid that a page names; an invalid one matches no row."""
    try:
        return UUID(text)
    except ValueError:
        return UUID(int=0)
