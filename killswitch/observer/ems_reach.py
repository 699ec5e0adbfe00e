"""Each process that sends cancels tests its own way to the EMS, over a new connection.

What the observer reads proves nothing about the others: a worker may run on a host whose firewall
has changed, or with another address or key. An EMS may also go on answering over connections that
are open, and take no new ones.
"""

import os
import threading
from datetime import timedelta
from typing import Any

import structlog
from django.db import Error, connection
from django.db.models import QuerySet
from django.db.models.functions import Now

from killswitch.ems.client import get_client
from killswitch.exchanges.models import Exchange
from killswitch.observer import ems_probe
from killswitch.readiness.models import REACH_INTERVAL_S, EmsReach
from killswitch.runtime.durability import without_flush
from killswitch.runtime.heartbeats import HOST, Process
from killswitch.runtime.kept_connections import release_connection, waiting_for_a_connection
from killswitch.runtime.periodic import PeriodicTask

MAX_PROBLEM_CHARS = 500
MAX_WAIT_S = 10.0
FORGOTTEN_AFTER = timedelta(hours=1)

log = structlog.get_logger(__name__)


def start_thread(kind: Process, stop: threading.Event) -> threading.Thread:
    """Test the way to the EMS until `stop` is set."""

    def work() -> None:
        # The results of a large cancel may use all connections for seconds.
        with waiting_for_a_connection(MAX_WAIT_S):
            probe(kind)

    task = PeriodicTask(
        name="ems_reach",
        work=work,
        interval_s=REACH_INTERVAL_S,
        is_aligned=True,
    )

    def run() -> None:
        task.run_until(stop)
        forget(kind)

    thread = threading.Thread(target=run, name="ems_reach", daemon=True)
    thread.start()
    return thread


def forget(kind: Process) -> None:
    """Forget what this process has met: it ends, and its successor may have another key."""
    try:
        with without_flush():
            _own(kind).delete()
    except Error as error:
        log.warning("ems_reach_not_forgotten", error=str(error).strip())
    finally:
        connection.close()


def probe(kind: Process) -> None:
    """Ask the EMS for a list over a new connection, and record what came of it."""
    enabled_ids = Exchange.objects.enabled().order_by("id").values_list("exchange_id", flat=True)
    exchange_id = enabled_ids.first()
    release_connection()  # this thread holds none while the EMS is being waited for
    client = get_client()
    orders = client.probe(exchange_id)
    values: dict[str, Any] = {
        "problem": ems_probe.problem(orders)[:MAX_PROBLEM_CHARS],
        "warning": client.warning,
        "milliseconds": orders.duration_ms,
        "fingerprint": client.fingerprint,
        "at": Now(),
    }
    with without_flush():
        if not _own(kind).update(**values):
            own: dict[str, Any] = {"kind": kind, "host": HOST, "pid": os.getpid()}
            EmsReach.objects.update_or_create(**own, defaults=values)
            EmsReach.objects.filter(at__lt=Now() - FORGOTTEN_AFTER).delete()


def _own(kind: Process) -> QuerySet[EmsReach]:
    return EmsReach.objects.filter(kind=kind, host=HOST, pid=os.getpid())
