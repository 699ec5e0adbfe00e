"""Hearts: every process beats about once a second in one statement; the web's when it is asked."""

import socket
from datetime import timedelta

from django.db.models import F
from django.db.models.functions import Now

from killswitch.readiness.models import Heart, Process
from killswitch.runtime.age import Age, age

HOST = socket.gethostname()[:200]
FRESH = 5.0  # seconds; a process beats every second
FORGOTTEN = timedelta(days=1)  # hosts come and go, with containers every few minutes


def beat(kind: Process) -> None:
    """Show that a process of this kind is at work on this host."""
    mine = Heart.objects.filter(kind=kind, host=HOST)
    if not mine.update(beats=F("beats") + 1, beat_at=Now()):
        first = Heart(kind=kind, host=HOST, beats=1, beat_at=Now())
        Heart.objects.bulk_create([first], ignore_conflicts=True)
        Heart.objects.filter(beat_at__lt=Now() - FORGOTTEN).delete()


def age_here(kind: Process) -> Age:
    """Since when no process of this kind has beaten on this host."""
    heart = Heart.objects.filter(kind=kind, host=HOST).annotate(now=Now()).first()
    return age(at=heart.beat_at, now=heart.now) if heart else Age(seconds=None)
