"""What has changed on the console since a revision, rendered once for all pages that poll it.

A change is seen by every open page within a second. The parts depend on the two revisions, on the
newest observation and on what the viewer may do, and on nothing else of the viewer: the templates
get no request. What raises no revision, such as the time of a Hold's last list, is never older than
the second in which the page polls.
"""

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from time import time

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


def console_parts(
    *, since: int, revision: int, observed_at: datetime | None, viewer: Viewer
) -> str:
    """Return the parts for a page that has everything up to `since`.

    `revision` and `observed_at` are the newest; they were read by this request, before the rows.
    """
    return _parts_of_second(since, revision, observed_at, viewer, get_script_prefix(), int(time()))


@lru_cache(MAX_CACHED)
def _parts_of_second(
    since: int,
    _revision: int,
    _observed_at: datetime | None,
    viewer: Viewer,
    _prefix: str,
    _second: int,
) -> str:
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
