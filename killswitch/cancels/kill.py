"""One request, from its claim to its final status: the whole kill, readable top to bottom.

No transaction is open, no lock is held and no database connection is kept while the EMS is being
asked or waited for. It sleeps and loops in its thread until what can be known is known.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog
from django.db import InterfaceError, InternalError, OperationalError

from killswitch.cancels import recording
from killswitch.cancels.conclusion import AttemptSummary, OpenOrdersAfter, conclude
from killswitch.cancels.leases import STOP, Lease, short_transaction
from killswitch.cancels.models import Attempt
from killswitch.cancels.pacing import (
    FIRST_READ_PAUSE_S,
    MAX_READ_PAUSE_S,
    RetrySchedule,
    still_to_wait,
)
from killswitch.cancels.states import Status
from killswitch.cancels.thread_slots import Latch
from killswitch.ems.answers import Outcome, RetryAdvice, TimedCancelAnswer
from killswitch.ems.shared import get_client

MAX_IMMEDIATE_RESENDS = 2  # POSTs in a row without a pause, on connections that broke when reused
FRESH_CLAIM_S = 1.0  # seconds in which nobody can have taken a claim over
MAX_RECORD_DELAY_S = 30.0  # seconds past its time that a result waits for a database that is gone

log = structlog.get_logger(__name__)
T = TypeVar("T")


class ShuttingDown(Exception):
    """This process is ending; the request is to be released for the next one."""


class Kill:
    """One request that this process holds.

    `run` raises `Stopped`, and `records.Lost` when somebody else holds the request meanwhile.
    """

    def __init__(self, held: Lease, latch: Latch) -> None:
        self.held = held
        self.latch = latch
        self.pace = RetrySchedule(ends_at=held.ends_at)
        self.evidence = AttemptSummary()
        self.acknowledged = False  # the last call, whoever made it
        self.deaths = 0  # of holders before this one, none of which let go
        self.reading: OpenOrdersAfter | None = None
        self.refused_for_good = False  # to an earlier holder, who let go before it could finish

    def run(self) -> None:
        """Carry it out."""
        if self.held.taken_over:
            self._load_earlier_attempts()
        if self._must_send_first():
            self._send_until_answered()
        if self.evidence.list_decides:
            if self.held.status is not Status.VERIFYING:
                self._write(
                    partial(recording.start_verifying, self.held.id, lease_token=self.held.token)
                )
            self._read_until_empty()
            self._finish(Status.VERIFYING)
        else:
            if self.evidence.refused:
                self._read()
            self._finish(Status.SENDING)

    def _must_send_first(self) -> bool:
        """Whoever takes over sends at once, unless the list of open orders is to be asked first."""
        if self.held.status is Status.VERIFYING or self.refused_for_good or self.acknowledged:
            return False
        # What may have been carried out can wait for the list: while the EMS wants a pause, and
        # once time is over, when every holder dies of the same thing.
        waits = self.pace.waits_for_retry_after or (self.deaths > 1 and self.pace.left <= 0)
        return not (self.evidence.list_decides and waits)

    def _send_until_answered(self) -> None:
        """POST, again after pauses, until it may have been carried out or there is no point."""
        while True:
            self._pause(self.pace.until_next_post)
            self._post()
            if self.evidence.list_decides or not self.pace.may_post_again:
                return

    def _read_until_empty(self) -> None:
        """Read the open orders until none are left or time is up; cancel again while some are."""
        pause = FIRST_READ_PAUSE_S
        while not self._read() and self.pace.left > 0:
            if self._should_cancel_again():
                self._post()
                pause = FIRST_READ_PAUSE_S
                continue
            self._pause(self.pace.until_next_read(pause))
            pause = min(pause * 2, MAX_READ_PAUSE_S)

    def _post(self) -> None:
        """One call to the EMS, kept whatever comes of it; repeated at once where that is safe."""
        for _ in range(1 + MAX_IMMEDIATE_RESENDS):
            if STOP.is_set():
                raise ShuttingDown
            self._fence()
            if self.pace.posts and not self.pace.may_post_again:
                return  # looking took too long: the database was gone
            answer = get_client().cancel_all(
                self.held.exchange_id,
                timeout=self.pace.post_timeout,
                on_sent=partial(self.latch.left, self.held.id),
            )
            self.latch.wait()
            self.reading = None  # only reads begun after the last POST ended count
            self.acknowledged = answer.outcome is Outcome.ACKNOWLEDGED
            self.evidence = self.evidence.with_call(answer)
            self.pace.record_answer(answer)
            self._record_attempt(answer)
            if answer.resend is not RetryAdvice.AT_ONCE or not self.pace.may_post_again:
                return

    def _fence(self) -> None:
        """Whoever slept for long may have lost the claim, and would cancel what came afterwards."""
        just_claimed = time.monotonic() - self.held.claimed_at < FRESH_CLAIM_S
        if self.pace.posts or not just_claimed:
            self._write(partial(recording.ensure_lease, self.held.id, lease_token=self.held.token))

    def _record_attempt(self, answer: TimedCancelAnswer) -> None:
        again = answer.outcome is not Outcome.ACKNOWLEDGED and self.pace.may_post_again
        self._write(
            partial(
                recording.record_attempt,
                self.held.id,
                lease_token=self.held.token,
                answer=answer,
                next_attempt_at=self._next_post_at() if again else None,
            )
        )

    def _read(self) -> bool:
        """One read of the open orders; True when it says that there are none."""
        if STOP.is_set():
            raise ShuttingDown
        orders = get_client().open_orders(
            self.held.exchange_id,
            timeout=self.pace.read_timeout(owed=self.reading is None),
        )
        count = orders.count(self.held.exchange_id) if orders.readable else None
        # A list that could be read outlives a later one that could not: it says more.
        if count is not None or self.reading is None or self.reading.count is None:
            self.reading = OpenOrdersAfter(orders=orders, count=count)
        if count != 0:
            next_at = self._next_post_at() if self.pace.waits_for_retry_after else None
            self._write(
                partial(
                    recording.record_read,
                    self.held.id,
                    lease_token=self.held.token,
                    next_attempt_at=next_at,
                )
            )
        return count == 0

    def _next_post_at(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.pace.until_next_post)

    def _should_cancel_again(self) -> bool:
        """Orders remain after a pause, or nothing can be read and nothing was acknowledged."""
        unread = self.reading is None or self.reading.count is None
        return self.pace.may_post_now and not (unread and self.acknowledged)

    def _finish(self, before: Status) -> None:
        verdict = conclude(self.evidence, self.reading)
        self._write(
            partial(
                recording.finish,
                self.held.id,
                lease_token=self.held.token,
                before=before,
                verdict=verdict,
                reading=self.reading,
            )
        )
        log.info(
            "finished",
            request=self.held.uuid,
            exchange=self.held.exchange_id,
            status=str(verdict.status),
        )

    def _load_earlier_attempts(self) -> None:
        """Add what earlier holders have on record, and keep to their pause."""
        attempts = Attempt.objects.filter(request_id=self.held.id).order_by("number").defer("body")
        earlier = self._write(lambda: list(attempts.all()))
        self.evidence = AttemptSummary.of(earlier)
        planned_at = self.held.next_attempt_at
        refused = self.evidence.refused and not self.evidence.list_decides
        self.refused_for_good = refused and planned_at is None
        answered = [each for each in earlier if not each.by_dead_holder]
        self.deaths = len(earlier) - len(answered)
        if not answered:
            return
        last = answered[-1]
        self.acknowledged = last.outcome == Outcome.ACKNOWLEDGED
        if planned_at:
            now = datetime.now(UTC)
            self.pace.inherit_pause(
                still_to_wait(planned_at=planned_at, answered_at=last.finished_at, now=now)
            )

    def _pause(self, seconds: float) -> None:
        if STOP.wait(max(seconds, 0.0)):
            raise ShuttingDown

    def _write(self, statement: Callable[[], T]) -> T:
        """Write in one short transaction; a database that is gone is waited for, within reason."""
        latest = max(self.held.ends_at, time.monotonic()) + MAX_RECORD_DELAY_S
        pause = FIRST_READ_PAUSE_S
        while True:
            try:
                with short_transaction():
                    return statement()
            except (OperationalError, InterfaceError, InternalError) as error:
                if time.monotonic() > latest:
                    raise
                log.warning("database_gone", request=self.held.uuid, error=str(error).strip())
            time.sleep(pause)
            pause = min(pause * 2, MAX_READ_PAUSE_S)
