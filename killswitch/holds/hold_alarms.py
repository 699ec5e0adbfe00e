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
from killswitch.ems.answers import Outcome
from killswitch.holds.models import Hold
from killswitch.runtime.text import escape_controls, pluralize_count, truncate

MAX_NAMED = 20
MAX_ANSWER_CHARS = 200


def unacknowledged_subject(kind: AlarmKind, hold: Hold) -> str:
    """Return the subject of the unacknowledged alarm of this kind; "" if there is none."""
    alarms = Alarm.objects.unacknowledged().filter(kind=kind, subject__startswith=str(hold.uuid))
    return alarms.values_list("subject", flat=True).first() or ""


def raise_blind_alarm(hold: Hold) -> None:
    """Raise the alarm of a Hold whose list cannot be read; one for each time that this begins."""
    if unacknowledged_subject(AlarmKind.HOLD_BLIND, hold):
        return
    raise_alarm(
        kind=AlarmKind.HOLD_BLIND,
        subject=f"{hold.uuid} {_text(hold.blind_since)}",
        exchange_id=hold.exchange_id,
        title=f"{hold.exchange_id}: the Hold is blind. Its open orders cannot be read.",
        detail=(
            f"Reason: {(hold.read_error or 'no list has been read').rstrip('. ')}."
            f" Last read: {_second(hold.last_read_at)}.\n"
            "Cancels should be sent every 5 s without it. Orders may be open, and may fill, between"
            " cancels. Check at the exchange."
        ),
    )


def raise_trading_alarm(hold: Hold, *, seconds: float) -> bool:
    """Raise the alarm of orders that stay or keep coming; one for each time that this begins.

    Return False if it was left out because an earlier one is unacknowledged.
    """
    subject = f"{hold.uuid} {_text(hold.orders_since)}"
    if earlier := unacknowledged_subject(AlarmKind.HOLD_TRADING, hold):
        return earlier == subject
    episode = hold.episodes.first()
    attempt = episode.request.attempts.last() if episode else None
    answer = ""
    if attempt and attempt.outcome != Outcome.ACKNOWLEDGED:
        words = attempt.reject_reason or attempt.message or attempt.transport_error
        status = f"HTTP {attempt.http_status}" if attempt.http_status else ""
        text = escape_controls(" ".join(filter(None, (status, words))))
        answer = (
            f" Last EMS response to a cancel: {truncate(text, MAX_ANSWER_CHARS)}." if text else ""
        )
    is_trading = episode is not None and episode.orders_cancelled > 0
    title = (
        "orders are still arriving under Hold" if is_trading else "orders are still open under Hold"
    )
    advice = "Stop whatever is placing the orders, or ask the exchange to block the account."
    raise_alarm(
        kind=AlarmKind.HOLD_TRADING,
        subject=subject,
        exchange_id=hold.exchange_id,
        title=f"{hold.exchange_id}: {title}.",
        detail=(
            f"For {seconds:.0f} s, the EMS has kept listing open orders despite the cancels."
            f" Since the Hold began: {pluralize_count(hold.orders_seen, 'order')} seen,"
            f" {hold.orders_cancelled} of them gone (cancelled or filled).{answer}\n"
            f"{advice if is_trading else 'Cancel at the exchange.'} {HOLD_LIMITS}"
        ),
    )
    return True


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
        detail="\n".join(
            [*lines, "A Hold never ends by itself. Release those that are no longer needed."]
        ),
    )


def _second(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%H:%M:%S} UTC" if at else "never"


def _text(at: datetime | None) -> str:
    return utc_text(at) if at else ""


def _minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
