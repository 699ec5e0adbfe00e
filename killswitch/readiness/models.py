"""What the last probe of the EMS and the last canary through the queue found."""

from django.db import models


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
