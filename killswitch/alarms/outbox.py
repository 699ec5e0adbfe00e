"""Sends alarms to the configured channels, from the outbox, until every channel has accepted them.

Each channel has a thread of its own, so that one that hangs does not delay the others. The alarms
of one batch are gathered for a moment and sent as one message. Its rows are claimed together, by
compare-and-set. How long another sender may take, how long alarms are gathered, and when to retry
is measured by our own monotonic clock since we first saw the row in its present state.
"""

import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import apprise
import structlog
from django.conf import settings
from django.db import Error, connection, transaction
from django.db.models import F

from killswitch.alarms.escalation import Escalation
from killswitch.alarms.messages import Message
from killswitch.alarms.models import Alarm, Delivery, FailedDeliveries, Severity
from killswitch.alarms.services import archives, channels, first_channels
from killswitch.audit.canonical_json import utc_text
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import recording
from killswitch.runtime.changes import LOOK_INTERVAL_S, ChangeGate
from killswitch.runtime.kept_connections import release_connection
from killswitch.runtime.leases import StillnessTracker
from killswitch.runtime.periodic import PeriodicTask
from killswitch.runtime.text import escape_controls

POLL_INTERVAL_S = 0.5
CALL_TIMEOUT_S = 10.0
STALE_AFTER_S = 15.0  # longer than a call: its sender has stopped responding
QUIET_S = 1.5  # no new alarm of a batch for so long: its message is sent
MAX_GATHER_S = 5.0
MAX_GATHER_FACTOR = 4.0
MAX_PAUSE_S = 60.0
MENTION = re.compile(r"@(?=(?:all|channel|everyone|here)\b)", re.IGNORECASE)
MAX_ATTEMPTS = 100  # with the pauses between them, a good hour and a half

log = structlog.get_logger(__name__)


def pause_s(row: Delivery) -> float:
    """Return for how many seconds a row must not have changed before the next attempt."""
    if row.sending:
        return STALE_AFTER_S
    return min(MAX_PAUSE_S, 2.0 ** (row.attempts - 1)) if row.attempts else 0.0


def send_pending(stop: threading.Event, *, poll_interval_s: float = POLL_INTERVAL_S) -> None:
    """Send what is pending until `stop` is set; wait while the database is gone."""
    sender, gate = OutboxSender(), ChangeGate(interval_s=poll_interval_s)
    task = PeriodicTask(
        name="outbox",
        work=lambda: gate.run(sender.send_due),
        interval_s=min(LOOK_INTERVAL_S, poll_interval_s),
    )
    task.run_until(stop)


class OutboxSender:
    """Knows since when each row has not changed, and which channels are being sent to."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._unchanged = StillnessTracker[int]()
        self._threads: dict[str, threading.Thread] = {}
        self._escalation = Escalation(clock=clock)

    def send_due(self) -> bool:
        """Start to send what is due, channel by channel, without waiting for the result.

        Return True if no notification is pending and no alarm can become overdue.
        """
        _add_missing_deliveries()
        pending = Delivery.objects.filter(delivered_at=None, attempts__lt=MAX_ATTEMPTS)
        # Without the long texts: while a channel is down, these are read at every poll.
        pending = pending.select_related("alarm").defer("alarm__detail", "error")
        rows = {row.pk: row for row in pending.order_by("id")}
        states = {pk: (row.attempts, row.sending) for pk, row in rows.items()}
        unchanged_s = self._unchanged.observe(states, now=self._clock())
        messages: dict[tuple[object, ...], list[Delivery]] = defaultdict(list)
        for pk, row in rows.items():
            if unchanged_s[pk] >= pause_s(row):
                topic = row.alarm.batch_id or row.alarm_id
                messages[row.channel, topic, row.attempts, row.sending].append(row)
        messages_by_channel: dict[str, list[list[Delivery]]] = defaultdict(list)
        for message_rows in messages.values():
            if _is_gathered(message_rows, seen_s=[unchanged_s[row.pk] for row in message_rows]):
                messages_by_channel[message_rows[0].channel].append(message_rows)
        for channel, due in messages_by_channel.items():
            thread = self._threads.get(channel)
            if thread is None or not thread.is_alive():
                self._threads[channel] = threading.Thread(
                    target=_send_to_channel, args=[channel, due], daemon=True
                )
                self._threads[channel].start()
        # Last, because the log must take its event: a log that does not delays no notification.
        is_waiting = self._escalation.step()
        return not rows and not is_waiting

    def wait(self, timeout_s: float) -> None:
        """Wait for the calls that have started."""
        for thread in self._threads.values():
            thread.join(timeout_s)


def _add_missing_deliveries() -> None:
    """Have alarms sent that were raised by a process without ALERT_URLS.

    For example by a command in an operator's shell: only the sender needs that setting.
    """
    if not (labels := first_channels()):
        return
    alarms = Alarm.objects.unacknowledged().filter(deliveries=None)
    # A list: an empty generator would open a transaction at every poll.
    rows = [
        Delivery(alarm_id=alarm_id, channel=label)
        for alarm_id in alarms.values_list("id", flat=True)
        for label in labels
    ]
    Delivery.objects.bulk_create(rows, ignore_conflicts=True)


def _is_gathered(rows: Sequence[Delivery], *, seen_s: Sequence[float]) -> bool:
    """Return whether to send the rows of one batch now, or to wait for more alarms of it.

    `seen_s`: the seconds since each was first seen. The wait is longer after each message that this
    channel has had about this batch, so that alarms that trickle in do not become as many messages.
    """
    row = rows[0]
    size = row.alarm.batch_size
    if row.attempts or row.sending or len({row.alarm.request_id for row in rows}) >= size:
        return True  # a retry, a batch of one request, or all of its requests
    earlier = Delivery.objects.filter(channel=row.channel, alarm__batch_id=row.alarm.batch_id)
    times = earlier.exclude(delivered_at=None).order_by().values("delivered_at").distinct()
    factor = min(MAX_GATHER_FACTOR, 2.0 ** times.count())
    return min(seen_s) >= QUIET_S * factor or max(seen_s) >= MAX_GATHER_S * factor


def _send_to_channel(channel: str, messages: Sequence[Sequence[Delivery]]) -> None:
    try:
        for rows in messages:
            attempts = rows[0].attempts + 1
            claimed = _claim(rows)
            alarms = list(Alarm.objects.filter(deliveries__in=claimed).order_by("id"))
            if not alarms:
                continue  # another sender was faster
            release_connection()  # none is held while the channel is waited for
            error = send_message(url=channels().get(channel), message=Message.about(*alarms))
            if not error:
                _record_deliveries(claimed, attempts=attempts)
                continue
            numbers = [alarm.pk for alarm in alarms]
            log.warning("alarm_not_delivered", channel=channel, alarms=numbers, error=error)
            attempt = Delivery.objects.filter(pk__in=claimed, attempts=attempts)
            attempt.update(sending=False, error=error)
            _count_failures(len(claimed))
    except Error as database_error:
        log.warning("alarm_not_delivered", channel=channel, error=str(database_error).strip())
    finally:
        connection.close()


def _claim(rows: Sequence[Delivery]) -> list[int]:
    """Claim the rows of a message, all as they were read; return those that were still so."""
    unclaimed = Delivery.objects.filter(
        pk__in=[row.pk for row in rows],
        attempts=rows[0].attempts,
        sending=rows[0].sending,
        delivered_at=None,
    )
    with transaction.atomic():
        # Locked in one order, so that of two senders one waits, and then finds none.
        claimed = list(
            unclaimed.select_for_update(no_key=True).order_by("id").values_list("id", flat=True)
        )
        Delivery.objects.filter(pk__in=claimed).update(attempts=F("attempts") + 1, sending=True)
    return claimed


def _record_deliveries(ids: Sequence[int], *, attempts: int) -> None:
    delivered_at = datetime.now(UTC)
    with recording() as record:
        pending = Delivery.objects.filter(pk__in=ids, delivered_at=None)
        rows = list(pending.select_for_update(no_key=True).order_by("id"))
        pending.update(delivered_at=delivered_at, sending=False, error="")
        alarms = Alarm.objects.filter(pk__in=[row.alarm_id for row in rows])
        locked_alarms = {
            alarm.pk: alarm for alarm in alarms.select_for_update(no_key=True).order_by("id")
        }
        if rows:
            record.changed(alarms)
        for row in rows:
            alarm = locked_alarms[row.alarm_id]
            record.event(
                EventKind.ALARM_TOLD,
                exchange_id=alarm.exchange_id,
                request_id=alarm.request_id,
                data={  # stored names, which stay: "place" is the channel, "tries" the attempts
                    "alarm": alarm.pk,
                    "place": row.channel,
                    "tries": attempts,
                    "told_at": utc_text(delivered_at),
                },
            )


def _count_failures(count: int) -> None:
    if not FailedDeliveries.objects.filter(id=1).update(count=F("count") + count):
        FailedDeliveries.objects.bulk_create([FailedDeliveries(id=1)], ignore_conflicts=True)
        FailedDeliveries.objects.filter(id=1).update(count=F("count") + count)


def send_to_all_channels(message: Message) -> None:
    """Send past the outbox, for what cannot be recorded or records itself; failures are logged."""
    _send_side_by_side(message, channels())


def send_to_archives(message: Message) -> None:
    """Send what needs no reaction and must be kept."""
    _send_side_by_side(message, archives())


def _send_side_by_side(message: Message, urls: Mapping[str, str]) -> None:
    def send(channel: str, url: str) -> None:
        if error := send_message(url=url, message=message):
            log.warning("not_notified", channel=channel, title=message.title, error=error)

    threads = [threading.Thread(target=send, args=item, daemon=True) for item in urls.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


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
        for service in notifier:
            # Most channels refuse a message that is too long for them, again at every retry.
            if service.overflow_mode == apprise.OverflowMode.UPSTREAM:
                service.overflow_mode = apprise.OverflowMode.TRUNCATE
        is_accepted = notifier.notify(
            title=f"[{settings.KILLSWITCH_ENVIRONMENT}] {plain(escape_controls(message.title))}",
            body=plain(escape_controls(message.body, keep="\n")),
            notify_type=_notify_type(message),
            body_format=apprise.NotifyFormat.TEXT,
        )
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything, with secrets in it
        return f"the notification library failed ({type(error).__name__})"
    return "" if is_accepted else "rejected or unreachable"


def plain(text: str) -> str:
    """Return text in which no channel finds a link under other words or a call of everyone.

    Words of the EMS are in it, and Slack, Discord, Mattermost and others read markup in any text.
    """
    text = text.replace("<", "\u2039").replace(">", "\u203a").replace("](", "] (")
    return MENTION.sub("\uff20", text)


def _notify_type(message: Message) -> apprise.NotifyType:
    """Return what most channels show as a colour or a priority."""
    if not message.urgent:
        return apprise.NotifyType.INFO
    is_notice = message.severity is Severity.NOTICE
    return apprise.NotifyType.WARNING if is_notice else apprise.NotifyType.FAILURE
