"""Compares the Holds and their episodes with the log.

The state of a Hold must be the one that its events add up to, and an episode that has ended must
contain what its event contains. What each list changes, such as the time at which it was read, has
no event.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from django.db.models import Count, F, Max, Min, Q, Sum

from killswitch.audit.canonical_json import utc_text
from killswitch.audit.event_reader import read
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.reconciliation.comparison import (
    MAX_VALUE_CHARS,
    LoggedEvent,
    batches,
    compare_columns,
    confirmed,
    differing,
    discrepancy,
    logged_events,
    reconcilers,
    value_text,
)
from killswitch.audit.verification.findings import Finding, Progress
from killswitch.cancels.models import CancelRequest, Origin
from killswitch.cancels.reconciliation import parse_uuids
from killswitch.cancels.states import FINAL
from killswitch.holds.models import Episode, Hold, HoldState

BATCH_SIZE = 100  # the attempts of a request may hold 64 KiB each
STATE_KINDS = (
    EventKind.HOLD_STARTED,
    EventKind.HOLD_BLIND,
    EventKind.HOLD_SEES_AGAIN,
    EventKind.HOLD_RELEASE_REQUESTED,
    EventKind.HOLD_RELEASE_WITHDRAWN,
    EventKind.HOLD_RELEASE_LAPSED,
    EventKind.HOLD_RELEASED,
)
NO_RELEASE_REQUEST = {
    "state": HoldState.ACTIVE,
    "release_requested_at": None,
    "release_requested_by": "",
    "release_requested_role": "",
    "release_requested_user": None,
    "release_reason": "",
}
NOT_RELEASED = {"released_at": None, "released_by": "", "released_role": ""}
# The columns that events set; `press` is the uuid of the batch.
COLUMNS = (
    "exchange_id",
    "press",
    "origin",
    "started_at",
    "started_by",
    "started_role",
    "reason",
    "blind_since",
    *NO_RELEASE_REQUEST,
    *NOT_RELEASED,
)

LoggedValues = dict[str, tuple[Any, int]]
"""The value of each column, and the event that set it."""


def discrepancies(ids: Sequence[str] | None, progress: Progress) -> Iterator[Finding]:
    """Compare all Holds, in every verification: they are few. Episodes only of these requests."""
    yield from confirmed(_compare_holds)
    requests = CancelRequest.objects.filter(Q(batch__origin=Origin.HOLD) | Q(episode__isnull=False))
    if ids is not None:
        for start in range(0, len(ids), BATCH_SIZE):
            uuids = parse_uuids(ids[start : start + BATCH_SIZE])
            yield from _of_requests(list(requests.filter(uuid__in=uuids)))
        return
    for rows in batches(
        requests, by="id", size=BATCH_SIZE, subject="episodes of Holds", progress=progress
    ):
        yield from _of_requests(rows)
    ended = AuditEvent.objects.filter(kind=EventKind.HOLD_EPISODE)
    for events in batches(
        ended.values_list("seq", "request_id", named=True),
        by="seq",
        size=BATCH_SIZE,
        subject="episodes in the log",
        progress=progress,
    ):
        yield from _of_deleted(events)


def _compare_holds() -> Iterator[Finding]:
    logged_holds, orphans = _replay()
    yield from orphans
    active: Counter[int] = Counter()
    for row in _rows():
        name = f"Hold {row['uuid']} ({row['exchange_id']:.{MAX_VALUE_CHARS}})"
        logged = logged_holds.pop(str(row["uuid"]), None)
        if logged is None:
            yield discrepancy(f"{name} is in the table, but no event says that it was started")
            continue
        for column, (value, seq) in logged.items():
            if (actual := _as_logged(row[column])) != value:
                yield differing(name, column, actual, logged=value, seq=seq)
        if row["listed_under"] != row["exchange_id"]:
            yield discrepancy(f"{name} is listed under exchange {value_text(row['listed_under'])}")
        active[row["configured_exchange"]] += row["state"] != HoldState.RELEASED
        if active[row["configured_exchange"]] > 1:
            yield discrepancy(f"{name}: its exchange has another active Hold")
        yield from _in_sums(name, row)
    for uuid, logged in logged_holds.items():
        newest = max(seq for _, seq in logged.values())
        yield discrepancy(f"Hold {uuid:.50} was deleted: it exists only in the log", seq=newest)


def _rows() -> Iterator[dict[str, Any]]:
    """Return each Hold with the name of its exchange and the figures of its episodes."""
    holds = Hold.objects.order_by("id").annotate(
        press=F("batch__uuid"),
        listed_under=F("configured_exchange__exchange_id"),
        rows=Count("episodes"),
        numbers=Count("episodes__number", distinct=True),
        first=Min("episodes__number"),
        last=Max("episodes__number"),
        seen=Sum(F("episodes__orders_seen") - F("episodes__orders_carried")),
        cancelled=Sum("episodes__orders_cancelled"),
    )
    sums = ("episode_count", "orders_seen", "orders_cancelled")
    figures = ("rows", "numbers", "first", "last", "seen", "cancelled")
    names = ("uuid", "configured_exchange", "listed_under", *COLUMNS, *sums, *figures)
    yield from holds.values(*names)


def _in_sums(name: str, row: Mapping[str, Any]) -> Iterator[Finding]:
    count = row["rows"]
    if row["numbers"] != count or (count and (row["first"], row["last"]) != (1, count)):
        yield discrepancy(f"{name}: its {count} episodes are not numbered from 1 without gaps")
    for column, total in (
        ("episode_count", count),
        ("orders_seen", row["seen"] or 0),
        ("orders_cancelled", row["cancelled"] or 0),
    ):
        if row[column] != total:
            reason = f"{name}: {column} is {row[column]}, but its episodes add up to {total}"
            yield discrepancy(reason)


def _replay() -> tuple[dict[str, LoggedValues], list[Finding]]:
    """Return what each Hold must contain by its events, and the events that fit to no Hold."""
    of_kinds = (AuditEvent.objects.filter(kind=kind) for kind in STATE_KINDS)
    events = chain.from_iterable(batches(*of_kinds, by="seq"))
    holds: dict[str, LoggedValues] = {}
    orphans = []
    for event in sorted(events, key=lambda event: event.seq):
        uuid = read(event).text("hold")
        is_start = event.kind == EventKind.HOLD_STARTED
        if is_start == (uuid in holds):
            problem = "a second time" if is_start else "and no event before it started it"
            reason = f"Hold {uuid:.50} has the event {event.kind} {problem}"
            orphans.append(discrepancy(reason, seq=event.seq))
            continue
        values = {name: (value, event.seq) for name, value in _values_of(event).items()}
        holds[uuid] = holds.get(uuid, {}) | values
    return holds, orphans


def _values_of(event: AuditEvent) -> dict[str, Any]:
    """Return the columns of a Hold that this event sets."""
    data = read(event).facts
    match event.kind:
        case EventKind.HOLD_STARTED:
            recorded = ("origin", "reason", "started_at")
            return {
                "exchange_id": event.exchange_id,
                "press": data.get("batch"),
                "started_by": event.actor,
                "started_role": event.role,
                "blind_since": None,
                **{name: data.get(name) for name in recorded},
                **NO_RELEASE_REQUEST,
                **NOT_RELEASED,
            }
        case EventKind.HOLD_BLIND:
            return {"blind_since": data.get("since")}
        case EventKind.HOLD_SEES_AGAIN:
            return {"blind_since": None}
        case EventKind.HOLD_RELEASE_REQUESTED:
            return {
                "state": HoldState.RELEASE_REQUESTED,
                "release_requested_at": data.get("requested_at"),
                "release_requested_by": event.actor,
                "release_requested_role": event.role,
                "release_requested_user": data.get("requested_user"),
                "release_reason": data.get("reason"),
            }
        case EventKind.HOLD_RELEASED:
            return {
                "state": HoldState.RELEASED,
                "released_at": data.get("released_at"),
                "released_by": event.actor,
                "released_role": event.role,
                "blind_since": None,
            }
        case _:  # withdrawn or lapsed
            return NO_RELEASE_REQUEST


def _as_logged(value: Any) -> Any:
    """Return a value of a row as events contain it."""
    if isinstance(value, datetime):
        return utc_text(value)
    return value if value is None or isinstance(value, int) else str(value)


def _of_requests(requests: Sequence[CancelRequest]) -> list[Finding]:
    ids = [str(request.uuid) for request in requests]
    return confirmed(lambda: _compare_episodes(ids))


def _compare_episodes(ids: Sequence[str]) -> Iterator[Finding]:
    """Compare the episodes of these requests, and find requests of a Hold without an episode."""
    events: dict[str, dict[str, list[LoggedEvent]]] = defaultdict(lambda: defaultdict(list))
    # Without a condition on their kinds, for which SQLite would go through the whole log.
    for event in logged_events(AuditEvent.objects.filter(request_id__in=ids)):
        events[event.request_id][event.kind].append(event)
    episodes = Episode.objects.filter(request__uuid__in=ids).select_related("hold", "request")
    by_request = {str(episode.request.uuid): episode for episode in episodes}
    for request_id in ids:
        if episode := by_request.get(request_id):
            yield from _in_episode(episode, events[request_id])
        else:
            seq = max((event.seq for event in events[request_id]["REQUESTED"]), default=None)
            yield discrepancy(f"request {request_id}: its episode is missing", seq=seq)


def _in_episode(episode: Episode, events: Mapping[str, list[LoggedEvent]]) -> Iterator[Finding]:
    hold, request = episode.hold, episode.request
    name = f"episode {episode.number} of Hold {hold.uuid} ({hold.exchange_id:.{MAX_VALUE_CHARS}})"
    for event in events[EventKind.REQUESTED]:
        data = read(event)
        if (data.text("held"), data.number("episode")) != (str(hold.uuid), episode.number):
            reason = f"{name}: its request {request.uuid} was not made by this episode"
            yield discrepancy(reason, seq=event.seq)
    ends = events[EventKind.HOLD_EPISODE]
    if len(ends) > 1:
        yield discrepancy(f"{name} ended more than once", seq=ends[1].seq)
    if not ends and request.status in FINAL:
        yield discrepancy(f"{name} has ended, and no event records it")
    row = {
        "hold": str(hold.uuid),
        "exchange_id": hold.exchange_id,
        "number": episode.number,
        "began_blind": episode.began_blind,
        "orders_seen": episode.orders_seen,
        "orders_carried": episode.orders_carried,
        "orders_cancelled": episode.orders_cancelled,
        "symbols": episode.symbols,
        "longest_life_ms": episode.longest_life_ms,
        "first_order_at": episode.first_order_at,
        "last_order_at": episode.last_order_at,
    }
    for event in ends:
        yield from compare_columns(name, event, row, event_columns={"exchange_id": "exchange_id"})


def _of_deleted(events: Sequence[Any]) -> Iterator[Finding]:
    """Yield the episodes that exist only in the log. Row and event are written together."""
    ids = parse_uuids([event.request_id for event in events])
    rows = Episode.objects.filter(request__uuid__in=ids)
    existing = {str(uuid) for uuid in rows.values_list("request__uuid", flat=True)}
    for event in events:
        if event.request_id not in existing:
            reason = f"the episode of event {event.seq} was deleted: it exists only in the log"
            yield discrepancy(reason, seq=event.seq)


reconcilers.append(discrepancies)
