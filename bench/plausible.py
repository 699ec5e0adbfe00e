"""Plausible events in great number: presses, attempts, outcomes, people, all chained correctly."""

import hashlib
import itertools
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from killswitch.audit import canonical_json, chain
from killswitch.audit.models import AuditEvent, EventKind

COLUMNS = (*chain.HASHED, "hash")
BEGIN = datetime(2023, 1, 2, tzinfo=UTC)
BATCH = 10_000  # events
EXCHANGES = [f"VENUE{n:02}" for n in range(48)] + ["KRAKEN", "KRAKEN/JOHN"]
OFFICERS = [f"Officer {n} (officer{n})" for n in range(12)]
STATUSES = ["CONFIRMED"] * 94 + ["RESIDUAL", "UNKNOWN", "REJECTED", "REJECTED", "UNVERIFIED"]
REASONS = ["EXCHANGE_UNREACHABLE", "EXCHANGE_RESPONSE_TIMEOUT", "OTHER"]
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
Row = dict[str, Any]


def load(until: int) -> None:
    """Append events until there are so many."""
    head = chain.head()
    dice = random.Random(head.seq)
    newest = AuditEvent.objects.order_by("-seq").values_list("at", flat=True).first()
    facts = _facts(dice) if head.seq else itertools.chain(_exchanges(), _facts(dice))
    rows = _chained(facts, head=head, at=max(newest or BEGIN, BEGIN), dice=dice)
    missing = until - head.seq
    while missing > 0:
        batch = [next(rows) for _ in range(min(BATCH, missing))]
        with transaction.atomic():
            _insert(batch)
        missing -= len(batch)


def _insert(batch: list[tuple[Any, ...]]) -> None:
    table, columns = AuditEvent._meta.db_table, ", ".join(COLUMNS)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in batch:
                    copy.write_row(row)
            return
        marks = ", ".join(["%s"] * len(COLUMNS))
        # As Django writes times there, so that text compares as time.
        place = COLUMNS.index("at")
        plain = [
            (*row[:place], row[place].replace(tzinfo=None), *row[place + 1 :]) for row in batch
        ]
        stored = [tuple(str(v) if isinstance(v, datetime) else v for v in row) for row in plain]
        cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", stored)


def _chained(
    facts: Iterator[Row], *, head: chain.Head, at: datetime, dice: random.Random
) -> Iterator[tuple[Any, ...]]:
    seq, previous = head.seq, head.hash
    for fact in facts:
        seq += 1
        # Never a whole second: SQLite's text for that is shorter.
        at += timedelta(microseconds=dice.randrange(1, 90_000_000))
        at = at.replace(microsecond=at.microsecond or 1)
        event = {
            "seq": seq,
            "at": canonical_json.utc_text(at),
            "format": chain.FORMAT,
            "software": settings.VERSION,
            **{"actor": "system", "role": "", "exchange_id": "", "request_id": ""},
            **{"status": "", "reject_reason": ""},
            **fact,
            "data": canonical_json.encode(fact["data"]),
            "previous": previous,
        }
        previous = hashlib.sha256(canonical_json.encode(event).encode()).hexdigest()
        event |= {"at": at, "hash": previous}
        yield tuple(event[name] for name in COLUMNS)


def _exchanges() -> Iterator[Row]:
    """Added once; nothing is said of them but that they are there."""
    for exchange_id in EXCHANGES:
        yield {"kind": str(EventKind.EXCHANGE_ADDED), "exchange_id": exchange_id, "data": {}}


def _facts(dice: random.Random) -> Iterator[Row]:
    while True:
        if dice.random() < 0.9:
            yield from _press(dice)
        else:
            yield from _visit(dice)


def _press(dice: random.Random) -> Iterator[Row]:
    """One person presses for one exchange."""
    request_id = str(uuid.UUID(int=dice.getrandbits(128), version=4))
    of_request = {"exchange_id": dice.choice(EXCHANGES), "request_id": request_id}
    status = dice.choice(STATUSES)
    reason = dice.choice(REASONS) if status == "REJECTED" else ""
    yield {
        "kind": str(EventKind.REQUESTED),
        "actor": dice.choice(OFFICERS),
        "role": "RISK_OFFICER",
        "status": "REQUESTED",
        "data": {
            "batch": str(uuid.UUID(int=dice.getrandbits(128), version=4)),
            "reason": dice.choice(["Runaway algorithm", "Venue incident", "Limit breach"]),
            "origin": "BROWSER",
            "user_agent": AGENT,
            "address": f"10.0.0.{dice.randrange(256)}",
            "open_before": dice.randrange(500),
            "asked_at": canonical_json.utc_text(BEGIN),
        },
        **of_request,
    }
    for number in range(1, dice.choice([1, 1, 1, 2, 3]) + 1):
        yield {
            "kind": str(EventKind.ATTEMPT),
            "status": "SENDING",
            "reject_reason": reason,
            "data": _attempt(number, dice=dice, reason=reason),
            **of_request,
        }
    yield {
        "kind": str(EventKind.FINISHED),
        "status": status,
        "reject_reason": reason,
        "data": {
            "conclusion": "The EMS lists no open orders.",
            "open_after": 2 if status == "RESIDUAL" else 0,
            "open_after_read_at": canonical_json.utc_text(BEGIN),
            "first_claimed_at": canonical_json.utc_text(BEGIN),
            "finished_at": canonical_json.utc_text(BEGIN),
        },
        **of_request,
    }


def _attempt(number: int, *, dice: random.Random, reason: str) -> Row:
    body = f'{{"type":"message","severity":"INFO","message":"Ok","n":{dice.randrange(10**9)}}}'
    return {
        "number": number,
        "started_at": canonical_json.utc_text(BEGIN),
        "finished_at": canonical_json.utc_text(BEGIN),
        "duration_us": dice.randrange(2_000, 900_000),
        "http_status": 200,
        "outcome": "REFUSED" if reason else "ACKNOWLEDGED",
        "message": "Ok",
        "rejected_message": "",
        "trace_id": "",
        "body": {"encoding": "utf-8", "text": body},
        "body_cut": False,
        "transport_error": "",
        "holder": f"worker-{dice.randrange(99)}",
    }


def _visit(dice: random.Random) -> Iterator[Row]:
    who = {"actor": dice.choice(OFFICERS), "role": "RISK_OFFICER"}
    data = {"address": f"10.0.0.{dice.randrange(256)}", "user_agent": AGENT}
    yield {"kind": str(EventKind.SIGNED_IN), "data": data, **who}
    if dice.random() < 0.02:
        yield {"kind": str(EventKind.DENIED), "data": data | {"path": "/audit/", "count": 1}, **who}
