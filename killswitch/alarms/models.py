"""Alarms: what needs attention, which channels were notified, and who has acknowledged it."""

from typing import Final

from django.db import models
from django.db.models import Case, IntegerChoices, Q, Value, When

from killswitch.runtime.revisions import Revisioned


class AlarmKind(models.TextChoices):
    """Why an alarm was raised."""

    OUTCOME = "OUTCOME", "Cancel not confirmed"
    STALLED = "STALLED", "Cancel stuck"
    REOPENED = "REOPENED", "Orders open again after a confirmed cancel"
    HOLD_BLIND = "HOLD_BLIND", "Hold blind"
    HOLD_TRADING = "HOLD_TRADING", "Orders still open under Hold"
    HOLD_REMINDER = "HOLD_REMINDER", "Exchanges are held"
    BREAK_GLASS = "BREAK_GLASS", "Cancel by break glass"
    PEOPLE = "PEOPLE", "Account or configuration change"
    EVIDENCE = "EVIDENCE", "Audit log failed verification"
    RESTORED = "RESTORED", "Backup restored"
    READINESS = "READINESS", "Kill switch not ready"


class Severity(IntegerChoices):
    """How urgent an alarm is; the lowest number comes first."""

    KILL = 0, "Kill alarm"
    STUCK = 1, "Cancel stuck"
    READINESS = 2, "Readiness"
    EVIDENCE = 3, "Audit log alarm"
    NOTICE = 4, "Notice"


SEVERITIES: Final[dict[str, Severity]] = {
    AlarmKind.OUTCOME: Severity.KILL,
    AlarmKind.REOPENED: Severity.KILL,
    AlarmKind.HOLD_TRADING: Severity.KILL,
    AlarmKind.HOLD_BLIND: Severity.KILL,
    AlarmKind.STALLED: Severity.STUCK,
    AlarmKind.READINESS: Severity.READINESS,
    AlarmKind.EVIDENCE: Severity.EVIDENCE,
    AlarmKind.RESTORED: Severity.EVIDENCE,
    AlarmKind.BREAK_GLASS: Severity.EVIDENCE,
    AlarmKind.HOLD_REMINDER: Severity.NOTICE,
    AlarmKind.PEOPLE: Severity.NOTICE,
}
KILL_KINDS: Final = sorted(kind for kind, level in SEVERITIES.items() if level is Severity.KILL)


class AlarmQuerySet(models.QuerySet["Alarm"]):
    """Alarms by their state."""

    def unacknowledged(self) -> "AlarmQuerySet":
        """Return those that need a person: neither acknowledged nor resolved by themselves."""
        return self.filter(acknowledged_at=None, resolved_at=None)

    def closed(self) -> "AlarmQuerySet":
        """Return those that were acknowledged or have resolved themselves."""
        return self.filter(Q(acknowledged_at__isnull=False) | Q(resolved_at__isnull=False))

    def worst_first(self) -> "AlarmQuerySet":
        """Sort by severity, and within one severity the newest first."""
        cases = [When(kind=kind, then=Value(int(level))) for kind, level in SEVERITIES.items()]
        return self.order_by(Case(*cases, default=Value(0)), "-id")


class Alarm(Revisioned):
    """An alarm stays on every screen until a user acknowledges it, or its cause is gone."""

    kind = models.CharField(max_length=20, choices=AlarmKind.choices)
    # The request's uuid as text, or another key that makes the alarm unique within its kind.
    subject = models.CharField(max_length=200)
    request_id = models.CharField(max_length=36, blank=True, db_index=True)
    exchange_id = models.CharField(max_length=200, blank=True)
    title = models.CharField(max_length=300)
    detail = models.TextField(blank=True)
    # Not in the log: these only decide which alarms one notification is about. The batch of the
    # request, of how many requests, and the title without the exchange, the same for those alike.
    batch_id = models.CharField(max_length=36, blank=True, default="", db_default="", db_index=True)
    batch_size = models.PositiveIntegerField(default=0, db_default=0)
    summary = models.CharField(max_length=300, blank=True, default="", db_default="")
    raised_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=200, blank=True)
    note = models.CharField(max_length=500, blank=True, default="", db_default="")
    # By the person whose account it reports: no other risk officer existed.
    by_person_concerned = models.BooleanField(default=False, db_default=False)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolution = models.CharField(max_length=300, blank=True, default="", db_default="")
    # How often it was recorded as overdue; each time, the next channel may have been notified.
    overdue_level = models.PositiveSmallIntegerField(default=0, db_default=0)

    objects = AlarmQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"], name="an_alarm_is_raised_once_for_its_subject"
            ),
            models.CheckConstraint(
                condition=models.Q(acknowledged_at=None, acknowledged_by="")
                | (models.Q(acknowledged_at__isnull=False) & ~models.Q(acknowledged_by="")),
                name="an_acknowledged_alarm_says_by_whom",
            ),
            models.CheckConstraint(
                condition=models.Q(resolved_at=None, resolution="")
                | (models.Q(resolved_at__isnull=False) & ~models.Q(resolution="")),
                name="a_resolved_alarm_says_why",
            ),
        ]
        indexes = [
            models.Index(
                fields=["id"],
                name="alarms_unacknowledged",
                condition=models.Q(acknowledged_at=None, resolved_at=None),
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def severity(self) -> Severity:
        """Return how urgent it is; a kind of another version counts as the most urgent."""
        return SEVERITIES.get(self.kind, Severity.KILL)

    @property
    def is_unacknowledged(self) -> bool:
        return self.acknowledged_at is None and self.resolved_at is None


class Delivery(models.Model):
    """The outbox: one row for each alarm and channel.

    A sender claims a row by raising `attempts` from the number that it has read; `sending` is true
    during its call. Another sender takes over a row that has not changed for long enough by its own
    monotonic clock.
    """

    alarm = models.ForeignKey(Alarm, on_delete=models.CASCADE, related_name="deliveries")
    # A label such as "1: mailto", never the URL, which holds secrets.
    channel = models.CharField(max_length=200, db_column="place")
    attempts = models.PositiveIntegerField(default=0, db_column="tries")
    sending = models.BooleanField(default=False)
    delivered_at = models.DateTimeField(null=True, db_column="told_at")
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        db_table = "alarms_telling"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["alarm", "channel"], name="each_place_is_told_once"),
            models.CheckConstraint(
                condition=models.Q(delivered_at=None) | models.Q(sending=False),
                name="a_place_that_was_told_is_not_being_told",
            ),
        ]
        indexes = [
            models.Index(
                fields=["id"], name="tellings_pending", condition=models.Q(delivered_at=None)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.alarm_id} → {self.channel}"


class FailedDeliveries(models.Model):
    """How often a channel has not accepted a notification, every attempt counted; one row."""

    count = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(id=1), name="failed_deliveries_are_counted_in_one_row"
            )
        ]

    def __str__(self) -> str:
        return str(self.count)
