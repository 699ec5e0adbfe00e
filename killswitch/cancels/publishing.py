"""Tells the workers that there is something to carry out, without ever making anybody wait.

One thread a process publishes what its queue hands it. A message that is lost, late or doubled
costs nothing but time: the row is the truth, the watchdog finds it without any broker, and a claim
absorbs the second of two messages. A broker that fails is left alone for a moment, so the queue
empties faster than people can press.
"""

import os
import queue
import threading
import time
from collections.abc import Sequence

import structlog
from django.db import connection

from killswitch.audit import chain
from killswitch.audit.chain import NewEvent
from killswitch.audit.models import Kind
from killswitch.cancels.models import CancelRequest
from killswitch.celery import app

TASK = "cancels.run"
BREAKER_S = 2.0  # seconds without a try after a failure

log = structlog.get_logger(__name__)


def publish(ids: Sequence[int]) -> None:
    """Hand the requests' ids to the publishing thread; never blocks, never raises.

    No ids at all warm the connection up, so that the first press of a process need not.
    """
    try:
        _thread_of_this_process().put(list(ids))
    except (RuntimeError, MemoryError):  # recorded it is: the answer must not be an error
        log.exception("publish_skipped", ids=list(ids), reason="no thread to publish")


_lock = threading.Lock()
_threads: dict[int, "queue.Queue[list[int]]"] = {}


def _thread_of_this_process() -> "queue.Queue[list[int]]":
    # Keyed by process: a thread does not survive a fork.
    with _lock:
        if os.getpid() not in _threads:
            waiting: queue.Queue[list[int]] = queue.Queue()
            threading.Thread(target=_work, args=[waiting], name="publish", daemon=True).start()
            _threads[os.getpid()] = waiting
        return _threads[os.getpid()]


def _work(waiting: "queue.Queue[list[int]]") -> None:
    closed_until = 0.0
    while True:
        ids = waiting.get()
        if time.monotonic() < closed_until:
            _left_to_the_watchdog(ids, why="the broker failed a moment ago")
        else:
            try:
                app.send_task(TASK, kwargs={"ids": ids}, retry=False, ignore_result=True)
            except Exception as error:  # noqa: BLE001  # the thread must live for the next press
                closed_until = time.monotonic() + BREAKER_S
                _left_to_the_watchdog(ids, why=type(error).__name__)
        waiting.task_done()


def _left_to_the_watchdog(ids: list[int], *, why: str) -> None:
    log.warning("publish_failed", ids=ids, why=why)
    if not ids:
        return
    try:
        rows = CancelRequest.objects.filter(id__in=ids).order_by("id")
        requests = [str(uuid) for uuid in rows.values_list("uuid", flat=True)]
        chain.record(NewEvent(kind=Kind.PUBLISH_FAILED, data={"requests": requests, "why": why}))
    except Exception:  # the thread must live for the next press, and the watchdog needs no event
        log.exception("publish_failure_not_recorded", ids=ids)
    finally:
        connection.close()
