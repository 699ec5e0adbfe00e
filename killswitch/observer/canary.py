"""A message that goes the way of a kill, through the broker to a worker, and changes nothing."""

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

TASK = "readiness.canary"
CANARY_INTERVAL_S = 3.0  # seconds
SHORT = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
# With every worker dead, canaries must not queue up in front of the kills of an hour.
MAX_QUEUE_LENGTH = 10  # messages

log = structlog.get_logger(__name__)


def send() -> None:
    """Publish a canary, bounded in time and without retrying, and note whether that worked."""
    nonce = secrets.token_hex(8)
    _mine().update(nonce=nonce, sent_at=Now())
    connection.close()  # none is kept while the broker is being waited for
    try:
        published = _publish(nonce)
    except (OperationalError, RedisError, OSError) as error:
        _mine().update(error=f"the broker does not answer ({type(error).__name__})")
    else:
        _mine().update(error="", published=F("published") + int(published))


def record_round_trip(nonce: str) -> None:
    """What the worker does: note that the canary came, and how long it took.

    One that comes after the next was sent still proves that a worker takes from the queue, but
    not that it does so in time.
    """
    sent = Canary.objects.filter(nonce=nonce).annotate(now=Now()).first()
    Canary.objects.update(answered=F("answered") + 1)
    if sent and sent.sent_at:
        took = (sent.now - sent.sent_at).total_seconds() * 1000
        Canary.objects.filter(nonce=nonce).update(answered_at=Now(), milliseconds=max(0.0, took))


def broker_answers() -> bool:
    """Whether the broker answers a ping within a second or two."""
    try:
        with _connection() as broker:
            return bool(broker.default_channel.client.ping())
    except (OperationalError, RedisError, OSError):
        return False


def _publish(nonce: str) -> bool:
    with _connection() as broker:
        if (
            broker.default_channel.client.llen(settings.CELERY_TASK_DEFAULT_QUEUE)
            >= MAX_QUEUE_LENGTH
        ):
            return False
        app.send_task(
            TASK,
            kwargs={"nonce": nonce},
            connection=broker,
            queue=settings.CELERY_TASK_DEFAULT_QUEUE,
            retry=False,
            ignore_result=True,
        )
    return True


def _connection() -> Connection:
    """A connection of its own each time: a kept one might be half open and look alive."""
    broker: Connection = app.connection_for_write(
        settings.CELERY_BROKER_URL, transport_options=SHORT
    )
    return broker


def _mine() -> QuerySet[Canary]:
    if not Canary.objects.exists():
        Canary.objects.bulk_create([Canary(id=1)], ignore_conflicts=True)
    return Canary.objects.filter(id=1)
