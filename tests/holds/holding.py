"""Holds for tests, started and released as the product does it."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from killswitch.accounts.models import Role, User
from killswitch.exchanges.models import Exchange
from killswitch.holds import services
from killswitch.holds.models import Hold
from killswitch.holds.services import RELEASE_VALID_FOR, Act
from tests import factories

HOUR = timedelta(hours=2, minutes=14, seconds=7)


def start(user: User, exchange: Exchange, *, reason: str = "Drill", **fields: Any) -> Hold:
    """Hold an exchange, of which the list was read a moment ago, and set other columns."""
    hold = services.start_hold(exchange, act=Act.of_user(user), reason=reason).hold
    factories.change(hold, **{"last_read_at": timezone.now()} | fields)
    return hold


def with_orders(hold: Hold) -> Hold:
    """Let the Hold have seen some orders, the last one 12 s ago."""
    last_order_at = timezone.now() - timedelta(seconds=12)
    counts = {"episode_count": 3, "orders_seen": 17, "orders_cancelled": 16}
    factories.change(hold, last_order_at=last_order_at, **counts)
    return hold


def request_release(hold: Hold, user: User, *, reason: str = "strategy 7 was stopped") -> Hold:
    return services.request_release(hold, act=Act.of_user(user), reason=reason)


def release(hold: Hold, *, requested_by: User, confirmed_by: User) -> Hold:
    request_release(hold, requested_by)
    return confirm_release(hold, confirmed_by)


def confirm_release(hold: Hold, user: User) -> Hold:
    return services.confirm_release(hold, act=Act.of_user(user))


def ends_at(hold: Hold) -> datetime:
    """Return until when the release can be confirmed."""
    assert hold.release_requested_at
    return hold.release_requested_at + RELEASE_VALID_FOR


def let_lapse(hold: Hold) -> Hold:
    """Make the request to release older than it can be confirmed; nothing has recorded that."""
    hold.refresh_from_db()
    assert hold.release_requested_at
    at = hold.release_requested_at - RELEASE_VALID_FOR - timedelta(seconds=5)
    factories.change(hold, release_requested_at=at)
    return hold


def ivan() -> User:
    """Another risk officer."""
    return factories.person(Role.RISK_OFFICER, username="ivan", full_name="Ivan Petrov")
