"""Makes a log with a request of each kind: confirmed, residual, rejected, in flight."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction

from killswitch.accounts.models import Role, User
from killswitch.accounts.services import save_user
from killswitch.audit.chain import SYSTEM, Actor, NewEvent
from killswitch.audit.models import EventKind
from killswitch.cancels import recording, services
from killswitch.cancels.conclusion import AttemptSummary, OpenOrdersAfter, conclude
from killswitch.cancels.confirmation import Target
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.services import PressContext
from killswitch.cancels.states import Status
from killswitch.ems.answers import Outcome, RetryAdvice, TimedCancelAnswer
from killswitch.ems.open_orders import OpenOrder, TimedOpenOrders
from killswitch.exchanges.models import Exchange
from killswitch.exchanges.registry import ExchangeConfig, add_missing
from tests.audit.log import record

EXCHANGES = ("KRAKEN", "BITSTAMP/2574", "DERIBIT", "BITMEX")
HOLDER = "host:1:aa:bb"


def live() -> dict[str, CancelRequest]:
    """Make one request of each kind and return them by the name of their kind."""
    record(NewEvent(kind=EventKind.STARTED, data={"host": "test"}))
    officer = person("olga", role=Role.RISK_OFFICER)
    confirmed, residual, rejected, in_flight = _press(officer)
    with transaction.atomic():
        _confirm(confirmed)
        _leave_orders(residual)
        _refuse(rejected)
        _claim(in_flight)
        _attempt(in_flight, answer(Outcome.UNKNOWN, may_have_been_carried_out=True))
    services.complete_reason(batch=confirmed.batch, user=officer, reason="runaway algorithm")
    record(NewEvent(kind=EventKind.SIGNED_OUT, data={}))
    named = {
        "confirmed": confirmed,
        "residual": residual,
        "rejected": rejected,
        "in_flight": in_flight,
    }
    for request in named.values():
        request.refresh_from_db()
    return named


def add_exchanges(*ids: str) -> list[Exchange]:
    """Add exchanges as the start does, with figures from the observer."""
    add_missing(ExchangeConfig(exchange_id=exchange_id) for exchange_id in ids)
    exchanges = Exchange.objects.filter(exchange_id__in=ids)
    exchanges.update(open_orders=3, seen_at=datetime.now(UTC))
    return sorted(exchanges, key=lambda exchange: ids.index(exchange.exchange_id))


def person(username: str, *, role: Role) -> User:
    """Add a person, with the event of it."""
    user = User(username=username, role=role)
    save_user(user, new_password="x", by=SYSTEM, alarm=False)
    return user


def answer(outcome: Outcome, **fields: Any) -> TimedCancelAnswer:
    """Return an answer of the EMS."""
    at = datetime.now(UTC)
    return TimedCancelAnswer(
        **{"outcome": outcome, "retry_advice": RetryAdvice.NEVER, "http_status": 200, **fields},
        started_at=at,
        finished_at=at + timedelta(milliseconds=12),
        duration_ms=12.345,
    )


def reading(exchange_id: str, orders: Sequence[OpenOrder]) -> OpenOrdersAfter:
    """Return a readable list of open orders."""
    at = datetime.now(UTC)
    listed = TimedOpenOrders(
        readable=True,
        http_status=200,
        counts={exchange_id: len(orders)},
        orders=tuple(orders),
        started_at=at,
        finished_at=at,
        duration_ms=1.0,
    )
    return OpenOrdersAfter(answer=listed, count=len(orders))


def _press(officer: User) -> list[CancelRequest]:
    target = Target(exchanges=add_exchanges(*EXCHANGES), everywhere=True)
    result = services.request_cancel(
        target=target,
        key=target.key(user_id=officer.pk),
        press=PressContext(
            user=officer,
            reason="drill 漢字",
            address="10.0.0.7",
            user_agent="Browser <b>1</b>",
            gesture="held 1.2 s",
        ),
    )
    return list(result.batch.requests.order_by("id"))


def _claim(request: CancelRequest) -> None:
    CancelRequest.objects.filter(pk=request.pk).update(
        status=Status.SENDING, lease_token=HOLDER, lease_beats=1, first_claimed_at=datetime.now(UTC)
    )


def _attempt(request: CancelRequest, cancel_answer: TimedCancelAnswer) -> None:
    recording.record_attempt(
        request.pk, lease_token=HOLDER, answer=cancel_answer, next_attempt_at=None
    )


def _confirm(request: CancelRequest) -> None:
    _claim(request)
    acknowledged = answer(
        Outcome.ACKNOWLEDGED, message="Ok", body=b'{"type":"message"}\xff\x00', trace_id="t-1"
    )
    recording.record_takeover(request.pk, dead_holder="host:9:dead", lease_token=HOLDER)
    _attempt(request, acknowledged)
    _finish(request, acknowledged, reading(request.exchange_id, []))


def _leave_orders(request: CancelRequest) -> None:
    _claim(request)
    acknowledged = answer(Outcome.ACKNOWLEDGED, message="Ok")
    _attempt(request, acknowledged)
    orders = [
        OpenOrder(
            symbol="BTC/USD",
            side="BUY",
            price="100.10",
            amount_order="2",
            amount_open="1",
            amount_filled="1",
            status="NEW",
            client_order_id=f"c-{number}",
            exchange_order_id="",
        )
        for number in range(2)
    ]
    _finish(request, acknowledged, reading(request.exchange_id, orders))


def _refuse(request: CancelRequest) -> None:
    _claim(request)
    refusal = answer(
        Outcome.REJECTED,
        reject_reason="METHOD_NOT_SUPPORTED",
        message="no",
        rejected_message="{}",
    )
    _attempt(request, refusal)
    conclusion = conclude(AttemptSummary.of([refusal]), None)
    recording.finish(
        request.pk, lease_token=HOLDER, before=Status.SENDING, conclusion=conclusion, last_list=None
    )


def _finish(
    request: CancelRequest, cancel_answer: TimedCancelAnswer, after: OpenOrdersAfter
) -> None:
    recording.start_verifying(request.pk, lease_token=HOLDER)
    recording.record_read(request.pk, lease_token=HOLDER)
    conclusion = conclude(AttemptSummary.of([cancel_answer]), after)
    recording.finish(
        request.pk,
        lease_token=HOLDER,
        before=Status.VERIFYING,
        conclusion=conclusion,
        last_list=after,
    )


def kill_for_ever(stop: threading.Event, exchange: Exchange) -> None:
    """Request and finish, one after the other, as fast as the database allows."""
    while not stop.is_set():
        result = services.request_cancel_from_command_line(
            target=Target(exchanges=[exchange]), by=Actor(name="os:test"), reason="again"
        )
        request = result.batch.requests.get()
        _claim(request)
        for step in (_acknowledge, _list_orders):
            with transaction.atomic():
                step(request)
    connection.close()


def _acknowledge(request: CancelRequest) -> None:
    _attempt(request, answer(Outcome.ACKNOWLEDGED, message="Ok"))


def _list_orders(request: CancelRequest) -> None:
    _finish(request, answer(Outcome.ACKNOWLEDGED), reading(request.exchange_id, []))
