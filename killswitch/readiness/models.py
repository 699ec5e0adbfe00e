"""The results of the last probe of the EMS and of the last canary through the queue."""

from django.db import models

EMS_PROBE = "ems"
CANARY_INTERVAL_S = 3.0


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
