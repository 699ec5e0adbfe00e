"""Raises the alarms of Holds, in the caller's recording.

A Hold has one unacknowledged alarm of a kind at a time: a list that comes and goes, or an algorithm
that pauses, must not bury the others. Their subjects begin with the ID of the Hold.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.alarms.services import raise_alarm
from killswitch.audit.canonical_json import utc_text
from killswitch.cancels.request_alarms import HOLD_LIMITS
from killswitch.holds.models import Hold
from killswitch.runtime.text import pluralize_count

MAX_NAMED = 20


def unacknowledged_subject(kind: AlarmKind, hold: Hold) -> str:
    """Return the subject of the alarm of this kind that nobody has acknowledged; "" if none."""
    alarms = Alarm.objects.unacknowledged().filter(kind=kind, subject__startswith=str(hold.uuid))
    return alarms.values_list("subject", flat=True).first() or ""


def raise_blind_alarm(hold: Hold, *, error: str) -> None:
    """Raise the alarm of a Hold whose list cannot be read."""
    if unacknowledged_subject(AlarmKind.HOLD_BLIND, hold):
        return
    raise_alarm(
        kind=AlarmKind.HOLD_BLIND,
        subject=f"{hold.uuid} {_text(hold.blind_since)}",
        exchange_id=hold.exchange_id,
        title=f"{hold.exchange_id}: the Hold is blind. Its open orders cannot be read.",
        detail=(
            f"Reason: {error}\nA cancel goes out every 5 s without reading. Orders may be open in"
            " between, and some may fill. Check the exchange itself."
        ),
    )


def raise_trading_alarm(hold: Hold, *, seconds: float) -> None:
    """Raise the alarm of orders that keep coming; one for each time that this begins."""
    if unacknowledged_subject(AlarmKind.HOLD_TRADING, hold):
        return
    raise_alarm(
        kind=AlarmKind.HOLD_TRADING,
        subject=f"{hold.uuid} {_text(hold.orders_since)}",
        exchange_id=hold.exchange_id,
        title=f"{hold.exchange_id}: trading goes on under Hold.",
        detail=(
            f"For {seconds:.0f} s, orders have been listed again and again in spite of the cancels."
            f" Since the Hold began: {pluralize_count(hold.orders_seen, 'order')} seen, of which"
            f" {hold.orders_cancelled} no longer listed. Some may have filled.\nStop the source of"
            f" the orders, or ask the exchange to block the account. {HOLD_LIMITS}"
        ),
    )


def raise_reminder(holds: Sequence[Hold], *, now: datetime) -> None:
    """Remind people that exchanges are held, in the caller's recording."""
    oldest = min(hold.started_at for hold in holds)
    lines = [
        f"{hold.exchange_id}: since {_minute(hold.started_at)}, by {hold.started_by}"
        for hold in holds[:MAX_NAMED]
    ]
    if len(holds) > MAX_NAMED:
        lines.append(f"… and {len(holds) - MAX_NAMED} more")
    raise_alarm(
        kind=AlarmKind.HOLD_REMINDER,
        subject=f"reminder {utc_text(now)}",
        title=(
            f"{pluralize_count(len(holds), 'exchange')} still held,"
            f" the first since {_minute(oldest)}."
        ),
        detail="\n".join([*lines, "A Hold never ends by itself. Release it when it is over."]),
    )


def _text(at: datetime | None) -> str:
    return utc_text(at) if at else ""


def _minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
