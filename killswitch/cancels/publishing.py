"""Tells the workers about new requests, without delaying the press by more than a moment.

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
MAX_WAIT_S = 0.05

log = structlog.get_logger(__name__)


def publish(ids: Sequence[int], *, max_wait_s: float = MAX_WAIT_S) -> None:
    """Hand the ids of new requests to the publishing thread; never raises.

    Waits at most `max_wait_s` until they are sent. Otherwise the thread of the press would go on to
    render its answer, and each step of sending would wait for the interpreter meanwhile. While the
    queue does not respond, only the first press waits. An empty list opens the connection, so that
    the first press of a process need not.
    """
    try:
        with _lock:
            # A fork copies the queue without its thread, so each process has its own.
            if os.getpid() not in _publishers:
                _publishers[os.getpid()] = _Publisher()
        _publishers[os.getpid()].send(list(ids), max_wait_s=max_wait_s)
    except (RuntimeError, MemoryError):  # the requests are recorded, so the press must not fail
        log.exception("publish_skipped", ids=list(ids), reason="no thread to publish")


class _Publisher:
    """The thread that sends messages, and the messages that wait for it."""

    def __init__(self) -> None:
        self.messages: queue.Queue[tuple[list[int], threading.Event]] = queue.Queue()
        self._is_responsive = True
        threading.Thread(target=self._send_messages, name="publish", daemon=True).start()

    def send(self, ids: list[int], *, max_wait_s: float) -> None:
        is_sent = threading.Event()
        self.messages.put((ids, is_sent))
        if self._is_responsive:
            self._is_responsive = is_sent.wait(max_wait_s)

    def _send_messages(self) -> None:
        paused_until = 0.0
        while True:
            ids, is_sent = self.messages.get()
            failure = "the queue failed a moment ago"
            if time.monotonic() >= paused_until:
                try:
                    app.send_task(TASK, kwargs={"ids": ids}, retry=False, ignore_result=True)
                    failure = ""
                except Exception as error:  # noqa: BLE001 - it must survive for the next press
                    paused_until = time.monotonic() + BREAKER_S
                    failure = type(error).__name__
            self._is_responsive = not failure
            is_sent.set()
            if failure:
                _record_failure(ids, why=failure)
            self.messages.task_done()


_lock = threading.Lock()
_publishers: dict[int, _Publisher] = {}  # by process


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
