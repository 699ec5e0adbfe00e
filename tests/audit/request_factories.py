"""Makes a log to read: requests at chosen times, denials, changes of people, hostile text."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from killswitch.audit import canonical_json, chain
from killswitch.audit.actors import SYSTEM, Actor
from killswitch.audit.appending import ADVISORY_LOCK
from killswitch.audit.chain import FORMAT, NewEvent
from killswitch.audit.models import AuditEvent, EventKind

OLGA = Actor(name="Olga Ray (olga)", role="RISK_OFFICER")
ADA = Actor(name="Ada Stone (ada)", role="ADMINISTRATOR")
CARL = Actor(name="Carl Ito (carl)", role="COMPLIANCE")
START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
STATUSES = (
    "CONFIRMED",
    "CONFIRMED",
    "RESIDUAL",
    "CONFIRMED",
    "REJECTED",
    "CONFIRMED",
    "UNKNOWN",
    "UNVERIFIED",
    "NOT_DELIVERED",
)
MARKUP = "<script>alert(1)</script><b>\"x'&amp;"
SCRIPTS = ("Ελλάδα", "漢字かな", "مرحبا", "नमस्ते", "🛑", "Zoë Ångström")
HOSTILE = (MARKUP, "\x00\x1b[31m", "\u202egnp.exe", "=1+1", *SCRIPTS)


def log_at(at: datetime, new: NewEvent) -> AuditEvent:
    """Append an event as the chain does, with another time."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
        head = chain.head()
        event = AuditEvent(
            seq=head.seq + 1,
            at=at,
            format=FORMAT,
            software="0.1.0",
            kind=str(new.kind),
            actor=new.actor.name,
            role=new.actor.role,
            exchange_id=new.exchange_id,
            request_id=new.request_id,
            status=new.status,
            reject_reason=new.reject_reason,
            data=canonical_json.encode(new.data),
            previous=head.hash,
        )
        event.hash = chain.digest(event)
        event.save(force_insert=True)
    return event


def uuid(number: int) -> str:
    """Return the id of a request by its number."""
    return str(UUID(int=number + 1))


def request(
    number: int,
    *,
    at: datetime,
    status: str = "CONFIRMED",
    answer: float = 0.02,
    outcome: float = 0.4,
    exchange: str = "KRAKEN",
    reason: str = "Runaway algorithm",
    by_hold: bool = False,
) -> str:
    """Record a request with an attempt after `answer` seconds and its end after `outcome` seconds.

    An empty status leaves it in flight. Returns its id.
    """
    columns: dict[str, Any] = {"exchange_id": exchange, "request_id": uuid(number)}
    reject_reason = "EXCHANGE_UNREACHABLE" if status == "REJECTED" else ""
    origin = {"origin": "HOLD" if by_hold else "BROWSER"}
    requested = {"batch": uuid(10_000 + number), "reason": reason, "open_before": 14} | origin
    log_at(
        at,
        NewEvent(
            kind=EventKind.REQUESTED,
            actor=SYSTEM if by_hold else OLGA,
            status="REQUESTED",
            data=requested,
            **columns,
        ),
    )
    details = {"number": 1, "outcome": "REJECTED" if reject_reason else "ACKNOWLEDGED"} | {
        "http_status": 490 if reject_reason else 200,
        "duration_us": round(answer * 1e6),
        "message": "Ok",
        "body": {"encoding": "utf-8", "text": '{"type":"message","message":"Ok"}'},
    }
    attempt = NewEvent(
        kind=EventKind.ATTEMPT,
        status="SENDING",
        reject_reason=reject_reason,
        data=details,
        **columns,
    )
    log_at(at + timedelta(seconds=answer), attempt)
    if status:
        finished: dict[str, Any] = {
            "conclusion": f"Concluded that it is {status}.",
            "attempts": 1,
            "reads": 2,
            "open_after": 3 if status == "RESIDUAL" else 0,
            "remaining": [],
            **origin,
        }
        end = NewEvent(
            kind=EventKind.FINISHED,
            status=status,
            reject_reason=reject_reason,
            data=finished,
            **columns,
        )
        log_at(at + timedelta(seconds=outcome), end)
    return uuid(number)


def weeks(days: int = 30, *, since: datetime = START) -> None:
    """Record some requests on most days, with all outcomes among them."""
    number = 0
    for day in range(days):
        for index in range((day * 7) % 6):
            at = since + timedelta(days=day, minutes=11 * index)
            status = STATUSES[number % len(STATUSES)]
            slow = 8.5 if status in {"UNKNOWN", "UNVERIFIED"} else 0.2 + 0.07 * (number % 5)
            request(number, at=at, status=status, answer=0.01 + slow / 20, outcome=slow)
            number += 1


def denied(at: datetime, *, path: str = "/cancel-all/", count: int = 1) -> AuditEvent:
    """Record that a person was denied access."""
    data = {"path": path, "method": "POST", "permission": "CANCEL", "count": count}
    return log_at(
        at, NewEvent(kind=EventKind.DENIED, actor=ADA, data=data | {"address": "10.0.0.9"})
    )


def changed(at: datetime) -> list[AuditEvent]:
    """Record that an administrator changed an exchange and a role."""
    changes = {"enabled": [True, False], "caveat": ["", "Conditional orders"]}
    person = {"person": "Ben Ray (ben)", "username": "ben"}
    roles = {"role": ["COMPLIANCE", "RISK_OFFICER"]}
    return [
        log_at(
            at,
            NewEvent(
                kind=EventKind.EXCHANGE_CHANGED,
                actor=ADA,
                exchange_id="BITMEX",
                data={"changes": changes},
            ),
        ),
        log_at(
            at, NewEvent(kind=EventKind.ROLE_CHANGED, actor=ADA, data=person | {"changes": roles})
        ),
    ]


def hostile(at: datetime = START, words: Iterable[str] = HOSTILE) -> None:
    """Record events with hostile text in every column and key that takes foreign text."""
    for word in words:
        for kind in EventKind:
            storable = word.replace("\x00", "␀")  # columns accept no NUL; data does, escaped
            names = (
                "reason",
                "message",
                "title",
                "detail",
                "path",
                "person",
                "note",
                "why",
                "name",
            )
            log_at(
                at,
                NewEvent(
                    kind=kind,
                    actor=Actor(name=storable, role=storable[:30]),
                    exchange_id=storable,
                    reject_reason=storable,
                    data=dict.fromkeys(names, word) | {"changes": {"name": [word, word]}},
                ),
            )
