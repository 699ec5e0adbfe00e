"""What a telephone card shows of an exchange, and the calls that officers record on it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from django.db.models import Q

from killswitch.audit.actors import Actor
from killswitch.audit.canonical_json import utc_text
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.recorder import recording
from killswitch.cancels import manual_cancel
from killswitch.exchanges.models import Exchange, OpenOrderList

MAX_ORDERS = 15  # which fit on one sheet of A4 with everything else
MAX_CALLS = 20
CALLS_SHOWN_FOR = timedelta(hours=24)
SAME_WITHIN = timedelta(minutes=1)


class FormUsed(Exception):
    """The form was sent before, with another call: the browser's Back had shown it again."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call that was recorded: when it was, with whom, and who recorded it."""

    telephoned_at: datetime
    spoke_to: str
    reference: str
    note: str
    by: str = ""
    recorded_at: datetime | None = None

    @classmethod
    def of_event(cls, event: AuditEvent) -> Self:
        data = json.loads(event.data)
        return cls(
            telephoned_at=datetime.fromisoformat(data["telephoned_at"]),
            spoke_to=data["spoke_to"],
            reference=data["reference"],
            note=data["note"],
            by=event.actor,
            recorded_at=event.at,
        )

    def is_same_as(self, other: Self) -> bool:
        """Return whether this is a call that was sent twice, by a second click or a retry."""
        words = (self.spoke_to, self.reference, self.note)
        return words == (other.spoke_to, other.reference, other.note) and (
            abs(self.telephoned_at - other.telephoned_at) < SAME_WITHIN
        )


@dataclass(frozen=True, kw_only=True)
class TelephoneCard:
    """One exchange as its card shows it: the orders that were listed last, and the last calls."""

    exchange: Exchange
    orders: Sequence[Mapping[str, Any]]
    total: int
    unnamed: int
    orders_read_at: datetime | None
    calls: Sequence[Call]

    @property
    def command(self) -> str:
        """Return the shell command that cancels there; the API key is not in it."""
        return manual_cancel.command(self.exchange.exchange_id)

    @property
    def is_list_older(self) -> bool:
        """Return True if the figure has been read again since the orders were."""
        read_at, seen_at = self.orders_read_at, self.exchange.seen_at
        return read_at is not None and seen_at is not None and read_at < seen_at

    @property
    def more(self) -> int:
        return self.total - len(self.orders)


def read_cards(*, pk: int | None = None, changed_since: int | None = None) -> list[TelephoneCard]:
    """Return the cards of all exchanges, of one, or of those with a change, in two queries.

    A disabled exchange has a card as well: there, the telephone is what is left.
    """
    exchanges = Exchange.objects.select_related("order_list")
    if pk is not None:
        exchanges = exchanges.filter(pk=pk)
    if changed_since is not None:
        is_new = Q(revision__gt=changed_since) | Q(order_list__revision__gt=changed_since)
        exchanges = exchanges.filter(is_new)
    rows = list(exchanges)
    calls = recent_calls() if rows else {}
    return [_card(exchange, calls.get(exchange.exchange_id, [])) for exchange in rows]


def recent_calls() -> dict[str, list[Call]]:
    """Return the calls recorded in the last 24 hours by exchange ID, the newest first."""
    since = datetime.now(UTC) - CALLS_SHOWN_FOR
    events = AuditEvent.objects.filter(kind=str(EventKind.TELEPHONED), at__gte=since)
    calls: dict[str, list[Call]] = {}
    for event in events.order_by("-seq"):
        calls.setdefault(event.exchange_id, []).append(Call.of_event(event))
    return calls


def _card(exchange: Exchange, calls: Sequence[Call]) -> TelephoneCard:
    stored: OpenOrderList | None = getattr(exchange, "order_list", None)
    times = [at for at in (stored and stored.read_at, exchange.orders_read_at) if at]
    return TelephoneCard(
        exchange=exchange,
        orders=stored.orders[:MAX_ORDERS] if stored else [],
        total=stored.total if stored else 0,
        unnamed=stored.unnamed if stored else 0,
        orders_read_at=max(times, default=None),
        calls=calls[:MAX_CALLS],
    )


def record_call(pk: int, call: Call, *, nonce: str, by: Actor, origin: Mapping[str, str]) -> None:
    """Record a call to an exchange, once for its nonce.

    Raises `Exchange.DoesNotExist`, and `FormUsed` if the nonce is of another call.
    """
    with recording() as record:
        # The lock makes a second click wait until the event of the first one is in the log.
        exchange = Exchange.objects.select_for_update(no_key=True).get(pk=pk)
        recorded = AuditEvent.objects.filter(
            kind=str(EventKind.TELEPHONED), data__contains=f'"nonce":{json.dumps(nonce)}'
        )
        if event := recorded.first():
            if not call.is_same_as(Call.of_event(event)):
                raise FormUsed
            return
        record.changed(exchange)
        record.event(
            EventKind.TELEPHONED,
            actor=by,
            exchange_id=exchange.exchange_id,
            data={
                "telephoned_at": utc_text(call.telephoned_at),
                "spoke_to": call.spoke_to,
                "reference": call.reference,
                "note": call.note,
                "nonce": nonce,
                **origin,
            },
        )
