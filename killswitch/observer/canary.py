"""The canary: a message that takes the path of a cancel, through the broker to a worker."""

import secrets

import structlog
from django.conf import settings
from django.db import connection
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from killswitch.celery import app
from killswitch.readiness.models import Canary
from killswitch.runtime.age import elapsed_ms

TASK = "readiness.canary"
BROKER_OPTIONS = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
# With every worker dead, canaries must not queue up in front of the cancels of an hour.
MAX_QUEUED_MESSAGES = 10

log = structlog.get_logger(__name__)


def send() -> None:
    """Publish a canary, bounded in time and without retries, and record whether that worked."""
    nonce = secrets.token_hex(8)
    if not Canary.objects.exists():
        Canary.objects.bulk_create([Canary(id=1)], ignore_conflicts=True)
    canary: QuerySet[Canary] = Canary.objects.filter(id=1)
    canary.update(nonce=nonce, sent_at=Now())
    connection.close()  # none is kept while the broker is being waited for
    try:
        is_published = _publish(nonce)
    except (OperationalError, RedisError, OSError) as error:
        canary.update(error=f"the queue does not respond ({type(error).__name__})")
    else:
        canary.update(error="", published=F("published") + int(is_published))


def record_round_trip(nonce: str) -> None:
    """Record, in the worker, that a canary arrived, and how long it took.

    One that arrives after the next was sent still proves that a worker takes messages from the
    queue, but not that it does so in time.
    """
    canary = Canary.objects.filter(nonce=nonce).annotate(now=Now()).first()
    Canary.objects.update(answered=F("answered") + 1)
    if canary and canary.sent_at:
        Canary.objects.filter(nonce=nonce).update(
            answered_at=Now(), milliseconds=elapsed_ms(start=canary.sent_at, end=canary.now)
        )


def _publish(nonce: str) -> bool:
    queue = settings.CELERY_TASK_DEFAULT_QUEUE
    # A new connection each time: one that is kept might be half open and look alive.
    connecting: Connection = app.connection_for_write(
        settings.CELERY_BROKER_URL, transport_options=BROKER_OPTIONS
    )
    with connecting as broker:
        if broker.default_channel.client.llen(queue) >= MAX_QUEUED_MESSAGES:
            return False
        app.send_task(
            TASK,
            kwargs={"nonce": nonce},
            connection=broker,
            queue=queue,
            retry=False,
            ignore_result=True,
        )
    return True
