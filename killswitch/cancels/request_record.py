"""What a kill records in the database, under its lease; waits for a database that is gone."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Concatenate, ParamSpec, TypeVar

import structlog
from django.db import InterfaceError, InternalError, OperationalError

from killswitch.audit.recorder import recording
from killswitch.cancels import recording as requests
from killswitch.cancels.conclusion import Conclusion, OpenOrdersAfter
from killswitch.cancels.lease import Lease
from killswitch.cancels.models import Attempt
from killswitch.cancels.pacing import FIRST_READ_PAUSE_S, MAX_READ_PAUSE_S
from killswitch.cancels.states import Status
from killswitch.ems.answers import TimedCancelAnswer
from killswitch.runtime.deadlines import Deadline

# How long after the request's deadline a result still waits for an unavailable database.
MAX_RECORD_DELAY_S = 30.0

log = structlog.get_logger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


class RequestRecord:
    """The rows and events of one request. Every method raises `LeaseLost`."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease

    def earlier_attempts(self) -> Sequence[Attempt]:
        """Return the attempts of earlier holders, oldest first."""
        rows = Attempt.objects.order_by("number").defer("body")
        return self.write(lambda request_id, _: list(rows.filter(request_id=request_id)))

    def ensure_lease(self) -> None:
        """Raise `LeaseLost` unless the request may still be sent."""
        self.write(requests.ensure_lease)

    def announce_attempt(self) -> None:
        """Do nothing: that the request is about to be sent is on record since its claim."""

    def attempt(self, answer: TimedCancelAnswer, *, next_attempt_at: datetime | None) -> None:
        """Record one call to the EMS."""
        self.write(requests.record_attempt, answer=answer, next_attempt_at=next_attempt_at)

    def verifying(self) -> None:
        """Record that the list of open orders decides from here on."""
        self.write(requests.start_verifying)

    def read(self, *, next_attempt_at: datetime | None) -> None:
        """Record that the open orders were read, which is progress."""
        self.write(requests.record_read, next_attempt_at=next_attempt_at)

    def end(
        self, *, before: Status, conclusion: Conclusion, last_list: OpenOrdersAfter | None
    ) -> None:
        """Record the final status."""
        self.write(requests.finish, before=before, conclusion=conclusion, last_list=last_list)

    def write(
        self, operation: Callable[Concatenate[int, str, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Record under the lease, in one short transaction; wait for a database that is gone."""
        seconds_left = max(self.lease.request_ends_at - time.monotonic(), 0.0)
        deadline = Deadline(seconds_left + MAX_RECORD_DELAY_S)
        pause = FIRST_READ_PAUSE_S
        while True:
            try:
                with recording(then_close_connection=True):
                    return operation(self.lease.id, self.lease.token, *args, **kwargs)
            except (OperationalError, InterfaceError, InternalError) as error:
                if deadline.has_passed:
                    raise
                log.warning("database_gone", request=self.lease.uuid, error=str(error).strip())
            time.sleep(pause)
            pause = min(pause * 2, MAX_READ_PAUSE_S)
