"""Tells the workers about new requests, without ever delaying the press.

One thread in each process sends the messages. A message that is lost, late or delivered twice only
costs time: the row is the truth, a watchdog finds it without a broker, and the second of two
messages finds the request claimed. After a failure no message is sent for a moment, so the queue
empties faster than people can press.
"""

import os
import queue
import threading
import time
from collections.abc import Sequence

import structlog
from django.db import connection

from killswitch.audit.models import EventKind
from killswitch.audit.recorder import recording
from killswitch.cancels.models import CancelRequest
from killswitch.celery import app

TASK = "cancels.run"
BREAKER_S = 2.0

log = structlog.get_logger(__name__)


def publish(ids: Sequence[int]) -> None:
    """Hand the ids of new requests to the publishing thread; never blocks, never raises.

    An empty list opens the connection, so that the first press of a process need not.
    """
    try:
        with _lock:
            # A fork copies the queue without its thread, so each process has its own.
            if os.getpid() not in _queues:
                messages: queue.Queue[list[int]] = queue.Queue()
                thread = threading.Thread(target=_send_messages, args=[messages], name="publish")
                thread.daemon = True
                thread.start()
                _queues[os.getpid()] = messages
        _queues[os.getpid()].put(list(ids))
    except (RuntimeError, MemoryError):  # the requests are recorded, so the press must not fail
        log.exception("publish_skipped", ids=list(ids), reason="no thread to publish")


_lock = threading.Lock()
_queues: dict[int, "queue.Queue[list[int]]"] = {}


def _send_messages(messages: "queue.Queue[list[int]]") -> None:
    paused_until = 0.0
    while True:
        ids = messages.get()
        if time.monotonic() < paused_until:
            _record_failure(ids, why="the queue failed a moment ago")
        else:
            try:
                app.send_task(TASK, kwargs={"ids": ids}, retry=False, ignore_result=True)
            except Exception as error:  # noqa: BLE001 - the thread must survive for the next press
                paused_until = time.monotonic() + BREAKER_S
                _record_failure(ids, why=type(error).__name__)
        messages.task_done()


def _record_failure(ids: list[int], *, why: str) -> None:
    """Record that a watchdog has to find these requests."""
    log.warning("publish_failed", ids=ids, why=why)
    if not ids:
        return
    try:
        rows = CancelRequest.objects.filter(id__in=ids).order_by("id")
        requests = [str(uuid) for uuid in rows.values_list("uuid", flat=True)]
        with recording() as record:
            record.event(EventKind.PUBLISH_FAILED, data={"requests": requests, "why": why})
    except Exception:  # the thread must survive, and the watchdog needs no event
        log.exception("publish_failure_not_recorded", ids=ids)
    finally:
        connection.close()
