"""Appends events to the chain. Only the recorder imports this module."""

from datetime import UTC, datetime

from django.conf import settings
from django.db import connection

from killswitch.audit import canonical_json, chain
from killswitch.audit.chain import FORMAT, NewEvent
from killswitch.audit.models import AuditEvent
from killswitch.runtime.bulk_insert import insert_rows

# Any constant does, as long as every appender asks PostgreSQL for the same one.
ADVISORY_LOCK = 0x6B696C6C


def append(*new_events: NewEvent) -> list[AuditEvent]:
    """Chain the events to the head, and return them in the same order with `seq` and `hash`.

    This must be the last statement of the transaction: from here to the commit every other
    appender waits, on PostgreSQL for an advisory lock, on SQLite for the write transaction itself.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("an event must be appended in the transaction of its cause")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
    head = chain.head()
    seq, previous = head.seq, head.hash
    events: list[AuditEvent] = []
    for new in new_events:
        seq += 1
        event = AuditEvent(
            seq=seq,
            at=datetime.now(UTC),
            format=FORMAT,
            software=settings.VERSION,
            kind=str(new.kind),
            actor=new.actor.name,
            role=new.actor.role,
            exchange_id=new.exchange_id,
            request_id=new.request_id,
            status=new.status,
            reject_reason=new.reject_reason,
            data=canonical_json.encode(new.data),
            previous=previous,
        )
        previous = event.hash = chain.digest(event)
        events.append(event)
    insert_rows(events)
    return events
