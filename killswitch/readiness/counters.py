"""Counts what has happened, for the metrics: every event of the log once, and only once.

The log's numbers become visible in their order and without gaps, so the number of the last counted
event says exactly what has been counted. The observer stores the counts with that number; each
reader adds the events that have come since. So all processes have the same counters, a restart does
not set them back, and what a reader costs does not grow with the tables.
"""

import math
import re
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.db.models import Case, TextField, Value, When
from django.db.models.functions import StrIndex, Substr

from killswitch.audit.models import AuditEvent, EventKind
from killswitch.cancels.models import Attempt, CancelRequest, Origin
from killswitch.cancels.states import Status
from killswitch.readiness.models import StoredCounts
from killswitch.runtime.age import elapsed_ms
from killswitch.runtime.durability import without_flush

CHUNK_EVENTS: Final = 1000  # that are in memory at once
MAX_UNSTORED_EVENTS: Final = 20_000  # that a reader counts, in half a second
STORE_INTERVAL_S: Final = 30.0
# The upper bounds of the buckets of all durations. A cancel is normally on the wire within 50 ms,
# and it is given up after a minute.
BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
COLUMNS: Final = ("seq", "kind", "request_id", "status")
# Of an event's data only these values are read; the rest may be long. In its canonical text nothing
# else contains these keys, because quotes would be escaped.
_VALUE: Final = re.compile(r'"\w+":"?(\w+)')
_FRAGMENT: Final = Case(
    *(
        When(kind=kind, then=Substr("data", StrIndex("data", Value(f'"{key}":')), 60))
        for kind, key in (
            (EventKind.ATTEMPT, "number"),
            (EventKind.ALARM_RAISED, "alarm_kind"),
        )
    ),
    default=Value(""),
    output_field=TextField(),
)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How often each thing has happened up to an event, by name and labels.

    A name and its labels are one text, such as `requests CONFIRMED BROWSER`. An observation of a
    duration counts in one bucket, as in `click_to_wire 0.05`, and adds to `click_to_wire_us`.
    """

    seq: int = 0
    numbers: Counter[str] = field(default_factory=Counter)

    def by_labels(self, name: str) -> Counter[tuple[str, ...]]:
        """Return the numbers of this name by their labels."""
        keys = {key: tuple(key.split(" ")) for key in self.numbers}
        return Counter(
            {labels[1:]: self.numbers[key] for key, labels in keys.items() if labels[0] == name}
        )

    def buckets(self, name: str) -> list[tuple[str, int]]:
        """Return how many observations were at most as long as each bound; the last has all."""
        observed = [(float(bound), n) for (bound,), n in self.by_labels(name).items()]
        texts = {bound: str(bound) for bound in BUCKETS_S} | {math.inf: "+Inf"}
        return [
            (text, sum(n for longest, n in observed if longest <= bound))
            for bound, text in texts.items()
        ]

    def sum_s(self, name: str) -> float:
        """Return the sum of all observations in seconds."""
        return self.numbers[f"{name}_us"] / 1_000_000


@dataclass(frozen=True, kw_only=True)
class _Event:
    seq: int
    kind: str
    request_id: str
    status: str
    value: str  # the number of an attempt, the kind of an alarm


@dataclass(frozen=True, kw_only=True)
class _Request:
    """A request whose events are counted, with all its attempts in their order."""

    origin: str
    asked_at: datetime
    finished_at: datetime | None
    attempts: Sequence[Attempt]

    def count_attempt(self, numbers: Counter[str], number: str) -> None:
        """Count one attempt, and the durations of which it is the end."""
        attempt = next((a for a in self.attempts if str(a.number) == number), None)
        if attempt is None:
            return  # its row is missing, which the verification of the log finds
        http = f"{attempt.http_status // 100}xx" if attempt.http_status else "none"
        numbers[f"attempts {attempt.outcome} {http}"] += 1
        if attempt == next((a for a in self.attempts if a.delivered), None):
            self.observe(numbers, "click_to_wire", end=attempt.started_at)
        if attempt == next((a for a in self.attempts if a.http_status), None):
            self.observe(numbers, "click_to_answer", end=attempt.finished_at)

    def observe(self, numbers: Counter[str], name: str, *, end: datetime | None) -> None:
        """Count a duration since the click. A Hold has none, and its requests last for long."""
        duration_ms = elapsed_ms(start=self.asked_at, end=end)
        if duration_ms is None or self.origin == Origin.HOLD:
            return
        bound = next((bound for bound in BUCKETS_S if duration_ms <= bound * 1000), math.inf)
        numbers[f"{name} {bound}"] += 1
        numbers[f"{name}_us"] += round(duration_ms * 1000)


def current(
    *, chunk_events: int = CHUNK_EVENTS, max_events: int = MAX_UNSTORED_EVENTS
) -> Counts | None:
    """Return all counts up to the newest event.

    Return None if more than `max_events` have come since the counts were stored, because the
    observer has been gone for long or counts an old log: a scrape must end in time, and counters
    that stand still would say that nothing happens.
    """
    counts = _stored()
    if AuditEvent.objects.filter(seq__gt=counts.seq + max_events).exists():
        return None
    for chunk in _chunks_after(counts.seq, chunk_events):
        counts = _with_chunk(counts, chunk)
    return counts


def store(*, chunk_events: int = CHUNK_EVENTS) -> None:
    """Store the counts up to the newest event, so that no reader has to count these events again.

    A row that another process replaces by an older one is as right, because its number is as well;
    so is one that a crash of the database brings back. No commit waits for the disk.
    """
    counts = _stored()
    for chunk in _chunks_after(counts.seq, chunk_events):
        counts = _with_chunk(counts, chunk)
        row = StoredCounts(id=1, seq=counts.seq, numbers=dict(counts.numbers))
        with without_flush():
            StoredCounts.objects.bulk_create(
                [row],
                update_conflicts=True,
                unique_fields=["id"],
                update_fields=["seq", "numbers"],
            )


def _stored() -> Counts:
    row = StoredCounts.objects.filter(id=1).first()
    return Counts(seq=row.seq, numbers=Counter(row.numbers)) if row else Counts()


def _chunks_after(seq: int, chunk_events: int) -> Iterator[Sequence[_Event]]:
    is_full = True
    while is_full:
        events = AuditEvent.objects.filter(seq__gt=seq).order_by("seq")
        chunk = []
        for *columns, fragment in events.values_list(*COLUMNS, _FRAGMENT)[:chunk_events]:
            match = _VALUE.match(fragment)
            value = match[1] if match else ""
            chunk.append(_Event(**dict(zip(COLUMNS, columns, strict=True)), value=value))
        if chunk:
            yield chunk
            seq = chunk[-1].seq
        is_full = len(chunk) == chunk_events


def _with_chunk(counts: Counts, events: Sequence[_Event]) -> Counts:
    numbers = Counter(counts.numbers)
    requests = _requests_of(events)
    for event in events:
        request = requests.get(event.request_id)
        match event.kind:
            case EventKind.FINISHED:
                numbers[f"requests {event.status} {request.origin if request else ''}"] += 1
                if request and event.status == Status.CONFIRMED:
                    request.observe(numbers, "click_to_confirmed", end=request.finished_at)
            case EventKind.ATTEMPT if request:
                request.count_attempt(numbers, event.value)
            case EventKind.ALARM_RAISED:
                numbers[f"alarms_raised {event.value}"] += 1
            case EventKind.ALARM_TOLD:
                numbers["notifications_delivered"] += 1
            case EventKind.HOLD_STARTED:
                numbers["holds_started"] += 1
    return Counts(seq=events[-1].seq, numbers=numbers)


def _requests_of(events: Sequence[_Event]) -> dict[str, _Request]:
    """Return the requests that ended or were sent, by the text of their UUID, in two queries."""
    uuids = set()
    for event in events:
        if event.kind in {EventKind.FINISHED, EventKind.ATTEMPT}:
            with suppress(ValueError):  # no event of ours
                uuids.add(uuid.UUID(event.request_id))
    attempts: dict[int, list[Attempt]] = defaultdict(list)
    columns = ("request_id", "number", "outcome", "http_status", "started_at", "finished_at")
    rows = Attempt.objects.filter(request__uuid__in=uuids).order_by("request_id", "number")
    for attempt in rows.only(*columns, "by_dead_holder"):
        attempts[attempt.request_id].append(attempt)
    requests = CancelRequest.objects.filter(uuid__in=uuids).order_by()
    return {
        str(request_uuid): _Request(
            origin=origin,
            asked_at=asked_at,
            finished_at=finished_at,
            attempts=attempts[pk],
        )
        for pk, request_uuid, finished_at, origin, asked_at in requests.values_list(
            "pk", "uuid", "finished_at", "batch__origin", "batch__asked_at"
        )
    }
