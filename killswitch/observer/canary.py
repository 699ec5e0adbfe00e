"""The canary: a message that takes the path of a cancel, through the broker to a worker."""

import secrets
from typing import Any

import structlog
from django.conf import settings
from django.db.models import Case, F, FloatField, Q, QuerySet, Value, When
from django.db.models.functions import Now
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from killswitch.celery import app
from killswitch.readiness.models import Canary
from killswitch.runtime.age import elapsed_ms
from killswitch.runtime.durability import without_flush
from killswitch.runtime.kept_connections import release_connection, reserved_connection

TASK = "readiness.canary"
BROKER_OPTIONS = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
# With every worker dead, canaries must not queue up in front of the cancels of an hour.
MAX_QUEUED_MESSAGES = 10

log = structlog.get_logger(__name__)


def send() -> None:
    """Publish a canary, bounded in time and without retries, and record whether that worked."""
    nonce = secrets.token_hex(8)
    canary: QuerySet[Canary] = Canary.objects.filter(id=1)
    with without_flush():
        last_error = canary.values_list("error", flat=True).first()
        if last_error is None:
            Canary.objects.bulk_create([Canary(id=1)], ignore_conflicts=True)
        # Counted already, so that nothing is left to write when it works.
        canary.update(nonce=nonce, sent_at=Now(), published=F("published") + 1)
    release_connection()  # this thread holds none while the broker is being waited for
    try:
        is_published = _publish(nonce)
    except (OperationalError, RedisError, OSError) as error:
        text = f"the queue does not respond ({type(error).__name__})"
        canary.update(error=text, published=F("published") - 1)
    else:
        if last_error or not is_published:
            canary.update(error="", published=F("published") - int(not is_published))


def record_round_trip(nonce: str) -> None:
    """Record, in the worker, that a canary arrived, and how long it took.

    One that arrives after the next was sent still proves that a worker takes messages from the
    queue, but not that it does so in time. It waits for a connection no longer than a claim does.
    """
    with reserved_connection(), without_flush():
        canary = Canary.objects.filter(nonce=nonce).annotate(now=Now()).first()
        values: dict[str, Any] = {}
        if canary and canary.sent_at:
            is_newest = Q(nonce=nonce)  # still: the next one may have been sent meanwhile
            ms = Value(elapsed_ms(start=canary.sent_at, end=canary.now), FloatField(null=True))
            values = {
                "answered_at": Case(When(is_newest, then=Now()), default=F("answered_at")),
                "milliseconds": Case(When(is_newest, then=ms), default=F("milliseconds")),
            }
        Canary.objects.update(answered=F("answered") + 1, **values)


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
