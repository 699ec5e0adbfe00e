"""The last probes of the EMS, the last canary through the queue, and what the metrics count."""

from django.db import models

from killswitch.runtime.heartbeats import Process

EMS_PROBE = "ems"
CANARY_INTERVAL_S = 3.0
REACH_INTERVAL_S = 4.0


class Probe(models.Model):
    """The result of the last probe of another system, such as a read at the EMS."""

    name = models.CharField(max_length=50, unique=True)
    ok = models.BooleanField()
    detail = models.TextField(blank=True)
    milliseconds = models.FloatField(null=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return f"{self.name}: {'ok' if self.ok else self.detail}"


class EmsReach(models.Model):
    """What one process has met that sends cancels itself, over a new connection to the EMS.

    `fingerprint` stands for the address and the key of the EMS in its settings.
    """

    kind = models.CharField(max_length=20, choices=Process.choices)
    host = models.CharField(max_length=200)
    pid = models.BigIntegerField()
    problem = models.CharField(max_length=500, blank=True)
    warning = models.CharField(max_length=500, blank=True)
    milliseconds = models.FloatField()
    fingerprint = models.CharField(max_length=16)
    at = models.DateTimeField()

    class Meta:
        ordering = ["kind", "host", "pid"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "host", "pid"], name="a_process_has_one_reach_of_the_ems"
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=Process.values), name="a_reach_is_of_a_known_process"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pid} on {self.host}: {self.problem or 'reached'}"


class Canary(models.Model):
    """A message that takes the path of a cancel, through the broker to a worker, without effect.

    `published` and `answered` count: together they show, without comparing clocks, whether messages
    are taken from the queue. One that is being published is counted already.
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


class StoredCounts(models.Model):
    """What the metrics count, up to the event `seq` of the log; one row.

    It only saves time: all of it follows from the log.
    """

    seq = models.BigIntegerField()
    numbers = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="there_is_one_row_of_counts")
        ]

    def __str__(self) -> str:
        return f"up to {self.seq}"
