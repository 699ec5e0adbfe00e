"""What has changed on the console since a revision, rendered once for all pages that poll it.

A change is seen by every open page within a second or so. The parts depend on the two revisions, on
the newest observation and on what the viewer may do, and on nothing else of the viewer: the
templates get no request.

While fifty cancels end, the revision rises many times a second, and each page would see its own.
So polls of the same moment share the revision that the first of them has read. Nothing in an answer
is older than that moment.
"""

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from threading import Lock
from typing import NamedTuple

from django.db.models import Q
from django.template.loader import render_to_string
from django.urls import get_script_prefix

from killswitch.cancels.models import CancelRequest
from killswitch.console import grid
from killswitch.console.attention import Attention, groups
from killswitch.console.latest_cancels import latest_cancels
from killswitch.console.row_markup import RowMarkup, Viewer
from killswitch.exchanges.models import Exchange, ExchangeGroup, Observation
from killswitch.holds.models import Hold

MAX_CACHED = 32  # answers of up to 100 kB; most pages have the same revision
SHARED_FOR_S = 0.4
MAX_WAIT_S = 1.0  # for another poll that renders the same


class Newest(NamedTuple):
    """The newest revision and observation, as a poll has read them before any row."""

    revision: int
    observed_at: datetime | None
    read_at: float  # monotonic seconds


class SharedNewest:
    """What the polls of a moment take for the newest."""

    def __init__(self, *, max_age_s: float = SHARED_FOR_S) -> None:
        self.max_age_s = max_age_s
        self._newest: Newest | None = None

    def of(self, newest: Newest, *, since: int) -> Newest:
        """Return what another poll read a moment ago, if that is new to the page, else `newest`."""
        shared = self._newest
        if (
            shared
            and newest.read_at - shared.read_at < self.max_age_s
            and since < shared.revision <= newest.revision
        ):
            return shared
        self._newest = newest
        return newest


def console_parts(newest: Newest, *, since: int, viewer: Viewer) -> str:
    """Return the parts for a page that has everything up to `since`."""
    # Two polls at once would render the same. One that hangs must not keep the others.
    has_turn = _rendering.acquire(timeout=MAX_WAIT_S)
    try:
        return _cached_parts(newest, since, viewer, get_script_prefix())
    finally:
        if has_turn:
            _rendering.release()


_rendering = Lock()


@lru_cache(MAX_CACHED)
def _cached_parts(_newest: Newest, since: int, viewer: Viewer, _prefix: str) -> str:
    return "".join(f"<template>{part}</template>" for part in _parts(since, viewer))


def _parts(since: int, viewer: Viewer) -> Iterator[str]:
    """Yield the changed rows, the rows to remove, and the panels around them."""
    observation = Observation.objects.first()
    observed_at = observation.seen_at if observation else None
    rows = grid.rows(changed_since=since, observed_at=observed_at)
    changed = [row for row in rows if row.has_changed]
    markup = RowMarkup(viewer)
    for row in changed:
        yield markup.of(row, into=True)
    new_holds = Hold.objects.filter(revision__gt=since).values("configured_exchange")
    disabled = Exchange.objects.filter(Q(revision__gt=since) | Q(pk__in=new_holds), enabled=False)
    gone = list(disabled.exclude(pk__in=[row.exchange.pk for row in changed]))
    for exchange in gone:
        yield render_to_string("console/_gone.html", {"exchange": exchange})
    has_new_groups = ExchangeGroup.objects.filter(revision__gt=since).exists()
    if changed or gone or has_new_groups or (observation and observation.revision > since):
        context = {
            "totals": grid.Totals(rows, observation=observation),
            "attention": Attention(rows),
            "groups": groups(rows),
            "may_cancel": viewer.may_cancel,
        }
        if viewer.may_cancel:
            yield render_to_string("console/_kill_bar.html", context)
        for name in ("everywhere", "uncovered", "attention", "groups"):
            yield render_to_string(f"console/_{name}.html", context)
    if CancelRequest.objects.filter(revision__gt=since).exists():
        yield render_to_string("console/_latest.html", {"latest": latest_cancels()})
