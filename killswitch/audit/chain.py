"""Appends events: numbered without gaps, each hashed together with the one before it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from killswitch.audit import canonical_json
from killswitch.audit.models import AuditEvent, Kind

FORMAT = 1
GENESIS = "0" * 64
# Any constant does; every appender asks PostgreSQL for the same one.
ADVISORY_LOCK = 0x6B696C6C
HASHED = (
    "seq",
    "at",
    "format",
    "software",
    "kind",
    "actor",
    "role",
    "exchange_id",
    "request_id",
    "status",
    "reject_reason",
    "data",
    "previous",
)


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who did it, as text: the log stands without the table of people."""

    name: str
    role: str = ""


SYSTEM = Actor(name="system")


@dataclass(frozen=True, kw_only=True)
class Head:
    """The newest event, which stands for all before it; number 0 stands for none."""

    seq: int = 0
    hash: str = GENESIS


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """What is to be appended; its place in the chain is given by `append`."""

    kind: Kind
    actor: Actor = SYSTEM
    exchange_id: str = ""
    request_id: str = ""
    status: str = ""
    reject_reason: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


def append(*facts: NewEvent) -> list[AuditEvent]:
    """Chain the facts to the head, as the *last* statement of the transaction they belong to.

    Returns the events in the order of the facts.

    Last, because from here to the commit every other appender waits: on PostgreSQL for an
    advisory lock, on SQLite for the write transaction itself.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("an event belongs into the transaction of what it records")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
    before = head()
    events: list[AuditEvent] = []
    seq, previous = before.seq, before.hash
    for fact in facts:
        seq += 1
        event = _event(fact, seq=seq, previous=previous)
        previous = event.hash
        events.append(event)
    return AuditEvent.objects.bulk_create(events)


def record(*facts: NewEvent) -> None:
    """Append in a transaction of their own: for what changes no other row."""
    with transaction.atomic():
        append(*facts)


def head() -> Head:
    """The newest event. Only under the lock of `append` is it still the newest one afterwards."""
    newest = AuditEvent.objects.order_by("-seq").values_list("seq", "hash").first()
    return Head(seq=newest[0], hash=newest[1]) if newest else Head()


def digest(event: AuditEvent) -> str:
    """SHA-256 over the canonical JSON of every column but the hash itself."""
    columns = {name: getattr(event, name) for name in HASHED}
    return digest_of(columns | {"at": canonical_json.utc_text(event.at)})


def digest_of(columns: Mapping[str, Any]) -> str:
    """The same for columns by their names, `at` being text. Raises `canonical.NotCanonical`."""
    return hashlib.sha256(canonical_json.encode(columns).encode()).hexdigest()


def _event(fact: NewEvent, *, seq: int, previous: str) -> AuditEvent:
    event = AuditEvent(
        seq=seq,
        at=datetime.now(UTC),
        format=FORMAT,
        software=settings.VERSION,
        kind=str(fact.kind),
        actor=fact.actor.name,
        role=fact.actor.role,
        exchange_id=fact.exchange_id,
        request_id=fact.request_id,
        status=fact.status,
        reject_reason=fact.reject_reason,
        data=canonical_json.encode(fact.data),
        previous=previous,
    )
    event.hash = digest(event)
    return event
