"""Sends alarms to the configured channels, from the outbox, until every channel has accepted them.

Each channel has a thread of its own, so that one that hangs does not delay the others. A row is
claimed by compare-and-set. How long another sender may take, and when to retry, is measured by our
own monotonic clock since we first saw the row in its present state.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import apprise
import structlog
from django.conf import settings
from django.db import Error, connection
from django.db.models import F

from killswitch.alarms.models import Alarm, Delivery
from killswitch.alarms.services import channels
from killswitch.audit.canonical_json import utc_text
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import recording
from killswitch.runtime.leases import StillnessTracker
from killswitch.runtime.periodic import PeriodicTask

POLL_INTERVAL_S = 0.5
CALL_TIMEOUT_S = 10.0
STALE_AFTER_S = 15.0  # longer than a call: its sender has stopped responding
MAX_PAUSE_S = 60.0
MAX_ATTEMPTS = 100  # with the pauses between them, a good hour and a half

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a channel is sent."""

    title: str
    body: str
    urgent: bool = True

    @classmethod
    def about(cls, alarm: Alarm) -> "Message":
        """Return the message that notifies of an alarm."""
        lines = [
            alarm.detail,
            f"Exchange: {alarm.exchange_id}" if alarm.exchange_id else "",
            f"Request: {alarm.request_id}" if alarm.request_id else "",
            f"Raised at {utc_text(alarm.raised_at)}.",
            "This alarm stays on the console until someone acknowledges it. Open the console for"
            " details.",
        ]
        return cls(title=alarm.title, body="\n".join(line for line in lines if line))


def pause_s(row: Delivery) -> float:
    """Return for how many seconds a row must not have changed before the next attempt."""
    if row.sending:
        return STALE_AFTER_S
    return min(MAX_PAUSE_S, 2.0 ** (row.attempts - 1)) if row.attempts else 0.0


def send_pending(stop: threading.Event, *, poll_interval_s: float = POLL_INTERVAL_S) -> None:
    """Send what is pending until `stop` is set; wait while the database is gone."""
    task = PeriodicTask(name="outbox", work=OutboxSender().send_due, interval_s=poll_interval_s)
    task.run_until(stop)


class OutboxSender:
    """Knows since when each row has not changed, and which channels are being sent to."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._unchanged = StillnessTracker[int]()
        self._threads: dict[str, threading.Thread] = {}

    def send_due(self) -> None:
        """Start to send what is due, channel by channel, without waiting for the result."""
        _add_missing_deliveries()
        pending = Delivery.objects.filter(delivered_at=None, attempts__lt=MAX_ATTEMPTS)
        rows = {row.pk: row for row in pending.order_by("id")}
        states = {pk: (row.attempts, row.sending) for pk, row in rows.items()}
        rows_by_channel: dict[str, list[Delivery]] = defaultdict(list)
        for pk, unchanged_s in self._unchanged.observe(states, now=self._clock()).items():
            if unchanged_s >= pause_s(rows[pk]):
                rows_by_channel[rows[pk].channel].append(rows[pk])
        for channel, due_rows in rows_by_channel.items():
            thread = self._threads.get(channel)
            if thread is None or not thread.is_alive():
                self._threads[channel] = threading.Thread(
                    target=_send_to_channel, args=[due_rows], daemon=True
                )
                self._threads[channel].start()

    def wait(self, timeout_s: float) -> None:
        """Wait for the calls that have started."""
        for thread in self._threads.values():
            thread.join(timeout_s)


def _add_missing_deliveries() -> None:
    """Have alarms sent that were raised by a process without ALERT_URLS.

    For example by a command in an operator's shell: only the sender needs that setting.
    """
    if not (labels := channels()):
        return
    alarms = Alarm.objects.filter(acknowledged_at=None, deliveries=None)
    # A list: an empty generator would open a transaction at every poll.
    rows = [
        Delivery(alarm_id=alarm_id, channel=label)
        for alarm_id in alarms.values_list("id", flat=True)
        for label in labels
    ]
    Delivery.objects.bulk_create(rows, ignore_conflicts=True)


def _send_to_channel(rows: list[Delivery]) -> None:
    try:
        for row in rows:
            claim = Delivery.objects.filter(
                pk=row.pk, attempts=row.attempts, sending=row.sending, delivered_at=None
            )
            if not claim.update(attempts=F("attempts") + 1, sending=True):
                continue  # another sender was faster
            alarm = Alarm.objects.get(pk=row.alarm_id)
            connection.close()  # none is kept open while the channel is waited for
            error = send_message(url=channels().get(row.channel), message=Message.about(alarm))
            if not error:
                _record_delivery(row, alarm=alarm)
                continue
            log.warning("alarm_not_delivered", channel=row.channel, alarm=alarm.pk, error=error)
            attempt = Delivery.objects.filter(pk=row.pk, attempts=row.attempts + 1)
            attempt.update(sending=False, error=error)
    except Error as database_error:
        log.warning(
            "alarm_not_delivered", channel=rows[0].channel, error=str(database_error).strip()
        )
    finally:
        connection.close()


def _record_delivery(row: Delivery, *, alarm: Alarm) -> None:
    delivered_at = datetime.now(UTC)
    with recording() as record:
        pending_row = Delivery.objects.filter(pk=row.pk, delivered_at=None)
        if not pending_row.update(delivered_at=delivered_at, sending=False, error=""):
            return
        record.changed(Alarm.objects.select_for_update(no_key=True).get(pk=alarm.pk))
        record.event(
            EventKind.ALARM_TOLD,
            exchange_id=alarm.exchange_id,
            request_id=alarm.request_id,
            data={  # stored names, which stay: "place" is the channel, "tries" are the attempts
                "alarm": alarm.pk,
                "place": row.channel,
                "tries": row.attempts + 1,
                "told_at": utc_text(delivered_at),
            },
        )


def send_message(*, url: str | None, message: Message, timeout_s: float = CALL_TIMEOUT_S) -> str:
    """Send a message to one channel. Return why that failed, or an empty text."""
    if url is None:
        return "this channel is no longer configured"
    errors: list[str] = []
    thread = threading.Thread(
        target=lambda: errors.append(_notify(url=url, message=message)), daemon=True
    )
    thread.start()
    thread.join(timeout_s)
    return errors[0] if errors else f"no response within {timeout_s:g} s"


def _notify(*, url: str, message: Message) -> str:
    try:
        # Not in its async mode: the library's own thread pool would delay the end of the process.
        asset = apprise.AppriseAsset(async_mode=False, app_id="Kill switch")
        notifier = apprise.Apprise(asset=asset)
        if not notifier.add(url):
            return "not a URL of a supported channel"
        is_accepted = notifier.notify(
            title=f"[{settings.KILLSWITCH_ENVIRONMENT}] {message.title}",
            body=message.body,
            notify_type=apprise.NotifyType.FAILURE if message.urgent else apprise.NotifyType.INFO,
            body_format=apprise.NotifyFormat.TEXT,
        )
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything, with secrets in it
        return f"the notification library failed ({type(error).__name__})"
    return "" if is_accepted else "rejected or unreachable"
