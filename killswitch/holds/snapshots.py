"""The active Holds as one check sees them, with what decides about their episodes."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from killswitch.cancels.models import CancelRequest, Origin
from killswitch.holds.models import Hold
from killswitch.holds.recording import QUIET_S


@dataclass(frozen=True, kw_only=True)
class HoldSnapshot:
    """An active Hold as one check saw it."""

    id: int
    exchange_id: str
    last_read_at: datetime | None
    is_blind: bool
    has_episode: bool  # one is in flight
    has_press: bool  # the press that started it is in flight
    orders_since: datetime | None  # since when orders have kept coming
    orders_s: float  # until the last one that was seen
    is_paused: bool  # by the EMS
    is_quiet: bool  # orders kept coming, and none was seen for a while


def snapshots() -> list[HoldSnapshot]:
    """Read the active Holds, in one query."""
    in_flight = CancelRequest.objects.in_flight().filter(
        configured_exchange=OuterRef("configured_exchange")
    )
    rows = Hold.objects.active().annotate(
        has_episode=Exists(in_flight.filter(batch__origin=Origin.HOLD)),
        has_press=Exists(in_flight.filter(batch=OuterRef("batch"))),
        now=Now(),
    )
    return [
        HoldSnapshot(
            id=hold.pk,
            exchange_id=hold.exchange_id,
            last_read_at=hold.last_read_at,
            is_blind=hold.blind_since is not None,
            has_episode=vars(hold)["has_episode"],
            has_press=vars(hold)["has_press"],
            orders_since=hold.orders_since,
            orders_s=hold.orders_lasted.total_seconds(),
            is_paused=bool(hold.paused_until and hold.paused_until > vars(hold)["now"]),
            is_quiet=bool(
                hold.last_order_at
                and hold.orders_since
                and vars(hold)["now"] - hold.last_order_at >= timedelta(seconds=QUIET_S)
            ),
        )
        for hold in rows.order_by("id")
    ]
