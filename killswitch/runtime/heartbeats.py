"""Heartbeats: each process writes one every two seconds; the web when its readiness is read."""

import socket
from contextlib import suppress
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db import models, transaction
from django.db.models import F
from django.db.models.functions import Now

from killswitch.runtime.age import Age, age
from killswitch.runtime.durability import without_flush
from killswitch.runtime.files import OWNER_ONLY

HOST = socket.gethostname()[:200]
INTERVAL_S = 2.0
FRESH_S = 5.0
FORGOTTEN_AFTER = timedelta(days=1)  # hosts come and go, with containers every few minutes


class Process(models.TextChoices):
    """The kinds of process that send heartbeats."""

    WEB = "WEB", "Web"
    WORKER = "WORKER", "Worker"
    WATCHDOG = "WATCHDOG", "Watchdog"
    OBSERVER = "OBSERVER", "Observer"


class Heartbeat(models.Model):
    """The last heartbeat of one kind of process on one host, by the database's own clock."""

    kind = models.CharField(max_length=20, choices=Process.choices)
    host = models.CharField(max_length=200)
    beats = models.BigIntegerField(default=0)
    beat_at = models.DateTimeField()

    class Meta:
        db_table = "readiness_heart"
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


def beat_without_flush(kind: Process) -> None:
    """Show it in a transaction of its own that does not wait for the disk."""
    with without_flush():
        beat(kind)


def beat(kind: Process) -> None:
    """Show that a process of this kind is running on this host."""
    heartbeat = Heartbeat.objects.filter(kind=kind, host=HOST)
    if not heartbeat.update(beats=F("beats") + 1, beat_at=Now()):
        first = Heartbeat(kind=kind, host=HOST, beats=1, beat_at=Now())
        Heartbeat.objects.bulk_create([first], ignore_conflicts=True)
        Heartbeat.objects.filter(beat_at__lt=Now() - FORGOTTEN_AFTER).delete()
    transaction.on_commit(partial(_show_on_disk, kind))


def _show_on_disk(kind: Process) -> None:
    """Touch a file, whose age the health check of a container reads without starting Python."""
    with suppress(OSError):
        (settings.KILLSWITCH_HOME / f"{kind.lower()}.alive").touch(mode=OWNER_ONLY)


def age_here(kind: Process) -> Age:
    """Return the age of the last heartbeat of this kind of process on this host."""
    heartbeat = Heartbeat.objects.filter(kind=kind, host=HOST).annotate(now=Now()).first()
    return age(at=heartbeat.beat_at, now=heartbeat.now) if heartbeat else Age(seconds=None)
