"""What needs a person's attention, who has been told, and who has acknowledged it."""

from django.db import models

from killswitch.runtime.revisions import Revisioned


class Kind(models.TextChoices):
    """Why a person is called."""

    OUTCOME = "OUTCOME", "A kill did not end confirmed"
    STALLED = "STALLED", "A kill makes no progress"
    PEOPLE = "PEOPLE", "A role or a password was given"
    EVIDENCE = "EVIDENCE", "The audit log does not verify"


class AlarmQuerySet(models.QuerySet["Alarm"]):
    """Alarms by whether somebody has seen to them."""

    def unacknowledged(self) -> "AlarmQuerySet":
        return self.filter(acknowledged_at=None)


class Alarm(Revisioned):
    """Stays on every screen until somebody acknowledges it by name."""

    kind = models.CharField(max_length=20, choices=Kind.choices)
    # The request's uuid as text, or another key that makes the alarm unique within its kind.
    subject = models.CharField(max_length=200)
    request_id = models.CharField(max_length=36, blank=True, db_index=True)
    exchange_id = models.CharField(max_length=200, blank=True)
    title = models.CharField(max_length=300)
    detail = models.TextField(blank=True)
    raised_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=200, blank=True)

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
        ]

    def __str__(self) -> str:
        return self.title


class Delivery(models.Model):
    """The outbox: one row for each alarm and each place that is to be told of it.

    A sender claims a row by raising `tries` from the number that it has read; `sending` stands
    while its call goes on. Whoever takes a row over waits by its own monotonic clock.
    """

    alarm = models.ForeignKey(Alarm, on_delete=models.CASCADE, related_name="tellings")
    place = models.CharField(max_length=200)  # e.g. "1: mailto" — never the URL, it holds secrets
    tries = models.PositiveIntegerField(default=0)
    sending = models.BooleanField(default=False)
    told_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        db_table = "alarms_telling"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["alarm", "place"], name="each_place_is_told_once"),
            models.CheckConstraint(
                condition=models.Q(told_at=None) | models.Q(sending=False),
                name="a_place_that_was_told_is_not_being_told",
            ),
        ]
        indexes = [
            models.Index(fields=["id"], name="tellings_pending", condition=models.Q(told_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.alarm_id} → {self.place}"
