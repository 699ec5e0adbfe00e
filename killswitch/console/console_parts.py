"""What the console shows at one revision, read and rendered once for all pages that show it.

A change is seen by every open page within a second or so. What they show depends on the revision,
on the newest observation and on what the viewer may do, and on nothing else of the viewer: the
templates get no request. Which rows an open page gets depends on the revision that it has.

While fifty cancels end, the revision rises many times a second, and each page would see its own.
So polls of the same moment share the revision that the first of them has read. Nothing in an answer
is older than that moment.
"""

from collections.abc import Iterator
from functools import cached_property, lru_cache
from threading import Lock
from typing import Any, NamedTuple, Self

from django.db.models import Q, QuerySet, Value
from django.template.loader import render_to_string
from django.urls import get_script_prefix
from django.utils.safestring import SafeString

from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.cancels import manual_cancel
from killswitch.cancels.models import CancelRequest
from killswitch.console import grid
from killswitch.console.attention import Attention, groups
from killswitch.console.grid import Row
from killswitch.console.latest_cancels import latest_cancels
from killswitch.console.newest import SHARED, Newest, read_newest
from killswitch.console.row_markup import RowMarkup, Viewer
from killswitch.exchanges.models import Exchange, ExchangeGroup, Observation
from killswitch.holds.models import Hold
from killswitch.holds.view_models import HeldSummary
from killswitch.runtime.compiled_query import CompiledQuery

MAX_CACHED = 32  # answers of up to 100 kB; most pages have the same revision
MAX_REVISIONS = 4  # whose rows are kept
MAX_WAIT_S = 1.0  # for another poll that renders the same


class Console:
    """The rows and panels of the console, for all viewers."""

    def __init__(self) -> None:
        """Read them."""
        self.observation: Observation | None = next(_observation.objects(), None)
        self.observed_at = self.observation.seen_at if self.observation else None
        self.rows = grid.rows(observed_at=self.observed_at)
        self.held = HeldSummary(holds=[row.hold for row in self.rows if row.hold])
        self.totals = grid.Totals(self.rows, observation=self.observation)
        self.attention = Attention(self.rows)
        self.groups = groups(self.rows)
        self.latest = latest_cancels()
        enabled = [row.exchange for row in self.rows if row.exchange.enabled]
        self.manual_cancel_lines = manual_cancel.lines(row.exchange_id for row in enabled)
        self.attention_count = sum(row.needs_attention for row in self.rows)


class ConsoleMarkup:
    """The rows and panels of the console as users with these permissions see them."""

    def __init__(self, console: Console, viewer: Viewer) -> None:
        self.console = console
        self._viewer = viewer
        self._markup = RowMarkup(viewer)
        self._changed_rows: dict[int, SafeString] = {}

    @cached_property
    def rows(self) -> dict[int, SafeString]:
        """Return the rows by the keys of their exchanges, for a page that is loaded."""
        return {row.exchange.pk: self._markup.of(row) for row in self.console.rows}

    def changed_row(self, row: Row) -> SafeString:
        """Return a row for an open page, which may not have it yet."""
        pk = row.exchange.pk
        if pk not in self._changed_rows:
            self._changed_rows[pk] = self._markup.of(row, into=True)
        return self._changed_rows[pk]

    @cached_property
    def kill_bar(self) -> SafeString:
        return self._panel("kill_bar") if self._viewer.may_cancel else SafeString()

    @cached_property
    def everywhere(self) -> SafeString:
        return self._panel("everywhere")

    @cached_property
    def uncovered(self) -> SafeString:
        return self._panel("uncovered")

    @cached_property
    def attention(self) -> SafeString:
        return self._panel("attention")

    @cached_property
    def groups(self) -> SafeString:
        return self._panel("groups")

    @cached_property
    def latest(self) -> SafeString:
        return self._panel("latest")

    def _panel(self, name: str) -> SafeString:
        context = vars(self.console) | {"may_cancel": self._viewer.may_cancel}
        return render_to_string(f"console/_{name}.html", context)


class Changes(NamedTuple):
    """What has changed on the console since a revision."""

    has_requests: bool
    has_groups: bool
    exchanges: frozenset[int]  # the keys of those whose rows may look different
    listed: frozenset[int]  # of those, the ones that may have left the console

    @classmethod
    def since(cls, revision: int) -> Self:
        """Read the changes in one query."""
        pks: dict[str, set[int]] = {kind: set() for kind in _KINDS}
        for kind, pk in _changes.rows(revision):
            pks[kind].add(pk)
        listed = pks["exchange"] | pks["hold"]
        return cls(
            has_requests=bool(pks["request"]),
            has_groups=bool(pks["group"]),
            exchanges=frozenset(listed | pks["request"] | pks["stall"]),
            listed=frozenset(listed),
        )


def console_page(viewer: Viewer) -> tuple[Newest, ConsoleMarkup]:
    """Return the console for a page that is loaded now, and the revision that it then has."""
    newest = read_newest()
    shared = SHARED.same_as(newest)
    markup = _markup(shared, viewer, get_script_prefix())
    if markup.console.held.count and shared is not newest:
        # Times under a Hold pass without a revision.
        markup = _markup(newest, viewer, get_script_prefix())
    return newest, markup


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
def _cached_parts(newest: Newest, since: int, viewer: Viewer, prefix: str) -> str:
    parts = _parts(_markup(newest, viewer, prefix), since=since)
    return "".join(f"<template>{part}</template>" for part in parts)


@lru_cache(MAX_REVISIONS)
def _console(_newest: Newest, _prefix: str) -> Console:
    return Console()


@lru_cache(MAX_REVISIONS)
def _markup(newest: Newest, viewer: Viewer, prefix: str) -> ConsoleMarkup:
    return ConsoleMarkup(_console(newest, prefix), viewer)


def _parts(markup: ConsoleMarkup, *, since: int) -> Iterator[str]:
    """Yield the changed rows, the rows to remove, and the panels around them."""
    changes, console = Changes.since(since), markup.console
    changed = [row for row in console.rows if row.exchange.pk in changes.exchanges]
    for row in changed:
        yield markup.changed_row(row)
    gone = changes.listed - {row.exchange.pk for row in console.rows}
    for pk in sorted(gone):
        yield render_to_string("console/_gone.html", {"pk": pk})
    is_other_observation = console.observation and console.observation.revision > since
    if changed or gone or changes.has_groups or is_other_observation:
        if markup.kill_bar:
            yield markup.kill_bar
        yield from (markup.everywhere, markup.uncovered, markup.attention, markup.groups)
    if changes.has_requests:
        yield markup.latest


_observation = CompiledQuery(lambda: Observation.objects.only("seen_at", "error", "revision"))


def _changed_since(revision: int) -> QuerySet[Any, tuple[str, int]]:
    stalls = Alarm.objects.filter(kind=AlarmKind.STALLED, revision__gt=revision)
    stalled = Exchange.objects.filter(exchange_id__in=stalls.values("exchange_id"))
    is_new = Q(revision__gt=revision)
    # A Hold that was released, and an alarm that was acknowledged, is among them as well.
    queries = [
        Exchange.objects.filter(is_new).values_list(Value("exchange"), "pk"),
        Hold.objects.filter(is_new).values_list(Value("hold"), "configured_exchange"),
        CancelRequest.objects.filter(is_new).values_list(Value("request"), "configured_exchange"),
        ExchangeGroup.objects.filter(is_new).values_list(Value("group"), "pk"),
        stalled.values_list(Value("stall"), "pk"),
    ]
    first, *others = (query.order_by() for query in queries)
    return first.union(*others)


_KINDS = ("exchange", "hold", "request", "group", "stall")
_changes = CompiledQuery(_changed_since, parameters=1)
