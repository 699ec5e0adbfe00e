"""Holds, their episodes and what the enforcement of Holds records, for tests of what reads them."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from killswitch.accounts.models import Role, User
from killswitch.audit.canonical_json import utc_text
from killswitch.audit.chain import SYSTEM, Actor
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import recording
from killswitch.cancels import event_data
from killswitch.cancels.models import Batch, CancelRequest, Origin
from killswitch.cancels.states import Status
from killswitch.exchanges.models import Exchange
from killswitch.holds import services
from killswitch.holds.models import Episode, Hold
from killswitch.holds.services import Act
from tests import factories

SYMBOLS = ["BTC-USD", "ETH-USD"]


def shell(login: str) -> Act:
    """Return a person on the command line."""
    by = Actor(name=f"os:{login}", role="OPERATING_SYSTEM")
    return Act(by=by, origin=Origin.COMMAND_LINE)


def browser(user: User) -> Act:
    return Act.of_user(user, address="10.0.0.7", user_agent="Firefox")


def officers() -> tuple[User, User]:
    """Create two risk officers, Olga and Ben."""
    olga = factories.person(Role.RISK_OFFICER)
    return olga, factories.person(Role.RISK_OFFICER, username="ben", full_name="Ben Ray")


def start(exchange: Exchange, *, act: Act, reason: str = "runaway algorithm") -> Hold:
    return services.start_hold(exchange, act=act, reason=reason).hold


def age_release(hold: Hold, *, minutes: float) -> None:
    """Let the release of a Hold have been requested so long ago, in its row only."""
    hold.refresh_from_db()
    assert hold.release_requested_at
    requested_at = hold.release_requested_at - timedelta(minutes=minutes)
    Hold.objects.filter(pk=hold.pk).update(release_requested_at=requested_at)


def go_blind(hold: Hold, *, error: str = "HTTP 500") -> None:
    """Record that the list of a held exchange cannot be read."""
    since = datetime.now(UTC)
    data = {"hold": str(hold.uuid), "since": utc_text(since), "error": error}
    with recording() as record:
        Hold.objects.filter(pk=hold.pk).update(blind_since=since, read_error=error)
        record.event(EventKind.HOLD_BLIND, exchange_id=hold.exchange_id, data=data)


def see_again(hold: Hold) -> None:
    """Record that the list can be read again."""
    hold.refresh_from_db()
    assert hold.blind_since
    data = {"hold": str(hold.uuid), "blind_since": utc_text(hold.blind_since), "seconds": 31}
    with recording() as record:
        Hold.objects.filter(pk=hold.pk).update(
            blind_since=None, read_error="", last_read_at=datetime.now(UTC)
        )
        record.event(EventKind.HOLD_SEES_AGAIN, exchange_id=hold.exchange_id, data=data)


def episode(
    hold: Hold, *, orders: int = 5, status: Status = Status.CONFIRMED, began_blind: bool = False
) -> Episode:
    """Record an episode of a Hold, up to this status of its request."""
    hold.refresh_from_db()
    now = datetime.now(UTC)
    with recording() as record:
        batch = Batch.objects.create(
            key=secrets.token_urlsafe(16),
            origin=Origin.HOLD,
            by_name=SYSTEM.name,
            asked_at=now,
        )
        request = CancelRequest.objects.create(
            batch=batch,
            configured_exchange=hold.configured_exchange,
            exchange_id=hold.exchange_id,
            revision=record.revision,
        )
        row = Episode.objects.create(
            hold=hold,
            request=request,
            number=hold.episode_count + 1,
            began_blind=began_blind,
            orders_seen=orders,
            orders_cancelled=max(orders - 1, 0),
            symbols=SYMBOLS,
            longest_life_ms=812,
            first_order_at=now,
            last_order_at=now + timedelta(seconds=1),
        )
        hold.episode_count += 1
        hold.orders_seen += row.orders_seen
        hold.orders_cancelled += row.orders_cancelled
        hold.save(update_fields=["episode_count", "orders_seen", "orders_cancelled"])
        held = {"held": str(hold.uuid), "episode": row.number}
        record.event(
            EventKind.REQUESTED,
            exchange_id=hold.exchange_id,
            request_id=str(request.uuid),
            status=request.status,
            data={**event_data.of_press(request, batch), **held},
        )
    factories.bring(request, status)
    if request.is_final:
        with recording() as record:
            record.event(
                EventKind.HOLD_EPISODE,
                exchange_id=hold.exchange_id,
                request_id=str(request.uuid),
                data=_of_episode(hold, row),
            )
    row.refresh_from_db()
    return row


def _of_episode(hold: Hold, row: Episode) -> dict[str, Any]:
    return {
        "hold": str(hold.uuid),
        "number": row.number,
        "began_blind": row.began_blind,
        "orders_seen": row.orders_seen,
        "orders_cancelled": row.orders_cancelled,
        "symbols": row.symbols,
        "longest_life_ms": row.longest_life_ms,
        "first_order_at": event_data.utc_text_or_none(row.first_order_at),
        "last_order_at": event_data.utc_text_or_none(row.last_order_at),
    }
