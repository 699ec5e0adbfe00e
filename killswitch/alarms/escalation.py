"""Records alarms that are not acknowledged in time, and notifies the next channel of each.

Any number of processes may do this: each step is a compare-and-set on the level of the alarm, in
one transaction with its event. A step is due by the time at which the alarm was raised, or by how
long this process has seen its level unchanged, so that a clock that is set back delays no alarm.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db.models import Count

from killswitch.alarms.models import Alarm, Delivery
from killswitch.alarms.services import channels, identity
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import recording
from killswitch.runtime.leases import StillnessTracker

MAX_ALARMS = 100  # in one transaction


class Escalation:
    """Knows since when each alarm has been at its level."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._unchanged = StillnessTracker[int]()

    def step(self) -> bool:
        """Record each alarm that is overdue now; with an escalation, notify its next channel.

        Return whether an alarm can still become overdue, for the first time or again.
        """
        interval_min = settings.ALERT_ESCALATE_AFTER_MIN or settings.ALARM_OVERDUE_MIN
        if not interval_min:
            return False
        interval = timedelta(minutes=interval_min)
        alarms = Alarm.objects.unacknowledged().order_by("id").defer("detail")
        waiting = [
            alarm
            for alarm in alarms.annotate(delivery_count=Count("deliveries"))
            if _has_next_level(alarm, delivery_count=vars(alarm)["delivery_count"])
        ]
        levels = {alarm.pk: alarm.overdue_level for alarm in waiting}
        unchanged_s = self._unchanged.observe(levels, now=self._clock())
        now = datetime.now(UTC)
        due = {
            alarm.pk: alarm.overdue_level
            for alarm in waiting
            if now - alarm.raised_at >= interval * (alarm.overdue_level + 1)
            or unchanged_s[alarm.pk] >= interval.total_seconds()
        }
        if due:
            _record_overdue(dict(list(due.items())[:MAX_ALARMS]), interval=interval)
        return bool(waiting)


def _has_next_level(alarm: Alarm, *, delivery_count: int) -> bool:
    """Return whether this process may raise the level of an alarm.

    One more than there are channels to notify: that the last one did not help is recorded as well.
    """
    if not settings.ALERT_ESCALATE_AFTER_MIN:
        return alarm.overdue_level == 0
    if not settings.ALERT_URLS and delivery_count:
        return False  # left to the processes that know the channels
    has_next_channel = delivery_count < len(settings.ALERT_URLS)
    return has_next_channel or alarm.overdue_level < max(1, delivery_count)


def _record_overdue(levels: dict[int, int], *, interval: timedelta) -> None:
    """Raise the level of these alarms, unless a person or another process was faster."""
    escalates = bool(settings.ALERT_ESCALATE_AFTER_MIN)
    with recording() as record:
        rows = Alarm.objects.unacknowledged().filter(pk__in=levels).order_by("pk")
        for alarm in rows.select_for_update(no_key=True, skip_locked=True):
            if alarm.overdue_level != levels[alarm.pk]:
                continue
            place = _next_channel(alarm) if escalates else ""
            alarm.overdue_level += 1
            alarm.save(update_fields=["overdue_level"])
            record.changed(alarm)
            if place:
                Delivery.objects.create(alarm=alarm, channel=place)
            elapsed = max(datetime.now(UTC) - alarm.raised_at, interval * alarm.overdue_level)
            record.event(
                EventKind.ALARM_OVERDUE,
                exchange_id=alarm.exchange_id,
                request_id=alarm.request_id,
                data={
                    **identity(alarm),
                    "level": alarm.overdue_level,
                    "first": alarm.overdue_level == 1,
                    "minutes": int(elapsed.total_seconds() // 60),
                    "escalates": escalates,
                    "place": place,
                },
            )


def _next_channel(alarm: Alarm) -> str:
    """Return the first channel that was not notified of an alarm, empty if all were."""
    notified = set(alarm.deliveries.values_list("channel", flat=True))
    return next((label for label in channels() if label not in notified), "")
