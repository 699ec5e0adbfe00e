"""People, exchanges, requests and outcomes for tests, made as the product makes them.

An outcome goes through the EMS's answers, the recording and the conclusion of the product, so that
no test and no picture shows a sentence or a state that a kill cannot produce.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from json import dumps
from typing import Any

from django.db import transaction

from killswitch.accounts.models import Role, User
from killswitch.audit.recorder import recording as recording_of_events
from killswitch.cancels import recording, services
from killswitch.cancels.conclusion import (
    AttemptSummary,
    ListHistory,
    OpenOrdersAfter,
    conclude,
)
from killswitch.cancels.confirmation import Target
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.services import PressContext
from killswitch.cancels.states import FINAL, Status
from killswitch.ems import answers
from killswitch.ems.answers import CancelAnswer, TimedCancelAnswer
from killswitch.ems.open_orders import OpenOrder, TimedOpenOrders
from killswitch.exchanges.models import Exchange, Observation
from killswitch.observer import second_looks
from killswitch.observer.second_looks import ListRead
from killswitch.runtime.revisions import Revisioned, next_revision

PASSWORD = "correct horse battery"
NAMES = {
    Role.RISK_OFFICER: ("olga", "Olga Ray"),
    Role.COMPLIANCE: ("carl", "Carl Ito"),
    Role.ADMINISTRATOR: ("ada", "Ada Stone"),
}
LEASE_TOKEN = "test:1:aa"
CAVEAT = "Conditional orders held at the venue, and orders placed outside the EMS."
ACKNOWLEDGEMENT = {"type": "message", "severity": "INFO", "message": "Ok"}
REJECTION = {
    "type": "MESSAGE_REJECT",
    "reject_reason": "EXCHANGE_UNREACHABLE",
    "message": "exchange is unreachable",
}


def person(role: Role, **fields: Any) -> User:
    """Create a user of this role."""
    username, full_name = NAMES[role]
    values = {"username": username, "full_name": full_name} | fields
    user = User(role=role, **values)
    user.set_password(PASSWORD)
    user.save()
    return user


def exchange(
    exchange_id: str, *, name: str = "", orders: int | None = 0, **fields: Any
) -> Exchange:
    """Create an exchange, observed a moment ago unless its orders are not known."""
    seen_at = None if orders is None else observe()
    row = Exchange(
        exchange_id=exchange_id,
        name=name,
        open_orders=orders,
        seen_at=seen_at,
        **{"first_listed_at": seen_at if orders else None} | fields,
    )
    change(row)
    return row


def change(row: Revisioned, **fields: Any) -> None:
    """Change a row together with its revision, as the product does.

    A page that polled between two transactions would miss the change for good.
    """
    for name, value in fields.items():
        setattr(row, name, value)
    with transaction.atomic():
        row.revision = next_revision()
        row.save()


def exchanges(count: int) -> list[Exchange]:
    """Create exchanges VENUE01, VENUE02, … with 7, 14, … open orders."""
    return [
        exchange(f"VENUE{number:02}", name=f"Venue {number}", orders=number * 7, position=number)
        for number in range(1, count + 1)
    ]


def observe(*, ago_s: float = 0) -> datetime:
    """Return the time of the newest observation; make one now, or some seconds ago, when needed."""
    observation, _ = Observation.objects.get_or_create(id=1)
    if observation.seen_at is None or ago_s:
        observation.seen_at = datetime.now(UTC) - timedelta(seconds=ago_s)
        observation.save()
        Exchange.objects.exclude(seen_at=None).update(seen_at=observation.seen_at)
    return observation.seen_at


def press(
    user: User, *exchanges: Exchange, everywhere: bool = False, ago_s: float = 12, **context: Any
) -> Batch:
    """Record a request for these exchanges, as if made some seconds ago. No worker gets it."""
    target = Target(exchanges=exchanges, everywhere=everywhere)
    context = {"address": "127.0.0.1", "gesture": "dialog"} | context
    with transaction.atomic():
        result = services.request_cancel(
            target=target,
            key=target.key(user_id=user.pk),
            press=PressContext(user=user, **context),
        )
        transaction.get_connection().run_on_commit.clear()
    batch = result.batch
    batch.asked_at -= timedelta(seconds=ago_s)
    batch.save(update_fields=["asked_at"])
    return batch


def bring(
    request: CancelRequest,
    status: Status,
    *,
    attempts: int = 2,
    orders: int = 3,
    rejection: Mapping[str, object] = REJECTION,
    ever_listed: bool = True,
) -> CancelRequest:
    """Take a request to a status, step by step as a worker does."""
    with transaction.atomic():
        request.refresh_from_db()
        if request.status == Status.REQUESTED and status is not Status.REQUESTED:
            claim(request)
        if request.status == Status.SENDING:
            retry_at = datetime.now(UTC) + timedelta(seconds=9)
            for _ in range(attempts):
                attempt(
                    request,
                    answer(request, status, rejection),
                    next_attempt_at=retry_at if status is Status.SENDING else None,
                )
        before = Status.SENDING
        if status not in {Status.SENDING, Status.REJECTED, Status.NOT_DELIVERED, Status.REQUESTED}:
            before = Status.VERIFYING
            recording.start_verifying(request.pk, lease_token=LEASE_TOKEN)
            recording.record_read(request.pk, lease_token=LEASE_TOKEN)
        if status in FINAL:
            _finish(request, status, before=before, orders=orders, ever_listed=ever_listed)
    request.refresh_from_db()
    return request


def claim(request: CancelRequest) -> None:
    """Claim a request as `leases.claim` does, which closes the connection that a test needs."""
    request.status, request.lease_token = Status.SENDING, LEASE_TOKEN
    request.first_claimed_at = datetime.now(UTC)
    request.save(update_fields=["status", "lease_token", "first_claimed_at"])


def attempt(
    request: CancelRequest,
    cancel_answer: CancelAnswer,
    *,
    lease_token: str = LEASE_TOKEN,
    next_attempt_at: datetime | None = None,
) -> None:
    """Record a call that was answered so."""
    now = datetime.now(UTC)
    timed = TimedCancelAnswer(
        **vars(cancel_answer),
        started_at=now,
        finished_at=now + timedelta(milliseconds=212),
        duration_ms=212.345,
    )
    recording.record_attempt(
        request.pk, lease_token=lease_token, answer=timed, next_attempt_at=next_attempt_at
    )


def answer(
    request: CancelRequest, status: Status, rejection: Mapping[str, object] = REJECTION
) -> CancelAnswer:
    """Return the EMS's answer that leads to this status."""
    match status:
        case Status.NOT_DELIVERED:
            return answers.not_delivered("Connection refused (error 111)")
        case Status.UNKNOWN:
            return answers.no_answer("the call was not finished within 10.0 s", at_once=False)
        case Status.REJECTED | Status.SENDING:
            http_status, document = 490, rejection
        case _:
            http_status, document = 200, ACKNOWLEDGEMENT
    return answers.read_cancel(
        exchange_id=request.exchange_id,
        http_status=http_status,
        headers={},
        body=dumps(document).encode(),
        complete=True,
    )


def _finish(
    request: CancelRequest, status: Status, *, before: Status, orders: int, ever_listed: bool
) -> None:
    is_read = status not in {Status.UNVERIFIED, Status.UNKNOWN}
    count = 0 if status is Status.CONFIRMED else orders
    now = datetime.now(UTC)
    open_orders = TimedOpenOrders(
        readable=is_read,
        error="" if is_read else "HTTP 500",
        http_status=200 if is_read else 500,
        counts={request.exchange_id: count} if is_read else {},
        orders=tuple(open_order(number) for number in range(count)) if is_read else (),
        started_at=now,
        finished_at=now,
        duration_ms=1.0,
    )
    after = OpenOrdersAfter(answer=open_orders, count=count if is_read else None)
    last_list = None if status is Status.NOT_DELIVERED else after
    conclusion = conclude(
        AttemptSummary.of(request.attempts.all()),
        last_list,
        exchange_id=request.exchange_id,
        history=ListHistory(open_before=request.open_before, ever_listed=ever_listed),
    )
    assert conclusion.status is status
    recording.finish(
        request.pk,
        lease_token=LEASE_TOKEN,
        before=before,
        conclusion=conclusion,
        last_list=last_list,
    )


def look_again(request: CancelRequest, *, after_s: int, orders: int = 0, error: str = "") -> None:
    """Record a second look as the observer does; orders that are listed reopen the request."""
    now = datetime.now(UTC)
    open_orders = TimedOpenOrders(
        readable=not error,
        error=error,
        is_from_ems=True,
        counts={request.exchange_id: orders},
        started_at=now,
        finished_at=now,
        duration_ms=1.0,
    )
    read = ListRead(orders=open_orders, single_lists={}, known=0, requested_at=0.0)
    request.refresh_from_db()
    reopened = (
        {request.pk: timedelta(seconds=after_s)} if orders and not request.reopened_at else {}
    )
    with recording_of_events() as record:
        second_looks.write(record, read, due={request.pk: [after_s]}, reopened=reopened)
    request.refresh_from_db()


def open_order(number: int) -> OpenOrder:
    """Return an order that is still open."""
    return OpenOrder(
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
