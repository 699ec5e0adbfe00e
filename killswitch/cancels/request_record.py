"""What a kill records in the database, under its lease, and where it records without one.

A database that is gone is waited for: for two seconds if there is somewhere else to record, which
is then used until the kill is over, and otherwise for as long as the kill may take.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Concatenate, ParamSpec, TypeVar

import structlog
from django.db import Error, connection

from killswitch.audit.recorder import recording
from killswitch.cancels import recording as requests
from killswitch.cancels.conclusion import Conclusion, OpenOrdersAfter
from killswitch.cancels.kill_record import EarlierAttempt, KillRecord
from killswitch.cancels.lease import Lease
from killswitch.cancels.models import Attempt
from killswitch.cancels.pacing import FIRST_READ_PAUSE_S, MAX_READ_PAUSE_S
from killswitch.cancels.states import Status
from killswitch.ems.answers import Outcome, TimedCancelAnswer
from killswitch.runtime.database_errors import means_outage
from killswitch.runtime.deadlines import Deadline
from killswitch.runtime.time_limit import answered_within

# How long after the request's deadline a result still waits for an unavailable database.
MAX_RECORD_DELAY_S = 30.0
# How long it is waited for if the result can be kept elsewhere.
MAX_WAIT_S = 2.0

# How long the database may take to answer, or to be busy: fifty results at once on a busy machine
# wait for each other for seconds, and belong in the log.
MAX_ANSWER_S = 15.0

Fallback = Callable[[Lease], KillRecord]
# Where a kill records what it does while the database is gone: a package above adds it.
fallbacks: list[Fallback] = []

log = structlog.get_logger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


class DatabaseGone(Exception):
    """The database did not come back in time; `record` is where the kill records from now on."""

    def __init__(self, record: KillRecord) -> None:
        super().__init__()
        self.record = record


class RequestRecord:
    """The rows and events of one request. Every method raises `LeaseLost`."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self._fallback: KillRecord | None = None

    @property
    def uses_fallback(self) -> bool:
        """Return True once the database was gone for too long."""
        return self._fallback is not None

    def earlier_attempts(self) -> Sequence[EarlierAttempt]:
        """Return the attempts of earlier holders, oldest first."""
        rows = Attempt.objects.order_by("number").defer("body")
        try:
            return self.write(lambda request_id, _: list(rows.filter(request_id=request_id)))
        except DatabaseGone:
            # They cannot be read, so one of them may have been carried out.
            unread = Attempt(
                finished_at=datetime.now(UTC),
                outcome=Outcome.UNKNOWN,
                may_have_been_carried_out=True,
                by_dead_holder=True,
            )
            return [unread]

    def ensure_lease(self) -> None:
        """Raise `LeaseLost` unless the request may still be sent.

        A database that is gone is asked once more before each cancel: it may be back, or gone for
        this host only, and another process may have taken the request over.
        """
        if self._fallback is None:
            with suppress(DatabaseGone):
                self.write(requests.ensure_lease)
            return
        try:
            with answered_within(MAX_WAIT_S):
                requests.ensure_lease(self.lease.id, self.lease.token)
        except Error as error:
            log.warning("lease_not_checked", request=self.lease.uuid, error=str(error).strip())
        finally:
            connection.close()

    def announce_attempt(self) -> None:
        """Record, without the database, that a cancel is about to be sent.

        In the database, that is on record since the claim.
        """
        if self._fallback:
            self._fallback.announce_attempt()

    def attempt(self, answer: TimedCancelAnswer, *, next_attempt_at: datetime | None) -> None:
        """Record one call to the EMS."""
        try:
            self.write(requests.record_attempt, answer=answer, next_attempt_at=next_attempt_at)
        except DatabaseGone as gone:
            gone.record.attempt(answer, next_attempt_at=next_attempt_at)

    def verifying(self) -> None:
        """Record that the list of open orders decides from here on."""
        try:
            self.write(requests.start_verifying)
        except DatabaseGone as gone:
            gone.record.verifying()

    def read(self, *, next_attempt_at: datetime | None) -> None:
        """Record that the open orders were read, which is progress."""
        try:
            self.write(requests.record_read, next_attempt_at=next_attempt_at)
        except DatabaseGone as gone:
            gone.record.read(next_attempt_at=next_attempt_at)

    def end(
        self, *, before: Status, conclusion: Conclusion, last_list: OpenOrdersAfter | None
    ) -> None:
        """Record the final status."""
        try:
            self.write(requests.finish, before=before, conclusion=conclusion, last_list=last_list)
        except DatabaseGone as gone:
            gone.record.end(before=before, conclusion=conclusion, last_list=last_list)

    def write(
        self, operation: Callable[Concatenate[int, str, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Record under the lease, in one short transaction; wait for a database that is gone.

        Raises `DatabaseGone` if that takes too long and there is somewhere else to record.
        """
        if self._fallback:
            raise DatabaseGone(self._fallback)
        seconds_left = max(self.lease.request_ends_at - time.monotonic(), 0.0)
        deadline = Deadline(MAX_WAIT_S if fallbacks else seconds_left + MAX_RECORD_DELAY_S)
        busy_until = Deadline(MAX_ANSWER_S)
        pause = FIRST_READ_PAUSE_S
        while True:
            try:
                with answered_within(MAX_ANSWER_S), recording(then_release_connection=True):
                    return operation(self.lease.id, self.lease.token, *args, **kwargs)
            except Error as error:
                if not means_outage(error):
                    raise
                log.warning("database_gone", request=self.lease.uuid, error=str(error).strip())
                if deadline.has_passed and not (_is_busy(error) and busy_until.seconds_left):
                    if not fallbacks:
                        raise
                    self._fallback = fallbacks[0](self.lease)
                    raise DatabaseGone(self._fallback) from error
            time.sleep(min(pause, deadline.seconds_left or pause))
            pause = min(pause * 2, MAX_READ_PAUSE_S)


def _is_busy(error: Error) -> bool:
    """Return whether the database works, but no lock or connection was free in time."""
    cause = error.__cause__
    # lock_not_available, deadlock_detected, too_many_connections
    busy = {"55P03", "40P01", "53300"}
    return (
        getattr(cause, "sqlstate", "") in busy
        or getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
    )
