"""Signs of life: who has beaten, what a probe last found, and how the last canary fared.

This module imports nothing of ours, so that every process may beat without a circle of imports.
"""

from django.db import models


class Process(models.TextChoices):
    """The kinds of process that show that they live."""

    WEB = "WEB", "Web"
    WORKER = "WORKER", "Worker"
    WATCHDOG = "WATCHDOG", "Watchdog"
    OBSERVER = "OBSERVER", "Observer"


class Heart(models.Model):
    """The last beat of one kind of process on one host, by the database's own clock."""

    kind = models.CharField(max_length=20, choices=Process.choices)
    host = models.CharField(max_length=200)
    beats = models.BigIntegerField(default=0)
    beat_at = models.DateTimeField()

    class Meta:
        ordering = ["kind", "host"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "host"], name="a_host_has_one_heart_for_each_kind_of_process"
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=Process.values), name="a_heart_is_of_a_known_process"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} on {self.host}"


class Probe(models.Model):
    """What somebody last found when trying something out, e.g. asking the EMS."""

    name = models.CharField(max_length=50, unique=True)
    ok = models.BooleanField()
    detail = models.TextField(blank=True)
    milliseconds = models.FloatField(null=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return f"{self.name}: {'ok' if self.ok else self.detail}"


class Canary(models.Model):
    """The message that goes the way of a kill, through the broker to a worker, and changes nothing.

    `published` and `answered` only ever grow: a worker that sees the first one grow and the
    second one stand still knows, without comparing clocks, that nobody takes from the queue.
    """

    nonce = models.CharField(max_length=32)
    sent_at = models.DateTimeField(null=True)
    published = models.BigIntegerField(default=0)
    answered = models.BigIntegerField(default=0)
    answered_at = models.DateTimeField(null=True)
    milliseconds = models.FloatField(null=True)
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="there_is_one_canary")]

    def __str__(self) -> str:
        return self.error or f"answered in {self.milliseconds} ms"
