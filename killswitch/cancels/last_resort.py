"""Lets a web process carry out its own presses while no worker and no watchdog claims them."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import structlog
from django.db import transaction

from killswitch.audit.actors import Actor
from killswitch.audit.recorder import Recording
from killswitch.cancels import execution, leases, services
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.states import Status
from killswitch.runtime.periodic import PeriodicTask

# A worker claims within milliseconds, a watchdog within two seconds.
CLAIMED_WITHIN_S = 2.0
CHECK_INTERVAL_S = 0.5
# An older press may have been given up by the person who made it.
MAX_AGE_S = 60.0

log = structlog.get_logger(__name__)


class LastResort:
    """The presses of this process that may not have been claimed yet, oldest first."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._presses: deque[tuple[float, Sequence[int]]] = deque()

    def remember(
        self,
        record: Recording,  # noqa: ARG002 - as all recorders of presses are called
        batch: Batch,  # noqa: ARG002
        requests: Sequence[CancelRequest],
        by: Actor,  # noqa: ARG002
    ) -> None:
        """Look at these requests again once they have been recorded for a while."""
        ids = [request.pk for request in requests]
        transaction.on_commit(partial(self._presses.append, (self._clock(), ids)))

    def run_unclaimed(self) -> None:
        """Claim and carry out what has not been claimed. Raises `django.db.Error`."""
        while self._presses:
            recorded_at, ids = self._presses[0]
            age_s = self._clock() - recorded_at
            if age_s < CLAIMED_WITHIN_S:
                return
            free = CancelRequest.objects.filter(id__in=ids, status=Status.REQUESTED, lease_token="")
            unclaimed = list(free.values_list("id", flat=True))
            if unclaimed and age_s < MAX_AGE_S:
                log.warning("not_claimed", ids=unclaimed, age_s=round(age_s, 1))
                execution.run(ids=unclaimed)
                return  # without a free thread, some are left
            self._presses.popleft()


def start_thread(stop: threading.Event) -> None:
    """Watch over the presses of this process until `stop` is set."""
    leases.note_requests_at_start()
    last_resort = LastResort()
    services.press_recorders.append(last_resort.remember)
    PeriodicTask(
        name="last_resort", work=last_resort.run_unclaimed, interval_s=CHECK_INTERVAL_S
    ).start_thread(stop)
