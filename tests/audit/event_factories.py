"""Makes a log with a request of each kind: confirmed, residual, rejected, in flight."""

import threading
from datetime import UTC, datetime

from django.contrib.auth.hashers import make_password
from django.db import connection, transaction

from killswitch.accounts.models import Role, User
from killswitch.accounts.services import save_user
from killswitch.audit.actors import SYSTEM, Actor
from killswitch.audit.chain import NewEvent
from killswitch.audit.models import EventKind
from killswitch.cancels import recording, services
from killswitch.cancels.confirmation import Target
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import Status
from killswitch.ems.answers import read_cancel
from killswitch.exchanges.models import Exchange
from killswitch.exchanges.registry import ExchangeConfig, add_missing
from tests import factories
from tests.audit.log import record


def live() -> dict[str, CancelRequest]:
    """Make one request of each kind and return them by the name of their kind."""
    record(NewEvent(kind=EventKind.STARTED, data={"host": "test"}))
    officer = User(username="olga", role=Role.RISK_OFFICER)
    save_user(officer, password_hash=make_password("x"), by=SYSTEM, alarm=False)
    return live_for(officer)


def live_for(officer: User) -> dict[str, CancelRequest]:
    """Make one request of each kind for a user who exists."""
    batch = factories.press(
        officer,
        *add_exchanges("KRAKEN", "BITSTAMP/2574", "DERIBIT", "BITMEX"),
        everywhere=True,
        ago_s=0,
        reason="drill 漢字",
        address="10.0.0.7",
        user_agent="Browser <b>1</b>",
    )
    kinds = ("confirmed", "residual", "rejected", "in_flight")
    requests = dict(zip(kinds, batch.requests.order_by("id"), strict=True))
    with transaction.atomic():
        factories.claim(requests["confirmed"])
        recording.record_takeover(
            requests["confirmed"].pk,
            dead_holder="host:9:dead",
            lease_token=factories.LEASE_TOKEN,
        )
        factories.bring(requests["confirmed"], Status.CONFIRMED, attempts=1)
        factories.bring(requests["residual"], Status.RESIDUAL, attempts=1, orders=2)
        factories.bring(requests["rejected"], Status.REJECTED, attempts=1)
        factories.claim(requests["in_flight"])
        no_json = b'{"type":"message"}\xff\x00'
        unusable_answer = read_cancel(
            exchange_id="BITMEX", http_status=200, headers={}, body=no_json, complete=True
        )
        factories.attempt(requests["in_flight"], unusable_answer)
    services.complete_reason(batch=batch, user=officer, reason="runaway algorithm")
    record(NewEvent(kind=EventKind.SIGNED_OUT, data={}))
    for request in requests.values():
        request.refresh_from_db()
    return requests


def add_exchanges(*ids: str) -> list[Exchange]:
    """Add exchanges as the start does, with figures from the observer."""
    add_missing(ExchangeConfig(exchange_id=exchange_id) for exchange_id in ids)
    exchanges = Exchange.objects.filter(exchange_id__in=ids)
    exchanges.update(open_orders=3, seen_at=datetime.now(UTC))
    return sorted(exchanges, key=lambda exchange: ids.index(exchange.exchange_id))


def kill_for_ever(stop: threading.Event, exchange: Exchange) -> None:
    """Request and finish, one after the other, with pauses in which the log can be read."""
    while not stop.wait(0.05):
        result = services.request_cancel_from_command_line(
            target=Target(exchanges=[exchange]), by=Actor(name="os:test"), reason="again"
        )
        request = result.batch.requests.get()
        factories.bring(request, Status.VERIFYING, attempts=1)
        factories.bring(request, Status.CONFIRMED)
    connection.close()
