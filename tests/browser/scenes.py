"""Fills the database with states to look at: each status, alarms, stale figures, sixty rows."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction

from killswitch.accounts.decorators import actor
from killswitch.accounts.models import Role, User
from killswitch.alarms.models import Kind as AlarmKind
from killswitch.alarms.services import raise_alarm
from killswitch.audit import chain
from killswitch.cancels.models import Attempt, Batch, CancelRequest, Origin, ResidualOrder
from killswitch.cancels.recording import alarm_title
from killswitch.cancels.states import FINAL, Status
from killswitch.ems.answers import Outcome
from killswitch.exchanges.models import Exchange, Observation, UncoveredExchange
from killswitch.readiness.health_checks import Check, Readiness, judge
from killswitch.runtime.revisions import next_revision

PASSWORD = "correct horse battery"
NAMES = {
    Role.RISK_OFFICER: ("olga", "Olga Ray"),
    Role.COMPLIANCE: ("carl", "Carl Ito"),
    Role.ADMINISTRATOR: ("ada", "Ada Stone"),
}
SENTENCES = {
    Status.CONFIRMED: "Acknowledged by the EMS; the list read afterwards shows no open orders.",
    Status.RESIDUAL: "Acknowledged by the EMS, which still lists 3 open orders 10 s later.",
    Status.UNVERIFIED: "Acknowledged by the EMS; its list of open orders could not be read.",
    Status.REJECTED: "Refused by the EMS each time it was asked, with EXCHANGE_UNREACHABLE.",
    Status.NOT_DELIVERED: "The EMS could not be reached; certain that it never got the request.",
    Status.UNKNOWN: "No answer within 10 s and no list of open orders: it may have been done.",
}
FEW = (
    ("COINBASE", "Coinbase", 3, Status.RESIDUAL),
    ("BITSTAMP/2574", "Bitstamp, desk 2574", 11, Status.UNKNOWN),
    ("DERIBIT", "Deribit", 22, Status.REJECTED),
    ("KRAKEN/JOHN", "Kraken, John", 14, Status.SENDING),
    ("BITMEX", "BitMEX", 2040, Status.VERIFYING),
    ("BINANCE", "Binance", 0, Status.CONFIRMED),
    ("GEMINI", "Gemini", 8, Status.CONFIRMED),
    ("POLONIEX", "", 4, Status.UNVERIFIED),
    ("HITBTC", "HitBTC", 9, Status.NOT_DELIVERED),
    ("LMAXDIGITAL", "LMAX Digital", 7, None),
    ("BITFINEX", "Bitfinex", 31, None),
    ("DYDX", "dYdX", None, Status.REQUESTED),
)
# Beside the server of these tests no other process is at work; pages say this of readiness.
MEASURED = (("Database", 2.0), ("EMS", 84.0), ("Workers", None), ("Queue", 11.0), ("Log", None))
READY = judge(
    tuple(
        Check(name=label.lower(), label=label, ok=True, detail="works", milliseconds=milliseconds)
        for label, milliseconds in MEASURED
    )
)
NOT_READY = judge(
    (
        *READY.checks[:2],
        Check(
            name="workers", label="Workers", ok=False, needed=True, detail="last beat: 2 min ago"
        ),
        Check(name="watchdog", label="Watchdog", ok=False, needed=True, detail="last beat: never"),
    )
)
readiness: list[Readiness] = [READY]
CAVEAT = "Conditional orders held at the venue, and orders placed outside the EMS."


def person(role: Role, **fields: Any) -> User:
    """Somebody of this role, with the usual password."""
    username, full_name = NAMES[role]
    described = {"username": username, "full_name": full_name} | fields
    return User.objects.create_user(password=PASSWORD, role=role, **described)


def exchange(exchange_id: str, *, name: str = "", orders: int | None = 0, **more: Any) -> Exchange:
    """One exchange, seen a moment ago unless its orders are not known."""
    seen_at = None if orders is None else look()
    return Exchange.objects.create(
        exchange_id=exchange_id,
        name=name,
        open_orders=orders,
        seen_at=seen_at,
        revision=next_revision(),
        **more,
    )


def look(*, ago: float = 0) -> datetime:
    """When the observer last looked; looks now, or `ago` seconds ago, the first time."""
    observation, _ = Observation.objects.get_or_create(id=1)
    if observation.seen_at is None or ago:
        observation.seen_at = datetime.now(UTC) - timedelta(seconds=ago)
        observation.save()
        Exchange.objects.exclude(seen_at=None).update(seen_at=observation.seen_at)
    return observation.seen_at


def press(user: User, *exchanges: Exchange, reason: str = "", **more: Any) -> Batch:
    """A press as the service records it."""
    who = actor(user)
    batch = Batch.objects.create(
        key=f"key-{Batch.objects.count()}",
        by=user,
        by_name=who.name,
        by_role=who.role,
        asked_at=datetime.now(UTC) - timedelta(seconds=12),
        reason=reason,
        origin=Origin.BROWSER,
        address="127.0.0.1",
        gesture="dialog",
        **more,
    )
    for each in exchanges:
        CancelRequest.objects.create(
            batch=batch,
            configured_exchange=each,
            exchange_id=each.exchange_id,
            open_before=each.open_orders,
            open_before_seen_at=each.seen_at,
            revision=next_revision(),
        )
    return batch


def bring(request: CancelRequest, status: Status, **fields: Any) -> CancelRequest:
    """Bring a request to a status as the worker would, with attempts, orders and an alarm."""
    now = datetime.now(UTC)
    if status is not Status.REQUESTED:
        request.first_claimed_at = request.batch.asked_at + timedelta(milliseconds=14)
        request.attempt_count = 2
    request.status = status
    if status in FINAL:
        request.finished_at, request.conclusion = now, SENTENCES[status]
    if status is Status.SENDING:
        request.next_attempt_at = now + timedelta(seconds=9)
    if status is Status.VERIFYING:
        request.reads = 3
    if status in {Status.CONFIRMED, Status.RESIDUAL}:
        request.open_after = 0 if status is Status.CONFIRMED else 3
        request.open_after_read_at = now
    if status is Status.REJECTED:
        request.reject_reason = "EXCHANGE_UNREACHABLE"
        request.message = "exchange is unreachable"
    for name, value in fields.items():
        setattr(request, name, value)
    request.revision = next_revision()
    request.save()
    if status is not Status.REQUESTED:
        _attempts(request, status)
    if status is Status.RESIDUAL:
        _orders(request, 3)
    if status in FINAL - {Status.CONFIRMED}:
        alarm(request)
    return request


def alarm(request: CancelRequest) -> None:
    """The alarm that this outcome raises."""
    with transaction.atomic():
        facts = raise_alarm(
            kind=AlarmKind.OUTCOME,
            subject=str(request.uuid),
            request_id=str(request.uuid),
            exchange_id=request.exchange_id,
            title=alarm_title(request),
            detail=request.conclusion,
            revision=next_revision(),
        )
        chain.append(*facts)


def console(user: User, rows: Iterable[Any] = FEW, *, alarms: bool = True) -> list[Exchange]:
    """The console with every status, an id that is not covered, and a disabled exchange."""
    made = []
    for place, (exchange_id, name, orders, status) in enumerate(rows):
        one = exchange(
            exchange_id,
            name=name,
            orders=orders,
            position=place,
            caveat=CAVEAT if place % 3 else "",
        )
        made.append(one)
        if status is not None:
            batch = press(user, one, reason=("Runaway algorithm", "Venue incident", "")[place % 3])
            bring(batch.requests.get(), status)
    UncoveredExchange.objects.create(exchange_id="OKEX/NOT-CONFIGURED", open_orders=12)
    exchange("OLD-VENUE", orders=5, enabled=False)
    if not alarms:
        from killswitch.alarms.models import Alarm

        Alarm.objects.all().delete()
    return made


def calm(user: User, count: int = 3) -> list[Exchange]:
    """Exchanges that behave."""
    return [
        exchange(f"VENUE{number:02}", name=f"Venue {number}", orders=number * 7, position=number)
        for number in range(1, count + 1)
    ]


def sixty(user: User) -> list[Exchange]:
    """Sixty rows, of which some are bad and some in flight."""
    statuses = [status for _, _, _, status in FEW]
    rows = [
        (f"EXCHANGE{number:02}", f"Exchange {number}", number, statuses[number % len(statuses)])
        for number in range(60)
    ]
    return console(user, rows)


def _attempts(request: CancelRequest, status: Status) -> None:
    began = request.first_claimed_at or request.batch.asked_at
    outcomes = {
        Status.REJECTED: (Outcome.REJECTED, 490),
        Status.NOT_DELIVERED: (Outcome.NOT_DELIVERED, None),
        Status.UNKNOWN: (Outcome.UNKNOWN, None),
    }
    outcome, http = outcomes.get(status, (Outcome.ACKNOWLEDGED, 200))
    for number in (1, 2):
        Attempt.objects.create(
            request=request,
            number=number,
            started_at=began + timedelta(seconds=number),
            finished_at=began + timedelta(seconds=number, milliseconds=212),
            duration_us=212_345,
            http_status=http,
            outcome=outcome,
            may_have_been_carried_out=outcome in {Outcome.ACKNOWLEDGED, Outcome.UNKNOWN},
            body=b'{"type":"message","message":"Ok"}' if http == 200 else b"\xff\x00<script>",
            transport_error="" if http else "connection refused",
            holder="test",
        )


def _orders(request: CancelRequest, count: int) -> None:
    ResidualOrder.objects.bulk_create(
        ResidualOrder(
            request=request,
            symbol="BTC-USD",
            side="BUY",
            price="61250.5",
            amount_order="2",
            amount_open="1.25",
            amount_filled="0.75",
            status="PARTIALLY_FILLED",
            client_order_id=f"6ab36bc1-344d-432e-ac6d-0bf44ee6{number:04x}",
            exchange_order_id=f"{3456456754 + number}",
        )
        for number in range(count)
    )
