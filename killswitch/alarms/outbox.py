"""Tells the configured places of alarms, from the outbox, until each has taken it.

Every place has a thread of its own, so that one that hangs delays no other. A row is claimed by
compare-and-set; how long another sender may be silent, and when to try again, is measured by our
own monotonic clock from the moment the row was first seen as it is.
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
from django.db import Error, connection, transaction
from django.db.models import F

from killswitch.alarms.channels import channels
from killswitch.alarms.models import Alarm, Delivery
from killswitch.audit import canonical_json, chain
from killswitch.audit.chain import NewEvent
from killswitch.audit.models import Kind as Event
from killswitch.runtime.revisions import next_revision

POLL_INTERVAL_S = 0.5  # seconds between two looks at the outbox
CALL_TIMEOUT_S = 10.0  # seconds that one call may take
STALE_AFTER_S = 15.0  # seconds after which a sender that has not ended its call counts as dead
MAX_PAUSE_S = 60.0  # seconds
MAX_ATTEMPTS = 100  # with the pauses below: after a good hour and a half

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class PendingDelivery:
    """A row of the outbox as it was found."""

    id: int
    place: str
    tries: int
    sending: bool


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a place is told."""

    title: str
    body: str
    urgent: bool = True


def send_pending(stop: threading.Event) -> None:
    """Tell until `stop` is set. A database that is gone is waited for."""
    teller = OutboxSender()
    gone = False
    while not stop.is_set():
        try:
            teller.look()
            gone = False
        except Error as error:
            if not gone:
                log.warning("outbox_not_readable", error=str(error).strip())
            gone = True
        finally:
            connection.close()
        stop.wait(POLL_INTERVAL_S)


def pause(*, tries: int, sending: bool) -> float:
    """How many seconds a row must have stood as it is before it is tried (again)."""
    if sending:
        return STALE_AFTER_S
    return min(MAX_PAUSE_S, 2.0 ** (tries - 1)) if tries else 0.0


class OutboxSender:
    """Remembers since when each row stands as it does, and which places are being told."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[PendingDelivery, float] = {}
        self._threads: dict[str, threading.Thread] = {}

    def look(self) -> None:
        """Begin to tell what is due, place by place, without waiting for it."""
        _adopt()
        due: dict[str, list[PendingDelivery]] = defaultdict(list)
        for pending in self._due():
            due[pending.place].append(pending)
        for place, rows in due.items():
            if not self._is_busy(place):
                thread = threading.Thread(target=_tell_all, args=[rows], daemon=True)
                self._threads[place] = thread
                thread.start()

    def wait(self, seconds: float) -> None:
        """Wait for the calls that have begun."""
        for thread in self._threads.values():
            thread.join(seconds)

    def _due(self) -> list[PendingDelivery]:
        now, rows = self._clock(), _outbox()
        self._since = {row: self._since.get(row, now) for row in rows}
        return [
            row
            for row, since in self._since.items()
            if now - since >= pause(tries=row.tries, sending=row.sending)
        ]

    def _is_busy(self, place: str) -> bool:
        thread = self._threads.get(place)
        return thread is not None and thread.is_alive()


def _adopt() -> None:
    """Tell our places of what a process raised that has none: a worker on another host, say."""
    if not (ours := channels()):
        return
    orphans = Alarm.objects.filter(acknowledged_at=None, tellings=None).values_list("id", flat=True)
    rows = [Delivery(alarm_id=alarm, place=place) for alarm in orphans for place in ours]
    Delivery.objects.bulk_create(rows, ignore_conflicts=True)


def _outbox() -> list[PendingDelivery]:
    rows = Delivery.objects.filter(told_at=None, tries__lt=MAX_ATTEMPTS).order_by("id")
    return [
        PendingDelivery(id=pk, place=place, tries=tries, sending=sending)
        for pk, place, tries, sending in rows.values_list("id", "place", "tries", "sending")
    ]


def _tell_all(rows: list[PendingDelivery]) -> None:
    try:
        for row in rows:
            _tell(row)
    except Error as error:
        log.warning("alarm_not_told", place=rows[0].place, error=str(error).strip())
    finally:
        connection.close()


def _tell(row: PendingDelivery) -> None:
    if not _claim(row):
        return
    alarm = Alarm.objects.get(tellings=row.id)
    connection.close()  # none is kept while the place is being waited for
    error = send(url=channels().get(row.place), alarm=alarm)
    if error:
        log.warning("alarm_not_told", place=row.place, alarm=alarm.pk, error=error)
        claimed = Delivery.objects.filter(pk=row.id, tries=row.tries + 1)
        claimed.update(sending=False, error=error)
    else:
        _record_told(row, alarm=alarm)


def _claim(row: PendingDelivery) -> bool:
    unchanged = Delivery.objects.filter(
        pk=row.id, tries=row.tries, sending=row.sending, told_at=None
    )
    claimed = unchanged.update(tries=F("tries") + 1, sending=True)
    return claimed == 1


def _record_told(row: PendingDelivery, *, alarm: Alarm) -> None:
    told_at = datetime.now(UTC)
    with transaction.atomic():
        untold = Delivery.objects.filter(pk=row.id, told_at=None)
        if not untold.update(told_at=told_at, sending=False, error=""):
            return
        # Locked before the revision is taken, in the order of every writer.
        shown = Alarm.objects.select_for_update(no_key=True).get(pk=alarm.pk)
        shown.revision = next_revision()
        shown.save(update_fields=["revision"])
        chain.append(
            NewEvent(
                kind=Event.ALARM_TOLD,
                exchange_id=alarm.exchange_id,
                request_id=alarm.request_id,
                data={
                    "alarm": alarm.pk,
                    "place": row.place,
                    "tries": row.tries + 1,
                    "told_at": canonical_json.utc_text(told_at),
                },
            )
        )


def send(*, url: str | None, alarm: Alarm, timeout: float = CALL_TIMEOUT_S) -> str:
    """Tell one place of an alarm, in bounded time. Returns why it did not work, or nothing."""
    message = Message(title=alarm.title, body=_body(alarm))
    return send_message(url=url, message=message, timeout=timeout)


def send_message(*, url: str | None, message: Message, timeout: float = CALL_TIMEOUT_S) -> str:
    """The same for any message."""
    if url is None:
        return "this place is no longer configured"
    outcome: list[str] = []
    thread = threading.Thread(
        target=lambda: outcome.append(_notify(url=url, message=message)), daemon=True
    )
    thread.start()
    thread.join(timeout)
    return outcome[0] if outcome else f"no answer within {timeout:g} s"


def _notify(*, url: str, message: Message) -> str:
    try:
        return _hand_over(url=url, message=message)
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything, with secrets in it
        return f"the library failed ({type(error).__name__})"


def _hand_over(*, url: str, message: Message) -> str:
    # Called in turn: the library's own pool of threads would hold up the end of the process.
    teller = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False, app_id="Kill switch"))
    if not teller.add(url):
        return "the URL is not one that can be told"
    told = teller.notify(
        title=f"[{settings.KILLSWITCH_ENVIRONMENT}] {message.title}",
        body=message.body,
        notify_type=apprise.NotifyType.FAILURE if message.urgent else apprise.NotifyType.INFO,
        body_format=apprise.NotifyFormat.TEXT,
    )
    return "" if told else "refused, or not reachable"


def _body(alarm: Alarm) -> str:
    lines = [
        alarm.detail,
        f"Exchange: {alarm.exchange_id}" if alarm.exchange_id else "",
        f"Request: {alarm.request_id}" if alarm.request_id else "",
        f"Raised at {canonical_json.utc_text(alarm.raised_at)}.",
        "It stays on the console until somebody acknowledges it.",
    ]
    return "\n".join(line for line in lines if line)
