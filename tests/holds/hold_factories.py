"""Holds, their episodes and what the enforcement of Holds records, for tests of what reads them."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password

from killswitch.accounts.models import Role, User
from killswitch.accounts.services import save_user
from killswitch.audit.actors import SYSTEM, Actor
from killswitch.audit.canonical_json import utc_text
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
from tests.audit.event_factories import add_exchanges

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


def every_state() -> dict[str, Hold]:
    """Return a Hold in each state, after every transition that there is, all with their events."""
    olga, ben = officers_with_events()
    kraken, bitmex, deribit, lmax = add_exchanges("KRAKEN", "BITMEX", "DERIBIT", "LMAX")
    factories.press(olga, kraken, bitmex, hold=True, reason="runaway algorithm", ago_s=0)
    active = Hold.objects.get(configured_exchange=kraken)
    requested = Hold.objects.get(configured_exchange=bitmex)
    blind = start(deribit, act=shell("risk"))
    released = start(lmax, act=browser(olga), reason="")

    services.request_release(active, act=browser(olga), reason="flat")
    services.withdraw_release(active, act=browser(ben))
    go_blind(active)
    see_again(active)
    episode(active, orders=3)
    episode(active, orders=0, status=Status.UNVERIFIED, began_blind=True)
    episode(active, orders=8, status=Status.SENDING)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "RELEASE_VALID_FOR", -services.RELEASE_VALID_FOR)
        services.request_release(requested, act=shell("risk"), reason="too early")
        services.lapse_overdue_releases()
    services.request_release(requested, act=browser(olga), reason="over")

    go_blind(blind)
    go_blind(released)
    episode(released)
    services.request_release(released, act=browser(olga), reason="over")
    services.confirm_release(released, act=browser(ben), note="agreed")
    start(lmax, act=shell("risk"))  # held once more
    holds = {"active": active, "requested": requested, "blind": blind, "released": released}
    for hold in holds.values():
        hold.refresh_from_db()
    return holds


def officers_with_events() -> tuple[User, User]:
    """Add Olga and Ben as an administrator does."""
    users = [
        User(username=name, full_name=full_name, role=Role.RISK_OFFICER)
        for name, full_name in (("olga", "Olga Ray"), ("ben", "Ben Ray"))
    ]
    for user in users:
        save_user(user, password_hash=make_password("x"), by=SYSTEM, alarm=False)
    return users[0], users[1]


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
        "orders_carried": row.orders_carried,
        "orders_cancelled": row.orders_cancelled,
        "symbols": row.symbols,
        "longest_life_ms": row.longest_life_ms,
        "first_order_at": event_data.utc_text_or_none(row.first_order_at),
        "last_order_at": event_data.utc_text_or_none(row.last_order_at),
    }
